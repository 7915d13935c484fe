/* channel.c: between OpenSSL and the connection: a BIO, and steps (tls_i.h, I1).
 * Thread: loop.
 */
#include <stdio.h>

#include "tls_i.h"

/* What the loop's read buffer has room for. */
#define CHANNEL_OUT_MAX YULA_STREAM_READ_MAX

/* --- the BIO ------------------------------------------------------------- */

static int
channel_read(BIO *bio, char *base, size_t len, size_t *count)
{
    yula_tls *tls = BIO_get_data(bio);
    ssize_t n = yula_conn_try_read(tls->conn, base, len);

    BIO_clear_retry_flags(bio);
    tls->more = n > 0 && (size_t)n == len;
    if (n > 0) {
        *count = (size_t)n;
        return 1;
    }
    if (n == -EAGAIN)
        BIO_set_retry_read(bio);
    else if (n == YULA_EOF)
        tls->ended = true;
    else
        tls->io = (int)n;
    return 0;
}

/* Whatever its length: who writes has waited for room. What OpenSSL answers on
 * its own comes on top. */
static void
channel_flush(yula_tls *tls)
{
    int err = 0;

    if (tls->out_len > 0)
        err = yula_conn_try_write(tls->conn, tls->out, tls->out_len);
    if (err == -EAGAIN)
        err = yula_stream_write(yula_conn_stream(tls->conn), tls->out,
                                tls->out_len, NULL);
    if (err < 0 && tls->io == 0)
        tls->io = err;
    tls->out_len = 0;
}

static int
channel_write(BIO *bio, const char *base, size_t len, size_t *count)
{
    yula_tls *tls = BIO_get_data(bio);
    size_t left = len;

    BIO_clear_retry_flags(bio);
    if (tls->out == NULL)
        return 0; /* not in a step */
    if (tls->single && tls->out_len == 0) {
        int err = yula_conn_try_write(tls->conn, base, len);
        if (err < 0 && err != -EAGAIN && tls->io == 0)
            tls->io = err;
        if (err != -EAGAIN) {
            *count = len;
            return 1;
        }
    }
    while (left > 0) {
        size_t room = CHANNEL_OUT_MAX - tls->out_len;
        size_t part = left < room ? left : room;
        memcpy(tls->out + tls->out_len, base, part);
        tls->out_len += part;
        base += part;
        left -= part;
        if (tls->out_len == CHANNEL_OUT_MAX)
            channel_flush(tls);
    }
    *count = len;
    return 1;
}

static long
channel_ctrl(BIO *bio, int command, long number, void *pointer)
{
    const yula_tls *tls = BIO_get_data(bio);

    switch (command) {
    case BIO_CTRL_FLUSH:
        return 1;
    case BIO_CTRL_EOF:
        return tls->ended;
    default:
        return 0;
    }
}

BIO_METHOD *
yula__tls_channel_new(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "yula");

    if (method == NULL)
        return NULL;
    if (BIO_meth_set_read_ex(method, channel_read) == 1 &&
        BIO_meth_set_write_ex(method, channel_write) == 1 &&
        BIO_meth_set_ctrl(method, channel_ctrl) == 1)
        return method;
    BIO_meth_free(method);
    return NULL;
}

/* --- steps --------------------------------------------------------------- */

int
yula__tls_begin(yula_tls *tls)
{
    tls->out = yula_loop_read_buffer(tls->loop);
    if (tls->out == NULL)
        return -ENOMEM;
    tls->out_len = 0;
    ERR_clear_error();
    return 0;
}

/* A refused certificate: which of its faults, and whose it is. */
static int
channel_refused(yula_tls *tls, long verify)
{
    char text[sizeof(tls->why.text)];

    (void)snprintf(text, sizeof(text), "%s%s%s",
                   X509_verify_cert_error_string(verify),
                   tls->host != NULL ? ", expected " : "",
                   tls->host != NULL ? tls->host : "");
    unsigned long error = ERR_peek_error();
    yula__tls_say(&tls->why, YULA_ECERT, text);
    tls->why.verify = (int)verify;
    tls->why.openssl = error;
    ERR_clear_error();
    return YULA_ECERT;
}

static int
channel_failed(yula_tls *tls)
{
    unsigned long error = ERR_peek_error();
    long verify = SSL_get_verify_result(tls->ssl);

    if (tls->io < 0) {
        ERR_clear_error();
        return yula__tls_say(&tls->why, tls->io, yula_strerror(tls->io));
    }
    if (ERR_GET_LIB(error) == ERR_LIB_SSL && verify != X509_V_OK &&
        ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        return channel_refused(tls, verify);
    if (tls->ended) {
        ERR_clear_error();
        return yula__tls_say(&tls->why, YULA_ECUT, yula_strerror(YULA_ECUT));
    }
    int code = yula__tls_explain(&tls->why, YULA_ETLS, NULL);
    if (tls->why.alert >= 0)
        code = tls->why.code = YULA_EALERT;
    return code;
}

int
yula__tls_end(yula_tls *tls, int result)
{
    int error = result > 0 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, result);

    channel_flush(tls);
    tls->out = NULL;
    tls->single = false;
    if (tls->io == 0 && error == SSL_ERROR_NONE)
        return 0;
    if (tls->io == 0 && error == SSL_ERROR_WANT_READ)
        return -EAGAIN;
    if (error == SSL_ERROR_ZERO_RETURN)
        return YULA_EOF;
    tls->status = channel_failed(tls);
    return tls->status;
}
