/* test_conn.c: connections as tasks use them. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors.h"
#include "support.h"
#include "test.h"

/* A connection, and the other end, which the test plays. */
typedef struct talk {
    yula_loop *loop;
    yula_conn *conn;
    int peer;
    char got[256];
} talk;

static void
talk_begin(talk *self, yula_loop *loop, bool tcp)
{
    int fds[2];

    if (tcp)
        test_tcp_pair(fds);
    else
        test_unix_pair(fds);
    /* What the kernel takes must stay well below BULK. */
    int size = 128 * 1024;
    CHECK_EQ(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    CHECK_EQ(setsockopt(fds[1], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
    *self = (talk){.loop = loop, .peer = fds[1]};
    CHECK_EQ(yula_conn_new(loop, fds[0], &self->conn), 0);
    CHECK_EQ(yula_conn_fd(self->conn), fds[0]);
}

static void
talk_end(talk *self)
{
    yula_conn_close(self->conn);
    close(self->peer);
}

static void
say(const talk *self, const char *text)
{
    test_send_all(self->peer, text, strlen(text));
}

/* --- reading ------------------------------------------------------------- */

/* Reads once, at most number bytes. */
static int
read_once(actor *self, void *arg)
{
    talk *with = arg;
    ssize_t len = yula_conn_read(with->conn, with->got, (size_t)self->number);

    if (len > 0)
        with->got[len] = '\0';
    return (int)len;
}

static int
read_number(talk *with, int number)
{
    actor ann;

    actor_start(&ann, with->loop, "ann", read_once, with);
    ann.number = number;
    return actor_end(&ann);
}

TEST(a_read_takes_what_there_is)
{
    yula_loop *loop = test_loop();
    talk with;

    for (int tcp = 0; tcp < 2; tcp++) {
        actor ann;
        talk_begin(&with, loop, tcp);
        say(&with, "hello");
        CHECK_EQ(read_number(&with, 3), 3);
        CHECK_STR(with.got, "hel");
        CHECK_EQ(read_number(&with, 200), 2);
        CHECK_STR(with.got, "lo");
        CHECK_EQ(read_number(&with, 0), -EINVAL);
        actor_start(&ann, loop, "ann", read_once, &with);
        ann.number = 200;
        settle(loop);
        CHECK_EQ(read_number(&with, 200), -EBUSY); /* ann reads */
        say(&with, "more");
        CHECK_EQ(actor_end(&ann), 4);
        CHECK_EQ(shutdown(with.peer, SHUT_WR), 0);
        for (int i = 0; i < 2; i++)
            CHECK_EQ(read_number(&with, 200), YULA_EOF);
        talk_end(&with);
    }
    yula_loop_free(loop);
}

TEST(an_interrupted_read_loses_nothing)
{
    yula_loop *loop = test_loop();
    talk with;
    actor ann;

    talk_begin(&with, loop, true);
    actor_start(&ann, loop, "ann", read_once, &with);
    ann.number = 200;
    settle(loop);
    say(&with, "hello");
    yula_task_cancel(ann.task);
    int got = actor_end(&ann);
    CHECK_EQ(got, YULA_ECANCELED);
    CHECK_EQ(read_number(&with, 200), 5);
    CHECK_STR(with.got, "hello");
    talk_end(&with);
    yula_loop_free(loop);
}

/* Four reads of a byte, and the turn of the loop that each was made in. */
typedef struct crumbs {
    talk with;
    uint64_t turns[4];
} crumbs;

static int
read_crumbs(actor *self, void *arg)
{
    crumbs *into = arg;

    for (int i = 0; i < 4; i++) {
        yula_loop_stats stats;
        CHECK_EQ(yula_conn_read(into->with.conn, into->with.got, 1), 1);
        yula_loop_get_stats(into->with.loop, &stats);
        into->turns[i] = stats.turns;
    }
    return 0;
}

TEST(what_a_read_left_over_is_had_at_once_but_not_for_ever)
{
    yula_loop *loop = test_loop();
    crumbs into;
    actor ann;

    for (int tcp = 0; tcp < 2; tcp++) {
        talk_begin(&into.with, loop, tcp);
        actor_start(&ann, loop, "ann", read_crumbs, &into);
        settle(loop);
        say(&into.with, "hello");
        CHECK_EQ(actor_end(&ann), 0);
        CHECK_EQ(into.turns[1], into.turns[0]);
        CHECK(into.turns[2] > into.turns[1]);
        CHECK_EQ(into.turns[3], into.turns[2]);
        talk_end(&into.with);
    }
    yula_loop_free(loop);
}

/* Once it has something to read itself, closes the connection of another. */
typedef struct thief {
    talk own;
    talk other;
    yula_task *canceled; /* or NULL */
} thief;

static int
close_others(actor *self, void *arg)
{
    thief *with = arg;
    int err = yula_conn_wait(with->own.conn);

    if (with->canceled != NULL)
        yula_task_cancel(with->canceled);
    yula_conn_close(with->other.conn);
    with->other.conn = NULL;
    return err;
}

TEST(a_reader_that_was_woken_survives_the_close_of_its_connection)
{
    yula_loop *loop = test_loop();
    thief with;
    actor tom, ann;

    for (int cancels = 0; cancels < 2; cancels++) {
        talk_begin(&with.own, loop, true);
        talk_begin(&with.other, loop, true);
        actor_start(&tom, loop, "tom", close_others, &with);
        actor_start(&ann, loop, "ann", read_once, &with.other);
        ann.number = 200;
        with.canceled = cancels ? ann.task : NULL;
        settle(loop);
        say(&with.own, "now"); /* both in one turn, tom's first */
        say(&with.other, "lost");
        CHECK_EQ(actor_end(&ann), cancels ? YULA_ECANCELED : -ECONNABORTED);
        CHECK_EQ(actor_end(&tom), 0);
        talk_end(&with.own);
        talk_end(&with.other);
    }
    yula_loop_free(loop);
}

/* Waits, then reads without waiting until nothing is left. Returns how much. */
static int
wait_and_try(actor *self, void *arg)
{
    talk *with = arg;
    ssize_t len, sum = 0;

    int err = yula_conn_wait(with->conn);
    if (err < 0)
        return err;
    while ((len = yula_conn_try_read(with->conn, with->got + sum,
                                     (size_t)self->number)) > 0)
        sum += len;
    with->got[sum] = '\0';
    return len == -EAGAIN || sum > 0 ? (int)sum : (int)len;
}

static int
wait_in_parts(talk *with, int number)
{
    actor ann;

    actor_start(&ann, with->loop, "ann", wait_and_try, with);
    ann.number = number;
    return actor_end(&ann);
}

TEST(who_only_waits_is_told_of_bytes_and_of_the_end)
{
    yula_loop *loop = test_loop();
    talk with;
    actor ann, bob;

    for (int tcp = 0; tcp < 2; tcp++) {
        talk_begin(&with, loop, tcp);
        CHECK_EQ(yula_conn_try_read(with.conn, with.got, 10), -EAGAIN);
        CHECK_EQ(yula_conn_try_read(with.conn, with.got, 0), -EINVAL);
        say(&with, "hello");
        CHECK_EQ(wait_in_parts(&with, 2), 5);
        CHECK_STR(with.got, "hello");
        actor_start(&ann, loop, "ann", wait_and_try, &with);
        ann.number = 200;
        settle(loop);
        CHECK_EQ(wait_in_parts(&with, 200), -EBUSY);
        CHECK_EQ(read_number(&with, 200), -EBUSY);
        CHECK_EQ(yula_conn_try_read(with.conn, with.got, 10), -EAGAIN);
        yula_task_cancel(ann.task);
        CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
        actor_start(&bob, loop, "bob", read_once, &with);
        bob.number = 200;
        settle(loop);
        CHECK_EQ(yula_conn_try_read(with.conn, with.got, 10), -EBUSY);
        say(&with, "more");
        CHECK_EQ(actor_end(&bob), 4);
        say(&with, "last words");
        CHECK_EQ(shutdown(with.peer, SHUT_WR), 0);
        CHECK_EQ(wait_in_parts(&with, 200), 10);
        CHECK_STR(with.got, "last words");
        for (int i = 0; i < 2; i++)
            CHECK_EQ(wait_in_parts(&with, 200), YULA_EOF);
        talk_end(&with);
    }
    yula_loop_free(loop);
}

TEST(who_only_waits_is_told_of_a_reset)
{
    yula_loop *loop = test_loop();
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    talk with;

    talk_begin(&with, loop, true);
    CHECK_EQ(
        setsockopt(with.peer, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)),
        0);
    close(with.peer);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(wait_in_parts(&with, 200), -ECONNRESET);
    with.peer = -1;
    yula_conn_close(with.conn);
    yula_loop_free(loop);
}

typedef struct exact {
    talk talk;
    size_t got;
    char bytes[10];
} exact;

static int
read_ten(actor *self, void *arg)
{
    exact *with = arg;

    return yula_conn_read_exactly(with->talk.conn, with->bytes, 10, &with->got);
}

TEST(an_exact_read_goes_on_where_it_was_interrupted)
{
    yula_loop *loop = test_loop();
    exact with = {.got = 0};
    actor ann;

    talk_begin(&with.talk, loop, true);
    actor_start(&ann, loop, "ann", read_ten, &with);
    say(&with.talk, "0123");
    while (with.got < 4)
        CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK_EQ(with.got, 4);
    say(&with.talk, "456789ab");
    actor_start(&ann, loop, "ann", read_ten, &with);
    CHECK_EQ(actor_end(&ann), 0);
    CHECK(memcmp(with.bytes, "0123456789", 10) == 0);
    close(with.talk.peer);
    with.got = 0;
    actor_start(&ann, loop, "ann", read_ten, &with);
    CHECK_EQ(actor_end(&ann), YULA_EOF);
    CHECK_EQ(with.got, 2);
    CHECK(memcmp(with.bytes, "ab", 2) == 0);
    yula_conn_close(with.talk.conn);
    yula_loop_free(loop);
}

static int
read_line(actor *self, void *arg)
{
    talk *with = arg;
    char *line;
    ssize_t len = yula_conn_read_line(with->conn, &line);

    if (len >= 0) {
        CHECK_EQ(strlen(line), len);
        snprintf(with->got, sizeof(with->got), "%s", line);
    }
    return (int)len;
}

static int
next_line(talk *with)
{
    actor ann;

    actor_start(&ann, with->loop, "ann", read_line, with);
    return actor_end(&ann);
}

TEST(lines_come_one_by_one_however_they_were_sent)
{
    yula_loop *loop = test_loop();
    talk with;
    actor ann;

    talk_begin(&with, loop, true);
    say(&with, "one\ntwo\r\n\n\r\nfi");
    static const char *const expected[] = {"one", "two", "", ""};
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(next_line(&with), strlen(expected[i]));
        CHECK_STR(with.got, expected[i]);
    }
    actor_start(&ann, loop, "ann", read_line, &with);
    settle(loop);
    say(&with, "ve");
    settle(loop);
    CHECK(!yula_task_ended(ann.task));
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK(yula_conn_buffered(with.conn) >= 2);
    say(&with, "\nno end");
    CHECK_EQ(next_line(&with), 4);
    CHECK_STR(with.got, "five");
    CHECK_EQ(shutdown(with.peer, SHUT_WR), 0);
    CHECK_EQ(next_line(&with), YULA_EOF);
    CHECK_EQ(read_number(&with, 200), 6); /* what had no end */
    CHECK_STR(with.got, "no end");
    CHECK_EQ(read_number(&with, 200), YULA_EOF);
    talk_end(&with);
    yula_loop_free(loop);
}

static int
read_until_stop(actor *self, void *arg)
{
    talk *with = arg;
    char *base;
    ssize_t len = yula_conn_read_until(with->conn, "stop", 4, &base);

    if (len > 0) {
        memcpy(with->got, base, (size_t)len);
        with->got[len] = '\0';
    }
    return (int)len;
}

TEST(a_delimiter_is_found_also_when_it_arrives_in_pieces)
{
    yula_loop *loop = test_loop();
    talk with;
    actor ann;

    talk_begin(&with, loop, true);
    actor_start(&ann, loop, "ann", read_until_stop, &with);
    static const char *const pieces[] = {"x", "st", "sto", "p", "y"};
    for (int i = 0; i < 5; i++) {
        say(&with, pieces[i]);
        settle(loop);
    }
    CHECK_EQ(actor_end(&ann), 7);
    CHECK_STR(with.got, "xststop");
    talk_end(&with);
    yula_loop_free(loop);
}

TEST(a_line_longer_than_the_limit_is_an_error_and_stays_readable)
{
    yula_loop *loop = test_loop();
    talk with;

    talk_begin(&with, loop, true);
    yula_conn_set_limit(with.conn, 5);
    say(&with, "1234\n123456\n12345");
    CHECK_EQ(next_line(&with), 4);
    CHECK_EQ(next_line(&with), -EMSGSIZE);
    CHECK_EQ(next_line(&with), -EMSGSIZE);
    CHECK_EQ(read_number(&with, 7), 7);
    CHECK_STR(with.got, "123456\n");
    CHECK_EQ(next_line(&with), -EMSGSIZE); /* no room for its end */
    talk_end(&with);
    yula_loop_free(loop);
}

/* Longer than a buffer begins with, and in front of it something to move. */
TEST(long_lines_make_the_buffer_grow)
{
    yula_loop *loop = test_loop();
    talk with;
    static char text[20000];

    talk_begin(&with, loop, true);
    memset(text, 'x', sizeof(text));
    memcpy(text, "short\n", 6);
    text[sizeof(text) - 1] = '\n';
    test_send_all(with.peer, text, sizeof(text));
    CHECK_EQ(next_line(&with), 5);
    CHECK_EQ(next_line(&with), sizeof(text) - 7);
    CHECK_EQ(yula_conn_buffered(with.conn), 0);
    talk_end(&with);
    yula_loop_free(loop);
}

TEST(a_reset_is_told_by_every_call_from_then_on)
{
    yula_loop *loop = test_loop();
    talk with;
    struct linger reset = {.l_onoff = 1};

    talk_begin(&with, loop, true);
    CHECK_EQ(
        setsockopt(with.peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    close(with.peer);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(read_number(&with, 10), -ECONNRESET);
    CHECK_EQ(next_line(&with), -ECONNRESET);
    CHECK_EQ(yula_conn_try_write(with.conn, "x", 1), -ECONNRESET);
    yula_conn_close(with.conn);
    yula_loop_free(loop);
}

/* --- writing ------------------------------------------------------------- */

enum {
    BULK = 4 * 1024 * 1024
};

/* number bytes, all the same letter. */
static int
write_bulk(actor *self, void *arg)
{
    talk *with = arg;
    char *bytes = malloc((size_t)self->number);

    CHECK(bytes != NULL);
    memset(bytes, self->name[0], (size_t)self->number);
    int err = yula_conn_write(with->conn, bytes, (size_t)self->number);
    free(bytes);
    actor_note(self, err == 0 ? "wrote" : "gave up");
    return err;
}

TEST(a_large_write_is_one_system_call_where_the_kernel_has_room)
{
    yula_loop *loop = test_loop();
    talk with;
    actor ann;
    enum {
        LARGE = 96 * 1024
    };
    char *got = malloc(LARGE);

    for (int tcp = 0; tcp < 2; tcp++) {
        talk_begin(&with, loop, tcp);
        test_faults_clear();
        actor_start(&ann, loop, "ann", write_bulk, &with);
        ann.number = LARGE;
        CHECK_EQ(actor_end(&ann), 0);
        CHECK_STR(actor_log(), "ann wrote. ");
        CHECK_EQ(test_sys_count("send") + test_sys_count("sendmsg"), 1);
        CHECK_EQ(yula_stream_peek_queued(yula_conn_stream(with.conn)), 0);
        test_recv_turning(loop, with.peer, got, LARGE);
        for (size_t i = 0; i < LARGE; i++)
            CHECK_EQ(got[i], 'a');
        talk_end(&with);
    }
    free(got);
    yula_loop_free(loop);
}

TEST(large_writes_wait_for_the_peer_and_do_not_mix)
{
    yula_loop *loop = test_loop();
    talk with;
    actor ann, bob, cat;
    char *got = malloc(2 * BULK + 10);

    for (int tcp = 0; tcp < 2; tcp++) {
        talk_begin(&with, loop, tcp);
        actor_start(&ann, loop, "ann", write_bulk, &with);
        actor_start(&bob, loop, "bob", write_bulk, &with);
        actor_start(&cat, loop, "cat", write_bulk, &with);
        ann.number = bob.number = BULK;
        cat.number = 10; /* little, but behind the others */
        settle(loop);
        CHECK_STR(actor_log(), "");
        CHECK_EQ(yula_conn_try_write(with.conn, "x", 1), -EAGAIN);
        size_t queued = yula_stream_peek_queued(yula_conn_stream(with.conn));
        CHECK(queued <= 2 * YULA_STREAM_HIGH);
        test_recv_turning(loop, with.peer, got, 2 * BULK + 10);
        for (size_t i = 0; i < 2 * BULK + 10; i++)
            CHECK_EQ(got[i], i < BULK ? 'a' : i < 2 * BULK ? 'b' : 'c');
        CHECK_EQ(actor_end(&ann), 0);
        CHECK_EQ(actor_end(&bob), 0);
        CHECK_EQ(actor_end(&cat), 0);
        CHECK_STR(actor_log(), "ann wrote. bob wrote. cat wrote. ");
        talk_end(&with);
    }
    free(got);
    yula_loop_free(loop);
}

TEST(an_interrupted_writer_lets_the_next_one_write)
{
    yula_loop *loop = test_loop();
    talk with;
    actor ann, bob;

    talk_begin(&with, loop, false);
    actor_start(&ann, loop, "ann", write_bulk, &with);
    ann.number = BULK;
    settle(loop);
    actor_start(&bob, loop, "bob", write_bulk, &with);
    bob.number = 10;
    settle(loop);
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK(!yula_task_ended(bob.task));
    char last[10], byte;
    size_t got = 0;
    while (got < 10) { /* until ten of bob's in a row */
        test_recv_turning(loop, with.peer, &byte, 1);
        CHECK(byte == 'a' || byte == 'b');
        if (byte == 'b')
            last[got++] = byte;
        else
            CHECK_EQ(got, 0);
    }
    CHECK_EQ(last[9], 'b');
    CHECK_EQ(actor_end(&bob), 0);
    (void)actor_log();
    talk_end(&with);
    yula_loop_free(loop);
}

static int
drain(actor *self, void *arg)
{
    talk *with = arg;
    int err = yula_conn_drain(with->conn);

    actor_note(self, err == 0 ? "saw it sent" : "gave up");
    return err;
}

TEST(a_drain_waits_until_all_was_taken)
{
    yula_loop *loop = test_loop();
    talk with;
    actor ann, bob, cat;
    char *got = calloc(1, BULK);

    talk_begin(&with, loop, false);
    actor_start(&bob, loop, "bob", drain, &with); /* nothing */
    CHECK_EQ(actor_end(&bob), 0);
    (void)actor_log();
    CHECK_EQ(yula_conn_try_write(with.conn, got, BULK), 0); /* any length */
    actor_start(&ann, loop, "ann", write_bulk, &with);
    ann.number = 5;
    actor_start(&bob, loop, "bob", drain, &with);
    actor_start(&cat, loop, "cat", drain, &with);
    settle(loop);
    CHECK_STR(actor_log(), "");
    yula_task_cancel(cat.task);
    CHECK_EQ(actor_end(&cat), YULA_ECANCELED);
    test_recv_turning(loop, with.peer, got, BULK);
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_EQ(actor_end(&ann), 0);
    test_recv_turning(loop, with.peer, got, 5);
    (void)actor_log();
    free(got);
    talk_end(&with);
    yula_loop_free(loop);
}

TEST(a_write_to_a_peer_that_is_gone_fails)
{
    yula_loop *loop = test_loop();
    talk with;
    actor ann, bob, cat;

    talk_begin(&with, loop, false);
    actor_start(&ann, loop, "ann", write_bulk, &with);
    actor_start(&bob, loop, "bob", drain, &with);
    actor_start(&cat, loop, "cat", write_bulk, &with);
    ann.number = BULK;
    cat.number = 1;
    settle(loop);
    close(with.peer);
    int err = actor_end(&ann);
    CHECK(err == -EPIPE || err == -ECONNRESET);
    CHECK_EQ(actor_end(&bob), err);
    CHECK_EQ(actor_end(&cat), err);
    CHECK_EQ(yula_conn_try_write(with.conn, "x", 1), err);
    (void)actor_log();
    yula_conn_close(with.conn);
    yula_loop_free(loop);
}

TEST(after_a_shutdown_the_other_half_goes_on)
{
    yula_loop *loop = test_loop();
    talk with;
    actor ann;
    char byte;

    talk_begin(&with, loop, true);
    CHECK_EQ(yula_conn_shutdown(with.conn), 0);
    CHECK_EQ(yula_conn_shutdown(with.conn), -EALREADY);
    actor_start(&ann, loop, "ann", write_bulk, &with);
    ann.number = 1;
    CHECK_EQ(actor_end(&ann), -EPIPE);
    test_wait_readable(with.peer);
    CHECK_EQ(recv(with.peer, &byte, 1, 0), 0);
    say(&with, "still here");
    CHECK_EQ(read_number(&with, 100), 10);
    (void)actor_log();
    talk_end(&with);
    yula_loop_free(loop);
}

/* Answers each line with self->number writes of one byte. */
static int
answer_in_pieces(actor *self, void *arg)
{
    talk *with = arg;
    char *line;
    int err = 0;

    while (err == 0 && yula_conn_read_line(with->conn, &line) >= 0) {
        for (int i = 0; i < self->number && err == 0; i++)
            err = yula_conn_write(with->conn, "x", 1);
    }
    return err;
}

/* How many system calls the answer takes. */
static long
exchange(const talk *with, int pieces)
{
    long before = test_sys_count("send") + test_sys_count("sendmsg");
    char got[10];

    say(with, "?\n");
    test_recv_turning(with->loop, with->peer, got, (size_t)pieces);
    settle(with->loop);
    return test_sys_count("send") + test_sys_count("sendmsg") - before;
}

TEST(an_answer_is_one_system_call_in_however_many_pieces)
{
    yula_loop *loop = test_loop();
    talk with;
    actor ann;

    talk_begin(&with, loop, true);
    actor_start(&ann, loop, "ann", answer_in_pieces, &with);
    ann.number = 1;
    for (int i = 0; i < 3; i++)
        CHECK_EQ(exchange(&with, 1), 1);
    ann.number = 4;
    CHECK_EQ(exchange(&with, 4), 2); /* it was expected to be alone */
    for (int i = 0; i < 3; i++)
        CHECK_EQ(exchange(&with, 4), 1);
    ann.number = 1;
    for (int i = 0; i < 30; i++)
        CHECK_EQ(exchange(&with, 1), 1);
    ann.number = 2;
    CHECK_EQ(exchange(&with, 2), 2); /* learned anew meanwhile */
    CHECK_EQ(exchange(&with, 2), 1);
    close(with.peer);
    CHECK_EQ(actor_end(&ann), 0);
    yula_conn_close(with.conn);
    yula_loop_free(loop);
}

/* --- the end ------------------------------------------------------------- */

TEST(what_was_written_before_a_close_arrives)
{
    yula_loop *loop = test_loop();
    talk with;
    char *bytes = calloc(1, BULK), byte;

    talk_begin(&with, loop, true);
    CHECK_EQ(yula_conn_try_write(with.conn, bytes, BULK), 0);
    yula_conn_close(with.conn);
    test_recv_turning(loop, with.peer, bytes, BULK);
    CHECK_EQ(yula_loop_run(loop), 0); /* nothing keeps it */
    test_wait_readable(with.peer);
    CHECK_EQ(recv(with.peer, &byte, 1, 0), 0);
    close(with.peer);
    free(bytes);
    yula_loop_free(loop);
}

TEST(a_close_that_cannot_finish_ends_with_the_peer_or_with_the_loop)
{
    char *bytes = calloc(1, BULK);

    for (int gone = 0; gone < 2; gone++) {
        yula_loop *loop = test_loop();
        talk with;
        talk_begin(&with, loop, gone);
        CHECK_EQ(yula_conn_try_write(with.conn, bytes, BULK), 0);
        yula_conn_close(with.conn);
        settle(loop);
        if (gone) {
            close(with.peer);
            CHECK_EQ(yula_loop_run(loop), 0);
        }
        yula_loop_free(loop);
        if (!gone)
            close(with.peer);
    }
    free(bytes);
}

TEST(an_aborted_connection_forgets_what_is_queued)
{
    yula_loop *loop = test_loop();
    talk with;
    char *bytes = calloc(1, BULK);

    talk_begin(&with, loop, false);
    CHECK_EQ(yula_conn_try_write(with.conn, bytes, BULK), 0);
    yula_conn_abort(with.conn);
    yula_conn_abort(NULL);
    yula_conn_close(NULL);
    CHECK_EQ(yula_loop_run(loop), 0);
    close(with.peer);
    free(bytes);
    yula_loop_free(loop);
}
