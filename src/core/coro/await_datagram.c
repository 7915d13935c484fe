/* await_datagram.c: a datagram socket as tasks use it.
 *
 * Straight between the kernel and the task's memory, without the batches and the
 * queue of datagram.c: a task that waits is the queue.
 *  I1. Registered once, edge-triggered; `readable` says that a call may find
 *      something, and is cleared only when one found nothing. While it is set
 *      and tasks wait to receive, one of them has been woken.
 *  I2. WRITABLE is asked for while a task waits to send.
 * Thread: loop.
 */
#include <string.h>

#include <yula/datagram.h>
#include <yula/task.h>

#include "coro/await_i.h"
#include "coro/sync_i.h"
#include "loop/loop_i.h"

/* A Unix socket that is not connected counts as writable while its receiver's
 * queue is full: asked again after so long, instead of in every turn. */
#define PORT_RETRY_NS INT64_C(1000000)

struct yula_port {
    yula_loop *loop;
    yula_watcher watcher;
    int fd;
    bool readable; /* I1 */
    yula_wait_list receivers;
    yula_wait_list senders;
};

static void
port_wake_receiver(yula_port *port)
{
    if (port->readable && port->receivers.first != NULL)
        yula__line_wake(port->receivers.first, 0);
}

static void
port_on_event(yula_watcher *watcher, unsigned events, void *arg)
{
    yula_port *port = arg;

    if (events & ~(unsigned)YULA_WRITABLE) {
        port->readable = true;
        port_wake_receiver(port);
    }
    if (events & (YULA_WRITABLE | YULA_HANGUP | YULA_ERROR))
        yula__line_wake_all(&port->senders, 0);
}

/* --- receiving ------------------------------------------------------------ */

ssize_t
yula_port_receive(yula_port *port, void *base, size_t len,
                  struct sockaddr *addr, socklen_t *addr_len)
{
    int err = yula__await_check(port->loop);

    while (err == 0) {
        if (port->readable) {
            ssize_t n = yula__sys_recvfrom(port->fd, base, len, addr, addr_len);
            if (n != -EAGAIN) {
                port_wake_receiver(port);
                return n;
            }
            port->readable = false;
        }
        err = yula__line_wait(port->loop, &port->receivers, NULL, "datagram");
    }
    return err;
}

/* --- sending -------------------------------------------------------------- */

static int
port_want_writable(yula_port *port, bool wanted)
{
    unsigned interest = YULA_READABLE | YULA_EDGE;
    if (wanted)
        interest |= YULA_WRITABLE;
    else if (interest == port->watcher.interest)
        return 0;
    /* The same again re-arms the edge. */
    return yula_watcher_modify(&port->watcher, interest);
}

int
yula_port_send(yula_port *port, const void *base, size_t len,
               const struct sockaddr *addr, socklen_t addr_len)
{
    int err = yula__await_check(port->loop);

    for (unsigned refused = 0; err == 0; refused++) {
        ssize_t n = yula__sys_sendto(port->fd, base, len, addr,
                                     addr != NULL ? addr_len : 0);
        if (n != -EAGAIN) {
            if (port->senders.first == NULL)
                (void)port_want_writable(port, false); /* else: events */
            return n < 0 ? (int)n : 0;
        }
        if (refused > 0)
            err = yula_task_sleep(port->loop, PORT_RETRY_NS);
        if (err == 0)
            err = port_want_writable(port, true);
        if (err == 0)
            err = yula__line_wait(port->loop, &port->senders, NULL, "send");
    }
    return err;
}

/* --- life ----------------------------------------------------------------- */

int
yula_port_new(yula_loop *loop, int fd, yula_port **out)
{
    yula_port *port = yula__alloc(loop, sizeof(*port));

    if (port == NULL)
        return -ENOMEM;
    memset(port, 0, sizeof(*port));
    port->loop = loop;
    port->fd = fd;
    yula_watcher_init(loop, &port->watcher, yula__await_lane(loop));
    int err = yula_watcher_start(&port->watcher, fd, YULA_READABLE | YULA_EDGE,
                                 port_on_event, port);
    if (err < 0) {
        yula__free(loop, port);
        return err;
    }
    *out = port;
    return 0;
}

void
yula_port_close(yula_port *port)
{
    if (port == NULL)
        return;
    /* A task that waits would go on in freed memory. */
    yula__rule(port->receivers.first == NULL && port->senders.first == NULL,
               "a task still waits on the port: cancel and join it first");
    yula_watcher_stop(&port->watcher);
    yula__sys_close(port->fd);
    yula__free(port->loop, port);
}

int
yula_port_fd(const yula_port *port)
{
    return port->fd;
}
