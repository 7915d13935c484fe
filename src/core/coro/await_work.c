/* await_work.c: a blocking function on a worker thread.
 *
 *  I1. Its argument may lie on the task's stack, so the task goes on only when
 *      no worker has the job any more: interrupted or not, the job's done
 *      callback is what resumes it.
 *  I2. A function that was given a flag may look whether it shall stop. If it then
 *      returns YULA_ECANCELED, that is the interruption, delivered.
 * Thread: loop; the function alone runs on a worker.
 */
#include <stdatomic.h>

#include <yula/await.h>
#include <yula/worker.h>

#include "coro/await_i.h"

typedef struct work_wait {
    yula_job job;
    yula_task *task;
    yula_await_work_cb run;
    void *arg;
    atomic_bool *stop; /* I2; or NULL */
    int result;        /* the worker's until the job is done */
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

    if (wait->stop != NULL && wait->result == YULA_ECANCELED)
        status = YULA_ECANCELED;
    yula_task_resume(wait->task, status);
}

static bool
work_withdraw(yula_task *task, void *arg)
{
    work_wait *wait = arg;

    if (wait->stop != NULL)
        atomic_store(wait->stop, true);
    (void)yula_job_cancel(&wait->job); /* or it runs already */
    return false;
}

int
yula__await_work(yula_loop *loop, yula_await_work_cb run, void *arg,
                 atomic_bool *stop, const char *waits_for)
{
    work_wait wait = {
        .task = yula_task_current(loop), .run = run, .arg = arg, .stop = stop};
    int err = yula_task_check(loop);

    if (err < 0)
        return err;
    err = yula_job_submit(loop, &wait.job, yula__await_lane(loop), work_run,
                          work_done, &wait);
    if (err < 0)
        return err;
    err = yula_task_suspend(wait.task, waits_for, work_withdraw, &wait);
    return err < 0 ? err : wait.result;
}

int
yula_await_work(yula_loop *loop, yula_await_work_cb run, void *arg)
{
    return yula__await_work(loop, run, arg, NULL, "worker");
}

/* --- that can be asked to stop ------------------------------------------- */

struct yula_stop {
    atomic_bool asked;
};

typedef struct stoppable {
    yula_stop stop;
    yula_await_stoppable_cb run;
    void *arg;
} stoppable;

static int
stoppable_run(void *arg)
{
    stoppable *self = arg;

    return self->run(&self->stop, self->arg);
}

int
yula_await_stoppable(yula_loop *loop, yula_await_stoppable_cb run, void *arg)
{
    stoppable self = {.run = run, .arg = arg};

    return yula__await_work(loop, stoppable_run, &self, &self.stop.asked,
                            "worker");
}

bool
yula_stop_asked(const yula_stop *stop)
{
    return atomic_load(&stop->asked);
}
