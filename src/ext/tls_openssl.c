/* tls_openssl.c: records by OpenSSL's own functions, without the ssl module.
 *
 * The functions are those of the library that Python's _ssl module is linked
 * with: they are looked up through its handle, so there is no second OpenSSL in
 * the process and none is needed to build yula. Which SSL belongs to an object of
 * Python's is found without reading any of CPython's structs: OpenSSL calls
 * capture_new for each SSL that is made, and CPython stores its own object in the
 * SSL's first ex_data slot, which tells them apart and is the check.
 *
 * In front of CPython's two memory BIOs stands one of ours. While a step of ours
 * runs it reads what was received where it lies, and writes to the loop's room; at
 * any other time it passes everything on to the memory BIOs. So the methods of
 * Python's objects can be called at any moment, and find what they expect.
 *
 *  I1. channel->room is NULL while no step of ours runs.
 *  I2. What a step did not use, or did not send, is in the memory BIOs after it.
 *  I3. No Python runs in a step, but callbacks of the SSL_CTX, which CPython's
 *      _ssl module enters by PyGILState_Ensure: the main interpreter only.
 *  I4. OpenSSL's queue of errors is empty before a step. After TLS_ODD it holds
 *      the cause, because the SSL remembers only that it has failed: _ssl's method
 *      fails at once and finds it.
 */
#include <dlfcn.h>
#include <pthread.h>

#include "tls.h"

/* openssl/bio.h, ssl.h, crypto.h; part of the ABI since 1.1.0. */
#define BIO_FLAGS_READ 0x01
#define BIO_FLAGS_WRITE 0x02
#define BIO_FLAGS_RWS 0x07
#define BIO_FLAGS_SHOULD_RETRY 0x08
#define BIO_CTRL_FLUSH 11
#define BIO_TYPE_MEM (1 | 0x0400)
#define BIO_TYPE_SOURCE_SINK 0x0400
#define SSL_ERROR_WANT_READ 2
#define SSL_ERROR_ZERO_RETURN 6
#define CRYPTO_EX_INDEX_SSL 0

typedef void tls_ex_new(void *, void *, void *, int, long, void *);
typedef int tls_ex_dup(void *, const void *, void *, void *, int, long, void *);

/* clang-format off */
#define OPENSSL_FUNCTIONS(X)                                                   \
    X(unsigned long, OpenSSL_version_num, (void))                              \
    X(const char *, OpenSSL_version, (int))                                    \
    X(int, CRYPTO_get_ex_new_index,                                            \
      (int, long, void *, tls_ex_new *, tls_ex_dup *, tls_ex_new *))           \
    X(void, ERR_clear_error, (void))                                           \
    X(void *, SSL_get_ex_data, (const void *, int))                            \
    X(int, SSL_read, (void *, void *, int))                                    \
    X(int, SSL_write, (void *, const void *, int))                             \
    X(int, SSL_pending, (const void *))                                        \
    X(int, SSL_get_error, (const void *, int))                                 \
    X(void *, SSL_get_rbio, (const void *))                                    \
    X(void *, SSL_get_wbio, (const void *))                                    \
    X(void, SSL_set0_rbio, (void *, void *))                                   \
    X(void, SSL_set0_wbio, (void *, void *))                                   \
    X(int, BIO_get_new_index, (void))                                          \
    X(void *, BIO_meth_new, (int, const char *))                               \
    X(int, BIO_meth_set_read_ex,                                               \
      (void *, int (*)(void *, char *, size_t, size_t *)))                     \
    X(int, BIO_meth_set_write_ex,                                              \
      (void *, int (*)(void *, const char *, size_t, size_t *)))               \
    X(int, BIO_meth_set_ctrl, (void *, long (*)(void *, int, long, void *)))   \
    X(int, BIO_meth_set_destroy, (void *, int (*)(void *)))                    \
    X(void *, BIO_new, (const void *))                                         \
    X(int, BIO_free, (void *))                                                 \
    X(int, BIO_up_ref, (void *))                                               \
    X(int, BIO_method_type, (const void *))                                    \
    X(void, BIO_set_data, (void *, void *))                                    \
    X(void *, BIO_get_data, (void *))                                          \
    X(void, BIO_set_init, (void *, int))                                       \
    X(void, BIO_set_flags, (void *, int))                                      \
    X(void, BIO_clear_flags, (void *, int))                                    \
    X(int, BIO_test_flags, (const void *, int))                                \
    X(int, BIO_read_ex, (void *, void *, size_t, size_t *))                    \
    X(int, BIO_write_ex, (void *, const void *, size_t, size_t *))             \
    X(long, BIO_ctrl, (void *, int, long, void *))                             \
    X(size_t, BIO_ctrl_pending, (void *))
