/* min |y|^2/2 + sum_i WEIGHT_i dist(a_i'y, [low_i, high_i]), an infinite weight making a row hard; a_i has length 1.

   Dual active-set method of Arnstrom, Bemporad and Axehill (2022) for the least-distance problem: a Cholesky-like
   factorisation L D L' of the working set's Gram matrix is updated when a row enters or leaves. A soft row is one whose
   multiplier is bounded by its weight: at that bound it leaves the working set as a violated row. */

enum { IDLE, UP, DOWN, EQUAL, VIOLATED_UP, VIOLATED_DOWN };

#define FACTOR(i, j) memory->factor[(i) * ((i) + 1) / 2 + (j)]

static const double DEPENDENT = 1e-11; /* squared distance of a unit row from the working set that counts as none */
static const double PRIMAL = 1e-11;    /* violation of a row that counts as none, relative to 1 + |y| */
static const double TOUCHED = 1e-9;    /* the same of rows of which no better point is to be had */
static const double DUAL = 1e-12;      /* the same of a multiplier's bound, relative to 1 + the largest multiplier */
enum { STALLED = 200 };                /* iterations after which rows are chosen by number, lest they cycle */

static double row_times(int i, const double *y)
{
    double value = 0.0;
    for (int j = 0; j < VARIABLES; ++j) {
        value += ROW[i * VARIABLES + j] * y[j];
    }
    return value;
}

static double largest(const double *y)
{
    double most = 0.0;
    for (int j = 0; j < VARIABLES; ++j) {
        most = fabs(y[j]) > most ? fabs(y[j]) : most;
    }
    return most;
}

static double bound_of(const Memory *memory, int i)
{
    const int state = memory->state[i];
    return state == DOWN || state == VIOLATED_DOWN ? memory->low[i] : memory->high[i];
}

/* Bounds of the multiplier of a row in the working set: positive where its upper bound is active. */
static double most_multiplier(const Memory *memory, int i)
{
    return memory->state[i] == DOWN ? 0.0 : WEIGHT[i];
}

static double least_multiplier(const Memory *memory, int i)
{
    return memory->state[i] == UP ? 0.0 : -WEIGHT[i];
}

/* Appends a row to the working set and its factorisation; a row that depends on the others makes it singular. */
static void append_row(Memory *memory, int i)
{
    const int n = memory->working;
    double left = row_times(i, ROW + i * VARIABLES);
    for (int k = 0; k < n; ++k) {
        double dot = row_times(memory->rows[k], ROW + i * VARIABLES);
        for (int j = 0; j < k; ++j) {
            dot -= FACTOR(k, j) * memory->pivot[j] * FACTOR(n, j);
        }
        FACTOR(n, k) = dot / memory->pivot[k];
        left -= dot * FACTOR(n, k);
    }
    memory->singular = n >= VARIABLES || !(left > DEPENDENT);
    memory->pivot[n] = memory->singular ? 0.0 : left;
    memory->rows[n] = i;
    memory->working = n + 1;
}

/* Removes place p of the working set (Gill, Golub, Murray and Saunders, 1974, method C1, for the rows below). */
static void remove_row(Memory *memory, int p)
{
    const int n = memory->working;
    double scale = memory->pivot[p];
    for (int i = p + 1; i < n; ++i) {
        memory->direction[i - 1] = FACTOR(i, p);
    }
    for (int i = p; i + 1 < n; ++i) {
        for (int j = 0; j < i; ++j) {
            FACTOR(i, j) = FACTOR(i + 1, j < p ? j : j + 1);
        }
        memory->pivot[i] = memory->pivot[i + 1];
        memory->rows[i] = memory->rows[i + 1];
        memory->multiplier[i] = memory->multiplier[i + 1];
    }
    memory->working = n - 1;
    memory->singular = 0;
    for (int k = p; k < n - 1; ++k) {
        const double entry = memory->direction[k];
        const double pivot = memory->pivot[k] + scale * entry * entry;
        if (!(pivot > DEPENDENT)) {
            memory->pivot[k] = 0.0; /* only the last row may depend on those before it */
            memory->singular = 1;
            break;
        }
        const double factor = scale * entry / pivot;
        scale *= memory->pivot[k] / pivot;
        memory->pivot[k] = pivot;
        for (int i = k + 1; i < n - 1; ++i) {
            memory->direction[i] -= entry * FACTOR(i, k);
            FACTOR(i, k) += factor * memory->direction[i];
        }
    }
}

