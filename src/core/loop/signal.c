/* signal.c: Unix signals, from the handler to a callback of a loop.
 *
 * The handler may run on any thread, at any instruction, also while another
 * thread lets go of the same signal. It marks the signal as pending and writes
 * a byte into the pipe of the loop that owns it; the loop reads the pipe first
 * and takes the marks second, so no mark is left without a byte behind it.
 *
 *  I1. Once our handler is installed for n, registry[n].fd is the open pipe of
 *      its owner, or -1.
 *  I2. A full pipe loses nothing: it is readable, and the mark is set.
 *  I3. The pipe is closed, and its number free for reuse, only when no handler
 *      can still write to it (handler count 0 after fd became -1).
 *  I4. Our bytes are 0; the others are a host's own signal numbers. In a forked
 *      child our handler still writes into the pipe it shares with the parent,
 *      but marks only its own memory: the parent finds nothing to deliver.
 * Thread: loop, but for the handler; the registry is shared under a lock.
 */
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include <yula/signal.h>

#include "loop/loop_i.h"

/* Bytes taken from the pipe by one read. */
#define SIGNAL_READ_MAX 256

struct yula__signals {
    int read_fd;
    int write_fd;
    yula_watcher watcher; /* of read_fd */
    yula_signal *first;   /* started, of this loop */
    yula_signal_byte_cb byte_cb;
    void *byte_arg;
};

static struct {
    _Atomic int fd;       /* write end of the owner's pipe, or -1 */
    _Atomic int handlers; /* running now */
    _Atomic bool pending; /* came, and was not taken by the owner yet */
    pid_t process;    /* that installed our handler; under the lock, as is */
    yula_loop *owner; /* what follows */
    struct sigaction previous;
} registry[NSIG];

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;

/* Async-signal-safe. Sequentially consistent on purpose: either the handler
 * sees fd == -1, or registry_release sees that it runs. */
static void
signal_handler(int number)
{
    int saved = errno;

    atomic_fetch_add(&registry[number].handlers, 1);
    int fd = atomic_load(&registry[number].fd);
    /* Marked already: its byte is in the pipe, or the mark not yet taken. */
    if (fd >= 0 && !atomic_exchange(&registry[number].pending, true)) {
        ssize_t ignored = write(fd, "", 1); /* I2 */
        (void)ignored;
    }
    atomic_fetch_sub(&registry[number].handlers, 1);
    errno = saved;
}

/* Install our handler for a signal nobody owns. */
static int
registry_install(yula_loop *loop, int number)
{
    struct sigaction action = {.sa_handler = signal_handler,
                               .sa_flags = SA_RESTART | SA_ONSTACK};
    int err;

    sigfillset(&action.sa_mask);
    atomic_store(&registry[number].pending, false);
    atomic_store(&registry[number].fd, loop->signals->write_fd);
    err = yula__sys_sigaction(number, &action, &registry[number].previous);
    if (err < 0) {
        atomic_store(&registry[number].fd, -1);
        return err;
    }
    registry[number].owner = loop;
    registry[number].process = getpid();
    return 0;
}

static int
registry_claim(yula_loop *loop, int number)
{
    int err = 0;

    pthread_mutex_lock(&registry_lock);
    if (registry[number].owner == NULL)
        err = registry_install(loop, number);
    else if (registry[number].owner != loop)
        err = -EBUSY;
    pthread_mutex_unlock(&registry_lock);
    return err;
}

/* Put back what was there before us, unless somebody else came after us. */
static void
registry_restore(int number)
{
    struct sigaction current;

    if (sigaction(number, NULL, &current) == 0 &&
        current.sa_handler == signal_handler)
        yula__must(sigaction(number, &registry[number].previous, NULL) == 0);
}

/* With the lock held. */
static void
registry_release(int number)
{
    registry_restore(number);
    atomic_store(&registry[number].fd, -1);
    while (atomic_load(&registry[number].handlers) > 0)
        sched_yield(); /* a handler of another thread: a few instructions */
    registry[number].owner = NULL;
}

static void
registry_release_all(yula_loop *loop)
{
    pthread_mutex_lock(&registry_lock);
    for (int number = 1; number < NSIG; number++) {
        if (registry[number].owner == loop)
            registry_release(number);
    }
    pthread_mutex_unlock(&registry_lock);
}

/* Queue the watchers whose signals came. Two passes: watchers that share a
 * number must agree on whether it came. */
static void
signals_deliver(struct yula__signals *signals)
{
    bool came[NSIG] = {false};

    for (yula_signal *at = signals->first; at != NULL; at = at->next) {
        if (atomic_exchange(&registry[at->number].pending, false))
            came[at->number] = true;
    }
    for (yula_signal *at = signals->first; at != NULL; at = at->next) {
        if (came[at->number])
            yula_work_queue(at->loop, &at->work);
    }
}

