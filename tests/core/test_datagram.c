/* test_datagram.c: datagram sockets. */
#include <yula/datagram.h> /* first: it must stand alone */

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/loop_i.h"
#include "support.h"
#include "test.h"

typedef struct end {
    yula_loop *loop;
    yula_datagram *datagram;
    int peer; /* a plain socket */
    struct sockaddr_storage addr, peer_addr;
    socklen_t addr_len, peer_addr_len;
    char log[4096]; /* "text;" for each that was received */
    int received, failures, high, low, drained;
    int status;
    bool sending;
    struct sockaddr_storage from;
    socklen_t from_len;
    size_t len; /* of the last one */
    void (*on_received)(struct end *end);
    void (*on_failed)(struct end *end);
} end;

static void
end_received(yula_datagram *datagram, void *base, size_t len,
             const struct sockaddr *addr, socklen_t addr_len, void *arg)
{
    end *self = arg;
    size_t at = strlen(self->log);

    CHECK(datagram == self->datagram);
    CHECK(addr_len <= sizeof(self->from));
    self->received++;
    self->len = len;
    self->from_len = addr_len;
    memcpy(&self->from, addr, addr_len);
    if (at + len + 2 < sizeof(self->log)) {
        memcpy(self->log + at, base, len);
        memcpy(self->log + at + len, ";", 2);
    }
    if (self->on_received != NULL)
        self->on_received(self);
}

static void
end_failed(yula_datagram *datagram, int status, bool sending, void *arg)
{
    end *self = arg;

    self->failures++;
    self->status = status;
    self->sending = sending;
    if (self->on_failed != NULL)
        self->on_failed(self);
}

static void
end_pressure(yula_datagram *datagram, bool high, void *arg)
{
    end *self = arg;

    if (high)
        self->high++;
    else
        self->low++;
}

static void
end_drained(yula_datagram *datagram, void *arg)
{
    end *self = arg;

    self->drained++;
}

static const yula_datagram_ops ops = {
    .received = end_received,
    .failed = end_failed,
    .pressure = end_pressure,
    .drained = end_drained,
};

static int
bound(int family, struct sockaddr_storage *addr, socklen_t *addr_len)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (family == AF_UNIX) { /* the kernel picks an abstract name */
        memset(addr, 0, sizeof(*addr));
        addr->ss_family = AF_UNIX;
        *addr_len = sizeof(sa_family_t);
    }
    else {
        const char *host = family == AF_INET ? "127.0.0.1" : "::1";
        *addr_len = (socklen_t)yula_address_parse(host, 0, family, addr);
    }
    CHECK(fd >= 0);
    if (bind(fd, (struct sockaddr *)addr, *addr_len) < 0)
        test_skip("this machine has no such loopback address");
    *addr_len = sizeof(*addr);
    CHECK_EQ(getsockname(fd, (struct sockaddr *)addr, addr_len), 0);
    return fd;
}

static void
begin_without(end *self, int family)
{
    memset(self, 0, sizeof(*self));
    self->loop = test_loop_by_hand();
    self->peer = bound(family, &self->peer_addr, &self->peer_addr_len);
}

static void
begin_as(end *self, int family, bool connected)
{
    begin_without(self, family);
    int fd = bound(family, &self->addr, &self->addr_len);
    if (connected)
        CHECK_EQ(connect(fd, (struct sockaddr *)&self->peer_addr,
                         self->peer_addr_len),
                 0);
    CHECK_EQ(yula_datagram_new(self->loop, YULA_LANE_HOST, fd, &ops, self,
                               &self->datagram),
             0);
}

static void
begin(end *self)
{
    begin_as(self, AF_INET, false);
    yula_datagram_start(self->datagram);
}

static void
turns(end *self, int count)
{
    for (int i = 0; i < count; i++)
        test_turn(self->loop);
}

static void
finish(end *self)
{
    test_faults_clear();
    if (self->datagram != NULL)
        yula_datagram_free(self->datagram, true);
    close(self->peer);
    yula_loop_free(self->loop);
}

