/* test_pipe.c: the two ends of pipes. */
#include <yula/pipe.h> /* first: it must stand alone */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support.h"
#include "test.h"

#define MUCH ((size_t)1 << 20) /* more than a pipe holds */

/* What both ends tell; got: the bytes of a reader. */
typedef struct end {
    yula_pipe_reader *reader;
    yula_pipe_writer *writer;
    char *got;
    size_t len;
    int reads, ended, closed, failed, drained, high, low, released;
    int status;
    bool stop_on_read, free_on_read, free_on_release, free_on_alloc,
        write_on_low, done;
} end;

static void
on_read(yula_pipe_reader *reader, void *base, size_t len, void *arg)
{
    end *self = arg;
    self->got = realloc(self->got, self->len + len);
    memcpy(self->got + self->len, base, len);
    self->len += len;
    self->reads++;
    if (self->stop_on_read)
        yula_pipe_reader_stop(reader);
    if (self->free_on_read)
        yula_pipe_reader_free(reader);
}

static void
on_ended(yula_pipe_reader *reader, void *arg)
{
    end *self = arg;
    self->ended++;
    self->done = true;
}

static void
on_read_failed(yula_pipe_reader *reader, int status, void *arg)
{
    end *self = arg;
    self->failed++;
    self->status = status;
    self->done = true;
}

static const yula_pipe_reader_ops reader_ops = {
    .read = on_read,
    .ended = on_ended,
    .failed = on_read_failed,
};

static void
on_closed(yula_pipe_writer *writer, void *arg)
{
    end *self = arg;
    self->closed++;
    self->done = true;
}

static void
on_write_failed(yula_pipe_writer *writer, int status, void *arg)
{
    end *self = arg;
    CHECK_EQ(yula_pipe_queued(writer), 0);
    self->failed++;
    self->status = status;
    self->done = true;
}

static void
on_pressure(yula_pipe_writer *writer, bool high, void *arg)
{
    end *self = arg;
    CHECK_EQ(yula_pipe_pressed(writer), high);
    self->high += high;
    self->low += !high;
    if (!high && self->write_on_low) {
        self->write_on_low = false;
        CHECK_EQ(yula_pipe_write(writer, "late", 4, NULL), 0);
    }
}

static void
on_drained(yula_pipe_writer *writer, void *arg)
{
    end *self = arg;
    CHECK_EQ(yula_pipe_queued(writer), 0);
    self->drained++;
    self->done = true;
}

static void
on_release(void *owner)
{
    end *self = owner;
    self->released++;
    if (self->free_on_release) {
        self->free_on_release = false;
        yula_pipe_writer_free(self->writer);
    }
}

static const yula_pipe_writer_ops writer_ops = {
    .closed = on_closed,
    .failed = on_write_failed,
    .pressure = on_pressure,
    .drained = on_drained,
    .release = on_release,
};

static void
pipe_pair(int fds[2])
{
    (void)signal(SIGPIPE, SIG_IGN);
    CHECK_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
}

static void
make_reader(yula_loop *loop, end *self, int fd)
{
    *self = (end){0};
    CHECK_EQ(yula_pipe_reader_new(loop, YULA_LANE_HOST, fd, &reader_ops, self,
                                  &self->reader),
             0);
}

static void
make_writer(yula_loop *loop, end *self, int fd)
{
    *self = (end){0};
    CHECK_EQ(yula_pipe_writer_new(loop, YULA_LANE_HOST, fd, &writer_ops, self,
                                  &self->writer),
             0);
}

static void
turns(yula_loop *loop, int count)
{
    for (int i = 0; i < count; i++)
        test_turn(loop);
}

static char *
pattern(size_t len)
{
    char *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 7 + (i >> 8));
    return bytes;
}

