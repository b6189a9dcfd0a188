/* The sentences of a text and their words, as in sentences.py.
 *
 * Python says of each character what it is, once in a process: so both forms know the same letters.
 */

#define MAX_WORDS 50  /* of sentences that are read together */
#define LONG_WORDS 60 /* a longer sentence is read in overlapping parts */
#define PART_WORDS 40
#define STEP_WORDS 25
#define LETTERS_READ 256 /* of a word */

/* The characters of a text, or of a part of it. */
typedef struct {
    const Py_UCS4 *start, *end;
} Text;

/* Memory that grows. */
typedef struct {
    void *data;
    size_t size, capacity; /* in bytes */
} Buffer;

/* A sentence, a line, or a part of a long sentence. */
typedef struct {
    size_t start, end, words;
} Unit;

/* What a character is; a sign is a word of its own. */
enum { KNOWN = 1, SPACE = 2, WORD = 4, DIGIT = 8, SIGN = 16, STOP = 32, QUOTE = 64, ADDRESS = 128 };

static uint8_t class_of[0x110000];

/* Makes room for so many more bytes; 0 without memory. */
static int reserve(Buffer *buffer, size_t more)
{
    if (buffer->capacity - buffer->size >= more)
        return 1;
    size_t capacity = 2 * (buffer->size + more);
    void *data = realloc(buffer->data, capacity);
    if (data == NULL)
        return 0;
    buffer->data = data;
    buffer->capacity = capacity;
    return 1;
}

/* Asks Python what a character is; -1 for an error. */
static int ask(PyObject *letter, const char *method)
{
    PyObject *answer = PyObject_CallMethod(letter, method, NULL);
    int is_so = answer == NULL ? -1 : answer == Py_True;
    Py_XDECREF(answer);
    return is_so;
}

static int is_in(Py_UCS4 letter, const char *letters)
{
    return letter && letter < 128 && strchr(letters, (int)letter) != NULL;
}

static int ends_wide_sentence(Py_UCS4 letter)
{
    return letter == 0x3002 || letter == 0xFF01 || letter == 0xFF1F;
}

static int learn(Py_UCS4 character)
{
    PyObject *letter = PyUnicode_FromOrdinal((int)character);
    if (letter == NULL)
        return 0;
    int space = ask(letter, "isspace"), word = ask(letter, "isalnum");
    int digit = ask(letter, "isdecimal");
    Py_DECREF(letter);
    if (space < 0 || word < 0 || digit < 0)
        return 0;
    int sign = is_in(character, "<>[]{}#:!?`\"|=*_-");
    int stop = is_in(character, ".!?") || character == 0x3002; /* which an address has not */
    int quote = is_in(character, "\"'`") || character == 0x201C || character == 0x201E
                || character == 0xAB || character == 0x300C;
    int address = is_in(character, ".!?>*#/\n\"'([:;|-") || ends_wide_sentence(character);
    class_of[character] = (uint8_t)(KNOWN | space * SPACE | word * WORD | digit * DIGIT
                                    | sign * SIGN | stop * STOP | quote * QUOTE
                                    | address * ADDRESS);
    return 1;
}

/* Learns the characters of a text; 0 for an error. */
static int learn_all(Text text)
{
    for (const Py_UCS4 *at = text.start; at < text.end; at++)
        if (!class_of[*at] && !learn(*at))
            return 0;
    return 1;
}

static int is_any(Py_UCS4 letter, uint8_t class)
{
    return (class_of[letter] & class) != 0;
}

static int is_letter(Py_UCS4 letter)
{
    return (class_of[letter] & (WORD | DIGIT)) == WORD;
}

/* Vowel signs of Devanagari, which are letters of their words but begin none. */
static int is_vowel_sign(Py_UCS4 letter)
{
    return (letter >= 0x900 && letter <= 0x903) || (letter >= 0x93A && letter <= 0x94F)
           || (letter >= 0x955 && letter <= 0x957) || letter == 0x962 || letter == 0x963;
}

static int is_ideograph(Py_UCS4 letter)
{
    return (letter >= 0x3040 && letter <= 0x30FF) || (letter >= 0x3400 && letter <= 0x9FFF);
}

/* --- sentences -------------------------------------------------------------------------------- */

/* The beginning of the word, or of the second ideograph, so many further; the end if none is. */
static const Py_UCS4 *skip_words(Text unit, int words, int by_ideographs)
{
    const Py_UCS4 *at = unit.start;
    for (int left = by_ideographs ? 2 * words : words; left && at < unit.end; left--) {
        if (by_ideographs)
            for (at++; at < unit.end && !is_ideograph(*at); at++)
                ;
        else {
            for (; at < unit.end && !is_any(*at, SPACE); at++)
                ;
            for (; at < unit.end && is_any(*at, SPACE); at++)
                ;
        }
    }
    return at;
}

static int add_part(Buffer *units, const Py_UCS4 *text, Text part, size_t words)
{
    if (!reserve(units, sizeof(Unit)))
        return 0;
    Unit *unit = (Unit *)units->data + units->size / sizeof *unit;
    *unit = (Unit){(size_t)(part.start - text), (size_t)(part.end - text), words};
    units->size += sizeof *unit;
    return 1;
}