static void
peer_sends(end *self, const char *text)
{
    CHECK_EQ(sendto(self->peer, text, strlen(text), 0,
                    (struct sockaddr *)&self->addr, self->addr_len),
             strlen(text));
}

static void
peer_sends_many(end *self, int count)
{
    for (int i = 0; i < count; i++)
        peer_sends(self, "x");
}

static int
say_to(end *self, const char *text)
{
    return yula_datagram_send(self->datagram, text, strlen(text),
                              (struct sockaddr *)&self->peer_addr,
                              self->peer_addr_len);
}

static void
expect_at_peer(end *self, const char *text)
{
    char got[200];
    ssize_t n = recv(self->peer, got, sizeof(got), 0);

    CHECK_EQ(n, strlen(text));
    CHECK(memcmp(got, text, strlen(text)) == 0);
}

/* --- receiving ------------------------------------------------------------ */

static void
receives_with_its_sender(int family)
{
    end self;

    begin_as(&self, family, false);
    yula_datagram_start(self.datagram);
    peer_sends(&self, "one");
    peer_sends(&self, "two");
    turns(&self, 1);
    CHECK_STR(self.log, "one;two;");
    CHECK_EQ(self.from_len, self.peer_addr_len);
    CHECK(memcmp(&self.from, &self.peer_addr, self.from_len) == 0);
    finish(&self);
}

TEST(datagrams_arrive_one_by_one_with_their_sender)
{
    receives_with_its_sender(AF_INET);
}

TEST(datagrams_arrive_over_ipv6)
{
    receives_with_its_sender(AF_INET6);
}

TEST(datagrams_arrive_over_a_unix_socket)
{
    receives_with_its_sender(AF_UNIX);
}

TEST(a_sender_without_a_name_has_no_address)
{
    end self;

    begin_as(&self, AF_UNIX, false);
    yula_datagram_start(self.datagram);
    int nameless = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    self.from_len = 77;
    CHECK_EQ(sendto(nameless, "hi", 2, 0, (struct sockaddr *)&self.addr,
                    self.addr_len),
             2);
    turns(&self, 1);
    CHECK_STR(self.log, "hi;");
    CHECK_EQ(self.from_len, 0);
    close(nameless);
    peer_sends(&self, "named"); /* the room for addresses is whole again */
    turns(&self, 1);
    CHECK_EQ(self.from_len, self.peer_addr_len);
    finish(&self);
}

TEST(an_empty_datagram_arrives)
{
    end self;

    begin(&self);
    peer_sends(&self, "");
    peer_sends(&self, "after");
    turns(&self, 1);
    CHECK_STR(self.log, ";after;");
    finish(&self);
}

TEST(the_largest_datagrams_arrive_whole)
{
    static char bytes[YULA_DATAGRAM_MAX];
    static const int families[] = {AF_INET, AF_UNIX};
    static const size_t most[] = {65507, 100000};

    for (int i = 0; i < 2; i++) {
        end self;
        begin_as(&self, families[i], false);
        yula_datagram_start(self.datagram);
        for (int n = 0; n < 2; n++) {
            CHECK_EQ(sendto(self.peer, bytes, most[i], 0,
                            (struct sockaddr *)&self.addr, self.addr_len),
                     most[i]);
            turns(&self, 1);
            CHECK_EQ(self.len, most[i]);
        }
        CHECK_EQ(self.received, 2);
        finish(&self);
    }
}

TEST(nothing_is_asked_of_the_kernel_that_is_known_to_fail)
{
    end self;

    begin(&self);
    test_faults_clear();
    peer_sends_many(&self, 3);
    turns(&self, 5);
    CHECK_EQ(self.received, 3);
    CHECK_EQ(test_sys_count("recvmmsg"), 1);
    peer_sends(&self, "x");
    turns(&self, 5);
    CHECK_EQ(test_sys_count("recvmmsg"), 2);
    finish(&self);
}

TEST(a_flood_is_delivered_in_portions_so_that_others_have_their_turn)
{
    end self;

    begin(&self);
    peer_sends_many(&self, YULA_DATAGRAM_BATCH + 3);
    turns(&self, 1);
    CHECK_EQ(self.received, YULA_DATAGRAM_BATCH);
    turns(&self, 1);
    CHECK_EQ(self.received, YULA_DATAGRAM_BATCH + 3);
    turns(&self, 2);
    CHECK_EQ(self.received, YULA_DATAGRAM_BATCH + 3);
    finish(&self);
}

