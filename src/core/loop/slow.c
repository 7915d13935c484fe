/* slow.c: who keeps the loop to itself for too long.
 *
 *  I1. slow_since_ns is when the callback or task that runs now began to; it moves
 *      at every look. The time asleep is in nobody's span: a batch begins anew.
 *  I2. While nobody watches (slow_ns is 0) the hot paths pay one test a batch, and
 *      one where the tasks leave.
 * Thread: loop.
 */
#include <stdio.h>

#include "loop/loop_i.h"

static void
slow_tell(yula_loop *loop, const char *task, int64_t took_ns, void *arg)
{
    double took_ms = (double)took_ns / 1e6;

    if (task != NULL)
        fprintf(stderr, "yula: the task \"%s\" held the loop for %.0f ms\n",
                task, took_ms);
    else
        fprintf(stderr, "yula: a callback held the loop for %.0f ms\n",
                took_ms);
}

void
yula_loop_watch_slow(yula_loop *loop, int64_t limit_ns, yula_slow_cb cb,
                     void *arg)
{
    loop->slow_ns = limit_ns;
    loop->slow_cb = cb != NULL ? cb : slow_tell;
    loop->slow_arg = arg;
    loop->slow_since_ns = yula_loop_now(loop);
    yula__tasks_look_at_each(loop);
}

void
yula__slow_look(yula_loop *loop, const char *task)
{
    int64_t now = yula_loop_now(loop);
    int64_t took_ns = now - loop->slow_since_ns;

    loop->slow_since_ns = now;
    if (took_ns <= loop->slow_ns)
        return;
    loop->slow_cb(loop, task, took_ns, loop->slow_arg);
    loop->slow_since_ns = yula_loop_now(loop);
}
