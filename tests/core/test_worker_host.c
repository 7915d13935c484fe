/* test_worker_host.c: workers that a host makes, and jobs that need its lock. */
#include <yula/worker.h> /* first: it must stand alone */

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

#include "loop/loop_i.h"
#include "loop/worker_i.h"
#include "support.h"
#include "test.h"

/* --- a host: one lock, and threads that are counted ------------------------------- */

enum {
    START_WORKS,
    START_FAILS,
    START_IS_LOST /* says yes, and then gives the place up */
};

static pthread_mutex_t host_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local bool host_lock_is_mine;
static atomic_long lock_taken;
static pthread_t threads[64];
static int thread_count, start_mode;

static void
lock_acquire(void *arg)
{
    pthread_mutex_lock(&host_lock);
    host_lock_is_mine = true;
    atomic_fetch_add(&lock_taken, 1);
}

static void
lock_release(void *arg)
{
    host_lock_is_mine = false;
    pthread_mutex_unlock(&host_lock);
}

static int
host_breathe(void *arg)
{
    return 0;
}

static void *
thread_main(void *arg)
{
    yula_worker_main(arg, NULL);
    return NULL;
}

static int
host_start(yula_workers *workers, void *arg)
{
    CHECK(host_lock_is_mine);
    if (start_mode == START_FAILS)
        return -EAGAIN;
    if (start_mode == START_IS_LOST)
        yula_worker_lost(workers);
    else
        CHECK_EQ(pthread_create(&threads[thread_count++], NULL, thread_main,
                                workers),
                 0);
    return 0;
}

/* --- jobs --------------------------------------------------------------------------- */

typedef struct task {
    yula_job job;
    sem_t *wait_for; /* gives the host's lock up and waits for it */
    atomic_bool started, ended;
    bool had_lock, done;
    bool done_on_worker;
    int status;
    pthread_t ran_on;
} task;

static atomic_int at_once, most_at_once;
static int done_count;

static void
task_run(yula_job *job, void *arg)
{
    task *self = arg;
    int now = atomic_fetch_add(&at_once, 1) + 1;

    if (now > atomic_load(&most_at_once))
        atomic_store(&most_at_once, now);
    self->ran_on = pthread_self();
    self->had_lock = host_lock_is_mine;
    atomic_store(&self->started, true);
    if (self->wait_for != NULL) {
        bool unlock = host_lock_is_mine;
        if (unlock)
            lock_release(NULL);
        while (sem_wait(self->wait_for) != 0)
            ;
        if (unlock)
            lock_acquire(NULL);
    }
    atomic_fetch_sub(&at_once, 1);
    atomic_store(&self->ended, true);
}

static void
task_done(yula_job *job, int status, void *arg)
{
    task *self = arg;

    CHECK(!self->done);
    CHECK(host_lock_is_mine);
    self->done_on_worker = atomic_load(&self->started) &&
                           pthread_equal(self->ran_on, pthread_self());
    self->status = status;
    self->done = true;
    done_count++;
}

static yula_loop *
begin(void)
{
    yula_host host = {.release = lock_release,
                      .acquire = lock_acquire,
                      .breathe = host_breathe};
    yula_worker_host workers = {host_start, lock_acquire, lock_release, NULL};
    yula_loop_options options = {
        .size = sizeof(options), .allocator = &test_allocator, .host = &host};
    yula_loop *loop;

    thread_count = done_count = 0;
    start_mode = START_WORKS;
    atomic_store(&most_at_once, 0);
    CHECK_EQ(yula_loop_new(&options, &loop), 0);
    CHECK_EQ(yula_loop_set_worker_host(loop, &workers), 0);
    CHECK_EQ(yula_loop_set_worker_host(loop, &workers), -EBUSY);
    lock_acquire(NULL);
    return loop;
}

