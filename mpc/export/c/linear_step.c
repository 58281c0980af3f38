static void start(Memory *memory)
{
    memory->measured = 0;
    linear_start(memory);
}

static int solve(Memory *memory, const double *x, long k, Decision *decision)
{
    double near[STATES];
    represent(memory, x, k, near);
    return linear_solve(memory, near, k, decision);
}

/* The last plan, shifted and corrected by feedback, and after its end the backup law. */
static void fallback(Memory *memory, const double *x, long k, Decision *decision)
{
    const long since = k - memory->plan_sample;
    if (memory->planned && since >= 0 && since < HORIZON) {
        double state[STATES], input[INPUTS];
        for (int i = 0; i < STATES; ++i) {
            state[i] = planned(memory->plan, memory->plan_state, memory->plan_sample,
                               (int)since * (STATES + INPUTS) + i);
        }
        for (int i = 0; i < INPUTS; ++i) {
            input[i] = planned(memory->plan, memory->plan_state, memory->plan_sample,
                               (int)since * (STATES + INPUTS) + STATES + i);
        }
        if (!feed_back(x, state, input, k, decision->input)) {
            for (int i = 0; i < INPUTS; ++i) {
                decision->input[i] = input[i];
            }
        }
        decision->source = SHIFTED_PLAN;
    } else {
        regulate(x, k, decision->input);
        decision->source = BACKUP;
    }
}
