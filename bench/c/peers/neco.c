/* neco.c: neco's coroutines and its own scheduler. */
#include <neco.h>

#include "peer.h"

#include "../die.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

typedef struct {
    int fd;
    size_t buffer_len;
} work;

static bool
send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = neco_write(fd, data, len);
        if (sent < 0)
            return false;
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

static void
serve(int argc, void **argv)
{
    (void)argc;
    work mine = *(work *)argv[0];
    free(argv[0]);
    char *buffer = malloc(mine.buffer_len);
    if (buffer == NULL)
        die("out of memory");
    for (;;) {
        ssize_t got = neco_read(mine.fd, buffer, mine.buffer_len);
        if (got <= 0 || !send_all(mine.fd, buffer, (size_t)got))
            break;
    }
    free(buffer);
    close(mine.fd);
}

static void
accept_all(int argc, void **argv)
{
    (void)argc;
    work *listener = argv[0];
    for (;;) {
        int fd = neco_accept(listener->fd, NULL, NULL);
        if (fd < 0)
            die_errno("neco_accept");
        if (neco_setnonblock(fd, true, NULL) != NECO_OK)
            die_errno("neco_setnonblock");
        int on = 1;
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
            die_errno("TCP_NODELAY");
        work *one = malloc(sizeof *one);
        if (one == NULL)
            die("out of memory");
        *one = (work){fd, listener->buffer_len};
        if (neco_start(serve, 1, one) != NECO_OK)
            die("neco_start");
    }
}

static void
neco_echo(int listener, size_t buffer_len)
{
    work all = {listener, buffer_len};
    if (neco_start(accept_all, 1, &all) != NECO_OK)
        die("neco_start");
}

static void
yielder(int argc, void **argv)
{
    (void)argc;
    for (uint64_t left = *(uint64_t *)argv[0]; left > 0; left--)
        PEER_SWITCHING(neco_yield());
}

static void
two_yielders(int argc, void **argv)
{
    (void)argc;
    uint64_t each = *(uint64_t *)argv[0] / 2;
    if (neco_start(yielder, 1, &each) != NECO_OK)
        die("neco_start");
    int64_t first = neco_lastid();
    if (neco_start(yielder, 1, &each) != NECO_OK)
        die("neco_start");
    int64_t second = neco_lastid();
    neco_join(first);
    neco_join(second);
}

static void
neco_yields(uint64_t count)
{
    if (neco_start(two_yielders, 1, &count) != NECO_OK)
        die("neco_start");
}

static void
nothing(int argc, void **argv)
{
    (void)argc;
    (void)argv;
}

static void
spawner(int argc, void **argv)
{
    (void)argc;
    for (uint64_t left = *(uint64_t *)argv[0]; left > 0; left--) {
        if (neco_start(nothing, 0) != NECO_OK)
            die("neco_start");
        neco_join(neco_lastid());
    }
}

static void
neco_spawns(uint64_t count)
{
    if (neco_start(spawner, 1, &count) != NECO_OK)
        die("neco_start");
}

static void
sleeper(int argc, void **argv)
{
    (void)argc;
    (void)argv;
    peer_sleeping++;
    neco_sleep(NECO_HOUR);
}

static void
many_sleepers(int argc, void **argv)
{
    (void)argc;
    uint64_t count = *(uint64_t *)argv[0];
    for (uint64_t i = 0; i < count; i++) {
        if (neco_start(sleeper, 0) != NECO_OK) {
            fprintf(stderr, "%s: %llu coroutines, then neco_start fails: %s\n",
                    program_invocation_short_name,
                    (unsigned long long)peer_sleeping, strerror(errno));
            _exit(1);
        }
    }
    while (peer_sleeping < count)
        neco_yield();
    peer_all_sleep();
}

static void
neco_sleeps(uint64_t count)
{
    neco_start(many_sleepers, 1, &count);
}

const peer peer_under_test = {
    .name = "neco",
    .version = PEER_VERSION,
    .saves_control_words = false,
    .echo = neco_echo,
    .yield = neco_yields,
    .spawn = neco_spawns,
    .sleep = neco_sleeps,
};
