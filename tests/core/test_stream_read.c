/* test_stream_read.c: what arrives at a stream, one test for each way a kernel
 * tells that data, an end or an error is there.
 */
#include <yula/stream.h> /* first: it must stand alone */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "stream_end.h"
#include "test.h"

/* --- reading ------------------------------------------------------------- */

TEST(data_arrives_only_after_the_start)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        test_send_all(self.peer, "hello", 5);
        turns(&self, 2);
        CHECK_EQ(self.reads, 0);
        yula_stream_start(self.stream);
        CHECK_EQ(self.reads, 0); /* later, never from inside */
        run_while(&self, &self.reads, 0);
        CHECK_EQ(self.len, 5);
        CHECK(memcmp(self.data, "hello", 5) == 0);
        finish(&self);
    }
}

TEST(a_stopped_stream_delivers_nothing_and_keeps_what_came)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        yula_stream_start(self.stream);
        turns(&self, 1);
        yula_stream_stop(self.stream);
        test_send_all(self.peer, "abc", 3);
        turns(&self, 3);
        CHECK_EQ(self.reads, 0);
        test_send_all(self.peer, "def", 3);
        yula_stream_start(self.stream);
        while (self.len < 6)
            CHECK_EQ(yula_loop_step(self.loop, YULA_NEVER), 0);
        CHECK(memcmp(self.data, "abcdef", 6) == 0);
        finish(&self);
    }
}

static void
stop_here(end *self)
{
    yula_stream_stop(self->stream);
}

TEST(a_stream_stopped_by_its_read_callback_can_go_on_later)
{
    end self;

    begin(&self, test_unix_pair);
    self.on_read = stop_here;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "a", 1);
    turns(&self, 2);
    test_send_all(self.peer, "b", 1);
    turns(&self, 2);
    CHECK_EQ(self.reads, 1);
    yula_stream_start(self.stream);
    turns(&self, 2);
    CHECK_EQ(self.reads, 2);
    finish(&self);
}

TEST(a_short_read_on_tcp_is_proof_that_the_socket_is_drained)
{
    end self;

    begin(&self, test_tcp_pair);
    yula_stream_start(self.stream);
    test_send_all(self.peer, "hello", 5);
    run_while(&self, &self.reads, 0);
    turns(&self, 3);
    CHECK_EQ(self.reads, 1);
    CHECK_EQ(receives(), 1); /* no second one that finds nothing */
    finish(&self);
}

/* Data and FIN are one event: who stops at the short read never sees the end. */
TEST(data_and_the_end_in_one_event_are_both_delivered)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        test_send_all(self.peer, "bye", 3);
        CHECK_EQ(shutdown(self.peer, SHUT_WR), 0);
        yula_stream_start(self.stream);
        run_while(&self, &self.ended, 0);
        CHECK_EQ(self.len, 3);
        turns(&self, 3);
        CHECK_EQ(self.ended, 1);
        CHECK_EQ(self.failures, 0);
        finish(&self);
    }
}

TEST(the_end_after_the_data_is_delivered)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        yula_stream_start(self.stream);
        test_send_all(self.peer, "bye", 3);
        run_while(&self, &self.reads, 0);
        CHECK_EQ(self.ended, 0);
        CHECK_EQ(shutdown(self.peer, SHUT_WR), 0);
        run_while(&self, &self.ended, 0);
        CHECK_EQ(self.len, 3);
        finish(&self);
    }
}

/* Both directions closed: HANGUP comes with data still in the buffer. */
TEST(data_before_a_hangup_is_delivered)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        CHECK_EQ(yula_stream_shutdown(self.stream), 0);
        test_send_all(self.peer, "last", 4);
        close(self.peer);
        self.peer = -1;
        yula_stream_start(self.stream);
        run_while(&self, &self.ended, 0);
        CHECK_EQ(self.len, 4);
        finish(&self);
    }
}

