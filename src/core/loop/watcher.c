/* watcher.c: who owns which descriptor, and whose event this is.
 *
 *  I1. loop->fds[n].watcher is the one watcher started on descriptor n.
 *  I2. Each start on n takes a new generation; the kernel hands it back with
 *      every event, and an event of another generation is dropped. The kernel
 *      goes on reporting for a descriptor that was closed without being
 *      removed as long as a duplicate of it is open (epoll(7), Q6).
 *  I3. A stopped watcher has no pending events and is not queued.
 * Thread: loop.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "loop/loop_i.h"

#define WATCHER_FIRST_COUNT 64

/* A descriptor nobody can remove any more, level-triggered and ready, would
 * keep the loop from ever sleeping. After this many polls in a row that saw
 * nothing else the poller is replaced. */
#define WATCHER_STALE_POLLS 8

/* The process has forked: a child may have duplicates of our descriptors. */
static atomic_bool process_forks;
static pthread_once_t process_forks_once = PTHREAD_ONCE_INIT;

static void
process_forked(void)
{
    atomic_store_explicit(&process_forks, true, memory_order_relaxed);
}

static void
process_watch_forks(void)
{
    if (pthread_atfork(NULL, process_forked, NULL) != 0)
        process_forked(); /* unknown: as if it had */
}

static inline uint64_t
watcher_tag(const yula_watcher *watcher)
{
    return (uint64_t)watcher->generation << 32 | (uint32_t)watcher->fd;
}

static inline yula_watcher *
watcher_of_tag(const yula_loop *loop, uint64_t tag)
{
    uint32_t fd = (uint32_t)tag;
    if (fd >= loop->fd_count || loop->fds[fd].watcher == NULL)
        return NULL;
#ifndef YULA__NO_GENERATION
    if (loop->fds[fd].generation != tag >> 32)
        return NULL;
#endif
    return loop->fds[fd].watcher;
}

static void
watcher_run(yula_work *work, void *arg)
{
    yula_watcher *watcher = yula__container_of(work, yula_watcher, work);
    unsigned events = watcher->pending;
    watcher->pending = 0;
    watcher->cb(watcher, events, arg);
}

static int
fds_reserve(yula_loop *loop, int fd)
{
    size_t count = loop->fd_count;
    if ((size_t)fd < count)
        return 0;
    if (count == 0) {
        (void)pthread_once(&process_forks_once, process_watch_forks);
        count = WATCHER_FIRST_COUNT;
    }
    while (count <= (size_t)fd)
        count *= 2;
    yula__fd_owner *fds = yula__resize(loop, loop->fds, count * sizeof(*fds));
    if (fds == NULL)
        return -ENOMEM;
    memset(fds + loop->fd_count, 0, (count - loop->fd_count) * sizeof(*fds));
    loop->fds = fds;
    loop->fd_count = count;
    return 0;
}

void
yula_watcher_init(yula_loop *loop, yula_watcher *watcher, yula_lane lane)
{
    *watcher = (yula_watcher){.loop = loop, .fd = -1};
    yula_work_init(&watcher->work, lane, watcher_run, NULL);
}

int
yula__watcher_start_internal(yula_watcher *watcher, int fd, unsigned interest,
                             yula_watcher_cb cb, void *arg)
{
    yula_loop *loop = watcher->loop;

    if (watcher->fd >= 0)
        return -EBUSY;
    if (fd < 0)
        return -EBADF;
    int err = fds_reserve(loop, fd);
    if (err < 0)
        return err;
    yula__fd_owner *owner = &loop->fds[fd];
    if (owner->watcher != NULL)
        yula_watcher_stop(owner->watcher);
    watcher->fd = fd;
    watcher->generation = ++owner->generation;
    err = yula__poller_add(&loop->poller, fd, interest, watcher_tag(watcher));
    if (err < 0) {
        watcher->fd = -1;
        return err;
    }
    watcher->cb = cb;
    watcher->work.arg = arg;
    watcher->interest = interest;
    watcher->pending = 0;
    owner->watcher = watcher;
    loop->watched_native += watcher->work.lane == YULA_LANE_NATIVE;
    return 0;
}

int
yula_watcher_start(yula_watcher *watcher, int fd, unsigned interest,
                   yula_watcher_cb cb, void *arg)
{
    yula__rule_thread(watcher->loop);
    int err = yula__watcher_start_internal(watcher, fd, interest, cb, arg);
    if (err == 0) {
        watcher->reserved = 1; /* counted: yula_watcher_stop undoes it */
        watcher->loop->watched++;
        yula_loop_ref(watcher->loop);
    }
    return err;
}

