/* local.h: values that belong to a task, as a thread's variables do to it. */
#ifndef YULA_LOCAL_H
#define YULA_LOCAL_H

#include <yula/task.h>

YULA_BEGIN

/* A key; its address is what counts. Static, and the same for all tasks:
 *
 *     static const yula_local request_id = {.inherit = request_id_ref,
 *                                           .drop = request_id_unref};
 */
typedef struct yula_local {
    /* The value for a task that this one spawns: the same, a copy, or NULL for
     * none. NULL: values are not inherited. Must not wait. */
    void *(*inherit)(void *value);
    /* Called with a value that is replaced, or whose task ends, on that task.
     * NULL: nothing to do. Must not wait. */
    void (*drop)(void *value);
} yula_local;

/* The current task's value; NULL without one, or outside of a task.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void *yula_local_get(const yula_loop *loop, const yula_local *key);

/* Set it; NULL takes it away. The task owns value from then on.
 *
 * Returns 0, or -ENOMEM (the value is then still the caller's), -EINVAL outside
 * of a task.
 * Thread: loop.  Blocks: no.  Calls back: before return (drop).
 */
YULA_API int yula_local_set(yula_loop *loop, const yula_local *key,
                            void *value);

YULA_END

#endif /* YULA_LOCAL_H */
