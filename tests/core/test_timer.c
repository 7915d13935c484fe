/* test_timer.c: deadlines, on a clock that is driven by hand. */
#include <yula/timer.h> /* first: it must stand alone */

#include <stdlib.h>
#include <string.h>

#include "loop/loop_i.h"
#include "support.h"
#include "test.h"

/* Which timers fired, in order, as their numbers. */
static struct {
    int count;
    int ids[4096];
} fired;

typedef struct numbered {
    yula_timer timer;
    int id;
} numbered;

static void
on_timer(yula_timer *timer, void *arg)
{
    fired.ids[fired.count++] = ((numbered *)timer)->id;
}

static yula_loop *
begin(void)
{
    fired.count = 0;
    return test_loop_by_hand();
}

static void
numbered_start(yula_loop *loop, numbered *timers, int count,
               const int64_t *deadlines_ns)
{
    for (int i = 0; i < count; i++) {
        yula_timer_init(loop, &timers[i].timer, YULA_LANE_HOST);
        timers[i].id = i;
        CHECK_EQ(
            yula_timer_start(&timers[i].timer, deadlines_ns[i], on_timer, NULL),
            0);
    }
}

static void
turn_at(yula_loop *loop, int64_t now_ns)
{
    test_now_ns = now_ns;
    test_turn(loop);
}

TEST(timers_fire_in_the_order_of_their_deadlines)
{
    yula_loop *loop = begin();
    numbered timers[4];

    numbered_start(loop, timers, 4, (int64_t[]){5000, 3000, 4000, 2000});
    turn_at(loop, 10000);
    CHECK_EQ(fired.count, 4);
    const int expected[] = {3, 1, 2, 0};
    CHECK(memcmp(fired.ids, expected, sizeof(expected)) == 0);
    yula_loop_free(loop);
}

TEST(a_timer_is_never_early)
{
    yula_loop *loop = begin();
    numbered timer;

    numbered_start(loop, &timer, 1, (int64_t[]){2000});
    turn_at(loop, 1999);
    CHECK_EQ(fired.count, 0);
    CHECK(yula_timer_armed(&timer.timer));
    turn_at(loop, 2000);
    CHECK_EQ(fired.count, 1);
    CHECK(!yula_timer_armed(&timer.timer));
    yula_loop_free(loop);
}

TEST(equal_deadlines_fire_in_the_order_of_their_starts)
{
    enum {
        COUNT = 500
    };
    yula_loop *loop = begin();
    static numbered timers[COUNT];
    int64_t deadlines_ns[COUNT];

    for (int i = 0; i < COUNT; i++)
        deadlines_ns[i] = 2000;
    numbered_start(loop, timers, COUNT, deadlines_ns);
    turn_at(loop, 2000);
    CHECK_EQ(fired.count, COUNT);
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(fired.ids[i], i);
    yula_loop_free(loop);
}

TEST(arming_an_armed_timer_moves_it_behind_equal_deadlines)
{
    yula_loop *loop = begin();
    numbered timers[2];

    numbered_start(loop, timers, 2, (int64_t[]){2000, 2000});
    CHECK_EQ(yula_timer_start(&timers[0].timer, 2000, on_timer, NULL), 0);
    turn_at(loop, 2000);
    CHECK_EQ(fired.count, 2);
    CHECK_EQ(fired.ids[0], 1);
    CHECK_EQ(fired.ids[1], 0);
    yula_loop_free(loop);
}

TEST(a_deadline_in_the_past_fires_in_the_next_turn)
{
    yula_loop *loop = begin();
    numbered timer;

    numbered_start(loop, &timer, 1, (int64_t[]){-5});
    CHECK_EQ(fired.count, 0);
    CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    CHECK_EQ(fired.count, 1);
    yula_loop_free(loop);
}

TEST(a_stopped_timer_does_not_fire)
{
    yula_loop *loop = begin();
    numbered timer;

    numbered_start(loop, &timer, 1, (int64_t[]){2000});
    CHECK(yula_timer_stop(&timer.timer));
    CHECK(!yula_timer_stop(&timer.timer));
    turn_at(loop, 3000);
    CHECK_EQ(fired.count, 0);
    yula_loop_free(loop);
}

static void
stop_other(yula_timer *timer, void *arg)
{
    on_timer(timer, NULL);
    CHECK(yula_timer_stop(arg));
}

TEST(a_due_timer_stopped_before_its_turn_does_not_fire)
{
    yula_loop *loop = begin();
    numbered timers[2];

    numbered_start(loop, timers, 2, (int64_t[]){2000, 2000});
    CHECK_EQ(yula_timer_start(&timers[1].timer, 3000, on_timer, NULL), 0);
    CHECK_EQ(
        yula_timer_start(&timers[0].timer, 2000, stop_other, &timers[1].timer),
        0);
    turn_at(loop, 3000);
    CHECK_EQ(fired.count, 1);
    CHECK_EQ(fired.ids[0], 0);
    CHECK(!yula_timer_armed(&timers[1].timer));
    yula_loop_free(loop);
}

static void
stop_self(yula_timer *timer, void *arg)
{
    on_timer(timer, NULL);
    CHECK(!yula_timer_stop(timer));
}

TEST(a_timer_stopped_by_its_own_callback_is_not_rearmed)
{
    yula_loop *loop = begin();
    numbered timer;

    numbered_start(loop, &timer, 1, (int64_t[]){2000});
    CHECK_EQ(yula_timer_start(&timer.timer, 2000, stop_self, NULL), 0);
    turn_at(loop, 2000);
    turn_at(loop, 90000);
    CHECK_EQ(fired.count, 1);
    yula_loop_free(loop);
}

