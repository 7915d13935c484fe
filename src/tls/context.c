/* context.c: what connections have in common: certificates, trust, protocols.
 * Thread: any; changed by nobody once it is made.
 */
#include <openssl/x509v3.h>

#include "tls_i.h"

/* --- memory -------------------------------------------------------------- */

static void *
memory_alloc(size_t len, void *arg)
{
    return OPENSSL_malloc(len);
}

static void *
memory_resize(void *memory, size_t len, void *arg)
{
    return OPENSSL_realloc(memory, len);
}

static void
memory_free(void *memory, void *arg)
{
    OPENSSL_free(memory);
}

const yula_allocator yula__tls_allocator = {memory_alloc, memory_resize,
                                            memory_free, NULL};

/* --- options ------------------------------------------------------------- */

static const char *
options_fault(const yula_tls_options *options, bool server)
{
    bool trust = options->trust_file != NULL || options->trust_folder != NULL;

    if (options->size != sizeof(*options))
        return "options of an unknown size";
    if (options->min_version != 0 && options->min_version != YULA_TLS_1_2 &&
        options->min_version != YULA_TLS_1_3)
        return "min_version is none that is spoken";
    if (options->insecure != 0 && options->insecure != YULA_TLS_INSECURE)
        return "insecure is not YULA_TLS_INSECURE";
    if (options->insecure != 0 && (server || trust))
        return "insecure is for clients that trust anybody";
    if (options->handshake_ns < 0)
        return "handshake_ns is negative";
    if (server && options->certificate_file == NULL)
        return "a server must have a certificate";
    if (options->key_file != NULL && options->certificate_file == NULL)
        return "a key without its certificate";
    return NULL;
}

/* --- ALPN ---------------------------------------------------------------- */

/* RFC 7301: a list of names, each behind its length. 0, -EINVAL or -ENOMEM. */
static int
alpn_encode(yula_tls_context *context, const char *const *names)
{
    size_t total = 0;

    if (names == NULL || names[0] == NULL)
        return 0;
    for (size_t i = 0; names[i] != NULL; i++) {
        size_t len = strlen(names[i]);
        total += 1 + len;
        if (len == 0 || len > 255 || total > UINT16_MAX)
            return -EINVAL;
    }
    unsigned char *to = context->alpn = OPENSSL_malloc(total);
    if (to == NULL)
        return -ENOMEM;
    for (size_t i = 0; names[i] != NULL; i++) {
        size_t len = strlen(names[i]);
        *to++ = (unsigned char)len;
        memcpy(to, names[i], len);
        to += len;
    }
    context->alpn_len = (unsigned)total;
    return 0;
}

