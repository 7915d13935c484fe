/* test_worker.c: jobs on threads. */
#include <yula/worker.h> /* first: it must stand alone */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "loop/loop_i.h"
#include "support.h"
#include "test.h"

/* A gate that keeps jobs running until it is opened. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool closed;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};

static void
gate_set(bool closed)
{
    pthread_mutex_lock(&gate.lock);
    gate.closed = closed;
    pthread_cond_broadcast(&gate.opened);
    pthread_mutex_unlock(&gate.lock);
}

static void
gate_pass(void)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.closed)
        pthread_cond_wait(&gate.opened, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

typedef struct task {
    yula_job job;
    yula_loop *loop;
    int id;
    pthread_t ran_on;
    sigset_t mask;
    char thread_name[16];
    atomic_bool started;
    bool ran, finished;
    int status;
} task;

static int run_order[256], run_count;
static int done_order[256], done_count;
static pthread_mutex_t run_lock = PTHREAD_MUTEX_INITIALIZER;

static void
task_run(yula_job *job, void *arg)
{
    task *self = arg;

    self->ran_on = pthread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &self->mask);
    pthread_getname_np(pthread_self(), self->thread_name,
                       sizeof(self->thread_name));
    self->ran = true;
    atomic_store(&self->started, true);
    gate_pass();
    pthread_mutex_lock(&run_lock);
    run_order[run_count++] = self->id;
    pthread_mutex_unlock(&run_lock);
}

static void
task_done(yula_job *job, int status, void *arg)
{
    task *self = arg;
    CHECK(!self->finished);
    self->finished = true;
    self->status = status;
    done_order[done_count++] = self->id;
}

static int
task_submit(yula_loop *loop, task *self, int id)
{
    *self = (task){.loop = loop, .id = id, .status = 1};
    return yula_job_submit(loop, &self->job, YULA_LANE_HOST, task_run,
                           task_done, self);
}

static yula_loop *
begin(void)
{
    run_count = done_count = 0;
    return test_loop();
}

TEST(a_job_runs_on_another_thread_and_comes_back)
{
    yula_loop *loop = begin();
    task only;

    CHECK_EQ(task_submit(loop, &only, 1), 0);
    CHECK(!only.finished);
    CHECK_EQ(yula_loop_run(loop), 0); /* a job in flight keeps it running */
    CHECK(only.ran && only.finished);
    CHECK_EQ(only.status, 0);
    CHECK(!pthread_equal(only.ran_on, pthread_self()));
    CHECK_STR(only.thread_name, "yula-worker");
    yula_loop_free(loop);
}

TEST(a_worker_blocks_every_signal_a_handler_could_see)
{
    yula_loop *loop = begin();
    sigset_t mask;
    task only;

    CHECK_EQ(task_submit(loop, &only, 1), 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK(sigismember(&only.mask, SIGINT));
    CHECK(sigismember(&only.mask, SIGTERM));
    CHECK(sigismember(&only.mask, SIGCHLD));
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    CHECK(!sigismember(&mask, SIGINT)); /* the test's own is as it was */
    yula_loop_free(loop);
}

/* Fill every worker with a job that waits at the gate. */
static void
occupy_workers(yula_loop *loop, task *tasks)
{
    gate_set(true);
    for (int i = 0; i < YULA_WORKER_MAX; i++)
        CHECK_EQ(task_submit(loop, &tasks[i], i), 0);
    for (int i = 0; i < YULA_WORKER_MAX; i++) {
        while (!atomic_load(&tasks[i].started))
            sched_yield();
    }
}

TEST(as_many_jobs_run_at_once_as_there_may_be_workers)
{
    yula_loop *loop = begin();
    task tasks[YULA_WORKER_MAX], late;

    occupy_workers(loop, tasks);
    CHECK_EQ(task_submit(loop, &late, 100), 0);
    CHECK_EQ(yula_loop_step(loop, 0), 0);
    CHECK(!atomic_load(&late.started));
    gate_set(false);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK(late.finished);
    CHECK_EQ(done_count, YULA_WORKER_MAX + 1);
    yula_loop_free(loop);
}

TEST(jobs_of_one_worker_run_in_the_order_they_were_submitted)
{
    enum {
        COUNT = 50
    };
    yula_loop *loop = begin();
    task first, tasks[COUNT];

    /* The second thread cannot be had, so there is one. */
    gate_set(true);
    CHECK_EQ(task_submit(loop, &first, 100), 0);
    test_fail_sys_named("thread_start", 1, EAGAIN);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(task_submit(loop, &tasks[i], i), 0);
    CHECK(test_sys_failed());
    gate_set(false);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(run_count, COUNT + 1);
    CHECK_EQ(run_order[0], 100);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(run_order[i + 1], i);
        CHECK_EQ(done_order[i + 1], i);
    }
    yula_loop_free(loop);
}

