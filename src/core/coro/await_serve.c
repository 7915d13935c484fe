/* await_serve.c: a task for each connection.
 *
 *  I1. The tasks belong to a group of the one that serves, so that they end
 *      before it does; none of them fails for the group.
 * Thread: loop.
 */
#include <yula/await.h>
#include <yula/conn.h>
#include <yula/group.h>
#include <yula/listener.h>

#include "coro/await_i.h"

typedef struct server {
    yula_loop *loop;
    yula_conn_serve_cb cb;
    void *arg;
    yula_group group;
} server;

/* What a task is given; freed by it. */
typedef struct guest {
    server *server;
    yula_conn *conn;
} guest;

static int
guest_main(yula_task *task, void *arg)
{
    guest self = *(guest *)arg;

    yula__free(self.server->loop, arg);
    (void)self.server->cb(self.conn, self.server->arg);
    yula_conn_close(self.conn);
    return 0;
}

/* The descriptor is taken over, whatever happens. */
static void
server_receive(server *self, int fd)
{
    yula_task_options options = {.size = sizeof(options),
                                 .name = "connection",
                                 .lane = yula__await_lane(self->loop)};
    guest *arrived = yula__alloc(self->loop, sizeof(*arrived));
    yula_conn *conn;

    if (arrived == NULL || yula_conn_new(self->loop, fd, &conn) < 0) {
        yula__free(self->loop, arrived);
        yula__sys_close(fd);
        return;
    }
    *arrived = (guest){.server = self, .conn = conn};
    if (yula_group_spawn(&self->group, &options, guest_main, arrived, NULL) <
        0) {
        yula__free(self->loop, arrived);
        yula_conn_abort(conn);
    }
}

/* Wait where waiting may help. Returns 0, or what to end with. */
static int
server_get_over(server *self, int err)
{
    if (err != -EMFILE && err != -ENFILE && err != -ENOBUFS && err != -ENOMEM &&
        err != -ENOSPC)
        return err;
    err = yula_task_sleep(self->loop, YULA_LISTENER_PAUSE_NS);
    if (err == -ENOMEM) /* not even for a timer */
        err = yula_task_yield(self->loop);
    return err;
}

int
yula_conn_serve(yula_loop *loop, int fd, yula_conn_serve_cb cb, void *arg)
{
    server self = {.loop = loop, .cb = cb, .arg = arg};
    yula_acceptor *acceptor;
    int err = yula_acceptor_new(loop, fd, &acceptor);

    if (err < 0)
        return err;
    yula_group_enter(loop, &self.group);
    while (err >= 0) {
        err = yula_acceptor_accept(acceptor, NULL, NULL);
        if (err >= 0)
            server_receive(&self, err);
        else
            err = server_get_over(&self, err);
    }
    yula_acceptor_free(acceptor);
    return yula_group_leave(&self.group, err);
}
