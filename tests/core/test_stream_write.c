/* test_stream_write.c: what a stream sends: gathered, in order, within its marks,
 * until its end or a failure.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stream_end.h"
#include "test.h"

/* --- writing ------------------------------------------------------------- */

TEST(a_write_outside_callbacks_leaves_at_once)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        CHECK_EQ(yula_stream_write(self.stream, "copied ", 7, NULL), 0);
        CHECK_EQ(yula_stream_write(self.stream, "owned", 5, &self), 0);
        CHECK_EQ(released, 1);
        CHECK_EQ(yula_stream_queued(self.stream), 0);
        expect_at_peer(&self, "copied owned");
        finish(&self);
    }
}

TEST(what_one_callback_writes_leaves_in_one_system_call)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        test_faults_clear();
        begin(&self, pairs[kind]);
        self.on_read = write_five;
        yula_stream_start(self.stream);
        test_send_all(self.peer, "?", 1);
        run_while(&self, &self.reads, 0);
        CHECK_EQ(sends(), 1);
        CHECK_EQ(released, 2);
        expect_at_peer(&self, "one two three four five");
        finish(&self);
    }
}

static void
write_and_look(end *self)
{
    write_five(self);
    CHECK_EQ(yula_stream_peek_queued(self->stream), 23);
    CHECK_EQ(sends(), 0);
    CHECK_EQ(yula_stream_queued(self->stream), 0);
    CHECK_EQ(sends(), 1);
    CHECK_EQ(yula_stream_write(self->stream, ".", 1, NULL), 0);
    yula_stream_flush(self->stream);
    CHECK_EQ(sends(), 2);
}

TEST(asking_for_the_queue_and_flushing_send_what_was_gathered)
{
    end self;

    begin(&self, test_tcp_pair);
    self.on_read = write_and_look;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "?", 1);
    run_while(&self, &self.reads, 0);
    expect_at_peer(&self, "one two three four five.");
    finish(&self);
}

static void
write_many(end *self)
{
    for (int i = 0; i < 200; i++)
        CHECK_EQ(yula_stream_write(self->stream, "x", 1, NULL), 0);
}

TEST(more_pieces_than_one_system_call_takes_all_leave)
{
    char got[200];
    end self;

    begin(&self, test_tcp_pair);
    self.on_read = write_many;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "?", 1);
    run_while(&self, &self.reads, 0);
    test_recv_all(self.peer, got, sizeof(got));
    CHECK(sends() < 10);
    finish(&self);
}

TEST(writes_larger_than_the_kernels_buffer_arrive_whole_and_in_order)
{
    enum {
        CHUNK = 30011,
        CHUNKS = 20
    };

    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        small_buffers(&self);
        on_release = free_owner;
        for (size_t i = 0; i < CHUNKS; i++) {
            char *bytes = pattern_of(i * CHUNK, CHUNK);
            bool owned = i % 3 != 0;
            CHECK_EQ(yula_stream_write(self.stream, bytes, CHUNK,
                                       owned ? bytes : NULL),
                     0);
            if (!owned)
                free(bytes);
        }
        CHECK(yula_stream_queued(self.stream) > 0);
        CHECK_EQ(self.high, 1);
        CHECK_EQ(self.low, 0);
        take_pattern(&self, (size_t)CHUNK * CHUNKS);
        turns(&self, 2);
        CHECK_EQ(yula_stream_queued(self.stream), 0);
        CHECK_EQ(released, CHUNKS - (CHUNKS + 2) / 3);
        CHECK_EQ(self.low, 1);
        CHECK(self.drained >= 1);
        CHECK_EQ(self.failures, 0);
        finish(&self);
    }
}

TEST(the_high_mark_is_reported_when_passed_and_the_low_one_when_reached)
{
    static char bytes[1000];
    end self;

    begin(&self, test_unix_pair);
    small_buffers(&self);
    yula_stream_set_marks(self.stream, 2000, 5000);
    while (yula_stream_queued(self.stream) == 0)
        CHECK_EQ(yula_stream_write(self.stream, bytes, 1000, NULL), 0);
    while (yula_stream_queued(self.stream) + 1000 <= 5000)
        CHECK_EQ(yula_stream_write(self.stream, bytes, 1000, NULL), 0);
    CHECK_EQ(self.high, 0);
    CHECK_EQ(yula_stream_write(self.stream, bytes, 1000, NULL), 0);
    CHECK_EQ(self.high, 1); /* before write returned */
    CHECK(yula_stream_pressed(self.stream));
    CHECK_EQ(yula_stream_write(self.stream, bytes, 1000, NULL), 0);
    CHECK_EQ(self.high, 1);
    while (self.low == 0) {
        CHECK(yula_stream_queued(self.stream) > 2000);
        CHECK(recv(self.peer, bytes, 1000, 0) > 0);
        turns(&self, 1);
    }
    CHECK(yula_stream_queued(self.stream) <= 2000);
    CHECK(!yula_stream_pressed(self.stream));
    CHECK_EQ(self.high, 1);
    finish(&self);
}

