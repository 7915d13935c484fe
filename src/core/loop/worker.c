/* worker.c: threads that run what blocks, and bring it back through the inbox.
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
#include <signal.h>

#include <yula/worker.h>

#include "loop/loop_i.h"
#include "loop/worker_i.h"

enum {
    JOB_IDLE,
    JOB_WAITING,
    JOB_RUNNING,
    JOB_RETURNING
};

enum {
    QUEUE_CORE,
    QUEUE_HOST,
    QUEUES
};

typedef struct job_queue {
    yula_job *first;  /* waiting, oldest first */
    yula_job **last;  /* where the next one is appended */
    unsigned waiting; /* length of that list */
    unsigned running; /* taken and not yet ended */
    unsigned max;     /* of running */
} job_queue;

/* What a worker's word says while it is idle. */
enum {
    PARK_AWAKE,  /* about to sleep, or not idle */
    PARK_ASLEEP, /* in the kernel */
    PARK_WOKEN
};

/* How long an idle worker sleeps at first: as long as a thread waits for Python's
 * lock before it asks for it. A timer due before the kernel's next tick has to be
 * programmed into the hardware, which costs more than the rest of a call: with
 * 1 ms one made alone took 13 us, with 4 ms and more 6.5 (bench/executor.py). */
#define WORKER_DOZE_NS 5000000

/* A thread in yula_worker_main; on its stack. */
typedef struct worker {
    _Atomic uint32_t word;
    bool dozing;         /* its sleep is short */
    struct worker *next; /* idle */
} worker;

