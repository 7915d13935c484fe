/* await_resolve.c: a name.
 *
 * yula_resolve_cancel answers later, as yula_connect_cancel does.
 * Thread: loop.
 */
#include <yula/await.h>
#include <yula/resolve.h>

#include "coro/await_i.h"

typedef struct resolve_wait {
    yula_resolve *resolve;
    yula_task *task;
    struct addrinfo *list;
} resolve_wait;

static void
resolve_answer(yula_resolve *resolve, int status, struct addrinfo *list,
               void *arg)
{
    resolve_wait *wait = arg;

    wait->list = list;
    yula_task_resume(wait->task, status);
}

static bool
resolve_withdraw(yula_task *task, void *arg)
{
    resolve_wait *wait = arg;

    yula_resolve_cancel(wait->resolve);
    return false;
}

int
yula_await_resolve(yula_loop *loop, const char *host, const char *service,
                   const struct addrinfo *hints, struct addrinfo **out)
{
    resolve_wait wait = {.task = yula_task_current(loop)};
    int err = yula_task_check(loop);

    if (err < 0)
        return err;
    err = yula_resolve_start(loop, yula__await_lane(loop), host, service, hints,
                             resolve_answer, &wait, &wait.resolve);
    if (err < 0)
        return err;
    err = yula_task_suspend(wait.task, "name", resolve_withdraw, &wait);
    if (err == 0)
        *out = wait.list;
    return err;
}
