/* The sums of a classifier: features of words, and weights of sentences alone and together.
 *
 * The same arithmetic as detect/model/features.py, which runs where this was not built;
 * tests/detect/model/test_features.py holds that both give the same scores. The words of a sentence are separated by spaces, and a line end follows each sentence. Every number from outside is
 * compared with what it indexes; a feature of a word is a hash cut to the size of its table. It
 * allocates 28 bytes for each byte of text, and frees them.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define WORD_BUCKETS (1u << 19)
#define GRAM_BUCKETS (1u << 17)
#define MAX_FAMILIES 64
#define FIRST_GRAM (WORD_BUCKETS + (5 + 2 * MAX_FAMILIES) * MAX_FAMILIES)
#define WEIGHTS (FIRST_GRAM + GRAM_BUCKETS)
#define STEM_LETTERS 5
#define GRAM_LETTERS 4
#define IDEOGRAPHS 3 /* of a part of a word */
#define BEGINNING_WORDS 3
#define LEAST_FEATURES 8 /* with fewer features, none counts for more */
#define TOGETHER 3       /* sentences that are read together, at most */
#define WORD_FEATURES 5  /* of a word or of a letter of a row of ideographs, at most */
#define PARTS 2          /* of a letter, at most */

enum { WORDS, FAMILIES, GRAMS, KINDS };

/* The features of one kind, sorted and each once. */
typedef struct {
    uint32_t *rows;
    size_t count;
    int32_t weight;
} Group;

typedef struct {
    Group groups[KINDS];
} Sentence;

typedef struct {
    const uint8_t *start, *end;
} Letters;

/* Where in its sentence a word is, and the hashes of the two words before it. */
typedef struct {
    size_t place;
    uint32_t before, further;
} Context;

static uint32_t crc_table[256];
static uint32_t stem_seed, word_seed, pair_seed, apart_seed, begin_seed, gram_seed;

/* As zlib.crc32. */
static uint32_t crc32(Letters letters, uint32_t crc)
{
    crc = ~crc;
    for (const uint8_t *at = letters.start; at < letters.end; at++)
        crc = crc_table[(crc ^ *at) & 0xFF] ^ (crc >> 8);
    return ~crc;
}

static uint32_t crc32_of(char letter, uint32_t crc)
{
    const uint8_t *byte = (const uint8_t *)&letter;
    return crc32((Letters){byte, byte + 1}, crc);
}

static void make_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? 0xEDB88320u ^ (crc >> 1) : crc >> 1;
        crc_table[byte] = crc;
    }
    stem_seed = crc32_of('s', 0);
    word_seed = crc32_of('w', 0);
    pair_seed = crc32_of('p', 0);
    apart_seed = crc32_of('a', 0);
    begin_seed = crc32_of('b', 0);
    gram_seed = crc32_of('g', 0);
}

/* The place so many letters further, but not beyond the end. */
static const uint8_t *skip(const uint8_t *at, const uint8_t *end, int letters)
{
    for (; letters && at < end; letters--)
        for (at++; at < end && (*at & 0xC0) == 0x80; at++)
            ;
    return at;
}

static int is_ideographic(Letters word)
{
    const uint8_t *at = word.start;
    if (word.end - at < 3 || (*at & 0xF0) != 0xE0)
        return 0;
    uint32_t letter = (*at & 15u) << 12 | (at[1] & 63u) << 6 | (at[2] & 63u);
    return (letter >= 0x3040 && letter <= 0x30FF) || (letter >= 0x3400 && letter <= 0x9FFF)
           || (letter >= 0xAC00 && letter <= 0xD7AF);
}

static void add(Group *group, uint32_t row)
{
    group->rows[group->count++] = row;
}

static void add_word(Group *group, Letters word, Context *context)
{
    Letters stem = {word.start, skip(word.start, word.end, STEM_LETTERS)};
    uint32_t hash = crc32(stem, stem_seed);
    uint32_t whole = stem.end < word.end ? crc32(word, word_seed) : 0;
    add(group, hash % WORD_BUCKETS);
    if (whole)
        add(group, whole % WORD_BUCKETS);
    if (context->place) {
        uint32_t other = context->place > 1 ? context->further ^ apart_seed
                                            : context->before ^ begin_seed;
        add(group, crc32(stem, context->before ^ pair_seed) % WORD_BUCKETS);
        add(group, crc32(stem, other) % WORD_BUCKETS);
    }
    if (context->place < BEGINNING_WORDS)
        add(group, crc32(stem, begin_seed + (uint32_t)context->place) % WORD_BUCKETS);
    *context = (Context){context->place + 1, hash, context->before};
}