struct yula_workers {
    pthread_mutex_t lock;
    pthread_cond_t quiet; /* nobody posts and no core job runs, for the free */
    job_queue queues[QUEUES];
    worker *idle; /* asleep, the latest first: its cache is the warmest */
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

static void
workers_lock(yula_workers *workers)
{
    pthread_mutex_lock(&workers->lock);
}

static void
workers_unlock(yula_workers *workers)
{
    pthread_mutex_unlock(&workers->lock);
}

/* --- queues (all under the lock) ------------------------------------------- */

static void
workers_append(yula_workers *workers, yula_job *job)
{
    job_queue *queue = &workers->queues[job->queue];

    job->next = NULL;
    job->state = JOB_WAITING;
    *queue->last = job;
    queue->last = &job->next;
    queue->waiting++;
}

static void
workers_remove(yula_workers *workers, yula_job *job, int state)
{
    job_queue *queue = &workers->queues[job->queue];
    yula_job **link = &queue->first;

    while (*link != job)
        link = &(*link)->next;
    *link = job->next;
    if (queue->last == &job->next)
        queue->last = link;
    queue->waiting--;
    job->state = (uint16_t)state;
}

/* How many of the waiting jobs could run now, if there were workers. */
static unsigned
queue_ready(const job_queue *queue)
{
    unsigned room = queue->max > queue->running ? queue->max - queue->running
                                                : 0;
    return queue->waiting < room ? queue->waiting : room;
}

/* The next job of a queue to run, or NULL. */
static yula_job *
queue_take(yula_workers *workers, job_queue *queue)
{
    yula_job *job = queue->first;

    if (queue->running >= queue->max || job == NULL)
        return NULL;
    workers_remove(workers, job, JOB_RUNNING);
    queue->running++;
    return job;
}

/* --- waking workers ---------------------------------------------------------- */

/* I3: a worker to wake, out of the idle ones, or NULL. Under the lock. */
static worker *
workers_summon(yula_workers *workers)
{
    unsigned wanted = queue_ready(&workers->queues[QUEUE_CORE]) > 0;
    worker *next = workers->idle;

    if (!workers->fetching && queue_ready(&workers->queues[QUEUE_HOST]) > 0)
        wanted++;
    if (next == NULL || workers->coming >= wanted)
        return NULL;
    workers->idle = next->next;
    workers->idle_count--;
    workers->coming++;
    return next;
}

static void
worker_wake(worker *self)
{
    /* Pairs with worker_park. */
    if (atomic_exchange(&self->word, PARK_WOKEN) == PARK_ASLEEP)
        yula__sys_futex_wake(&self->word);
}

/* Wake one if need be; outside the lock, which it will want. */
static void
workers_unlock_and_summon(yula_workers *workers)
{
    worker *next = workers_summon(workers);

    workers_unlock(workers);
    if (next != NULL)
        worker_wake(next);
}

/* I8: the same for a job of the host's that a callback of the loop submits. Who
 * is woken now has to wait for the host's lock, and on one CPU takes it from the
 * loop: two to four switches of threads for nothing. */
static void
workers_unlock_and_defer(yula_workers *workers)
{
    yula_loop *loop = workers->loop;

    if (loop == NULL || workers->idle == NULL || !workers->idle->dozing ||
        workers->fetching || queue_ready(&workers->queues[QUEUE_CORE]) > 0 ||
        !yula_loop_in_callback(loop) || !yula_loop_on_own_thread(loop)) {
        workers_unlock_and_summon(workers);
        return;
    }
    loop->worker_wanted = true;
    workers_unlock(workers);
}

void
yula__workers_wake(yula_loop *loop)
{
    loop->worker_wanted = false;
    if (loop->workers == NULL)
        return;
    workers_lock(loop->workers);
    workers_unlock_and_summon(loop->workers);
}

static void
workers_wake_all(yula_workers *workers)
{
    while (workers->idle != NULL) {
        worker *next = workers->idle;
        workers->idle = next->next;
        workers->idle_count--;
        workers->coming++;
        worker_wake(next);
    }
}

/* --- a worker ------------------------------------------------------------------ */

/* Bring a job (NULL: none) back when both locks were given up: the loop may run
 * on this CPU as soon as it is woken, and will want them. Until then this worker
 * counts as one that looks for jobs. Ours is held on entry and exit. */
static void
worker_return(yula_workers *workers, yula_job *job, void *thread, bool locked)
{
    yula_loop *loop = workers->loop;
    bool post = job != NULL && loop != NULL;

    if (post)
        job->state = JOB_RETURNING;
    workers->posting += post;
    workers->coming++;
    workers_unlock(workers);
    if (locked)
        workers->host.release(thread);
    if (post)
        yula_work_post(loop, &job->work); /* I2 */
    workers_lock(workers);
    workers->coming--;
    workers->posting -= post;
    if (workers->loop == NULL)
        pthread_cond_broadcast(&workers->quiet);
}

static void
worker_run_core(yula_workers *workers)
{
    job_queue *queue = &workers->queues[QUEUE_CORE];
    yula_job *job = queue_take(workers, queue);

    workers_unlock_and_summon(workers);
    job->run(job, job->work.arg);
    if (workers->forked)
        return;
    workers_lock(workers);
    queue->running--;
    worker_return(workers, job, NULL, false);
}

/* Run one job of the host, with its lock and ours, which is given up meanwhile.
 * Returns the job if it has to be brought back. */
static yula_job *
worker_run_host_job(yula_workers *workers, yula_job *job)
{
    bool returns = job->done != NULL;

    workers_unlock_and_summon(workers);
    job->run(job, job->work.arg);
    if (workers->forked)
        return NULL;
    workers_lock(workers);
    workers->queues[QUEUE_HOST].running--;
    if (!returns)
        return NULL;
    if (workers->loop != NULL)
        return job;
    workers_unlock(workers);
    job->done(job, YULA_ECLOSED, job->work.arg);
    workers_lock(workers);
    return NULL;
}

/* Get the host's lock, and only then take jobs: what another worker could take
 * meanwhile it shall. Go on as long as there are any, and bring each back before
 * the next begins, which may take long. The last one is brought back when the
 * host's lock was given up, because the loop will want it. */
static void
worker_run_host(yula_workers *workers, void *thread)
{
    job_queue *queue = &workers->queues[QUEUE_HOST];

    workers->fetching = true;
    workers_unlock(workers);
    workers->host.acquire(thread);
    workers_lock(workers);
    workers->fetching = false;
    yula_job *job = queue_take(workers, queue);
    while (job != NULL) {
        yula_job *ended = worker_run_host_job(workers, job);
        if (workers->forked)
            break;
        job = queue_take(workers, queue);
        if (job == NULL) {
            job = ended;
            break;
        }
        if (ended != NULL) {
            ended->state = JOB_RETURNING;
            yula_work_post(workers->loop, &ended->work); /* I2 */
        }
    }
    if (workers->forked)
        workers->host.release(thread);
    else
        worker_return(workers, job, thread, true);
}

/* Sleep until woken, or about as long. Returns whether it was woken. */
static bool
worker_park(worker *self, int64_t timeout_ns)
{
    uint32_t word = PARK_AWAKE;

    if (atomic_compare_exchange_strong(&self->word, &word, PARK_ASLEEP))
        yula__sys_futex_wait(&self->word, PARK_ASLEEP, timeout_ns);
    word = PARK_ASLEEP;
    return !atomic_compare_exchange_strong(&self->word, &word, PARK_AWAKE);
}

/* Leave the idle workers, unless somebody took this one out to wake it. */
static bool
worker_leave_idle(yula_workers *workers, worker *self)
{
    worker **link = &workers->idle;

    while (*link != NULL && *link != self)
        link = &(*link)->next;
    if (*link == NULL)
        return false;
    *link = self->next;
    workers->idle_count--;
    return true;
}

/* I8: first a doze, which ends by itself, then a sleep. */
static void
worker_sleep(yula_workers *workers, worker *self)
{
    atomic_store(&self->word, PARK_AWAKE);
    self->dozing = true;
    self->next = workers->idle;
    workers->idle = self;
    workers->idle_count++;
    workers_unlock(workers);
    if (!worker_park(self, WORKER_DOZE_NS)) {
        workers_lock(workers);
        self->dozing = false;
        bool ready = queue_ready(&workers->queues[QUEUE_CORE]) > 0 ||
                     queue_ready(&workers->queues[QUEUE_HOST]) > 0;
        if (ready && worker_leave_idle(workers, self))
            return;
        workers_unlock(workers);
        while (!worker_park(self, YULA_NEVER))
            ;
    }
    workers_lock(workers);
    workers->coming--;
}

void
yula_worker_main(yula_workers *workers, void *thread)
{
    const job_queue *queues = workers->queues;
    worker self;

    workers_lock(workers);
    workers->coming--;
    while (!workers->forked) {
        if (queue_ready(&queues[QUEUE_CORE]) > 0)
            worker_run_core(workers);
        else if (queue_ready(&queues[QUEUE_HOST]) > 0 && !workers->fetching)
            worker_run_host(workers, thread);
        else if (workers->shut && queues[QUEUE_CORE].waiting == 0 &&
                 queues[QUEUE_HOST].waiting == 0)
            break;
        else
            worker_sleep(workers, &self);
    }
    if (workers->forked)
        return; /* I6 */
    workers->alive--;
    workers_wake_all(workers); /* they end, too */
    workers_unlock(workers);
    yula__workers_unref(workers);
}

void
yula_worker_lost(yula_workers *workers)
{
    if (workers->forked)
        return;
    workers_lock(workers);
    workers->coming--;
    workers->alive--;
    workers_unlock_and_summon(workers);
    yula__workers_unref(workers);
}

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

/* Whether jobs wait that one more thread would run; if so it is counted from now
 * on. Under the lock. */
static bool
workers_expect(yula_workers *workers)
{
    unsigned ready = queue_ready(&workers->queues[QUEUE_CORE]) +
                     queue_ready(&workers->queues[QUEUE_HOST]);

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
    workers_lock(workers);
    bool expected = workers_expect(workers);
    workers_unlock(workers);
    return expected;
}

static bool
queue_holds(const job_queue *queue, const yula_job *job)
{
    const yula_job *one = queue->first;

    while (one != NULL && one != job)
        one = one->next;
    return one != NULL;
}

/* Queue a job, and start a worker if it would wait while one can be had. Failing
 * is no harm as long as there is one at all: else the job is taken back. */
static int
workers_add(yula_workers *workers, yula_job *job)
{
    const job_queue *queue = &workers->queues[job->queue];

    workers_lock(workers);
    if (workers->shut && job->queue == QUEUE_HOST) {
        workers_unlock(workers);
        return -ESHUTDOWN;
    }
    workers_append(workers, job);
    bool expected = workers_expect(workers);
    if (job->queue == QUEUE_HOST)
        workers_unlock_and_defer(workers);
    else
        workers_unlock_and_summon(workers);
    if (!expected)
        return 0;
    int err = workers->host.start(workers, workers->host.arg);
    if (err < 0)
        yula_worker_lost(workers);
    workers_lock(workers);
    /* A host may have lost the thread already. */
    bool refused = workers->alive == 0 && queue_holds(queue, job);
    if (refused)
        workers_remove(workers, job, JOB_IDLE);
    workers_unlock(workers);
    if (!refused)
        return 0;
    return err < 0 ? err : -EAGAIN;
}

/* --- a pool's life --------------------------------------------------------------- */

static int
workers_new(yula_loop *loop)
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
    for (int i = 0; i < QUEUES; i++) {
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
    workers_lock(workers);
    workers->refs++;
    workers_unlock(workers);
}

void
yula__workers_unref(yula_workers *workers)
{
    if (workers->forked)
        return; /* I6: the dead threads' references are never given back */
    workers_lock(workers);
    bool last = --workers->refs == 0;
    workers_unlock(workers);
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
    int err = workers_new(loop);
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
    workers_lock(workers);
    workers->queues[QUEUE_HOST].max = max;
    workers_unlock(workers);
}

/* --- jobs -------------------------------------------------------------------------- */

static void
job_finish(yula_work *work, void *arg)
{
    yula_job *job = yula__container_of(work, yula_job, work);

    job->state = JOB_IDLE;
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
    if (loop->workers == NULL && (err = workers_new(loop)) < 0)
        return err;
    if (loop->workers->joinable)
        queue = QUEUE_CORE; /* there is no lock to take */
    yula_work_init(&job->work, lane, job_finish, arg);
    job->loop = loop;
    job->run = run;
    job->done = done;
    job->status = 0;
    job->queue = (uint16_t)queue;
    yula_loop_ref(loop);
    err = workers_add(loop->workers, job);
    if (err < 0)
        yula_loop_unref(loop);
    return err;
}

int
yula_job_submit(yula_loop *loop, yula_job *job, yula_lane lane, yula_job_cb run,
                yula_job_done_cb done, void *arg)
{
    return job_submit(loop, job, QUEUE_CORE, lane, run, done, arg);
}

int
yula_job_submit_host(yula_loop *loop, yula_job *job, yula_job_cb run,
                     yula_job_done_cb done, void *arg)
{
    return job_submit(loop, job, QUEUE_HOST, YULA_LANE_HOST, run, done, arg);
}

void
yula__workers_add(yula_workers *workers, yula_job *job, yula_job_cb run,
                  void *arg)
{
    *job = (yula_job){.run = run, .queue = QUEUE_HOST, .work.arg = arg};
    workers_lock(workers);
    workers_append(workers, job);
    workers_unlock_and_summon(workers);
}

int
yula_job_cancel(yula_job *job)
{
    yula_workers *workers = job->loop->workers;
    bool waiting;

    if (workers == NULL) /* I6: none of its jobs will ever come back */
        return -EALREADY;
    workers_lock(workers);
    waiting = job->state == JOB_WAITING;
    if (waiting)
        workers_remove(workers, job, JOB_RETURNING);
    workers_unlock(workers);
    if (!waiting)
        return -EALREADY;
    job->status = YULA_ECANCELED;
    yula_work_queue(job->loop, &job->work);
    return 0;
}

yula_job *
yula__workers_take(yula_workers *workers)
{
    if (workers->forked)
        return NULL;
    workers_lock(workers);
    yula_job *job = workers->queues[QUEUE_HOST].first;
    if (job != NULL)
        workers_remove(workers, job, JOB_RETURNING);
    workers_unlock(workers);
    return job;
}

bool
yula__workers_return(yula_workers *workers, yula_job *job, int status)
{
    workers_lock(workers);
    yula_loop *loop = workers->loop;
    job->status = status;
    if (loop != NULL)
        yula_work_post(loop, &job->work); /* I7: under the lock */
    workers_unlock(workers);
    return loop != NULL;
}

unsigned
yula__workers_waiting(yula_workers *workers)
{
    if (workers->forked)
        return 0;
    workers_lock(workers);
    unsigned waiting = workers->queues[QUEUE_HOST].waiting;
    workers_unlock(workers);
    return waiting;
}

/* --- requests: a job with memory of the core's own ----------------------------- */

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

/* --- the end ---------------------------------------------------------------------- */

void
yula__workers_shut(yula_workers *workers)
{
    if (workers->forked)
        return;
    workers_lock(workers);
    workers->shut = true;
    workers_wake_all(workers);
    workers_unlock(workers);
}

bool
yula__workers_are_shut(yula_workers *workers)
{
    if (workers->forked)
        return true;
    workers_lock(workers);
    bool shut = workers->shut;
    workers_unlock(workers);
    return shut;
}

void
yula__workers_detach(yula_loop *loop)
{
    yula_workers *workers = loop->workers;

    if (workers == NULL)
        return;
    workers_lock(workers);
    workers->loop = NULL;
    while (workers->posting > 0) /* a system call long at most */
        pthread_cond_wait(&workers->quiet, &workers->lock);
    workers_unlock(workers);
}

/* The core's jobs use memory that is about to go, so they are waited for; a job
 * that runs may want the host's lock to end. */
static void
workers_wait(yula_loop *loop, yula_workers *workers)
{
    job_queue *queue = &workers->queues[QUEUE_CORE];
    bool unlock = loop->host != NULL &&
                  (queue->running > 0 || workers->thread_count > 0);

    if (unlock) {
        workers_unlock(workers);
        loop->host->release(loop->host->arg);
        workers_lock(workers);
    }
    while (queue->running > 0)
        pthread_cond_wait(&workers->quiet, &workers->lock);
    workers_unlock(workers);
    for (unsigned i = 0; i < workers->thread_count; i++)
        yula__must(pthread_join(workers->threads[i], NULL) == 0);
    if (unlock)
        loop->host->acquire(loop->host->arg);
}

void
yula__workers_fini(yula_loop *loop)
{
    yula_workers *workers = loop->workers;

    if (workers != NULL) {
        yula__workers_detach(loop);
        workers_lock(workers);
        job_queue *queue = &workers->queues[QUEUE_CORE];
        queue->first = NULL;
        queue->last = &queue->first;
        queue->waiting = 0;
        workers->shut = true;
        workers_wake_all(workers);
        workers_wait(loop, workers);
        loop->workers = NULL;
        yula__workers_unref(workers);
    }
    requests_drop(loop);
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
