/* Reads strict JSON: bytes in, the value out, or None for what this does not accept; checks the
 * envelope of a message; and finds its id in the bytes.
 *
 * firewall/protocol/strict_json.py and message.py are the definition, read where this was not
 * built, and say why a frame is refused: None sends it there, so this has no error of its own, and
 * what it accepts has the same value there (tests/firewall/protocol). One pass over the bytes. It
 * recurses no deeper than the limit that it is given. The byte behind the last one is always zero
 * (PyBytes_AsString), which ends every token and every string.
 */

#include "../../_python.h"
#include <stdlib.h>

#include "_strict_json_text.h"

typedef struct {
    PyObject *value;
    uint8_t size, bytes[NAME_BYTES];
} Name;

/* Keys and short numbers recur across frames. The GIL guards both tables. */
static Name key_names[NAMES], number_names[NAMES];

/* The value of a short text: the one of last time, or a new one. */
static PyObject *named(Name *names, PyObject *type, const uint8_t *text, size_t size, uint32_t hash)
{
    Name *name = &names[hash % NAMES];
    int is_other = name->value == NULL || (type != NULL && (PyObject *)Py_TYPE(name->value) != type);
    if (is_other || name->size != size || memcmp(name->bytes, text, size) != 0) {
        PyObject *value = PyUnicode_FromStringAndSize((const char *)text, (Py_ssize_t)size);
        if (value != NULL && type != NULL) {
            PyObject *number = PyObject_CallFunctionObjArgs(type, value, NULL);
            Py_DECREF(value);
            value = number;
        }
        if (value == NULL)
            return NULL;
        Py_XDECREF(name->value);
        name->value = value;
        name->size = (uint8_t)size;
        memcpy(name->bytes, text, size);
    }
    Py_INCREF(name->value);
    return name->value;
}

/* The string whose first byte, behind the quote, is `start`, and whose first escape is `at`. */
static PyObject *escaped(Reader *reader, const uint8_t *start, const uint8_t *at)
{
    if (reader->plain == NULL)
        reader->plain = PyMem_Malloc((size_t)(reader->end - start) + WORD_BYTES);
    if (reader->plain == NULL)
        return PyErr_NoMemory();
    uint8_t *out = reader->plain + (at - start);
    memcpy(reader->plain, start, (size_t)(at - start));
    while (*at == '\\') {
        out = unescape(&at, out);
        if (out == NULL)
            return NULL;
        at = copy_plain(reader, at, &out);
    }
    if (*at != '"')
        return NULL;
    reader->at = at + 1;
    return PyUnicode_FromStringAndSize((const char *)reader->plain, out - reader->plain);
}

/* The string behind the quote at which the reader is. */
static PyObject *read_string(Reader *reader)
{
    const uint8_t *start = reader->at + 1, *at = skip_plain(reader, start);
    if (*at == '\\')
        return escaped(reader, start, at);
    if (*at != '"')
        return NULL;
    reader->at = at + 1;
    return PyUnicode_FromStringAndSize((const char *)start, at - start);
}

static PyObject *read_key(Reader *reader)
{
    const uint8_t *start = reader->at + 1;
    uint32_t hash = 0;
    size_t size = 0;
    if (*reader->at != '"')
        return NULL;
    for (; size < NAME_BYTES && is_plain(start[size]) && start[size] < 0x80; size++)
        hash = mix(hash, start[size]);
    if (start[size] != '"')
        return read_string(reader);
    reader->at = start + size + 1;
    return named(key_names, NULL, start, size, hash);
}

static PyObject *read_number(Reader *reader)
{
    const uint8_t *start = reader->at, *at = skip_number(start);
    if (at == NULL)
        return NULL;
    reader->at = at;
    size_t size = (size_t)(at - start);
    if (size <= NAME_BYTES) {
        uint32_t hash = 0;
        for (size_t i = 0; i < size; i++)
            hash = mix(hash, start[i]);
        return named(number_names, reader->number, start, size, hash);
    }
    return PyObject_CallFunction(reader->number, "s#", (const char *)start, (Py_ssize_t)size);
}

static PyObject *read_word(Reader *reader, const char *word, PyObject *value)
{
    size_t size = strlen(word); /* of a longer word than is left, the zero at the end differs */
    if (strncmp((const char *)reader->at, word, size) != 0)
        return NULL;
    reader->at += size;
    Py_INCREF(value);
    return value;
}

