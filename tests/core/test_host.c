/* test_host.c: the core with a host whose lock it must hold, or must not. */
#include <yula/yula.h> /* first: it must stand alone */

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "loop/loop_i.h"
#include "support.h"
#include "test.h"

/* A fake interpreter. */
static struct {
    int breaths;
    int verdict;      /* of the next breath */
    int lingers;      /* calls */
    int most_lingers; /* answered with true */
    int64_t most_ns;  /* what a sleep is shortened to, if above 0 */
    void (*on_linger)(void);
} host;

static int
host_breathe(void *arg)
{
    int verdict = host.verdict;

    CHECK(test_locked);
    host.breaths++;
    host.verdict = 0;
    return verdict;
}

static bool
host_linger(void *arg, int64_t *timeout_ns)
{
    CHECK(test_locked);
    CHECK(*timeout_ns > 0);
    if (host.on_linger != NULL)
        host.on_linger();
    if (host.most_ns > 0)
        *timeout_ns = host.most_ns;
    return host.lingers++ < host.most_lingers;
}

static yula_loop *
begin(void)
{
    yula_host table = test_host;

    table.breathe = host_breathe;
    table.linger = host_linger;
    memset(&host, 0, sizeof(host));
    return test_loop_with_host(&table);
}

static void
end(yula_loop *loop)
{
    yula_loop_free(loop);
    CHECK(test_locked);
}

static int native_count, host_count;

static void
on_native(yula_work *work, void *arg)
{
    CHECK(!test_locked);
    native_count++;
}

static void
on_host(yula_work *work, void *arg)
{
    CHECK(test_locked);
    host_count++;
}

static void
queue(yula_loop *loop, yula_work *work, yula_lane lane)
{
    yula_work_init(work, lane, lane == YULA_LANE_HOST ? on_host : on_native,
                   NULL);
    yula_work_queue(loop, work);
}

TEST(native_work_runs_without_the_lock_and_host_work_with_it)
{
    yula_loop *loop = begin();
    yula_work native, hosted;

    native_count = host_count = 0;
    queue(loop, &hosted, YULA_LANE_HOST);
    queue(loop, &native, YULA_LANE_NATIVE);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(native_count, 1);
    CHECK_EQ(host_count, 1);
    end(loop);
}

TEST(host_work_alone_never_gives_the_lock_up)
{
    yula_loop *loop = begin();
    yula_work works[10];

    host_count = 0;
    for (int i = 0; i < 10; i++)
        queue(loop, &works[i], YULA_LANE_HOST);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(host_count, 10);
    CHECK_EQ(test_releases, 0);
    end(loop);
}

TEST(a_burst_of_native_work_costs_one_release_and_one_acquire)
{
    yula_loop *loop = begin();
    yula_work works[100];

    native_count = 0;
    for (int i = 0; i < 100; i++)
        queue(loop, &works[i], YULA_LANE_NATIVE);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(native_count, 100);
    CHECK_EQ(test_releases, 1);
    end(loop);
}

static void
on_timer(yula_timer *timer, void *arg)
{
    CHECK_EQ(test_locked, timer->work.lane == YULA_LANE_HOST);
    host_count++;
}

TEST(the_lock_is_given_up_for_a_sleep)
{
    yula_loop *loop = begin();
    yula_timer timers[2];

    host_count = 0;
    for (int lane = 0; lane < 2; lane++) {
        yula_timer_init(loop, &timers[lane], (yula_lane)lane);
        CHECK_EQ(yula_timer_start(&timers[lane], yula_loop_now(loop) + 1000000,
                                  on_timer, NULL),
                 0);
    }
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(host_count, 2);
    CHECK(test_releases >= 1);
    end(loop);
}

typedef struct watched {
    yula_watcher watcher;
    yula_lane lane;
    int count;
} watched;

static void
on_event(yula_watcher *watcher, unsigned events, void *arg)
{
    watched *self = arg;
    CHECK_EQ(test_locked, self->lane == YULA_LANE_HOST);
    self->count++;
    yula_watcher_stop(watcher);
}

