/* One iteration of sequential quadratic programming, on the arrays of mpc/solvers/sqp.py and in its words: each function
   here is the method of the same name there. This file is appended to the C code that CasADi generates for the functions
   of a staged program, and compiled with it. Nothing is allocated, and HPIPM is called by the addresses that are given,
   so that it is the one that Python loaded. */

#include <math.h>

typedef int function(const casadi_real **, casadi_real **, casadi_int *, casadi_real *, int);
typedef void set_all(void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *,
                     void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *,
                     void *, void *, void *);
typedef void set_all_without_reverse(void *, void *, void *, void *, void *, void *, void *, void *, void *, void *,
                                     void *, void *, void *, void *, void *, void *, void *, void *, void *, void *,
                                     void *, void *, void *, void *, void *, void *); /* of acados' HPIPM */
typedef void get_all(void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *, void *);

enum { ARGUMENTS = 5, RESULTS = 15, NOT_FINITE = -1, NOT_CONVEX = -2 };

/* The functions of a stage and of the last one: values, and derivatives with the Hessian of the cost or Lagrangian. */
static function *const of_stage[] = {stage_values, stage_cost, stage_lagrangian};
static function *const of_last[] = {terminal_values, terminal_cost, terminal_lagrangian};

/* As in mpc/solvers/iteration.py. Arrays of the stages follow each other; a "bounded" entry is an input or a row. */
typedef struct {
    long N, n, variables, bounded, inputs, rows; /* inputs: of all stages; rows: of the first stage */
    long given; /* number of arguments of set_data, of which 26 are for another version than 27 */
    long stage_steps[ARGUMENTS + RESULTS]; /* from one stage to the next, in each array */
    double *stage_arrays[ARGUMENTS + RESULTS], *last_arrays[ARGUMENTS + RESULTS];
    const double **arg;
    double **res, *w;
    casadi_int *iw;
    double *point, *point_bounded, *multipliers, *pi, *f, *F, *next; /* x and v; values */
    double *step, *gradient, *lower, *upper, *lam_lower, *lam_upper, *qp_pi, *b; /* of the quadratic program */
    const double *A, *S, *C; /* of its first stage, transposed */
    double *r, *row_lower, *row_upper;
    const double *lowest, *highest, *least, *most; /* bounds: with infinite, and with finite ones */
    double *pivots, *slope, *cost_gradient, *weight, *kept;
    double armijo, shortest, inexact;
    long controls; /* inputs of the plant; the other entries of a stage's v are variables of kinks */
    double *K, *x_ref, *u_ref, *input_low, *input_high, *periods; /* of the backup law, and of the state's signals */
    void *set[27], *get[12], *qp, *sol, *argument, *workspace;
    set_all *set_data;
    void (*solve_program)(void *, void *, void *, void *);
    get_all *get_solution;
    void (*get_number)(const char *, void *, void *);
} iteration;

static double larger(double a, double b) { return b > a || b != b ? b : a; } /* of which one may be no number */

static void call(const iteration *s, function *called, double *const *arrays, const long *steps, long k) {
    for (int i = 0; i < ARGUMENTS; i++) s->arg[i] = arrays[i] + (steps ? k * steps[i] : 0);
    for (int i = 0; i < RESULTS; i++) s->res[i] = arrays[ARGUMENTS + i] + (steps ? k * steps[ARGUMENTS + i] : 0);
    called(s->arg, s->res, s->iw, s->w, 0);
}

static void evaluate(const iteration *s, int kind) {
    for (long k = 0; k < s->N; k++) call(s, of_stage[kind], s->stage_arrays, s->stage_steps, k);
    call(s, of_last[kind], s->last_arrays, 0, 0);
}

/* Returns whether all Hessians are convex; kind is 1 for that of the cost, 2 for that of the Lagrangian. */
CASADI_SYMBOL_EXPORT int iteration_linearise(iteration *s, int kind) {
    int is_convex = 1;
    evaluate(s, kind);
    for (long i = 0; i < s->N * s->n; i++) s->b[i] = s->next[i] - s->point[s->n + i];
    for (long i = 0; i < s->variables; i++) s->cost_gradient[i] = s->gradient[i];
    for (long i = 0; i < s->bounded; i++) {
        s->lower[i] = s->least[i] - s->point_bounded[i];
        s->upper[i] = s->most[i] - s->point_bounded[i];
    }
    for (long k = 0; k <= s->N; k++) is_convex &= s->pivots[k] > 0.0;
    return is_convex;
}

