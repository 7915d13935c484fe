/* test_stream_held.c: the sends of a batch are made together, not much later than
 * they were asked for, and in every case by the end of the batch.
 */
#include <yula/yula.h> /* first: it must stand alone */

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/stream_i.h"
#include "stream_end.h"
#include "support.h"
#include "test.h"

enum {
    COUNT = YULA__HOLD_COUNT + 4
};

typedef struct crowd {
    yula_loop *loop;
    end ends[COUNT];
    yula_work works[COUNT + 1]; /* writers, and an observer behind them */
    const char *text;
    int writers;
    int arrived; /* what the observer saw: at so many peers */
} crowd;

static crowd self;

static void
crowd_begin(void)
{
    self = (crowd){.loop = test_loop_with_host(&test_host), .text = "hello"};
    for (int i = 0; i < COUNT; i++) {
        end *one = &self.ends[i];
        int fds[2];
        *one = (end){.loop = self.loop};
        test_tcp_pair(fds);
        one->peer = fds[0];
        CHECK_EQ(yula_stream_new(self.loop, YULA_LANE_HOST, fds[1], &ops, one,
                                 &one->stream),
                 0);
        yula_stream_start(one->stream);
    }
    test_turn(self.loop);
}

static void
crowd_end(void)
{
    for (int i = 0; i < COUNT; i++) {
        if (self.ends[i].stream != NULL)
            yula_stream_free(self.ends[i].stream, true);
        close(self.ends[i].peer);
    }
    yula_loop_free(self.loop);
}

