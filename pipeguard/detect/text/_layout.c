/* Lays out the strings of a JSON value as lines of UTF-8, in one walk; and lists its strings by
 * name, in another.
 *
 * detect/text/layouts.py and detect/flows/text_values.py are the definition, and run where this was
 * not built; both return the same (tests/detect/text/test_layouts.py and
 * tests/detect/flows/test_text_values.py). Recursion ends where Python's does.
 */

#include "../../_python.h"
#include <string.h>

#define MIN_NUMBER_DIGITS 9 /* these five as in layouts.py */
#define LONGEST_LISTED 12
#define LONGEST_NAMED 600
#define LEAST_CODES 16
#define LEAST_KEY 10
#define FIRST_ROOM 64

/* Numbers or bytes, one behind the other. */
typedef struct {
    uint8_t *at;
    size_t size, room;
} Buffer;

/* Strings with their steps and with the numbers of the containers that they are in. */
typedef struct {
    PyObject *strings, *steps;
    Buffer owners;
} Strings;

typedef struct {
    PyObject *number, *fixed, *codes, *is_sensitive, *label; /* of layouts.py; borrowed */
    PyObject *values, *keys, *labels, *names, *sensitive;    /* the last by key */
    PyObject *long_keys;
    Strings located, named;
    Buffer parents, starts, data;
} Layout;

static PyObject *empty, *value_name;

static int extend(Buffer *buffer, const void *bytes, size_t size)
{
    if (size == 0)
        return 0;
    if (buffer->room - buffer->size < size) {
        size_t room = 2 * buffer->room + size + FIRST_ROOM;
        uint8_t *at = PyMem_Realloc(buffer->at, room);
        if (at == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        buffer->at = at;
        buffer->room = room;
    }
    memcpy(buffer->at + buffer->size, bytes, size);
    buffer->size += size;
    return 0;
}

static int extend_number(Buffer *buffer, size_t number)
{
    uint32_t written = (uint32_t)number;
    if (number > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "a text is longer than 4 GiB");
        return -1;
    }
    return extend(buffer, &written, sizeof written);
}

static PyObject *bytes_of(const Buffer *buffer, size_t size)
{
    return PyBytes_FromStringAndSize((const char *)buffer->at, (Py_ssize_t)size);
}

/* Writes a text, and behind it what separates it from the next. */
static int write_text(Layout *layout, PyObject *text, const char *end)
{
    Py_ssize_t size;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &size);
    if (bytes == NULL || extend(&layout->data, bytes, (size_t)size) < 0)
        return -1;
    return extend(&layout->data, end, strlen(end));
}

static int write_line(Layout *layout, PyObject *label, PyObject *text)
{
    if (label != NULL && write_text(layout, label, ": ") < 0)
        return -1;
    if (write_text(layout, text, "\n") < 0)
        return -1;
    return extend_number(&layout->starts, layout->data.size);
}

static int add_string(Strings *strings, PyObject *string, PyObject *step, size_t owner)
{
    if (PyList_Append(strings->strings, string) < 0 || PyList_Append(strings->steps, step) < 0)
        return -1;
    return extend_number(&strings->owners, owner);
}

/* Lays out a string as one of the lines in order. */
static int lay_out_string(Layout *layout, PyObject *label, PyObject *string, PyObject *step,
                          size_t owner)
{
    if (add_string(&layout->located, string, step, owner) < 0)
        return -1;
    return write_line(layout, label, string);
}

static int is_container(PyObject *value)
{
    return Py_TYPE(value) == &PyDict_Type || Py_TYPE(value) == &PyList_Type;
}

static int is_text(PyObject *value)
{
    return Py_TYPE(value) == &PyUnicode_Type;
}

static int is_long_number(const Layout *layout, PyObject *value)
{
    return (PyObject *)Py_TYPE(value) == layout->number &&
           PyUnicode_GetLength(value) >= MIN_NUMBER_DIGITS;
}

/* `is_listed` of layouts.py; -1 for an error. */
static int is_listed(PyObject *string)
{
    Py_ssize_t size;
    const char *text;
    if (!is_text(string) || PyUnicode_GetLength(string) > LONGEST_LISTED)
        return 0;
    text = PyUnicode_AsUTF8AndSize(string, &size);
    if (text == NULL)
        return -1;
    if (size == 3 && memcmp(text, "2.0", 3) == 0)
        return 1;
    PyObject *found = PyObject_CallMethod(string, "islower", NULL);
    Py_XDECREF(found);
    return found == NULL ? -1 : found == Py_True;
}