TEST(the_end_that_came_while_stopped_is_delivered_at_the_start)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        close(self.peer);
        self.peer = -1;
        turns(&self, 3);
        CHECK_EQ(self.ended, 0);
        yula_stream_start(self.stream);
        run_while(&self, &self.ended, 0);
        CHECK_EQ(self.ended, 1);
        yula_stream_start(self.stream);
        turns(&self, 2);
        CHECK_EQ(self.ended, 1);
        finish(&self);
    }
}

TEST(a_reset_is_reported_once_as_a_failed_read)
{
    struct linger at_once = {.l_onoff = 1};
    end self;

    begin(&self, test_tcp_pair);
    yula_stream_start(self.stream);
    CHECK_EQ(
        setsockopt(self.peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)),
        0);
    close(self.peer);
    self.peer = -1;
    run_while(&self, &self.failures, 0);
    CHECK_EQ(self.status, -ECONNRESET);
    CHECK(!self.writing);
    yula_stream_start(self.stream);
    turns(&self, 3);
    CHECK_EQ(self.failures, 1);
    CHECK_EQ(self.ended, 0);
    finish(&self);
}

/* The mark splits what is in the buffer: the read before it is short. */
TEST(data_behind_urgent_data_is_delivered)
{
    end self;

    begin(&self, test_tcp_pair);
    test_send_all(self.peer, "before", 6);
    CHECK_EQ(send(self.peer, "!", 1, MSG_OOB), 1);
    test_send_all(self.peer, "behind", 6);
    yula_stream_start(self.stream);
    while (self.len < 12)
        CHECK_EQ(yula_loop_step(self.loop, YULA_NEVER), 0);
    CHECK(memcmp(self.data, "beforebehind", 12) == 0);
    test_send_all(self.peer, "more", 4);
    while (self.len < 16)
        CHECK_EQ(yula_loop_step(self.loop, YULA_NEVER), 0);
    finish(&self);
}

/* A message with descriptors ends a read on a Unix socket, however much is
 * behind it. */
TEST(data_behind_passed_descriptors_is_delivered)
{
    end self;

    begin(&self, test_unix_pair);
    send_descriptor(self.peer, "one");
    send_descriptor(self.peer, "two");
    test_send_all(self.peer, "three", 5);
    yula_stream_start(self.stream);
    while (self.len < 11)
        CHECK_EQ(yula_loop_step(self.loop, YULA_NEVER), 0);
    CHECK(memcmp(self.data, "onetwothree", 11) == 0);
    finish(&self);
}

TEST(a_stream_that_fills_every_read_takes_one_read_a_turn)
{
    char into[10];
    end self;

    begin_with(&self, test_tcp_pair, &alloc_ops);
    self.into = into;
    self.into_len = sizeof(into);
    test_send_all(self.peer, "0123456789abcdefghij!", 21);
    yula_stream_start(self.stream);
    run_while(&self, &self.reads, 0);
    CHECK_EQ(self.len, 10);
    turns(&self, 1);
    CHECK_EQ(self.len, 20);
    turns(&self, 1);
    CHECK_EQ(self.len, 21);
    CHECK_EQ(self.reads, 3);
    CHECK(memcmp(self.data, "0123456789abcdefghij!", 21) == 0);
    finish(&self);
}

TEST(a_buffer_nothing_arrived_in_is_given_back)
{
    char into[10];
    end self;

    begin_with(&self, test_unix_pair, &alloc_ops);
    self.into = into;
    self.into_len = sizeof(into);
    test_send_all(self.peer, "abc", 3);
    yula_stream_start(self.stream);
    turns(&self, 3);
    CHECK_EQ(self.reads, 1);
    CHECK_EQ(self.allocs, self.reads + self.unused);
    finish(&self);
}