static void
signals_readable(yula_watcher *watcher, unsigned events, void *arg)
{
    yula_loop *loop = arg;
    struct yula__signals *signals = loop->signals;
    unsigned char bytes[SIGNAL_READ_MAX];

    /* What does not fit is reported again: the watcher is level-triggered. */
    ssize_t len = yula__sys_read(signals->read_fd, bytes, sizeof(bytes));
    signals_deliver(signals);
    for (ssize_t i = 0; i < len; i++) {
        if (bytes[i] != 0 && signals->byte_cb != NULL) /* may be replaced */
            signals->byte_cb(loop, bytes[i], signals->byte_arg);
    }
}

static int
signals_init(yula_loop *loop)
{
    struct yula__signals *signals;
    int fds[2], err;

    if (loop->closed)
        return YULA_ECLOSED;
    signals = yula__alloc(loop, sizeof(*signals));
    if (signals == NULL)
        return -ENOMEM;
    err = yula__sys_pipe(fds);
    if (err < 0)
        goto free_signals;
    *signals = (struct yula__signals){.read_fd = fds[0], .write_fd = fds[1]};
    yula_watcher_init(loop, &signals->watcher, YULA_LANE_HOST);
    err = yula__watcher_start_internal(&signals->watcher, fds[0], YULA_READABLE,
                                       signals_readable, loop);
    if (err < 0)
        goto close_fds;
    loop->signals = signals;
    return 0;
close_fds:
    yula__sys_close(fds[0]);
    yula__sys_close(fds[1]);
free_signals:
    yula__free(loop, signals);
    return err;
}

static void
signal_fire(yula_work *work, void *arg)
{
    yula_signal *signal = yula__container_of(work, yula_signal, work);

    signal->cb(signal, signal->number, arg);
}

void
yula_signal_init(yula_loop *loop, yula_signal *signal, yula_lane lane)
{
    *signal = (yula_signal){.loop = loop};
    yula_work_init(&signal->work, lane, signal_fire, NULL);
}

int
yula_signal_start(yula_signal *signal, int number, yula_signal_cb cb, void *arg)
{
    yula_loop *loop = signal->loop;
    int err;

    if (signal->number != 0)
        return -EBUSY;
    if (number <= 0 || number >= NSIG)
        return -EINVAL;
    if (loop->signals == NULL && (err = signals_init(loop)) < 0)
        return err;
    err = registry_claim(loop, number);
    if (err < 0)
        return err;
    signal->number = number;
    signal->cb = cb;
    signal->work.arg = arg;
    signal->next = loop->signals->first;
    loop->signals->first = signal;
    yula_loop_ref(loop);
    return 0;
}

static bool
signals_want(const struct yula__signals *signals, int number)
{
    for (const yula_signal *at = signals->first; at != NULL; at = at->next) {
        if (at->number == number)
            return true;
    }
    return false;
}

void
yula_signal_stop(yula_signal *signal)
{
    yula_loop *loop = signal->loop;
    int number = signal->number;

    if (number == 0 || loop->signals == NULL) /* stopped, or after a fork */
        return;
    yula_signal **link = &loop->signals->first;
    while (*link != signal)
        link = &(*link)->next;
    *link = signal->next;
    signal->number = 0;
    (void)yula_work_cancel(&signal->work);
    yula_loop_unref(loop);
    if (signals_want(loop->signals, number))
        return;
    pthread_mutex_lock(&registry_lock);
    registry_release(number);
    pthread_mutex_unlock(&registry_lock);
}

int
yula_signal_pipe(yula_loop *loop, yula_signal_byte_cb cb, void *arg)
{
    int err;

    if (loop->signals == NULL && (err = signals_init(loop)) < 0)
        return err;
    loop->signals->byte_cb = cb;
    loop->signals->byte_arg = arg;
    return loop->signals->write_fd;
}

static void
signals_free(yula_loop *loop)
{
    yula_watcher_stop(&loop->signals->watcher);
    yula__sys_close(loop->signals->read_fd);
    yula__sys_close(loop->signals->write_fd);
    yula__free(loop, loop->signals);
    loop->signals = NULL;
}

void
yula__signals_fini(yula_loop *loop)
{
    if (loop->signals == NULL)
        return;
    registry_release_all(loop);
    signals_free(loop);
}

/* In the child there is one thread. Another one may have held the lock, or run
 * the handler, when the process was copied; its loop will never call us, so all
 * that the parent installed is let go. The poller, which is the parent's, too, is
 * closed already. */
void
yula__signals_forked(yula_loop *loop)
{
    registry_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    for (int number = 1; number < NSIG; number++) {
        if (registry[number].owner == NULL ||
            registry[number].process == getpid())
            continue;
        atomic_store(&registry[number].handlers, 0);
        registry_release(number);
    }
    if (loop->signals != NULL)
        signals_free(loop);
}
