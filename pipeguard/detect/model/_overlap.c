/* Which of many texts have any of some needles, and the passages that two texts share.
 *
 * The same as detect/flows/overlap.py, which runs where this was not built;
 * tests/detect/flows/test_overlap.py holds that both give the same. Texts are UTF-8. A table holds
 * rows of bytes by their hash: of a needle the first ones, one at each byte; a text has one each
 * `stride` bytes, so that of any needle in it one of these is found. No recursion; `work` bounds
 * what rows that are alike cost: a text then counts as a holder, and passages are left to Python.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define GRAM 8
#define SHORT_GRAM 4 /* where a needle has fewer than LONG bytes */
#define LONG 12
#define LEAST_BITS 8
#define MOST_BITS 20
#define FREE_TRIES 16384 /* of rows, besides some for each byte */

typedef struct {
    const uint8_t *data;
    size_t size;
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

static int make_table(Table *table, size_t rows, size_t gram)
{
    table->gram = gram;
    table->bits = LEAST_BITS;
    while (table->bits < MOST_BITS && ((size_t)1 << table->bits) < 4 * rows)
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
        texts[i] = (Text){(const uint8_t *)data, (size_t)length};
    }
    *count = (size_t)size;
    return texts;
}

/* --- holders ------------------------------------------------------------------------------- */

/* Whether a text has any needle, of which each has `stride` rows; or may, if more is much work. */
static int holds(const Table *table, const Text *needles, size_t stride, Text text)
{
    size_t work = FREE_TRIES + text.size;
    for (size_t at = 0; at + table->gram <= text.size; at += stride) {
        uint32_t row = *slot(table, text.data + at);
        for (; row; row = table->next[row]) {
            const Text *needle = &needles[(row - 1) / stride];
            size_t before = (row - 1) % stride;
            if (!work--)
                return 1;
            if (before <= at && needle->size <= text.size - (at - before)
                && !memcmp(text.data + at - before, needle->data, needle->size))
                return 1;
        }
    }
    return 0;
}

static PyObject *find_holders(const Text *needles, size_t needle_count, const Text *texts,
                              size_t text_count)
{
    size_t least = SIZE_MAX;
    Table table = {0};
    PyObject *found = NULL;
    for (size_t i = 0; i < needle_count; i++)
        least = needles[i].size < least ? needles[i].size : least;
    if (least < SHORT_GRAM) {
        PyErr_SetString(PyExc_ValueError, "a needle is too short");
        return NULL;
    }
    size_t gram = least < LONG ? SHORT_GRAM : GRAM;
    size_t stride = least - gram < GRAM ? least - gram + 1 : GRAM;
    if (!make_table(&table, needle_count * stride, gram)) {
        PyErr_NoMemory();
    } else {
        for (size_t row = 0; row < table.rows; row++)
            add_row(&table, row, needles[row / stride].data + row % stride);
        found = PyList_New(0);
    }
    for (size_t i = 0; found != NULL && i < text_count && needle_count; i++) {
        int is_held = holds(&table, needles, stride, texts[i]);
        PyObject *number = is_held ? PyLong_FromSize_t(i) : NULL;
        if (is_held && (number == NULL || PyList_Append(found, number) < 0))
            Py_CLEAR(found);
        Py_XDECREF(number);
    }
    free_table(&table);
    return found;
}

static PyObject *holders(PyObject *self, PyObject *arguments)
{
    PyObject *needle_list, *text_list, *found = NULL;
    size_t needle_count = 0, text_count = 0;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "O!O!", &PyList_Type, &needle_list, &PyList_Type, &text_list))
        return NULL;
    Text *needles = read_texts(needle_list, &needle_count);
    Text *texts = needles == NULL ? NULL : read_texts(text_list, &text_count);
    if (texts != NULL)
        found = find_holders(needles, needle_count, texts, text_count);
    PyMem_Free(needles);
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
    for (; start < end; start++)
        count += (text.data[start] & 0xC0) != 0x80;
    return count;
}

/* The first place of a passage in a source whose table has a row each GRAM - 1 bytes; `size` if it
 * has none, and `size` + 1 if that is too much work. A passage has 2 * (GRAM - 1) bytes or more. */
