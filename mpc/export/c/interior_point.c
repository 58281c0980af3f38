/* min |v|^2 / 2 subject to -lower <= G v <= upper (box rows) and H - G v in cones (the other rows), by a primal-dual
   interior-point method with the predictor and corrector of Mehrotra (1992). MATRIX is G transposed, FREE by WIDE. */

/* y = G v. */
static void times(const double *matrix, const double *v, double *y)
{
    for (int r = 0; r < WIDE; ++r) {
        y[r] = 0.0;
    }
    for (int i = 0; i < FREE; ++i) {
        for (int r = 0; r < WIDE; ++r) {
            y[r] += v[i] * matrix[i * WIDE + r];
        }
    }
}

/* v = G'p. */
static void transposed(const double *matrix, const double *p, double *v)
{
    for (int i = 0; i < FREE; ++i) {
        v[i] = 0.0;
        for (int r = 0; r < WIDE; ++r) {
            v[i] += matrix[i * WIDE + r] * p[r];
        }
    }
}

/* Cholesky factor of I + X'Y in the lower triangle, its diagonal inverted; zero where that is not positive definite. */
static int factorise(const double *X, const double *Y, double *P)
{
    for (int i = 0; i < FREE; ++i) {
        for (int j = 0; j <= i; ++j) {
            double total = i == j ? 1.0 : 0.0;
            for (int r = 0; r < WIDE; ++r) {
                total += Y[i * WIDE + r] * X[j * WIDE + r];
            }
            for (int k = 0; k < j; ++k) {
                total -= P[i * FREE + k] * P[j * FREE + k];
            }
            if (i > j) {
                P[i * FREE + j] = total * P[j * FREE + j];
            } else if (total > 0.0) {
                P[i * FREE + i] = 1.0 / sqrt(total);
            } else {
                return 0;
            }
        }
    }
    return 1;
}

static void back_solve(const double *P, double *v)
{
    for (int i = 0; i < FREE; ++i) {
        for (int k = 0; k < i; ++k) {
            v[i] -= P[i * FREE + k] * v[k];
        }
        v[i] *= P[i * FREE + i];
    }
    for (int i = FREE - 1; i >= 0; --i) {
        v[i] *= P[i * FREE + i];
        for (int k = 0; k < i; ++k) {
            v[k] -= v[i] * P[i * FREE + k];
        }
    }
}

