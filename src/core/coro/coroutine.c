/* coroutine.c: continued by hand, without a scheduler.
 *
 *  I1. caller is where the running coroutine's resume was called: yield and the
 *      end go there.
 *  I2. The struct lies on the coroutine's own stack.
 * Thread: loop.
 */
#include <yula/coroutine.h>

#include "coro/task_i.h"

struct yula_coroutine {
    yula__context context;
    yula__context caller;
    enum {
        SUSPENDED,
        RUNNING,
        ENDED
    } state;
    yula_coroutine_cb cb;
    void *arg;
    yula__stacks *stacks;
    yula__stack *stack;
};

static void
coroutine_begin(void *carried, void *arg)
{
    yula_coroutine *coroutine = arg;

    (void)yula__context_begin(&coroutine->context, carried);
    coroutine->cb(coroutine, coroutine->arg);
    coroutine->state = ENDED;
    yula__context_end(&coroutine->context, &coroutine->caller, NULL);
}

int
yula_coroutine_new(yula_loop *loop, size_t stack_size, yula_coroutine_cb cb,
                   void *arg, yula_coroutine **out)
{
    yula__stack *stack;

    if (loop->closed)
        return YULA_ECLOSED;
    yula__tasks *tasks = yula__tasks_of(loop);
    if (tasks == NULL)
        return -ENOMEM;
    int err = yula__stack_take(&tasks->stacks, stack_size, &stack);
    if (err < 0)
        return err;
    uintptr_t high = (uintptr_t)stack->high - sizeof(yula_coroutine);
    yula_coroutine *coroutine = (yula_coroutine *)(high & ~(uintptr_t)63);
    *coroutine = (yula_coroutine){
        .cb = cb, .arg = arg, .stacks = &tasks->stacks, .stack = stack};
    yula__context_init(&coroutine->context, stack->low, (char *)coroutine,
                       coroutine_begin, coroutine, yula__context_state());
    *out = coroutine;
    return 0;
}

void
yula_coroutine_free(yula_coroutine *coroutine)
{
    if (coroutine == NULL)
        return;
    yula__rule(coroutine->state != RUNNING,
               "the coroutine runs: its stack is in use");
    if (coroutine->state == SUSPENDED)
        yula__context_drop(&coroutine->context);
    yula__stacks *stacks = coroutine->stacks;
    yula__stack_give(stacks, coroutine->stack);
    yula__stacks_settle(stacks);
}

void *
yula_coroutine_resume(yula_coroutine *coroutine, void *value)
{
    yula__rule(coroutine->state == SUSPENDED,
               "the coroutine runs already, or has ended");
    coroutine->state = RUNNING;
    return yula__context_alternate(&coroutine->caller, &coroutine->context,
                                   value);
}

void *
yula_coroutine_yield(yula_coroutine *coroutine, void *value)
{
    assert(coroutine->state == RUNNING);
    coroutine->state = SUSPENDED;
    return yula__context_alternate(&coroutine->context, &coroutine->caller,
                                   value);
}

bool
yula_coroutine_ended(const yula_coroutine *coroutine)
{
    return coroutine->state == ENDED;
}

size_t
yula_coroutine_stack_used(const yula_coroutine *coroutine)
{
    return yula__stack_used(coroutine->stacks, coroutine->stack);
}
