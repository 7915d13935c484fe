/* test_rules.c: what a caller does wrong ends the program with a sentence that says
 * so, and not with memory that is corrupt.
 */
#include <yula/yula.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"
#include "support.h"
#include "test.h"

static char told[512];

/* In a process of its own: what it says on standard error before it aborts. */
static const char *
last_words(void (*mistake)(yula_loop *loop))
{
    const struct rlimit none = {0, 0};
    int fds[2], status;
    ssize_t len = 0, got;

    CHECK(pipe(fds) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        yula_loop *loop;

        alarm(TEST_SECONDS);
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        if (yula_loop_new(NULL, &loop) == 0)
            mistake(loop);
        _exit(0);
    }
    close(fds[1]);
    memset(told, 0, sizeof(told));
    while ((got = read(fds[0], told + len, sizeof(told) - 1 - (size_t)len)) > 0)
        len += got;
    close(fds[0]);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    return told;
}

#define CHECK_TOLD(mistake, words)                                             \
    do {                                                                       \
        if (strstr(last_words(mistake), words) == NULL)                        \
            test_fail(__FILE__, __LINE__, "it said: %s", told);                \
    } while (0)

static void
sleep_outside(yula_loop *loop)
{
    yula_task_sleep(loop, 1);
}

static void
file_outside(yula_loop *loop)
{
    char byte;

    yula_file_read(loop, STDIN_FILENO, &byte, 1);
}

static void
read_outside(yula_loop *loop)
{
    yula_channel *channel;
    int item;

    if (yula_channel_new(loop, sizeof(item), 0, &channel) == 0)
        yula_channel_recv(channel, &item);
}

static void
scope_outside(yula_loop *loop)
{
    yula_scope scope;

    yula_shield_enter(loop, &scope);
}

TEST(waiting_outside_of_a_task_is_told)
{
    CHECK_TOLD(sleep_outside, "yula: yula_task_sleep_until: only a task");
    CHECK_TOLD(file_outside, "called outside of a task");
    CHECK_TOLD(read_outside, "called outside of a task");
    CHECK_TOLD(scope_outside, "scopes and groups are for tasks");
}

static int
never_leaves(yula_task *task, void *arg)
{
    yula_scope scope;

    return yula_deadline_enter(yula_task_loop(task), &scope, YULA_NEVER);
}

static int
leaves_outer_first(yula_task *task, void *arg)
{
    yula_scope outer, inner;

    yula_shield_enter(yula_task_loop(task), &outer);
    yula_shield_enter(yula_task_loop(task), &inner);
    yula_shield_leave(&outer);
    return 0;
}

static int
leaves_otherwise(yula_task *task, void *arg)
{
    yula_scope scope;

    yula_shield_enter(yula_task_loop(task), &scope);
    return yula_deadline_leave(&scope, 0);
}

static int
leaves_of_another(yula_task *task, void *arg)
{
    return yula_deadline_leave(arg, 0);
}

static int
lets_another_leave(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_scope scope;

    int err = yula_deadline_enter(loop, &scope, YULA_NEVER);
    if (err == 0)
        err = yula_task_spawn(loop, NULL, leaves_of_another, &scope, NULL);
    return err < 0 ? err : yula_task_sleep(loop, YULA_NEVER);
}

static void
forgets_to_leave(yula_loop *loop)
{
    yula_task_run(loop, NULL, never_leaves, NULL, NULL);
}

static void
wrong_order(yula_loop *loop)
{
    yula_task_run(loop, NULL, leaves_outer_first, NULL, NULL);
}

static void
wrong_leave(yula_loop *loop)
{
    yula_task_run(loop, NULL, leaves_otherwise, NULL, NULL);
}

static void
wrong_task(yula_loop *loop)
{
    yula_task_run(loop, NULL, lets_another_leave, NULL, NULL);
}

TEST(a_scope_that_is_not_left_or_not_as_it_was_entered_is_told)
{
    CHECK_TOLD(forgets_to_leave, "yula_..._leave is missing");
    CHECK_TOLD(wrong_order, "in the reverse order");
    CHECK_TOLD(wrong_leave, "yula_deadline_leave: the scope has no deadline");
    CHECK_TOLD(wrong_task, "in the task that entered it");
}

static int
frees_the_loop(yula_task *task, void *arg)
{
    yula_loop_free(yula_task_loop(task));
    return 0;
}

static void
free_while_running(yula_loop *loop)
{
    yula_task_run(loop, NULL, frees_the_loop, NULL, NULL);
}

static int
waits_on(yula_task *task, void *arg)
{
    int item;

    return yula_channel_recv(arg, &item);
}

static int
frees_a_channel(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_channel *channel;

    int err = yula_channel_new(loop, sizeof(int), 0, &channel);
    if (err == 0)
        err = yula_task_spawn(loop, NULL, waits_on, channel, NULL);
    if (err == 0)
        err = yula_task_yield(loop);
    yula_channel_free(channel);
    return err;
}

static void
free_while_waited_on(yula_loop *loop)
{
    yula_task_run(loop, NULL, frees_a_channel, NULL, NULL);
}

TEST(freeing_what_is_in_use_is_told)
{
    CHECK_TOLD(free_while_running, "yula_loop_free: the loop runs");
    CHECK_TOLD(free_while_waited_on, "a task still waits on the channel");
}

static int
ends_at_once(yula_task *task, void *arg)
{
    return 0;
}

static int
joins_twice(yula_task *task, void *arg)
{
    yula_task *other;

    int err = yula_task_spawn(yula_task_loop(task), NULL, ends_at_once, NULL,
                              &other);
    for (int i = 0; i < 2 && err == 0; i++)
        err = yula_task_join(other, NULL);
    return err;
}

static void
reference_given_back_twice(yula_loop *loop)
{
    yula_task_run(loop, NULL, joins_twice, NULL, NULL);
}

TEST(a_task_that_is_joined_twice_is_told)
{
    if (YULA__ASAN)
        test_skip("AddressSanitizer tells it first");
    CHECK_TOLD(reference_given_back_twice, "a reference was given back before");
}

static void *
spawn_from_here(void *loop)
{
    yula_task_spawn(loop, NULL, ends_at_once, NULL, NULL);
    return NULL;
}

static void
spawn_on_another_thread(yula_loop *loop)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, spawn_from_here, loop) == 0)
        pthread_join(thread, NULL);
}

TEST(touching_a_loop_from_another_thread_is_told)
{
    CHECK_TOLD(
        spawn_on_another_thread,
        "yula_task_spawn: called on a thread that does not run the loop");
}

static void *
run_here(void *loop)
{
    return yula_task_run(loop, NULL, ends_at_once, NULL, NULL) == 0 ? loop
                                                                    : NULL;
}

TEST(a_loop_may_be_made_by_one_thread_and_run_by_another)
{
    yula_loop *loop = test_loop();
    pthread_t thread;
    void *result;

    CHECK(pthread_create(&thread, NULL, run_here, loop) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(result == loop);
    yula_loop_free(loop);
}
