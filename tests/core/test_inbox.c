/* test_inbox.c: work posted by other threads. */
#include <yula/work.h> /* first: it must stand alone */

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop_i.h"
#include "support.h"
#include "test.h"

enum {
    THREADS = 4,
    ITEMS = 20000
};

typedef struct item {
    yula_work work;
    int poster;
    int number;
} item;

typedef struct poster {
    yula_loop *loop;
    pthread_t thread;
    int id;
    item *items;
} poster;

static int next_number[THREADS];
static int arrived;
static bool all_arrived;

static void
on_item(yula_work *work, void *arg)
{
    item *self = arg;
    CHECK_EQ(self->number, next_number[self->poster]++);
    all_arrived = ++arrived == THREADS * ITEMS;
}

static void *
post_items(void *arg)
{
    poster *self = arg;

    for (int i = 0; i < ITEMS; i++) {
        item *next = &self->items[i];
        next->poster = self->id;
        next->number = i;
        yula_work_init(&next->work, YULA_LANE_HOST, on_item, next);
        yula_work_post(self->loop, &next->work);
    }
    return NULL;
}

TEST(everything_posted_by_many_threads_arrives_in_each_threads_order)
{
    yula_loop *loop = test_loop();
    poster posters[THREADS];

    arrived = 0;
    all_arrived = false;
    memset(next_number, 0, sizeof(next_number));
    for (int i = 0; i < THREADS; i++) {
        posters[i] = (poster){.loop = loop, .id = i};
        posters[i].items = calloc(ITEMS, sizeof(item));
        CHECK_EQ(
            pthread_create(&posters[i].thread, NULL, post_items, &posters[i]),
            0);
    }
    test_run_until(loop, &all_arrived);
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_join(posters[i].thread, NULL), 0);
        free(posters[i].items);
    }
    CHECK_EQ(arrived, THREADS * ITEMS);
    yula_loop_free(loop);
}

/* --- wake-ups ------------------------------------------------------------ */

static int counted;

static void
count_work(yula_work *work, void *arg)
{
    counted++;
}

typedef struct batch {
    yula_loop *loop;
    yula_work works[100];
} batch;

static void *
post_batch(void *arg)
{
    batch *self = arg;
    for (int i = 0; i < 100; i++) {
        yula_work_init(&self->works[i], YULA_LANE_HOST, count_work, NULL);
        yula_work_post(self->loop, &self->works[i]);
    }
    return NULL;
}

static void
post_from_a_thread(batch *self)
{
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, post_batch, self), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

static uint64_t
wakeups(yula_loop *loop)
{
    yula_loop_stats stats;
    yula_loop_get_stats(loop, &stats);
    return stats.wakeups;
}

/* A loop that has announced its sleep through yula_loop_next_deadline is asleep
 * as far as posters can see. */
TEST(a_batch_posted_to_a_sleeping_loop_wakes_it_once)
{
    batch posted = {.loop = test_loop()};

    counted = 0;
    CHECK_EQ(yula_loop_next_deadline(posted.loop), YULA_NEVER);
    post_from_a_thread(&posted);
    CHECK_EQ(wakeups(posted.loop), 1);
    CHECK_EQ(test_sys_count("write"), 1);
    CHECK_EQ(yula_loop_step(posted.loop, YULA_NEVER), 0);
    CHECK_EQ(counted, 100);
    yula_loop_free(posted.loop);
}

static void
post_inside(yula_work *work, void *arg)
{
    post_from_a_thread(arg);
}

TEST(posting_to_a_loop_that_is_awake_does_not_wake_it)
{
    batch posted = {.loop = test_loop()};
    yula_work start;

    counted = 0;
    yula_work_init(&start, YULA_LANE_HOST, post_inside, &posted);
    yula_work_queue(posted.loop, &start);
    /* A foreign loop asks this before each step. */
    CHECK(yula_loop_next_deadline(posted.loop) < YULA_NEVER);
    CHECK_EQ(yula_loop_step(posted.loop, 0), 0);
    CHECK_EQ(wakeups(posted.loop), 0);
    CHECK_EQ(yula_loop_step(posted.loop, 0), 0);
    CHECK_EQ(counted, 100);
    yula_loop_free(posted.loop);
}

