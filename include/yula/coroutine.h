/* coroutine.h: a function that can stop half-way and be continued.
 *
 * The bare thing, without scheduling: what runs is continued by yula_coroutine_
 * resume and gives control back by yula_coroutine_yield, for generators, parsers
 * fed piece by piece and the like. What waits for the loop is a task (task.h).
 *
 * A coroutine may use await points if the one that resumes it is a task: the
 * whole task then waits.
 */
#ifndef YULA_COROUTINE_H
#define YULA_COROUTINE_H

#include <stddef.h>

#include <yula/loop.h>

YULA_BEGIN

typedef struct yula_coroutine yula_coroutine; /* opaque */

typedef void (*yula_coroutine_cb)(yula_coroutine *coroutine, void *arg);

/* Make a coroutine; cb starts with the first resume.
 *
 * stack_size  bytes, rounded up; 0 for the loop's default (yula/stack.h).
 * out         freed with yula_coroutine_free.
 *
 * Returns 0, -ENOMEM, -EINVAL (stack_size above YULA_STACK_MAX), YULA_ECLOSED.
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_coroutine_new(yula_loop *loop, size_t stack_size,
                                yula_coroutine_cb cb, void *arg,
                                yula_coroutine **out);

/* Free a coroutine that does not run. If it has not ended, its function never
 * goes on: what it holds is lost. NULL is allowed.
 *
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API void yula_coroutine_free(yula_coroutine *coroutine);

/* Run it until it yields or ends. It must not have ended, nor be running.
 *
 * value  returned by the yield that it is in; lost at the first resume.
 *
 * Returns what it yields; NULL when it has ended.
 * Thread: loop.  Blocks: as the coroutine.  Calls back: before return.
 */
YULA_API void *yula_coroutine_resume(yula_coroutine *coroutine, void *value);

/* In the coroutine: give control back to the resume. Returns the value of the
 * next one. Thread: loop.  Calls back: before return. */
YULA_API void *yula_coroutine_yield(yula_coroutine *coroutine, void *value);

/* Whether its function has returned. Thread: loop. */
YULA_API bool yula_coroutine_ended(const yula_coroutine *coroutine);

/* Bytes of stack it has used at most, see yula_task_info.stack_used.
 * Thread: loop. */
YULA_API size_t yula_coroutine_stack_used(const yula_coroutine *coroutine);

YULA_END

#endif /* YULA_COROUTINE_H */
