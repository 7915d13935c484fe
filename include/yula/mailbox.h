/* mailbox.h: messages between loops, that is between threads.
 *
 * A mailbox is a bounded queue of pointers that every thread may use: tasks of
 * any loop wait for room or for a message, and threads without a loop try. What
 * a sender wrote before it sent is seen by whoever received.
 *
 * Messages are received in the order in which they were sent. Tasks are served
 * in order of arrival, and nothing is lost, as in sync.h.
 */
#ifndef YULA_MAILBOX_H
#define YULA_MAILBOX_H

#include <stddef.h>

#include <yula/loop.h>

YULA_BEGIN

typedef struct yula_mailbox yula_mailbox;

/* Make a mailbox, open, empty.
 *
 * allocator  copied; NULL for malloc.
 * capacity   messages that can lie in it, at least 1.
 * out        receives the mailbox, freed with yula_mailbox_free.
 *
 * Returns 0, -ENOMEM, -EINVAL (capacity 0), -EOVERFLOW.
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_mailbox_new(const yula_allocator *allocator, size_t capacity,
                              yula_mailbox **out);

/* Free a mailbox that nobody uses any more. Messages in it are forgotten. NULL
 * is fine.
 *
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_mailbox_free(yula_mailbox *mailbox);

/* Put a message in; wait while the mailbox is full.
 *
 * loop  the caller's.
 *
 * Returns 0, YULA_ECANCELED, -EPIPE (closed). The message is the
 * receiver's only after 0.
 * Thread: any loop's, in a task.  Blocks: the task.  Calls back: no.
 * GIL: not used.
 */
YULA_API int yula_mailbox_send(yula_loop *loop, yula_mailbox *mailbox,
                               void *message);

/* Take the oldest message out; wait while there is none.
 *
 * loop  the caller's.
 * out   receives the message; untouched on failure.
 *
 * Returns 0, YULA_ECANCELED, YULA_EOF (closed, and empty).
 * Thread: any loop's, in a task.  Blocks: the task.  Calls back: no.
 * GIL: not used.
 */
YULA_API int yula_mailbox_recv(yula_loop *loop, yula_mailbox *mailbox,
                               void **out);

/* Send, receive without waiting.
 *
 * Returns as yula_mailbox_send and yula_mailbox_recv; -EAGAIN where they would wait.
 *
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_mailbox_try_send(yula_mailbox *mailbox, void *message);
YULA_API int yula_mailbox_try_recv(yula_mailbox *mailbox, void **out);

/* No more messages: senders get -EPIPE, receivers what is left and then
 * YULA_EOF. Closing twice does nothing.
 *
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_mailbox_close(yula_mailbox *mailbox);

YULA_END

#endif /* YULA_MAILBOX_H */