static PyObject *read_value(Reader *reader);

/* Moves behind a comma or what closes; 1 if that was the comma, -1 if it is neither. */
static int goes_on(Reader *reader, uint8_t closing)
{
    skip_space(reader);
    uint8_t byte = *reader->at;
    if (byte != ',' && byte != closing)
        return -1;
    reader->at++;
    if (byte == closing)
        return 0;
    skip_space(reader);
    return --reader->nodes < 0 ? -1 : 1;
}

/* Reads a member into an object, or an item into a list; -1 if that fails. */
static int read_into(Reader *reader, PyObject *container, int is_object)
{
    PyObject *key = NULL, *value;
    int failed = 1;
    if (is_object) {
        key = read_key(reader);
        if (key == NULL)
            return -1;
        skip_space(reader);
        if (*reader->at != ':') {
            Py_DECREF(key);
            return -1;
        }
        reader->at++;
        skip_space(reader);
    }
    value = read_value(reader);
    if (value != NULL)
        failed = is_object ? PyDict_SetItem(container, key, value) : PyList_Append(container, value);
    Py_XDECREF(key);
    Py_XDECREF(value);
    return failed ? -1 : 0;
}

static PyObject *read_container(Reader *reader, int is_object)
{
    uint8_t closing = is_object ? '}' : ']';
    Py_ssize_t count = 0;
    PyObject *container = NULL;
    if (--reader->depth < 0 || --reader->nodes < 0)
        return NULL;
    container = is_object ? PyDict_New() : PyList_New(0);
    if (container == NULL)
        return NULL;
    reader->at++;
    skip_space(reader);
    int more = *reader->at != closing;
    reader->at += !more;
    while (more > 0) {
        count++;
        more = read_into(reader, container, is_object) < 0 ? -1 : goes_on(reader, closing);
    }
    reader->depth++;
    if (more < 0 || (is_object && (PyDict_Size(container) != count || count > reader->keys))) {
        Py_DECREF(container);
        return NULL;
    }
    return container;
}

static PyObject *read_value(Reader *reader)
{
    switch (*reader->at) {
    case '"':
        return read_string(reader);
    case '{':
        return read_container(reader, 1);
    case '[':
        return read_container(reader, 0);
    case 't':
        return read_word(reader, "true", Py_True);
    case 'f':
        return read_word(reader, "false", Py_False);
    case 'n':
        return read_word(reader, "null", Py_None);
    default:
        return read_number(reader);
    }
}

static PyObject *read_frame(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    PyObject *frame, *value;
    Reader reader = {.is_line = 1, .is_ascii = 1};
    if (!PyArg_ParseTuple(arguments, "SO(nnn)", &frame, &reader.number, &reader.depth,
                          &reader.nodes, &reader.keys))
        return NULL;
    const uint8_t *text = (const uint8_t *)PyBytes_AsString(frame);
    reader.at = text;
    reader.end = text + PyBytes_Size(frame);
    reader.nodes--; /* the value itself */
    skip_space(&reader);
    value = read_value(&reader);
    if (value != NULL)
        skip_space(&reader);
    PyMem_Free(reader.plain);
    if (value != NULL && reader.at == reader.end) {
        int is_line = reader.is_line && (reader.is_ascii || !has_line_end(text, reader.end));
        return Py_BuildValue("(NO)", value, is_line ? Py_True : Py_False);
    }
    Py_XDECREF(value);
    return none_made();
}

/* --- where the id stands --- */

/* Behind the string whose quote is at `at`; NULL where it has no end. */
static const uint8_t *skip_string(Reader *reader, const uint8_t *at)
{
    for (at = skip_plain(reader, at + 1); *at == '\\'; at = skip_plain(reader, at + 2))
        if (at + 1 >= reader->end)
            return NULL;
    return *at == '"' ? at + 1 : NULL;
}

/* Behind the value at `at`, by its quotes and brackets alone; NULL where it has no end. */
static const uint8_t *skip_value(Reader *reader, const uint8_t *at)
{
    Py_ssize_t depth = 0;
    do {
        if (at == NULL || at >= reader->end)
            return NULL;
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        if (*at == '"')
            at = skip_string(reader, at);
        else if (depth > 0 || *at == '}' || *at == ']')
            at++;
        else
            at += strcspn((const char *)at, ",}] \t\r\n");
    } while (depth > 0);
    return at;
}

