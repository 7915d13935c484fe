/* actors.c: see actors.h. */
#include "actors.h"

#include <stdio.h>
#include <string.h>

#include "coro/task_i.h"
#include "support.h"
#include "test.h"

/* --- the log ------------------------------------------------------------- */

static char log_text[4096];
static size_t log_len;

void
actor_note(const actor *self, const char *what)
{
    size_t room = sizeof(log_text) - log_len;
    int len = snprintf(log_text + log_len, room, "%s %s. ", self->name, what);

    CHECK(len >= 0 && (size_t)len < room);
    log_len += (size_t)len;
}

const char *
actor_log(void)
{
    static char last[sizeof(log_text)];

    memcpy(last, log_text, log_len);
    last[log_len] = '\0';
    log_len = 0;
    return last;
}

/* --- playing ------------------------------------------------------------- */

static int
actor_main(yula_task *task, void *arg)
{
    actor *self = arg;

    return self->play(self, self->arg);
}

void
actor_start(actor *self, yula_loop *loop, const char *name,
            int (*play)(actor *self, void *arg), void *arg)
{
    yula_task_options options = {.size = sizeof(options), .name = name};

    *self = (actor){.name = name, .loop = loop, .play = play, .arg = arg};
    CHECK_EQ(yula_task_spawn(loop, &options, actor_main, self, &self->task), 0);
}

void
settle(yula_loop *loop)
{
    for (int turn = 0; turn < 8; turn++)
        test_turn(loop);
}

int
actor_end(actor *self)
{
    while (!yula_task_ended(self->task))
        CHECK_EQ(yula_loop_step(self->loop, YULA_NEVER), 0);
    test_loop_check(self->loop);
    int result = yula_task_result(self->task);
    yula_task_unref(self->task);
    self->task = NULL;
    return result;
}

int
actor_alone(int (*play)(actor *self, void *arg), void *arg)
{
    yula_loop *loop = test_loop();
    actor self;

    actor_start(&self, loop, "alone", play, arg);
    int result = actor_end(&self);
    CHECK_EQ(yula_task_count(loop), 0);
    yula_loop_free(loop);
    return result;
}

/* --- interrupting -------------------------------------------------------- */

static struct {
    long left; /* waits until the one to interrupt */
    yula_task *task;
    yula_work work;
} victim;

/* As soon as control is back on the loop's stack: the task waits still, or what
 * it waited for has just been granted. */
static void
victim_cancel(yula_work *work, void *arg)
{
    yula_task_cancel(victim.task);
    yula_task_unref(victim.task);
}

static void
victim_choose(yula_task *task)
{
    if (task->state == YULA_TASK_ENDED || --victim.left != 0)
        return;
    victim.task = yula_task_ref(task);
    yula_work_init(&victim.work, YULA_LANE_NATIVE, victim_cancel, NULL);
    yula_loop_defer(yula_task_loop(task), &victim.work);
}

int
actor_interrupt_everywhere(void (*scene)(yula_loop *loop))
{
    long memory = test_memory_live();
    int rounds = 0, fds = test_descriptors();

    for (;;) {
        yula_loop *loop = test_loop();
        victim.left = rounds + 1;
        yula__task_switch_hook = victim_choose;
        scene(loop);
        yula__task_switch_hook = NULL;
        CHECK_EQ(yula_task_count(loop), 0);
        yula_loop_free(loop);
        CHECK_EQ(test_memory_live(), memory);
        CHECK_EQ(test_descriptors(), fds);
        if (victim.left > 0)
            return rounds;
        rounds++;
    }
}
