/* A quadratic program with the stages of optimal control, solved by a primal-dual interior-point method.

       min sum_k z_k' H_k z_k / 2 + h_k' z_k,   z_k = (v_k, x_k), k = 0 .. HORIZON, x_0 = 0,
       over x_{k+1} = F_k z_k + b_k  and  low_k <= (v_k, G_k z_k) <= high_k.

   Mehrotra's predictor and corrector; every Newton step is one Riccati recursion over the stages (Rao, Wright &
   Rawlings 1998, "Application of interior-point methods to model predictive control"; Frison & Diehl 2020, "HPIPM"). A
   limit may be infinite. Where both are equal the limit is an equation, kept by a proximal method of multipliers. Where
   a limit has a compliance c > 0, it may be exceeded by e at the cost e^2 / (2 c), and has the multiplier e / c.
   All data, results and intermediate values are members of Memory; matrices are stored by rows. */

enum {
    LAST_WIDTH = LAST_VARIABLES + STATES,
    STAGE_WIDTH = VARIABLES + STATES,
    STAGE_LIMITS = VARIABLES + ROWS,
    END_LIMITS = LAST_VARIABLES + LAST_ROWS
};

static const double QP_TOLERANCE = 1e-10; /* of residuals, relative to variables and multipliers */
static const double QP_GAP = 1e-12;       /* of products of slack and multiplier, in units of the largest gradient: where a
                                             limit is only just active, the solution is as accurate as the root of it */
static const double COARSER = 1e4;        /* by which all of this may be missed where rounding allows no progress */
static const double FIRST_SLACK = 1.0;    /* least slack of the first iterate, relative to the gaps of the dynamics */
static const double FIRST_PRODUCT = 1.0;  /* of slack and multiplier of the first iterate, in units of the gradient */
static const double PROXIMAL = 1e-8;     /* of equations: compliance, in units of the cost */
static const double REGULARISED = 1e-12; /* curvature that is added for the factorisation alone */
static const double SHORTEST = 1e-10;    /* length of a step below which there is no progress */
static const double TO_BOUNDARY = 0.995;  /* share of the way to the boundary that a step goes */
static const double LEAST_SLACK = 1e-15; /* which rounding cannot take */
static const double CERTAIN = 1e-7;      /* relative error of multipliers that prove that there is no feasible point */
static const double LIKELY = 1e-4;       /* the same, where there is no progress */

typedef struct {
    double stationarity, dynamics, limits, complementarity, mean, certificate, primal, dual;
} Residuals;

static int is_equation(double low, double high)
{
    return high <= low && isfinite(low);
}

static int variables_of(int k)
{
    return k < HORIZON ? VARIABLES : LAST_VARIABLES;
}

static int rows_of(int k)
{
    return k < HORIZON ? ROWS : LAST_ROWS;
}

static double larger(double a, double b)
{
    return a > b || isnan(a) ? a : b;
}

/* (v, G z) of a stage. */
static void limited_values(const Memory *m, int k, int variables, int rows, const double *z, double *values)
{
    const double *G = m->qp_G + k * MOST_ROWS * WIDTH;
    for (int i = 0; i < variables; ++i) {
        values[i] = z[i];
    }
    for (int r = 0; r < rows; ++r) {
        double sum = 0.0;
        for (int i = 0; i < variables + STATES; ++i) {
            sum += G[r * WIDTH + i] * z[i];
        }
        values[variables + r] = sum;
    }
}

/* Adds the transpose of (identity, G) times weights to a vector of a stage. */
static void add_limited(const Memory *m, int k, int variables, int rows, const double *weights, double *z)
{
    const double *G = m->qp_G + k * MOST_ROWS * WIDTH;
    for (int i = 0; i < variables; ++i) {
        z[i] += weights[i];
    }
    for (int r = 0; r < rows; ++r) {
        for (int i = 0; i < variables + STATES; ++i) {
            z[i] += G[r * WIDTH + i] * weights[variables + r];
        }
    }
}

