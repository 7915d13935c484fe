/* sleep.c: awaiting a time. */
#include "coro/task_i.h"

static void
sleep_over(yula_timer *timer, void *arg)
{
    yula_task_resume(arg, 0);
}

static bool
sleep_withdraw(yula_task *task, void *arg)
{
    yula_timer_stop(arg);
    return true;
}

int
yula_task_sleep_until(yula_loop *loop, int64_t deadline_ns)
{
    yula_task *task = yula_task_current(loop);
    yula_timer timer;

    yula__rule(task != NULL, "only a task can wait, and this is none");
    yula_timer_init(loop, &timer, (yula_lane)task->lane);
    if (deadline_ns != YULA_NEVER) {
        int err = yula_timer_start(&timer, deadline_ns, sleep_over, task);
        if (err < 0)
            return err;
    }
    return yula_task_suspend(task, "sleep", sleep_withdraw, &timer);
}

int
yula_task_sleep(yula_loop *loop, int64_t timeout_ns)
{
    int64_t deadline_ns;

    if (timeout_ns <= 0)
        return yula_task_yield(loop);
    if (__builtin_add_overflow(yula_loop_now(loop), timeout_ns, &deadline_ns))
        deadline_ns = YULA_NEVER;
    return yula_task_sleep_until(loop, deadline_ns);
}
