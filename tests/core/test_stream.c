/* test_stream.c: connected byte streams, one test for each way a kernel tells
 * that data, an end or an error is there.
 */
#include <yula/stream.h> /* first: it must stand alone */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/loop_i.h"
#include "support.h"
#include "test.h"

/* One end is a stream, the other a plain socket of the test. */
typedef struct end {
    yula_loop *loop;
    yula_stream *stream;
    int peer;
    char data[256];
    size_t len;          /* received in all; data keeps the first of it */
    int reads;           /* calls of read */
    int ended, failures; /* calls */
    int status;
    bool writing;
    int high, low, drained; /* calls */
    void (*on_read)(struct end *end);
    char *into; /* where alloc receives */
    size_t into_len;
    int alloc_result;
    int allocs, unused; /* calls */
} end;

static int released; /* chunks given with an owner */
static void (*on_release)(void *owner);

static void
end_read(yula_stream *stream, void *base, size_t len, void *arg)
{
    end *self = arg;

    CHECK(stream == self->stream);
    CHECK(len > 0);
    for (size_t i = 0; i < len && self->len + i < sizeof(self->data); i++)
        self->data[self->len + i] = ((char *)base)[i];
    self->len += len;
    self->reads++;
    if (self->on_read != NULL)
        self->on_read(self);
}

static void
end_ended(yula_stream *stream, void *arg)
{
    end *self = arg;
    self->ended++;
}

static void
end_failed(yula_stream *stream, int status, bool writing, void *arg)
{
    end *self = arg;
    self->failures++;
    self->status = status;
    self->writing = writing;
}

static void
end_pressure(yula_stream *stream, bool high, void *arg)
{
    end *self = arg;
    if (high)
        self->high++;
    else
        self->low++;
}

static void
end_drained(yula_stream *stream, void *arg)
{
    end *self = arg;
    self->drained++;
}

static void
end_release(void *owner)
{
    released++;
    if (on_release != NULL)
        on_release(owner);
}

static int
end_alloc(yula_stream *stream, void **base, size_t *len, void *arg)
{
    end *self = arg;
    *base = self->into;
    *len = self->into_len;
    self->allocs++;
    return self->alloc_result;
}

static void
end_unused(yula_stream *stream, void *arg)
{
    end *self = arg;
    self->unused++;
}

static const yula_stream_ops ops = {.read = end_read,
                                    .ended = end_ended,
                                    .failed = end_failed,
                                    .pressure = end_pressure,
                                    .drained = end_drained,
                                    .release = end_release};

static const yula_stream_ops alloc_ops = {.alloc = end_alloc,
                                          .read = end_read,
                                          .unused = end_unused,
                                          .ended = end_ended,
                                          .failed = end_failed,
                                          .release = end_release};

typedef void (*pair_cb)(int fds[2]);

static void
begin_with(end *self, pair_cb pair, const yula_stream_ops *table)
{
    int fds[2];

    *self = (end){.loop = test_loop()};
    released = 0;
    on_release = NULL;
    pair(fds);
    self->peer = fds[0];
    CHECK_EQ(yula_stream_new(self->loop, YULA_LANE_HOST, fds[1], table, self,
                             &self->stream),
             0);
}

static void
begin(end *self, pair_cb pair)
{
    begin_with(self, pair, &ops);
}

/* Close what is left, and the loop. */
static void
finish(end *self)
{
    if (self->stream != NULL)
        yula_stream_free(self->stream, true);
    if (self->peer >= 0)
        close(self->peer);
    yula_loop_free(self->loop);
}

static void
turns(end *self, int count)
{
    for (int i = 0; i < count; i++)
        test_turn(self->loop);
}

/* Sleep in the poll until a counter moves. */
static void
run_while(end *self, const int *counter, int value)
{
    while (*counter == value)
        CHECK_EQ(yula_loop_step(self->loop, YULA_NEVER), 0);
}

static long
receives(void)
{
    return test_sys_count("recv");
}

static long
sends(void)
{
    return test_sys_count("send") + test_sys_count("sendmsg");
}

/* --- reading ------------------------------------------------------------- */

static const pair_cb pairs[] = {test_tcp_pair, test_unix_pair};

TEST(data_arrives_only_after_the_start)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        test_send_all(self.peer, "hello", 5);
        turns(&self, 2);
        CHECK_EQ(self.reads, 0);
        yula_stream_start(self.stream);
        CHECK_EQ(self.reads, 0); /* later, never from inside */
        run_while(&self, &self.reads, 0);
        CHECK_EQ(self.len, 5);
        CHECK(memcmp(self.data, "hello", 5) == 0);
        finish(&self);
    }
}

TEST(a_stopped_stream_delivers_nothing_and_keeps_what_came)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        yula_stream_start(self.stream);
        turns(&self, 1);
        yula_stream_stop(self.stream);
        test_send_all(self.peer, "abc", 3);
        turns(&self, 3);
        CHECK_EQ(self.reads, 0);
        test_send_all(self.peer, "def", 3);
        yula_stream_start(self.stream);
        while (self.len < 6)
            CHECK_EQ(yula_loop_step(self.loop, YULA_NEVER), 0);
        CHECK(memcmp(self.data, "abcdef", 6) == 0);
        finish(&self);
    }
}

static void
stop_here(end *self)
{
    yula_stream_stop(self->stream);
}

TEST(a_stream_stopped_by_its_read_callback_can_go_on_later)
{
    end self;

    begin(&self, test_unix_pair);
    self.on_read = stop_here;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "a", 1);
    turns(&self, 2);
    test_send_all(self.peer, "b", 1);
    turns(&self, 2);
    CHECK_EQ(self.reads, 1);
    yula_stream_start(self.stream);
    turns(&self, 2);
    CHECK_EQ(self.reads, 2);
    finish(&self);
}

