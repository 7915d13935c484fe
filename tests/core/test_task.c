/* test_task.c: spawning, awaiting and cancelling tasks. */
#include <yula/task.h> /* first: it must stand alone */

#include <errno.h>
#include <string.h>

#include "coro/task_i.h"
#include "support.h"
#include "tasks.h"
#include "test.h"

static int
say(yula_task *task, void *arg)
{
    log_letter(*(char *)arg);
    return 0;
}

TEST(a_task_starts_when_control_is_back_in_the_loop)
{
    yula_loop *loop = tasks_begin();

    CHECK_EQ(yula_task_spawn(loop, NULL, say, (void *)"a", NULL), 0);
    CHECK_STR(log_text, "");
    test_turn(loop);
    CHECK_STR(log_text, "a");
    tasks_end(loop);
}

TEST(tasks_start_in_the_order_of_spawning)
{
    yula_loop *loop = tasks_begin();

    CHECK_EQ(yula_task_spawn(loop, NULL, say, (void *)"a", NULL), 0);
    CHECK_EQ(yula_task_spawn(loop, NULL, say, (void *)"b", NULL), 0);
    CHECK_EQ(yula_task_spawn(loop, NULL, say, (void *)"c", NULL), 0);
    tasks_end(loop);
    CHECK_STR(log_text, "abc");
}

static int
sleeper(yula_task *task, void *arg)
{
    const char *letters = arg;
    log_letter(letters[0]);
    int err = yula_task_sleep(yula_task_loop(task), 1000 * letters[1]);
    log_letter(err == 0 ? letters[0] : '!');
    return err;
}

TEST(tasks_sleep_beside_each_other)
{
    yula_loop *loop = tasks_begin();

    CHECK_EQ(yula_task_spawn(loop, NULL, sleeper, (void *)"a3", NULL), 0);
    CHECK_EQ(yula_task_spawn(loop, NULL, sleeper, (void *)"b1", NULL), 0);
    CHECK_EQ(yula_task_spawn(loop, NULL, sleeper, (void *)"c2", NULL), 0);
    tasks_end(loop);
    CHECK_STR(log_text, "abcbca");
}

static int
seven_later(yula_task *task, void *arg)
{
    CHECK_EQ(yula_task_sleep(yula_task_loop(task), 5000), 0);
    return 7;
}

static int
joiner(yula_task *task, void *arg)
{
    yula_task *child;
    int result = 0;
    CHECK_EQ(
        yula_task_spawn(yula_task_loop(task), NULL, seven_later, NULL, &child),
        0);
    CHECK_EQ(yula_task_join(child, &result), 0);
    *(int *)arg = result;
    return 0;
}

TEST(joining_gives_the_result)
{
    yula_loop *loop = tasks_begin();
    int result = 0;

    CHECK_EQ(yula_task_spawn(loop, NULL, joiner, &result, NULL), 0);
    tasks_end(loop);
    CHECK_EQ(result, 7);
}

static int
join_twice(yula_task *task, void *arg)
{
    yula_task *child;
    int first = 0, second = 0;

    CHECK_EQ(
        yula_task_spawn(yula_task_loop(task), NULL, seven_later, NULL, &child),
        0);
    yula_task_ref(child);
    CHECK_EQ(yula_task_result(child), -EBUSY);
    CHECK_EQ(yula_task_join(child, &first), 0);
    CHECK(yula_task_ended(child));
    CHECK_EQ(yula_task_join(child, &second), 0);
    return first + second;
}

TEST(a_task_that_has_ended_is_joined_without_waiting)
{
    CHECK_EQ(tasks_main(join_twice, NULL), 14);
}

static yula_task *shared_child;

static int
join_shared(yula_task *task, void *arg)
{
    CHECK_EQ(yula_task_join(yula_task_ref(shared_child), NULL), 0);
    log_letter(*(char *)arg);
    return 0;
}