/* Read whatever is there, from the other side. */
static size_t
drain(int fd, char *out, size_t len)
{
    size_t at = 0;
    while (at < len) {
        ssize_t n = read(fd, out + at, len - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    return at;
}

static void
over(yula_loop *loop, end *self, int fd)
{
    if (self->reader != NULL)
        yula_pipe_reader_free(self->reader);
    if (self->writer != NULL)
        yula_pipe_writer_free(self->writer);
    free(self->got);
    yula_loop_free(loop);
    close(fd);
}

/* --- reading ---------------------------------------------------------------- */

TEST(what_is_written_is_read_once_a_turn_and_then_the_end)
{
    yula_loop *loop = test_loop();
    end reader;
    int fds[2];

    pipe_pair(fds);
    make_reader(loop, &reader, fds[0]);
    CHECK_EQ(write(fds[1], "before", 6), 6);
    turns(loop, 2);
    CHECK_EQ(reader.reads, 0);
    CHECK_EQ(yula_pipe_reader_start(reader.reader), 0);
    test_turn(loop);
    CHECK_EQ(reader.reads, 1);
    turns(loop, 2);
    CHECK_EQ(reader.reads, 1);
    CHECK_EQ(write(fds[1], " after", 6), 6);
    close(fds[1]);
    test_run_until(loop, &reader.done);
    CHECK_EQ(reader.len, 12);
    CHECK_EQ(memcmp(reader.got, "before after", 12), 0);
    CHECK_EQ(reader.ended, 1);
    turns(loop, 2);
    CHECK_EQ(reader.ended, 1);
    CHECK_EQ(yula_pipe_reader_start(reader.reader), 0);
    turns(loop, 2);
    CHECK_EQ(reader.ended, 1);
    over(loop, &reader, fds[0]);
}

TEST(packets_are_read_one_by_one_and_none_is_forgotten)
{
    yula_loop *loop = test_loop();
    end reader;
    int fds[2];

    CHECK_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC | O_DIRECT), 0);
    make_reader(loop, &reader, fds[0]);
    CHECK_EQ(yula_pipe_reader_start(reader.reader), 0);
    CHECK_EQ(write(fds[1], "one", 3), 3);
    CHECK_EQ(write(fds[1], "two", 3), 3);
    turns(loop, 2);
    CHECK_EQ(reader.reads, 2);
    CHECK_EQ(memcmp(reader.got, "onetwo", 6), 0);
    close(fds[1]);
    over(loop, &reader, fds[0]);
}

TEST(a_stopped_reader_is_told_nothing_and_costs_no_turns)
{
    yula_loop *loop = test_loop();
    end reader;
    int fds[2];

    pipe_pair(fds);
    make_reader(loop, &reader, fds[0]);
    reader.stop_on_read = true;
    CHECK_EQ(yula_pipe_reader_start(reader.reader), 0);
    CHECK_EQ(write(fds[1], "x", 1), 1);
    test_turn(loop);
    CHECK_EQ(reader.reads, 1);
    CHECK_EQ(write(fds[1], "y", 1), 1);
    close(fds[1]); /* a hang-up is reported whether one wants it or not */
    turns(loop, 3);
    CHECK_EQ(reader.reads, 1);
    CHECK_EQ(reader.ended, 0);
    CHECK(yula_watcher_of(loop, fds[0]) == NULL);
    CHECK_EQ(yula_pipe_reader_start(reader.reader), 0);
    test_turn(loop);
    CHECK_EQ(reader.reads, 2);
    CHECK_EQ(yula_pipe_reader_start(reader.reader), 0);
    test_run_until(loop, &reader.done);
    CHECK_EQ(reader.ended, 1);
    over(loop, &reader, fds[0]);
}

TEST(a_reader_can_be_freed_by_what_it_read)
{
    yula_loop *loop = test_loop();
    end reader;
    int fds[2];

    pipe_pair(fds);
    make_reader(loop, &reader, fds[0]);
    reader.free_on_read = true;
    CHECK_EQ(yula_pipe_reader_start(reader.reader), 0);
    CHECK_EQ(write(fds[1], "x", 1), 1);
    close(fds[1]);
    turns(loop, 3);
    CHECK_EQ(reader.reads, 1);
    CHECK_EQ(reader.ended, 0);
    reader.reader = NULL;
    over(loop, &reader, fds[0]);
}