TEST(an_owner_without_a_buffer_fails_the_stream)
{
    static const int results[][2] = {{-ENOMEM, -ENOMEM}, {0, -ENOBUFS}};

    for (int i = 0; i < 2; i++) {
        end self;
        begin_with(&self, test_unix_pair, &alloc_ops);
        self.alloc_result = results[i][0];
        test_send_all(self.peer, "abc", 3);
        yula_stream_start(self.stream);
        turns(&self, 2);
        CHECK_EQ(self.failures, 1);
        CHECK_EQ(self.status, results[i][1]);
        CHECK(!self.writing);
        turns(&self, 2);
        CHECK_EQ(self.failures, 1);
        finish(&self);
    }
}

TEST(an_owner_that_has_no_buffer_in_this_turn_is_asked_again_in_the_next)
{
    char into[10];
    end self;

    begin_with(&self, test_tcp_pair, &alloc_ops);
    self.into = into;
    self.into_len = sizeof(into);
    self.alloc_result = 1;
    test_send_all(self.peer, "abc", 3);
    yula_stream_start(self.stream);
    run_while(&self, &self.allocs, 0);
    turns(&self, 3);
    CHECK_EQ(self.allocs, 4);
    CHECK_EQ(receives(), 0);
    self.alloc_result = 0;
    turns(&self, 1);
    CHECK_EQ(self.len, 3);
    finish(&self);
}

/* --- data that is left in the kernel --------------------------------------- */

static bool data_was_there; /* in the last call of alloc_leaves */

static int
alloc_leaves(yula_stream *stream, void **base, size_t *len, void *arg)
{
    end *self = arg;
    (void)end_alloc(stream, base, len, arg);
    data_was_there = yula_stream_has_data(stream);
    return data_was_there ? YULA_STREAM_LEAVE : self->alloc_result;
}

static const yula_stream_ops leaving_ops = {.alloc = alloc_leaves,
                                            .read = end_read,
                                            .unused = end_unused,
                                            .ended = end_ended,
                                            .failed = end_failed,
                                            .release = end_release};

static void
begin_leaving(end *self, pair_cb pair)
{
    static char into[8];
    begin_with(self, pair, &leaving_ops);
    self->into = into;
    self->into_len = sizeof(into);
    yula_stream_start(self->stream);
}

TEST(what_alloc_leaves_is_taken_later_with_one_system_call)
{
    char got[16];
    end self;

    begin_leaving(&self, test_tcp_pair);
    test_send_all(self.peer, "hello", 5);
    run_while(&self, &self.allocs, 0);
    turns(&self, 3);
    CHECK_EQ(self.allocs, 1); /* not asked again in each turn */
    CHECK_EQ(receives(), 0);
    CHECK_EQ(yula_stream_take(self.stream, got, sizeof(got)), 5);
    CHECK(memcmp(got, "hello", 5) == 0);
    CHECK_EQ(yula_stream_take(self.stream, got, sizeof(got)), 0);
    CHECK_EQ(receives(), 1); /* it is known to be empty */
    turns(&self, 2);
    CHECK_EQ(self.allocs, 1);
    finish(&self);
}

TEST(what_is_not_taken_whole_is_reported_again)
{
    for (int kind = 0; kind < 2; kind++) {
        char got[3];
        end self;
        begin_leaving(&self, pairs[kind]);
        test_send_all(self.peer, "abcdef", 6);
        run_while(&self, &self.allocs, 0);
        CHECK_EQ(yula_stream_take(self.stream, got, sizeof(got)), 3);
        turns(&self, 2);
        CHECK(!data_was_there); /* remembered, not reported */
        CHECK_EQ(self.reads, 1);
        CHECK_EQ(self.len, 3);
        CHECK(memcmp(self.data, "def", 3) == 0);
        finish(&self);
    }
}

TEST(what_is_left_can_be_taken_from_a_stopped_stream)
{
    char got[16];
    end self;

    begin_leaving(&self, test_tcp_pair);
    test_send_all(self.peer, "abc", 3);
    run_while(&self, &self.allocs, 0);
    yula_stream_stop(self.stream);
    CHECK_EQ(yula_stream_take(self.stream, got, sizeof(got)), 3);
    finish(&self);
}

