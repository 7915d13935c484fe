/* timer.h: call back at a deadline, never early, in nanoseconds. */
#ifndef YULA_TIMER_H
#define YULA_TIMER_H

#include <stddef.h>

#include <yula/work.h>

YULA_BEGIN

typedef struct yula_timer yula_timer;
typedef void (*yula_timer_cb)(yula_timer *timer, void *arg);

/* Complete, so that it can be embedded; written by libyula only. */
struct yula_timer {
    yula_work work; /* queued once the timer is due */
    yula_loop *loop;
    yula_timer_cb cb;
    int64_t deadline_ns; /* loop clock */
    size_t slot;         /* index in the heap */
    uint64_t reserved;
};

/* Prepare a timer; it holds nothing until it is started.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_timer_init(yula_loop *loop, yula_timer *timer,
                              yula_lane lane);

/* Arm a timer. Arming an armed timer moves it. Equal deadlines fire in the
 * order of their starts.
 *
 * deadline_ns  absolute, loop clock; already past means "on the next turn".
 * arg          borrowed; must stay valid until cb runs or the timer is stopped.
 *
 * Returns 0, or -ENOMEM (a timer that was armed is then stopped).
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_timer_start(yula_timer *timer, int64_t deadline_ns,
                              yula_timer_cb cb, void *arg);

/* Disarm; also after it became due and before its callback ran. Returns
 * whether it was armed.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API bool yula_timer_stop(yula_timer *timer);

/* Whether the timer will still call back. Thread: loop. */
YULA_API bool yula_timer_armed(const yula_timer *timer);

YULA_END

#endif /* YULA_TIMER_H */
