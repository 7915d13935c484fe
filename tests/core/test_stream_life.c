/* test_stream_life.c: streams whose callbacks free them, come back, or find every
 * call failing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stream_end.h"
#include "test.h"

/* --- freeing in every callback ------------------------------------------- */

static end *to_free;

static void
free_it(void)
{
    if (to_free == NULL || to_free->stream == NULL)
        return;
    yula_stream *stream = to_free->stream;
    to_free->stream = NULL;
    yula_stream_free(stream, true);
}

static void
free_read(yula_stream *stream, void *base, size_t len, void *arg)
{
    end_read(stream, base, len, arg);
    free_it();
    memset(base, 0, len); /* the buffer is valid until we return */
}

static void
free_ended(yula_stream *stream, void *arg)
{
    end_ended(stream, arg);
    free_it();
}

static void
free_failed(yula_stream *stream, int status, bool writing, void *arg)
{
    end_failed(stream, status, writing, arg);
    free_it();
}

static void
free_pressure(yula_stream *stream, bool high, void *arg)
{
    end_pressure(stream, high, arg);
    free_it();
}

static void
free_drained(yula_stream *stream, void *arg)
{
    end_drained(stream, arg);
    free_it();
}

static void
free_release(void *owner)
{
    end_release(owner);
    free_it();
}

static int
free_alloc(yula_stream *stream, void **base, size_t *len, void *arg)
{
    int result = end_alloc(stream, base, len, arg);
    free_it();
    return result;
}

TEST(a_stream_may_be_freed_by_read)
{
    yula_stream_ops table = ops;
    end self;

    table.read = free_read;
    begin_with(&self, test_tcp_pair, &table);
    to_free = &self;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "abc", 3);
    CHECK_EQ(yula_loop_run(self.loop), 0); /* ends: nothing is left */
    CHECK_EQ(self.reads, 1);
    finish(&self);
}

TEST(a_stream_may_be_freed_by_alloc)
{
    yula_stream_ops table = alloc_ops;
    char into[10];
    end self;

    table.alloc = free_alloc;
    begin_with(&self, test_tcp_pair, &table);
    self.into = into;
    self.into_len = sizeof(into);
    to_free = &self;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "abc", 3);
    CHECK_EQ(yula_loop_run(self.loop), 0);
    CHECK_EQ(self.allocs, 1);
    CHECK_EQ(self.reads, 0);
    finish(&self);
}

TEST(a_stream_may_be_freed_by_ended)
{
    yula_stream_ops table = ops;
    end self;

    table.ended = free_ended;
    begin_with(&self, test_tcp_pair, &table);
    to_free = &self;
    yula_stream_start(self.stream);
    CHECK_EQ(shutdown(self.peer, SHUT_WR), 0);
    CHECK_EQ(yula_loop_run(self.loop), 0);
    CHECK_EQ(self.ended, 1);
    finish(&self);
}

TEST(a_stream_may_be_freed_by_failed)
{
    yula_stream_ops table = ops;

    table.failed = free_failed;
    for (int reading = 0; reading < 2; reading++) {
        end self;
        begin_with(&self, test_unix_pair, &table);
        to_free = &self;
        if (reading) {
            test_fail_sys_named("recv", 1, EIO);
            test_send_all(self.peer, "x", 1);
            yula_stream_start(self.stream);
        }
        else {
            fill_queue(&self, 5);
            close(self.peer);
            self.peer = -1;
        }
        CHECK_EQ(yula_loop_run(self.loop), 0);
        CHECK_EQ(self.failures, 1);
        CHECK_EQ(self.writing, !reading);
        test_fail_sys(0, 0);
        finish(&self);
    }
}

TEST(a_stream_may_be_freed_by_pressure)
{
    static char bytes[400000];
    yula_stream_ops table = ops;
    end self;

    table.pressure = free_pressure;
    begin_with(&self, test_unix_pair, &table);
    small_buffers(&self);
    to_free = &self;
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), &self), 0);
    CHECK_EQ(self.high, 1);
    CHECK(self.stream == NULL);
    CHECK_EQ(released, 1);
    finish(&self);
    /* And by the low mark. */
    begin_with(&self, test_unix_pair, &table);
    small_buffers(&self);
    to_free = NULL;
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), &self), 0);
    to_free = &self;
    while (self.stream != NULL) {
        (void)!recv(self.peer, bytes, sizeof(bytes), 0);
        turns(&self, 1);
    }
    CHECK_EQ(self.low, 1);
    finish(&self);
}

TEST(a_stream_may_be_freed_by_drained)
{
    static char bytes[400000];
    yula_stream_ops table = ops;
    end self;

    table.drained = free_drained;
    begin_with(&self, test_unix_pair, &table);
    small_buffers(&self);
    to_free = &self;
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), &self), 0);
    while (self.stream != NULL) {
        (void)!recv(self.peer, bytes, sizeof(bytes), 0);
        turns(&self, 1);
    }
    CHECK_EQ(self.drained, 1);
    finish(&self);
}

