/* test_ahead.c: while others want the host's lock, a large batch's streams are
 * read before the lock is taken and send after it was given up; nobody notices.
 */
#include <yula/yula.h> /* first: it must stand alone */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "loop/loop_i.h"
#include "stream_end.h"
#include "support.h"
#include "test.h"

enum {
    COUNT = YULA__AHEAD_EVENTS + 4
};

typedef struct crowd {
    yula_loop *loop;
    end ends[COUNT];
} crowd;

static void
crowd_begin(crowd *self, pair_cb pair, const yula_stream_ops *table)
{
    released = 0;
    on_release = NULL;
    self->loop = test_loop_with_host(&test_host);
    for (int i = 0; i < COUNT; i++) {
        end *one = &self->ends[i];
        int fds[2];
        *one = (end){.loop = self->loop};
        pair(fds);
        one->peer = fds[0];
        CHECK_EQ(yula_stream_new(self->loop, YULA_LANE_HOST, fds[1], table, one,
                                 &one->stream),
                 0);
        yula_stream_start(one->stream);
    }
    test_turn(self->loop);
    yula_loop_want_host(self->loop, true);
}

static void
crowd_end(crowd *self)
{
    yula_loop_want_host(self->loop, false);
    for (int i = 0; i < COUNT; i++) {
        if (self->ends[i].stream != NULL)
            yula_stream_free(self->ends[i].stream, true);
        if (self->ends[i].peer >= 0)
            close(self->ends[i].peer);
    }
    yula_loop_free(self->loop);
    CHECK(test_locked);
}

static void
nothing(yula_work *work, void *arg)
{
}

/* A turn that gives the lock up for a moment, as a sleep would. */
static void
unlocked_turn(yula_loop *loop)
{
    yula_work native;

    yula_work_init(&native, YULA_LANE_NATIVE, nothing, NULL);
    yula_work_queue(loop, &native);
    test_turn(loop);
}

static uint64_t
reads_ahead(const yula_loop *loop)
{
    yula_loop_stats stats;
    yula_loop_get_stats(loop, &stats);
    return stats.reads_ahead;
}

static uint64_t
sends_ahead(const yula_loop *loop)
{
    yula_loop_stats stats;
    yula_loop_get_stats(loop, &stats);
    return stats.sends_ahead;
}

static void
crowd_send(crowd *self, const char *text)
{
    for (int i = 0; i < COUNT; i++)
        test_send_all(self->ends[i].peer, text, strlen(text));
    for (int i = 0; i < COUNT; i++)
        test_wait_readable(yula_stream_fd(self->ends[i].stream));
}

TEST(a_large_batch_is_read_before_the_lock_is_taken)
{
    for (int kind = 0; kind < 2; kind++) {
        crowd self;
        crowd_begin(&self, pairs[kind], &ops);
        crowd_send(&self, "hello");
        unlocked_turn(self.loop);
        CHECK_EQ(reads_ahead(self.loop), COUNT);
        for (int i = 0; i < COUNT; i++) {
            CHECK_EQ(self.ends[i].reads, 1);
            CHECK_EQ(self.ends[i].len, 5);
            CHECK(memcmp(self.ends[i].data, "hello", 5) == 0);
        }
        crowd_end(&self);
    }
}

TEST(nothing_is_read_ahead_when_nobody_wants_the_lock)
{
    crowd self;

    crowd_begin(&self, test_tcp_pair, &ops);
    yula_loop_want_host(self.loop, false);
    crowd_send(&self, "hello");
    unlocked_turn(self.loop);
    CHECK_EQ(reads_ahead(self.loop), 0);
    CHECK_EQ(self.ends[0].reads, 1);
    crowd_end(&self);
}

TEST(a_small_batch_is_read_under_the_lock)
{
    crowd self;

    crowd_begin(&self, test_tcp_pair, &ops);
    for (int i = 0; i < YULA__AHEAD_EVENTS - 1; i++) {
        test_send_all(self.ends[i].peer, "x", 1);
        test_wait_readable(yula_stream_fd(self.ends[i].stream));
    }
    unlocked_turn(self.loop);
    CHECK_EQ(reads_ahead(self.loop), 0);
    CHECK_EQ(self.ends[0].reads, 1);
    crowd_end(&self);
}

static crowd *current;

/* The first one to be told stops, or frees, all that come after it. */
static void
stop_the_others(end *self)
{
    for (int i = 0; i < COUNT; i++) {
        if (&current->ends[i] != self)
            yula_stream_stop(current->ends[i].stream);
    }
    self->on_read = NULL;
}

