/* Outlines a plain tool call, or a plain result of one, from the bytes of its frame: what a look at
 * it needs, and no value. None for every other frame, which is read and judged in full. Also finds
 * the strings of JSON in a text, and a name in a frame.
 *
 * What it accepts, firewall/protocol/message.py accepts too. Its texts are those that
 * detect/text/layouts.py lays out of the value, its short values those of
 * detect/flows/text_values.py (tests/detect/test_plain.py). One pass over the bytes.
 */

#include "../_python.h"
#include "../firewall/protocol/_strict_json_text.h"
#include "text/_json_strings.h"
#include "text/_short_values.h"

#define FRAME_BYTES 2048 /* of the longest call that is outlined; of a result eight times as many */
#define IS_FIXED 1       /* these three as in plain.py */
#define IS_SENSITIVE 2
#define IS_AMOUNT 4
#define MIN_NUMBER_DIGITS 9 /* these four as in layouts.py */
#define LONGEST_LISTED 12
#define LONGEST_NAMED 600
#define LEAST_KEY 10
#define MAX_ID_DIGITS 40 /* these two as in ids.py */
#define MAX_ID_BYTES 1024
#define MOST_LEVELS 16  /* of objects and lists in each other */
#define MOST_NAMES 64   /* of the objects around a place, and of the whole, each once */
#define MOST_NUMBERS 15 /* of a call: more could be the characters of a text */
#define LEAST_END 5     /* bytes in which a key could begin */
#define COPIES 4        /* of a frame's bytes that its texts take at most */
#define WAYS 2          /* places that a name may have in the table */

typedef struct {
    const uint8_t *at;
    size_t size;
} Span;

/* A name, and what plain.py says of it. Names recur across frames; the GIL guards the table. */
typedef struct {
    uint8_t is_known, size, bytes[NAME_BYTES];
    int facts;
} Fact;

/* Where in a message a value is: at one of the places that the protocol knows, or below one. */
typedef enum { WHOLE, VERSION, ID, METHOD, PARAMS, RESULT, TOOL, ARGUMENTS, META, TOKEN, REST } Place;

typedef struct {
    Reader in;
    int keyed;
    PyObject *describe, *add;       /* of plain.py; borrowed */
    PyObject *tool, *values, *ends; /* made here */
    Span id, token, arguments;      /* as they are written; empty where there is none */
    uint8_t *data, *joined, *labelled, *plain; /* where the next byte of each goes */
    uint8_t *first;                 /* byte of `data`: the buffer of all four */
    Span siblings[MOST_NAMES], once[MOST_NAMES];
    int sibling_count, once_count, count, number_count, found, may_hold_address;
    const uint8_t *last;  /* of the joined texts */
    Py_ssize_t raw_bytes; /* of the longest frame whose texts are wanted as they are; or 0 */
} Outline;

static Fact known[NAMES][WAYS];

static int add(uint8_t **to, const void *bytes, size_t size)
{
    memcpy(*to, bytes, size);
    *to += size;
    return 0;
}

/* What plain.py says of a name; -1 for an error. */
static int describe(Outline *outline, Span name)
{
    uint32_t hash = 0;
    for (size_t i = 0; i < name.size && i < NAME_BYTES; i++)
        hash = mix(hash, name.at[i]);
    Fact *ways = known[hash % NAMES], *fact;
    for (fact = ways; fact < ways + WAYS; fact++)
        if (fact->is_known && fact->size == name.size && memcmp(fact->bytes, name.at, name.size) == 0)
            return fact->facts;
    fact = ways + (ways->is_known && !ways[1].is_known);
    PyObject *facts = PyObject_CallFunction(outline->describe, "s#", (const char *)name.at,
                                            (Py_ssize_t)name.size);
    int described = facts == NULL ? -1 : (int)PyLong_AsLong(facts);
    Py_XDECREF(facts);
    if (described >= 0 && name.size <= NAME_BYTES) {
        fact->is_known = 1;
        fact->size = (uint8_t)name.size;
        memcpy(fact->bytes, name.at, name.size);
        fact->facts = described;
    }
    return described;
}

