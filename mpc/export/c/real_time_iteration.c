/* The real-time iteration (Diehl, Bock & Schloeder 2005, "A real-time iteration scheme for nonlinear optimization in
   optimal feedback control"): at every sample the last plan is shifted, one quadratic program is formed about it, and its
   full step is taken.

   The first plan of a run is a table, computed in Python and converged there. Where the measured state is far from the
   plan, and after COLD_AFTER failures in a row, the iteration starts anew from a straight line to the reference; where
   that program is infeasible its hard constraints are relaxed, and the relaxed solution is iterated upon. */

static const double FAR = 0.5; /* largest distance to the plan, relative to 1 + |x|, at which it is continued */

static const double ELASTIC = 1e4; /* curvature of the cost of exceeding a relaxed constraint, in units of the gradient */

enum { COLD_AFTER = 3, MOST_ITERATIONS = 50 };

static const double *state_reference(long k)
{
    const long row = k < 0 ? 0 : k < WINDOW_ROWS ? k : WINDOW_ROWS - 1;
    return STATE_REFERENCE + row * STATES;
}

static const double *input_reference(long k)
{
    const long row = k < 0 ? 0 : k < WINDOW_ROWS ? k : WINDOW_ROWS - 1;
    return INPUT_REFERENCE + row * INPUTS;
}

static void start(Memory *m)
{
    for (int i = 0; i < (HORIZON + 1) * STATES; ++i) {
        m->plan_x[i] = FIRST_STATES[i];
    }
    for (int i = 0; i < HORIZON * VARIABLES; ++i) {
        m->plan_v[i] = FIRST_VARIABLES[i];
    }
    for (int i = 0; i < LAST_VARIABLES; ++i) {
        m->plan_last[i] = FIRST_LAST[i];
    }
    m->plan_begins = 0;
    m->failures = 0;
    m->measured = 0;
    m->is_elastic = 0;
    m->is_started = 1;
}

/* Stages before the end of the run. */
static int stages_left(long k)
{
    return RUN_STEPS > 0 && k >= 0 && k < RUN_STEPS && RUN_STEPS - k <= HORIZON ? (int)(RUN_STEPS - k) : HORIZON + 1;
}

/* The plan from sample k on, extended by the backup law; 0 where the state is far from it. */
static int shift_plan(Memory *m, const double *x, long k)
{
    const long passed = k - m->plan_begins;
    const int done = passed < 0 ? 0 : passed < HORIZON ? (int)passed : HORIZON;
    double near[STATES], turns[STATES];
    nearest(m->plan_x + done * STATES, x, near);
    for (int j = 0; j < STATES; ++j) {
        turns[j] = near[j] - m->plan_x[done * STATES + j];
    }
    for (int i = 0; i <= HORIZON - done; ++i) {
        for (int j = 0; j < STATES; ++j) {
            m->x[i * STATES + j] = m->plan_x[(done + i) * STATES + j] + turns[j];
        }
    }
    for (int i = 0; i < HORIZON; ++i) {
        const int from = i + done < HORIZON ? i + done : HORIZON - 1;
        for (int j = 0; j < VARIABLES; ++j) {
            m->v[i * VARIABLES + j] = done < HORIZON ? m->plan_v[from * VARIABLES + j] : 0.0;
        }
    }
    for (int j = 0; j < LAST_VARIABLES; ++j) {
        m->last[j] = m->plan_last[j];
    }
    for (int i = HORIZON - done; i < HORIZON; ++i) {
        regulate(m->x + i * STATES, k + i, m->v + i * VARIABLES);
        predict(m->x + i * STATES, m->v + i * VARIABLES, m->x + (i + 1) * STATES);
    }
    for (int j = 0; j < STATES; ++j) {
        if (!(fabs(x[j] - m->x[j]) <= FAR * (1.0 + fabs(x[j])))) {
            return 0;
        }
        m->x[j] = x[j];
    }
    for (int i = 0; i < HORIZON; ++i) {
        if (!all_finite(m->v + i * VARIABLES, INPUTS) || !all_finite(m->x + (i + 1) * STATES, STATES)) {
            return 0;
        }
    }
    return 1;
}

/* A straight line from the state to the reference, with the input of the reference; where the plant is undefined on that
   line, the prediction under that input, as far as it is defined. */