/* Multiplier of the limits: positive at an upper one. */
static void net_multipliers(const Memory *m, int k, int limits, double *net)
{
    for (int i = 0; i < limits; ++i) {
        const int at = k * LIMITS + i;
        net[i] = m->qp_lam_high[at] - m->qp_lam_low[at];
    }
}

/* Residuals of one stage; r_z is kept for the Newton step. */
static void stage_residuals(Memory *m, int k, int variables, int rows, Residuals *r)
{
    const int width = variables + STATES, limits = variables + rows;
    const double *H = m->qp_H + k * WIDTH * WIDTH, *z = m->qp_z + k * WIDTH, *h = m->qp_h + k * WIDTH;
    double *r_z = m->ip_r_z + k * WIDTH;
    double net[LIMITS], other[WIDTH], values[LIMITS];
    for (int i = 0; i < width; ++i) {
        other[i] = 0.0;
    }
    net_multipliers(m, k, limits, net);
    add_limited(m, k, variables, rows, net, other);
    if (k < HORIZON) {
        const double *F = m->qp_F + k * STATES * STAGE_WIDTH, *pi = m->qp_pi + k * STATES;
        for (int j = 0; j < STATES; ++j) {
            double sum = m->qp_b[k * STATES + j] - m->qp_z[(k + 1) * WIDTH + variables_of(k + 1) + j];
            for (int i = 0; i < width; ++i) {
                sum += F[j * STAGE_WIDTH + i] * z[i];
                other[i] += F[j * STAGE_WIDTH + i] * pi[j];
            }
            m->ip_r_b[k * STATES + j] = sum;
            r->dynamics = larger(fabs(sum), r->dynamics);
            r->dual = larger(fabs(pi[j]), r->dual);
            r->certificate += pi[j] * m->qp_b[k * STATES + j];
        }
    }
    if (k > 0) {
        for (int j = 0; j < STATES; ++j) {
            other[variables + j] -= m->qp_pi[(k - 1) * STATES + j];
        }
    }
    for (int i = 0; i < width; ++i) {
        double sum = h[i];
        for (int j = 0; j < width; ++j) {
            sum += H[i * WIDTH + j] * z[j];
        }
        r_z[i] = sum + other[i];
        r->primal = larger(fabs(z[i]), r->primal);
        if (k > 0 || i < variables) {
            r->stationarity = larger(fabs(r_z[i]), r->stationarity);
            m->ip_homogeneous = larger(fabs(other[i]), m->ip_homogeneous);
        }
    }
    limited_values(m, k, variables, rows, z, values);
    for (int i = 0; i < limits; ++i) {
        const int at = k * LIMITS + i;
        const double low = m->qp_low[at], high = m->qp_high[at], compliance = m->qp_compliance[at];
        double *below = m->ip_r_low + at, *above = m->ip_r_high + at;
        *below = *above = 0.0;
        r->dual = larger(fabs(net[i]), r->dual);
        if (is_equation(low, high)) {
            *above = values[i] - high;
            r->certificate -= net[i] * high;
        } else {
            if (isfinite(low)) {
                const double product = m->qp_lam_low[at] * m->ip_t_low[at];
                *below = values[i] - low - m->ip_t_low[at] + compliance * m->qp_lam_low[at];
                r->complementarity = larger(product, r->complementarity);
                r->mean += product;
                r->certificate += m->qp_lam_low[at] * (low - compliance * m->qp_lam_low[at]);
            }
            if (isfinite(high)) {
                const double product = m->qp_lam_high[at] * m->ip_t_high[at];
                *above = high - values[i] - m->ip_t_high[at] + compliance * m->qp_lam_high[at];
                r->complementarity = larger(product, r->complementarity);
                r->mean += product;
                r->certificate -= m->qp_lam_high[at] * (high + compliance * m->qp_lam_high[at]);
            }
        }
        r->limits = larger(fabs(*below), larger(fabs(*above), r->limits));
    }
}