static int is_same(Span text, const char *other)
{
    return strlen(other) == text.size && memcmp(text.at, other, text.size) == 0;
}

static int is_in(const Span *spans, int count, Span text)
{
    for (int i = 0; i < count; i++)
        if (spans[i].size == text.size && memcmp(spans[i].at, text.at, text.size) == 0)
            return 1;
    return 0;
}

static size_t count_characters(Span text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++)
        count += (text.at[i] & 0xC0) != 0x80;
    return count;
}

/* Whether a name, or what is read as one, could be part of a secret. */
static int may_be_secret(Span name)
{
    int has_digit = 0;
    for (size_t i = 0; i < name.size; i++)
        has_digit |= name.at[i] >= '0' && name.at[i] <= '9';
    return has_digit && name.size >= LEAST_KEY;
}

/* `is_listed` of layouts.py, for ASCII; -1 for other texts. */
static int is_listed(Span text)
{
    int is_ascii = 1, has_small = 0, has_capital = 0;
    for (size_t i = 0; i < text.size; i++) {
        is_ascii &= text.at[i] < 0x80;
        has_small |= text.at[i] >= 'a' && text.at[i] <= 'z';
        has_capital |= text.at[i] >= 'A' && text.at[i] <= 'Z';
    }
    if (!is_ascii)
        return -1;
    return text.size <= LONGEST_LISTED && ((has_small && !has_capital) || is_same(text, "2.0"));
}

/* The string at whose quote the reader is; escapes are read into the buffer. */
static int read_string(Outline *outline, Span *text)
{
    const uint8_t *start = outline->in.at + 1, *at = skip_plain(&outline->in, start);
    uint8_t *out = outline->plain;
    *text = (Span){start, (size_t)(at - start)};
    if (*at == '\\') {
        add(&out, start, text->size);
        while (*at == '\\') {
            out = unescape(&at, out);
            if (out == NULL)
                return -1;
            at = copy_plain(&outline->in, at, &out);
        }
        *text = (Span){outline->plain, (size_t)(out - outline->plain)};
        outline->plain = out;
    }
    outline->in.at = at + 1;
    return *at == '"' ? 0 : -1;
}

/* --- what flows need of a call's arguments --- */

static int note_short_value(Outline *outline, Span name, int facts, Span text)
{
    char small[SHORT_CHARS];
    Py_ssize_t size = read_short((const char *)text.at, (Py_ssize_t)text.size, small);
    PyObject *made;
    if (size < 0 || facts & IS_AMOUNT)
        return 0;
    if (size == 0)
        made = PyObject_CallFunction(outline->add, "s#s#O", (const char *)name.at,
                                     (Py_ssize_t)name.size, (const char *)text.at,
                                     (Py_ssize_t)text.size, outline->values);
    else
        made = PyUnicode_FromStringAndSize(small, size);
    int failed = made == NULL || (size > 0 && PySet_Add(outline->values, made) < 0);
    Py_XDECREF(made);
    return failed ? -1 : 0;
}

static const char ENDS_WORD[] = " \n\r\t\"'<>,;";

/* The end of a string in which a key could begin: what `secret_values.find_begun_key` reads of it. */
static int note_end(Outline *outline, Span text)
{
    size_t size = 0;
    while (size < text.size &&
           memchr(ENDS_WORD, text.at[text.size - 1 - size], sizeof ENDS_WORD - 1) == NULL)
        size++;
    if (size < LEAST_END)
        return 0;
    const char *start = (const char *)text.at + text.size - size;
    return append_new(outline->ends, PyUnicode_FromStringAndSize(start, (Py_ssize_t)size));
}

static int has_address_sign(Span text)
{
    for (size_t i = 0; i + 3 <= text.size; i++)
        if (memcmp(text.at + i, "://", 3) == 0)
            return 1;
    return 0;
}

/* --- the layouts --- */

static int add_line(uint8_t **to, Span text)
{
    add(to, text.at, text.size);
    return add(to, "\n", 1);
}

