/* The control step: measurement checked, law evaluated or problem solved, fallback, bounds of the input. */

static int all_finite(const double *values, int count)
{
    for (int i = 0; i < count; ++i) {
        if (!isfinite(values[i])) {
            return 0;
        }
    }
    return 1;
}

/* Numbers that are not finite have no place in an actuator: they become the bound, or number within, next to zero. */
static void keep_within_bounds(double *input)
{
    for (int i = 0; i < INPUTS; ++i) {
        double u = isnan(input[i]) ? 0.0 : input[i];
        u = u < LOWER[i] ? LOWER[i] : u;
        u = u > UPPER[i] ? UPPER[i] : u;
        input[i] = isinf(u) ? 0.0 : u;
    }
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
    if (all_finite(state, STATES)) {
        decided = solve(memory, state, sample, decision);
        if (decided && !all_finite(decision->input, INPUTS)) {
            decision->status = NUMERICAL;
            decided = 0;
        }
    }
    if (!decided) {
        fallback(memory, state, sample, decision);
        memory->fallbacks += 1;
    }
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
