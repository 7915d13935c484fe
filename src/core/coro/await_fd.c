/* await_fd.c: the readiness of a descriptor, once.
 *
 * The pattern of every await_*.c: what is waited with lies on the task's stack;
 * the callback notes what came and resumes the task; withdraw takes the
 * callback back.
 * Thread: loop.
 */
#include <yula/await.h>
#include <yula/watcher.h>

#include "coro/await_i.h"

typedef struct fd_wait {
    yula_watcher watcher;
    yula_task *task;
} fd_wait;

static void
fd_ready(yula_watcher *watcher, unsigned events, void *arg)
{
    fd_wait *wait = arg;

    yula_watcher_stop(watcher);
    yula_task_resume(wait->task, (int)events);
}

static bool
fd_withdraw(yula_task *task, void *arg)
{
    fd_wait *wait = arg;

    yula_watcher_stop(&wait->watcher);
    return true;
}

int
yula_await_fd(yula_loop *loop, int fd, unsigned events)
{
    fd_wait wait = {.task = yula_task_current(loop)};
    int err = yula_task_check(loop);

    if (err < 0)
        return err;
    if (yula_watcher_of(loop, fd) != NULL)
        return -EBUSY; /* a start would stop it */
    yula_watcher_init(loop, &wait.watcher, yula__await_lane(loop));
    err = yula_watcher_start(&wait.watcher, fd, events, fd_ready, &wait);
    if (err < 0)
        return err;
    return yula_task_suspend(wait.task, "descriptor", fd_withdraw, &wait);
}
