/* test_group.c: tasks that end before the function that started them does. */
#include <yula/group.h> /* first: it must stand alone */

#include <errno.h>
#include <string.h>

#include "coro/task_i.h"
#include "support.h"
#include "tasks.h"
#include "test.h"

typedef struct member {
    int64_t after_ns;
    int result;
    char letter;
    bool stubborn; /* is cancelled, but returns its result */
} member;

static int
member_body(yula_task *task, void *arg)
{
    const member *self = arg;
    int err = yula_task_sleep(yula_task_loop(task), self->after_ns);

    log_letter(err == 0 ? self->letter : 'x');
    return err == 0 || self->stubborn ? self->result : err;
}

static void
add(yula_group *group, member *self)
{
    CHECK_EQ(yula_group_spawn(group, NULL, member_body, self, NULL), 0);
}

static int
all_well(yula_task *task, void *arg)
{
    member a = {30, 1, 'a', false}, b = {10, 2, 'b', false};
    yula_group group;

    yula_group_enter(yula_task_loop(task), &group);
    add(&group, &a);
    add(&group, &b);
    CHECK_EQ(group.count, 2);
    int err = yula_group_leave(&group, 5);
    log_letter('.');
    CHECK_EQ(group.count, 0);
    return err;
}

TEST(leaving_a_group_awaits_all_members)
{
    CHECK_EQ(tasks_main(all_well, NULL), 5);
    CHECK_STR(log_text, "ba.");
}

static int
empty(yula_task *task, void *arg)
{
    yula_group group;

    yula_group_enter(yula_task_loop(task), &group);
    return yula_group_leave(&group, 4);
}

TEST(leaving_an_empty_group_does_not_wait)
{
    CHECK_EQ(tasks_main(empty, NULL), 4);
}

static int
one_fails(yula_task *task, void *arg)
{
    member a = {10, -EPROTO, 'a', false}, b = {1000, 0, 'b', false},
           c = {2000, 0, 'c', false};
    yula_group group;

    yula_group_enter(yula_task_loop(task), &group);
    add(&group, &b);
    add(&group, &a);
    add(&group, &c);
    int err = yula_group_leave(&group, 0);
    CHECK_EQ(group.failed, 1);
    CHECK(test_now_ns < 1000 + 1000); /* did not wait for b */
    return err;
}

TEST(a_member_that_fails_cancels_the_others_and_is_reported)
{
    CHECK_EQ(tasks_main(one_fails, NULL), -EPROTO);
    CHECK_STR(log_text, "axx");
}

static int
owner_is_told(yula_task *task, void *arg)
{
    member a = {10, -EPROTO, 'a', false};
    yula_loop *loop = yula_task_loop(task);
    yula_group group;

    yula_group_enter(loop, &group);
    add(&group, &a);
    int err = yula_task_sleep(loop, 1000);
    CHECK_EQ(err, YULA_ECANCELED);
    CHECK_EQ(yula_group_spawn(&group, NULL, member_body, &a, NULL),
             YULA_ECANCELED);
    err = yula_group_leave(&group, err);
    CHECK_EQ(yula_task_sleep(loop, 1000), 0); /* interrupted no more */
    return err;
}

TEST(a_member_that_fails_interrupts_the_owner)
{
    CHECK_EQ(tasks_main(owner_is_told, NULL), -EPROTO);
}

static int
owner_fails(yula_task *task, void *arg)
{
    member a = {1000, 0, 'a', false}, b = {1000, 0, 'b', false};
    yula_group group;

    yula_group_enter(yula_task_loop(task), &group);
    add(&group, &a);
    add(&group, &b);
    return yula_group_leave(&group, -EIO);
}

TEST(an_owner_that_fails_cancels_the_members)
{
    CHECK_EQ(tasks_main(owner_fails, NULL), -EIO);
    CHECK_STR(log_text, "xx");
}

static int
two_fail(yula_task *task, void *arg)
{
    member a = {10, -EPROTO, 'a', false}, b = {1000, -EIO, 'b', true};
    yula_group group;

    yula_group_enter(yula_task_loop(task), &group);
    add(&group, &a);
    add(&group, &b);
    int err = yula_group_leave(&group, 0);
    CHECK_EQ(group.failed, 2);
    return err;
}

TEST(the_first_failure_is_the_groups)
{
    CHECK_EQ(tasks_main(two_fail, NULL), -EPROTO);
}

static int
with_deadline(yula_task *task, void *arg)
{
    member a = {1000, 0, 'a', false}, b = {1000, 0, 'b', false};
    yula_loop *loop = yula_task_loop(task);
    yula_scope scope;
    yula_group group;

    CHECK_EQ(yula_deadline_enter(loop, &scope, test_now_ns + 10), 0);
    yula_group_enter(loop, &group);
    add(&group, &a);
    add(&group, &b);
    int err = yula_group_leave(&group, 0);
    CHECK_EQ(err, YULA_ECANCELED);
    return yula_deadline_leave(&scope, err);
}

TEST(a_deadline_around_a_group_cancels_its_members)
{
    CHECK_EQ(tasks_main(with_deadline, NULL), -ETIMEDOUT);
    CHECK_STR(log_text, "xx");
}

static int
with_deadline_heard_by_the_owner(yula_task *task, void *arg)
{
    member a = {100, -EINTR, 'a', true}; /* fails, when it is cancelled */
    yula_loop *loop = yula_task_loop(task);
    yula_scope scope;
    yula_group group;

    CHECK_EQ(yula_deadline_enter(loop, &scope, test_now_ns + 10), 0);
    yula_group_enter(loop, &group);
    add(&group, &a);
    int err = yula_task_sleep(loop, 1000);
    CHECK_EQ(err, YULA_ECANCELED);
    err = yula_group_leave(&group, err);
    CHECK_EQ(group.status, -EINTR);
    return yula_deadline_leave(&scope, err);
}

