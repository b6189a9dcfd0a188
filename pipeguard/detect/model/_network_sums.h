/* Convolutions over the parts of texts, and one number for each text.
 *
 * As NetworkSums in network_sums.py. Rows of all texts of a chunk are computed in blocks whose sums
 * stay in registers, a tile of outputs at a time, of which the weights are floats meanwhile.
 */

/* One form of the loops, for one kind of processor. */
typedef struct {
    void (*expand)(const int8_t *weights, size_t count, size_t width, float *tile);
    void (*multiply)(const float *const *rows, const float *tile, size_t channels, float *sums);
    void (*activate)(float *sums, const float *bias, float step);
    size_t rows, tile;
} Form;

static float step_at(const Network *net, size_t index)
{
    float step;
    memcpy(&step, net->steps + sizeof step * index, sizeof step);
    return step;
}

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* GELU, approximated with `tanh` (D. Hendrycks, K. Gimpel, 2016), which is written as 1/(1+2**t)
 * here: 2**t is a power of two times a polynomial of the sixth degree. The error is below
 * 1e-6 of the size of x; adding 1.5 * 2**23 rounds. */
static inline __attribute__((always_inline)) void gelu(float *sums, const float *bias, float step,
                                                       size_t tile)
{
    for (size_t i = 0; i < tile; i++) {
        float x = sums[i] * step + bias[i];
        float t = x * (-2.302208198F - 0.1029432397F * x * x); /* 2 sqrt(2/pi) log2(e) */
        t = t < -125 ? -125 : t;
        t = t > 125 ? 125 : t;
        float whole = t + 12582912.0F;
        int32_t bits;
        memcpy(&bits, &whole, sizeof bits);
        float f = t - (whole - 12582912.0F);
        float power = 1.5403530e-4F;
        power = power * f + 1.3333558e-3F;
        power = power * f + 9.6181291e-3F;
        power = power * f + 5.5504109e-2F;
        power = power * f + 2.4022651e-1F;
        power = power * f + 6.9314718e-1F;
        power = power * f + 1;
        bits = (int32_t)((uint32_t)bits << 23); /* adds to the exponent */
        int32_t exponent;
        memcpy(&exponent, &power, sizeof exponent);
        exponent = (int32_t)((uint32_t)exponent + (uint32_t)bits);
        memcpy(&power, &exponent, sizeof power);
        sums[i] = x / (1 + power);
    }
}

/* A form of the loops: VECTORS registers of LANES floats for each of ROWS rows hold the sums. */
#define FORM(NAME, TARGET, LANES, VECTORS, ROWS)                                                   \
    typedef float NAME##_lanes __attribute__((vector_size(4 * LANES)));                            \
    TARGET static void NAME##_expand(const int8_t *weights, size_t count, size_t width,            \
                                     float *tile)                                                  \
    {                                                                                              \
        for (size_t k = 0; k < count; k++)                                                         \
            for (size_t i = 0; i < LANES * VECTORS; i++)                                           \
                tile[k * LANES * VECTORS + i] = weights[k * width + i];                            \
    }                                                                                              \
    TARGET static void NAME##_multiply(const float *const *rows, const float *tile,                \
                                       size_t channels, float *sums)                               \
    {                                                                                              \
        NAME##_lanes sum[ROWS][VECTORS], weights[VECTORS];                                         \
        UNROLL for (int i = 0; i < ROWS * VECTORS; i++)                                            \
            memcpy(&sum[i / VECTORS][i % VECTORS], sums + i * LANES, sizeof weights[0]);           \
        for (size_t k = 0; k < channels; k++, tile += LANES * VECTORS) {                           \
            UNROLL for (int v = 0; v < VECTORS; v++)                                               \
                memcpy(&weights[v], tile + v * LANES, sizeof weights[v]);                          \
            UNROLL for (int r = 0; r < ROWS; r++)                                                  \
            {                                                                                      \
                float seen = rows[r][k];                                                           \
                UNROLL for (int v = 0; v < VECTORS; v++) sum[r][v] += seen * weights[v];           \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int i = 0; i < ROWS * VECTORS; i++)                                            \
            memcpy(sums + i * LANES, &sum[i / VECTORS][i % VECTORS], sizeof weights[0]);           \
    }                                                                                              \
    TARGET static void NAME##_activate(float *sums, const float *bias, float step)                 \
    {                                                                                              \
        for (size_t r = 0; r < ROWS; r++)                                                          \
            gelu(sums + r * LANES * VECTORS, bias, step, LANES *VECTORS);                          \
    }                                                                                              \
    static const Form NAME = {NAME##_expand, NAME##_multiply, NAME##_activate, ROWS,               \
                              LANES * VECTORS};

FORM(common, , 4, 2, 6)
#if defined(__x86_64__)
FORM(avx2, __attribute__((target("avx2,fma"))), 8, 2, 6)
FORM(avx512, __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), 16, 2, 8)
#endif

static const Form *form = &common;

static void choose_form(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        form = &avx2;
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl") && form == &avx2)
        form = &avx512;
#endif
}

