/* test_tls_data.c: what is read and written over TLS, and how it ends.
 */
#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"
#include "test.h"
#include "tls_pair.h"

/* --- reading ------------------------------------------------------------- */

static const char *text; /* what write_text writes */

static int
write_text(actor *self, void *arg)
{
    const tls_end *end = arg;
    return yula_tls_write(end->tls, text, strlen(text));
}

static void
server_says(tls_pair *pair, const char *what)
{
    text = what;
    CHECK_EQ(tls_play(pair, &pair->server, write_text, 0), 0);
}

static char got[256];

static int
read_number(actor *self, void *arg)
{
    const tls_end *end = arg;
    ssize_t len = yula_tls_read(end->tls, got, (size_t)self->number);

    if (len >= 0)
        got[len] = '\0';
    return (int)len;
}

static int
read_line(actor *self, void *arg)
{
    const tls_end *end = arg;
    char *line;
    ssize_t len = yula_tls_read_line(end->tls, &line);

    if (len >= 0)
        memcpy(got, line, (size_t)len + 1);
    return (int)len;
}

static int
read_to_stop(actor *self, void *arg)
{
    const tls_end *end = arg;
    char *found;

    return (int)yula_tls_read_until(end->tls, "--", 2, &found);
}

static int
read_ten(actor *self, void *arg)
{
    static size_t count;
    const tls_end *end = arg;

    if (self->number == 1)
        count = 0;
    return yula_tls_read_exactly(end->tls, got, 10, &count);
}

TEST(a_read_takes_what_there_is)
{
    yula_loop *loop = test_loop();
    tls_pair pair;
    actor bob;

    tls_meet_well(&pair, loop);
    server_says(&pair, "hello");
    CHECK_EQ(tls_play(&pair, &pair.client, read_number, 3), 3);
    CHECK_STR(got, "hel");
    CHECK_EQ(tls_play(&pair, &pair.client, read_number, 200), 2);
    CHECK_STR(got, "lo");
    CHECK_EQ(tls_play(&pair, &pair.client, read_number, 0), -EINVAL);
    actor_start(&bob, loop, "bob", read_number, &pair.client);
    bob.number = 200;
    settle(loop);
    CHECK_EQ(tls_play(&pair, &pair.client, read_number, 3), -EBUSY);
    yula_task_cancel(bob.task);
    CHECK_EQ(actor_end(&bob), YULA_ECANCELED);
    server_says(&pair, "more");
    CHECK_EQ(tls_play(&pair, &pair.client, read_number, 200), 4);
    tls_part(&pair);
    yula_loop_free(loop);
}

TEST(lines_and_parts_are_found_across_records)
{
    yula_loop *loop = test_loop();
    tls_pair pair;

    tls_meet_well(&pair, loop);
    server_says(&pair, "one\r\ntw");
    server_says(&pair, "o\n\nand a part --0123");
    CHECK_EQ(tls_play(&pair, &pair.client, read_line, 0), 3);
    CHECK_STR(got, "one");
    CHECK_EQ(tls_play(&pair, &pair.client, read_line, 0), 3);
    CHECK_STR(got, "two");
    CHECK_EQ(tls_play(&pair, &pair.client, read_line, 0), 0);
    CHECK_EQ(tls_play(&pair, &pair.client, read_to_stop, 0), 13);
    actor_start(&pair.client.actor, loop, "ten", read_ten, &pair.client);
    pair.client.actor.number = 1;
    settle(loop);
    yula_task_cancel(pair.client.actor.task);
    CHECK_EQ(actor_end(&pair.client.actor), YULA_ECANCELED);
    server_says(&pair, "456789ab\n");
    CHECK_EQ(tls_play(&pair, &pair.client, read_ten, 2), 0);
    CHECK(memcmp(got, "0123456789", 10) == 0);
    yula_tls_set_limit(pair.client.tls, 2);
    CHECK_EQ(tls_play(&pair, &pair.client, read_line, 0), -EMSGSIZE);
    CHECK_EQ(tls_play(&pair, &pair.client, read_number, 200), 3);
    CHECK_STR(got, "ab\n");
    tls_part(&pair);
    yula_loop_free(loop);
}

