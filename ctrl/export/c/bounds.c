static int all_finite(const double *values, int count)
{
    for (int i = 0; i < count; ++i) {
        if (!isfinite(values[i])) {
            return 0;
        }
    }
    return 1;
}

/* The inputs within their bounds; NaN stays. */
static void clip(double *u)
{
    for (int i = 0; i < INPUTS; ++i) {
        u[i] = u[i] < LOWER[i] ? LOWER[i] : u[i] > UPPER[i] ? UPPER[i] : u[i];
    }
}