TEST(a_short_read_on_tcp_is_proof_that_the_socket_is_drained)
{
    end self;

    begin(&self, test_tcp_pair);
    yula_stream_start(self.stream);
    test_send_all(self.peer, "hello", 5);
    run_while(&self, &self.reads, 0);
    turns(&self, 3);
    CHECK_EQ(self.reads, 1);
    CHECK_EQ(receives(), 1); /* no second one that finds nothing */
    finish(&self);
}

/* Data and FIN are one event: who stops at the short read never sees the end. */
TEST(data_and_the_end_in_one_event_are_both_delivered)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        test_send_all(self.peer, "bye", 3);
        CHECK_EQ(shutdown(self.peer, SHUT_WR), 0);
        yula_stream_start(self.stream);
        run_while(&self, &self.ended, 0);
        CHECK_EQ(self.len, 3);
        turns(&self, 3);
        CHECK_EQ(self.ended, 1);
        CHECK_EQ(self.failures, 0);
        finish(&self);
    }
}

TEST(the_end_after_the_data_is_delivered)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        yula_stream_start(self.stream);
        test_send_all(self.peer, "bye", 3);
        run_while(&self, &self.reads, 0);
        CHECK_EQ(self.ended, 0);
        CHECK_EQ(shutdown(self.peer, SHUT_WR), 0);
        run_while(&self, &self.ended, 0);
        CHECK_EQ(self.len, 3);
        finish(&self);
    }
}

/* Both directions closed: HANGUP comes with data still in the buffer. */
TEST(data_before_a_hangup_is_delivered)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        CHECK_EQ(yula_stream_shutdown(self.stream), 0);
        test_send_all(self.peer, "last", 4);
        close(self.peer);
        self.peer = -1;
        yula_stream_start(self.stream);
        run_while(&self, &self.ended, 0);
        CHECK_EQ(self.len, 4);
        finish(&self);
    }
}

TEST(the_end_that_came_while_stopped_is_delivered_at_the_start)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        close(self.peer);
        self.peer = -1;
        turns(&self, 3);
        CHECK_EQ(self.ended, 0);
        yula_stream_start(self.stream);
        run_while(&self, &self.ended, 0);
        CHECK_EQ(self.ended, 1);
        yula_stream_start(self.stream);
        turns(&self, 2);
        CHECK_EQ(self.ended, 1);
        finish(&self);
    }
}

TEST(a_reset_is_reported_once_as_a_failed_read)
{
    struct linger at_once = {.l_onoff = 1};
    end self;

    begin(&self, test_tcp_pair);
    yula_stream_start(self.stream);
    CHECK_EQ(
        setsockopt(self.peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)),
        0);
    close(self.peer);
    self.peer = -1;
    run_while(&self, &self.failures, 0);
    CHECK_EQ(self.status, -ECONNRESET);
    CHECK(!self.writing);
    yula_stream_start(self.stream);
    turns(&self, 3);
    CHECK_EQ(self.failures, 1);
    CHECK_EQ(self.ended, 0);
    finish(&self);
}

/* The mark splits what is in the buffer: the read before it is short. */
TEST(data_behind_urgent_data_is_delivered)
{
    end self;

    begin(&self, test_tcp_pair);
    test_send_all(self.peer, "before", 6);
    CHECK_EQ(send(self.peer, "!", 1, MSG_OOB), 1);
    test_send_all(self.peer, "behind", 6);
    yula_stream_start(self.stream);
    while (self.len < 12)
        CHECK_EQ(yula_loop_step(self.loop, YULA_NEVER), 0);
    CHECK(memcmp(self.data, "beforebehind", 12) == 0);
    test_send_all(self.peer, "more", 4);
    while (self.len < 16)
        CHECK_EQ(yula_loop_step(self.loop, YULA_NEVER), 0);
    finish(&self);
}

static void
send_descriptor(int socket, const char *text)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec piece = {.iov_base = (char *)text, .iov_len = strlen(text)};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &socket, sizeof(int));
    CHECK_EQ(sendmsg(socket, &message, 0), (ssize_t)strlen(text));
}

/* A message with descriptors ends a read on a Unix socket, however much is
 * behind it. */
TEST(data_behind_passed_descriptors_is_delivered)
{
    end self;

    begin(&self, test_unix_pair);
    send_descriptor(self.peer, "one");
    send_descriptor(self.peer, "two");
    test_send_all(self.peer, "three", 5);
    yula_stream_start(self.stream);
    while (self.len < 11)
        CHECK_EQ(yula_loop_step(self.loop, YULA_NEVER), 0);
    CHECK(memcmp(self.data, "onetwothree", 11) == 0);
    finish(&self);
}

TEST(a_stream_that_fills_every_read_takes_one_read_a_turn)
{
    char into[10];
    end self;

    begin_with(&self, test_tcp_pair, &alloc_ops);
    self.into = into;
    self.into_len = sizeof(into);
    test_send_all(self.peer, "0123456789abcdefghij!", 21);
    yula_stream_start(self.stream);
    run_while(&self, &self.reads, 0);
    CHECK_EQ(self.len, 10);
    turns(&self, 1);
    CHECK_EQ(self.len, 20);
    turns(&self, 1);
    CHECK_EQ(self.len, 21);
    CHECK_EQ(self.reads, 3);
    CHECK(memcmp(self.data, "0123456789abcdefghij!", 21) == 0);
    finish(&self);
}

TEST(a_buffer_nothing_arrived_in_is_given_back)
{
    char into[10];
    end self;

    begin_with(&self, test_unix_pair, &alloc_ops);
    self.into = into;
    self.into_len = sizeof(into);
    test_send_all(self.peer, "abc", 3);
    yula_stream_start(self.stream);
    turns(&self, 3);
    CHECK_EQ(self.reads, 1);
    CHECK_EQ(self.allocs, self.reads + self.unused);
    finish(&self);
}

