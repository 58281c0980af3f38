/* MPC with an artificial reference: the prediction z = PLAN_FREE v + PLAN_PARAMETER p + PLAN_CONSTANT holds the planned
   samples and the parts of the artificial reference on which it ends; p holds the state and the reference. */

/* Entry i of the last accepted prediction. */
static double predicted(const Memory *memory, int i)
{
    double value = PLAN_CONSTANT[i];
    for (int j = 0; j < FREE; ++j) {
        value += PLAN_FREE[i * FREE + j] * memory->kept[j];
    }
    for (int j = 0; j < PARAMETERS; ++j) {
        value += PLAN_PARAMETER[i * PARAMETERS + j] * memory->asked[j];
    }
    return value;
}

/* Entry i of (x, u) so many samples ahead, on the artificial reference from the horizon on. */
static double predicted_ahead(const Memory *memory, long ahead, int i)
{
    double value;
    if (ahead < SAMPLES_AHEAD) {
        return predicted(memory, (int)ahead * (STATES + INPUTS) + i);
    }
    if (ARTIFICIAL_PARTS == 0) {
        return memory->asked[STATES + i];
    }
    value = predicted(memory, SAMPLES_AHEAD * (STATES + INPUTS) + i);
    if (ARTIFICIAL_PARTS == 3) {
        const double phase = FREQUENCY[0] * (double)(ahead - SAMPLES_AHEAD);
        value += predicted(memory, (SAMPLES_AHEAD + 1) * (STATES + INPUTS) + i) * sin(phase);
        value += predicted(memory, (SAMPLES_AHEAD + 2) * (STATES + INPUTS) + i) * cos(phase);
    }
    return value;
}

static void start(Memory *memory)
{
    memory->measured = 0;
    memory->accepted = 0;
    start_without_end(memory);
}

static int solve(Memory *memory, const double *x, long k, Decision *decision)
{
    const double *target = TARGET + (k < 0 ? 0 : k < TARGET_ROWS ? k : TARGET_ROWS - 1) * (PARAMETERS - STATES);
    double parameter[PARAMETERS], v[FREE];
    double *o = memory->offsets, *upper = o + OFFSETS, *lower = upper + BOXED, *H = lower + BOXED, gap;
    represent(memory, x, k, parameter);
    for (int j = STATES; j < PARAMETERS; ++j) {
        parameter[j] = target[j - STATES];
    }
    for (int r = 0; r < OFFSETS; ++r) {
        o[r] = OFFSET[r];
        for (int j = 0; j < PARAMETERS; ++j) {
            o[r] += parameter[j] * OFFSET_PARAMETER[j * OFFSETS + r];
        }
    }
    for (int r = 0; r < BOXED; ++r) {
        /* A bound that does not exist is 0 in the interior point, which masks it. */
        upper[r] = HAS_UPPER[r] > 0.0 ? BOX_UPPER[r] - o[r] : 0.0;
        lower[r] = HAS_LOWER[r] > 0.0 ? o[r] - BOX_LOWER[r] : 0.0;
    }
    for (int c = 0; c < CONES; ++c) {
        const double *e = o + BOXED + TRIPLE[c];
        AT(H, 0, c) = CONE_SIGN[c] * (CONE_BOUND[c] - e[0]);
        AT(H, 1, c) = e[TRIPLES];
        AT(H, 2, c) = e[2 * TRIPLES];
    }
    decision->status = interior_point(upper, lower, H, v, memory->space, &decision->iterations, &decision->residual, &gap);
    decision->residual = larger(decision->residual, gap);
    if (decision->status == INFEASIBLE) {
        return decide_without_end(memory, parameter, k, decision);
    }
    if (decision->status != SOLVED && !(decision->residual <= USABLE)) {
        return 0;
    }
    decision->source = decision->status == SOLVED ? OPTIMAL : SUBOPTIMAL;
    for (int j = 0; j < FREE; ++j) {
        memory->kept[j] = v[j];
    }
    for (int j = 0; j < PARAMETERS; ++j) {
        memory->asked[j] = parameter[j];
    }
    memory->accepted = 1;
    memory->accepted_sample = k;
    for (int i = 0; i < INPUTS; ++i) {
        decision->input[i] = predicted(memory, STATES + i);
    }
    clip(decision->input);
    return 1;
}

/* The last accepted prediction, which never ends, corrected by feedback; before the first one the backup law. */
static void fallback(Memory *memory, const double *x, long k, Decision *decision)
{
    if (memory->accepted) {
        const long ahead = k > memory->accepted_sample ? k - memory->accepted_sample : 0;
        double state[STATES], input[INPUTS];
        for (int i = 0; i < STATES; ++i) {
            state[i] = predicted_ahead(memory, ahead, i);
        }
        for (int i = 0; i < INPUTS; ++i) {
            input[i] = predicted_ahead(memory, ahead, STATES + i);
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
