/* test_tls.c: handshakes of TLS connections: who is believed, who is refused, and
 * what is said about it.
 */
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support.h"
#include "test.h"
#include "tls_pair.h"

#define ALERT_BAD_CERTIFICATE 42
#define ALERT_CERTIFICATE_EXPIRED 45
#define ALERT_UNKNOWN_CA 48
#define ALERT_CERTIFICATE_REQUIRED 116
#define ALERT_NO_APPLICATION_PROTOCOL 120

/* --- contexts ------------------------------------------------------------ */

static int
client_fails(yula_tls_options options, yula_tls_why *why)
{
    yula_tls_context *context;

    options.size = options.size == 0 ? sizeof(options) : options.size;
    int err = yula_tls_context_client(&options, why, &context);
    if (err == 0)
        yula_tls_context_unref(context);
    CHECK_EQ(why->code, err);
    return err;
}

static int
server_fails(yula_tls_options options, yula_tls_why *why)
{
    yula_tls_context *context;

    options.size = sizeof(options);
    int err = yula_tls_context_server(&options, why, &context);
    if (err == 0)
        yula_tls_context_unref(context);
    CHECK_EQ(why->code, err);
    return err;
}

TEST(options_that_cannot_be_meant_are_refused)
{
    static const char *const nothing[] = {"", NULL};
    yula_tls_why why;

    CHECK_EQ(client_fails((yula_tls_options){.size = 3}, &why), -EINVAL);
    CHECK_STR(why.text, "options of an unknown size");
    CHECK_EQ(client_fails((yula_tls_options){.insecure = 1}, &why), -EINVAL);
    CHECK_STR(why.text, "insecure is not YULA_TLS_INSECURE");
    CHECK_EQ(client_fails((yula_tls_options){.insecure = YULA_TLS_INSECURE,
                                             .trust_file = tls_file("ca")},
                          &why),
             -EINVAL);
    CHECK_EQ(client_fails((yula_tls_options){.min_version = 0x0301}, &why),
             -EINVAL);
    CHECK_EQ(client_fails((yula_tls_options){.handshake_ns = -1}, &why),
             -EINVAL);
    CHECK_EQ(client_fails((yula_tls_options){.key_file = tls_file("ca")}, &why),
             -EINVAL);
    CHECK_EQ(client_fails((yula_tls_options){.alpn = nothing}, &why), -EINVAL);
    CHECK_EQ(server_fails((yula_tls_options){0}, &why), -EINVAL);
    CHECK_STR(why.text, "a server must have a certificate");
    CHECK_EQ(
        server_fails((yula_tls_options){.certificate_file = tls_file("server"),
                                        .insecure = YULA_TLS_INSECURE},
                     &why),
        -EINVAL);
}

TEST(files_that_cannot_be_used_are_named)
{
    yula_tls_why why = {0};

    CHECK_EQ(client_fails((yula_tls_options){0}, &why), 0);
    CHECK_EQ(
        client_fails((yula_tls_options){.trust_file = "/nowhere/ca.pem"}, &why),
        YULA_ETLS);
    CHECK(strncmp(why.text, "/nowhere/ca.pem: ", 17) == 0);
    CHECK(why.openssl != 0);
    CHECK_EQ(
        server_fails((yula_tls_options){.certificate_file = "/nowhere/own.pem"},
                     &why),
        YULA_ETLS);
    CHECK_STR(why.text, "/nowhere/own.pem: No such file or directory");
    CHECK_EQ(
        server_fails((yula_tls_options){.certificate_file = tls_file("server"),
                                        .key_file = tls_file("client")},
                     &why),
        YULA_ETLS);
    CHECK(strstr(why.text, "key values mismatch") != NULL);
}

/* --- handshakes that succeed --------------------------------------------- */

static int
say_hello(actor *self, void *arg)
{
    const tls_end *end = arg;
    return yula_tls_write(end->tls, "hello", 5);
}

static int
hear_hello(actor *self, void *arg)
{
    const tls_end *end = arg;
    char text[10];

    ssize_t len = yula_tls_read(end->tls, text, sizeof(text));
    if (len != 5 || memcmp(text, "hello", 5) != 0)
        return len < 0 ? (int)len : -EPROTO;
    return 0;
}