static void start_anew(Memory *m, const double *x, long k)
{
    const int left = stages_left(k);
    int defined = 1;
    for (int i = 0; i <= HORIZON; ++i) {
        const double *x_ref = state_reference(k + (i < left ? i : left)), share = (double)i / HORIZON;
        for (int j = 0; j < STATES; ++j) {
            m->x[i * STATES + j] = (1.0 - share) * x[j] + share * x_ref[j];
        }
    }
    for (int i = 0; i < HORIZON; ++i) {
        const double *u_ref = input_reference(k + (i < left ? i : left));
        double *v = m->v + i * VARIABLES, after[STATES];
        for (int j = 0; j < VARIABLES; ++j) {
            v[j] = 0.0;
        }
        for (int j = 0; j < INPUTS; ++j) {
            v[j] = u_ref[j] < LOWER[j] ? LOWER[j] : u_ref[j] > UPPER[j] ? UPPER[j] : u_ref[j];
        }
        predict(m->x + i * STATES, v, after);
        defined = defined && all_finite(after, STATES);
    }
    for (int i = 0; i < HORIZON && !defined; ++i) {
        const double *from = m->x + i * STATES;
        double after[STATES];
        predict(from, m->v + i * VARIABLES, after);
        for (int j = 0; j < STATES; ++j) {
            m->x[(i + 1) * STATES + j] = all_finite(after, STATES) ? after[j] : from[j];
        }
    }
    for (int i = 0; i < HORIZON; ++i) {
        const long at = k + (i < left ? i : left);
        double *v = m->v + i * VARIABLES;
        kinks(m->x + i * STATES, v, state_reference(at), input_reference(at), v + INPUTS);
        for (int j = INPUTS; j < VARIABLES; ++j) {
            v[j] = isfinite(v[j]) ? v[j] : 0.0;
        }
    }
    for (int j = 0; j < LAST_VARIABLES; ++j) {
        m->last[j] = 0.0;
    }
    for (int j = 0; j < STATES && ENDS_AT_REST; ++j) {
        m->last[j] = m->x[HORIZON * STATES + j];
    }
    for (int j = 0; j < INPUTS && ENDS_AT_REST; ++j) {
        m->last[STATES + j] = m->v[(HORIZON - 1) * VARIABLES + j];
    }
}

/* The parameters of a stage: its reference where that moves, and whether the run goes on where it ends. */
static void fill_parameters(long k, int i, int left, double *p)
{
    const long at = k + (i < left ? i : left);
    int next = 0;
    for (int j = 0; j < STATES && IS_MOVING; ++j) {
        p[next++] = state_reference(at)[j];
    }
    for (int j = 0; j < INPUTS && IS_MOVING; ++j) {
        p[next++] = input_reference(at)[j];
    }
    if (RUN_STEPS > 0) {
        p[next++] = i < left ? 1.0 : 0.0;
    }
    p[next] = 0.0;
}

/* Limits of a step from those of the point; 0 where a value is not finite. */
static int shift_limits(const double *lower, const double *upper, const double *values, int count, double *low, double *high)
{
    for (int i = 0; i < count; ++i) {
        low[i] = lower[i] - values[i];
        high[i] = upper[i] - values[i];
    }
    return all_finite(values, count);
}

/* Forms the quadratic program about the point; 0 where a function has no value there. */
static int linearise(Memory *m, long k)
{
    const int left = stages_left(k);
    int finite = 1;
    for (int i = 0; i <= HORIZON; ++i) {
        double p[STATES + INPUTS + 2], next[STATES], rows[LIMITS];
        double *H = m->qp_H + i * WIDTH * WIDTH, *h = m->qp_h + i * WIDTH, *G = m->qp_G + i * MOST_ROWS * WIDTH;
        double *low = m->qp_low + i * LIMITS, *high = m->qp_high + i * LIMITS;
        const double *x = m->x + i * STATES;
        fill_parameters(k, i, left, p);
        if (i < HORIZON) {
            const double *v = m->v + i * VARIABLES;
            stage(x, v, p, H, h, m->qp_F + i * STATES * STAGE_WIDTH, G, next, rows);
            for (int j = 0; j < STATES; ++j) {
                m->qp_b[i * STATES + j] = next[j] - m->x[(i + 1) * STATES + j];
            }
            finite = shift_limits(VARIABLES_LOW, VARIABLES_HIGH, v, VARIABLES, low, high) && finite;
            finite = shift_limits(i ? ROWS_LOW : FIRST_ROWS_LOW, i ? ROWS_HIGH : FIRST_ROWS_HIGH, rows, ROWS,
                                  low + VARIABLES, high + VARIABLES) && finite;
            for (int r = 0; r < ROWS && i >= left; ++r) {
                low[VARIABLES + r] = -INFINITY;
                high[VARIABLES + r] = INFINITY;
            }
        } else {
            last_stage(x, m->last, p, H, h, G, rows);
            finite = shift_limits(LAST_LOW, LAST_HIGH, m->last, LAST_VARIABLES, low, high) && finite;
            finite = shift_limits(LAST_ROWS_LOW, LAST_ROWS_HIGH, rows, LAST_ROWS,
                                  low + LAST_VARIABLES, high + LAST_VARIABLES) && finite;
        }
    }
    return finite;
}

