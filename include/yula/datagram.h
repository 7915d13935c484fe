/* datagram.h: a socket that receives and sends datagrams (UDP, Unix).
 *
 * Receiving: the descriptor is registered once, edge-triggered, and one system
 * call takes up to YULA_DATAGRAM_BATCH datagrams; when it takes fewer, the socket
 * is empty, and no call is made to learn that. A turn delivers one such batch.
 *
 * Sending: at once, in a system call of its own, so that an error is the
 * result of the call it belongs to. What the kernel has no room for waits in a
 * queue.
 */
#ifndef YULA_DATAGRAM_H
#define YULA_DATAGRAM_H

#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <yula/work.h>

YULA_BEGIN

typedef struct yula_datagram yula_datagram;

/* What a datagram socket tells its owner. All run on the loop in the socket's
 * lane, received and failed never inside a call of the owner's. The socket may
 * be freed in any of them. */
typedef struct yula_datagram_ops {
    /* A datagram: len bytes (also 0), which may be changed and are valid until
     * this returns, and its sender. addr_len is 0 for a sender without a name
     * (Unix). */
    void (*received)(yula_datagram *datagram, void *base, size_t len,
                     const struct sockaddr *addr, socklen_t addr_len,
                     void *arg);
    /* Receiving failed, or sending what was queued (status: negated errno; a
     * peer that refuses, for example). The socket goes on. */
    void (*failed)(yula_datagram *datagram, int status, bool sending,
                   void *arg);
    /* The queue rose above the high mark (true; called inside send or
     * set_marks) or fell to the low one (false). May be NULL. */
    void (*pressure)(yula_datagram *datagram, bool high, void *arg);
    /* The queue ran empty. May be NULL. */
    void (*drained)(yula_datagram *datagram, void *arg);
} yula_datagram_ops;

/* Datagrams of one system call, which are what one socket delivers in a turn.
 * Unix sockets, whose datagrams may be larger: a quarter. */
#define YULA_DATAGRAM_BATCH 16

/* What a longer datagram is cut to, bytes; asyncio's limit. UDP has none that
 * are longer than 64 KiB. */
#define YULA_DATAGRAM_MAX (256u * 1024u)

/* What a queued datagram weighs beside its bytes: empty ones count, too. */
#define YULA_DATAGRAM_WEIGHT 8u

/* Make one on a non-blocking datagram socket, bound, connected or neither.
 * Nothing is reported until yula_datagram_start.
 *
 * fd   the socket's on success, the caller's on failure.
 * ops  borrowed, as long as the socket.
 *
 * Returns 0, -ENOMEM, -EBADF, -EPERM, -ENOSPC.
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_datagram_new(yula_loop *loop, yula_lane lane, int fd,
                               const yula_datagram_ops *ops, void *arg,
                               yula_datagram **out);

/* Stop everything, drop what is queued, and free. Allowed in the socket's own
 * callbacks; the pointer is invalid as soon as this returns.
 *
 * close_fd  true closes the descriptor, false leaves it to the caller.
 *
 * Returns the descriptor (closed or not).
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_datagram_free(yula_datagram *datagram, bool close_fd);

/* Start or go on receiving: from the next turn on. Stop: nothing is received
 * after this returns; what was taken from the kernel already is kept for the
 * next start.
 *
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API void yula_datagram_start(yula_datagram *datagram);
YULA_API void yula_datagram_stop(yula_datagram *datagram);

/* Send one datagram, or queue a copy of it behind others that wait.
 *
 * base  len bytes (0: an empty datagram).
 * addr  the receiver; NULL on a connected socket.
 *
 * Returns 0; -ENOMEM; or what the kernel says (-ECONNREFUSED, also of an earlier
 * one, -EMSGSIZE, ...). After a failure nothing was sent or queued.
 * Thread: loop.  Blocks: no.  Calls back: pressure, before return.
 */
YULA_API int yula_datagram_send(yula_datagram *datagram, const void *base,
                                size_t len, const struct sockaddr *addr,
                                socklen_t addr_len);

/* Drop what waits to be sent. Thread: loop.  Calls back: no. */
YULA_API void yula_datagram_drop(yula_datagram *datagram);

/* What waits to be sent: bytes, and YULA_DATAGRAM_WEIGHT for each datagram.
 * Thread: loop. */
YULA_API size_t yula_datagram_queued(const yula_datagram *datagram);

/* Set the water marks; low <= high. Those of a new socket are
 * YULA_STREAM_LOW and YULA_STREAM_HIGH.
 * Thread: loop.  Calls back: pressure, before return (set_marks only). */
YULA_API void yula_datagram_set_marks(yula_datagram *datagram, size_t low,
                                      size_t high);
YULA_API void yula_datagram_get_marks(const yula_datagram *datagram,
                                      size_t *low, size_t *high);

/* Whether the queue is above its marks (ops->pressure said so). Thread: loop. */
YULA_API bool yula_datagram_pressed(const yula_datagram *datagram);

/* The descriptor. It stays the socket's. Thread: loop. */
YULA_API int yula_datagram_fd(const yula_datagram *datagram);

/* The datagram socket that a descriptor belongs to, or NULL; and its arg.
 * Thread: loop. */
YULA_API yula_datagram *yula_datagram_of(yula_loop *loop, int fd);
YULA_API void *yula_datagram_arg(const yula_datagram *datagram);

/* --- as tasks use it ------------------------------------------------------ */

/* A datagram socket whose calls wait. The rules of await.h apply. Any number of
 * tasks may receive and send: each datagram goes to one of them. */
typedef struct yula_port yula_port;

/* fd   a datagram socket, non-blocking; the port's on success, the caller's on
 *      failure.
 * out  receives the port.
 *
 * Returns 0, -ENOMEM, -EBADF, -EPERM, -ENOSPC.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_port_new(yula_loop *loop, int fd, yula_port **out);

/* Close the descriptor and free. Nobody may be waiting. NULL is fine.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API void yula_port_close(yula_port *port);

/* Receive one datagram. What is longer than len is cut.
 *
 * addr, addr_len  receive the sender; both may be NULL. *addr_len is the room
 *                 before and the length after, 0 for a sender without a name.
 *
 * Returns its length (>= 0: empty ones count), YULA_ECANCELED, or the socket's
 * error (-ECONNREFUSED, ...), after which it goes on.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API ssize_t yula_port_receive(yula_port *port, void *base, size_t len,
                                   struct sockaddr *addr, socklen_t *addr_len);

/* Send one datagram; wait while the kernel has no room for it.
 *
 * addr  the receiver; NULL on a connected socket.
 *
 * Returns 0 (sent), YULA_ECANCELED (not sent), or what the kernel says.
 * Thread: loop, in a task.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_port_send(yula_port *port, const void *base, size_t len,
                            const struct sockaddr *addr, socklen_t addr_len);

/* The descriptor. It stays the port's. Thread: loop. */
YULA_API int yula_port_fd(const yula_port *port);

YULA_END

#endif /* YULA_DATAGRAM_H */