static void
check_talk(tls_pair *pair)
{
    tls_end *ends[] = {&pair->client, &pair->server};

    for (int i = 0; i < 2; i++) {
        CHECK_EQ(tls_play(pair, ends[i], say_hello, 0), 0);
        CHECK_EQ(tls_play(pair, ends[1 - i], hear_hello, 0), 0);
    }
}

TEST(two_that_know_each_other_talk)
{
    yula_loop *loop = test_loop();
    tls_pair pair;

    tls_meet_well(&pair, loop);
    check_talk(&pair);
    CHECK_STR(yula_tls_version(pair.client.tls), "TLSv1.3");
    CHECK_STR(yula_tls_version(pair.server.tls), "TLSv1.3");
    CHECK(strlen(yula_tls_cipher(pair.client.tls)) > 0);
    CHECK_STR(yula_tls_alpn(pair.client.tls), "");
    CHECK_STR(yula_tls_host(pair.server.tls), "localhost");
    CHECK_EQ(yula_tls_failure(pair.client.tls)->code, 0);
    CHECK(yula_conn_loop(yula_tls_conn(pair.client.tls)) == loop);
    tls_part(&pair);
    yula_loop_free(loop);
}

TEST(tls_1_2_is_the_oldest_that_is_spoken)
{
    static const int newest[] = {TLS1_2_VERSION, TLS1_1_VERSION};
    yula_loop *loop = test_loop();
    tls_pair pair;

    for (int i = 0; i < 2; i++) {
        yula_tls_context *client = tls_client_context(NULL);
        SSL_CTX *ssl = yula_tls_context_openssl(client);
        /* An old peer, which our own options would not allow. */
        CHECK_EQ(SSL_CTX_set_min_proto_version(ssl, TLS1_VERSION), 1);
        CHECK_EQ(SSL_CTX_set_max_proto_version(ssl, newest[i]), 1);
        SSL_CTX_set_security_level(ssl, 0);
        tls_meet(&pair, loop, client, "localhost",
                 tls_server_context("server", NULL));
        CHECK_EQ(pair.server.result, i == 0 ? 0 : YULA_ETLS);
        CHECK_EQ(pair.client.result, i == 0 ? 0 : YULA_EALERT);
        if (i == 0) {
            check_talk(&pair);
            CHECK_STR(yula_tls_version(pair.server.tls), "TLSv1.2");
        }
        tls_part(&pair);
    }
    yula_loop_free(loop);
}

TEST(addresses_are_hosts_too)
{
    yula_loop *loop = test_loop();
    tls_pair pair;

    tls_meet(&pair, loop, tls_client_context(NULL), "127.0.0.1",
             tls_server_context("server", NULL));
    CHECK_EQ(pair.client.result, 0);
    CHECK_STR(yula_tls_host(pair.server.tls), ""); /* no name was asked for */
    CHECK_STR(yula_tls_host(pair.client.tls), "127.0.0.1");
    tls_part(&pair);
    tls_meet(&pair, loop, tls_client_context(NULL), "::1%lo",
             tls_server_context("server", NULL));
    CHECK_EQ(pair.client.result, 0);
    tls_part(&pair);
    tls_meet(&pair, loop, tls_client_context(NULL), "127.0.0.2",
             tls_server_context("server", NULL));
    CHECK_EQ(pair.client.result, YULA_ECERT);
    CHECK_EQ(yula_tls_failure(pair.client.tls)->verify,
             X509_V_ERR_IP_ADDRESS_MISMATCH);
    tls_part(&pair);
    yula_loop_free(loop);
}

TEST(a_name_with_a_dot_at_its_end_is_the_same_name)
{
    yula_loop *loop = test_loop();
    tls_pair pair;

    tls_meet(&pair, loop, tls_client_context(NULL), "localhost.",
             tls_server_context("server", NULL));
    CHECK_EQ(pair.client.result, 0);
    CHECK_STR(yula_tls_host(pair.server.tls), "localhost");
    tls_part(&pair);
    yula_loop_free(loop);
}

static yula_tls_context *
insecure_context(void)
{
    yula_tls_options options = {.size = sizeof(options),
                                .insecure = YULA_TLS_INSECURE};
    yula_tls_context *context = NULL;

    CHECK_EQ(yula_tls_context_client(&options, NULL, &context), 0);
    return context;
}

