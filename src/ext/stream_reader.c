/* stream_reader.c: what a StreamReader holds: received data, the end, a waiter.
 *
 * Follows asyncio.StreamReader. Received data is kept as the bytes object it
 * was received into (chunk) for as long as that is possible, because the next
 * read() can then hand it out as it is; when there is more, or when somebody
 * looks at `_buffer`, it moves into the bytearray that asyncio would have it in.
 * A large readexactly() has its bytes object filled straight from the socket
 * (op->target).
 *
 *  I1. What is there to read is the target's filled part, or the chunk from
 *      chunk_start on, or the buffer: at most one of them is not empty.
 * Data for a waiting read() is left with the kernel (left): the task that is
 * woken receives it in its own step, right into its result, and goes on while it
 * is in the cache. Whoever looks at the reader before that step fetches it first,
 * so nobody can tell.
 *
 *  I2. While somebody else holds the buffer, nothing is in a chunk or target.
 *  I3. feeder->reader == this part, or feeder is NULL.
 *  I4. left: nothing else is there to read, feeder is not NULL, and the op that
 *      was woken (waiting) is not done yet.
 */
#include "awaitable.h"
#include "streams.h"

/* From here on readexactly() receives into its result, up to a size that a peer
 * may name without our having to hold that much. */
#define READER_TARGET_MIN (16 * 1024)
#define READER_TARGET_MAX (16 * 1024 * 1024)

/* A waiting reader keeps no chunk of which less than 1/4 is left. */
#define READER_CHUNK_WASTE 4

/* The stream that is read from, or NULL. Only of a stream transport's reader: a
 * TLS connection's feed never gives memory of ours to a stream, so nothing is
 * ever left with the kernel. */
static yula_stream *
reader_stream(yulapy_reader *reader)
{
    char *feed = (char *)reader->feeder;
    return ((yulapy_transport *)(feed - offsetof(yulapy_transport, feed)))
        ->stream;
}

static void
reader_unlink(yulapy_reader *reader)
{
    if (reader->feeder != NULL)
        reader->feeder->reader = NULL;
    reader->feeder = NULL;
    reader->left = false;
}

/* --- the data --------------------------------------------------------------- */

static int
buffer_append(yulapy_reader *reader, const char *base, Py_ssize_t len)
{
    Py_ssize_t size = PyByteArray_GET_SIZE(reader->buffer);
    if (PyByteArray_Resize(reader->buffer, size + len) < 0)
        return -1;
    memcpy(PyByteArray_AS_STRING(reader->buffer) + size, base, (size_t)len);
    return 0;
}

/* Everything into the buffer, where asyncio has it. 0, or -1. */
static int
reader_settle(yulapy_reader *reader)
{
    yulapy_stream_op *op = reader->waiting;

    if (reader->left && yulapy_reader_fetch(reader) < 0)
        return -1;
    if (reader->buffer == NULL || !PyByteArray_Check(reader->buffer))
        return 0; /* somebody's own: see reader_judge */
    if (reader->chunk != NULL) {
        PyObject *chunk = reader->chunk;
        Py_ssize_t start = reader->chunk_start;
        if (buffer_append(reader, PyBytes_AS_STRING(chunk) + start,
                          PyBytes_GET_SIZE(chunk) - start) < 0)
            return -1;
        Py_CLEAR(reader->chunk);
    }
    if (op != NULL && op->target != NULL) {
        if (buffer_append(reader, PyBytes_AS_STRING(op->target), op->filled) <
            0)
            return -1;
        op->filled = 0;
        Py_CLEAR(op->target);
    }
    return 0;
}

Py_ssize_t
yulapy_reader_peek(yulapy_reader *reader, const char **base)
{
    if (reader->chunk != NULL) {
        *base = PyBytes_AS_STRING(reader->chunk) + reader->chunk_start;
        return PyBytes_GET_SIZE(reader->chunk) - reader->chunk_start;
    }
    yulapy_stream_op *op = reader->waiting;
    if (op != NULL && op->target != NULL) {
        *base = PyBytes_AS_STRING(op->target);
        return op->filled;
    }
    *base = PyByteArray_AS_STRING(reader->buffer);
    return PyByteArray_GET_SIZE(reader->buffer);
}

