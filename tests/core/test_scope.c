/* test_scope.c: deadlines and shields, on a clock that is driven by hand. */
#include <yula/scope.h> /* first: it must stand alone */

#include <errno.h>
#include <string.h>

#include "coro/task_i.h"
#include "support.h"
#include "tasks.h"
#include "test.h"

static int64_t
in(int64_t timeout_ns)
{
    return test_now_ns + timeout_ns;
}

static int
deadline_passes(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_scope scope;

    CHECK_EQ(yula_deadline_enter(loop, &scope, in(10)), 0);
    int err = yula_task_sleep(loop, 1000);
    CHECK_EQ(err, YULA_ECANCELED);
    CHECK_EQ(yula_deadline_leave(&scope, err), -ETIMEDOUT);
    return yula_task_sleep(loop, 1000); /* interrupted no more */
}

TEST(a_deadline_interrupts_once_and_its_scope_says_timed_out)
{
    CHECK_EQ(tasks_main(deadline_passes, NULL), 0);
}

static int
deadline_in_time(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_scope scope;

    CHECK_EQ(yula_deadline_enter(loop, &scope, in(1000)), 0);
    CHECK_EQ(yula_task_sleep(loop, 10), 0);
    CHECK_EQ(yula_deadline_leave(&scope, 17), 17);
    CHECK_EQ(loop->timer_count, 0);
    CHECK_EQ(yula_deadline_enter(loop, &scope, in(1000)), 0);
    CHECK_EQ(yula_deadline_leave(&scope, YULA_ECANCELED), YULA_ECANCELED);
    return 0;
}

TEST(a_scope_that_is_left_in_time_changes_nothing)
{
    CHECK_EQ(tasks_main(deadline_in_time, NULL), 0);
}

static int
timeouts(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    int64_t begin = test_now_ns;
    yula_scope forever, gone, scope;

    CHECK_EQ(yula_timeout_enter(loop, &forever, YULA_NEVER), 0);
    CHECK_EQ(yula_timeout_enter(loop, &scope, 10), 0);
    int err = yula_task_sleep(loop, 1000);
    CHECK_EQ(yula_deadline_leave(&scope, err), -ETIMEDOUT);
    CHECK_EQ(test_now_ns, begin + 10);
    CHECK_EQ(yula_timeout_enter(loop, &gone, INT64_MIN), 0);
    err = yula_task_sleep(loop, 1000);
    CHECK_EQ(yula_deadline_leave(&gone, err), -ETIMEDOUT);
    CHECK_EQ(test_now_ns, begin + 10);
    return yula_deadline_leave(&forever, 0);
}

TEST(a_timeout_is_a_deadline_that_long_from_now)
{
    CHECK_EQ(tasks_main(timeouts, NULL), 0);
}

static int
deadline_past(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_scope scope;

    CHECK_EQ(yula_deadline_enter(loop, &scope, in(-10)), 0);
    int err = yula_task_sleep(loop, 1000);
    return yula_deadline_leave(&scope, err);
}

TEST(a_deadline_that_has_passed_already_interrupts_the_first_wait)
{
    CHECK_EQ(tasks_main(deadline_past, NULL), -ETIMEDOUT);
}

/* Nested deadlines: which of them says "timed out", as letters. */
static int
nested(yula_loop *loop, int64_t outer_ns, int64_t inner_ns)
{
    yula_scope outer, inner;

    CHECK_EQ(yula_deadline_enter(loop, &outer, in(outer_ns)), 0);
    CHECK_EQ(yula_deadline_enter(loop, &inner, in(inner_ns)), 0);
    int err = yula_task_sleep(loop, 1000);
    log_letter(err == YULA_ECANCELED ? 'c' : '0');
    err = yula_deadline_leave(&inner, err);
    log_letter(err == -ETIMEDOUT ? 'I' : err == YULA_ECANCELED ? 'c' : '0');
    err = yula_deadline_leave(&outer, err);
    log_letter(err == -ETIMEDOUT ? 'O' : err == YULA_ECANCELED ? 'c' : '0');
    return err;
}

static int
nest_inner_first(yula_task *task, void *arg)
{
    return nested(yula_task_loop(task), 500, 10);
}

static int
nest_outer_first(yula_task *task, void *arg)
{
    return nested(yula_task_loop(task), 10, 500);
}

static int
nest_both(yula_task *task, void *arg)
{
    return nested(yula_task_loop(task), 10, 10);
}

TEST(the_inner_deadline_is_the_inner_scopes)
{
    CHECK_EQ(tasks_main(nest_inner_first, NULL), -ETIMEDOUT);
    CHECK_STR(log_text, "cIO"); /* -ETIMEDOUT passes through the outer */
}

TEST(the_outer_deadline_passes_through_the_inner_scope)
{
    CHECK_EQ(tasks_main(nest_outer_first, NULL), -ETIMEDOUT);
    CHECK_STR(log_text, "ccO");
}

TEST(of_equal_deadlines_the_outer_has_the_word)
{
    CHECK_EQ(tasks_main(nest_both, NULL), -ETIMEDOUT);
    CHECK_STR(log_text, "ccO");
}

static int
cancel_inside(yula_task *task, void *arg)
{
    return nested(yula_task_loop(task), 500, 400);
}

TEST(a_cancel_passes_through_all_scopes)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;

    CHECK_EQ(yula_task_spawn(loop, NULL, cancel_inside, NULL, &task), 0);
    test_turn(loop);
    yula_task_cancel(task);
    tasks_run_dry(loop);
    CHECK_STR(log_text, "ccc");
    CHECK_EQ(yula_task_result(task), YULA_ECANCELED);
    yula_task_unref(task);
    tasks_end(loop);
}

