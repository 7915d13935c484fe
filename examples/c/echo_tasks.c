/* echo_tasks.c: echo_server.c with tasks: one for each connection.
 *
 *     echo_tasks 127.0.0.1 7777
 *     echo_tasks /tmp/echo.sock
 *
 * SIGINT and SIGTERM end it. The tutorial is docs/c-api.md.
 */
#include <signal.h>

#include "listen.h"

static int
echo(yula_conn *conn, void *arg)
{
    char bytes[16 * 1024];
    ssize_t len;

    while ((len = yula_conn_read(conn, bytes, sizeof(bytes))) > 0) {
        int err = yula_conn_write(conn, bytes, (size_t)len);
        if (err < 0)
            return err;
    }
    return (int)len;
}

static int
serve(yula_task *task, void *arg)
{
    return yula_conn_serve(yula_task_loop(task), *(int *)arg, echo, NULL);
}

static int
until_signal(yula_loop *loop)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    yula_signal_set signals;

    int err = yula_signal_set_open(loop, &signals, numbers, 2);
    if (err == 0) {
        err = yula_signal_set_next(&signals);
        yula_signal_set_close(&signals);
    }
    return err < 0 ? err : 0;
}

static int
server(yula_task *task, void *arg)
{
    yula_loop *loop = yula_task_loop(task);
    yula_group group;

    yula_group_enter(loop, &group);
    int err = yula_group_spawn(&group, NULL, serve, arg, NULL);
    if (err == 0)
        err = until_signal(loop);
    yula_group_cancel(&group);
    return yula_group_leave(&group, err);
}

int
main(int argc, char **argv)
{
    yula_loop *loop;
    int fd = listen_from_arguments(argc, argv), result = 0;

    if (fd < 0)
        return 2;
    int err = yula_loop_new(NULL, &loop);
    if (err == 0) {
        err = yula_task_run(loop, NULL, server, &fd, &result);
        yula_loop_free(loop);
    }
    close(fd);
    if (err == 0)
        err = result;
    if (err < 0)
        fprintf(stderr, "echo_tasks: %s\n", yula_strerror(err));
    return err < 0;
}
