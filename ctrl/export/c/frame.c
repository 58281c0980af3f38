/* The control step: measurement checked, law evaluated or problem solved, fallback, bounds of the input. */

/* No number that is not finite reaches an actuator: zero, or the bound next to it, does instead. */
static void keep_within_bounds(double *input)
{
    for (int i = 0; i < INPUTS; ++i) {
        input[i] = isfinite(input[i]) ? input[i] : 0.0;
    }
    clip(input);
}

void name_reset(Memory *memory)
{
    memory->fallbacks = 0;
    start(memory);
}

void name_step(Memory *memory, const double state[], long sample, Decision *decision)
{
    int decided = 0;
    decision->status = NUMERICAL;
    decision->source = BACKUP;
    decision->iterations = 0;
    decision->residual = 0.0;
    if (PARTIAL || all_finite(state, STATES)) {
        decided = solve(memory, state, sample, decision);
        if (decided && !all_finite(decision->input, INPUTS)) {
            decision->status = NUMERICAL;
            decided = 0;
        }
    }
    if (!decided) {
        fallback(memory, state, sample, decision);
        clip(decision->input);
    }
    memory->fallbacks += decision->source == SHIFTED_PLAN || decision->source == BACKUP;
    keep_within_bounds(decision->input);
}

const char *name_status_name(name_status status)
{
    static const char *const names[] = {STATUS_NAMES};
    return (unsigned)status < sizeof names / sizeof names[0] ? names[status] : "unknown";
}

const char *name_source_name(name_source source)
{
    static const char *const names[] = {SOURCE_NAMES};
    return (unsigned)source < sizeof names / sizeof names[0] ? names[source] : "unknown";
}
