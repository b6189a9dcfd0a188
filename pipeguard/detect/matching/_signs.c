/* Finds signs that cost Hyperscan an automaton in every byte: rows of letters of some classes, as
 * encodings have, and the words of seed phrases.
 *
 * Both are called as the scan of a Hyperscan database, which looks for the same where this was not
 * built. native_tables.py makes the tables; tests/detect/matching/test_signs.py holds the two ways
 * together. The time is linear in the text.
 */

#include "../../_python.h"
#include <string.h>

#define HASH_BITS 16 /* this and the factor as in native_tables.py */
#define WORD_TABLE (1 << HASH_BITS >> 3) /* bytes; no tables of rows have as many */
#define HASH_FACTOR 0x9E3779B97F4A7C15u
#define PHRASE_WORDS 10 /* of twelve: the first and the last may be part of a longer word */
#define LEAST_WORD 3
#define LONGEST_WORD 8
#define LEAST_PHRASE (PHRASE_WORDS * (LEAST_WORD + 1) - 1)

/* The tables of rows, of 64 bits each. By byte: the states that it may begin, those in which it may
 * stay, and the lanes of the rows of one class that it is in. Then where the rows begin, where the
 * lanes do, and for each sign its last states and the end of its lane. */
enum { BEGUN = 0, KEPT = 256, WITHIN = 512, FIRST = 768, EMPTY = 769, LAST = 770 };

#define EACH_LANE 0x0001000100010001u
#define FULL_LANE 0x8000800080008000u /* a lane counts up to this */

typedef struct {
    const uint8_t *text, *tables;
    Py_ssize_t size, table_bytes;
} Search;

typedef struct {
    uint64_t states, lanes;
} Seen;

static uint64_t table_at(const uint8_t *tables, Py_ssize_t number)
{
    uint64_t entry;
    memcpy(&entry, tables + number * (Py_ssize_t)sizeof entry, sizeof entry);
    return entry;
}

/* Follows all rows at once (shift-and, Baeza-Yates and Gonnet 1992), and counts the bytes in a row
 * that are of one class. */
static Seen follow_rows(const Search *search)
{
    const uint8_t *at = search->text, *end = at + search->size, *tables = search->tables;
    uint64_t first = table_at(tables, FIRST), empty = table_at(tables, EMPTY);
    uint64_t state = 0, counts = empty;
    Seen seen = {0, 0};
    for (; at < end; at++) {
        uint64_t begun = table_at(tables, BEGUN + *at), kept = table_at(tables, KEPT + *at);
        uint64_t within = table_at(tables, WITHIN + *at);
        state = (state << 1 & begun) | ((state & kept) | (first & begun)); /* three steps long, */
        counts += EACH_LANE;                                               /* as are these */
        seen.states |= state;
        seen.lanes |= counts & within;
        counts = (counts & (within & ~FULL_LANE)) | (empty & ~within);
    }
    return seen;
}

static int is_seen(const Search *search, Seen seen, Py_ssize_t sign)
{
    return (seen.states & table_at(search->tables, LAST + 2 * sign)) != 0 ||
           (seen.lanes & table_at(search->tables, LAST + 2 * sign + 1)) != 0;
}

/* --- seed phrases ------------------------------------------------------------------------- */

static int is_letter(uint8_t byte)
{
    return (uint8_t)((byte | 0x20) - 'a') < 26;
}

/* Whether a word may be of the list, in any case. */
static int is_listed(const Search *search, Py_ssize_t start, Py_ssize_t end)
{
    uint64_t letters = 0;
    if (end - start < LEAST_WORD || end - start > LONGEST_WORD)
        return 0;
    for (; start < end; start++)
        letters = letters << 8 | search->text[start] | 0x20;
    uint64_t hash = letters * HASH_FACTOR >> (64 - HASH_BITS);
    return search->tables[hash / 8] >> hash % 8 & 1;
}

/* The end of the last word in a range that is not listed; the start of the range without one.
 * Counts the words behind it. */
static Py_ssize_t after_unlisted(const Search *search, Py_ssize_t start, Py_ssize_t end, int *words)
{
    for (*words = 0; end > start; end--) {
        Py_ssize_t at = end;
        while (at > start && is_letter(search->text[at - 1]))
            at--;
        if (at == end)
            continue;
        if (!is_listed(search, at, end))
            return end;
        ++*words;
        end = at;
    }
    return start;
}

/* Whether enough listed words follow each other. Of a range that could hold them, the last word is
 * looked at first: it is seldom listed, and no such row has it. */
static int has_phrase(const Search *search)
{
    Py_ssize_t start = 0, end = LEAST_PHRASE - 1, after;
    for (int words = 0; words < PHRASE_WORDS; start = after) {
        while (end < search->size && !is_letter(search->text[end]))
            end++;
        if (end >= search->size)
            return 0;
        while (end < search->size && is_letter(search->text[end]))
            end++;
        after = after_unlisted(search, start, end, &words);
        if (after > start)
            end = after + LEAST_PHRASE - 1;
    }
    return 1;
}

/* --- the module --------------------------------------------------------------------------- */

static PyObject *find(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    Search search;
    PyObject *on_match, *flags, *context, *ids;
    Seen seen = {0, 0};
    if (!PyArg_ParseTuple(arguments, "y#OOO(O!y#)", &search.text, &search.size, &on_match, &flags,
                          &context, &PyTuple_Type, &ids, &search.tables, &search.table_bytes))
        return NULL;
    Py_ssize_t count = PyTuple_Size(ids);
    int are_words = search.table_bytes == WORD_TABLE, hit = are_words && has_phrase(&search);
    if (!are_words && search.table_bytes != (LAST + 2 * count) * 8)
        return PyErr_Format(PyExc_ValueError, "no tables of signs");
    if (!are_words)
        seen = follow_rows(&search);
    for (Py_ssize_t sign = 0; sign < count; sign++) {
        if (!(are_words ? hit : is_seen(&search, seen, sign)))
            continue;
        PyObject *done = PyObject_CallFunction(on_match, "OiiiO", PyTuple_GetItem(ids, sign), 0, 0,
                                               0, Py_None);
        if (done == NULL)
            return NULL;
        Py_DECREF(done);
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"find", find, METH_VARARGS, "as the scan of a database, whose scratch are ids and tables"},
    {NULL, NULL, 0, NULL},
};

PYTHON_MODULE(_signs, 0)
