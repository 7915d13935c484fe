/* test_pipe_await.c: the ends of pipes as tasks use them. */
#include <yula/pipe.h> /* first: it must stand alone */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "actors.h"
#include "support.h"
#include "test.h"

#define BULK ((size_t)1 << 20) /* more than a pipe and a queue hold */

/* A pipe, one of its ends a task's; the test plays the other. */
typedef struct talk {
    yula_loop *loop;
    yula_source *source;
    yula_sink *sink;
    int peer;
    char got[256];
} talk;

static talk
talk_read(yula_loop *loop)
{
    talk self = {.loop = loop};
    int fds[2];

    CHECK_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    CHECK_EQ(yula_source_new(loop, fds[0], &self.source), 0);
    CHECK_EQ(yula_source_fd(self.source), fds[0]);
    self.peer = fds[1];
    return self;
}

static talk
talk_write(yula_loop *loop)
{
    talk self = {.loop = loop};
    int fds[2];

    CHECK_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    CHECK_EQ(yula_sink_new(loop, fds[1], &self.sink), 0);
    CHECK_EQ(yula_sink_fd(self.sink), fds[1]);
    self.peer = fds[0];
    return self;
}

static void
talk_end(talk *self)
{
    yula_source_close(self->source);
    yula_sink_close(self->sink);
    if (self->peer >= 0)
        close(self->peer);
}

static void
say(const talk *self, const char *text)
{
    CHECK_EQ(write(self->peer, text, strlen(text)), strlen(text));
}

/* --- reading -------------------------------------------------------------- */