TEST(a_deadline_keeps_the_word_when_members_fail_of_being_cancelled)
{
    CHECK_EQ(tasks_main(with_deadline_heard_by_the_owner, NULL), -ETIMEDOUT);
}

static int
spawn_after_a_failure(yula_task *task, void *arg)
{
    member a = {10, -EPROTO, 'a', false}, b = {10, 0, 'b', false};
    yula_loop *loop = yula_task_loop(task);
    yula_scope scope;
    yula_group group;

    yula_group_enter(loop, &group);
    add(&group, &a);
    yula_shield_enter(loop, &scope); /* hears nothing */
    CHECK_EQ(yula_task_sleep(loop, 20), 0);
    yula_shield_leave(&scope);
    int err = yula_group_spawn(&group, NULL, member_body, &b, NULL);
    CHECK_EQ(err, YULA_ECANCELED);
    return yula_group_leave(&group, err);
}

TEST(a_spawn_that_a_failed_group_refuses_does_not_hide_the_failure)
{
    CHECK_EQ(tasks_main(spawn_after_a_failure, NULL), -EPROTO);
}

static int
deadline_inside(yula_task *task, void *arg)
{
    member a = {10, -EPROTO, 'a', false};
    yula_loop *loop = yula_task_loop(task);
    yula_scope scope;
    yula_group group;

    yula_group_enter(loop, &group);
    CHECK_EQ(yula_deadline_enter(loop, &scope, test_now_ns + 500), 0);
    add(&group, &a);
    int err = yula_task_sleep(loop, 1000);
    err = yula_deadline_leave(&scope, err);
    CHECK_EQ(err, YULA_ECANCELED); /* not the deadline's */
    return yula_group_leave(&group, err);
}

TEST(a_failure_passes_through_a_deadline_inside_of_the_group)
{
    CHECK_EQ(tasks_main(deadline_inside, NULL), -EPROTO);
}

static int
long_group(yula_task *task, void *arg)
{
    member a = {1000, 0, 'a', false};
    yula_group group;

    yula_group_enter(yula_task_loop(task), &group);
    add(&group, &a);
    int err = yula_group_leave(&group, 0);
    log_letter('.');
    return err;
}

TEST(cancelling_the_owner_cancels_the_members_and_awaits_them)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;

    CHECK_EQ(yula_task_spawn(loop, NULL, long_group, NULL, &task), 0);
    test_turn(loop);
    test_turn(loop);
    yula_task_cancel(task);
    tasks_run_dry(loop);
    CHECK_STR(log_text, "x.");
    CHECK_EQ(yula_task_result(task), YULA_ECANCELED);
    yula_task_unref(task);
    tasks_end(loop);
}

static int
stubborn(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);

    CHECK_EQ(yula_task_sleep(loop, 1000), YULA_ECANCELED);
    log_letter('1');
    int err = yula_task_sleep(loop, 1000);
    log_letter(err == YULA_ECANCELED ? '2' : '0');
    return err;
}

static int
stubborn_group(yula_task *task, void *arg)
{
    yula_group group;

    yula_group_enter(yula_task_loop(task), &group);
    CHECK_EQ(yula_group_spawn(&group, NULL, stubborn, NULL, NULL), 0);
    return yula_group_leave(&group, 0);
}

TEST(a_second_cancel_of_the_owner_reaches_the_members_too)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;

    CHECK_EQ(yula_task_spawn(loop, NULL, stubborn_group, NULL, &task), 0);
    test_turn(loop);
    yula_task_cancel(task);
    test_turn(loop);
    CHECK_STR(log_text, "1");
    yula_task_cancel(task);
    test_turn(loop);
    CHECK_STR(log_text, "12");
    tasks_run_dry(loop);
    CHECK_EQ(yula_task_result(task), YULA_ECANCELED);
    yula_task_unref(task);
    tasks_end(loop);
}

static int
spawn_sibling(yula_task *task, void *arg)
{
    static member late = {10, 0, 'l', false};

    CHECK_EQ(yula_task_sleep(yula_task_loop(task), 10), 0);
    add(arg, &late);
    return 0;
}

static int
growing_group(yula_task *task, void *arg)
{
    yula_group group;

    yula_group_enter(yula_task_loop(task), &group);
    CHECK_EQ(yula_group_spawn(&group, NULL, spawn_sibling, &group, NULL), 0);
    int err = yula_group_leave(&group, 0);
    log_letter('.');
    return err;
}

TEST(a_member_may_add_members_while_the_owner_waits)
{
    CHECK_EQ(tasks_main(growing_group, NULL), 0);
    CHECK_STR(log_text, "l.");
}

static int
cancel_group(yula_task *task, void *arg)
{
    member a = {1000, 0, 'a', false}, b = {1000, 3, 'b', true};
    yula_loop *loop = yula_task_loop(task);
    yula_group group;
    yula_task *second;

    yula_group_enter(loop, &group);
    add(&group, &a);
    CHECK_EQ(yula_group_spawn(&group, NULL, member_body, &b, &second), 0);
    CHECK_EQ(yula_task_sleep(loop, 10), 0);
    yula_group_cancel(&group);
    int err = yula_group_leave(&group, 6);
    CHECK_EQ(group.failed, 0);
    CHECK_EQ(yula_task_result(second), 3);
    yula_task_unref(second);
    return err;
}

TEST(members_that_the_owner_cancels_have_not_failed)
{
    CHECK_EQ(tasks_main(cancel_group, NULL), 6);
    CHECK_STR(log_text, "xx");
}
