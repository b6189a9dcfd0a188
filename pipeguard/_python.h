/* Python's limited API, and the definition of a module.
 *
 * A file has a table `methods` and, at its end, PYTHON_MODULE. Its variables are the process's: the
 * module has no state (-1). `begin` is computed first; if it is not 0, the import fails.
 */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#define PYTHON_MODULE(name, begin)                                               \
    static struct PyModuleDef module = {                                         \
        PyModuleDef_HEAD_INIT, #name, NULL, -1, methods, NULL, NULL, NULL, NULL, \
    };                                                                           \
    PyMODINIT_FUNC PyInit_##name(void)                                           \
    {                                                                            \
        return begin ? NULL : PyModule_Create(&module);                          \
    }