int
yula_watcher_modify(yula_watcher *watcher, unsigned interest)
{
    if (watcher->fd < 0)
        return -EBADF;
    /* A generation of its own: the owner may be here because the number was
     * closed and opened again behind our back. */
    uint32_t before = watcher->generation;
    watcher->generation = ++watcher->loop->fds[watcher->fd].generation;
    int err = yula__poller_modify(&watcher->loop->poller, watcher->fd, interest,
                                  watcher_tag(watcher));
    if (err < 0) {
        watcher->loop->fds[watcher->fd].generation = before;
        watcher->generation = before;
        return err;
    }
    if (err > 0) { /* it was: what is pending is the old descriptor's */
        yula_work_cancel(&watcher->work);
        watcher->pending = 0;
    }
    watcher->interest = interest;
    return 0;
}

void
yula_watcher_stop(yula_watcher *watcher)
{
    yula__watcher_stop(watcher, false);
}

void
yula__watcher_stop(yula_watcher *watcher, bool closes)
{
    yula_loop *loop = watcher->loop;

    if (watcher->fd < 0)
        return;
    /* The last descriptor takes its registration along. A forked child may have
     * another; what it makes the kernel report is dropped by I2. */
    if (!closes || atomic_load_explicit(&process_forks, memory_order_relaxed))
        yula__poller_remove(&loop->poller, watcher->fd);
    loop->fds[watcher->fd].watcher = NULL;
    loop->watched_native -= watcher->work.lane == YULA_LANE_NATIVE;
    yula_work_cancel(&watcher->work);
    watcher->pending = 0;
    watcher->fd = -1;
    if (watcher->reserved != 0) {
        watcher->reserved = 0;
        loop->watched--;
        yula_loop_unref(loop);
    }
}

void
yula_watcher_again(yula_watcher *watcher, unsigned events)
{
    if (watcher->fd < 0)
        return;
    watcher->pending |= events;
    yula_work_queue(watcher->loop, &watcher->work);
}

yula_watcher *
yula_watcher_of(yula_loop *loop, int fd)
{
    if (fd < 0 || (size_t)fd >= loop->fd_count)
        return NULL;
    return loop->fds[fd].watcher;
}

yula_watcher *
yula__watcher_of_event(const yula_loop *loop, const yula__poll_event *event)
{
    return watcher_of_tag(loop, event->tag);
}

void
yula__watchers_collect(yula_loop *loop, int count, unsigned lanes)
{
    size_t stale = 0;

    for (int i = 0; i < count; i++) {
        const yula__poll_event *event = &loop->events[i];
        yula_watcher *watcher = watcher_of_tag(loop, event->tag);
        if (watcher == NULL) {
            if (event->tag != UINT64_MAX)
                stale++;
            else if (lanes & 1u << YULA_LANE_HOST)
                loop->wakeups_polled++; /* the inbox's eventfd */
            continue;
        }
        if (!(lanes & 1u << watcher->work.lane))
            continue;
        watcher->pending |= event->events;
        /* The inbox has been drained since the poll. */
        if (!yula__work_queued(&watcher->work))
            yula__list_append(&loop->ready[watcher->work.lane], &watcher->work);
    }
    if (!(lanes & 1u << YULA_LANE_HOST))
        return; /* the second pass counts */
    loop->stats.stale += stale;
    if (stale == 0 || stale < (size_t)count)
        loop->stale_streak = 0;
    else if (++loop->stale_streak >= WATCHER_STALE_POLLS)
        yula__watchers_shed_stale(loop);
}

void
yula__watchers_shed_stale(yula_loop *loop)
{
    yula__poller fresh;

    loop->stale_streak = 0;
    if (yula__poller_init(&fresh) < 0)
        return; /* tried again after as many polls */
    if (yula__poller_add(&fresh, loop->wake_fd, YULA_READABLE | YULA_EDGE,
                         UINT64_MAX) < 0)
        goto drop_fresh;
    for (size_t fd = 0; fd < loop->fd_count; fd++) {
        yula_watcher *watcher = loop->fds[fd].watcher;
        if (watcher != NULL &&
            yula__poller_add(&fresh, (int)fd, watcher->interest,
                             watcher_tag(watcher)) == -ENOMEM)
            goto drop_fresh;
    }
    /* Same number, so that yula_loop_fd stays true. */
    if (dup3(fresh.fd, loop->poller.fd, O_CLOEXEC) < 0)
        goto drop_fresh;
drop_fresh:
    yula__poller_fini(&fresh);
}

void
yula__watchers_fini(yula_loop *loop)
{
    yula__free(loop, loop->fds);
    loop->fds = NULL;
    loop->fd_count = 0;
}
