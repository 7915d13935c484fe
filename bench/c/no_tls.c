#include "die.h"
#include "tls.h"

static const char WHY[] =
    "built without OpenSSL (Debian: libssl-dev, pkg-config)";

tls_context *
tls_context_new(const char *certificates)
{
    (void)certificates;
    die(WHY);
}

tls_stream *
tls_stream_new(tls_context *context, int fd)
{
    (void)context;
    (void)fd;
    die(WHY);
}

void
tls_stream_free(tls_stream *stream)
{
    (void)stream;
}

ssize_t
tls_stream_send(tls_stream *stream, const char *head, size_t head_len,
                const char *body, size_t body_len)
{
    (void)stream;
    (void)head;
    (void)head_len;
    (void)body;
    (void)body_len;
    die(WHY);
}

ssize_t
tls_stream_receive(tls_stream *stream, char *buffer, size_t len)
{
    (void)stream;
    (void)buffer;
    (void)len;
    die(WHY);
}
