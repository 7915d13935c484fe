/* listener.c: accepting connections.
 *
 *  I1. Level-triggered: what one turn leaves is reported in the next.
 *  I2. Out of descriptors or memory, the listener stops watching until its
 *      timer fires (asyncio's ACCEPT_RETRY_DELAY), or it would spin.
 * Thread: loop.
 */
#include <yula/listener.h>

#include <netinet/in.h>
#include <string.h>

#include "io/stream_i.h"

/* Connections between two looks of the host: each costs a system call of 5 us
 * and what the owner makes of it. */
#define LISTENER_BREATH 16

struct yula_listener {
    yula_watcher watcher;
    yula_timer retry;
    yula_loop *loop;
    yula_listener_cb cb;
    void *arg;
    int fd;
    int kind;        /* of the connections' streams */
    yula_work grave; /* gives the memory back, see yula__loop_bury */
    bool freed;
};

static void listener_on_event(yula_watcher *watcher, unsigned events,
                              void *arg);

static void listener_retry(yula_timer *timer, void *arg);

static void
listener_pause(yula_listener *listener)
{
    int64_t deadline_ns = yula_loop_now(listener->loop) +
                          YULA_LISTENER_PAUSE_NS;
    /* Without memory for the timer we go on watching: slower, not lost. */
    if (yula_timer_start(&listener->retry, deadline_ns, listener_retry,
                         listener) == 0)
        yula_watcher_stop(&listener->watcher);
}

static bool
listener_is_short(int err)
{
    return err == -EMFILE || err == -ENFILE || err == -ENOBUFS ||
           err == -ENOMEM || err == -ENOSPC;
}

static void
listener_retry(yula_timer *timer, void *arg)
{
    yula_listener *listener = arg;
    int err = yula_watcher_start(&listener->watcher, listener->fd,
                                 YULA_READABLE, listener_on_event, listener);
    if (err == 0)
        return;
    if (listener_is_short(err)) /* or nobody would ever be accepted again */
        listener_pause(listener);
    listener->cb(listener, err, NULL, 0, listener->arg);
}

static void
listener_on_event(yula_watcher *watcher, unsigned events, void *arg)
{
    yula_listener *listener = arg;

    for (int i = 1; i <= YULA_LISTENER_BUDGET; i++) {
        struct sockaddr_storage addr;
        socklen_t addr_len = sizeof(addr);
        int fd = yula__sys_accept(listener->fd, (struct sockaddr *)&addr,
                                  &addr_len);
        if (fd == -EAGAIN)
            break;
        if (fd == -ECONNABORTED)
            continue;
        if (listener_is_short(fd))
            listener_pause(listener);
        listener->cb(listener, fd, (struct sockaddr *)&addr,
                     fd < 0 ? 0 : addr_len, listener->arg);
        if (fd < 0)
            break;
        /* One callback of ours may stand for many of the host's. */
        yula__ready_run_deferred(listener->loop);
        if (i % LISTENER_BREATH == 0 && watcher->work.lane == YULA_LANE_HOST)
            yula__ready_breathe(listener->loop);
        if (listener->freed || listener->loop->break_status != 0)
            break;
    }
}

static void
listener_bury(yula_work *work, void *arg)
{
    yula_listener *listener = arg;
    yula__free(listener->loop, listener);
}

int
yula_listener_new(yula_loop *loop, yula_lane lane, int fd, yula_listener_cb cb,
                  void *arg, yula_listener **out)
{
    yula_listener *listener = yula__alloc(loop, sizeof(*listener));
    if (listener == NULL)
        return -ENOMEM;
    memset(listener, 0, sizeof(*listener));
    listener->loop = loop;
    listener->cb = cb;
    listener->arg = arg;
    listener->fd = fd;
    listener->kind = yula__sys_getsockopt(fd, SOL_SOCKET, SO_PROTOCOL) ==
                             IPPROTO_TCP
                         ? YULA__STREAM_TCP
                         : YULA__STREAM_OTHER;
    yula_watcher_init(loop, &listener->watcher, lane);
    yula_timer_init(loop, &listener->retry, lane);
    yula_work_init(&listener->grave, lane, listener_bury, listener);
    int err = yula_watcher_start(&listener->watcher, fd, YULA_READABLE,
                                 listener_on_event, listener);
    if (err < 0) {
        yula__free(loop, listener);
        return err;
    }
    *out = listener;
    return 0;
}

int
yula__listener_kind(const yula_listener *listener)
{
    return listener->kind;
}

void
yula_listener_free(yula_listener *listener)
{
    listener->freed = true;
    yula_watcher_stop(&listener->watcher);
    yula_timer_stop(&listener->retry);
    yula__loop_bury(listener->loop, &listener->grave);
}

int
yula_listen_socket(const struct sockaddr *addr, socklen_t addr_len, int backlog)
{
    int err = 0;
    int fd = yula__sys_socket(addr->sa_family, SOCK_STREAM, 0);
    if (fd < 0)
        return fd;
    if (addr->sa_family != AF_UNIX)
        err = yula__sys_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (err == 0 && addr->sa_family == AF_INET6)
        err = yula__sys_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (err == 0)
        err = yula__sys_bind(fd, addr, addr_len);
    if (err == 0)
        err = yula__sys_listen(fd, backlog);
    if (err == 0)
        return fd;
    yula__sys_close(fd);
    return err;
}
