/* transport_base.h: what transports of every kind share: calling the protocol in
 * the transport's context, saying what failed, limits, the making of the type.
 *
 * Everything here: Thread: loop.  GIL: held.  context is the transport's slot for
 * its context, NULL in it an empty one (see yulapy_loop_take_context).
 */
#ifndef YULAPY_TRANSPORT_BASE_H
#define YULAPY_TRANSPORT_BASE_H

#include "yulapy.h"

/* Enter returns a new reference, for leave to take, or NULL with an exception;
 * leave 0 or -1. */
static inline PyObject *
yulapy_context_enter(yulapy_loop *loop, PyObject **context)
{
    if (*context == NULL)
        *context = yulapy_loop_take_context(loop);
    if (*context == NULL || PyContext_Enter(*context) < 0)
        return NULL;
    return Py_NewRef(*context);
}

static inline int
yulapy_context_leave(yulapy_loop *loop, PyObject **context, PyObject *entered)
{
    int err = PyContext_Exit(entered);
    yulapy_loop_give_context(loop, context, entered);
    Py_DECREF(entered);
    return err;
}

/* Debug mode: report a method of the protocol that took long since begin_ns, with
 * an exception pending or not. */
void yulapy_transport_note_time(yulapy_loop *loop, PyObject *transport,
                                PyObject *method, int64_t begin_ns);

/* Call protocol.method(one, two), of which the last or both may be NULL, in the
 * transport's context. A new reference, or NULL. The caller holds the
 * transport. */
static inline PyObject *
yulapy_transport_call(yulapy_loop *loop, PyObject **context,
                      PyObject *transport, PyObject *protocol, PyObject *method,
                      PyObject *one, PyObject *two)
{
    PyObject *args[3] = {protocol, one, two};
    size_t nargs = two != NULL ? 3 : one != NULL ? 2 : 1;
    int64_t begin_ns = 0;
    bool debug = loop->debug;

    if (__builtin_expect(debug, 0))
        begin_ns = yula_loop_now(loop->core);
    PyObject *entered = yulapy_context_enter(loop, context);
    if (entered == NULL)
        return NULL;
    PyObject *result = PyObject_VectorcallMethod(
        method, args, nargs | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    /* Cannot fail: we entered it, and what ran in between has left. */
    if (yulapy_context_leave(loop, context, entered) < 0)
        Py_CLEAR(result);
    if (__builtin_expect(debug, 0))
        yulapy_transport_note_time(loop, transport, method, begin_ns);
    return result;
}

/* yulapy_failure() in the context of what failed: the user's exception handler
 * runs there. */
void yulapy_transport_tell(yulapy_loop *loop, PyObject **context,
                           PyObject *transport, PyObject *name,
                           PyObject *const *args, size_t nargs);

/* The pending exception is one that asyncio reports and leaves the transport open
 * after: what a method of the protocol raised. The message is format with name
 * for its %U. SystemExit and KeyboardInterrupt leave the loop instead. */
void yulapy_transport_report(yulapy_loop *loop, PyObject **context,
                             PyObject *transport, PyObject *protocol,
                             const char *format, PyObject *name);

/* _fatal_error with the pending exception: tell it to failure.<name>. Returns it,
 * for the transport to be closed with; or NULL if it leaves the loop. */
PyObject *yulapy_transport_fatal_error(yulapy_loop *loop, PyObject **context,
                                       PyObject *transport, PyObject *name,
                                       const char *message);

/* A write to a transport that was lost: counted, and from the fifth on warned of
 * by failure.<warning>. 0, or -1 with an exception. */
int yulapy_transport_drop_write(yulapy_loop *loop, unsigned *lost,
                                PyObject *warning);

/* From tp_finalize of an open transport that nobody refers to (its loop was
 * closed, or is garbage as well): warn, and close the socket or file, unless it
 * is closed with the core's part. A pending exception stays. */
void yulapy_transport_warn_unclosed(yulapy_loop *loop, PyObject *transport);
void yulapy_transport_close_unclosed(yulapy_loop *loop, PyObject *transport,
                                     PyObject *file);

/* The arguments of set_write_buffer_limits(). 0, or -1 with an exception. */
int yulapy_parse_limits(PyObject *args, PyObject *kwargs, size_t *low,
                        size_t *high);

/* Where our part of an object begins: behind the slots of asyncio's class. */
static inline Py_ssize_t
yulapy_transport_part(PyObject *base)
{
    return (((PyTypeObject *)base)->tp_basicsize + 15) / 16 * 16;
}

/* Make a transport's type and add it to the module: its part, of that size, lies
 * at offset, and in it at weaklist and dict their pointers. slots without
 * Py_tp_members. bases: a class or a tuple. A new reference, or NULL. */
PyTypeObject *yulapy_transport_make_type(PyObject *module, const char *name,
                                         PyObject *bases,
                                         const PyType_Slot *slots,
                                         Py_ssize_t offset, size_t size,
                                         size_t weaklist, size_t dict);

#define YULAPY_TRANSPORT_MAKE_TYPE(module, name, bases, slots, offset, part)   \
    yulapy_transport_make_type(module, name, bases, slots, offset,             \
                               sizeof(part), offsetof(part, weaklist),         \
                               offsetof(part, dict))

#endif /* YULAPY_TRANSPORT_BASE_H */
