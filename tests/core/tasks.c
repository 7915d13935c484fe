/* tasks.c: see tasks.h. */
#include "tasks.h"

#include <string.h>

#include "support.h"
#include "test.h"

char log_text[1024];

void
log_letter(char letter)
{
    size_t len = strlen(log_text);
    CHECK(len + 1 < sizeof(log_text));
    log_text[len] = letter;
    log_text[len + 1] = '\0';
}

yula_loop *
tasks_begin(void)
{
    log_text[0] = '\0';
    return test_loop_by_hand();
}

void
tasks_run_dry(yula_loop *loop)
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

void
tasks_end(yula_loop *loop)
{
    yula_stack_stats stats;

    tasks_run_dry(loop);
    CHECK_EQ(yula_task_count(loop), 0);
    yula_stack_get_stats(loop, &stats);
    CHECK_EQ(stats.in_use, 0);
    yula_loop_free(loop);
}

void
tasks_spawn(yula_loop *loop, yula_task_cb body, void *arg)
{
    CHECK_EQ(yula_task_spawn(loop, NULL, body, arg, NULL), 0);
}

int
tasks_main(yula_task_cb body, void *arg)
{
    yula_loop *loop = tasks_begin();
    yula_task *task;

    CHECK_EQ(yula_task_spawn(loop, NULL, body, arg, &task), 0);
    tasks_run_dry(loop);
    CHECK(yula_task_ended(task));
    int result = yula_task_result(task);
    yula_task_unref(task);
    tasks_end(loop);
    return result;
}

int
tasks_wait_forever(yula_task *task, void *arg)
{
    int err = yula_task_sleep_until(yula_task_loop(task), YULA_NEVER);
    log_letter(*(const char *)arg);
    return err;
}
