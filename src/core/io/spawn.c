/* spawn.c: starting a child that shares our memory until it executes its program.
 *
 * As posix_spawn(3), and for the same reason: what is copied is a task struct and
 * not the page tables. That function does not close all other descriptors before
 * glibc 2.34, gives no pidfd before 2.39, and cannot tell which signals to leave
 * ignored.
 *
 *  I1. Between clone and exec or exit the child runs on a stack of its own, in our
 *      memory, while the calling thread stands still; other threads run. So it
 *      makes system calls and nothing else: no allocation, no lock, no library
 *      function that a sanitizer replaces by one with a memory of its own.
 *  I2. All signals are blocked meanwhile, and the child unblocks them when no
 *      handler of ours is installed in it any more: a handler would run here, too.
 *  I3. Whatever can be prepared is prepared by the parent.
 *  I4. Only the child writes err, before the parent goes on. (Valgrind and qemu-user
 *      make a copy of the memory instead: there a program that cannot be executed
 *      is a child that exits with 127, as with posix_spawn.)
 */
#include <limits.h>
#include <string.h>

#include "base/sys_process.h"
#include "io/spawn.h"
#include "loop/loop_i.h"

/* With room for the dynamic linker, which may look up syscall() on it and saves
 * the vector registers, 10 KiB of them on some processors. */
#define SPAWN_STACK ((size_t)32 * 1024)

/* I1. */
#define SPAWN_CHILD                                                            \
    __attribute__((no_sanitize("address"), no_sanitize("thread"),              \
                   no_sanitize("undefined"))) SPAWN_NOT_INSTRUMENTED
#if defined(__has_attribute) && defined(__clang__)
#if __has_attribute(disable_sanitizer_instrumentation)
#define SPAWN_NOT_INSTRUMENTED                                                 \
    __attribute__((disable_sanitizer_instrumentation))
#endif
#endif
#ifndef SPAWN_NOT_INSTRUMENTED
#define SPAWN_NOT_INSTRUMENTED
#endif

/* The kernel's sigset_t. */
#define SPAWN_SIGSET_LEN ((size_t)(NSIG - 1) / CHAR_BIT)

typedef struct spawn {
    const yula_process_options *options;
    const char *const *env;
    int sources[3];
    const char *candidates; /* paths, each with a NUL, and an empty one */
    bool lists_fds;         /* the kernel does not mark a range of them */
    int err;                /* I4 */
} spawn;

extern char **environ;

/* --- the child ------------------------------------------------------------ */

/* I2. What is ignored stays so over exec, what is handled does not. All zero is
 * SIG_DFL wherever the kernel has its fields; the handler comes first. */
SPAWN_CHILD static void
child_reset_signals(void)
{
    static const unsigned long none[20];
    unsigned long action[20];

    for (int number = 1; number < NSIG; number++) {
        if (syscall(SYS_rt_sigaction, number, NULL, action, SPAWN_SIGSET_LEN) !=
            0)
            continue;
        bool ignored = action[0] == (unsigned long)SIG_IGN;
        if (ignored && number != SIGPIPE && number != SIGCHLD)
            continue;
        if (action[0] != (unsigned long)SIG_DFL)
            (void)syscall(SYS_rt_sigaction, number, none, NULL,
                          SPAWN_SIGSET_LEN);
    }
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, none, NULL,
                  SPAWN_SIGSET_LEN);
}