TEST(only_an_insecure_client_goes_without_a_host)
{
    yula_loop *loop = test_loop();
    yula_tls_context *client = tls_client_context(NULL);
    yula_tls_context *server = tls_server_context("server", NULL);
    char long_name[400];
    yula_conn *conn;
    yula_tls *tls;
    tls_pair pair;
    int fds[2];

    test_tcp_pair(fds);
    CHECK_EQ(yula_conn_new(loop, fds[0], &conn), 0);
    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    CHECK_EQ(yula_tls_client(client, conn, NULL, &tls), -EINVAL);
    CHECK_EQ(yula_tls_client(client, conn, "", &tls), -EINVAL);
    CHECK_EQ(yula_tls_client(client, conn, ".localhost", &tls), -EINVAL);
    CHECK_EQ(yula_tls_client(client, conn, long_name, &tls), -EINVAL);
    CHECK_EQ(yula_tls_client(server, conn, "localhost", &tls), -EINVAL);
    CHECK_EQ(yula_tls_server(client, conn, &tls), -EINVAL);
    yula_conn_close(conn);
    close(fds[1]);
    yula_tls_context_unref(client);
    yula_tls_context_unref(server);

    tls_meet(&pair, loop, insecure_context(), NULL,
             tls_server_context("unknown", NULL));
    CHECK_EQ(pair.client.result, 0);
    check_talk(&pair);
    tls_part(&pair);
    yula_loop_free(loop);
}

/* --- certificates -------------------------------------------------------- */

TEST(a_certificate_that_proves_nothing_is_refused)
{
    static const struct {
        const char *certificate;
        int verify, alert;
        const char *text;
    } cases[] = {
        {"other", X509_V_ERR_HOSTNAME_MISMATCH, ALERT_BAD_CERTIFICATE,
         "hostname mismatch, expected localhost"},
        {"localhost", X509_V_ERR_HOSTNAME_MISMATCH, ALERT_BAD_CERTIFICATE,
         "hostname mismatch, expected localhost"},
        {"expired", X509_V_ERR_CERT_HAS_EXPIRED, ALERT_CERTIFICATE_EXPIRED,
         "certificate has expired, expected localhost"},
        {"unknown", X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, ALERT_UNKNOWN_CA,
         "self-signed certificate, expected localhost"},
    };
    yula_loop *loop = test_loop();
    tls_pair pair;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        tls_meet(&pair, loop, tls_client_context(NULL), "localhost",
                 tls_server_context(cases[i].certificate, NULL));
        const yula_tls_why *why = yula_tls_failure(pair.client.tls);
        CHECK_EQ(pair.client.result, YULA_ECERT);
        CHECK_EQ(why->code, YULA_ECERT);
        CHECK_EQ(why->verify, cases[i].verify);
        CHECK_EQ(why->alert, -1);
        CHECK_STR(why->text, cases[i].text);
        CHECK_EQ(pair.server.result, YULA_EALERT);
        CHECK_EQ(yula_tls_failure(pair.server.tls)->alert, cases[i].alert);
        CHECK_EQ(tls_play(&pair, &pair.client, say_hello, 0), -ENOTCONN);
        CHECK_EQ(tls_play(&pair, &pair.client, hear_hello, 0), -ENOTCONN);
        CHECK_EQ(yula_tls_shutdown(pair.client.tls), -ENOTCONN);
        tls_part(&pair);
    }
    yula_loop_free(loop);
}