TEST(several_tasks_that_join_one_go_on_in_the_order_of_joining)
{
    yula_loop *loop = tasks_begin();

    CHECK_EQ(yula_task_spawn(loop, NULL, seven_later, NULL, &shared_child), 0);
    tasks_spawn(loop, join_shared, (void *)"a");
    tasks_spawn(loop, join_shared, (void *)"b");
    tasks_spawn(loop, join_shared, (void *)"c");
    tasks_run_dry(loop);
    CHECK_STR(log_text, "abc");
    yula_task_unref(shared_child);
    tasks_end(loop);
}

static int
join_self(yula_task *task, void *arg)
{
    return yula_task_join(task, NULL);
}

TEST(a_task_cannot_join_itself)
{
    CHECK_EQ(tasks_main(join_self, NULL), -EDEADLK);
}

/* --- cancelling ---------------------------------------------------------- */

static int
cancel_child(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_task *child;
    int result = 0;

    CHECK_EQ(
        yula_task_spawn(loop, NULL, tasks_wait_forever, (void *)"x", &child),
        0);
    CHECK_EQ(yula_task_sleep(loop, 10), 0);
    yula_task_cancel(child);
    log_letter('c'); /* delivered later, not in here */
    CHECK_EQ(yula_task_join(child, &result), 0);
    return result;
}

TEST(a_cancelled_task_sees_it_at_the_await_point_it_is_in)
{
    CHECK_EQ(tasks_main(cancel_child, NULL), YULA_ECANCELED);
    CHECK_STR(log_text, "cx");
}

TEST(
    a_task_cancelled_before_it_starts_runs_and_sees_it_at_its_first_await_point)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;

    CHECK_EQ(
        yula_task_spawn(loop, NULL, tasks_wait_forever, (void *)"x", &task), 0);
    yula_task_cancel(task);
    tasks_run_dry(loop);
    CHECK_STR(log_text, "x");
    CHECK_EQ(yula_task_result(task), YULA_ECANCELED);
    yula_task_unref(task);
    tasks_end(loop);
}

static int
clean_up(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);

    CHECK_EQ(yula_task_sleep(loop, 1000), YULA_ECANCELED);
    log_letter('1');
    CHECK_EQ(yula_task_sleep(loop, 1000), 0); /* clean-up may wait */
    log_letter('2');
    CHECK_EQ(yula_task_sleep(loop, 100000), YULA_ECANCELED);
    log_letter('3');
    return 5;
}

TEST(a_cancel_interrupts_once_and_a_second_one_again)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;

    CHECK_EQ(yula_task_spawn(loop, NULL, clean_up, NULL, &task), 0);
    test_turn(loop);
    yula_task_cancel(task);
    yula_task_cancel(task); /* before it was delivered: the same */
    test_turn(loop);
    CHECK_STR(log_text, "1");
    test_now_ns += 1000;
    test_turn(loop);
    CHECK_STR(log_text, "12");
    yula_task_cancel(task);
    test_turn(loop);
    CHECK_STR(log_text, "123");
    CHECK_EQ(yula_task_result(task), 5);
    yula_task_cancel(task); /* has ended: nothing happens */
    yula_task_unref(task);
    tasks_end(loop);
}

static int
cancel_self(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);

    yula_task_cancel(task);
    CHECK_EQ(yula_task_sleep(loop, 10), YULA_ECANCELED);
    CHECK_EQ(yula_task_check(loop), 0);
    yula_task_cancel(task);
    CHECK_EQ(yula_task_check(loop), YULA_ECANCELED);
    yula_task_cancel(task);
    CHECK_EQ(yula_task_yield(loop), YULA_ECANCELED);
    return yula_task_sleep(loop, 10);
}

TEST(a_task_may_cancel_itself)
{
    CHECK_EQ(tasks_main(cancel_self, NULL), 0);
}

