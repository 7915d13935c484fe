/* tls.c: a TLS connection: its life, the handshake, reading and writing.
 *
 *  I1. Whoever needs the socket waits in yula_conn_wait, one task at a time; who
 *      comes second (a writer, during a handshake message that came in parts)
 *      waits for the first to be woken.
 *  I2. Who writes waits for room before OpenSSL encrypts: what is encrypted must
 *      be sent, or nothing more can be.
 * Thread: loop.
 */
#include "tls_i.h"

#include <arpa/inet.h>
#include <openssl/x509v3.h>
#include <yula/scope.h>
#include <yula/task.h>

/* So much is read without waiting; then the other tasks have their turn. */
#define TLS_RUN_MAX (256u * 1024u)

/* A peer that makes OpenSSL answer (KeyUpdate) and reads nothing: so many answers
 * may be queued above the high mark. */
#define TLS_ANSWERS_MAX 64

/* The longest name of a host (RFC 1035), and a zone. */
#define TLS_HOST_MAX 255

/* --- waiting ------------------------------------------------------------- */

int
yula__tls_wait(yula_tls *tls)
{
    if (tls->waiting) {
        yula_event_clear(&tls->received);
        return yula_event_wait(&tls->received);
    }
    tls->waiting = true;
    int err = yula_conn_wait(tls->conn);
    tls->waiting = false;
    tls->run = 0;
    tls->more = err == 0;
    if (tls->received.waiting.first != NULL)
        yula_event_set(&tls->received);
    return err;
}

static bool
tls_pressed(yula_tls *tls)
{
    return yula_stream_pressed(yula_conn_stream(tls->conn));
}

/* --- the handshake ------------------------------------------------------- */

static int
tls_note_alpn(yula_tls *tls)
{
    const unsigned char *name;
    unsigned len;

    SSL_get0_alpn_selected(tls->ssl, &name, &len);
    if (len == 0)
        return 0;
    tls->alpn = OPENSSL_strndup((const char *)name, len);
    return tls->alpn != NULL ? 0 : -ENOMEM;
}

int
yula__tls_shake(yula_tls *tls)
{
    int err = tls->status;

    if (tls->reading)
        return -EBUSY;
    if (err < 0 || tls->shaken)
        return err;
    tls->reading = true;
    for (;;) {
        err = yula__tls_begin(tls);
        if (err == 0)
            err = yula__tls_end(tls, SSL_do_handshake(tls->ssl));
        if (err == -EAGAIN)
            err = yula__tls_wait(tls);
        else
            break;
        if (err < 0)
            break;
    }
    tls->reading = false;
    if (err == YULA_EOF) /* a goodbye instead of an answer */
        err = tls->status = yula__tls_say(&tls->why, YULA_ECUT,
                                          "closed during the handshake");
    if (err == 0)
        err = tls_note_alpn(tls);
    tls->shaken = err == 0;
    return err;
}

int64_t
yula__tls_deadline(const yula_tls_context *context, yula_loop *loop)
{
    int64_t now_ns = yula_loop_now(loop);

    return context->handshake_ns < YULA_NEVER - now_ns
               ? now_ns + context->handshake_ns
               : YULA_NEVER;
}

int
yula_tls_handshake(yula_tls *tls)
{
    yula_scope scope;
    int err = yula_deadline_enter(tls->loop, &scope,
                                  yula__tls_deadline(tls->context, tls->loop));

    if (err < 0)
        return err;
    return yula_deadline_leave(&scope, yula__tls_shake(tls));
}

/* --- reading ------------------------------------------------------------- */

/* Returns err, or that there were too many. */
static int
tls_count_answers(yula_tls *tls, int err)
{
    if (!tls_pressed(tls))
        tls->answers = 0;
    else if (++tls->answers > TLS_ANSWERS_MAX)
        err = tls->status = yula__tls_say(&tls->why, YULA_ETLS,
                                          "the peer asks and does not listen");
    return err;
}