static Residuals residuals(Memory *m)
{
    Residuals r = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0};
    m->ip_homogeneous = 0.0;
    for (int k = 0; k < HORIZON; ++k) {
        stage_residuals(m, k, VARIABLES, ROWS, &r);
    }
    stage_residuals(m, HORIZON, LAST_VARIABLES, LAST_ROWS, &r);
    r.mean /= m->ip_count > 0.0 ? m->ip_count : 1.0;
    return r;
}

/* Adds the curvature of the limits of a stage, and that of the stages after it, and eliminates v; 0 where the program
   is not convex. */
static int factor_stage(Memory *m, int k, int variables, int rows)
{
    const int width = variables + STATES;
    const double *H = m->qp_H + k * WIDTH * WIDTH, *G = m->qp_G + k * MOST_ROWS * WIDTH;
    double *L = m->ip_L + k * WIDTH * WIDTH, *P = m->ip_P + k * STATES * STATES;
    for (int i = 0; i < width; ++i) {
        for (int j = 0; j <= i; ++j) {
            L[i * WIDTH + j] = H[i * WIDTH + j];
        }
        L[i * WIDTH + i] += i < variables ? REGULARISED * (1.0 + fabs(H[i * WIDTH + i])) : 0.0;
    }
    for (int i = 0; i < variables; ++i) {
        L[i * WIDTH + i] += m->ip_weight[k * LIMITS + i];
    }
    for (int r = 0; r < rows; ++r) {
        const double weight = m->ip_weight[k * LIMITS + variables + r];
        const double *row = G + r * WIDTH;
        for (int i = 0; i < width; ++i) {
            const double scaled = weight * row[i];
            for (int j = 0; j <= i; ++j) {
                L[i * WIDTH + j] += scaled * row[j];
            }
        }
    }
    if (k < HORIZON) {
        const double *F = m->qp_F + k * STATES * STAGE_WIDTH, *after = m->ip_P + (k + 1) * STATES * STATES;
        double PF[STATES * STAGE_WIDTH];
        for (int a = 0; a < STATES; ++a) {
            for (int j = 0; j < STAGE_WIDTH; ++j) {
                PF[a * STAGE_WIDTH + j] = 0.0;
            }
            for (int b = 0; b < STATES; ++b) {
                const double p = after[a * STATES + b];
                for (int j = 0; j < STAGE_WIDTH; ++j) {
                    PF[a * STAGE_WIDTH + j] += p * F[b * STAGE_WIDTH + j];
                }
            }
        }
        for (int a = 0; a < STATES; ++a) {
            for (int i = 0; i < width; ++i) {
                const double f = F[a * STAGE_WIDTH + i];
                for (int j = 0; j <= i; ++j) {
                    L[i * WIDTH + j] += f * PF[a * STAGE_WIDTH + j];
                }
            }
        }
    }
    for (int c = 0; c < variables; ++c) {
        double pivot = L[c * WIDTH + c];
        if (!(pivot > 0.0) || !isfinite(pivot)) {
            return 0;
        }
        pivot = 1.0 / sqrt(pivot);
        L[c * WIDTH + c] = pivot; /* its inverse, by which solves multiply */
        for (int i = c + 1; i < width; ++i) {
            L[i * WIDTH + c] *= pivot;
        }
        for (int i = c + 1; i < width; ++i) {
            const double l = L[i * WIDTH + c];
            for (int j = c + 1; j <= i; ++j) {
                L[i * WIDTH + j] -= l * L[j * WIDTH + c];
            }
        }
    }
    for (int i = 0; i < STATES; ++i) {
        for (int j = 0; j <= i; ++j) {
            P[i * STATES + j] = P[j * STATES + i] = L[(variables + i) * WIDTH + variables + j];
        }
    }
    return 1;
}