TEST(what_came_before_the_start_is_delivered_after_it)
{
    end self;

    begin_as(&self, AF_INET, false);
    peer_sends(&self, "early");
    turns(&self, 2);
    CHECK_EQ(self.received, 0);
    yula_datagram_start(self.datagram);
    turns(&self, 1);
    CHECK_STR(self.log, "early;");
    finish(&self);
}

static void
stop_receiving(end *self)
{
    yula_datagram_stop(self->datagram);
}

TEST(a_stop_in_the_middle_of_a_batch_keeps_the_rest_for_the_next_start)
{
    end self;

    begin(&self);
    self.on_received = stop_receiving;
    peer_sends(&self, "a");
    peer_sends(&self, "b");
    peer_sends(&self, "c");
    turns(&self, 3);
    CHECK_STR(self.log, "a;");
    yula_datagram_start(self.datagram);
    turns(&self, 3);
    CHECK_STR(self.log, "a;b;");
    self.on_received = NULL;
    peer_sends(&self, "d");
    turns(&self, 1); /* an event for a stopped socket delivers nothing */
    CHECK_STR(self.log, "a;b;");
    yula_datagram_start(self.datagram);
    turns(&self, 2);
    CHECK_STR(self.log, "a;b;c;d;");
    finish(&self);
}

static void
free_datagram(end *self)
{
    yula_datagram_free(self->datagram, true);
    self->datagram = NULL;
}

TEST(a_socket_may_be_freed_in_the_middle_of_a_batch)
{
    end self;

    begin(&self);
    self.on_received = free_datagram;
    peer_sends_many(&self, 3);
    turns(&self, 3);
    CHECK_EQ(self.received, 1);
    CHECK_EQ(yula_loop_run(self.loop), 0); /* nothing keeps it running */
    finish(&self);
}

TEST(a_socket_freed_with_a_batch_gives_it_back)
{
    end self;

    begin(&self);
    self.on_received = stop_receiving;
    peer_sends_many(&self, 3);
    turns(&self, 1);
    finish(&self); /* memory is counted */
}

static void
step_once(end *self)
{
    self->on_received = NULL;
    peer_sends(self, "during");
    turns(self, 2);
    strcat(self->log, "back;");
}

TEST(a_nested_turn_goes_on_with_the_batch_and_what_came_meanwhile)
{
    end self;

    begin(&self);
    self.on_received = step_once;
    peer_sends(&self, "a");
    peer_sends(&self, "b");
    turns(&self, 1);
    CHECK_STR(self.log, "a;b;during;back;");
    peer_sends(&self, "after");
    turns(&self, 1);
    CHECK_STR(self.log, "a;b;during;back;after;");
    finish(&self);
}

static void
step_and_free(end *self)
{
    self->on_received = free_datagram;
    peer_sends(self, "during");
    turns(self, 2);
}

TEST(a_socket_may_be_freed_in_a_nested_turn)
{
    end self;

    begin(&self);
    self.on_received = step_and_free;
    peer_sends(&self, "a");
    peer_sends(&self, "b");
    turns(&self, 2);
    CHECK_STR(self.log, "a;b;");
    finish(&self);
}

static void
break_out(end *self)
{
    yula_loop_break(self->loop, -11);
}

TEST(a_break_in_the_callback_leaves_the_rest_of_the_batch_for_later)
{
    end self;

    begin(&self);
    self.on_received = break_out;
    peer_sends_many(&self, 3);
    CHECK_EQ(yula_loop_step(self.loop, 0), -11);
    CHECK_EQ(self.received, 1);
    self.on_received = NULL;
    turns(&self, 1);
    CHECK_EQ(self.received, 3);
    finish(&self);
}

