/* test_await_host.c: awaiting on a loop with a host: a task of the host lane goes
 * on with the host's lock, one of the native lane without it. */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support.h"
#include "test.h"

/* --- everything that can be awaited -------------------------------------- */

typedef struct visitor {
    yula_lane lane;
    int number; /* of a signal of its own */
    int done;   /* so many awaits */
    yula_mailbox *mailbox;
} visitor;

/* After each await. */
static void
went_on(visitor *self, int result)
{
    CHECK(result >= 0);
    CHECK_EQ(test_locked, self->lane == YULA_LANE_HOST);
    self->done++;
}

static int
answer(yula_conn *conn, void *arg)
{
    visitor *self = arg;
    char *line;

    went_on(self, (int)yula_conn_read_line(conn, &line));
    went_on(self, yula_conn_write(conn, "yes\n", 4));
    return 0;
}

static int
serve(yula_task *task, void *arg)
{
    visitor *self = arg;
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int fd = test_listen(&addr, &addr_len);
    char port[8];

    snprintf(port, sizeof(port), "%d",
             ntohs(((struct sockaddr_in *)&addr)->sin_port));
    went_on(self, yula_mailbox_send(yula_task_loop(task), self->mailbox, port));
    int err = yula_conn_serve(yula_task_loop(task), fd, answer, self);
    CHECK_EQ(test_locked, self->lane == YULA_LANE_HOST);
    close(fd);
    return err;
}

static void
ask(visitor *self, yula_loop *loop)
{
    yula_conn *conn;
    char *line;
    void *port;

    went_on(self, yula_mailbox_recv(loop, self->mailbox, &port));
    went_on(self, yula_conn_connect(loop, "localhost", port, &conn));
    went_on(self, yula_conn_write(conn, "?\n", 2));
    went_on(self, (int)yula_conn_read_line(conn, &line));
    CHECK_STR(line, "yes");
    went_on(self, yula_conn_drain(conn));
    yula_conn_close(conn);
}

static int
on_a_worker(void *arg)
{
    return 3;
}

static int
visit(yula_task *task, void *arg)
{
    visitor *self = arg;
    yula_loop *loop = yula_task_loop(task);
    yula_task_options options = {.size = sizeof(options), .lane = self->lane};
    yula_signal_set signals;
    yula_group group;
    int fds[2];

    CHECK_EQ(test_locked, self->lane == YULA_LANE_HOST);
    went_on(self, yula_task_yield(loop));
    went_on(self, yula_task_sleep(loop, 1000));
    went_on(self, yula_await_work(loop, on_a_worker, NULL));
    test_unix_pair(fds);
    went_on(self, yula_await_fd(loop, fds[0], YULA_WRITABLE));
    close(fds[0]);
    close(fds[1]);
    yula_group_enter(loop, &group);
    CHECK_EQ(yula_group_spawn(&group, &options, serve, self, NULL), 0);
    ask(self, loop);
    yula_group_cancel(&group);
    went_on(self, yula_group_leave(&group, 0));
    CHECK_EQ(yula_signal_set_open(loop, &signals, &self->number, 1), 0);
    CHECK_EQ(raise(self->number), 0);
    went_on(self, yula_signal_set_next(&signals));
    yula_signal_set_close(&signals);
    return 0;
}

TEST(each_await_goes_on_in_the_lane_of_its_task)
{
    visitor visitors[] = {{.lane = YULA_LANE_NATIVE, .number = SIGUSR1},
                          {.lane = YULA_LANE_HOST, .number = SIGUSR2}};
    yula_loop *loop = test_loop_with_host(&test_host);

    for (int i = 0; i < 2; i++) {
        yula_task_options task = {.size = sizeof(task),
                                  .lane = visitors[i].lane};
        CHECK_EQ(yula_mailbox_new(&test_allocator, 1, &visitors[i].mailbox), 0);
        CHECK_EQ(yula_task_spawn(loop, &task, visit, &visitors[i], NULL), 0);
    }
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(yula_task_count(loop), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(visitors[i].done, 14);
        yula_mailbox_free(visitors[i].mailbox);
    }
    yula_loop_free(loop);
    CHECK(test_locked);
}
