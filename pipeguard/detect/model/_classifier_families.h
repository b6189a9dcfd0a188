/* The families of words, as in features.py: where in a sentence they are, and what they say there.
 *
 * The stems are a tree of bytes. After a stem that is a whole word, a line end follows; one of
 * several words has spaces in it, as lines of words have.
 */

#define FAMILIES_BYTES 8    /* of a stem in a file */
#define REACH 6             /* words between two families whose order is a feature */
#define LETTERS_A_WORD 2.5  /* of ideographs, on average */
#define ADDRESS_WORDS 8     /* fewer than these address somebody */
#define ADDRESS_LETTERS 60  /* after the first one, at most */
#define ROLE(number) (WORD_BUCKETS + MAX_FAMILIES * (number))
#define MOST_FAMILY_FEATURES ((5 + 2 * MAX_FAMILIES) * MAX_FAMILIES)

enum { ANYWHERE, FIRST, QUOTED_ONLY, ADDRESSED, TO_MODEL, TOGETHER_WITH };
enum { IN_ORDER = TOGETHER_WITH + MAX_FAMILIES };

/* A byte of stems: what may follow are nodes beside each other, whose bytes are the labels. */
typedef struct {
    uint32_t first, count, stem; /* number of the stem that ends here, from 1 */
} Node;

typedef struct {
    Node *nodes;
    uint8_t *labels;
    uint64_t *families; /* of each stem, as bits */
    uint64_t model;     /* the family of names for the model, or none */
} Lexicon;

typedef struct {
    double at; /* in words from the beginning */
    uint64_t families;
} Place;

/* Stems from one to another that begin with the same bytes. */
typedef struct {
    uint32_t first, end, depth;
} Span;

/* Makes the nodes of stems that are sorted: all of one depth before those of the next. */
static size_t add_nodes(Lexicon *lexicon, const uint8_t *const *stems, Span *spans, size_t count)
{
    size_t made = 1;
    spans[0] = (Span){0, (uint32_t)count, 0};
    for (size_t i = 0; i < made; i++) {
        Node *node = &lexicon->nodes[i];
        uint32_t depth = spans[i].depth;
        node->first = (uint32_t)made;
        for (uint32_t stem = spans[i].first, first = stem; stem < spans[i].end; first = stem) {
            uint8_t byte = stems[stem++][depth];
            if (!byte) {
                node->stem = stem;
                continue;
            }
            while (stem < spans[i].end && stems[stem][depth] == byte)
                stem++;
            lexicon->labels[made] = byte;
            spans[made++] = (Span){first, stem, depth + 1};
        }
        node->count = (uint32_t)(made - node->first);
    }
    return made;
}

static void free_lexicon(Lexicon *lexicon)
{
    if (lexicon == NULL)
        return;
    free(lexicon->nodes);
    free(lexicon->labels);
    free(lexicon->families);
    free(lexicon);
}

/* The lexicon of stems that each end in a zero, with as many families; NULL without memory. */
static Lexicon *make_lexicon(Letters text, const uint8_t *families, size_t count)
{
    size_t most = (size_t)(text.end - text.start) + 1, found = 0;
    Lexicon *lexicon = calloc(1, sizeof *lexicon);
    Span *spans = malloc(most * sizeof *spans);
    const uint8_t **stems = malloc((count + 1) * sizeof *stems);
    if (lexicon != NULL) {
        lexicon->nodes = calloc(most, sizeof *lexicon->nodes);
        lexicon->labels = malloc(most);
        lexicon->families = calloc(count + 1, sizeof *lexicon->families);
    }
    if (!lexicon || !spans || !stems || !lexicon->nodes || !lexicon->labels || !lexicon->families) {
        free_lexicon(lexicon);
        lexicon = NULL;
    } else {
        for (size_t i = 0; i < FAMILIES_BYTES * count; i++) /* the lowest first */
            lexicon->families[1 + i / FAMILIES_BYTES] |=
                (uint64_t)families[i] << 8 * (i % FAMILIES_BYTES);
        for (const uint8_t *at = text.start; found < count; found++, at += strlen((const char *)at) + 1)
            stems[found] = at;
        Node *nodes = lexicon->nodes;
        size_t made = add_nodes(lexicon, stems, spans, count);
        nodes = realloc(nodes, made * sizeof *nodes);
        lexicon->nodes = nodes != NULL ? nodes : lexicon->nodes;
    }
    free(spans);
    free(stems);
    return lexicon;
}

static const Node *find_next(const Lexicon *lexicon, const Node *node, uint8_t byte)
{
    const uint8_t *labels = lexicon->labels + node->first;
    const uint8_t *found = node->count ? memchr(labels, byte, node->count) : NULL;
    return found == NULL ? NULL : lexicon->nodes + (found - lexicon->labels);
}

