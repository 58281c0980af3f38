/* Second-order cones {(t, a, b): sqrt(a^2 + b^2) <= t}, many at once: entry k of S[0], S[1], S[2] belongs to cone k. The
   scaling is that of Nesterov and Todd (1997) in the formulas of Vandenberghe (2010), section 4. */

#define AT(matrix, i, k) (matrix)[(i) * CONES + (k)]

/* U: 1 / root, the point over its root, and 1 / (1 + its first entry), root^2 being t^2 - a^2 - b^2. */
static void normalise(const double *S, double *U)
{
    for (int k = 0; k < CONES; ++k) {
        const double norm = sqrt(AT(S, 1, k) * AT(S, 1, k) + AT(S, 2, k) * AT(S, 2, k));
        const double inverse = 1.0 / sqrt((AT(S, 0, k) - norm) * (AT(S, 0, k) + norm));
        const double first = AT(S, 0, k) * inverse;
        AT(U, 0, k) = inverse;
        AT(U, 1, k) = first;
        AT(U, 2, k) = AT(S, 1, k) * inverse;
        AT(U, 3, k) = AT(S, 2, k) * inverse;
        AT(U, 4, k) = 1.0 / (1.0 + first);
    }
}

/* The inverse of the largest step along D that stays in the cones, at least 0, from the point of U. */
static double steepest(const double *U, const double *D)
{
    double steepness = 0.0;
    for (int k = 0; k < CONES; ++k) {
        const double scalar = AT(U, 1, k) * AT(D, 0, k) - AT(U, 2, k) * AT(D, 1, k) - AT(U, 3, k) * AT(D, 2, k);
        const double c = (scalar + AT(D, 0, k)) * AT(U, 4, k);
        const double a = AT(D, 1, k) - c * AT(U, 2, k), b = AT(D, 2, k) - c * AT(U, 3, k);
        const double steep = (sqrt(a * a + b * b) - scalar) * AT(U, 0, k);
        steepness = steep > steepness ? steep : steepness;
    }
    return steepness;
}

/* W: beta, 1 / beta, w0, w1, w2, 1 / (1 + w0). E: eigenvalues of W^-2 over the squared lengths of its eigenvectors, and
   w / |w|. L: lambda = W z. */
static void scaling(const double *US, const double *UZ, const double *Z, double *W, double *E, double *L)
{
    for (int k = 0; k < CONES; ++k) {
        const double dot = AT(US, 1, k) * AT(UZ, 1, k) + AT(US, 2, k) * AT(UZ, 2, k) + AT(US, 3, k) * AT(UZ, 3, k);
        const double gamma = 0.5 / sqrt(0.5 * (1.0 + dot));
        const double w1 = gamma * (AT(US, 2, k) - AT(UZ, 2, k)), w2 = gamma * (AT(US, 3, k) - AT(UZ, 3, k));
        const double square = w1 * w1 + w2 * w2, norm = sqrt(square), w0 = sqrt(1.0 + square);
        const double ratio = AT(US, 0, k) / AT(UZ, 0, k), inverse = sqrt(ratio), beta = 1.0 / inverse;
        const double stretch = (w0 + norm) * (w0 + norm), over = 1.0 / (norm > 1e-300 ? norm : 1e-300);
        const double along = w1 * AT(Z, 1, k) + w2 * AT(Z, 2, k);
        const double q = 1.0 / (1.0 + w0), c = AT(Z, 0, k) + along * q;
        AT(W, 0, k) = beta;
        AT(W, 1, k) = inverse;
        AT(W, 2, k) = w0;
        AT(W, 3, k) = w1;
        AT(W, 4, k) = w2;
        AT(W, 5, k) = q;
        AT(E, 0, k) = 0.5 * ratio * stretch;
        AT(E, 1, k) = 0.5 * ratio / stretch;
        AT(E, 2, k) = ratio;
        AT(E, 3, k) = w1 * over;
        AT(E, 4, k) = w2 * over;
        AT(L, 0, k) = beta * (w0 * AT(Z, 0, k) + along);
        AT(L, 1, k) = beta * (AT(Z, 1, k) + c * w1);
        AT(L, 2, k) = beta * (AT(Z, 2, k) + c * w2);
    }
}

/* T = W (lambda \ (lambda o lambda + second (W^-1 ds) o (W dz) - centre e)), what the corrector has to remove. */
static void complementarity(double centre, double second, const double *W, const double *L, const double *DS,
                            const double *DZ, double *T)
{
    for (int k = 0; k < CONES; ++k) {
        const double beta = AT(W, 0, k), inverse = AT(W, 1, k), w0 = AT(W, 2, k), w1 = AT(W, 3, k), w2 = AT(W, 4, k);
        const double q = AT(W, 5, k), l0 = AT(L, 0, k), l1 = AT(L, 1, k), l2 = AT(L, 2, k);
        double along = w1 * AT(DS, 1, k) + w2 * AT(DS, 2, k), c = along * q - AT(DS, 0, k);
        const double a0 = inverse * (w0 * AT(DS, 0, k) - along);
        const double a1 = inverse * (AT(DS, 1, k) + c * w1), a2 = inverse * (AT(DS, 2, k) + c * w2);
        double b0, b1, b2, p0, p1, p2, norm, determinant, dot, r0, r1, r2;
        along = w1 * AT(DZ, 1, k) + w2 * AT(DZ, 2, k);
        c = along * q + AT(DZ, 0, k);
        b0 = beta * (w0 * AT(DZ, 0, k) + along);
        b1 = beta * (AT(DZ, 1, k) + c * w1);
        b2 = beta * (AT(DZ, 2, k) + c * w2);
        p0 = second * (a0 * b0 + a1 * b1 + a2 * b2) - centre;
        p1 = second * (a0 * b1 + b0 * a1);
        p2 = second * (a0 * b2 + b0 * a2);
        norm = sqrt(l1 * l1 + l2 * l2);
        determinant = (l0 - norm) * (l0 + norm);
        dot = l1 * p1 + l2 * p2;
        c = (dot / l0 - p0) / determinant;
        r0 = l0 + (l0 * p0 - dot) / determinant;
        r1 = l1 + c * l1 + p1 / l0;
        r2 = l2 + c * l2 + p2 / l0;
        along = w1 * r1 + w2 * r2;
        c = r0 + along * q;
        AT(T, 0, k) = beta * (w0 * r0 + along);
        AT(T, 1, k) = beta * (r1 + c * w1);
        AT(T, 2, k) = beta * (r2 + c * w2);
    }
}

/* D = sum of the eigenvectors of W^-2 with the factors F. */
static void combine(const double *E, const double *F, double *D)
{
    for (int k = 0; k < CONES; ++k) {
        const double along = AT(F, 1, k) - AT(F, 0, k);
        AT(D, 0, k) = AT(F, 0, k) + AT(F, 1, k);
        AT(D, 1, k) = along * AT(E, 3, k) - AT(F, 2, k) * AT(E, 4, k);
        AT(D, 2, k) = along * AT(E, 4, k) + AT(F, 2, k) * AT(E, 3, k);
    }
}