TEST(lower_marks_are_compared_with_the_queue_at_once)
{
    static char bytes[300000];
    end self;

    begin(&self, test_unix_pair);
    small_buffers(&self);
    yula_stream_set_marks(self.stream, 0, sizeof(bytes) * 2);
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), NULL), 0);
    CHECK_EQ(self.high, 0);
    yula_stream_set_marks(self.stream, 0, 10);
    CHECK_EQ(self.high, 1);
    size_t low = 1, high = 0;
    yula_stream_get_marks(self.stream, &low, &high);
    CHECK_EQ(low, 0);
    CHECK_EQ(high, 10);
    finish(&self);
}

enum {
    LARGE = 16 * 1024 * 1024
};

/* Takes whatever comes, as fast as it can, until the end. */
static void *
drain_peer(void *arg)
{
    const end *self = arg;
    static char got[1024 * 1024];
    size_t at = 0;

    for (;;) {
        ssize_t n = recv(self->peer, got, sizeof(got), 0);
        if (n == 0)
            return (void *)at;
        for (ssize_t i = 0; i < n; i++, at++) {
            if (got[i] != pattern(at))
                return NULL;
        }
    }
}

static void
write_large(yula_work *work, void *arg)
{
    end *self = arg;
    char *bytes = pattern_of(0, LARGE);

    on_release = free_owner;
    CHECK_EQ(yula_stream_write(self->stream, bytes, LARGE, bytes), 0);
}

/* The kernel would take all of it in one call, while everybody else waits. */
TEST(a_peer_that_takes_everything_gets_only_a_portion_each_turn)
{
    yula_work work;
    pthread_t thread;
    void *received;
    end self;

    begin(&self, test_tcp_pair);
    CHECK_EQ(fcntl(self.peer, F_SETFL, 0), 0); /* the thread waits in recv */
    CHECK_EQ(pthread_create(&thread, NULL, drain_peer, &self), 0);
    turns(&self, 2); /* "writable" of a new socket is not of this turn */
    yula_work_init(&work, YULA_LANE_HOST, write_large, &self);
    yula_work_queue(self.loop, &work);
    size_t left = LARGE;
    turns(&self, 1);
    while (left > 0) {
        size_t now = yula_stream_peek_queued(self.stream);
        CHECK(left - now <= YULA_STREAM_WRITE_BUDGET);
        left = now;
        turns(&self, 1);
    }
    CHECK_EQ(yula_stream_shutdown(self.stream), 0);
    CHECK_EQ(pthread_join(thread, &received), 0);
    CHECK_EQ((size_t)received, LARGE);
    CHECK_EQ(self.failures, 0);
    finish(&self);
}

/* --- ending our half ----------------------------------------------------- */

TEST(a_shutdown_waits_for_the_queue)
{
    enum {
        LEN = 400000
    };

    for (int kind = 0; kind < 2; kind++) {
        end self;
        char byte;
        begin(&self, pairs[kind]);
        small_buffers(&self);
        on_release = free_owner;
        char *bytes = pattern_of(0, LEN);
        CHECK_EQ(yula_stream_write(self.stream, bytes, LEN, bytes), 0);
        CHECK_EQ(yula_stream_shutdown(self.stream), 0);
        CHECK_EQ(yula_stream_shutdown(self.stream), -EALREADY);
        CHECK_EQ(yula_stream_write(self.stream, "no", 2, NULL), -EPIPE);
        take_pattern(&self, LEN);
        turns(&self, 2);
        test_wait_readable(self.peer);
        CHECK_EQ(recv(self.peer, &byte, 1, 0), 0);
        test_send_all(self.peer, "still", 5); /* the other half goes on */
        yula_stream_start(self.stream);
        run_while(&self, &self.reads, 0);
        CHECK_EQ(self.len, 5);
        finish(&self);
    }
}

static void
write_and_shutdown(end *self)
{
    write_five(self);
    CHECK_EQ(yula_stream_shutdown(self->stream), 0);
}

