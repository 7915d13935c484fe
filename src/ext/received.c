/* received.c: bytes objects for received data, which are used again.
 *
 * A bytes object above pymalloc's 512 bytes costs a malloc and a free on glibc's
 * slow path (700 instructions at 1 KiB, fresh pages to fault in at 100 KiB). So
 * the loop keeps a reference to those it made, and if nobody else has one when
 * the next is needed, fills that one anew.
 *
 *  I1. An object is filled anew only if ours is the only reference and it was
 *      never hashed (its hash is cached in it): nobody can tell it was there.
 *  I2. capacity is what was allocated; the object's size may be smaller.
 *
 * Small ones stand in a ring, the shelf, because it differs when a receiver is
 * done with its data: when data_received() returns; when what it echoed is sent,
 * which is after up to 16 more (ahead.c); or when a task has read again, which
 * is after all other connections. So the last two are looked at, and the oldest.
 * Of large ones the last is kept (spare), of at most YULA_STREAM_READ_MAX bytes.
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

/* --- the shelf ----------------------------------------------------------------- */

/* With 128 and 100 tasks that read, half of the oldest were still in use. */
#define SHELF_SIZE 256u
/* Large objects have fewer places. */
#define SHELF_BYTES (512u * 1024u)
/* Below, pymalloc is as quick; above, the copy is what costs. */
#define SHELF_MIN 480u
#define SHELF_MAX (16u * 1024u)

typedef struct {
    PyObject *bytes;
    size_t capacity;
} shelf_place;

struct yulapy_shelf {
    unsigned next;
    shelf_place places[SHELF_SIZE];
};

static bool
shelf_fits(const shelf_place *place, size_t len)
{
    return bytes_fits(place->bytes, place->capacity, len);
}

/* The object in the place that is due, if it may be filled with len bytes. The
 * last two are warmer than the one that stood there: they change places. */
static PyObject *
shelf_find(struct yulapy_shelf *shelf, unsigned due, unsigned size, size_t len)
{
    shelf_place *place = &shelf->places[due];
    shelf_place *warm = &shelf->places[(due != 0 ? due : size) - 1];

    if (!shelf_fits(warm, len)) {
        if (shelf_fits(place, len))
            return place->bytes;
        warm = &shelf->places[(due + size - 2) % size];
        if (!shelf_fits(warm, len))
            return NULL;
    }
    shelf_place oldest = *place;
    *place = *warm;
    *warm = oldest;
    return place->bytes;
}

static PyObject *
shelf_bytes(yulapy_loop *loop, const void *base, size_t len)
{
    struct yulapy_shelf *shelf = loop->shelf;
    if (shelf == NULL) {
        shelf = loop->shelf = PyMem_Calloc(1, sizeof(*shelf));
        if (shelf == NULL)
            return PyErr_NoMemory();
    }
    unsigned size = len > SHELF_BYTES / SHELF_SIZE ? SHELF_BYTES / (unsigned)len
                                                   : SHELF_SIZE;
    unsigned due = shelf->next++ % size;
    PyObject *bytes = shelf_find(shelf, due, size, len);
    if (bytes != NULL)
        return bytes_fill(bytes, base, len);
    bytes = PyBytes_FromStringAndSize(base, (Py_ssize_t)len);
    if (bytes != NULL) {
        shelf->places[due].capacity = len;
        Py_XSETREF(shelf->places[due].bytes, Py_NewRef(bytes));
    }
    return bytes;
}

PyObject *
yulapy_received_bytes(yulapy_loop *loop, const void *base, size_t len)
{
    if (!SPARE_USABLE || len < SHELF_MIN)
        return PyBytes_FromStringAndSize(base, (Py_ssize_t)len);
    if (len <= SHELF_MAX)
        return shelf_bytes(loop, base, len);
    if (bytes_fits(loop->spare, loop->spare_capacity, len))
        return bytes_fill(loop->spare, base, len);
    PyObject *bytes = PyBytes_FromStringAndSize(base, (Py_ssize_t)len);
    if (bytes != NULL) {
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
        return yulapy_received_bytes(loop, base, len);
    Py_SET_SIZE((PyVarObject *)bytes, (Py_ssize_t)len);
    base[len] = '\0';
    return Py_NewRef(bytes);
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