/* clang-format on */

/* Of the process, and without Python objects: all interpreters share _ssl's
 * library. Written once, under the lock. */
static struct {
    pthread_mutex_t lock;
    bool tried, usable;
    void *method; /* BIO_METHOD of our BIO */
#define FUNCTION(type, name, args) type(*name) args;
    OPENSSL_FUNCTIONS(FUNCTION)
#undef FUNCTION
} lib = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct yulapy_tls_channel {
    void *bio;
    void *in_next, *out_next; /* CPython's memory BIOs */
    const char *in;           /* received, not yet read */
    size_t in_len;
    struct yulapy_tls_room *room; /* I1 */
};

/* --- capture ------------------------------------------------------------------ */

static _Thread_local void *captured;

/* In SSL_new: the interpreter lock is not held. */
static void
capture_new(void *parent, void *ptr, void *ad, int index, long argl, void *argp)
{
    captured = parent;
}

static void
capture_free(void *parent, void *ptr, void *ad, int index, long argl,
             void *argp)
{
    if (captured == parent)
        captured = NULL;
}

void
yulapy_tls_capture_begin(void)
{
    captured = NULL;
}

void *
yulapy_tls_capture_take(PyObject *ssl_socket)
{
    void *ssl = captured;
    captured = NULL;
    return ssl != NULL && lib.usable &&
                   lib.SSL_get_ex_data(ssl, 0) == ssl_socket
               ? ssl
               : NULL;
}

/* --- our BIO ------------------------------------------------------------------ */

/* What the next BIO says about trying again. */
static void
channel_copy_retry(void *bio, void *next)
{
    lib.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    lib.BIO_set_flags(
        bio, lib.BIO_test_flags(next, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY));
}

static int
channel_read(void *bio, char *base, size_t len, size_t *count)
{
    yulapy_tls_channel *channel = lib.BIO_get_data(bio);

    if (channel->room == NULL) {
        int ok = lib.BIO_read_ex(channel->in_next, base, len, count);
        channel_copy_retry(bio, channel->in_next);
        return ok;
    }
    if (len > channel->in_len)
        len = channel->in_len;
    *count = len;
    if (len == 0) {
        lib.BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
        return 0;
    }
    lib.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    memcpy(base, channel->in, len);
    channel->in += len;
    channel->in_len -= len;
    return 1;
}

static int
channel_write(void *bio, const char *base, size_t len, size_t *count)
{
    yulapy_tls_channel *channel = lib.BIO_get_data(bio);
    struct yulapy_tls_room *room = channel->room;

    if (room == NULL) {
        int ok = lib.BIO_write_ex(channel->out_next, base, len, count);
        channel_copy_retry(bio, channel->out_next);
        return ok;
    }
    lib.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
    if (yulapy_tls_room_reserve(room, len) < 0)
        return 0; /* the connection fails, as CPython's BIO would have it */
    memcpy(room->out + room->out_len, base, len);
    room->out_len += len;
    *count = len;
    return 1;
}

static long
channel_ctrl(void *bio, int command, long number, void *pointer)
{
    yulapy_tls_channel *channel = lib.BIO_get_data(bio);
    if (command == BIO_CTRL_FLUSH)
        return 1;
    return lib.BIO_ctrl(channel->in_next, command, number, pointer);
}

static int
channel_destroy(void *bio)
{
    yulapy_tls_channel *channel = lib.BIO_get_data(bio);
    if (channel != NULL) {
        lib.BIO_free(channel->in_next);
        lib.BIO_free(channel->out_next);
        PyMem_RawFree(channel);
    }
    return 1;
}