/* One record's worth, if it is there. */
static ssize_t
tls_step_read(yula_tls *tls, void *base, size_t len)
{
    size_t count = 0;
    int err = yula__tls_begin(tls);

    if (err < 0)
        return err;
    int result = SSL_read_ex(tls->ssl, base, len, &count);
    bool answered = tls->out_len > 0;
    err = yula__tls_end(tls, result);
    if (__builtin_expect(answered, 0) && tls->status == 0)
        err = tls_count_answers(tls, err);
    tls->over = err == YULA_EOF;
    tls->run += count;
    return count > 0 ? (ssize_t)count : err; /* what came, first */
}

static ssize_t
tls_receive(void *owner, void *base, size_t len)
{
    yula_tls *tls = owner;
    ssize_t n = tls->over ? YULA_EOF : tls->status;

    tls->reading = true;
    if (n == 0 && tls->run > TLS_RUN_MAX) {
        tls->run = 0;
        n = yula_task_yield(tls->loop);
    }
    while (n == 0) {
        bool something = tls->more || SSL_has_pending(tls->ssl) == 1;
        n = something ? tls_step_read(tls, base, len) : -EAGAIN;
        if (n == -EAGAIN)
            n = yula__tls_wait(tls);
    }
    tls->reading = false;
    return n;
}

static int
tls_check(const yula_tls *tls)
{
    return tls->shaken ? yula_task_check(tls->loop) : -ENOTCONN;
}

static int
tls_read_check(const void *owner)
{
    const yula_tls *tls = owner;

    return tls->reading ? -EBUSY : tls_check(tls);
}

static const yula__intake_ops tls_reads = {
    .check = tls_read_check,
    .receive = tls_receive,
};

ssize_t
yula_tls_read(yula_tls *tls, void *base, size_t len)
{
    return yula__intake_read(&tls->intake, &tls_reads, tls, base, len);
}

int
yula_tls_read_exactly(yula_tls *tls, void *base, size_t len, size_t *got)
{
    return yula__intake_read_exactly(&tls->intake, &tls_reads, tls, base, len,
                                     got);
}

ssize_t
yula_tls_read_until(yula_tls *tls, const void *delimiter, size_t delimiter_len,
                    char **out)
{
    return yula__intake_read_until(&tls->intake, &tls_reads, tls, delimiter,
                                   delimiter_len, out);
}

ssize_t
yula_tls_read_line(yula_tls *tls, char **out)
{
    return yula__intake_read_line(&tls->intake, &tls_reads, tls, out);
}

void
yula_tls_set_limit(yula_tls *tls, size_t limit)
{
    tls->intake.limit = limit;
}

/* --- writing ------------------------------------------------------------- */

static int
tls_write_status(const yula_tls *tls)
{
    if (tls->status < 0)
        return tls->status;
    return tls->farewell ? -EPIPE : 0;
}

/* Without waiting. -EAGAIN: OpenSSL must read first, and has written nothing. */
static int
tls_step_write(yula_tls *tls, const char *base, size_t len)
{
    size_t count;
    int err = yula__tls_begin(tls);

    if (err < 0)
        return err;
    tls->single = len <= SSL3_RT_MAX_PLAIN_LENGTH;
    return yula__tls_end(tls, SSL_write_ex(tls->ssl, base, len, &count));
}

/* In parts, the queue below its high mark before each; with the mutex. */
static int
tls_write_parts(yula_tls *tls, const char *base, size_t len)
{
    while (len > 0) {
        size_t part = len < YULA_STREAM_HIGH ? len : YULA_STREAM_HIGH;
        int err = 0;
        if (tls_pressed(tls))
            err = yula_conn_drain(tls->conn);
        if (err == 0)
            err = tls_write_status(tls); /* may have changed while we waited */
        if (err == 0)
            err = tls_step_write(tls, base, part);
        if (err == -EAGAIN) {
            err = yula__tls_wait(tls);
            part = 0;
        }
        if (err < 0)
            return err;
        base += part;
        len -= part;
    }
    return 0;
}

