/* test_loop.c: one iteration, by itself, nested, and driven from outside. */
#include <yula/loop.h> /* first: it must stand alone */

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "support.h"
#include "test.h"

/* What ran, in order: one letter each. */
static char order[64];

static void
note(char letter)
{
    size_t len = strlen(order);
    CHECK(len + 1 < sizeof(order));
    order[len] = letter;
    order[len + 1] = '\0';
}

static yula_loop *
begin(void)
{
    order[0] = '\0';
    return test_loop_by_hand();
}

typedef struct letter {
    yula_work work;
    yula_loop *loop;
    char name;
    void (*also)(struct letter *letter);
    struct letter *other;
} letter;

static void
on_letter(yula_work *work, void *arg)
{
    letter *self = arg;
    note(self->name);
    if (self->also != NULL)
        self->also(self);
}

static letter
letter_of(yula_loop *loop, char name)
{
    return (letter){.loop = loop, .name = name};
}

static void
letter_queue(letter *self)
{
    yula_work_init(&self->work, YULA_LANE_HOST, on_letter, self);
    yula_work_queue(self->loop, &self->work);
}

static void
turn(yula_loop *loop)
{
    test_turn(loop);
}

/* --- the order of an iteration ------------------------------------------- */

static void
on_timer_t(yula_timer *timer, void *arg)
{
    note('t');
}

static void
on_watcher_w(yula_watcher *watcher, unsigned events, void *arg)
{
    note('w');
    yula_watcher_stop(watcher);
}

static void *
post_p(void *arg)
{
    letter *self = arg;
    yula_work_init(&self->work, YULA_LANE_HOST, on_letter, self);
    yula_work_post(self->loop, &self->work);
    return NULL;
}

TEST(a_turn_runs_ready_work_then_posted_work_then_events_then_timers)
{
    yula_loop *loop = begin();
    letter ready = letter_of(loop, 'r'), posted = letter_of(loop, 'p');
    yula_timer timer;
    yula_watcher watcher;
    int fds[2];
    pthread_t thread;

    test_unix_pair(fds);
    test_send_all(fds[0], "x", 1);
    yula_watcher_init(loop, &watcher, YULA_LANE_HOST);
    CHECK_EQ(
        yula_watcher_start(&watcher, fds[1], YULA_READABLE, on_watcher_w, NULL),
        0);
    yula_timer_init(loop, &timer, YULA_LANE_HOST);
    CHECK_EQ(yula_timer_start(&timer, 0, on_timer_t, NULL), 0);
    letter_queue(&ready);
    CHECK_EQ(pthread_create(&thread, NULL, post_p, &posted), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    turn(loop);
    CHECK_STR(order, "rpwt");
    yula_loop_free(loop);
    close(fds[0]);
    close(fds[1]);
}

/* As in asyncio, where both are appended to one queue. */
TEST(what_was_posted_before_comes_before_what_is_queued_after_it)
{
    yula_loop *loop = begin();
    letter ready = letter_of(loop, 'r'), posted = letter_of(loop, 'p');
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, post_p, &posted), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    letter_queue(&ready);
    turn(loop);
    CHECK_STR(order, "pr");
    yula_loop_free(loop);
}

TEST(work_runs_in_the_order_it_was_queued)
{
    yula_loop *loop = begin();
    letter letters[] = {letter_of(loop, 'a'), letter_of(loop, 'b'),
                        letter_of(loop, 'c')};

    for (int i = 0; i < 3; i++)
        letter_queue(&letters[i]);
    yula_work_queue(loop, &letters[0].work); /* is queued: changes nothing */
    turn(loop);
    CHECK_STR(order, "abc");
    yula_loop_free(loop);
}

static void
queue_other(letter *self)
{
    letter_queue(self->other);
}

TEST(work_queued_by_a_batch_waits_for_the_next_turn)
{
    yula_loop *loop = begin();
    letter b = letter_of(loop, 'b');
    letter a = {.loop = loop, .name = 'a', .also = queue_other, .other = &b};
    letter c = letter_of(loop, 'c');

    letter_queue(&a);
    letter_queue(&c);
    turn(loop);
    CHECK_STR(order, "ac");
    turn(loop);
    CHECK_STR(order, "acb");
    yula_loop_free(loop);
}

static void
cancel_other(letter *self)
{
    CHECK(yula_work_cancel(&self->other->work));
    CHECK(!yula_work_cancel(&self->other->work));
}

