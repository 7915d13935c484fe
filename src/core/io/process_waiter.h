/* process_waiter.h: threads that wait for the end of a child. */
#ifndef YULA__PROCESS_WAITER_H
#define YULA__PROCESS_WAITER_H

#include "base/sys_process.h"
#include "loop/loop_i.h"

typedef struct yula__process_waiter yula__process_waiter;

/* Wait for a child on a thread of its own, and then call cb(arg) once on the loop:
 * there is something to collect. Returns 0, -ENOMEM, -EAGAIN. */
int yula__process_waiter_new(yula_loop *loop, yula_lane lane, pid_t pid,
                             void (*cb)(void *arg), void *arg,
                             yula__process_waiter **out);

/* The loop is being freed: cb is not called, and the child is collected by the
 * thread. */
void yula__process_waiter_leave(yula__process_waiter *waiter);

/* Collect a child on a thread of its own. */
void yula__process_adopt(pid_t pid);

#endif /* YULA__PROCESS_WAITER_H */
