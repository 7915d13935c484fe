/* await_listener.c: accepting.
 *
 * The listener tells of several connections in one callback, more than tasks
 * may be waiting for.
 *  I1. Connections are kept only while nobody waits, in order, at most as many
 *      as one callback of the listener brings.
 *  I2. listener is NULL while the ring is full, until it has been emptied: what
 *      the kernel has then waits in the socket's backlog.
 * Thread: loop.
 */
#include <string.h>

#include <yula/await.h>
#include <yula/listener.h>

#include "coro/await_i.h"
#include "coro/sync_i.h"
#include "loop/loop_i.h"

#define ACCEPTOR_RING YULA_LISTENER_BUDGET

struct yula_acceptor {
    yula_loop *loop;
    yula_listener *listener; /* I2 */
    yula_wait_list waiting;
    int fd;
    int error; /* that nobody was told of */
    unsigned first;
    unsigned count;
    int ring[ACCEPTOR_RING];
};

static void
acceptor_keep(yula_acceptor *acceptor, int fd)
{
    acceptor->ring[(acceptor->first + acceptor->count) % ACCEPTOR_RING] = fd;
    if (++acceptor->count < ACCEPTOR_RING)
        return;
    yula_listener_free(acceptor->listener);
    acceptor->listener = NULL;
}

static int
acceptor_fetch(yula_acceptor *acceptor)
{
    int fd = acceptor->ring[acceptor->first];

    acceptor->first = (acceptor->first + 1) % ACCEPTOR_RING;
    acceptor->count--;
    return fd;
}

static void
acceptor_accepted(yula_listener *listener, int fd, const struct sockaddr *addr,
                  socklen_t addr_len, void *arg)
{
    yula_acceptor *acceptor = arg;

    if (acceptor->waiting.first != NULL)
        yula__line_wake(acceptor->waiting.first, fd);
    else if (fd < 0)
        acceptor->error = fd;
    else
        acceptor_keep(acceptor, fd);
}

static int
acceptor_listen(yula_acceptor *acceptor)
{
    yula_lane lane = yula__await_lane(acceptor->loop);

    if (acceptor->listener != NULL)
        return 0;
    return yula_listener_new(acceptor->loop, lane, acceptor->fd,
                             acceptor_accepted, acceptor, &acceptor->listener);
}

/* A descriptor, or why there is none. */
static int
acceptor_next(yula_acceptor *acceptor)
{
    int err = yula_task_check(acceptor->loop);

    if (err < 0)
        return err;
    if (acceptor->count > 0)
        return acceptor_fetch(acceptor);
    err = acceptor->error;
    acceptor->error = 0;
    if (err == 0)
        err = acceptor_listen(acceptor);
    if (err < 0)
        return err;
    return yula__line_wait(acceptor->loop, &acceptor->waiting, NULL, "accept");
}

int
yula_acceptor_accept(yula_acceptor *acceptor, struct sockaddr *addr,
                     socklen_t *addr_len)
{
    int fd = acceptor_next(acceptor);

    /* A peer that is gone already has no address: the first read says so. */
    if (fd >= 0 && addr != NULL && getpeername(fd, addr, addr_len) < 0)
        *addr_len = 0;
    return fd;
}

int
yula_acceptor_new(yula_loop *loop, int fd, yula_acceptor **out)
{
    yula_acceptor *acceptor = yula__alloc(loop, sizeof(*acceptor));

    if (acceptor == NULL)
        return -ENOMEM;
    memset(acceptor, 0, sizeof(*acceptor));
    acceptor->loop = loop;
    acceptor->fd = fd;
    *out = acceptor;
    return 0;
}

void
yula_acceptor_free(yula_acceptor *acceptor)
{
    if (acceptor == NULL)
        return;
    yula__rule(acceptor->waiting.first == NULL,
               "a task still waits on the acceptor: cancel and join it first");
    while (acceptor->count > 0)
        yula__sys_close(acceptor_fetch(acceptor));
    if (acceptor->listener != NULL)
        yula_listener_free(acceptor->listener);
    yula__free(acceptor->loop, acceptor);
}