static int
join_cancelled(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_task *child;
    int result = 0;

    CHECK_EQ(yula_task_spawn(loop, NULL, seven_later, NULL, &child), 0);
    yula_task_cancel(task);
    CHECK_EQ(yula_task_join(child, &result), YULA_ECANCELED);
    CHECK_EQ(result, 0);
    CHECK(!yula_task_ended(child)); /* the child is not cancelled along */
    CHECK_EQ(yula_task_join(child, &result), 0);
    return result;
}

TEST(a_join_that_is_interrupted_keeps_the_reference_and_the_child)
{
    CHECK_EQ(tasks_main(join_cancelled, NULL), 7);
}

static int
cancelled_while_ready(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);

    int err = yula_task_sleep(loop, 10);
    log_letter(err == 0 ? 'r' : 'x');
    CHECK_EQ(yula_task_sleep(loop, 10), YULA_ECANCELED);
    return 0;
}

TEST(what_an_await_point_has_got_is_not_lost_to_a_cancel)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;

    CHECK_EQ(yula_task_spawn(loop, NULL, cancelled_while_ready, NULL, &task),
             0);
    test_turn(loop);
    /* As its timer would do; then it is cancelled before it runs. */
    CHECK(task->withdraw(task, task->withdraw_arg));
    yula_task_resume(task, 0);
    yula_task_cancel(task);
    tasks_run_dry(loop);
    CHECK_STR(log_text, "r");
    CHECK_EQ(yula_task_result(task), 0);
    yula_task_unref(task);
    tasks_end(loop);
}

/* --- await points -------------------------------------------------------- */

static int
suspend_here(yula_task *task, void *arg)
{
    int status = yula_task_suspend(task, "test", NULL, NULL);
    log_letter('r');
    return status;
}

TEST(a_suspended_task_gets_the_status_it_is_resumed_with)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;

    CHECK_EQ(yula_task_spawn(loop, NULL, suspend_here, NULL, &task), 0);
    test_turn(loop);
    CHECK_STR(log_text, "");
    yula_task_resume(task, 42);
    CHECK_STR(log_text, "");
    test_turn(loop);
    CHECK_STR(log_text, "r");
    CHECK_EQ(yula_task_result(task), 42);
    yula_task_unref(task);
    tasks_end(loop);
}

TEST(a_wait_that_cannot_be_withdrawn_keeps_the_cancel_for_the_next_await_point)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;

    CHECK_EQ(yula_task_spawn(loop, NULL, suspend_here, NULL, &task), 0);
    test_turn(loop);
    yula_task_cancel(task);
    test_turn(loop);
    CHECK_STR(log_text, "");
    yula_task_resume(task, 1);
    test_turn(loop);
    CHECK_EQ(yula_task_result(task), 1);
    CHECK(task->interrupted);
    yula_task_unref(task);
    tasks_end(loop);
}

static int
resumed_before(yula_task *task, void *arg)
{
    yula_task_resume(task, 9);
    return yula_task_suspend(task, "test", NULL, NULL);
}

TEST(a_task_resumed_before_it_suspends_does_not_wait)
{
    CHECK_EQ(tasks_main(resumed_before, NULL), 9);
}

static bool
withdraw_never(yula_task *task, void *arg)
{
    log_letter('w');
    return false;
}

static int
suspend_stubborn(yula_task *task, void *arg)
{
    int status = yula_task_suspend(task, "test", withdraw_never, NULL);
    CHECK_EQ(yula_task_check(yula_task_loop(task)), 0);
    return status;
}

TEST(a_wait_that_withdraws_later_delivers_the_cancel_then)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;

    CHECK_EQ(yula_task_spawn(loop, NULL, suspend_stubborn, NULL, &task), 0);
    test_turn(loop);
    yula_task_cancel(task);
    test_turn(loop);
    CHECK_STR(log_text, "w");
    CHECK(!yula_task_ended(task));
    yula_task_resume(task, YULA_ECANCELED);
    test_turn(loop);
    CHECK_EQ(yula_task_result(task), YULA_ECANCELED);
    yula_task_unref(task);
    tasks_end(loop);
}