TEST(watchers_of_both_lanes_are_told_in_their_lanes)
{
    yula_loop *loop = begin();
    watched watchers[2];
    int fds[2][2];

    for (int lane = 0; lane < 2; lane++) {
        watched *self = &watchers[lane];
        *self = (watched){.lane = (yula_lane)lane};
        test_unix_pair(fds[lane]);
        yula_watcher_init(loop, &self->watcher, self->lane);
        CHECK_EQ(yula_watcher_start(&self->watcher, fds[lane][1], YULA_READABLE,
                                    on_event, self),
                 0);
        test_send_all(fds[lane][0], "x", 1);
    }
    CHECK_EQ(yula_loop_run(loop), 0);
    for (int lane = 0; lane < 2; lane++) {
        CHECK_EQ(watchers[lane].count, 1);
        close(fds[lane][0]);
        close(fds[lane][1]);
    }
    end(loop);
}

TEST(stale_events_are_counted_once_with_two_lanes)
{
    yula_loop *loop = begin();
    watched old, native;
    yula_loop_stats stats;
    int fds[2], quiet[2];

    test_unix_pair(fds);
    test_unix_pair(quiet);
    yula_watcher_init(loop, &native.watcher, YULA_LANE_NATIVE);
    CHECK_EQ(yula_watcher_start(&native.watcher, quiet[1], YULA_READABLE,
                                on_event, &native),
             0);
    yula_watcher_init(loop, &old.watcher, YULA_LANE_HOST);
    CHECK_EQ(
        yula_watcher_start(&old.watcher, fds[1], YULA_READABLE, on_event, &old),
        0);
    int duplicate = dup(fds[1]);
    close(fds[1]);
    yula_watcher_stop(&old.watcher);
    test_send_all(fds[0], "x", 1);
    CHECK_EQ(yula_loop_step(loop, 0), 0);
    yula_loop_get_stats(loop, &stats);
    CHECK_EQ(stats.stale, 1);
    yula_watcher_stop(&native.watcher);
    end(loop);
    close(duplicate);
    close(fds[0]);
    close(quiet[0]);
    close(quiet[1]);
}

/* --- breathing ----------------------------------------------------------- */

TEST(the_host_breathes_once_a_turn_and_within_a_long_batch)
{
    enum {
        COUNT = 3 * YULA_HOST_BREATH
    };
    yula_loop *loop = begin();
    static yula_work works[COUNT];

    CHECK_EQ(yula_loop_step(loop, 0), 0);
    CHECK_EQ(host.breaths, 1);
    for (int i = 0; i < COUNT; i++)
        queue(loop, &works[i], YULA_LANE_HOST);
    CHECK_EQ(yula_loop_step(loop, 0), 0);
    CHECK_EQ(host.breaths, 2 + 3);
    end(loop);
}

