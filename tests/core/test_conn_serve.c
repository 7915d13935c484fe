/* test_conn_serve.c: connections as a server and its clients use them. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actors.h"
#include "support.h"
#include "test.h"

/* --- a client and a server ----------------------------------------------- */

typedef struct service {
    yula_acceptor *acceptor;
    char port[8];
} service;

/* Answers each line with the same line, twice. */
static int
serve_one(actor *self, void *arg)
{
    service *of = arg;
    yula_conn *conn;
    char *line;
    ssize_t len;
    int fd = yula_acceptor_accept(of->acceptor, NULL, NULL);

    if (fd < 0)
        return fd;
    int err = yula_conn_new(self->loop, fd, &conn);
    if (err < 0) {
        close(fd);
        return err;
    }
    while ((len = yula_conn_read_line(conn, &line)) >= 0) {
        line[len] = '\n'; /* where the line's end was */
        for (int i = 0; i < 2 && err == 0; i++)
            err = yula_conn_write(conn, line, (size_t)len + 1);
        if (err < 0)
            break;
    }
    yula_conn_close(conn);
    return err < 0 ? err : len == YULA_EOF ? 0 : (int)len;
}

static int
ask(actor *self, void *arg)
{
    service *at = arg;
    yula_conn *conn;
    char answer[8];
    size_t got = 0;
    int err = yula_conn_connect(self->loop, "127.0.0.1", at->port, &conn);

    if (err < 0)
        return err;
    err = yula_conn_write(conn, "abc\n", 4);
    if (err == 0)
        err = yula_conn_read_exactly(conn, answer, 8, &got);
    if (err == 0)
        CHECK(memcmp(answer, "abc\nabc\n", 8) == 0);
    if (err == 0)
        err = yula_conn_drain(conn);
    yula_conn_close(conn);
    return err;
}

static int listening;

static void
service_open(service *self, yula_loop *loop)
{
    struct sockaddr_storage addr;
    socklen_t addr_len = sizeof(addr);

    CHECK_EQ(getsockname(listening, (struct sockaddr *)&addr, &addr_len), 0);
    snprintf(self->port, sizeof(self->port), "%d",
             ntohs(((struct sockaddr_in *)&addr)->sin_port));
    CHECK_EQ(yula_acceptor_new(loop, listening, &self->acceptor), 0);
}

static void
scene_of_a_service(yula_loop *loop)
{
    service echo;
    actor client, server;

    service_open(&echo, loop);
    actor_start(&server, loop, "server", serve_one, &echo);
    actor_start(&client, loop, "client", ask, &echo);
    int asked = -1;
    while (!yula_task_ended(client.task)) {
        CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
        /* A server that was interrupted before it accepted never answers. */
        if (yula_task_ended(server.task) && asked < 0 &&
            yula_task_result(server.task) == YULA_ECANCELED) {
            yula_task_cancel(client.task);
            asked = 0;
        }
    }
    (void)actor_end(&client);
    yula_task_cancel(server.task);
    (void)actor_end(&server);
    yula_acceptor_free(echo.acceptor);
}

TEST(a_client_and_a_server_survive_an_interruption_at_every_wait)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;

    listening = test_listen(&addr, &addr_len);
    CHECK(actor_interrupt_everywhere(scene_of_a_service) >= 6);
    close(listening);
}

/* A connection attempt of a failed round may still lie in the backlog. */
TEST(a_client_and_a_server_survive_a_failure_everywhere)
{
    static const char *const calls[] = {NULL,        "accept", "connect",
                                        "epoll_ctl", "recv",   "send",
                                        "sendmsg",   "socket", "shutdown"};

    for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) {
        bool failed = true;
        for (long n = 1; failed; n++) {
            yula_loop *loop = test_loop();
            struct sockaddr_storage addr;
            socklen_t addr_len;
            service echo;
            actor client, server;
            listening = test_listen(&addr, &addr_len);
            service_open(&echo, loop);
            actor_start(&server, loop, "server", serve_one, &echo);
            actor_start(&client, loop, "client", ask, &echo);
            if (calls[c] == NULL)
                test_fail_alloc(n);
            else
                test_fail_sys_named(calls[c], n, ECONNRESET);
            while (!yula_task_ended(client.task)) {
                CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
                if (yula_task_ended(server.task))
                    yula_task_cancel(client.task);
            }
            failed = calls[c] == NULL ? test_alloc_failed() : test_sys_failed();
            test_faults_clear();
            int asked = actor_end(&client);
            yula_task_cancel(server.task);
            (void)actor_end(&server);
            CHECK(failed || asked == 0);
            yula_acceptor_free(echo.acceptor);
            close(listening);
            yula_loop_free(loop);
        }
    }
}

/* --- serving ------------------------------------------------------------- */

static int served, interrupted;

