/* test_sendfile.c: files over connections. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors.h"
#include "base/sys.h"
#include "support.h"
#include "test.h"

#define LEN (((size_t)3 << 20) + 4321) /* more than any socket here takes */

/* A connection, its other end, and a file of LEN bytes that is nowhere. */
typedef struct delivery {
    yula_loop *loop;
    yula_conn *conn;
    int peer;
    int fd;
    char *bytes; /* what the file has */
    size_t len, sent;
    int64_t offset;
    char *got; /* what came, and how much */
    size_t got_len;
} delivery;

static void
fill_file(delivery *self)
{
    char path[] = "/tmp/yula-sendfile-XXXXXX";

    self->fd = mkostemp(path, O_CLOEXEC);
    CHECK(self->fd >= 0);
    CHECK_EQ(unlink(path), 0);
    self->bytes = malloc(LEN);
    self->got = malloc(LEN + 100);
    CHECK(self->bytes != NULL && self->got != NULL);
    for (size_t i = 0; i < LEN; i++)
        self->bytes[i] = (char)(i * 31 + i / 4096);
    for (size_t at = 0; at < LEN;) {
        ssize_t n = write(self->fd, self->bytes + at, LEN - at);
        CHECK(n > 0);
        at += (size_t)n;
    }
}

static void
begin(delivery *self, yula_loop *loop, bool tcp)
{
    int fds[2];

    *self = (delivery){.loop = loop, .len = LEN};
    if (tcp)
        test_tcp_pair(fds);
    else
        test_unix_pair(fds);
    self->peer = fds[1];
    CHECK_EQ(yula_conn_new(loop, fds[0], &self->conn), 0);
    fill_file(self);
}

static void
end(delivery *self)
{
    yula_conn_abort(self->conn);
    if (self->peer >= 0)
        close(self->peer);
    close(self->fd);
    free(self->bytes);
    free(self->got);
}

/* Take what there is at the peer. */
static void
take(delivery *self)
{
    ssize_t n;

    while ((n = recv(self->peer, self->got + self->got_len,
                     LEN + 100 - self->got_len, MSG_DONTWAIT)) > 0)
        self->got_len += (size_t)n;
}

/* Until so much has come. */
static void
take_all(delivery *self, size_t len)
{
    while (self->got_len < len) {
        take(self);
        CHECK_EQ(yula_loop_step(self->loop, 0), 0);
    }
    take(self);
    CHECK_EQ(self->got_len, len);
}

static int
send_it(actor *self, void *arg)
{
    delivery *of = arg;

    return yula_file_send(of->conn, of->fd, of->offset, of->len, &of->sent);
}

static int
write_it(actor *self, void *arg)
{
    delivery *of = arg;

    return yula_conn_write(of->conn, self->name, strlen(self->name));
}

TEST(a_file_arrives_in_order_with_what_is_written_around_it)
{
    for (int tcp = 0; tcp < 2; tcp++) {
        yula_loop *loop = test_loop();
        delivery of;
        actor before, file, after;

        begin(&of, loop, tcp);
        of.offset = 1000;
        of.len = LEN - 1000 - 77;
        actor_start(&before, loop, "head:", write_it, &of);
        actor_start(&file, loop, "file", send_it, &of);
        actor_start(&after, loop, ":tail", write_it, &of);
        settle(loop);
        CHECK(!yula_task_ended(file.task));
        CHECK(!yula_task_ended(after.task));
        CHECK_EQ(yula_conn_try_write(of.conn, "no", 2), -EAGAIN);
        take_all(&of, of.len + 10);
        CHECK_EQ(actor_end(&before), 0);
        CHECK_EQ(actor_end(&file), 0);
        CHECK_EQ(actor_end(&after), 0);
        CHECK_EQ(of.sent, of.len);
        CHECK_EQ(memcmp(of.got, "head:", 5), 0);
        CHECK_EQ(memcmp(of.got + 5, of.bytes + 1000, of.len), 0);
        CHECK_EQ(memcmp(of.got + 5 + of.len, ":tail", 5), 0);
        CHECK_EQ(lseek(of.fd, 0, SEEK_CUR), LEN); /* the position stays */
        end(&of);
        yula_loop_free(loop);
    }
}

