/* tls_pair.c: see tls_pair.h. */
#include "tls_pair.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"
#include "test.h"

/* --- certificates -------------------------------------------------------- */

typedef struct certificate {
    const char *name;
    const char *issuer; /* NULL: itself */
    const char *alternatives;
    long valid_from, valid_to; /* seconds from now */
    EVP_PKEY *key;
    X509 *x509;
    char *file;
} certificate;

#define HERE "DNS:localhost,IP:127.0.0.1,IP:::1"
#define LONG                                                                   \
    "a-rather-long-name-of-which-there-will-be-many-in-this-certificate"
/* clang-format off */
#define MANY "DNS:client,DNS:1" LONG ",DNS:2" LONG ",DNS:3" LONG ",DNS:4" LONG \
             ",DNS:5" LONG ",DNS:6" LONG ",DNS:7" LONG ",DNS:8" LONG
/* clang-format on */
#define DAY (24L * 60 * 60)

static certificate certificates[] = {
    {"ca", NULL, NULL, -DAY, DAY, NULL, NULL, NULL},
    {"server", "ca", HERE, -DAY, DAY, NULL, NULL, NULL},
    {"client", "ca", MANY, -DAY, DAY, NULL, NULL, NULL},
    {"expired", "ca", HERE, -2 * DAY, -DAY, NULL, NULL, NULL},
    {"localhost", "ca", NULL, -DAY, DAY, NULL, NULL, NULL},
    {"other", "ca", "DNS:other.example", -DAY, DAY, NULL, NULL, NULL},
    {"unknown", NULL, HERE, -DAY, DAY, NULL, NULL, NULL},
};

static char folder[] = "/tmp/yula-tls-XXXXXX";
static bool folder_made;

static void
certificates_remove(void)
{
    for (size_t i = 0; i < sizeof(certificates) / sizeof(*certificates); i++) {
        certificate *self = &certificates[i];
        if (self->file != NULL)
            unlink(self->file);
        free(self->file);
        X509_free(self->x509);
        EVP_PKEY_free(self->key);
    }
    rmdir(folder);
}

