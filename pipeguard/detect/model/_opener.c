/* The hot loop of the opener: sums of weights over a text, segment by segment.
 *
 * The same arithmetic as detect/model/opener.py, which runs where this was not built; its docstring
 * says what a token, a segment and a window are, and tests/detect/model/test_opener.py holds that
 * both give the same stretches. A text is read in blocks, each in a few passes without a branch for
 * each byte: a processor guesses those wrong at the end of nearly each word, and that took most of
 * the time. No allocation and no recursion; every index into a table is a shift of a 64-bit or
 * 32-bit product, so it cannot leave the table.
 */

#include "../../_python.h"
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#elif defined(_M_X64) || defined(_M_ARM64)
#include <intrin.h>
#endif

#define WORD_BITS 19
#define GRAM_BITS 17
#define SEGMENT_TOKENS 48
#define TOKEN_BYTES 64
#define STEM_BYTES 5
#define WIDE_STEM_BYTES 10 /* beyond ASCII */
#define WINDOW_SEGMENTS 3
#define FEWEST 8          /* with fewer features, none counts for more */
#define REPEAT_TOKENS 16 /* how far back a pair is a repetition: a multiple of 4 */
#define MOST_BYTES 2048   /* of windows that are joined; what goes on begins another stretch */
#define MOST_STRETCHES 1024
#define BLOCK_BYTES 1024 /* a multiple of TOKEN_BYTES; places in a block fit in 16 bits */
#define WORD 64          /* places that are one word of bits */
#define PLACES (BLOCK_BYTES + WORD)
#define AHEAD_BYTES 8    /* read behind a block: of the grams and the stem of its last byte */

/* Has the memory fetch what is read soon, and waits for nothing: the same sums without it. */
#if defined(__GNUC__)
#define SOON(address) __builtin_prefetch(address)
#else
#define SOON(address) ((void)0)
#endif

/* The bytes of a token are of one kind: this, or the mark itself. */
enum { GAP, LETTER, DIGIT };

#define POWER 0x9E3779B97F4A7C15ULL
static const uint64_t BIGRAM = 0xFF51AFD7ED558CCDULL, FOLD = 0xC4CEB9FE1A85EC53ULL;
static const uint64_t STEM_SEED = 0x89ABCDEF1ULL, PAIR_SEED = 0x5555AAAA3ULL;
static const uint64_t FIRST = 0x13579BDFULL; /* stands for the token before the first one */
static const uint32_t GRAM = 0x9E3779B1U;

static uint8_t letter_of[256], kind_of[256];

typedef struct {
    size_t start;
    int32_t words, word_count, grams, gram_count;
} Segment;

/* Bytes of one kind, by their places in a block; `is_first` if a sentence ended before them. */
typedef struct {
    uint16_t begin, end, is_first;
} Run;

/* A part of a run, and the row of its stem. */
typedef struct {
    uint16_t begin, end, is_first;
    uint32_t stem;
} Token;

/* A part of the text, and its tokens. */
typedef struct {
    size_t size, count; /* of the bytes and of the tokens */
    uint8_t letters[BLOCK_BYTES + AHEAD_BYTES];
    /* Of each byte, and of the one behind the last: its kind; all bits if that is another than
     * before, if it is a gap, and if a sentence ends with it. */
    uint8_t kinds[PLACES + 1], differ[PLACES], gaps[PLACES], ends[PLACES];
    int32_t grams[BLOCK_BYTES + 1]; /* rows, then the sum of the weights before each byte */
    Run runs[PLACES];
    Token tokens[BLOCK_BYTES];
    uint32_t pairs[REPEAT_TOKENS + BLOCK_BYTES]; /* of them, behind those before this block */
} Block;

typedef struct {
    size_t start, end;
    double score;
} Stretch;

typedef struct {
    const int8_t *words, *grams;
    double scale, bias, threshold;
    double least; /* what positive weights have to add up to */
    Segment last[WINDOW_SEGMENTS]; /* the newest is the last one */
    int known;                     /* of them */
    Stretch *stretches;
    size_t count;
    Segment segment; /* the one that is being read */
    int tokens;      /* in it */
    int is_over;     /* a sentence ended behind the last token */
    uint64_t before; /* the hash of that token */
} Opener;

