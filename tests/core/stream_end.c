/* stream_end.c: see stream_end.h. */
#include "stream_end.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

const pair_cb pairs[2] = {test_tcp_pair, test_unix_pair};

int released;
void (*on_release)(void *owner);

void
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

void
end_ended(yula_stream *stream, void *arg)
{
    end *self = arg;
    self->ended++;
}

void
end_failed(yula_stream *stream, int status, bool writing, void *arg)
{
    end *self = arg;
    self->failures++;
    self->status = status;
    self->writing = writing;
}

void
end_pressure(yula_stream *stream, bool high, void *arg)
{
    end *self = arg;
    if (high)
        self->high++;
    else
        self->low++;
}

void
end_drained(yula_stream *stream, void *arg)
{
    end *self = arg;
    self->drained++;
}

void
end_release(void *owner)
{
    released++;
    if (on_release != NULL)
        on_release(owner);
}

int
end_alloc(yula_stream *stream, void **base, size_t *len, void *arg)
{
    end *self = arg;
    *base = self->into;
    *len = self->into_len;
    self->allocs++;
    return self->alloc_result;
}

void
end_unused(yula_stream *stream, void *arg)
{
    end *self = arg;
    self->unused++;
}

const yula_stream_ops ops = {.read = end_read,
                             .ended = end_ended,
                             .failed = end_failed,
                             .pressure = end_pressure,
                             .drained = end_drained,
                             .release = end_release};

const yula_stream_ops alloc_ops = {.alloc = end_alloc,
                                   .read = end_read,
                                   .unused = end_unused,
                                   .ended = end_ended,
                                   .failed = end_failed,
                                   .release = end_release};

void
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

void
begin(end *self, pair_cb pair)
{
    begin_with(self, pair, &ops);
}

void
finish(end *self)
{
    if (self->stream != NULL)
        yula_stream_free(self->stream, true);
    if (self->peer >= 0)
        close(self->peer);
    yula_loop_free(self->loop);
}

void
turns(end *self, int count)
{
    for (int i = 0; i < count; i++)
        test_turn(self->loop);
}

void
run_while(end *self, const int *counter, int value)
{
    while (*counter == value)
        CHECK_EQ(yula_loop_step(self->loop, YULA_NEVER), 0);
}

long
receives(void)
{
    return test_sys_count("recv");
}

long
sends(void)
{
    return test_sys_count("send") + test_sys_count("sendmsg");
}

void
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

void
expect_at_peer(end *self, const char *text)
{
    char got[256];
    size_t len = strlen(text);

    test_recv_all(self->peer, got, len);
    CHECK(memcmp(got, text, len) == 0);
    CHECK_EQ(recv(self->peer, got, 1, MSG_DONTWAIT), -1);
}

char
pattern(size_t at)
{
    return (char)(at * 7 + at / 251);
}

char *
pattern_of(size_t from, size_t len)
{
    char *bytes = malloc(len);
    for (size_t i = 0; i < len; i++)
        bytes[i] = pattern(from + i);
    return bytes;
}

/* The kernel takes its minimum. On TCP only the sender's: with a tiny window
 * the two ends would wait for each other's timers. */
void
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

void
free_owner(void *owner)
{
    free(owner);
}

void
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

void
fill_queue(end *self, int chunks)
{
    static char bytes[100000];

    small_buffers(self);
    for (int i = 0; i < chunks; i++)
        CHECK_EQ(yula_stream_write(self->stream, bytes, sizeof(bytes), self),
                 0);
    CHECK(yula_stream_queued(self->stream) > 0);
}

void
write_five(end *self)
{
    CHECK_EQ(yula_stream_write(self->stream, "one ", 4, NULL), 0);
    CHECK_EQ(yula_stream_write(self->stream, "two ", 4, self), 0);
    CHECK_EQ(yula_stream_write(self->stream, "three ", 6, NULL), 0);
    CHECK_EQ(yula_stream_write(self->stream, "four ", 5, self), 0);
    CHECK_EQ(yula_stream_write(self->stream, "five", 4, NULL), 0);
}