/* --- the scheduler ------------------------------------------------------- */

typedef struct partner {
    yula_task *other;
    bool waits_first;
    long left;
    const bool *enough;
} partner;

static int
partner_body(yula_task *task, void *arg)
{
    partner *self = arg;

    if (self->waits_first)
        yula_task_suspend(task, "partner", NULL, NULL);
    while (self->left-- > 0 && !*self->enough) {
        yula_task_resume(self->other, 0);
        yula_task_suspend(task, "partner", NULL, NULL);
    }
    if (!yula_task_ended(self->other))
        yula_task_resume(self->other, 0);
    return 0;
}

static void
note(yula_work *work, void *arg)
{
    *(bool *)arg = true;
}

TEST(tasks_that_wake_each_other_for_ever_let_the_loop_do_other_work)
{
    yula_loop *loop = tasks_begin();
    yula_task *a, *b;
    yula_work work;
    bool noted = false;
    partner partners[2] = {{NULL, true, 100000, &noted},
                           {NULL, false, 100000, &noted}};

    CHECK_EQ(yula_task_spawn(loop, NULL, partner_body, &partners[0], &a), 0);
    CHECK_EQ(yula_task_spawn(loop, NULL, partner_body, &partners[1], &b), 0);
    partners[0].other = b;
    partners[1].other = a;
    test_turn(loop);
    yula_work_init(&work, YULA_LANE_HOST, note, &noted);
    yula_work_queue(loop, &work);
    tasks_run_dry(loop);
    CHECK(noted);
    CHECK(partners[0].left > 90000);
    yula_task_unref(a);
    yula_task_unref(b);
    tasks_end(loop);
}

static int
yielder(yula_task *task, void *arg)
{
    for (int i = 0; i < 3; i++) {
        log_letter(*(char *)arg);
        CHECK_EQ(yula_task_yield(yula_task_loop(task)), 0);
    }
    return 0;
}

TEST(tasks_that_yield_take_turns)
{
    yula_loop *loop = tasks_begin();

    tasks_spawn(loop, yielder, (void *)"a");
    tasks_spawn(loop, yielder, (void *)"b");
    tasks_spawn(loop, yielder, (void *)"c");
    tasks_end(loop);
    CHECK_STR(log_text, "abcabcabc");
}

static int
yield_until(yula_task *task, void *arg)
{
    int count = 0;
    while (!*(bool *)arg) {
        CHECK_EQ(yula_task_yield(yula_task_loop(task)), 0);
        count++;
    }
    return count;
}

TEST(a_task_that_yields_alone_lets_the_loop_poll_each_time)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;
    yula_work work;
    bool noted = false;

    CHECK_EQ(yula_task_spawn(loop, NULL, yield_until, &noted, &task), 0);
    test_turn(loop);
    yula_work_init(&work, YULA_LANE_HOST, note, &noted);
    yula_work_queue(loop, &work);
    tasks_run_dry(loop);
    CHECK(yula_task_result(task) <= 2);
    yula_task_unref(task);
    tasks_end(loop);
}

TEST(tasks_that_yield_to_each_other_let_the_loop_do_other_work)
{
    yula_loop *loop = tasks_begin();
    yula_task *tasks[2];
    yula_work work;
    bool noted = false;

    for (int i = 0; i < 2; i++)
        CHECK_EQ(yula_task_spawn(loop, NULL, yield_until, &noted, &tasks[i]),
                 0);
    test_turn(loop);
    yula_work_init(&work, YULA_LANE_HOST, note, &noted);
    yula_work_queue(loop, &work);
    test_turn(loop); /* ends, although they go on */
    test_turn(loop);
    CHECK(noted);
    tasks_run_dry(loop);
    for (int i = 0; i < 2; i++) {
        CHECK(yula_task_result(tasks[i]) > 0);
        yula_task_unref(tasks[i]);
    }
    tasks_end(loop);
}

