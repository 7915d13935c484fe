/* tls.h: TLS on a connection, for tasks: the calls of conn.h, encrypted.
 *
 * A library of its own, libyula-tls (pkg-config: yula-tls), on OpenSSL 3; so
 * yula.h does not include this header, which needs none of OpenSSL's.
 *
 * A client believes nobody: the certificate must lead to a trusted one, be valid
 * now, and be made out for the host that was asked for. TLS 1.2 is the oldest
 * version spoken. Sessions are resumed as OpenSSL does it by default.
 *
 * One task reads at a time; any number may write, meanwhile. The rules of await.h
 * apply; a cancelled read loses nothing. An end that the peer did not announce
 * (close_notify) is a failure, YULA_ECUT: who is between the two could have cut
 * the data short.
 */
#ifndef YULA_TLS_H
#define YULA_TLS_H

#include <stddef.h>
#include <sys/types.h>

#include <yula/conn.h>

/* What libyula-tls exports. */
#define YULA_TLS_API YULA_API

YULA_BEGIN

/* OpenSSL's SSL_CTX and SSL. */
struct ssl_ctx_st;
struct ssl_st;

/* --- what went wrong ----------------------------------------------------- */

/* More than the code tells. Complete; written by libyula-tls. */
typedef struct yula_tls_why {
    int code;   /* what the call returned */
    int verify; /* X509_V_ERR_* of a refused certificate; else 0 */
    int alert;  /* the peer's, RFC 8446, 6; -1: none */
    int reserved;
    unsigned long openssl; /* OpenSSL's code; 0: it has none */
    char text[192];        /* for people; never empty after a failure */
} yula_tls_why;

/* --- contexts ------------------------------------------------------------ */

/* What the connections of a client, or of a server, have in common. */
typedef struct yula_tls_context yula_tls_context;

/* For yula_tls_options.min_version. */
#define YULA_TLS_1_2 0x0303
#define YULA_TLS_1_3 0x0304

/* For yula_tls_options.insecure: a client talks to anybody. Encryption without
 * it is no protection: only for tests. */
#define YULA_TLS_INSECURE 0x0bad1deau

/* A handshake that takes longer fails; asyncio's limit. */
#define YULA_TLS_HANDSHAKE_NS (INT64_C(60) * 1000000000)

/* Zeroed means defaults. Checked through size = sizeof(options). File names and
 * PEM; all is copied, or read, before the call returns. */
typedef struct yula_tls_options {
    size_t size;
    /* Our certificate, then those that lead to a trusted one; its key, NULL: in
     * the same file. A server must have one. */
    const char *certificate_file;
    const char *key_file;
    /* Whom to trust. A client: instead of the system's certificates. A server:
     * demand such a certificate of every client (NULL, NULL: ask for none). */
    const char *trust_file;
    const char *trust_folder; /* hashed, see openssl-rehash(1) */
    /* Protocols for ALPN, the best one first, and a NULL. A client offers them; a
     * server chooses, and refuses who offers only others. NULL: no ALPN. */
    const char *const *alpn;
    int64_t handshake_ns; /* limit; 0: YULA_TLS_HANDSHAKE_NS; or YULA_NEVER */
    int min_version;      /* 0: YULA_TLS_1_2 */
    uint32_t insecure;    /* 0, or YULA_TLS_INSECURE */
    void *reserved[8];
} yula_tls_options;

/* Make a context for clients, or for servers. Reads files.
 *
 * options  NULL for defaults (client only).
 * why      NULL, or receives the details of a failure.
 * out      receives the context, given back with yula_tls_context_unref.
 *
 * Returns 0, -ENOMEM, -EINVAL (an option), YULA_ETLS (a file: see why).
 * Thread: any.  Blocks: as reading files does.  Calls back: no.  GIL: not used.
 */
YULA_TLS_API int yula_tls_context_client(const yula_tls_options *options,
                                         yula_tls_why *why,
                                         yula_tls_context **out);
YULA_TLS_API int yula_tls_context_server(const yula_tls_options *options,
                                         yula_tls_why *why,
                                         yula_tls_context **out);

/* Take one more reference; give one back (NULL is fine). Every connection has
 * one. Loops of several threads may share a context.
 *
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_TLS_API yula_tls_context *yula_tls_context_ref(yula_tls_context *context);
YULA_TLS_API void yula_tls_context_unref(yula_tls_context *context);

/* OpenSSL's, for what has no option here; borrowed. To be changed before the
 * first connection. Thread: any. */
YULA_TLS_API struct ssl_ctx_st *
yula_tls_context_openssl(yula_tls_context *context);

/* --- connections --------------------------------------------------------- */

typedef struct yula_tls yula_tls;

/* Look up, connect, and shake hands.
 *
 * host     a name, or an address, that the certificate must be made out for.
 * service  as for getaddrinfo(3).
 * why      NULL, or receives the details of a failure.
 * out      receives the connection.
 *
 * Returns 0; fails as yula_conn_connect and yula_tls_handshake.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_TLS_API int yula_tls_connect(yula_tls_context *context, yula_loop *loop,
                                  const char *host, const char *service,
                                  yula_tls_why *why, yula_tls **out);

/* Plays one connection, as a task of its own, after the handshake. The connection
 * is closed when it returns; what it returns is not looked at. */
typedef int (*yula_tls_serve_cb)(yula_tls *tls, void *arg);

/* As yula_conn_serve, with TLS. Whose handshake fails or takes too long is
 * dropped; who says nothing has cost no memory of OpenSSL's until then.
 *
 * Returns as yula_conn_serve.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: cb, in other tasks.
 * GIL: not used.
 */