static void
certificate_extend(const certificate *self, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    CHECK(extension != NULL);
    CHECK_EQ(X509_add_ext(self->x509, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static certificate *certificate_make(const char *name);

static void
certificate_sign(certificate *self)
{
    static long serial = 1;
    const certificate *issuer = self->issuer != NULL
                                    ? certificate_make(self->issuer)
                                    : self;
    X509_NAME *subject = X509_get_subject_name(self->x509);

    CHECK_EQ(X509_set_version(self->x509, 2), 1);
    ASN1_INTEGER_set(X509_get_serialNumber(self->x509), serial++);
    X509_gmtime_adj(X509_getm_notBefore(self->x509), self->valid_from);
    X509_gmtime_adj(X509_getm_notAfter(self->x509), self->valid_to);
    CHECK_EQ(X509_set_pubkey(self->x509, self->key), 1);
    CHECK_EQ(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                        (const unsigned char *)self->name, -1,
                                        -1, 0),
             1);
    CHECK_EQ(
        X509_set_issuer_name(self->x509, X509_get_subject_name(issuer->x509)),
        1);
    if (self->alternatives != NULL)
        certificate_extend(self, NID_subject_alt_name, self->alternatives);
    if (self->issuer == NULL)
        certificate_extend(self, NID_basic_constraints, "critical,CA:TRUE");
    CHECK(X509_sign(self->x509, issuer->key, EVP_sha256()) > 0);
}

static void
certificate_write(certificate *self)
{
    if (!folder_made) {
        CHECK(mkdtemp(folder) != NULL);
        folder_made = true;
        atexit(certificates_remove);
    }
    CHECK(asprintf(&self->file, "%s/%s.pem", folder, self->name) > 0);
    FILE *file = fopen(self->file, "w");
    CHECK(file != NULL);
    CHECK_EQ(PEM_write_X509(file, self->x509), 1);
    CHECK_EQ(PEM_write_PrivateKey(file, self->key, NULL, NULL, 0, NULL, NULL),
             1);
    CHECK_EQ(fclose(file), 0);
}

static certificate *
certificate_make(const char *name)
{
    certificate *self = certificates;

    while (strcmp(self->name, name) != 0)
        self++;
    if (self->file != NULL)
        return self;
    self->key = EVP_EC_gen("P-256");
    self->x509 = X509_new();
    CHECK(self->key != NULL && self->x509 != NULL);
    certificate_sign(self);
    certificate_write(self);
    return self;
}

const char *
tls_file(const char *name)
{
    return certificate_make(name)->file;
}

/* --- contexts ------------------------------------------------------------ */

yula_tls_context *
tls_server_context(const char *name, const char *const *alpn)
{
    yula_tls_options options = {.size = sizeof(options),
                                .certificate_file = tls_file(name),
                                .alpn = alpn};
    yula_tls_context *context = NULL;
    yula_tls_why why;

    int err = yula_tls_context_server(&options, &why, &context);
    if (err < 0)
        test_fail(__FILE__, __LINE__, "%s", why.text);
    return context;
}

yula_tls_context *
tls_client_context(const char *const *alpn)
{
    yula_tls_options options = {
        .size = sizeof(options), .trust_file = tls_file("ca"), .alpn = alpn};
    yula_tls_context *context = NULL;
    yula_tls_why why;

    int err = yula_tls_context_client(&options, &why, &context);
    if (err < 0)
        test_fail(__FILE__, __LINE__, "%s", why.text);
    return context;
}

/* --- pairs --------------------------------------------------------------- */

void
tls_join(tls_pair *pair, yula_loop *loop, yula_tls_context *client,
         const char *host, yula_tls_context *server)
{
    int fds[2];
    yula_conn *conns[2];

    *pair = (tls_pair){.loop = loop, .contexts = {client, server}};
    test_tcp_pair(fds);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(yula_conn_new(loop, fds[i], &conns[i]), 0);
    CHECK_EQ(yula_tls_client(client, conns[0], host, &pair->client.tls), 0);
    CHECK_EQ(yula_tls_server(server, conns[1], &pair->server.tls), 0);
}

int
tls_shake(actor *self, void *arg)
{
    const tls_end *end = arg;

    return yula_tls_handshake(end->tls);
}

void
tls_shake_both(tls_pair *pair)
{
    actor_start(&pair->client.actor, pair->loop, "client", tls_shake,
                &pair->client);
    actor_start(&pair->server.actor, pair->loop, "server", tls_shake,
                &pair->server);
    pair->client.result = actor_end(&pair->client.actor);
    pair->server.result = actor_end(&pair->server.actor);
}

void
tls_meet(tls_pair *pair, yula_loop *loop, yula_tls_context *client,
         const char *host, yula_tls_context *server)
{
    tls_join(pair, loop, client, host, server);
    tls_shake_both(pair);
}

void
tls_meet_well(tls_pair *pair, yula_loop *loop)
{
    tls_meet(pair, loop, tls_client_context(NULL), "localhost",
             tls_server_context("server", NULL));
    CHECK_EQ(pair->client.result, 0);
    CHECK_EQ(pair->server.result, 0);
}

void
tls_part(tls_pair *pair)
{
    yula_tls_close(pair->client.tls);
    yula_tls_close(pair->server.tls);
    for (int i = 0; i < 2; i++)
        yula_tls_context_unref(pair->contexts[i]);
    settle(pair->loop);
}

int
tls_play(tls_pair *pair, tls_end *end, int (*play)(actor *self, void *arg),
         int number)
{
    actor_start(&end->actor, pair->loop, "player", play, end);
    end->actor.number = number;
    return actor_end(&end->actor);
}