TEST(a_loop_stepped_after_announcing_a_sleep_counts_as_awake)
{
    batch posted = {.loop = test_loop()};
    yula_work start;

    counted = 0;
    CHECK_EQ(yula_loop_next_deadline(posted.loop), YULA_NEVER);
    yula_work_init(&start, YULA_LANE_HOST, post_inside, &posted);
    yula_work_queue(posted.loop, &start);
    CHECK_EQ(yula_loop_step(posted.loop, 0), 0);
    CHECK_EQ(wakeups(posted.loop), 0);
    CHECK_EQ(yula_loop_step(posted.loop, 0), 0);
    CHECK_EQ(counted, 100);
    yula_loop_free(posted.loop);
}

TEST(work_posted_on_the_loops_own_thread_is_queued)
{
    yula_loop *loop = test_loop();
    yula_work work;

    counted = 0;
    yula_work_init(&work, YULA_LANE_HOST, count_work, NULL);
    yula_work_post(loop, &work);
    CHECK_EQ(wakeups(loop), 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(counted, 1);
    yula_loop_free(loop);
}

/* --- two threads play ping-pong ------------------------------------------ */

enum {
    ROUNDS = 5000
};

typedef struct pong {
    yula_loop *loop;
    yula_work work;
    atomic_int round; /* of the loop */
    bool done;
} pong;

static void
on_pong(yula_work *work, void *arg)
{
    pong *self = arg;
    self->done = atomic_fetch_add(&self->round, 1) + 1 == ROUNDS;
}

static void *
play(void *arg)
{
    pong *self = arg;
    for (int round = 0; round < ROUNDS; round++) {
        yula_work_post(self->loop, &self->work);
        while (atomic_load(&self->round) == round)
            sched_yield();
    }
    return NULL;
}

/* Each post meets the loop falling asleep, asleep, or waking up: a lost wake-up
 * would hang here. */
TEST(no_wake_up_is_lost_while_the_loop_falls_asleep)
{
    pong game = {.loop = test_loop()};
    pthread_t thread;

    yula_work_init(&game.work, YULA_LANE_HOST, on_pong, &game);
    CHECK_EQ(pthread_create(&thread, NULL, play, &game), 0);
    test_run_until(game.loop, &game.done);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(atomic_load(&game.round), ROUNDS);
    yula_loop_free(game.loop);
}

static void *
run_elsewhere(void *arg)
{
    yula_loop *loop = arg;
    bool own = yula_loop_on_own_thread(loop);
    return (void *)(intptr_t)(!own && yula_loop_run(loop) == 0 &&
                              yula_loop_on_own_thread(loop));
}

TEST(a_loop_belongs_to_the_thread_that_ran_it_last)
{
    yula_loop *loop = test_loop();
    yula_work work;
    pthread_t thread;
    void *good;

    counted = 0;
    CHECK(yula_loop_on_own_thread(loop));
    yula_work_init(&work, YULA_LANE_HOST, count_work, NULL);
    yula_work_queue(loop, &work);
    CHECK_EQ(pthread_create(&thread, NULL, run_elsewhere, loop), 0);
    CHECK_EQ(pthread_join(thread, &good), 0);
    CHECK(good != NULL);
    CHECK_EQ(counted, 1);
    CHECK(!yula_loop_on_own_thread(loop));
    CHECK_EQ(yula_loop_step(loop, 0), 0);
    CHECK(yula_loop_on_own_thread(loop));
    yula_loop_free(loop);
}

/* --- under the host's lock ------------------------------------------------ */

static pthread_mutex_t host_lock = PTHREAD_MUTEX_INITIALIZER;

static void
host_release(void *arg)
{
    pthread_mutex_unlock(&host_lock);
}

static void
host_acquire(void *arg)
{
    pthread_mutex_lock(&host_lock);
}

static int
host_breathe(void *arg)
{
    host_release(arg);
    sched_yield();
    host_acquire(arg);
    return 0;
}

/* Every second thread takes the lock, as Python does; the others are C. */
static void *
post_items_locked(void *arg)
{
    poster *self = arg;

    for (int i = 0; i < ITEMS; i++) {
        item *next = &self->items[i];
        next->poster = self->id;
        next->number = i;
        yula_work_init(&next->work, YULA_LANE_HOST, on_item, next);
        if (self->id % 2 == 0) {
            yula_work_post(self->loop, &next->work);
            continue;
        }
        host_acquire(NULL);
        yula__work_post_locked(self->loop, &next->work);
        host_release(NULL);
    }
    return NULL;
}

TEST(posting_with_and_without_the_hosts_lock_loses_nothing_and_keeps_the_order)
{
    yula_host host = {.release = host_release,
                      .acquire = host_acquire,
                      .breathe = host_breathe};
    yula_loop_options options = {
        .size = sizeof(options), .allocator = &test_allocator, .host = &host};
    poster posters[THREADS];
    yula_loop *loop;

    host_acquire(NULL);
    CHECK_EQ(yula_loop_new(&options, &loop), 0);
    arrived = 0;
    all_arrived = false;
    memset(next_number, 0, sizeof(next_number));
    for (int i = 0; i < THREADS; i++) {
        posters[i] = (poster){.loop = loop, .id = i};
        posters[i].items = calloc(ITEMS, sizeof(item));
        CHECK_EQ(pthread_create(&posters[i].thread, NULL, post_items_locked,
                                &posters[i]),
                 0);
    }
    test_run_until(loop, &all_arrived);
    host_release(NULL);
    for (int i = 0; i < THREADS; i++) {
        CHECK_EQ(pthread_join(posters[i].thread, NULL), 0);
        free(posters[i].items);
    }
    CHECK_EQ(arrived, THREADS * ITEMS);
    yula_loop_free(loop);
}

static void *
post_batch_locked(void *arg)
{
    batch *self = arg;

    host_acquire(NULL);
    for (int i = 0; i < 100; i++) {
        yula_work_init(&self->works[i], YULA_LANE_HOST, count_work, NULL);
        yula__work_post_locked(self->loop, &self->works[i]);
    }
    host_release(NULL);
    return NULL;
}

TEST(a_batch_posted_under_the_lock_wakes_a_sleeping_loop_once)
{
    batch posted = {.loop = test_loop()};
    pthread_t thread;

    counted = 0;
    CHECK_EQ(yula_loop_next_deadline(posted.loop), YULA_NEVER);
    CHECK_EQ(pthread_create(&thread, NULL, post_batch_locked, &posted), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(wakeups(posted.loop), 1);
    CHECK_EQ(test_sys_count("write"), 1);
    CHECK_EQ(yula_loop_step(posted.loop, YULA_NEVER), 0);
    CHECK_EQ(counted, 100);
    yula_loop_free(posted.loop);
}

/* Nothing is asked of the inbox here: the clock of the loop is the moment
 * between its look at the ready queue and its sleep. */
typedef struct late {
    yula_loop *loop;
    yula_work work;
    bool posted;
} late;

static int64_t
clock_that_posts(void *arg)
{
    late *self = arg;
    if (!self->posted && self->loop != NULL) {
        self->posted = true;
        yula__work_post_locked(self->loop, &self->work);
    }
    return 0;
}

TEST(what_is_posted_while_the_loop_asks_for_the_time_is_not_slept_over)
{
    late self = {.posted = false};
    yula_loop_options options = {.size = sizeof(options),
                                 .allocator = &test_allocator,
                                 .clock = clock_that_posts,
                                 .clock_arg = &self};
    yula_loop *loop;

    counted = 0;
    CHECK_EQ(yula_loop_new(&options, &loop), 0);
    yula_work_init(&self.work, YULA_LANE_HOST, count_work, NULL);
    self.loop = loop;
    CHECK_EQ(yula_loop_step(loop, INT64_C(60000000000)), 0);
    CHECK(self.posted);
    CHECK_EQ(counted, 1);
    yula_loop_free(loop);
}
