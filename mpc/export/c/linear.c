/* Linear MPC: rows low <= a_i'y <= high that move with the measured state and the sample, and inputs affine in y. */
static long data_row(long k)
{
    return k < 0 ? 0 : k < DATA_ROWS ? k : DATA_ROWS - 1;
}

/* Entry i of the plan s = [x0 u0 x1 u1 ...] for a point, the state it starts from and its sample. */
static double planned(const double *y, const double *x, long k, int i)
{
    double value = PLAN_OFFSET[data_row(k) * PLANNED + i];
    for (int j = 0; j < VARIABLES; ++j) {
        value += PLAN[i * VARIABLES + j] * y[j];
    }
    for (int j = 0; j < STATES; ++j) {
        value += PLAN_STATE[i * STATES + j] * x[j];
    }
    return value;
}

static void linear_start(Memory *memory)
{
    memory->planned = 0;
    memory->continues = 0;
    memory->continues_without_set = 0;
    forget(memory);
}

static void move_rows(Memory *memory, const double *x, long k)
{
    for (int i = 0; i < ROWS; ++i) {
        double shift = ROW_SHIFT[data_row(k) * ROWS + i];
        for (int j = 0; j < STATES; ++j) {
            shift += ROW_STATE[i * STATES + j] * x[j];
        }
        memory->low[i] = ROW_LOWER[i] + shift;
        memory->high[i] = ROW_UPPER[i] + shift;
    }
}

/* Solves for a finite state; returns whether there is a point to act on, which becomes the plan. */
static int linear_solve(Memory *memory, const double *x, long k, Decision *decision)
{
    Status status;
    move_rows(memory, x, k);
    decision->residual = INFINITY;
    status = least_distance(memory, ROWS, &memory->continues, decision);
    if (status == INFEASIBLE && OTHER_ROWS < ROWS) {
        move_rows(memory, x, k);
        status = least_distance(memory, OTHER_ROWS, &memory->continues_without_set, decision);
        forget(memory);
        status = status == SOLVED || (status == MAX_ITERATIONS && decision->residual <= LOOSE) ||
                         (status == NUMERICAL && decision->residual <= LOOSE)
                     ? TERMINAL_SET_UNREACHABLE
                     : INFEASIBLE;
    }
    decision->status = status;
    if (status != SOLVED && (status == INFEASIBLE || !(decision->residual <= LOOSE))) {
        return 0;
    }
    decision->source = status == SOLVED ? OPTIMAL : SUBOPTIMAL;
    for (int i = 0; i < INPUTS; ++i) {
        decision->input[i] = planned(memory->y, x, k, STATES + i);
    }
    for (int j = 0; j < VARIABLES; ++j) {
        memory->plan[j] = memory->y[j];
    }
    for (int j = 0; j < STATES; ++j) {
        memory->plan_state[j] = x[j];
    }
    memory->plan_sample = k;
    memory->planned = 1;
    clip(decision->input);
    return 1;
}