static int
nested_inner(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);

    log_letter('i');
    CHECK(yula_task_current(loop) == task);
    yula_task_sleep(loop, 5);
    log_letter('I');
    return 0;
}

static int
nested_outer(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);

    tasks_spawn(loop, nested_inner, NULL);
    log_letter('o');
    while (log_text[strlen(log_text) - 1] != 'I') {
        CHECK(yula_task_current(loop) == task);
        test_now_ns += 1;
        CHECK_EQ(yula_loop_step(loop, 0), 0);
    }
    CHECK(yula_task_current(loop) == task);
    CHECK_EQ(yula_task_sleep(loop, 5), 0);
    log_letter('O');
    return 0;
}

TEST(a_task_may_run_the_loop_nested_and_other_tasks_run_in_it)
{
    yula_loop *loop = tasks_begin();

    tasks_spawn(loop, nested_outer, NULL);
    tasks_end(loop);
    CHECK_STR(log_text, "oiIO");
}

static int
break_loop(yula_task *task, void *arg)
{
    yula_loop_break(yula_task_loop(task), 77);
    return say(task, arg);
}

TEST(a_break_in_a_task_leaves_the_turn_before_the_next_task)
{
    yula_loop *loop = tasks_begin();

    tasks_spawn(loop, break_loop, (void *)"a");
    tasks_spawn(loop, say, (void *)"b");
    CHECK_EQ(yula_loop_step(loop, 0), 77);
    CHECK_STR(log_text, "a");
    tasks_end(loop);
    CHECK_STR(log_text, "ab");
}

TEST(a_loop_is_freed_with_tasks_that_never_ran_or_wait)
{
    yula_loop *loop = tasks_begin();

    tasks_spawn(loop, suspend_here, NULL);
    test_turn(loop);
    tasks_spawn(loop, say, (void *)"a");
    yula_loop_free(loop);
    CHECK_STR(log_text, "");
}

TEST(a_closed_loop_takes_no_tasks)
{
    yula_loop *loop = tasks_begin();

    yula_loop_forked(loop);
    CHECK_EQ(yula_task_spawn(loop, NULL, say, (void *)"a", NULL), YULA_ECLOSED);
    yula_loop_free(loop);
}

TEST(options_of_another_size_and_stacks_that_are_too_large_are_refused)
{
    yula_loop *loop = tasks_begin();
    yula_task_options options = {.size = sizeof(options) - 1};

    CHECK_EQ(yula_task_spawn(loop, &options, say, (void *)"a", NULL), -EINVAL);
    options.size = sizeof(options);
    options.stack_size = YULA_STACK_MAX + 1;
    CHECK_EQ(yula_task_spawn(loop, &options, say, (void *)"a", NULL), -EINVAL);
    CHECK_EQ(yula_task_count(loop), 0);
    tasks_end(loop);
}

/* --- programs ------------------------------------------------------------ */

static int
program(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);

    tasks_spawn(loop, tasks_wait_forever, (void *)"x");
    CHECK_EQ(yula_task_yield(loop), 0);
    log_letter('m');
    return 3;
}

TEST(a_program_ends_with_its_main_task_and_cancels_the_others)
{
    yula_loop *loop = tasks_begin();
    int result = 0;

    CHECK_EQ(yula_task_run(loop, NULL, program, NULL, &result), 0);
    CHECK_EQ(result, 3);
    CHECK_STR(log_text, "mx");
    tasks_end(loop);
}

TEST(a_program_whose_main_task_waits_for_nothing_that_can_happen_is_told_so)
{
    yula_loop *loop = tasks_begin();
    int result = 1;

    CHECK_EQ(
        yula_task_run(loop, NULL, tasks_wait_forever, (void *)"x", &result),
        -EDEADLK);
    CHECK_EQ(result, 1);
    CHECK_EQ(yula_task_count(loop), 1);
    yula_loop_free(loop);
}