TEST(an_owner_without_a_buffer_fails_the_stream)
{
    static const int results[][2] = {{-ENOMEM, -ENOMEM}, {0, -ENOBUFS}};

    for (int i = 0; i < 2; i++) {
        end self;
        begin_with(&self, test_unix_pair, &alloc_ops);
        self.alloc_result = results[i][0];
        test_send_all(self.peer, "abc", 3);
        yula_stream_start(self.stream);
        turns(&self, 2);
        CHECK_EQ(self.failures, 1);
        CHECK_EQ(self.status, results[i][1]);
        CHECK(!self.writing);
        turns(&self, 2);
        CHECK_EQ(self.failures, 1);
        finish(&self);
    }
}

TEST(an_owner_that_has_no_buffer_in_this_turn_is_asked_again_in_the_next)
{
    char into[10];
    end self;

    begin_with(&self, test_tcp_pair, &alloc_ops);
    self.into = into;
    self.into_len = sizeof(into);
    self.alloc_result = 1;
    test_send_all(self.peer, "abc", 3);
    yula_stream_start(self.stream);
    run_while(&self, &self.allocs, 0);
    turns(&self, 3);
    CHECK_EQ(self.allocs, 4);
    CHECK_EQ(receives(), 0);
    self.alloc_result = 0;
    turns(&self, 1);
    CHECK_EQ(self.len, 3);
    finish(&self);
}

/* --- a stream from its descriptor ---------------------------------------- */

TEST(a_descriptor_leads_to_its_stream_and_its_argument)
{
    end self;

    begin(&self, test_unix_pair);
    int fd = yula_stream_fd(self.stream);
    CHECK(yula_stream_of(self.loop, fd) == self.stream);
    CHECK(yula_stream_of(self.loop, self.peer) == NULL);
    CHECK(yula_stream_of(self.loop, -1) == NULL);
    CHECK(yula_stream_arg(self.stream) == &self);
    yula_stream_free(self.stream, false);
    self.stream = NULL;
    CHECK(yula_stream_of(self.loop, fd) == NULL);
    close(fd);
    finish(&self);
}

static int other_reads;

static void
other_read(yula_stream *stream, void *base, size_t len, void *arg)
{
    other_reads++;
}

static void
change_ops(end *self)
{
    static yula_stream_ops other_ops;
    other_ops = ops;
    other_ops.read = other_read;
    yula_stream_set_ops(self->stream, &other_ops);
}

TEST(another_table_counts_from_the_next_report_on)
{
    end self;

    other_reads = 0;
    begin(&self, test_unix_pair);
    self.on_read = change_ops;
    yula_stream_start(self.stream);
    send_descriptor(self.peer, "one");
    send_descriptor(self.peer, "two");
    turns(&self, 3);
    CHECK_EQ(self.reads, 1);
    CHECK_EQ(other_reads, 1);
    finish(&self);
}

/* --- writing ------------------------------------------------------------- */

static void
expect_at_peer(end *self, const char *text)
{
    char got[256];
    size_t len = strlen(text);

    test_recv_all(self->peer, got, len);
    CHECK(memcmp(got, text, len) == 0);
    CHECK_EQ(recv(self->peer, got, 1, MSG_DONTWAIT), -1);
}

TEST(a_write_outside_callbacks_leaves_at_once)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        CHECK_EQ(yula_stream_write(self.stream, "copied ", 7, NULL), 0);
        CHECK_EQ(yula_stream_write(self.stream, "owned", 5, &self), 0);
        CHECK_EQ(released, 1);
        CHECK_EQ(yula_stream_queued(self.stream), 0);
        expect_at_peer(&self, "copied owned");
        finish(&self);
    }
}

static void
write_five(end *self)
{
    CHECK_EQ(yula_stream_write(self->stream, "one ", 4, NULL), 0);
    CHECK_EQ(yula_stream_write(self->stream, "two ", 4, self), 0);
    CHECK_EQ(yula_stream_write(self->stream, "three ", 6, NULL), 0);
    CHECK_EQ(yula_stream_write(self->stream, "four ", 5, self), 0);
    CHECK_EQ(yula_stream_write(self->stream, "five", 4, NULL), 0);
}

TEST(what_one_callback_writes_leaves_in_one_system_call)
{
    for (int kind = 0; kind < 2; kind++) {
        end self;
        test_faults_clear();
        begin(&self, pairs[kind]);
        self.on_read = write_five;
        yula_stream_start(self.stream);
        test_send_all(self.peer, "?", 1);
        run_while(&self, &self.reads, 0);
        CHECK_EQ(sends(), 1);
        CHECK_EQ(released, 2);
        expect_at_peer(&self, "one two three four five");
        finish(&self);
    }
}

static void
write_and_look(end *self)
{
    write_five(self);
    CHECK_EQ(yula_stream_peek_queued(self->stream), 23);
    CHECK_EQ(sends(), 0);
    CHECK_EQ(yula_stream_queued(self->stream), 0);
    CHECK_EQ(sends(), 1);
    CHECK_EQ(yula_stream_write(self->stream, ".", 1, NULL), 0);
    yula_stream_flush(self->stream);
    CHECK_EQ(sends(), 2);
}

TEST(asking_for_the_queue_and_flushing_send_what_was_gathered)
{
    end self;

    begin(&self, test_tcp_pair);
    self.on_read = write_and_look;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "?", 1);
    run_while(&self, &self.reads, 0);
    expect_at_peer(&self, "one two three four five.");
    finish(&self);
}

