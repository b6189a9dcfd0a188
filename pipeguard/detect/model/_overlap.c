/* Which of some values many texts have, the passages that two texts share, and tokens in a text.
 *
 * The same as detect/flows/overlap.py and text_values.py, which run where this was not built;
 * tests/detect/flows holds that both give the same. Texts are UTF-8. A table holds
 * rows of bytes by their hash: of a value `stride` ones, one at each byte; a text has one each
 * `stride` bytes, so that of any value in it one of these is found. No recursion; `work` bounds
 * what rows that are alike cost: what is more is left to Python, and to its budget.
 */

#include "../../_python.h"
#include <stdint.h>
#include <string.h>

#define GRAM 8
#define SHORT_GRAM 4 /* where a value has fewer than LONG bytes */
#define LONG 12
#define LEAST_BITS 8
#define MOST_BITS 20
#define FREE_TRIES 16384 /* of rows, besides some for each byte */

typedef struct {
    const uint8_t *data;
    size_t size;
    int is_ascii; /* if that is known */
} Text;

/* Chains of rows with one hash; `next` of a row, from 1 on, is the row before it. */
typedef struct {
    uint32_t *first, *next;
    size_t gram, rows;
    int bits;
} Table;

static uint64_t read_gram(const uint8_t *at, size_t size)
{
    uint64_t gram;
    uint32_t short_gram;
    if (size == SHORT_GRAM) {
        memcpy(&short_gram, at, SHORT_GRAM);
        return short_gram;
    }
    memcpy(&gram, at, GRAM);
    return gram;
}

static uint32_t *slot(const Table *table, const uint8_t *at)
{
    uint64_t product = read_gram(at, table->gram) * 0x9E3779B97F4A7C15ULL;
    return &table->first[product >> (64 - table->bits)];
}

static int make_table(Table *table, size_t rows, size_t gram, size_t slots)
{
    table->gram = gram;
    table->bits = LEAST_BITS;
    while (table->bits < MOST_BITS && ((size_t)1 << table->bits) < slots)
        table->bits++;
    table->rows = rows;
    table->first = PyMem_Calloc((size_t)1 << table->bits, sizeof(uint32_t));
    table->next = PyMem_Calloc(rows + 1, sizeof(uint32_t));
    return rows < UINT32_MAX && table->first != NULL && table->next != NULL;
}

static void free_table(Table *table)
{
    PyMem_Free(table->first);
    PyMem_Free(table->next);
}

static void add_row(Table *table, size_t row, const uint8_t *at)
{
    uint32_t *first = slot(table, at);
    table->next[row + 1] = *first;
    *first = (uint32_t)(row + 1);
}

/* The texts of a list; NULL with an error set. They live as long as the list's strings. */
static Text *read_texts(PyObject *list, size_t *count)
{
    Py_ssize_t size = PyList_Size(list);
    Text *texts = size < 0 ? NULL : PyMem_Calloc((size_t)size + 1, sizeof(Text));
    if (texts == NULL)
        return size < 0 ? NULL : (Text *)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < size; i++) {
        Py_ssize_t length;
        const char *data = PyUnicode_AsUTF8AndSize(PyList_GetItem(list, i), &length);
        if (data == NULL) {
            PyMem_Free(texts);
            return NULL;
        }
        texts[i] = (Text){(const uint8_t *)data, (size_t)length, 0};
    }
    *count = (size_t)size;
    return texts;
}

/* --- values -------------------------------------------------------------------------------- */

/* Values that are looked for. Of each the table has `stride` rows, from where they are rarest. */
typedef struct {
    Text *values;
    size_t count, stride;
    size_t *starts; /* of the rows in a value */
    size_t *seen;   /* the text, from 1 on, in which a value was found last */
    Table table;
} Wanted;