TEST(a_read_that_fails_is_reported_once)
{
    yula_loop *loop = test_loop();
    end reader;
    int fds[2];

    pipe_pair(fds);
    make_reader(loop, &reader, fds[0]);
    CHECK_EQ(yula_pipe_reader_start(reader.reader), 0);
    CHECK_EQ(write(fds[1], "x", 1), 1);
    test_fail_sys_named("read", 1, EIO);
    turns(loop, 3);
    test_faults_clear();
    CHECK_EQ(reader.failed, 1);
    CHECK_EQ(reader.status, -EIO);
    CHECK_EQ(reader.reads, 0);
    close(fds[1]);
    over(loop, &reader, fds[0]);
}

TEST(what_cannot_be_waited_for_is_refused)
{
    yula_loop *loop = test_loop();
    end reader;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    make_reader(loop, &reader, fd);
    CHECK_EQ(yula_pipe_reader_start(reader.reader), -EPERM);
    over(loop, &reader, fd);
}

static char own_room[4];

static int
on_alloc(yula_pipe_reader *reader, void **base, size_t *len, void *arg)
{
    end *self = arg;
    if (self->free_on_alloc) {
        yula_pipe_reader_free(reader);
        return 0;
    }
    *base = own_room;
    *len = sizeof(own_room);
    return self->status;
}

TEST(a_reader_reads_to_where_its_owner_says)
{
    static const yula_pipe_reader_ops ops = {
        .alloc = on_alloc,
        .read = on_read,
        .ended = on_ended,
        .failed = on_read_failed,
    };
    yula_loop *loop = test_loop();
    end reader = {0};
    int fds[2];

    pipe_pair(fds);
    CHECK_EQ(yula_pipe_reader_new(loop, YULA_LANE_HOST, fds[0], &ops, &reader,
                                  &reader.reader),
             0);
    CHECK_EQ(yula_pipe_reader_start(reader.reader), 0);
    CHECK_EQ(write(fds[1], "in pieces", 9), 9);
    test_turn(loop);
    CHECK_EQ(reader.len, 4);
    CHECK_EQ(memcmp(own_room, "in p", 4), 0);
    turns(loop, 3);
    CHECK_EQ(reader.len, 9);
    CHECK_EQ(memcmp(reader.got, "in pieces", 9), 0);
    CHECK_EQ(write(fds[1], "x", 1), 1);
    reader.status = -ENOMEM;
    turns(loop, 2);
    CHECK_EQ(reader.failed, 1);
    CHECK_EQ(reader.len, 9);
    close(fds[1]);
    over(loop, &reader, fds[0]);
}

TEST(a_reader_can_be_freed_when_it_asks_for_room)
{
    static const yula_pipe_reader_ops ops = {
        .alloc = on_alloc,
        .read = on_read,
        .ended = on_ended,
        .failed = on_read_failed,
    };
    yula_loop *loop = test_loop();
    end reader = {.free_on_alloc = true};
    int fds[2];

    pipe_pair(fds);
    CHECK_EQ(yula_pipe_reader_new(loop, YULA_LANE_HOST, fds[0], &ops, &reader,
                                  &reader.reader),
             0);
    CHECK_EQ(yula_pipe_reader_start(reader.reader), 0);
    CHECK_EQ(write(fds[1], "x", 1), 1);
    turns(loop, 2);
    CHECK_EQ(reader.reads + reader.failed, 0);
    reader.reader = NULL;
    close(fds[1]);
    over(loop, &reader, fds[0]);
}

/* --- writing ---------------------------------------------------------------- */

TEST(a_write_is_there_when_it_returns)
{
    yula_loop *loop = test_loop();
    end writer;
    char got[8];
    int fds[2];

    pipe_pair(fds);
    make_writer(loop, &writer, fds[1]);
    CHECK_EQ(yula_pipe_write(writer.writer, "now", 3, &writer), 0);
    CHECK_EQ(writer.released, 1);
    CHECK_EQ(drain(fds[0], got, sizeof(got)), 3);
    CHECK_EQ(memcmp(got, "now", 3), 0);
    CHECK_EQ(yula_pipe_queued(writer.writer), 0);
    close(fds[0]);
    over(loop, &writer, fds[1]);
}