static PyObject *find_id(PyObject *Py_UNUSED(self), PyObject *frame)
{
    static const uint8_t name[] = "\"id\"";
    Reader reader = {.is_line = 1, .is_ascii = 1};
    const uint8_t *text = (const uint8_t *)PyBytes_AsString(frame);
    if (text == NULL)
        return NULL;
    reader.at = text;
    reader.end = text + PyBytes_Size(frame);
    skip_space(&reader);
    while (*reader.at == '{' || *reader.at == ',') {
        reader.at++;
        skip_space(&reader);
        const uint8_t *key = reader.at, *end = *key == '"' ? skip_string(&reader, key) : NULL;
        if (end == NULL)
            break;
        int is_id = end - key == sizeof name - 1 && memcmp(key, name, sizeof name - 1) == 0;
        reader.at = end;
        skip_space(&reader);
        if (*reader.at++ != ':')
            break;
        skip_space(&reader);
        if ((end = skip_value(&reader, reader.at)) == NULL)
            break;
        if (is_id)
            return Py_BuildValue("(nn)", (Py_ssize_t)(reader.at - text), (Py_ssize_t)(end - text));
        reader.at = end;
        skip_space(&reader);
    }
    Py_RETURN_NONE;
}

/* --- the envelope --- */

#define MAX_ID_DIGITS 40 /* these as in ids.py and message.py */
#define MAX_ID_BYTES 1024
#define MAX_METHOD_BYTES 1024
#define FEW_PARAMS 8 /* whose names are compared with each other */

enum { REQUEST, NOTIFICATION, RESULT, ERROR };
enum { JSONRPC, ID, METHOD, PARAMS, RESULT_MEMBER, ERROR_MEMBER, META, MEMBERS };

static PyObject *member_names[MEMBERS];

/* The bytes of a string of printable ASCII; NULL for any other. */
static const char *printable(PyObject *text, Py_ssize_t *size)
{
    const char *bytes = PyUnicode_AsUTF8AndSize(text, size);
    if (bytes == NULL)
        PyErr_Clear(); /* a lone surrogate */
    for (Py_ssize_t i = 0; bytes != NULL && i < *size; i++)
        if (bytes[i] < 0x20 || bytes[i] > 0x7E)
            return NULL;
    return bytes;
}

/* The token of an id that is an integer, or a string that is written as it is; NULL for others. */
static PyObject *id_token(PyObject *id, PyObject *number)
{
    Py_ssize_t size;
    const char *bytes;
    if ((PyObject *)Py_TYPE(id) != number && Py_TYPE(id) != &PyUnicode_Type)
        return NULL;
    bytes = printable(id, &size);
    if (bytes == NULL)
        return NULL;
    if ((PyObject *)Py_TYPE(id) != number) {
        int is_plain_text = size + 2 <= MAX_ID_BYTES;
        for (Py_ssize_t i = 0; i < size; i++)
            is_plain_text &= bytes[i] != '"' && bytes[i] != '\\';
        return is_plain_text ? PyUnicode_FromFormat("\"%s\"", bytes) : NULL;
    }
    const uint8_t *first = (const uint8_t *)bytes + (bytes[0] == '-');
    const uint8_t *last = (const uint8_t *)bytes + size;
    int is_integer = *first >= '1' && *first <= '9' && skip_digits(first) == last;
    if (size > MAX_ID_DIGITS || !(is_integer || (size == 1 && bytes[0] == '0')))
        return NULL;
    return PyUnicode_FromStringAndSize(bytes, size);
}

static int is_same_letter(char one, char other)
{
    int is_letter = (one | 0x20) >= 'a' && (one | 0x20) <= 'z';
    return one == other || (is_letter && (one ^ other) == 0x20);
}

/* Whether two of some names are the same but for their case. */
static int has_twins(const char **names, const Py_ssize_t *sizes, int count)
{
    for (int i = 1; i < count; i++)
        for (int j = 0; j < i; j++) {
            Py_ssize_t at = 0;
            while (sizes[i] == sizes[j] && at < sizes[i] && is_same_letter(names[i][at], names[j][at]))
                at++;
            if (sizes[i] == sizes[j] && at == sizes[i])
                return 1;
        }
    return 0;
}

