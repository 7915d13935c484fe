/* inbox.c: work posted by other threads.
 *
 * A stack that any thread pushes to with one compare-and-swap (Treiber 1986)
 * and the loop takes whole; reversed, it is in order of arrival. A thread that
 * holds the host's lock needs no stack: it appends to the ready queue, which
 * that lock guards (loop.c, I2).
 *  I1. A posted work is linked through next only; it is in no list.
 *  I2. The loop sleeps only after it has said so and then found the stack
 *      empty; a poster writes to the eventfd only when it reads ASLEEP, and
 *      takes the state back, so one batch costs one wake-up.
 *  I3. It says so with the host's lock held, and looks at the ready queue again
 *      then: what was appended under the lock before is found, what comes later
 *      meets ASLEEP.
 * Thread: any pushes, the loop's drains.
 */
#include "loop/loop_i.h"

/* The tag of the eventfd: no descriptor has that number. */
#define INBOX_TAG UINT64_MAX

int
yula__inbox_init(yula_loop *loop)
{
    int fd = yula__sys_eventfd();
    if (fd < 0)
        return fd;
    /* Edge-triggered: each write is an event of its own, so the counter need
     * never be read (it would overflow after 2^64 wake-ups). */
    int err = yula__poller_add(&loop->poller, fd, YULA_READABLE | YULA_EDGE,
                               INBOX_TAG);
    if (err < 0) {
        yula__sys_close(fd);
        return err;
    }
    loop->wake_fd = fd;
    return 0;
}

void
yula__inbox_fini(yula_loop *loop)
{
    if (loop->wake_fd >= 0)
        yula__sys_close(loop->wake_fd);
    loop->wake_fd = -1;
}

static void
inbox_wake(yula_loop *loop)
{
    static const uint64_t one = 1;
    (void)yula__sys_write(loop->wake_fd, &one, sizeof(one));
    /* Pairs with yula__inbox_woken: who sees the count finds the event. */
    atomic_fetch_add_explicit(&loop->wakeups, 1, memory_order_release);
}

static void
inbox_wake_if_asleep(yula_loop *loop)
{
    if (atomic_load_explicit(&loop->sleep_state, memory_order_seq_cst) ==
            YULA__ASLEEP &&
        atomic_exchange_explicit(&loop->sleep_state, YULA__AWAKE,
                                 memory_order_seq_cst) == YULA__ASLEEP)
        inbox_wake(loop);
}

void
yula__inbox_push(yula_loop *loop, yula_work *work)
{
    yula_work *top = atomic_load_explicit(&loop->inbox, memory_order_relaxed);
    do {
        work->next = top;
    } while (!atomic_compare_exchange_weak_explicit(
        &loop->inbox, &top, work, memory_order_seq_cst, memory_order_relaxed));
}

void
yula_work_post(yula_loop *loop, yula_work *work)
{
    if (yula_loop_on_own_thread(loop)) {
        yula_work_queue(loop, work);
        return;
    }
    yula__inbox_push(loop, work);
    /* Pairs with yula__inbox_may_sleep: either we see ASLEEP, or the loop sees
     * the work. */
    inbox_wake_if_asleep(loop);
}

void
yula__work_post_locked(yula_loop *loop, yula_work *work)
{
    /* What somebody posted before, and told us of, comes before. Only the loop
     * may drain: the stack can hold work of the native lane too. */
    if (__builtin_expect(
            atomic_load_explicit(&loop->inbox, memory_order_acquire) != NULL,
            0)) {
        yula_work_post(loop, work);
        return;
    }
    yula__list_append(&loop->ready[YULA_LANE_HOST], work);
    inbox_wake_if_asleep(loop);
}

bool
yula__inbox_woken(yula_loop *loop)
{
    uint64_t wakeups = atomic_load_explicit(&loop->wakeups,
                                            memory_order_acquire);
    /* A poll may have seen the event of one that is not counted yet. */
    if ((int64_t)(wakeups - loop->wakeups_polled) <= 0)
        return false;
    loop->wakeups_polled = wakeups;
    return true;
}

void
yula__inbox_drain(yula_loop *loop)
{
    if (atomic_load_explicit(&loop->inbox, memory_order_relaxed) == NULL)
        return;
    yula_work *newest = atomic_exchange_explicit(&loop->inbox, NULL,
                                                 memory_order_acquire);
    yula_work *oldest = NULL;
    while (newest != NULL) {
        yula_work *older = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = older;
    }
    while (oldest != NULL) {
        yula_work *work = oldest;
        oldest = work->next;
        yula__list_append(&loop->ready[work->lane], work);
    }
}

bool
yula__inbox_may_sleep(yula_loop *loop)
{
    atomic_store_explicit(&loop->sleep_state, YULA__ASLEEP,
                          memory_order_seq_cst);
    if (atomic_load_explicit(&loop->inbox, memory_order_seq_cst) == NULL &&
        yula__list_empty(&loop->ready[YULA_LANE_HOST]))
        return true;
    yula__inbox_awake(loop);
    return false;
}

void
yula__inbox_awake(yula_loop *loop)
{
    atomic_store_explicit(&loop->sleep_state, YULA__AWAKE,
                          memory_order_relaxed);
}