/* Choose where in each value its rows begin: many values begin alike, or end so. */
static void choose_starts(Wanted *wanted, Table *counts, uint32_t *alike)
{
    size_t rows = wanted->stride;
    for (size_t i = 0; i < wanted->count; i++)
        for (size_t at = 0; at + counts->gram <= wanted->values[i].size; at++)
            ++*slot(counts, wanted->values[i].data + at);
    for (size_t i = 0; i < wanted->count; i++) {
        size_t last = wanted->values[i].size - counts->gram;
        uint32_t least = UINT32_MAX;
        for (size_t at = 0; at <= last; at++)
            alike[at] = *slot(counts, wanted->values[i].data + at);
        for (size_t at = 0; at + rows - 1 <= last; at++) {
            uint32_t most = 0;
            for (size_t row = at; row < at + rows; row++)
                most = alike[row] > most ? alike[row] : most;
            if (most < least) {
                least = most;
                wanted->starts[i] = at;
            }
        }
    }
}

static int index_values(Wanted *wanted)
{
    size_t least = SIZE_MAX, most = 0, bytes = 0, rows;
    Table counts = {0};
    for (size_t i = 0; i < wanted->count; i++) {
        least = wanted->values[i].size < least ? wanted->values[i].size : least;
        most = wanted->values[i].size > most ? wanted->values[i].size : most;
        bytes += wanted->values[i].size;
    }
    if (least < SHORT_GRAM)
        return PyErr_Format(PyExc_ValueError, "a value is too short") != NULL;
    size_t gram = least < LONG ? SHORT_GRAM : GRAM;
    wanted->stride = least - gram < GRAM ? least - gram + 1 : GRAM;
    rows = wanted->count * wanted->stride;
    wanted->starts = PyMem_Calloc(wanted->count + 1, sizeof(size_t));
    wanted->seen = PyMem_Calloc(wanted->count + 1, sizeof(size_t));
    uint32_t *alike = PyMem_Calloc(most + 1, sizeof(uint32_t));
    int is_made = wanted->starts != NULL && wanted->seen != NULL && alike != NULL
                  && make_table(&counts, bytes, gram, 4 * bytes)
                  && make_table(&wanted->table, rows, gram, 4 * rows);
    if (is_made) {
        choose_starts(wanted, &counts, alike);
        for (size_t row = 0; row < wanted->table.rows; row++) {
            size_t value = row / wanted->stride;
            size_t at = wanted->starts[value] + row % wanted->stride;
            add_row(&wanted->table, row, wanted->values[value].data + at);
        }
    } else {
        PyErr_NoMemory();
    }
    PyMem_Free(alike);
    free_table(&counts);
    return is_made;
}

/* The numbers of the values in a text, Py_None if that is too much work, a null pointer if it has
 * none; or also with an error set. */
static PyObject *list_held(Wanted *wanted, Text text, size_t number)
{
    const Table *table = &wanted->table;
    size_t work = FREE_TRIES + text.size;
    PyObject *found = NULL;
    for (size_t at = 0; at + table->gram <= text.size; at += wanted->stride) {
        for (uint32_t row = *slot(table, text.data + at); row; row = table->next[row]) {
            size_t i = (row - 1) / wanted->stride;
            size_t before = wanted->starts[i] + (row - 1) % wanted->stride;
            if (!work--) {
                Py_XDECREF(found);
                Py_RETURN_NONE;
            }
            if (wanted->seen[i] == number || before > at
                || wanted->values[i].size > text.size - (at - before)
                || memcmp(text.data + at - before, wanted->values[i].data, wanted->values[i].size))
                continue;
            wanted->seen[i] = number;
            if (found == NULL && (found = PyList_New(0)) == NULL)
                return NULL;
            if (append_new(found, PyLong_FromSize_t(i)) < 0) {
                Py_DECREF(found);
                return NULL;
            }
        }
    }
    return found;
}

static PyObject *held(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    PyObject *value_list, *text_list, *found = NULL;
    size_t text_count = 0;
    Wanted wanted = {0};
    if (!PyArg_ParseTuple(arguments, "O!O!", &PyList_Type, &value_list, &PyList_Type, &text_list))
        return NULL;
    wanted.values = read_texts(value_list, &wanted.count);
    Text *texts = wanted.values == NULL ? NULL : read_texts(text_list, &text_count);
    if (texts != NULL && index_values(&wanted))
        found = PyDict_New();
    for (size_t i = 0; found != NULL && i < text_count; i++) {
        PyObject *numbers = list_held(&wanted, texts[i], i + 1);
        PyObject *key = numbers == NULL ? NULL : PyLong_FromSize_t(i);
        if (key != NULL ? PyDict_SetItem(found, key, numbers) < 0 : PyErr_Occurred() != NULL)
            Py_CLEAR(found);
        Py_XDECREF(key);
        Py_XDECREF(numbers);
    }
    free_table(&wanted.table);
    PyMem_Free(wanted.starts);
    PyMem_Free(wanted.seen);
    PyMem_Free(wanted.values);
    PyMem_Free(texts);
    return found;
}

