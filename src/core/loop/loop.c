/* loop.c: one iteration, and the loop's life.
 *
 *  I1. An iteration's state is on the stack or in the loop, never in statics:
 *      a step can be nested, driven from outside, or given another clock.
 *  I2. Between release and acquire of the host's lock nothing of the host lane
 *      is touched: a thread that holds the lock may be walking it (visit.c).
 * Thread: loop.
 */
#include "loop/loop_i.h"

#include <string.h>
#include <time.h>

#include "base/alloc.h"

static int64_t
loop_monotonic(void *arg)
{
    return yula__sys_clock_ns(CLOCK_MONOTONIC);
}

uint64_t
yula__thread_token(void)
{
    static _Atomic uint64_t last;
    static _Thread_local uint64_t token;
    if (__builtin_expect(token == 0, 0))
        token = atomic_fetch_add(&last, 1) + 1;
    return token;
}

static void
loop_init(yula_loop *loop, const yula_loop_options *options)
{
    const yula_allocator *allocator = options->allocator;

    memset(loop, 0, sizeof(*loop));
    loop->allocator = allocator != NULL ? *allocator : yula__malloc_allocator;
    if (options->host != NULL) {
        loop->host_table = *options->host;
        loop->host = &loop->host_table;
    }
    yula_loop_set_clock(loop, options->clock, options->clock_arg);
    for (int lane = 0; lane < YULA__LANES; lane++) {
        yula__list_init(&loop->ready[lane]);
        yula__list_init(&loop->batch[lane]);
    }
    yula__list_init(&loop->deferred);
    yula__list_init(&loop->dead);
    yula__list_init(&loop->unsent);
    loop->poller.fd = loop->wake_fd = -1;
    loop->owner = yula__thread_token();
}

int
yula_loop_new(const yula_loop_options *options, yula_loop **out)
{
    static const yula_loop_options defaults = {.size = sizeof(defaults)};

    if (options == NULL)
        options = &defaults;
    if (options->size != sizeof(*options))
        return -EINVAL;
    const yula_allocator *allocator = options->allocator != NULL
                                          ? options->allocator
                                          : &yula__malloc_allocator;
    yula_loop *loop = yula__allocator_alloc(allocator, sizeof(*loop));
    if (loop == NULL)
        return -ENOMEM;
    loop_init(loop, options);
    int err = yula__poller_init(&loop->poller);
    if (err < 0)
        goto free_loop;
    err = yula__inbox_init(loop);
    if (err < 0)
        goto fini_poller;
    *out = loop;
    return 0;
fini_poller:
    yula__poller_fini(&loop->poller);
free_loop:
    yula__free(loop, loop);
    return err;
}

void
yula__loop_adopt(yula_loop *loop)
{
    atomic_store_explicit(&loop->owner, yula__thread_token(),
                          memory_order_relaxed);
}

void
yula_loop_free(yula_loop *loop)
{
    /* In a child that was forked by a callback it does not run any more. */
    yula__rule(loop->closed || loop->in_callback == 0,
               "the loop runs: free it when yula_loop_run has returned");
    loop->closed = true;
    yula__workers_fini(loop);
    yula__requests_drop(loop);
    yula__ready_run_deferred(loop);
    yula__loop_free_dead(loop);
    yula__signals_fini(loop);
    yula__timers_fini(loop);
    yula__watchers_fini(loop);
    yula__inbox_fini(loop);
    yula__poller_fini(&loop->poller);
    if (loop->ahead != NULL)
        loop->ahead->fini(loop);
    yula__tasks_fini(loop); /* its works may have been in any list */
    yula__free(loop, loop->read_buffer);
    yula__free(loop, loop->datagram_batch);
    yula__free(loop, loop);
}

void
yula_loop_forked(yula_loop *loop)
{
    /* The epoll set is shared with the parent: removing anything from it here
     * would take it from the parent. Closing our descriptor of it does not. */
    loop->closed = true;
    yula__poller_fini(&loop->poller);
    yula__workers_forked(loop);
    yula__signals_forked(loop);
    yula__inbox_fini(loop);
}

/* --- collecting ----------------------------------------------------------- */

/* Work of the native lane runs without the host's lock: give it up if the
 * sleep has not done so. Returns whether the lock is given up now. */
static bool
loop_run_native(yula_loop *loop, int events, bool released, int *status)
{
    if (loop->watched_native > 0)
        yula__watchers_collect(loop, events, 1u << YULA_LANE_NATIVE);
    if (yula__list_empty(&loop->ready[YULA_LANE_NATIVE]))
        return released;
    if (!released)
        loop->host->release(loop->host->arg);
    *status = yula__ready_run(loop, YULA_LANE_NATIVE);
    return true;
}

/* Poll, then queue: what was ready stays in front, posted work behind it, then
 * the kernel's events, then timers. */
