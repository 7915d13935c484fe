/* sync_line.c: lines of waiting tasks.
 *
 *  I1. A waiter is in a line, and says which, from before its task suspends
 *      until it is woken or withdrawn; both take it out first.
 *  I2. Woken is woken: yula_task_resume has been called by then, and a later
 *      interruption of the task does not reach this wait any more (task.h).
 * Thread: loop.
 */
#include "coro/sync_i.h"

#include <assert.h>

void
yula__line_append(yula_wait_list *list, yula_waiter *waiter)
{
    waiter->list = list;
    waiter->next = NULL;
    waiter->prev = list->last;
    if (list->last != NULL)
        list->last->next = waiter;
    else
        list->first = waiter;
    list->last = waiter;
}

void
yula__line_remove(yula_waiter *waiter)
{
    yula_wait_list *list = waiter->list;

    assert(list != NULL);
    if (waiter->prev != NULL)
        waiter->prev->next = waiter->next;
    else
        list->first = waiter->next;
    if (waiter->next != NULL)
        waiter->next->prev = waiter->prev;
    else
        list->last = waiter->prev;
    waiter->list = NULL;
}

static bool
line_withdraw(yula_task *task, void *arg)
{
    yula__line_remove(arg);
    return true;
}

int
yula__line_wait(yula_loop *loop, yula_wait_list *list, void *data,
                const char *waits_for)
{
    yula_waiter waiter = {.task = yula_task_current(loop), .data = data};

    yula__line_append(list, &waiter);
    return yula_task_suspend(waiter.task, waits_for, line_withdraw, &waiter);
}

void
yula__line_wake(yula_waiter *waiter, int status)
{
    yula__line_remove(waiter);
    yula_task_resume(waiter->task, status);
}

void
yula__line_wake_all(yula_wait_list *list, int status)
{
    while (list->first != NULL)
        yula__line_wake(list->first, status);
}
