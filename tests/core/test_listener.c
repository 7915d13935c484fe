/* test_listener.c: accepting connections. */
#include <yula/listener.h> /* first: it must stand alone */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/loop_i.h"
#include "support.h"
#include "test.h"

enum {
    MOST = 300
};

typedef struct server {
    yula_loop *loop;
    yula_listener *listener;
    int fd;
    struct sockaddr_storage addr;
    socklen_t addr_len;
    int clients[MOST], client_count;
    int accepted[MOST], accepted_count;
    int errors[MOST], error_count;
    int family; /* of the peer's address */
    void (*on_accept)(struct server *server);
} server;

static void
on_connection(yula_listener *listener, int fd, const struct sockaddr *addr,
              socklen_t addr_len, void *arg)
{
    server *self = arg;

    if (fd < 0) {
        CHECK(addr_len == 0);
        self->errors[self->error_count++] = fd;
    }
    else {
        self->accepted[self->accepted_count++] = fd;
        self->family = addr->sa_family;
    }
    if (self->on_accept != NULL)
        self->on_accept(self);
}

static void
listen_on(server *self)
{
    CHECK_EQ(yula_listener_new(self->loop, YULA_LANE_HOST, self->fd,
                               on_connection, self, &self->listener),
             0);
}

static void
begin(server *self)
{
    memset(self, 0, sizeof(*self));
    self->loop = test_loop_by_hand();
    self->fd = test_listen(&self->addr, &self->addr_len);
    listen_on(self);
}

static void
connect_clients(server *self, int count)
{
    for (int i = 0; i < count; i++) {
        int fd = socket(self->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(fd >= 0);
        CHECK_EQ(connect(fd, (struct sockaddr *)&self->addr, self->addr_len),
                 0);
        self->clients[self->client_count++] = fd;
    }
}

static void
turns(server *self, int count)
{
    for (int i = 0; i < count; i++)
        test_turn(self->loop);
}

static void
finish(server *self)
{
    if (self->listener != NULL)
        yula_listener_free(self->listener);
    for (int i = 0; i < self->client_count; i++)
        close(self->clients[i]);
    for (int i = 0; i < self->accepted_count; i++)
        close(self->accepted[i]);
    close(self->fd);
    yula_loop_free(self->loop);
}

TEST(a_connection_is_non_blocking_and_closed_on_exec)
{
    server self;

    begin(&self);
    connect_clients(&self, 1);
    test_wait_readable(self.fd);
    turns(&self, 1);
    CHECK_EQ(self.accepted_count, 1);
    CHECK_EQ(self.family, AF_INET);
    CHECK(fcntl(self.accepted[0], F_GETFL) & O_NONBLOCK);
    CHECK(fcntl(self.accepted[0], F_GETFD) & FD_CLOEXEC);
    finish(&self);
}

TEST(a_burst_is_accepted_in_portions_so_that_others_have_their_turn)
{
    server self;

    begin(&self);
    connect_clients(&self, YULA_LISTENER_BUDGET + 30);
    test_wait_readable(self.fd);
    turns(&self, 1);
    CHECK_EQ(self.accepted_count, YULA_LISTENER_BUDGET);
    turns(&self, 1);
    CHECK_EQ(self.accepted_count, YULA_LISTENER_BUDGET + 30);
    finish(&self);
}

TEST(without_descriptors_the_listener_rests_and_tries_again)
{
    static const int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};

    for (int i = 0; i < 4; i++) {
        server self;
        begin(&self);
        connect_clients(&self, 2);
        test_wait_readable(self.fd);
        test_fail_sys_named("accept", 1, errors[i]);
        turns(&self, 3);
        CHECK_EQ(self.error_count, 1); /* told once, not in every turn */
        CHECK_EQ(self.errors[0], -errors[i]);
        test_now_ns += YULA_LISTENER_PAUSE_NS - 1;
        turns(&self, 2);
        CHECK_EQ(self.error_count, 1);
        test_now_ns += 1;
        turns(&self, 3);
        CHECK_EQ(self.error_count, 2); /* still short */
        test_fail_sys(0, 0);
        test_now_ns += YULA_LISTENER_PAUSE_NS;
        turns(&self, 3);
        CHECK_EQ(self.accepted_count, 2);
        CHECK_EQ(self.error_count, 2);
        finish(&self);
    }
}