TEST(two_sockets_of_different_kinds_share_a_batch)
{
    end one, two;

    begin(&one);
    begin_without(&two, AF_UNIX);
    yula_loop_free(two.loop);
    two.loop = one.loop;
    int fd = bound(AF_UNIX, &two.addr, &two.addr_len);
    CHECK_EQ(yula_datagram_new(two.loop, YULA_LANE_HOST, fd, &ops, &two,
                               &two.datagram),
             0);
    yula_datagram_start(two.datagram);
    for (int i = 0; i < 3; i++) {
        peer_sends(&one, "inet");
        peer_sends(&two, "unix");
        turns(&one, 1);
    }
    CHECK_STR(one.log, "inet;inet;inet;");
    CHECK_STR(two.log, "unix;unix;unix;");
    yula_datagram_free(two.datagram, true);
    close(two.peer);
    finish(&one);
}

/* --- errors --------------------------------------------------------------- */

TEST(a_refusal_is_told_and_the_socket_goes_on)
{
    end self;

    begin_as(&self, AF_INET, true);
    yula_datagram_start(self.datagram);
    close(self.peer);
    CHECK_EQ(yula_datagram_send(self.datagram, "hello", 5, NULL, 0), 0);
    turns(&self, 3); /* on loopback the refusal is there at once */
    CHECK_EQ(self.failures, 1);
    CHECK_EQ(self.status, -ECONNREFUSED);
    CHECK(!self.sending);
    self.peer = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(
        bind(self.peer, (struct sockaddr *)&self.peer_addr, self.peer_addr_len),
        0);
    peer_sends(&self, "back");
    turns(&self, 1);
    CHECK_STR(self.log, "back;");
    finish(&self);
}

TEST(a_refusal_is_the_result_of_the_next_send)
{
    end self;

    begin_as(&self, AF_INET, true);
    close(self.peer);
    CHECK_EQ(yula_datagram_send(self.datagram, "1", 1, NULL, 0), 0);
    CHECK_EQ(yula_datagram_send(self.datagram, "2", 1, NULL, 0), -ECONNREFUSED);
    CHECK_EQ(yula_datagram_send(self.datagram, "3", 1, NULL, 0), 0);
    self.peer = -1;
    CHECK_EQ(self.failures, 0); /* receiving has not been started */
    self.peer = dup(0);
    finish(&self);
}

TEST(a_datagram_that_is_too_long_is_refused)
{
    static char bytes[70000];
    end self;

    begin(&self);
    CHECK_EQ(yula_datagram_send(self.datagram, bytes, sizeof(bytes),
                                (struct sockaddr *)&self.peer_addr,
                                self.peer_addr_len),
             -EMSGSIZE);
    CHECK_EQ(yula_datagram_queued(self.datagram), 0);
    finish(&self);
}

TEST(an_error_of_the_socket_does_not_end_receiving)
{
    end self;

    begin(&self);
    peer_sends(&self, "x");
    test_fail_sys_named("recvmmsg", 1, EHOSTUNREACH);
    turns(&self, 1);
    CHECK_EQ(self.failures, 1);
    CHECK_EQ(self.status, -EHOSTUNREACH);
    test_fail_sys(0, 0);
    turns(&self, 1);
    CHECK_STR(self.log, "x;");
    finish(&self);
}

TEST(a_socket_may_be_freed_by_its_callback_for_an_error)
{
    end self;

    begin(&self);
    self.on_failed = free_datagram;
    peer_sends(&self, "x");
    test_fail_sys_named("recvmmsg", 1, EHOSTUNREACH);
    turns(&self, 2);
    CHECK_EQ(self.failures, 1);
    finish(&self);
}

TEST(without_memory_for_a_batch_it_is_told_and_tried_again)
{
    end self;

    begin(&self);
    peer_sends(&self, "x");
    test_fail_alloc(1);
    turns(&self, 1);
    CHECK(test_alloc_failed());
    CHECK_EQ(self.status, -ENOMEM);
    test_fail_alloc(0);
    turns(&self, 1);
    CHECK_STR(self.log, "x;");
    finish(&self);
}

/* --- sending -------------------------------------------------------------- */

TEST(a_datagram_is_sent_at_once)
{
    end self;

    begin(&self);
    CHECK_EQ(say_to(&self, "now"), 0);
    expect_at_peer(&self, "now");
    CHECK_EQ(say_to(&self, ""), 0);
    expect_at_peer(&self, "");
    finish(&self);
}

