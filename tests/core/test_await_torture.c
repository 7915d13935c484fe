/* test_await_torture.c: every call that a task can wait in, hurt in every way at
 * every wait in turn (hurt.h).
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "coro/task_i.h"
#include "hurt.h"
#include "support.h"

#define MS INT64_C(1000000)

/* --- time ---------------------------------------------------------------- */

static int
play_sleep(stage *self)
{
    int err = yula_task_sleep(self->loop, MS);

    if (err == 0)
        err = yula_task_sleep_until(self->loop, yula_loop_now(self->loop) + MS);
    return err == 0 ? yula_task_yield(self->loop) : err;
}

SCENE(a_sleep, .calls = "yula_task_sleep yula_task_sleep_until yula_task_yield",
      .play = play_sleep)

static int
play_deadlines(stage *self)
{
    yula_scope outer, inner;
    int err = yula_deadline_enter(self->loop, &outer,
                                  yula_loop_now(self->loop) + 9 * MS);

    if (err < 0)
        return err;
    err = yula_deadline_enter(self->loop, &inner,
                              yula_loop_now(self->loop) + MS);
    if (err == 0) {
        err = yula_task_sleep_until(self->loop, YULA_NEVER);
        err = yula_deadline_leave(&inner, err);
        if (err == -ETIMEDOUT)
            err = yula_task_sleep_until(self->loop, YULA_NEVER);
    }
    err = yula_deadline_leave(&outer, err);
    return err == -ETIMEDOUT ? 0 : err;
}

SCENE(a_deadline_in_another, .calls = "yula_task_sleep_until",
      .play = play_deadlines)

static int
play_shield(stage *self)
{
    yula_scope scope;

    yula_shield_enter(self->loop, &scope);
    int err = yula_task_sleep(self->loop, MS);
    OUGHT(err == 0 || err == -ENOMEM);
    yula_shield_leave(&scope);
    int checked = yula_task_check(self->loop);
    return err == 0 ? checked : err;
}

SCENE(a_shield, .calls = "yula_task_sleep", .play = play_shield)

/* Other tasks. */

static int
nap(yula_task *task, void *arg)
{
    return yula_task_sleep(yula_task_loop(task), MS);
}

static int
play_join(stage *self)
{
    yula_task *child;
    int result, err = yula_task_spawn(self->loop, NULL, nap, NULL, &child);

    if (err < 0)
        return err;
    err = yula_task_join(child, &result);
    if (err == 0)
        return result;
    yula_task_cancel(child);
    yula_task_unref(child);
    return err;
}

SCENE(a_join, .calls = "yula_task_join", .play = play_join)

static int
play_group(stage *self)
{
    yula_group group;
    int err = 0;

    yula_group_enter(self->loop, &group);
    for (int i = 0; i < 2 && err == 0; i++)
        err = yula_group_spawn(&group, NULL, nap, NULL, NULL);
    return yula_group_leave(&group, err);
}

SCENE(a_group, .calls = "yula_group_leave", .play = play_group)

static int
nap_and_fail(yula_task *task, void *arg)
{
    int err = nap(task, arg);

    return err == 0 ? -EPROTO : err;
}

/* The second wait is the one that the failure interrupts. */
static int
play_failing_group(stage *self)
{
    yula_group group;

    yula_group_enter(self->loop, &group);
    int err = yula_group_spawn(&group, NULL, nap_and_fail, NULL, NULL);
    if (err == 0)
        err = yula_group_spawn(&group, NULL, nap, NULL, NULL);
    if (err == 0)
        err = yula_task_sleep(self->loop, MS / 2);
    if (err == 0)
        err = yula_task_sleep_until(self->loop, YULA_NEVER);
    err = yula_group_leave(&group, err);
    return err == -EPROTO ? 0 : err;
}

SCENE(a_group_that_fails, .calls = "yula_group_leave",
      .play = play_failing_group)

static bool
withdraw_nothing(yula_task *task, void *arg)
{
    ((stage *)arg)->done = true;
    return true;
}

static int
play_suspend(stage *self)
{
    return yula_task_suspend(self->victim, "poke", withdraw_nothing, self);
}