TEST(what_was_read_for_a_stream_that_was_stopped_meanwhile_is_kept_for_it)
{
    crowd self;

    current = &self;
    crowd_begin(&self, test_tcp_pair, &ops);
    crowd_send(&self, "first");
    for (int i = 0; i < COUNT; i++)
        self.ends[i].on_read = stop_the_others;
    unlocked_turn(self.loop);
    CHECK_EQ(reads_ahead(self.loop), COUNT);
    int told = 0;
    for (int i = 0; i < COUNT; i++)
        told += self.ends[i].reads;
    CHECK_EQ(told, 1);
    crowd_send(&self, "second");
    for (int i = 0; i < COUNT; i++) {
        self.ends[i].on_read = NULL;
        yula_stream_start(self.ends[i].stream);
    }
    for (int i = 0; i < 4; i++)
        unlocked_turn(self.loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(self.ends[i].len, 11);
        CHECK(memcmp(self.ends[i].data, "firstsecond", 11) == 0);
    }
    crowd_end(&self);
}

static void
free_the_others(end *self)
{
    for (int i = 0; i < COUNT; i++) {
        if (&current->ends[i] == self)
            continue;
        yula_stream_free(current->ends[i].stream, true);
        current->ends[i].stream = NULL;
    }
    self->on_read = NULL;
}

TEST(what_was_read_for_a_stream_that_was_freed_meanwhile_is_dropped)
{
    crowd self;

    current = &self;
    crowd_begin(&self, test_tcp_pair, &ops);
    crowd_send(&self, "hello");
    for (int i = 0; i < COUNT; i++)
        self.ends[i].on_read = free_the_others;
    unlocked_turn(self.loop);
    int told = 0;
    for (int i = 0; i < COUNT; i++)
        told += self.ends[i].reads;
    CHECK_EQ(told, 1);
    crowd_end(&self);
}

TEST(a_small_buffer_of_the_owner_gets_what_was_read_in_pieces)
{
    crowd self;
    char into[COUNT][3];

    crowd_begin(&self, test_tcp_pair, &alloc_ops);
    for (int i = 0; i < COUNT; i++) {
        self.ends[i].into = into[i];
        self.ends[i].into_len = sizeof(into[i]);
    }
    crowd_send(&self, "12345678");
    unlocked_turn(self.loop);
    CHECK_EQ(reads_ahead(self.loop), COUNT);
    CHECK_EQ(self.ends[0].len, 3); /* one read a turn */
    for (int i = 0; i < 3; i++)
        test_turn(self.loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(self.ends[i].len, 8);
        CHECK_EQ(self.ends[i].reads, 3);
        CHECK(memcmp(self.ends[i].data, "12345678", 8) == 0);
    }
    crowd_end(&self);
}

TEST(an_end_and_data_before_it_are_told_in_order)
{
    crowd self;

    crowd_begin(&self, test_tcp_pair, &ops);
    crowd_send(&self, "bye");
    for (int i = 0; i < COUNT; i++) {
        close(self.ends[i].peer);
        self.ends[i].peer = -1;
    }
    for (int i = 0; i < 4; i++)
        unlocked_turn(self.loop);
    CHECK(reads_ahead(self.loop) >= COUNT);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(self.ends[i].len, 3);
        CHECK_EQ(self.ends[i].ended, 1);
        CHECK_EQ(self.ends[i].failures, 0);
    }
    crowd_end(&self);
}

TEST(a_read_ahead_that_fails_is_told_once)
{
    crowd self;

    crowd_begin(&self, test_tcp_pair, &ops);
    crowd_send(&self, "x");
    test_fail_sys_named("recv", 1, ECONNRESET);
    unlocked_turn(self.loop);
    test_faults_clear();
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(self.ends[i].failures, 1);
        CHECK_EQ(self.ends[i].status, -ECONNRESET);
        CHECK(!self.ends[i].writing);
    }
    crowd_end(&self);
}

TEST(without_memory_for_a_block_the_stream_is_read_in_its_turn)
{
    for (long n = 1; n <= COUNT; n++) {
        crowd self;
        crowd_begin(&self, test_tcp_pair, &ops);
        (void)yula_loop_read_buffer(self.loop);
        crowd_send(&self, "hello");
        test_fail_alloc(n);
        unlocked_turn(self.loop);
        CHECK(test_alloc_failed());
        test_faults_clear();
        CHECK_EQ(reads_ahead(self.loop), COUNT - 1);
        for (int i = 0; i < COUNT; i++)
            CHECK_EQ(self.ends[i].len, 5);
        crowd_end(&self);
    }
}

/* --- sending --------------------------------------------------------------- */

