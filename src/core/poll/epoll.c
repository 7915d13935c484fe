/* epoll.c: the Linux poller.
 *
 * epoll_pwait2 (Linux 5.11) takes nanoseconds; where the kernel or a seccomp
 * filter refuses it, epoll_wait does, with the timeout rounded up so that a
 * timer is never early.
 */
#include "poll/poll.h"

#include <limits.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "yula/watcher.h"

/* The kernel's own limit of a sleep is far above a day; asyncio clamps to 24 h
 * (base_events.MAXIMUM_SELECT_TIMEOUT), and so does the millisecond call. */
#define EPOLL_MAX_NS INT64_C(86400000000000)

static uint32_t
epoll_mask(unsigned interest)
{
    uint32_t mask = 0;
    if (interest & YULA_READABLE)
        mask |= EPOLLIN | EPOLLRDHUP;
    if (interest & YULA_WRITABLE)
        mask |= EPOLLOUT;
    if (interest & YULA_PRIORITY)
        mask |= EPOLLPRI;
    if (interest & YULA_EDGE)
        mask |= EPOLLET;
    return mask;
}

static unsigned
epoll_events(uint32_t mask)
{
    unsigned events = 0;
    if (mask & EPOLLIN)
        events |= YULA_READABLE;
    if (mask & EPOLLOUT)
        events |= YULA_WRITABLE;
    if (__builtin_expect(mask & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI),
                         0)) {
        if (mask & EPOLLRDHUP)
            events |= YULA_READ_CLOSED;
        if (mask & EPOLLHUP)
            events |= YULA_HANGUP;
        if (mask & EPOLLERR)
            events |= YULA_ERROR;
        if (mask & EPOLLPRI)
            events |= YULA_PRIORITY;
    }
    return events;
}

int
yula__poller_init(yula__poller *poller)
{
    int fd = yula__sys_epoll_create();
    if (fd < 0)
        return fd;
    poller->fd = fd;
    return 0;
}

void
yula__poller_fini(yula__poller *poller)
{
    if (poller->fd >= 0)
        yula__sys_close(poller->fd);
    poller->fd = -1;
}

int
yula__poller_add(yula__poller *poller, int fd, unsigned interest, uint64_t tag)
{
    struct epoll_event event = {.events = epoll_mask(interest)};
    event.data.u64 = tag;
    int err = yula__sys_epoll_ctl(poller->fd, EPOLL_CTL_ADD, fd, &event);
    if (err == -EEXIST)
        err = yula__sys_epoll_ctl(poller->fd, EPOLL_CTL_MOD, fd, &event);
    return err;
}

int
yula__poller_modify(yula__poller *poller, int fd, unsigned interest,
                    uint64_t tag)
{
    struct epoll_event event = {.events = epoll_mask(interest)};
    event.data.u64 = tag;
    int err = yula__sys_epoll_ctl(poller->fd, EPOLL_CTL_MOD, fd, &event);
    if (err != -ENOENT)
        return err;
    err = yula__sys_epoll_ctl(poller->fd, EPOLL_CTL_ADD, fd, &event);
    return err == 0 ? 1 : err;
}

void
yula__poller_remove(yula__poller *poller, int fd)
{
    struct epoll_event unused = {0};
    (void)yula__sys_epoll_ctl(poller->fd, EPOLL_CTL_DEL, fd, &unused);
}

static int
epoll_wait_ns(int epoll_fd, struct epoll_event *events, int64_t timeout_ns)
{
    static _Atomic int
        no_pwait2; /* a fact about the kernel, not about a loop */

    YULA__SYS_FAULT("epoll_wait");
    if (timeout_ns == 0) {
        int n = epoll_wait(epoll_fd, events, YULA__POLL_EVENTS, 0);
        return n < 0 ? -errno : n;
    }
    if (timeout_ns > EPOLL_MAX_NS && timeout_ns != YULA_NEVER)
        timeout_ns = EPOLL_MAX_NS;
    if (timeout_ns != YULA_NEVER && !no_pwait2) {
        struct timespec ts = {.tv_sec = timeout_ns / 1000000000,
                              .tv_nsec = timeout_ns % 1000000000};
        int n = epoll_pwait2(epoll_fd, events, YULA__POLL_EVENTS, &ts, NULL);
        if (n >= 0) {
            yula__was_written(events, (size_t)n * sizeof(*events));
            return n;
        }
        if (errno != ENOSYS && errno != EPERM)
            return -errno;
        no_pwait2 = 1;
    }
    int timeout_ms = -1;
    if (timeout_ns != YULA_NEVER)
        timeout_ms = (int)((timeout_ns + 999999) / 1000000);
    int n = epoll_wait(epoll_fd, events, YULA__POLL_EVENTS, timeout_ms);
    return n < 0 ? -errno : n;
}

int
yula__poller_wait(yula__poller *poller, int64_t timeout_ns,
                  yula__poll_event *events)
{
    struct epoll_event raw[YULA__POLL_EVENTS];

    int n = epoll_wait_ns(poller->fd, raw, timeout_ns);
    for (int i = 0; i < n; i++) {
        events[i].tag = raw[i].data.u64;
        events[i].events = epoll_events(raw[i].events);
    }
    return n;
}