static Py_ssize_t
reader_size(yulapy_reader *reader)
{
    const char *base;
    return yulapy_reader_peek(reader, &base);
}

static int
reader_append(yulapy_reader *reader, const char *base, Py_ssize_t len,
              PyObject *bytes)
{
    if (reader_size(reader) > 0 || Py_REFCNT(reader->buffer) > 1)
        return reader_settle(reader) < 0 ? -1
                                         : buffer_append(reader, base, len);
    yulapy_awaitable_forget(reader->state);
    reader->chunk = bytes != NULL
                        ? Py_NewRef(bytes)
                        : yulapy_received_bytes((yulapy_loop *)reader->loop,
                                                base, (size_t)len);
    reader->chunk_start = 0;
    return reader->chunk != NULL ? 0 : -1;
}

int
yulapy_reader_fetch(yulapy_reader *reader)
{
    yula_stream *stream = reader_stream(reader);
    size_t len = 0;

    reader->left = false;
    char *base = yula_loop_read_buffer(((yulapy_loop *)reader->loop)->core);
    if (base == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (stream != NULL)
        len = yula_stream_take(stream, base, YULA_STREAM_READ_MAX);
    return len > 0 ? reader_append(reader, base, (Py_ssize_t)len, NULL) : 0;
}

PyObject *
yulapy_reader_receive_left(yulapy_reader *reader, Py_ssize_t count)
{
    yulapy_loop *loop = (yulapy_loop *)reader->loop;
    yula_stream *stream = reader_stream(reader);
    size_t max = YULA_STREAM_READ_MAX;

    if (count < READER_TARGET_MIN) { /* there may be more, for the buffer */
        (void)yulapy_reader_fetch(reader);
        return NULL;
    }
    reader->left = false;
    if (stream == NULL)
        return NULL;
    if ((size_t)count < max)
        max = (size_t)count;
    yulapy_awaitable_forget(reader->state);
    PyObject *bytes = yulapy_received_from(loop, stream, max, reader->recent);
    if (bytes != NULL)
        reader->recent = (size_t)PyBytes_GET_SIZE(bytes);
    return bytes;
}

/* The bytes that the chunk starts with, removed. */
static PyObject *
chunk_take(yulapy_reader *reader, Py_ssize_t count)
{
    PyObject *chunk = reader->chunk;
    Py_ssize_t size = PyBytes_GET_SIZE(chunk);

    if (count == size) {
        reader->chunk = NULL;
        return chunk;
    }
    PyObject *bytes = PyBytes_FromStringAndSize(
        PyBytes_AS_STRING(chunk) + reader->chunk_start, count);
    if (bytes == NULL)
        return NULL;
    reader->chunk_start += count;
    if (reader->chunk_start == size)
        Py_CLEAR(reader->chunk);
    return bytes;
}

static PyObject *
buffer_take(yulapy_reader *reader, Py_ssize_t count)
{
    Py_ssize_t size = PyByteArray_GET_SIZE(reader->buffer);
    PyObject *bytes = PyBytes_FromStringAndSize(
        PyByteArray_AS_STRING(reader->buffer), count);
    if (bytes == NULL || count == 0)
        return bytes;
    /* The bytearray forgets its front without moving the rest. */
    int err = count == size ? PyByteArray_Resize(reader->buffer, 0)
                            : PySequence_DelSlice(reader->buffer, 0, count);
    if (err < 0)
        Py_CLEAR(bytes); /* somebody has a view of it */
    return bytes;
}

static int
reader_resume(yulapy_reader *reader)
{
    reader->paused = false;
    PyObject *result = PyObject_CallMethod(reader->transport, "resume_reading",
                                           NULL);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

PyObject *
yulapy_reader_take(yulapy_reader *reader, Py_ssize_t count)
{
    yulapy_stream_op *op = reader->waiting;
    PyObject *bytes;

    if (op != NULL && op->target != NULL && reader_settle(reader) < 0)
        return NULL;
    bytes = reader->chunk != NULL ? chunk_take(reader, count)
                                  : buffer_take(reader, count);
    if (bytes != NULL && reader->paused &&
        reader_size(reader) <= reader->limit_bytes && reader_resume(reader) < 0)
        Py_CLEAR(bytes);
    return bytes;
}

/* --- receiving -------------------------------------------------------------- */

/* The op that waits here, with nobody else's future in its place. */
static yulapy_stream_op *
reader_op(yulapy_reader *reader)
{
    yulapy_stream_op *op = reader->waiting;
    return op != NULL && op->future == reader->waiter ? op : NULL;
}

/* A future that is not cancelled is given its result. */
static int
waiter_resolve(yulapy_reader *reader, PyObject *waiter)
{
    PyObject *result = NULL;
    PyObject *cancelled = PyObject_CallMethod(waiter, "cancelled", NULL);
    int skip = cancelled != NULL ? PyObject_IsTrue(cancelled) : -1;

    Py_XDECREF(cancelled);
    if (skip == 0)
        result = PyObject_CallMethodOneArg(
            waiter, reader->state->str_set_result, Py_None);
    Py_XDECREF(result);
    return skip > 0 || result != NULL ? 0 : -1;
}

/* _wakeup_waiter() */
static int
reader_wake(yulapy_reader *reader)
{
    PyObject *waiter = reader->waiter;
    yulapy_stream_op *op = reader_op(reader);

    if (waiter == Py_None)
        return 0;
    reader->waiter = Py_NewRef(Py_None);
    Py_XINCREF(op);
    int err = 0;
    if (op == NULL) {
        err = waiter_resolve(reader, waiter);
    }
    else {
        int woken = yulapy_future_wake((yulapy_loop *)reader->loop, waiter);
        op->woken = woken > 0;
        err = woken < 0 ? -1 : 0;
    }
    Py_XDECREF(op);
    Py_DECREF(waiter);
    return err;
}

static int
reader_pause(yulapy_reader *reader)
{
    PyObject *result = PyObject_CallMethod(reader->transport, "pause_reading",
                                           NULL);
    if (result != NULL) {
        Py_DECREF(result);
        reader->paused = true;
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_NotImplementedError))
        return -1;
    PyErr_Clear(); /* it cannot be paused: asyncio does not try again */
    Py_SETREF(reader->transport, Py_NewRef(Py_None));
    return 0;
}

/* After data was added: as feed_data() goes on. Whoever waits for more than
 * there is goes on waiting, and is not paused for it. */
static int
reader_added(yulapy_reader *reader)
{
    yulapy_stream_op *op = reader_op(reader);

    if (op != NULL && !op->kind->ready(op))
        return 0;
    if (reader->waiter != Py_None && reader_wake(reader) < 0)
        return -1;
    if (reader->transport != Py_None && !reader->paused &&
        reader_size(reader) / 2 >= reader->limit_bytes &&
        reader_size(reader) > 2 * reader->limit_bytes)
        return reader_pause(reader);
    return 0;
}

/* Whether the op's result shall be filled by the socket, and how far it is. */
static bool
reader_has_target(yulapy_reader *reader, yulapy_stream_op *op)
{
    if (op->target != NULL)
        return true;
    if (op->argument != NULL || op->count < READER_TARGET_MIN ||
        op->count > READER_TARGET_MAX || Py_REFCNT(reader->buffer) > 1)
        return false;
    const char *base;
    Py_ssize_t size = yulapy_reader_peek(reader, &base);
    PyObject *target = PyBytes_FromStringAndSize(NULL, op->count);
    if (target == NULL) {
        PyErr_Clear(); /* then it is gathered in the buffer */
        return false;
    }
    memcpy(PyBytes_AS_STRING(target), base, (size_t)size);
    Py_CLEAR(reader->chunk);
    if (PyByteArray_GET_SIZE(reader->buffer) > 0 &&
        PyByteArray_Resize(reader->buffer, 0) < 0) {
        PyErr_Clear();
        Py_DECREF(target);
        return false;
    }
    op->target = target;
    op->filled = size;
    return true;
}

/* Whether the op that waits can receive in its task's own step. */
static bool
reader_may_leave(yulapy_reader *reader, yulapy_stream_op *op)
{
    return op != NULL && op->kind->receives && reader->chunk == NULL &&
           PyByteArray_GET_SIZE(reader->buffer) == 0;
}

int
yulapy_reader_alloc(yulapy_reader *reader, void **base, size_t *len)
{
    yulapy_stream_op *op = reader_op(reader);

    if (yula_stream_has_data(reader_stream(reader))) {
        if (reader->left)
            return YULA_STREAM_LEAVE;
        if (reader_may_leave(reader, op)) {
            reader->left = true;
            (void)reader_wake(reader);
            return YULA_STREAM_LEAVE;
        }
    }
    reader->left = false; /* and what there is comes now */

    *len = YULA_STREAM_READ_MAX;
    if (op != NULL && op->kind->exact && !op->kind->ready(op) &&
        reader_has_target(reader, op)) {
        *base = PyBytes_AS_STRING(op->target) + op->filled;
        if (*len > (size_t)(op->count - op->filled))
            *len = (size_t)(op->count - op->filled);
        return 0;
    }
    /* Not more than read() is going to return: the rest would be copied twice.
     */
    if (op != NULL && !op->kind->exact && op->count >= READER_TARGET_MIN &&
        (size_t)op->count < *len)
        *len = (size_t)op->count;
    *base = yula_loop_read_buffer(((yulapy_loop *)reader->loop)->core);
    return *base != NULL ? 0 : -ENOMEM;
}

int
yulapy_reader_receive(yulapy_reader *reader, const char *base, Py_ssize_t len,
                      PyObject *bytes)
{
    yulapy_stream_op *op = reader->waiting;

    if (reader->left && yulapy_reader_fetch(reader) < 0)
        return -1;
    if (op != NULL && op->target != NULL &&
        base == PyBytes_AS_STRING(op->target) + op->filled)
        op->filled += len;
    else if (reader_append(reader, base, len, bytes) < 0)
        return -1;
    return reader_added(reader);
}

/* feed_eof() */
int
yulapy_reader_end(yulapy_reader *reader)
{
    reader->eof = true;
    return reader_wake(reader);
}

/* --- waiting ---------------------------------------------------------------- */

int
yulapy_reader_wait(yulapy_reader *reader, yulapy_stream_op *op)
{
    yulapy_loop *loop = (yulapy_loop *)reader->loop;

    /* Waiting while paused would be for ever. */
    if (reader->paused && reader_resume(reader) < 0)
        return -1;
    if (reader->chunk != NULL &&
        (PyBytes_GET_SIZE(reader->chunk) - reader->chunk_start) *
                READER_CHUNK_WASTE <
            PyBytes_GET_SIZE(reader->chunk) &&
        reader_settle(reader) < 0)
        return -1;
    PyObject *future = yulapy_future_new(loop);
    if (future == NULL)
        return -1;
    Py_SETREF(reader->waiter, Py_NewRef(future));
    Py_XSETREF(op->future, future);
    reader->waiting = op;
    op->woken = false;
    return 0;
}

void
yulapy_reader_wait_ended(yulapy_reader *reader, yulapy_stream_op *op)
{
    if (reader->waiting != op)
        return;
    if ((reader->left && yulapy_reader_fetch(reader) < 0) ||
        (op->target != NULL && reader_settle(reader) < 0))
        PyErr_WriteUnraisable((PyObject *)op);
    if (reader->waiter == op->future)
        Py_SETREF(reader->waiter, Py_NewRef(Py_None));
    reader->waiting = NULL;
}

/* --- attributes ------------------------------------------------------------- */

#define ATTRIBUTE(field) (void *)offsetof(yulapy_reader, field)
#define FIELD(reader, offset)                                                  \
    (*(PyObject **)((char *)(reader) + (Py_ssize_t)(offset)))

/* The name of an attribute that is an object. */
static const char *
reader_object_name(void *offset)
{
    switch ((Py_ssize_t)offset) {
    case offsetof(yulapy_reader, limit):
        return "_limit";
    case offsetof(yulapy_reader, loop):
        return "_loop";
    case offsetof(yulapy_reader, buffer):
        return "_buffer";
    case offsetof(yulapy_reader, waiter):
        return "_waiter";
    case offsetof(yulapy_reader, exception):
        return "_exception";
    default:
        return "_transport";
    }
}

static PyObject *
reader_get_object(PyObject *self, void *offset)
{
    yulapy_reader *reader = yulapy_reader_of(self);
    if (reader == NULL)
        return yulapy_stream_plain_get(self, reader_object_name(offset));
    if (offset == ATTRIBUTE(buffer) && reader_settle(reader) < 0)
        return NULL;
    PyObject *value = FIELD(reader, offset);
    if (value == NULL)
        PyErr_SetString(PyExc_AttributeError, reader_object_name(offset));
    return Py_XNewRef(value);
}

/* Notes what asyncio never does, for which its own methods are then called. */
static void
reader_judge(yulapy_reader *reader)
{
    PyObject *const objects[] = {reader->limit,     reader->loop,
                                 reader->buffer,    reader->waiter,
                                 reader->exception, reader->transport};
    reader->odd = false;
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++)
        if (objects[i] == NULL)
            reader->odd = true;
    if (reader->odd || !PyByteArray_CheckExact(reader->buffer) ||
        !PyObject_TypeCheck(reader->loop, reader->state->loop_type) ||
        !PyLong_CheckExact(reader->limit)) {
        reader->odd = true;
        return;
    }
    reader->limit_bytes = PyLong_AsSsize_t(reader->limit);
    if (reader->limit_bytes == -1 && PyErr_Occurred()) {
        PyErr_Clear(); /* larger than memory */
        reader->limit_bytes = PY_SSIZE_T_MAX;
    }
    if (reader->limit_bytes > PY_SSIZE_T_MAX / 2)
        reader->limit_bytes = PY_SSIZE_T_MAX / 2;
}

