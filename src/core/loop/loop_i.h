/* loop_i.h: the loop's state, shared by the rooms of the core. */
#ifndef YULA__LOOP_I_H
#define YULA__LOOP_I_H

#include <stdatomic.h>

#include <yula/loop.h>
#include <yula/stream.h>
#include <yula/timer.h>
#include <yula/watcher.h>
#include <yula/worker.h>

#include "base/list.h"
#include "base/sys.h"
#include "poll/poll.h"

#define YULA__LANES 2

/* A due time in the heap. The key is copied out of the timer so that sifting
 * stays within the array. */
typedef struct yula__timer_slot {
    int64_t deadline_ns;
    uint64_t order; /* of the start: equal deadlines fire in it */
    yula_timer *timer;
} yula__timer_slot;

/* Who owns a descriptor. The generation counts the starts on this number. */
typedef struct yula__fd_owner {
    yula_watcher *watcher;
    uint32_t generation;
} yula__fd_owner;

/* Memory of the core's own that waits for its callback (a look-up). When the
 * loop is freed first, drop frees it; no worker runs by then. */
typedef struct yula__request {
    struct yula__request *next;
    struct yula__request **link; /* what points here */
    void (*drop)(yula_loop *loop, struct yula__request *request);
} yula__request;

/* sleep_state: what a poster must do after it pushed (inbox.c). */
enum {
    YULA__AWAKE,
    YULA__ASLEEP
};

/* What a higher room does without the host's lock while the host wants it for
 * others (io/ahead.c). None touches what the host may walk. */
typedef struct yula__ahead {
    /* The lock was just given up: send what the batch has written. Returns
     * whether somebody must hear of it before the loop may sleep. */
    bool (*send)(yula_loop *loop);
    /* Send what is unsent, or, if send has done so, say what came of it. */
    void (*sent)(yula_loop *loop);
    /* A callback of a batch that holds its sends has ended: send them if that
     * is enough. */
    void (*between)(yula_loop *loop);
    /* The lock is still given up after a poll: read what is ready. */
    void (*read)(yula_loop *loop, int events);
    void (*fini)(yula_loop *loop);
} yula__ahead;

/* So many events make a batch for which all that is worth it. With fewer the
 * lock's hand-overs cost more than the system calls made without it spare. */
#define YULA__AHEAD_EVENTS 16

/* hold_len of a batch: what is larger costs more to keep around than it spares.
 * And of a batch whose sends wait until the lock is given up. */
#define YULA__HOLD_LEN ((size_t)16384)
#define YULA__HOLD_ALL SIZE_MAX

typedef struct yula__datagram_batch yula__datagram_batch;

struct yula_loop {
    /* ready.c: work that runs in the next batch, and the batch being run */
    yula__list ready[YULA__LANES];
    yula__list batch[YULA__LANES];
    yula__list deferred; /* runs before the next callback */
    yula_work *resume;   /* queued if a nested turn begins in this callback */
    yula__list dead;     /* freed; runs when no callback is on the stack */
    int in_callback;     /* depth: a nested run makes it 2 */
    yula_lane lane;      /* of the batch being run */
    int break_status;
    bool stopping;
    bool closed;

    /* loop.c */
    const yula_host *host; /* &host_table, or NULL */
    yula_host host_table;
    yula_allocator allocator;
    yula_clock_cb clock;
    void *clock_arg;
    long refs;
    _Atomic uint64_t owner; /* yula__thread_token of who runs the loop */
    yula_loop_stats stats;

    /* watcher.c */
    yula__poller poller;
    yula__fd_owner *fds; /* by number */
    size_t fd_count;
    size_t watched;        /* started watchers, the core's own apart */
    unsigned until_poll;   /* turns that may still go by without a poll */
    size_t watched_native; /* of those, in the native lane */
    unsigned stale_streak; /* polls in a row that saw only stale events */
    yula__poll_event events[YULA__POLL_EVENTS];

    /* timer.c */
    yula__timer_slot *timers;
    size_t timer_count;
    size_t timer_capacity;
    uint64_t timer_order;