/* Large pieces by reference and small ones by copy, in order. */
TEST(what_the_pipe_does_not_take_follows_in_order)
{
    yula_loop *loop = test_loop();
    end writer;
    char *sent = pattern(MUCH), *got = malloc(MUCH);
    size_t at = MUCH / 2, came = 0;
    int fds[2];

    pipe_pair(fds);
    make_writer(loop, &writer, fds[1]);
    writer.write_on_low = true;
    CHECK_EQ(yula_pipe_write(writer.writer, sent, at, &writer), 0);
    CHECK_EQ(writer.high, 1);
    for (size_t step = 1; at + step < MUCH - 4; at += step, step = step * 2 + 1)
        CHECK_EQ(yula_pipe_write(writer.writer, sent + at, step,
                                 step % 3 == 0 ? &writer : NULL),
                 0);
    CHECK_EQ(yula_pipe_write(writer.writer, sent + at, MUCH - 4 - at, NULL), 0);
    CHECK_EQ(writer.high, 1);
    while (came < MUCH) {
        test_turn(loop);
        came += drain(fds[0], got + came, MUCH - came);
    }
    CHECK_EQ(memcmp(got, sent, MUCH - 4), 0);
    CHECK_EQ(memcmp(got + MUCH - 4, "late", 4), 0);
    CHECK_EQ(writer.low, 1);
    turns(loop, 2);
    CHECK_EQ(writer.drained > 0, true);
    CHECK(yula_watcher_of(loop, fds[1]) == NULL);
    free(sent);
    free(got);
    close(fds[0]);
    over(loop, &writer, fds[1]);
}

TEST(a_watching_writer_hears_that_the_reader_closed)
{
    yula_loop *loop = test_loop();
    end writer;
    int fds[2];

    pipe_pair(fds);
    make_writer(loop, &writer, fds[1]);
    CHECK_EQ(yula_pipe_writer_watch(writer.writer), 0);
    CHECK_EQ(yula_pipe_write(writer.writer, "x", 1, NULL), 0);
    turns(loop, 2);
    CHECK_EQ(writer.closed, 0);
    close(fds[0]);
    turns(loop, 3);
    CHECK_EQ(writer.closed, 1);
    CHECK_EQ(yula_pipe_write(writer.writer, "x", 1, &writer), -EPIPE);
    CHECK_EQ(writer.released, 0);
    CHECK_EQ(yula_pipe_write(writer.writer, "x", 1, NULL), -EPIPE);
    over(loop, &writer, fds[1]);
}

TEST(a_reader_that_closes_is_told_before_what_is_queued_fails)
{
    yula_loop *loop = test_loop();
    end writer;
    char *bytes = pattern(MUCH);
    int fds[2];

    pipe_pair(fds);
    make_writer(loop, &writer, fds[1]);
    CHECK_EQ(yula_pipe_writer_watch(writer.writer), 0);
    CHECK_EQ(yula_pipe_write(writer.writer, bytes, MUCH, &writer), 0);
    close(fds[0]);
    test_run_until(loop, &writer.done);
    CHECK_EQ(writer.closed, 1);
    CHECK_EQ(writer.failed, 0);
    CHECK(yula_pipe_queued(writer.writer) > 0);
    yula_pipe_writer_free(writer.writer);
    CHECK_EQ(writer.released, 1);
    writer.writer = NULL;
    free(bytes);
    over(loop, &writer, fds[1]);
}

TEST(a_queue_that_cannot_be_written_fails_once_and_is_dropped)
{
    yula_loop *loop = test_loop();
    end writer;
    char *bytes = pattern(MUCH);
    int fds[2];

    pipe_pair(fds);
    make_writer(loop, &writer, fds[1]);
    CHECK_EQ(yula_pipe_write(writer.writer, bytes, MUCH, &writer), 0);
    CHECK_EQ(writer.released, 0);
    close(fds[0]);
    turns(loop, 3);
    CHECK_EQ(writer.failed, 1);
    CHECK_EQ(writer.status, -EPIPE);
    CHECK_EQ(writer.released, 1);
    free(bytes);
    over(loop, &writer, fds[1]);
}

static int sigpipes;

static void
on_sigpipe(int number)
{
    sigpipes++;
}