/* Whether params are an object with a few plain names, and with an object as `_meta`, if any. */
static int has_plain_params(PyObject *params)
{
    const char *names[FEW_PARAMS];
    Py_ssize_t sizes[FEW_PARAMS], position = 0;
    PyObject *key, *item, *meta;
    int count = 0;
    if (Py_TYPE(params) != &PyDict_Type || PyDict_Size(params) > FEW_PARAMS)
        return 0;
    meta = PyDict_GetItemWithError(params, member_names[META]);
    if (meta != NULL && Py_TYPE(meta) != &PyDict_Type)
        return 0;
    for (; PyDict_Next(params, &position, &key, &item); count++)
        if ((names[count] = printable(key, &sizes[count])) == NULL)
            return 0;
    return !has_twins(names, sizes, count);
}

/* The kind of a message with these members and an id or none; -1 where it is not plain. */
static int kind_of(PyObject **members, int has_id)
{
    PyObject *method = members[METHOD];
    int is_result = members[RESULT_MEMBER] != NULL, is_error = members[ERROR_MEMBER] != NULL;
    Py_ssize_t size;
    if (method == NULL)
        return has_id && is_result != is_error && !members[PARAMS] ? is_result ? RESULT : ERROR : -1;
    if (is_result || is_error || Py_TYPE(method) != &PyUnicode_Type)
        return -1;
    if (printable(method, &size) == NULL || size == 0 || size > MAX_METHOD_BYTES)
        return -1;
    if (members[PARAMS] != NULL && !has_plain_params(members[PARAMS]))
        return -1;
    return has_id ? REQUEST : NOTIFICATION;
}

static PyObject *read_envelope(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    PyObject *value, *number, *members[META], *token = NULL, *result = NULL;
    Py_ssize_t count = 0;
    if (!PyArg_ParseTuple(arguments, "OO", &value, &number))
        return NULL;
    if (Py_TYPE(value) != &PyDict_Type)
        Py_RETURN_NONE;
    for (int i = 0; i < META; i++) {
        members[i] = PyDict_GetItemWithError(value, member_names[i]);
        count += members[i] != NULL;
    }
    PyObject *version = members[JSONRPC], *id = members[ID];
    int is_plain_version = version != NULL && Py_TYPE(version) == &PyUnicode_Type &&
                           PyUnicode_CompareWithASCIIString(version, "2.0") == 0;
    if (is_plain_version && count == PyDict_Size(value)) {
        int kind = kind_of(members, id != NULL);
        token = kind >= 0 && id != NULL ? id_token(id, number) : NULL;
        if (kind >= 0 && (id == NULL || token != NULL)) {
            PyObject *method = members[METHOD] != NULL ? members[METHOD] : Py_None;
            result = Py_BuildValue("(iOO)", kind, method, token != NULL ? token : Py_None);
        }
        Py_XDECREF(token);
    }
    if (result != NULL || PyErr_Occurred())
        return result;
    Py_RETURN_NONE;
}

/* --- writing --- */

#define DEEPEST 64    /* MAX_DEPTH in strict_json.py */
#define MOST_EXACT 15 /* EXACT_DIGITS in fingerprint.py */

typedef struct {
    uint8_t *text;
    size_t size, room, most; /* bytes: written, that `text` holds, and that may be written */
    PyObject *number;
    int is_canonical; /* as RFC 8785 says: keys sorted, and line ends of few readers not escaped */
} Writer;

typedef struct {
    const char *bytes; /* of the key */
    Py_ssize_t size;
    PyObject *key, *item;
} Member;

static int put(Writer *writer, const void *bytes, size_t size)
{
    if (size > writer->most - writer->size)
        return -1;
    if (size > writer->room - writer->size) {
        size_t room = 2 * (writer->size + size);
        uint8_t *text = PyMem_Realloc(writer->text, room);
        if (text == NULL)
            return -1;
        writer->text = text;
        writer->room = room;
    }
    memcpy(writer->text + writer->size, bytes, size);
    writer->size += size;
    return 0;
}

