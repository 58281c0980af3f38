/* The regulator: gains, states and inputs by sample; before the first sample and after the last one a row is held. */
static long gain_row(long k)
{
    if (k < 0) {
        return GAIN_ROW_BEFORE;
    }
    return k < GAIN_ROWS ? k : GAIN_ROWS - 1;
}

/* input - K (x - towards) with the gain of sample k, towards the nearest representative; returns whether it is finite. */
static int feed_back(const double *x, const double *towards, const double *input, long k, double *u)
{
    const double *gain = GAIN + gain_row(k) * INPUTS * STATES;
    double near[STATES];
    nearest(x, towards, near);
    for (int i = 0; i < INPUTS; ++i) {
        double correction = 0.0;
        for (int j = 0; j < STATES; ++j) {
            correction += gain[i * STATES + j] * (near[j] - towards[j]);
        }
        u[i] = input[i] - correction;
    }
    return all_finite(u, INPUTS);
}

/* The saturated regulator; where it is not finite, the input that it regulates around. */
static int regulate(const double *x, long k, double *u)
{
    const double *input = GAIN_INPUT + gain_row(k) * INPUTS;
    int known;
    feed_back(x, GAIN_STATE + gain_row(k) * STATES, input, k, u);
    clip(u);
    known = all_finite(u, INPUTS);
    for (int i = 0; i < INPUTS && !known; ++i) {
        u[i] = input[i];
    }
    return known;
}