TEST(a_guarded_writer_raises_no_sigpipe_and_another_does)
{
    yula_loop *loop = test_loop();
    end writer;
    int fds[2];

    for (int guarded = 0; guarded < 2; guarded++) {
        pipe_pair(fds);
        (void)signal(SIGPIPE, on_sigpipe);
        make_writer(loop, &writer, fds[1]);
        if (guarded)
            yula_pipe_writer_guard(writer.writer);
        close(fds[0]);
        CHECK_EQ(yula_pipe_write(writer.writer, "x", 1, NULL), -EPIPE);
        CHECK_EQ(sigpipes, 1);
        yula_pipe_writer_free(writer.writer);
        close(fds[1]);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    yula_loop_free(loop);
}

TEST(a_writer_can_be_freed_by_a_release)
{
    yula_loop *loop = test_loop();
    end writer;
    char *bytes = pattern(MUCH), *got = malloc(MUCH);
    int fds[2];

    pipe_pair(fds);
    make_writer(loop, &writer, fds[1]);
    CHECK_EQ(yula_pipe_write(writer.writer, bytes, 100000, &writer), 0);
    CHECK_EQ(yula_pipe_write(writer.writer, bytes, 10000, NULL), 0);
    writer.free_on_release = true;
    for (int i = 0; i < 10 && writer.released == 0; i++) {
        (void)drain(fds[0], got, MUCH);
        test_turn(loop);
    }
    CHECK_EQ(writer.released, 1);
    CHECK_EQ(writer.failed + writer.drained, 0);
    writer.writer = NULL;
    free(bytes);
    free(got);
    close(fds[0]);
    over(loop, &writer, fds[1]);
}

TEST(a_watching_writer_of_a_socket_hears_of_the_end_as_well)
{
    yula_loop *loop = test_loop();
    end writer;
    int fds[2];

    test_unix_pair(fds);
    make_writer(loop, &writer, fds[1]);
    CHECK_EQ(yula_pipe_writer_watch(writer.writer), 0);
    turns(loop, 2);
    CHECK_EQ(writer.closed, 0);
    close(fds[0]);
    test_run_until(loop, &writer.done);
    CHECK_EQ(writer.closed, 1);
    over(loop, &writer, fds[1]);
}

TEST(marks_that_are_lowered_below_the_queue_press_at_once)
{
    yula_loop *loop = test_loop();
    end writer;
    char *bytes = pattern(100000);
    size_t low, high;
    int fds[2];

    pipe_pair(fds);
    make_writer(loop, &writer, fds[1]);
    yula_pipe_get_marks(writer.writer, &low, &high);
    CHECK_EQ(low, 16384);
    CHECK_EQ(high, 65536);
    CHECK_EQ(yula_pipe_write(writer.writer, bytes, 100000, NULL), 0);
    CHECK_EQ(writer.high, 0);
    yula_pipe_set_marks(writer.writer, 10, 100);
    CHECK_EQ(writer.high, 1);
    free(bytes);
    close(fds[0]);
    over(loop, &writer, fds[1]);
}

/* --- failures ---------------------------------------------------------------- */

TEST(no_failing_allocation_loses_an_owner_or_a_byte_of_an_earlier_write)
{
    for (long n = 1;; n++) {
        yula_loop *loop = test_loop();
        end writer = {0};
        char *bytes = pattern(MUCH);
        int fds[2];

        pipe_pair(fds);
        test_fail_alloc(n);
        int err = yula_pipe_writer_new(loop, YULA_LANE_HOST, fds[1],
                                       &writer_ops, &writer, &writer.writer);
        bool given = err == 0;
        if (err == 0)
            err = yula_pipe_writer_watch(writer.writer);
        if (err == 0)
            err = yula_pipe_write(writer.writer, bytes, MUCH, &writer);
        bool failed = test_alloc_failed();
        test_faults_clear();
        CHECK_EQ(failed, err < 0);
        CHECK_EQ(writer.released, 0);
        if (!given)
            writer.writer = NULL;
        else
            yula_pipe_writer_free(writer.writer);
        writer.writer = NULL;
        CHECK_EQ(writer.released, err == 0);
        free(bytes);
        close(fds[0]);
        over(loop, &writer, fds[1]);
        if (!failed)
            return;
    }
}