/* Loopback: what was sent is there. */
static bool
has_arrived(int i)
{
    char byte;
    return recv(self.ends[i].peer, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static void
write_one(yula_work *work, void *arg)
{
    end *one = arg;
    CHECK_EQ(yula_stream_write(one->stream, self.text, strlen(self.text), NULL),
             0);
}

static void
count_arrived(yula_work *work, void *arg)
{
    self.arrived = 0;
    for (int i = 0; i < COUNT; i++)
        self.arrived += has_arrived(i);
}

static void
queue(int i, yula_work_cb cb, void *arg)
{
    yula_work_init(&self.works[i], YULA_LANE_HOST, cb, arg);
    yula_work_queue(self.loop, &self.works[i]);
}

/* So many streams write in one batch, each in a callback of its own, and an
 * observer comes last. */
static void
write_and_observe(int writers)
{
    for (int i = 0; i < writers; i++)
        queue(i, write_one, &self.ends[i]);
    queue(COUNT, count_arrived, NULL);
    test_turn(self.loop);
    int observed = self.arrived;
    count_arrived(NULL, NULL);
    CHECK_EQ(self.arrived, writers); /* at the end of the turn: everything */
    self.arrived = observed;
}

TEST(the_sends_of_a_batch_wait_for_its_end)
{
    crowd_begin();
    write_and_observe(3);
    CHECK_EQ(self.arrived, 0);
    crowd_end();
}

TEST(so_many_and_no_more_wait_for_each_other)
{
    crowd_begin();
    write_and_observe(YULA__HOLD_COUNT);
    CHECK_EQ(self.arrived, YULA__HOLD_COUNT);
    crowd_end();
}

TEST(those_behind_them_wait_for_the_end_again)
{
    crowd_begin();
    write_and_observe(COUNT);
    CHECK_EQ(self.arrived, YULA__HOLD_COUNT);
    crowd_end();
}

TEST(what_is_large_leaves_at_the_end_of_its_callback)
{
    static char large[YULA__HOLD_LEN + 2];

    memset(large, 'x', sizeof(large) - 1);
    crowd_begin();
    self.text = large;
    write_and_observe(1);
    CHECK_EQ(self.arrived, 1);
    crowd_end();
}

static void
write_more(yula_work *work, void *arg)
{
    static char large[YULA__HOLD_LEN + 2];

    memset(large, 'x', sizeof(large) - 1);
    self.text = large;
    write_one(work, arg);
}

TEST(what_becomes_large_waits_no_longer)
{
    crowd_begin();
    queue(0, write_one, &self.ends[0]);
    queue(1, write_one, &self.ends[1]);
    queue(2, write_more, &self.ends[0]);
    queue(COUNT, count_arrived, NULL);
    test_turn(self.loop);
    CHECK_EQ(self.arrived, 1);
    CHECK(has_arrived(0) && has_arrived(1));
    crowd_end();
}

/* Until the loop must have noticed how long the first one waits. */
static void
compute(yula_work *work, void *arg)
{
    struct timespec began, now;
    int64_t passed;

    clock_gettime(CLOCK_MONOTONIC, &began);
    do {
        clock_gettime(CLOCK_MONOTONIC, &now);
        passed = (int64_t)(now.tv_sec - began.tv_sec) * 1000000000 +
                 (now.tv_nsec - began.tv_nsec);
    } while (passed < YULA__HOLD_NS);
}

TEST(what_was_written_before_a_long_callback_leaves_right_after_it)
{
    crowd_begin();
    queue(0, write_one, &self.ends[0]);
    queue(1, compute, NULL);
    queue(COUNT, count_arrived, NULL);
    test_turn(self.loop);
    CHECK_EQ(self.arrived, 1);
    crowd_end();
}

static void
nested_turn(yula_work *work, void *arg)
{
    test_turn(self.loop);
    count_arrived(NULL, NULL);
}

TEST(a_nested_turn_sends_what_the_outer_batch_has_written)
{
    crowd_begin();
    queue(0, write_one, &self.ends[0]);
    queue(1, nested_turn, NULL);
    test_turn(self.loop);
    CHECK_EQ(self.arrived, 1);
    crowd_end();
}

static void
leave(yula_work *work, void *arg)
{
    yula_loop_break(self.loop, -EINTR);
}

TEST(a_batch_that_is_left_sends_what_it_has_written)
{
    crowd_begin();
    queue(0, write_one, &self.ends[0]);
    queue(1, leave, NULL);
    queue(2, write_one, &self.ends[1]);
    CHECK_EQ(yula_loop_step(self.loop, 0), -EINTR);
    CHECK(has_arrived(0));
    CHECK(!has_arrived(1));
    test_turn(self.loop);
    CHECK(has_arrived(1));
    crowd_end();
}

static void
ask(yula_work *work, void *arg)
{
    CHECK_EQ(yula_stream_queued(self.ends[0].stream), 0);
    count_arrived(NULL, NULL);
}

TEST(who_asks_what_is_queued_sends_it)
{
    crowd_begin();
    queue(0, write_one, &self.ends[0]);
    queue(1, ask, NULL);
    test_turn(self.loop);
    CHECK_EQ(self.arrived, 1);
    crowd_end();
}

static void
free_one(yula_work *work, void *arg)
{
    end *one = arg;
    yula_stream_free(one->stream, true);
    one->stream = NULL;
}

TEST(a_stream_that_is_freed_while_it_waits_leaves_the_others_alone)
{
    crowd_begin();
    for (int i = 0; i < 3; i++)
        queue(i, write_one, &self.ends[i]);
    queue(3, free_one, &self.ends[1]);
    test_turn(self.loop);
    CHECK(has_arrived(0) && has_arrived(2));
    CHECK(!has_arrived(1));
    crowd_end();
}

TEST(a_send_that_fails_is_told_in_the_same_turn)
{
    crowd_begin();
    test_fail_sys_named("send", 1, EPIPE);
    queue(0, write_one, &self.ends[0]);
    test_turn(self.loop);
    CHECK_EQ(self.ends[0].failures, 1);
    CHECK_EQ(self.ends[0].status, -EPIPE);
    test_faults_clear();
    crowd_end();
}

static yula_work again;

static void
lock_is_wanted(yula_work *work, void *arg)
{
    yula_loop_want_host(self.loop, true);
}

TEST(what_is_held_when_others_come_to_want_the_lock_is_sent_all_the_same)
{
    crowd_begin();
    queue(0, write_one, &self.ends[0]);
    queue(1, lock_is_wanted, NULL);
    test_turn(self.loop);
    CHECK(has_arrived(0));
    yula_loop_want_host(self.loop, false);
    crowd_end();
}

TEST(a_loop_without_a_host_sends_at_the_end_of_each_callback)
{
    yula_loop *loop = test_loop();
    end one = {.loop = loop};
    int fds[2];

    test_tcp_pair(fds);
    one.peer = fds[0];
    CHECK_EQ(yula_stream_new(loop, YULA_LANE_NATIVE, fds[1], &ops, &one,
                             &one.stream),
             0);
    self = (crowd){.loop = loop, .text = "hello"};
    self.ends[0].peer = fds[0];
    for (int i = 1; i < COUNT; i++)
        self.ends[i].peer = -1;
    yula_work_init(&again, YULA_LANE_NATIVE, write_one, &one);
    yula_work_init(&self.works[0], YULA_LANE_NATIVE, count_arrived, NULL);
    yula_work_queue(loop, &again);
    yula_work_queue(loop, &self.works[0]);
    test_turn(loop);
    CHECK_EQ(self.arrived, 1);
    yula_stream_free(one.stream, true);
    close(fds[0]);
    yula_loop_free(loop);
}
