/* loop.h: the loop itself: making, running, stepping, stopping it.
 *
 * One iteration ("turn"), always in this order:
 *
 *   poll    without sleeping if anything is ready or due, else asleep until a
 *           descriptor, another thread, a signal or the next deadline
 *   collect behind what was ready already: posted work, what the kernel
 *           reported, the timers now due
 *   run     exactly that batch; what it queues waits for the next turn
 */
#ifndef YULA_LOOP_H
#define YULA_LOOP_H

#include <stddef.h>

#include <yula/work.h>

YULA_BEGIN

/* Memory comes from here. Any of the three may be called on any thread. */
typedef struct yula_allocator {
    void *(*alloc)(size_t len, void *arg);
    void *(*resize)(void *memory, size_t len, void *arg); /* as realloc */
    void (*free)(void *memory, void *arg);                /* NULL allowed */
    void *arg;
} yula_allocator;

/* The interpreter lock as the core sees it. A loop with a host expects every
 * call marked "Thread: loop" to be made with the lock held. */
typedef struct yula_host {
    /* Give the lock up before a sleep or a native batch; take it again. */
    void (*release)(void *arg);
    void (*acquire)(void *arg);
    /* Called with the lock held once a turn after polling, and again after
     * every YULA_HOST_BREATH callbacks of a batch: check for signals, let other
     * threads have their share. A result other than 0 ends the turn as
     * yula_loop_break(loop, result) does. */
    int (*breathe)(void *arg);
    /* Called with the lock held when the loop has nothing to do, before it
     * gives the lock up to sleep, and again after every poll that found
     * nothing: true to poll once more instead. May shorten the sleep. NULL:
     * sleep at once. */
    bool (*linger)(void *arg, int64_t *timeout_ns);
    void *arg;
} yula_host;

/* Callbacks of one batch between two calls of yula_host.breathe. */
#define YULA_HOST_BREATH 256

/* Nanoseconds, monotonic; need not be real time. */
typedef int64_t (*yula_clock_cb)(void *arg);

/* Zeroed means defaults. Checked at init through size = sizeof(options). */
typedef struct yula_loop_options {
    size_t size;
    const yula_allocator *allocator; /* copied; default malloc */
    const yula_host *host;           /* copied; default none */
    yula_clock_cb clock;             /* default CLOCK_MONOTONIC */
    void *clock_arg;                 /* borrowed, as long as the loop */
    void *reserved[8];
} yula_loop_options;

/* Counters since the loop was made; each wraps at 2^64. */
typedef struct yula_loop_stats {
    uint64_t turns;     /* iterations */
    uint64_t sleeps;    /* polls that were allowed to sleep */
    uint64_t callbacks; /* callbacks run */
    uint64_t events;    /* events the kernel reported */
    uint64_t stale;   /* of those, dropped: their descriptor had a new owner */
    uint64_t wakeups; /* times another thread had to wake the loop */
    uint64_t reads_ahead; /* without the host's lock: yula_loop_want_host */
    uint64_t sends_ahead;
    uint64_t reserved[8];
} yula_loop_stats;

/* Make a loop, owned by the calling thread until another one runs it.
 *
 * options  NULL for defaults; copied.
 * out      receives the loop, freed with yula_loop_free.
 *
 * Returns 0, -ENOMEM, -EMFILE, -ENFILE, -EINVAL (options of an unknown size).
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_loop_new(const yula_loop_options *options, yula_loop **out);

/* Close and free a loop that does not run. Streams, listeners, watchers and
 * timers must have been closed or stopped; work still queued is forgotten;
 * worker threads are joined.
 *
 * Thread: loop.  Blocks: until running worker jobs end.  Calls back: no.
 * GIL: not used.
 */
YULA_API void yula_loop_free(yula_loop *loop);

/* Run turns until yula_loop_stop, yula_loop_break, or nothing is left that
 * could ever call back (see yula_loop_ref).
 *
 * Returns 0, the status given to yula_loop_break, or a poll error.
 * Thread: loop.  Blocks: yes.  Calls back: before return.  GIL: held on entry
 * and exit, dropped while asleep.
 */
YULA_API int yula_loop_run(yula_loop *loop);

/* One turn. May be called from a callback (a nested run): the rest of the
 * outer batch is then run by the inner turn.
 *
 * deadline_ns  loop clock; how long the poll may sleep at most. 0 never
 *              sleeps, YULA_NEVER sleeps until something happens.
 *
 * Returns and blocks as yula_loop_run.
 */
YULA_API int yula_loop_step(yula_loop *loop, int64_t deadline_ns);

