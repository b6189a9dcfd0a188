/* The strings of JSON in a text, and those of JSON in such strings (detect/scanning/extents.py).
 *
 * JSON is told by its tokens alone. The escapes in its strings are replaced in place.
 */

#include <stdint.h>
#include <string.h>

#define JSON_LEVELS 2   /* these three as in extents.py: of JSON within strings of JSON */
#define LEAST_STRING 12 /* bytes of a string that may have meaning */
#define MOST_BLANKS 64  /* before and after JSON */

typedef struct {
    const uint8_t *text;
    PyObject *spans;  /* gets the starts and ends of strings that may have meaning; may be NULL */
    Py_ssize_t bytes; /* of all strings that are no keys */
} Strings;

static int is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* Whether a byte of JSON is between strings, and of no word. */
static int is_mark(uint8_t byte)
{
    return (byte >= '+' && byte <= ':' && byte != '/') || is_blank(byte) || byte == 'e' ||
           byte == 'E' || byte == '[' || byte == ']' || byte == '{' || byte == '}';
}

/* The quote that ends a string whose first byte is at `at`; NULL if there is none on its line. */
static const uint8_t *string_end(const uint8_t *at, const uint8_t *end)
{
    for (; at < end && *at != '"'; at++)
        if (*at == '\n' || (*at == '\\' && ++at == end))
            return NULL;
    return at < end ? at : NULL;
}

/* Whether a text has nothing but strings, numbers, words and marks of JSON. */
static int is_json(const uint8_t *at, const uint8_t *end)
{
    for (; at < end; at++) {
        if (*at == '"') {
            at = string_end(at + 1, end);
            if (at == NULL)
                return 0;
        } else if (end - at >= 4 && (memcmp(at, "true", 4) == 0 || memcmp(at, "null", 4) == 0)) {
            at += 3;
        } else if (end - at >= 5 && memcmp(at, "false", 5) == 0) {
            at += 4;
        } else if (!is_mark(*at)) {
            return 0;
        }
    }
    return 1;
}

/* The first byte that may be JSON's; the end if too much is blank. */
static const uint8_t *skip_blanks(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *first = at;
    while (at < end && is_blank(*at))
        at++;
    return at - first < MOST_BLANKS ? at : end;
}

/* Whether a text is JSON as a whole, and no word in quotes. */
static int is_whole_json(const uint8_t *at, const uint8_t *end)
{
    static const char open[] = "{[\"", close[] = "}]\"";
    const uint8_t *first = skip_blanks(at, end), *last = end;
    while (last > first && is_blank(last[-1]))
        last--;
    const char *kind = first < last ? memchr(open, *first, 3) : NULL;
    if (kind == NULL || last[-1] != close[kind - open] || end - last >= MOST_BLANKS)
        return 0;
    return (*first != '"' || memchr(at, '\\', (size_t)(end - at)) != NULL) && is_json(at, end);
}

/* Replaces the escapes of a string; a row of them keeps its end, with spaces before it. */
static void soften(uint8_t *at, uint8_t *end)
{
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/  \n \t";
    while ((at = memchr(at, '\\', (size_t)(end - at))) != NULL) {
        uint8_t *row = at;
        while (end - at > 1 && *at == '\\' && memchr(escapes, at[1], sizeof escapes - 1) != NULL)
            at += 2;
        uint8_t *to = at;
        for (const uint8_t *from = at; from > row; from -= 2)
            *--to = (uint8_t)meanings[strchr(escapes, from[-1]) - escapes];
        memset(row, ' ', (size_t)(to - row));
        at += at == row;
    }
}

static int add_place(const Strings *found, const uint8_t *place)
{
    return append_new(found->spans, PyLong_FromSsize_t(place - found->text));
}

/* Softens a text that is JSON, and the JSON in its strings; notes the strings. */
static int unwrap(Strings *found, uint8_t *at, uint8_t *end, int levels)
{
    while (at < end && (at = memchr(at, '"', (size_t)(end - at))) != NULL) {
        uint8_t *start = at + 1, *last = (uint8_t *)string_end(start, end);
        at = last + 1;
        while (at < end && is_blank(*at))
            at++;
        int is_key = at < end && *at == ':';
        soften(start, last);
        const uint8_t *first = skip_blanks(start, last);
        if (levels && first < last && (*first == '{' || *first == '[') && is_json(start, last)) {
            if (unwrap(found, start, last, levels - 1) < 0)
                return -1;
            continue;
        }
        found->bytes += is_key ? 0 : last - start;
        if (found->spans == NULL || last - start < LEAST_STRING ||
            (is_key && memchr(start, ' ', (size_t)(last - start)) == NULL))
            continue;
        if (add_place(found, start) < 0 || add_place(found, last) < 0)
            return -1;
    }
    return 0;
}
