/* LQR: the saturated regulator and nothing else. */
static void start(Memory *memory)
{
    (void)memory;
}

static int solve(Memory *memory, const double *x, long k, Decision *decision)
{
    (void)memory;
    if (!regulate(x, k, decision->input)) {
        return 0;
    }
    decision->status = SOLVED;
    decision->source = OPTIMAL;
    return 1;
}

static void fallback(Memory *memory, const double *x, long k, Decision *decision)
{
    (void)memory;
    (void)x;
    for (int i = 0; i < INPUTS; ++i) {
        decision->input[i] = GAIN_INPUT[gain_row(k) * INPUTS + i];
    }
}