/* The first and the second half of a step, for a foreign loop: poll without
 * sleeping and queue what happened; then run that batch. See yula_loop_fd.
 *
 * Return as yula_loop_step.
 * Thread: loop.  Blocks: no.  Calls back: before return (run only).
 */
YULA_API int yula_loop_collect(yula_loop *loop);
YULA_API int yula_loop_run_batch(yula_loop *loop);

/* A descriptor that becomes readable when the kernel or another thread has
 * something for the loop. A foreign loop watches it *and* sleeps no longer
 * than yula_loop_next_deadline, then calls yula_loop_step(loop, 0).
 *
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_loop_fd(const yula_loop *loop);

/* When the loop next wants to run, loop clock: a time in the past when work is
 * ready, YULA_NEVER when there is no timer.
 *
 * Thread: loop.  Blocks: no.  Calls back: no (the clock apart).
 */
YULA_API int64_t yula_loop_next_deadline(yula_loop *loop);

/* End yula_loop_run when the current batch is done; before a run, make the
 * next one last a single turn. Inside a foreign loop, see yula_loop_stopping.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_loop_stop(yula_loop *loop);
YULA_API bool yula_loop_stopping(const yula_loop *loop);

/* Forget a stop. yula_loop_run does so on return. Thread: loop. */
YULA_API void yula_loop_clear_stop(yula_loop *loop);

/* Leave the turn at once, after the current callback: the rest of the batch
 * stays queued, in front, and the step returns status (not 0).
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_loop_break(yula_loop *loop, int status);

/* Count one more or one less reason for yula_loop_run to go on. Armed timers,
 * started watchers, signals, streams, listeners, running worker jobs and queued
 * work count by themselves; a thread that will post work does not.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_loop_ref(yula_loop *loop);
YULA_API void yula_loop_unref(yula_loop *loop);

/* Call work before control leaves the current callback, or before the next
 * poll when no callback runs; in order. For what one callback gathers (writes)
 * and must not keep.
 *
 * Thread: loop.  Blocks: no.  Calls back: before the next callback.
 */
YULA_API void yula_loop_defer(yula_loop *loop, yula_work *work);

/* Whether the loop is inside a callback now. Thread: loop. */
YULA_API bool yula_loop_in_callback(const yula_loop *loop);

/* Whether the caller is on the thread that runs (or made) the loop.
 *
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API bool yula_loop_on_own_thread(const yula_loop *loop);

/* Now, loop clock, in nanoseconds. Thread: loop. Calls back: the clock. */
YULA_API int64_t yula_loop_now(yula_loop *loop);

/* Use another clock from now on (NULL: CLOCK_MONOTONIC). Armed timers keep
 * their deadlines. Thread: loop. */
YULA_API void yula_loop_set_clock(yula_loop *loop, yula_clock_cb clock,
                                  void *arg);

/* Copy the counters. Thread: loop. */
YULA_API void yula_loop_get_stats(const yula_loop *loop, yula_loop_stats *out);

/* Something kept the loop to itself for too long.
 *
 * task     the name of the task that did, "" for one without; NULL: a callback.
 * took_ns  loop clock: how long nothing else could run.
 *
 * Runs right after it, on its stack; must not wait, nor start a turn. */
typedef void (*yula_slow_cb)(yula_loop *loop, const char *task, int64_t took_ns,
                             void *arg);

/* Report every callback, and every task between two of its await points, that
 * takes longer than a limit: a call that blocks, or a computation that belongs on a
 * worker. Costs two looks at the clock for each while it is on. To see the place
 * itself, set a breakpoint in cb, or stop the program in a debugger meanwhile.
 *
 * limit_ns  0: no longer.
 * cb        NULL: a line on standard error.
 * arg       borrowed, as long as cb is used.
 *
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API void yula_loop_watch_slow(yula_loop *loop, int64_t limit_ns,
                                   yula_slow_cb cb, void *arg);

/* Tell the loop that other threads wait for the host's lock, or no longer. While
 * they do, a large batch's streams are read before the lock is taken, and what
 * the batch writes is sent after it was given up, by the next turn: false
 * before the last turn of a run, or what was written waits.
 *
 * Thread: loop.  Blocks: no.  Calls back: before return (false only).
 * GIL: held.
 */
YULA_API void yula_loop_want_host(yula_loop *loop, bool wanted);

/* In a child after fork(): let go of the parent's kernel objects, which the two
 * processes share, without touching what they watch. The loop is then closed
 * for everything except yula_loop_free.
 *
 * Thread: loop, in the child.  Blocks: no.  Calls back: no.
 */
YULA_API void yula_loop_forked(yula_loop *loop);

YULA_END

#endif /* YULA_LOOP_H */