/* Writes the escape of a character that is not plain, or that ends a line for some readers. */
static int put_escape(Writer *writer, unsigned unit)
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't',
    };
    char letter = unit < 0x20 ? letters[unit] : unit < 0x80 ? (char)unit : 0;
    char escape[] = {'\\', letter ? letter : 'u', digits[unit >> 12], digits[unit >> 8 & 15],
                     digits[unit >> 4 & 15], digits[unit & 15]};
    return put(writer, escape, letter ? 2 : sizeof escape);
}

/* The length of a line end (`has_line_end`) in UTF-8, 0 where there is none. */
static size_t line_end_size(const uint8_t *at)
{
    if (at[0] == 0xC2)
        return at[1] == 0x85 ? 2 : 0;
    return at[0] == 0xE2 && at[1] == 0x80 && (at[2] == 0xA8 || at[2] == 0xA9) ? 3 : 0;
}

static const uint8_t *find_escaped(const uint8_t *at, const uint8_t *end, int is_canonical)
{
    uint64_t word;
    for (; end - at >= WORD_BYTES; at += WORD_BYTES) {
        memcpy(&word, at, WORD_BYTES);
        if (marks_of(word) || word & HIGHS)
            break;
    }
    while (at < end && is_plain(*at) && (is_canonical || !line_end_size(at)))
        at++;
    return at;
}

static int write_text(Writer *writer, PyObject *text)
{
    Py_ssize_t size;
    const uint8_t *at = (const uint8_t *)PyUnicode_AsUTF8AndSize(text, &size), *end, *stop;
    if (at == NULL || put(writer, "\"", 1) < 0)
        return -1; /* a lone surrogate, or too much */
    for (end = at + size;; at = stop) {
        stop = find_escaped(at, end, writer->is_canonical);
        if (put(writer, at, (size_t)(stop - at)) < 0)
            return -1;
        if (stop == end)
            return put(writer, "\"", 1);
        size_t skipped = line_end_size(stop);
        unsigned unit = skipped == 0 ? *stop : skipped == 2 ? 0x85 : 0x2000 | (stop[2] & 0x3F);
        if (put_escape(writer, unit) < 0)
            return -1;
        stop += skipped ? skipped : 1;
    }
}

static int write_any(Writer *writer, PyObject *value, int depth);

static int write_member(Writer *writer, const char *before, PyObject *key, PyObject *item, int depth)
{
    if (!PyUnicode_Check(key) || put(writer, before, 1) < 0 || write_text(writer, key) < 0)
        return -1;
    return put(writer, ":", 1) < 0 ? -1 : write_any(writer, item, depth);
}

static int write_object(Writer *writer, PyObject *object, int depth)
{
    PyObject *key, *item;
    Py_ssize_t position = 0;
    const char *before = "{";
    for (; PyDict_Next(object, &position, &key, &item); before = ",")
        if (write_member(writer, before, key, item, depth) < 0)
            return -1;
    return put(writer, "}", 1);
}