TEST(a_verdict_of_the_host_ends_the_turn_and_loses_nothing)
{
    yula_loop *loop = begin();
    yula_work work;

    host_count = 0;
    queue(loop, &work, YULA_LANE_HOST);
    host.verdict = -1;
    CHECK_EQ(yula_loop_run(loop), -1);
    CHECK_EQ(host_count, 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(host_count, 1);
    end(loop);
}

TEST(a_verdict_within_a_batch_keeps_the_rest)
{
    enum {
        COUNT = YULA_HOST_BREATH + 10
    };
    yula_loop *loop = begin();
    static yula_work works[COUNT];

    host_count = 0;
    for (int i = 0; i < COUNT; i++)
        queue(loop, &works[i], YULA_LANE_HOST);
    CHECK_EQ(yula_loop_collect(loop), 0);
    host.verdict = -3;
    CHECK_EQ(yula_loop_run_batch(loop), -3);
    CHECK_EQ(host_count, YULA_HOST_BREATH);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(host_count, COUNT);
    end(loop);
}

static void
break_native(yula_work *work, void *arg)
{
    native_count++;
    yula_loop_break(arg, -9);
}

TEST(a_break_in_the_native_lane_leaves_the_lock_held)
{
    yula_loop *loop = begin();
    yula_work first, second, hosted;

    native_count = host_count = 0;
    yula_work_init(&first, YULA_LANE_NATIVE, break_native, loop);
    yula_work_queue(loop, &first);
    queue(loop, &second, YULA_LANE_NATIVE);
    queue(loop, &hosted, YULA_LANE_HOST);
    CHECK_EQ(yula_loop_run(loop), -9);
    CHECK(test_locked);
    CHECK_EQ(native_count, 1);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(native_count, 2);
    CHECK_EQ(host_count, 1);
    end(loop);
}

/* --- lingering ------------------------------------------------------------ */

TEST(the_loop_polls_with_the_lock_as_often_as_the_host_wants_before_it_sleeps)
{
    yula_loop *loop = begin();
    yula_timer timer;

    host_count = 0;
    host.most_lingers = 5;
    yula_timer_init(loop, &timer, YULA_LANE_HOST);
    CHECK_EQ(yula_timer_start(&timer, yula_loop_now(loop) + 20000000, on_timer,
                              NULL),
             0);
    CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    CHECK_EQ(host_count, 1);
    CHECK_EQ(host.lingers, 6);
    CHECK_EQ(test_releases, 1);
    end(loop);
}

TEST(a_timer_is_not_late_because_the_loop_polls)
{
    yula_loop *loop = begin();
    yula_timer timer;

    host_count = 0;
    host.most_lingers = INT_MAX; /* for ever: only the timer ends it */
    yula_timer_init(loop, &timer, YULA_LANE_HOST);
    CHECK_EQ(
        yula_timer_start(&timer, yula_loop_now(loop) + 1000000, on_timer, NULL),
        0);
    CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    CHECK_EQ(host_count, 1);
    CHECK_EQ(test_releases, 0);
    end(loop);
}

TEST(an_event_found_while_polling_costs_no_release)
{
    yula_loop *loop = begin();
    watched one = {.lane = YULA_LANE_HOST};
    int fds[2];

    host.most_lingers = INT_MAX;
    test_unix_pair(fds);
    yula_watcher_init(loop, &one.watcher, one.lane);
    CHECK_EQ(
        yula_watcher_start(&one.watcher, fds[1], YULA_READABLE, on_event, &one),
        0);
    test_send_all(fds[0], "x", 1);
    CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    CHECK_EQ(one.count, 1);
    CHECK_EQ(test_releases, 0);
    close(fds[0]);
    close(fds[1]);
    end(loop);
}

TEST(the_host_may_shorten_a_sleep)
{
    yula_loop *loop = begin();

    host.most_ns = 1000000;
    yula_loop_ref(loop);
    CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0); /* comes back */
    CHECK_EQ(host.lingers, 1);
    CHECK_EQ(test_releases, 1);
    yula_loop_unref(loop);
    end(loop);
}

static yula_loop *lingering;
static yula_work posted_while_lingering;

static void *
post_one(void *arg)
{
    yula_work_post(lingering, &posted_while_lingering);
    return NULL;
}