/* Solves Gram z = right for the first n rows of the working set, in place. */
static void gram_solve(const Memory *memory, int n, double *z)
{
    for (int i = 0; i < n; ++i) {
        for (int j = 0; j < i; ++j) {
            z[i] -= FACTOR(i, j) * z[j];
        }
    }
    for (int i = n - 1; i >= 0; --i) {
        z[i] /= memory->pivot[i];
        for (int j = i + 1; j < n; ++j) {
            z[i] -= FACTOR(j, i) * z[j];
        }
    }
}

/* The point that violated rows alone would give, and that of all multipliers. */
static void violated_point(Memory *memory, int count)
{
    for (int j = 0; j < VARIABLES; ++j) {
        memory->violated[j] = 0.0;
    }
    for (int i = 0; i < count; ++i) {
        if (memory->state[i] >= VIOLATED_UP) {
            const double multiplier = memory->state[i] == VIOLATED_UP ? WEIGHT[i] : -WEIGHT[i];
            for (int j = 0; j < VARIABLES; ++j) {
                memory->violated[j] -= multiplier * ROW[i * VARIABLES + j];
            }
        }
    }
}

static void point_of(Memory *memory)
{
    for (int j = 0; j < VARIABLES; ++j) {
        memory->y[j] = memory->violated[j];
    }
    for (int k = 0; k < memory->working; ++k) {
        for (int j = 0; j < VARIABLES; ++j) {
            memory->y[j] -= memory->multiplier[k] * ROW[memory->rows[k] * VARIABLES + j];
        }
    }
}

/* Moves the multipliers along a direction until one reaches a bound, and takes that row out of the working set; returns
   whether one did before the whole step was taken. */
static int advance(Memory *memory, const double *direction, double longest, int count)
{
    double most = 0.0, step = longest;
    int blocking = -1;
    for (int k = 0; k < memory->working; ++k) {
        most = fabs(memory->multiplier[k]) > most ? fabs(memory->multiplier[k]) : most;
    }
    for (int k = 0; k < memory->working; ++k) {
        const int i = memory->rows[k];
        const double d = direction[k];
        const double bound = d > 0.0 ? most_multiplier(memory, i) : least_multiplier(memory, i);
        if (d != 0.0 && isfinite(bound)) {
            const double after = memory->multiplier[k] + longest * d;
            const double beyond = d > 0.0 ? after - bound : bound - after;
            double reach = (bound - memory->multiplier[k]) / d;
            reach = reach > 0.0 ? reach : 0.0;
            if ((!isfinite(longest) || beyond > DUAL * (1.0 + most)) && reach < step) {
                step = reach;
                blocking = k;
            }
        }
    }
    if (!isfinite(step)) {
        return 0;
    }
    for (int k = 0; k < memory->working; ++k) {
        memory->multiplier[k] += step * direction[k];
    }
    if (blocking < 0) {
        return 0;
    }
    {
        const int i = memory->rows[blocking];
        const int rises = direction[blocking] > 0.0;
        const double bound = rises ? most_multiplier(memory, i) : least_multiplier(memory, i);
        memory->state[i] = bound == 0.0 ? IDLE : rises ? VIOLATED_UP : VIOLATED_DOWN;
        remove_row(memory, blocking);
        if (bound != 0.0) {
            violated_point(memory, count);
        }
    }
    return 1;
}