static void make_tables(void)
{
    const char *marks = "<>[]{}#:!?`\"|=*_-/@$";
    for (int byte = 0; byte < 256; byte++) {
        letter_of[byte] = ' ';
        kind_of[byte] = GAP;
        if (byte >= 'A' && byte <= 'Z') {
            letter_of[byte] = (uint8_t)(byte + 32);
            kind_of[byte] = LETTER;
        } else if ((byte >= 'a' && byte <= 'z') || byte >= 128) {
            letter_of[byte] = (uint8_t)byte;
            kind_of[byte] = LETTER;
        } else if (byte >= '0' && byte <= '9') {
            letter_of[byte] = '0';
            kind_of[byte] = DIGIT;
        }
    }
    for (; *marks; marks++) {
        letter_of[(uint8_t)*marks] = (uint8_t)*marks;
        kind_of[(uint8_t)*marks] = (uint8_t)*marks;
    }
}

static double mean(int32_t sum, int32_t count)
{
    return sum / sqrt((double)(count < FEWEST ? FEWEST : count));
}

static int32_t positive(int32_t sum)
{
    return sum > 0 ? sum : 0;
}

/* A sum of positive weights below which no window reaches the threshold, however many weights there
 * are. The margin is far wider than any rounding of a score. */
static double least_sum(const Opener *opener)
{
    double rounded = (fabs(opener->bias) + fabs(opener->threshold) + 1) * 1e-9;
    double least = opener->threshold - opener->bias - rounded;
    return opener->scale > 0 ? least / opener->scale * sqrt(FEWEST) : -INFINITY;
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
static void close_segment(Opener *opener, Segment segment, size_t end)
{
    Segment sum = {0}, *last = opener->last;
    double best = -INFINITY, most = 0;
    size_t start = segment.start;
    for (int i = 0; i + 1 < WINDOW_SEGMENTS; i++)
        last[i] = last[i + 1];
    last[WINDOW_SEGMENTS - 1] = segment;
    opener->known += opener->known < WINDOW_SEGMENTS;
    for (int i = 0; i < WINDOW_SEGMENTS; i++)
        most += positive(last[i].words) + positive(last[i].grams);
    if (most < opener->least || !segment.word_count)
        return; /* no window is over the threshold */
    for (int i = 0; i < opener->known; i++) {
        const Segment *each = &last[WINDOW_SEGMENTS - 1 - i];
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
    if (best >= opener->threshold)
        add_window(opener, start, end, best);
}

/* All bits if two bytes are equal, else none: compilers make vectors of it. */
static inline uint8_t is_equal(uint8_t one, uint8_t other)
{
    return (uint8_t)(one == other ? 0xFF : 0);
}

/* All bits if a sentence or line ends with a byte, which follows another; else none. */
static inline uint8_t is_end(uint8_t last, uint8_t byte)
{
    uint8_t space = is_equal(byte, ' ') | is_equal(byte, '\t') | is_equal(byte, '\r');
    uint8_t stop = is_equal(last, '.') | is_equal(last, '!') | is_equal(last, '?');
    return is_equal(byte, '\n') | (space & stop);
}

/* What bytes count as, and their kinds. */
static void classify(const uint8_t *text, size_t size, uint8_t *letters, uint8_t *kinds)
{
    for (size_t i = 0; i < size; i++) {
        letters[i] = letter_of[text[i]];
        kinds[i] = kind_of[text[i]];
    }
}

/* Where the kind changes, and where a gap is. */
static void compare(const uint8_t *kinds, size_t size, uint8_t *differ, uint8_t *gaps)
{
    for (size_t i = 0; i < size; i++) {
        differ[i] = (uint8_t)~is_equal(kinds[i], kinds[i - 1]);
        gaps[i] = is_equal(kinds[i], GAP);
    }
}

/* Where a sentence or line ends, but for the first byte. */
static void find_ends(const uint8_t *text, size_t size, uint8_t *ends)
{
    for (size_t i = 1; i < size; i++)
        ends[i] = is_end(text[i - 1], text[i]);
}

/* Reads the bytes of a block: what they count as, and where sentences end. */
static void read_bytes(Block *block, const uint8_t *data, size_t at, size_t left)
{
    size_t size = block->size, known = left < size + AHEAD_BYTES ? left : size + AHEAD_BYTES;
    size_t places = (size / WORD + 1) * WORD;
    uint8_t *kinds = block->kinds + 1; /* a gap is before the first one */
    block->kinds[0] = GAP;
    classify(data + at, known, block->letters, kinds);
    memset(block->letters + known, ' ', size + AHEAD_BYTES - known);
    memset(kinds + size, left > size ? kinds[size] : GAP, places - size);
    compare(kinds, places, block->differ, block->gaps);
    block->ends[0] = is_end(at ? data[at - 1] : 0, data[at]);
    find_ends(data + at, size, block->ends);
    memset(block->ends + size, 0, places - size);
}

/* Finds the rows of the four bytes from each byte on, and has the memory fetch their weights. */
static void find_grams(Block *block, const int8_t *weights)
{
    for (size_t i = 0; i < block->size; i++) {
        const uint8_t *at = block->letters + i;
        uint32_t gram = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16
                        | (uint32_t)at[3] << 24;
        block->grams[i] = (int32_t)((gram * GRAM) >> (32 - GRAM_BITS));
        SOON(&weights[block->grams[i]]);
    }
}

/* Adds up these weights. */
static void add_grams(Block *block, const int8_t *weights)
{
    int32_t sum = 0;
    for (size_t i = 0; i < block->size; i++) {
        int32_t row = block->grams[i];
        block->grams[i] = sum;
        sum += weights[row];
    }
    block->grams[block->size] = sum;
}

/* Eight bytes, the first one lowest. */
static uint64_t word_of(const uint8_t *at)
{
    return (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24
           | (uint64_t)at[4] << 32 | (uint64_t)at[5] << 40 | (uint64_t)at[6] << 48
           | (uint64_t)at[7] << 56;
}

/* A bit for each of 64 bytes, which have all bits or none. */
static uint64_t bits_of(const uint8_t *at)
{
    uint64_t bits = 0;
    for (int i = 0; i < WORD; i += 8)
        bits |= ((word_of(at + i) & 0x0101010101010101ULL) * 0x0102040810204080ULL) >> 56 << i;
    return bits;
}

/* The number of the lowest bit that is set; there is one. */
static uint32_t lowest(uint64_t bits)
{
#if defined(__GNUC__)
    return (uint32_t)__builtin_ctzll(bits);
#elif defined(_M_X64) || defined(_M_ARM64)
    unsigned long place;
    _BitScanForward64(&place, bits);
    return (uint32_t)place;
#else
    uint32_t place = 0;
    for (; !(bits & 1); bits >>= 1)
        place++;
    return place;
#endif
}

/* Finds the runs of one kind that the block has whole, and shortens it to them: the next block
 * begins with what is left. Of a run that goes on, whole tokens are taken. */
static size_t find_runs(Opener *opener, Block *block)
{
    Run *run = block->runs; /* the next one */
    int is_over = opener->is_over, is_open = 0;
    for (size_t at = 0; at <= block->size; at += WORD) {
        uint64_t differ = bits_of(block->differ + at), ends = bits_of(block->ends + at);
        uint64_t begins = differ & ~bits_of(block->gaps + at);
        if (is_open && differ)
            run[-1].end = (uint16_t)(at + lowest(differ));
        for (is_open &= !differ; begins; begins &= begins - 1, run++) {
            uint64_t before = (begins & ~(begins - 1)) - 1;
            uint64_t after = differ & ~(begins ^ (begins - 1)); /* the lowest ends the run */
            run->begin = (uint16_t)(at + lowest(begins));
            run->end = (uint16_t)(at + lowest(after | 1ULL << (WORD - 1)));
            run->is_first = (uint16_t)(is_over | ((ends & before) != 0));
            ends &= ~before;
            is_over = 0;
            is_open = !after;
        }
        is_over |= ends != 0;
    }
    opener->is_over = is_over;
    if (is_open) {
        size_t whole = (block->size - run[-1].begin) / TOKEN_BYTES * TOKEN_BYTES;
        run[-1].end = (uint16_t)(run[-1].begin + whole);
        block->size = run[-1].end;
        if (!whole)
            opener->is_over = (--run)->is_first;
    }
    return (size_t)(run - block->runs);
}

/* The hash of the first bytes of a token. */
static uint64_t stem_hash(const uint8_t *letters, size_t length, uint8_t kind)
{
    uint64_t hash = 0, power = 1;
    if (letters[0] >= 128) {
        for (size_t i = 0; i < WIDE_STEM_BYTES && i < length; i++, power *= POWER)
            hash += letters[i] * power;
        return hash;
    }
    static const uint64_t masks[] = {0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFF};
    size_t most = kind == LETTER ? STEM_BYTES : 1;
    uint64_t stem = word_of(letters) & masks[length < most ? length : most];
    return (stem & 255) + (stem >> 8 & 255) * POWER + (stem >> 16 & 255) * (POWER * POWER)
           + (stem >> 24 & 255) * (POWER * POWER * POWER)
           + (stem >> 32) * (POWER * POWER * POWER * POWER);
}

/* Cuts runs into tokens, and has the memory fetch their weights. */
static void find_tokens(Opener *opener, Block *block, size_t runs)
{
    const int8_t *words = opener->words;
    uint32_t *pairs = block->pairs + REPEAT_TOKENS;
    uint64_t before = opener->before;
    Token *token = block->tokens;
    for (const Run *run = block->runs; run < block->runs + runs; run++) {
        size_t begin = run->begin, end = run->end, length;
        uint16_t is_first = run->is_first;
        for (; begin < end; begin += length, is_first = 0) {
            length = end - begin < TOKEN_BYTES ? end - begin : TOKEN_BYTES;
            uint64_t hash = stem_hash(block->letters + begin, length, block->kinds[begin + 1]);
            uint64_t pair = (before & (is_first - 1ULL)) | (FIRST & (0ULL - is_first));
            pair = (((pair * BIGRAM) ^ (hash + PAIR_SEED)) * FOLD) >> (64 - WORD_BITS);
            uint64_t stem = ((hash ^ STEM_SEED) * FOLD) >> (64 - WORD_BITS);
            SOON(&words[stem]);
            SOON(&words[pair]);
            *token++ = (Token){(uint16_t)begin, (uint16_t)(begin + length), is_first,
                               (uint32_t)stem};
            *pairs++ = (uint32_t)pair;
            before = hash;
        }
    }
    opener->before = before;
    block->count = (size_t)(token - block->tokens);
}

/* Whether the last pair is among the ones before it. */
static int is_repeated(const uint32_t *pairs)
{
#ifdef __SSE2__
    __m128i pair = _mm_set1_epi32((int)pairs[REPEAT_TOKENS]), equal = _mm_setzero_si128();
    for (int i = 0; i < REPEAT_TOKENS; i += 4) {
        __m128i four = _mm_loadu_si128((const __m128i *)(pairs + i));
        equal = _mm_or_si128(equal, _mm_cmpeq_epi32(four, pair));
    }
    return _mm_movemask_epi8(equal) != 0;
#else
    int found = 0;
    for (int i = 0; i < REPEAT_TOKENS; i++)
        found |= pairs[i] == pairs[REPEAT_TOKENS];
    return found;
#endif
}

/* Adds the tokens to their segments. One whose pair is among the last ones does not count. */
static void add_tokens(Opener *opener, const Block *block, size_t at)
{
    Segment segment = opener->segment;
    const int8_t *words = opener->words;
    int tokens = opener->tokens;
    for (size_t i = 0; i < block->count; i++, tokens++) {
        Token token = block->tokens[i];
        const uint32_t *pairs = block->pairs + i;
        if (token.is_first || tokens == SEGMENT_TOKENS || !tokens) {
            if (tokens)
                close_segment(opener, segment, at + token.begin);
            segment = (Segment){.start = at + token.begin};
            tokens = 0;
        }
        int32_t counts = is_repeated(pairs) - 1; /* all bits, or none: no branch to guess */
        segment.words += (words[token.stem] + words[pairs[REPEAT_TOKENS]]) & counts;
        segment.word_count += 2 & counts;
        segment.grams += (block->grams[token.end] - block->grams[token.begin]) & counts;
        segment.gram_count += (token.end - token.begin) & counts;
    }
    opener->segment = segment;
    opener->tokens = tokens;
}

/* Reads a text in blocks. One that ends within a token, or may, is followed by one from there. */
static void read_text(Opener *opener, const uint8_t *data, size_t size)
{
    Block block;
    opener->before = FIRST;
    opener->least = least_sum(opener);
    memset(block.pairs, 0xFF, sizeof(uint32_t) * REPEAT_TOKENS); /* no row of the table */
    for (size_t at = 0; at < size; at += block.size) {
        size_t left = size - at;
        block.size = left < BLOCK_BYTES ? left : BLOCK_BYTES;
        read_bytes(&block, data, at, left);
        find_grams(&block, opener->grams);
        find_tokens(opener, &block, find_runs(opener, &block));
        add_grams(&block, opener->grams);
        add_tokens(opener, &block, at);
        memmove(block.pairs, block.pairs + block.count, sizeof(uint32_t) * REPEAT_TOKENS);
    }
    if (opener->tokens)
        close_segment(opener, opener->segment, size);
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

static PyObject *windows(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    Py_buffer text, words, grams;
    Stretch stretches[MOST_STRETCHES];
    Opener opener = {.stretches = stretches};
    PyObject *list = NULL;
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

PYTHON_MODULE(_opener, (make_tables(), 0))
