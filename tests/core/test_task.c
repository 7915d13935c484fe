/* test_task.c: spawning, awaiting and cancelling tasks. */
#include <yula/task.h> /* first: it must stand alone */

#include <errno.h>
#include <string.h>

#include "coro/task_i.h"
#include "support.h"
#include "test.h"

/* What happened, in order, as letters. */
static char log_text[256];

static void
log_letter(char letter)
{
    size_t len = strlen(log_text);
    CHECK(len + 1 < sizeof(log_text));
    log_text[len] = letter;
    log_text[len + 1] = '\0';
}

static yula_loop *
begin(void)
{
    log_text[0] = '\0';
    return test_loop_by_hand();
}

/* Run turns, moving the clock by hand to the next timer, until nothing is left
 * to do. */
static void
run(yula_loop *loop)
{
    for (;;) {
        int64_t next_ns = yula_loop_next_deadline(loop);
        if (next_ns == YULA_NEVER)
            return;
        if (next_ns > test_now_ns)
            test_now_ns = next_ns;
        test_turn(loop);
    }
}

static void
end(yula_loop *loop)
{
    run(loop);
    CHECK_EQ(yula_task_count(loop), 0);
    yula_stack_stats stats;
    yula_stack_get_stats(loop, &stats);
    CHECK_EQ(stats.in_use, 0);
    yula_loop_free(loop);
}

static int
say(yula_task *task, void *arg)
{
    log_letter(*(char *)arg);
    return 0;
}

TEST(a_task_starts_when_control_is_back_in_the_loop)
{
    yula_loop *loop = begin();

    CHECK_EQ(yula_task_spawn(loop, NULL, say, (void *)"a", NULL), 0);
    CHECK_STR(log_text, "");
    test_turn(loop);
    CHECK_STR(log_text, "a");
    end(loop);
}

TEST(tasks_start_in_the_order_of_spawning)
{
    yula_loop *loop = begin();

    CHECK_EQ(yula_task_spawn(loop, NULL, say, (void *)"a", NULL), 0);
    CHECK_EQ(yula_task_spawn(loop, NULL, say, (void *)"b", NULL), 0);
    CHECK_EQ(yula_task_spawn(loop, NULL, say, (void *)"c", NULL), 0);
    end(loop);
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
    yula_loop *loop = begin();

    CHECK_EQ(yula_task_spawn(loop, NULL, sleeper, (void *)"a3", NULL), 0);
    CHECK_EQ(yula_task_spawn(loop, NULL, sleeper, (void *)"b1", NULL), 0);
    CHECK_EQ(yula_task_spawn(loop, NULL, sleeper, (void *)"c2", NULL), 0);
    end(loop);
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
    yula_loop *loop = begin();
    int result = 0;

    CHECK_EQ(yula_task_spawn(loop, NULL, joiner, &result, NULL), 0);
    end(loop);
    CHECK_EQ(result, 7);
}