static int
loop_collect(yula_loop *loop, int64_t deadline_ns)
{
    if (__builtin_expect(loop->closed, 0))
        return YULA_ECLOSED;
    yula__inbox_awake(loop); /* from a sleep announced to a foreign loop */
    yula__ready_run_deferred(loop);
    yula__ready_send_held(loop); /* a nested turn: of the outer batch */
    yula__loop_free_dead(loop);
    if (loop->resume != NULL)
        yula_work_queue(loop, loop->resume);
    loop->resume = NULL;
    if (loop->in_callback > 0 && loop->tasks != NULL)
        yula__tasks_nest(loop);
    /* What a nested run's outer batch had left runs first. */
    for (int lane = 0; lane < YULA__LANES; lane++)
        yula__list_prepend_all(&loop->ready[lane], &loop->batch[lane]);

    bool released = false;
    int status = 0;
    int events = yula__loop_wait(loop, deadline_ns, &released);
    if (events < 0) {
        status = events;
        events = 0;
    }
    loop->large_batch = events >= YULA__AHEAD_EVENTS;
    if (loop->host != NULL) {
        released = loop_run_native(loop, events, released, &status);
        if (released && loop->host_wanted && loop->large_batch &&
            loop->ahead != NULL)
            loop->ahead->read(loop, events);
        if (released)
            loop->host->acquire(loop->host->arg);
        if (loop->ahead != NULL && !yula__list_empty(&loop->unsent))
            loop->ahead->sent(loop);
    }
    loop->stats.turns++;
    loop->stats.events += (uint64_t)events;
    yula__inbox_drain(loop);
    if (events > 0)
        yula__watchers_collect(loop, events,
                               loop->host != NULL ? 1u << YULA_LANE_HOST : ~0u);
    yula__timers_collect(loop);
    if (status == 0 && loop->host != NULL)
        status = loop->host->breathe(loop->host->arg);
    return status;
}

/* --- running ------------------------------------------------------------- */

/* Sends of a batch wait for each other (ahead.c). Without a host every callback
 * is C, and too short to be worth it. */
static size_t
loop_hold_len(const yula_loop *loop)
{
    if (loop->host == NULL)
        return 0;
    if (loop->host_wanted)
        return loop->large_batch ? YULA__HOLD_ALL : 0;
    return YULA__HOLD_LEN;
}

int
yula_loop_run_batch(yula_loop *loop)
{
    int status = 0;
    if (loop->host == NULL)
        status = yula__ready_run(loop, YULA_LANE_NATIVE);
    if (status != 0)
        return status;
    size_t outer = loop->hold_len;
    loop->hold_len = loop_hold_len(loop);
    status = yula__ready_run(loop, YULA_LANE_HOST);
    loop->hold_len = outer;
    return status;
}

int
yula_loop_collect(yula_loop *loop)
{
    yula__loop_adopt(loop);
    return loop_collect(loop, 0);
}

int
yula_loop_step(yula_loop *loop, int64_t deadline_ns)
{
    yula__loop_adopt(loop);
    int status = loop_collect(loop, deadline_ns);
    return status != 0 ? status : yula_loop_run_batch(loop);
}

static bool
loop_alive(const yula_loop *loop)
{
    return loop->refs > 0 || loop->timer_count > 0 || yula__ready_any(loop) ||
           atomic_load(&loop->inbox) != NULL;
}

int
yula_loop_run(yula_loop *loop)
{
    int status = 0;
    loop->until_poll = 0;
    while (status == 0 && loop_alive(loop)) {
        status = yula_loop_step(loop, loop->stopping ? 0 : YULA_NEVER);
        if (loop->stopping)
            break;
    }
    loop->stopping = false;
    return status;
}

void
yula_loop_stop(yula_loop *loop)
{
    loop->stopping = true;
}

bool
yula_loop_stopping(const yula_loop *loop)
{
    return loop->stopping;
}

void
yula_loop_clear_stop(yula_loop *loop)
{
    loop->stopping = false;
}

void
yula_loop_break(yula_loop *loop, int status)
{
    if (loop->break_status == 0)
        loop->break_status = status;
}

/* --- from outside -------------------------------------------------------- */

int
yula_loop_fd(const yula_loop *loop)
{
    return loop->poller.fd;
}

int64_t
yula_loop_next_deadline(yula_loop *loop)
{
    /* The foreign loop is about to sleep: posters must wake it. */
    if (yula__ready_any(loop) || !yula__inbox_may_sleep(loop))
        return 0;
    return yula__timers_next(loop);
}

void
yula_loop_ref(yula_loop *loop)
{
    loop->refs++;
}

void
yula_loop_unref(yula_loop *loop)
{
    loop->refs--;
}

bool
yula_loop_in_callback(const yula_loop *loop)
{
    return loop->in_callback > 0;
}

bool
yula_loop_on_own_thread(const yula_loop *loop)
{
    return atomic_load_explicit(&loop->owner, memory_order_relaxed) ==
           yula__thread_token();
}

int64_t
yula_loop_now(yula_loop *loop)
{
    return loop->clock(loop->clock_arg);
}

void
yula_loop_set_clock(yula_loop *loop, yula_clock_cb clock, void *arg)
{
    loop->clock = clock != NULL ? clock : loop_monotonic;
    loop->clock_arg = clock != NULL ? arg : NULL;
}

void
yula_loop_want_host(yula_loop *loop, bool wanted)
{
    loop->host_wanted = wanted;
    if (!wanted && !yula__list_empty(&loop->unsent))
        loop->ahead->sent(loop);
}

void
yula_loop_get_stats(const yula_loop *loop, yula_loop_stats *out)
{
    *out = loop->stats;
    out->wakeups = atomic_load_explicit(&loop->wakeups, memory_order_relaxed);
}
