/* process.c: children, from their start to the collection of their end.
 *
 *  I1. While status is -EBUSY the child has not been collected by us, so that its
 *      number is still its own: unless somebody else in this process collects
 *      children that are not his.
 *  I2. Until then its pidfd is watched, or, where there is none, a waiter thread
 *      (process_waiter.c) is on its way to tell. The watcher is one of the core's
 *      own; running counts the process as a reason for yula_loop_run to go on.
 *  I3. Freed while its child runs, a process belongs to the loop (detached): it
 *      frees itself when the child ends, or goes on as a thread when the loop dies.
 * Thread: loop.
 */
#include <linux/ioctl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "io/process_waiter.h"
#include "io/spawn.h"
#include "loop/loop_i.h"

/* Turns for which the kernel may say that a child has ended and not yet how. */
#define PROCESS_PATIENCE 1000

struct yula_process {
    yula__request request; /* I3 */
    yula_loop *loop;
    yula_watcher watcher; /* I2 */
    yula__process_waiter *waiter;
    yula_process_exit_cb cb;
    void *arg;
    pid_t pid;
    int pidfd; /* -1: there are none */
    int status;
    int ends[3]; /* ours of its pipes; -1: none, or taken */
    unsigned patience;
    bool running; /* I2 */
    bool detached;
    bool grouped;
};

/* --- how it ended --------------------------------------------------------- */

/* Linux 6.15: what pidfds tell of processes that are gone (linux/pidfd.h). */
typedef struct pidfd_info {
    uint64_t mask;
    uint64_t cgroup;
    uint32_t ids[11];
    int32_t exit_status; /* as wait(2) */
} pidfd_info;

#define PIDFD_INFO_WANTS_EXIT (UINT64_C(1) << 3)
#define PIDFD_ASK_INFO _IOWR(0xFF, 11, pidfd_info)

/* Nobody can wait for it: SIGCHLD is ignored, or somebody else did. */
static int
process_status_elsewhere(yula_process *process)
{
    pidfd_info info = {.mask = PIDFD_INFO_WANTS_EXIT};

    if (process->pidfd < 0 || ioctl(process->pidfd, PIDFD_ASK_INFO, &info) < 0)
        return -ECHILD;
    if (info.mask & PIDFD_INFO_WANTS_EXIT)
        return info.exit_status;
    return process->patience-- > 0 ? -EBUSY : -ECHILD;
}

static int
process_status_word(const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED)
        return (info->si_status & 0xff) << 8;
    return info->si_status | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

/* The status, or -EBUSY. */
static int
process_collect(yula_process *process)
{
    siginfo_t info;
    int n = -EINVAL;

    if (process->pidfd >= 0)
        n = yula__sys_wait_end(P_PIDFD, (id_t)process->pidfd, WNOHANG, &info);
    if (n == -EINVAL) /* no pidfd, or before Linux 5.4 */
        n = yula__sys_wait_end(P_PID, (id_t)process->pid, WNOHANG, &info);
    if (n < 0)
        return process_status_elsewhere(process);
    return n > 0 ? process_status_word(&info) : -EBUSY;
}

/* --- its end -------------------------------------------------------------- */

static void
process_set_running(yula_process *process, bool running)
{
    if (running == process->running)
        return;
    process->running = running;
    if (running)
        yula_loop_ref(process->loop);
    else
        yula_loop_unref(process->loop);
}

static void
process_let_go(yula_process *process)
{
    yula_watcher_stop(&process->watcher);
    process_set_running(process, false);
    if (process->pidfd >= 0)
        yula__sys_close(process->pidfd);
    process->pidfd = -1;
}

static void
process_check(yula_process *process)
{
    int status = process_collect(process);

    if (status == -EBUSY)
        return; /* level-triggered: asked again */
    process_let_go(process);
    process->status = status;
    if (process->detached) {
        yula__request_remove(&process->request);
        yula__free(process->loop, process);
        return;
    }
    if (process->cb != NULL)
        process->cb(process, status, process->arg); /* may free it */
}