static void
post_from_a_thread(void)
{
    pthread_t thread;

    host.on_linger = NULL;
    CHECK_EQ(pthread_create(&thread, NULL, post_one, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

TEST(work_posted_while_the_loop_polls_needs_no_wake_up)
{
    yula_loop *loop = begin();
    yula_loop_stats stats;

    host_count = 0;
    lingering = loop;
    host.most_lingers = INT_MAX;
    host.on_linger = post_from_a_thread;
    yula_work_init(&posted_while_lingering, YULA_LANE_HOST, on_host, NULL);
    CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    CHECK_EQ(host_count, 1);
    yula_loop_get_stats(loop, &stats);
    CHECK_EQ(stats.wakeups, 0);
    end(loop);
}

static void
break_while_lingering(void)
{
    yula_loop_break(lingering, -7);
}

TEST(a_break_while_polling_ends_the_turn_without_a_sleep)
{
    yula_loop *loop = begin();

    lingering = loop;
    host.on_linger = break_while_lingering;
    CHECK_EQ(yula_loop_step(loop, YULA_NEVER), -7);
    CHECK_EQ(test_releases, 0);
    end(loop);
}

/* --- what comes from elsewhere ------------------------------------------- */

static void *
post_both(void *arg)
{
    yula_work *works = arg;
    for (int lane = 0; lane < 2; lane++)
        yula_work_post(works[lane].arg, &works[lane]);
    return NULL;
}

static void
on_posted(yula_work *work, void *arg)
{
    CHECK_EQ(test_locked, work->lane == YULA_LANE_HOST);
    host_count++;
}

TEST(posted_work_runs_in_its_lane)
{
    yula_loop *loop = begin();
    yula_work works[2];
    pthread_t thread;

    host_count = 0;
    for (int lane = 0; lane < 2; lane++)
        yula_work_init(&works[lane], (yula_lane)lane, on_posted, loop);
    CHECK_EQ(pthread_create(&thread, NULL, post_both, works), 0);
    while (host_count < 2)
        CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    end(loop);
}

static void
on_signal(yula_signal *signal, int number, void *arg)
{
    CHECK_EQ(test_locked, signal->work.lane == YULA_LANE_HOST);
    host_count++;
    yula_signal_stop(signal);
}

TEST(signals_are_told_in_their_lane)
{
    yula_loop *loop = begin();
    yula_signal signals[2];

    host_count = 0;
    for (int lane = 0; lane < 2; lane++) {
        yula_signal_init(loop, &signals[lane], (yula_lane)lane);
        CHECK_EQ(yula_signal_start(&signals[lane], SIGUSR1, on_signal, NULL),
                 0);
    }
    raise(SIGUSR1);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(host_count, 2);
    end(loop);
}

static void
on_job(yula_job *job, void *arg)
{
}

static void
on_job_done(yula_job *job, int status, void *arg)
{
    CHECK_EQ(test_locked, job->work.lane == YULA_LANE_HOST);
    host_count++;
}

TEST(jobs_come_back_in_their_lane)
{
    yula_loop *loop = begin();
    yula_job jobs[2];

    host_count = 0;
    for (int lane = 0; lane < 2; lane++)
        CHECK_EQ(yula_job_submit(loop, &jobs[lane], (yula_lane)lane, on_job,
                                 on_job_done, NULL),
                 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(host_count, 2);
    end(loop);
}

/* --- walking what the loop holds ----------------------------------------- */

static int
count_visit(yula_work *work, void *arg)
{
    CHECK_EQ(work->lane, YULA_LANE_HOST);
    return ++*(int *)arg == 100 ? 7 : 0;
}

TEST(a_visit_sees_each_thing_of_the_host_once_and_nothing_native)
{
    yula_loop *loop = begin();
    yula_work works[2];
    yula_timer timers[2];
    watched watchers[2];
    int fds[2][2], count = 0;

    native_count = host_count = 0;
    for (int lane = 0; lane < 2; lane++) {
        test_unix_pair(fds[lane]);
        queue(loop, &works[lane], (yula_lane)lane);
        yula_timer_init(loop, &timers[lane], (yula_lane)lane);
        CHECK_EQ(
            yula_timer_start(&timers[lane], YULA_NEVER - 1, on_timer, NULL), 0);
        yula_watcher_init(loop, &watchers[lane].watcher, (yula_lane)lane);
        CHECK_EQ(yula_watcher_start(&watchers[lane].watcher, fds[lane][1],
                                    YULA_READABLE, on_event, NULL),
                 0);
    }
    yula_watcher_again(&watchers[1].watcher, YULA_READABLE); /* queued, too */
    CHECK_EQ(yula__loop_visit(loop, count_visit, &count), 0);
    CHECK_EQ(count, 3);
    count = 98; /* the second one visited ends the walk */
    CHECK_EQ(yula__loop_visit(loop, count_visit, &count), 7);
    CHECK_EQ(count, 100);
    for (int lane = 0; lane < 2; lane++) {
        yula_timer_stop(&timers[lane]);
        yula_watcher_stop(&watchers[lane].watcher);
        close(fds[lane][0]);
        close(fds[lane][1]);
    }
    end(loop);
}