int
yula_tls_write(yula_tls *tls, const void *base, size_t len)
{
    int err = tls_check(tls);

    if (err == 0)
        err = tls_write_status(tls);
    if (err < 0 || len == 0)
        return err;
    if (len <= YULA_STREAM_HIGH && tls->writing.owner == NULL &&
        !tls_pressed(tls)) {
        err = tls_step_write(tls, base, len);
        if (err != -EAGAIN)
            return err;
    }
    err = yula_mutex_lock(&tls->writing);
    if (err < 0)
        return err;
    err = tls_write_parts(tls, base, len);
    (void)yula_mutex_unlock(&tls->writing);
    return err;
}

int
yula_tls_drain(yula_tls *tls)
{
    int err = tls_check(tls);

    if (err == 0 && tls->status < 0)
        err = tls->status;
    return err < 0 ? err : yula_conn_drain(tls->conn);
}

/* --- the end ------------------------------------------------------------- */

int
yula_tls_shutdown(yula_tls *tls)
{
    if (!tls->shaken)
        return -ENOTCONN;
    if (tls->status < 0)
        return tls->status;
    if (tls->farewell)
        return -EALREADY;
    int err = yula__tls_begin(tls);
    if (err < 0)
        return err;
    /* 0: said, and the peer's is still to come. */
    int result = SSL_shutdown(tls->ssl);
    err = yula__tls_end(tls, result == 0 ? 1 : result);
    tls->farewell = err == 0;
    return err;
}

/* Drop what comes, until the peer's goodbye. */
static int
tls_hear_out(yula_tls *tls)
{
    char dropped[1024];
    ssize_t n;

    do
        n = yula_tls_read(tls, dropped, sizeof(dropped));
    while (n > 0);
    return n == YULA_EOF ? 0 : (int)n;
}

int
yula_tls_finish(yula_tls *tls, int64_t timeout_ns)
{
    yula_scope scope;
    int err = yula_tls_shutdown(tls);

    if (err < 0 && err != -EALREADY)
        return err;
    int64_t now_ns = yula_loop_now(tls->loop);
    err = yula_deadline_enter(
        tls->loop, &scope,
        timeout_ns < YULA_NEVER - now_ns ? now_ns + timeout_ns : YULA_NEVER);
    if (err < 0)
        return err;
    return yula_deadline_leave(&scope, tls_hear_out(tls));
}

void
yula__tls_drop(yula_tls *tls, bool goodbye)
{
    if (goodbye)
        (void)yula_tls_shutdown(tls);
    SSL_free(tls->ssl);
    ERR_clear_error();
    yula__intake_fini(&tls->intake);
    yula_tls_context_unref(tls->context);
    OPENSSL_free(tls->host);
    OPENSSL_free(tls->alpn);
    OPENSSL_free(tls);
}

void
yula_tls_close(yula_tls *tls)
{
    if (tls == NULL)
        return;
    yula_conn *conn = tls->conn;
    yula__tls_drop(tls, true);
    yula_conn_close(conn);
}

void
yula_tls_abort(yula_tls *tls)
{
    if (tls == NULL)
        return;
    yula_conn *conn = tls->conn;
    yula__tls_drop(tls, false);
    yula_conn_abort(conn);
}

/* --- the beginning ------------------------------------------------------- */

static int
tls_set_channel(yula_tls *tls)
{
    BIO *bio = BIO_new(tls->context->channel);

    if (bio == NULL)
        return -ENOMEM;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    return 0;
}

