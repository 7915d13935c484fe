/* connect.c: connecting a new socket.
 *
 *  I1. The descriptor is the request's until cb gets it; a cancelled request
 *      stops watching and closes it in one step, so no event of it is left.
 *  I2. cb runs exactly once, never inside yula_connect_start; not at all when
 *      the loop is freed before.
 * Thread: loop.
 */
#include <string.h>

#include "loop/loop_i.h"

struct yula_connect {
    yula__request request; /* freed with the loop */
    yula_watcher watcher;
    yula_work done;
    yula_loop *loop;
    yula_connect_cb cb;
    void *arg;
    int fd;
    int status;
};

static void
connect_done(yula_work *work, void *arg)
{
    yula_connect *connect = arg;
    yula_connect_cb cb = connect->cb;
    void *cb_arg = connect->arg;
    int status = connect->status, fd = connect->fd;

    yula__request_remove(&connect->request);
    yula__free(connect->loop, connect);
    cb(status, fd, cb_arg);
}

/* The loop is freed before the callback ran. */
static void
connect_drop(yula_loop *loop, yula__request *request)
{
    yula_connect *connect = yula__container_of(request, yula_connect, request);

    yula_watcher_stop(&connect->watcher);
    if (connect->fd >= 0)
        yula__sys_close(connect->fd);
    yula__free(loop, connect);
}

/* Let go of the socket unless it is connected, and answer in the next turn. */
static void
connect_finish(yula_connect *connect, int status)
{
    yula_watcher_stop(&connect->watcher);
    connect->status = status;
    if (status < 0 && connect->fd >= 0) {
        yula__sys_close(connect->fd);
        connect->fd = -1;
    }
    yula_work_queue(connect->loop, &connect->done);
}

static void
connect_on_event(yula_watcher *watcher, unsigned events, void *arg)
{
    yula_connect *connect = arg;
    int err = yula__sys_getsockopt(connect->fd, SOL_SOCKET, SO_ERROR);
    connect_finish(connect, err > 0 ? -err : err);
}

int
yula_connect_start(yula_loop *loop, yula_lane lane, const struct sockaddr *addr,
                   socklen_t addr_len, yula_connect_cb cb, void *arg,
                   yula_connect **out)
{
    yula_connect *connect = yula__alloc(loop, sizeof(*connect));
    if (connect == NULL)
        return -ENOMEM;
    memset(connect, 0, sizeof(*connect));
    connect->loop = loop;
    connect->cb = cb;
    connect->arg = arg;
    yula_watcher_init(loop, &connect->watcher, lane);
    yula_work_init(&connect->done, lane, connect_done, connect);
    connect->fd = yula__sys_socket(addr->sa_family, SOCK_STREAM, 0);
    if (connect->fd < 0) {
        int err = connect->fd;
        yula__free(loop, connect);
        return err;
    }
    int err = yula__sys_connect(connect->fd, addr, addr_len);
    if (err == -EINPROGRESS || err == -EINTR) {
        err = yula_watcher_start(&connect->watcher, connect->fd, YULA_WRITABLE,
                                 connect_on_event, connect);
        if (err < 0)
            connect_finish(connect, err);
    }
    else {
        connect_finish(connect, err);
    }
    connect->request.drop = connect_drop;
    yula__request_add(loop, &connect->request);
    *out = connect;
    return 0;
}

void
yula_connect_cancel(yula_connect *connect)
{
    connect_finish(connect, -ECANCELED);
}
