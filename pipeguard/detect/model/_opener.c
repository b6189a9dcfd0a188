/* The hot loop of the opener: sums of weights over a text, segment by segment.
 *
 * The same arithmetic as detect/model/opener.py, which runs where this was not built; its docstring
 * says what a token, a segment and a window are, and tests/detect/model/test_opener.py holds that
 * both give the same stretches. One pass over the bytes, no allocation and no recursion; every
 * index into a table is a shift of a 64-bit or 32-bit product, so it cannot leave the table.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <math.h>
#include <stdint.h>

#define WORD_BITS 19
#define GRAM_BITS 17
#define SEGMENT_TOKENS 48
#define TOKEN_BYTES 64
#define STEM_BYTES 5
#define WIDE_STEM_BYTES 10 /* beyond ASCII */
#define WINDOW_SEGMENTS 3
#define FEWEST 8          /* with fewer features, none counts for more */
#define REPEAT_TOKENS 16 /* how far back a pair is a repetition */
#define MOST_BYTES 2048   /* of windows that are joined; what goes on begins another stretch */
#define MOST_STRETCHES 1024

/* Has the memory fetch what is read soon, and waits for nothing: the same sums without it. */
#if defined(__GNUC__)
#define SOON(address) __builtin_prefetch(address)
#else
#define SOON(address) ((void)0)
#endif

enum { GAP, LETTER, DIGIT, MARK };

static const uint64_t POWER = 0x9E3779B97F4A7C15ULL;
static const uint64_t BIGRAM = 0xFF51AFD7ED558CCDULL, FOLD = 0xC4CEB9FE1A85EC53ULL;
static const uint64_t STEM_SEED = 0x89ABCDEF1ULL, PAIR_SEED = 0x5555AAAA3ULL;
static const uint64_t FIRST = 0x13579BDFULL; /* stands for the token before the first one */
static const uint32_t GRAM = 0x9E3779B1U;

static uint8_t letter_of[256], class_of[256];

typedef struct {
    size_t start;
    int32_t words, word_count, grams, gram_count;
} Segment;

/* Of a segment, which has so many at most: the rows of its weights in the tables. */
typedef struct {
    uint32_t words[2 * SEGMENT_TOKENS], grams[SEGMENT_TOKENS * TOKEN_BYTES];
} Rows;

typedef struct {
    size_t start, end;
    double score;
} Stretch;

typedef struct {
    const int8_t *words, *grams;
    double scale, bias, threshold;
    Segment last[WINDOW_SEGMENTS]; /* the newest is the last one */
    int known;                     /* of them */
    Stretch *stretches;
    size_t count;
} Opener;

static void make_tables(void)
{
    const char *marks = "<>[]{}#:!?`\"|=*_-/@$";
    for (int byte = 0; byte < 256; byte++) {
        letter_of[byte] = ' ';
        class_of[byte] = GAP;
        if (byte >= 'A' && byte <= 'Z') {
            letter_of[byte] = (uint8_t)(byte + 32);
            class_of[byte] = LETTER;
        } else if ((byte >= 'a' && byte <= 'z') || byte >= 128) {
            letter_of[byte] = (uint8_t)byte;
            class_of[byte] = LETTER;
        } else if (byte >= '0' && byte <= '9') {
            letter_of[byte] = '0';
            class_of[byte] = DIGIT;
        }
    }
    for (; *marks; marks++) {
        letter_of[(uint8_t)*marks] = (uint8_t)*marks;
        class_of[(uint8_t)*marks] = MARK;
    }
}

static double mean(int32_t sum, int32_t count)
{
    return sum / sqrt((double)(count < FEWEST ? FEWEST : count));
}

