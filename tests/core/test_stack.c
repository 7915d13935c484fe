/* test_stack.c: the pool of stacks: guards, pooling, measuring, overflow. */
#include <yula/stack.h> /* first: it must stand alone */

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "base/compiler.h"
#include "coro/task_i.h"
#include "support.h"
#include "tasks.h"
#include "test.h"

static yula_stack_stats
stats_of(const yula_loop *loop)
{
    yula_stack_stats stats;
    yula_stack_get_stats(loop, &stats);
    return stats;
}

static void
configure(yula_loop *loop, yula_stack_options options)
{
    options.size = sizeof(options);
    CHECK_EQ(yula_stack_configure(loop, &options), 0);
}

static void
many_waiters(yula_loop *loop, int count, yula_task **tasks)
{
    for (int i = 0; i < count; i++)
        CHECK_EQ(yula_task_spawn(loop, NULL, tasks_wait_forever, (void *)"x",
                                 &tasks[i]),
                 0);
    test_turn(loop);
}

static void
end_all(yula_loop *loop, int count, yula_task **tasks)
{
    for (int i = 0; i < count; i++) {
        yula_task_cancel(tasks[i]);
        yula_task_unref(tasks[i]);
    }
    tasks_run_dry(loop);
    log_text[0] = '\0';
}

TEST(freed_stacks_are_used_again)
{
    yula_loop *loop = tasks_begin();
    yula_task *tasks[40];

    CHECK_EQ(stats_of(loop).reserved_bytes, 0);
    many_waiters(loop, 40, tasks);
    yula_stack_stats first = stats_of(loop);
    CHECK_EQ(first.in_use, 40);
    CHECK(first.guard != YULA_STACK_GUARD_NONE);
    CHECK_EQ(first.unguarded, 0);
    end_all(loop, 40, tasks);
    CHECK_EQ(stats_of(loop).in_use, 0);
    CHECK_EQ(stats_of(loop).kept, 40);
    many_waiters(loop, 40, tasks);
    CHECK_EQ(stats_of(loop).reserved_bytes, first.reserved_bytes);
    CHECK_EQ(stats_of(loop).kept, 0);
    end_all(loop, 40, tasks);
    tasks_end(loop);
}

TEST(free_stacks_beyond_those_kept_give_their_memory_back)
{
    yula_loop *loop = tasks_begin();
    yula_task *tasks[100];

    configure(loop, (yula_stack_options){.keep = 10});
    many_waiters(loop, 100, tasks);
    end_all(loop, 100, tasks);
    tasks_spawn(loop, tasks_wait_forever, (void *)"x");
    test_turn(loop);
    yula_task_cancel_all(loop);
    tasks_run_dry(loop);
    yula_stack_stats stats = stats_of(loop);
    CHECK(stats.kept >= 10 && stats.kept <= 20);
    CHECK_EQ(stats.kept + stats.given_back, 100);
    yula_stack_trim(loop);
    CHECK_EQ(stats_of(loop).kept, 0);
    CHECK_EQ(stats_of(loop).given_back, 100);
    /* They are as good as new. */
    log_text[0] = '\0';
    many_waiters(loop, 100, tasks);
    CHECK_EQ(stats_of(loop).given_back, 0);
    end_all(loop, 100, tasks);
    tasks_end(loop);
}

static int
use_stack(yula_task *task, void *arg)
{
    size_t len = *(const size_t *)arg;
    volatile char *base = __builtin_alloca(len);

    for (size_t i = 0; i < len; i += 512)
        base[i] = 1;
    return 0;
}

static size_t
measure(yula_loop *loop, size_t len, size_t stack_size)
{
    yula_task_options options = {.size = sizeof(options),
                                 .stack_size = stack_size};
    yula_task_info info;
    yula_task *task;

    CHECK_EQ(yula_task_spawn(loop, &options, use_stack, &len, &task), 0);
    tasks_run_dry(loop);
    yula_task_get_info(task, &info);
    CHECK_EQ(info.state, YULA_TASK_ENDED);
    CHECK(info.stack_size >= stack_size);
    yula_task_unref(task);
    return info.stack_used;
}

TEST(the_use_of_a_stack_is_measured)
{
    yula_loop *loop = tasks_begin();
    size_t slack = YULA__ASAN || YULA__TSAN ? 32768 : 6000;

    configure(loop, (yula_stack_options){.measure = true});
    size_t used = measure(loop, 100000, 256 * 1024);
    CHECK(used >= 100000 && used < 100000 + slack);
    /* The same stack, but its memory was returned in between. */
    used = measure(loop, 10000, 256 * 1024);
    CHECK(used >= 10000 && used < 10000 + slack);
    tasks_end(loop);
}