/* The families of a word: of its beginnings, of the whole word, and of it with what follows. */
static uint64_t of_word(const Lexicon *lexicon, Letters word, const uint8_t *line_end)
{
    uint64_t families = 0;
    const Node *node = lexicon->nodes, *whole;
    for (const uint8_t *at = word.start;; at++) {
        if (at == word.end && (whole = find_next(lexicon, node, '\n')) != NULL)
            families |= lexicon->families[whole->stem];
        if (at == line_end || (node = find_next(lexicon, node, *at)) == NULL)
            return families;
        families |= lexicon->families[node->stem];
    }
}

/* The families of what begins with an ideograph; it may reach into the following word. */
static uint64_t of_ideographs(const Lexicon *lexicon, Letters word, const uint8_t *line_end)
{
    uint64_t families = 0;
    const Node *node = lexicon->nodes;
    for (const uint8_t *at = word.start;; at++) {
        at += at == word.end && at < line_end;
        if (at == line_end || *at == ' ' || (node = find_next(lexicon, node, *at)) == NULL)
            return families;
        families |= lexicon->families[node->stem];
    }
}

/* Finds the families in a line of words, at most one place a byte. */
static size_t find_places(const Lexicon *lexicon, Letters line, Place *places)
{
    size_t count = 0;
    double at = 0;
    for (Letters word = line; word.start < line.end; word.start = word.end + 1) {
        word.end = memchr(word.start, ' ', (size_t)(line.end - word.start));
        if (word.end == NULL)
            word.end = line.end;
        if (!is_ideographic(word)) {
            uint64_t families = of_word(lexicon, word, line.end);
            if (families)
                places[count++] = (Place){at, families};
            at += 1;
            continue;
        }
        size_t letters = 0;
        for (Letters rest = word; rest.start < rest.end; letters++) {
            uint64_t families = is_ideographic(rest) ? of_ideographs(lexicon, rest, line.end) : 0;
            if (families)
                places[count++] = (Place){at + (double)letters / LETTERS_A_WORD, families};
            rest.start = skip(rest.start, rest.end, 1);
        }
        at += (double)letters / LETTERS_A_WORD;
    }
    return count;
}

static uint64_t all_families(const Place *places, size_t count)
{
    uint64_t families = 0;
    for (size_t i = 0; i < count; i++)
        families |= places[i].families;
    return families;
}

/* --- quotes and addresses --------------------------------------------------------------------- */

static const struct {
    Py_UCS4 opens, closes;
    int least, most;
} quotes[] = {
    {'"', '"', 3, 200},       {0x201C, 0x201D, 3, 200}, {0xAB, 0xBB, 3, 200}, {'`', '`', 3, 200},
    {0x300C, 0x300D, 2, 100}, {0x201E, 0x201C, 3, 200}, {'\'', '\'', 8, 200},
};

/* The end of the quotation that begins here; here if none does. */
static const Py_UCS4 *quotation_end(Text text)
{
    for (size_t i = 0; i < sizeof quotes / sizeof *quotes && is_any(*text.start, QUOTE); i++) {
        if (*text.start != quotes[i].opens)
            continue;
        const Py_UCS4 *at = text.start + 1;
        int letters = 0;
        for (; at < text.end && *at != quotes[i].closes && *at != '\n'; at++)
            if (++letters > quotes[i].most)
                return text.start;
        if (at < text.end && *at != '\n' && letters >= quotes[i].least)
            return at + 1;
    }
    return text.start;
}

/* Writes a sentence with a space in place of each quotation. */
static Py_UCS4 *put_unquoted(Py_UCS4 *to, Text text)
{
    while (text.start < text.end) {
        const Py_UCS4 *end = quotation_end(text);
        *to++ = end > text.start ? ' ' : *text.start;
        text.start = end > text.start ? end : text.start + 1;
    }
    return to;
}

static int is_colon(Py_UCS4 letter)
{
    return letter == ':' || letter == ',' || letter == 0xFF1A || letter == 0xFF0C;
}

/* The end of an address from its first letter on, before a comma or colon; its start if none is. */
static const Py_UCS4 *address_end(Text text)
{
    const Py_UCS4 *at = text.start;
    if (at == text.end || is_any(*at, SPACE | STOP) || is_colon(*at))
        return text.start;
    for (int letters = 0; letters < ADDRESS_LETTERS; letters++) {
        if (++at == text.end || is_any(*at, STOP) || *at == '\n' || is_colon(*at))
            return text.start;
        const Py_UCS4 *after = at + 1;
        if (after + 1 < text.end && is_any(*after, SPACE)
            && (is_colon(after[1]) || after[1] == 0x2014))
            return after;
        if (after < text.end && (is_colon(*after) || *after == 0x2014))
            return after;
    }
    return text.start;
}