static int add_joined(Outline *outline, Span text)
{
    outline->count++;
    outline->last = outline->joined;
    return add(&outline->joined, text.at, text.size);
}

/* Notes a name of the unkeyed layout, or a text that is read as one; no part of a secret. */
static int note_once(Outline *outline, Span text)
{
    if (is_in(outline->once, outline->once_count, text))
        return 0;
    if (outline->once_count == MOST_NAMES)
        return -1;
    outline->once[outline->once_count++] = text;
    return 0;
}

/* A string, or a number that is long enough to identify somebody. */
static int lay_out(Outline *outline, const Span *name, int facts, Span text, int is_number)
{
    if (outline->keyed) {
        int listed = name != NULL && facts & IS_FIXED && !is_number ? is_listed(text) : 0;
        add_line(&outline->data, text);
        return listed == 0 ? add_joined(outline, text) : listed < 0 ? -1 : 0;
    }
    if (name != NULL && facts & IS_FIXED && !is_number)
        return may_be_secret(text) ? -1 : note_once(outline, text);
    uint8_t *start = outline->data;
    add_line(&outline->data, text);
    if (!outline->raw_bytes && is_whole_json(start, start + text.size))
        unwrap(&(Strings){.bytes = 0}, start, start + text.size, JSON_LEVELS);
    add_joined(outline, text);
    if (name == NULL || !(facts & IS_SENSITIVE))
        return 0;
    if (is_number || count_characters(text) <= LONGEST_NAMED) {
        add(&outline->labelled, name->at, name->size);
        add(&outline->labelled, ": ", 2);
        add_line(&outline->labelled, text);
    }
    return 0;
}

/* --- the walk --- */

/* The place of a member; -1 for one that no plain message has. */
static int member_place(const Outline *outline, Place place, Span name)
{
    static const struct {
        Place around, member;
        int keyed; /* -1 for both directions */
        const char *name;
    } members[] = {
        {WHOLE, VERSION, -1, "jsonrpc"}, {WHOLE, ID, -1, "id"},
        {WHOLE, METHOD, 1, "method"},    {WHOLE, PARAMS, 1, "params"},
        {PARAMS, TOOL, 1, "name"},       {PARAMS, ARGUMENTS, 1, "arguments"},
        {PARAMS, META, 1, "_meta"},      {META, TOKEN, 1, "progressToken"},
        {WHOLE, RESULT, 0, "result"},    {RESULT, REST, 0, "content"},
        {RESULT, REST, 0, "isError"},    {RESULT, REST, 0, "structuredContent"},
    };
    if (!outline->keyed && place != WHOLE && is_same(name, "_meta"))
        return META;
    if (!outline->keyed && is_same(name, "resource"))
        return -1;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (members[i].around == place && members[i].keyed != !outline->keyed &&
            is_same(name, members[i].name))
            return members[i].member;
    return place == WHOLE || place == PARAMS || place == RESULT ? -1
           : place == ARGUMENTS                                 ? ARGUMENTS
                                                                : REST;
}

static int read_value(Outline *outline, Place place, const Span *name, int facts, int level);

