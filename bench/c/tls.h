/* tls.h: the load client's side of TLS 1.3. tls.c is built where OpenSSL's headers are, else
 * no_tls.c, which says so when TLS is asked for. */
#ifndef BENCH_TLS_H
#define BENCH_TLS_H

#include "wire.h"

/* certificates: a PEM file; a server whose certificate does not come from it is refused. */
tls_context *tls_context_new(const char *certificates);

/* The handshake is done when this returns (on a blocking socket), or the program has ended. */
tls_stream *tls_stream_new(tls_context *context, int fd);

void tls_stream_free(tls_stream *stream);

/* As wire_send and wire_receive. */
ssize_t tls_stream_send(tls_stream *stream, const char *head, size_t head_len,
                        const char *body, size_t body_len);
ssize_t tls_stream_receive(tls_stream *stream, char *buffer, size_t len);

#endif
