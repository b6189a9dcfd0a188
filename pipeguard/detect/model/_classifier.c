/* A linear classifier: sentences of a text, their features, and the sums of these.
 *
 * The same as detect/model/features.py, which runs where this was not built;
 * tests/detect/model/test_features.py holds that both give the same sentences and scores. Python
 * makes plain what has other letters than those of ASCII, or an address. It allocates some 75 bytes
 * for each character of a text, and frees them.
 */

#include "../../_python.h"
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_classifier_sums.h"
#include "_classifier_text.h"
#include "_classifier_families.h"

#define LEXICON "pipeguard.lexicon"

/* What one call reads and makes. */
typedef struct {
    PyObject *text, *clean;
    const Lexicon *lexicon;
    Py_buffer weights;
    double scale, bias, least;
    Py_UCS4 *letters;
    Buffer units, plain, lines, families; /* `families` are the rows of each sentence and -1 */
    size_t *bounds;                       /* of each sentence in `plain` */
    size_t longest;
    Scratch scratch;
    Sentence *sentences;
    uint32_t *rows;
    uint8_t *seen;
    double *means; /* of each sentence alone, with the next, and with both next ones */
} Call;

static size_t count_of(const Call *call)
{
    return call->units.size / sizeof(Unit);
}

/* --- with Python ------------------------------------------------------------------------------ */

/* Appends what Python makes of a sentence; 0 for an error. */
static int add_cleaned(Call *call, const Unit *unit)
{
    PyObject *part = PyUnicode_Substring(call->text, (Py_ssize_t)unit->start, (Py_ssize_t)unit->end);
    PyObject *made = part ? PyObject_CallFunctionObjArgs(call->clean, part, NULL) : NULL;
    Py_ssize_t length = made ? PyUnicode_GetLength(made) : -1;
    int is_added = 0;
    if (length >= 0 && reserve(&call->plain, ((size_t)length + 1) * sizeof(Py_UCS4))) {
        Py_UCS4 *to = (Py_UCS4 *)((char *)call->plain.data + call->plain.size);
        is_added = PyUnicode_AsUCS4(made, to, length + 1, 1) != NULL
                   && learn_all((Text){to, to + length});
        call->plain.size += (size_t)length * sizeof *to;
    } else if (length >= 0) {
        PyErr_NoMemory();
    }
    Py_XDECREF(part);
    Py_XDECREF(made);
    return is_added;
}

/* Finds the sentences and makes them plain; 0 for an error. */
static int find_sentences(Call *call)
{
    Py_ssize_t length = PyUnicode_GetLength(call->text);
    if (length < 0 || (call->letters = PyUnicode_AsUCS4Copy(call->text)) == NULL)
        return 0;
    Text text = {call->letters, call->letters + length};
    if (!learn_all(text))
        return 0;
    if (!add_units(&call->units, text))
        return PyErr_NoMemory() != NULL;
    call->bounds = calloc(count_of(call) + 1, sizeof *call->bounds);
    if (call->bounds == NULL)
        return PyErr_NoMemory() != NULL;
    for (size_t i = 0; i < count_of(call); i++) {
        const Unit *unit = (Unit *)call->units.data + i;
        Text sentence = {call->letters + unit->start, call->letters + unit->end};
        if (!is_plain(sentence)) {
            if (!add_cleaned(call, unit))
                return 0;
        } else if (reserve(&call->plain, (unit->end - unit->start) * sizeof(Py_UCS4))) {
            add_plain(&call->plain, sentence);
        } else {
            return PyErr_NoMemory() != NULL;
        }
        call->bounds[i + 1] = call->plain.size / sizeof(Py_UCS4);
        if (call->bounds[i + 1] - call->bounds[i] > call->longest)
            call->longest = call->bounds[i + 1] - call->bounds[i];
    }
    return 1;
}