TEST(a_shutdown_in_the_callback_that_wrote_comes_after_what_it_wrote)
{
    char got[64];
    end self;

    begin(&self, test_tcp_pair);
    self.on_read = write_and_shutdown;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "?", 1);
    run_while(&self, &self.reads, 0);
    test_recv_all(self.peer, got, 23);
    test_wait_readable(self.peer);
    CHECK_EQ(recv(self.peer, got, 1, 0), 0);
    finish(&self);
}

/* --- failing writes ------------------------------------------------------ */

TEST(a_write_to_a_peer_that_is_gone_fails_later_and_once)
{
    end self;

    begin(&self, test_unix_pair);
    close(self.peer);
    self.peer = -1;
    CHECK_EQ(yula_stream_write(self.stream, "one", 3, NULL), 0);
    CHECK_EQ(self.failures, 0);
    CHECK_EQ(yula_stream_write(self.stream, "two", 3, &self), 0);
    CHECK_EQ(released, 1);
    CHECK(yula_stream_failed(self.stream)); /* known, not yet told */
    turns(&self, 2);
    CHECK_EQ(self.failures, 1);
    CHECK_EQ(self.status, -EPIPE);
    CHECK(self.writing);
    CHECK_EQ(yula_stream_write(self.stream, "three", 5, &self), 0);
    CHECK_EQ(released, 2);
    turns(&self, 2);
    CHECK_EQ(self.failures, 1);
    finish(&self);
}

TEST(a_failed_read_drops_what_is_queued)
{
    struct linger at_once = {.l_onoff = 1};
    end self;

    begin(&self, test_tcp_pair);
    fill_queue(&self, 20);
    yula_stream_start(self.stream);
    CHECK_EQ(
        setsockopt(self.peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)),
        0);
    close(self.peer);
    self.peer = -1;
    run_while(&self, &self.failures, 0);
    CHECK_EQ(self.status, -ECONNRESET);
    CHECK_EQ(released, 20);
    CHECK_EQ(yula_stream_queued(self.stream), 0);
    CHECK_EQ(self.low, 0); /* nobody may write again: no all-clear */
    turns(&self, 2);
    CHECK_EQ(self.failures, 1);
    finish(&self);
}

TEST(a_failed_write_drops_what_is_queued)
{
    end self;

    begin(&self, test_tcp_pair);
    fill_queue(&self, 20);
    test_fail_sys_named("send", 1, EIO);
    char byte[4096];
    while (self.failures == 0) {
        (void)!recv(self.peer, byte, sizeof(byte), 0);
        test_fail_sys_named("sendmsg", 1, EIO);
        turns(&self, 1);
    }
    CHECK_EQ(self.status, -EIO);
    CHECK(self.writing);
    CHECK_EQ(released, 20);
    CHECK_EQ(self.low, 0);
    finish(&self);
}

TEST(a_write_without_memory_is_refused_and_leaves_the_queue_alone)
{
    static char bytes[400000];
    end self;

    begin(&self, test_unix_pair);
    fill_queue(&self, 3); /* the next one finds the kernel's buffer full */
    size_t queued = yula_stream_queued(self.stream);
    test_fail_alloc(1);
    CHECK_EQ(yula_stream_write(self.stream, "copy", 4, NULL), -ENOMEM);
    CHECK(test_alloc_failed());
    CHECK_EQ(yula_stream_queued(self.stream), queued);
    CHECK_EQ(yula_stream_write(self.stream, bytes, 10, NULL), 0);
    CHECK_EQ(yula_stream_queued(self.stream), queued + 10);
    turns(&self, 1);
    CHECK_EQ(self.failures, 0);
    finish(&self);
}

TEST(a_half_sent_write_without_memory_for_the_rest_fails_the_stream)
{
    static char bytes[4000000];
    end self;

    begin(&self, test_unix_pair);
    small_buffers(&self);
    test_fail_alloc(1);
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), NULL), 0);
    CHECK(test_alloc_failed());
    turns(&self, 1);
    CHECK_EQ(self.failures, 1);
    CHECK_EQ(self.status, -ENOMEM);
    finish(&self);
}

TEST(asking_for_writable_that_fails_fails_the_stream)
{
    static char bytes[400000];
    end self;

    begin(&self, test_unix_pair);
    small_buffers(&self);
    test_fail_sys_named("epoll_ctl", 1, ENOMEM);
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), &self), 0);
    CHECK(test_sys_failed());
    test_fail_sys(0, 0);
    turns(&self, 1);
    CHECK_EQ(self.failures, 1);
    CHECK_EQ(self.status, -ENOMEM);
    CHECK_EQ(released, 1);
    finish(&self);
}
