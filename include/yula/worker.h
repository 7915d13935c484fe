/* worker.h: threads for what must not run on the loop. */
#ifndef YULA_WORKER_H
#define YULA_WORKER_H

#include <yula/work.h>

YULA_BEGIN

typedef struct yula_job yula_job;

/* Runs on a worker thread; must not touch the loop (yula_work_post apart). */
typedef void (*yula_job_cb)(yula_job *job, void *arg);
/* Runs on the loop. status is 0, or YULA_ECANCELED if run never ran. */
typedef void (*yula_job_done_cb)(yula_job *job, int status, void *arg);

/* Complete, so that it can be embedded; written by libyula only. */
struct yula_job {
    yula_work work; /* brings the result back */
    yula_loop *loop;
    yula_job *next; /* waiting for a worker */
    yula_job_cb run;
    yula_job_done_cb done;
    int status;
    uint32_t state;
};

/* Most workers a loop starts. They start when jobs wait and no worker is idle,
 * and live until the loop is freed. */
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

YULA_END

#endif /* YULA_WORKER_H */