static int
echo_lines(yula_conn *conn, void *arg)
{
    char *line;
    ssize_t len;
    int err = 0;

    served++;
    while (err == 0 && (len = yula_conn_read_line(conn, &line)) >= 0) {
        line[len] = '\n';
        err = yula_conn_write(conn, line, (size_t)len + 1);
    }
    interrupted += len == YULA_ECANCELED;
    return -EPROTO; /* no failure of the server's */
}

static int
serve(actor *self, void *arg)
{
    return yula_conn_serve(self->loop, listening, echo_lines, arg);
}

TEST(a_server_has_a_task_for_each_connection_and_ends_with_all_of_them)
{
    enum {
        COUNT = 20
    };
    yula_loop *loop = test_loop();
    struct sockaddr_storage addr;
    socklen_t addr_len;
    actor server;
    int fds[COUNT];
    char got[3];

    listening = test_listen(&addr, &addr_len);
    served = interrupted = 0;
    actor_start(&server, loop, "server", serve, NULL);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_EQ(connect(fds[i], (struct sockaddr *)&addr, addr_len), 0);
        test_send_all(fds[i], "hi\n", 3);
    }
    for (int i = 0; i < COUNT; i++) {
        test_recv_turning(loop, fds[i], got, 3);
        CHECK(memcmp(got, "hi\n", 3) == 0);
    }
    close(fds[0]); /* this one ends by itself */
    while (yula_task_count(loop) > COUNT)
        CHECK_EQ(yula_loop_step(loop, YULA_NEVER), 0);
    yula_task_cancel(server.task);
    CHECK_EQ(actor_end(&server), YULA_ECANCELED);
    CHECK_EQ(served, COUNT);
    CHECK_EQ(interrupted, COUNT - 1);
    CHECK_EQ(yula_task_count(loop), 0);
    for (int i = 1; i < COUNT; i++) {
        CHECK_EQ(recv(fds[i], got, 1, 0), 0);
        close(fds[i]);
    }
    close(listening);
    yula_loop_free(loop);
}

TEST(a_server_without_memory_for_a_connection_serves_the_next)
{
    for (long n = 1; n < 8; n++) {
        yula_loop *loop = test_loop();
        struct sockaddr_storage addr;
        socklen_t addr_len;
        actor server;
        char got[3];
        int fd;
        listening = test_listen(&addr, &addr_len);
        actor_start(&server, loop, "server", serve, NULL);
        settle(loop);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_EQ(connect(fd, (struct sockaddr *)&addr, addr_len), 0);
        test_fail_alloc(n);
        settle(loop);
        (void)yula_loop_step(loop, 0);
        test_fail_alloc(0);
        close(fd);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_EQ(connect(fd, (struct sockaddr *)&addr, addr_len), 0);
        test_send_all(fd, "hi\n", 3);
        test_recv_turning(loop, fd, got, 3);
        close(fd);
        yula_task_cancel(server.task);
        CHECK_EQ(actor_end(&server), YULA_ECANCELED);
        close(listening);
        yula_loop_free(loop);
    }
}

TEST(a_server_on_no_socket_says_so)
{
    yula_loop *loop = test_loop();
    actor server;
    int fds[2];

    test_unix_pair(fds);
    test_send_all(fds[1], "x", 1);
    listening = fds[0];
    actor_start(&server, loop, "server", serve, NULL);
    CHECK_EQ(actor_end(&server), -EINVAL);
    close(fds[0]);
    close(fds[1]);
    yula_loop_free(loop);
}

TEST(a_server_without_descriptors_goes_on_when_there_are_some)
{
    yula_loop *loop = test_loop_by_hand();
    struct sockaddr_storage addr;
    socklen_t addr_len;
    actor server;

    listening = test_listen(&addr, &addr_len);
    served = 0;
    actor_start(&server, loop, "server", serve, NULL);
    settle(loop);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    test_fail_sys_named("accept", 1, EMFILE);
    CHECK_EQ(connect(fd, (struct sockaddr *)&addr, addr_len), 0);
    while (!test_sys_failed())
        CHECK_EQ(yula_loop_step(loop, 0), 0);
    settle(loop);
    test_fail_sys(0, 0);
    CHECK_EQ(served, 0);
    test_now_ns += YULA_LISTENER_PAUSE_NS;
    while (served == 0)
        CHECK_EQ(yula_loop_step(loop, 0), 0);
    yula_task_cancel(server.task);
    CHECK_EQ(actor_end(&server), YULA_ECANCELED);

    actor_start(&server, loop, "server", serve, NULL);
    settle(loop);
    int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    test_fail_sys_named("accept", 1, EMFILE);
    CHECK_EQ(connect(second, (struct sockaddr *)&addr, addr_len), 0);
    while (!test_sys_failed())
        CHECK_EQ(yula_loop_step(loop, 0), 0);
    settle(loop);
    yula_task_cancel(server.task); /* while it waits for better times */
    CHECK_EQ(actor_end(&server), YULA_ECANCELED);
    close(fd);
    close(second);
    close(listening);
    yula_loop_free(loop);
}