TEST(a_work_is_queued_when_a_task_ends_or_at_once_when_it_has)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;
    yula_work work, other;
    bool ended = false;

    yula_work_init(&work, YULA_LANE_HOST, note, &ended);
    yula_work_init(&other, YULA_LANE_HOST, note, &ended);
    CHECK_EQ(yula_task_spawn(loop, NULL, seven_later, NULL, &task), 0);
    CHECK_EQ(yula_task_on_end(task, &work), 0);
    CHECK_EQ(yula_task_on_end(task, &other), -EBUSY);
    test_turn(loop);
    CHECK(!ended);
    tasks_run_dry(loop);
    CHECK(ended);
    ended = false;
    CHECK_EQ(yula_task_on_end(task, NULL), 0);
    CHECK_EQ(yula_task_on_end(task, &other), 0);
    test_turn(loop);
    CHECK(ended);
    yula_task_unref(task);
    tasks_end(loop);
}

/* --- looking ------------------------------------------------------------- */

typedef struct walk {
    int count;
    yula_task_info napper;
} walk;

static int
walk_visit(const yula_task_info *info, void *arg)
{
    walk *self = arg;
    self->count++;
    if (strcmp(info->name, "napper") == 0)
        self->napper = *info;
    return 0;
}

static int
walk_stop(const yula_task_info *info, void *arg)
{
    return 5;
}

TEST(a_walk_tells_what_each_task_waits_for)
{
    yula_loop *loop = tasks_begin();
    yula_task_options options = {.size = sizeof(options), .name = "napper"};
    walk seen = {0};

    CHECK_EQ(yula_task_spawn(loop, &options, sleeper, (void *)"a1", NULL), 0);
    tasks_spawn(loop, say, (void *)"b");
    CHECK_EQ(yula_task_visit(loop, walk_visit, &seen), 0);
    CHECK_EQ(seen.count, 2);
    CHECK_EQ(seen.napper.state, YULA_TASK_READY);
    CHECK_STR(seen.napper.waits_for, "");
    CHECK_EQ(yula_task_visit(loop, walk_stop, NULL), 5);
    test_turn(loop);
    CHECK_EQ(yula_task_visit(loop, walk_visit, &seen), 0);
    CHECK_EQ(seen.count, 3);
    CHECK_EQ(seen.napper.state, YULA_TASK_WAITING);
    CHECK_STR(seen.napper.waits_for, "sleep");
    CHECK(seen.napper.waited_ns >= 0);
    CHECK(seen.napper.stack_used > 0);
    CHECK(seen.napper.stack_used < seen.napper.stack_size);
    tasks_end(loop);
}

TEST(a_dump_has_a_line_for_each_task)
{
    yula_loop *loop = tasks_begin();
    yula_task_options options = {
        .size = sizeof(options),
        .name = "name of 31 letters, and then it is cut"};
    char text[1024];
    int fds[2];

    CHECK_EQ(pipe(fds), 0);
    CHECK_EQ(yula_task_spawn(loop, &options, sleeper, (void *)"a1", NULL), 0);
    tasks_spawn(loop, say, (void *)"b");
    CHECK_EQ(yula_task_dump(loop, fds[1]), 0);
    test_turn(loop);
    CHECK_EQ(yula_task_dump(loop, fds[1]), 0);
    close(fds[1]);
    ssize_t len = read(fds[0], text, sizeof(text) - 1);
    CHECK(len > 0);
    text[len] = '\0';
    close(fds[0]);
    CHECK(strstr(text, "\"name of 31 letters, and then it\": ready") != NULL);
    CHECK(strstr(text, "waits for sleep since") != NULL);
    CHECK_EQ(yula_task_dump(loop, -1), -EBADF);
    tasks_end(loop);
}
