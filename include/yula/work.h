/* work.h: a piece of work for a loop: something to call, once.
 *
 * The unit of the ready queue and of the inbox. The struct is embedded by its
 * user, so that queueing never allocates and never fails.
 */
#ifndef YULA_WORK_H
#define YULA_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include <yula/err.h>

YULA_BEGIN

typedef struct yula_loop yula_loop;
typedef struct yula_work yula_work;

/* Runs on the loop's thread. The work is already unlinked: it may be queued
 * again, or freed, by the callback. */
typedef void (*yula_work_cb)(yula_work *work, void *arg);

/* Where a callback runs. Order is kept within a lane, not between lanes.
 *
 * native  without the host's lock; may not touch the host (Python).
 * host    with the host's lock held. Without a host there is no difference.
 */
typedef enum yula_lane {
    YULA_LANE_NATIVE = 0,
    YULA_LANE_HOST = 1,
} yula_lane;

/* Complete, so that it can be embedded; written by libyula only. */
struct yula_work {
    yula_work *next; /* NULL while not queued */
    yula_work *prev;
    yula_work_cb cb;
    void *arg;      /* borrowed, passed to cb */
    yula_lane lane; /* where cb runs */
    uint32_t reserved;
};

/* Prepare a work. No counterpart is needed: an unqueued work holds nothing.
 *
 * arg  borrowed; must stay valid while the work is queued.
 *
 * Thread: any.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_work_init(yula_work *work, yula_lane lane, yula_work_cb cb,
                             void *arg);

/* Append to the ready queue: cb runs in the next turn, after what was queued
 * before. Queueing a queued work does nothing.
 *
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API void yula_work_queue(yula_loop *loop, yula_work *work);

/* Take back what yula_work_queue queued. Returns whether it was queued. Not
 * for work given to yula_work_post.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API bool yula_work_cancel(yula_work *work);

/* Hand work to the loop from any thread, lock-free. The loop is woken if it
 * sleeps, once per batch. The work belongs to the loop until cb runs: it must
 * not be posted twice, queued or freed before that. Items of one thread keep
 * their order. On the loop's own thread this is yula_work_queue.
 *
 * The loop must stay alive until the call returned: its owner joins or
 * silences the posters before yula_loop_free.
 *
 * Thread: any.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API void yula_work_post(yula_loop *loop, yula_work *work);

YULA_END

#endif /* YULA_WORK_H */