static void
write_many(end *self)
{
    for (int i = 0; i < 200; i++)
        CHECK_EQ(yula_stream_write(self->stream, "x", 1, NULL), 0);
}

TEST(more_pieces_than_one_system_call_takes_all_leave)
{
    char got[200];
    end self;

    begin(&self, test_tcp_pair);
    self.on_read = write_many;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "?", 1);
    run_while(&self, &self.reads, 0);
    test_recv_all(self.peer, got, sizeof(got));
    CHECK(sends() < 10);
    finish(&self);
}

/* A pattern that shows a lost, doubled or swapped byte. */
static char
pattern(size_t at)
{
    return (char)(at * 7 + at / 251);
}

static char *
pattern_of(size_t from, size_t len)
{
    char *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = pattern(from + i);
    return bytes;
}

/* The kernel takes its minimum. On TCP only the sender's: with a tiny window
 * the two ends would wait for each other's timers. */
static void
small_buffers(end *self)
{
    int small = 1, family = 0;
    socklen_t len = sizeof(family);

    setsockopt(yula_stream_fd(self->stream), SOL_SOCKET, SO_SNDBUF, &small,
               sizeof(small));
    getsockopt(self->peer, SOL_SOCKET, SO_DOMAIN, &family, &len);
    if (family == AF_UNIX)
        setsockopt(self->peer, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
}

static void
free_owner(void *owner)
{
    free(owner);
}

/* Take len bytes at the peer, bit by bit, and run the loop in between. */
static void
take_pattern(end *self, size_t len)
{
    char got[999];
    size_t at = 0;

    while (at < len) {
        turns(self, 1);
        ssize_t n = recv(self->peer, got, sizeof(got), 0);
        if (n < 0) {
            CHECK_EQ(errno, EAGAIN);
            continue;
        }
        CHECK(n > 0);
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(got[i], pattern(at + (size_t)i));
        at += (size_t)n;
    }
}

TEST(writes_larger_than_the_kernels_buffer_arrive_whole_and_in_order)
{
    enum {
        CHUNK = 30011,
        CHUNKS = 20
    };

    for (int kind = 0; kind < 2; kind++) {
        end self;
        begin(&self, pairs[kind]);
        small_buffers(&self);
        on_release = free_owner;
        for (size_t i = 0; i < CHUNKS; i++) {
            char *bytes = pattern_of(i * CHUNK, CHUNK);
            bool owned = i % 3 != 0;
            CHECK_EQ(yula_stream_write(self.stream, bytes, CHUNK,
                                       owned ? bytes : NULL),
                     0);
            if (!owned)
                free(bytes);
        }
        CHECK(yula_stream_queued(self.stream) > 0);
        CHECK_EQ(self.high, 1);
        CHECK_EQ(self.low, 0);
        take_pattern(&self, (size_t)CHUNK * CHUNKS);
        turns(&self, 2);
        CHECK_EQ(yula_stream_queued(self.stream), 0);
        CHECK_EQ(released, CHUNKS - (CHUNKS + 2) / 3);
        CHECK_EQ(self.low, 1);
        CHECK(self.drained >= 1);
        CHECK_EQ(self.failures, 0);
        finish(&self);
    }
}

TEST(the_high_mark_is_reported_when_passed_and_the_low_one_when_reached)
{
    static char bytes[1000];
    end self;

    begin(&self, test_unix_pair);
    small_buffers(&self);
    yula_stream_set_marks(self.stream, 2000, 5000);
    while (yula_stream_queued(self.stream) == 0)
        CHECK_EQ(yula_stream_write(self.stream, bytes, 1000, NULL), 0);
    while (yula_stream_queued(self.stream) + 1000 <= 5000)
        CHECK_EQ(yula_stream_write(self.stream, bytes, 1000, NULL), 0);
    CHECK_EQ(self.high, 0);
    CHECK_EQ(yula_stream_write(self.stream, bytes, 1000, NULL), 0);
    CHECK_EQ(self.high, 1); /* before write returned */
    CHECK(yula_stream_pressed(self.stream));
    CHECK_EQ(yula_stream_write(self.stream, bytes, 1000, NULL), 0);
    CHECK_EQ(self.high, 1);
    while (self.low == 0) {
        CHECK(yula_stream_queued(self.stream) > 2000);
        CHECK(recv(self.peer, bytes, 1000, 0) > 0);
        turns(&self, 1);
    }
    CHECK(yula_stream_queued(self.stream) <= 2000);
    CHECK(!yula_stream_pressed(self.stream));
    CHECK_EQ(self.high, 1);
    finish(&self);
}

TEST(lower_marks_are_compared_with_the_queue_at_once)
{
    static char bytes[300000];
    end self;

    begin(&self, test_unix_pair);
    small_buffers(&self);
    yula_stream_set_marks(self.stream, 0, sizeof(bytes) * 2);
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), NULL), 0);
    CHECK_EQ(self.high, 0);
    yula_stream_set_marks(self.stream, 0, 10);
    CHECK_EQ(self.high, 1);
    size_t low = 1, high = 0;
    yula_stream_get_marks(self.stream, &low, &high);
    CHECK_EQ(low, 0);
    CHECK_EQ(high, 10);
    finish(&self);
}

enum {
    LARGE = 16 * 1024 * 1024
};

/* Takes whatever comes, as fast as it can, until the end. */
static void *
drain_peer(void *arg)
{
    const end *self = arg;
    static char got[1024 * 1024];
    size_t at = 0;

    for (;;) {
        ssize_t n = recv(self->peer, got, sizeof(got), 0);
        if (n == 0)
            return (void *)at;
        for (ssize_t i = 0; i < n; i++, at++) {
            if (got[i] != pattern(at))
                return NULL;
        }
    }
}