static double curvature(double lam, double t, double compliance)
{
    return lam / (t + compliance * lam);
}

/* Curvature of the limits. */
static void weigh_limits(Memory *m)
{
    for (int k = 0; k <= HORIZON; ++k) {
        for (int i = 0; i < variables_of(k) + rows_of(k); ++i) {
            const int at = k * LIMITS + i;
            double weight = 0.0;
            if (is_equation(m->qp_low[at], m->qp_high[at])) {
                weight = 1.0 / (PROXIMAL / m->ip_scale);
            } else {
                weight += isfinite(m->qp_low[at]) ? curvature(m->qp_lam_low[at], m->ip_t_low[at], m->qp_compliance[at]) : 0.0;
                weight += isfinite(m->qp_high[at]) ? curvature(m->qp_lam_high[at], m->ip_t_high[at], m->qp_compliance[at]) : 0.0;
            }
            m->ip_weight[at] = weight;
        }
    }
}

static int factor(Memory *m)
{
    weigh_limits(m);
    if (!factor_stage(m, HORIZON, LAST_VARIABLES, LAST_ROWS)) {
        return 0;
    }
    for (int k = HORIZON - 1; k >= 0; --k) {
        if (!factor_stage(m, k, VARIABLES, ROWS)) {
            return 0;
        }
    }
    return 1;
}

/* The products that complementarity still has to lose, of a limit: lam t for the predictor; for the corrector with its
   second-order term, and centred. */
static double product(double lam, double t, double d_lam, double d_t, double centre, int is_corrector)
{
    return is_corrector ? lam * t + d_lam * d_t - centre : lam * t;
}

static void backward_stage(Memory *m, int k, int variables, int rows, double centre, int is_corrector)
{
    const int width = variables + STATES, limits = variables + rows;
    const double *L = m->ip_L + k * WIDTH * WIDTH;
    double *q = m->ip_q + k * WIDTH, weights[LIMITS];
    for (int i = 0; i < limits; ++i) {
        const int at = k * LIMITS + i;
        weights[i] = 0.0;
        if (is_equation(m->qp_low[at], m->qp_high[at])) {
            weights[i] = m->ip_weight[at] * m->ip_r_high[at];
            continue;
        }
        if (isfinite(m->qp_low[at])) {
            const double lam = m->qp_lam_low[at], t = m->ip_t_low[at];
            const double rest = product(lam, t, m->ip_dlam_low[at], m->ip_dt_low[at], centre, is_corrector);
            weights[i] += (rest + lam * m->ip_r_low[at]) / (t + m->qp_compliance[at] * lam);
        }
        if (isfinite(m->qp_high[at])) {
            const double lam = m->qp_lam_high[at], t = m->ip_t_high[at];
            const double rest = product(lam, t, m->ip_dlam_high[at], m->ip_dt_high[at], centre, is_corrector);
            weights[i] -= (rest + lam * m->ip_r_high[at]) / (t + m->qp_compliance[at] * lam);
        }
    }
    for (int i = 0; i < width; ++i) {
        q[i] = m->ip_r_z[k * WIDTH + i];
    }
    add_limited(m, k, variables, rows, weights, q);
    if (k < HORIZON) {
        const double *F = m->qp_F + k * STATES * STAGE_WIDTH, *P = m->ip_P + (k + 1) * STATES * STATES;
        const double *p = m->ip_q + (k + 1) * WIDTH + variables_of(k + 1), *r_b = m->ip_r_b + k * STATES;
        for (int a = 0; a < STATES; ++a) {
            double sum = p[a];
            for (int b = 0; b < STATES; ++b) {
                sum += P[a * STATES + b] * r_b[b];
            }
            for (int i = 0; i < width; ++i) {
                q[i] += F[a * STAGE_WIDTH + i] * sum;
            }
        }
    }
    for (int c = 0; c < variables; ++c) {
        q[c] *= L[c * WIDTH + c];
        for (int i = c + 1; i < width; ++i) {
            q[i] -= L[i * WIDTH + c] * q[c];
        }
    }
}