TEST(a_listener_that_cannot_watch_again_after_its_rest_rests_again)
{
    static const int errors[] = {ENOMEM, ENOSPC};

    for (int i = 0; i < 2; i++) {
        server self;
        begin(&self);
        connect_clients(&self, 2);
        test_wait_readable(self.fd);
        test_fail_sys_named("accept", 1, EMFILE);
        turns(&self, 1);
        test_fail_sys_named("epoll_ctl", 1, errors[i]);
        test_now_ns += YULA_LISTENER_PAUSE_NS;
        turns(&self, 3);
        CHECK_EQ(self.error_count, 2);
        CHECK_EQ(self.errors[1], -errors[i]);
        test_fail_sys(0, 0);
        test_now_ns += YULA_LISTENER_PAUSE_NS;
        turns(&self, 3);
        CHECK_EQ(self.accepted_count, 2);
        finish(&self);
    }
}

TEST(a_listener_keeps_its_loop_running_while_it_rests)
{
    server self;

    begin(&self);
    connect_clients(&self, 1);
    test_wait_readable(self.fd);
    test_fail_sys_named("accept", 1, EMFILE);
    turns(&self, 1);
    CHECK_EQ(yula_loop_next_deadline(self.loop),
             test_now_ns + YULA_LISTENER_PAUSE_NS);
    finish(&self);
}

TEST(a_connection_that_was_gone_before_it_was_accepted_is_skipped)
{
    server self;

    begin(&self);
    connect_clients(&self, 1);
    test_wait_readable(self.fd);
    test_fail_sys(2, ECONNABORTED); /* 1 is the poll */
    turns(&self, 1);
    CHECK(test_sys_failed());
    CHECK_EQ(self.error_count, 0);
    CHECK_EQ(self.accepted_count, 1);
    finish(&self);
}

TEST(another_error_is_told_and_accepting_goes_on)
{
    server self;

    begin(&self);
    connect_clients(&self, 1);
    test_wait_readable(self.fd);
    test_fail_sys(2, EPROTO);
    turns(&self, 2);
    CHECK_EQ(self.errors[0], -EPROTO);
    CHECK_EQ(self.accepted_count, 1);
    finish(&self);
}

static void
free_listener(server *self)
{
    yula_listener_free(self->listener);
    self->listener = NULL;
}

TEST(a_listener_may_be_freed_by_its_callback)
{
    server self;

    begin(&self);
    self.on_accept = free_listener;
    connect_clients(&self, 3);
    test_wait_readable(self.fd);
    turns(&self, 2);
    CHECK_EQ(self.accepted_count, 1);
    CHECK_EQ(yula_loop_run(self.loop), 0);
    finish(&self);
}

TEST(a_listener_may_be_freed_by_its_callback_for_an_error)
{
    server self;

    begin(&self);
    self.on_accept = free_listener;
    connect_clients(&self, 1);
    test_wait_readable(self.fd);
    test_fail_sys_named("accept", 1, EMFILE);
    turns(&self, 1);
    CHECK_EQ(self.error_count, 1);
    CHECK_EQ(yula_loop_run(self.loop), 0); /* no timer is left */
    finish(&self);
}

static void
free_and_step(server *self)
{
    free_listener(self);
    turns(self, 2);
}

static void
step_then_free(server *self)
{
    if (self->accepted_count == 1) {
        turns(self, 2); /* accepts the others */
        free_listener(self);
    }
}

