/* transport_base.c: see transport_base.h. */
#include "transport_base.h"

/* asyncio.constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES */
#define LOST_WRITES_BEFORE_WARNING 5

/* --- what is said ---------------------------------------------------------- */

void
yulapy_transport_note_time(yulapy_loop *loop, PyObject *transport,
                           PyObject *method, int64_t begin_ns)
{
    PyObject *error = PyErr_Occurred() ? yulapy_take_exception() : NULL;
    if (loop->core != NULL) {
        PyObject *seconds = PyFloat_FromDouble(
            (double)(yula_loop_now(loop->core) - begin_ns) / 1e9);
        PyObject *args[] = {transport, method, seconds};
        if (seconds != NULL)
            yulapy_failure(loop, loop->state->str_slow_call, args, 3);
        Py_XDECREF(seconds);
    }
    if (error != NULL)
        yulapy_raise_exception(error);
}

void
yulapy_transport_tell(yulapy_loop *loop, PyObject **context,
                      PyObject *transport, PyObject *name,
                      PyObject *const *args, size_t nargs)
{
    PyObject *entered = yulapy_context_enter(loop, context);
    if (entered == NULL)
        PyErr_Clear(); /* RuntimeError: we are in it already */
    yulapy_failure(loop, name, args, nargs);
    if (entered != NULL && yulapy_context_leave(loop, context, entered) < 0)
        PyErr_WriteUnraisable(transport);
}

void
yulapy_transport_report(yulapy_loop *loop, PyObject **context,
                        PyObject *transport, PyObject *protocol,
                        const char *format, PyObject *name)
{
    if (yulapy_leaves_loop(loop))
        return;
    PyObject *error = yulapy_take_exception();
    PyObject *text = PyUnicode_FromFormat(format, name);
    if (text != NULL) {
        PyObject *args[] = {(PyObject *)loop, transport,
                            protocol != NULL ? protocol : Py_None, error, text};
        yulapy_transport_tell(loop, context, transport,
                              loop->state->str_protocol_failed, args, 5);
        Py_DECREF(text);
    }
    else {
        PyErr_WriteUnraisable(transport);
    }
    Py_XDECREF(error);
}

PyObject *
yulapy_transport_fatal_error(yulapy_loop *loop, PyObject **context,
                             PyObject *transport, PyObject *name,
                             const char *message)
{
    if (yulapy_leaves_loop(loop))
        return NULL;
    PyObject *error = yulapy_take_exception();
    PyObject *text = PyUnicode_FromString(message);
    if (text != NULL) {
        PyObject *args[] = {transport, error, text};
        yulapy_transport_tell(loop, context, transport, name, args, 3);
        Py_DECREF(text);
    }
    else {
        PyErr_WriteUnraisable(transport);
    }
    return error;
}

int
yulapy_transport_drop_write(yulapy_loop *loop, unsigned *lost,
                            PyObject *warning)
{
    if (*lost >= LOST_WRITES_BEFORE_WARNING)
        yulapy_failure(loop, warning, NULL, 0);
    ++*lost;
    return PyErr_Occurred() ? -1 : 0;
}

void
yulapy_transport_warn_unclosed(yulapy_loop *loop, PyObject *transport)
{
    PyObject *error = yulapy_take_exception();
    PyObject *args[] = {transport};
    yulapy_failure(loop, loop->state->str_transport_unclosed, args, 1);
    if (error != NULL)
        yulapy_raise_exception(error);
}

void
yulapy_transport_close_unclosed(yulapy_loop *loop, PyObject *transport,
                                PyObject *file)
{
    PyObject *error = yulapy_take_exception();
    PyObject *result = PyObject_CallMethodNoArgs(file, loop->state->str_close);
    if (result == NULL)
        PyErr_WriteUnraisable(transport);
    Py_XDECREF(result);
    if (error != NULL)
        yulapy_raise_exception(error);
}

/* --- limits ---------------------------------------------------------------- */

/* Any number, as asyncio takes it. -1 with an exception, or just -1. */
static Py_ssize_t
limit_bytes(PyObject *limit)
{
    if (!PyFloat_Check(limit))
        return PyNumber_AsSsize_t(limit, NULL);
    double bytes = PyFloat_AS_DOUBLE(limit);
    return bytes >= (double)PY_SSIZE_T_MAX ? PY_SSIZE_T_MAX : (Py_ssize_t)bytes;
}

/* As transports._FlowControlMixin._set_write_buffer_limits. */
int
yulapy_parse_limits(PyObject *args, PyObject *kwargs, size_t *low_out,
                    size_t *high_out)
{
    static char *names[] = {"high", "low", NULL};
    PyObject *high_arg = Py_None, *low_arg = Py_None;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO", names, &high_arg,
                                     &low_arg))
        return -1;
    Py_ssize_t high = (Py_ssize_t)YULA_STREAM_HIGH, low = 0;
    if (low_arg != Py_None && (low = limit_bytes(low_arg)) == -1 &&
        PyErr_Occurred())
        return -1;
    if (high_arg != Py_None) {
        high = limit_bytes(high_arg);
        if (high == -1 && PyErr_Occurred())
            return -1;
    }
    else if (low_arg != Py_None) {
        high = low > PY_SSIZE_T_MAX / 4 ? PY_SSIZE_T_MAX : 4 * low;
    }
    if (low_arg == Py_None)
        low = high / 4;
    if (high < low || low < 0) {
        PyErr_Format(PyExc_ValueError,
                     "high (%zd) must be >= low (%zd) must be >= 0", high, low);
        return -1;
    }
    *low_out = (size_t)low;
    *high_out = (size_t)high;
    return 0;
}

/* --- types ----------------------------------------------------------------- */

#define SLOTS_MAX 16

PyTypeObject *
yulapy_transport_make_type(PyObject *module, const char *name, PyObject *bases,
                           const PyType_Slot *slots, Py_ssize_t offset,
                           size_t size, size_t weaklist, size_t dict)
{
    PyMemberDef members[] = {
        {"__weaklistoffset__", T_PYSSIZET, offset + (Py_ssize_t)weaklist,
         READONLY, NULL},
        {"__dictoffset__", T_PYSSIZET, offset + (Py_ssize_t)dict, READONLY,
         NULL},
        {NULL},
    };
    PyType_Slot all[SLOTS_MAX] = {{Py_tp_members, members}};
    for (int i = 0; slots[i].slot != 0; i++) {
        assert(i < SLOTS_MAX - 2);
        all[i + 1] = slots[i];
    }
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)(offset + (Py_ssize_t)size),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                 Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = all,
    };
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &spec,
                                                                  bases);
    if (type != NULL && PyModule_AddType(module, type) < 0)
        Py_CLEAR(type);
    return type;
}