static int
reader_set_object(PyObject *self, PyObject *value, void *offset)
{
    yulapy_reader *reader = yulapy_reader_of(self);
    if (reader == NULL)
        return yulapy_stream_plain_set(self, reader_object_name(offset), value);
    if (offset == ATTRIBUTE(buffer) && reader_settle(reader) < 0)
        return -1;
    PyObject *old = FIELD(reader, offset);
    FIELD(reader, offset) = Py_XNewRef(value);
    reader_judge(reader);
    Py_XDECREF(old);
    return 0;
}

static const char *
reader_flag_name(void *offset)
{
    return offset == ATTRIBUTE(eof) ? "_eof" : "_paused";
}

static PyObject *
reader_get_flag(PyObject *self, void *offset)
{
    yulapy_reader *reader = yulapy_reader_of(self);
    if (reader == NULL)
        return yulapy_stream_plain_get(self, reader_flag_name(offset));
    return PyBool_FromLong(*((bool *)reader + (Py_ssize_t)offset));
}

static int
reader_set_flag(PyObject *self, PyObject *value, void *offset)
{
    yulapy_reader *reader = yulapy_reader_of(self);
    if (reader == NULL)
        return yulapy_stream_plain_set(self, reader_flag_name(offset), value);
    int flag = value != NULL ? PyObject_IsTrue(value) : 0;
    if (flag >= 0)
        *((bool *)reader + (Py_ssize_t)offset) = flag > 0;
    return flag >= 0 ? 0 : -1;
}