/* Adds a window to the stretches: to the last one if they meet, and if both together are short. */
static void add_window(Opener *opener, size_t start, size_t end, double score)
{
    if (opener->count) {
        Stretch *last = &opener->stretches[opener->count - 1];
        int meets = start <= last->end && end - last->start <= MOST_BYTES;
        if (meets || opener->count == MOST_STRETCHES) {
            last->end = end > last->end ? end : last->end;
            last->start = start < last->start ? start : last->start;
            last->score = score > last->score ? score : last->score;
            return;
        }
    }
    opener->stretches[opener->count++] = (Stretch){start, end, score};
}

/* Scores the windows that end with a segment, and keeps the best that is over the threshold. What
 * only repeats what came just before it ends none. */
static void close_segment(Opener *opener, const Segment *segment, size_t end)
{
    Segment sum = {0};
    double best = -INFINITY;
    size_t start = segment->start;
    for (int i = 0; i + 1 < WINDOW_SEGMENTS; i++)
        opener->last[i] = opener->last[i + 1];
    opener->last[WINDOW_SEGMENTS - 1] = *segment;
    opener->known += opener->known < WINDOW_SEGMENTS;
    for (int i = 0; i < opener->known; i++) {
        const Segment *each = &opener->last[WINDOW_SEGMENTS - 1 - i];
        sum.words += each->words;
        sum.word_count += each->word_count;
        sum.grams += each->grams;
        sum.gram_count += each->gram_count;
        double score = opener->bias + opener->scale * (mean(sum.words, sum.word_count)
                                                       + mean(sum.grams, sum.gram_count));
        if (score > best) {
            best = score;
            start = each->start;
        }
    }
    if (segment->word_count && best >= opener->threshold)
        add_window(opener, start, end, best);
}

static int is_end(const uint8_t *data, size_t at)
{
    if (data[at] == '\n')
        return 1;
    if (!at || (data[at] != ' ' && data[at] != '\t' && data[at] != '\r'))
        return 0;
    return data[at - 1] == '.' || data[at - 1] == '!' || data[at - 1] == '?';
}

/* Whether a pair is one of the last ones, of which it becomes the newest. */
static int is_repeated(uint32_t *pairs, unsigned *newest, uint32_t pair)
{
    int found = 0;
    for (int i = 0; i < REPEAT_TOKENS; i++)
        found |= pairs[i] == pair;
    *newest = (*newest + 1) % REPEAT_TOKENS;
    pairs[*newest] = pair;
    return found;
}

/* The length of the token that begins at a byte, of a class and within its bounds. */
static size_t token_size(const uint8_t *data, size_t size, uint8_t class)
{
    size_t most = size < TOKEN_BYTES ? size : TOKEN_BYTES, length = 1;
    if (class == MARK)
        while (length < most && data[length] == data[0])
            length++;
    else
        while (length < most && class_of[data[length]] == class)
            length++;
    return length;
}

static uint64_t stem_hash(const uint8_t *token, size_t length, uint8_t class)
{
    size_t stem_bytes = class != LETTER ? 1 : token[0] >= 128 ? WIDE_STEM_BYTES : STEM_BYTES;
    uint64_t hash = 0, power = 1;
    for (size_t i = 0; i < stem_bytes && i < length; i++, power *= POWER)
        hash += letter_of[token[i]] * power;
    return hash;
}

/* Stores the rows of the four bytes from each byte of a token on; spaces follow the last byte. */
static void add_grams(const Opener *opener, uint32_t *rows, const uint8_t *token, size_t length,
                      size_t left)
{
    uint32_t gram = (uint32_t)letter_of[token[0]] << 8;
    for (size_t i = 1; i < 3; i++)
        gram |= (uint32_t)(i < left ? letter_of[token[i]] : ' ') << (8 * (i + 1));
    for (size_t i = 0; i < length; i++) {
        gram = gram >> 8 | (uint32_t)(i + 3 < left ? letter_of[token[i + 3]] : ' ') << 24;
        rows[i] = (gram * GRAM) >> (32 - GRAM_BITS);
        SOON(&opener->grams[rows[i]]);
    }
}

/* Adds up the weights of a segment. Only here are the tables read, all rows of a segment in one go:
 * they are seldom in a cache, and one after the other the memory would be waited for at each. */
