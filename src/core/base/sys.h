/* sys.h: every system call of the core goes through here.
 *
 * The wrappers turn "-1 and errno" into a negated errno and retry what a signal
 * interrupted (epoll_wait apart: the loop wants to know). In builds with checks
 * a test can make the n-th call fail, or count calls by name.
 */
#ifndef YULA__SYS_H
#define YULA__SYS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <yula/err.h>
#include <yula/work.h>

#include "base/rule.h"

/* A promise of the kernel: stays in release builds. */
#define yula__must(expr)                                                       \
    do {                                                                       \
        if (__builtin_expect(!(expr), 0))                                      \
            yula__must_failed(#expr, __FILE__, __LINE__);                      \
    } while (0)

_Noreturn void yula__must_failed(const char *expr, const char *file, int line);

#define yula__container_of(ptr, type, member)                                  \
    ((type *)((char *)(ptr) - offsetof(type, member)))

#ifdef YULA__DEBUG
/* For tests: called before each wrapped call with its name; a positive result
 * is the errno it fails with instead. Thread: any. */
extern int (*yula__sys_hook)(const char *name);
#define YULA__SYS_FAULT(name)                                                  \
    do {                                                                       \
        int fault_ = yula__sys_hook != NULL ? yula__sys_hook(name) : 0;        \
        if (fault_ > 0)                                                        \
            return -fault_;                                                    \
    } while (0)
#else
#define YULA__SYS_FAULT(name) ((void)0)
#endif

#define YULA__SYS_RETRY(type, name, call)                                      \
    YULA__SYS_FAULT(name);                                                     \
    for (;;) {                                                                 \
        type result_ = (call);                                                 \
        if (result_ >= 0)                                                      \
            return result_;                                                    \
        if (errno != EINTR)                                                    \
            return -errno;                                                     \
    }

static inline ssize_t
yula__sys_recv(int fd, void *base, size_t len)
{
    YULA__SYS_RETRY(ssize_t, "recv", recv(fd, base, len, 0))
}

static inline ssize_t
yula__sys_send(int fd, const void *base, size_t len)
{
    YULA__SYS_RETRY(ssize_t, "send", send(fd, base, len, MSG_NOSIGNAL))
}

static inline ssize_t
yula__sys_sendmsg(int fd, const struct msghdr *message)
{
    YULA__SYS_RETRY(ssize_t, "sendmsg", sendmsg(fd, message, MSG_NOSIGNAL))
}

/* Never waits, like those that follow. */
static inline ssize_t
yula__sys_recvfrom(int fd, void *base, size_t len, struct sockaddr *addr,
                   socklen_t *addr_len)
{
    YULA__SYS_RETRY(ssize_t, "recvfrom",
                    recvfrom(fd, base, len, MSG_DONTWAIT, addr, addr_len))
}

static inline ssize_t
yula__sys_sendto(int fd, const void *base, size_t len,
                 const struct sockaddr *addr, socklen_t addr_len)
{
    YULA__SYS_RETRY(
        ssize_t, "sendto",
        sendto(fd, base, len, MSG_NOSIGNAL | MSG_DONTWAIT, addr, addr_len))
}

static inline int
yula__sys_recvmmsg(int fd, struct mmsghdr *messages, unsigned count)
{
    YULA__SYS_RETRY(int, "recvmmsg",
                    recvmmsg(fd, messages, count, MSG_DONTWAIT, NULL))
}

static inline ssize_t
yula__sys_read(int fd, void *base, size_t len)
{
    YULA__SYS_RETRY(ssize_t, "read", read(fd, base, len))
}

static inline ssize_t
yula__sys_write(int fd, const void *base, size_t len)
{
    YULA__SYS_RETRY(ssize_t, "write", write(fd, base, len))
}

static inline ssize_t
yula__sys_writev(int fd, const struct iovec *pieces, int count)
{
    YULA__SYS_RETRY(ssize_t, "writev", writev(fd, pieces, count))
}

static inline int
yula__sys_accept(int fd, struct sockaddr *addr, socklen_t *addr_len)
{
    YULA__SYS_RETRY(int, "accept",
                    accept4(fd, addr, addr_len, SOCK_NONBLOCK | SOCK_CLOEXEC))
}

static inline int
yula__sys_socket(int family, int type, int protocol)
{
    YULA__SYS_RETRY(
        int, "socket",
        socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol))
}