TEST(the_systems_certificates_do_not_vouch_for_ours)
{
    yula_loop *loop = test_loop();
    yula_tls_context *client;
    tls_pair pair;

    CHECK_EQ(yula_tls_context_client(NULL, NULL, &client), 0);
    tls_meet(&pair, loop, client, "localhost",
             tls_server_context("server", NULL));
    CHECK_EQ(pair.client.result, YULA_ECERT);
    CHECK_EQ(yula_tls_failure(pair.client.tls)->verify,
             X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    tls_part(&pair);
    yula_loop_free(loop);
}

static int
read_one(actor *self, void *arg)
{
    const tls_end *end = arg;
    char byte;
    return (int)yula_tls_read(end->tls, &byte, 1);
}

TEST(a_server_with_trust_demands_a_certificate)
{
    static const char *const shown[] = {"client", NULL, "unknown"};
    yula_loop *loop = test_loop();
    tls_pair pair;

    for (int i = 0; i < 3; i++) {
        yula_tls_options options = {.size = sizeof(options),
                                    .certificate_file = tls_file("server"),
                                    .trust_file = tls_file("ca")};
        yula_tls_context *client, *server;
        CHECK_EQ(yula_tls_context_server(&options, NULL, &server), 0);
        options.certificate_file = shown[i] != NULL ? tls_file(shown[i]) : NULL;
        CHECK_EQ(yula_tls_context_client(&options, NULL, &client), 0);
        tls_meet(&pair, loop, client, "localhost", server);
        CHECK_EQ(pair.client.result, 0); /* TLS 1.3: it learns it later */
        if (i == 0) {
            CHECK_EQ(pair.server.result, 0);
            check_talk(&pair);
        }
        else {
            CHECK_EQ(pair.server.result, i == 1 ? YULA_ETLS : YULA_ECERT);
            CHECK_EQ(tls_play(&pair, &pair.client, read_one, 0), YULA_EALERT);
            CHECK_EQ(yula_tls_failure(pair.client.tls)->alert,
                     i == 1 ? ALERT_CERTIFICATE_REQUIRED : ALERT_UNKNOWN_CA);
            CHECK_EQ(tls_play(&pair, &pair.client, read_one, 0), YULA_EALERT);
        }
        tls_part(&pair);
    }
    yula_loop_free(loop);
}

/* --- ALPN ---------------------------------------------------------------- */

TEST(a_protocol_is_agreed_upon_or_the_client_is_refused)
{
    static const char *const both[] = {"h2", "http/1.1", NULL};
    static const char *const old[] = {"http/1.1", NULL};
    static const char *const mail[] = {"imap", NULL};
    yula_loop *loop = test_loop();
    tls_pair pair;

    tls_meet(&pair, loop, tls_client_context(old), "localhost",
             tls_server_context("server", both));
    CHECK_EQ(pair.client.result, 0);
    CHECK_STR(yula_tls_alpn(pair.client.tls), "http/1.1");
    CHECK_STR(yula_tls_alpn(pair.server.tls), "http/1.1");
    tls_part(&pair);

    tls_meet(&pair, loop, tls_client_context(NULL), "localhost",
             tls_server_context("server", both));
    CHECK_EQ(pair.client.result, 0);
    CHECK_STR(yula_tls_alpn(pair.server.tls), "");
    tls_part(&pair);

    tls_meet(&pair, loop, tls_client_context(mail), "localhost",
             tls_server_context("server", both));
    CHECK_EQ(pair.client.result, YULA_EALERT);
    CHECK_EQ(yula_tls_failure(pair.client.tls)->alert,
             ALERT_NO_APPLICATION_PROTOCOL);
    CHECK_EQ(pair.server.result, YULA_ETLS);
    tls_part(&pair);
    yula_loop_free(loop);
}

/* --- sessions ------------------------------------------------------------ */

TEST(a_session_is_resumed)
{
    yula_loop *loop = test_loop();
    yula_tls_context *server = tls_server_context("server", NULL);
    yula_tls_context *client = tls_client_context(NULL);
    tls_pair pair;

    tls_meet(&pair, loop, yula_tls_context_ref(client), "localhost",
             yula_tls_context_ref(server));
    check_talk(&pair); /* the ticket came in front of it */
    SSL_SESSION *session = SSL_get1_session(yula_tls_openssl(pair.client.tls));
    CHECK(SSL_SESSION_is_resumable(session));
    tls_part(&pair);

    tls_join(&pair, loop, client, "localhost", server);
    CHECK_EQ(SSL_set_session(yula_tls_openssl(pair.client.tls), session), 1);
    SSL_SESSION_free(session);
    tls_shake_both(&pair);
    CHECK_EQ(pair.client.result, 0);
    CHECK_EQ(pair.server.result, 0);
    CHECK_EQ(SSL_session_reused(yula_tls_openssl(pair.client.tls)), 1);
    CHECK_EQ(SSL_session_reused(yula_tls_openssl(pair.server.tls)), 1);
    check_talk(&pair);
    tls_part(&pair);
    yula_loop_free(loop);
}

/* --- others -------------------------------------------------------------- */

/* One end; the test plays the other with plain bytes. */
typedef struct alone {
    tls_end end;
    yula_tls_context *context;
    int peer;
} alone;

static void
alone_begin(alone *self, yula_loop *loop, bool server)
{
    yula_conn *conn;
    int fds[2];

    test_tcp_pair(fds);
    self->peer = fds[1];
    CHECK_EQ(yula_conn_new(loop, fds[0], &conn), 0);
    self->context = server ? tls_server_context("server", NULL)
                           : tls_client_context(NULL);
    CHECK_EQ(server ? yula_tls_server(self->context, conn, &self->end.tls)
                    : yula_tls_client(self->context, conn, "localhost",
                                      &self->end.tls),
             0);
    actor_start(&self->end.actor, loop, "alone", tls_shake, &self->end);
}

static int
alone_end(alone *self, yula_loop *loop)
{
    int result = actor_end(&self->end.actor);

    if (self->peer >= 0)
        close(self->peer);
    yula_tls_close(self->end.tls);
    yula_tls_context_unref(self->context);
    settle(loop);
    return result;
}

TEST(who_does_not_speak_tls_is_refused)
{
    static const char *const words[] = {"GET / HTTP/1.1\r\n\r\n",
                                        "SSH-2.0-OpenSSH_9.2\r\n"};
    yula_loop *loop = test_loop();
    alone self;

    for (int i = 0; i < 4; i++) {
        alone_begin(&self, loop, i < 2);
        test_send_all(self.peer, words[i % 2], strlen(words[i % 2]));
        int result = actor_end(&self.end.actor);
        CHECK_EQ(result, YULA_ETLS);
        const yula_tls_why *why = yula_tls_failure(self.end.tls);
        CHECK_STR(why->text,
                  i % 2 == 0 ? "http request" : "wrong version number");
        actor_start(&self.end.actor, loop, "again", tls_shake, &self.end);
        CHECK_EQ(alone_end(&self, loop), YULA_ETLS);
    }
    yula_loop_free(loop);
}

TEST(who_hangs_up_during_the_handshake_is_noticed)
{
    yula_loop *loop = test_loop();
    alone self;

    for (int i = 0; i < 2; i++) {
        alone_begin(&self, loop, i == 0);
        settle(loop);
        CHECK_EQ(shutdown(self.peer, SHUT_WR), 0);
        CHECK_EQ(alone_end(&self, loop), YULA_ECUT);
    }
    alone_begin(&self, loop, true);
    settle(loop);
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    CHECK_EQ(
        setsockopt(self.peer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)),
        0);
    close(self.peer);
    self.peer = -1;
    CHECK_EQ(alone_end(&self, loop), -ECONNRESET);
    yula_loop_free(loop);
}

