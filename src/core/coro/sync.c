/* sync.c: event, mutex, semaphore, condition.
 *
 *  I1. What becomes free while somebody waits is the first waiter's at once: a
 *      mutex with a line has an owner, a semaphore with a line has none free.
 *  I2. The owner of a mutex is the task that will run with it, also between
 *      the hand-over and its turn.
 *  I3. A waiter of a condition has left the mutex; it goes on only as the owner,
 *      so it moves, notified or interrupted, from the condition's line into the
 *      mutex's, where no interruption reaches it.
 * Thread: loop.
 */
#include "coro/sync_i.h"

/* --- event --------------------------------------------------------------- */

void
yula_event_init(yula_loop *loop, yula_event *event)
{
    *event = (yula_event){.loop = loop};
}

void
yula_event_set(yula_event *event)
{
    event->is_set = true;
    yula__line_wake_all(&event->waiting, 0);
}

void
yula_event_clear(yula_event *event)
{
    event->is_set = false;
}

int
yula_event_wait(yula_event *event)
{
    if (event->is_set)
        return yula__await_check(event->loop);
    return yula__line_wait(event->loop, &event->waiting, NULL, "event");
}

/* --- mutex --------------------------------------------------------------- */

void
yula_mutex_init(yula_loop *loop, yula_mutex *mutex)
{
    *mutex = (yula_mutex){.loop = loop};
}

int
yula_mutex_try_lock(yula_mutex *mutex)
{
    yula_task *task = yula_task_current(mutex->loop);

    if (mutex->owner != NULL)
        return -EBUSY;
    mutex->owner = task;
    return task != NULL ? 0 : -EPERM;
}

int
yula_mutex_lock(yula_mutex *mutex)
{
    if (mutex->owner == NULL) {
        int err = yula__await_check(mutex->loop);
        return err < 0 ? err : yula_mutex_try_lock(mutex);
    }
    if (mutex->owner == yula_task_current(mutex->loop))
        return -EDEADLK;
    return yula__line_wait(mutex->loop, &mutex->waiting, NULL, "mutex");
}

static void
mutex_hand_over(yula_mutex *mutex)
{
    yula_waiter *next = mutex->waiting.first;

    mutex->owner = next != NULL ? next->task : NULL;
    if (next != NULL)
        yula__line_wake(next, next->status);
}

int
yula_mutex_unlock(yula_mutex *mutex)
{
    if (mutex->owner == NULL || mutex->owner != yula_task_current(mutex->loop))
        return -EPERM;
    mutex_hand_over(mutex);
    return 0;
}

/* --- semaphore ----------------------------------------------------------- */

void
yula_semaphore_init(yula_loop *loop, yula_semaphore *semaphore, size_t free)
{
    *semaphore = (yula_semaphore){.loop = loop, .free = free};
}

int
yula_semaphore_try_acquire(yula_semaphore *semaphore)
{
    if (semaphore->free == 0)
        return -EAGAIN;
    semaphore->free--;
    return 0;
}

int
yula_semaphore_acquire(yula_semaphore *semaphore)
{
    if (semaphore->free > 0) {
        int err = yula__await_check(semaphore->loop);
        return err < 0 ? err : yula_semaphore_try_acquire(semaphore);
    }
    return yula__line_wait(semaphore->loop, &semaphore->waiting, NULL,
                           "semaphore");
}

void
yula_semaphore_release(yula_semaphore *semaphore)
{
    if (semaphore->waiting.first != NULL)
        yula__line_wake(semaphore->waiting.first, 0);
    else
        semaphore->free++;
}

/* --- condition ----------------------------------------------------------- */

void
yula_condition_init(yula_condition *condition)
{
    *condition = (yula_condition){.waiting = {NULL, NULL}};
}

/* I3. Returns whether the mutex was free, and is the waiter's now. */
static bool
condition_waiter_leave(yula_waiter *waiter, int status)
{
    yula_mutex *mutex = waiter->data;

    yula__line_remove(waiter);
    waiter->status = status;
    if (mutex->owner == NULL) {
        mutex->owner = waiter->task;
        return true;
    }
    yula__line_append(&mutex->waiting, waiter);
    return false;
}

/* Interrupted. If it was notified first, that stands. */
static bool
condition_withdraw(yula_task *task, void *arg)
{
    yula_waiter *waiter = arg;
    yula_mutex *mutex = waiter->data;

    if (waiter->list == &mutex->waiting)
        return false;
    return condition_waiter_leave(waiter, YULA_ECANCELED);
}

int
yula_condition_wait(yula_condition *condition, yula_mutex *mutex)
{
    yula_waiter waiter = {.task = yula_task_current(mutex->loop),
                          .data = mutex};

    if (waiter.task == NULL || mutex->owner != waiter.task)
        return -EPERM;
    int err = yula__await_check(mutex->loop);
    if (err < 0)
        return err;
    yula__line_append(&condition->waiting, &waiter);
    mutex_hand_over(mutex);
    return yula_task_suspend(waiter.task, "condition", condition_withdraw,
                             &waiter);
}

size_t
yula_condition_notify(yula_condition *condition, size_t count)
{
    size_t notified = 0;

    for (; notified < count && condition->waiting.first != NULL; notified++) {
        yula_waiter *waiter = condition->waiting.first;
        if (condition_waiter_leave(waiter, 0))
            yula_task_resume(waiter->task, 0);
    }
    return notified;
}
