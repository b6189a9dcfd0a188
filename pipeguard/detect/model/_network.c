/* The network: the parts of words of a few texts, convolutions, one number for each text.
 *
 * The same arithmetic as detect/model/network_sums.py, which runs where this was not built; core/
 * model/network.py says what the network is, and tests/detect/model/test_network_sums.py holds that
 * both give the same logits. All weights are signed bytes in the caller's buffers, which the loops
 * only read; a tile of them at a time becomes floats, in scratch memory that the caller gives. There
 * is no allocation and no recursion. Every size is checked once against the length of its buffer,
 * and every number that comes out of a buffer before it is an index.
 */

#include "../../_python.h"

#include "_network.h"
#include "_network_parts.h"
#include "_network_sums.h"

static size_t widest(const Network *net)
{
    return net->row > net->width ? net->row : net->width;
}

/* Floats of two states, a tile and zeros. */
static size_t scratch_floats(const Network *net)
{
    return widest(net) * (2 * CHUNK_ROWS + KERNEL * WIDEST_TILE + 1);
}

static int is_size(Py_ssize_t size, Py_ssize_t least, Py_ssize_t most)
{
    return size >= least && size <= most;
}

/* Whether the sizes are sensible, and the buffers as long as they say. */
static int is_network(Network *net, const Py_ssize_t *sizes, const Py_buffer *tables)
{
    if (!is_size(sizes[0], NUMBER + 1, (1 << NUMBER_BITS) - 1) || !is_size(sizes[1], 1, MOST_CHANNELS)
        || !is_size(sizes[2], WIDEST_TILE, MOST_CHANNELS) || sizes[2] % WIDEST_TILE
        || !is_size(sizes[3], 1, MOST_LAYERS) || !is_size(sizes[4], 1, MOST_CHANNELS))
        return 0;
    net->parts = (size_t)sizes[0];
    net->row = (size_t)sizes[1];
    net->width = (size_t)sizes[2];
    net->layers = (size_t)sizes[3];
    net->outputs = (size_t)sizes[4];
    size_t values = net->parts * net->row + (KERNEL * net->row + 1) * net->width
                    + (net->layers - 1) * (KERNEL * net->width + 1) * net->width
                    + (2 * net->width + 1) * net->outputs;
    for (net->slot_bits = 1; net->slot_bits < NUMBER_BITS + 2; net->slot_bits++)
        if ((size_t)tables[0].len == (size_t)4 << net->slot_bits)
            break;
    net->slots = tables[0].buf;
    net->ends = tables[1].buf;
    net->letters = tables[2].buf;
    net->values = tables[3].buf;
    net->steps = tables[4].buf;
    net->letter_count = (size_t)tables[2].len;
    return (size_t)tables[0].len == (size_t)4 << net->slot_bits
           && (size_t)tables[1].len == 4 * net->parts && (size_t)tables[3].len == values
           && (size_t)tables[4].len == sizeof(float) * (2 * net->layers + 3);
}

static PyObject *list_of(const double *logits, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        PyObject *item = PyFloat_FromDouble(logits[i]);
        if (item == NULL || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *logits(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    Py_buffer texts, scratch, tables[5];
    Py_ssize_t sizes[5], output, lines = 1;
    Network net;
    PyObject *list = NULL;
    if (!PyArg_ParseTuple(arguments, "y*(y*y*y*y*y*nnnnn)nw*", &texts, &tables[0], &tables[1],
                          &tables[2], &tables[3], &tables[4], &sizes[0], &sizes[1], &sizes[2],
                          &sizes[3], &sizes[4], &output, &scratch))
        return NULL;
    for (Py_ssize_t i = 0; i < texts.len; i++)
        lines += ((const char *)texts.buf)[i] == '\n';
    if (!is_network(&net, sizes, tables)) {
        PyErr_SetString(PyExc_ValueError, "weights of another form");
    } else if (!is_size(output, 0, sizes[4] - 1)) {
        PyErr_SetString(PyExc_ValueError, "no such output");
    } else if (lines > MOST_TEXTS) {
        PyErr_SetString(PyExc_ValueError, "too many texts");
    } else if ((size_t)scratch.len < sizeof(float) * scratch_floats(&net)
               || (uintptr_t)scratch.buf % sizeof(float)) {
        PyErr_SetString(PyExc_ValueError, "too little scratch memory");
    } else {
        double found[MOST_TEXTS];
        Chunk chunk = {.state = scratch.buf};
        size_t count, most = widest(&net);
        chunk.next = chunk.state + most * CHUNK_ROWS;
        chunk.tile = chunk.next + most * CHUNK_ROWS;
        chunk.zeros = chunk.tile + most * KERNEL * WIDEST_TILE;
        Py_BEGIN_ALLOW_THREADS
        memset(chunk.zeros, 0, most * sizeof *chunk.zeros);
        count = read_texts(&net, &chunk, texts.buf, (size_t)texts.len, (size_t)output, found);
        Py_END_ALLOW_THREADS
        list = list_of(found, count);
    }
    PyBuffer_Release(&texts);
    PyBuffer_Release(&scratch);
    for (int i = 0; i < 5; i++)
        PyBuffer_Release(&tables[i]);
    return list;
}

static PyObject *scratch_bytes(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    Py_ssize_t row, width;
    if (!PyArg_ParseTuple(arguments, "nn", &row, &width))
        return NULL;
    if (!is_size(row, 1, MOST_CHANNELS) || !is_size(width, 1, MOST_CHANNELS))
        return PyErr_Format(PyExc_ValueError, "too many channels");
    Network net = {.row = (size_t)row, .width = (size_t)width};
    return PyLong_FromSize_t(sizeof(float) * scratch_floats(&net));
}

static PyMethodDef methods[] = {
    {"logits", logits, METH_VARARGS, "logits(texts, weights, output, scratch) -> [logit, ...]"},
    {"scratch_bytes", scratch_bytes, METH_VARARGS, "scratch_bytes(row, width) -> bytes of scratch"},
    {NULL, NULL, 0, NULL},
};

PYTHON_MODULE(_network, (choose_form(), 0))
