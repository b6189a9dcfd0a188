/* The texts of strict JSON: strings, numbers, spaces and line ends, read from the bytes of a frame.
 *
 * Shared by what makes values of frames (_strict_json.c) and what outlines plain ones
 * (detect/_outline.c). The byte behind the last one must be zero, which ends every token.
 */

#include <stdint.h>
#include <string.h>

#define NAMES 256     /* remembered: a power of two */
#define NAME_BYTES 27 /* of the longest one */
#define WORD_BYTES 8

/* The number of the byte with the lowest bit that is set. */
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FIRST_MARK(marks) (__builtin_ctzll(marks) / 8)
#endif

typedef struct {
    const uint8_t *at, *end;
    PyObject *number; /* the type of numbers, made of their digits */
    Py_ssize_t depth, nodes, keys; /* what is left of the limits; of keys, the limit */
    uint8_t *plain; /* a string without its escapes; NULL until one has some */
    int is_line, is_ascii;
} Reader;

static const uint64_t ONES = 0x0101010101010101ULL, HIGHS = 0x8080808080808080ULL;

static int is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte != '"' && byte != '\\';
}

/* The high bits of the bytes of a word that are not plain, exact up to the first of them. */
static uint64_t marks_of(uint64_t word)
{
    uint64_t quote = word ^ (ONES * '"'), slash = word ^ (ONES * '\\');
    return ((word - ONES * 0x20) | (quote - ONES) | (slash - ONES)) & ~word & HIGHS;
}

/* The first byte from `at` on that is not plain. */
static const uint8_t *skip_plain(Reader *reader, const uint8_t *at)
{
    uint64_t word, high = 0;
    for (; reader->end - at >= WORD_BYTES; at += WORD_BYTES, high |= word) {
        memcpy(&word, at, WORD_BYTES);
        if (marks_of(word))
            break;
    }
    for (; is_plain(*at); at++)
        high |= *at;
    reader->is_ascii &= !(high & HIGHS);
    return at;
}

/* As `skip_plain`, with a copy of what it skips. */
static const uint8_t *copy_plain(Reader *reader, const uint8_t *at, uint8_t **out)
{
    uint64_t word, high = 0;
    uint8_t *to = *out;
    for (; reader->end - at >= WORD_BYTES; at += WORD_BYTES, to += WORD_BYTES, high |= word) {
        memcpy(&word, at, WORD_BYTES);
        memcpy(to, at, WORD_BYTES);
        uint64_t marks = marks_of(word);
        if (marks) {
#ifdef FIRST_MARK
            at += FIRST_MARK(marks);
            to += FIRST_MARK(marks);
            high |= word & (marks ^ (marks - 1));
#endif
            break;
        }
    }
    for (; is_plain(*at); at++, to++) {
        *to = *at;
        high |= *at;
    }
    reader->is_ascii &= !(high & HIGHS);
    *out = to;
    return at;
}

static void skip_space(Reader *reader)
{
    for (;; reader->at++) {
        if (*reader->at == '\n')
            reader->is_line = 0;
        else if (*reader->at == '\r')
            reader->is_line &= reader->at + 1 == reader->end;
        else if (*reader->at != ' ' && *reader->at != '\t')
            return;
    }
}

static uint32_t mix(uint32_t hash, uint8_t byte)
{
    hash = (hash ^ byte) * 0x9E3779B1U;
    return hash ^ hash >> 15;
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The code unit of `\uXXXX`; -1 if that is not there. */
static int32_t code_unit(const uint8_t *at)
{
    int32_t unit = 0;
    if (at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(at[i]); /* -1 for the zero at the end, and nothing behind it is read */
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* Writes the character of the escape at `*at` in UTF-8, in no more bytes than the escape has, and
 * moves behind it. NULL for half a character and for no escape. */
static uint8_t *unescape(const uint8_t **at, uint8_t *out)
{
    static const uint8_t means[256] = {
        ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
        ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t',
    };
    uint8_t letter = means[(*at)[1]];
    if (letter) {
        *at += 2;
        *out++ = letter;
        return out;
    }
    int32_t code = code_unit(*at);
    if (code < 0 || (code >= 0xDC00 && code < 0xE000))
        return NULL;
    *at += 6;
    if (code >= 0xD800 && code < 0xDC00) {
        int32_t low = code_unit(*at);
        if (low < 0xDC00 || low >= 0xE000)
            return NULL;
        *at += 6;
        code = 0x10000 + ((code - 0xD800) << 10 | (low - 0xDC00));
        *out++ = (uint8_t)(0xF0 | code >> 18);
        *out++ = (uint8_t)(0x80 | (code >> 12 & 0x3F));
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    } else if (code >= 0x800) {
        *out++ = (uint8_t)(0xE0 | code >> 12);
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    } else if (code >= 0x80) {
        *out++ = (uint8_t)(0xC0 | code >> 6);
    } else {
        *out++ = (uint8_t)code;
        return out;
    }
    *out++ = (uint8_t)(0x80 | (code & 0x3F));
    return out;
}

static const uint8_t *skip_digits(const uint8_t *at)
{
    while (*at >= '0' && *at <= '9')
        at++;
    return at;
}

/* Behind the number at `at`; NULL where there is none. */
static const uint8_t *skip_number(const uint8_t *at)
{
    const uint8_t *whole = at + (*at == '-'), *part;
    at = *whole == '0' ? whole + 1 : skip_digits(whole);
    if (at == whole)
        return NULL;
    if (*at == '.') {
        part = at + 1;
        at = skip_digits(part);
        if (at == part)
            return NULL;
    }
    if (*at == 'e' || *at == 'E') {
        part = at + 1;
        part += *part == '+' || *part == '-';
        at = skip_digits(part);
        if (at == part)
            return NULL;
    }
    return at;
}

/* Whether a valid text has U+0085, U+2028 or U+2029 as it is: some readers end a line there. */
static int has_line_end(const uint8_t *text, const uint8_t *end)
{
    const uint8_t *at = text;
    for (; (at = memchr(at, 0xC2, (size_t)(end - at))) != NULL; at++)
        if (at[1] == 0x85)
            return 1;
    for (at = text; (at = memchr(at, 0xE2, (size_t)(end - at))) != NULL; at++)
        if (at[1] == 0x80 && (at[2] == 0xA8 || at[2] == 0xA9))
            return 1;
    return 0;
}