static void
poke_suspended(stage *self)
{
    if (!self->done)
        yula_task_resume(self->victim, 0);
}

SCENE(a_suspended_task, .calls = "yula_task_suspend", .play = play_suspend,
      .poke = poke_suspended)

/* A coroutine of the task's may wait, too. */

static void
generate(yula_coroutine *coroutine, void *arg)
{
    stage *self = arg;

    self->result = yula_task_sleep(self->loop, MS);
    yula_coroutine_yield(coroutine, self);
}

static int
play_coroutine(stage *self)
{
    yula_coroutine *coroutine;
    int err = yula_coroutine_new(self->loop, 0, generate, self, &coroutine);

    if (err < 0)
        return err;
    OUGHT(yula_coroutine_resume(coroutine, NULL) == self);
    err = self->result;
    if (err == 0)
        err = yula_task_sleep(self->loop, MS);
    (void)yula_coroutine_resume(coroutine, NULL);
    yula_coroutine_free(coroutine);
    return err;
}

SCENE(a_coroutine_in_a_task, .calls = "yula_task_sleep", .play = play_coroutine)

/* Each other. */

static void
set_sync(stage *self)
{
    yula_event_init(self->loop, &self->event);
    yula_mutex_init(self->loop, &self->mutex);
    yula_condition_init(&self->changed);
    yula_semaphore_init(self->loop, &self->semaphore, 0);
    yula_queue_init(self->loop, &self->queue, self->slots, 1);
}

static int
play_event(stage *self)
{
    return yula_event_wait(&self->event);
}

static void
poke_event(stage *self)
{
    yula_event_set(&self->event);
}

SCENE(an_event, .calls = "yula_event_wait", .play = play_event, .set = set_sync,
      .poke = poke_event)

static void
set_locked(stage *self)
{
    set_sync(self);
    CHECK_EQ(yula_mutex_lock(&self->mutex), 0);
}

static int
play_mutex(stage *self)
{
    int err = yula_mutex_lock(&self->mutex);

    if (err < 0)
        return err;
    OUGHT(self->mutex.owner == self->victim);
    return yula_mutex_unlock(&self->mutex);
}

static void
unlock_if_ours(stage *self)
{
    if (self->mutex.owner == self->shadow)
        CHECK_EQ(yula_mutex_unlock(&self->mutex), 0);
}

static void
mutex_is_free(stage *self)
{
    OUGHT(self->mutex.owner == NULL || self->mutex.owner == self->shadow);
    OUGHT(self->mutex.waiting.first == NULL);
    OUGHT(self->changed.waiting.first == NULL);
}

SCENE(a_mutex, .calls = "yula_mutex_lock", .play = play_mutex,
      .set = set_locked, .poke = unlock_if_ours, .clear = mutex_is_free)

static int
play_semaphore(stage *self)
{
    int err = yula_semaphore_acquire(&self->semaphore);

    if (err == 0)
        self->done = true;
    return err;
}

static void
poke_semaphore(stage *self)
{
    if (self->pokes++ == 0)
        yula_semaphore_release(&self->semaphore);
}

static void
semaphore_adds_up(stage *self)
{
    OUGHT((int)self->semaphore.free + self->done == self->pokes);
}

SCENE(a_semaphore, .calls = "yula_semaphore_acquire", .play = play_semaphore,
      .set = set_sync, .poke = poke_semaphore, .clear = semaphore_adds_up)

static int
play_condition(stage *self)
{
    int err = yula_mutex_lock(&self->mutex);

    if (err < 0)
        return err;
    err = yula_condition_wait(&self->changed, &self->mutex);
    OUGHT(self->mutex.owner == self->victim);
    (void)yula_mutex_unlock(&self->mutex);
    return err;
}

/* Have the mutex, notify, give it back some time later. */
static void
poke_condition(stage *self)
{
    if (self->mutex.owner == self->shadow) {
        if (self->pokes++ % 3 == 2)
            CHECK_EQ(yula_mutex_unlock(&self->mutex), 0);
    }
    else if (self->mutex.owner == NULL) {
        CHECK_EQ(yula_mutex_lock(&self->mutex), 0);
        (void)yula_condition_notify(&self->changed, 1);
    }
}