/* Not retried: an interrupted connect goes on by itself (POSIX). */
static inline int
yula__sys_connect(int fd, const struct sockaddr *addr, socklen_t addr_len)
{
    YULA__SYS_FAULT("connect");
    return connect(fd, addr, addr_len) < 0 ? -errno : 0;
}

static inline int
yula__sys_bind(int fd, const struct sockaddr *addr, socklen_t addr_len)
{
    YULA__SYS_FAULT("bind");
    return bind(fd, addr, addr_len) < 0 ? -errno : 0;
}

static inline int
yula__sys_listen(int fd, int backlog)
{
    YULA__SYS_FAULT("listen");
    return listen(fd, backlog) < 0 ? -errno : 0;
}

static inline int
yula__sys_shutdown(int fd, int how)
{
    YULA__SYS_FAULT("shutdown");
    return shutdown(fd, how) < 0 ? -errno : 0;
}

static inline int
yula__sys_setsockopt(int fd, int level, int name, int value)
{
    YULA__SYS_FAULT("setsockopt");
    return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* The value of an integer option (>= 0), or the negated errno. */
static inline int
yula__sys_getsockopt(int fd, int level, int name)
{
    YULA__SYS_FAULT("getsockopt");
    int value = 0;
    socklen_t len = sizeof(value);
    return getsockopt(fd, level, name, &value, &len) < 0 ? -errno : value;
}

static inline int
yula__sys_pipe(int fds[2])
{
    YULA__SYS_FAULT("pipe");
    return pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0 ? -errno : 0;
}

static inline int
yula__sys_eventfd(void)
{
    YULA__SYS_FAULT("eventfd");
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static inline int
yula__sys_sigaction(int number, const struct sigaction *action,
                    struct sigaction *previous)
{
    YULA__SYS_FAULT("sigaction");
    return sigaction(number, action, previous) < 0 ? -errno : 0;
}

static inline int
yula__sys_thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
    YULA__SYS_FAULT("thread_start");
    return -pthread_create(thread, NULL, run, arg);
}

/* What a clock of the kernel's shows, in nanoseconds. */
static inline int64_t
yula__sys_clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Sleep while *word is value, for timeout_ns at most (YULA_NEVER: no limit). May
 * return early for no reason. */
static inline void
yula__sys_futex_wait(_Atomic uint32_t *word, uint32_t value, int64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                               .tv_nsec = timeout_ns % 1000000000};
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value,
                  timeout_ns == YULA_NEVER ? NULL : &timeout, NULL, 0);
}

/* Wake one thread that sleeps on word, which may be gone already. */
static inline void
yula__sys_futex_wake(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static inline int
yula__sys_epoll_create(void)
{
    YULA__SYS_FAULT("epoll_create");
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static inline int
yula__sys_epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event)
{
    YULA__SYS_FAULT("epoll_ctl");
    return epoll_ctl(epoll_fd, op, fd, event) < 0 ? -errno : 0;
}

/* Memory for stacks: promised, not taken. */
static inline int
yula__sys_mmap_stacks(size_t len, char **out)
{
    YULA__SYS_FAULT("mmap");
    void *base = mmap(NULL, len, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK,
                      -1, 0);
    if (base == MAP_FAILED)
        return -errno;
    *out = base;
    return 0;
}

static inline int
yula__sys_madvise(void *base, size_t len, int advice)
{
    YULA__SYS_FAULT("madvise");
    return madvise(base, len, advice) < 0 ? -errno : 0;
}

static inline int
yula__sys_mprotect(void *base, size_t len, int protection)
{
    YULA__SYS_FAULT("mprotect");
    return mprotect(base, len, protection) < 0 ? -errno : 0;
}

static inline int
yula__sys_mincore(void *base, size_t len, unsigned char *present)
{
    YULA__SYS_FAULT("mincore");
    return mincore(base, len, present) < 0 ? -errno : 0;
}

static inline void
yula__sys_munmap(void *base, size_t len)
{
    /* May fail if it splits a mapping and there are too many: the addresses are
     * lost then. */
    (void)munmap(base, len);
}

/* Cannot fail in a way that leaves the descriptor open on Linux. */
static inline void
yula__sys_close(int fd)
{
    int saved = errno;
    (void)close(fd);
    errno = saved;
}

#endif /* YULA__SYS_H */
