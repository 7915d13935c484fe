/* err.h: result codes, and the macros every other header needs.
 *
 * A function that can fail returns 0 or a count on success, and on failure a
 * negative number: a negated errno (-ENOMEM, -ECONNRESET ...) or one of the
 * codes below. Nothing is reported through errno or a "last error".
 */
#ifndef YULA_ERR_H
#define YULA_ERR_H

#include <stdint.h>

#ifdef __cplusplus
#define YULA_BEGIN extern "C" {
#define YULA_END }
#else
#define YULA_BEGIN
#define YULA_END
#endif

#define YULA_API __attribute__((visibility("default")))

/* Of these headers; yula_version tells that of the library. */
#define YULA_VERSION_MAJOR 0
#define YULA_VERSION_MINOR 1
#define YULA_VERSION_PATCH 0

/* A deadline that never comes. Comparing and taking minimums need no special
 * case. */
#define YULA_NEVER INT64_MAX

/* name, number, text. Numbers lie outside errno's range (1 to 4095). The
 * getaddrinfo codes are YULA_EAI_BASE plus libc's EAI_* value (negative on
 * Linux), see resolve.h. */
#define YULA_ERR_LIST(X)                                                       \
    X(YULA_EOF, -5000, "end of stream")                                        \
    X(YULA_ECLOSED, -5001, "the loop is closed")                               \
    X(YULA_ECANCELED, -5002, "cancelled by its owner")                         \
    X(YULA_ETLS, -5003, "TLS failed")                                          \
    X(YULA_EALERT, -5004, "the peer refused, by a TLS alert")                  \
    X(YULA_ECERT, -5005, "the peer's certificate is not accepted")             \
    X(YULA_ECUT, -5006, "the TLS connection was cut off")

enum {
#define YULA_ERR_ENUM(name, number, text) name = (number),
    YULA_ERR_LIST(YULA_ERR_ENUM)
#undef YULA_ERR_ENUM
    YULA_EAI_BASE = -6000
};

YULA_BEGIN

/* The text of a code, from the list above, from strerror or gai_strerror.
 *
 * Returns a static string, never NULL; valid until the process ends.
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API const char *yula_strerror(int code);

/* The version of the library that runs: "0.1.0". Static.
 *
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API const char *yula_version(void);

YULA_END

#endif /* YULA_ERR_H */
