/* scope.h: deadlines and shields around a part of a task; they nest.
 *
 *     yula_scope scope;
 *     int err = yula_timeout_enter(loop, &scope, limit_ns);
 *     if (err < 0)
 *         return err;
 *     err = talk_to_peer(...);               (any await points)
 *     err = yula_deadline_leave(&scope, err);
 *     if (err == -ETIMEDOUT) ...
 *
 * When the time is up, the task is interrupted as yula_task_cancel does it: one
 * await point returns YULA_ECANCELED, and all functions in between clean up and
 * return it, whoever asked. The scope whose deadline it was turns it into
 * -ETIMEDOUT. With several reasons at once, the outermost has the word.
 */
#ifndef YULA_SCOPE_H
#define YULA_SCOPE_H

#include <yula/timer.h>

YULA_BEGIN

/* On the stack of the function that enters it. Complete, so that it can be
 * embedded; written by libyula only. */
typedef struct yula_scope {
    struct yula_scope *outer;
    struct yula_task *task;
    yula_timer timer;       /* of a deadline, and of no other kind */
    uint32_t interruptions; /* of the task, when the scope was entered */
    uint8_t kind;
    uint8_t state;
    uint16_t reserved16;
    uint64_t reserved[2];
} yula_scope;

/* Begin a part of the current task that must be over by a deadline. Scopes end
 * in the reverse order of their beginnings, each in the function (and the task)
 * that began it.
 *
 * deadline_ns  absolute, loop clock; already past interrupts the next await
 *              point that waits; YULA_NEVER sets none.
 *
 * Returns 0, or -ENOMEM (the scope was not entered).
 * Thread: loop, in a task.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_deadline_enter(yula_loop *loop, yula_scope *scope,
                                 int64_t deadline_ns);

/* The same with a span from now. Left by yula_deadline_leave, too.
 *
 * timeout_ns  0 and less are past already; YULA_NEVER sets no deadline.
 *
 * Returns 0, or -ENOMEM (the scope was not entered).
 * Thread: loop, in a task.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_timeout_enter(yula_loop *loop, yula_scope *scope,
                                int64_t timeout_ns);

/* Move the deadline of a scope. If it has interrupted the task already, it
 * stays so. YULA_NEVER takes it away.
 *
 * Returns 0, or -ENOMEM (there is no deadline then).
 * Thread: loop.  Blocks: no.  Calls back: later.  GIL: not used.
 */
YULA_API int yula_deadline_move(yula_scope *scope, int64_t deadline_ns);

/* End it.
 *
 * status  what the part came to.
 *
 * Returns -ETIMEDOUT if status is YULA_ECANCELED and this deadline is the
 * reason; else status. An interruption by this deadline that no await point has
 * returned yet is forgotten.
 * Thread: loop, in the task.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_deadline_leave(yula_scope *scope, int status);

/* Begin and end a part of the current task that is not interrupted from
 * outside: cancelling, outer deadlines and outer groups wait until it is left.
 * Deadlines entered inside work.
 *
 * Thread: loop, in a task.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_shield_enter(yula_loop *loop, yula_scope *scope);
YULA_API void yula_shield_leave(yula_scope *scope);

YULA_END

#endif /* YULA_SCOPE_H */