TEST(a_cancel_and_a_deadline_at_once_are_a_cancel)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;

    CHECK_EQ(yula_task_spawn(loop, NULL, nest_both, NULL, &task), 0);
    test_turn(loop);
    test_now_ns += 10;
    CHECK_EQ(yula_loop_collect(loop), 0);
    yula_task_cancel(task);
    tasks_run_dry(loop);
    CHECK_STR(log_text, "ccc");
    yula_task_unref(task);
    tasks_end(loop);
}

static int
outer_after_inner(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_scope outer, inner;

    CHECK_EQ(yula_deadline_enter(loop, &outer, in(20)), 0);
    CHECK_EQ(yula_deadline_enter(loop, &inner, in(10)), 0);
    int err = yula_task_sleep(loop, 1000);
    log_letter(err == YULA_ECANCELED ? 'c' : '0');
    err = yula_task_sleep(loop, 1000); /* cleans up too slowly */
    log_letter(err == YULA_ECANCELED ? 'c' : '0');
    err = yula_deadline_leave(&inner, err);
    log_letter(err == YULA_ECANCELED ? 'c' : '0');
    return yula_deadline_leave(&outer, err);
}

TEST(an_outer_deadline_during_the_clean_up_of_an_inner_one_has_the_word)
{
    CHECK_EQ(tasks_main(outer_after_inner, NULL), -ETIMEDOUT);
    CHECK_STR(log_text, "ccc");
}

static int
forgotten(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_scope scope;

    CHECK_EQ(yula_deadline_enter(loop, &scope, in(10)), 0);
    test_now_ns += 20;
    yula_timer_stop(&scope.timer);
    yula__scope_expire(&scope);
    CHECK(task->interrupted);
    CHECK_EQ(yula_deadline_leave(&scope, 3), 3);
    return yula_task_sleep(loop, 1);
}

TEST(a_deadline_nobody_has_heard_of_is_forgotten_when_its_scope_is_left)
{
    CHECK_EQ(tasks_main(forgotten, NULL), 0);
}

static int
moved(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_scope scope;

    CHECK_EQ(yula_deadline_enter(loop, &scope, YULA_NEVER), 0);
    CHECK_EQ(yula_task_sleep(loop, 100), 0);
    CHECK_EQ(yula_deadline_move(&scope, in(10)), 0);
    CHECK_EQ(yula_deadline_move(&scope, in(50)), 0);
    CHECK_EQ(yula_task_sleep(loop, 20), 0);
    int err = yula_task_sleep(loop, 100);
    CHECK_EQ(err, YULA_ECANCELED);
    return yula_deadline_leave(&scope, err);
}

TEST(a_deadline_can_be_moved)
{
    CHECK_EQ(tasks_main(moved, NULL), -ETIMEDOUT);
}

static int
entered_without_memory(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_scope scope;

    test_fail_alloc(1);
    CHECK_EQ(yula_deadline_enter(loop, &scope, in(10)), -ENOMEM);
    CHECK(test_alloc_failed());
    CHECK(task->scope == NULL);
    return 0;
}

TEST(a_scope_without_memory_for_its_timer_is_not_entered)
{
    CHECK_EQ(tasks_main(entered_without_memory, NULL), 0);
}

/* --- shields ------------------------------------------------------------- */

static int
shielded(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_scope shield;

    yula_shield_enter(loop, &shield);
    CHECK_EQ(yula_task_sleep(loop, 100), 0);
    log_letter('s');
    yula_shield_leave(&shield);
    CHECK_EQ(yula_task_sleep(loop, 100), YULA_ECANCELED);
    log_letter('c');
    return yula_task_sleep(loop, 100);
}

TEST(a_cancel_waits_for_the_end_of_a_shield)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;

    CHECK_EQ(yula_task_spawn(loop, NULL, shielded, NULL, &task), 0);
    test_turn(loop);
    yula_task_cancel(task);
    test_turn(loop);
    CHECK_STR(log_text, "");
    tasks_run_dry(loop);
    CHECK_STR(log_text, "sc");
    CHECK_EQ(yula_task_result(task), 0);
    yula_task_unref(task);
    tasks_end(loop);
}

TEST(a_cancel_that_is_pending_waits_for_the_end_of_a_shield)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;

    CHECK_EQ(yula_task_spawn(loop, NULL, shielded, NULL, &task), 0);
    yula_task_cancel(task);
    tasks_run_dry(loop);
    CHECK_STR(log_text, "sc");
    yula_task_unref(task);
    tasks_end(loop);
}

static int
deadline_in_shield(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_scope outer, shield, inner;

    CHECK_EQ(yula_deadline_enter(loop, &outer, in(5)), 0);
    yula_shield_enter(loop, &shield);
    CHECK_EQ(yula_deadline_enter(loop, &inner, in(10)), 0);
    int err = yula_task_sleep(loop, 100);
    CHECK_EQ(err, YULA_ECANCELED);
    CHECK_EQ(yula_deadline_leave(&inner, err), -ETIMEDOUT);
    CHECK_EQ(yula_task_sleep(loop, 100), 0);
    yula_shield_leave(&shield);
    err = yula_task_sleep(loop, 100);
    CHECK_EQ(err, YULA_ECANCELED);
    return yula_deadline_leave(&outer, err);
}

TEST(a_deadline_inside_of_a_shield_works_and_one_outside_waits)
{
    CHECK_EQ(tasks_main(deadline_in_shield, NULL), -ETIMEDOUT);
}
