/* Where the prediction cannot end as it should: linear MPC over the same horizon, which may end anywhere. */
static void start_without_end(Memory *memory)
{
    linear_start(memory);
}

static int decide_without_end(Memory *memory, const double *x, long k, Decision *decision)
{
    const int iterations = decision->iterations;
    const double residual = decision->residual;
    Decision other = *decision;
    other.iterations = 0;
    if (!linear_solve(memory, x, k, &other)) {
        decision->residual = residual;
        return 0;
    }
    *decision = other;
    decision->iterations += iterations;
    decision->status = TERMINAL_SET_UNREACHABLE;
    decision->source = SUBOPTIMAL;
    return 1;
}