    /* inbox.c: written by other threads, so on a line of its own */
    char pad_before_[64];
    _Atomic(yula_work *) inbox;
    _Atomic int sleep_state;
    _Atomic uint64_t wakeups; /* stats.wakeups */
    uint64_t wakeups_polled;  /* the loop's: how many of them a poll has seen */
    int wake_fd;
    char pad_after_[64];

    /* io/ahead.c */
    const yula__ahead *ahead; /* NULL until there is a stream */
    yula__list unsent;        /* works of streams that wait for ahead->send */
    void *ahead_blocks;       /* free ones, linked through their first word */
    unsigned ahead_block_count;
    bool host_wanted; /* others wait for the host's lock */
    bool large_batch; /* as YULA__AHEAD_EVENTS says */
    size_t hold_len;  /* in this batch a stream with no more queued holds it */
    unsigned held;    /* streams that do */
    int64_t held_since_ns; /* CLOCK_MONOTONIC: since when the first one does */

    /* io/stream.c: where streams without an alloc of their own receive, and
     * free arrays of chunks, linked through their first word */
    char *read_buffer; /* YULA_STREAM_READ_MAX bytes */
    void *chunk_arrays;
    unsigned chunk_array_count;

    /* io/datagram.c: a batch that no socket delivers, or NULL */
    yula__datagram_batch *datagram_batch;

    /* worker_pool.c, signal.c: theirs alone; NULL until first used */
    yula_workers *workers;
    struct yula__signals *signals;
    bool worker_wanted; /* worker_pool.h, I8 */

    yula__request *requests; /* request.c: not yet answered */

    /* coro/task.c; NULL until first used */
    struct yula__tasks *tasks;

    /* slow.c */
    int64_t slow_ns; /* 0: nobody watches */
    int64_t slow_since_ns;
    yula_slow_cb slow_cb;
    void *slow_arg;
};

static inline void *
yula__alloc(yula_loop *loop, size_t len)
{
    return loop->allocator.alloc(len, loop->allocator.arg);
}

static inline void *
yula__resize(yula_loop *loop, void *memory, size_t len)
{
    return loop->allocator.resize(memory, len, loop->allocator.arg);
}

static inline void
yula__free(yula_loop *loop, void *memory)
{
    loop->allocator.free(memory, loop->allocator.arg);
}

/* loop.c: a number no other thread of the process ever has. */
uint64_t yula__thread_token(void);

/* wait.c: poll, asleep until the deadline (loop clock) if nothing is ready
 * before. released: whether the host's lock was given up, and still is. Returns
 * the number of events, or a poll error. */
int yula__loop_wait(yula_loop *loop, int64_t deadline_ns, bool *released);

/* ready.c */
int yula__ready_run(yula_loop *loop, yula_lane lane);
void yula__ready_run_deferred(yula_loop *loop);
/* What the batch held back so far, if it holds no longer than a batch. */
void yula__ready_send_held(yula_loop *loop);
/* Let the host, if there is one, look around within a batch of its lane. Its
 * verdict is a break like any other. */
void yula__ready_breathe(yula_loop *loop);
/* Give back the memory of something that callbacks further up the stack may
 * still look at: the work runs when none is left, or the loop is freed. */
void yula__loop_bury(yula_loop *loop, yula_work *work);
void yula__loop_free_dead(yula_loop *loop);

static inline bool
yula__ready_any(const yula_loop *loop)
{
    return !yula__list_empty(&loop->ready[YULA_LANE_HOST]) ||
           !yula__list_empty(&loop->ready[YULA_LANE_NATIVE]) ||
           !yula__list_empty(&loop->batch[YULA_LANE_HOST]) ||
           !yula__list_empty(&loop->batch[YULA_LANE_NATIVE]);
}

/* inbox.c */
int yula__inbox_init(yula_loop *loop);
void yula__inbox_fini(yula_loop *loop);
/* Move posted work behind the ready queue, oldest first. */
void yula__inbox_drain(yula_loop *loop);
/* Announce a sleep, with the host's lock held; returns false if there is work
 * after all. Pairs with yula_work_post and yula__work_post_locked. */