int
yulapy_tls_attach(yulapy_tls *tls)
{
    void *in_next = lib.SSL_get_rbio(tls->ssl);
    void *out_next = lib.SSL_get_wbio(tls->ssl);

    if (in_next == NULL || out_next == NULL ||
        lib.BIO_method_type(in_next) != BIO_TYPE_MEM ||
        lib.BIO_method_type(out_next) != BIO_TYPE_MEM)
        return -1;
    void *bio = lib.BIO_new(lib.method);
    yulapy_tls_channel *channel = PyMem_RawCalloc(1, sizeof(*channel));
    if (bio == NULL || channel == NULL) {
        if (bio != NULL)
            lib.BIO_free(bio);
        PyMem_RawFree(channel);
        return -1;
    }
    *channel = (yulapy_tls_channel){
        .bio = bio, .in_next = in_next, .out_next = out_next};
    lib.BIO_up_ref(in_next);
    lib.BIO_up_ref(out_next);
    lib.BIO_set_data(bio, channel);
    lib.BIO_set_init(bio, 1);
    lib.BIO_up_ref(bio); /* one for each direction, and ours */
    lib.BIO_up_ref(bio);
    lib.SSL_set0_rbio(tls->ssl, bio);
    lib.SSL_set0_wbio(tls->ssl, bio);
    tls->channel = channel;
    return 0;
}

void
yulapy_tls_detach(yulapy_tls *tls)
{
    yulapy_tls_channel *channel = tls->channel;

    if (channel == NULL)
        return;
    tls->channel = NULL;
    if (lib.SSL_get_rbio(tls->ssl) == channel->bio) {
        lib.BIO_up_ref(channel->in_next);
        lib.SSL_set0_rbio(tls->ssl, channel->in_next);
    }
    if (lib.SSL_get_wbio(tls->ssl) == channel->bio) {
        lib.BIO_up_ref(channel->out_next);
        lib.SSL_set0_wbio(tls->ssl, channel->out_next);
    }
    lib.BIO_free(channel->bio);
}

/* --- steps -------------------------------------------------------------------- */

static void
step_begin(yulapy_tls *tls, struct yulapy_tls_room *room, const char *in,
           size_t in_len)
{
    tls->channel->in = in;
    tls->channel->in_len = in_len;
    tls->channel->room = room;
    lib.ERR_clear_error();
}

/* I2 */
static int
step_end(yulapy_tls *tls)
{
    yulapy_tls_channel *channel = tls->channel;
    size_t count;

    channel->room = NULL;
    if (channel->in_len == 0 || lib.BIO_write_ex(channel->in_next, channel->in,
                                                 channel->in_len, &count))
        return 0;
    PyErr_NoMemory();
    return -1;
}

static tls_result
direct_read(yulapy_tls *tls, const char *base, size_t len, char *plain,
            size_t size, size_t *count)
{
    struct yulapy_tls_room *room = yulapy_tls_room_of(yulapy_tls_loop(tls));
    tls_result result;
    size_t total = 0;

    if (room == NULL)
        return TLS_RAISED;
    step_begin(tls, room, base, len);
    for (;;) {
        size_t want = size - total;
        int n = lib.SSL_read(tls->ssl, plain + total,
                             want < INT_MAX ? (int)want : INT_MAX);
        if (n <= 0) {
            int error = lib.SSL_get_error(tls->ssl, n);
            result = error == SSL_ERROR_WANT_READ     ? TLS_DONE
                     : error == SSL_ERROR_ZERO_RETURN ? TLS_ENDED
                                                      : TLS_ODD;
            break;
        }
        total += (size_t)n;
        /* Asking once more, to be told that there is nothing, costs 0.2 us. */
        if (tls->channel->in_len == 0 && lib.SSL_pending(tls->ssl) == 0) {
            result = TLS_DONE;
            break;
        }
        if (total == size) {
            result = TLS_FULL;
            break;
        }
    }
    *count = total;
    return step_end(tls) == 0 ? result : TLS_RAISED;
}

