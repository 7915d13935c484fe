/* sync_i.h: lines of waiting tasks, for whatever tasks wait for. */
#ifndef YULA__SYNC_I_H
#define YULA__SYNC_I_H

#include <yula/sync.h>

#include "coro/await_i.h"

void yula__line_append(yula_wait_list *list, yula_waiter *waiter);
void yula__line_remove(yula_waiter *waiter);

/* The current task waits in a line until yula__line_wake. data is for whoever
 * wakes; waits_for as for yula_task_suspend.
 *
 * Returns the status given there, or YULA_ECANCELED: then it has left the line.
 */
int yula__line_wait(yula_loop *loop, yula_wait_list *list, void *data,
                    const char *waits_for);

/* Let a waiter go on, out of its line. Once: then it belongs to its task. */
void yula__line_wake(yula_waiter *waiter, int status);
void yula__line_wake_all(yula_wait_list *list, int status);

#endif /* YULA__SYNC_I_H */
