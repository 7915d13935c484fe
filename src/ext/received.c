/* received.c: bytes objects for received data, with the last one used again.
 *
 * Most receivers are done with their data when data_received() returns. A bytes
 * object above pymalloc's 512 bytes then costs a malloc and a free on glibc's
 * slow path (about 500 instructions at 1 KiB, fresh pages to fault in at 100
 * KiB). So the loop keeps a reference to the last object it made, and if nobody
 * else has one when the next is needed, fills that one anew.
 *
 *  I1. An object is filled anew only if ours is the only reference and it was
 *      never hashed (its hash is cached in it): nobody can tell it was there.
 *  I2. capacity is what was allocated for spare; its size may be smaller.
 * At most one object a loop is kept, of at most YULA_STREAM_READ_MAX bytes.
 *
 * A task that reads from a stream drops what it read when it has read again: the
 * last object is in use then, the one before it on a busy connection is not, and
 * with many connections one of some time ago. So for them a ring of small
 * objects is kept, as many as SHELF_SIZE, and of it the one before the last and
 * the oldest are looked at.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "tls.h"

/* No more than this many times too large: what a receiver keeps shall not pin
 * much more memory than it says. */
#define SPARE_SLACK 2

/* From here on a bytes object that may turn out too large is received into: a
 * copy costs more. See docs/performance.md, "Memory". */
#define RECEIVED_DIRECT_MIN (32u * 1024u)

/* See keep_large_blocks. With 1 MiB, 100 readers of 100 KiB still faulted. */
#define KEPT_BLOCK (4u * 1024u * 1024u)

#if defined(Py_GIL_DISABLED)
/* The reference count is split between threads: always make a new one. */
#define SPARE_USABLE 0
#else
#define SPARE_USABLE 1
#endif

/* ob_shash is public but deprecated; there is no other way to ask. */
static inline Py_hash_t
bytes_cached_hash(PyObject *bytes)
{
    _Py_COMP_DIAG_PUSH _Py_COMP_DIAG_IGNORE_DEPR_DECLS return (
        (PyBytesObject *)bytes)
        ->ob_shash;
    _Py_COMP_DIAG_POP
}

static inline bool
bytes_fits(PyObject *spare, size_t capacity, size_t len)
{
    return SPARE_USABLE && spare != NULL && len <= capacity &&
           capacity <= len * SPARE_SLACK && Py_REFCNT(spare) == 1 &&
           bytes_cached_hash(spare) == -1;
}

static PyObject *
bytes_fill(PyObject *spare, const void *base, size_t len)
{
    char *data = PyBytes_AS_STRING(spare);
    Py_SET_SIZE((PyVarObject *)spare, (Py_ssize_t)len);
    memcpy(data, base, len);
    data[len] = '\0';
    return Py_NewRef(spare);
}

PyObject *
yulapy_received_bytes(yulapy_loop *loop, const void *base, size_t len)
{
    /* Objects of up to one byte are shared by the interpreter. */
    if (len > 1 && bytes_fits(loop->spare, loop->spare_capacity, len))
        return bytes_fill(loop->spare, base, len);
    PyObject *bytes = PyBytes_FromStringAndSize(base, (Py_ssize_t)len);
    if (SPARE_USABLE && bytes != NULL && len > 1) {
        loop->spare_capacity = len;
        Py_XSETREF(loop->spare, Py_NewRef(bytes));
    }
    return bytes;
}

/* --- right from the socket --------------------------------------------------- */

/* glibc maps and unmaps each block above 128 KiB, and gives the end of its heap
 * back as soon as that much of it is free: pages to fault in at every large read.
 * Both limits rise to what was seen freed (mallopt(3), M_MMAP_THRESHOLD), unless
 * the user has set them; so let it see a block, which is never touched. From then
 * on up to twice as much stays with the process. */
static void
keep_large_blocks(void)
{
#if defined(__GLIBC__)
    static atomic_flag seen = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&seen)) {
        void *volatile block = malloc(KEPT_BLOCK);
        free(block);
    }
