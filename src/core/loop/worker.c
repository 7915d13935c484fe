/* worker.c: threads that run what blocks, and bring it back through the inbox.
 *
 *  I1. A job waits in the list, or runs on one worker, or is on its way back as
 *      a work of the loop. job->state says which; it is read and written under
 *      the pool's lock.
 *  I2. Nobody but the loop touches a job once it was posted: it may be freed.
 *  I3. Only the loop's thread starts workers; they end when the loop is freed,
 *      and block all signals, so that handlers run where users expect them.
 *  I4. A child after fork() has none of the threads and must not touch the
 *      lock, which one of them may have held: it forgets the pool.
 */
#include <signal.h>

#include <yula/worker.h>

#include "loop/loop_i.h"

enum {
    JOB_IDLE,
    JOB_WAITING,
    JOB_RUNNING,
    JOB_RETURNING
};

struct yula__workers {
    pthread_mutex_t lock;
    pthread_cond_t wake; /* a job was appended, or the workers shall end */
    yula_job *first;     /* waiting, oldest first */
    yula_job **last;     /* where the next one is appended */
    unsigned waiting;    /* length of that list */
    unsigned idle;       /* workers inside pthread_cond_wait */
    bool ending;
    unsigned started; /* loop's thread only */
    pthread_t threads[YULA_WORKER_MAX];
};

static void
workers_append(struct yula__workers *workers, yula_job *job)
{
    job->next = NULL;
    job->state = JOB_WAITING;
    *workers->last = job;
    workers->last = &job->next;
    workers->waiting++;
}

static void
workers_remove(struct yula__workers *workers, yula_job *job, int state)
{
    yula_job **link = &workers->first;

    while (*link != job)
        link = &(*link)->next;
    *link = job->next;
    if (workers->last == &job->next)
        workers->last = link;
    workers->waiting--;
    job->state = state;
}

/* The next job, or NULL when the worker shall end. */
static yula_job *
worker_next(struct yula__workers *workers)
{
    yula_job *job = NULL;

    pthread_mutex_lock(&workers->lock);
    while (workers->first == NULL && !workers->ending) {
        workers->idle++;
        pthread_cond_wait(&workers->wake, &workers->lock);
        workers->idle--;
    }
    if (!workers->ending) {
        job = workers->first;
        workers_remove(workers, job, JOB_RUNNING);
    }
    pthread_mutex_unlock(&workers->lock);
    return job;
}

static void
worker_return(struct yula__workers *workers, yula_job *job)
{
    pthread_mutex_lock(&workers->lock);
    job->state = JOB_RETURNING;
    pthread_mutex_unlock(&workers->lock);
    yula_work_post(job->loop, &job->work); /* I2 */
}

static void *
worker_main(void *arg)
{
    struct yula__workers *workers = arg;
    yula_job *job;

    (void)pthread_setname_np(pthread_self(), "yula-worker");
    while ((job = worker_next(workers)) != NULL) {
        job->run(job, job->work.arg);
        worker_return(workers, job);
    }
    return NULL;
}

/* Start a worker if jobs would wait while one can be had. Failing is no harm as
 * long as there is one at all. */
static int
workers_grow(struct yula__workers *workers)
{
    sigset_t all, before;
    int err;

    pthread_mutex_lock(&workers->lock);
    bool enough = workers->waiting + 1 <= workers->idle;
    pthread_mutex_unlock(&workers->lock);
    if (enough || workers->started == YULA_WORKER_MAX)
        return 0;
    sigfillset(&all);
    yula__must(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    err = yula__sys_thread_start(&workers->threads[workers->started],
                                 worker_main, workers);
    yula__must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (err == 0)
        workers->started++;
    return workers->started > 0 ? 0 : err;
}

static int
workers_init(yula_loop *loop)
{
    struct yula__workers *workers = yula__alloc(loop, sizeof(*workers));

    if (workers == NULL)
        return -ENOMEM;
    *workers = (struct yula__workers){.last = &workers->first};
    yula__must(pthread_mutex_init(&workers->lock, NULL) == 0);
    yula__must(pthread_cond_init(&workers->wake, NULL) == 0);
    loop->workers = workers;
    return 0;
}

static void
job_finish(yula_work *work, void *arg)
{
    yula_job *job = yula__container_of(work, yula_job, work);

    job->state = JOB_IDLE;
    yula_loop_unref(job->loop);
    job->done(job, job->status, arg);
}

int
yula_job_submit(yula_loop *loop, yula_job *job, yula_lane lane, yula_job_cb run,
                yula_job_done_cb done, void *arg)
{
    struct yula__workers *workers;
    int err;

    if (loop->closed)
        return YULA_ECLOSED;
    if (loop->workers == NULL && (err = workers_init(loop)) < 0)
        return err;
    workers = loop->workers;
    err = workers_grow(workers);
    if (err < 0)
        return err;
    yula_work_init(&job->work, lane, job_finish, arg);
    job->loop = loop;
    job->run = run;
    job->done = done;
    job->status = 0;
    yula_loop_ref(loop);
    pthread_mutex_lock(&workers->lock);
    workers_append(workers, job);
    pthread_cond_signal(&workers->wake);
    pthread_mutex_unlock(&workers->lock);
    return 0;
}

int
yula_job_cancel(yula_job *job)
{
    struct yula__workers *workers = job->loop->workers;
    bool waiting;

    if (workers == NULL) /* I4: none of its jobs will ever come back */
        return -EALREADY;
    pthread_mutex_lock(&workers->lock);
    waiting = job->state == JOB_WAITING;
    if (waiting)
        workers_remove(workers, job, JOB_RETURNING);
    pthread_mutex_unlock(&workers->lock);
    if (!waiting)
        return -EALREADY;
    job->status = YULA_ECANCELED;
    yula_work_queue(job->loop, &job->work);
    return 0;
}

void
yula__request_add(yula_loop *loop, yula__request *request)
{
    request->next = loop->requests;
    request->link = &loop->requests;
    if (request->next != NULL)
        request->next->link = &request->next;
    loop->requests = request;
}

void
yula__request_remove(yula__request *request)
{
    *request->link = request->next;
    if (request->next != NULL)
        request->next->link = request->link;
}

static void
requests_drop(yula_loop *loop)
{
    while (loop->requests != NULL) {
        yula__request *request = loop->requests;
        yula__request_remove(request);
        request->drop(loop, request);
    }
}

/* A job that runs may want the host's lock to end. */
static void
workers_join(yula_loop *loop, struct yula__workers *workers)
{
    bool unlock = loop->host != NULL && workers->started > 0;

    if (unlock)
        loop->host->release(loop->host->arg);
    for (unsigned i = 0; i < workers->started; i++)
        yula__must(pthread_join(workers->threads[i], NULL) == 0);
    if (unlock)
        loop->host->acquire(loop->host->arg);
}

void
yula__workers_fini(yula_loop *loop)
{
    struct yula__workers *workers = loop->workers;

    if (workers != NULL) {
        pthread_mutex_lock(&workers->lock);
        workers->ending = true;
        pthread_cond_broadcast(&workers->wake);
        pthread_mutex_unlock(&workers->lock);
        workers_join(loop, workers);
        pthread_cond_destroy(&workers->wake);
        pthread_mutex_destroy(&workers->lock);
        yula__free(loop, workers);
        loop->workers = NULL;
    }
    requests_drop(loop);
}

void
yula__workers_forked(yula_loop *loop)
{
    yula__free(loop, loop->workers); /* I4 */
    loop->workers = NULL;
}
