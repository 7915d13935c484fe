/* resolve.h: names to addresses and back, on worker threads; literals at once.
 */
#ifndef YULA_RESOLVE_H
#define YULA_RESOLVE_H

#include <netdb.h>
#include <sys/socket.h>

#include <yula/worker.h>

YULA_BEGIN

struct addrinfo; /* <netdb.h> hides it from a strict -std=c99 */

typedef struct yula_resolve yula_resolve;

/* status is 0, -ENOMEM, YULA_ECANCELED, or YULA_EAI_BASE + EAI_* (for
 * EAI_SYSTEM: the negated errno). list is the caller's, to be freed with
 * yula_addrinfo_free; NULL on failure. */
typedef void (*yula_resolve_cb)(yula_resolve *resolve, int status,
                                struct addrinfo *list, void *arg);
typedef void (*yula_resolve_name_cb)(yula_resolve *resolve, int status,
                                     const char *host, const char *service,
                                     void *arg);

/* Resolve with the meaning of getaddrinfo(3).
 *
 * host, service  copied; either may be NULL.
 * hints          copied; may be NULL.
 * out            receives the request, valid until cb returned.
 *
 * An address literal with a numeric service is answered in the next turn
 * without a thread.
 *
 * Returns 0, -ENOMEM, -EAGAIN (no worker), -EINVAL (host longer than
 * NI_MAXHOST).
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_resolve_start(yula_loop *loop, yula_lane lane,
                                const char *host, const char *service,
                                const struct addrinfo *hints,
                                yula_resolve_cb cb, void *arg,
                                yula_resolve **out);

/* getnameinfo(3): flags are NI_*. host and service of the callback are valid
 * until it returns. Returns as yula_resolve_start. */
YULA_API int yula_resolve_name(yula_loop *loop, yula_lane lane,
                               const struct sockaddr *addr, socklen_t addr_len,
                               int flags, yula_resolve_name_cb cb, void *arg,
                               yula_resolve **out);

/* The callback follows with YULA_ECANCELED (a running look-up goes on unseen).
 * Thread: loop.  Blocks: no.  Calls back: later. */
YULA_API void yula_resolve_cancel(yula_resolve *resolve);

/* Free a list given to a yula_resolve_cb. NULL is fine. Thread: any. */
YULA_API void yula_addrinfo_free(struct addrinfo *list);

/* An IPv4 or IPv6 literal (dotted quad; colons, optional %scope) and a port in
 * host order to a socket address, without any system look-up except the index
 * of a scope's name.
 *
 * addr  receives the address; untouched on failure.
 *
 * Returns the address length, or -EINVAL (not a literal of that family).
 * family is AF_INET, AF_INET6 or AF_UNSPEC.
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_address_parse(const char *text, uint16_t port, int family,
                                struct sockaddr_storage *addr);

YULA_END

#endif /* YULA_RESOLVE_H */
