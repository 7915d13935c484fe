/* libdill.c: libdill's coroutines and its own scheduler. */
#define DILL_DISABLE_RAW_NAMES
#include <libdill.h>

#include "peer.h"

#include "../die.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static bool
send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN || dill_fdout(fd, -1) < 0)
                return false;
            continue;
        }
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* Waits first: a recv that finds nothing would be one system call more. */
static dill_coroutine void
serve(int fd, size_t buffer_len)
{
    char *buffer = malloc(buffer_len);
    if (buffer == NULL)
        die("out of memory");
    while (dill_fdin(fd, -1) == 0) {
        ssize_t got = recv(fd, buffer, buffer_len, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            break;
        if (got > 0 && !send_all(fd, buffer, (size_t)got))
            break;
    }
    free(buffer);
    dill_fdclean(fd);
    close(fd);
}

static void
libdill_echo(int listener, size_t buffer_len)
{
    int all = dill_bundle();
    if (all < 0)
        die_errno("dill_bundle");
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN || dill_fdin(listener, -1) < 0)
                die_errno("accept4");
            continue;
        }
        int on = 1;
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
            die_errno("TCP_NODELAY");
        if (dill_bundle_go(all, serve(fd, buffer_len)) < 0)
            die_errno("dill_bundle_go");
    }
}

static dill_coroutine void
yielder(uint64_t count)
{
    for (; count > 0; count--)
        PEER_SWITCHING(dill_yield());
}

static void
libdill_yield(uint64_t count)
{
    int both = dill_bundle();
    if (both < 0 || dill_bundle_go(both, yielder(count / 2)) < 0 ||
        dill_bundle_go(both, yielder(count / 2)) < 0)
        die_errno("dill_bundle_go");
    dill_bundle_wait(both, -1);
    dill_hclose(both);
}

static dill_coroutine void
nothing(void)
{
}

static void
libdill_spawn(uint64_t count)
{
    int one = dill_bundle();
    if (one < 0)
        die_errno("dill_bundle");
    for (; count > 0; count--) {
        if (dill_bundle_go(one, nothing()) < 0)
            die_errno("dill_bundle_go");
        dill_bundle_wait(one, -1);
    }
    dill_hclose(one);
}

static dill_coroutine void
sleeper(void)
{
    peer_sleeping++;
    dill_msleep(dill_now() + 3600000);
}

/* bundle_go runs the new coroutine at once, so all sleep when the last one was made. */
static void
libdill_sleep(uint64_t count)
{
    int all = dill_bundle();
    if (all < 0)
        return;
    for (uint64_t i = 0; i < count; i++) {
        if (dill_bundle_go(all, sleeper()) < 0)
            return;
    }
    while (peer_sleeping < count)
        dill_yield();
    peer_all_sleep();
}

const peer peer_under_test = {
    .name = "libdill",
    .version = PEER_VERSION,
    .saves_control_words = false,
    .echo = libdill_echo,
    .yield = libdill_yield,
    .spawn = libdill_spawn,
    .sleep = libdill_sleep,
};
