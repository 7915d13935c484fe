/* planted_module.c: the planted bugs in a Python that preloads the sanitizers,
 * built with the flags and the objects that yula._core is built with. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "planted.h"

static PyObject *
planted_run_from_python(PyObject *Py_UNUSED(module), PyObject *name)
{
    const char *text = PyUnicode_AsUTF8(name);
    if (text == NULL)
        return NULL;
    return PyLong_FromLong(planted_run(text));
}

static PyMethodDef planted_methods[] = {
    {"run", planted_run_from_python, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef planted_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_planted",
    .m_methods = planted_methods,
};

PyMODINIT_FUNC PyInit__planted(void);

PyMODINIT_FUNC
PyInit__planted(void)
{
    return PyModuleDef_Init(&planted_module);
}
