/* wait.c: the first part of a turn, asking the kernel what happened.
 *
 *  I1. The host's lock is given up only here: for a sleep, when polling for a
 *      while has found nothing (yula_host.linger), or to send (io/ahead.c).
 *  I2. Posters must wake the loop only while it may be asleep (inbox.c): while
 *      it polls, it looks at the inbox itself.
 * Thread: loop.
 */
#include "loop/loop_i.h"

/* A turn that need not poll costs a quarter of one that does. */
#define WAIT_TURNS_UNPOLLED 16

static int64_t
wait_timeout(yula_loop *loop, int64_t deadline_ns)
{
    if (deadline_ns <= 0 || yula__ready_any(loop))
        return 0;
    int64_t timer_ns = yula__timers_next(loop);
    if (timer_ns < deadline_ns)
        deadline_ns = timer_ns;
    if (deadline_ns == YULA_NEVER)
        return YULA_NEVER;
    int64_t timeout_ns = deadline_ns - yula_loop_now(loop);
    return timeout_ns > 0 ? timeout_ns : 0;
}

/* An interrupted poll saw nothing. The lock has been given up, if it is going to
 * be: now a worker can have it. */
static int
wait_poll(yula_loop *loop, int64_t timeout_ns)
{
    if (loop->worker_wanted)
        yula__workers_wake(loop);
    int events = yula__poller_wait(&loop->poller, timeout_ns, loop->events);
    return events == -EINTR ? 0 : events;
}

/* Poll as long as the host asks for it and the time is not up. Returns events;
 * with 0, timeout_ns is what is left to sleep. */
static int
wait_linger(yula_loop *loop, int64_t deadline_ns, int64_t *timeout_ns)
{
    const yula_host *host = loop->host;
    int64_t most_ns = *timeout_ns;
    int events = 0;

    while (events == 0 && *timeout_ns > 0 && loop->break_status == 0 &&
           atomic_load_explicit(&loop->inbox, memory_order_relaxed) == NULL &&
           host->linger(host->arg, &most_ns)) {
        events = wait_poll(loop, 0);
        *timeout_ns = wait_timeout(loop, deadline_ns);
    }
    if (*timeout_ns > most_ns)
        *timeout_ns = most_ns;
    return events;
}

static int
wait_sleep(yula_loop *loop, int64_t timeout_ns)
{
    int events = wait_poll(loop, timeout_ns);
    yula__inbox_awake(loop);
    loop->stats.sleeps += timeout_ns > 0;
    return events;
}

static int
wait_asleep(yula_loop *loop, int64_t deadline_ns, int64_t timeout_ns,
            bool *released)
{
    const yula_host *host = loop->host;

    if (host != NULL && host->linger != NULL) {
        int events = wait_linger(loop, deadline_ns, &timeout_ns);
        if (events != 0)
            return events;
    }
    if (loop->break_status != 0 || !yula__inbox_may_sleep(loop))
        timeout_ns = 0;
    *released = timeout_ns > 0 && host != NULL;
    if (*released)
        host->release(host->arg);
    return wait_sleep(loop, timeout_ns);
}

/* What the batch wrote leaves without the lock; so does the poll. */
static int
wait_after_sends(yula_loop *loop, int64_t timeout_ns, bool *released)
{
    if (timeout_ns > 0 && !yula__inbox_may_sleep(loop))
        timeout_ns = 0;
    loop->host->release(loop->host->arg);
    *released = true;
    if (loop->ahead->send(loop))
        timeout_ns = 0;
    return wait_sleep(loop, timeout_ns);
}

int
yula__loop_wait(yula_loop *loop, int64_t deadline_ns, bool *released)
{
    int64_t timeout_ns = wait_timeout(loop, deadline_ns);

    *released = false;
    if (!yula__list_empty(&loop->unsent))
        return wait_after_sends(loop, timeout_ns, released);
    /* A break: the clock failed. */
    if (timeout_ns > 0 && loop->break_status == 0) {
        loop->until_poll = WAIT_TURNS_UNPOLLED - 1;
        return wait_asleep(loop, deadline_ns, timeout_ns, released);
    }
    /* With nothing to watch and no sleep there is little the kernel could tell:
     * the inbox is read directly. But signals must be seen, and a wake-up not
     * polled for would keep yula_loop_fd readable, and a foreign loop from ever
     * sleeping. */
    if (loop->watched == 0 && !yula__inbox_woken(loop) &&
        loop->until_poll-- != 0)
        return 0;
    loop->until_poll = WAIT_TURNS_UNPOLLED - 1;
    return wait_poll(loop, 0);
}