#endif
}

/* A bytes object of that size with nothing in it yet, which is the spare one if
 * there may be one. Borrowed. */
static PyObject *
bytes_room(yulapy_loop *loop, size_t len)
{
    if (bytes_fits(loop->spare, loop->spare_capacity, len))
        return loop->spare;
    keep_large_blocks();
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)len);
    if (bytes != NULL) {
        loop->spare_capacity = len;
        Py_XSETREF(loop->spare, bytes);
    }
    return bytes;
}

PyObject *
yulapy_received_from(yulapy_loop *loop, yula_stream *stream, size_t max,
                     size_t expected)
{
    bool direct = SPARE_USABLE && expected >= RECEIVED_DIRECT_MIN &&
                  max <= expected * SPARE_SLACK;
    PyObject *bytes = NULL;
    char *base;

    if (direct) {
        bytes = bytes_room(loop, max);
        base = bytes != NULL ? PyBytes_AS_STRING(bytes) : NULL;
    }
    else {
        base = yula_loop_read_buffer(loop->core);
    }
    if (base == NULL) {
        if (!direct)
            PyErr_NoMemory();
        return NULL;
    }
    size_t len = yula_stream_take(stream, base, max);
    if (len == 0)
        return NULL;
    if (!direct || len < loop->spare_capacity / SPARE_SLACK)
        return yulapy_received_shelf_bytes(loop, base, len);
    Py_SET_SIZE((PyVarObject *)bytes, (Py_ssize_t)len);
    base[len] = '\0';
    return Py_NewRef(bytes);
}

/* --- for streams ------------------------------------------------------------- */

#define SHELF_SIZE 128u
/* Below, pymalloc is as quick; above, the copy is what costs. */
#define SHELF_MIN 480u

struct yulapy_shelf {
    unsigned next;
    struct {
        PyObject *bytes;
        size_t capacity;
    } places[SHELF_SIZE];
};

PyObject *
yulapy_received_shelf_bytes(yulapy_loop *loop, const void *base, size_t len)
{
    if (!SPARE_USABLE || len < SHELF_MIN || len > YULAPY_SHELF_MAX)
        return PyBytes_FromStringAndSize(base, (Py_ssize_t)len);
    struct yulapy_shelf *shelf = loop->shelf;
    if (shelf == NULL) {
        shelf = loop->shelf = PyMem_Calloc(1, sizeof(*shelf));
        if (shelf == NULL)
            return PyErr_NoMemory();
    }
    unsigned place = shelf->next++ % SHELF_SIZE;
    unsigned recent = (place - 2) % SHELF_SIZE;
    PyObject *old = shelf->places[place].bytes;
    if (bytes_fits(shelf->places[recent].bytes, shelf->places[recent].capacity,
                   len)) {
        /* The oldest takes its place. */
        size_t capacity = shelf->places[place].capacity;
        shelf->places[place] = shelf->places[recent];
        shelf->places[recent].bytes = old;
        shelf->places[recent].capacity = capacity;
        return bytes_fill(shelf->places[place].bytes, base, len);
    }
    if (bytes_fits(old, shelf->places[place].capacity, len))
        return bytes_fill(old, base, len);
    PyObject *bytes = PyBytes_FromStringAndSize(base, (Py_ssize_t)len);
    if (bytes != NULL) {
        shelf->places[place].bytes = Py_NewRef(bytes);
        shelf->places[place].capacity = len;
        Py_XDECREF(old);
    }
    return bytes;
}

void
yulapy_received_drop(yulapy_loop *loop)
{
    struct yulapy_shelf *shelf = loop->shelf;

    yulapy_tls_room_drop(loop);
    Py_CLEAR(loop->spare);
    loop->shelf = NULL;
    for (unsigned i = 0; shelf != NULL && i < SHELF_SIZE; i++)
        Py_XDECREF(shelf->places[i].bytes);
    PyMem_Free(shelf);
}
