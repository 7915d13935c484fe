/* worker_pool.h: what the rooms of the workers share: the pool and its invariants.
 *
 * job.c has the jobs that wait and come back, worker.c the threads that run them
 * and sleep, worker_pool.c the pool's life.
 *
 * Jobs wait in two queues: the core's own, and the host's, which run with the
 * host's lock. Each has a limit of its own, so that neither holds up the other.
 *
 *  I1. A job waits in its queue, or runs on one worker, or is on its way back as
 *      a work of the loop. job->state says which; it is read and written under
 *      the pool's lock.
 *  I2. Nobody but the loop touches a job once it was posted: it may be freed.
 *  I3. While a job waits that could run, a worker is on its way to it (woken,
 *      started, coming back from a job, or getting the host's lock), or none is
 *      idle. So whoever takes a job or adds one looks whether to wake another
 *      (workers_summon); a burst of short jobs wakes one worker, not all.
 *  I4. The pool's lock is never held while waiting for the host's.
 *  I5. The core's threads block all signals, so that handlers run where users
 *      expect them. How a host's threads are made is the host's affair.
 *  I6. A child after fork() has none of the threads and must not touch the
 *      lock, which one of them may have held: it forgets the pool.
 *  I7. The loop's memory is not touched once workers->loop is NULL; who posts to
 *      it is counted, and waited for.
 *  I8. An exception to I3: while the latest idle worker dozes, that is, will look
 *      by itself within 5 ms, a callback of the loop wakes nobody for a
 *      job of the host's. The loop does it before its next poll (wait.c).
 */
#ifndef YULA__WORKER_POOL_H
#define YULA__WORKER_POOL_H

#include <yula/worker.h>

#include "loop/loop_i.h"

/* job->state */
enum {
    YULA__JOB_IDLE,
    YULA__JOB_WAITING,
    YULA__JOB_RUNNING,
    YULA__JOB_RETURNING
};

/* job->queue */
enum {
    YULA__QUEUE_CORE,
    YULA__QUEUE_HOST,
    YULA__QUEUES
};

typedef struct yula__job_queue {
    yula_job *first;  /* waiting, oldest first */
    yula_job **last;  /* where the next one is appended */
    unsigned waiting; /* length of that list */
    unsigned running; /* taken and not yet ended */
    unsigned max;     /* of running */
} yula__job_queue;

/* A thread in yula_worker_main; on its stack. */
typedef struct yula__worker {
    _Atomic uint32_t word;
    bool dozing;               /* its sleep is short */
    struct yula__worker *next; /* idle */
} yula__worker;

struct yula_workers {
    pthread_mutex_t lock;
    pthread_cond_t quiet; /* nobody posts and no core job runs, for the free */
    yula__job_queue queues[YULA__QUEUES];
    yula__worker *idle; /* asleep, the latest first: its cache is the warmest */
    unsigned idle_count;
    unsigned coming;  /* started, woken or back: will look for jobs */
    unsigned alive;   /* started, not ended */
    unsigned posting; /* outside the lock */
    bool fetching;    /* a worker gets the host's lock to take a host's job */
    bool shut;        /* end when nothing waits */
    bool forked;
    bool joinable;   /* the core's own threads, in threads */
    unsigned refs;   /* the loop, each thread, each holder outside */
    yula_loop *loop; /* NULL: jobs do not come back */
    yula_worker_host host;
    yula_allocator allocator;
    unsigned thread_count;
    pthread_t threads[YULA_WORKER_MAX];
};

static inline void
yula__workers_lock(yula_workers *workers)
{
    pthread_mutex_lock(&workers->lock);
}

static inline void
yula__workers_unlock(yula_workers *workers)
{
    pthread_mutex_unlock(&workers->lock);
}

/* --- job.c (all under the lock) --- */
/* How many of the waiting jobs could run now, if there were workers. */
unsigned yula__jobs_ready(const yula__job_queue *queue);
/* The next job of a queue to run, or NULL. */
yula_job *yula__jobs_take(yula_workers *workers, yula__job_queue *queue);

/* --- worker.c (both give the lock up) --- */
/* I3: wake a worker if need be. */
void yula__workers_unlock_and_summon(yula_workers *workers);
/* I8: the same for a job of the host's that a callback of the loop submits. */
void yula__workers_unlock_and_defer(yula_workers *workers);
/* Under the lock, which stays. */
void yula__workers_wake_all(yula_workers *workers);

/* --- worker_pool.c --- */
/* Make the pool of a loop that has none. 0 or -ENOMEM. */
int yula__workers_new(yula_loop *loop);
/* yula__workers_expect under the lock. */
bool yula__workers_expect_locked(yula_workers *workers);

#endif /* YULA__WORKER_POOL_H */
