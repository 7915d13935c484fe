/* worker.c: a thread that runs jobs, brings them back, and sleeps.
 *
 * And whoever wakes it. The invariants are in worker_pool.h.
 */
#include "loop/worker_i.h"
#include "loop/worker_pool.h"

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

/* --- waking ------------------------------------------------------------------ */

/* I3: a worker to wake, out of the idle ones, or NULL. Under the lock. */
static yula__worker *
workers_summon(yula_workers *workers)
{
    unsigned wanted = yula__jobs_ready(&workers->queues[YULA__QUEUE_CORE]) > 0;
    yula__worker *next = workers->idle;

    if (!workers->fetching &&
        yula__jobs_ready(&workers->queues[YULA__QUEUE_HOST]) > 0)
        wanted++;
    if (next == NULL || workers->coming >= wanted)
        return NULL;
    workers->idle = next->next;
    workers->idle_count--;
    workers->coming++;
    return next;
}

static void
worker_wake(yula__worker *self)
{
    /* Pairs with worker_park. */
    if (atomic_exchange(&self->word, PARK_WOKEN) == PARK_ASLEEP)
        yula__sys_futex_wake(&self->word);
}

/* Outside the lock, which whom we wake will want. */
void
yula__workers_unlock_and_summon(yula_workers *workers)
{
    yula__worker *next = workers_summon(workers);

    yula__workers_unlock(workers);
    if (next != NULL)
        worker_wake(next);
}

/* I8. Who is woken now has to wait for the host's lock, and on one CPU takes it
 * from the loop: two to four switches of threads for nothing. */
void
yula__workers_unlock_and_defer(yula_workers *workers)
{
    yula_loop *loop = workers->loop;

    if (loop == NULL || workers->idle == NULL || !workers->idle->dozing ||
        workers->fetching ||
        yula__jobs_ready(&workers->queues[YULA__QUEUE_CORE]) > 0 ||
        !yula_loop_in_callback(loop) || !yula_loop_on_own_thread(loop)) {
        yula__workers_unlock_and_summon(workers);
        return;
    }
    loop->worker_wanted = true;
    yula__workers_unlock(workers);
}

void
yula__workers_wake(yula_loop *loop)
{
    loop->worker_wanted = false;
    if (loop->workers == NULL)
        return;
    yula__workers_lock(loop->workers);
    yula__workers_unlock_and_summon(loop->workers);
}

void
yula__workers_wake_all(yula_workers *workers)
{
    while (workers->idle != NULL) {
        yula__worker *next = workers->idle;
        workers->idle = next->next;
        workers->idle_count--;
        workers->coming++;
        worker_wake(next);
    }
}

/* --- running jobs -------------------------------------------------------------- */

/* Bring a job (NULL: none) back when both locks were given up: the loop may run
 * on this CPU as soon as it is woken, and will want them. Until then this worker
 * counts as one that looks for jobs. Ours is held on entry and exit. */
static void
worker_return(yula_workers *workers, yula_job *job, void *thread, bool locked)
{
    yula_loop *loop = workers->loop;
    bool post = job != NULL && loop != NULL;

    if (post)
        job->state = YULA__JOB_RETURNING;
    workers->posting += post;
    workers->coming++;
    yula__workers_unlock(workers);
    if (locked)
        workers->host.release(thread);
    if (post)
        yula_work_post(loop, &job->work); /* I2 */
    yula__workers_lock(workers);
    workers->coming--;
    workers->posting -= post;
    if (workers->loop == NULL)
        pthread_cond_broadcast(&workers->quiet);
}

static void
worker_run_core(yula_workers *workers)
{
    yula__job_queue *queue = &workers->queues[YULA__QUEUE_CORE];
    yula_job *job = yula__jobs_take(workers, queue);

    yula__workers_unlock_and_summon(workers);
    job->run(job, job->work.arg);
    if (workers->forked)
        return;
    yula__workers_lock(workers);
    queue->running--;
    worker_return(workers, job, NULL, false);
}

/* Run one job of the host, with its lock and ours, which is given up meanwhile.
 * Returns the job if it has to be brought back. */
