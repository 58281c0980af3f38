/* The controller in a loop. In your loop the plant is a sensor and an actuator: replace the two lines marked so. */

#include <stdio.h>

#include "@name@.h"
#include "plant.h"

int main(void)
{
    static name_memory memory;         /* no heap: all that the controller remembers */
    double x[NAME_STATES] = START;
    name_reset(&memory);
    for (long k = 0; k < SAMPLES; ++k) {
        name_decision decision;
        double after[NAME_STATES];
        name_step(&memory, x, k, &decision); /* sensor: x is what you measure */
        printf("%ld %s", k, name_status_name(decision.status));
        for (int i = 0; i < NAME_STATES; ++i) {
            printf(" %.6g", x[i]);
        }
        for (int i = 0; i < NAME_INPUTS; ++i) {
            printf(" %.6g", decision.input[i]);
        }
        printf("\n");
        plant(x, decision.input, after);     /* actuator: decision.input is what you apply for NAME_SAMPLE_TIME seconds */
        for (int i = 0; i < NAME_STATES; ++i) {
            x[i] = after[i];
        }
    }
    return 0;
}
