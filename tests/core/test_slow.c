/* test_slow.c: who keeps the loop to itself for too long. */
#include <yula/loop.h> /* first: it must stand alone */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support.h"
#include "tasks.h"
#include "test.h"

static char reports[256];

static void
note(yula_loop *loop, const char *task, int64_t took_ns, void *arg)
{
    size_t len = strlen(reports);

    CHECK(arg == reports);
    snprintf(reports + len, sizeof(reports) - len, "%s %d;",
             task != NULL ? task : "callback", (int)took_ns);
}

static yula_loop *
watched_loop(void)
{
    yula_loop *loop = tasks_begin();

    reports[0] = '\0';
    yula_loop_watch_slow(loop, 100, note, reports);
    return loop;
}

static void
spawn_named(yula_loop *loop, const char *name, yula_task_cb body, void *arg)
{
    yula_task_options options = {.size = sizeof(options), .name = name};

    CHECK_EQ(yula_task_spawn(loop, &options, body, arg, NULL), 0);
}

/* Computes for so long, then waits, and does so again. */
static int
computes(yula_task *task, void *arg)
{
    const int *spans = arg;

    for (int i = 0; spans[i] != 0; i++) {
        test_now_ns += spans[i];
        int err = i % 2 == 0 ? yula_task_yield(yula_task_loop(task))
                             : yula_task_sleep(yula_task_loop(task), 1000);
        CHECK_EQ(err, 0);
    }
    return 0;
}

TEST(tasks_that_compute_for_too_long_between_two_waits_are_reported)
{
    int slow[] = {50, 150, 100, 300, 0}, quick[] = {90, 90, 90, 90, 0};
    yula_loop *loop = watched_loop();

    spawn_named(loop, "slow", computes, slow);
    for (int i = 0; i < 5; i++)
        spawn_named(loop, "quick", computes, quick);
    tasks_run_dry(loop);
    CHECK_STR(reports, "slow 150;slow 300;");
    tasks_end(loop);
}

static int
computes_to_its_end(yula_task *task, void *arg)
{
    test_now_ns += 500;
    return 0;
}

TEST(a_task_that_computes_up_to_its_end_is_reported)
{
    yula_loop *loop = watched_loop();

    spawn_named(loop, "a", computes_to_its_end, NULL);
    spawn_named(loop, "b", computes_to_its_end, NULL);
    tasks_run_dry(loop);
    CHECK_STR(reports, "a 500;b 500;");
    tasks_end(loop);
}

static int
starts_to_watch(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);

    yula_loop_watch_slow(loop, 100, note, reports);
    test_now_ns += 700;
    return yula_task_sleep(loop, 1);
}

TEST(the_task_that_begins_to_watch_is_watched)
{
    yula_loop *loop = tasks_begin();

    reports[0] = '\0';
    spawn_named(loop, "first", starts_to_watch, NULL);
    spawn_named(loop, "next", computes, (int[]){1, 0});
    tasks_run_dry(loop);
    CHECK_STR(reports, "first 700;");
    tasks_end(loop);
}

static void
block(yula_work *work, void *arg)
{
    test_now_ns += *(int *)arg;
}

TEST(callbacks_that_block_are_reported_and_the_others_not)
{
    int spans[] = {200, 100, 101};
    yula_work works[3];
    yula_loop *loop = watched_loop();

    for (int i = 0; i < 3; i++) {
        yula_work_init(&works[i], YULA_LANE_NATIVE, block, &spans[i]);
        yula_work_queue(loop, &works[i]);
    }
    tasks_run_dry(loop);
    CHECK_STR(reports, "callback 200;callback 101;");
    tasks_end(loop);
}

TEST(sleeping_is_not_slow_and_nobody_is_reported_once_nobody_watches)
{
    int spans[] = {1, 1, 1, 0}, slow[] = {200, 200, 0};
    yula_loop *loop = watched_loop();

    spawn_named(loop, "sleeper", computes, spans);
    tasks_run_dry(loop);
    yula_loop_watch_slow(loop, 0, NULL, NULL);
    spawn_named(loop, "slow", computes, slow);
    tasks_run_dry(loop);
    CHECK_STR(reports, "");
    tasks_end(loop);
}