static void
process_on_event(yula_watcher *watcher, unsigned events, void *arg)
{
    process_check(arg);
}

static void
process_on_waiter(void *arg)
{
    yula_process *process = arg;

    process->waiter = NULL;
    process_check(process);
}

/* I2. */
static int
process_watch(yula_process *process)
{
    int err = -EPERM;

    if (process->pidfd >= 0)
        err = yula__watcher_start_internal(&process->watcher, process->pidfd,
                                           YULA_READABLE, process_on_event,
                                           process);
    if (err == -EPERM) /* no pidfd, or, in Linux 5.2, one that tells nothing */
        err = yula__process_waiter_new(
            process->loop, process->watcher.work.lane, process->pid,
            process_on_waiter, process, &process->waiter);
    if (err == 0)
        process_set_running(process, true);
    return err;
}

/* --- starting ------------------------------------------------------------- */

/* Both ends from 3 on: below, the child would inherit them. */
static int
pipe_open(int fds[2])
{
    int err = yula__sys_pipe_blocking(fds);

    for (int i = 0; i < 2 && err == 0; i++) {
        if (fds[i] >= 3)
            continue;
        int above = yula__sys_dup(fds[i]);
        if (above < 0) {
            err = above;
            break;
        }
        yula__sys_close(fds[i]);
        fds[i] = above;
    }
    return err;
}

/* A pipe to the child: its end, which the caller closes, or a failure. */
static int
process_add_pipe(yula_process *process, int which)
{
    int fds[2] = {-1, -1};
    int err = pipe_open(fds);
    int ours = which == 0 ? 1 : 0;

    if (err == 0)
        err = yula__sys_set_nonblock(fds[ours]);
    if (err == 0) {
        process->ends[which] = fds[ours];
        return fds[1 - ours];
    }
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            yula__sys_close(fds[i]);
    return err;
}

/* Where a standard descriptor of the child leads; a pipe's end also goes to
 * *theirs. */
static int
process_source(yula_process *process, const yula_process_stdio *stdio,
               int which, const int *sources, int *theirs, int *out)
{
    switch (stdio->io) {
    case YULA_PROCESS_INHERIT:
        *out = YULA__SPAWN_AS_IT_IS;
        return 0;
    case YULA_PROCESS_DEVNULL:
        *out = YULA__SPAWN_DEVNULL;
        return 0;
    case YULA_PROCESS_FD:
        *out = stdio->fd;
        return stdio->fd < 0 ? -EBADF : 0;
    case YULA_PROCESS_PIPE:
        *out = *theirs = process_add_pipe(process, which);
        return *out < 0 ? *out : 0;
    case YULA_PROCESS_STDOUT:
        if (which != 2)
            return -EINVAL;
        *out = sources[1] == YULA__SPAWN_AS_IT_IS ? 1 : sources[1];
        return 0;
    default:
        return -EINVAL;
    }
}

static int
process_spawn(yula_process *process, const yula_process_options *options)
{
    int sources[3] = {0}, theirs[3] = {-1, -1, -1}, err = 0;

    for (int i = 0; i < 3 && err == 0; i++)
        err = process_source(process, &options->stdio[i], i, sources,
                             &theirs[i], &sources[i]);
    if (err == 0)
        err = yula__spawn(process->loop, options, sources, &process->pid,
                          &process->pidfd);
    for (int i = 0; i < 3; i++)
        if (theirs[i] >= 0)
            yula__sys_close(theirs[i]);
    return err;
}

static int
options_check(const yula_process_options *options)
{
    if (options->size != sizeof(*options) || options->argv == NULL ||
        options->argv[0] == NULL)
        return -EINVAL;
    for (unsigned i = 0; i < options->pass_count; i++)
        if (options->pass_fds[i] < 3)
            return -EINVAL;
    return 0;
}