/* --- passages ------------------------------------------------------------------------------ */

static int begins_character(Text text, size_t at)
{
    return at >= text.size || (text.data[at] & 0xC0) != 0x80;
}

/* The byte that is some characters after another; the end if there are fewer, with `size` + 1. */
static size_t skip(Text text, size_t at, size_t characters)
{
    if (text.is_ascii)
        return characters > text.size - at ? text.size + 1 : at + characters;
    while (characters--) {
        if (at >= text.size)
            return text.size + 1;
        for (at++; !begins_character(text, at); at++)
            ;
    }
    return at;
}

static size_t count_characters(Text text, size_t start, size_t end)
{
    size_t count = 0;
    if (text.is_ascii)
        return end - start;
    for (; start < end; start++)
        count += (text.data[start] & 0xC0) != 0x80;
    return count;
}

/* A text in which passages are looked up. Its table has a row each GRAM - 1 bytes, made when the
 * first is: a passage has 2 * (GRAM - 1) bytes or more. */
typedef struct {
    Text text;
    Table table;
} Source;

static int index_source(Source *source)
{
    size_t rows = source->text.size < GRAM ? 0 : (source->text.size - GRAM) / (GRAM - 1) + 1;
    if (source->table.first != NULL)
        return 1;
    if (!make_table(&source->table, rows, GRAM, rows)) /* small: new pages cost most */
        return PyErr_NoMemory() != NULL;
    for (size_t row = rows; row-- > 0;) /* so that the first ones begin the chains */
        add_row(&source->table, row, source->text.data + row * (GRAM - 1));
    return 1;
}

/* The first place of a passage in a source; `size` if it has none, and `size` + 1 if that is too
 * much work. */
static size_t find_place(const Source *source, Text passage, size_t *work)
{
    size_t size = source->text.size, best = size;
    for (size_t before = 0; before < GRAM - 1; before++) {
        uint32_t row = *slot(&source->table, passage.data + before);
        for (; row; row = source->table.next[row]) {
            size_t at = (size_t)(row - 1) * (GRAM - 1);
            if (!(*work)--)
                return size + 1;
            if (at >= before && at - before < best && passage.size <= size - (at - before)
                && !memcmp(source->text.data + at - before, passage.data, passage.size)) {
                best = at - before;
                break; /* rows that follow are later ones */
            }
        }
    }
    return best;
}

typedef struct {
    size_t step, passage, enough; /* in characters */
} Limits;

static PyObject *walk(Text text, Source *from, Source *excluded, Limits limits)
{
    Text source = from->text;
    size_t chars = 0, longest = 0, at = 0, behind = 0;
    size_t work = FREE_TRIES + 8 * (text.size + source.size + excluded->text.size);
    while (chars < limits.enough) {
        size_t stop = skip(text, at, limits.passage);
        if (stop > text.size)
            break;
        size_t place = find_place(from, (Text){text.data + at, stop - at, 0}, &work);
        if (place > source.size)
            Py_RETURN_NONE;
        if (place == source.size) {
            at = skip(text, at, limits.step);
            if (at > text.size)
                break;
            continue;
        }
        size_t start = at, end = at, most = skip(text, at, limits.enough);
        size_t low = place, high = place;
        while (start > behind && low && text.data[start - 1] == source.data[low - 1])
            start--, low--;
        while (!begins_character(text, start))
            start++;
        most = most > text.size ? text.size : most;
        while (end < most && high < source.size && text.data[end] == source.data[high])
            end++, high++;
        while (!begins_character(text, end))
            end--;
        if (!index_source(excluded))
            return NULL;
        size_t old = find_place(excluded, (Text){text.data + start, end - start, 0}, &work);
        if (old > excluded->text.size)
            Py_RETURN_NONE;
        size_t length = old < excluded->text.size ? 0 : count_characters(text, start, end);
        chars += length;
        longest = length > longest ? length : longest;
        at = behind = end;
    }
    return Py_BuildValue("(nn)", (Py_ssize_t)chars, (Py_ssize_t)longest);
}