SCENE(a_condition, .calls = "yula_condition_wait", .play = play_condition,
      .set = set_sync, .poke = poke_condition, .clear = mutex_is_free,
      .often = true)

static int
play_queue(stage *self)
{
    void *got;
    int err = yula_queue_put(&self->queue, self);

    if (err == 0)
        err = yula_queue_put(&self->queue, self); /* full */
    if (err == 0)
        err = yula_queue_join(&self->queue);
    if (err == 0)
        err = yula_queue_get(&self->queue, &got);
    return err;
}

static void
poke_queue(stage *self)
{
    void *item;

    if (self->queue.undone == 0 && self->queue.getters.first != NULL)
        CHECK_EQ(yula_queue_try_put(&self->queue, self), 0);
    else if (yula_queue_try_get(&self->queue, &item) == 0)
        yula_queue_done(&self->queue);
}

static void
queue_is_left(stage *self)
{
    OUGHT(self->queue.getters.first == NULL);
    OUGHT(self->queue.putters.first == NULL);
    OUGHT(self->queue.joiners.first == NULL);
}

SCENE(a_queue, .calls = "yula_queue_put yula_queue_get yula_queue_join",
      .play = play_queue, .set = set_sync, .poke = poke_queue,
      .clear = queue_is_left, .often = true)

static void
set_channels(stage *self)
{
    CHECK_EQ(yula_channel_new(self->loop, sizeof(int), 0, &self->channel), 0);
    CHECK_EQ(yula_channel_new(self->loop, sizeof(int), 1, &self->other), 0);
}

static int
play_channel(stage *self)
{
    int item = 5, err = yula_channel_send(self->channel, &item);

    item = 0;
    if (err == 0)
        err = yula_channel_recv(self->channel, &item);
    OUGHT(err != 0 || item == 7);
    return err;
}

static void
poke_channel(stage *self)
{
    int item = 0, seven = 7;

    if (yula_channel_try_recv(self->channel, &item) == 0)
        OUGHT(item == 5);
    else
        (void)yula_channel_try_send(self->channel, &seven);
}

static void
free_channels(stage *self)
{
    yula_channel_free(self->channel);
    yula_channel_free(self->other);
}

SCENE(a_channel, .calls = "yula_channel_send yula_channel_recv",
      .play = play_channel, .set = set_channels, .poke = poke_channel,
      .clear = free_channels)

static int
play_select(stage *self)
{
    int item = 5, got[2] = {0};
    yula_channel_case cases[] = {
        {.channel = self->channel, .op = YULA_CHANNEL_SEND, .item = &item},
        {.channel = self->channel, .op = YULA_CHANNEL_RECV, .item = &got[0]},
        {.channel = self->other, .op = YULA_CHANNEL_RECV, .item = &got[1]},
    };
    int err = 0;

    for (int i = 0; i < 2 && err >= 0; i++)
        err = yula_channel_select(self->loop, cases, 3, YULA_NEVER);
    if (err >= 0) /* nobody comes */
        err = yula_channel_select(self->loop, cases, 3,
                                  yula_loop_now(self->loop) + MS);
    return err == -ETIMEDOUT ? 0 : err;
}

static void
poke_select(stage *self)
{
    int item = 7;

    if (self->pokes == 0)
        CHECK_EQ(yula_channel_try_recv(self->channel, &item), 0);
    else if (self->pokes == 1)
        CHECK_EQ(yula_channel_try_send(self->other, &item), 0);
    self->pokes++;
}

SCENE(a_select, .calls = "yula_channel_select", .play = play_select,
      .set = set_channels, .poke = poke_select, .clear = free_channels)

static void
set_mailbox(stage *self)
{
    CHECK_EQ(yula_mailbox_new(&test_allocator, 1, &self->mailbox), 0);
}

static int
play_mailbox(stage *self)
{
    void *got;
    int err = 0;

    for (int i = 0; i < 2 && err == 0; i++) /* the second waits */
        err = yula_mailbox_send(self->loop, self->mailbox, self);
    if (err == 0)
        err = yula_mailbox_recv(self->loop, self->mailbox, &got);
    return err;
}

