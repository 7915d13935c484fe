/* test_datagram_await.c: datagram sockets as tasks use them. */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "actors.h"
#include "support.h"
#include "tasks.h"
#include "test.h"

typedef struct place {
    yula_port *port;
    int fd;
    struct sockaddr_storage addr;
    socklen_t addr_len;
} place;

static int
bound(int family, place *at)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    CHECK(fd >= 0);
    if (family == AF_UNIX) { /* the kernel picks an abstract name */
        memset(&at->addr, 0, sizeof(at->addr));
        at->addr.ss_family = AF_UNIX;
        at->addr_len = sizeof(sa_family_t);
    }
    else {
        at->addr_len = (socklen_t)yula_address_parse("127.0.0.1", 0, family,
                                                     &at->addr);
    }
    CHECK_EQ(bind(fd, (struct sockaddr *)&at->addr, at->addr_len), 0);
    at->addr_len = sizeof(at->addr);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)&at->addr, &at->addr_len), 0);
    at->fd = fd;
    return fd;
}

static void
open_place(yula_loop *loop, int family, place *at)
{
    CHECK_EQ(yula_port_new(loop, bound(family, at), &at->port), 0);
    CHECK_EQ(yula_port_fd(at->port), at->fd);
}

static int
send_to(place *from, const place *to, const char *text)
{
    return yula_port_send(from->port, text, strlen(text),
                          (const struct sockaddr *)&to->addr, to->addr_len);
}

static void
raw_send(const place *to, const char *text)
{
    CHECK_EQ(sendto(to->fd, text, strlen(text), 0,
                    (const struct sockaddr *)&to->addr, to->addr_len),
             strlen(text)); /* to itself */
}

static int
receive_one(actor *self, void *arg)
{
    place *at = arg;
    char got[100] = "";
    int n = (int)yula_port_receive(at->port, got, sizeof(got) - 1, NULL, NULL);

    actor_note(self, n >= 0 ? got : "fails");
    return n;
}

static int
echo_once(actor *self, void *arg)
{
    place *at = arg;
    char bytes[100];
    struct sockaddr_storage from;
    socklen_t from_len = sizeof(from);

    ssize_t n = yula_port_receive(at->port, bytes, sizeof(bytes),
                                  (struct sockaddr *)&from, &from_len);
    if (n < 0)
        return (int)n;
    return yula_port_send(at->port, bytes, (size_t)n, (struct sockaddr *)&from,
                          from_len);
}

TEST(a_task_answers_a_datagram)
{
    static const int families[] = {AF_INET, AF_UNIX};

    for (int i = 0; i < 2; i++) {
        yula_loop *loop = test_loop();
        place server, client;
        actor bob, ann;
        open_place(loop, families[i], &server);
        open_place(loop, families[i], &client);
        actor_start(&bob, loop, "bob", echo_once, &server);
        actor_start(&ann, loop, "ann", receive_one, &client);
        settle(loop);
        CHECK_EQ(send_to(&client, &server, "hello"), 0);
        CHECK_EQ(actor_end(&bob), 0);
        CHECK_EQ(actor_end(&ann), 5);
        CHECK_STR(actor_log(), "ann hello. ");
        yula_port_close(server.port);
        yula_port_close(client.port);
        yula_loop_free(loop);
    }
}

TEST(each_datagram_goes_to_one_of_those_who_wait)
{
    yula_loop *loop = test_loop();
    place at;
    actor ann, bob, cleo;

    open_place(loop, AF_INET, &at);
    actor_start(&ann, loop, "ann", receive_one, &at);
    actor_start(&bob, loop, "bob", receive_one, &at);
    actor_start(&cleo, loop, "cleo", receive_one, &at);
    settle(loop);
    raw_send(&at, "1");
    raw_send(&at, "2");
    settle(loop);
    CHECK_STR(actor_log(), "ann 1. bob 2. ");
    raw_send(&at, "3");
    CHECK_EQ(actor_end(&cleo), 1);
    CHECK_EQ(actor_end(&ann), 1);
    CHECK_EQ(actor_end(&bob), 1);
    (void)actor_log();
    yula_port_close(at.port);
    yula_loop_free(loop);
}

TEST(empty_datagrams_are_received_and_long_ones_are_cut)
{
    yula_loop *loop = test_loop();
    place at;
    actor ann;
    char text[200];

    open_place(loop, AF_INET, &at);
    raw_send(&at, "");
    actor_start(&ann, loop, "ann", receive_one, &at);
    CHECK_EQ(actor_end(&ann), 0);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    raw_send(&at, text);
    actor_start(&ann, loop, "ann", receive_one, &at);
    CHECK_EQ(actor_end(&ann), 99);
    (void)actor_log();
    yula_port_close(at.port);
    yula_loop_free(loop);
}