static PyObject *find_shared(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    PyObject *strings[3], *found = NULL;
    Py_ssize_t step, passage, enough;
    Text texts[3];
    if (!PyArg_ParseTuple(arguments, "UUU(nnn)", strings, strings + 1, strings + 2, &step, &passage,
                          &enough))
        return NULL;
    if (step < 1 || passage < 2 * (GRAM - 1) || enough < passage)
        return PyErr_Format(PyExc_ValueError, "limits are too small");
    for (int i = 0; i < 3; i++) {
        Py_ssize_t size;
        const char *data = PyUnicode_AsUTF8AndSize(strings[i], &size);
        if (data == NULL)
            return NULL;
        texts[i] = (Text){(const uint8_t *)data, (size_t)size,
                          PyUnicode_GetLength(strings[i]) == size};
    }
    Source source = {.text = texts[1]}, excluded = {.text = texts[2]};
    if (index_source(&source))
        found = walk(texts[0], &source, &excluded,
                     (Limits){(size_t)step, (size_t)passage, (size_t)enough});
    free_table(&source.table);
    free_table(&excluded.table);
    return found;
}

/* --- rows: which texts may have a value, without reading any ---------------------------------- */

#define ROW 4                /* bytes of letters and digits, with any signs between them */
#define MOST_INDEX (1 << 19) /* bytes */

enum { ROWS = 1, WORDS = 2 }; /* words of ASCII that are shorter than a row */

static uint8_t small[256]; /* ASCII letters in small, digits, bytes beyond ASCII; 0 for others */

static size_t list_rows(Text text, int kinds, uint32_t *rows)
{
    uint32_t row = 0, word = 0;
    size_t count = 0, letters = 0, word_size = 0;
    for (size_t at = 0; at <= text.size; at++) {
        uint8_t byte = at < text.size ? small[text.data[at]] : 0;
        int is_in_word = byte && byte < 0x80;
        if (kinds & WORDS && !is_in_word && word_size && word_size < ROW)
            rows[count++] = word;
        word = is_in_word ? word << 8 | byte : 0;
        word_size = is_in_word ? word_size + 1 : 0;
        row = byte ? row << 8 | byte : row;
        if (kinds & ROWS && byte && ++letters >= ROW)
            rows[count++] = row;
    }
    return count;
}

/* The bit of a row in an index of so many bytes, a power of two. */
static size_t row_bit(uint32_t row, size_t size)
{
    row *= 0x9E3779B1U;
    return (row ^ row >> 15) & (8 * size - 1);
}

static PyObject *index_rows(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    const char *data;
    Py_ssize_t length;
    if (!PyArg_ParseTuple(arguments, "y#", &data, &length))
        return NULL;
    Text text = {(const uint8_t *)data, (size_t)length, 0};
    uint32_t *rows = PyMem_Calloc(2 * text.size + 1, sizeof(uint32_t));
    if (rows == NULL)
        return PyErr_NoMemory();
    size_t size = 64, count = list_rows(text, ROWS | WORDS, rows);
    while (size < MOST_INDEX && 8 * size < 3 * count)
        size *= 2;
    PyObject *index = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    uint8_t *bits = index == NULL ? NULL : memset(PyBytes_AsString(index), 0, size);
    for (size_t i = 0; bits != NULL && i < count; i++)
        bits[row_bit(rows[i], size) / 8] |= (uint8_t)(1 << row_bit(rows[i], size) % 8);
    PyMem_Free(rows);
    return index;
}

static int has_row(const uint8_t *index, size_t size, uint32_t row)
{
    size_t bit = row_bit(row, size);
    return index[bit / 8] >> bit % 8 & 1;
}

