/* task.h: coroutines that the loop runs: spawning, waiting, cancelling them.
 *
 * A task is a function with a stack of its own. Where it would have to wait (an
 * "await point": sleep, join, a read ...) it is suspended, and the loop runs
 * other work until what it waits for has happened. All tasks of a loop run on
 * the loop's thread, one at a time, and only change at await points: between
 * two of them no lock is needed.
 *
 * Await points may be used in a task only, not in a callback, and from its own
 * stack: not in a loop that the task runs nested. errno, the signal mask and
 * other things of the thread are not saved across one.
 *
 * Every await point returns 0 (or a count), or a negative code. One of them is
 * the same everywhere: YULA_ECANCELED, the task was asked to end (by
 * yula_task_cancel, by a deadline, by its group). Clean up and return it.
 */
#ifndef YULA_TASK_H
#define YULA_TASK_H

#include <stddef.h>

#include <yula/loop.h>

YULA_BEGIN

typedef struct yula_task yula_task; /* opaque */

/* The body of a task. What it returns is the task's result: 0, a count, or a
 * negative code; anything larger goes through *arg. */
typedef int (*yula_task_cb)(yula_task *task, void *arg);

/* Zeroed means defaults. Checked through size = sizeof(options). */
typedef struct yula_task_options {
    size_t size;
    const char *name;  /* copied, cut to YULA_TASK_NAME_MAX bytes */
    size_t stack_size; /* bytes, rounded up; default see yula/stack.h */
    yula_lane lane;    /* host for what touches the host (Python) */
    uint32_t reserved32;
    void *reserved[6];
} yula_task_options;

#define YULA_TASK_NAME_MAX 31

/* --- life ---------------------------------------------------------------- */

/* Make a task. It starts once control is back in the loop, after the tasks that
 * are ready already. The body always runs, also when the task is cancelled
 * before its start (its first await point then says so): it can own what arg
 * points to.
 *
 * options  NULL for defaults; copied.
 * out      NULL: nobody waits for the task, it frees itself. Otherwise receives
 *          a reference, given back by yula_task_join or yula_task_unref.
 *
 * Returns 0, -ENOMEM, -EINVAL (options of an unknown size, or a stack larger
 * than YULA_STACK_MAX), YULA_ECLOSED; cb does not run then.
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_task_spawn(yula_loop *loop, const yula_task_options *options,
                             yula_task_cb cb, void *arg, yula_task **out);

/* Await the end of a task, and give its reference back.
 *
 * result  NULL, or receives what the body returned.
 *
 * Returns 0 when the task has ended, whatever its result; YULA_ECANCELED: it
 * runs on, and the reference is still the caller's; -EDEADLK: a task would wait
 * for itself.
 * Thread: loop.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_task_join(yula_task *task, int *result);

/* Take one more reference; give one back. A task whose last reference is given
 * back runs on and frees itself at its end.
 *
 * Returns the task (yula_task_ref).
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API yula_task *yula_task_ref(yula_task *task);
YULA_API void yula_task_unref(yula_task *task);

/* Whether the body has returned, and what. The result of a task that runs is
 * -EBUSY. Thread: loop. */
YULA_API bool yula_task_ended(const yula_task *task);
YULA_API int yula_task_result(const yula_task *task);

/* Queue work when the task ends: how a callback, or a host, waits for one. One
 * work a task; NULL takes it back.
 *
 * Returns 0 (queued at once if the task has ended), or -EBUSY.
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_task_on_end(yula_task *task, yula_work *work);

/* A program in one call: spawn, run the loop until this task has ended, then
 * cancel the other tasks and run until they have ended too.
 *
 * result  NULL, or receives what the body returned.
 *
 * Returns 0; what yula_task_spawn and yula_loop_run return; -EDEADLK when every
 * task waits for something that cannot happen; -EINTR when yula_loop_stop came
 * first. In these cases tasks may be left that are never resumed.
 * Thread: loop.  Blocks: yes.  Calls back: before return.  GIL: as
 * yula_loop_run.
 */
YULA_API int yula_task_run(yula_loop *loop, const yula_task_options *options,
                           yula_task_cb cb, void *arg, int *result);

/* --- cancelling ---------------------------------------------------------- */

/* Ask a task to end: the await point it is in, or else its next one, returns
 * YULA_ECANCELED, once. After that await points work as before, so that
 * clean-up may wait; another cancel interrupts it again. What an await point
 * has got already is not lost: it is returned, and the next one is
 * interrupted. A task that has ended is left alone.
 *
 * A task may cancel itself.
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API void yula_task_cancel(yula_task *task);

/* An await point that waits for nothing: 0, or YULA_ECANCELED if the current
 * task has been asked to end. For await functions that find their result there,
 * and for computations; a deadline that passes during one is noticed by the loop
 * only, so long ones rather let it run with yula_task_yield. Outside of a task: 0.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_task_check(yula_loop *loop);

/* Cancel every task of the loop but the current one. Thread: loop. */
YULA_API void yula_task_cancel_all(yula_loop *loop);

/* --- waiting ------------------------------------------------------------- */

