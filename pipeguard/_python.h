/* Python's limited API, the definition of a module, and what several of them do with objects.
 *
 * A file has a table `methods` and, at its end, PYTHON_MODULE. Its variables are the process's: the
 * module has no state (-1). `begin` is computed first; if it is not 0, the import fails.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

/* Appends a new object, which only the list owns from then on; -1 if there is none, or no memory. */
static inline int append_new(PyObject *list, PyObject *item)
{
    int failed = item == NULL || PyList_Append(list, item) < 0;
    Py_XDECREF(item);
    return failed ? -1 : 0;
}

/* None where nothing was made: a text that is not Unicode is no error of the caller's. */
static inline PyObject *none_made(void)
{
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_UnicodeError))
        return NULL;
    PyErr_Clear();
    Py_RETURN_NONE;
}

#define PYTHON_MODULE(name, begin)                                               \
    static struct PyModuleDef module = {                                         \
        PyModuleDef_HEAD_INIT, #name, NULL, -1, methods, NULL, NULL, NULL, NULL, \
    };                                                                           \
    PyMODINIT_FUNC PyInit_##name(void)                                           \
    {                                                                            \
        return begin ? NULL : PyModule_Create(&module);                          \
    }