static int
alpn_choose(SSL *ssl, const unsigned char **out, unsigned char *out_len,
            const unsigned char *offered, unsigned offered_len, void *arg)
{
    const yula_tls_context *context = arg;
    unsigned char *chosen;

    if (SSL_select_next_proto(&chosen, out_len, context->alpn,
                              context->alpn_len, offered,
                              offered_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* RFC 7301, 3.2 */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int
context_set_alpn(yula_tls_context *context, const char *const *names,
                 yula_tls_why *why)
{
    int err = alpn_encode(context, names);

    if (err < 0)
        return yula__tls_say(why, err,
                             err == -EINVAL ? "alpn has no such protocols"
                                            : yula_strerror(err));
    if (context->alpn_len == 0)
        return 0;
    if (context->server)
        SSL_CTX_set_alpn_select_cb(context->ssl, alpn_choose, context);
    else if (SSL_CTX_set_alpn_protos(context->ssl, context->alpn,
                                     context->alpn_len) != 0)
        return yula__tls_say(why, -ENOMEM, yula_strerror(-ENOMEM));
    return 0;
}

/* --- certificates -------------------------------------------------------- */

/* Nobody is asked at the terminal: an encrypted key cannot be read. */
static int
no_password(char *base, int len, int writing, void *arg)
{
    return 0;
}

static int
context_load(yula_tls_context *context, const yula_tls_options *options,
             yula_tls_why *why)
{
    const char *certificate = options->certificate_file;
    const char *key = options->key_file != NULL ? options->key_file
                                                : certificate;

    if (certificate == NULL)
        return 0;
    SSL_CTX_set_default_passwd_cb(context->ssl, no_password);
    if (SSL_CTX_use_certificate_chain_file(context->ssl, certificate) != 1)
        return yula__tls_explain(why, YULA_ETLS, certificate);
    if (SSL_CTX_use_PrivateKey_file(context->ssl, key, SSL_FILETYPE_PEM) != 1)
        return yula__tls_explain(why, YULA_ETLS, key);
    return 0;
}

static int
context_trust(yula_tls_context *context, const yula_tls_options *options,
              yula_tls_why *why)
{
    const char *file = options->trust_file, *folder = options->trust_folder;
    const char *what = file != NULL ? file : folder;
    int mode = SSL_VERIFY_PEER;

    if (what != NULL) {
        if (SSL_CTX_load_verify_locations(context->ssl, file, folder) != 1)
            return yula__tls_explain(why, YULA_ETLS, what);
    }
    else if (context->server || context->insecure) {
        mode = SSL_VERIFY_NONE;
    }
    else if (SSL_CTX_set_default_verify_paths(context->ssl) != 1) {
        return yula__tls_explain(why, YULA_ETLS, "the system's certificates");
    }
    if (context->server && what != NULL) {
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
        if (file != NULL) { /* tells clients which of theirs to show */
            STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(file);
            if (names == NULL)
                return yula__tls_explain(why, YULA_ETLS, file);
            SSL_CTX_set_client_CA_list(context->ssl, names);
        }
    }
    SSL_CTX_set_verify(context->ssl, mode, NULL);
    return 0;
}

/* --- making -------------------------------------------------------------- */

static int
context_set_up(yula_tls_context *context, const yula_tls_options *options,
               yula_tls_why *why)
{
    static const unsigned char name[] = "yula";
    SSL_CTX *ssl = context->ssl;
    int oldest = options->min_version != 0 ? options->min_version
                                           : YULA_TLS_1_2;

    /* Renegotiation (TLS 1.2) would let a write wait for a read; and a peer make
     * us work. */
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ssl, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ssl, 1);
    if (SSL_CTX_set_min_proto_version(ssl, oldest) != 1)
        return yula__tls_explain(why, YULA_ETLS, NULL);
    /* Without it no session of a client that shows a certificate is resumed. */
    if (context->server &&
        SSL_CTX_set_session_id_context(ssl, name, sizeof(name) - 1) != 1)
        return yula__tls_explain(why, YULA_ETLS, NULL);
    int err = context_load(context, options, why);
    if (err == 0)
        err = context_trust(context, options, why);
    if (err == 0)
        err = context_set_alpn(context, options->alpn, why);
    return err;
}

static int
context_new(const yula_tls_options *options, bool server, yula_tls_why *why,
            yula_tls_context **out)
{
    yula_tls_options defaults = {.size = sizeof(defaults)};
    const char *fault;

    if (options == NULL)
        options = &defaults;
    fault = options_fault(options, server);
    if (fault != NULL)
        return yula__tls_say(why, -EINVAL, fault);
    ERR_clear_error();
    yula_tls_context *context = OPENSSL_zalloc(sizeof(*context));
    if (context == NULL)
        return yula__tls_say(why, -ENOMEM, yula_strerror(-ENOMEM));
    atomic_init(&context->refs, 1);
    context->server = server;
    context->insecure = options->insecure != 0;
    context->handshake_ns = options->handshake_ns != 0 ? options->handshake_ns
                                                       : YULA_TLS_HANDSHAKE_NS;
    context->ssl = SSL_CTX_new(server ? TLS_server_method()
                                      : TLS_client_method());
    context->channel = yula__tls_channel_new();
    int err = context->ssl != NULL && context->channel != NULL
                  ? context_set_up(context, options, why)
                  : yula__tls_explain(why, YULA_ETLS, NULL);
    ERR_clear_error();
    if (err < 0)
        yula_tls_context_unref(context);
    else
        *out = context;
    return err;
}

int
yula_tls_context_client(const yula_tls_options *options, yula_tls_why *why,
                        yula_tls_context **out)
{
    return context_new(options, false, why, out);
}

int
yula_tls_context_server(const yula_tls_options *options, yula_tls_why *why,
                        yula_tls_context **out)
{
    return context_new(options, true, why, out);
}

yula_tls_context *
yula_tls_context_ref(yula_tls_context *context)
{
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

void
yula_tls_context_unref(yula_tls_context *context)
{
    /* Pairs with itself: who frees sees what the others did. */
    if (context == NULL ||
        atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->channel);
    OPENSSL_free(context->alpn);
    OPENSSL_free(context);
}

struct ssl_ctx_st *
yula_tls_context_openssl(yula_tls_context *context)
{
    return context->ssl;
}
