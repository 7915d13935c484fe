/* channel.h: items of one size from task to task, with or without room between
 * them, and waiting for several channels at once.
 *
 * A channel belongs to one loop. Between loops there are mailboxes (mailbox.h).
 * Order and hand-over are as in sync.h: first come, first served, and an item
 * is never lost: a send that returned 0 was received, or lies in the channel.
 */
#ifndef YULA_CHANNEL_H
#define YULA_CHANNEL_H

#include <yula/sync.h>

YULA_BEGIN

typedef struct yula_channel yula_channel;

/* Make a channel, open, empty.
 *
 * item_size  bytes of one item; 0 for a channel that carries only the moment.
 * capacity   items that can lie in it; 0: a send waits for its receive.
 * out        receives the channel, freed with yula_channel_free.
 *
 * Returns 0, -ENOMEM, -EOVERFLOW (no such amount of memory).
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_channel_new(yula_loop *loop, size_t item_size,
                              size_t capacity, yula_channel **out);

/* Free a channel on which nobody waits, with the items that lie in it. NULL is
 * fine.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_channel_free(yula_channel *channel);

/* Send a copy of the item; wait while there is no room and no receiver.
 *
 * Returns 0, YULA_ECANCELED, -EPIPE (closed).
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_channel_send(yula_channel *channel, const void *item);

/* Receive the oldest item; wait while there is none.
 *
 * item  receives it; untouched on failure.
 *
 * Returns 0, YULA_ECANCELED, YULA_EOF (closed, and empty).
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_channel_recv(yula_channel *channel, void *item);

/* Send, receive without waiting, in a task or not.
 *
 * Returns as yula_channel_send and yula_channel_recv; -EAGAIN where they would wait.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API int yula_channel_try_send(yula_channel *channel, const void *item);
YULA_API int yula_channel_try_recv(yula_channel *channel, void *item);

/* No more items: senders get -EPIPE, receivers what is left and then YULA_EOF.
 * Closing twice does nothing.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_channel_close(yula_channel *channel);

/* Items that lie in the channel. Thread: loop. */
YULA_API size_t yula_channel_count(const yula_channel *channel);

/* --- several at once ----------------------------------------------------- */

typedef enum yula_channel_op {
    YULA_CHANNEL_SEND = 1,
    YULA_CHANNEL_RECV = 2,
} yula_channel_op;

/* One thing that a select waits for. */
typedef struct yula_channel_case {
    yula_channel *channel; /* NULL: a case that never comes */
    yula_channel_op op;
    void *item;         /* to be sent (not written to), or to be filled */
    int status;         /* of the case that came: 0, -EPIPE, YULA_EOF */
    yula_waiter waiter; /* libyula's */
} yula_channel_case;

/* Do exactly one of several sends and receives: the first that can be done. Of
 * several that can, another one is taken each time, in turn, so that a busy
 * channel does not shut out the others.
 *
 * cases        as many as count; the same channel may stand in several. A
 *              closed channel can always be done: see its case's status.
 * deadline_ns  loop clock. 0: do not wait (Go's "default"). YULA_NEVER: only
 *              the deadlines around the task count.
 *
 * Returns the index of the case that was done; or, when none was: -EAGAIN
 * (deadline_ns was 0), -ETIMEDOUT (it passed), YULA_ECANCELED, -ENOMEM.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_channel_select(yula_loop *loop, yula_channel_case *cases,
                                 size_t count, int64_t deadline_ns);

YULA_END

#endif /* YULA_CHANNEL_H */