/* Not in memory, or not known to be: the worker sends. */
TEST(what_is_not_in_memory_is_sent_by_a_worker)
{
    for (int tcp = 0; tcp < 2; tcp++) {
        yula_loop *loop = test_loop();
        delivery of;
        actor file;

        begin(&of, loop, tcp);
        test_fail_sys_named("file_read_cached", 1, EOPNOTSUPP);
        actor_start(&file, loop, "file", send_it, &of);
        take_all(&of, LEN);
        CHECK_EQ(actor_end(&file), 0);
        CHECK_EQ(memcmp(of.got, of.bytes, LEN), 0);
        end(&of);
        yula_loop_free(loop);
        test_faults_clear();
    }
}

TEST(a_file_that_shrinks_while_it_is_sent_ends_the_sending_and_says_where)
{
    for (int cached = 0; cached < 2; cached++) {
        yula_loop *loop = test_loop();
        delivery of;
        actor file;

        begin(&of, loop, true);
        if (!cached)
            test_fail_sys_named("file_read_cached", 1, EAGAIN);
        actor_start(&file, loop, "file", send_it, &of);
        settle(loop);
        CHECK(!yula_task_ended(file.task));
        CHECK_EQ(ftruncate(of.fd, (off_t)LEN - 100), 0);
        take_all(&of, LEN - 100);
        CHECK_EQ(actor_end(&file), YULA_EOF);
        CHECK_EQ(of.sent, LEN - 100);
        end(&of);
        yula_loop_free(loop);
        test_faults_clear();
    }
}

TEST(sending_that_is_cancelled_says_how_much_went_and_goes_on_there)
{
    yula_loop *loop = test_loop();
    delivery of;
    actor file;

    begin(&of, loop, true);
    actor_start(&file, loop, "file", send_it, &of);
    settle(loop);
    yula_task_cancel(file.task);
    CHECK_EQ(actor_end(&file), YULA_ECANCELED);
    CHECK(of.sent > 0 && of.sent < LEN);
    take(&of);
    actor_start(&file, loop, "file", send_it, &of);
    take_all(&of, LEN);
    CHECK_EQ(actor_end(&file), 0);
    CHECK_EQ(of.sent, LEN);
    CHECK_EQ(memcmp(of.got, of.bytes, LEN), 0);
    end(&of);
    yula_loop_free(loop);
}

static int
send_in_time(actor *self, void *arg)
{
    yula_scope scope;

    CHECK_EQ(yula_deadline_enter(self->loop, &scope,
                                 yula_loop_now(self->loop) + 1000),
             0);
    return yula_deadline_leave(&scope, send_it(self, arg));
}

TEST(a_deadline_ends_the_sending_to_a_peer_that_takes_nothing)
{
    yula_loop *loop = test_loop_by_hand();
    delivery of;
    actor file;

    begin(&of, loop, true);
    actor_start(&file, loop, "file", send_in_time, &of);
    settle(loop);
    CHECK(!yula_task_ended(file.task));
    test_now_ns += 2000;
    CHECK_EQ(actor_end(&file), -ETIMEDOUT);
    end(&of);
    yula_loop_free(loop);
}

/* SIGPIPE would end this program. */
TEST(a_peer_that_goes_is_an_error_and_no_signal)
{
    for (int cached = 0; cached < 2; cached++) {
        yula_loop *loop = test_loop();
        delivery of;
        actor file;
        sigset_t pending;

        begin(&of, loop, false);
        if (!cached)
            test_fail_sys_named("file_read_cached", 1, EAGAIN);
        actor_start(&file, loop, "file", send_it, &of);
        settle(loop);
        close(of.peer);
        of.peer = -1;
        int err = actor_end(&file);
        CHECK(err == -EPIPE || err == -ECONNRESET);
        of.sent = 0;
        actor_start(&file, loop, "file", send_it, &of);
        err = actor_end(&file);
        CHECK(err == -EPIPE || err == -ECONNRESET);
        CHECK_EQ(sigpending(&pending), 0);
        CHECK(!sigismember(&pending, SIGPIPE));
        end(&of);
        yula_loop_free(loop);
        test_faults_clear();
    }
}