TEST(work_cancelled_before_its_turn_does_not_run)
{
    yula_loop *loop = begin();
    letter b = letter_of(loop, 'b');
    letter a = {.loop = loop, .name = 'a', .also = cancel_other, .other = &b};

    letter_queue(&a);
    letter_queue(&b);
    turn(loop);
    turn(loop);
    CHECK_STR(order, "a");
    yula_loop_free(loop);
}

/* --- leaving a turn ------------------------------------------------------ */

static void
stop_loop(letter *self)
{
    yula_loop_stop(self->loop);
    CHECK(yula_loop_stopping(self->loop));
}

TEST(stop_lets_the_batch_finish)
{
    yula_loop *loop = begin();
    letter b = letter_of(loop, 'b'), c = letter_of(loop, 'c');
    letter a = {.loop = loop, .name = 'a', .also = stop_loop};

    letter_queue(&a);
    letter_queue(&b);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_STR(order, "ab");
    CHECK(!yula_loop_stopping(loop));
    letter_queue(&c);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_STR(order, "abc");
    yula_loop_free(loop);
}

TEST(a_stop_before_the_run_makes_it_last_one_turn)
{
    yula_loop *loop = begin();
    letter b = letter_of(loop, 'b');
    letter a = {.loop = loop, .name = 'a', .also = queue_other, .other = &b};

    letter_queue(&a);
    yula_loop_stop(loop);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_STR(order, "a");
    yula_loop_ref(loop); /* would never end by itself */
    yula_loop_stop(loop);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_STR(order, "ab");
    yula_loop_unref(loop);
    yula_loop_free(loop);
}

static void
break_loop(letter *self)
{
    yula_loop_break(self->loop, -7);
}

TEST(break_leaves_at_once_and_keeps_the_rest_in_front)
{
    yula_loop *loop = begin();
    letter a = {.loop = loop, .name = 'a', .also = break_loop};
    letter b = letter_of(loop, 'b'), c = letter_of(loop, 'c');
    letter d = letter_of(loop, 'd');

    letter_queue(&a);
    letter_queue(&b);
    letter_queue(&c);
    CHECK_EQ(yula_loop_run(loop), -7);
    CHECK_STR(order, "a");
    letter_queue(&d);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_STR(order, "abcd");
    yula_loop_free(loop);
}

TEST(run_ends_when_nothing_is_left_that_could_call_back)
{
    yula_loop *loop = begin();
    letter a = letter_of(loop, 'a');

    CHECK_EQ(yula_loop_run(loop), 0);
    letter_queue(&a);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_STR(order, "a");
    yula_loop_free(loop);
}

/* --- nested runs --------------------------------------------------------- */

static void
step_inside(letter *self)
{
    turn(self->loop);
    note('.');
}

TEST(a_nested_turn_runs_the_rest_of_the_outer_batch)
{
    yula_loop *loop = begin();
    letter a = {.loop = loop, .name = 'a', .also = step_inside};
    letter b = letter_of(loop, 'b'), c = letter_of(loop, 'c');

    letter_queue(&a);
    letter_queue(&b);
    letter_queue(&c);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_STR(order, "abc.");
    CHECK(!yula_loop_in_callback(loop));
    yula_loop_free(loop);
}

static void
break_inside(letter *self)
{
    letter_queue(self->other);
    CHECK_EQ(yula_loop_step(self->loop, 0), -7);
    note('.');
}

TEST(a_break_in_a_nested_turn_ends_only_that_turn)
{
    yula_loop *loop = begin();
    letter inner = {.loop = loop, .name = 'i', .also = break_loop};
    letter a = {
        .loop = loop, .name = 'a', .also = break_inside, .other = &inner};
    letter b = letter_of(loop, 'b');

    letter_queue(&a);
    CHECK_EQ(yula_loop_step(loop, 0), 0);
    CHECK_STR(order, "ai.");
    letter_queue(&b);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_STR(order, "ai.b");
    yula_loop_free(loop);
}

/* --- deferred work ------------------------------------------------------- */

static void
defer_other(letter *self)
{
    CHECK(yula_loop_in_callback(self->loop));
    yula_work_init(&self->other->work, YULA_LANE_HOST, on_letter, self->other);
    yula_loop_defer(self->loop, &self->other->work);
    yula_loop_defer(self->loop, &self->other->work); /* changes nothing */
    note('(');
}