static void forward_stage(Memory *m, int k, int variables, int rows, double centre, int is_corrector)
{
    const int limits = variables + rows;
    const double *L = m->ip_L + k * WIDTH * WIDTH, *q = m->ip_q + k * WIDTH;
    double *dz = m->ip_dz + k * WIDTH, values[LIMITS];
    for (int c = variables - 1; c >= 0; --c) {
        double sum = -q[c];
        for (int i = c + 1; i < variables + STATES; ++i) {
            sum -= L[i * WIDTH + c] * dz[i];
        }
        dz[c] = sum * L[c * WIDTH + c];
    }
    limited_values(m, k, variables, rows, dz, values);
    for (int i = 0; i < limits; ++i) {
        const int at = k * LIMITS + i;
        double *dt_low = m->ip_dt_low + at, *dt_high = m->ip_dt_high + at;
        double *dlam_low = m->ip_dlam_low + at, *dlam_high = m->ip_dlam_high + at;
        if (is_equation(m->qp_low[at], m->qp_high[at])) {
            *dlam_high = m->ip_weight[at] * (values[i] + m->ip_r_high[at]);
            continue;
        }
        if (isfinite(m->qp_low[at])) {
            const double lam = m->qp_lam_low[at], t = m->ip_t_low[at];
            const double rest = product(lam, t, *dlam_low, *dt_low, centre, is_corrector);
            *dlam_low = -(rest + lam * (values[i] + m->ip_r_low[at])) / (t + m->qp_compliance[at] * lam);
            *dt_low = values[i] + m->ip_r_low[at] + m->qp_compliance[at] * *dlam_low;
        }
        if (isfinite(m->qp_high[at])) {
            const double lam = m->qp_lam_high[at], t = m->ip_t_high[at];
            const double rest = product(lam, t, *dlam_high, *dt_high, centre, is_corrector);
            *dlam_high = -(rest + lam * (m->ip_r_high[at] - values[i])) / (t + m->qp_compliance[at] * lam);
            *dt_high = m->ip_r_high[at] - values[i] + m->qp_compliance[at] * *dlam_high;
        }
    }
    if (k < HORIZON) {
        const double *F = m->qp_F + k * STATES * STAGE_WIDTH, *P = m->ip_P + (k + 1) * STATES * STATES;
        const int next = variables_of(k + 1);
        double *dx = m->ip_dz + (k + 1) * WIDTH + next;
        const double *p = m->ip_q + (k + 1) * WIDTH + next;
        for (int a = 0; a < STATES; ++a) {
            double sum = m->ip_r_b[k * STATES + a];
            for (int i = 0; i < variables + STATES; ++i) {
                sum += F[a * STAGE_WIDTH + i] * dz[i];
            }
            dx[a] = sum;
        }
        for (int a = 0; a < STATES; ++a) {
            double sum = p[a];
            for (int b = 0; b < STATES; ++b) {
                sum += P[a * STATES + b] * dx[b];
            }
            m->ip_dpi[k * STATES + a] = sum;
        }
    }
}

/* The Newton direction for the residuals that were evaluated, and the factorisation. */
static void direction(Memory *m, double centre, int is_corrector)
{
    backward_stage(m, HORIZON, LAST_VARIABLES, LAST_ROWS, centre, is_corrector);
    for (int k = HORIZON - 1; k >= 0; --k) {
        backward_stage(m, k, VARIABLES, ROWS, centre, is_corrector);
    }
    for (int j = 0; j < STATES; ++j) {
        m->ip_dz[variables_of(0) + j] = 0.0;
    }
    for (int k = 0; k < HORIZON; ++k) {
        forward_stage(m, k, VARIABLES, ROWS, centre, is_corrector);
    }
    forward_stage(m, HORIZON, LAST_VARIABLES, LAST_ROWS, centre, is_corrector);
}

