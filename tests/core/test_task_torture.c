/* test_task_torture.c: a program of tasks that is cancelled at every await point in
 * turn, and that gets no memory at every allocation in turn.
 *
 * Nothing may be left over (memory, tasks, stacks, timers), and the program
 * either does its work or says why not.
 */
#include <yula/yula.h>

#include <errno.h>
#include <string.h>

#include "coro/task_i.h"
#include "support.h"
#include "tasks.h"
#include "test.h"

/* Await points passed so far, and the one at which the victim is cancelled. */
static long points, cancel_at;
static yula_task *victim;

static void
point(void)
{
    if (++points == cancel_at)
        yula_task_cancel(victim);
}

static int
nap(yula_loop *loop, int64_t timeout_ns)
{
    point();
    return yula_task_sleep(loop, timeout_ns);
}

static void *
name_inherit(void *value)
{
    return value;
}

static const yula_local name_key = {.inherit = name_inherit};

static int
leaf(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_scope scope;
    int err = 0;

    for (int i = 0; i < 3 && err == 0; i++) {
        err = yula_deadline_enter(loop, &scope, yula_loop_now(loop) + 100);
        if (err < 0)
            break;
        err = nap(loop, i == 2 ? 200 : 10); /* the third one takes too long */
        err = yula_deadline_leave(&scope, err);
    }
    if (err == YULA_ECANCELED) { /* clean-up may wait */
        yula_shield_enter(loop, &scope);
        (void)nap(loop, 5);
        yula_shield_leave(&scope);
    }
    return err == -ETIMEDOUT ? 0 : err;
}

static int
branch(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_group group;
    yula_task *last;

    yula_group_enter(loop, &group);
    int err = yula_group_spawn(&group, NULL, leaf, NULL, NULL);
    if (err == 0)
        err = yula_group_spawn(&group, NULL, leaf, NULL, NULL);
    if (err == 0)
        err = nap(loop, 30);
    point();
    err = yula_group_leave(&group, err);
    if (err < 0)
        return err;
    err = yula_task_spawn(loop, NULL, leaf, NULL, &last);
    if (err < 0)
        return err;
    int result = 0;
    point();
    err = yula_task_join(last, &result);
    if (err < 0) {
        yula_task_cancel(last);
        yula_task_unref(last);
    }
    return err < 0 ? err : result;
}

static int
root(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_group group;
    char name[] = "root";

    int err = yula_local_set(loop, &name_key, name);
    if (err < 0)
        return err;
    yula_group_enter(loop, &group);
    for (int i = 0; i < 2 && err == 0; i++)
        err = yula_group_spawn(&group, NULL, branch, NULL, NULL);
    point();
    err = yula_group_leave(&group, err);
    if (err == 0) {
        point();
        err = yula_task_yield(loop);
    }
    return err;
}

static int
play(void)
{
    yula_loop *loop = tasks_begin();

    points = 0;
    victim = NULL;
    int result = yula_task_spawn(loop, NULL, root, NULL, &victim);
    if (result == 0) {
        tasks_run_dry(loop);
        CHECK(yula_task_ended(victim));
        result = yula_task_result(victim);
        yula_task_unref(victim);
    }
    CHECK_EQ(loop->timer_count, 0);
    tasks_end(loop);
    return result;
}

TEST(a_program_cancelled_at_every_await_point_in_turn_leaves_nothing_behind)
{
    cancel_at = 0;
    CHECK_EQ(play(), 0);
    long all = points;
    CHECK(all > 20);
    for (cancel_at = 1; cancel_at <= all; cancel_at++)
        CHECK_EQ(play(), YULA_ECANCELED);
}

TEST(every_task_of_a_program_cancelled_at_every_point_leaves_nothing_behind)
{
    cancel_at = 0;
    CHECK_EQ(play(), 0);
    long all = points;

    for (long at = 1; at <= all; at++) {
        yula_loop *loop = tasks_begin();
        cancel_at = points = 0;
        CHECK_EQ(yula_task_spawn(loop, NULL, root, NULL, &victim), 0);
        while (points < at && yula_task_count(loop) > 0) {
            int64_t next_ns = yula_loop_next_deadline(loop);
            if (next_ns > test_now_ns)
                test_now_ns = next_ns;
            test_turn(loop);
        }
        yula_task_cancel_all(loop);
        tasks_run_dry(loop);
        CHECK(yula_task_ended(victim));
        yula_task_unref(victim);
        CHECK_EQ(loop->timer_count, 0);
        tasks_end(loop);
    }
}

/* The loop itself is made before the failures begin. */
static int
play_without_memory(long n)
{
    yula_loop *loop = tasks_begin();

    points = 0;
    test_fail_alloc(n);
    int result = yula_task_spawn(loop, NULL, root, NULL, &victim);
    if (result == 0) {
        tasks_run_dry(loop);
        CHECK(yula_task_ended(victim));
        result = yula_task_result(victim);
        yula_task_unref(victim);
    }
    CHECK_EQ(loop->timer_count, 0);
    tasks_end(loop);
    return result;
}

TEST(a_program_without_memory_at_every_allocation_in_turn_says_so)
{
    cancel_at = 0;
    for (long n = 1;; n++) {
        int result = play_without_memory(n);
        bool failed = test_alloc_failed();
        test_faults_clear();
        CHECK(result == 0 || result == -ENOMEM);
        if (!failed) {
            CHECK_EQ(result, 0);
            CHECK(n > 3);
            return;
        }
        CHECK_EQ(result, -ENOMEM);
    }
}

TEST(a_program_whose_mappings_fail_in_turn_says_so_or_does_without)
{
    static const char *const names[] = {"mmap", "madvise", "mprotect"};

    cancel_at = 0;
    for (int i = 0; i < 3; i++) {
        test_fail_sys_named(names[i], 1, ENOMEM);
        yula_loop *loop = tasks_begin();
        points = 0;
        int result = yula_task_spawn(loop, NULL, root, NULL, &victim);
        if (result == 0) {
            tasks_run_dry(loop);
            result = yula_task_result(victim);
            yula_task_unref(victim);
        }
        CHECK_EQ(result, i == 0 ? -ENOMEM : 0);
        tasks_end(loop);
        test_faults_clear();
    }
}
