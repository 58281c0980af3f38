/* Explicit MPC: every input is the largest of smallest affine functions, u = max_t min_(i in t) a_i'x + b_i. */
static double law(const double *x, int input)
{
    double most = 0.0;
    for (int t = INPUT_FIRST[input]; t < INPUT_FIRST[input + 1]; ++t) {
        double least = 0.0;
        for (int p = TERM_FIRST[t]; p < TERM_FIRST[t + 1]; ++p) {
            const double *slope = SLOPES + TERM_PIECES[p] * STATES;
            double value = OFFSETS[TERM_PIECES[p]];
            for (int i = 0; i < STATES; ++i) {
                value += slope[i] * x[i];
            }
            if (isnan(value)) {
                return value;
            }
            least = p == TERM_FIRST[t] || value < least ? value : least;
        }
        most = t == INPUT_FIRST[input] || least > most ? least : most;
    }
    return most;
}

/* Whether one of the regions holds the state. */
static int feasible(const double *x)
{
    double scaled[STATES];
    for (int i = 0; i < STATES; ++i) {
        scaled[i] = (x[i] - MIDDLE[i]) / HALF[i];
    }
    for (int region = 0; region < REGIONS; ++region) {
        int row = REGION_FIRST[region];
        for (; row < REGION_FIRST[region + 1]; ++row) {
            double value = 0.0;
            for (int i = 0; i < STATES; ++i) {
                value += REGION_ROWS[row * STATES + i] * scaled[i];
            }
            if (!(value <= REGION_RIGHT[row])) {
                break;
            }
        }
        if (row == REGION_FIRST[region + 1]) {
            return 1;
        }
    }
    return 0;
}

static void start(Memory *memory)
{
    (void)memory;
}

static int solve(Memory *memory, const double *x, long k, Decision *decision)
{
    double near[STATES];
    (void)memory;
    nearest(x, CENTRE, near);
    for (int i = 0; i < INPUTS; ++i) {
        decision->input[i] = law(near, i);
    }
    clip(decision->input);
    if (feasible(near)) {
        decision->status = SOLVED;
        decision->source = OPTIMAL;
        return 1;
    }
    if (!all_finite(decision->input, INPUTS)) { /* pieces of the law that overflow cancel */
        regulate(near, k, decision->input);
    }
    decision->status = INFEASIBLE;
    decision->source = BACKUP;
    return 1;
}

static void fallback(Memory *memory, const double *x, long k, Decision *decision)
{
    (void)memory;
    regulate(x, k, decision->input);
    decision->source = BACKUP;
}
