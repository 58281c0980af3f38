/* A network: z = a(W z + b), layer by layer. */
static double activation(int kind, double z)
{
    switch (kind) {
    case 0:
        return z < 0.0 ? 0.0 : z;
    case 1:
        return z < 0.0 ? 0.01 * z : z;
    case 2:
        return tanh(z);
    case 3: /* GELU: z times the normal distribution function */
        return 0.5 * z * erfc(-z / sqrt(2.0));
    default:
        return z;
    }
}

static void network(const double *input, double *output)
{
    const double *weight = WEIGHTS, *bias = BIASES;
    double layers[2][WIDEST];
    for (int i = 0; i < WIDTHS[0]; ++i) {
        layers[0][i] = input[i];
    }
    for (int layer = 0; layer < LAYERS; ++layer) {
        const double *before = layers[layer % 2];
        double *after = layers[(layer + 1) % 2];
        for (int i = 0; i < WIDTHS[layer + 1]; ++i) {
            double total = *bias++;
            for (int j = 0; j < WIDTHS[layer]; ++j) {
                total += *weight++ * before[j];
            }
            after[i] = activation(ACTIVATIONS[layer], total);
        }
    }
    for (int i = 0; i < WIDTHS[LAYERS]; ++i) {
        output[i] = layers[LAYERS % 2][i];
    }
}