static void weigh(const Opener *opener, Segment *segment, const Rows *rows)
{
    for (int32_t i = 0; i < segment->gram_count; i++)
        segment->grams += opener->grams[rows->grams[i]];
    for (int32_t i = 0; i < segment->word_count; i++)
        segment->words += opener->words[rows->words[i]];
}

static void read_text(Opener *opener, const uint8_t *data, size_t size)
{
    Segment segment = {0};
    Rows rows;
    int tokens = 0, is_over = 0;
    uint64_t before = FIRST;
    uint32_t pairs[REPEAT_TOKENS];
    unsigned newest = 0;
    size_t at = 0;
    for (int i = 0; i < REPEAT_TOKENS; i++)
        pairs[i] = UINT32_MAX; /* no row of the table */
    while (at < size) {
        uint8_t class = class_of[data[at]];
        is_over |= is_end(data, at);
        if (class == GAP) {
            at++;
            continue;
        }
        if (tokens && (is_over || tokens == SEGMENT_TOKENS)) {
            weigh(opener, &segment, &rows);
            close_segment(opener, &segment, at);
            tokens = 0;
        }
        if (!tokens)
            segment = (Segment){.start = at};
        if (is_over)
            before = FIRST;
        is_over = 0;
        size_t length = token_size(data + at, size - at, class);
        uint64_t hash = stem_hash(data + at, length, class);
        uint64_t pair = (((before * BIGRAM) ^ (hash + PAIR_SEED)) * FOLD) >> (64 - WORD_BITS);
        if (!is_repeated(pairs, &newest, (uint32_t)pair)) {
            uint64_t stem = ((hash ^ STEM_SEED) * FOLD) >> (64 - WORD_BITS);
            SOON(&opener->words[stem]);
            SOON(&opener->words[pair]);
            rows.words[segment.word_count] = (uint32_t)stem;
            rows.words[segment.word_count + 1] = (uint32_t)pair;
            add_grams(opener, rows.grams + segment.gram_count, data + at, length, size - at);
            segment.gram_count += (int32_t)length;
            segment.word_count += 2;
        }
        at += length;
        before = hash;
        tokens++;
    }
    if (tokens) {
        weigh(opener, &segment, &rows);
        close_segment(opener, &segment, size);
    }
}

static PyObject *list_of(const Opener *opener)
{
    PyObject *list = PyList_New((Py_ssize_t)opener->count);
    for (size_t i = 0; list != NULL && i < opener->count; i++) {
        const Stretch *each = &opener->stretches[i];
        PyObject *item = Py_BuildValue("(nnd)", (Py_ssize_t)each->start, (Py_ssize_t)each->end,
                                       each->score);
        if (item == NULL || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *windows(PyObject *self, PyObject *arguments)
{
    Py_buffer text, words, grams;
    Stretch stretches[MOST_STRETCHES];
    Opener opener = {.stretches = stretches};
    PyObject *list = NULL;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "y*(y*y*ddd)", &text, &words, &grams, &opener.scale,
                          &opener.bias, &opener.threshold))
        return NULL;
    if (words.len != 1 << WORD_BITS || grams.len != 1 << GRAM_BITS) {
        PyErr_SetString(PyExc_ValueError, "tables of another size");
    } else {
        opener.words = words.buf;
        opener.grams = grams.buf;
        Py_BEGIN_ALLOW_THREADS
        read_text(&opener, text.buf, (size_t)text.len);
        Py_END_ALLOW_THREADS
        list = list_of(&opener);
    }
    PyBuffer_Release(&text);
    PyBuffer_Release(&words);
    PyBuffer_Release(&grams);
    return list;
}

static PyMethodDef methods[] = {
    {"windows", windows, METH_VARARGS,
     "windows(text, (words, grams, scale, bias, threshold)) -> [(start, end, score), ...]"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_opener", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__opener(void)
{
    make_tables();
    return PyModule_Create(&module);
}