/* Reads a container's members or items; -1 if it is not plain. */
static int read_members(Outline *outline, Place place, int is_object, int facts, int level)
{
    uint8_t closing = is_object ? '}' : ']';
    int first = outline->sibling_count, is_amount = facts & IS_AMOUNT;
    if (level == MOST_LEVELS)
        return -1;
    outline->in.at++;
    skip_space(&outline->in);
    if (*outline->in.at == closing) {
        outline->in.at++;
        return 0;
    }
    for (;;) {
        Span name;
        int member = place, described = 0;
        if (is_object) {
            if (*outline->in.at != '"' || read_string(outline, &name) < 0)
                return -1;
            if (outline->sibling_count == MOST_NAMES || may_be_secret(name) ||
                is_in(outline->siblings + first, outline->sibling_count - first, name))
                return -1;
            outline->siblings[outline->sibling_count++] = name;
            member = member_place(outline, place, name);
            described = describe(outline, name);
            if (member < 0 || described < 0)
                return -1;
            skip_space(&outline->in);
            if (*outline->in.at++ != ':')
                return -1;
            skip_space(&outline->in);
            if (outline->keyed) {
                add(&outline->data, name.at, name.size);
                add(&outline->data, ": ", 2);
            } else if (note_once(outline, name) < 0) {
                return -1;
            }
            outline->may_hold_address |= member == ARGUMENTS && has_address_sign(name);
        }
        /* Below the name of an amount nothing is a short value. */
        if (read_value(outline, (Place)member, is_object ? &name : NULL, described | is_amount,
                       level + 1) < 0)
            return -1;
        skip_space(&outline->in);
        uint8_t byte = *outline->in.at++;
        if (byte == closing)
            break;
        if (byte != ',')
            return -1;
        skip_space(&outline->in);
    }
    outline->sibling_count = first;
    return 0;
}

/* Whether a text may be what a place holds; -1 where it may not. */
static int note_place(Outline *outline, Place place, Span text, Span written)
{
    int is_printable = 1;
    for (size_t i = 0; i < written.size; i++)
        is_printable &= written.at[i] >= 0x20 && written.at[i] < 0x7F && written.at[i] != '\\';
    outline->found |= 1 << place;
    switch (place) {
    case VERSION:
        return is_same(text, "2.0") ? 0 : -1;
    case METHOD:
        return is_same(text, "tools/call") ? 0 : -1;
    case TOOL:
        outline->tool = PyUnicode_FromStringAndSize((const char *)text.at, (Py_ssize_t)text.size);
        return outline->tool != NULL ? 0 : -1;
    case ID:
        outline->id = written;
        return is_printable && written.size <= MAX_ID_BYTES ? 0 : -1;
    case TOKEN:
        outline->token = written;
        return is_printable && written.size <= MAX_ID_BYTES ? 0 : -1;
    case ARGUMENTS:
    case REST:
        return 0;
    default:
        return -1;
    }
}

static int read_text(Outline *outline, Place place, const Span *name, int facts, int level)
{
    const uint8_t *start = outline->in.at;
    Span text, empty = {start, 0};
    if (read_string(outline, &text) < 0)
        return -1;
    if (note_place(outline, place, text, (Span){start, (size_t)(outline->in.at - start)}) < 0)
        return -1;
    if (place == ARGUMENTS) {
        outline->may_hold_address |= has_address_sign(text);
        if (level <= 2 || note_end(outline, text) < 0 ||
            note_short_value(outline, name == NULL ? empty : *name, facts, text) < 0)
            return -1;
    }
    /* A name beside it may be its label; or a resource is embedded, whose bytes are compared. */
    if (!outline->keyed && name != NULL && (is_same(*name, "value") || is_same(text, "resource")))
        return -1;
    return lay_out(outline, name, facts, text, 0);
}

static int read_number(Outline *outline, Place place, const Span *name, int facts, int level)
{
    const uint8_t *start = outline->in.at, *end = skip_number(start);
    if (end == NULL)
        return -1;
    Span text = {start, (size_t)(end - start)}, empty = {start, 0};
    const uint8_t *digits = start + (*start == '-');
    int is_integer = skip_digits(digits) == end && (*digits != '0' || text.size == 1);
    outline->in.at = end;
    outline->number_count++;
    if (place == ID || place == TOKEN) {
        if (!is_integer || text.size > MAX_ID_DIGITS)
            return -1;
    } else if (place != ARGUMENTS && place != REST) {
        return -1;
    }
    if (note_place(outline, place, text, text) < 0)
        return -1;
    if (place == ARGUMENTS) {
        if (level <= 2)
            return -1;
        if (text.size >= LEAST_SHORT &&
            note_short_value(outline, name == NULL ? empty : *name, facts, text) < 0)
            return -1;
    }
    if (text.size >= MIN_NUMBER_DIGITS)
        return lay_out(outline, name, facts, text, 1);
    return outline->keyed && name != NULL ? add(&outline->data, "\n", 1) : 0;
}