/* At most number bytes. */
static int
read_once(actor *self, void *arg)
{
    talk *with = arg;
    ssize_t len = yula_source_read(with->source, with->got,
                                   (size_t)self->number);

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

TEST(a_read_takes_what_there_is_until_the_writers_have_closed)
{
    yula_loop *loop = test_loop();
    talk with = talk_read(loop);
    actor ann;

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
    close(with.peer);
    with.peer = -1;
    for (int i = 0; i < 2; i++)
        CHECK_EQ(read_number(&with, 200), YULA_EOF);
    talk_end(&with);
    yula_loop_free(loop);
}

TEST(an_interrupted_read_loses_nothing)
{
    yula_loop *loop = test_loop();
    talk with = talk_read(loop);
    actor ann;

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

TEST(a_failed_read_says_why_each_time)
{
    yula_loop *loop = test_loop();
    talk with = talk_read(loop);

    say(&with, "hello");
    test_fail_sys_named("read", 1, EIO);
    CHECK_EQ(read_number(&with, 200), -EIO);
    test_faults_clear();
    CHECK_EQ(read_number(&with, 200), -EIO);
    talk_end(&with);
    yula_loop_free(loop);
}

static int
read_late(actor *self, void *arg)
{
    talk *with = arg;
    yula_scope scope;

    CHECK_EQ(yula_deadline_enter(self->loop, &scope,
                                 yula_loop_now(self->loop) + 1000000),
             0);
    int len = read_once(self, with);
    return yula_deadline_leave(&scope, len);
}

TEST(a_read_with_a_deadline_gives_up)
{
    yula_loop *loop = test_loop();
    talk with = talk_read(loop);
    actor ann;

    actor_start(&ann, loop, "ann", read_late, &with);
    ann.number = 10;
    CHECK_EQ(actor_end(&ann), -ETIMEDOUT);
    talk_end(&with);
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

    return yula_source_read_exactly(with->talk.source, with->bytes, 10,
                                    &with->got);
}

TEST(an_exact_read_goes_on_where_it_was_interrupted)
{
    yula_loop *loop = test_loop();
    exact with = {.talk = talk_read(loop)};
    actor ann;

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
    with.talk.peer = -1;
    with.got = 0;
    actor_start(&ann, loop, "ann", read_ten, &with);
    CHECK_EQ(actor_end(&ann), YULA_EOF);
    CHECK_EQ(with.got, 2);
    talk_end(&with.talk);
    yula_loop_free(loop);
}

static int
read_line(actor *self, void *arg)
{
    talk *with = arg;
    char *line;
    ssize_t len = yula_source_read_line(with->source, &line);

    if (len >= 0) {
        CHECK_EQ(strlen(line), len);
        (void)snprintf(with->got, sizeof(with->got), "%s", line);
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

static int
read_until_end(actor *self, void *arg)
{
    talk *with = arg;
    char *base;
    ssize_t len = yula_source_read_until(with->source, "END", 3, &base);

    if (len >= 0)
        (void)snprintf(with->got, sizeof(with->got), "%.*s", (int)len, base);
    return (int)len;
}

TEST(lines_come_one_by_one_and_other_delimiters_too)
{
    yula_loop *loop = test_loop();
    talk with = talk_read(loop);
    actor ann;

    say(&with, "one\ntwo\r\n\nfi");
    CHECK_EQ(next_line(&with), 3);
    CHECK_STR(with.got, "one");
    CHECK_EQ(next_line(&with), 3);
    CHECK_STR(with.got, "two");
    CHECK_EQ(next_line(&with), 0);
    CHECK_EQ(yula_source_buffered(with.source), 2);
    actor_start(&ann, loop, "ann", read_line, &with);
    settle(loop);
    say(&with, "ve\na EN");
    CHECK_EQ(actor_end(&ann), 4);
    CHECK_STR(with.got, "five");
    actor_start(&ann, loop, "ann", read_until_end, &with);
    settle(loop);
    say(&with, "Dtoo long\n");
    CHECK_EQ(actor_end(&ann), 5);
    CHECK_STR(with.got, "a END");
    yula_source_set_limit(with.source, 8);
    CHECK_EQ(next_line(&with), -EMSGSIZE);
    CHECK_EQ(read_number(&with, 200), 9);
    CHECK_STR(with.got, "too long\n");
    talk_end(&with);
    yula_loop_free(loop);
}

static int
temporary_file(const char *text)
{
    FILE *file = tmpfile();
    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    CHECK_EQ(fflush(file), 0);
    rewind(file);
    int fd = fcntl(fileno(file), F_DUPFD_CLOEXEC, 3);
    (void)fclose(file);
    return fd;
}

TEST(a_file_is_read_and_written_like_a_pipe)
{
    yula_loop *loop = test_loop();
    talk with = {.loop = loop, .peer = -1};
    int fd = temporary_file("one\ntwo\nthree");

    CHECK_EQ(yula_source_share(loop, fd, &with.source), 0);
    CHECK_EQ(next_line(&with), 3);
    CHECK_STR(with.got, "one");
    CHECK_EQ(next_line(&with), 3);
    CHECK_STR(with.got, "two");
    CHECK_EQ(next_line(&with), YULA_EOF);
    CHECK_EQ(read_number(&with, 100), 5);
    CHECK_STR(with.got, "three");
    CHECK_EQ(read_number(&with, 100), YULA_EOF);
    talk_end(&with);

    CHECK_EQ(yula_sink_share(loop, fd, &with.sink), 0);
    CHECK_EQ(yula_sink_try_write(with.sink, "!", 1), 0);
    with.source = NULL;
    talk_end(&with);
    struct stat info;
    CHECK_EQ(fstat(fd, &info), 0);
    CHECK_EQ(info.st_size, 14);
    close(fd);
    yula_loop_free(loop);
}

/* --- writing -------------------------------------------------------------- */

static int
write_bulk(actor *self, void *arg)
{
    talk *with = arg;
    char *bytes = malloc(BULK);

    for (size_t i = 0; i < BULK; i++)
        bytes[i] = (char)(i * 7 + (i >> 8));
    int err = yula_sink_write(with->sink, bytes, BULK);
    free(bytes);
    return err;
}

static int
write_word(actor *self, void *arg)
{
    talk *with = arg;
    int err = yula_sink_write(with->sink, "word", 4);

    actor_note(self, err == 0 ? "wrote" : "fails");
    return err;
}

static int
drain_sink(actor *self, void *arg)
{
    talk *with = arg;

    return yula_sink_drain(with->sink);
}

/* What comes, and whether it is what write_bulk writes. */
static size_t
take(const talk *with, size_t at)
{
    char bytes[65536];
    ssize_t n = read(with->peer, bytes, sizeof(bytes));

    for (ssize_t i = 0; i < n && at < BULK; i++, at++)
        CHECK_EQ(bytes[i], (char)(at * 7 + (at >> 8)));
    return n > 0 ? (size_t)n : 0;
}

TEST(a_slow_reader_slows_the_writers_down_and_they_do_not_mix)
{
    yula_loop *loop = test_loop();
    talk with = talk_write(loop);
    actor ann, bob;
    size_t came = 0;

    actor_start(&ann, loop, "ann", write_bulk, &with);
    actor_start(&bob, loop, "bob", write_word, &with);
    settle(loop);
    CHECK(!yula_task_ended(ann.task));
    CHECK_STR(actor_log(), "");
    CHECK_EQ(yula_sink_try_write(with.sink, "x", 1), -EAGAIN);
    while (came < BULK + 4) {
        size_t n = take(&with, came);
        came += n;
        if (n == 0)
            test_turn(loop);
    }
    CHECK_EQ(actor_end(&ann), 0);
    CHECK_EQ(actor_end(&bob), 0);
    CHECK_STR(actor_log(), "bob wrote. ");
    CHECK_EQ(came, BULK + 4);
    talk_end(&with);
    yula_loop_free(loop);
}

TEST(draining_waits_until_the_pipe_has_taken_all)
{
    yula_loop *loop = test_loop();
    talk with = talk_write(loop);
    char bytes[100000] = {0};
    actor ann;

    CHECK_EQ(yula_sink_try_write(with.sink, bytes, sizeof(bytes)), 0);
    actor_start(&ann, loop, "ann", drain_sink, &with);
    settle(loop);
    CHECK(!yula_task_ended(ann.task));
    yula_task_cancel(ann.task);
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    actor_start(&ann, loop, "ann", drain_sink, &with);
    settle(loop);
    CHECK_EQ(take(&with, BULK), 65536);
    CHECK_EQ(actor_end(&ann), 0);
    actor_start(&ann, loop, "ann", drain_sink, &with);
    CHECK_EQ(actor_end(&ann), 0);
    talk_end(&with);
    yula_loop_free(loop);
}

static void
on_sigpipe(int number)
{
    CHECK(false);
}

TEST(writing_to_nobody_is_an_error_and_no_signal)
{
    yula_loop *loop = test_loop();
    struct sigaction action = {.sa_handler = on_sigpipe}, before;
    sigset_t pending;
    actor ann, bob;

    CHECK_EQ(sigaction(SIGPIPE, &action, &before), 0);
    talk with = talk_write(loop);
    actor_start(&ann, loop, "ann", write_bulk, &with);
    settle(loop);
    actor_start(&bob, loop, "bob", drain_sink, &with);
    settle(loop);
    close(with.peer);
    with.peer = -1;
    CHECK_EQ(actor_end(&ann), -EPIPE);
    CHECK_EQ(actor_end(&bob), -EPIPE);
    CHECK_EQ(yula_sink_try_write(with.sink, "x", 1), -EPIPE);
    CHECK_EQ(sigpending(&pending), 0);
    CHECK(!sigismember(&pending, SIGPIPE));
    talk_end(&with);
    CHECK_EQ(sigaction(SIGPIPE, &before, NULL), 0);
    yula_loop_free(loop);
}

TEST(a_write_that_fails_wakes_those_who_wait_for_others)
{
    yula_loop *loop = test_loop();
    talk with = talk_write(loop);
    char bytes[66000] = {0}; /* some is queued, below the mark */
    actor ann;

    CHECK_EQ(yula_sink_try_write(with.sink, bytes, sizeof(bytes)), 0);
    actor_start(&ann, loop, "ann", drain_sink, &with);
    settle(loop);
    test_fail_alloc(1);
    CHECK_EQ(yula_sink_try_write(with.sink, bytes, sizeof(bytes)), -ENOMEM);
    test_faults_clear();
    CHECK_EQ(actor_end(&ann), -ENOMEM);
    talk_end(&with);
    yula_loop_free(loop);
}

TEST(what_is_queued_when_a_sink_is_closed_still_arrives)
{
    yula_loop *loop = test_loop();
    talk with = talk_write(loop);
    char bytes[100000] = {0};
    size_t came = 0;

    CHECK_EQ(yula_sink_try_write(with.sink, bytes, sizeof(bytes)), 0);
    yula_sink_close(with.sink);
    struct pollfd entry = {.fd = with.peer, .events = POLLIN};
    while (poll(&entry, 1, 0) == 1 && (entry.revents & POLLIN)) {
        came += take(&with, BULK);
        CHECK_EQ(yula_loop_step(loop, 0), 0);
    }
    CHECK_EQ(came, sizeof(bytes));
    CHECK_EQ(yula_loop_run(loop), 0); /* has nothing left to wait for */
    with.sink = NULL;
    talk_end(&with);

    with = talk_write(loop); /* or dies with the loop */
    CHECK_EQ(yula_sink_try_write(with.sink, bytes, sizeof(bytes)), 0);
    yula_sink_close(with.sink);
    with.sink = NULL;
    yula_loop_free(loop);
    talk_end(&with);
}

/* --- what is shared ------------------------------------------------------- */

TEST(a_shared_pipe_stays_blocking_for_the_others)
{
    yula_loop *loop = test_loop();
    talk in = {.loop = loop}, out = {.loop = loop};
    int fds[2], file = temporary_file("");

    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    CHECK_EQ(yula_source_share(loop, fds[0], &in.source), 0);
    CHECK_EQ(yula_sink_share(loop, fds[1], &out.sink), 0);
    CHECK_EQ(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    CHECK_EQ(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
    CHECK(fcntl(yula_source_fd(in.source), F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(yula_sink_fd(out.sink), F_GETFL) & O_NONBLOCK);
    CHECK_EQ(yula_sink_try_write(out.sink, "shared", 6), 0);
    CHECK_EQ(read_number(&in, 100), 6);
    CHECK_STR(in.got, "shared");
    yula_source_close(in.source);
    yula_sink_close(out.sink);

    /* Opening anew is refused: a duplicate, read when there is something. */
    test_fail_sys_named("reopen", 1, EACCES);
    CHECK_EQ(yula_source_share(loop, fds[0], &in.source), 0);
    test_faults_clear();
    actor ann;
    actor_start(&ann, loop, "ann", read_once, &in);
    ann.number = 100;
    settle(loop);
    CHECK_EQ(write(fds[1], "late", 4), 4);
    CHECK_EQ(actor_end(&ann), 4);
    yula_source_close(in.source);

    CHECK_EQ(yula_source_share(loop, -1, &in.source), -EBADF);
    test_fail_sys_named("dup", 1, EMFILE);
    CHECK_EQ(yula_sink_share(loop, file, &out.sink), -EMFILE);
    test_faults_clear();
    close(file);
    close(fds[0]);
    close(fds[1]);
    yula_loop_free(loop);
}

TEST(a_terminal_is_read_by_lines_and_stays_blocking)
{
    yula_loop *loop = test_loop();
    talk with = {.loop = loop};
    actor ann;

    with.peer = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (with.peer < 0)
        test_skip("no pseudo-terminals");
    CHECK_EQ(grantpt(with.peer), 0);
    CHECK_EQ(unlockpt(with.peer), 0);
    int fd = open(ptsname(with.peer), O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_EQ(yula_source_share(loop, fd, &with.source), 0);
    CHECK_EQ(yula_sink_share(loop, fd, &with.sink), 0);
    CHECK_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    actor_start(&ann, loop, "ann", read_line, &with);
    settle(loop);
    say(&with, "typed\n");
    CHECK_EQ(actor_end(&ann), 5);
    CHECK_STR(with.got, "typed");
    CHECK_EQ(yula_sink_try_write(with.sink, "shown", 5), 0);
    yula_source *master; /* is not opened anew: that would make another pair */
    CHECK_EQ(yula_source_share(loop, with.peer, &master), 0);
    yula_source *slave = with.source;
    with.source = master;
    size_t came = 0;
    while (came < sizeof("typed\r\nshown") - 1) /* the echo, and ours */
        came += (size_t)read_number(&with, 100);
    CHECK_EQ(came, sizeof("typed\r\nshown") - 1);
    yula_source_close(slave);
    talk_end(&with);
    close(fd);
    yula_loop_free(loop);
}

/* --- torture -------------------------------------------------------------- */

static int
produce(yula_task *task, void *arg)
{
    char bytes[3000];
    int err = 0;

    memset(bytes, 'x', sizeof(bytes));
    bytes[sizeof(bytes) - 1] = '\n';
    for (int i = 0; i < 50 && err == 0; i++)
        err = yula_sink_write(arg, bytes, sizeof(bytes));
    if (err == 0)
        err = yula_sink_drain(arg);
    return err;
}

static int
consume(yula_task *task, void *arg)
{
    char bytes[1000], *line;
    size_t got = 0;
    ssize_t len = yula_source_read_line(arg, &line);

    if (len >= 0)
        len = yula_source_read_exactly(arg, bytes, sizeof(bytes), &got);
    while (len >= 0)
        len = yula_source_read(arg, bytes, sizeof(bytes));
    return len == YULA_EOF ? 0 : (int)len;
}

typedef struct duct {
    yula_source *source;
    yula_sink *sink;
} duct;

static int
produce_and_close(yula_task *task, void *arg)
{
    duct *ends = arg;
    int err = produce(task, ends->sink);

    yula_sink_abort(ends->sink);
    ends->sink = NULL;
    return err;
}

static int
through_a_pipe(yula_task *task, void *arg)
{
    duct *ends = arg;
    yula_group group;

    yula_group_enter(yula_task_loop(task), &group);
    int err = yula_group_spawn(&group, NULL, consume, ends->source, NULL);
    if (err == 0)
        err = yula_group_spawn(&group, NULL, produce_and_close, ends, NULL);
    return yula_group_leave(&group, err);
}

static void
duct_scene(yula_loop *loop)
{
    duct ends = {NULL, NULL};
    int fds[2], result = 0;

    CHECK_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    int err = yula_source_new(loop, fds[0], &ends.source);
    if (err < 0)
        close(fds[0]);
    if (err == 0)
        err = yula_sink_new(loop, fds[1], &ends.sink);
    if (ends.sink == NULL)
        close(fds[1]);
    if (err == 0)
        err = yula_task_run(loop, NULL, through_a_pipe, &ends, &result);
    if (err == 0)
        err = result;
    CHECK(err == 0 || err == YULA_ECANCELED || err == -ENOMEM);
    yula_source_close(ends.source);
    yula_sink_abort(ends.sink);
}

TEST(pipes_whose_tasks_are_interrupted_at_every_wait_leave_nothing_behind)
{
    CHECK(actor_interrupt_everywhere(duct_scene) > 20);
}

TEST(pipes_without_memory_at_every_allocation_in_turn_say_so)
{
    for (long n = 1;; n++) {
        yula_loop *loop = test_loop();
        test_fail_alloc(n);
        duct_scene(loop);
        bool failed = test_alloc_failed();
        test_faults_clear();
        yula_loop_free(loop);
        if (!failed) {
            CHECK(n > 5);
            return;
        }
    }
}