CASADI_SYMBOL_EXPORT double iteration_residual(const iteration *s) {
    long states = (s->N + 1) * s->n, count = s->N * s->n;
    double size = 0.0, sizes = 0.0, worst = 0.0, complementarity = 0.0;
    for (long i = 0; i < count; i++) size += fabs(s->pi[i]);
    for (long i = 0; i < s->bounded; i++) sizes += fabs(s->multipliers[i]);
    size = (size + sizes) / (double)(count + s->bounded) / 100.0;
    size = size < 1.0 ? 1.0 : size;
    for (long i = s->n; i < s->variables; i++) { /* the first state is given */
        double of_other = i < states ? -s->pi[i - s->n] : s->multipliers[i - states];
        worst = larger(worst, fabs(s->slope[i] + of_other));
    }
    worst /= size;
    for (long i = 0; i < count; i++) worst = larger(worst, fabs(s->b[i]) / (1.0 + fabs(s->point[s->n + i])));
    for (long i = 0; i < s->bounded; i++) {
        double value = s->point_bounded[i], multiplier = s->multipliers[i];
        double bound = multiplier > 0.0 ? s->highest[i] : s->lowest[i];
        double outside = larger(larger(s->lowest[i] - value, value - s->highest[i]), 0.0);
        worst = larger(worst, outside / (1.0 + fabs(value)));
        complementarity = larger(complementarity, fabs(multiplier) * (isfinite(bound) ? fabs(value - bound) : 1.0));
    }
    worst = larger(worst, complementarity / size);
    return isfinite(worst) ? worst : INFINITY;
}

/* Solves the quadratic program for the measured state x; returns HPIPM's status. */
CASADI_SYMBOL_EXPORT int iteration_feedback(iteration *s, const double *x) {
    long n = s->n, m = s->stage_steps[1], rows = s->rows;
    int status = NOT_FINITE;
    for (long i = 0; i < n; i++) {
        double d = x[i] - s->point[i];
        if (d == 0.0) continue;
        for (long j = 0; j < n; j++) s->b[j] += d * s->A[i * n + j];
        for (long j = 0; j < m; j++) s->r[j] += d * s->S[i * m + j];
        for (long j = 0; j < rows; j++) {
            s->row_lower[j] -= d * s->C[i * rows + j];
            s->row_upper[j] -= d * s->C[i * rows + j];
        }
        s->point[i] = x[i];
    }
    void **a = s->set, **g = s->get;
    if (s->given == 27)
        s->set_data(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15],
                    a[16], a[17], a[18], a[19], a[20], a[21], a[22], a[23], a[24], a[25], a[26]);
    else
        ((set_all_without_reverse *)s->set_data)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11],
                                                 a[12], a[13], a[14], a[15], a[16], a[17], a[18], a[19], a[20], a[21],
                                                 a[22], a[23], a[24], a[25]);
    s->solve_program(s->qp, s->sol, s->argument, s->workspace);
    s->get_solution(g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8], g[9], g[10], g[11]);
    s->get_number("status", s->workspace, &status);
    return status;
}

CASADI_SYMBOL_EXPORT int iteration_is_finite(const iteration *s) {
    for (long i = 0; i < s->variables; i++)
        if (!isfinite(s->step[i])) return 0;
    for (long i = 0; i < s->N * s->n; i++)
        if (!isfinite(s->qp_pi[i])) return 0;
    return 1;
}

CASADI_SYMBOL_EXPORT void iteration_move(iteration *s, double length) {
    for (long i = 0; i < s->variables; i++) s->point[i] += length * s->step[i];
    for (long i = 0; i < s->inputs; i++) {
        double value = s->point_bounded[i];
        value = value < s->least[i] ? s->least[i] : value;
        s->point_bounded[i] = value > s->most[i] ? s->most[i] : value;
    }
    for (long i = 0; i < s->N * s->n; i++) s->pi[i] += length * (s->qp_pi[i] - s->pi[i]);
    for (long i = 0; i < s->bounded; i++)
        s->multipliers[i] += length * (s->lam_upper[i] - s->lam_lower[i] - s->multipliers[i]);
}

/* The whole real-time iteration: HPIPM's status, NOT_FINITE without a step, or NOT_CONVEX right after linearising. */
CASADI_SYMBOL_EXPORT int iteration_real_time(iteration *s, int kind, const double *x) {
    if (!iteration_linearise(s, kind)) return NOT_CONVEX;
    int status = iteration_feedback(s, x);
    if (!iteration_is_finite(s)) return NOT_FINITE;
    if (status == 0 || status == 1) iteration_move(s, 1.0);
    return status;
}

static void shift(double *array, long stages, long size) {
    for (long i = 0; i < (stages - 1) * size; i++) array[i] = array[i + size];
}