static int read_word(Outline *outline, const char *word, const Span *name)
{
    size_t size = strlen(word); /* of a longer word than is left, the zero at the end differs */
    if (strncmp((const char *)outline->in.at, word, size) != 0)
        return -1;
    outline->in.at += size;
    return outline->keyed && name != NULL ? add(&outline->data, "\n", 1) : 0;
}

static int read_value(Outline *outline, Place place, const Span *name, int facts, int level)
{
    const uint8_t *start = outline->in.at;
    uint8_t byte = *start;
    int is_below = place == REST || (place == ARGUMENTS && level > 2);
    switch (byte) {
    case '"':
        return read_text(outline, place, name, facts, level);
    case '{':
    case '[':
        if (!is_below && (byte == '[' || place == VERSION || place == ID || place == METHOD ||
                          place == TOOL || place == TOKEN))
            return -1;
        outline->found |= 1 << place;
        outline->may_hold_address |= place == ARGUMENTS && is_below;
        if (outline->keyed && name != NULL)
            add(&outline->data, "\n", 1);
        if (read_members(outline, place, byte == '{', level == 2 ? 0 : facts, level) < 0)
            return -1;
        if (place == ARGUMENTS && !is_below)
            outline->arguments = (Span){start, (size_t)(outline->in.at - start)};
        return 0;
    case 't':
        return is_below ? read_word(outline, "true", name) : -1;
    case 'f':
        return is_below ? read_word(outline, "false", name) : -1;
    case 'n':
        if (!is_below && place != TOKEN && place != ARGUMENTS && (place != META || outline->keyed))
            return -1;
        return read_word(outline, "null", name);
    default:
        return read_number(outline, place, name, facts, level);
    }
}

static int read_frame(Outline *outline)
{
    int needed = 1 << VERSION | 1 << ID;
    needed |= outline->keyed ? 1 << METHOD | 1 << PARAMS | 1 << TOOL : 1 << RESULT;
    skip_space(&outline->in);
    if (*outline->in.at != '{' || read_members(outline, WHOLE, 1, 0, 0) < 0)
        return -1;
    skip_space(&outline->in);
    if (outline->in.at != outline->in.end || !outline->in.is_line)
        return -1;
    return (outline->found & needed) == needed ? 0 : -1;
}

/* Whether the bytes are the UTF-8 of whole characters, none of which ends a line. */
static int is_valid(const Outline *outline, const uint8_t *frame, Py_ssize_t size)
{
    if (outline->in.is_ascii)
        return 1;
    PyObject *text = PyUnicode_FromStringAndSize((const char *)frame, size);
    Py_XDECREF(text);
    return text != NULL && !has_line_end(frame, frame + size);
}

/* Ends the texts; -1 where a reading of its own could differ from them. */
static int finish(Outline *outline, const uint8_t *labelled)
{
    if (!outline->keyed) {
        add(&outline->data, labelled, (size_t)(outline->labelled - labelled));
        for (int i = 0; i < outline->once_count; i++)
            add_line(&outline->data, outline->once[i]);
    }
    outline->data--; /* of the last line, the end */
    return outline->keyed && outline->number_count > MOST_NUMBERS ? -1 : 0;
}

static PyObject *text_or_none(Span text)
{
    return Py_BuildValue(text.size ? "s#" : "z#", text.size ? (const char *)text.at : NULL,
                         (Py_ssize_t)text.size);
}

static PyObject *result_of(const Outline *outline, const uint8_t *joined)
{
    PyObject *values = PyFrozenSet_New(outline->values);
    return Py_BuildValue("(NONy#y#y#iOON)", text_or_none(outline->id),
                         outline->tool != NULL ? outline->tool : Py_None,
                         text_or_none(outline->token), (const char *)outline->arguments.at,
                         (Py_ssize_t)outline->arguments.size, (const char *)outline->first,
                         (Py_ssize_t)(outline->data - outline->first), (const char *)joined,
                         (Py_ssize_t)(outline->joined - joined),
                         outline->count > 1 ? (int)(outline->last - joined) : -1,
                         outline->may_hold_address ? Py_True : Py_False, outline->ends, values);
}