static PyObject *list_of(const Call *call)
{
    const Unit *units = call->units.data;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < count_of(call); i++) {
        size_t words = 0;
        for (size_t size = 0; list != NULL && size < TOGETHER && i + size < count_of(call); size++) {
            double mean = call->means[i * TOGETHER + size];
            words += units[i + size].words;
            if (isnan(mean))
                continue;
            PyObject *item = Py_BuildValue("(dnnn)", mean, (Py_ssize_t)units[i].start,
                                           (Py_ssize_t)units[i + size].end, (Py_ssize_t)words);
            if (append_new(list, item) < 0)
                Py_CLEAR(list);
        }
    }
    return list;
}

/* --- without Python --------------------------------------------------------------------------- */

/* Writes the words and the features of families of all sentences; 0 without memory. */
static int read_words(Call *call)
{
    size_t most = 5 * call->longest + 1;
    call->scratch.text = malloc((call->longest + 1) * sizeof *call->scratch.text);
    call->scratch.words = malloc(most);
    call->scratch.places = malloc((call->longest + 1) * sizeof *call->scratch.places);
    if (call->scratch.text == NULL || call->scratch.words == NULL || call->scratch.places == NULL)
        return 0;
    for (size_t i = 0; i < count_of(call); i++) {
        const Py_UCS4 *plain = call->plain.data;
        Text text = {plain + call->bounds[i], plain + call->bounds[i + 1]};
        if (!reserve(&call->lines, most) || !reserve(&call->families, sizeof(int32_t)))
            return 0;
        uint8_t *line = (uint8_t *)call->lines.data + call->lines.size;
        uint8_t *end = put_words(line, text);
        *end = '\n';
        call->lines.size += (size_t)(end + 1 - line);
        if (!add_family_features(&call->families, call->lexicon, text, (Letters){line, end},
                                 &call->scratch))
            return 0;
        ((int32_t *)call->families.data)[call->families.size / sizeof(int32_t)] = -1;
        call->families.size += sizeof(int32_t);
    }
    return 1;
}

/* Adds up the weights of all sentences, and of some together; 0 without memory. */
static int add_up(Call *call)
{
    size_t count = count_of(call);
    const Unit *units = call->units.data;
    const int32_t *family = call->families.data;
    const uint8_t *line = call->lines.data;
    call->sentences = calloc(count + 1, sizeof *call->sentences);
    call->means = malloc((count + 1) * TOGETHER * sizeof *call->means);
    call->seen = calloc(WEIGHTS / 8 + 1, 1);
    call->rows = malloc(((WORD_FEATURES + PARTS) * call->lines.size + call->families.size + 1)
                        * sizeof *call->rows);
    if (!call->sentences || !call->means || !call->seen || !call->rows)
        return 0;
    uint32_t *rows = call->rows;
    for (size_t i = 0; i < count; i++, family++, line++) {
        Group *groups = call->sentences[i].groups;
        const uint8_t *end = line;
        while (*end != '\n')
            end++;
        groups[WORDS].rows = rows;
        groups[GRAMS].rows = rows += WORD_FEATURES * (end - line);
        groups[FAMILIES].rows = rows += PARTS * (end - line);
        for (; *family >= 0; family++, groups[FAMILIES].count++)
            *rows++ = (uint32_t)*family;
        read_sentence(&call->sentences[i], (Letters){line, end}, call->weights.buf, call->seen);
        line = end;
    }
    for (size_t i = 0; i < count; i++) {
        size_t words = 0;
        for (size_t size = 0; size < TOGETHER; size++) {
            const Sentence *first = call->sentences + i;
            double *mean = call->means + i * TOGETHER + size;
            *mean = NAN;
            words += i + size < count ? units[i + size].words : MAX_WORDS + 1;
            if (size && words > MAX_WORDS)
                continue;
            if (!size || call->bias + call->scale * most_together(first, (int)size + 1)
                             >= call->least)
                *mean = score(first, (int)size + 1, call->weights.buf, call->seen);
        }
    }
    return 1;
}

/* --- what Python calls ------------------------------------------------------------------------ */

static PyObject *made_of(Call *call)
{
    PyObject *list = NULL;
    int is_read = 0;
    if (find_sentences(call)) {
        Py_BEGIN_ALLOW_THREADS
        is_read = read_words(call) && add_up(call);
        Py_END_ALLOW_THREADS
        list = is_read ? list_of(call) : PyErr_NoMemory();
    }
    PyMem_Free(call->letters);
    free(call->units.data);
    free(call->plain.data);
    free(call->lines.data);
    free(call->families.data);
    free(call->bounds);
    free(call->scratch.text);
    free(call->scratch.words);
    free(call->scratch.places);
    free(call->sentences);
    free(call->rows);
    free(call->seen);
    free(call->means);
    return list;
}