bool yula__inbox_may_sleep(yula_loop *loop);
void yula__inbox_awake(yula_loop *loop);
/* yula_work_post for host work, from any thread that holds the host's lock. No
 * atomic read-modify-write, nothing to reverse for the loop. */
void yula__work_post_locked(yula_loop *loop, yula_work *work);
/* Push without waking: for the loop's own thread, when it may not touch the
 * host lane's lists. */
void yula__inbox_push(yula_loop *loop, yula_work *work);
/* Whether somebody wrote to the eventfd that no poll has seen; now is one. */
bool yula__inbox_woken(yula_loop *loop);

/* timer.c */
void yula__timers_fini(yula_loop *loop);
/* Queue the timers that are due. */
void yula__timers_collect(yula_loop *loop);
/* The timer that a work is part of, or NULL. */
yula_timer *yula__timer_of_work(yula_work *work);
/* The earliest deadline, or YULA_NEVER. */
static inline int64_t
yula__timers_next(const yula_loop *loop)
{
    return loop->timer_count > 0 ? loop->timers[0].deadline_ns : YULA_NEVER;
}

/* watcher.c */
/* yula_watcher_stop. closes: the caller closes the descriptor, which nobody has
 * a duplicate of, right after. */
void yula__watcher_stop(yula_watcher *watcher, bool closes);
void yula__watchers_fini(yula_loop *loop);
/* Queue the watchers that the events are for; lanes is a set of 1 << lane. */
void yula__watchers_collect(yula_loop *loop, int count, unsigned lanes);
/* Whom an event is for, or NULL if its descriptor has another owner by now. */
yula_watcher *yula__watcher_of_event(const yula_loop *loop,
                                     const yula__poll_event *event);
/* After a poll whose events were all stale, now and then: make a new poller. */
void yula__watchers_shed_stale(yula_loop *loop);
/* A watcher of the core's own: does not keep yula_loop_run alive. */
int yula__watcher_start_internal(yula_watcher *watcher, int fd,
                                 unsigned interest, yula_watcher_cb cb,
                                 void *arg);

/* worker_pool.c and worker.c */
void yula__workers_fini(yula_loop *loop);
void yula__workers_forked(yula_loop *loop);
/* worker_wanted: wake one. Called without the host's lock before a sleep. */
void yula__workers_wake(yula_loop *loop);

/* request.c */
void yula__request_add(yula_loop *loop, yula__request *request);
void yula__request_remove(yula__request *request);
/* The loop is freed: drop them all. */
void yula__requests_drop(yula_loop *loop);

/* signal.c */
void yula__signals_fini(yula_loop *loop);
void yula__signals_forked(yula_loop *loop);

/* loop.c: the calling thread is the one that runs it from now on. */
void yula__loop_adopt(yula_loop *loop);

/* slow.c: if the limit has passed since the last look, report it; for tasks and
 * callbacks that have just given control up. task: its name, or NULL. Called only
 * while slow_ns > 0. */
void yula__slow_look(yula_loop *loop, const char *task);

/* coro/task.c */
void yula__tasks_fini(yula_loop *loop);
/* From the next hand-over on, if anybody watches for slow ones. */
void yula__tasks_look_at_each(yula_loop *loop);
/* A nested turn begins: it runs the tasks that are ready, too. */
void yula__tasks_nest(yula_loop *loop);

/* visit.c: every work the loop holds in the host lane, the inbox apart (its
 * items are strong roots). For a host that collects cycles. visit returns
 * nonzero to end the walk. Thread: any that holds the host's lock. */
typedef int (*yula__visit_cb)(yula_work *work, void *arg);
int yula__loop_visit(yula_loop *loop, yula__visit_cb visit, void *arg);

#ifdef YULA__DEBUG
/* Walk the whole loop and abort on a broken invariant. */
void yula__loop_check(yula_loop *loop);
#endif

#endif /* YULA__LOOP_I_H */