static void
rearm_self(yula_timer *timer, void *arg)
{
    on_timer(timer, NULL);
    CHECK_EQ(yula_timer_start(timer, 0, rearm_self, NULL), 0);
}

TEST(a_timer_rearmed_by_its_own_callback_waits_for_the_next_turn)
{
    yula_loop *loop = begin();
    numbered timer;

    numbered_start(loop, &timer, 1, (int64_t[]){0});
    CHECK_EQ(yula_timer_start(&timer.timer, 0, rearm_self, NULL), 0);
    for (int turn = 1; turn <= 3; turn++) {
        turn_at(loop, 2000);
        CHECK_EQ(fired.count, turn);
    }
    yula_timer_stop(&timer.timer);
    yula_loop_free(loop);
}

static void
free_self(yula_timer *timer, void *arg)
{
    on_timer(timer, NULL);
    free(timer);
}

TEST(a_timer_may_be_freed_by_its_own_callback)
{
    yula_loop *loop = begin();
    numbered *timer = calloc(1, sizeof(*timer));

    yula_timer_init(loop, &timer->timer, YULA_LANE_HOST);
    CHECK_EQ(yula_timer_start(&timer->timer, 0, free_self, NULL), 0);
    turn_at(loop, 2000);
    CHECK_EQ(fired.count, 1);
    yula_loop_free(loop);
}

TEST(deadlines_at_both_ends_of_the_range_keep_their_order)
{
    yula_loop *loop = begin();
    numbered timers[3];

    numbered_start(loop, timers, 3,
                   (int64_t[]){INT64_MAX, INT64_MAX - 1, INT64_MIN});
    turn_at(loop, 1000);
    CHECK_EQ(fired.count, 1);
    CHECK_EQ(fired.ids[0], 2);
    CHECK_EQ(yula_loop_next_deadline(loop), INT64_MAX - 1);
    yula_timer_stop(&timers[0].timer);
    yula_timer_stop(&timers[1].timer);
    CHECK_EQ(yula_loop_next_deadline(loop), YULA_NEVER);
    yula_loop_free(loop);
}

/* A fixed sequence: the test must fail the same way each time. */
static uint32_t
next_random(void)
{
    static uint32_t state = 12345;
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

TEST(two_hundred_thousand_starts_and_stops_keep_the_heap_in_order)
{
    enum {
        COUNT = 1000,
        STEPS = 200000
    };
    yula_loop *loop = begin();
    static numbered timers[COUNT];
    size_t armed = 0;

    for (int i = 0; i < COUNT; i++) {
        yula_timer_init(loop, &timers[i].timer, YULA_LANE_HOST);
        timers[i].id = i;
    }
    for (int step = 0; step < STEPS; step++) {
        numbered *timer = &timers[next_random() % COUNT];
        bool was_armed = yula_timer_armed(&timer->timer);
        if (next_random() % 3 == 0) {
            CHECK_EQ(yula_timer_stop(&timer->timer), was_armed);
            armed -= was_armed;
        }
        else {
            int64_t deadline_ns = 2000 + next_random() % 64;
            CHECK_EQ(
                yula_timer_start(&timer->timer, deadline_ns, on_timer, NULL),
                0);
            armed += !was_armed;
        }
        CHECK_EQ(loop->timer_count, armed);
        if (step % 1000 == 0)
            test_loop_check(loop);
    }
    test_loop_check(loop);
    turn_at(loop, 5000);
    CHECK_EQ(fired.count, armed);
    for (int i = 1; i < fired.count; i++)
        CHECK(timers[fired.ids[i - 1]].timer.deadline_ns <=
              timers[fired.ids[i]].timer.deadline_ns);
    yula_loop_free(loop);
}

TEST(a_timer_that_finds_no_memory_is_stopped_and_the_others_stay)
{
    enum {
        COUNT = 200
    };
    yula_loop *loop = begin();
    static numbered timers[COUNT];
    int refused = 0;

    for (int i = 0; i < COUNT; i++) {
        yula_timer_init(loop, &timers[i].timer, YULA_LANE_HOST);
        timers[i].id = i;
        test_fail_alloc(1);
        if (yula_timer_start(&timers[i].timer, 2000, on_timer, NULL) < 0) {
            CHECK(!yula_timer_armed(&timers[i].timer));
            refused++;
            test_fail_alloc(0);
            CHECK_EQ(yula_timer_start(&timers[i].timer, 2000, on_timer, NULL),
                     0);
        }
    }
    test_fail_alloc(0);
    CHECK(refused > 0);
    turn_at(loop, 2000);
    CHECK_EQ(fired.count, COUNT);
    yula_loop_free(loop);
}

TEST(the_loop_sleeps_until_the_next_deadline_on_the_real_clock)
{
    yula_loop *loop = test_loop();
    numbered timer = {.id = 1};
    int64_t deadline_ns = yula_loop_now(loop) + 2000000;

    fired.count = 0;
    yula_timer_init(loop, &timer.timer, YULA_LANE_HOST);
    CHECK_EQ(yula_timer_start(&timer.timer, deadline_ns, on_timer, NULL), 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(fired.count, 1);
    CHECK(yula_loop_now(loop) >= deadline_ns);
    yula_loop_free(loop);
}
