/* The representative of a state that is nearest to another one: periodic signals moved by whole periods, quaternions
   with the sign that makes their product with the other one positive. */
static void nearest(const double *x, const double *to, double *near)
{
    for (int i = 0; i < STATES; ++i) {
        double turns = isfinite(PERIODS[i]) ? rint((x[i] - to[i]) / PERIODS[i]) : 0.0;
        near[i] = isfinite(turns) && isfinite(PERIODS[i]) ? x[i] - turns * PERIODS[i] : x[i];
    }
    for (int q = 0; q < QUATERNIONS; ++q) {
        double product = 0.0;
        for (int i = 0; i < 4; ++i) {
            product += near[QUATERNION_AT[4 * q + i]] * to[QUATERNION_AT[4 * q + i]];
        }
        for (int i = 0; i < 4 && product < 0.0; ++i) {
            near[QUATERNION_AT[4 * q + i]] = -near[QUATERNION_AT[4 * q + i]];
        }
    }
}