/* Adds a sentence that has a word, or its parts; 0 without memory. */
static int add_unit(Buffer *units, const Py_UCS4 *text, Text unit)
{
    size_t count = 0, ideographs = 0, letters = 0;
    for (const Py_UCS4 *at = unit.start; at < unit.end; at++) {
        letters += is_any(*at, WORD);
        ideographs += is_ideograph(*at);
        count += !is_any(*at, SPACE) && (at == unit.start || is_any(at[-1], SPACE));
    }
    if (!letters)
        return 1;
    int by_ideographs = ideographs / 2 >= count;
    if (by_ideographs)
        count = ideographs / 2;
    if (count <= LONG_WORDS)
        return add_part(units, text, unit, count);
    Text part = unit;
    while (by_ideographs ? !is_ideograph(*part.start) : is_any(*part.start, SPACE))
        part.start++;
    const Py_UCS4 *begin = unit.start;
    do {
        part.end = skip_words((Text){part.start, unit.end}, PART_WORDS, by_ideographs);
        /* So many words are not read together with the next sentence. */
        if (!add_part(units, text, (Text){begin, part.end}, MAX_WORDS))
            return 0;
        part.start = begin = skip_words((Text){part.start, unit.end}, STEP_WORDS, by_ideographs);
    } while (part.end < unit.end);
    return 1;
}

static int ends_sentence(Py_UCS4 letter)
{
    return letter == '.' || letter == '!' || letter == '?' || letter == 0x964 || letter == 0x61F;
}

/* Adds all sentences of a text; 0 without memory. */
static int add_units(Buffer *units, Text text)
{
    const Py_UCS4 *start = text.start, *at = text.start;
    while (at < text.end) {
        const Py_UCS4 *next = at;
        Py_UCS4 before = at > text.start ? at[-1] : 0;
        if (ends_sentence(before))
            for (; next < text.end && is_any(*next, SPACE); next++)
                ;
        else
            for (; next < text.end && *next == '\n'; next++)
                ;
        if (next > at || ends_wide_sentence(before)) {
            if (!add_unit(units, text.start, (Text){start, at}))
                return 0;
            start = next;
        }
        at = next > at ? next : at + 1;
    }
    return add_unit(units, text.start, (Text){start, text.end});
}

/* --- words ------------------------------------------------------------------------------------ */

/* True for a sentence that Python has to make plain: other letters than those of ASCII, and what
 * could be an address, as `_MARK` in features.py. */
static int is_plain(Text text)
{
    for (const Py_UCS4 *at = text.start; at < text.end; at++) {
        Py_UCS4 next = at + 1 < text.end ? at[1] | 32 : 0;
        if (*at >= 128 || *at == '@' || *at == '/')
            return 0;
        if (*at == '.' && (next == 'e' || next == 't' || next == 'i'))
            return 0;
        if (next == '.' && (*at | 32) == 'w')
            return 0;
    }
    return 1;
}

/* Appends a sentence in lower case, each number as 0. */
static void add_plain(Buffer *plain, Text text)
{
    Py_UCS4 *to = (Py_UCS4 *)((char *)plain->data + plain->size), *first = to;
    for (const Py_UCS4 *at = text.start; at < text.end; at++)
        if (!is_any(*at, DIGIT))
            *to++ = *at >= 'A' && *at <= 'Z' ? *at + 32 : *at;
        else if (at == text.start || !is_any(at[-1], DIGIT))
            *to++ = '0';
    plain->size += (size_t)(to - first) * sizeof *to;
}

static uint8_t *put(uint8_t *to, Py_UCS4 letter)
{
    if (letter < 0x80) {
        *to++ = (uint8_t)letter;
        return to;
    }
    int more = letter < 0x800 ? 1 : letter < 0x10000 ? 2 : 3;
    *to++ = (uint8_t)((more == 1 ? 0xC0 : more == 2 ? 0xE0 : 0xF0) | letter >> 6 * more);
    while (more--)
        *to++ = (uint8_t)(0x80 | (letter >> 6 * more & 63));
    return to;
}

/* The end of the word, number or sign that begins here; here if none does. */
static const Py_UCS4 *token_end(Text text)
{
    const Py_UCS4 *at = text.start;
    if (is_letter(*at))
        while (++at < text.end && (is_letter(*at) || is_vowel_sign(*at)))
            ;
    else if (is_any(*at, DIGIT))
        while (++at < text.end && is_any(*at, DIGIT))
            ;
    else
        at += is_any(*at, SIGN);
    return at;
}

/* Writes the words of a sentence, with spaces between them, at most five bytes a character. */
static uint8_t *put_words(uint8_t *to, Text text)
{
    const uint8_t *first = to;
    for (const Py_UCS4 *end; text.start < text.end; text.start = end) {
        end = token_end(text);
        if (end == text.start) {
            end++;
            continue;
        }
        if (to > first)
            *to++ = ' ';
        for (int i = 0; i < LETTERS_READ && text.start + i < end; i++)
            to = put(to, text.start[i]);
    }
    return to;
}
