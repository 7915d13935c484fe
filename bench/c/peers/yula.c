/* yula.c: yula's tasks and its loop; `change` is the bare coroutine of yula/coroutine.h. */
#include "peer.h"

#include "../die.h"

#include <yula/yula.h>

static yula_loop *loop;

static void
check(int err, const char *what)
{
    if (err < 0) {
        fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
                yula_strerror(err));
        exit(1);
    }
}

static void
run(yula_task_cb body, void *arg)
{
    if (loop == NULL)
        check(yula_loop_new(NULL, &loop), "yula_loop_new");
    check(yula_task_run(loop, NULL, body, arg, NULL), "yula_task_run");
}

static void
changer(yula_coroutine *coroutine, void *arg)
{
    (void)arg;
    for (;;)
        yula_coroutine_yield(coroutine, NULL);
}

/* A resume and the yield that answers it are two changes. */
static void
yula_change(uint64_t count)
{
    yula_coroutine *coroutine;
    if (loop == NULL)
        check(yula_loop_new(NULL, &loop), "yula_loop_new");
    check(yula_coroutine_new(loop, 0, changer, NULL, &coroutine),
          "yula_coroutine_new");
    for (uint64_t i = 0; i < count / 2; i++)
        yula_coroutine_resume(coroutine, NULL);
    yula_coroutine_free(coroutine);
}

static int
yielder(yula_task *task, void *arg)
{
    (void)task;
    for (uint64_t left = *(uint64_t *)arg; left > 0; left--)
        yula_task_yield(loop);
    return 0;
}

static int
two_yielders(yula_task *task, void *arg)
{
    (void)task;
    uint64_t each = *(uint64_t *)arg / 2;
    yula_task *first, *second;
    check(yula_task_spawn(loop, NULL, yielder, &each, &first), "spawn");
    check(yula_task_spawn(loop, NULL, yielder, &each, &second), "spawn");
    check(yula_task_join(first, NULL), "join");
    check(yula_task_join(second, NULL), "join");
    return 0;
}

static void
yula_yields(uint64_t count)
{
    run(two_yielders, &count);
}

static int
nothing(yula_task *task, void *arg)
{
    (void)task;
    (void)arg;
    return 0;
}

static int
spawner(yula_task *task, void *arg)
{
    (void)task;
    for (uint64_t left = *(uint64_t *)arg; left > 0; left--) {
        yula_task *one;
        check(yula_task_spawn(loop, NULL, nothing, NULL, &one), "spawn");
        check(yula_task_join(one, NULL), "join");
    }
    return 0;
}

static void
yula_spawns(uint64_t count)
{
    run(spawner, &count);
}

static int
sleeper(yula_task *task, void *arg)
{
    (void)task;
    (void)arg;
    peer_sleeping++;
    return yula_task_sleep(loop, INT64_C(3600) * 1000000000);
}

static int
many_sleepers(yula_task *task, void *arg)
{
    (void)task;
    uint64_t count = *(uint64_t *)arg;
    for (uint64_t i = 0; i < count; i++)
        check(yula_task_spawn(loop, NULL, sleeper, NULL, NULL), "spawn");
    while (peer_sleeping < count)
        yula_task_yield(loop);
    peer_all_sleep();
    return 0;
}

static void
yula_sleeps(uint64_t count)
{
    run(many_sleepers, &count);
}

typedef struct {
    int listener;
    size_t buffer_len;
} server;

static int
serve(yula_conn *conn, void *arg)
{
    size_t buffer_len = ((server *)arg)->buffer_len;
    char *buffer = malloc(buffer_len);
    if (buffer == NULL)
        return -ENOMEM;
    ssize_t got;
    do {
        got = yula_conn_read(conn, buffer, buffer_len);
    } while (got > 0 && yula_conn_write(conn, buffer, (size_t)got) == 0);
    free(buffer);
    return 0;
}

static int
serve_all(yula_task *task, void *arg)
{
    (void)task;
    return yula_conn_serve(loop, ((server *)arg)->listener, serve, arg);
}

static void
yula_echo(int listener, size_t buffer_len)
{
    server mine = {listener, buffer_len};
    run(serve_all, &mine);
}

const peer peer_under_test = {
    .name = "yula",
    .version = PEER_VERSION,
    .saves_control_words = true,
    .echo = yula_echo,
    .change = yula_change,
    .yield = yula_yields,
    .spawn = yula_spawns,
    .sleep = yula_sleeps,
};