PyGetSetDef yulapy_reader_attributes[] = {
    {"_limit", reader_get_object, reader_set_object, NULL, ATTRIBUTE(limit)},
    {"_loop", reader_get_object, reader_set_object, NULL, ATTRIBUTE(loop)},
    {"_buffer", reader_get_object, reader_set_object, NULL, ATTRIBUTE(buffer)},
    {"_waiter", reader_get_object, reader_set_object, NULL, ATTRIBUTE(waiter)},
    {"_exception", reader_get_object, reader_set_object, NULL,
     ATTRIBUTE(exception)},
    {"_transport", reader_get_object, reader_set_object, NULL,
     ATTRIBUTE(transport)},
    {"_eof", reader_get_flag, reader_set_flag, NULL, ATTRIBUTE(eof)},
    {"_paused", reader_get_flag, reader_set_flag, NULL, ATTRIBUTE(paused)},
    {NULL},
};

/* --- adopting --------------------------------------------------------------- */

/* Methods that asyncio's reader calls on itself, or our transport on it. */
static const char *const reader_inner_methods[] = {
    "feed_data", "feed_eof",       "set_exception",
    "exception", "_wait_for_data", "_wakeup_waiter",
    "readuntil", "readline",       "_maybe_resume_transport"};

bool
yulapy_reader_shadowed(yulapy_reader *reader)
{
    for (size_t i = 0;
         i < sizeof(reader_inner_methods) / sizeof(reader_inner_methods[0]);
         i++)
        if (PyDict_GetItemString((PyObject *)reader, reader_inner_methods[i]) !=
            NULL)
            return true;
    return false;
}

