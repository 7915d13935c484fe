/* sys_process.h: the system calls that only children and what is shared with
 * other processes need; the rules of sys.h.
 */
#ifndef YULA__SYS_PROCESS_H
#define YULA__SYS_PROCESS_H

#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/compiler.h"
#include "base/sys.h"

/* ThreadSanitizer takes clone for a fork, whose child has a memory of its own. */
#if YULA__TSAN
int __clone(int (*body)(void *), void *stack_top, int flags, void *arg, ...);
#define yula__clone __clone
#else
#define yula__clone clone
#endif

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* Another descriptor of the same file. */
static inline int
yula__sys_dup(int fd)
{
    YULA__SYS_FAULT("dup");
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy < 0 ? -errno : copy;
}

/* The same pipe or device, opened anew: with flags of its own. */
static inline int
yula__sys_reopen(int fd, int flags)
{
    YULA__SYS_FAULT("reopen");
    char path[32];

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int other = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    return other < 0 ? -errno : other;
}

/* Whether the process ignores a signal. */
static inline bool
yula__sys_ignores(int number)
{
    struct sigaction action;

    return sigaction(number, NULL, &action) == 0 &&
           action.sa_handler == SIG_IGN;
}

/* A pipe; its ends are blocking. */
static inline int
yula__sys_pipe_blocking(int fds[2])
{
    YULA__SYS_FAULT("pipe");
    return pipe2(fds, O_CLOEXEC) < 0 ? -errno : 0;
}

static inline int
yula__sys_set_nonblock(int fd)
{
    YULA__SYS_FAULT("set_nonblock");
    return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

/* A child that runs body(arg) on a stack of its own in our memory while the
 * calling thread waits until it has called exec or ended, as posix_spawn(3) does.
 *
 * stack_top  the upper end of its stack.
 * pidfd      receives a descriptor of the child, or is left alone where the
 *            kernel (before 5.2) or an emulator knows none.
 */
static inline int
yula__sys_clone_vfork(int (*body)(void *), void *stack_top, void *arg,
                      int *pidfd)
{
    YULA__SYS_FAULT("clone");
    int flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
    int pid = -1;

#ifdef YULA__DEBUG
    bool with_pidfd = yula__sys_hook == NULL || yula__sys_hook("pidfd") <= 0;
#else
    bool with_pidfd = true;
#endif
    errno = EINVAL;
    if (with_pidfd)
        pid = yula__clone(body, stack_top, flags | CLONE_PIDFD, arg, pidfd);
    if (pid < 0 && errno == EINVAL)
        pid = yula__clone(body, stack_top, flags, arg);
    return pid < 0 ? -errno : pid;
}

/* Collect the end of a child. Returns 1 with *info, 0 if it runs still; -ECHILD:
 * somebody else has collected it. flags: WNOWAIT, WNOHANG. The second is for threads
 * that nobody joins: no test lets it fail. */
static inline int
yula__sys_wait_end_surely(idtype_t type, id_t id, int flags, siginfo_t *info)
{
    int result;

    info->si_pid = 0;
    do
        result = waitid(type, id, info, WEXITED | flags);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        return -errno;
    return info->si_pid != 0;
}

static inline int
yula__sys_wait_end(idtype_t type, id_t id, int flags, siginfo_t *info)
{
    YULA__SYS_FAULT("waitid");
    return yula__sys_wait_end_surely(type, id, flags, info);
}

static inline int
yula__sys_pidfd_signal(int pidfd, int number)
{
    YULA__SYS_FAULT("pidfd_send_signal");
    return syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) < 0 ? -errno
                                                                      : 0;
}

static inline int
yula__sys_kill(pid_t pid, int number)
{
    YULA__SYS_FAULT("kill");
    return kill(pid, number) < 0 ? -errno : 0;
}

#endif /* YULA__SYS_PROCESS_H */
