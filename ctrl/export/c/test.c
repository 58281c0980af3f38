/* Compares the C code with steps that its Python original took. Exit status 0: all agree. */

#include <math.h>
#include <stdio.h>

#include "@name@.h"
#include "recorded.h"

int main(void)
{
    static name_memory memory;
    double largest = 0.0;
    int failures = 0, compared = 0;
    for (int i = 0; i < RECORDED; ++i) {
        name_decision decision;
        if (RECORDED_RESET[i]) {
            name_reset(&memory);
        }
        name_step(&memory, RECORDED_STATE + i * NAME_STATES, RECORDED_SAMPLE[i], &decision);
        if (!RECORDED_COMPARED[i]) { /* the solver in Python did not converge */
            continue;
        }
        ++compared;
        for (int j = 0; j < NAME_INPUTS; ++j) {
            const double expected = RECORDED_INPUT[i * NAME_INPUTS + j];
            const double error = fabs(decision.input[j] - expected) / INPUT_SCALE[j];
            if (!(error <= TOLERANCE)) {
                ++failures;
                printf("step %d, input %d: %.17g instead of %.17g\n", i, j, decision.input[j], expected);
            }
            largest = error > largest ? error : largest;
        }
        if ((int)decision.status != RECORDED_STATUS[i] || (int)decision.source != RECORDED_SOURCE[i]) {
            ++failures;
            printf("step %d: %s, %s instead of %s, %s\n", i, name_status_name(decision.status),
                   name_source_name(decision.source), name_status_name((name_status)RECORDED_STATUS[i]),
                   name_source_name((name_source)RECORDED_SOURCE[i]));
        }
    }
    printf("%d steps, %d compared, %d failures, largest error of an input %.3g of its scale\n", (int)RECORDED,
           compared, failures, largest);
    return failures > 0;
}