int
yulapy_reader_adopt(yulapy_state *state, PyObject *object)
{
    PyObject *fields = state->streams->reader_fields;
    PyObject *dict = yulapy_stream_part(object);
    if (dict == NULL)
        return 0;
    PyObject *eof = yulapy_stream_field(dict, fields, YULAPY_READER_EOF);
    PyObject *paused = yulapy_stream_field(dict, fields, YULAPY_READER_PAUSED);
    if (eof == NULL || paused == NULL)
        return 0;
    PyObject *part = PyDict_Type.tp_new(state->streams->reader_part_type,
                                        state->empty_tuple, NULL);
    if (part == NULL)
        return -1;
    yulapy_reader *reader = (yulapy_reader *)part;
    reader->state = state;
#define TAKE(field, i)                                                         \
    reader->field = Py_XNewRef(yulapy_stream_field(dict, fields, i))
    TAKE(limit, YULAPY_READER_LIMIT);
    TAKE(loop, YULAPY_READER_LOOP);
    TAKE(buffer, YULAPY_READER_BUFFER);
    TAKE(waiter, YULAPY_READER_WAITER);
    TAKE(exception, YULAPY_READER_EXCEPTION);
    TAKE(transport, YULAPY_READER_TRANSPORT);
#undef TAKE
    reader->eof = eof == Py_True;
    reader->paused = paused == Py_True;
    reader_judge(reader);
    int adopted = reader->odd ? 0 : 1;
    if (adopted &&
        yulapy_stream_exchange(state->streams, object,
                               state->streams->reader.ours, part, fields) < 0)
        adopted = -1;
    Py_DECREF(part);
    return adopted;
}

