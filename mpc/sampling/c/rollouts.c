/* Predictions of many input sequences, appended to CasADi's code of `sample` and `last` (mpc/sampling/rollouts.py).

   sample(x, u, xr, ur[, p]) -> x+, u as applied, (cost, violation of rows on the input, of rows on the state alone)
   last(x, xr) -> (cost, violation) */

/* u (horizon, m, count) becomes the inputs as applied; p (horizon, q); work holds 2 n + 2 m + 3
   numbers, arg one pointer more than CasADi asks for, so that a sample without p has room for it. */
CASADI_SYMBOL_EXPORT void rollouts_many(long horizon, long n, long m, long q, long count, const double *x0, double *u,
                   const double *x_ref, const double *u_ref, const double *p, double *cost, double *violation, double *work, const double **arg,
                   double **res, casadi_int *iw, double *w) {
    for (long k = 0; k < count; k++) {
        double *x = work, *after = work + n, *input = after + n, *applied = input + m, *charged = applied + m;
        cost[k] = violation[k] = 0.0;
        for (long j = 0; j < n; j++) x[j] = x0[j];
        for (long i = 0; i < horizon; i++) {
            double *column = u + i * m * count + k;
            for (long j = 0; j < m; j++) input[j] = column[j * count];
            arg[0] = x, arg[1] = input, arg[2] = x_ref + i * n, arg[3] = u_ref + i * m, arg[4] = p + i * q;
            res[0] = after, res[1] = applied, res[2] = charged;
            sample(arg, res, iw, w, 0);
            for (long j = 0; j < m; j++) column[j * count] = applied[j];
            cost[k] += charged[0];
            violation[k] += charged[1];
            if (i) violation[k] += charged[2];
            double *before = x;
            x = after, after = before;
        }
        arg[0] = x, arg[1] = x_ref + horizon * n, res[0] = charged;
        last(arg, res, iw, w, 0);
        cost[k] += charged[0];
        violation[k] += charged[1];
    }
}