static double largest_of(const double *x, int count)
{
    double most = 0.0;
    for (int k = 0; k < count; ++k) {
        most = fabs(x[k]) > most ? fabs(x[k]) : most;
    }
    return most;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* max -d inverse, at least 0. */
static double largest_ratio(const double *d, const double *inverse)
{
    double most = 0.0;
    for (int k = 0; k < BOXED; ++k) {
        most = larger(most, -d[k] * inverse[k]);
    }
    return most;
}

/* Moves a point along the centre of the cones into their interior, where it is not there already. */
static void lift(double *su, double *sl, double *S)
{
    double depth = 1e30;
    for (int r = 0; r < BOXED; ++r) {
        depth = HAS_UPPER[r] > 0.0 && su[r] < depth ? su[r] : depth;
        depth = HAS_LOWER[r] > 0.0 && sl[r] < depth ? sl[r] : depth;
    }
    for (int k = 0; k < CONES; ++k) {
        const double inside = AT(S, 0, k) - sqrt(AT(S, 1, k) * AT(S, 1, k) + AT(S, 2, k) * AT(S, 2, k));
        depth = inside < depth ? inside : depth;
    }
    if (depth < 1e-8) {
        for (int r = 0; r < BOXED; ++r) {
            su[r] += HAS_UPPER[r] * (1.0 - depth);
            sl[r] += HAS_LOWER[r] * (1.0 - depth);
        }
        for (int k = 0; k < CONES; ++k) {
            AT(S, 0, k) += 1.0 - depth;
        }
    }
}

/* p such that the dual residual is v + G'p. */
static void stacked(const double *zu, const double *zl, const double *Z, double *p)
{
    for (int r = 0; r < BOXED; ++r) {
        p[r] = zu[r] - zl[r];
    }
    for (int i = 0; i < 3 * CONES; ++i) {
        p[BOXED + i] = Z[i];
    }
}

/* For every cone the three eigenvectors of W^-2 times its rows: products with weights stay accurate however large. */
static void eigenrows(const double *E, double *X)
{
    for (int i = 0; i < FREE; ++i) {
        for (int k = 0; k < CONES; ++k) {
            const double *row = MATRIX + i * WIDE + BOXED + k;
            const double j0 = row[0], j1 = row[CONES], j2 = row[2 * CONES];
            const double along = AT(E, 3, k) * j1 + AT(E, 4, k) * j2;
            double *out = X + i * WIDE + BOXED + k;
            out[0] = j0 - along;
            out[CONES] = j0 + along;
            out[2 * CONES] = AT(E, 3, k) * j2 - AT(E, 4, k) * j1;
        }
    }
}

static double *taken(double **space, int count)
{
    double *first = *space;
    *space += count;
    return first;
}

/* The best point again. */
static Status restored(const double *kept, double *v, double *residual, double *gap)
{
    for (int i = 0; i < FREE; ++i) {
        v[i] = kept[i];
    }
    *residual = kept[FREE];
    *gap = kept[FREE + 1];
    return SOLVED;
}

/* Solves for upper[], lower[] (upper bounds and minus lower bounds of the box rows, 0 where there is none) and H. */
static Status interior_point(const double *upper, const double *lower, const double *H, double *v, double *space,
                             int *iterations, double *residual, double *relative_gap)
{
    double *X = taken(&space, FREE * WIDE), *Y = taken(&space, FREE * WIDE), *P = taken(&space, FREE * FREE);
    double *dv = taken(&space, FREE), *rx = taken(&space, FREE), *correction = taken(&space, FREE);
    double *change = taken(&space, FREE), *kept = taken(&space, FREE + 2);
    double *p = taken(&space, WIDE), *y = taken(&space, WIDE), *x = taken(&space, WIDE), *g = taken(&space, WIDE);
    double *aim = taken(&space, WIDE), *weight = taken(&space, WIDE), *capped = taken(&space, WIDE);
    double *error = taken(&space, WIDE);
    double *su = taken(&space, BOXED), *sl = taken(&space, BOXED), *zu = taken(&space, BOXED), *zl = taken(&space, BOXED);
    double *dsu = taken(&space, BOXED), *dsl = taken(&space, BOXED), *dzu = taken(&space, BOXED);
    double *dzl = taken(&space, BOXED), *ru = taken(&space, BOXED), *rl = taken(&space, BOXED);
    double *gu = taken(&space, BOXED), *gl = taken(&space, BOXED), *iu = taken(&space, BOXED), *il = taken(&space, BOXED);
    double *ju = taken(&space, BOXED), *jl = taken(&space, BOXED), *wu = taken(&space, BOXED), *wl = taken(&space, BOXED);
    double *S = taken(&space, 3 * CONES), *Z = taken(&space, 3 * CONES), *DS = taken(&space, 3 * CONES);
    double *DZ = taken(&space, 3 * CONES), *RS = taken(&space, 3 * CONES), *L = taken(&space, 3 * CONES);
    double *T = taken(&space, 3 * CONES), *US = taken(&space, 5 * CONES), *UZ = taken(&space, 5 * CONES);
    double *W = taken(&space, 6 * CONES), *E = taken(&space, 5 * CONES);
    double degree = CONES, before = INFINITY, moved = INFINITY;
    int iteration = 0, close = 0;
    /* What a failed solve left behind must not reach this one: zero times NaN is NaN. */
    for (int r = 0; r < WIDE; ++r) {
        g[r] = aim[r] = weight[r] = capped[r] = p[r] = 0.0;
    }
    for (int i = 0; i < FREE; ++i) {
        for (int r = 0; r < WIDE; ++r) {
            X[i * WIDE + r] = r < BOXED ? MATRIX[i * WIDE + r] : 0.0;
            Y[i * WIDE + r] = 0.0;
        }
    }
    for (int r = 0; r < BOXED; ++r) {
        degree += HAS_UPPER[r] + HAS_LOWER[r];
        dsu[r] = dsl[r] = dzu[r] = dzl[r] = 0.0;
    }
    *residual = *relative_gap = INFINITY;

    /* The least-squares solution of G v = h, with s and z lifted into the cones (Vandenberghe, section 5.3). */
    stacked(upper, lower, H, p);
    transposed(MATRIX, p, v);
    back_solve(START, v);
    times(MATRIX, v, y);
    for (int r = 0; r < BOXED; ++r) {
        zu[r] = HAS_UPPER[r] * (y[r] - upper[r]);
        zl[r] = HAS_LOWER[r] * (-y[r] - lower[r]);
        su[r] = 1.0 - HAS_UPPER[r] - zu[r];
        sl[r] = 1.0 - HAS_LOWER[r] - zl[r];
    }
    for (int i = 0; i < 3 * CONES; ++i) {
        Z[i] = y[BOXED + i] - H[i];
        S[i] = -Z[i];
    }
    lift(su, sl, S);
    lift(zu, zl, Z);

    for (;;) {
        double certificate = 0.0, norm = 0.0, gap = 0.0, hz = 0.0, weights = 0.0, violation, size, dual, heaviest, cap;
        double keep = 1.0, centre = 0.0, second = 0.0, step = 0.0;
        int finite;
        stacked(zu, zl, Z, p);
        transposed(MATRIX, p, rx);
        for (int i = 0; i < FREE; ++i) {
            certificate += rx[i] * rx[i];
            rx[i] += v[i];
            norm += v[i] * v[i];
        }
        times(MATRIX, v, y);
        for (int r = 0; r < BOXED; ++r) {
            ru[r] = HAS_UPPER[r] * (su[r] + y[r] - upper[r]);
            rl[r] = HAS_LOWER[r] * (sl[r] - y[r] - lower[r]);
            gap += su[r] * zu[r] + sl[r] * zl[r];
            hz += upper[r] * zu[r] + lower[r] * zl[r];
            weights += zu[r] + zl[r];
        }
        violation = larger(largest_of(ru, BOXED), largest_of(rl, BOXED));
        for (int i = 0; i < 3 * CONES; ++i) {
            RS[i] = S[i] + y[BOXED + i] - H[i];
            gap += S[i] * Z[i];
            hz += H[i] * Z[i];
            weights += fabs(Z[i]);
        }
        violation = larger(violation, largest_of(RS, 3 * CONES));
        size = larger(1.0, 0.5 * norm);
        dual = largest_of(rx, FREE) / sqrt(size);
        *iterations = iteration;
        *residual = larger(violation, dual);
        *relative_gap = gap / size;
        finite = isfinite(violation + dual) && isfinite(gap) && isfinite(norm);
        if (finite && violation <= IP_FEASIBLE && dual <= 10.0 * IP_STATIONARY && gap <= IP_LOOSE * size) {
            /* Errors decrease as the gap does, or as its root where a pair vanishes twice; so much is left at most. */
            const double left = REACH[0] * moved * sqrt(gap / before);
            if (dual <= IP_STATIONARY && (gap <= IP_FINE * size || (gap <= IP_GAP * size && left <= IP_ACCURATE))) {
                return SOLVED;
            }
            close = 1;
            for (int i = 0; i < FREE; ++i) {
                kept[i] = v[i];
            }
            kept[FREE] = *residual;
            kept[FREE + 1] = *relative_gap;
        } else if (close) { /* rounding has won; the point before was as good as can be had */
            return restored(kept, v, residual, relative_gap);
        }
        if (!finite) {
            *residual = *relative_gap = INFINITY;
            return NUMERICAL;
        }
        /* z is a certificate: h'z < G'z v, so v violates a constraint, for every v within the radius; and by more than a
           point that counts as feasible may. */
        if (hz < 0.0 && -hz > IP_RADIUS * sqrt(certificate) + IP_FEASIBLE * weights) {
            return INFEASIBLE;
        }
        if (iteration >= MAX_IP_ITERATIONS) {
            return close ? restored(kept, v, residual, relative_gap) : MAX_ITERATIONS;
        }

        for (int r = 0; r < BOXED; ++r) {
            iu[r] = 1.0 / su[r];
            il[r] = 1.0 / sl[r];
            wu[r] = zu[r] * iu[r];
            wl[r] = zl[r] * il[r];
            weight[r] = wu[r] + wl[r];
            /* Where a bound is missing z is zero, and so is dz. */
            ju[r] = HAS_UPPER[r] / (zu[r] + 1.0 - HAS_UPPER[r]);
            jl[r] = HAS_LOWER[r] / (zl[r] + 1.0 - HAS_LOWER[r]);
        }
        normalise(S, US);
        normalise(Z, UZ);
        scaling(US, UZ, Z, W, E, L);
        for (int i = 0; i < 3 * CONES; ++i) {
            weight[BOXED + i] = E[i];
        }
        heaviest = largest_of(weight, WIDE);
        /* Multipliers of an infeasible problem grow without bound, as they should. */
        cap = gap < IP_REFINE * size ? IP_CAP : INFINITY;
        for (int r = 0; r < WIDE; ++r) {
            capped[r] = weight[r] / (1.0 + weight[r] / cap);
        }
        eigenrows(E, X);
        for (int i = 0; i < FREE; ++i) {
            for (int r = 0; r < WIDE; ++r) {
                Y[i * WIDE + r] = capped[r] * X[i * WIDE + r];
            }
        }
        if (!factorise(X, Y, P)) {
            return close ? restored(kept, v, residual, relative_gap) : NUMERICAL;
        }
        for (int corrector = 0; corrector < 2; ++corrector) {
            int refinements = gap < IP_REFINE * size ? 2 : 0;
            double longest;
            /* The right-hand side, and dz = g + W^-2 G dv; that of the cones as factors of the eigenvectors of W^-2. */
            for (int r = 0; r < BOXED; ++r) {
                const double a = keep * ru[r] * zu[r] - su[r] * zu[r] - second * dsu[r] * dzu[r] + centre;
                const double b = keep * rl[r] * zl[r] - sl[r] * zl[r] - second * dsl[r] * dzl[r] + centre;
                gu[r] = HAS_UPPER[r] * a * iu[r];
                gl[r] = HAS_LOWER[r] * b * il[r];
                g[r] = gu[r] - gl[r];
            }
            if (corrector == 0) {
                for (int i = 0; i < 3 * CONES; ++i) {
                    T[i] = RS[i] - S[i];
                }
            } else {
                complementarity(centre, second, W, L, DS, DZ, T);
                for (int i = 0; i < 3 * CONES; ++i) {
                    T[i] = keep * RS[i] - T[i];
                }
            }
            for (int k = 0; k < CONES; ++k) {
                const double along = AT(E, 3, k) * AT(T, 1, k) + AT(E, 4, k) * AT(T, 2, k);
                g[BOXED + k] = AT(E, 0, k) * (AT(T, 0, k) - along);
                g[BOXED + CONES + k] = AT(E, 1, k) * (AT(T, 0, k) + along);
                g[BOXED + 2 * CONES + k] = AT(E, 2, k) * (AT(E, 3, k) * AT(T, 2, k) - AT(E, 4, k) * AT(T, 1, k));
            }
            transposed(X, g, dv);
            for (int i = 0; i < FREE; ++i) {
                dv[i] = -keep * rx[i] - dv[i];
            }
            back_solve(P, dv);
            times(X, dv, y);
            /* dz = g + W^-2 x; where weights are capped, x stands for X dv and differs from it until it is refined. */
            for (int r = 0; r < WIDE; ++r) {
                x[r] = y[r] / (1.0 + weight[r] / cap);
            }
            for (; refinements > 0; --refinements) {
                for (int r = 0; r < WIDE; ++r) {
                    aim[r] = g[r] + weight[r] * x[r];
                }
                transposed(X, aim, correction);
                for (int i = 0; i < FREE; ++i) {
                    correction[i] = -keep * rx[i] - dv[i] - correction[i];
                }
                if (!(heaviest > 1e-2 * IP_CAP || largest_of(correction, FREE) > IP_REFINED * size)) {
                    break;
                }
                for (int r = 0; r < WIDE; ++r) {
                    error[r] = x[r] - y[r];
                    aim[r] = capped[r] * error[r];
                }
                transposed(X, aim, change);
                for (int i = 0; i < FREE; ++i) {
                    change[i] += correction[i];
                }
                back_solve(P, change);
                for (int i = 0; i < FREE; ++i) {
                    dv[i] += change[i];
                }
                times(X, change, aim);
                for (int r = 0; r < WIDE; ++r) {
                    y[r] += aim[r];
                    x[r] += (aim[r] - error[r]) / (1.0 + weight[r] / cap);
                }
            }
            for (int r = 0; r < BOXED; ++r) {
                dzu[r] = gu[r] + x[r] * wu[r];
                dzl[r] = gl[r] - x[r] * wl[r];
                dsu[r] = HAS_UPPER[r] * (-keep * ru[r] - y[r]);
                dsl[r] = HAS_LOWER[r] * (-keep * rl[r] + y[r]);
            }
            for (int k = 0; k < CONES; ++k) {
                AT(T, 0, k) = 0.5 * y[BOXED + k];
                AT(T, 1, k) = 0.5 * y[BOXED + CONES + k];
                AT(T, 2, k) = y[BOXED + 2 * CONES + k];
            }
            combine(E, T, DS); /* G dv */
            for (int i = 0; i < 3 * CONES; ++i) {
                DS[i] = -keep * RS[i] - DS[i];
                T[i] = g[BOXED + i] + E[i] * x[BOXED + i];
            }
            combine(E, T, DZ);
            longest = larger(largest_ratio(dsu, iu), largest_ratio(dsl, il));
            longest = larger(longest, larger(largest_ratio(dzu, ju), largest_ratio(dzl, jl)));
            longest = larger(longest, larger(steepest(US, DS), steepest(UZ, DZ)));
            step = 1.0 / larger(longest, 1e-30);
            if (corrector == 0) {
                /* Where the whole predictor can be taken, nothing binds that was not known to bind. */
                const double share = 1.0 - (step < 1.0 ? step : 1.0);
                const double sigma = larger(step > 0.9999 ? 1e-6 : IP_CENTRING, share * share * share);
                keep = 1.0 - sigma;
                centre = sigma * gap / degree;
                /* After a very short predictor its second-order term misleads, and the steps may cycle. */
                second = step > 0.1 ? 1.0 : step;
            }
        }
        /* Nearly full steps are taken fully: near the end they square the gap. */
        step *= larger(0.99, step < 1.0 - 1e-6 ? step : 1.0 - 1e-6);
        step = step < 1.0 ? step : 1.0;
        if (!(step > 1e-12)) {
            return close ? restored(kept, v, residual, relative_gap) : NUMERICAL;
        }
        before = gap;
        moved = 0.0;
        for (int i = 0; i < FREE; ++i) {
            v[i] += step * dv[i];
            moved += step * dv[i] * step * dv[i];
        }
        moved = sqrt(moved);
        for (int r = 0; r < BOXED; ++r) {
            su[r] += step * dsu[r];
            sl[r] += step * dsl[r];
            zu[r] += step * dzu[r];
            zl[r] += step * dzl[r];
        }
        for (int i = 0; i < 3 * CONES; ++i) {
            S[i] += step * DS[i];
            Z[i] += step * DZ[i];
        }
        ++iteration;
    }
}