TEST(a_waiting_job_can_be_cancelled_and_a_running_one_cannot)
{
    yula_loop *loop = begin();
    task tasks[YULA_WORKER_MAX], waiting[3];

    occupy_workers(loop, tasks);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(task_submit(loop, &waiting[i], 10 + i), 0);
    CHECK_EQ(yula_job_cancel(&waiting[2].job), 0); /* the last in the list */
    CHECK_EQ(yula_job_cancel(&waiting[0].job), 0);
    CHECK_EQ(yula_job_cancel(&waiting[0].job), -EALREADY);
    CHECK_EQ(yula_job_cancel(&tasks[0].job), -EALREADY);
    CHECK(!waiting[0].finished); /* later, never from inside */
    CHECK_EQ(yula_loop_step(loop, 0), 0);
    CHECK_EQ(waiting[0].status, YULA_ECANCELED);
    CHECK_EQ(waiting[2].status, YULA_ECANCELED);
    CHECK(!waiting[0].ran && !waiting[1].finished);
    CHECK_EQ(task_submit(loop, &waiting[0], 20), 0);
    gate_set(false);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(waiting[0].status, 0);
    CHECK_EQ(waiting[1].status, 0);
    CHECK(!waiting[2].ran);
    yula_loop_free(loop);
}

static void
submit_again(yula_job *job, int status, void *arg)
{
    task *self = arg;
    if (++done_count < 100)
        CHECK_EQ(yula_job_submit(self->loop, job, YULA_LANE_HOST, task_run,
                                 submit_again, self),
                 0);
}

TEST(a_job_may_be_submitted_again_by_its_own_callback)
{
    yula_loop *loop = begin();
    task only = {.loop = loop};

    CHECK_EQ(yula_job_submit(loop, &only.job, YULA_LANE_HOST, task_run,
                             submit_again, &only),
             0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(done_count, 100);
    /* The worker may still be on its way to sleep when the next one comes. */
    CHECK(test_sys_count("thread_start") <= YULA_WORKER_MAX);
    yula_loop_free(loop);
}

TEST(a_pool_that_cannot_start_refuses_the_job)
{
    yula_loop *loop = begin();
    task only;

    test_fail_alloc(1);
    CHECK_EQ(task_submit(loop, &only, 1), -ENOMEM);
    test_fail_alloc(0);
    test_fail_sys_named("thread_start", 1, EAGAIN);
    CHECK_EQ(task_submit(loop, &only, 1), -EAGAIN);
    CHECK_EQ(yula_loop_run(loop), 0); /* nothing keeps it running */
    test_fail_sys(0, 0);
    CHECK_EQ(task_submit(loop, &only, 1), 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK(only.finished);
    yula_loop_free(loop);
}

/* --- freeing the loop ---------------------------------------------------- */

static int lock_depth;

static void
host_release(void *arg)
{
    lock_depth--;
    gate_set(false);
}

static void
host_acquire(void *arg)
{
    lock_depth++;
}

static int
host_breathe(void *arg)
{
    return 0;
}

/* The pool gives the host's lock up for the wait: a job may need it to end. */
TEST(freeing_the_loop_waits_for_running_jobs_and_forgets_waiting_ones)
{
    yula_host host = {.release = host_release,
                      .acquire = host_acquire,
                      .breathe = host_breathe};
    yula_loop_options options = {
        .size = sizeof(options), .allocator = &test_allocator, .host = &host};
    yula_loop *loop;
    task tasks[YULA_WORKER_MAX], waiting;

    run_count = done_count = 0;
    lock_depth = 1;
    CHECK_EQ(yula_loop_new(&options, &loop), 0);
    occupy_workers(loop, tasks);
    CHECK_EQ(task_submit(loop, &waiting, 10), 0);
    yula_loop_free(loop);
    CHECK_EQ(lock_depth, 1);
    CHECK_EQ(run_count, YULA_WORKER_MAX);
    CHECK_EQ(done_count, 0);
    CHECK(!waiting.ran);
}