static void
echo(end *self)
{
    CHECK_EQ(yula_stream_write(self->stream, self->data, self->len, NULL), 0);
    self->len = 0;
}

TEST(what_a_large_batch_writes_is_sent_without_the_lock)
{
    for (int kind = 0; kind < 2; kind++) {
        crowd self;
        crowd_begin(&self, pairs[kind], &ops);
        for (int i = 0; i < COUNT; i++)
            self.ends[i].on_read = echo;
        for (int round = 0; round < 3; round++) {
            char got[5];
            crowd_send(&self, "hello");
            test_turn(self.loop);
            CHECK_EQ(sends_ahead(self.loop), (uint64_t)round * COUNT);
            test_turn(self.loop);
            CHECK_EQ(sends_ahead(self.loop), (uint64_t)(round + 1) * COUNT);
            for (int i = 0; i < COUNT; i++) {
                test_recv_all(self.ends[i].peer, got, 5);
                CHECK(memcmp(got, "hello", 5) == 0);
                CHECK_EQ(yula_stream_peek_queued(self.ends[i].stream), 0);
            }
        }
        crowd_end(&self);
    }
}

TEST(a_run_that_ends_sends_what_waits)
{
    crowd self;
    char got[5];

    crowd_begin(&self, test_tcp_pair, &ops);
    for (int i = 0; i < COUNT; i++)
        self.ends[i].on_read = echo;
    crowd_send(&self, "hello");
    test_turn(self.loop);
    yula_loop_want_host(self.loop, false);
    for (int i = 0; i < COUNT; i++)
        test_recv_all(self.ends[i].peer, got, 5);
    CHECK_EQ(sends_ahead(self.loop), 0);
    crowd_end(&self);
}

TEST(who_asks_how_much_is_queued_sends_it)
{
    crowd self;
    char got[5];

    crowd_begin(&self, test_tcp_pair, &ops);
    for (int i = 0; i < COUNT; i++)
        self.ends[i].on_read = echo;
    crowd_send(&self, "hello");
    test_turn(self.loop);
    CHECK_EQ(yula_stream_peek_queued(self.ends[3].stream), 5);
    CHECK_EQ(yula_stream_queued(self.ends[3].stream), 0);
    test_recv_all(self.ends[3].peer, got, 5);
    test_turn(self.loop);
    CHECK_EQ(sends_ahead(self.loop), COUNT - 1);
    crowd_end(&self);
}

TEST(a_stream_freed_with_unsent_data_leaves_the_others_alone)
{
    crowd self;
    char got[5];

    crowd_begin(&self, test_tcp_pair, &ops);
    for (int i = 0; i < COUNT; i++)
        self.ends[i].on_read = echo;
    crowd_send(&self, "hello");
    test_turn(self.loop);
    yula_stream_free(self.ends[7].stream, true);
    self.ends[7].stream = NULL;
    test_turn(self.loop);
    CHECK_EQ(sends_ahead(self.loop), COUNT - 1);
    for (int i = 0; i < COUNT; i++) {
        if (i != 7)
            test_recv_all(self.ends[i].peer, got, 5);
    }
    crowd_end(&self);
}

TEST(a_send_that_fails_without_the_lock_is_told_with_it)
{
    crowd self;

    crowd_begin(&self, test_tcp_pair, &ops);
    for (int i = 0; i < COUNT; i++)
        self.ends[i].on_read = echo;
    crowd_send(&self, "hello");
    test_turn(self.loop);
    test_fail_sys_named("send", 1, EPIPE);
    test_turn(self.loop);
    test_faults_clear();
    test_turn(self.loop);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(self.ends[i].failures, 1);
        CHECK_EQ(self.ends[i].status, -EPIPE);
        CHECK(self.ends[i].writing);
    }
    crowd_end(&self);
}

static void
answer_at_length(end *self)
{
    char *chunk = pattern_of(0, 60000);
    CHECK_EQ(yula_stream_write(self->stream, chunk, 60000, chunk), 0);
}

TEST(what_the_kernel_does_not_take_at_once_follows)
{
    crowd self;

    crowd_begin(&self, test_unix_pair, &ops);
    on_release = free_owner;
    for (int i = 0; i < COUNT; i++) {
        self.ends[i].on_read = answer_at_length;
        small_buffers(&self.ends[i]);
    }
    crowd_send(&self, "hello");
    test_turn(self.loop);
    test_turn(self.loop);
    CHECK_EQ(sends_ahead(self.loop), COUNT);
    for (int i = 0; i < COUNT; i++)
        take_pattern(&self.ends[i], 60000);
    CHECK_EQ(released, COUNT);
    crowd_end(&self);
}