static void
write_large(yula_work *work, void *arg)
{
    end *self = arg;
    char *bytes = pattern_of(0, LARGE);

    on_release = free_owner;
    CHECK_EQ(yula_stream_write(self->stream, bytes, LARGE, bytes), 0);
}

/* The kernel would take all of it in one call, while everybody else waits. */
TEST(a_peer_that_takes_everything_gets_only_a_portion_each_turn)
{
    yula_work work;
    pthread_t thread;
    void *received;
    end self;

    begin(&self, test_tcp_pair);
    CHECK_EQ(fcntl(self.peer, F_SETFL, 0), 0); /* the thread waits in recv */
    CHECK_EQ(pthread_create(&thread, NULL, drain_peer, &self), 0);
    turns(&self, 2); /* "writable" of a new socket is not of this turn */
    yula_work_init(&work, YULA_LANE_HOST, write_large, &self);
    yula_work_queue(self.loop, &work);
    size_t left = LARGE;
    turns(&self, 1);
    while (left > 0) {
        size_t now = yula_stream_peek_queued(self.stream);
        CHECK(left - now <= YULA_STREAM_WRITE_BUDGET);
        left = now;
        turns(&self, 1);
    }
    CHECK_EQ(yula_stream_shutdown(self.stream), 0);
    CHECK_EQ(pthread_join(thread, &received), 0);
    CHECK_EQ((size_t)received, LARGE);
    CHECK_EQ(self.failures, 0);
    finish(&self);
}

/* --- ending our half ----------------------------------------------------- */

TEST(a_shutdown_waits_for_the_queue)
{
    enum {
        LEN = 400000
    };

    for (int kind = 0; kind < 2; kind++) {
        end self;
        char byte;
        begin(&self, pairs[kind]);
        small_buffers(&self);
        on_release = free_owner;
        char *bytes = pattern_of(0, LEN);
        CHECK_EQ(yula_stream_write(self.stream, bytes, LEN, bytes), 0);
        CHECK_EQ(yula_stream_shutdown(self.stream), 0);
        CHECK_EQ(yula_stream_shutdown(self.stream), -EALREADY);
        CHECK_EQ(yula_stream_write(self.stream, "no", 2, NULL), -EPIPE);
        take_pattern(&self, LEN);
        turns(&self, 2);
        test_wait_readable(self.peer);
        CHECK_EQ(recv(self.peer, &byte, 1, 0), 0);
        test_send_all(self.peer, "still", 5); /* the other half goes on */
        yula_stream_start(self.stream);
        run_while(&self, &self.reads, 0);
        CHECK_EQ(self.len, 5);
        finish(&self);
    }
}

static void
write_and_shutdown(end *self)
{
    write_five(self);
    CHECK_EQ(yula_stream_shutdown(self->stream), 0);
}

TEST(a_shutdown_in_the_callback_that_wrote_comes_after_what_it_wrote)
{
    char got[64];
    end self;

    begin(&self, test_tcp_pair);
    self.on_read = write_and_shutdown;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "?", 1);
    run_while(&self, &self.reads, 0);
    test_recv_all(self.peer, got, 23);
    test_wait_readable(self.peer);
    CHECK_EQ(recv(self.peer, got, 1, 0), 0);
    finish(&self);
}

/* --- failing writes ------------------------------------------------------ */

TEST(a_write_to_a_peer_that_is_gone_fails_later_and_once)
{
    end self;

    begin(&self, test_unix_pair);
    close(self.peer);
    self.peer = -1;
    CHECK_EQ(yula_stream_write(self.stream, "one", 3, NULL), 0);
    CHECK_EQ(self.failures, 0);
    CHECK_EQ(yula_stream_write(self.stream, "two", 3, &self), 0);
    CHECK_EQ(released, 1);
    CHECK(yula_stream_failed(self.stream)); /* known, not yet told */
    turns(&self, 2);
    CHECK_EQ(self.failures, 1);
    CHECK_EQ(self.status, -EPIPE);
    CHECK(self.writing);
    CHECK_EQ(yula_stream_write(self.stream, "three", 5, &self), 0);
    CHECK_EQ(released, 2);
    turns(&self, 2);
    CHECK_EQ(self.failures, 1);
    finish(&self);
}

static void
fill_queue(end *self, int chunks)
{
    static char bytes[100000];

    small_buffers(self);
    for (int i = 0; i < chunks; i++)
        CHECK_EQ(yula_stream_write(self->stream, bytes, sizeof(bytes), self),
                 0);
    CHECK(yula_stream_queued(self->stream) > 0);
}

TEST(a_failed_read_drops_what_is_queued)
{
    struct linger at_once = {.l_onoff = 1};
    end self;

    begin(&self, test_tcp_pair);
    fill_queue(&self, 20);
    yula_stream_start(self.stream);
    CHECK_EQ(
        setsockopt(self.peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)),
        0);
    close(self.peer);
    self.peer = -1;
    run_while(&self, &self.failures, 0);
    CHECK_EQ(self.status, -ECONNRESET);
    CHECK_EQ(released, 20);
    CHECK_EQ(yula_stream_queued(self.stream), 0);
    CHECK_EQ(self.low, 0); /* nobody may write again: no all-clear */
    turns(&self, 2);
    CHECK_EQ(self.failures, 1);
    finish(&self);
}

TEST(a_failed_write_drops_what_is_queued)
{
    end self;

    begin(&self, test_tcp_pair);
    fill_queue(&self, 20);
    test_fail_sys_named("send", 1, EIO);
    char byte[4096];
    while (self.failures == 0) {
        (void)!recv(self.peer, byte, sizeof(byte), 0);
        test_fail_sys_named("sendmsg", 1, EIO);
        turns(&self, 1);
    }
    CHECK_EQ(self.status, -EIO);
    CHECK(self.writing);
    CHECK_EQ(released, 20);
    CHECK_EQ(self.low, 0);
    finish(&self);
}

