/* test_fork.c: a loop in the child of a process that had one. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop_i.h"
#include "support.h"
#include "test.h"

/* In the child nothing may leave the test: it reports through its exit. */
#define CHILD_CHECK(expr)                                                      \
    do {                                                                       \
        if (!(expr))                                                           \
            _exit(__LINE__ % 250 + 1);                                         \
    } while (0)

static void
check_child(pid_t pid)
{
    int status = -1;

    CHECK(pid > 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

static int event_count;

static void
on_event(yula_watcher *watcher, unsigned events, void *arg)
{
    event_count++;
    yula_watcher_stop(watcher);
}

TEST(the_parents_watchers_survive_what_the_child_does_with_its_copy)
{
    yula_loop *loop = test_loop();
    yula_watcher watcher;
    int fds[2];

    event_count = 0;
    test_unix_pair(fds);
    yula_watcher_init(loop, &watcher, YULA_LANE_HOST);
    CHECK_EQ(
        yula_watcher_start(&watcher, fds[1], YULA_READABLE, on_event, NULL), 0);
    pid_t pid = fork();
    if (pid == 0) {
        yula_loop_forked(loop);
        yula_watcher_stop(&watcher);
        CHILD_CHECK(yula_loop_step(loop, 0) == YULA_ECLOSED);
        yula_loop_free(loop);
        CHILD_CHECK(test_memory_live() == 0);
        _exit(0);
    }
    check_child(pid);
    test_send_all(fds[0], "x", 1);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(event_count, 1);
    yula_loop_free(loop);
    close(fds[0]);
    close(fds[1]);
}

TEST(a_new_loop_works_in_the_child)
{
    yula_loop *loop = test_loop();
    int fds[2];

    test_unix_pair(fds);
    pid_t pid = fork();
    if (pid == 0) {
        yula_watcher watcher;
        yula_loop_forked(loop);
        yula_loop_free(loop);
        yula_loop *own = test_loop();
        event_count = 0;
        yula_watcher_init(own, &watcher, YULA_LANE_HOST);
        CHILD_CHECK(yula_watcher_start(&watcher, fds[1], YULA_READABLE,
                                       on_event, NULL) == 0);
        CHILD_CHECK(write(fds[0], "x", 1) == 1);
        CHILD_CHECK(yula_loop_run(own) == 0);
        CHILD_CHECK(event_count == 1);
        yula_loop_free(own);
        _exit(0);
    }
    check_child(pid);
    yula_loop_free(loop);
    close(fds[0]);
    close(fds[1]);
}

static void
fork_and_free(yula_work *work, void *arg)
{
    yula_loop *loop = arg;
    pid_t pid = fork();

    if (pid == 0) {
        yula_loop_forked(loop);
        yula_loop_free(loop);
        CHILD_CHECK(test_memory_live() == 0);
        _exit(0);
    }
    check_child(pid);
    event_count++;
}

TEST(a_child_that_a_callback_forked_may_free_the_loop)
{
    yula_loop *loop = test_loop();
    yula_work work;

    event_count = 0;
    yula_work_init(&work, YULA_LANE_HOST, fork_and_free, loop);
    yula_work_queue(loop, &work);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(event_count, 1);
    yula_loop_free(loop);
}

static void
sleepy_run(yula_job *job, void *arg)
{
    char byte;
    while (read(*(int *)arg, &byte, 1) < 0 && errno == EAGAIN)
        test_wait_readable(*(int *)arg);
}

static void
count_done(yula_job *job, int status, void *arg)
{
    event_count++;
}

TEST(the_child_forgets_the_workers_and_the_parent_keeps_them)
{
    yula_loop *loop = test_loop();
    yula_job job;
    int fds[2];

    event_count = 0;
    test_unix_pair(fds);
    CHECK_EQ(yula_job_submit(loop, &job, YULA_LANE_HOST, sleepy_run, count_done,
                             &fds[1]),
             0);
    pid_t pid = fork();
    if (pid == 0) {
        yula_loop_forked(loop);
        CHILD_CHECK(yula_job_cancel(&job) == -EALREADY);
        yula_job other;
        CHILD_CHECK(yula_job_submit(loop, &other, YULA_LANE_HOST, sleepy_run,
                                    count_done, &fds[1]) == YULA_ECLOSED);
        yula_loop_free(loop);
        CHILD_CHECK(test_memory_live() == 0);
        _exit(0);
    }
    check_child(pid);
    test_send_all(fds[0], "x", 1);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(event_count, 1);
    yula_loop_free(loop);
    close(fds[0]);
    close(fds[1]);
}

static void
on_addresses(yula_resolve *resolve, int status, struct addrinfo *list,
             void *arg)
{
    event_count++;
    yula_addrinfo_free(list);
}

TEST(look_ups_in_flight_do_not_leak_in_the_child)
{
    yula_loop *loop = test_loop();
    yula_resolve *resolve;

    event_count = 0;
    CHECK_EQ(yula_resolve_start(loop, YULA_LANE_HOST, "localhost", "80", NULL,
                                on_addresses, NULL, &resolve),
             0);
    pid_t pid = fork();
    if (pid == 0) {
        yula_loop_forked(loop);
        yula_loop_free(loop);
        CHILD_CHECK(test_memory_live() == 0);
        _exit(0);
    }
    check_child(pid);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(event_count, 1);
    yula_loop_free(loop);
}

static void
on_signal(yula_signal *signal, int number, void *arg)
{
    event_count++;
}

/* A child that has not said yula_loop_forked yet shares the pipe. */
TEST(a_signal_of_the_child_is_not_taken_for_one_of_the_parent)
{
    yula_loop *loop = test_loop();
    yula_signal usr1;

    event_count = 0;
    yula_signal_init(loop, &usr1, YULA_LANE_HOST);
    CHECK_EQ(yula_signal_start(&usr1, SIGUSR1, on_signal, NULL), 0);
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGUSR1); /* must not kill it either */
        _exit(0);
    }
    check_child(pid);
    for (int i = 0; i < 50; i++)
        test_turn(loop);
    CHECK_EQ(event_count, 0);
    yula_signal_stop(&usr1);
    yula_loop_free(loop);
}