static size_t find_place(const Table *table, Text source, Text passage, size_t *work)
{
    size_t best = source.size;
    for (size_t before = 0; before < GRAM - 1; before++) {
        uint32_t row = *slot(table, passage.data + before);
        for (; row; row = table->next[row]) {
            size_t at = (size_t)(row - 1) * (GRAM - 1);
            if (!(*work)--)
                return source.size + 1;
            if (at >= before && at - before < best && passage.size <= source.size - (at - before)
                && !memcmp(source.data + at - before, passage.data, passage.size)) {
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

/* Whether a passage of the text `sent` is in another one; -1 with an error set. */
static int is_excluded(PyObject *sent, size_t start, size_t end, PyObject *excluded)
{
    PyObject *part = PyUnicode_Substring(sent, (Py_ssize_t)start, (Py_ssize_t)end);
    int is_in = part == NULL ? -1 : PyUnicode_Contains(excluded, part);
    Py_XDECREF(part);
    return is_in;
}

static PyObject *walk(const Table *table, Text text, Text source, PyObject *sent,
                      PyObject *excluded, Limits limits)
{
    size_t chars = 0, longest = 0, at = 0, behind = 0;
    size_t seen = 0, seen_chars = 0; /* a place in the text, and the characters before it */
    size_t work = FREE_TRIES + 8 * (text.size + source.size);
    while (chars < limits.enough) {
        size_t stop = skip(text, at, limits.passage);
        if (stop > text.size)
            break;
        size_t place = find_place(table, source, (Text){text.data + at, stop - at}, &work);
        if (place > source.size)
            Py_RETURN_NONE;
        if (place == source.size) {
            at = skip(text, at, limits.step);
            if (at > text.size)
                break;
            continue;
        }
        size_t start = at, end = at, most = skip(text, at, limits.enough);
        size_t from = place, to = place;
        while (start > behind && from && text.data[start - 1] == source.data[from - 1])
            start--, from--;
        while (!begins_character(text, start))
            start++;
        most = most > text.size ? text.size : most;
        while (end < most && to < source.size && text.data[end] == source.data[to])
            end++, to++;
        while (!begins_character(text, end))
            end--;
        size_t first = seen_chars + count_characters(text, seen, start);
        size_t length = count_characters(text, start, end);
        int is_old = is_excluded(sent, first, first + length, excluded);
        if (is_old < 0)
            return NULL;
        chars += is_old ? 0 : length;
        longest = !is_old && length > longest ? length : longest;
        seen = at = behind = end;
        seen_chars = first + length;
    }
    return Py_BuildValue("(nn)", (Py_ssize_t)chars, (Py_ssize_t)longest);
}

static PyObject *find_shared(PyObject *self, PyObject *arguments)
{
    PyObject *sent, *from, *excluded, *found = NULL;
    Py_ssize_t step, passage, enough, text_size, source_size;
    Table table = {0};
    (void)self;
    if (!PyArg_ParseTuple(arguments, "UUU(nnn)", &sent, &from, &excluded, &step, &passage, &enough))
        return NULL;
    if (step < 1 || passage < 2 * (GRAM - 1) || enough < passage) {
        PyErr_SetString(PyExc_ValueError, "limits are too small");
        return NULL;
    }
    const char *text = PyUnicode_AsUTF8AndSize(sent, &text_size);
    const char *source = text == NULL ? NULL : PyUnicode_AsUTF8AndSize(from, &source_size);
    if (source == NULL)
        return NULL;
    Text whole = {(const uint8_t *)source, (size_t)source_size};
    size_t rows = whole.size < GRAM ? 0 : (whole.size - GRAM) / (GRAM - 1) + 1;
    if (!make_table(&table, rows, GRAM)) {
        PyErr_NoMemory();
    } else {
        for (size_t row = rows; row-- > 0;) /* so that the first ones begin the chains */
            add_row(&table, row, whole.data + row * (GRAM - 1));
        found = walk(&table, (Text){(const uint8_t *)text, (size_t)text_size}, whole, sent,
                     excluded, (Limits){(size_t)step, (size_t)passage, (size_t)enough});
    }
    free_table(&table);
    return found;
}

static PyMethodDef methods[] = {
    {"holders", holders, METH_VARARGS, "holders(needles, texts) -> [index of a text, ...]"},
    {"find_shared", find_shared, METH_VARARGS,
     "find_shared(sent, source, excluded, (step, passage, enough)) -> (chars, longest) or None"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_overlap", NULL, 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__overlap(void)
{
    return PyModule_Create(&module);
}