/* Whoever waits: one of the two can be done. From another thread. */
static void *
use_mailbox(void *arg)
{
    stage *self = arg;
    void *message;

    if (self->pokes++ == 0)
        while (yula_mailbox_try_recv(self->mailbox, &message) == 0)
            ;
    else
        (void)yula_mailbox_try_send(self->mailbox, self);
    return NULL;
}

static void
poke_mailbox(stage *self)
{
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, use_mailbox, self), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void
free_mailbox(stage *self)
{
    yula_mailbox_free(self->mailbox);
}

SCENE(a_mailbox, .calls = "yula_mailbox_send yula_mailbox_recv",
      .play = play_mailbox, .set = set_mailbox, .poke = poke_mailbox,
      .clear = free_mailbox)

/* Threads and signals. */

static int
count_one(void *arg)
{
    ++*(int *)arg;
    return 7;
}

static int
play_work(stage *self)
{
    int count = 0, result = yula_await_work(self->loop, count_one, &count);

    OUGHT(result < 0 || result == 7);
    OUGHT(count == (result == 7));
    return result == 7 ? 0 : result;
}

SCENE(blocking_work, .calls = "yula_await_work", .play = play_work)

static int
count_unless_asked(const yula_stop *stop, void *arg)
{
    return yula_stop_asked(stop) ? YULA_ECANCELED : count_one(arg);
}

static int
play_stoppable(stage *self)
{
    int count = 0,
        result = yula_await_stoppable(self->loop, count_unless_asked, &count);

    OUGHT(result < 0 || result == 7);
    OUGHT(count == (result == 7));
    return result == 7 ? 0 : result;
}

SCENE(stoppable_work, .calls = "yula_await_stoppable", .play = play_stoppable)

static int
play_resolve(stage *self)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    int err = 0;

    for (int i = 0; i < 2 && err == 0; i++) {
        err = yula_await_resolve(self->loop, hosts[i], "80", &hints, &list);
        if (err == 0)
            yula_addrinfo_free(list);
    }
    return err;
}

SCENE(a_name, .calls = "yula_await_resolve", .play = play_resolve)

static int
play_signal(stage *self)
{
    static const int numbers[] = {SIGUSR1, SIGUSR2};
    yula_signal_set set;
    int err = yula_signal_set_open(self->loop, &set, numbers, 2);

    if (err < 0)
        return err;
    for (int i = 0; i < 2 && err >= 0; i++) {
        err = yula_signal_set_next(&set);
        OUGHT(err < 0 || err == numbers[i]);
    }
    yula_signal_set_close(&set);
    return err < 0 ? err : 0;
}

static void
poke_signal(stage *self)
{
    raise(self->pokes++ == 0 ? SIGUSR1 : SIGUSR2);
}

SCENE(a_signal, .calls = "yula_signal_set_next", .play = play_signal,
      .poke = poke_signal)

/* Descriptors. */

static void
set_pair(stage *self)
{
    test_unix_pair(self->fds);
}

static void
set_tcp(stage *self)
{
    test_tcp_pair(self->fds);
}

static int
play_fd(stage *self)
{
    char byte;
    int events = yula_await_fd(self->loop, self->fds[0], YULA_WRITABLE);

    if (events > 0)
        events = yula_await_fd(self->loop, self->fds[0], YULA_READABLE);
    OUGHT(events < 0 || recv(self->fds[0], &byte, 1, 0) == 1);
    return events < 0 ? events : 0;
}

static void
poke_fd(stage *self)
{
    if (self->waits == 2 && self->pokes++ == 0)
        test_send_all(self->fds[1], "x", 1);
}

SCENE(a_descriptor, .calls = "yula_await_fd", .play = play_fd, .set = set_pair,
      .poke = poke_fd)

static void
set_listening(stage *self)
{
    self->listening = test_listen(&self->addr, &self->addr_len);
    snprintf(self->port, sizeof(self->port), "%d",
             ntohs(((struct sockaddr_in *)&self->addr)->sin_port));
}