/* The loop of another thread exists in the child only as memory. */
TEST(the_child_may_watch_what_another_loop_of_the_parent_watched)
{
    yula_loop *loop = test_loop(), *other = test_loop();
    yula_signal theirs;

    event_count = 0;
    yula_signal_init(other, &theirs, YULA_LANE_HOST);
    CHECK_EQ(yula_signal_start(&theirs, SIGUSR1, on_signal, NULL), 0);
    pid_t pid = fork();
    if (pid == 0) {
        yula_signal usr1;
        yula_loop_forked(loop);
        yula_loop_free(loop);
        yula_loop *own = test_loop();
        yula_signal_init(own, &usr1, YULA_LANE_HOST);
        CHILD_CHECK(yula_signal_start(&usr1, SIGUSR1, on_signal, NULL) == 0);
        raise(SIGUSR1);
        while (event_count == 0)
            CHILD_CHECK(yula_loop_step(own, YULA_NEVER) == 0);
        yula_signal_stop(&usr1);
        yula_loop_free(own);
        _exit(0);
    }
    check_child(pid);
    yula_signal_stop(&theirs);
    yula_loop_free(loop);
    yula_loop_free(other);
}

TEST(the_child_gets_back_the_handlers_that_were_there)
{
    yula_loop *loop = test_loop();
    yula_signal usr1;

    event_count = 0;
    yula_signal_init(loop, &usr1, YULA_LANE_HOST);
    CHECK_EQ(yula_signal_start(&usr1, SIGUSR1, on_signal, NULL), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct sigaction action;
        yula_loop_forked(loop);
        CHILD_CHECK(sigaction(SIGUSR1, NULL, &action) == 0);
        CHILD_CHECK(action.sa_handler == SIG_DFL);
        yula_signal_stop(&usr1); /* changes nothing */
        yula_loop_free(loop);
        CHILD_CHECK(test_memory_live() == 0);
        _exit(0);
    }
    check_child(pid);
    raise(SIGUSR1);
    for (int i = 0; i < 50; i++)
        test_turn(loop);
    CHECK_EQ(event_count, 1);
    yula_signal_stop(&usr1);
    yula_loop_free(loop);
}

static size_t
count_watched(const yula_loop *loop)
{
    size_t count = 0;

    for (size_t fd = 0; fd < loop->fd_count; fd++)
        count += loop->fds[fd].watcher != NULL;
    return count;
}

/* A host that collects cycles walks them in the child, too (visit.c). */
TEST(the_child_has_no_watcher_that_was_freed_for_it)
{
    yula_loop *loop = test_loop();
    yula_signal usr1;

    yula_signal_init(loop, &usr1, YULA_LANE_HOST);
    CHECK_EQ(yula_signal_start(&usr1, SIGUSR1, on_signal, NULL), 0);
    CHECK_EQ(count_watched(loop), 1);
    pid_t pid = fork();
    if (pid == 0) {
        yula_loop_forked(loop);
        CHILD_CHECK(count_watched(loop) == 0);
        yula_signal_stop(&usr1);
        yula_loop_free(loop);
        CHILD_CHECK(test_memory_live() == 0);
        _exit(0);
    }
    check_child(pid);
    yula_signal_stop(&usr1);
    yula_loop_free(loop);
}
