/* await_connect.c: a new connection.
 *
 * yula_connect_cancel answers later, so an interrupted wait lasts until the
 * answer: it is told of the interruption by the status, -ECANCELED.
 * Thread: loop.
 */
#include <yula/await.h>
#include <yula/stream.h>

#include "coro/await_i.h"

typedef struct connect_wait {
    yula_connect *connect;
    yula_task *task;
} connect_wait;

static void
connect_answer(int status, int fd, void *arg)
{
    connect_wait *wait = arg;

    if (status == 0)
        status = fd;
    yula_task_resume(wait->task,
                     status == -ECANCELED ? YULA_ECANCELED : status);
}

static bool
connect_withdraw(yula_task *task, void *arg)
{
    connect_wait *wait = arg;

    yula_connect_cancel(wait->connect);
    return false;
}

int
yula_await_connect(yula_loop *loop, const struct sockaddr *addr,
                   socklen_t addr_len)
{
    connect_wait wait = {.task = yula_task_current(loop)};
    int err = yula_task_check(loop);

    if (err < 0)
        return err;
    err = yula_connect_start(loop, yula__await_lane(loop), addr, addr_len,
                             connect_answer, &wait, &wait.connect);
    if (err < 0)
        return err;
    return yula_task_suspend(wait.task, "connect", connect_withdraw, &wait);
}