static double within(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

/* Takes the full step, and makes it the plan. */
static void accept(Memory *m, long k)
{
    for (int i = 0; i <= HORIZON; ++i) {
        const double *z = m->qp_z + i * WIDTH;
        for (int j = 0; j < STATES; ++j) {
            m->plan_x[i * STATES + j] = m->x[i * STATES + j] + (i ? z[variables_of(i) + j] : 0.0);
        }
        for (int j = 0; j < VARIABLES && i < HORIZON; ++j) {
            m->plan_v[i * VARIABLES + j] = within(m->v[i * VARIABLES + j] + z[j], VARIABLES_LOW[j], VARIABLES_HIGH[j]);
        }
        for (int j = 0; j < LAST_VARIABLES && i == HORIZON; ++j) {
            m->plan_last[j] = within(m->last[j] + z[j], LAST_LOW[j], LAST_HIGH[j]);
        }
    }
    m->plan_begins = k;
    m->failures = 0;
}

/* Lets the hard constraints of all stages be exceeded at a high cost, or not. */
static void set_compliance(Memory *m, double compliance)
{
    for (int i = 0; i <= HORIZON; ++i) {
        for (int r = 0; r < rows_of(i); ++r) {
            const int is_hard = i < HORIZON ? IS_HARD[r] : LAST_IS_HARD[r];
            m->qp_compliance[i * LIMITS + variables_of(i) + r] = is_hard ? compliance : 0.0;
        }
    }
}

/* Solves the quadratic program; whether its solution may be used. */
static int solve_step(Memory *m, Status *status)
{
    int iterations = 0;
    const int ended = solve_program(m, MOST_ITERATIONS, &iterations);
    const int usable = (ended == SOLVED || ended == MAX_ITERATIONS) && all_finite(m->qp_z, (HORIZON + 1) * WIDTH);
    *status = usable ? MAX_ITERATIONS : ended == INFEASIBLE ? INFEASIBLE : NUMERICAL;
    return usable;
}

static int solve(Memory *m, const double *measured, long k, Decision *decision)
{
    double x[STATES];
    int is_new;
    if (!m->is_started) {
        start(m);
    }
    represent(m, measured, k, x);
    is_new = m->failures >= COLD_AFTER || !shift_plan(m, x, k);
    if (is_new) {
        start_anew(m, x, k);
    }
    decision->iterations = 1;
    decision->residual = INFINITY;
    decision->status = NUMERICAL;
    if (!linearise(m, k)) {
        return 0;
    }
    make_convex(m);
    if (!solve_step(m, &decision->status)) {
        if (is_new || m->is_elastic) {
            Status elastic;
            set_compliance(m, 1.0 / (ELASTIC * m->ip_scale));
            m->is_elastic = solve_step(m, &elastic);
            set_compliance(m, 0.0);
            if (m->is_elastic) {
                accept(m, k); /* as a point to iterate from */
            }
        }
        return 0;
    }
    m->is_elastic = 0;
    accept(m, k); /* with status MAX_ITERATIONS: one iteration does not prove convergence */
    decision->source = SUBOPTIMAL;
    for (int j = 0; j < INPUTS; ++j) {
        decision->input[j] = m->plan_v[j];
    }
    return 1;
}

/* The plan with feedback around it while it lasts, then the backup law. */
static void fallback(Memory *m, const double *x, long k, Decision *decision)
{
    long i;
    if (!m->is_started) {
        start(m);
    }
    i = k - m->plan_begins;
    m->failures += 1;
    if (i >= 0 && i < HORIZON) {
        const double *planned = m->plan_v + i * VARIABLES;
        if (!feed_back(x, m->plan_x + i * STATES, planned, k, decision->input)) {
            for (int j = 0; j < INPUTS; ++j) {
                decision->input[j] = planned[j];
            }
        }
        decision->source = SHIFTED_PLAN;
    } else {
        regulate(x, k, decision->input);
        decision->source = BACKUP;
    }
}