/* --- much ---------------------------------------------------------------- */

#define BULK (3 * 1024 * 1024)

static unsigned char
byte_at(size_t i, int way)
{
    return (unsigned char)((i * 2654435761u + (size_t)way * 77) >> 13);
}

typedef struct flow {
    tls_end *end;
    int way;
    size_t piece;
    size_t done;
    bool keys; /* exchange them now and then */
} flow;

static int
flow_out(actor *self, void *arg)
{
    flow *with = arg;
    char *bytes = malloc(with->piece);
    int err = 0;

    while (with->done < BULK && err == 0) {
        size_t len = BULK - with->done < with->piece ? BULK - with->done
                                                     : with->piece;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)byte_at(with->done + i, with->way);
        if (with->keys && with->done / with->piece % 8 == 3)
            SSL_key_update(yula_tls_openssl(with->end->tls),
                           SSL_KEY_UPDATE_REQUESTED);
        err = yula_tls_write(with->end->tls, bytes, len);
        with->done += len;
    }
    free(bytes);
    return err;
}

static int
flow_in(actor *self, void *arg)
{
    flow *with = arg;
    char *bytes = malloc(with->piece);
    ssize_t n = 0;
    bool same = true;

    while (with->done < BULK) {
        n = yula_tls_read(with->end->tls, bytes, with->piece);
        if (n <= 0)
            break;
        for (ssize_t i = 0; i < n; i++)
            same = same && (unsigned char)bytes[i] ==
                               byte_at(with->done + (size_t)i, with->way);
        with->done += (size_t)n;
    }
    free(bytes);
    return n < 0 ? (int)n : same ? 0 : -EPROTO;
}

static void
check_flows(tls_pair *pair, size_t out_piece, size_t in_piece, bool keys)
{
    tls_end *ends[] = {&pair->client, &pair->server};
    actor actors[4];
    flow flows[4];

    for (int way = 0; way < 2; way++) {
        flows[way] = (flow){ends[way], way, out_piece, 0, keys};
        flows[2 + way] = (flow){ends[1 - way], way, in_piece, 0, false};
        actor_start(&actors[way], pair->loop, "out", flow_out, &flows[way]);
        actor_start(&actors[2 + way], pair->loop, "in", flow_in,
                    &flows[2 + way]);
    }
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(actor_end(&actors[i]), 0);
        CHECK_EQ(flows[i].done, BULK);
    }
}

TEST(much_goes_both_ways_at_once)
{
    static const struct {
        size_t out, in;
    } pieces[] = {{1000, 777}, {16384, 65536}, {1024 * 1024, 16384}};
    yula_loop *loop = test_loop();
    tls_pair pair;

    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
        tls_meet_well(&pair, loop);
        check_flows(&pair, pieces[i].out, pieces[i].in, false);
        tls_part(&pair);
    }
    yula_loop_free(loop);
}

TEST(much_goes_both_ways_over_tls_1_2)
{
    yula_loop *loop = test_loop();
    yula_tls_context *client = tls_client_context(NULL);
    tls_pair pair;

    CHECK_EQ(SSL_CTX_set_max_proto_version(yula_tls_context_openssl(client),
                                           TLS1_2_VERSION),
             1);
    tls_meet(&pair, loop, client, "localhost",
             tls_server_context("server", NULL));
    check_flows(&pair, 50000, 20000, false);
    tls_part(&pair);
    yula_loop_free(loop);
}

TEST(keys_are_exchanged_while_much_goes_both_ways)
{
    yula_loop *loop = test_loop();
    tls_pair pair;

    tls_meet_well(&pair, loop);
    check_flows(&pair, 10000, 16384, true);
    tls_part(&pair);
    yula_loop_free(loop);
}

/* --- several writers ----------------------------------------------------- */