/* One below 3 would be overwritten before it is used. */
SPAWN_CHILD static long
child_lift_sources(spawn *self)
{
    for (int i = 0; i < 3; i++) {
        int source = self->sources[i];
        if (source < 0 || source >= 3 || source == i)
            continue;
        long fd = syscall(SYS_fcntl, source, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
            return fd;
        self->sources[i] = (int)fd;
    }
    return 0;
}

SPAWN_CHILD static long
child_place(int source, int target)
{
    if (source == YULA__SPAWN_AS_IT_IS)
        return 0;
    if (source == target)
        return syscall(SYS_fcntl, target, F_SETFD, 0);
    if (source != YULA__SPAWN_DEVNULL)
        return syscall(SYS_dup3, source, target, 0);
    long null = syscall(SYS_openat, AT_FDCWD, "/dev/null",
                        target == 0 ? O_RDONLY : O_WRONLY, 0);
    if (null < 0 || null == target)
        return null;
    long result = syscall(SYS_dup3, (int)null, target, 0);
    (void)syscall(SYS_close, (int)null);
    return result;
}

/* Linux before 5.11. What getdents64(2) tells of each: inode, offset, length of
 * the entry, type, name. */
SPAWN_CHILD static long
child_mark_listed(void)
{
    enum {
        LENGTH_AT = 16,
        NAME_AT = 19
    };
    unsigned char entries[1024] __attribute__((aligned(8)));
    long n, list = syscall(SYS_openat, AT_FDCWD, "/proc/self/fd",
                           O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

    if (list < 0)
        return list;
    while ((n = syscall(SYS_getdents64, (int)list, entries, sizeof(entries))) >
           0) {
        for (long at = 0; at < n;) {
            const unsigned char *entry = entries + at;
            int fd = 0;
            for (const unsigned char *c = entry + NAME_AT; *c != 0; c++)
                fd = *c >= '0' && *c <= '9' ? fd * 10 + (*c - '0') : -1;
            if (fd >= 3)
                (void)syscall(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
            at += entry[LENGTH_AT] | entry[LENGTH_AT + 1] << 8;
        }
    }
    (void)syscall(SYS_close, (int)list);
    return n;
}

/* All from 3 on are closed by the exec, but for those that are passed on. */
SPAWN_CHILD static long
child_mark_others(const spawn *self)
{
    enum {
        CLOEXEC_FLAG = 1 << 2
    }; /* CLOSE_RANGE_CLOEXEC */
    long result = -1;

    if (!self->lists_fds)
        result = syscall(SYS_close_range, 3U, ~0U, CLOEXEC_FLAG);
    if (result < 0)
        result = child_mark_listed();
    for (unsigned i = 0; i < self->options->pass_count && result >= 0; i++)
        result = syscall(SYS_fcntl, self->options->pass_fds[i], F_SETFD, 0);
    return result;
}

/* As execvp(3): a candidate that is not there, or may not be executed, is not the
 * last word. */
SPAWN_CHILD static int
child_execute(const spawn *self)
{
    int err = ENOENT;

    for (const char *path = self->candidates; *path != '\0';) {
        (void)syscall(SYS_execve, path, self->options->argv, self->env);
        int why = errno;
        if (why == EACCES)
            err = EACCES;
        else if (why != ENOENT && why != ENOTDIR && why != ESTALE &&
                 why != ENODEV && why != ETIMEDOUT)
            return why;
        while (*path++ != '\0')
            ;
    }
    return err;
}

SPAWN_CHILD static long
child_prepare(spawn *self)
{
    const yula_process_options *options = self->options;
    long result = 0;

    if (options->flags & YULA_PROCESS_NEW_SESSION)
        result = syscall(SYS_setsid);
    else if (options->flags & YULA_PROCESS_NEW_GROUP)
        result = syscall(SYS_setpgid, 0, 0);
    if (result >= 0 && options->cwd != NULL)
        result = syscall(SYS_chdir, options->cwd);
    if (result >= 0)
        result = child_lift_sources(self);
    for (int i = 0; i < 3 && result >= 0; i++)
        result = child_place(self->sources[i], i);
    return result < 0 ? result : child_mark_others(self);
}

SPAWN_CHILD static int
child_main(void *arg)
{
    spawn *self = arg;

    if (child_prepare(self) < 0) {
        self->err = errno;
    }
    else {
        child_reset_signals();
        self->err = child_execute(self);
    }
    (void)syscall(SYS_exit_group, 127);
    return 127;
}

/* --- the parent ----------------------------------------------------------- */

static const char *
env_path(const char *const *env)
{
    for (; *env != NULL; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return "/bin:/usr/bin";
}

/* The places to look for a program: "dir/file" for each directory of a path; an
 * empty one is the current. */
static char *
candidates_new(yula_loop *loop, const char *file, const char *path)
{
    size_t file_len = strlen(file) + 1, parts = 1;

    if (file_len == 1 || strchr(file, '/') != NULL)
        path = "";
    for (const char *c = path; *c != '\0'; c++)
        parts += *c == ':';
    char *list = yula__alloc(loop, strlen(path) + parts * (file_len + 1) + 1);
    if (list == NULL)
        return NULL;
    char *at = list;
    for (;;) {
        size_t len = strcspn(path, ":");
        memcpy(at, path, len);
        at += len;
        if (len > 0)
            *at++ = '/';
        memcpy(at, file, file_len);
        at += file_len;
        if (path[len] == '\0')
            break;
        path += len + 1;
    }
    *at = '\0';
    return list;
}

/* I2. */
static int
spawn_clone(spawn *self, char *stack, int *pidfd)
{
    sigset_t all, before;
    int saved = errno;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    uintptr_t top = ((uintptr_t)stack + SPAWN_STACK) & ~(uintptr_t)63;
    int pid = yula__sys_clone_vfork(child_main, (void *)top, self, pidfd);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}

/* It has ended, or is about to, without a program. */
static int
spawn_bury(const spawn *self, int pid, int pidfd)
{
    siginfo_t info;

    while (yula__sys_wait_end(P_PID, (id_t)pid, 0, &info) == 0)
        ;
    if (pidfd >= 0)
        yula__sys_close(pidfd);
    return -self->err;
}

static bool
spawn_lists_fds(void)
{
#ifdef YULA__DEBUG
    return yula__sys_hook != NULL && yula__sys_hook("close_range") > 0;
#else
    return false;
#endif
}

int
yula__spawn(yula_loop *loop, const yula_process_options *options,
            const int sources[3], pid_t *pid, int *pidfd)
{
    spawn self = {
        .options = options,
        .env = options->env != NULL ? options->env
                                    : (const char *const *)environ,
        .sources = {sources[0], sources[1], sources[2]},
        .lists_fds = spawn_lists_fds(),
    };
    const char *file = options->file != NULL ? options->file : options->argv[0];
    int child = -ENOMEM, child_fd = -1;

    char *candidates = candidates_new(loop, file, env_path(self.env));
    char *stack = yula__alloc(loop, SPAWN_STACK);
    if (candidates != NULL && stack != NULL) {
        self.candidates = candidates;
        child = spawn_clone(&self, stack, &child_fd);
    }
    yula__free(loop, stack);
    yula__free(loop, candidates);
    if (child < 0)
        return child;
    if (self.err != 0)
        return spawn_bury(&self, child, child_fd);
    *pid = child;
    *pidfd = child_fd;
    return 0;
}