static int
play_connect(stage *self)
{
    int fd = yula_await_connect(self->loop, (struct sockaddr *)&self->addr,
                                self->addr_len);

    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

SCENE(connecting, .calls = "yula_await_connect", .play = play_connect,
      .set = set_listening)

/* Somebody connects; and whoever did before is gone. */
static void
poke_listening(stage *self)
{
    if (self->fds[1] >= 0)
        close(self->fds[1]);
    self->fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(self->fds[1] >= 0);
    CHECK_EQ(
        connect(self->fds[1], (struct sockaddr *)&self->addr, self->addr_len),
        0);
    test_send_all(self->fds[1], "hello\n", 6);
}

static int
play_accept(stage *self)
{
    struct sockaddr_storage addr;
    yula_acceptor *acceptor;
    int err = yula_acceptor_new(self->loop, self->listening, &acceptor);

    if (err < 0)
        return err;
    for (int i = 0; i < 2 && err >= 0; i++) {
        socklen_t addr_len = sizeof(addr);
        err = yula_acceptor_accept(acceptor, (struct sockaddr *)&addr,
                                   &addr_len);
        if (err >= 0)
            close(err);
    }
    yula_acceptor_free(acceptor);
    return err < 0 ? err : 0;
}

SCENE(accepting, .calls = "yula_acceptor_accept", .play = play_accept,
      .set = set_listening, .poke = poke_listening)

static int
greet(yula_conn *conn, void *arg)
{
    stage *self = arg;
    char *line;
    ssize_t len = yula_conn_read_line(conn, &line);

    if (len < 0)
        return (int)len;
    int err = yula_conn_write(conn, "good day\n", 9);
    if (err == 0) {
        self->done = true;
        yula_task_cancel(self->victim);
    }
    return err;
}

static int
play_serve(stage *self)
{
    int err = yula_conn_serve(self->loop, self->listening, greet, self);

    OUGHT(err < 0);
    return self->done && err == YULA_ECANCELED ? 0 : err;
}

/* The server goes on whatever happens to single connections: it takes no harm,
 * and a task that cannot be made is a connection closed. */
static void
poke_server(stage *self)
{
    if (++self->pokes > 2000)
        yula_task_cancel(self->victim);
    else if (self->pokes % 20 == 1)
        poke_listening(self);
}

SCENE(serving, .calls = "yula_conn_serve", .play = play_serve,
      .set = set_listening, .poke = poke_server, .often = true,
      .ends_cancelled = true)

/* Connections. */

static int
play_conn_connect(stage *self)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    int err = 0;

    for (int i = 0; i < 2 && err == 0; i++) {
        yula_conn *conn;
        err = yula_conn_connect(self->loop, hosts[i], self->port, &conn);
        if (err == 0)
            yula_conn_close(conn);
    }
    return err;
}

SCENE(connecting_to_a_name, .calls = "yula_conn_connect",
      .play = play_conn_connect, .set = set_listening)

/* Of one end of the pair. */
static int
open_conn(stage *self, yula_conn **out)
{
    int err = yula_conn_new(self->loop, self->fds[0], out);

    if (err == 0)
        self->fds[0] = -1;
    return err;
}

static int
play_read(stage *self)
{
    yula_conn *conn;
    char bytes[8];
    size_t got = 0;
    int err = open_conn(self, &conn);

    if (err < 0)
        return err;
    ssize_t n = yula_conn_read(conn, bytes, sizeof(bytes));
    if (n > 0)
        n = yula_conn_read_exactly(conn, bytes, 7, &got);
    OUGHT(n != 0 || (got == 7 && memcmp(bytes, "abcabca", 7) == 0));
    yula_conn_close(conn);
    return n < 0 ? (int)n : 0;
}

static void
poke_bytes(stage *self)
{
    test_send_all(self->fds[1], "abc", 3);
}

SCENE(a_read, .calls = "yula_conn_read yula_conn_read_exactly",
      .play = play_read, .set = set_tcp, .poke = poke_bytes)

static int
play_wait_and_try(stage *self)
{
    yula_conn *conn;
    char bytes[8];
    ssize_t n = -EAGAIN;
    int err = open_conn(self, &conn);

    if (err < 0)
        return err;
    while (err == 0 && n == -EAGAIN) {
        err = yula_conn_wait(conn);
        if (err == 0)
            n = yula_conn_try_read(conn, bytes, sizeof(bytes));
    }
    OUGHT(n < 0 || (n == 3 && memcmp(bytes, "abc", 3) == 0));
    yula_conn_close(conn);
    if (err < 0)
        return err;
    return n < 0 ? (int)n : 0;
}