/* Takes in the row whose condition the point misses most; returns whether there was one. */
static int take_in(Memory *memory, int count, int by_number)
{
    double worst = PRIMAL * (1.0 + largest(memory->y));
    int entering = -1, side = IDLE;
    for (int i = 0; i < count && !(by_number && entering >= 0); ++i) {
        const int state = memory->state[i];
        if (state == IDLE) {
            const double value = row_times(i, memory->y);
            const int is_equal = memory->low[i] == memory->high[i];
            if (value - memory->high[i] > worst) {
                worst = value - memory->high[i];
                entering = i;
                side = is_equal ? EQUAL : UP;
            } else if (memory->low[i] - value > worst) {
                worst = memory->low[i] - value;
                entering = i;
                side = is_equal ? EQUAL : DOWN;
            }
        } else if (state >= VIOLATED_UP) {
            const double value = row_times(i, memory->y);
            const double inside = state == VIOLATED_UP ? memory->high[i] - value : value - memory->low[i];
            if (inside > worst) {
                worst = inside;
                entering = i;
                side = memory->low[i] == memory->high[i] ? EQUAL : state == VIOLATED_UP ? UP : DOWN;
            }
        }
    }
    if (entering < 0) {
        return 0;
    }
    {
        const int state = memory->state[entering];
        const double multiplier = state == IDLE ? 0.0 : state == VIOLATED_UP ? WEIGHT[entering] : -WEIGHT[entering];
        memory->state[entering] = side;
        if (state != IDLE) {
            violated_point(memory, count);
        }
        memory->multiplier[memory->working] = multiplier;
        append_row(memory, entering);
    }
    return 1;
}

/* Takes the row that came last, and that nothing can satisfy better, out again. */
static void leave_out_last(Memory *memory, int count)
{
    const int k = memory->working - 1, i = memory->rows[k];
    const double multiplier = memory->multiplier[k];
    memory->state[i] = multiplier == 0.0 ? IDLE : multiplier > 0.0 ? VIOLATED_UP : VIOLATED_DOWN;
    memory->working = k;
    memory->singular = 0;
    violated_point(memory, count);
    point_of(memory);
}

/* Right-hand sides of Gram multiplier = right. */
static void right_of(const Memory *memory, double *right)
{
    for (int k = 0; k < memory->working; ++k) {
        right[k] = row_times(memory->rows[k], memory->violated) - bound_of(memory, memory->rows[k]);
    }
}

/* Largest |v - prox(v + multiplier)| of a row relative to 1 + |v|: zero where value and multiplier are optimal. */
static double residual_of(const Memory *memory, int count)
{
    double worst = 0.0;
    for (int i = 0; i < count; ++i) {
        const double value = row_times(i, memory->y);
        double multiplier = 0.0, nearest_value, beyond, gap;
        if (memory->state[i] >= VIOLATED_UP) {
            multiplier = memory->state[i] == VIOLATED_UP ? WEIGHT[i] : -WEIGHT[i];
        } else if (memory->state[i] != IDLE) {
            for (int k = 0; k < memory->working; ++k) {
                multiplier = memory->rows[k] == i ? memory->multiplier[k] : multiplier;
            }
        }
        nearest_value = value + multiplier;
        nearest_value = nearest_value > memory->low[i] ? nearest_value : memory->low[i];
        nearest_value = nearest_value < memory->high[i] ? nearest_value : memory->high[i];
        beyond = fabs(value + multiplier - nearest_value) - WEIGHT[i];
        if (beyond > 0.0) {
            nearest_value += copysign(beyond, value + multiplier - nearest_value);
        }
        gap = fabs(value - nearest_value) / (1.0 + fabs(value));
        if (!isfinite(gap)) {
            return INFINITY;
        }
        worst = gap > worst ? gap : worst;
    }
    return worst;
}

/* Forgets the working set. */
static void forget(Memory *memory)
{
    memory->warm = 0;
}

/* Solves for memory->low and memory->high with the first rows alone; starts from the last working set where there is
   one. The point is memory->y. */
