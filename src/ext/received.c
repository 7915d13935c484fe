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
 */
#include "yulapy.h"

/* No more than this many times too large: what a receiver keeps shall not pin
 * much more memory than it says. */
#define SPARE_SLACK 2

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

static bool
spare_fits(const yulapy_loop *loop, size_t len)
{
    PyObject *spare = loop->spare;
    return SPARE_USABLE && spare != NULL && len <= loop->spare_capacity &&
           loop->spare_capacity <= len * SPARE_SLACK && Py_REFCNT(spare) == 1 &&
           bytes_cached_hash(spare) == -1;
}

PyObject *
yulapy_received_bytes(yulapy_loop *loop, const void *base, size_t len)
{
    /* Objects of up to one byte are shared by the interpreter. */
    if (len > 1 && spare_fits(loop, len)) {
        PyObject *spare = Py_NewRef(loop->spare);
        char *data = PyBytes_AS_STRING(spare);
        Py_SET_SIZE((PyVarObject *)spare, (Py_ssize_t)len);
        memcpy(data, base, len);
        data[len] = '\0';
        return spare;
    }
    PyObject *bytes = PyBytes_FromStringAndSize(base, (Py_ssize_t)len);
    if (SPARE_USABLE && bytes != NULL && len > 1) {
        loop->spare_capacity = len;
        Py_XSETREF(loop->spare, Py_NewRef(bytes));
    }
    return bytes;
}