static void add_gram(Group *group, Letters part, uint32_t crc, int is_last)
{
    crc = crc32(part, crc);
    add(group, FIRST_GRAM + (is_last ? crc32_of('>', crc) : crc) % GRAM_BUCKETS);
}

/* Adds the parts of a word of two letters or more, with marks for its beginning and end. */
static void add_grams(Group *group, Letters word)
{
    Letters part = {word.start, skip(word.start, word.end, GRAM_LETTERS - 1)};
    int is_short = skip(word.start, word.end, GRAM_LETTERS - 2) == word.end, is_last = is_short;
    add_gram(group, part, crc32_of('<', gram_seed), is_last);
    for (; !is_last; part.start = skip(part.start, word.end, 1)) {
        is_last = part.end == word.end;
        part.end = skip(part.end, word.end, 1);
        add_gram(group, part, gram_seed, is_last);
    }
}

/* Of a row of ideographs, each two are a word, and each one and each three a part. */
static void add_ideographs(Sentence *sentence, Letters row, Context *context)
{
    int is_one = skip(row.start, row.end, 1) == row.end;
    for (const uint8_t *at = row.start; at < row.end; at = skip(at, row.end, 1)) {
        const uint8_t *one = skip(at, row.end, 1), *two = skip(one, row.end, 1);
        const uint8_t *three = skip(two, row.end, 1);
        if (one < row.end || is_one)
            add_word(&sentence->groups[WORDS], (Letters){at, two}, context);
        add_gram(&sentence->groups[GRAMS], (Letters){at, one}, gram_seed, 0);
        if (two < row.end)
            add_gram(&sentence->groups[GRAMS], (Letters){at, three}, gram_seed, 0);
    }
}