static Status active_set(Memory *memory, int count, int *iterations)
{
    const int kept = memory->warm ? memory->working : 0;
    if (!memory->warm) {
        for (int i = 0; i < ROWS; ++i) {
            memory->state[i] = IDLE;
        }
    }
    memory->working = 0;
    memory->singular = 0;
    for (int k = 0; k < kept; ++k) {
        const int i = memory->rows[k]; /* never behind the place that is read */
        append_row(memory, i);
        memory->multiplier[memory->working - 1] = 0.0;
        if (memory->singular) {
            memory->state[i] = IDLE;
            memory->working -= 1;
            memory->singular = 0;
        }
    }
    violated_point(memory, count);
    for (int iteration = 0; iteration < MAX_QP_ITERATIONS; ++iteration) {
        const int n = memory->working;
        double *direction = memory->direction;
        *iterations += 1;
        right_of(memory, direction);
        if (!memory->singular) {
            gram_solve(memory, n, direction);
            for (int k = 0; k < n; ++k) {
                direction[k] -= memory->multiplier[k];
            }
            for (int k = 0; k < n; ++k) {
                memory->step[k] = direction[k];
            }
            if (!advance(memory, memory->step, 1.0, count)) {
                point_of(memory);
                if (!take_in(memory, count, iteration > STALLED)) {
                    return SOLVED;
                }
            }
        } else {
            /* The last row depends on the others: along this direction the point stays and the dual cost changes. */
            double slope = direction[n - 1];
            for (int k = 0; k < n - 1; ++k) {
                memory->step[k] = 0.0;
                for (int j = 0; j < VARIABLES; ++j) {
                    memory->step[k] -= ROW[memory->rows[k] * VARIABLES + j] * ROW[memory->rows[n - 1] * VARIABLES + j];
                }
            }
            gram_solve(memory, n - 1, memory->step);
            memory->step[n - 1] = 1.0;
            for (int k = 0; k < n - 1; ++k) {
                slope += direction[k] * memory->step[k];
            }
            for (int k = 0; k < n; ++k) {
                memory->step[k] = slope < 0.0 ? -memory->step[k] : memory->step[k];
            }
            if (fabs(slope) <= TOUCHED * (1.0 + largest(memory->y))) {
                leave_out_last(memory, count);
                return SOLVED;
            }
            if (!advance(memory, memory->step, INFINITY, count)) {
                return INFEASIBLE;
            }
        }
        if (memory->working > VARIABLES + (memory->singular != 0)) {
            return NUMERICAL;
        }
    }
    return MAX_ITERATIONS;
}

/* Takes out what rounding has left in the equations of the working set. */
static void refine(Memory *memory)
{
    for (int pass = 0; pass < 3; ++pass) {
        for (int k = 0; k < memory->working; ++k) {
            memory->step[k] = row_times(memory->rows[k], memory->y) - bound_of(memory, memory->rows[k]);
        }
        gram_solve(memory, memory->working, memory->step);
        for (int k = 0; k < memory->working; ++k) {
            memory->multiplier[k] += memory->step[k];
        }
        point_of(memory);
    }
}

/* The checked solution for memory->low and memory->high: its status says what the conditions of optimality say. */
static Status least_distance(Memory *memory, int count, int *continues, Decision *decision)
{
    const double allowed = *continues ? 10.0 * FEASIBLE : FEASIBLE;
    Status status;
    for (int i = 0; i < count; ++i) {
        if (!(memory->low[i] <= memory->high[i])) {
            const int is_number = !isnan(memory->low[i]) && !isnan(memory->high[i]);
            forget(memory);
            *continues = 0;
            return is_number ? INFEASIBLE : NUMERICAL;
        }
    }
    status = active_set(memory, count, &decision->iterations);
    if (*continues && status == INFEASIBLE) {
        /* At the edge of the feasible set a plan that is feasible to rounding leads to a state that is so to some more. */
        for (int i = 0; i < count; ++i) {
            if (isinf(WEIGHT[i]) && memory->low[i] != memory->high[i]) {
                memory->low[i] -= FEASIBLE * (1.0 + fabs(memory->low[i]));
                memory->high[i] += FEASIBLE * (1.0 + fabs(memory->high[i]));
            }
        }
        forget(memory);
        status = active_set(memory, count, &decision->iterations);
    }
    if (status == SOLVED || status == MAX_ITERATIONS) {
        if (status == SOLVED) {
            refine(memory);
        }
        decision->residual = residual_of(memory, count);
        if (decision->residual <= allowed) {
            status = SOLVED;
        } else if (status == SOLVED) {
            status = NUMERICAL;
        }
    }
    memory->warm = status == SOLVED;
    *continues = status == SOLVED;
    return status;
}