static void
join_threads(void)
{
    lock_release(NULL);
    for (int i = 0; i < thread_count; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

static void
end(yula_loop *loop)
{
    yula_loop_free(loop);
    join_threads();
}

static void
submit(yula_loop *loop, task *self, sem_t *wait_for)
{
    memset(self, 0, sizeof(*self));
    self->wait_for = wait_for;
    CHECK_EQ(yula_job_submit_host(loop, &self->job, task_run, task_done, self),
             0);
}

static void
submit_plain(yula_loop *loop, task *self, sem_t *wait_for)
{
    memset(self, 0, sizeof(*self));
    self->wait_for = wait_for;
    CHECK_EQ(yula_job_submit(loop, &self->job, YULA_LANE_HOST, task_run,
                             task_done, self),
             0);
}

/* Let the workers have the lock until the flag is set. */
static void
wait_until(atomic_bool *flag)
{
    while (!atomic_load(flag)) {
        lock_release(NULL);
        sched_yield();
        lock_acquire(NULL);
    }
}

/* --- tests --------------------------------------------------------------------------- */

TEST(a_job_of_the_host_runs_with_its_lock_on_a_thread_of_its_making)
{
    yula_loop *loop = begin();
    task only, plain;

    submit(loop, &only, NULL);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK(only.done && only.had_lock);
    CHECK_EQ(only.status, 0);
    CHECK_EQ(thread_count, 1);
    CHECK(pthread_equal(only.ran_on, threads[0]));
    submit_plain(loop, &plain, NULL); /* on the same thread, without the lock */
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK(plain.done && !plain.had_lock);
    CHECK_EQ(thread_count, 1);
    end(loop);
}

TEST(one_after_the_other_jobs_share_one_thread)
{
    yula_loop *loop = begin();
    task one;

    for (int i = 0; i < 200; i++) {
        submit(loop, &one, NULL);
        CHECK_EQ(yula_loop_run(loop), 0);
        CHECK(one.done);
    }
    CHECK_EQ(thread_count, 1);
    end(loop);
}

TEST(a_burst_of_short_jobs_is_run_under_one_lock)
{
    enum {
        COUNT = 300
    };
    yula_loop *loop = begin();
    static task tasks[COUNT];
    task first;

    yula_loop_host_jobs(loop, 1);
    submit(loop, &first, NULL);
    CHECK_EQ(yula_loop_run(loop), 0);
    long before = atomic_load(&lock_taken);
    for (int i = 0; i < COUNT; i++)
        submit(loop, &tasks[i], NULL);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(done_count, COUNT + 1);
    CHECK_EQ(thread_count, 1);
    /* The loop's own sleeps take it, too, but far less than once a job. */
    CHECK(atomic_load(&lock_taken) - before < COUNT / 3);
    end(loop);
}

TEST(no_job_waits_behind_a_long_one_while_a_worker_may_be_had)
{
    yula_loop *loop = begin();
    task blocking[3], quick[20];
    sem_t gate;

    sem_init(&gate, 0, 0);
    yula_loop_host_jobs(loop, 4);
    for (int i = 0; i < 3; i++)
        submit(loop, &blocking[i], &gate);
    for (int i = 0; i < 20; i++)
        submit(loop, &quick[i], NULL);
    for (int i = 0; i < 20; i++)
        wait_until(&quick[i].ended);
    for (int i = 0; i < 3; i++)
        wait_until(&blocking[i].started);
    CHECK(thread_count <= 4);
    /* Again, now that all threads are there and one of them sleeps. */
    while (done_count < 20) {
        lock_release(NULL);
        sched_yield();
        lock_acquire(NULL);
        test_turn(loop);
    }
    for (int i = 0; i < 20; i++)
        submit(loop, &quick[i], NULL);
    for (int i = 0; i < 20; i++)
        wait_until(&quick[i].ended);
    for (int i = 0; i < 3; i++)
        sem_post(&gate);
    CHECK_EQ(yula_loop_run(loop), 0);
    end(loop);
}

TEST(a_job_that_blocks_in_the_middle_of_a_burst_holds_nobody_up)
{
    yula_loop *loop = begin();
    task tasks[30];
    sem_t gate;

    sem_init(&gate, 0, 0);
    yula_loop_host_jobs(loop, 2);
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 30; i++)
            submit(loop, &tasks[i], i == round % 30 ? &gate : NULL);
        for (int i = 0; i < 30; i++)
            if (i != round % 30)
                wait_until(&tasks[i].ended);
        sem_post(&gate);
        CHECK_EQ(yula_loop_run(loop), 0);
    }
    CHECK_EQ(thread_count, 2);
    end(loop);
}