static int is_fixed(const Layout *layout, PyObject *key, PyObject *string)
{
    int found = PySet_Contains(layout->fixed, key);
    return found > 0 ? is_listed(string) : found;
}

/* Whether the value of a key may be private, asked once for each key; -1 for an error. */
static int is_sensitive(Layout *layout, PyObject *key)
{
    PyObject *known = PyDict_GetItemWithError(layout->sensitive, key);
    if (known != NULL || PyErr_Occurred())
        return known != NULL ? known == Py_True : -1;
    known = PyObject_CallFunctionObjArgs(layout->is_sensitive, key, NULL);
    if (known == NULL)
        return -1;
    int sensitive = known == Py_True;
    int failed = PyDict_SetItem(layout->sensitive, key, known);
    Py_DECREF(known);
    return failed ? -1 : sensitive;
}

/* Notes a container as the next one, and returns its number; 0, which the whole has, for an error. */
static size_t enter(Layout *layout, size_t owner, PyObject *step)
{
    size_t number = layout->parents.size / sizeof(uint32_t);
    int failed = extend_number(&layout->parents, owner) < 0 ||
                 PyList_Append(layout->names, step) < 0;
    return failed ? 0 : number;
}

typedef int (*Read)(Layout *, PyObject *, size_t);

static int read_inner(Layout *layout, Read read, PyObject *value, size_t owner, PyObject *step)
{
    size_t number = enter(layout, owner, step);
    if (number == 0 || Py_EnterRecursiveCall(" in a JSON value"))
        return -1;
    int failed = read(layout, value, number);
    Py_LeaveRecursiveCall();
    return failed;
}

/* Reads the items of a list, the same way in both layouts. */
static int read_items(Layout *layout, Read read, PyObject *list, size_t number)
{
    int failed = 0;
    for (Py_ssize_t index = 0; !failed && index < PyList_Size(list); index++) {
        PyObject *item = PyList_GetItem(list, index), *step;
        int holds_more = is_container(item);
        if (!holds_more && !is_text(item) && !is_long_number(layout, item))
            continue;
        step = PyLong_FromSsize_t(index);
        if (step == NULL)
            return -1;
        failed = holds_more ? read_inner(layout, read, item, number, step)
                            : lay_out_string(layout, NULL, item, step, number) ||
                                  PyList_Append(layout->values, item);
        Py_DECREF(step);
    }
    return failed;
}

static Py_ssize_t count_numbers(const Layout *layout, PyObject *list)
{
    Py_ssize_t count = 0, size = PyList_Size(list);
    for (Py_ssize_t index = 0; index < size; index++)
        count += (PyObject *)Py_TYPE(PyList_GetItem(list, index)) == layout->number;
    return count;
}

/* False for what `text_of_codes` of layouts.py takes for no text: with few numbers in it and in its
 * lists, and few rows that are objects. */
static int may_be_codes(const Layout *layout, PyObject *container)
{
    Py_ssize_t place = 0, numbers = 0, objects = 0, size = PyObject_Size(container);
    int is_object = Py_TYPE(container) == &PyDict_Type;
    for (Py_ssize_t index = 0; index < size; index++) {
        PyObject *item = is_object ? NULL : PyList_GetItem(container, index);
        if (is_object && !PyDict_Next(container, &place, NULL, &item))
            break;
        if (Py_TYPE(item) == &PyList_Type)
            numbers += count_numbers(layout, item);
        numbers += (PyObject *)Py_TYPE(item) == layout->number;
        objects += Py_TYPE(item) == &PyDict_Type;
    }
    return numbers >= LEAST_CODES || objects >= LEAST_CODES;
}

static int read_codes(Layout *layout, PyObject *container, size_t number)
{
    int failed = 0;
    if (!may_be_codes(layout, container))
        return 0;
    PyObject *text = PyObject_CallFunctionObjArgs(layout->codes, container, NULL);
    if (text == NULL)
        return -1;
    if (PyUnicode_GetLength(text) > 0)
        failed = lay_out_string(layout, NULL, text, Py_None, number) ||
                 PyList_Append(layout->values, text);
    Py_DECREF(text);
    return failed;
}