static void
process_close_ends(yula_process *process)
{
    for (int i = 0; i < 3; i++)
        if (process->ends[i] >= 0)
            yula__sys_close(process->ends[i]);
}

/* It runs and nobody will have it: end it at once, which does not take long. */
static void
process_kill(yula_process *process)
{
    siginfo_t info;

    (void)yula__sys_kill(process->grouped ? -process->pid : process->pid,
                         SIGKILL);
    if (process->waiter != NULL)
        yula__process_waiter_leave(process->waiter);
    else
        (void)yula__sys_wait_end(P_PID, (id_t)process->pid, 0, &info);
    process_let_go(process);
}

void
yula__process_discard(yula_process *process)
{
    process_kill(process);
    process_close_ends(process);
    yula__free(process->loop, process);
}

int
yula_process_start(yula_loop *loop, yula_lane lane,
                   const yula_process_options *options, yula_process_exit_cb cb,
                   void *arg, yula_process **out)
{
    int err = loop->closed ? YULA_ECLOSED : options_check(options);

    if (err < 0)
        return err;
    yula_process *process = yula__alloc(loop, sizeof(*process));
    if (process == NULL)
        return -ENOMEM;
    *process = (yula_process){.loop = loop,
                              .cb = cb,
                              .arg = arg,
                              .pidfd = -1,
                              .status = -EBUSY,
                              .ends = {-1, -1, -1},
                              .patience = PROCESS_PATIENCE};
    process->grouped = (options->flags & (YULA_PROCESS_NEW_SESSION |
                                          YULA_PROCESS_NEW_GROUP)) != 0;
    yula_watcher_init(loop, &process->watcher, lane);
    err = process_spawn(process, options);
    if (err < 0)
        goto free_process;
    err = process_watch(process);
    if (err < 0)
        goto kill_process;
    *out = process;
    return 0;
kill_process:
    process_kill(process);
free_process:
    process_close_ends(process);
    yula__free(loop, process);
    return err;
}

/* --- letting go ----------------------------------------------------------- */

/* I3. The loop is gone before the child. */
static void
process_drop(yula_loop *loop, yula__request *request)
{
    yula_process *process = yula__container_of(request, yula_process, request);
    siginfo_t info;

    if (process->waiter != NULL)
        yula__process_waiter_leave(process->waiter);
    else if (yula__sys_wait_end(P_PID, (id_t)process->pid, WNOHANG, &info) == 0)
        yula__process_adopt(process->pid);
    process_let_go(process);
    yula__free(loop, process);
}

void
yula_process_free(yula_process *process)
{
    if (process == NULL)
        return;
    process_close_ends(process);
    if (process->status != -EBUSY) {
        yula__free(process->loop, process);
        return;
    }
    process_set_running(process, false);
    process->detached = true;
    process->request.drop = process_drop;
    yula__request_add(process->loop, &process->request);
}

/* --- asking and telling --------------------------------------------------- */

pid_t
yula_process_pid(const yula_process *process)
{
    return process->pid;
}

int
yula_process_status(const yula_process *process)
{
    return process->status;
}

int
yula_process_code(int status)
{
    if (status < 0)
        return status;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int
yula_process_take(yula_process *process, int which)
{
    if (which < 0 || which > 2 || process->ends[which] < 0)
        return -EBADF;
    int fd = process->ends[which];
    process->ends[which] = -1;
    return fd;
}

int
yula_process_signal(yula_process *process, int number)
{
    int err = -ENOSYS;

    if (process->status != -EBUSY)
        return -ESRCH;
    if (process->pidfd >= 0)
        err = yula__sys_pidfd_signal(process->pidfd, number);
    return err == -ENOSYS ? yula__sys_kill(process->pid, number) : err; /* I1 */
}

int
yula_process_signal_group(yula_process *process, int number)
{
    if (!process->grouped)
        return -EINVAL;
    if (process->status != -EBUSY)
        return -ESRCH;
    return yula__sys_kill(-process->pid, number); /* I1 */
}