TEST(a_result_is_brought_back_before_the_next_job_of_the_burst_begins)
{
    yula_loop *loop = begin();
    task quick, blocking;
    sem_t gate;

    sem_init(&gate, 0, 0);
    yula_loop_host_jobs(loop, 1);
    submit(loop, &quick, NULL);
    submit(loop, &blocking, &gate);
    test_run_until(loop, &quick.done);
    wait_until(&blocking.started);
    CHECK(!blocking.done);
    sem_post(&gate);
    CHECK_EQ(yula_loop_run(loop), 0);
    end(loop);
}

TEST(jobs_of_the_host_and_the_cores_own_do_not_take_each_others_places)
{
    yula_loop *loop = begin();
    task hosts[6], cores[YULA_WORKER_MAX + 2];
    sem_t gate;

    sem_init(&gate, 0, 0);
    yula_loop_host_jobs(loop, 3);
    for (int i = 0; i < 6; i++)
        submit(loop, &hosts[i], &gate);
    for (int i = 0; i < 3; i++)
        wait_until(&hosts[i].started);
    for (int i = 0; i < YULA_WORKER_MAX + 2; i++)
        submit_plain(loop, &cores[i], &gate);
    for (int i = 0; i < YULA_WORKER_MAX; i++)
        wait_until(&cores[i].started);
    CHECK_EQ(thread_count, 3 + YULA_WORKER_MAX);
    CHECK_EQ(atomic_load(&most_at_once), 3 + YULA_WORKER_MAX);
    CHECK(!atomic_load(&hosts[3].started));
    CHECK(!atomic_load(&cores[YULA_WORKER_MAX].started));
    for (int i = 0; i < 6 + YULA_WORKER_MAX + 2; i++)
        sem_post(&gate);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(done_count, 6 + YULA_WORKER_MAX + 2);
    end(loop);
}

TEST(without_a_thread_a_job_is_refused_and_with_one_it_waits_for_it)
{
    for (int mode = START_FAILS; mode <= START_IS_LOST; mode++) {
        yula_loop *loop = begin();
        task first, second;
        sem_t gate;

        sem_init(&gate, 0, 0);
        start_mode = mode;
        memset(&first, 0, sizeof(first));
        CHECK_EQ(
            yula_job_submit_host(loop, &first.job, task_run, task_done, &first),
            -EAGAIN);
        CHECK_EQ(yula_job_submit(loop, &first.job, YULA_LANE_HOST, task_run,
                                 task_done, &first),
                 -EAGAIN);
        CHECK_EQ(yula_loop_run(loop), 0); /* nothing keeps it running */
        CHECK(!first.done);
        start_mode = START_WORKS;
        submit(loop, &first, &gate);
        wait_until(&first.started);
        start_mode = mode;
        submit(loop, &second, NULL);
        CHECK(!atomic_load(&second.started));
        sem_post(&gate);
        CHECK_EQ(yula_loop_run(loop), 0);
        CHECK(first.done && second.done);
        CHECK_EQ(thread_count, 1);
        end(loop);
    }
}

TEST(a_host_of_workers_needs_memory)
{
    yula_worker_host workers = {host_start, lock_acquire, lock_release, NULL};
    yula_loop *loop = test_loop();

    test_fail_alloc(1);
    CHECK_EQ(yula_loop_set_worker_host(loop, &workers), -ENOMEM);
    test_fail_alloc(0);
    CHECK_EQ(yula_loop_set_worker_host(loop, &workers), 0);
    yula_loop_free(loop);
}

