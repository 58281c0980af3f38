/* A policy of measured signals: the network of what was reported and applied at this sample and those before. */
static long reference_row(long k)
{
    return k < 0 ? 0 : k < REFERENCE_ROWS ? k : REFERENCE_ROWS - 1;
}

static void start(Memory *memory)
{
    memory->begun = 0;
}

/* Takes a report: the last value of each signal and its age, and the values and inputs of the samples before. */
static void take(Memory *memory, const double *y)
{
    const int first = !memory->begun;
    memory->begun = 1;
    for (int j = PAST; j > 0; --j) {
        for (int i = 0; i < STATES; ++i) {
            memory->values[j * STATES + i] = memory->values[(j - 1) * STATES + i];
        }
        for (int i = 0; i < INPUTS; ++i) {
            memory->inputs[(j - 1) * INPUTS + i] = j > 1 ? memory->inputs[(j - 2) * INPUTS + i] : memory->applied[i];
        }
    }
    for (int i = 0; i < STATES; ++i) {
        const double before = first ? BEFORE[i] : memory->values[i];
        const double age = first ? 0.0 : memory->ages[i];
        memory->values[i] = isfinite(y[i]) ? y[i] : before;
        memory->ages[i] = isfinite(y[i]) ? 0.0 : age + 1.0;
    }
    for (int j = 1; first && j <= PAST; ++j) { /* the first report also stands for the samples before the run */
        for (int i = 0; i < STATES; ++i) {
            memory->values[j * STATES + i] = memory->values[i];
        }
        for (int i = 0; i < INPUTS; ++i) {
            memory->inputs[(j - 1) * INPUTS + i] = FIRST_INPUT[i];
        }
    }
}

static void observe(const Memory *memory, long k, double *observation)
{
    int n = 0;
    for (int i = 0; i < STATES; ++i) {
        observation[n++] = memory->values[i];
    }
    for (int i = 0; i < STATES; ++i) {
        if (AGED[i]) {
            observation[n++] = memory->ages[i];
        }
    }
    for (int i = 0; i < PAST * STATES; ++i) {
        observation[n++] = memory->values[STATES + i];
    }
    for (int i = 0; i < PAST * INPUTS; ++i) {
        observation[n++] = memory->inputs[i];
    }
    for (int i = 0; i < MOVING; ++i) {
        observation[n++] = REFERENCE_STATE[reference_row(k) * MOVING + i];
    }
}

static void apply(Memory *memory, const double *input)
{
    for (int i = 0; i < INPUTS; ++i) {
        memory->applied[i] = input[i];
    }
}

static int solve(Memory *memory, const double *y, long k, Decision *decision)
{
    double observation[OBSERVATIONS];
    take(memory, y);
    observe(memory, k, observation);
    network(observation, decision->input);
    clip(decision->input);
    apply(memory, decision->input);
    decision->status = SOLVED;
    decision->source = OPTIMAL;
    return all_finite(decision->input, INPUTS);
}

static void fallback(Memory *memory, const double *y, long k, Decision *decision)
{
    (void)y;
    decision->status = NUMERICAL;
    decision->source = BACKUP;
    for (int i = 0; i < INPUTS; ++i) {
        decision->input[i] = REFERENCE_INPUT[reference_row(k) * INPUTS + i];
    }
    clip(decision->input);
    apply(memory, decision->input);
}