static int
send_badly(actor *self, void *arg)
{
    delivery *of = arg;
    size_t none = 0;
    int fds[2];

    CHECK_EQ(yula_file_send(of->conn, of->fd, -1, 1, NULL), -EINVAL);
    CHECK_EQ(yula_file_send(of->conn, of->fd, 10, SIZE_MAX, NULL), -EINVAL);
    CHECK_EQ(yula_file_send(of->conn, -1, 0, 1, &none), -EBADF);
    CHECK_EQ(yula_file_send(of->conn, of->fd, 0, 0, NULL), 0);
    CHECK_EQ(yula_file_send(of->conn, of->fd, LEN, 1, &none), YULA_EOF);
    CHECK_EQ(yula_file_send(of->conn, of->fd, LEN - 1, 2, &none), YULA_EOF);
    CHECK_EQ(none, 1);
    CHECK_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    CHECK(yula_file_send(of->conn, fds[0], 0, 1, NULL) < 0);
    close(fds[0]);
    close(fds[1]);
    CHECK_EQ(yula_conn_shutdown(of->conn), 0);
    CHECK_EQ(yula_file_send(of->conn, of->fd, 0, 1, NULL), -EPIPE);
    return 0;
}

TEST(what_cannot_be_sent_is_refused)
{
    yula_loop *loop = test_loop();
    delivery of;
    actor ann;

    begin(&of, loop, true);
    actor_start(&ann, loop, "ann", send_badly, &of);
    CHECK_EQ(actor_end(&ann), 0);
    end(&of);
    yula_loop_free(loop);
}

static int
take_slowly(actor *self, void *arg)
{
    delivery *of = arg;

    while (of->got_len < of->len) {
        int err = yula_await_fd(self->loop, of->peer, YULA_READABLE);
        if (err < 0)
            return err;
        take(of);
    }
    return 0;
}

static bool cached_scene;

static void
scene_of_a_delivery(yula_loop *loop)
{
    delivery of;
    actor sender, reader;

    int size = 32 * 1024;
    begin(&of, loop, true);
    CHECK_EQ(setsockopt(of.peer, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)),
             0);
    of.len = 900000;
    if (!cached_scene)
        test_fail_sys_named("file_read_cached", 1, EAGAIN);
    actor_start(&reader, loop, "reader", take_slowly, &of);
    actor_start(&sender, loop, "sender", send_it, &of);
    while (!yula_task_ended(sender.task)) {
        if (yula_task_ended(reader.task))
            take(&of);
        CHECK_EQ(yula_loop_step(loop, yula_loop_now(loop) + 1000000), 0);
    }
    int err = actor_end(&sender);
    CHECK(err == 0 || err == YULA_ECANCELED);
    if (err == 0)
        take_all(&of, of.len);
    yula_task_cancel(reader.task);
    (void)actor_end(&reader);
    CHECK_EQ(memcmp(of.got, of.bytes, of.got_len), 0);
    CHECK(of.sent >= of.got_len);
    end(&of);
}

TEST(sending_survives_an_interruption_at_every_wait)
{
    for (int cached = 0; cached < 2; cached++) {
        cached_scene = cached;
        CHECK(actor_interrupt_everywhere(scene_of_a_delivery) >= 3);
        test_faults_clear();
    }
}

TEST(a_failing_call_while_sending_is_told)
{
    static const char *const calls[] = {"sendfile", "thread_start"};

    for (int i = 0; i < 2; i++) {
        bool failed = true;
        for (long n = 1; failed; n++) {
            yula_loop *loop = test_loop();
            delivery of;
            actor file;
            begin(&of, loop, true);
            of.len = 300000;
            test_fail_sys_named(calls[i], n, EIO);
            actor_start(&file, loop, "file", send_it, &of);
            while (!yula_task_ended(file.task)) {
                take(&of);
                CHECK_EQ(yula_loop_step(loop, 0), 0);
            }
            failed = test_sys_failed();
            int err = actor_end(&file);
            CHECK(err == 0 || (failed && err == -EIO));
            if (err == 0)
                take_all(&of, of.len);
            end(&of);
            yula_loop_free(loop);
            test_faults_clear();
        }
    }
}