/* The keyed layout. */
static int read_members(Layout *layout, PyObject *container, size_t number)
{
    PyObject *key, *item;
    Py_ssize_t place = 0;
    if (read_codes(layout, container, number))
        return -1;
    if (Py_TYPE(container) == &PyList_Type)
        return read_items(layout, read_members, container, number);
    while (PyDict_Next(container, &place, &key, &item)) {
        int is_string = is_text(item) || is_long_number(layout, item);
        if (PyDict_SetItem(layout->keys, key, Py_None) < 0 ||
            lay_out_string(layout, key, is_string ? item : empty, key, number) < 0)
            return -1;
        if (is_string) {
            int fixed = is_fixed(layout, key, item);
            if (fixed < 0 || (!fixed && PyList_Append(layout->values, item) < 0))
                return -1;
        } else if (is_container(item)) {
            if (read_inner(layout, read_members, item, number, key))
                return -1;
        }
    }
    return 0;
}

static int name_string(Layout *layout, PyObject *label, PyObject *string, PyObject *step,
                       size_t number)
{
    if (PyList_Append(layout->labels, label) < 0)
        return -1;
    return add_string(&layout->named, string, step, number);
}

static int read_label(Layout *layout, PyObject *object, size_t number)
{
    PyObject *value = PyDict_GetItemWithError(object, value_name);
    if (value == NULL)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *label = PyObject_CallFunctionObjArgs(layout->label, object, NULL);
    if (label == NULL)
        return -1;
    int failed = PyUnicode_GetLength(label) > 0 &&
                 name_string(layout, label, value, value_name, number) < 0;
    Py_DECREF(label);
    return failed;
}

/* A string of the unkeyed layout, or a long number. */
static int read_value(Layout *layout, PyObject *key, PyObject *item, size_t number)
{
    int fixed = is_text(item) ? PySet_Contains(layout->fixed, key) : 0;
    if (fixed)
        return fixed < 0 ? -1 : PyDict_SetItem(layout->keys, item, Py_None);
    if (lay_out_string(layout, NULL, item, key, number) < 0 ||
        PyList_Append(layout->values, item) < 0)
        return -1;
    if (is_text(item) && PyUnicode_GetLength(item) > LONGEST_NAMED)
        return 0;
    int sensitive = is_sensitive(layout, key);
    return sensitive > 0 ? name_string(layout, key, item, key, number) : sensitive;
}

/* The unkeyed layout. */
static int read_values(Layout *layout, PyObject *container, size_t number)
{
    PyObject *key, *item;
    Py_ssize_t place = 0;
    if (Py_TYPE(container) == &PyList_Type)
        return read_items(layout, read_values, container, number);
    while (PyDict_Next(container, &place, &key, &item)) {
        if (PyDict_SetItem(layout->keys, key, Py_None) < 0)
            return -1;
        if (is_container(item)) {
            if (read_inner(layout, read_values, item, number, key))
                return -1;
        } else if (is_text(item) || is_long_number(layout, item)) {
            if (read_value(layout, key, item, number) < 0)
                return -1;
        }
    }
    return read_label(layout, container, number);
}

/* The lines behind the values of the unkeyed layout: values behind their keys, then the keys. */
static int write_rest(Layout *layout)
{
    PyObject *key, *none;
    Py_ssize_t place = 0, count = PyList_Size(layout->labels);
    for (Py_ssize_t index = 0; index < count; index++)
        if (write_line(layout, PyList_GetItem(layout->labels, index),
                       PyList_GetItem(layout->named.strings, index)) < 0)
            return -1;
    while (PyDict_Next(layout->keys, &place, &key, &none))
        if (write_line(layout, NULL, key) < 0)
            return -1;
    Py_ssize_t end = PyList_Size(layout->located.strings);
    if (PyList_SetSlice(layout->located.strings, end, end, layout->named.strings) < 0 ||
        PyList_SetSlice(layout->located.steps, end, end, layout->named.steps) < 0)
        return -1;
    return extend(&layout->located.owners, layout->named.owners.at, layout->named.owners.size);
}

static int read_whole(Layout *layout, PyObject *value, int keyed)
{
    if (enter(layout, 0, Py_None) != 0 || PyErr_Occurred() ||
        extend_number(&layout->starts, 0) < 0)
        return -1;
    if (is_container(value)) {
        Read read = keyed ? read_members : read_values;
        if (read(layout, value, 0))
            return -1;
    } else if (is_text(value) || is_long_number(layout, value)) {
        if (lay_out_string(layout, NULL, value, Py_None, 0) < 0 ||
            PyList_Append(layout->values, value) < 0)
            return -1;
    }
    return keyed ? 0 : write_rest(layout);
}

/* The keys of which one could be part of a secret. */
static int list_long_keys(Layout *layout)
{
    PyObject *key, *none;
    Py_ssize_t place = 0;
    while (PyDict_Next(layout->keys, &place, &key, &none))
        if (PyUnicode_GetLength(key) >= LEAST_KEY && PyList_Append(layout->long_keys, key) < 0)
            return -1;
    return 0;
}

