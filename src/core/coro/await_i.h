/* await_i.h: what the await_*.c share. */
#ifndef YULA__AWAIT_I_H
#define YULA__AWAIT_I_H

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

#endif /* YULA__AWAIT_I_H */