static PyObject *means(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    Call call = {0};
    PyObject *lexicon, *list = NULL;
    if (!PyArg_ParseTuple(arguments, "UOO(y*ddd)", &call.text, &call.clean, &lexicon, &call.weights,
                          &call.scale, &call.bias, &call.least))
        return NULL;
    call.lexicon = PyCapsule_GetPointer(lexicon, LEXICON);
    if (call.weights.len != WEIGHTS)
        PyErr_SetString(PyExc_ValueError, "weights of another form");
    else if (call.lexicon != NULL)
        list = made_of(&call);
    PyBuffer_Release(&call.weights);
    return list;
}

static PyObject *families(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    Call call = {0};
    PyObject *capsule, *found = NULL;
    if (!PyArg_ParseTuple(arguments, "UO", &call.text, &capsule))
        return NULL;
    const Lexicon *lexicon = PyCapsule_GetPointer(capsule, LEXICON);
    Py_ssize_t length = PyUnicode_GetLength(call.text);
    if (lexicon == NULL || length < 0 || (call.letters = PyUnicode_AsUCS4Copy(call.text)) == NULL)
        return NULL;
    Text text = {call.letters, call.letters + length};
    if (learn_all(text)) {
        size_t most = 5 * (size_t)length + 1;
        Scratch scratch = {NULL, malloc(most), malloc(((size_t)length + 1) * sizeof(Place))};
        if (scratch.words == NULL || scratch.places == NULL)
            PyErr_NoMemory();
        else
            found = PyLong_FromUnsignedLongLong(families_of(lexicon, text, &scratch));
        free(scratch.words);
        free(scratch.places);
    }
    PyMem_Free(call.letters);
    return found;
}

static void free_capsule(PyObject *capsule)
{
    free_lexicon(PyCapsule_GetPointer(capsule, LEXICON));
}

static PyObject *lexicon(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    Py_buffer stems, families;
    int model;
    PyObject *capsule = NULL;
    if (!PyArg_ParseTuple(arguments, "y*y*i", &stems, &families, &model))
        return NULL;
    Letters text = {stems.buf, (const uint8_t *)stems.buf + stems.len};
    size_t count = (size_t)families.len / FAMILIES_BYTES, ends = 0;
    for (const uint8_t *at = text.start; at < text.end; at++)
        ends += !*at;
    int is_right = ends == count && (uint64_t)stems.len < UINT32_MAX && (!count || !text.end[-1]);
    Lexicon *made = is_right ? make_lexicon(text, families.buf, count) : NULL;
    if (!is_right) {
        PyErr_SetString(PyExc_ValueError, "not as many stems as families");
    } else if (made == NULL) {
        PyErr_NoMemory();
    } else {
        made->model = model >= 0 && model < MAX_FAMILIES ? (uint64_t)1 << model : 0;
        capsule = PyCapsule_New(made, LEXICON, free_capsule);
        if (capsule == NULL)
            free_lexicon(made);
    }
    PyBuffer_Release(&stems);
    PyBuffer_Release(&families);
    return capsule;
}

static PyMethodDef methods[] = {
    {"lexicon", lexicon, METH_VARARGS, "lexicon(stems, families, model) -> lexicon"},
    {"families", families, METH_VARARGS, "families(text, lexicon) -> bits"},
    {"means", means, METH_VARARGS,
     "means(text, clean, lexicon, (weights, scale, bias, least)) -> [(mean, start, end, words)]"},
    {NULL, NULL, 0, NULL},
};

/* Learns the letters of ASCII: a plain text has others than its source. */
static int learn_ascii(void)
{
    make_tables();
    for (Py_UCS4 letter = 0; letter < 128; letter++)
        if (!learn(letter))
            return -1;
    return 0;
}

PYTHON_MODULE(_classifier, learn_ascii())