TEST(a_job_of_the_host_is_not_waited_for_and_ends_on_its_worker)
{
    yula_loop *loop = begin();
    task running, waiting, core;
    sem_t gate, core_gate;

    sem_init(&gate, 0, 0);
    sem_init(&core_gate, 0, 0);
    yula_loop_host_jobs(loop, 1);
    submit(loop, &running, &gate);
    submit(loop, &waiting, NULL);
    submit_plain(loop, &core, NULL);
    wait_until(&running.started);
    wait_until(&core.ended);
    yula_loop_free(loop); /* would hang here */
    CHECK(!running.done && !waiting.done);
    sem_post(&gate);
    join_threads(); /* they end by themselves, when nothing waits */
    CHECK(running.done && running.done_on_worker);
    CHECK_EQ(running.status, YULA_ECLOSED);
    CHECK(waiting.done && atomic_load(&waiting.started));
    CHECK_EQ(waiting.status, YULA_ECLOSED);
    CHECK(!core.done); /* the core's own are forgotten */
}

static atomic_int items_run;

static void
item_run(yula_job *job, void *arg)
{
    CHECK(host_lock_is_mine);
    atomic_fetch_add(&items_run, 1);
    yula_loop *loop = arg;
    loop->allocator.free(job, loop->allocator.arg);
}

TEST(a_job_that_does_not_come_back_may_free_itself)
{
    yula_loop *loop = begin();
    task last;

    atomic_store(&items_run, 0);
    for (int i = 0; i < 50; i++) {
        yula_job *job = yula__alloc(loop, sizeof(*job));
        yula__workers_add(loop->workers, job, item_run, loop);
        if (yula__workers_expect(loop->workers))
            CHECK_EQ(host_start(loop->workers, NULL), 0);
    }
    CHECK_EQ(yula__workers_waiting(loop->workers) > 0, true);
    submit(loop, &last, NULL);
    CHECK_EQ(yula_loop_run(loop), 0);
    end(loop);
    CHECK_EQ(atomic_load(&items_run), 50);
}

TEST(after_shut_the_hosts_jobs_are_refused_and_the_cores_own_go_on)
{
    yula_loop *loop = begin();
    task running, taken, refused, core;
    yula_workers *workers = loop->workers;
    sem_t gate;

    sem_init(&gate, 0, 0);
    yula_loop_host_jobs(loop, 1);
    submit(loop, &running, &gate);
    wait_until(&running.started);
    submit(loop, &taken, NULL);
    CHECK(!yula__workers_are_shut(workers));
    CHECK(yula__workers_take(workers) == &taken.job);
    CHECK(yula__workers_take(workers) == NULL);
    CHECK(yula__workers_return(workers, &taken.job, YULA_ECANCELED));
    yula__workers_shut(workers);
    CHECK(yula__workers_are_shut(workers));
    CHECK_EQ(
        yula_job_submit_host(loop, &refused.job, task_run, task_done, &refused),
        -ESHUTDOWN);
    sem_post(&gate);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK(running.done && taken.done && !atomic_load(&taken.started));
    CHECK_EQ(taken.status, YULA_ECANCELED);
    CHECK_EQ(thread_count, 1);
    lock_release(NULL);
    CHECK_EQ(pthread_join(threads[0], NULL), 0); /* it has ended */
    lock_acquire(NULL);
    thread_count = 0;
    submit_plain(loop, &core, NULL);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK(core.done);
    CHECK_EQ(thread_count, 1);
    end(loop);
}

TEST(whoever_keeps_the_workers_may_do_so_beyond_the_loop)
{
    yula_loop *loop = begin();
    yula_workers *workers = loop->workers;

    yula__workers_ref(workers);
    end(loop);
    CHECK_EQ(yula__workers_waiting(workers), 0);
    CHECK(yula__workers_are_shut(workers));
    yula__workers_unref(workers);
}
