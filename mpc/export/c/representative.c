/* The representative of a state with periodic signals from which predictions start: the one closest to the state before,
   and the one closest to the reference at first, and where the other would have to unwind more than a turn. */
static void represent(Memory *memory, const double *x, long k, double *near)
{
    const double *reference = REFERENCE_STATE + (k < 0 ? 0 : k < REFERENCE_ROWS ? k : REFERENCE_ROWS - 1) * STATES;
    double continued[STATES];
    int takes = memory->measured;
    nearest(x, reference, near);
    nearest(x, memory->last_state, continued);
    if (takes) {
        for (int i = 0; i < STATES; ++i) {
            takes = takes && fabs(continued[i] - reference[i]) <= PERIODS[i];
        }
        for (int q = 0; q < QUATERNIONS; ++q) {
            double product = 0.0;
            for (int i = 0; i < 4; ++i) {
                product += continued[QUATERNION_AT[4 * q + i]] * reference[QUATERNION_AT[4 * q + i]];
            }
            takes = takes && product >= -0.25;
        }
    }
    for (int i = 0; i < STATES; ++i) {
        near[i] = takes ? continued[i] : near[i];
        memory->last_state[i] = near[i];
    }
    memory->measured = 1;
}