SCENE(a_wait_for_something_to_read, .calls = "yula_conn_wait",
      .play = play_wait_and_try, .set = set_tcp, .poke = poke_bytes)

static int
play_lines(stage *self)
{
    yula_conn *conn;
    char *line;
    int err = open_conn(self, &conn);

    if (err < 0)
        return err;
    ssize_t len = yula_conn_read_line(conn, &line);
    if (len >= 0) {
        OUGHT(strcmp(line, "ab") == 0);
        len = yula_conn_read_until(conn, "--", 2, &line);
        OUGHT(len < 0 || (len == 3 && memcmp(line, "x--", 3) == 0));
    }
    yula_conn_close(conn);
    return len < 0 ? (int)len : 0;
}

static void
poke_lines(stage *self)
{
    static const char pieces[][3] = {"a", "b", "\r", "\n", "x-", "-"};

    if (self->pokes < 6)
        test_send_all(self->fds[1], pieces[self->pokes],
                      strlen(pieces[self->pokes]));
    self->pokes++;
}

SCENE(lines, .calls = "yula_conn_read_line yula_conn_read_until",
      .play = play_lines, .set = set_pair, .poke = poke_lines)

enum {
    BULK = 1 << 20
};

static int
play_write(stage *self)
{
    yula_conn *conn;
    char *bytes = calloc(1, BULK);
    int err = open_conn(self, &conn);

    if (err == 0) {
        err = yula_conn_write(conn, bytes, BULK); /* in parts */
        if (err == 0)
            err = yula_conn_write(conn, bytes, YULA_STREAM_HIGH);
        if (err == 0)
            err = yula_conn_drain(conn);
        if (err == 0)
            yula_conn_close(conn);
        else
            yula_conn_abort(conn);
    }
    free(bytes);
    return err;
}

static void
poke_reader(stage *self)
{
    static char bytes[256 * 1024];

    if (self->pokes++ % 2 == 0)
        (void)recv(self->fds[1], bytes, sizeof(bytes), MSG_DONTWAIT);
}

SCENE(a_write, .calls = "yula_conn_write yula_conn_drain", .play = play_write,
      .set = set_pair, .poke = poke_reader, .often = true)

/* Datagrams. */

static void
set_datagrams(stage *self)
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                        self->fds),
             0);
}

static int
open_port(stage *self, yula_port **out)
{
    int err = yula_port_new(self->loop, self->fds[0], out);

    if (err == 0)
        self->fds[0] = -1;
    return err;
}

static int
play_receive(stage *self)
{
    yula_port *port;
    char bytes[8];
    int err = open_port(self, &port);

    if (err < 0)
        return err;
    for (int i = 0; i < 2 && err == 0; i++) {
        ssize_t n = yula_port_receive(port, bytes, sizeof(bytes), NULL, NULL);
        OUGHT(n < 0 || n == 3);
        err = n < 0 ? (int)n : 0;
    }
    yula_port_close(port);
    return err;
}

SCENE(receiving_datagrams, .calls = "yula_port_receive", .play = play_receive,
      .set = set_datagrams, .poke = poke_bytes)

static int
play_send(stage *self)
{
    static char bytes[8192];
    yula_port *port;
    int err = open_port(self, &port);

    if (err < 0)
        return err;
    while (err == 0 && self->waits < 3)
        err = yula_port_send(port, bytes, sizeof(bytes), NULL, 0);
    yula_port_close(port);
    return err;
}

SCENE(sending_datagrams, .calls = "yula_port_send", .play = play_send,
      .set = set_datagrams, .poke = poke_reader, .often = true)

/* --- nothing was forgotten ----------------------------------------------- */

TEST(whatever_waits_according_to_the_headers_is_hurt_by_a_test)
{
    hurt_check_headers(YULA__TEST_ROOT "/include/yula",
                       YULA__TEST_ROOT "/tests/core");
}