TEST(a_write_without_memory_is_refused_and_leaves_the_queue_alone)
{
    static char bytes[400000];
    end self;

    begin(&self, test_unix_pair);
    fill_queue(&self, 3); /* the next one finds the kernel's buffer full */
    size_t queued = yula_stream_queued(self.stream);
    test_fail_alloc(1);
    CHECK_EQ(yula_stream_write(self.stream, "copy", 4, NULL), -ENOMEM);
    CHECK(test_alloc_failed());
    CHECK_EQ(yula_stream_queued(self.stream), queued);
    CHECK_EQ(yula_stream_write(self.stream, bytes, 10, NULL), 0);
    CHECK_EQ(yula_stream_queued(self.stream), queued + 10);
    turns(&self, 1);
    CHECK_EQ(self.failures, 0);
    finish(&self);
}

TEST(a_half_sent_write_without_memory_for_the_rest_fails_the_stream)
{
    static char bytes[4000000];
    end self;

    begin(&self, test_unix_pair);
    small_buffers(&self);
    test_fail_alloc(1);
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), NULL), 0);
    CHECK(test_alloc_failed());
    turns(&self, 1);
    CHECK_EQ(self.failures, 1);
    CHECK_EQ(self.status, -ENOMEM);
    finish(&self);
}

TEST(asking_for_writable_that_fails_fails_the_stream)
{
    static char bytes[400000];
    end self;

    begin(&self, test_unix_pair);
    small_buffers(&self);
    test_fail_sys_named("epoll_ctl", 1, ENOMEM);
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), &self), 0);
    CHECK(test_sys_failed());
    test_fail_sys(0, 0);
    turns(&self, 1);
    CHECK_EQ(self.failures, 1);
    CHECK_EQ(self.status, -ENOMEM);
    CHECK_EQ(released, 1);
    finish(&self);
}

/* --- freeing in every callback ------------------------------------------- */

static end *to_free;

static void
free_it(void)
{
    if (to_free == NULL || to_free->stream == NULL)
        return;
    yula_stream *stream = to_free->stream;
    to_free->stream = NULL;
    yula_stream_free(stream, true);
}

static void
free_read(yula_stream *stream, void *base, size_t len, void *arg)
{
    end_read(stream, base, len, arg);
    free_it();
    memset(base, 0, len); /* the buffer is valid until we return */
}

static void
free_ended(yula_stream *stream, void *arg)
{
    end_ended(stream, arg);
    free_it();
}

static void
free_failed(yula_stream *stream, int status, bool writing, void *arg)
{
    end_failed(stream, status, writing, arg);
    free_it();
}

static void
free_pressure(yula_stream *stream, bool high, void *arg)
{
    end_pressure(stream, high, arg);
    free_it();
}

static void
free_drained(yula_stream *stream, void *arg)
{
    end_drained(stream, arg);
    free_it();
}

static void
free_release(void *owner)
{
    end_release(owner);
    free_it();
}

static int
free_alloc(yula_stream *stream, void **base, size_t *len, void *arg)
{
    int result = end_alloc(stream, base, len, arg);
    free_it();
    return result;
}

TEST(a_stream_may_be_freed_by_read)
{
    yula_stream_ops table = ops;
    end self;

    table.read = free_read;
    begin_with(&self, test_tcp_pair, &table);
    to_free = &self;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "abc", 3);
    CHECK_EQ(yula_loop_run(self.loop), 0); /* ends: nothing is left */
    CHECK_EQ(self.reads, 1);
    finish(&self);
}

TEST(a_stream_may_be_freed_by_alloc)
{
    yula_stream_ops table = alloc_ops;
    char into[10];
    end self;

    table.alloc = free_alloc;
    begin_with(&self, test_tcp_pair, &table);
    self.into = into;
    self.into_len = sizeof(into);
    to_free = &self;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "abc", 3);
    CHECK_EQ(yula_loop_run(self.loop), 0);
    CHECK_EQ(self.allocs, 1);
    CHECK_EQ(self.reads, 0);
    finish(&self);
}

TEST(a_stream_may_be_freed_by_ended)
{
    yula_stream_ops table = ops;
    end self;

    table.ended = free_ended;
    begin_with(&self, test_tcp_pair, &table);
    to_free = &self;
    yula_stream_start(self.stream);
    CHECK_EQ(shutdown(self.peer, SHUT_WR), 0);
    CHECK_EQ(yula_loop_run(self.loop), 0);
    CHECK_EQ(self.ended, 1);
    finish(&self);
}

TEST(a_stream_may_be_freed_by_failed)
{
    yula_stream_ops table = ops;

    table.failed = free_failed;
    for (int reading = 0; reading < 2; reading++) {
        end self;
        begin_with(&self, test_unix_pair, &table);
        to_free = &self;
        if (reading) {
            test_fail_sys_named("recv", 1, EIO);
            test_send_all(self.peer, "x", 1);
            yula_stream_start(self.stream);
        }
        else {
            fill_queue(&self, 5);
            close(self.peer);
            self.peer = -1;
        }
        CHECK_EQ(yula_loop_run(self.loop), 0);
        CHECK_EQ(self.failures, 1);
        CHECK_EQ(self.writing, !reading);
        test_fail_sys(0, 0);
        finish(&self);
    }
}

