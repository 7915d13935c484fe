/* join.c: waiting for the end of tasks, from a task and from outside. */
#include "coro/task_i.h"

static bool
join_withdraw(yula_task *self, void *arg)
{
    yula_task *task = arg;
    yula__task_waiter **link = &task->waiters;

    while ((*link)->task != self)
        link = &(*link)->next;
    *link = (*link)->next;
    return true;
}

int
yula_task_join(yula_task *task, int *result)
{
    if (!yula_task_ended(task)) {
        yula_task *self = yula__task_current(task->tasks->loop);
        yula__task_waiter waiter = {.task = self};
        yula__task_waiter **last = &task->waiters;

        if (self == task)
            return -EDEADLK;
        while (*last != NULL)
            last = &(*last)->next;
        *last = &waiter;
        int err = yula_task_suspend(self, "join", join_withdraw, task);
        if (err < 0)
            return err;
    }
    if (result != NULL)
        *result = task->result;
    yula_task_unref(task);
    return 0;
}

/* --- a program ----------------------------------------------------------- */

static void
run_on_end(yula_work *work, void *arg)
{
    yula_loop_stop(arg);
}

/* Tasks may refuse to end at the first cancel, or be started by others that
 * clean up: as long as somebody is cancelled and ends, go on. */
static int
run_cancel_rest(yula_loop *loop)
{
    for (;;) {
        size_t count = yula_task_count(loop);
        if (count == 0)
            return 0;
        yula_task_cancel_all(loop);
        int err = yula_loop_run(loop);
        if (err < 0)
            return err;
        if (yula_task_count(loop) >= count)
            return -EDEADLK;
    }
}

int
yula_task_run(yula_loop *loop, const yula_task_options *options,
              yula_task_cb cb, void *arg, int *result)
{
    yula_task *task;
    yula_work ended;

    yula__loop_adopt(loop); /* it may have been made by another thread */
    int err = yula_task_spawn(loop, options, cb, arg, &task);
    if (err < 0)
        return err;
    yula_work_init(&ended, YULA_LANE_HOST, run_on_end, loop);
    yula_task_on_end(task, &ended);
    err = yula_loop_run(loop);
    if (yula_task_ended(task)) {
        if (result != NULL)
            *result = task->result;
        yula_work_cancel(&ended);
        if (err == 0)
            err = run_cancel_rest(loop);
    }
    else {
        yula_task_on_end(task, NULL);
        if (err == 0)
            err = -EDEADLK;
    }
    yula_task_unref(task);
    return err;
}
