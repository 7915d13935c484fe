/* worker_pool.c: the workers of a loop as a whole: made, started, counted, ended.
 *
 * The invariants are in worker_pool.h.
 */
#include <signal.h>

#include "loop/worker_i.h"
#include "loop/worker_pool.h"

/* --- starting threads ---------------------------------------------------------- */

static void *
worker_thread(void *arg)
{
    (void)pthread_setname_np(pthread_self(), "yula-worker");
    yula_worker_main(arg, NULL);
    return NULL;
}

static int
workers_start_own(yula_workers *workers, void *arg)
{
    sigset_t all, before;

    sigfillset(&all);
    yula__must(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int err = yula__sys_thread_start(&workers->threads[workers->thread_count],
                                     worker_thread, workers);
    yula__must(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (err == 0)
        workers->thread_count++;
    return err;
}

bool
yula__workers_expect_locked(yula_workers *workers)
{
    unsigned ready = yula__jobs_ready(&workers->queues[YULA__QUEUE_CORE]) +
                     yula__jobs_ready(&workers->queues[YULA__QUEUE_HOST]);

    if (ready <= workers->idle_count + workers->coming + workers->fetching)
        return false;
    workers->refs++;
    workers->alive++;
    workers->coming++;
    return true;
}

bool
yula__workers_expect(yula_workers *workers)
{
    yula__workers_lock(workers);
    bool expected = yula__workers_expect_locked(workers);
    yula__workers_unlock(workers);
    return expected;
}

/* --- a pool's life --------------------------------------------------------------- */

int
yula__workers_new(yula_loop *loop)
{
    yula_workers *workers = yula__alloc(loop, sizeof(*workers));

    if (workers == NULL)
        return -ENOMEM;
    *workers = (yula_workers){
        .loop = loop,
        .refs = 1,
        .joinable = true,
        .host.start = workers_start_own,
        .allocator = loop->allocator,
    };
    for (int i = 0; i < YULA__QUEUES; i++) {
        workers->queues[i].last = &workers->queues[i].first;
        workers->queues[i].max = YULA_WORKER_MAX;
    }
    yula__must(pthread_mutex_init(&workers->lock, NULL) == 0);
    yula__must(pthread_cond_init(&workers->quiet, NULL) == 0);
    loop->workers = workers;
    return 0;
}

void
yula__workers_ref(yula_workers *workers)
{
    yula__workers_lock(workers);
    workers->refs++;
    yula__workers_unlock(workers);
}

void
yula__workers_unref(yula_workers *workers)
{
    if (workers->forked)
        return; /* I6: the dead threads' references are never given back */
    yula__workers_lock(workers);
    bool last = --workers->refs == 0;
    yula__workers_unlock(workers);
    if (!last)
        return;
    pthread_cond_destroy(&workers->quiet);
    pthread_mutex_destroy(&workers->lock);
    workers->allocator.free(workers, workers->allocator.arg);
}

int
yula_loop_set_worker_host(yula_loop *loop, const yula_worker_host *host)
{
    if (loop->workers != NULL)
        return -EBUSY;
    int err = yula__workers_new(loop);
    if (err < 0)
        return err;
    loop->workers->host = *host;
    loop->workers->joinable = false;
    return 0;
}

void
yula_loop_host_jobs(yula_loop *loop, unsigned max)
{
    yula_workers *workers = loop->workers;

    if (workers == NULL)
        return;
    yula__workers_lock(workers);
    workers->queues[YULA__QUEUE_HOST].max = max;
    yula__workers_unlock(workers);
}

/* --- the end ---------------------------------------------------------------------- */

void
yula__workers_shut(yula_workers *workers)
{
    if (workers->forked)
        return;
    yula__workers_lock(workers);
    workers->shut = true;
    yula__workers_wake_all(workers);
    yula__workers_unlock(workers);
}

bool
yula__workers_are_shut(yula_workers *workers)
{
    if (workers->forked)
        return true;
    yula__workers_lock(workers);
    bool shut = workers->shut;
    yula__workers_unlock(workers);
    return shut;
}

void
yula__workers_detach(yula_loop *loop)
{
    yula_workers *workers = loop->workers;

    if (workers == NULL)
        return;
    yula__workers_lock(workers);
    workers->loop = NULL;
    while (workers->posting > 0) /* a system call long at most */
        pthread_cond_wait(&workers->quiet, &workers->lock);
    yula__workers_unlock(workers);
}

/* The core's jobs use memory that is about to go, so they are waited for; a job
 * that runs may want the host's lock to end. */
static void
workers_wait(yula_loop *loop, yula_workers *workers)
{
    yula__job_queue *queue = &workers->queues[YULA__QUEUE_CORE];
    bool unlock = loop->host != NULL &&
                  (queue->running > 0 || workers->thread_count > 0);

    if (unlock) {
        yula__workers_unlock(workers);
        loop->host->release(loop->host->arg);
        yula__workers_lock(workers);
    }
    while (queue->running > 0)
        pthread_cond_wait(&workers->quiet, &workers->lock);
    yula__workers_unlock(workers);
    for (unsigned i = 0; i < workers->thread_count; i++)
        yula__must(pthread_join(workers->threads[i], NULL) == 0);
    if (unlock)
        loop->host->acquire(loop->host->arg);
}

void
yula__workers_fini(yula_loop *loop)
{
    yula_workers *workers = loop->workers;

    if (workers == NULL)
        return;
    yula__workers_detach(loop);
    yula__workers_lock(workers);
    yula__job_queue *queue = &workers->queues[YULA__QUEUE_CORE];
    queue->first = NULL;
    queue->last = &queue->first;
    queue->waiting = 0;
    workers->shut = true;
    yula__workers_wake_all(workers);
    workers_wait(loop, workers);
    loop->workers = NULL;
    yula__workers_unref(workers);
}

void
yula__workers_fork(yula_workers *workers)
{
    workers->forked = true;
    workers->loop = NULL;
}

void
yula__workers_forked(yula_loop *loop)
{
    yula_workers *workers = loop->workers; /* I6 */

    loop->workers = NULL;
    if (workers == NULL)
        return;
    yula__workers_fork(workers);
    if (workers->joinable)
        yula__free(loop, workers);
}