static double shorter(double value, double change, double length)
{
    return value + length * change < 0.0 ? -value / change : length;
}

/* Step that keeps slacks and multipliers positive, at most 1; the mean product after it. */
static double longest_step(const Memory *m, double *mean)
{
    double length = 1.0 / TO_BOUNDARY, sum = 0.0;
    for (int pass = 0; pass < 2; ++pass) {
        length *= pass ? TO_BOUNDARY : 1.0;
        for (int k = 0; k <= HORIZON; ++k) {
            for (int i = 0; i < variables_of(k) + rows_of(k); ++i) {
                const int at = k * LIMITS + i;
                const double lam[2] = {m->qp_lam_low[at], m->qp_lam_high[at]}, t[2] = {m->ip_t_low[at], m->ip_t_high[at]};
                const double d_lam[2] = {m->ip_dlam_low[at], m->ip_dlam_high[at]};
                const double d_t[2] = {m->ip_dt_low[at], m->ip_dt_high[at]};
                if (is_equation(m->qp_low[at], m->qp_high[at])) {
                    continue;
                }
                for (int side = 0; side < 2; ++side) {
                    if (!isfinite(side ? m->qp_high[at] : m->qp_low[at])) {
                        continue;
                    }
                    if (pass) {
                        sum += (lam[side] + length * d_lam[side]) * (t[side] + length * d_t[side]);
                    } else {
                        length = shorter(t[side], d_t[side], shorter(lam[side], d_lam[side], length));
                    }
                }
            }
        }
    }
    *mean = sum / (m->ip_count > 0.0 ? m->ip_count : 1.0);
    return length;
}

static double positive(double slack)
{
    return slack < LEAST_SLACK ? LEAST_SLACK : slack;
}

static void move(Memory *m, double length)
{
    for (int i = 0; i < (HORIZON + 1) * WIDTH; ++i) {
        m->qp_z[i] += length * m->ip_dz[i];
    }
    for (int i = 0; i < HORIZON * STATES; ++i) {
        m->qp_pi[i] += length * m->ip_dpi[i];
    }
    for (int k = 0; k <= HORIZON; ++k) {
        for (int i = 0; i < variables_of(k) + rows_of(k); ++i) {
            const int at = k * LIMITS + i;
            m->ip_t_low[at] = positive(m->ip_t_low[at] + length * m->ip_dt_low[at]);
            m->ip_t_high[at] = positive(m->ip_t_high[at] + length * m->ip_dt_high[at]);
            m->qp_lam_low[at] += length * m->ip_dlam_low[at];
            m->qp_lam_high[at] += length * m->ip_dlam_high[at];
        }
    }
}