/* Await a time (loop clock), or a span from now; 0 or less lets others run, as
 * yula_task_yield does.
 *
 * Returns 0, YULA_ECANCELED, or -ENOMEM.
 * Thread: loop.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_task_sleep(yula_loop *loop, int64_t timeout_ns);
YULA_API int yula_task_sleep_until(yula_loop *loop, int64_t deadline_ns);

/* Let other tasks that are ready run, and the loop poll if there are none, or
 * some 50 µs after it did.
 *
 * Returns 0, YULA_ECANCELED.
 * Thread: loop.  Blocks: the task.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_task_yield(yula_loop *loop);

/* --- looking ------------------------------------------------------------- */

/* The running task, NULL in a callback or outside of a run. Borrowed.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API yula_task *yula_task_current(const yula_loop *loop);
YULA_API yula_loop *yula_task_loop(const yula_task *task);

/* The name, "" without one; valid as long as the task or the next call. A new
 * one is copied, cut to YULA_TASK_NAME_MAX bytes. Thread: loop. */
YULA_API const char *yula_task_name(const yula_task *task);
YULA_API void yula_task_set_name(yula_task *task, const char *name);

typedef enum yula_task_state {
    YULA_TASK_READY = 0,   /* will run */
    YULA_TASK_RUNNING = 1, /* the current one, or one that runs a loop nested */
    YULA_TASK_WAITING = 2, /* suspended */
    YULA_TASK_ENDED = 3,   /* referenced, nothing more */
} yula_task_state;

/* What a walk tells about one task. Written by libyula. */
typedef struct yula_task_info {
    yula_task *task; /* borrowed */
    const char *name;
    yula_task_state state;
    yula_lane lane;
    const char *waits_for; /* static, "" unless waiting */
    int64_t waited_ns; /* real time, to some milliseconds; 0 unless waiting */
    size_t stack_size; /* bytes */
    size_t stack_used; /* bytes, high-water; see yula/stack.h */
    uint64_t reserved[6];
} yula_task_info;

/* Returns other than 0 to end the walk. May cancel tasks; must not wait. */
typedef int (*yula_task_visit_cb)(const yula_task_info *info, void *arg);

/* Call visit for every task that has not ended, oldest first.
 *
 * Returns 0, or what visit returned.
 * Thread: loop.  Blocks: no.  Calls back: before return.  GIL: not used.
 */
YULA_API int yula_task_visit(yula_loop *loop, yula_task_visit_cb visit,
                             void *arg);

/* Fill in what yula_task_visit tells, for one task. Thread: loop. */
YULA_API void yula_task_get_info(const yula_task *task, yula_task_info *out);

/* Write one line for each task that has not ended to a descriptor: name, state,
 * what it waits for and how long, stack.
 *
 * Returns 0, or what write(2) failed with.
 * Thread: loop.  Blocks: as write(2).  Calls back: no.  GIL: not used.
 */
YULA_API int yula_task_dump(yula_loop *loop, int fd);

/* How many tasks have not ended. Thread: loop. */
YULA_API size_t yula_task_count(const yula_loop *loop);

/* --- making await points ------------------------------------------------- */

/* Three steps make an await point out of anything that calls back:
 *
 *     struct wait { yula_task *task; thing *thing; ssize_t len; };
 *
 *     static void on_thing(thing *t, ssize_t len, void *arg)
 *     {
 *         struct wait *wait = arg;
 *         wait->len = len;
 *         yula_task_resume(wait->task, 0);
 *     }
 *
 *     static bool thing_withdraw(yula_task *task, void *arg)
 *     {
 *         struct wait *wait = arg;
 *         thing_stop(wait->thing);        (on_thing will not be called)
 *         return true;
 *     }
 *
 *     ssize_t await_thing(thing *t)
 *     {
 *         struct wait wait = {yula_task_current(thing_loop(t)), t, 0};
 *         int err = thing_start(t, on_thing, &wait);
 *         if (err == 0)
 *             err = yula_task_suspend(wait.task, "thing", thing_withdraw, &wait);
 *         return err < 0 ? err : wait.len;
 *     }
 *
 * What is waited with lives on the task's stack: nothing is allocated.
 */

/* Take back what a task waits for; called when the wait is interrupted.
 *
 * True: done, yula_task_resume will not be called for this wait; it returns
 * YULA_ECANCELED. False: too late or impossible, it will be called later; with
 * YULA_ECANCELED (the interruption is then delivered) or anything else (it goes
 * to the next await point). It is asked again when the task is interrupted
 * again. Must not wait, nor resume the task itself.
 */
typedef bool (*yula_task_withdraw_cb)(yula_task *task, void *arg);

/* Suspend the current task until yula_task_resume. If that was called already
 * since the task runs (the thing called back at once), returns without waiting.
 * If an interruption is pending, withdraws at once.
 *
 * task       the current one.
 * waits_for  static text for yula_task_dump: "read", "lock" ...
 * withdraw   NULL: this wait cannot be interrupted.
 * arg        passed to withdraw.
 *
 * Returns the status given to yula_task_resume, or YULA_ECANCELED.
 * Thread: loop.  Blocks: the task.  Calls back: before return (withdraw).
 */
YULA_API int yula_task_suspend(yula_task *task, const char *waits_for,
                               yula_task_withdraw_cb withdraw, void *arg);

/* Let a suspended task go on; exactly once for each suspend. It runs soon after
 * the current callback, or, called from a task, after the tasks that are ready
 * already. Call it on the task's lane.
 *
 * status  what yula_task_suspend returns; 0 or a count, or a negative code.
 *
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API void yula_task_resume(yula_task *task, int status);

YULA_END

#endif /* YULA_TASK_H */