static PyObject *outline_frame(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    PyObject *frame, *result = NULL;
    Outline outline = {.in = {.is_line = 1, .is_ascii = 1}};
    if (!PyArg_ParseTuple(arguments, "Sp(OO)|n", &frame, &outline.keyed, &outline.describe,
                          &outline.add, &outline.raw_bytes))
        return NULL;
    Py_ssize_t size = PyBytes_Size(frame);
    if (size > (outline.raw_bytes ? outline.raw_bytes : outline.keyed ? FRAME_BYTES : 8 * FRAME_BYTES))
        Py_RETURN_NONE;
    const uint8_t *text = (const uint8_t *)PyBytes_AsString(frame);
    size_t room = (size_t)size + WORD_BYTES;
    uint8_t *buffer = PyMem_Malloc(2 * COPIES * room);
    outline.values = PySet_New(NULL);
    outline.ends = PyList_New(0);
    if (buffer != NULL && outline.values != NULL && outline.ends != NULL) {
        uint8_t *joined = buffer + COPIES * room, *labelled = joined + room;
        outline.in.at = outline.arguments.at = text;
        outline.in.end = text + size;
        outline.first = outline.data = buffer;
        outline.joined = joined;
        outline.labelled = labelled;
        outline.plain = labelled + 2 * room;
        if (read_frame(&outline) == 0 && is_valid(&outline, text, size) &&
            finish(&outline, labelled) == 0)
            result = result_of(&outline, joined);
    }
    PyMem_Free(buffer);
    Py_XDECREF(outline.tool);
    Py_XDECREF(outline.values);
    Py_XDECREF(outline.ends);
    return result != NULL ? result : none_made();
}

/* --- questions about whole texts and frames --- */

static PyObject *unwrap_json(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    PyObject *text;
    Strings found = {.bytes = 0};
    Py_ssize_t low, high;
    if (!PyArg_ParseTuple(arguments, "O!nnO!", &PyByteArray_Type, &text, &low, &high, &PyList_Type,
                          &found.spans))
        return NULL;
    uint8_t *data = (uint8_t *)PyByteArray_AsString(text);
    found.text = data;
    if (low < 0 || high > PyByteArray_Size(text) || !is_whole_json(data + low, data + high))
        found.bytes = -1;
    else if (unwrap(&found, data + low, data + high, JSON_LEVELS) < 0)
        return NULL;
    return PyLong_FromSsize_t(found.bytes);
}

/* An `i` has forms without ASCII, so it is not compared. A byte that is zero follows the frame's
 * bytes, and ends every comparison. */
static PyObject *may_hold_name(PyObject *Py_UNUSED(self), PyObject *frame)
{
    const char *text = PyBytes_AsString(frame), *at;
    if (text == NULL)
        return NULL;
    const char *end = text + PyBytes_Size(frame);
    for (const char *letter = "gGu"; *letter; letter++)
        for (at = text; (at = memchr(at, *letter, (size_t)(end - at))) != NULL; at++)
            if (*letter == 'u' ? at[1] == '0' && at[2] == '0' && at[3] >= '4' && at[3] <= '7'
                               : (at[1] | 0x20) == 'u' && at - text >= 2 &&
                                     PyOS_strnicmp(at - 2, "peguard", 7) == 0)
                Py_RETURN_TRUE;
    Py_RETURN_FALSE;
}

static PyMethodDef methods[] = {
    {"outline_frame", outline_frame, METH_VARARGS,
     "outline_frame(frame, keyed, (describe, add), raw_bytes=0) -> the fields of PlainOutline, or None"},
    {"unwrap_json", unwrap_json, METH_VARARGS, "unwrap_json(data, low, high, spans) -> size"},
    {"may_hold_name", may_hold_name, METH_O, "may_hold_name(frame)"},
    {NULL, NULL, 0, NULL},
};

PYTHON_MODULE(_outline, 0)
