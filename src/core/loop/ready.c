/* ready.c: the queue of ready work, and running one batch of it.
 *
 *  I1. A batch is what was ready when it began; what it queues waits.
 *  I2. A break leaves the rest of the batch queued, in front.
 *  I3. Deferred work is done before the next callback starts; sends that are
 *      held, at the end of the batch at the latest, unless they wait for the
 *      host's lock to be given up (ahead.c).
 * Thread: loop.
 */
#include "loop/loop_i.h"

void
yula_work_init(yula_work *work, yula_lane lane, yula_work_cb cb, void *arg)
{
    *work = (yula_work){.cb = cb, .arg = arg, .lane = lane};
}

void
yula_work_queue(yula_loop *loop, yula_work *work)
{
    yula__rule_thread(loop);
    if (yula__work_queued(work))
        return;
    /* What another thread posted before, and told us of, comes before. In the
     * native lane the inbox's host work may not be touched (loop.c, I2). */
    if (__builtin_expect(work->lane == YULA_LANE_HOST, 1))
        yula__inbox_drain(loop);
    yula__list_append(&loop->ready[work->lane], work);
}

bool
yula_work_cancel(yula_work *work)
{
    if (!yula__work_queued(work))
        return false;
    yula__list_remove(work);
    return true;
}

void
yula_loop_defer(yula_loop *loop, yula_work *work)
{
    if (!yula__work_queued(work))
        yula__list_append(&loop->deferred, work);
}

void
yula__ready_run_deferred(yula_loop *loop)
{
    while (!yula__list_empty(&loop->deferred)) {
        yula_work *work = yula__list_take_first(&loop->deferred);
        work->cb(work, work->arg);
    }
}

void
yula__ready_send_held(yula_loop *loop)
{
    if (yula__list_empty(&loop->unsent) || loop->hold_len == 0 ||
        loop->hold_len == YULA__HOLD_ALL)
        return;
    loop->ahead->sent(loop);
    yula__ready_run_deferred(loop);
}

void
yula__loop_bury(yula_loop *loop, yula_work *work)
{
    yula__list_append(&loop->dead, work);
}

void
yula__loop_free_dead(yula_loop *loop)
{
    while (loop->in_callback == 0 && !yula__list_empty(&loop->dead)) {
        yula_work *work = yula__list_take_first(&loop->dead);
        work->cb(work, work->arg);
    }
}

void
yula__ready_breathe(yula_loop *loop)
{
    if (loop->host == NULL)
        return;
    int status = loop->host->breathe(loop->host->arg);
    if (status != 0)
        yula_loop_break(loop, status);
}

/* Every so often in a batch, or after each callback while somebody watches for
 * slow ones. Returns how many of them until the next time. */
__attribute__((noinline)) static unsigned
ready_pause(yula_loop *loop, yula_lane lane, uint64_t count)
{
    if (loop->slow_ns > 0)
        yula__slow_look(loop, NULL);
    if (lane == YULA_LANE_HOST && count % YULA_HOST_BREATH == 0)
        yula__ready_breathe(loop);
    return loop->slow_ns > 0 ? 1 : YULA_HOST_BREATH;
}

int
yula__ready_run(yula_loop *loop, yula_lane lane)
{
    yula__list *batch = &loop->batch[lane];
    unsigned until_breath = YULA_HOST_BREATH;
    uint64_t count = 0;
    yula_lane outer_lane = loop->lane;

    loop->lane = lane;
    yula__list_prepend_all(batch, &loop->ready[lane]);
    loop->in_callback++;
    if (__builtin_expect(loop->slow_ns > 0, 0)) {
        loop->slow_since_ns = yula_loop_now(loop);
        until_breath = 1;
    }
    while (!yula__list_empty(batch) && loop->break_status == 0) {
        yula_work *work = yula__list_take_first(batch);
        work->cb(work, work->arg);
        count++;
        if (!yula__list_empty(&loop->deferred))
            yula__ready_run_deferred(loop);
        if (__builtin_expect(!yula__list_empty(&loop->unsent), 0))
            loop->ahead->between(loop);
        if (--until_breath == 0)
            until_breath = ready_pause(loop, lane, count);
    }
    if (lane == YULA_LANE_HOST)
        yula__ready_send_held(loop);
    loop->in_callback--;
    loop->lane = outer_lane;
    loop->stats.callbacks += count;
    if (!yula__list_empty(&loop->dead))
        yula__loop_free_dead(loop);
    if (loop->break_status == 0)
        return 0;
    yula__list_prepend_all(&loop->ready[lane], batch);
    int status = loop->break_status;
    loop->break_status = 0;
    return status;
}