TEST(what_is_left_and_not_taken_comes_at_the_next_start)
{
    end self;

    begin_leaving(&self, test_tcp_pair);
    test_send_all(self.peer, "abc", 3);
    run_while(&self, &self.allocs, 0);
    yula_stream_start(self.stream);
    turns(&self, 2);
    CHECK_EQ(self.len, 3);
    finish(&self);
}

/* With an end or a failure there is no promise: a read may find only that. */
TEST(nothing_is_left_when_the_end_was_reported)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin_leaving(&self, pairs[kind]);
        test_send_all(self.peer, "bye", 3);
        CHECK_EQ(shutdown(self.peer, SHUT_WR), 0);
        run_while(&self, &self.ended, 0);
        CHECK(!data_was_there);
        CHECK_EQ(self.len, 3);
        finish(&self);
    }
}

TEST(the_end_that_came_meanwhile_is_reported_after_a_take)
{
    for (int kind = 0; kind < 2; kind++) {
        char got[16];
        end self;
        begin_leaving(&self, pairs[kind]);
        test_send_all(self.peer, "bye", 3);
        run_while(&self, &self.allocs, 0);
        close(self.peer);
        self.peer = -1;
        CHECK_EQ(yula_stream_take(self.stream, got, sizeof(got)), 3);
        CHECK_EQ(self.ended, 0);
        run_while(&self, &self.ended, 0);
        turns(&self, 2);
        CHECK_EQ(self.ended, 1);
        finish(&self);
    }
}

TEST(a_take_that_fails_is_reported_later_as_a_failed_read)
{
    char got[16];
    end self;

    begin_leaving(&self, test_tcp_pair);
    test_send_all(self.peer, "abc", 3);
    run_while(&self, &self.allocs, 0);
    test_fail_sys(1, ECONNRESET);
    CHECK_EQ(yula_stream_take(self.stream, got, sizeof(got)), 0);
    CHECK_EQ(self.failures, 0);
    turns(&self, 1);
    CHECK_EQ(self.failures, 1);
    CHECK_EQ(self.status, -ECONNRESET);
    CHECK(!self.writing);
    CHECK_EQ(yula_stream_take(self.stream, got, sizeof(got)), 0);
    turns(&self, 2);
    CHECK_EQ(self.failures, 1);
    finish(&self);
}

/* --- a stream from its descriptor ---------------------------------------- */

TEST(a_descriptor_leads_to_its_stream_and_its_argument)
{
    end self;

    begin(&self, test_unix_pair);
    int fd = yula_stream_fd(self.stream);
    CHECK(yula_stream_of(self.loop, fd) == self.stream);
    CHECK(yula_stream_of(self.loop, self.peer) == NULL);
    CHECK(yula_stream_of(self.loop, -1) == NULL);
    CHECK(yula_stream_arg(self.stream) == &self);
    yula_stream_free(self.stream, false);
    self.stream = NULL;
    CHECK(yula_stream_of(self.loop, fd) == NULL);
    close(fd);
    finish(&self);
}

static int other_reads;

static void
other_read(yula_stream *stream, void *base, size_t len, void *arg)
{
    other_reads++;
}

static void
change_ops(end *self)
{
    static yula_stream_ops other_ops;
    other_ops = ops;
    other_ops.read = other_read;
    yula_stream_set_ops(self->stream, &other_ops);
}

TEST(another_table_counts_from_the_next_report_on)
{
    end self;

    other_reads = 0;
    begin(&self, test_unix_pair);
    self.on_read = change_ops;
    yula_stream_start(self.stream);
    send_descriptor(self.peer, "one");
    send_descriptor(self.peer, "two");
    turns(&self, 3);
    CHECK_EQ(self.reads, 1);
    CHECK_EQ(other_reads, 1);
    finish(&self);
}