static int
tls_new(yula_tls_context *context, yula_conn *conn, yula_tls **out)
{
    yula_tls *tls = OPENSSL_zalloc(sizeof(*tls));

    if (tls == NULL)
        return -ENOMEM;
    tls->context = yula_tls_context_ref(context);
    tls->loop = yula_conn_loop(conn);
    tls->conn = conn;
    tls->more = true;
    tls->why.alert = -1;
    yula__intake_init(&tls->intake, &yula__tls_allocator, YULA_CONN_LIMIT);
    yula_mutex_init(tls->loop, &tls->writing);
    yula_event_init(tls->loop, &tls->received);
    tls->ssl = SSL_new(context->ssl);
    if (tls->ssl == NULL || tls_set_channel(tls) < 0) {
        yula__tls_drop(tls, false);
        return -ENOMEM;
    }
    *out = tls;
    return 0;
}

/* The name as it is compared: no dot at its end, no zone. A dot at its beginning
 * would stand for any name below it. */
static int
tls_copy_host(yula_tls *tls, const char *host, bool *address)
{
    unsigned char bytes[sizeof(struct in6_addr)];
    size_t len = strlen(host);

    if (strchr(host, ':') != NULL)
        len = strcspn(host, "%");
    else if (len > 1 && host[len - 1] == '.')
        len--;
    if (len == 0 || len > TLS_HOST_MAX || host[0] == '.')
        return -EINVAL;
    tls->host = OPENSSL_strndup(host, len);
    if (tls->host == NULL)
        return -ENOMEM;
    *address = inet_pton(AF_INET, tls->host, bytes) == 1 ||
               inet_pton(AF_INET6, tls->host, bytes) == 1;
    return 0;
}

/* Whom to ask for (SNI, never for an address: RFC 6066, 3), and to compare the
 * certificate with: with its alternative names, not with its subject (RFC 9525). */
static int
tls_set_host(yula_tls *tls, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);
    bool address;
    int err = tls_copy_host(tls, host, &address);

    if (err < 0)
        return err;
    if (address)
        return X509_VERIFY_PARAM_set1_ip_asc(param, tls->host) == 1 ? 0
                                                                    : -ENOMEM;
    X509_VERIFY_PARAM_set_hostflags(param,
                                    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (SSL_set_tlsext_host_name(tls->ssl, tls->host) != 1 ||
        X509_VERIFY_PARAM_set1_host(param, tls->host, 0) != 1)
        return -ENOMEM;
    return 0;
}

int
yula_tls_client(yula_tls_context *context, yula_conn *conn, const char *host,
                yula_tls **out)
{
    yula_tls *tls;

    if (context->server || (host == NULL && !context->insecure))
        return -EINVAL;
    int err = tls_new(context, conn, &tls);
    if (err < 0)
        return err;
    if (host != NULL)
        err = tls_set_host(tls, host);
    if (err < 0) {
        yula__tls_drop(tls, false);
        return err;
    }
    SSL_set_connect_state(tls->ssl);
    *out = tls;
    return 0;
}

int
yula_tls_server(yula_tls_context *context, yula_conn *conn, yula_tls **out)
{
    if (!context->server)
        return -EINVAL;
    int err = tls_new(context, conn, out);
    if (err == 0)
        SSL_set_accept_state((*out)->ssl);
    return err;
}

/* --- looking ------------------------------------------------------------- */

const yula_tls_why *
yula_tls_failure(const yula_tls *tls)
{
    return &tls->why;
}

const char *
yula_tls_version(const yula_tls *tls)
{
    return tls->shaken ? SSL_get_version(tls->ssl) : "";
}

const char *
yula_tls_cipher(const yula_tls *tls)
{
    return tls->shaken ? SSL_get_cipher_name(tls->ssl) : "";
}

const char *
yula_tls_alpn(const yula_tls *tls)
{
    return tls->alpn != NULL ? tls->alpn : "";
}

const char *
yula_tls_host(const yula_tls *tls)
{
    const char *name = tls->host;

    if (name == NULL)
        name = SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);
    return name != NULL ? name : "";
}

yula_conn *
yula_tls_conn(yula_tls *tls)
{
    return tls->conn;
}

struct ssl_st *
yula_tls_openssl(yula_tls *tls)
{
    return tls->ssl;
}