static double turns(double distance, double period) {
    double whole = rint(distance / period);
    return isfinite(period) && isfinite(whole) ? whole * period : 0.0;
}

/* Shifts the point by one sample, to one that begins in the measured state x, and extends it by the backup law. Returns
   0 where it is no longer finite, or farther from x than the limit, relative to 1 + |x|. */
CASADI_SYMBOL_EXPORT int iteration_advance(iteration *s, const double *x, double limit) {
    long N = s->N, n = s->n, m = s->stage_steps[1], rows = s->rows;
    double *states = s->point, *inputs = s->point_bounded, *rows_at = s->multipliers + s->inputs;
    double *before = states + (N - 1) * n, *last = inputs + (N - 1) * m, distance = 0.0;
    shift(states, N + 1, n);
    shift(inputs, N, m);
    shift(s->pi, N, n);
    shift(s->multipliers, N, m);
    shift(rows_at, N, rows);
    for (long j = 0; j < n; j++) {
        double moved = states[j] - turns(states[j] - x[j], s->periods[j]) - states[j];
        if (moved != 0.0)
            for (long k = 0; k < N; k++) states[k * n + j] += moved;
    }
    for (long i = 0; i < s->controls; i++) {
        double u = s->u_ref[i]; /* in the order of Fallback.backup, so that results do not depend on a compiler */
        for (long j = 0; j < n; j++)
            u -= s->K[i * n + j] * (before[j] - turns(before[j] - s->x_ref[j], s->periods[j]) - s->x_ref[j]);
        u = u < s->input_low[i] ? s->input_low[i] : u;
        last[i] = u > s->input_high[i] ? s->input_high[i] : u;
    }
    call(s, of_stage[0], s->stage_arrays, s->stage_steps, N - 1);
    for (long j = 0; j < n; j++) before[n + j] = s->next[(N - 1) * n + j];
    for (long j = 0; j < n; j++) distance = larger(distance, fabs(x[j] - states[j]) / (1.0 + fabs(x[j])));
    if (!(distance <= limit)) return 0;
    for (long i = 0; i < (N + 1) * n; i++)
        if (!isfinite(states[i])) return 0;
    for (long j = 0; j < n; j++) states[j] = x[j];
    return 1;
}

static void merit(const iteration *s, double *cost, double *violation) {
    *cost = s->F[0];
    *violation = 0.0;
    for (long k = 0; k < s->N; k++) *cost += s->f[k];
    for (long i = 0; i < s->N * s->n; i++) *violation += fabs(s->next[i] - s->point[s->n + i]);
    for (long i = s->inputs; i < s->bounded; i++) {
        double g = s->point_bounded[i];
        *violation += larger(larger(s->lowest[i] - g, g - s->highest[i]), 0.0);
    }
}

static void copy(double *to, const double *from, long count) {
    for (long i = 0; i < count; i++) to[i] = from[i];
}

/* Backtracking on the exact penalty function (Han, 1977); the length of the step that was taken, 0 for none. */
CASADI_SYMBOL_EXPORT double iteration_search(iteration *s) {
    long count = s->N * s->n;
    double largest = 0.0, slope = 0.0, cost, violation;
    double *kept_pi = s->kept + s->variables, *kept_multipliers = kept_pi + count;
    for (long i = 0; i < count; i++) largest = larger(largest, fabs(s->qp_pi[i]));
    for (long i = s->inputs; i < s->bounded; i++)
        largest = larger(larger(largest, fabs(s->lam_lower[i])), fabs(s->lam_upper[i]));
    if (!(1.1 * largest <= *s->weight && *s->weight <= 100.0 * largest))
        *s->weight = 1.5 * largest > 1e-3 ? 1.5 * largest : 1e-3;
    for (long i = 0; i < s->variables; i++) slope += s->cost_gradient[i] * s->step[i];
    merit(s, &cost, &violation);
    double before = cost + *s->weight * violation, decrease = slope - *s->weight * violation;
    if (decrease > 0.0) decrease = 0.0;
    copy(s->kept, s->point, s->variables);
    copy(kept_pi, s->pi, count);
    copy(kept_multipliers, s->multipliers, s->bounded);
    for (double length = 1.0; length >= s->shortest; length *= 0.5) {
        iteration_move(s, length);
        evaluate(s, 0);
        merit(s, &cost, &violation);
        double now = cost + *s->weight * violation;
        if (now <= before + s->armijo * length * decrease + s->inexact * (1.0 + fabs(before))) return length;
        copy(s->point, s->kept, s->variables);
        copy(s->pi, kept_pi, count);
        copy(s->multipliers, kept_multipliers, s->bounded);
    }
    return 0.0;
}
