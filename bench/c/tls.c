#include "tls.h"

#include "die.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

enum {
    RECORD_LEN = 16 * 1024 /* the most that TLS puts into one record */
};

static _Noreturn void
die_tls(const char *what)
{
    char text[256];
    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, text);
    exit(1);
}

tls_context *
tls_context_new(const char *certificates)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL)
        die_tls("SSL_CTX_new");
    if (SSL_CTX_load_verify_file(context, certificates) != 1)
        die_tls(certificates);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_read_ahead(context, 1); /* one recv, not one for each part */
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return (tls_context *)context;
}

tls_stream *
tls_stream_new(tls_context *context, int fd)
{
    SSL *ssl = SSL_new((SSL_CTX *)context);
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1)
        die_tls("SSL_new");
    if (SSL_connect(ssl) != 1)
        die_tls("TLS handshake");
    return (tls_stream *)ssl;
}

void
tls_stream_free(tls_stream *stream)
{
    SSL_free((SSL *)stream);
}

static ssize_t
result(SSL *ssl, int got)
{
    if (got > 0)
        return got;
    switch (SSL_get_error(ssl, got)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        return -1;
    default:
        die_tls("TLS");
    }
}

/* One record at a time, head and body in one. A retry after EAGAIN comes with the same bytes. */
ssize_t
tls_stream_send(tls_stream *stream, const char *head, size_t head_len,
                const char *body, size_t body_len)
{
    static char record[RECORD_LEN];
    SSL *ssl = (SSL *)stream;
    size_t first = head_len < RECORD_LEN ? head_len : RECORD_LEN;
    size_t second = body_len < RECORD_LEN - first ? body_len
                                                  : RECORD_LEN - first;
    memcpy(record, head, first);
    memcpy(record + first, body, second);
    ERR_clear_error();
    return result(ssl, SSL_write(ssl, record, (int)(first + second)));
}

ssize_t
tls_stream_receive(tls_stream *stream, char *buffer, size_t len)
{
    SSL *ssl = (SSL *)stream;
    ERR_clear_error();
    return result(ssl, SSL_read(ssl, buffer, (int)len));
}
