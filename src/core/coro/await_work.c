/* await_work.c: a blocking function on a worker thread.
 *
 *  I1. Its argument may lie on the task's stack, so the task goes on only when
 *      no worker has the job any more: interrupted or not, the job's done
 *      callback is what resumes it.
 * Thread: loop; the function alone runs on a worker.
 */
#include <yula/await.h>
#include <yula/worker.h>

#include "coro/await_i.h"

typedef struct work_wait {
    yula_job job;
    yula_task *task;
    yula_await_work_cb run;
    void *arg;
    int result; /* the worker's until the job is done */
} work_wait;

static void
work_run(yula_job *job, void *arg)
{
    work_wait *wait = arg;

    wait->result = wait->run(wait->arg);
}

static void
work_done(yula_job *job, int status, void *arg)
{
    work_wait *wait = arg;

    yula_task_resume(wait->task, status);
}

static bool
work_withdraw(yula_task *task, void *arg)
{
    work_wait *wait = arg;

    (void)yula_job_cancel(&wait->job); /* or it runs already */
    return false;
}

int
yula_await_work(yula_loop *loop, yula_await_work_cb run, void *arg)
{
    work_wait wait = {.task = yula_task_current(loop), .run = run, .arg = arg};
    int err = yula_task_check(loop);

    if (err < 0)
        return err;
    err = yula_job_submit(loop, &wait.job, yula__await_lane(loop), work_run,
                          work_done, &wait);
    if (err < 0)
        return err;
    err = yula_task_suspend(wait.task, "worker", work_withdraw, &wait);
    return err < 0 ? err : wait.result;
}