/* Nothing is sent until test_faults_clear. */
static void
no_room(void)
{
    test_fail_sys_named("sendto", 1, EAGAIN);
}

TEST(what_the_kernel_has_no_room_for_waits_and_goes_out_in_order)
{
    end self;
    char text[] = "b";

    begin(&self);
    no_room();
    CHECK_EQ(say_to(&self, "a"), 0);
    CHECK_EQ(say_to(&self, text), 0);
    text[0] = '?'; /* it was copied */
    CHECK_EQ(yula_datagram_queued(self.datagram), 2 + 2 * YULA_DATAGRAM_WEIGHT);
    test_fail_sys(0, 0);
    CHECK_EQ(say_to(&self, "c"), 0); /* nothing overtakes */
    CHECK_EQ(recv(self.peer, text, 1, 0), -1);
    turns(&self, 1);
    expect_at_peer(&self, "a");
    expect_at_peer(&self, "b");
    expect_at_peer(&self, "c");
    CHECK_EQ(yula_datagram_queued(self.datagram), 0);
    CHECK_EQ(self.drained, 1);
    finish(&self);
}

TEST(a_socket_that_says_it_is_writable_and_is_not_is_asked_again_later)
{
    end self;

    begin(&self);
    no_room();
    CHECK_EQ(say_to(&self, "a"), 0);
    turns(&self, 1); /* the kernel reports writable; the send is refused */
    long before = test_sys_count("sendto");
    turns(&self, 5);
    CHECK_EQ(test_sys_count("sendto"), before); /* no spinning */
    test_fail_sys(0, 0);
    CHECK(yula_loop_next_deadline(self.loop) != YULA_NEVER);
    test_now_ns = yula_loop_next_deadline(self.loop);
    turns(&self, 1);
    expect_at_peer(&self, "a");
    CHECK_EQ(yula_loop_next_deadline(self.loop), YULA_NEVER);
    finish(&self);
}

TEST(a_full_receiver_over_a_unix_socket_makes_senders_wait)
{
    end self;
    char byte;

    begin_as(&self, AF_UNIX, false);
    int sent = 0;
    while (yula_datagram_queued(self.datagram) == 0 && sent < 100000) {
        CHECK_EQ(say_to(&self, "x"), 0);
        sent++;
    }
    CHECK(yula_datagram_queued(self.datagram) > 0);
    turns(&self, 2);
    while (recv(self.peer, &byte, 1, 0) == 1)
        sent--;
    CHECK_EQ(sent, 1); /* all but the queued one */
    test_now_ns += INT64_C(1000000000);
    turns(&self, 2);
    expect_at_peer(&self, "x");
    finish(&self);
}

TEST(an_error_of_a_queued_datagram_is_told_and_the_others_are_sent)
{
    end self;

    begin(&self);
    no_room();
    CHECK_EQ(say_to(&self, "a"), 0);
    CHECK_EQ(say_to(&self, "b"), 0);
    test_fail_sys_named("sendto", 1, EHOSTUNREACH);
    self.on_failed = NULL;
    turns(&self, 1);
    CHECK_EQ(self.failures, 1);
    CHECK_EQ(self.status, -EHOSTUNREACH);
    CHECK(self.sending);
    test_fail_sys(0, 0);
    turns(&self, 2);
    expect_at_peer(&self, "b");
    CHECK_EQ(self.drained, 1);
    finish(&self);
}

TEST(a_socket_may_be_freed_by_its_callback_for_a_queued_datagram)
{
    end self;

    begin(&self);
    no_room();
    CHECK_EQ(say_to(&self, "a"), 0);
    CHECK_EQ(say_to(&self, "b"), 0);
    test_fail_sys_named("sendto", 1, EHOSTUNREACH);
    self.on_failed = free_datagram;
    turns(&self, 2);
    CHECK_EQ(self.failures, 1);
    finish(&self);
}