static tls_result
direct_write(yulapy_tls *tls, const char *base, size_t len, size_t *written)
{
    struct yulapy_tls_room *room = yulapy_tls_room_of(yulapy_tls_loop(tls));
    tls_result result = TLS_DONE;
    size_t done = 0;

    if (room == NULL)
        return TLS_RAISED;
    step_begin(tls, room, NULL, 0);
    while (done < len) {
        size_t rest = len - done;
        int n = lib.SSL_write(tls->ssl, base + done,
                              rest < INT_MAX ? (int)rest : INT_MAX);
        if (n <= 0) {
            result = TLS_ODD;
            break;
        }
        done += (size_t)n; /* one record: SSL_MODE_ENABLE_PARTIAL_WRITE */
    }
    *written = done;
    return step_end(tls) == 0 ? result : TLS_RAISED;
}

static Py_ssize_t
direct_pending(yulapy_tls *tls, bool outgoing)
{
    yulapy_tls_channel *channel = tls->channel;
    return (Py_ssize_t)lib.BIO_ctrl_pending(outgoing ? channel->out_next
                                                     : channel->in_next);
}

static int
direct_take(yulapy_tls *tls, const char **base, size_t *len, PyObject **owner)
{
    struct yulapy_tls_room *room = ((yulapy_loop *)tls->loop)->tls_room;
    *owner = NULL;
    *base = room->out;
    *len = room->out_len;
    room->out_len = 0;
    return 0;
}

static int
direct_settle(yulapy_tls *tls)
{
    struct yulapy_tls_room *room = ((yulapy_loop *)tls->loop)->tls_room;
    size_t count, len = room->out_len;

    room->out_len = 0;
    if (len == 0 ||
        lib.BIO_write_ex(tls->channel->out_next, room->out, len, &count))
        return 0;
    PyErr_NoMemory();
    return -1;
}

const tls_engine yulapy_tls_direct_engine = {"direct",     direct_read,
                                             direct_write, direct_pending,
                                             direct_take,  direct_settle};

/* --- finding the library -------------------------------------------------------- */

/* Whether it is the library that the ssl module speaks of, and none that only
 * resembles it (LibreSSL, BoringSSL, AWS-LC). */
static bool
library_is(unsigned long version)
{
    const char *text = lib.OpenSSL_version(0);
    return lib.OpenSSL_version_num() >> 28 == version >> 28 && version != 0 &&
           strncmp(text, "OpenSSL ", 8) == 0 &&
           strstr(text, "compatible") == NULL;
}

static bool
library_open(const char *path, unsigned long version)
{
    void *handle = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    bool complete = true;

    if (handle == NULL)
        return false;
    /* dlsym searches exactly the libraries that _ssl is linked with. ISO C has
     * no conversion of a void pointer to a function's: POSIX says this works. */
#define FUNCTION(type, name, args)                                             \
    *(void **)&lib.name = dlsym(handle, #name);                                \
    complete &= lib.name != NULL;
    OPENSSL_FUNCTIONS(FUNCTION)
#undef FUNCTION
    if (!complete || !library_is(version))
        return false;
    int type = lib.BIO_get_new_index();
    lib.method = type > 0
                     ? lib.BIO_meth_new(type | BIO_TYPE_SOURCE_SINK, "yula")
                     : NULL;
    return lib.method != NULL &&
           lib.BIO_meth_set_read_ex(lib.method, channel_read) &&
           lib.BIO_meth_set_write_ex(lib.method, channel_write) &&
           lib.BIO_meth_set_ctrl(lib.method, channel_ctrl) &&
           lib.BIO_meth_set_destroy(lib.method, channel_destroy) &&
           lib.CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, NULL,
                                       capture_new, NULL, capture_free) > 0;
}

bool
yulapy_tls_library(const char *path, unsigned long version)
{
    pthread_mutex_lock(&lib.lock);
    if (!lib.tried) {
        lib.tried = true;
        lib.usable = library_open(path, version);
    }
    bool usable = lib.usable;
    pthread_mutex_unlock(&lib.lock);
    return usable;
}