/* Whether an index has all rows of a value; each value begins where another ends. */
static int may_have(PyObject *index, const uint32_t *rows, const size_t *ends, size_t count)
{
    const uint8_t *bits = (const uint8_t *)PyBytes_AsString(index);
    size_t size = bits == NULL ? 0 : (size_t)PyBytes_Size(index), at = 0;
    for (size_t i = 0; i < count; at = ends[i++]) {
        while (size && at < ends[i] && has_row(bits, size, rows[at]))
            at++;
        if (!size || at == ends[i])
            return 1; /* also if there is no index yet */
    }
    return 0;
}

static PyObject *find_likely(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    PyObject *index_list, *value_list, *likely = NULL;
    size_t count = 0, bytes = 0, end = 0;
    int has_words;
    if (!PyArg_ParseTuple(arguments, "O!O!p", &PyList_Type, &index_list, &PyList_Type, &value_list,
                          &has_words))
        return NULL;
    Text *values = read_texts(value_list, &count);
    for (size_t i = 0; values != NULL && i < count; i++)
        bytes += values[i].size;
    uint32_t *rows = PyMem_Calloc(bytes + 1, sizeof(uint32_t));
    size_t *ends = PyMem_Calloc(count + 1, sizeof(size_t));
    if (values != NULL && (rows == NULL || ends == NULL || (likely = PyList_New(0)) == NULL))
        PyErr_NoMemory();
    for (size_t i = 0; likely != NULL && i < count; i++) {
        size_t listed = list_rows(values[i], ROWS, rows + end);
        ends[i] = end += listed || !has_words ? listed : list_rows(values[i], WORDS, rows + end);
    }
    for (Py_ssize_t i = 0; likely != NULL && i < PyList_Size(index_list); i++)
        if ((may_have(PyList_GetItem(index_list, i), rows, ends, count)
             && append_new(likely, PyLong_FromSsize_t(i)) < 0) || PyErr_Occurred())
            Py_CLEAR(likely);
    PyMem_Free(ends);
    PyMem_Free(rows);
    PyMem_Free(values);
    return likely;
}

/* --- tokens -------------------------------------------------------------------------------- */

enum { IN_TOKEN = 1, IN_PLAIN = 2, TELLING = 4 };

static uint8_t kinds[256]; /* of each byte; filled once, before any call */

static void fill_kinds(void)
{
    for (int byte = 0; byte < 256; byte++) {
        int is_digit = byte >= '0' && byte <= '9';
        int is_plain = is_digit || (byte < 128 && (byte | 32) >= 'a' && (byte | 32) <= 'z');
        small[byte] = (uint8_t)(is_digit || byte >= 128 ? byte : is_plain ? byte | 32 : 0);
        if (byte >= 128)
            continue;
        is_plain = is_plain || byte == '_' || byte == '-';
        if (is_plain || (byte && strchr("@.+/=", byte)))
            kinds[byte] = (uint8_t)(IN_TOKEN | (is_plain ? IN_PLAIN : 0)
                                    | (is_digit || byte == '@' ? TELLING : 0));
    }
}

typedef struct {
    size_t least, most; /* bytes of a token */
    int has_parts, is_telling;
} Wish;

static size_t run_end(Text text, size_t at, size_t most, uint8_t kind)
{
    size_t stop = text.size - at < most ? text.size : at + most;
    while (at < stop && kinds[text.data[at]] & kind)
        at++;
    return at;
}

static int add_token(PyObject *tokens, Text token, const Wish *wish)
{
    int is_wanted = !wish->is_telling;
    for (size_t at = 0; at < token.size && !is_wanted; at++)
        is_wanted = kinds[token.data[at]] & TELLING;
    if (!is_wanted)
        return 1;
    const char *text = (const char *)token.data;
    return append_new(tokens, PyUnicode_FromStringAndSize(text, (Py_ssize_t)token.size)) == 0;
}