TEST(the_marks_are_told_once_each_way)
{
    end self;

    begin(&self);
    yula_datagram_set_marks(self.datagram, 10, 20);
    no_room();
    CHECK_EQ(say_to(&self, "0123456789"), 0); /* 18 */
    CHECK_EQ(self.high, 0);
    CHECK_EQ(say_to(&self, ""), 0); /* an empty one weighs, too: 26 */
    CHECK_EQ(say_to(&self, "x"), 0);
    CHECK_EQ(self.high, 1);
    CHECK(yula_datagram_pressed(self.datagram));
    test_fail_sys(0, 0);
    turns(&self, 2);
    CHECK_EQ(self.low, 1);
    CHECK(!yula_datagram_pressed(self.datagram));
    size_t low, high;
    yula_datagram_get_marks(self.datagram, &low, &high);
    CHECK_EQ(low, 10);
    CHECK_EQ(high, 20);
    finish(&self);
}

TEST(a_long_queue_is_sent_in_portions)
{
    end self;

    begin(&self);
    no_room();
    for (int i = 0; i < 100; i++)
        CHECK_EQ(say_to(&self, "x"), 0);
    test_fail_sys(0, 0);
    turns(&self, 1);
    CHECK(yula_datagram_queued(self.datagram) > 0);
    turns(&self, 1);
    CHECK_EQ(yula_datagram_queued(self.datagram), 0);
    CHECK_EQ(self.drained, 1);
    finish(&self);
}

TEST(what_is_dropped_is_not_sent)
{
    end self;

    begin(&self);
    no_room();
    CHECK_EQ(say_to(&self, "a"), 0);
    yula_datagram_drop(self.datagram);
    test_fail_sys(0, 0);
    CHECK_EQ(yula_datagram_queued(self.datagram), 0);
    CHECK_EQ(say_to(&self, "b"), 0);
    turns(&self, 2);
    expect_at_peer(&self, "b");
    finish(&self);
}

TEST(without_memory_a_datagram_is_not_queued)
{
    end self;

    begin(&self);
    no_room();
    test_fail_alloc(1);
    CHECK_EQ(say_to(&self, "a"), -ENOMEM);
    test_fail_alloc(0);
    CHECK_EQ(yula_datagram_queued(self.datagram), 0);
    finish(&self);
}

TEST(a_datagram_is_not_queued_if_nobody_would_say_when_there_is_room)
{
    end self;
    int err = 0;

    begin_as(&self, AF_UNIX, false);
    test_fail_sys_named("epoll_ctl", 1, ENOSPC);
    for (int i = 0; i < 100000 && err == 0; i++)
        err = say_to(&self, "x"); /* until the receiver is full */
    CHECK_EQ(err, -ENOSPC);
    CHECK_EQ(yula_datagram_queued(self.datagram), 0);
    finish(&self);
}

/* --- life ----------------------------------------------------------------- */

TEST(a_socket_is_found_by_its_descriptor)
{
    end self;

    begin(&self);
    int fd = yula_datagram_fd(self.datagram);
    CHECK(yula_datagram_of(self.loop, fd) == self.datagram);
    CHECK(yula_datagram_arg(self.datagram) == &self);
    CHECK(yula_datagram_of(self.loop, self.peer) == NULL);
    CHECK(yula_stream_of(self.loop, fd) == NULL);
    CHECK_EQ(yula_datagram_free(self.datagram, false), fd);
    CHECK(yula_datagram_of(self.loop, fd) == NULL);
    self.datagram = NULL;
    close(fd);
    finish(&self);
}

TEST(a_socket_that_cannot_be_made_leaves_nothing_behind)
{
    end self;
    yula_datagram *datagram = NULL;

    begin_without(&self, AF_INET);
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            test_fail_alloc(1);
        else
            test_fail_sys_named("epoll_ctl", 1, ENOSPC);
        CHECK_EQ(yula_datagram_new(self.loop, YULA_LANE_HOST, self.peer, &ops,
                                   &self, &datagram),
                 i == 0 ? -ENOMEM : -ENOSPC);
        test_fail_alloc(0);
        test_fail_sys(0, 0);
    }
    CHECK(datagram == NULL);
    CHECK_EQ(yula_loop_run(self.loop), 0);
    finish(&self);
}