static yula_job *
worker_run_host_job(yula_workers *workers, yula_job *job)
{
    bool returns = job->done != NULL;

    yula__workers_unlock_and_summon(workers);
    job->run(job, job->work.arg);
    if (workers->forked)
        return NULL;
    yula__workers_lock(workers);
    workers->queues[YULA__QUEUE_HOST].running--;
    if (!returns)
        return NULL;
    if (workers->loop != NULL)
        return job;
    yula__workers_unlock(workers);
    job->done(job, YULA_ECLOSED, job->work.arg);
    yula__workers_lock(workers);
    return NULL;
}

/* Get the host's lock, and only then take jobs: what another worker could take
 * meanwhile it shall. Go on as long as there are any, and bring each back before
 * the next begins, which may take long. The last one is brought back when the
 * host's lock was given up, because the loop will want it. */
static void
worker_run_host(yula_workers *workers, void *thread)
{
    yula__job_queue *queue = &workers->queues[YULA__QUEUE_HOST];

    workers->fetching = true;
    yula__workers_unlock(workers);
    workers->host.acquire(thread);
    yula__workers_lock(workers);
    workers->fetching = false;
    yula_job *job = yula__jobs_take(workers, queue);
    while (job != NULL) {
        yula_job *ended = worker_run_host_job(workers, job);
        if (workers->forked)
            break;
        job = yula__jobs_take(workers, queue);
        if (job == NULL) {
            job = ended;
            break;
        }
        if (ended != NULL) {
            ended->state = YULA__JOB_RETURNING;
            yula_work_post(workers->loop, &ended->work); /* I2 */
        }
    }
    if (workers->forked)
        workers->host.release(thread);
    else
        worker_return(workers, job, thread, true);
}

/* --- sleeping ------------------------------------------------------------------ */

/* Sleep until woken, or about as long. Returns whether it was woken. */
static bool
worker_park(yula__worker *self, int64_t timeout_ns)
{
    uint32_t word = PARK_AWAKE;

    if (atomic_compare_exchange_strong(&self->word, &word, PARK_ASLEEP))
        yula__sys_futex_wait(&self->word, PARK_ASLEEP, timeout_ns);
    word = PARK_ASLEEP;
    return !atomic_compare_exchange_strong(&self->word, &word, PARK_AWAKE);
}

/* Leave the idle workers, unless somebody took this one out to wake it. */
static bool
worker_leave_idle(yula_workers *workers, yula__worker *self)
{
    yula__worker **link = &workers->idle;

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
worker_sleep(yula_workers *workers, yula__worker *self)
{
    atomic_store(&self->word, PARK_AWAKE);
    self->dozing = true;
    self->next = workers->idle;
    workers->idle = self;
    workers->idle_count++;
    yula__workers_unlock(workers);
    if (!worker_park(self, WORKER_DOZE_NS)) {
        yula__workers_lock(workers);
        self->dozing = false;
        bool ready = yula__jobs_ready(&workers->queues[YULA__QUEUE_CORE]) > 0 ||
                     yula__jobs_ready(&workers->queues[YULA__QUEUE_HOST]) > 0;
        if (ready && worker_leave_idle(workers, self))
            return;
        yula__workers_unlock(workers);
        while (!worker_park(self, YULA_NEVER))
            ;
    }
    yula__workers_lock(workers);
    workers->coming--;
}

/* --- a life ---------------------------------------------------------------------- */

void
yula_worker_main(yula_workers *workers, void *thread)
{
    const yula__job_queue *queues = workers->queues;
    yula__worker self;

    yula__workers_lock(workers);
    workers->coming--;
    while (!workers->forked) {
        if (yula__jobs_ready(&queues[YULA__QUEUE_CORE]) > 0)
            worker_run_core(workers);
        else if (yula__jobs_ready(&queues[YULA__QUEUE_HOST]) > 0 &&
                 !workers->fetching)
            worker_run_host(workers, thread);
        else if (workers->shut && queues[YULA__QUEUE_CORE].waiting == 0 &&
                 queues[YULA__QUEUE_HOST].waiting == 0)
            break;
        else
            worker_sleep(workers, &self);
    }
    if (workers->forked)
        return; /* I6 */
    workers->alive--;
    yula__workers_wake_all(workers); /* they end, too */
    yula__workers_unlock(workers);
    yula__workers_unref(workers);
}

void
yula_worker_lost(yula_workers *workers)
{
    if (workers->forked)
        return;
    yula__workers_lock(workers);
    workers->coming--;
    workers->alive--;
    yula__workers_unlock_and_summon(workers);
    yula__workers_unref(workers);
}