TEST(stacks_of_several_sizes_live_side_by_side)
{
    yula_loop *loop = tasks_begin();
    static const size_t sizes[] = {1, 20000, 70000, 1000000, YULA_STACK_MAX};

    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
            CHECK(measure(loop, 2000, sizes[i]) >= 2000);
    tasks_end(loop);
}

TEST(options_that_make_no_sense_are_refused)
{
    yula_loop *loop = tasks_begin();
    yula_stack_options options = {.size = 1};

    CHECK_EQ(yula_stack_configure(loop, &options), -EINVAL);
    options = (yula_stack_options){.size = sizeof(options),
                                   .stack_size = YULA_STACK_MAX + 1};
    CHECK_EQ(yula_stack_configure(loop, &options), -EINVAL);
    tasks_end(loop);
}

TEST(without_address_space_a_spawn_fails_and_the_next_one_works)
{
    yula_loop *loop = tasks_begin();

    test_fail_sys_named("mmap", 1, ENOMEM);
    CHECK_EQ(yula_task_spawn(loop, NULL, tasks_wait_forever, (void *)"x", NULL),
             -ENOMEM);
    test_faults_clear();
    CHECK_EQ(yula_task_count(loop), 0);
    tasks_spawn(loop, tasks_wait_forever, (void *)"x");
    yula_task_cancel_all(loop);
    tasks_end(loop);
}

TEST(a_kernel_without_light_guards_gets_a_mapping_for_each)
{
    yula_loop *loop = tasks_begin();
    yula_task *tasks[30];

    test_fail_sys_named("madvise", 1, EINVAL);
    many_waiters(loop, 30, tasks);
    test_faults_clear();
    CHECK_EQ(stats_of(loop).guard, YULA_STACK_GUARD_MAPPING);
    CHECK_EQ(stats_of(loop).unguarded, 0);
    end_all(loop, 30, tasks);
    tasks_end(loop);
}

TEST(without_any_guard_tasks_run_all_the_same_and_are_counted)
{
    yula_loop *loop = tasks_begin();
    yula_task *tasks[30];

    test_fail_sys_named("madvise", 1, EINVAL);
    many_waiters(loop, 1, tasks);
    test_fail_sys_named("mprotect", 1, ENOMEM);
    many_waiters(loop, 29, tasks + 1);
    test_faults_clear();
    CHECK_EQ(stats_of(loop).unguarded, 29);
    end_all(loop, 30, tasks);
    tasks_end(loop);
}

/* --- overflow ------------------------------------------------------------ */

__attribute__((noinline)) static int
recurse(int depth)
{
    volatile char frame[1000];
    frame[0] = (char)depth;
    return depth == 0 ? 0 : recurse(depth - 1) + frame[0];
}

static int
overflow(yula_task *task, void *arg)
{
    return recurse(1000000);
}

/* In a child, whose standard error comes through a pipe. */
static void
overflow_in_child(bool light, int fd)
{
    yula_loop *loop = tasks_begin();
    yula_task_options options = {.size = sizeof(options), .name = "deep"};

    dup2(fd, STDERR_FILENO);
    if (!light)
        test_fail_sys_named("madvise", 1, EINVAL);
    tasks_spawn(loop, tasks_wait_forever, (void *)"x"); /* a neighbour */
    if (yula_stack_report_overflow(loop) == 0 &&
        yula_stack_report_overflow(loop) == 0 &&
        yula_task_spawn(loop, &options, overflow, NULL, NULL) == 0)
        yula_loop_run(loop);
    _exit(0);
}

static void
check_overflow(bool light)
{
    char text[512] = "";
    int fds[2], status;

    if (YULA__ASAN || YULA__TSAN)
        test_skip("the sanitizer reports it in its own words");
    CHECK_EQ(pipe(fds), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(fds[0]);
        overflow_in_child(light, fds[1]);
    }
    close(fds[1]);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK(read(fds[0], text, sizeof(text) - 1) >= 0);
    close(fds[0]);
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGSEGV);
    CHECK(strstr(text, "yula: stack overflow in task \"deep\"") != NULL);
    CHECK(strstr(text, "64 KiB") != NULL);
}

TEST(an_overflow_is_told_before_the_process_dies_of_it)
{
    check_overflow(true);
}

TEST(an_overflow_into_a_guard_that_is_a_mapping_is_told_too)
{
    check_overflow(false);
}

TEST(the_report_of_overflows_leaves_nothing_behind)
{
    yula_loop *loop = tasks_begin();
    stack_t before, after;

    CHECK_EQ(sigaltstack(NULL, &before), 0);
    CHECK_EQ(yula_stack_report_overflow(loop), 0);
    tasks_end(loop);
    CHECK_EQ(sigaltstack(NULL, &after), 0);
    CHECK_EQ(after.ss_flags, before.ss_flags);
}