/* Adds to a block's sums what one of three weights sees: each row's neighbour at a distance. */
static void add_seen(const Chunk *chunk, size_t first, ptrdiff_t distance, size_t channels,
                     const float *tile, float *sums)
{
    const float *rows[MOST_ROWS];
    int is_zero = 1;
    for (size_t r = 0; r < form->rows; r++) {
        size_t row = first + r < chunk->rows ? first + r : chunk->rows - 1;
        ptrdiff_t seen = (ptrdiff_t)row + distance;
        int is_inside = seen >= chunk->first[row] && seen < chunk->after[row];
        rows[r] = is_inside ? chunk->state + (size_t)seen * channels : chunk->zeros;
        is_zero &= !is_inside;
    }
    if (!is_zero)
        form->multiply(rows, tile, channels, sums);
}

/* One convolution over the rows of a chunk; from the second one on it is added to what it sees. */
static void convolve(const Network *net, Chunk *chunk, size_t layer, const int8_t *weights)
{
    size_t width = net->width, channels = layer ? width : net->row, tile = form->tile;
    const int8_t *biases = weights + KERNEL * channels * width;
    float step = step_at(net, 1 + 2 * layer) * (layer ? 1 : step_at(net, 0));
    float sums[MOST_ROWS * WIDEST_TILE], bias[WIDEST_TILE];
    for (size_t output = 0; output < width; output += tile) {
        form->expand(weights + output, KERNEL * channels, width, chunk->tile);
        for (size_t i = 0; i < tile; i++)
            bias[i] = biases[output + i] * step_at(net, 2 + 2 * layer);
        for (size_t row = 0; row < chunk->rows; row += form->rows) {
            memset(sums, 0, sizeof sums);
            for (size_t i = 0; i < KERNEL; i++)
                add_seen(chunk, row, ((ptrdiff_t)i - 1) * ((ptrdiff_t)1 << layer), channels,
                         chunk->tile + i * channels * tile, sums);
            form->activate(sums, bias, step);
            for (size_t r = 0; r < form->rows && row + r < chunk->rows; r++) {
                const float *seen = chunk->state + (row + r) * width + output;
                float *next = chunk->next + (row + r) * width + output;
                for (size_t i = 0; i < tile; i++)
                    next[i] = sums[r * tile + i] + (layer ? seen[i] : 0);
            }
        }
    }
}

/* The logit of the text that begins at a row: a sum over the most and the mean of each channel. */
static double logit(const Network *net, const Chunk *chunk, size_t row, const int8_t *head,
                    size_t output)
{
    size_t width = net->width, rows = chunk->after[row] - row;
    float *most = chunk->tile, *mean = chunk->tile + width;
    const float *state = chunk->state + row * width;
    double sum = 0;
    memcpy(most, state, width * sizeof *most);
    memcpy(mean, state, width * sizeof *mean);
    for (size_t r = 1; r < rows; r++)
        for (size_t i = 0; i < width; i++) {
            float value = state[r * width + i];
            most[i] = value > most[i] ? value : most[i];
            mean[i] += value;
        }
    for (size_t i = 0; i < width; i++) {
        sum += most[i] * head[i * net->outputs + output];
        sum += mean[i] / (float)rows * head[(width + i) * net->outputs + output];
    }
    head += 2 * width * net->outputs; /* the bias */
    return sum * step_at(net, 1 + 2 * net->layers)
           + head[output] * (double)step_at(net, 2 + 2 * net->layers);
}

/* The logits of the texts of a chunk. */
static size_t compute(const Network *net, Chunk *chunk, size_t output, double *logits)
{
    const int8_t *weights = net->values + net->parts * net->row;
    size_t count = 0;
    for (size_t row = 0; row < chunk->rows; row++)
        for (size_t i = 0; i < net->row; i++)
            chunk->state[row * net->row + i] = net->values[chunk->numbers[row] * net->row + i];
    for (size_t layer = 0; layer < net->layers; layer++) {
        float *before = chunk->state;
        convolve(net, chunk, layer, weights);
        weights += (KERNEL * (layer ? net->width : net->row) + 1) * net->width;
        chunk->state = chunk->next;
        chunk->next = before;
    }
    for (size_t row = 0; row < chunk->rows; row = chunk->after[row])
        logits[count++] = logit(net, chunk, row, weights, output);
    chunk->rows = 0;
    return count;
}

/* The logits of texts, each of which is a line; returns how many there are. */
static size_t read_texts(const Network *net, Chunk *chunk, const uint8_t *texts, size_t size,
                         size_t output, double *logits)
{
    size_t count = 0, at = 0;
    while (at <= size) {
        const uint8_t *end = at < size ? memchr(texts + at, '\n', size - at) : NULL;
        size_t length = end ? (size_t)(end - texts) - at : size - at;
        if (chunk->rows + MOST_PARTS > CHUNK_ROWS)
            count += compute(net, chunk, output, logits + count);
        add_text(net, chunk, texts + at, length);
        at += length + 1;
    }
    return count + compute(net, chunk, output, logits + count);
}