TEST(a_handshake_has_a_time_limit)
{
    yula_loop *loop = test_loop_by_hand();
    alone self;

    for (int i = 0; i < 2; i++) {
        alone_begin(&self, loop, i == 0);
        settle(loop);
        test_now_ns += YULA_TLS_HANDSHAKE_NS - 1;
        settle(loop);
        CHECK(!yula_task_ended(self.end.actor.task));
        test_now_ns++;
        settle(loop);
        CHECK_EQ(alone_end(&self, loop), -ETIMEDOUT);
    }
    yula_loop_free(loop);
}

TEST(an_interrupted_handshake_goes_on)
{
    yula_loop *loop = test_loop();
    tls_pair pair;
    actor bob;

    tls_join(&pair, loop, tls_client_context(NULL), "localhost",
             tls_server_context("server", NULL));
    actor_start(&bob, loop, "bob", tls_shake, &pair.client);
    settle(loop);
    CHECK_EQ(tls_play(&pair, &pair.client, say_hello, 0), -ENOTCONN);
    CHECK_EQ(tls_play(&pair, &pair.client, tls_shake, 0), -EBUSY);
    yula_task_cancel(bob.task);
    CHECK_EQ(actor_end(&bob), YULA_ECANCELED);
    tls_shake_both(&pair);
    CHECK_EQ(pair.client.result, 0);
    CHECK_EQ(pair.server.result, 0);
    check_talk(&pair);
    tls_part(&pair);
    yula_loop_free(loop);
}
