/* worker.h: threads for what must not run on the loop. */
#ifndef YULA_WORKER_H
#define YULA_WORKER_H

#include <yula/work.h>

YULA_BEGIN

typedef struct yula_job yula_job;

/* Opaque: the worker threads of a loop, and the jobs that wait for them. They
 * may outlive the loop: a host's job that runs is not waited for. */
typedef struct yula_workers yula_workers;

/* Runs on a worker thread; must not touch the loop (yula_work_post apart). */
typedef void (*yula_job_cb)(yula_job *job, void *arg);
/* Runs on the loop. status is 0, or YULA_ECANCELED if run never ran.
 * YULA_ECLOSED: the loop was freed while a job of the host waited or ran; this
 * is then called on the worker, with the host's lock. */
typedef void (*yula_job_done_cb)(yula_job *job, int status, void *arg);

/* Complete, so that it can be embedded; written by libyula only. */
struct yula_job {
    yula_work work; /* brings the result back */
    yula_loop *loop;
    yula_job *next; /* waiting for a worker */
    yula_job_cb run;
    yula_job_done_cb done;
    int status;
    uint16_t state;
    uint16_t queue; /* whose job it is */
};

/* Most jobs of yula_job_submit that run at once. Threads start when jobs wait
 * and no worker is idle, and live until the loop is freed. */
#define YULA_WORKER_MAX 8

/* Run a blocking function on a worker thread of this loop.
 *
 * run, arg  run(job, arg) on a worker.
 * done      called later on the loop, in the given lane; exactly once when 0
 *           was returned. The job is the loop's until then.
 *
 * Returns 0, or -EAGAIN / -ENOMEM (no thread could be started and none runs), or
 * YULA_ECLOSED (after yula_loop_forked).
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_job_submit(yula_loop *loop, yula_job *job, yula_lane lane,
                             yula_job_cb run, yula_job_done_cb done, void *arg);

/* Take back a job no worker has started: done follows with YULA_ECANCELED.
 * Returns 0, or -EALREADY when it runs, ran or was cancelled.
 *
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_job_cancel(yula_job *job);

/* --- workers of a host ----------------------------------------------------- */

/* How the host makes the threads, and takes its lock on them. Without one they
 * are the core's own, with all signals blocked. */
typedef struct yula_worker_host {
    /* Start a thread that calls yula_worker_main(workers, thread), or, if it
     * never will, let somebody call yula_worker_lost(workers): one of the two,
     * once. Or return a negative errno. Called with the host's lock held by
     * whoever submits; may submit, and give the lock up meanwhile. */
    int (*start)(yula_workers *workers, void *arg);
    /* The host's lock, on a worker. */
    void (*acquire)(void *thread);
    void (*release)(void *thread);
    void *arg;
} yula_worker_host;

/* Let a host make the workers of this loop; before its first job. Copied.
 * Returns 0, -ENOMEM, -EBUSY (there are workers already).
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_loop_set_worker_host(yula_loop *loop,
                                       const yula_worker_host *host);

/* Be a worker, until the loop is freed.
 *
 * thread  handed to acquire and release.
 *
 * Thread: one that yula_worker_host.start has made.  Blocks: yes.
 * Calls back: yes, jobs.  GIL: not held on entry and exit.
 */
YULA_API void yula_worker_main(yula_workers *workers, void *thread);

/* A thread whose start was reported will not call yula_worker_main.
 *
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_worker_lost(yula_workers *workers);

/* yula_job_submit for a function that needs the host's lock: run is called with
 * it, done in the host lane. At most yula_loop_host_jobs of them run at once, apart
 * from those of yula_job_submit. Without a host the two are the same.
 *
 * Returns and blocks as yula_job_submit.
 * Thread: loop, or any that holds the host's lock.  Calls back: the host's start.
 */
YULA_API int yula_job_submit_host(yula_loop *loop, yula_job *job,
                                  yula_job_cb run, yula_job_done_cb done,
                                  void *arg);

/* How many jobs of the host may run at once (default YULA_WORKER_MAX).
 * Thread: loop. */
YULA_API void yula_loop_host_jobs(yula_loop *loop, unsigned max);

YULA_END

#endif /* YULA_WORKER_H */