static void
write_at_low_mark(yula_stream *stream, bool high, void *arg)
{
    end_pressure(stream, high, arg);
    if (!high)
        CHECK_EQ(yula_stream_write(stream, "bye", 3, NULL), 0);
}

/* TLS says goodbye there, on a transport that is closing. */
TEST(what_the_low_mark_makes_the_user_write_goes_out_before_drained_may_close)
{
    static char bytes[400000];
    yula_stream_ops table = ops;
    size_t received = 0;
    ssize_t n;
    end self;

    table.pressure = write_at_low_mark;
    table.drained = free_drained;
    begin_with(&self, test_unix_pair, &table);
    small_buffers(&self);
    yula_stream_set_marks(self.stream, 0, 1000); /* low: with the last byte */
    to_free = &self;
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), &self), 0);
    while (self.stream != NULL) {
        n = recv(self.peer, bytes, sizeof(bytes), 0);
        received += n > 0 ? (size_t)n : 0;
        turns(&self, 1);
    }
    while ((n = recv(self.peer, bytes, sizeof(bytes), 0)) > 0)
        received += (size_t)n;
    CHECK_EQ(self.low, 1);
    CHECK_EQ(received, sizeof(bytes) + 3);
    finish(&self);
}

static void
write_three_owned(end *self)
{
    for (int i = 0; i < 3; i++)
        CHECK_EQ(yula_stream_write(self->stream, "abc", 3, self), 0);
}

/* Three chunks leave in one system call; the release of the first frees the
 * stream, and the other two are still released once each. */
TEST(a_stream_may_be_freed_by_release)
{
    yula_stream_ops table = ops;
    end self;

    table.release = free_release;
    begin_with(&self, test_tcp_pair, &table);
    self.on_read = write_three_owned;
    to_free = &self;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "?", 1);
    CHECK_EQ(yula_loop_run(self.loop), 0);
    CHECK_EQ(released, 3);
    finish(&self);
}

TEST(a_stream_freed_outside_callbacks_releases_its_queue)
{
    end self;

    begin(&self, test_unix_pair);
    fill_queue(&self, 5);
    yula_stream_free(self.stream, true);
    self.stream = NULL;
    CHECK_EQ(released, 5);
    CHECK_EQ(yula_loop_run(self.loop), 0);
    CHECK_EQ(self.failures, 0);
    finish(&self);
}

TEST(a_stream_freed_without_closing_leaves_the_descriptor_usable)
{
    end self;

    begin(&self, test_tcp_pair);
    yula_stream_start(self.stream);
    turns(&self, 1);
    int fd = yula_stream_fd(self.stream);
    CHECK_EQ(yula_stream_free(self.stream, false), fd);
    CHECK_EQ(yula_stream_new(self.loop, YULA_LANE_HOST, fd, &ops, &self,
                             &self.stream),
             0);
    yula_stream_start(self.stream);
    test_send_all(self.peer, "again", 5);
    run_while(&self, &self.reads, 0);
    CHECK_EQ(self.len, 5);
    finish(&self);
}

/* --- callbacks that come back -------------------------------------------- */

static end *to_write;

static void
write_in_release(void *owner)
{
    if (released == 1)
        CHECK_EQ(yula_stream_write(to_write->stream, "4", 1, NULL), 0);
}

static void
write_one_two_three(end *self)
{
    CHECK_EQ(yula_stream_write(self->stream, "1", 1, self), 0);
    CHECK_EQ(yula_stream_write(self->stream, "2", 1, self), 0);
    CHECK_EQ(yula_stream_write(self->stream, "3", 1, self), 0);
}

/* The first release writes while two chunks that were sent are still queued:
 * they must not be sent again. */
TEST(a_write_inside_release_goes_behind_what_was_sent)
{
    end self;

    begin(&self, test_tcp_pair);
    on_release = write_in_release;
    to_write = &self;
    self.on_read = write_one_two_three;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "?", 1);
    run_while(&self, &self.reads, 0);
    turns(&self, 1);
    expect_at_peer(&self, "1234");
    CHECK_EQ(released, 3);
    finish(&self);
}

static void
gather_in_callback(yula_work *work, void *arg)
{
    write_one_two_three(arg);
}

static void
write_and_flush_in_release(void *owner)
{
    write_in_release(owner);
    yula_stream_flush(to_write->stream);
}

TEST(a_flush_inside_release_sends_nothing_twice)
{
    yula_work work;
    end self;

    begin(&self, test_unix_pair);
    on_release = write_and_flush_in_release;
    to_write = &self;
    yula_work_init(&work, YULA_LANE_HOST, gather_in_callback, &self);
    yula_work_queue(self.loop, &work);
    turns(&self, 2);
    expect_at_peer(&self, "1234");
    finish(&self);
}

static void
wait_for_more(end *self)
{
    if (self->reads == 1)
        run_while(self, &self->reads, 1);
}

/* Its edge is used up: only the stream knows that there is more. */
TEST(a_nested_turn_inside_read_delivers_what_came_next)
{
    end self;

    begin(&self, test_unix_pair);
    self.on_read = wait_for_more;
    yula_stream_start(self.stream);
    send_descriptor(self.peer, "one");
    send_descriptor(self.peer, "two");
    turns(&self, 4);
    CHECK_EQ(self.len, 6);
    CHECK(memcmp(self.data, "onetwo", 6) == 0);
    finish(&self);
}