/* --- the part's type -------------------------------------------------------- */

static int
reader_traverse(PyObject *self, visitproc visit, void *arg)
{
    yulapy_reader *reader = (yulapy_reader *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(reader->limit);
    Py_VISIT(reader->loop);
    Py_VISIT(reader->buffer);
    Py_VISIT(reader->waiter);
    Py_VISIT(reader->exception);
    Py_VISIT(reader->transport);
    Py_VISIT(reader->chunk);
    return PyDict_Type.tp_traverse(self, visit, arg);
}

static int
reader_clear(PyObject *self)
{
    yulapy_reader *reader = (yulapy_reader *)self;
    reader_unlink(reader);
    reader->odd = true; /* what is left of it is for nobody */
    Py_CLEAR(reader->limit);
    Py_CLEAR(reader->loop);
    Py_CLEAR(reader->buffer);
    Py_CLEAR(reader->waiter);
    Py_CLEAR(reader->exception);
    Py_CLEAR(reader->transport);
    Py_CLEAR(reader->chunk);
    return 0;
}

static int
reader_clear_all(PyObject *self)
{
    (void)reader_clear(self);
    return PyDict_Type.tp_clear(self);
}

void
yulapy_reader_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)reader_clear(self);
    PyDict_Type.tp_dealloc(self);
    Py_DECREF(type);
}

static PyType_Slot reader_part_slots[] = {
    {Py_tp_doc, "The attributes of a StreamReader, in C."},
    {Py_tp_dealloc, yulapy_reader_dealloc},
    {Py_tp_traverse, reader_traverse},
    {Py_tp_clear, reader_clear_all},
    {0, NULL},
};

static PyType_Spec reader_part_spec = {
    .name = "yula._core.ReaderPart",
    .basicsize = sizeof(yulapy_reader),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = reader_part_slots,
};

int
yulapy_reader_add_part_type(PyObject *module, yulapy_state *state)
{
    state->streams->reader_part_type = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &reader_part_spec, (PyObject *)&PyDict_Type);
    return state->streams->reader_part_type != NULL ? 0 : -1;
}