static int compare_members(const void *one, const void *other)
{
    const Member *a = one, *b = other;
    int order = memcmp(a->bytes, b->bytes, (size_t)(a->size < b->size ? a->size : b->size));
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* Takes the members of an object in the order of their keys; -1 where UTF-16 has another order than
 * UTF-8, as it may have of characters beyond U+FFFF. */
static int sort_members(PyObject *object, Member *members)
{
    Py_ssize_t position = 0, count = 0;
    Member *to = members;
    for (; PyDict_Next(object, &position, &to->key, &to->item); to++, count++) {
        if (Py_TYPE(to->key) != &PyUnicode_Type)
            return -1;
        if ((to->bytes = PyUnicode_AsUTF8AndSize(to->key, &to->size)) == NULL)
            return -1; /* a lone surrogate */
        for (Py_ssize_t i = 0; i < to->size; i++)
            if ((uint8_t)to->bytes[i] >= 0xF0)
                return -1;
    }
    qsort(members, (size_t)count, sizeof *members, compare_members);
    return 0;
}

static int write_sorted(Writer *writer, PyObject *object, int depth)
{
    Py_ssize_t count = PyDict_Size(object);
    Member *members = PyMem_Calloc((size_t)count + 1, sizeof *members); /* one beyond the last */
    int failed = members == NULL || sort_members(object, members) < 0;
    for (Py_ssize_t i = 0; i < count && !failed; i++)
        failed = write_member(writer, i ? "," : "{", members[i].key, members[i].item, depth) < 0;
    PyMem_Free(members);
    return failed ? -1 : put(writer, "}", 1);
}

/* Writes a number; the canonical form of all but short integers is a double's, which Python knows. */
static int write_number(Writer *writer, PyObject *number)
{
    Py_ssize_t size, digits;
    const char *written = PyUnicode_AsUTF8AndSize(number, &size);
    if (written == NULL)
        return -1;
    if (writer->is_canonical) {
        const char *first = written + (*written == '-');
        digits = (Py_ssize_t)strspn(first, "0123456789");
        if (digits == 0 || first + digits != written + size || size > MOST_EXACT)
            return -1;
        if (*first == '0' && size > 1)
            return -1;
    }
    return put(writer, written, (size_t)size);
}

static int write_list(Writer *writer, PyObject *list, int depth)
{
    Py_ssize_t count = PyList_Size(list);
    if (count == 0)
        return put(writer, "[]", 2);
    for (Py_ssize_t i = 0; i < count; i++)
        if (put(writer, i ? "," : "[", 1) < 0 || write_any(writer, PyList_GetItem(list, i), depth) < 0)
            return -1;
    return put(writer, "]", 1);
}

/* Writes a value, in which so many more objects and lists may nest; -1 where it does not. */
static int write_any(Writer *writer, PyObject *value, int depth)
{
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyUnicode_Type)
        return write_text(writer, value);
    if ((PyObject *)type == writer->number)
        return write_number(writer, value);
    if (type == &PyDict_Type && PyDict_Size(value) == 0)
        return depth > 0 ? put(writer, "{}", 2) : -1;
    if (type == &PyDict_Type && depth > 0)
        return (writer->is_canonical ? write_sorted : write_object)(writer, value, depth - 1);
    if (type == &PyList_Type)
        return depth > 0 ? write_list(writer, value, depth - 1) : -1;
    if (value == Py_None)
        return put(writer, "null", 4);
    if (value == Py_True)
        return put(writer, "true", 4);
    return value == Py_False ? put(writer, "false", 5) : -1;
}

/* What is written of a value, or None. */
static PyObject *written(Writer *writer, PyObject *value)
{
    PyObject *result = NULL;
    int failed = write_any(writer, value, DEEPEST) < 0;
    if (!failed)
        result = PyBytes_FromStringAndSize((const char *)writer->text, (Py_ssize_t)writer->size);
    PyMem_Free(writer->text);
    return failed ? none_made() : result;
}

static PyObject *write_value(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    PyObject *value;
    Py_ssize_t most;
    Writer writer = {0};
    if (!PyArg_ParseTuple(arguments, "OOn", &value, &writer.number, &most))
        return NULL;
    writer.most = most > 0 ? (size_t)most : 0;
    return written(&writer, value);
}

static PyObject *write_canonical(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    PyObject *value;
    Writer writer = {.most = PY_SSIZE_T_MAX, .is_canonical = 1};
    if (!PyArg_ParseTuple(arguments, "OO", &value, &writer.number))
        return NULL;
    return written(&writer, value);
}

static PyMethodDef methods[] = {
    {"read_frame", read_frame, METH_VARARGS,
     "read_frame(frame, number, (depth, nodes, keys)) -> (value, is_line) or None"},
    {"read_envelope", read_envelope, METH_VARARGS,
     "read_envelope(value, number) -> (kind, method, id_token) or None"},
    {"find_id", find_id, METH_O,
     "find_id(frame) -> (start, end) of the value of `id` in strict JSON, or None"},
    {"write_value", write_value, METH_VARARGS,
     "write_value(value, number, most_bytes) -> text or None"},
    {"write_canonical", write_canonical, METH_VARARGS,
     "write_canonical(value, number) -> text or None"},
    {NULL, NULL, 0, NULL},
};

static int intern_names(void)
{
    static const char *const names[MEMBERS] = {"jsonrpc", "id",    "method", "params",
                                               "result",  "error", "_meta"};
    for (int i = 0; i < MEMBERS; i++)
        if (member_names[i] == NULL && (member_names[i] = PyUnicode_InternFromString(names[i])) == NULL)
            return -1;
    return 0;
}

PYTHON_MODULE(_strict_json, intern_names())
