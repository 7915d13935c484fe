/* worker_i.h: what the extension's executor needs of the workers (job.c,
 * worker_pool.c). */
#ifndef YULA__WORKER_I_H
#define YULA__WORKER_I_H

#include <yula/worker.h>

/* Keep the workers' memory beyond the loop. Thread: any. */
void yula__workers_ref(yula_workers *workers);
void yula__workers_unref(yula_workers *workers);

/* A host's job that does not come back: run owns the memory. Queues it and wakes
 * a worker; starts none. Thread: any. */
void yula__workers_add(yula_workers *workers, yula_job *job, yula_job_cb run,
                       void *arg);
/* Whether jobs wait that one more thread would run. If so it is counted from now
 * on: yula_worker_main or yula_worker_lost must follow. Thread: any. */
bool yula__workers_expect(yula_workers *workers);
/* Jobs of the host that wait. Thread: any. */
unsigned yula__workers_waiting(yula_workers *workers);

/* No more jobs of the host will come: workers end when none waits. */
void yula__workers_shut(yula_workers *workers);
bool yula__workers_are_shut(yula_workers *workers);
/* Take the oldest waiting job of the host, or NULL. Thread: any. */
yula_job *yula__workers_take(yula_workers *workers);
/* Bring a taken job back to its loop with that status. Returns false if the
 * loop is gone: the job is the caller's. Thread: any. */
bool yula__workers_return(yula_workers *workers, yula_job *job, int status);

/* From here on no job comes back to the loop, whatever ends. Thread: loop. */
void yula__workers_detach(yula_loop *loop);

/* The job that a queued work of the loop brings back, or NULL. */
yula_job *yula__job_of_work(yula_work *work);

/* In a child after fork(): none of the threads is there. */
void yula__workers_fork(yula_workers *workers);

#endif /* YULA__WORKER_I_H */
