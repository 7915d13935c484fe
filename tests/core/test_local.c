/* test_local.c: values that belong to a task. */
#include <yula/local.h> /* first: it must stand alone */

#include <errno.h>
#include <string.h>

#include "coro/task_i.h"
#include "support.h"
#include "tasks.h"
#include "test.h"

static int live; /* values held by tasks */

static void *
value_inherit(void *value)
{
    live++;
    return value;
}

static void
value_drop(void *value)
{
    live--;
    log_letter(*(char *)value);
}

static const yula_local inherited = {.inherit = value_inherit,
                                     .drop = value_drop};
static const yula_local own = {.drop = value_drop};
static const yula_local plain = {NULL, NULL};

static void
set(yula_loop *loop, const yula_local *key, const char *value)
{
    CHECK_EQ(yula_local_set(loop, key, (void *)value), 0);
    live++;
}

static int
child(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);

    CHECK_STR(yula_local_get(loop, &inherited), "i");
    CHECK(yula_local_get(loop, &own) == NULL);
    set(loop, &inherited, "j"); /* drops "i" */
    return 0;
}

static int
parent(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_task *other;

    CHECK(yula_local_get(loop, &own) == NULL);
    set(loop, &own, "o");
    set(loop, &inherited, "i");
    CHECK_EQ(yula_task_spawn(loop, NULL, child, NULL, &other), 0);
    CHECK_EQ(yula_task_join(other, NULL), 0);
    CHECK_STR(log_text, "ij");
    CHECK_STR(yula_local_get(loop, &inherited), "i");
    CHECK_EQ(yula_local_set(loop, &own, NULL), 0);
    CHECK_STR(log_text, "ijo");
    CHECK(yula_local_get(loop, &own) == NULL);
    CHECK_STR(yula_local_get(loop, &inherited), "i");
    return 0;
}

TEST(values_are_dropped_when_they_are_replaced_or_their_task_ends)
{
    live = 0;
    CHECK_EQ(tasks_main(parent, NULL), 0);
    CHECK_STR(log_text, "ijoi");
    CHECK_EQ(live, 0);
}

static int
many(yula_task *task, void *arg)
{
    static const yula_local keys[20];
    yula_loop *loop = yula_task_loop(task);
    static char values[20];

    for (int i = 0; i < 20; i++)
        CHECK_EQ(yula_local_set(loop, &keys[i], &values[i]), 0);
    for (int i = 0; i < 20; i++)
        CHECK(yula_local_get(loop, &keys[i]) == &values[i]);
    CHECK(yula_local_get(loop, &plain) == NULL);
    return 0;
}

TEST(a_task_holds_many_values)
{
    CHECK_EQ(tasks_main(many, NULL), 0);
}

static int
without_memory(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);

    test_fail_alloc(1);
    CHECK_EQ(yula_local_set(loop, &own, arg), -ENOMEM);
    CHECK(yula_local_get(loop, &own) == NULL);
    CHECK_EQ(yula_local_set(loop, &inherited, arg), 0);
    live++;
    test_fail_alloc(1);
    CHECK_EQ(yula_task_spawn(loop, NULL, child, NULL, NULL), -ENOMEM);
    CHECK_EQ(live, 1);
    return 0;
}

TEST(a_value_without_memory_stays_the_callers)
{
    live = 0;
    CHECK_EQ(tasks_main(without_memory, (void *)"v"), 0);
    CHECK_STR(log_text, "v");
    CHECK_EQ(live, 0);
}

TEST(outside_of_a_task_there_are_no_values)
{
    yula_loop *loop = tasks_begin();

    CHECK(yula_local_get(loop, &own) == NULL);
    CHECK_EQ(yula_local_set(loop, &own, (void *)"v"), -EINVAL);
    tasks_end(loop);
}

static int
set_and_wait(yula_task *task, void *arg)
{
    set(yula_task_loop(task), &plain, arg);
    return tasks_wait_forever(task, arg);
}

TEST(values_of_a_task_that_never_ends_go_with_the_loop)
{
    yula_loop *loop = tasks_begin();

    tasks_spawn(loop, set_and_wait, (void *)"x");
    test_turn(loop);
    yula_loop_free(loop); /* the harness counts what is left */
    CHECK_STR(log_text, "");
}
