/* Where the prediction cannot end as it should there is no other problem to solve. */
static void start_without_end(Memory *memory)
{
    (void)memory;
}

static int decide_without_end(Memory *memory, const double *x, long k, Decision *decision)
{
    (void)memory;
    (void)x;
    (void)k;
    (void)decision;
    return 0;
}