TEST(a_stream_may_be_freed_by_pressure)
{
    static char bytes[400000];
    yula_stream_ops table = ops;
    end self;

    table.pressure = free_pressure;
    begin_with(&self, test_unix_pair, &table);
    small_buffers(&self);
    to_free = &self;
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), &self), 0);
    CHECK_EQ(self.high, 1);
    CHECK(self.stream == NULL);
    CHECK_EQ(released, 1);
    finish(&self);
    /* And by the low mark. */
    begin_with(&self, test_unix_pair, &table);
    small_buffers(&self);
    to_free = NULL;
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), &self), 0);
    to_free = &self;
    while (self.stream != NULL) {
        (void)!recv(self.peer, bytes, sizeof(bytes), 0);
        turns(&self, 1);
    }
    CHECK_EQ(self.low, 1);
    finish(&self);
}

TEST(a_stream_may_be_freed_by_drained)
{
    static char bytes[400000];
    yula_stream_ops table = ops;
    end self;

    table.drained = free_drained;
    begin_with(&self, test_unix_pair, &table);
    small_buffers(&self);
    to_free = &self;
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), &self), 0);
    while (self.stream != NULL) {
        (void)!recv(self.peer, bytes, sizeof(bytes), 0);
        turns(&self, 1);
    }
    CHECK_EQ(self.drained, 1);
    finish(&self);
}

static void
write_at_low_mark(yula_stream *stream, bool high, void *arg)
{
    end_pressure(stream, high, arg);
    if (!high)
        CHECK_EQ(yula_stream_write(stream, "bye", 3, NULL), 0);
}

/* TLS says goodbye there, on a transport that is closing. */
TEST(what_the_low_mark_makes_the_user_write_goes_out_before_drained_may_close)
{
    static char bytes[400000];
    yula_stream_ops table = ops;
    size_t received = 0;
    ssize_t n;
    end self;

    table.pressure = write_at_low_mark;
    table.drained = free_drained;
    begin_with(&self, test_unix_pair, &table);
    small_buffers(&self);
    yula_stream_set_marks(self.stream, 0, 1000); /* low: with the last byte */
    to_free = &self;
    CHECK_EQ(yula_stream_write(self.stream, bytes, sizeof(bytes), &self), 0);
    while (self.stream != NULL) {
        n = recv(self.peer, bytes, sizeof(bytes), 0);
        received += n > 0 ? (size_t)n : 0;
        turns(&self, 1);
    }
    while ((n = recv(self.peer, bytes, sizeof(bytes), 0)) > 0)
        received += (size_t)n;
    CHECK_EQ(self.low, 1);
    CHECK_EQ(received, sizeof(bytes) + 3);
    finish(&self);
}

static void
write_three_owned(end *self)
{
    for (int i = 0; i < 3; i++)
        CHECK_EQ(yula_stream_write(self->stream, "abc", 3, self), 0);
}

/* Three chunks leave in one system call; the release of the first frees the
 * stream, and the other two are still released once each. */
TEST(a_stream_may_be_freed_by_release)
{
    yula_stream_ops table = ops;
    end self;

    table.release = free_release;
    begin_with(&self, test_tcp_pair, &table);
    self.on_read = write_three_owned;
    to_free = &self;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "?", 1);
    CHECK_EQ(yula_loop_run(self.loop), 0);
    CHECK_EQ(released, 3);
    finish(&self);
}

TEST(a_stream_freed_outside_callbacks_releases_its_queue)
{
    end self;

    begin(&self, test_unix_pair);
    fill_queue(&self, 5);
    yula_stream_free(self.stream, true);
    self.stream = NULL;
    CHECK_EQ(released, 5);
    CHECK_EQ(yula_loop_run(self.loop), 0);
    CHECK_EQ(self.failures, 0);
    finish(&self);
}

TEST(a_stream_freed_without_closing_leaves_the_descriptor_usable)
{
    end self;

    begin(&self, test_tcp_pair);
    yula_stream_start(self.stream);
    turns(&self, 1);
    int fd = yula_stream_fd(self.stream);
    CHECK_EQ(yula_stream_free(self.stream, false), fd);
    CHECK_EQ(yula_stream_new(self.loop, YULA_LANE_HOST, fd, &ops, &self,
                             &self.stream),
             0);
    yula_stream_start(self.stream);
    test_send_all(self.peer, "again", 5);
    run_while(&self, &self.reads, 0);
    CHECK_EQ(self.len, 5);
    finish(&self);
}

/* --- callbacks that come back -------------------------------------------- */

static end *to_write;

static void
write_in_release(void *owner)
{
    if (released == 1)
        CHECK_EQ(yula_stream_write(to_write->stream, "4", 1, NULL), 0);
}

static void
write_one_two_three(end *self)
{
    CHECK_EQ(yula_stream_write(self->stream, "1", 1, self), 0);
    CHECK_EQ(yula_stream_write(self->stream, "2", 1, self), 0);
    CHECK_EQ(yula_stream_write(self->stream, "3", 1, self), 0);
}

/* The first release writes while two chunks that were sent are still queued:
 * they must not be sent again. */
TEST(a_write_inside_release_goes_behind_what_was_sent)
{
    end self;

    begin(&self, test_tcp_pair);
    on_release = write_in_release;
    to_write = &self;
    self.on_read = write_one_two_three;
    yula_stream_start(self.stream);
    test_send_all(self.peer, "?", 1);
    run_while(&self, &self.reads, 0);
    turns(&self, 1);
    expect_at_peer(&self, "1234");
    CHECK_EQ(released, 3);
    finish(&self);
}

static void
gather_in_callback(yula_work *work, void *arg)
{
    write_one_two_three(arg);
}

static void
write_and_flush_in_release(void *owner)
{
    write_in_release(owner);
    yula_stream_flush(to_write->stream);
}