TEST(a_listener_may_be_freed_around_a_nested_turn)
{
    void (*const callbacks[])(server *) = {free_and_step, step_then_free};

    for (int i = 0; i < 2; i++) {
        server self;
        begin(&self);
        self.on_accept = callbacks[i];
        connect_clients(&self, 3);
        test_wait_readable(self.fd);
        turns(&self, 2);
        CHECK_EQ(self.accepted_count, i == 0 ? 1 : 3);
        finish(&self);
    }
}

static void
break_out(server *self)
{
    yula_loop_break(self->loop, -11);
}

TEST(a_break_in_the_callback_leaves_the_other_connections_for_later)
{
    server self;

    begin(&self);
    self.on_accept = break_out;
    connect_clients(&self, 3);
    test_wait_readable(self.fd);
    CHECK_EQ(yula_loop_step(self.loop, 0), -11);
    CHECK_EQ(self.accepted_count, 1);
    self.on_accept = NULL;
    turns(&self, 1);
    CHECK_EQ(self.accepted_count, 3);
    finish(&self);
}

TEST(a_unix_socket_listens_too)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    server self;

    begin(&self);
    yula_listener_free(self.listener);
    close(self.fd);
    /* Abstract: it leaves no file, and the kernel picks the name. */
    self.fd = yula_listen_socket((struct sockaddr *)&name, sizeof(sa_family_t),
                                 10);
    CHECK(self.fd >= 0);
    self.addr_len = sizeof(self.addr);
    CHECK_EQ(
        getsockname(self.fd, (struct sockaddr *)&self.addr, &self.addr_len), 0);
    listen_on(&self);
    connect_clients(&self, 2);
    turns(&self, 1);
    CHECK_EQ(self.accepted_count, 2);
    CHECK_EQ(self.family, AF_UNIX);
    finish(&self);
}

TEST(an_ipv6_socket_leaves_the_port_to_ipv4)
{
    struct sockaddr_storage addr;
    int len = yula_address_parse("::1", 0, AF_INET6, &addr);
    int fd = yula_listen_socket((struct sockaddr *)&addr, (socklen_t)len, 10);

    if (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT)
        test_skip("this machine has no IPv6 loopback address");
    CHECK(fd >= 0);
    CHECK_EQ(yula__sys_getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    CHECK_EQ(yula__sys_getsockopt(fd, SOL_SOCKET, SO_REUSEADDR), 1);
    close(fd);
}

TEST(a_socket_that_cannot_listen_leaves_no_descriptor)
{
    struct sockaddr_storage addr;
    int len = yula_address_parse("127.0.0.1", 0, AF_INET, &addr);

    for (long n = 1;; n++) {
        test_fail_sys(n, EACCES);
        int fd = yula_listen_socket((struct sockaddr *)&addr, (socklen_t)len,
                                    10);
        bool failed = test_sys_failed();
        test_fail_sys(0, 0);
        CHECK_EQ(fd < 0, failed);
        if (!failed) {
            close(fd);
            break;
        }
        CHECK_EQ(fd, -EACCES);
    }
}

TEST(a_listener_that_cannot_be_made_leaves_nothing_behind)
{
    yula_listener *listener = NULL;
    server self;

    begin(&self);
    yula_listener_free(self.listener);
    self.listener = NULL;
    test_fail_alloc(1);
    CHECK_EQ(yula_listener_new(self.loop, YULA_LANE_HOST, self.fd,
                               on_connection, &self, &listener),
             -ENOMEM);
    test_fail_alloc(0);
    test_fail_sys_named("epoll_ctl", 1, ENOSPC);
    CHECK_EQ(yula_listener_new(self.loop, YULA_LANE_HOST, self.fd,
                               on_connection, &self, &listener),
             -ENOSPC);
    test_fail_sys(0, 0);
    CHECK(listener == NULL);
    CHECK_EQ(yula_loop_run(self.loop), 0);
    finish(&self);
}