static end *other_end;

static void
nested_read(yula_stream *stream, void *base, size_t len, void *arg)
{
    end *self = arg;
    end_read(stream, base, len, arg);
    if (self == other_end)
        return;
    test_send_all(other_end->peer, "two", 3);
    run_while(other_end, &other_end->reads, 0);
    CHECK(memcmp(base, "one", 3) == 0);
}

TEST(the_loops_buffer_stays_untouched_by_reads_of_a_nested_turn)
{
    yula_stream_ops table = ops;
    end self, other = {0};
    int fds[2];

    table.read = nested_read;
    begin_with(&self, test_unix_pair, &table);
    test_unix_pair(fds);
    other_end = &other;
    other.loop = self.loop;
    other.peer = fds[0];
    CHECK_EQ(yula_stream_new(self.loop, YULA_LANE_HOST, fds[1], &table, &other,
                             &other.stream),
             0);
    yula_stream_start(self.stream);
    yula_stream_start(other.stream);
    test_send_all(self.peer, "one", 3);
    turns(&self, 2);
    CHECK_EQ(self.reads, 1);
    CHECK_EQ(other.reads, 1);
    yula_stream_free(other.stream, true);
    close(other.peer);
    finish(&self);
}

static void
free_and_step(end *self)
{
    yula_stream_free(self->stream, true);
    self->stream = NULL;
    turns(self, 2);
}

TEST(a_stream_may_be_freed_before_a_nested_turn_in_its_callback)
{
    end self;

    begin(&self, test_unix_pair);
    self.on_read = free_and_step;
    yula_stream_start(self.stream);
    send_descriptor(self.peer, "one");
    send_descriptor(self.peer, "two");
    turns(&self, 3);
    CHECK_EQ(self.reads, 1);
    finish(&self);
}

/* --- making -------------------------------------------------------------- */

TEST(a_stream_that_cannot_be_made_leaves_the_descriptor_to_the_caller)
{
    yula_loop *loop = test_loop();
    yula_stream *stream = NULL;
    int fds[2];

    test_unix_pair(fds);
    CHECK_EQ(yula_stream_new(loop, YULA_LANE_HOST, -1, &ops, NULL, &stream),
             -EBADF);
    for (long n = 1; stream == NULL; n++) {
        test_fail_alloc(n);
        int err = yula_stream_new(loop, YULA_LANE_HOST, fds[1], &ops, NULL,
                                  &stream);
        CHECK_EQ(err, test_alloc_failed() ? -ENOMEM : 0);
        CHECK_EQ(stream != NULL, err == 0);
    }
    test_fail_alloc(0);
    yula_stream_free(stream, false);
    stream = NULL;
    test_fail_sys_named("epoll_ctl", 1, ENOSPC);
    CHECK_EQ(yula_stream_new(loop, YULA_LANE_HOST, fds[1], &ops, NULL, &stream),
             -ENOSPC);
    CHECK(stream == NULL);
    test_fail_sys(0, 0);
    test_send_all(fds[1], "x", 1);
    yula_loop_free(loop);
    close(fds[0]);
    close(fds[1]);
}

/* --- every call failing in turn ------------------------------------------ */

static char big[200000];

/* An exchange in which something may fail: it must end, told or untold. */
static void
exchange(end *self)
{
    char got[8192];

    yula_stream_start(self->stream);
    (void)yula_stream_write(self->stream, big, sizeof(big), NULL);
    (void)yula_stream_write(self->stream, big, sizeof(big), self);
    (void)!write(self->peer, "question", 8);
    for (int i = 0; i < 100 && self->failures == 0; i++) {
        (void)!read(self->peer, got, sizeof(got));
        (void)yula_loop_step(self->loop, 0);
    }
    (void)yula_stream_shutdown(self->stream);
    for (int i = 0; i < 10; i++)
        (void)yula_loop_step(self->loop, 0);
}

TEST(any_system_call_may_fail_at_any_time)
{
    for (int kind = 0; kind < 2; kind++) {
        for (long n = 1;; n++) {
            end self;
            begin(&self, pairs[kind]);
            small_buffers(&self);
            test_fail_sys(n, EIO);
            exchange(&self);
            bool failed = test_sys_failed();
            test_fail_sys(0, 0);
            finish(&self);
            CHECK(released <= 1);
            CHECK_EQ(test_memory_live(), 0);
            if (!failed)
                break;
        }
    }
}

TEST(any_allocation_may_fail_at_any_time)
{
    for (long n = 1;; n++) {
        end self;
        begin(&self, test_unix_pair);
        small_buffers(&self);
        test_fail_alloc(n);
        exchange(&self);
        bool failed = test_alloc_failed();
        test_fail_alloc(0);
        finish(&self);
        CHECK(released <= 1);
        CHECK_EQ(test_memory_live(), 0);
        if (!failed)
            break;
    }
}