YULA_TLS_API int yula_tls_serve(yula_tls_context *context, yula_loop *loop,
                                int fd, yula_tls_serve_cb cb, void *arg);

/* Begin TLS on a connection that exists, at its beginning or in the middle
 * (STARTTLS). yula_tls_handshake must follow.
 *
 * conn  the TLS connection's on success, the caller's on failure. Nobody else may
 *       read from it, or write to it, any more. What it has received already is
 *       taken for TLS: if plain text was expected, and yula_conn_buffered is not
 *       0, somebody may have injected it.
 * host  as for yula_tls_connect; NULL only if the context is YULA_TLS_INSECURE.
 *
 * Returns 0, -ENOMEM, -EINVAL (no host, no name of a host, or the other kind of
 * context).
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_TLS_API int yula_tls_client(yula_tls_context *context, yula_conn *conn,
                                 const char *host, yula_tls **out);
YULA_TLS_API int yula_tls_server(yula_tls_context *context, yula_conn *conn,
                                 yula_tls **out);

/* Shake hands, within the context's time limit. Before that nothing can be read
 * or written. Interrupted, it may be called again.
 *
 * With TLS 1.3 a server's refusal of a client's certificate comes afterwards, as
 * the result of the first read.
 *
 * Returns 0, YULA_ECANCELED, -ETIMEDOUT, -EBUSY (another task is at it); YULA_ECERT
 * (the peer's certificate), YULA_EALERT (the peer refuses), YULA_ETLS (it speaks
 * otherwise), YULA_ECUT, -ENOMEM, or the socket's error.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_TLS_API int yula_tls_handshake(yula_tls *tls);

/* Say goodbye, if that was not done, and close: as yula_conn_close. Nobody may be
 * waiting on the connection. NULL is fine.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_TLS_API void yula_tls_close(yula_tls *tls);

/* Close at once, without a word: the peer must take it for a failure. Otherwise as
 * yula_tls_close. */
YULA_TLS_API void yula_tls_abort(yula_tls *tls);

/* --- reading ------------------------------------------------------------- */

/* These are as the functions of conn.h; they fail with YULA_ECUT, YULA_EALERT,
 * YULA_ETLS as well, and with -ENOTCONN before the handshake. YULA_EOF: the peer
 * has said goodbye.
 *
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_TLS_API ssize_t yula_tls_read(yula_tls *tls, void *base, size_t len);
YULA_TLS_API int yula_tls_read_exactly(yula_tls *tls, void *base, size_t len,
                                       size_t *got);
YULA_TLS_API ssize_t yula_tls_read_until(yula_tls *tls, const void *delimiter,
                                         size_t delimiter_len, char **out);
YULA_TLS_API ssize_t yula_tls_read_line(yula_tls *tls, char **out);

/* As yula_conn_set_limit. Thread: loop. */
YULA_TLS_API void yula_tls_set_limit(yula_tls *tls, size_t limit);

/* --- writing ------------------------------------------------------------- */

/* Write all of it; wait while the queue is above the high mark. As
 * yula_conn_write, from which up to YULA_STREAM_HIGH bytes are written whole or,
 * when interrupted, not at all.
 *
 * Returns 0, YULA_ECANCELED, -ENOMEM, -EPIPE (after yula_tls_shutdown), -ENOTCONN
 * (before the handshake), or what the connection has failed with, each time again.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_TLS_API int yula_tls_write(yula_tls *tls, const void *base, size_t len);

/* As yula_conn_drain. */
YULA_TLS_API int yula_tls_drain(yula_tls *tls);

/* Say goodbye (close_notify) after what was written. The other half can still be
 * read.
 *
 * Returns 0, -EALREADY, -ENOTCONN, or what the connection has failed with.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_TLS_API int yula_tls_shutdown(yula_tls *tls);

/* Say goodbye, if that was not done, and wait for the peer's; what it sends until
 * then is dropped. Then both know that the other has had all.
 *
 * timeout_ns  from now.
 *
 * Returns 0, YULA_ECANCELED, -ETIMEDOUT, -EBUSY (another task reads), or what the
 * connection fails with: YULA_ECUT when the peer left without a word.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_TLS_API int yula_tls_finish(yula_tls *tls, int64_t timeout_ns);

/* --- looking ------------------------------------------------------------- */

/* What the connection has failed with; code 0: it has not. Valid as long as the
 * connection. Thread: loop. */
YULA_TLS_API const yula_tls_why *yula_tls_failure(const yula_tls *tls);

/* What was agreed upon, "" where nothing was: "TLSv1.3"; OpenSSL's name of the
 * ciphers; the protocol (ALPN); the name of the host that the client asked for.
 * Valid as long as the connection. Thread: loop. */
YULA_TLS_API const char *yula_tls_version(const yula_tls *tls);
YULA_TLS_API const char *yula_tls_cipher(const yula_tls *tls);
YULA_TLS_API const char *yula_tls_alpn(const yula_tls *tls);
YULA_TLS_API const char *yula_tls_host(const yula_tls *tls);

/* The connection underneath (its owner is this one), and OpenSSL's; borrowed.
 * OpenSSL's functions may be called on the latter between two calls of this
 * header, those that read, write, shake hands or exchange the BIO excepted.
 * Thread: loop. */
YULA_TLS_API yula_conn *yula_tls_conn(yula_tls *tls);
YULA_TLS_API struct ssl_st *yula_tls_openssl(yula_tls *tls);

YULA_END

#endif /* YULA_TLS_H */