#define LETTERS 200000

static int
write_letters(actor *self, void *arg)
{
    const tls_end *end = arg;
    char *letters = malloc(LETTERS);

    memset(letters, self->name[0], LETTERS);
    int err = yula_tls_write(end->tls, letters, LETTERS);
    free(letters);
    return err;
}

static int
read_letters(actor *self, void *arg)
{
    const tls_end *end = arg;
    char *letters = malloc(LETTERS);

    for (int i = 0; i < 3; i++) {
        size_t count = 0;
        int err = yula_tls_read_exactly(end->tls, letters, LETTERS, &count);
        if (err < 0)
            return err;
        for (size_t k = 0; k < LETTERS; k++)
            if (letters[k] != 'a' + i)
                return -EPROTO;
    }
    free(letters);
    return 0;
}

static void
small_buffers(tls_pair *pair)
{
    tls_end *ends[] = {&pair->client, &pair->server};

    for (int i = 0; i < 2; i++) {
        int fd = yula_conn_fd(yula_tls_conn(ends[i]->tls)), size = 16384;
        CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
        CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
    }
}

TEST(what_several_tasks_write_does_not_mix)
{
    static const char *const names[] = {"a", "b", "c"};
    yula_loop *loop = test_loop();
    tls_pair pair;
    actor actors[3];

    tls_meet_well(&pair, loop);
    small_buffers(&pair);
    for (int i = 0; i < 3; i++)
        actor_start(&actors[i], loop, names[i], write_letters, &pair.server);
    settle(loop);
    for (int i = 0; i < 3; i++)
        CHECK(!yula_task_ended(actors[i].task)); /* the peer reads nothing */
    CHECK_EQ(tls_play(&pair, &pair.client, read_letters, 0), 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(actor_end(&actors[i]), 0);
    tls_part(&pair);
    yula_loop_free(loop);
}

static int
drain(actor *self, void *arg)
{
    const tls_end *end = arg;
    return yula_tls_drain(end->tls);
}

TEST(a_writer_that_waits_can_be_interrupted)
{
    yula_loop *loop = test_loop();
    tls_pair pair;
    actor ann, bob, eve;

    tls_meet_well(&pair, loop);
    small_buffers(&pair);
    actor_start(&ann, loop, "a", write_letters, &pair.server);
    actor_start(&bob, loop, "b", write_letters, &pair.server);
    actor_start(&eve, loop, "e", drain, &pair.server);
    settle(loop);
    yula_task_cancel(ann.task);
    yula_task_cancel(bob.task);
    yula_task_cancel(eve.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK_EQ(actor_end(&bob), YULA_ECANCELED);
    CHECK_EQ(actor_end(&eve), YULA_ECANCELED);
    /* What was encrypted arrives; the connection is well. */
    int n = tls_play(&pair, &pair.client, read_number, 200);
    CHECK_EQ(n, 200);
    CHECK_EQ(got[199], 'a');
    tls_part(&pair);
    yula_loop_free(loop);
}

/* --- the end ------------------------------------------------------------- */

static int
finish(actor *self, void *arg)
{
    const tls_end *end = arg;
    return yula_tls_finish(end->tls, 1000000000);
}

TEST(a_goodbye_ends_one_half)
{
    yula_loop *loop = test_loop();
    tls_pair pair;

    tls_meet_well(&pair, loop);
    text = "last words";
    CHECK_EQ(tls_play(&pair, &pair.client, write_text, 0), 0);
    CHECK_EQ(yula_tls_shutdown(pair.client.tls), 0);
    CHECK_EQ(yula_tls_shutdown(pair.client.tls), -EALREADY);
    CHECK_EQ(tls_play(&pair, &pair.client, write_text, 0), -EPIPE);
    CHECK_EQ(tls_play(&pair, &pair.server, read_number, 200), 10);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(tls_play(&pair, &pair.server, read_number, 200), YULA_EOF);
    server_says(&pair, "answer");
    CHECK_EQ(tls_play(&pair, &pair.client, read_number, 200), 6);
    CHECK_EQ(yula_tls_shutdown(pair.server.tls), 0);
    CHECK_EQ(tls_play(&pair, &pair.client, read_number, 200), YULA_EOF);
    CHECK_EQ(yula_tls_failure(pair.client.tls)->code, 0);
    tls_part(&pair);
    yula_loop_free(loop);
}

TEST(who_finishes_waits_for_the_other)
{
    yula_loop *loop = test_loop();
    tls_pair pair;
    actor ann;

    tls_meet_well(&pair, loop);
    actor_start(&ann, loop, "ann", finish, &pair.client);
    settle(loop);
    CHECK(!yula_task_ended(ann.task));
    server_says(&pair, "this is dropped");
    CHECK_EQ(tls_play(&pair, &pair.server, finish, 0), 0);
    CHECK_EQ(actor_end(&ann), 0);
    tls_part(&pair);
    yula_loop_free(loop);
}

TEST(who_finishes_does_not_wait_for_ever)
{
    yula_loop *loop = test_loop_by_hand();
    tls_pair pair;
    actor ann;

    tls_meet_well(&pair, loop);
    actor_start(&ann, loop, "ann", finish, &pair.client);
    settle(loop);
    test_now_ns += 1000000000;
    CHECK_EQ(actor_end(&ann), -ETIMEDOUT);
    tls_part(&pair);
    yula_loop_free(loop);
}

TEST(an_end_without_a_goodbye_is_a_failure)
{
    yula_loop *loop = test_loop();
    tls_pair pair;

    for (int i = 0; i < 2; i++) {
        tls_meet_well(&pair, loop);
        server_says(&pair, "first ha");
        settle(loop);
        yula_tls_abort(pair.server.tls); /* FIN, and nothing else */
        pair.server.tls = NULL;
        if (i == 0) {
            CHECK_EQ(tls_play(&pair, &pair.client, read_number, 200), 8);
            for (int k = 0; k < 2; k++)
                CHECK_EQ(tls_play(&pair, &pair.client, read_number, 200),
                         YULA_ECUT);
        }
        else {
            CHECK_EQ(tls_play(&pair, &pair.client, finish, 0), YULA_ECUT);
        }
        const yula_tls_why *why = yula_tls_failure(pair.client.tls);
        CHECK_EQ(why->code, YULA_ECUT);
        CHECK_STR(why->text, "the TLS connection was cut off");
        CHECK_EQ(yula_tls_shutdown(pair.client.tls), YULA_ECUT);
        CHECK_EQ(tls_play(&pair, &pair.client, write_text, 0), YULA_ECUT);
        CHECK_EQ(tls_play(&pair, &pair.client, drain, 0), YULA_ECUT);
        tls_part(&pair);
    }
    yula_loop_free(loop);
}

TEST(records_that_somebody_has_changed_are_refused)
{
    static const char record[] = "\x17\x03\x03\x00\x20"
                                 "these are thirty-two other bytes";
    yula_loop *loop = test_loop();
    tls_pair pair;

    tls_meet_well(&pair, loop);
    test_send_all(yula_conn_fd(yula_tls_conn(pair.server.tls)), record,
                  sizeof(record) - 1);
    /* Tickets are in front of it, and are still good. */
    CHECK_EQ(tls_play(&pair, &pair.client, read_number, 200), YULA_ETLS);
    CHECK_STR(yula_tls_failure(pair.client.tls)->text,
              "decryption failed or bad record mac");
    CHECK_EQ(tls_play(&pair, &pair.server, read_number, 200), YULA_EALERT);
    CHECK_EQ(yula_tls_failure(pair.server.tls)->alert, 20);
    tls_part(&pair);
    yula_loop_free(loop);
}

/* --- a slow line --------------------------------------------------------- */

/* Two ends that do not see each other: the test carries the bytes. */
typedef struct relay {
    tls_pair pair;
    int fds[2]; /* the client's other end, the server's */
} relay;

static void
relay_begin(relay *self, yula_loop *loop)
{
    yula_tls_options options = {.size = sizeof(options),
                                .certificate_file = tls_file("server"),
                                .trust_file = tls_file("ca")};
    int client[2], server[2];
    yula_conn *conn;
    yula_tls_context **contexts = self->pair.contexts;

    *self = (relay){.pair = {.loop = loop}};
    /* A client's certificate makes the tickets long, so that they come in parts. */
    CHECK_EQ(yula_tls_context_server(&options, NULL, &contexts[1]), 0);
    options.certificate_file = tls_file("client");
    CHECK_EQ(yula_tls_context_client(&options, NULL, &contexts[0]), 0);
    CHECK_EQ(SSL_CTX_set_max_send_fragment(
                 yula_tls_context_openssl(contexts[1]), 512),
             1);
    test_tcp_pair(client);
    test_tcp_pair(server);
    self->fds[0] = client[1];
    self->fds[1] = server[1];
    CHECK_EQ(yula_conn_new(loop, client[0], &conn), 0);
    CHECK_EQ(
        yula_tls_client(contexts[0], conn, "localhost", &self->pair.client.tls),
        0);
    CHECK_EQ(yula_conn_new(loop, server[0], &conn), 0);
    CHECK_EQ(yula_tls_server(contexts[1], conn, &self->pair.server.tls), 0);
}

/* Carry up to len bytes; returns how many. */
static ssize_t
relay_carry(relay *self, bool to_client, size_t len)
{
    char bytes[4096];
    ssize_t n = recv(self->fds[to_client], bytes,
                     len < sizeof(bytes) ? len : sizeof(bytes), MSG_DONTWAIT);

    if (n > 0)
        test_send_all(self->fds[!to_client], bytes, (size_t)n);
    return n;
}

static void
relay_end(relay *self)
{
    yula_tls_close(self->pair.client.tls);
    yula_tls_close(self->pair.server.tls);
    for (int i = 0; i < 2; i++) {
        yula_tls_context_unref(self->pair.contexts[i]);
        close(self->fds[i]);
    }
    settle(self->pair.loop);
}

TEST(bytes_may_come_one_by_one)
{
    yula_loop *loop = test_loop();
    relay self;
    actor actors[2];

    relay_begin(&self, loop);
    actor_start(&actors[0], loop, "client", tls_shake, &self.pair.client);
    actor_start(&actors[1], loop, "server", tls_shake, &self.pair.server);
    while (!yula_task_ended(actors[0].task) ||
           !yula_task_ended(actors[1].task)) {
        for (int i = 0; i < 2; i++)
            relay_carry(&self, i, 1);
        CHECK_EQ(yula_loop_step(loop, 0), 0);
    }
    for (int i = 0; i < 2; i++)
        CHECK_EQ(actor_end(&actors[i]), 0);
    server_says(&self.pair, "hello");
    actor_start(&actors[0], loop, "client", read_number, &self.pair.client);
    actors[0].number = 200;
    while (!yula_task_ended(actors[0].task)) {
        relay_carry(&self, true, 1);
        CHECK_EQ(yula_loop_step(loop, 0), 0);
    }
    CHECK_EQ(actor_end(&actors[0]), 5);
    CHECK_STR(got, "hello");
    relay_end(&self);
    yula_loop_free(loop);
}

static int
write_lines(actor *self, void *arg)
{
    const tls_end *end = arg;
    int err = 0;

    for (int i = 0; i < self->number && err == 0; i++)
        err = yula_tls_write(end->tls, "line\n", 5);
    return err;
}

/* OpenSSL does not write while it has half of a message; the writer waits, with
 * the reader or alone, and what it writes arrives. */
static void
check_write_between_parts(yula_loop *loop, bool reader)
{
    relay self;
    actor actors[2], writer;

    relay_begin(&self, loop);
    actor_start(&actors[0], loop, "client", tls_shake, &self.pair.client);
    actor_start(&actors[1], loop, "server", tls_shake, &self.pair.server);
    while (!yula_task_ended(actors[0].task)) {
        for (int i = 0; i < 2; i++)
            relay_carry(&self, i, 100);
        CHECK_EQ(yula_loop_step(loop, 0), 0);
    }
    CHECK_EQ(actor_end(&actors[0]), 0);
    while (!yula_task_ended(actors[1].task)) {
        relay_carry(&self, false, 4096);
        CHECK_EQ(yula_loop_step(loop, 0), 0);
    }
    CHECK_EQ(actor_end(&actors[1]), 0);
    /* The tickets have been sent, and wait here. The first fragment and a bit. */
    CHECK_EQ(relay_carry(&self, true, 600), 600);
    if (reader) {
        actor_start(&actors[0], loop, "reader", read_number, &self.pair.client);
        actors[0].number = 200;
        settle(loop);
    }
    actor_start(&writer, loop, "writer", write_lines, &self.pair.client);
    writer.number = 3;
    settle(loop);
    CHECK_EQ(yula_task_ended(writer.task), !reader);
    if (reader) {
        yula_task_cancel(actors[0].task); /* the writer is not forgotten */
        CHECK_EQ(actor_end(&actors[0]), YULA_ECANCELED);
        settle(loop);
        CHECK(!yula_task_ended(writer.task));
    }
    while (relay_carry(&self, true, 4096) > 0)
        settle(loop);
    CHECK_EQ(actor_end(&writer), 0);
    relay_carry(&self, false, 4096);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(tls_play(&self.pair, &self.pair.server, read_line, 0), 4);
    relay_end(&self);
}

TEST(a_writer_waits_while_a_message_has_come_in_part)
{
    yula_loop *loop = test_loop();

    check_write_between_parts(loop, true);
    check_write_between_parts(loop, false);
    yula_loop_free(loop);
}

/* --- a peer that asks and does not listen -------------------------------- */

static int
ask_for_keys(actor *self, void *arg)
{
    const tls_end *end = arg;
    int err = 0;

    for (int i = 0; i < self->number && err == 0; i++) {
        SSL_key_update(yula_tls_openssl(end->tls), SSL_KEY_UPDATE_REQUESTED);
        err = yula_tls_write(end->tls, "x", 1);
    }
    return err;
}

static int
read_all(actor *self, void *arg)
{
    const tls_end *end = arg;
    char bytes[100];
    ssize_t n;

    do
        n = yula_tls_read(end->tls, bytes, sizeof(bytes));
    while (n > 0);
    return (int)n;
}

TEST(a_peer_that_asks_and_does_not_listen_is_dropped)
{
    yula_loop *loop = test_loop();
    tls_pair pair;
    actor writer, reader;

    tls_meet_well(&pair, loop);
    small_buffers(&pair);
    CHECK_EQ(tls_play(&pair, &pair.client, ask_for_keys, 200), 0);
    actor_start(&reader, loop, "reader", read_all, &pair.server);
    settle(loop);
    CHECK(!yula_task_ended(reader.task)); /* the answers have been sent */
    actor_start(&writer, loop, "writer", write_letters, &pair.server);
    settle(loop);
    CHECK(!yula_task_ended(writer.task)); /* from here on they wait */
    CHECK_EQ(tls_play(&pair, &pair.client, ask_for_keys, 50), 0);
    settle(loop);
    CHECK(!yula_task_ended(reader.task));
    CHECK_EQ(tls_play(&pair, &pair.client, ask_for_keys, 50), 0);
    CHECK_EQ(actor_end(&reader), YULA_ETLS);
    CHECK_STR(yula_tls_failure(pair.server.tls)->text,
              "the peer asks and does not listen");
    yula_task_cancel(writer.task);
    CHECK_EQ(actor_end(&writer), YULA_ECANCELED);
    yula_tls_abort(pair.server.tls);
    pair.server.tls = NULL;
    tls_part(&pair);
    yula_loop_free(loop);
}
