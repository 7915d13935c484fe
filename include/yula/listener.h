/* listener.h: accepting connections. */
#ifndef YULA_LISTENER_H
#define YULA_LISTENER_H

#include <sys/socket.h>

#include <yula/work.h>

YULA_BEGIN

typedef struct yula_listener yula_listener;

/* fd >= 0: a new connection, non-blocking, close-on-exec; it is the callee's.
 * addr is valid until the callback returns.
 * fd < 0: accepting failed (negated errno). After -EMFILE, -ENFILE, -ENOBUFS
 * and -ENOMEM the listener pauses for YULA_LISTENER_PAUSE_NS and goes on by
 * itself. The listener may be freed in its callback. */
typedef void (*yula_listener_cb)(yula_listener *listener, int fd,
                                 const struct sockaddr *addr,
                                 socklen_t addr_len, void *arg);

/* Connections one listener accepts in a turn at most: what a burst of accepts
 * delays everything else by. */
#define YULA_LISTENER_BUDGET 64

/* asyncio's ACCEPT_RETRY_DELAY: one second. */
#define YULA_LISTENER_PAUSE_NS INT64_C(1000000000)

/* Accept on a listening, non-blocking socket.
 *
 * fd   stays the caller's, who closes it after yula_listener_free.
 * arg  borrowed, as long as the listener.
 *
 * Returns 0, -ENOMEM, -EBADF, -ENOSPC.
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_listener_new(yula_loop *loop, yula_lane lane, int fd,
                               yula_listener_cb cb, void *arg,
                               yula_listener **out);

/* Stop and free. Allowed in the listener's callback.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_listener_free(yula_listener *listener);

/* Make a non-blocking TCP or Unix listening socket: SO_REUSEADDR on TCP,
 * IPV6_V6ONLY on IPv6, bind, listen.
 *
 * Returns the descriptor, the caller's; or the failing call's negated errno.
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_listen_socket(const struct sockaddr *addr, socklen_t addr_len,
                                int backlog);

YULA_END

#endif /* YULA_LISTENER_H */
