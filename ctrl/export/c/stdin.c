/* The controller in a loop: a measured state per line of the input, a decision per line of the output. */

#include <stdio.h>

#include "@name@.h"

int main(void)
{
    static name_memory memory; /* no heap: all that the controller remembers */
    double x[NAME_STATES];
    name_reset(&memory);
    for (long k = 0;; ++k) {
        name_decision decision;
        for (int i = 0; i < NAME_STATES; ++i) {
            if (scanf("%lf", &x[i]) != 1) {
                return 0;
            }
        }
        name_step(&memory, x, k, &decision);
        printf("%ld %s", k, name_status_name(decision.status));
        for (int i = 0; i < NAME_INPUTS; ++i) {
            printf(" %.17g", decision.input[i]);
        }
        printf("\n");
    }
}