TEST(a_flush_inside_release_sends_nothing_twice)
{
    yula_work work;
    end self;

    begin(&self, test_unix_pair);
    on_release = write_and_flush_in_release;
    to_write = &self;
    yula_work_init(&work, YULA_LANE_HOST, gather_in_callback, &self);
    yula_work_queue(self.loop, &work);
    turns(&self, 2);
    expect_at_peer(&self, "1234");
    finish(&self);
}

static void
wait_for_more(end *self)
{
    if (self->reads == 1)
        run_while(self, &self->reads, 1);
}

/* Its edge is used up: only the stream knows that there is more. */
TEST(a_nested_turn_inside_read_delivers_what_came_next)
{
    end self;

    begin(&self, test_unix_pair);
    self.on_read = wait_for_more;
    yula_stream_start(self.stream);
    send_descriptor(self.peer, "one");
    send_descriptor(self.peer, "two");
    turns(&self, 4);
    CHECK_EQ(self.len, 6);
    CHECK(memcmp(self.data, "onetwo", 6) == 0);
    finish(&self);
}

static end *other_end;

static void
nested_read(yula_stream *stream, void *base, size_t len, void *arg)
{
    end *self = arg;
    end_read(stream, base, len, arg);
    if (self == other_end)
        return;
    test_send_all(other_end->peer, "two", 3);
    run_while(other_end, &other_end->reads, 0);
    CHECK(memcmp(base, "one", 3) == 0);
}

TEST(the_loops_buffer_stays_untouched_by_reads_of_a_nested_turn)
{
    yula_stream_ops table = ops;
    end self, other = {0};
    int fds[2];

    table.read = nested_read;
    begin_with(&self, test_unix_pair, &table);
    test_unix_pair(fds);
    other_end = &other;
    other.loop = self.loop;
    other.peer = fds[0];
    CHECK_EQ(yula_stream_new(self.loop, YULA_LANE_HOST, fds[1], &table, &other,
                             &other.stream),
             0);
    yula_stream_start(self.stream);
    yula_stream_start(other.stream);
    test_send_all(self.peer, "one", 3);
    turns(&self, 2);
    CHECK_EQ(self.reads, 1);
    CHECK_EQ(other.reads, 1);
    yula_stream_free(other.stream, true);
    close(other.peer);
    finish(&self);
}

static void
free_and_step(end *self)
{
    yula_stream_free(self->stream, true);
    self->stream = NULL;
    turns(self, 2);
}

TEST(a_stream_may_be_freed_before_a_nested_turn_in_its_callback)
{
    end self;

    begin(&self, test_unix_pair);
    self.on_read = free_and_step;
    yula_stream_start(self.stream);
    send_descriptor(self.peer, "one");
    send_descriptor(self.peer, "two");
    turns(&self, 3);
    CHECK_EQ(self.reads, 1);
    finish(&self);
}

/* --- making -------------------------------------------------------------- */

TEST(a_stream_that_cannot_be_made_leaves_the_descriptor_to_the_caller)
{
    yula_loop *loop = test_loop();
    yula_stream *stream = NULL;
    int fds[2];

    test_unix_pair(fds);
    CHECK_EQ(yula_stream_new(loop, YULA_LANE_HOST, -1, &ops, NULL, &stream),
             -EBADF);
    for (long n = 1; stream == NULL; n++) {
        test_fail_alloc(n);
        int err = yula_stream_new(loop, YULA_LANE_HOST, fds[1], &ops, NULL,
                                  &stream);
        CHECK_EQ(err, test_alloc_failed() ? -ENOMEM : 0);
        CHECK_EQ(stream != NULL, err == 0);
    }
    test_fail_alloc(0);
    yula_stream_free(stream, false);
    stream = NULL;
    test_fail_sys_named("epoll_ctl", 1, ENOSPC);
    CHECK_EQ(yula_stream_new(loop, YULA_LANE_HOST, fds[1], &ops, NULL, &stream),
             -ENOSPC);
    CHECK(stream == NULL);
    test_fail_sys(0, 0);
    test_send_all(fds[1], "x", 1);
    yula_loop_free(loop);
    close(fds[0]);
    close(fds[1]);
}

/* --- every call failing in turn ------------------------------------------ */

static char big[200000];

/* An exchange in which something may fail: it must end, told or untold. */
static void
exchange(end *self)
{
    char got[8192];

    yula_stream_start(self->stream);
    (void)yula_stream_write(self->stream, big, sizeof(big), NULL);
    (void)yula_stream_write(self->stream, big, sizeof(big), self);
    (void)!write(self->peer, "question", 8);
    for (int i = 0; i < 100 && self->failures == 0; i++) {
        (void)!read(self->peer, got, sizeof(got));
        (void)yula_loop_step(self->loop, 0);
    }
    (void)yula_stream_shutdown(self->stream);
    for (int i = 0; i < 10; i++)
        (void)yula_loop_step(self->loop, 0);
}

TEST(any_system_call_may_fail_at_any_time)
{
    for (int kind = 0; kind < 2; kind++) {
        for (long n = 1;; n++) {
            end self;
            begin(&self, pairs[kind]);
            small_buffers(&self);
            test_fail_sys(n, EIO);
            exchange(&self);
            bool failed = test_sys_failed();
            test_fail_sys(0, 0);
            finish(&self);
            CHECK(released <= 1);
            CHECK_EQ(test_memory_live(), 0);
            if (!failed)
                break;
        }
    }
}

TEST(any_allocation_may_fail_at_any_time)
{
    for (long n = 1;; n++) {
        end self;
        begin(&self, test_unix_pair);
        small_buffers(&self);
        test_fail_alloc(n);
        exchange(&self);
        bool failed = test_alloc_failed();
        test_fail_alloc(0);
        finish(&self);
        CHECK(released <= 1);
        CHECK_EQ(test_memory_live(), 0);
        if (!failed)
            break;
    }
}
