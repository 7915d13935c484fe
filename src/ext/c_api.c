/* c_api.c: the capsule yula._C_API: libyula for other extension modules. */
#include "c_api.h"

#include "native_lane.h"

#ifdef YULA__DEBUG
#include "coro/task_i.h"
#endif

#define TABLE_MEMBER(name) .name = name,
#define TABLE_GONE(name)

static const yula_python_table table = {
    .abi = YULA_PYTHON_ABI,
    .size = sizeof(table),
    .version = YULA__VERSION,
    YULA_PYTHON_TABLE(TABLE_MEMBER, TABLE_GONE)};

#ifdef YULA__DEBUG
/* No task may be left while it holds the interpreter lock, or with frames of
 * Python on its stack. Tasks are on loops without a host: their thread has no
 * business with Python at all. */
static void
check_switch(yula_task *task)
{
    assert(yula_task_loop(task)->host == NULL);
    assert(PyGILState_GetThisThreadState() == NULL);
}
#endif

int
yulapy_c_api_add(PyObject *module)
{
#ifdef YULA__DEBUG
    yula__task_switch_hook = check_switch;
#endif
    PyObject *capsule = PyCapsule_New((void *)&table, YULA_PYTHON_CAPSULE,
                                      NULL);
    int err = capsule != NULL ? PyModule_AddObjectRef(module, "_C_API", capsule)
                              : -1;
    Py_XDECREF(capsule);
    return err;
}
