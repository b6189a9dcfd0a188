/* The parts of the words of a text: of each word, from its beginning on the longest that are known.
 *
 * As Vocabulary in network_sums.py; network.py says what the tables contain.
 */

static uint32_t number_at(const uint8_t *table, size_t index)
{
    const uint8_t *at = table + 4 * index;
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t hashed(uint32_t hash, uint8_t byte)
{
    return (hash ^ byte) * 0x01000193U; /* FNV-1a */
}

/* The number of a part, of which `inside` tells whether "##" precedes it; 0 if there is none. */
static uint32_t find_part(const Network *net, uint32_t hash, const uint8_t *part, size_t size,
                          int inside)
{
    size_t slots = (size_t)1 << net->slot_bits;
    size_t slot = (hash * 0x9E3779B1U) >> (32 - net->slot_bits);
    for (size_t tried = 0; tried < slots; tried++, slot = (slot + 1) & (slots - 1)) {
        uint32_t content = number_at(net->slots, slot);
        uint32_t number = content & ((1U << NUMBER_BITS) - 1);
        if (!content)
            return 0;
        if (content >> NUMBER_BITS != hash >> NUMBER_BITS || number <= NUMBER || number >= net->parts)
            continue;
        size_t start = number_at(net->ends, number - 1), end = number_at(net->ends, number);
        if (end > net->letter_count || start > end || end - start != size + (inside ? 2 : 0))
            continue;
        if (inside && memcmp(net->letters + start, "##", 2) != 0)
            continue;
        if (memcmp(net->letters + end - size, part, size) == 0)
            return number;
    }
    return 0;
}

/* The longest known part that a word has at its beginning; its size, or 0, and its number. */
static size_t longest_part(const Network *net, const uint8_t *word, size_t size, int inside,
                           uint32_t *number)
{
    uint32_t hashes[MOST_LETTERS], hash = 0x811C9DC5U;
    size_t ends[MOST_LETTERS];
    int letters = 0;
    if (inside)
        hash = hashed(hashed(hash, '#'), '#');
    for (size_t at = 0; at < size && letters < MOST_LETTERS;) {
        do
            hash = hashed(hash, word[at++]);
        while (at < size && (word[at] & 0xC0) == 0x80);
        hashes[letters] = hash;
        ends[letters++] = at;
    }
    while (letters--) {
        *number = find_part(net, hashes[letters], word, ends[letters], inside);
        if (*number)
            return ends[letters];
    }
    return 0;
}

/* Appends the parts of a word: from its beginning on the longest that are known. */
static size_t add_word(const Network *net, const uint8_t *word, size_t size, uint32_t *parts,
                       size_t count)
{
    size_t start = 0, most = count + MOST_PARTS_OF_WORD;
    if (word[0] >= '0' && word[0] <= '9') {
        parts[count] = NUMBER;
        return count + 1;
    }
    while (start < size && count < most && count < MOST_PARTS) {
        uint32_t number = UNKNOWN;
        size_t found = longest_part(net, word + start, size - start, start > 0, &number);
        parts[count++] = found ? number : UNKNOWN;
        if (!found)
            break;
        start += found;
    }
    return count;
}

/* Adds a text, which is words with spaces between them, to the rows of a chunk with space for it. */
static void add_text(const Network *net, Chunk *chunk, const uint8_t *text, size_t size)
{
    uint32_t *parts = chunk->numbers + chunk->rows;
    size_t count = 0, at = 0;
    while (at < size && count < MOST_PARTS) {
        const uint8_t *end = memchr(text + at, ' ', size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at;
        if (length)
            count = add_word(net, text + at, length, parts, count);
        at += length + 1;
    }
    if (!count)
        parts[count++] = UNKNOWN;
    for (size_t i = 0; i < count; i++) {
        chunk->first[chunk->rows + i] = (uint16_t)chunk->rows;
        chunk->after[chunk->rows + i] = (uint16_t)(chunk->rows + count);
    }
    chunk->rows += count;
}
