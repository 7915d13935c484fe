/* job.c: jobs, from the submission to the callback that brings them back.
 *
 * They wait here in the pool's queues; who runs them is worker.c. The invariants
 * are in worker_pool.h.
 */
#include "loop/worker_i.h"
#include "loop/worker_pool.h"

/* --- queues (all under the lock) ------------------------------------------- */

static void
jobs_append(yula_workers *workers, yula_job *job)
{
    yula__job_queue *queue = &workers->queues[job->queue];

    job->next = NULL;
    job->state = YULA__JOB_WAITING;
    *queue->last = job;
    queue->last = &job->next;
    queue->waiting++;
}

static void
jobs_remove(yula_workers *workers, yula_job *job, int state)
{
    yula__job_queue *queue = &workers->queues[job->queue];
    yula_job **link = &queue->first;

    while (*link != job)
        link = &(*link)->next;
    *link = job->next;
    if (queue->last == &job->next)
        queue->last = link;
    queue->waiting--;
    job->state = (uint16_t)state;
}

unsigned
yula__jobs_ready(const yula__job_queue *queue)
{
    unsigned room = queue->max > queue->running ? queue->max - queue->running
                                                : 0;
    return queue->waiting < room ? queue->waiting : room;
}

yula_job *
yula__jobs_take(yula_workers *workers, yula__job_queue *queue)
{
    yula_job *job = queue->first;

    if (queue->running >= queue->max || job == NULL)
        return NULL;
    jobs_remove(workers, job, YULA__JOB_RUNNING);
    queue->running++;
    return job;
}

/* --- submitting -------------------------------------------------------------- */

static bool
queue_holds(const yula__job_queue *queue, const yula_job *job)
{
    const yula_job *one = queue->first;

    while (one != NULL && one != job)
        one = one->next;
    return one != NULL;
}

/* Queue a job, and start a worker if it would wait while one can be had. Failing
 * is no harm as long as there is one at all: else the job is taken back. */
static int
job_add(yula_workers *workers, yula_job *job)
{
    const yula__job_queue *queue = &workers->queues[job->queue];

    yula__workers_lock(workers);
    if (workers->shut && job->queue == YULA__QUEUE_HOST) {
        yula__workers_unlock(workers);
        return -ESHUTDOWN;
    }
    jobs_append(workers, job);
    bool expected = yula__workers_expect_locked(workers);
    if (job->queue == YULA__QUEUE_HOST)
        yula__workers_unlock_and_defer(workers);
    else
        yula__workers_unlock_and_summon(workers);
    if (!expected)
        return 0;
    int err = workers->host.start(workers, workers->host.arg);
    if (err < 0)
        yula_worker_lost(workers);
    yula__workers_lock(workers);
    /* A host may have lost the thread already. */
    bool refused = workers->alive == 0 && queue_holds(queue, job);
    if (refused)
        jobs_remove(workers, job, YULA__JOB_IDLE);
    yula__workers_unlock(workers);
    if (!refused)
        return 0;
    return err < 0 ? err : -EAGAIN;
}

static void
job_finish(yula_work *work, void *arg)
{
    yula_job *job = yula__container_of(work, yula_job, work);

    job->state = YULA__JOB_IDLE;
    yula_loop_unref(job->loop);
    job->done(job, job->status, arg);
}

yula_job *
yula__job_of_work(yula_work *work)
{
    return work->cb == job_finish ? yula__container_of(work, yula_job, work)
                                  : NULL;
}

static int
job_submit(yula_loop *loop, yula_job *job, int queue, yula_lane lane,
           yula_job_cb run, yula_job_done_cb done, void *arg)
{
    int err;

    if (loop->closed)
        return YULA_ECLOSED;
    if (loop->workers == NULL && (err = yula__workers_new(loop)) < 0)
        return err;
    if (loop->workers->joinable)
        queue = YULA__QUEUE_CORE; /* there is no lock to take */
    yula_work_init(&job->work, lane, job_finish, arg);
    job->loop = loop;
    job->run = run;
    job->done = done;
    job->status = 0;
    job->queue = (uint16_t)queue;
    yula_loop_ref(loop);
    err = job_add(loop->workers, job);
    if (err < 0)
        yula_loop_unref(loop);
    return err;
}

int
yula_job_submit(yula_loop *loop, yula_job *job, yula_lane lane, yula_job_cb run,
                yula_job_done_cb done, void *arg)
{
    return job_submit(loop, job, YULA__QUEUE_CORE, lane, run, done, arg);
}

int
yula_job_submit_host(yula_loop *loop, yula_job *job, yula_job_cb run,
                     yula_job_done_cb done, void *arg)
{
    return job_submit(loop, job, YULA__QUEUE_HOST, YULA_LANE_HOST, run, done,
                      arg);
}

int
yula_job_cancel(yula_job *job)
{
    yula_workers *workers = job->loop->workers;
    bool waiting;

    if (workers == NULL) /* I6: none of its jobs will ever come back */
        return -EALREADY;
    yula__workers_lock(workers);
    waiting = job->state == YULA__JOB_WAITING;
    if (waiting)
        jobs_remove(workers, job, YULA__JOB_RETURNING);
    yula__workers_unlock(workers);
    if (!waiting)
        return -EALREADY;
    job->status = YULA_ECANCELED;
    yula_work_queue(job->loop, &job->work);
    return 0;
}

/* --- for an executor of the host (worker_i.h) ------------------------------ */

void
yula__workers_add(yula_workers *workers, yula_job *job, yula_job_cb run,
                  void *arg)
{
    *job = (yula_job){.run = run, .queue = YULA__QUEUE_HOST, .work.arg = arg};
    yula__workers_lock(workers);
    jobs_append(workers, job);
    yula__workers_unlock_and_summon(workers);
}

yula_job *
yula__workers_take(yula_workers *workers)
{
    if (workers->forked)
        return NULL;
    yula__workers_lock(workers);
    yula_job *job = workers->queues[YULA__QUEUE_HOST].first;
    if (job != NULL)
        jobs_remove(workers, job, YULA__JOB_RETURNING);
    yula__workers_unlock(workers);
    return job;
}

bool
yula__workers_return(yula_workers *workers, yula_job *job, int status)
{
    yula__workers_lock(workers);
    yula_loop *loop = workers->loop;
    job->status = status;
    if (loop != NULL)
        yula_work_post(loop, &job->work); /* I7: under the lock */
    yula__workers_unlock(workers);
    return loop != NULL;
}

unsigned
yula__workers_waiting(yula_workers *workers)
{
    if (workers->forked)
        return 0;
    yula__workers_lock(workers);
    unsigned waiting = workers->queues[YULA__QUEUE_HOST].waiting;
    yula__workers_unlock(workers);
    return waiting;
}
