/* The sums of a classifier: features of words, and weights of sentences alone and together.
 *
 * As in features.py. The words of a sentence are separated by spaces; a feature of a word is a hash
 * cut to the size of its table.
 */

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

/* True the first time that a feature is seen; a bit for each remembers it. */
static int is_new(uint8_t *seen, uint32_t row)
{
    uint8_t bit = (uint8_t)(1u << (row & 7));
    int found = !(seen[row >> 3] & bit);
    seen[row >> 3] |= bit;
    return found;
}

static void forget(uint8_t *seen, const Group *group)
{
    for (size_t i = 0; i < group->count; i++)
        seen[group->rows[i] >> 3] = 0;
}

/* Leaves each feature once, and adds up their weights. */
static void weigh(Group *group, const uint8_t *weights, uint8_t *seen)
{
    size_t kept = 0;
    group->weight = 0;
    for (size_t i = 0; i < group->count; i++)
        if (is_new(seen, group->rows[i])) {
            group->rows[kept++] = group->rows[i];
            group->weight += weights[group->rows[i]] - 128;
        }
    group->count = kept;
    forget(seen, group);
}

static void read_sentence(Sentence *sentence, Letters text, const uint8_t *weights,
                          uint8_t *seen)
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
            int is_number = *at == '0'; /* all numbers are one word */
            add_word(words, is_number ? (Letters){at, at + 1} : word, &context);
            if (skip(at, end, 1) < end)
                add_grams(grams, word);
        }
    }
    for (int kind = 0; kind < KINDS; kind++)
        weigh(&sentence->groups[kind], weights, seen);
}

static double mean(int32_t weight, size_t count)
{
    return weight / sqrt((double)(count < LEAST_FEATURES ? LEAST_FEATURES : count));
}

/* The mean of what any of several sentences has. */
static double mean_together(const Sentence *sentences, int count, int kind, const uint8_t *weights,
                            uint8_t *seen)
{
    size_t found = 0;
    int32_t weight = 0;
    for (int i = 0; i < count; i++) {
        const Group *group = &sentences[i].groups[kind];
        for (size_t row = 0; row < group->count; row++)
            if (is_new(seen, group->rows[row])) {
                weight += weights[group->rows[row]] - 128;
                found++;
            }
    }
    for (int i = 0; i < count; i++)
        forget(seen, &sentences[i].groups[kind]);
    return mean(weight, found);
}

/* The most that features of sentences weigh together, however they are spread over these. */
static double most_together(const Sentence *sentences, int count)
{
    double most = 0;
    for (int kind = 0; kind < KINDS; kind++) {
        double squared = 0;
        for (int i = 0; i < count; i++) {
            const Group *group = &sentences[i].groups[kind];
            double weight = group->weight > 0 ? group->weight : 0;
            squared += weight * weight / (double)(group->count ? group->count : 1);
        }
        most += sqrt(squared);
    }
    return most;
}

/* The weighted mean of sentences together. */
static double score(const Sentence *sentences, int count, const uint8_t *weights, uint8_t *seen)
{
    double sum = 0;
    for (int kind = 0; kind < KINDS; kind++) {
        const Group *group = &sentences->groups[kind];
        sum += count > 1 ? mean_together(sentences, count, kind, weights, seen)
                         : mean(group->weight, group->count);
    }
    return sum;
}