static PyObject *result_of(const Layout *layout)
{
    const Buffer *data = &layout->data;
    return Py_BuildValue("(NOOOOONONON)", bytes_of(data, data->size ? data->size - 1 : 0),
                         layout->values, layout->keys, layout->long_keys, layout->located.strings, layout->labels,
                         bytes_of(&layout->starts, layout->starts.size), layout->located.steps,
                         bytes_of(&layout->located.owners, layout->located.owners.size),
                         layout->names, bytes_of(&layout->parents, layout->parents.size));
}

static PyObject *lay_out(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    PyObject *value, *result = NULL;
    int keyed;
    Layout layout = {0};
    if (!PyArg_ParseTuple(arguments, "Op(OOOOO)", &value, &keyed, &layout.number, &layout.fixed,
                          &layout.codes, &layout.is_sensitive, &layout.label))
        return NULL;
    PyObject **made[] = {&layout.values,          &layout.labels,        &layout.names,
                         &layout.located.strings, &layout.located.steps, &layout.named.strings,
                         &layout.named.steps,     &layout.long_keys};
    size_t count = sizeof made / sizeof *made;
    int failed = (layout.keys = PyDict_New()) == NULL || (layout.sensitive = PyDict_New()) == NULL;
    for (size_t index = 0; index < count; index++)
        failed |= (*made[index] = PyList_New(0)) == NULL;
    if (!failed && read_whole(&layout, value, keyed) == 0 && list_long_keys(&layout) == 0)
        result = result_of(&layout);
    for (size_t index = 0; index < count; index++)
        Py_XDECREF(*made[index]);
    Py_XDECREF(layout.keys);
    Py_XDECREF(layout.sensitive);
    Buffer *buffers[] = {&layout.parents, &layout.starts, &layout.data, &layout.located.owners,
                         &layout.named.owners};
    for (size_t index = 0; index < sizeof buffers / sizeof *buffers; index++)
        PyMem_Free(buffers[index]->at);
    return result;
}

/* --- strings by name ---------------------------------------------------------------------- */

static int is_value(PyObject *key)
{
    return PyUnicode_CompareWithASCIIString(key, "value") == 0;
}

static int add_named(PyObject *strings, PyObject *name, PyObject *value, PyObject *name_value)
{
    int failed = 0;
    if (is_text(value))
        return append_new(strings, PyTuple_Pack(2, name, value));
    if (!is_container(value))
        return 0;
    if (Py_EnterRecursiveCall(" in a JSON value"))
        return -1;
    PyObject *key, *item, *own = NULL;
    Py_ssize_t place = 0;
    if (Py_TYPE(value) == &PyList_Type) {
        for (; !failed && place < PyList_Size(value); place++)
            failed = add_named(strings, name, PyList_GetItem(value, place), name_value);
    } else {
        PyObject *named = PyDict_GetItemWithError(value, value_name);
        if (named != NULL)
            own = PyObject_CallFunctionObjArgs(name_value, value, NULL);
        failed = PyErr_Occurred() != NULL;
        while (!failed && PyDict_Next(value, &place, &key, &item))
            failed = add_named(strings, own != NULL && is_value(key) ? own : key, item, name_value);
        Py_XDECREF(own);
    }
    Py_LeaveRecursiveCall();
    return failed;
}

static PyObject *named_strings(PyObject *Py_UNUSED(self), PyObject *arguments)
{
    PyObject *value, *name_value, *strings;
    if (!PyArg_ParseTuple(arguments, "OO", &value, &name_value))
        return NULL;
    strings = PyList_New(0);
    if (strings == NULL || add_named(strings, empty, value, name_value)) {
        Py_XDECREF(strings);
        return NULL;
    }
    return strings;
}

static PyMethodDef methods[] = {
    {"lay_out", lay_out, METH_VARARGS,
     "lay_out(value, keyed, (number, fixed, codes, is_sensitive, label)) -> as layouts.Layout"},
    {"named_strings", named_strings, METH_VARARGS,
     "named_strings(value, name_value) -> as text_values.list_named_strings"},
    {NULL, NULL, 0, NULL},
};

static int intern_names(void)
{
    empty = PyUnicode_InternFromString("");
    value_name = PyUnicode_InternFromString("value");
    return empty == NULL || value_name == NULL;
}

PYTHON_MODULE(_layout, intern_names())
