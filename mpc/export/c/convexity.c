/* Hessians with negative curvature are made convex: their negative eigenvalues change sign, stage by stage. */

static const double ALMOST_CONVEX = 1e-10; /* negative curvature that counts as rounding */

enum { MOST_SWEEPS = 30 };

/* Whether H is positive semidefinite to rounding: whether H plus a little of the identity has a Cholesky factor. */
static int is_convex(const double *H, int width)
{
    double L[WIDTH * WIDTH];
    for (int j = 0; j < width; ++j) {
        for (int i = j; i < width; ++i) {
            double sum = H[i * WIDTH + j] + (i == j ? ALMOST_CONVEX : 0.0);
            for (int c = 0; c < j; ++c) {
                sum -= L[i * WIDTH + c] * L[j * WIDTH + c];
            }
            if (i == j) {
                if (!(sum > 0.0)) {
                    return 0;
                }
                L[j * WIDTH + j] = sqrt(sum);
            } else {
                L[i * WIDTH + j] = sum / L[j * WIDTH + j];
            }
        }
    }
    return 1;
}

/* Replaces the eigenvalues of H by their absolute values. They are computed by Jacobi's rotations (Golub & Van Loan
   2013, "Matrix Computations", section 8.5). */
static void reflect(double *H, int width)
{
    double V[WIDTH * WIDTH], values[WIDTH];
    for (int i = 0; i < width * WIDTH; ++i) {
        V[i] = 0.0;
    }
    for (int i = 0; i < width; ++i) {
        V[i * WIDTH + i] = 1.0;
    }
    for (int sweep = 0; sweep < MOST_SWEEPS; ++sweep) {
        int rotated = 0;
        for (int p = 0; p < width; ++p) {
            for (int q = p + 1; q < width; ++q) {
                const double off = H[p * WIDTH + q], first = H[p * WIDTH + p], second = H[q * WIDTH + q];
                double slope, tangent, cosine, sine;
                if (!(fabs(off) > 1e-17 * (fabs(first) + fabs(second)))) {
                    continue;
                }
                rotated = 1;
                slope = (second - first) / (2.0 * off);
                tangent = (slope < 0.0 ? -1.0 : 1.0) / (fabs(slope) + sqrt(1.0 + slope * slope));
                cosine = 1.0 / sqrt(1.0 + tangent * tangent);
                sine = tangent * cosine;
                for (int i = 0; i < width; ++i) {
                    const double a = H[i * WIDTH + p], b = H[i * WIDTH + q];
                    H[i * WIDTH + p] = cosine * a - sine * b;
                    H[i * WIDTH + q] = sine * a + cosine * b;
                }
                for (int i = 0; i < width; ++i) {
                    const double a = H[p * WIDTH + i], b = H[q * WIDTH + i];
                    H[p * WIDTH + i] = cosine * a - sine * b;
                    H[q * WIDTH + i] = sine * a + cosine * b;
                }
                for (int i = 0; i < width; ++i) {
                    const double a = V[i * WIDTH + p], b = V[i * WIDTH + q];
                    V[i * WIDTH + p] = cosine * a - sine * b;
                    V[i * WIDTH + q] = sine * a + cosine * b;
                }
            }
        }
        if (!rotated) {
            break;
        }
    }
    for (int i = 0; i < width; ++i) {
        values[i] = fabs(H[i * WIDTH + i]);
    }
    for (int i = 0; i < width; ++i) {
        for (int j = 0; j <= i; ++j) {
            double sum = 0.0;
            for (int c = 0; c < width; ++c) {
                sum += V[i * WIDTH + c] * values[c] * V[j * WIDTH + c];
            }
            H[i * WIDTH + j] = H[j * WIDTH + i] = sum;
        }
    }
}

static void make_convex(Memory *m)
{
    for (int k = 0; k <= HORIZON; ++k) {
        double *H = m->qp_H + k * WIDTH * WIDTH;
        const int width = variables_of(k) + STATES;
        int finite = 1;
        for (int i = 0; i < width * WIDTH; ++i) {
            finite = finite && isfinite(H[i]);
        }
        if (finite && !is_convex(H, width)) {
            reflect(H, width);
        }
    }
}
