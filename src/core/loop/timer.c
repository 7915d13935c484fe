/* timer.c: deadlines in a 4-ary heap.
 *
 * Owns the slot array; timers are embedded in their users. Four children a node
 * halve the depth of a binary heap and share a cache line or two.
 *  I1. A parent is due no later than its children; ties fire in start order.
 *  I2. timer->slot is its index while it is in the heap, else NO_SLOT.
 *  I3. A timer is in the heap, or its work is queued (it is due), or neither.
 *  I4. No user code runs while the heap is being changed.
 * Thread: loop.
 */
#include "loop/loop_i.h"

#define NO_SLOT SIZE_MAX
#define TIMER_FIRST_CAPACITY 64

static inline bool
slot_before(const yula__timer_slot *a, const yula__timer_slot *b)
{
    return a->deadline_ns < b->deadline_ns ||
           (a->deadline_ns == b->deadline_ns && a->order < b->order);
}

static inline void
heap_put(yula_loop *loop, size_t index, yula__timer_slot slot)
{
    loop->timers[index] = slot;
    slot.timer->slot = index;
}

static void
heap_sift_up(yula_loop *loop, size_t index, yula__timer_slot slot)
{
    while (index > 0) {
        size_t parent = (index - 1) / 4;
        if (!slot_before(&slot, &loop->timers[parent]))
            break;
        heap_put(loop, index, loop->timers[parent]);
        index = parent;
    }
    heap_put(loop, index, slot);
}

static void
heap_sift_down(yula_loop *loop, size_t index, yula__timer_slot slot)
{
    for (;;) {
        size_t child = index * 4 + 1;
        if (child >= loop->timer_count)
            break;
        size_t end = child + 4;
        if (end > loop->timer_count)
            end = loop->timer_count;
        size_t least = child;
        while (++child < end)
            if (slot_before(&loop->timers[child], &loop->timers[least]))
                least = child;
        if (!slot_before(&loop->timers[least], &slot))
            break;
        heap_put(loop, index, loop->timers[least]);
        index = least;
    }
    heap_put(loop, index, slot);
}

static void
heap_remove(yula_loop *loop, size_t index)
{
    loop->timers[index].timer->slot = NO_SLOT;
    yula__timer_slot last = loop->timers[--loop->timer_count];
    if (index == loop->timer_count)
        return;
    if (index > 0 && slot_before(&last, &loop->timers[(index - 1) / 4]))
        heap_sift_up(loop, index, last);
    else
        heap_sift_down(loop, index, last);
}

static int
heap_reserve(yula_loop *loop)
{
    if (loop->timer_count < loop->timer_capacity)
        return 0;
    size_t capacity = loop->timer_capacity * 2;
    if (capacity == 0)
        capacity = TIMER_FIRST_CAPACITY;
    void *timers = yula__resize(loop, loop->timers,
                                capacity * sizeof(*loop->timers));
    if (timers == NULL)
        return -ENOMEM;
    loop->timers = timers;
    loop->timer_capacity = capacity;
    return 0;
}

static void
timer_run(yula_work *work, void *arg)
{
    yula_timer *timer = yula__container_of(work, yula_timer, work);
    timer->cb(timer, arg);
}

void
yula_timer_init(yula_loop *loop, yula_timer *timer, yula_lane lane)
{
    *timer = (yula_timer){.loop = loop, .slot = NO_SLOT};
    yula_work_init(&timer->work, lane, timer_run, NULL);
}

int
yula_timer_start(yula_timer *timer, int64_t deadline_ns, yula_timer_cb cb,
                 void *arg)
{
    yula_loop *loop = timer->loop;

    yula__rule_thread(loop);
    yula_timer_stop(timer);
    int err = heap_reserve(loop);
    if (err < 0)
        return err;
    timer->cb = cb;
    timer->work.arg = arg;
    timer->deadline_ns = deadline_ns;
    yula__timer_slot slot = {deadline_ns, loop->timer_order++, timer};
    heap_sift_up(loop, loop->timer_count++, slot);
    return 0;
}

bool
yula_timer_stop(yula_timer *timer)
{
    if (timer->slot != NO_SLOT) {
        heap_remove(timer->loop, timer->slot);
        return true;
    }
    return yula_work_cancel(&timer->work);
}

bool
yula_timer_armed(const yula_timer *timer)
{
    return timer->slot != NO_SLOT || yula__work_queued(&timer->work);
}

void
yula__timers_collect(yula_loop *loop)
{
    if (loop->timer_count == 0)
        return;
    int64_t now_ns = yula_loop_now(loop);
    while (loop->timer_count > 0 && loop->timers[0].deadline_ns <= now_ns) {
        yula_timer *timer = loop->timers[0].timer;
        heap_remove(loop, 0);
        yula__list_append(&loop->ready[timer->work.lane], &timer->work);
    }
}

void
yula__timers_fini(yula_loop *loop)
{
    yula__free(loop, loop->timers);
    loop->timers = NULL;
    loop->timer_count = loop->timer_capacity = 0;
}

yula_timer *
yula__timer_of_work(yula_work *work)
{
    if (work->cb != timer_run)
        return NULL;
    return yula__container_of(work, yula_timer, work);
}