TEST(deferred_work_runs_before_the_next_callback)
{
    yula_loop *loop = begin();
    letter d = letter_of(loop, 'd'), b = letter_of(loop, 'b');
    letter a = {.loop = loop, .name = 'a', .also = defer_other, .other = &d};

    letter_queue(&a);
    letter_queue(&b);
    turn(loop);
    CHECK_STR(order, "a(db");
    yula_loop_free(loop);
}

TEST(work_deferred_outside_callbacks_runs_before_the_next_poll)
{
    yula_loop *loop = begin();
    letter d = letter_of(loop, 'd');

    yula_work_init(&d.work, YULA_LANE_HOST, on_letter, &d);
    yula_loop_defer(loop, &d.work);
    CHECK_STR(order, "");
    CHECK_EQ(yula_loop_collect(loop), 0);
    CHECK_STR(order, "d");
    yula_loop_free(loop);
}

/* --- driven from outside ------------------------------------------------- */

/* How long a foreign loop would wait on the loop's behalf, at most 10 s. */
static int
foreign_poll(yula_loop *loop)
{
    int64_t deadline_ns = yula_loop_next_deadline(loop);
    int64_t timeout_ns = INT64_C(10000000000);
    struct pollfd entry = {.fd = yula_loop_fd(loop), .events = POLLIN};

    if (deadline_ns != YULA_NEVER &&
        deadline_ns - yula_loop_now(loop) < timeout_ns)
        timeout_ns = deadline_ns - yula_loop_now(loop);
    if (timeout_ns < 0)
        timeout_ns = 0;
    return poll(&entry, 1, (int)((timeout_ns + 999999) / 1000000));
}

TEST(collect_queues_and_run_batch_runs)
{
    yula_loop *loop = begin();
    letter a = letter_of(loop, 'a');
    yula_timer timer;

    yula_timer_init(loop, &timer, YULA_LANE_HOST);
    CHECK_EQ(yula_timer_start(&timer, 0, on_timer_t, NULL), 0);
    letter_queue(&a);
    CHECK_EQ(yula_loop_collect(loop), 0);
    CHECK_STR(order, "");
    CHECK_EQ(yula_loop_run_batch(loop), 0);
    CHECK_STR(order, "at");
    yula_loop_free(loop);
}

TEST(the_next_deadline_is_past_when_work_is_ready_and_never_when_idle)
{
    yula_loop *loop = begin();
    letter a = letter_of(loop, 'a');
    yula_timer timer;

    CHECK_EQ(yula_loop_next_deadline(loop), YULA_NEVER);
    yula_timer_init(loop, &timer, YULA_LANE_HOST);
    CHECK_EQ(yula_timer_start(&timer, 5000, on_timer_t, NULL), 0);
    CHECK_EQ(yula_loop_next_deadline(loop), 5000);
    letter_queue(&a);
    CHECK(yula_loop_next_deadline(loop) <= test_now_ns);
    turn(loop);
    CHECK_EQ(yula_loop_next_deadline(loop), 5000);
    yula_timer_stop(&timer);
    yula_loop_free(loop);
}

TEST(a_foreign_loop_sees_the_kernels_events)
{
    yula_loop *loop = begin();
    yula_watcher watcher;
    int fds[2];

    test_unix_pair(fds);
    yula_watcher_init(loop, &watcher, YULA_LANE_HOST);
    CHECK_EQ(
        yula_watcher_start(&watcher, fds[1], YULA_READABLE, on_watcher_w, NULL),
        0);
    test_send_all(fds[0], "x", 1);
    CHECK_EQ(foreign_poll(loop), 1);
    turn(loop);
    CHECK_STR(order, "w");
    yula_loop_free(loop);
    close(fds[0]);
    close(fds[1]);
}

TEST(a_foreign_loop_is_woken_by_posted_work_and_rests_after_it)
{
    yula_loop *loop = begin();
    letter posted = letter_of(loop, 'p');
    struct pollfd entry = {.fd = yula_loop_fd(loop), .events = POLLIN};
    pthread_t thread;

    for (int round = 1; round <= 3; round++) {
        order[0] = '\0';
        CHECK_EQ(yula_loop_next_deadline(loop), YULA_NEVER);
        CHECK_EQ(pthread_create(&thread, NULL, post_p, &posted), 0);
        CHECK_EQ(foreign_poll(loop), 1);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        while (poll(&entry, 1, 0) == 1) /* must come to an end */
            turn(loop);
        CHECK_STR(order, "p");
    }
    yula_loop_free(loop);
}