/* A token, what follows its first `=`, and its parts without the signs of addresses. */
static int add_parts(PyObject *tokens, Text token, const Wish *wish)
{
    if (!add_token(tokens, token, wish))
        return 0;
    if (!wish->has_parts || run_end(token, 0, token.size, IN_PLAIN) == token.size)
        return 1;
    const uint8_t *sign = memchr(token.data, '=', token.size);
    if (sign != NULL) {
        Text value = {sign + 1, token.size - (size_t)(sign + 1 - token.data), 1};
        if (value.size >= wish->least && !add_token(tokens, value, wish))
            return 0;
    }
    for (size_t at = 0, end; at < token.size; at = end > at ? end : at + 1) {
        end = run_end(token, at, wish->most, IN_PLAIN);
        if (end - at >= wish->least && !add_token(tokens, (Text){token.data + at, end - at, 1}, wish))
            return 0;
    }
    return 1;
}

static PyObject *find_tokens(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    const char *data;
    Py_ssize_t size, least, most;
    Wish wish = {0};
    if (!PyArg_ParseTuple(arguments, "y#(nn)pp", &data, &size, &least, &most, &wish.has_parts,
                          &wish.is_telling))
        return NULL;
    if (least < 1 || most < least)
        return PyErr_Format(PyExc_ValueError, "limits are too small");
    wish.least = (size_t)least;
    wish.most = (size_t)most;
    Text text = {(const uint8_t *)data, (size_t)size, 0};
    PyObject *tokens = PyList_New(0);
    for (size_t at = 0, end; tokens != NULL && at < text.size; at = end > at ? end : at + 1) {
        end = run_end(text, at, wish.most, IN_TOKEN);
        if (end - at >= wish.least && !add_parts(tokens, (Text){text.data + at, end - at, 1}, &wish))
            Py_CLEAR(tokens);
    }
    return tokens;
}

/* --- words --------------------------------------------------------------------------------- */

/* Whether a space beyond ASCII may begin: U+0085, U+00A0, U+1680, U+2000 and more. A zero ends it. */
static int may_be_wide_space(const uint8_t *at)
{
    return at[0] == 0xC2 || (at[0] == 0xE1 && at[1] == 0x9A) || (at[0] == 0xE2 && at[1] == 0x81)
           || (at[0] == 0xE2 && at[1] == 0x80 && (at[2] < 0x8B || at[2] > 0xA7))
           || (at[0] == 0xE3 && at[1] == 0x80 && at[2] == 0x80);
}

/* A text with single spaces between all words; None if it may have spaces beyond ASCII. */
static PyObject *join_words(PyObject *Py_UNUSED(self), PyObject *argument)
{
    char *data;
    Py_ssize_t size, count = 0;
    if (PyBytes_AsStringAndSize(argument, &data, &size) < 0)
        return NULL;
    char *joined = PyMem_Malloc((size_t)size + 1);
    if (joined == NULL)
        return PyErr_NoMemory();
    for (Py_ssize_t at = 0; at < size; at++) {
        uint8_t byte = (uint8_t)data[at];
        if (byte >= 0xC2 && may_be_wide_space((const uint8_t *)data + at)) {
            PyMem_Free(joined);
            Py_RETURN_NONE;
        }
        int is_space = byte == ' ' || (byte >= '\t' && byte <= '\r') || (byte >= 0x1C && byte < ' ');
        joined[count] = is_space ? ' ' : data[at];
        count += !is_space || (count && joined[count - 1] != ' ');
    }
    count -= count && joined[count - 1] == ' ';
    PyObject *text = PyUnicode_DecodeUTF8(joined, count, "ignore");
    PyMem_Free(joined);
    return text;
}

static PyMethodDef methods[] = {
    {"join_words", join_words, METH_O, "join_words(data) -> text or None"},
    {"find_tokens", find_tokens, METH_VARARGS,
     "find_tokens(data, (least, most), has_parts, is_telling) -> [token, ...]"},
    {"index_rows", index_rows, METH_VARARGS, "index_rows(data) -> index"},
    {"find_likely", find_likely, METH_VARARGS,
     "find_likely(indexes, values, has_words) -> [index, ...], by their numbers"},
    {"held", held, METH_VARARGS, "held(values, texts) -> {text: [value, ...] or None}, by their numbers"},
    {"find_shared", find_shared, METH_VARARGS,
     "find_shared(sent, source, excluded, (step, passage, enough)) -> (chars, longest) or None"},
    {NULL, NULL, 0, NULL},
};

PYTHON_MODULE(_overlap, (fill_kinds(), 0))
