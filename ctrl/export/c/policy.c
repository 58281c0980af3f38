/* A policy: the network of the observation of state and reference. */
static long reference_row(long k)
{
    return k < 0 ? 0 : k < REFERENCE_ROWS ? k : REFERENCE_ROWS - 1;
}

static void start(Memory *memory)
{
    (void)memory;
}

static int solve(Memory *memory, const double *x, long k, Decision *decision)
{
    double observation[OBSERVATIONS];
    (void)memory;
    observe(x, REFERENCE_STATE + reference_row(k) * STATES, observation);
    network(observation, decision->input);
    clip(decision->input);
    decision->status = SOLVED;
    decision->source = OPTIMAL;
    return all_finite(decision->input, INPUTS);
}

static void fallback(Memory *memory, const double *x, long k, Decision *decision)
{
    (void)memory;
    (void)x;
    decision->status = NUMERICAL;
    decision->source = BACKUP;
    for (int i = 0; i < INPUTS; ++i) {
        decision->input[i] = REFERENCE_INPUT[reference_row(k) * INPUTS + i];
    }
}