/* The next address in a sentence from a place on; it is empty if there is no further one. */
static Text find_address(Text text, const Py_UCS4 *at)
{
    for (; at < text.end; at++) {
        Text address = {at, text.end};
        if (at == text.start) {
            address.end = address_end(address);
            if (address.end > address.start)
                return address;
            address.end = text.end;
        }
        if (!is_any(*at, ADDRESS))
            continue;
        for (address.start++; address.start < text.end && is_any(*address.start, SPACE);)
            address.start++;
        address.end = address_end(address);
        if (address.end > address.start)
            return address;
    }
    return (Text){text.end, text.end};
}

/* --- features --------------------------------------------------------------------------------- */

/* Memory for what is read of a sentence again. */
typedef struct {
    Py_UCS4 *text;
    uint8_t *words;
    Place *places;
} Scratch;

static uint64_t families_of(const Lexicon *lexicon, Text text, const Scratch *scratch)
{
    Letters line = {scratch->words, put_words(scratch->words, text)};
    size_t count = find_places(lexicon, line, scratch->places);
    return all_families(scratch->places, count);
}

static void add_families(Buffer *rows, uint32_t first, uint64_t families)
{
    int32_t *to = (int32_t *)rows->data + rows->size / sizeof *to;
    for (uint32_t family = 0; family < MAX_FAMILIES && families >> family; family++)
        if (families >> family & 1) {
            *to++ = (int32_t)(first + family);
            rows->size += sizeof *to;
        }
}

/* Adds the pairs of families that are in one sentence, and those that are close, in their order. */
static void add_pairs(Buffer *rows, const Place *places, size_t count, uint64_t seen)
{
    uint64_t after[MAX_FAMILIES] = {0};
    for (size_t i = 0; i < count; i++) {
        uint64_t others = 0;
        for (size_t j = i + 1; j < count && !(places[j].at - places[i].at > REACH); j++)
            others |= places[j].families;
        for (int family = 0; others && family < MAX_FAMILIES; family++)
            if (places[i].families >> family & 1)
                after[family] |= others;
    }
    for (uint32_t family = 0; family < MAX_FAMILIES; family++) {
        uint64_t bit = (uint64_t)1 << family;
        if (!(seen & bit))
            continue;
        add_families(rows, ROLE(TOGETHER_WITH + family), seen & ~(bit | (bit - 1)));
        add_families(rows, ROLE(IN_ORDER + family), after[family] & ~bit);
    }
}

static void add_addressed(Buffer *rows, const Lexicon *lexicon, Text text, uint64_t seen,
                          const Scratch *scratch)
{
    uint64_t addressed = 0;
    Text address = find_address(text, text.start);
    for (; address.start < address.end; ) {
        int spaces = 0;
        for (const Py_UCS4 *at = address.start; at < address.end; at++)
            spaces += *at == ' ';
        if (spaces < ADDRESS_WORDS)
            addressed |= families_of(lexicon, address, scratch);
        const Py_UCS4 *after = address.end;
        after += 1 + (is_any(*after, SPACE) != 0);
        address = find_address(text, after);
    }
    add_families(rows, ROLE(ADDRESSED), addressed);
    if (addressed & lexicon->model)
        add_families(rows, ROLE(TO_MODEL), seen);
}

/* Adds the features of a sentence's families; 0 without memory. */
static int add_family_features(Buffer *rows, const Lexicon *lexicon, Text text, Letters line,
                               const Scratch *scratch)
{
    size_t count = find_places(lexicon, line, scratch->places);
    if (!count)
        return 1;
    if (!reserve(rows, MOST_FAMILY_FEATURES * sizeof(int32_t)))
        return 0;
    uint64_t seen = all_families(scratch->places, count);
    add_families(rows, ROLE(ANYWHERE), seen);
    add_pairs(rows, scratch->places, count, seen);
    if (scratch->places->at < BEGINNING_WORDS - 1)
        add_families(rows, ROLE(FIRST), scratch->places->families);
    Text unquoted = {scratch->text, put_unquoted(scratch->text, text)};
    if (unquoted.end - unquoted.start < text.end - text.start)
        add_families(rows, ROLE(QUOTED_ONLY),
                     seen & ~families_of(lexicon, unquoted, scratch));
    add_addressed(rows, lexicon, text, seen, scratch);
    return 1;
}
