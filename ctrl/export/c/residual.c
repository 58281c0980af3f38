/* A residual policy: the regulator, and what the network of the observation adds to it. */
static void start(Memory *memory)
{
    (void)memory;
}

static int solve(Memory *memory, const double *x, long k, Decision *decision)
{
    double observation[OBSERVATIONS];
    double added[INPUTS];
    (void)memory;
    if (!regulate(x, k, decision->input)) {
        return 0;
    }
    observe(x, REFERENCE_STATE, observation);
    network(observation, added);
    for (int i = 0; i < INPUTS; ++i) {
        decision->input[i] += added[i];
    }
    clip(decision->input);
    decision->status = SOLVED;
    decision->source = OPTIMAL;
    return all_finite(decision->input, INPUTS);
}

static void fallback(Memory *memory, const double *x, long k, Decision *decision)
{
    (void)memory;
    (void)x;
    (void)k;
    decision->status = NUMERICAL;
    decision->source = BACKUP;
    for (int i = 0; i < INPUTS; ++i) {
        decision->input[i] = REFERENCE_INPUT[i];
    }
}
