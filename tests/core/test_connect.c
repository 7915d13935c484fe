/* test_connect.c: connecting new sockets. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "support.h"
#include "test.h"

typedef struct attempt {
    yula_connect *connect;
    bool answered;
    int status;
    int fd;
} attempt;

static void
on_connect(int status, int fd, void *arg)
{
    attempt *self = arg;

    CHECK(!self->answered);
    CHECK_EQ(fd >= 0, status == 0);
    self->answered = true;
    self->status = status;
    self->fd = fd;
}

static int
start(yula_loop *loop, attempt *self, const struct sockaddr_storage *addr,
      socklen_t addr_len)
{
    *self = (attempt){.fd = -1};
    return yula_connect_start(loop, YULA_LANE_HOST,
                              (const struct sockaddr *)addr, addr_len,
                              on_connect, self, &self->connect);
}

TEST(a_connection_is_made_and_belongs_to_the_callback)
{
    yula_loop *loop = test_loop();
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int listening = test_listen(&addr, &addr_len);
    attempt self;

    CHECK_EQ(start(loop, &self, &addr, addr_len), 0);
    CHECK(!self.answered);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(self.status, 0);
    CHECK(fcntl(self.fd, F_GETFL) & O_NONBLOCK);
    int accepted = accept(listening, NULL, NULL);
    test_send_all(accepted, "x", 1);
    test_wait_readable(self.fd);
    close(accepted);
    close(self.fd);
    close(listening);
    yula_loop_free(loop);
}

/* A port that was bound and let go of again. */
static void
unused_port(struct sockaddr_storage *addr, socklen_t *addr_len)
{
    close(test_listen(addr, addr_len));
}

TEST(a_refused_connection_says_so)
{
    yula_loop *loop = test_loop();
    struct sockaddr_storage addr;
    socklen_t addr_len;
    attempt self;

    unused_port(&addr, &addr_len);
    CHECK_EQ(start(loop, &self, &addr, addr_len), 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(self.status, -ECONNREFUSED);
    yula_loop_free(loop);
}

TEST(a_unix_socket_is_connected)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNIX};
    socklen_t addr_len = sizeof(addr);
    yula_loop *loop = test_loop();
    attempt self;
    int listening = yula_listen_socket((struct sockaddr *)&addr,
                                       sizeof(sa_family_t), 10);

    CHECK(listening >= 0);
    CHECK_EQ(getsockname(listening, (struct sockaddr *)&addr, &addr_len), 0);
    CHECK_EQ(start(loop, &self, &addr, addr_len), 0);
    CHECK(!self.answered);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(self.status, 0);
    close(self.fd);
    close(listening);
    CHECK_EQ(start(loop, &self, &addr, addr_len), 0);
    CHECK(!self.answered); /* known at once, told later */
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(self.status, -ECONNREFUSED);
    yula_loop_free(loop);
}

TEST(a_cancelled_attempt_says_so_and_closes_its_socket)
{
    yula_loop *loop = test_loop();
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int listening = test_listen(&addr, &addr_len);
    int fds = test_descriptors();
    attempt self;

    CHECK_EQ(start(loop, &self, &addr, addr_len), 0);
    yula_connect_cancel(self.connect);
    yula_connect_cancel(self.connect);
    CHECK(!self.answered);
    CHECK_EQ(test_descriptors(), fds); /* at once */
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(self.status, -ECANCELED);
    close(listening);
    yula_loop_free(loop);
}

static attempt *to_cancel;

static void
cancel_it(yula_work *work, void *arg)
{
    yula_connect_cancel(to_cancel->connect);
}

TEST(an_attempt_cancelled_between_success_and_callback_says_so)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNIX};
    socklen_t addr_len = sizeof(addr);
    yula_loop *loop = test_loop();
    yula_work work;
    attempt self;
    int listening = yula_listen_socket((struct sockaddr *)&addr,
                                       sizeof(sa_family_t), 10);

    CHECK_EQ(getsockname(listening, (struct sockaddr *)&addr, &addr_len), 0);
    yula_work_init(&work, YULA_LANE_HOST, cancel_it, NULL);
    yula_work_queue(loop, &work); /* runs before the answer */
    to_cancel = &self;
    CHECK_EQ(start(loop, &self, &addr, addr_len), 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(self.status, -ECANCELED);
    close(listening);
    yula_loop_free(loop);
}

TEST(an_attempt_still_going_on_is_freed_with_the_loop)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int listening = test_listen(&addr, &addr_len);

    for (int cancelled = 0; cancelled < 2; cancelled++) {
        yula_loop *loop = test_loop();
        attempt self;
        CHECK_EQ(start(loop, &self, &addr, addr_len), 0);
        if (cancelled)
            yula_connect_cancel(self.connect);
        yula_loop_free(loop);
        CHECK(!self.answered);
    }
    close(listening);
}

TEST(any_call_of_an_attempt_may_fail)
{
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int listening = test_listen(&addr, &addr_len);

    for (long n = 1;; n++) {
        yula_loop *loop = test_loop();
        attempt self;
        test_fail_sys(n, EACCES);
        int err = start(loop, &self, &addr, addr_len);
        while (err == 0 && !self.answered)
            (void)yula_loop_step(loop, YULA_NEVER); /* its poll may fail */
        bool failed = test_sys_failed();
        test_fail_sys(0, 0);
        CHECK_EQ(self.answered, err == 0);
        if (err == 0 && self.status == 0)
            close(self.fd);
        else
            CHECK_EQ(err < 0 ? err : self.status, -EACCES);
        yula_loop_free(loop);
        if (!failed)
            break;
    }
    yula_loop *loop = test_loop();
    attempt self;
    test_fail_alloc(1);
    CHECK_EQ(start(loop, &self, &addr, addr_len), -ENOMEM);
    test_fail_alloc(2); /* the table of watchers */
    CHECK_EQ(start(loop, &self, &addr, addr_len), 0);
    CHECK_EQ(yula_loop_run(loop), 0);
    CHECK_EQ(self.status, -ENOMEM);
    yula_loop_free(loop);
    close(listening);
}

/* The one stress of descriptor numbers the core can do alone: cancelled
 * attempts and closed streams give their numbers to the next ones at once. */
TEST(no_answer_reaches_the_attempt_that_got_the_number_next)
{
    yula_loop *loop = test_loop();
    struct sockaddr_storage addr, refused;
    socklen_t addr_len, refused_len;
    int listening = test_listen(&addr, &addr_len);

    unused_port(&refused, &refused_len);
    for (int round = 0; round < 500; round++) {
        attempt first, second;
        CHECK_EQ(start(loop, &first, &addr, addr_len), 0);
        yula_connect_cancel(first.connect);
        CHECK_EQ(start(loop, &second, &refused, refused_len), 0);
        CHECK_EQ(yula_loop_run(loop), 0);
        CHECK_EQ(first.status, -ECANCELED);
        CHECK_EQ(second.status, -ECONNREFUSED);
        close(accept(listening, NULL, NULL));
    }
    close(listening);
    yula_loop_free(loop);
}
