/* c_api.h: what other extension modules get. */
#ifndef YULAPY_C_API_H
#define YULAPY_C_API_H

#include <Python.h>

/* Add the capsule to the module. 0, or -1 with an exception. */
int yulapy_c_api_add(PyObject *module);

#endif /* YULAPY_C_API_H */