static int compare(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

/* Sorts the features, leaves each once, and adds up their weights. */
static void weigh(Group *group, const uint8_t *weights)
{
    size_t kept = 0;
    qsort(group->rows, group->count, sizeof *group->rows, compare);
    group->weight = 0;
    for (size_t i = 0; i < group->count; i++)
        if (!kept || group->rows[i] != group->rows[kept - 1]) {
            group->rows[kept++] = group->rows[i];
            group->weight += weights[group->rows[i]] - 128;
        }
    group->count = kept;
}

static void read_sentence(Sentence *sentence, Letters text, const uint8_t *weights)
{
    Context context = {0};
    Group *words = &sentence->groups[WORDS], *grams = &sentence->groups[GRAMS];
    for (const uint8_t *end, *at = text.start; at < text.end; at = end + 1) {
        for (end = at; end < text.end && *end != ' '; end++)
            ;
        Letters word = {at, end};
        if (is_ideographic(word)) {
            add_ideographs(sentence, word, &context);
        } else if (at < end) {
            add_word(words, word, &context);
            if (skip(at, end, 1) < end)
                add_grams(grams, word);
        }
    }
    for (int kind = 0; kind < KINDS; kind++)
        weigh(&sentence->groups[kind], weights);
}

static double mean(int32_t weight, size_t count)
{
    return weight / sqrt((double)(count < LEAST_FEATURES ? LEAST_FEATURES : count));
}

/* The mean of what any of several sorted groups has. */
static double mean_together(const Group *const *groups, int count, const uint8_t *weights)
{
    size_t at[TOGETHER] = {0}, found = 0;
    int32_t weight = 0;
    for (;;) {
        uint32_t least = UINT32_MAX;
        for (int i = 0; i < count; i++)
            if (at[i] < groups[i]->count && groups[i]->rows[at[i]] < least)
                least = groups[i]->rows[at[i]];
        if (least == UINT32_MAX)
            return mean(weight, found);
        for (int i = 0; i < count; i++)
            at[i] += at[i] < groups[i]->count && groups[i]->rows[at[i]] == least;
        weight += weights[least] - 128;
        found++;
    }
}

/* The most that features of sentences weigh together, however they are spread over these. */
static double most_together(const Sentence *const *sentences, int count)
{
    double most = 0;
    for (int kind = 0; kind < KINDS; kind++) {
        double squared = 0;
        for (int i = 0; i < count; i++) {
            const Group *group = &sentences[i]->groups[kind];
            double weight = group->weight > 0 ? group->weight : 0;
            squared += weight * weight / (double)(group->count ? group->count : 1);
        }
        most += sqrt(squared);
    }
    return most;
}

/* The weighted mean of sentences together. */
static double score(const Sentence *const *sentences, int count, const uint8_t *weights)
{
    double sum = 0;
    for (int kind = 0; kind < KINDS; kind++) {
        const Group *groups[TOGETHER];
        for (int i = 0; i < count; i++)
            groups[i] = &sentences[i]->groups[kind];
        sum += count > 1 ? mean_together(groups, count, weights)
                         : mean(groups[0]->weight, groups[0]->count);
    }
    return sum;
}

/* What one call reads and makes. */
typedef struct {
    Py_buffer words, families, groups, weights;
    double scale, bias, least;
    size_t lines, count; /* sentences, and groups of them */
    Sentence *sentences;
    uint32_t *rows;
    double *scores;
} Call;

/* Reads all sentences; 0 where a family is none, or where there are not as many of both. */
static int read_sentences(Call *call)
{
    const int32_t *family = call->families.buf, *last = family + call->families.len / 4;
    const uint8_t *at = call->words.buf, *end = at + call->words.len, *line;
    uint32_t *rows = call->rows;
    for (size_t i = 0; i < call->lines; i++, at = line + 1) {
        Group *groups = call->sentences[i].groups;
        for (line = at; line < end && *line != '\n'; line++)
            ;
        groups[WORDS].rows = rows;
        groups[GRAMS].rows = rows += WORD_FEATURES * (line - at);
        groups[FAMILIES].rows = rows += PARTS * (line - at);
        for (; family < last && *family >= 0; family++) {
            if ((uint32_t)*family >= WEIGHTS)
                return 0;
            *rows++ = (uint32_t)*family;
            groups[FAMILIES].count++;
        }
        if (family == last)
            return 0;
        family++;
        read_sentence(&call->sentences[i], (Letters){at, line}, call->weights.buf);
    }
    return family == last;
}

/* Scores all groups; 0 where one is empty, or where the number of a sentence is none. */
static int score_groups(Call *call)
{
    const int32_t *number = call->groups.buf;
    for (size_t i = 0; i < call->count; i++, number += TOGETHER) {
        const Sentence *sentences[TOGETHER];
        int count = 0;
        for (; count < TOGETHER && number[count] >= 0; count++) {
            if ((size_t)number[count] >= call->lines)
                return 0;
            sentences[count] = &call->sentences[number[count]];
        }
        if (!count)
            return 0;
        int is_low = count > 1
            && call->bias + call->scale * most_together(sentences, count) < call->least;
        call->scores[i] = is_low ? NAN : score(sentences, count, call->weights.buf);
    }
    return 1;
}

static PyObject *list_of(const Call *call)
{
    PyObject *list = PyList_New((Py_ssize_t)call->count);
    for (size_t i = 0; list != NULL && i < call->count; i++) {
        double mean = call->scores[i];
        PyObject *item = isnan(mean) ? Py_NewRef(Py_None) : PyFloat_FromDouble(mean);
        if (item == NULL || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *made_of(Call *call)
{
    const uint8_t *at = call->words.buf, *end = at + call->words.len;
    PyObject *list = NULL;
    int is_read = 0;
    for (; at < end; at++)
        call->lines += *at == '\n';
    call->count = (size_t)call->groups.len / sizeof(int32_t) / TOGETHER;
    call->sentences = calloc(call->lines, sizeof *call->sentences);
    call->rows = calloc((WORD_FEATURES + PARTS) * (size_t)call->words.len
                        + (size_t)call->families.len + 1, sizeof *call->rows);
    call->scores = calloc(call->count + 1, sizeof *call->scores);
    if (call->sentences == NULL || call->rows == NULL || call->scores == NULL) {
        PyErr_NoMemory();
    } else {
        Py_BEGIN_ALLOW_THREADS
        is_read = read_sentences(call) && score_groups(call);
        Py_END_ALLOW_THREADS
        if (is_read)
            list = list_of(call);
        else
            PyErr_SetString(PyExc_ValueError, "numbers of no family or no sentence");
    }
    free(call->sentences);
    free(call->rows);
    free(call->scores);
    return list;
}

static PyObject *means(PyObject *self, PyObject *arguments)
{
    Call call = {0};
    PyObject *list = NULL;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "y*y*y*(y*ddd)", &call.words, &call.families, &call.groups,
                          &call.weights, &call.scale, &call.bias, &call.least))
        return NULL;
    if (call.weights.len == WEIGHTS)
        list = made_of(&call);
    else
        PyErr_SetString(PyExc_ValueError, "weights of another form");
    PyBuffer_Release(&call.words);
    PyBuffer_Release(&call.families);
    PyBuffer_Release(&call.groups);
    PyBuffer_Release(&call.weights);
    return list;
}

static PyMethodDef methods[] = {
    {"means", means, METH_VARARGS,
     "means(words, families, groups, (weights, scale, bias, least)) -> [mean or None, ...]"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_classifier", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__classifier(void)
{
    make_tables();
    return PyModule_Create(&module);
}