TEST(work_posted_before_the_foreign_loop_sleeps_is_ready)
{
    yula_loop *loop = begin();
    letter posted = letter_of(loop, 'p');
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, post_p, &posted), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(yula_loop_next_deadline(loop) <= test_now_ns);
    turn(loop);
    CHECK_STR(order, "p");
    yula_loop_free(loop);
}

/* --- virtual time -------------------------------------------------------- */

static void
on_day(yula_timer *timer, void *arg)
{
    int *days = arg;
    if (++*days < 365)
        CHECK_EQ(yula_timer_start(timer, test_now_ns + INT64_C(86400000000000),
                                  on_day, days),
                 0);
}

/* What a test with virtual time does: jump when nothing is ready. */
TEST(a_year_passes_at_once_on_a_virtual_clock)
{
    yula_loop *loop = begin();
    yula_timer timer;
    int days = 0;

    yula_timer_init(loop, &timer, YULA_LANE_HOST);
    CHECK_EQ(yula_timer_start(&timer, 0, on_day, &days), 0);
    for (;;) {
        int64_t deadline_ns = yula_loop_next_deadline(loop);
        if (deadline_ns == YULA_NEVER)
            break;
        if (deadline_ns > test_now_ns)
            test_now_ns = deadline_ns;
        turn(loop);
    }
    CHECK_EQ(days, 365);
    CHECK_EQ(test_now_ns, 1000 + 364 * INT64_C(86400000000000));
    yula_loop_free(loop);
}

TEST(a_change_of_clock_leaves_armed_timers_their_deadlines)
{
    yula_loop *loop = test_loop();
    yula_timer timer;

    order[0] = '\0';
    yula_timer_init(loop, &timer, YULA_LANE_HOST);
    CHECK_EQ(yula_timer_start(&timer, INT64_MAX - 1, on_timer_t, NULL), 0);
    test_now_ns = INT64_MAX - 1;
    yula_loop_set_clock(loop, test_clock, NULL);
    turn(loop);
    CHECK_STR(order, "t");
    yula_loop_set_clock(loop, NULL, NULL);
    CHECK(yula_loop_now(loop) < INT64_MAX - 1);
    yula_loop_free(loop);
}

/* --- making and freeing -------------------------------------------------- */

TEST(options_of_an_unknown_size_are_refused)
{
    yula_loop_options options = {.size = 8};
    yula_loop *loop = NULL;

    CHECK_EQ(yula_loop_new(&options, &loop), -EINVAL);
    CHECK(loop == NULL);
}

TEST(a_loop_that_cannot_be_made_leaves_nothing_behind)
{
    yula_loop_options options = {.size = sizeof(options),
                                 .allocator = &test_allocator};
    yula_loop *loop = NULL;

    for (long n = 1;; n++) {
        test_fail_sys(n, EMFILE);
        int err = yula_loop_new(&options, &loop);
        if (!test_sys_failed())
            break;
        CHECK_EQ(err, -EMFILE);
        CHECK(loop == NULL);
        CHECK_EQ(test_memory_live(), 0);
    }
    test_fail_sys(0, 0);
    yula_loop_free(loop);
    loop = NULL;
    test_fail_alloc(1);
    CHECK_EQ(yula_loop_new(&options, &loop), -ENOMEM);
    CHECK(loop == NULL);
}

TEST(queued_work_is_forgotten_when_the_loop_is_freed)
{
    yula_loop *loop = begin();
    letter a = letter_of(loop, 'a');
    yula_timer timer;

    letter_queue(&a);
    yula_timer_init(loop, &timer, YULA_LANE_HOST);
    CHECK_EQ(yula_timer_start(&timer, 0, on_timer_t, NULL), 0);
    yula_timer_stop(&timer);
    yula_loop_free(loop);
    CHECK_STR(order, "");
}

TEST(a_failing_poll_ends_the_run_and_an_interrupted_one_does_not)
{
    yula_loop *loop = begin();
    yula_watcher watcher;
    int fds[2];

    test_unix_pair(fds);
    yula_watcher_init(loop, &watcher, YULA_LANE_HOST);
    CHECK_EQ(
        yula_watcher_start(&watcher, fds[1], YULA_READABLE, on_watcher_w, NULL),
        0);
    test_fail_sys(1, EINTR);
    CHECK_EQ(yula_loop_step(loop, 0), 0);
    CHECK(test_sys_failed());
    test_fail_sys(1, EBADF);
    CHECK_EQ(yula_loop_run(loop), -EBADF);
    test_fail_sys(0, 0);
    yula_watcher_stop(&watcher);
    yula_loop_free(loop);
    close(fds[0]);
    close(fds[1]);
}
