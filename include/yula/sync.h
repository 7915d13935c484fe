/* sync.h: what the tasks of one loop wait for each other with: event, mutex,
 * semaphore, condition, bounded queue.
 *
 * Everything here is embedded by its user, belongs to one loop (and to tasks of
 * one lane), and allocates nothing: a task that waits is linked through its own
 * stack. Nothing needs to be given back; nobody may be waiting when the memory
 * goes.
 *
 * Who waits is served in order of arrival: what becomes free is handed to the
 * first in line, and whoever comes later cannot overtake. A hand-over is not
 * lost: a task that was granted something before it was cancelled gets it, and
 * hears of the cancellation at its next await.
 *
 * Functions that wait return YULA_ECANCELED when the task is interrupted: by
 * yula_task_cancel, a deadline or a group (task.h, scope.h, group.h); also at
 * once, when that was so before. Then nothing was taken.
 */
#ifndef YULA_SYNC_H
#define YULA_SYNC_H

#include <stddef.h>

#include <yula/task.h>

YULA_BEGIN

typedef struct yula_waiter yula_waiter;

/* One task in line. Complete, because the structs below and the cases of
 * yula_channel_select contain it; written by libyula only. */
struct yula_waiter {
    yula_waiter *next; /* in line behind this one */
    yula_waiter *prev;
    struct yula_wait_list *list; /* NULL while in no line */
    yula_task *task;
    void *data;  /* what it brings, or where it wants it */
    void *group; /* the select it is part of */
    int status;  /* what its wait will return */
    uint32_t reserved;
};

/* A line. Zeroed is empty. */
typedef struct yula_wait_list {
    yula_waiter *first;
    yula_waiter *last;
} yula_wait_list;

/* --- event --------------------------------------------------------------- */

/* Something that has happened, or not yet. */
typedef struct yula_event {
    yula_loop *loop;
    yula_wait_list waiting;
    bool is_set; /* to be read; yula_event_set writes it */
} yula_event;

/* It has not happened yet.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API void yula_event_init(yula_loop *loop, yula_event *event);

/* It has happened: all that wait go on, and nobody waits until
 * yula_event_clear.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_event_set(yula_event *event);
YULA_API void yula_event_clear(yula_event *event);

/* Wait until the event is set; go on also if it is cleared again meanwhile.
 *
 * Returns 0, YULA_ECANCELED.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_event_wait(yula_event *event);

/* --- mutex --------------------------------------------------------------- */

/* One task at a time, across awaits. */
typedef struct yula_mutex {
    yula_loop *loop;
    yula_wait_list waiting;
    yula_task *owner; /* NULL while free */
} yula_mutex;

/* Free at first.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API void yula_mutex_init(yula_loop *loop, yula_mutex *mutex);

/* Wait until the mutex is free, and have it.
 *
 * Returns 0, YULA_ECANCELED, -EDEADLK (the caller has it), -EPERM (not in a task).
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_mutex_lock(yula_mutex *mutex);

/* Have the mutex if it is free. Returns 0, -EBUSY (somebody has it), or -EPERM
 * (not in a task).
 * Thread: loop, in a task.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_mutex_try_lock(yula_mutex *mutex);

/* Hand the mutex to the first in line, or set it free.
 *
 * Returns 0, or -EPERM (the caller does not have it).
 * Thread: loop, in a task.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_mutex_unlock(yula_mutex *mutex);

/* --- semaphore ----------------------------------------------------------- */

/* So many at a time. */
typedef struct yula_semaphore {
    yula_loop *loop;
    yula_wait_list waiting;
    size_t free; /* to be read; 0 whenever somebody waits */
} yula_semaphore;

/* free  how many can be taken before the first must wait.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_semaphore_init(yula_loop *loop, yula_semaphore *semaphore,
                                  size_t free);

/* Take one. Returns 0, YULA_ECANCELED.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_semaphore_acquire(yula_semaphore *semaphore);

/* Take one if there is one: 0, else -EAGAIN.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_semaphore_try_acquire(yula_semaphore *semaphore);

/* Give one back, or one more: to the first in line, if there is a line. Need
 * not be the task that took it, nor a task at all.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_semaphore_release(yula_semaphore *semaphore);

/* --- condition ----------------------------------------------------------- */

/* A line in front of a mutex. */
typedef struct yula_condition {
    yula_wait_list waiting;
} yula_condition;

/* Nobody waits at first.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API void yula_condition_init(yula_condition *condition);

/* Set the mutex free, wait to be notified, and have the mutex again. There are
 * no spurious wake-ups, but another task may have had the mutex in between:
 * look at what you wait for in a loop.
 *
 *     while (!ready && (err = yula_condition_wait(&changed, &mutex)) == 0)
 *         ;
 *
 * The caller has the mutex on return whatever the result, also after it was
 * cancelled, however long that takes. A task that was notified first and
 * cancelled afterwards gets 0: the notification is not lost.
 *
 * Returns 0, YULA_ECANCELED, -EPERM (the caller does not have the
 * mutex; nothing was done).
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_condition_wait(yula_condition *condition, yula_mutex *mutex);

/* Let the first count in line go on, as they get the mutex; SIZE_MAX for all.
 * The caller need not have the mutex.
 *
 * Returns how many did.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API size_t yula_condition_notify(yula_condition *condition, size_t count);

/* --- bounded queue ------------------------------------------------------- */

/* Pointers, first in, first out. For other items, for no room at all and for
 * waiting on several at once there are channels (channel.h). */
typedef struct yula_queue {
    yula_loop *loop;
    yula_wait_list getters;
    yula_wait_list putters;
    yula_wait_list joiners;
    void **slots; /* the user's */
    size_t capacity;
    size_t first;  /* slot of the oldest item */
    size_t count;  /* items in slots; to be read */
    size_t undone; /* put, and not reported done */
    bool closed;
} yula_queue;

/* slots     memory for capacity pointers; borrowed as long as the queue.
 * capacity  at least 1.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_queue_init(yula_loop *loop, yula_queue *queue, void **slots,
                              size_t capacity);

/* Put an item in; wait while the queue is full.
 *
 * Returns 0, YULA_ECANCELED, -EPIPE (closed). The item is the
 * queue's only after 0.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_queue_put(yula_queue *queue, void *item);

/* Put an item in without waiting, in a task or not.
 *
 * Returns 0, -EAGAIN (the queue is full), -EPIPE (closed).
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API int yula_queue_try_put(yula_queue *queue, void *item);

/* Take the oldest item out; wait while there is none.
 *
 * out  receives the item; untouched on failure.
 *
 * Returns 0, YULA_ECANCELED, YULA_EOF (closed, and empty).
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_queue_get(yula_queue *queue, void **out);

/* Take the oldest item out without waiting, in a task or not.
 *
 * Returns 0, -EAGAIN (the queue is empty), YULA_EOF (closed, and empty).
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API int yula_queue_try_get(yula_queue *queue, void **out);

/* No more items: putters get -EPIPE, getters the items that are left and then
 * YULA_EOF. Closing twice does nothing.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_queue_close(yula_queue *queue);

/* One item that was taken out has been dealt with. Once for each item.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API void yula_queue_done(yula_queue *queue);

/* Wait until every item put in so far has been reported by yula_queue_done.
 *
 * Returns 0, YULA_ECANCELED.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_queue_join(yula_queue *queue);

YULA_END

#endif /* YULA_SYNC_H */