/* The first iterate: z = 0 moved into its bounds, slacks that are not small, multipliers that fit the cost. */
static void first_iterate(Memory *m)
{
    double largest = 0.0, slack = 1.0;
    m->ip_count = 0.0;
    for (int i = 0; i < (HORIZON + 1) * WIDTH; ++i) {
        m->qp_z[i] = m->ip_dz[i] = 0.0;
    }
    for (int i = 0; i < HORIZON * STATES; ++i) {
        m->qp_pi[i] = m->ip_dpi[i] = 0.0;
    }
    for (int k = 0; k <= HORIZON; ++k) {
        for (int i = 0; i < variables_of(k) + STATES; ++i) {
            largest = larger(fabs(m->qp_h[k * WIDTH + i]), largest);
        }
    }
    for (int i = 0; i < HORIZON * STATES; ++i) {
        slack = larger(fabs(m->qp_b[i]), slack);
    }
    slack *= FIRST_SLACK;
    m->ip_scale = larger(largest, 1e-3);
    for (int k = 0; k <= HORIZON; ++k) {
        for (int i = 0; i < variables_of(k); ++i) {
            const double low = m->qp_low[k * LIMITS + i], high = m->qp_high[k * LIMITS + i];
            const double room = isfinite(low) && isfinite(high) ? 0.5 * (high - low) : INFINITY;
            const double inside = room < slack ? room : slack;
            double *z = m->qp_z + k * WIDTH + i;
            *z = *z < low + inside ? low + inside : *z > high - inside ? high - inside : *z;
        }
        for (int i = 0; i < variables_of(k) + rows_of(k); ++i) {
            const int at = k * LIMITS + i;
            const double low = m->qp_low[at], high = m->qp_high[at];
            const double value = i < variables_of(k) ? m->qp_z[k * WIDTH + i] : 0.0;
            const int free = is_equation(low, high);
            const double below = isfinite(low) ? value - low : 1.0, above = isfinite(high) ? high - value : 1.0;
            m->ip_dt_low[at] = m->ip_dt_high[at] = m->ip_dlam_low[at] = m->ip_dlam_high[at] = 0.0;
            m->ip_t_low[at] = below > slack ? below : slack;
            m->ip_t_high[at] = above > slack ? above : slack;
            m->qp_lam_low[at] = isfinite(low) && !free ? FIRST_PRODUCT * m->ip_scale / m->ip_t_low[at] : 0.0;
            m->qp_lam_high[at] = isfinite(high) && !free ? FIRST_PRODUCT * m->ip_scale / m->ip_t_high[at] : 0.0;
            m->ip_count += free ? 0.0 : (isfinite(low) ? 1.0 : 0.0) + (isfinite(high) ? 1.0 : 0.0);
        }
    }
}

static int is_solved(const Memory *m, const Residuals *r, double factor)
{
    return r->stationarity <= factor * QP_TOLERANCE * (m->ip_scale + r->dual)
        && r->dynamics <= factor * QP_TOLERANCE * r->primal && r->limits <= factor * QP_TOLERANCE * r->primal
        && r->complementarity <= factor * QP_GAP * (factor > 1.0 ? (m->ip_scale + r->dual) * r->primal : m->ip_scale);
}

static int is_infeasible(const Memory *m, const Residuals *r, double error)
{
    return r->certificate > 0.0 && m->ip_homogeneous * r->primal <= error * r->certificate;
}

/* One iteration; 0 where it makes no progress. */
static int iterate(Memory *m, const Residuals *r)
{
    double mean, length, centre;
    if (!factor(m)) {
        return 0;
    }
    direction(m, 0.0, 0);
    longest_step(m, &mean);
    centre = r->mean > 0.0 ? mean / r->mean : 0.0;
    direction(m, centre * centre * centre * r->mean, 1);
    length = longest_step(m, &mean);
    if (!(length > SHORTEST)) {
        return 0;
    }
    move(m, length);
    return 1;
}

/* Solves the program in at most so many iterations; SOLVED, MAX_ITERATIONS, INFEASIBLE or NUMERICAL. */
static int solve_program(Memory *m, int most, int *iterations)
{
    first_iterate(m);
    for (*iterations = 0;; ++*iterations) {
        const Residuals r = residuals(m);
        if (is_solved(m, &r, 1.0)) {
            return SOLVED;
        }
        if (!isfinite(r.stationarity + r.dynamics + r.limits + r.mean)) {
            return NUMERICAL;
        }
        if (is_infeasible(m, &r, CERTAIN)) {
            return INFEASIBLE;
        }
        if (*iterations == most) {
            return is_solved(m, &r, COARSER) ? SOLVED : MAX_ITERATIONS;
        }
        if (!iterate(m, &r)) {
            return is_solved(m, &r, COARSER) ? SOLVED : is_infeasible(m, &r, LIKELY) ? INFEASIBLE : NUMERICAL;
        }
    }
}
