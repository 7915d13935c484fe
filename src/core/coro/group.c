/* group.c: tasks that end before the function that started them does.
 *
 *  I1. group->first lists the members that have not ended; count is their number.
 *  I2. A group's scope expires when a member fails: the owner is then
 *      interrupted as by a deadline. While the owner awaits the members, this
 *      wait is the only thing that can be interrupted.
 * Thread: loop.
 */
#include "coro/task_i.h"

#include <string.h>

void
yula_group_enter(yula_loop *loop, yula_group *group)
{
    memset(group, 0, sizeof(*group));
    yula__scope_push(loop, &group->scope, YULA__SCOPE_GROUP);
}

int
yula_group_spawn(yula_group *group, const yula_task_options *options,
                 yula_task_cb cb, void *arg, yula_task **out)
{
    yula_task *task;

    if (group->canceled)
        return YULA_ECANCELED;
    int err = yula_task_spawn(group->scope.task->tasks->loop, options, cb, arg,
                              &task);
    if (err < 0)
        return err;
    task->group = group;
    task->group_prev = NULL;
    task->group_next = group->first;
    if (group->first != NULL)
        group->first->group_prev = task;
    group->first = task;
    group->count++;
    if (out != NULL)
        *out = task;
    else
        yula_task_unref(task);
    return 0;
}

void
yula_group_cancel(yula_group *group)
{
    group->canceled = true;
    /* Withdrawing ends no task: the list stays as it is. */
    for (yula_task *task = group->first; task != NULL; task = task->group_next)
        yula_task_cancel(task);
}

static void
group_remove(yula_group *group, yula_task *task)
{
    if (task->group_next != NULL)
        task->group_next->group_prev = task->group_prev;
    if (task->group_prev != NULL)
        task->group_prev->group_next = task->group_next;
    else
        group->first = task->group_next;
    task->group = NULL;
    group->count--;
}

/* What a cancelled member returns is what it was asked for. */
static bool
group_is_failure(const yula_group *group, int result)
{
    return result < 0 && !(result == YULA_ECANCELED && group->canceled);
}

void
yula__group_member_ended(yula_task *task)
{
    yula_group *group = task->group;

    group_remove(group, task);
    if (group_is_failure(group, task->result)) {
        if (group->failed++ == 0)
            group->status = task->result;
        if (!group->canceled)
            yula_group_cancel(group);
        if (!group->leaving)
            yula__scope_expire(&group->scope);
    }
    if (group->leaving && group->count == 0)
        yula_task_resume(group->scope.task, 0);
}

static bool
group_withdraw(yula_task *task, void *arg)
{
    yula_group_cancel(arg);
    return false; /* the last member resumes us */
}

int
yula_group_leave(yula_group *group, int status)
{
    yula_task *task = group->scope.task;
    /* As long as nobody cancelled the group, it can only come from outside. */
    bool outside = status == YULA_ECANCELED && !group->canceled;

    if (status < 0 && !group->canceled)
        yula_group_cancel(group);
    if (group->count > 0) {
        group->leaving = true;
        (void)yula_task_suspend(task, "group", group_withdraw, group);
    }
    bool heard = group->scope.state == YULA__SCOPE_DELIVERED;
    bool ours = yula__scope_pop(&group->scope);
    if (task->interrupted) { /* while we awaited them */
        yula__task_delivered(task);
        return YULA_ECANCELED;
    }
    /* If both a member's failure and somebody further out interrupted us, the
     * latter has the word. */
    outside |= status == YULA_ECANCELED && heard && !ours;
    if (group->status < 0 && !outside)
        return group->status;
    return status;
}
