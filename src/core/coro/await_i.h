/* await_i.h: what the await_*.c share. */
#ifndef YULA__AWAIT_I_H
#define YULA__AWAIT_I_H

#include <stdatomic.h>

#include <yula/await.h>

#include "coro/task_i.h"

/* The lane of what calls back to the current task: yula_task_resume asks for
 * that one. */
static inline yula_lane
yula__await_lane(const yula_loop *loop)
{
    const yula_task *task = yula_task_current(loop);

    return task != NULL ? (yula_lane)task->lane : YULA_LANE_NATIVE;
}

/* yula_task_check, for calls that are made all the time. */
static inline int
yula__await_check(yula_loop *loop)
{
    const yula_task *task = loop->tasks != NULL ? loop->tasks->current : NULL;

    return task != NULL && task->interrupted ? yula_task_check(loop) : 0;
}

/* await_work.c: yula_await_work for functions that can stop early.
 *
 * stop       NULL, or set when the task is interrupted while run runs, which may
 *            then return YULA_ECANCELED: the call does so, too.
 * waits_for  as for yula_task_suspend.
 */
int yula__await_work(yula_loop *loop, yula_await_work_cb run, void *arg,
                     atomic_bool *stop, const char *waits_for);

/* await_file.c: count what was done without waiting, bytes; every so often let
 * other tasks run, who would never have their turn. Returns 0 or YULA_ECANCELED. */
int yula__await_give_way(yula_loop *loop, size_t len);

#endif /* YULA__AWAIT_I_H */