TEST(an_interrupted_receiver_loses_nothing)
{
    yula_loop *loop = test_loop();
    place at;
    actor ann, bob;

    open_place(loop, AF_INET, &at);
    actor_start(&ann, loop, "ann", receive_one, &at);
    actor_start(&bob, loop, "bob", receive_one, &at);
    settle(loop);
    yula_task_cancel(ann.task);
    raw_send(&at, "1");
    CHECK_EQ(actor_end(&ann), YULA_ECANCELED);
    CHECK_EQ(actor_end(&bob), 1);
    CHECK_STR(actor_log(), "ann fails. bob 1. ");
    yula_port_close(at.port);
    yula_loop_free(loop);
}

TEST(a_refusal_is_told_and_the_port_goes_on)
{
    yula_loop *loop = test_loop();
    place at, gone;
    actor ann;

    close(bound(AF_INET, &gone));
    open_place(loop, AF_INET, &at);
    CHECK_EQ(connect(at.fd, (struct sockaddr *)&gone.addr, gone.addr_len), 0);
    actor_start(&ann, loop, "ann", receive_one, &at);
    settle(loop);
    CHECK_EQ(yula_port_send(at.port, "x", 1, NULL, 0), 0);
    CHECK_EQ(actor_end(&ann), -ECONNREFUSED);
    (void)actor_log();
    yula_port_close(at.port);
    yula_loop_free(loop);
}

/* --- waiting for room ------------------------------------------------------ */

typedef struct flood {
    place from, to;
    int sent;
} flood;

static int
send_200(actor *self, void *arg)
{
    flood *of = arg;

    for (of->sent = 0; of->sent < 200; of->sent++) {
        int err = send_to(&of->from, &of->to, "x");
        if (err < 0)
            return err;
    }
    return 0;
}

static int
receive_200(actor *self, void *arg)
{
    flood *of = arg;
    char byte;

    for (int i = 0; i < 200; i++) {
        ssize_t n = yula_port_receive(of->to.port, &byte, 1, NULL, NULL);
        if (n != 1)
            return (int)n;
    }
    return 0;
}

/* A Unix receiver takes a few datagrams and then no more. */
TEST(a_sender_waits_for_a_slow_receiver)
{
    for (int connected = 0; connected < 2; connected++) {
        yula_loop *loop = test_loop();
        flood of;
        actor ann, bob;
        open_place(loop, AF_UNIX, &of.from);
        open_place(loop, AF_UNIX, &of.to);
        if (connected)
            CHECK_EQ(connect(of.from.fd, (struct sockaddr *)&of.to.addr,
                             of.to.addr_len),
                     0);
        actor_start(&ann, loop, "ann", send_200, &of);
        settle(loop);
        actor_start(&bob, loop, "bob", receive_200, &of);
        CHECK_EQ(actor_end(&ann), 0);
        CHECK_EQ(actor_end(&bob), 0);
        CHECK_EQ(of.sent, 200);
        yula_port_close(of.from.port);
        yula_port_close(of.to.port);
        yula_loop_free(loop);
    }
}

/* --- interrupted everywhere, failing everywhere ----------------------------- */

static void
question_and_answer(yula_loop *loop)
{
    place server, client;
    actor bob, ann;

    open_place(loop, AF_INET, &server);
    open_place(loop, AF_INET, &client);
    actor_start(&bob, loop, "bob", echo_once, &server);
    actor_start(&ann, loop, "ann", receive_one, &client);
    settle(loop);
    (void)send_to(&client, &server, "hello");
    settle(loop);
    yula_task_cancel(ann.task);
    yula_task_cancel(bob.task);
    (void)actor_end(&bob);
    (void)actor_end(&ann);
    (void)actor_log();
    yula_port_close(server.port);
    yula_port_close(client.port);
}

TEST(a_conversation_may_be_interrupted_at_every_wait)
{
    CHECK(actor_interrupt_everywhere(question_and_answer) >= 2);
}

TEST(a_port_that_cannot_be_made_leaves_nothing_behind)
{
    yula_loop *loop = test_loop();
    yula_port *port = NULL;
    place at;

    (void)bound(AF_INET, &at);
    test_fail_alloc(1);
    CHECK_EQ(yula_port_new(loop, at.fd, &port), -ENOMEM);
    test_fail_alloc(0);
    test_fail_sys_named("epoll_ctl", 1, ENOSPC);
    CHECK_EQ(yula_port_new(loop, at.fd, &port), -ENOSPC);
    test_fail_sys(0, 0);
    CHECK(port == NULL);
    yula_port_close(NULL);
    close(at.fd);
    yula_loop_free(loop);
}
