/* context_portable.c: changing stacks with what libc has, ucontext(3).
 *
 * For processors without a file of their own, for builds with
 * -Dcoroutine_context=portable, and on x86-64 for threads with a shadow stack,
 * which glibc's functions change along. Slow: two system calls for the signal
 * mask each time.
 *
 *  I1. A suspended context is a pointer to a ucontext_t on its own stack.
 */
#include "coro/context.h"

#include <stdint.h>
#include <ucontext.h>

/* What the first jump into a context needs; at the top of its stack. */
typedef struct context_start {
    ucontext_t context;
    void (*entry)(void *value, void *arg);
    void *arg;
} context_start;

/* The value of the jump in progress. One per thread, and read at once where it
 * arrives: nothing runs in between. */
static _Thread_local void *jump_value;

/* makecontext(3) passes ints only: a pointer comes in two halves. */
static void
context_enter(unsigned high, unsigned low)
{
    context_start *start = (context_start *)(uintptr_t)((uint64_t)high << 32 |
                                                        low);
    start->entry(jump_value, start->arg);
    __builtin_trap();
}

/* The address of a thread's variable may not be kept over a jump: the stack may
 * be continued by another thread. */
__attribute__((noinline)) static void *
context_value(void)
{
    return jump_value;
}

__attribute__((noinline)) static void
context_set_value(void *value)
{
    jump_value = value;
}

void *
yula__context_portable_jump(void **save, void *to, void *value)
{
    ucontext_t here;

    *save = &here;
    context_set_value(value);
    swapcontext(&here, to);
    return context_value();
}

void *
yula__context_portable_make(void *low, void *high,
                            void (*entry)(void *value, void *arg), void *arg)
{
    uintptr_t top = ((uintptr_t)high - sizeof(context_start)) & ~(uintptr_t)63;
    context_start *start = (context_start *)top;
    uint64_t address = (uint64_t)top;

    getcontext(&start->context);
    start->context.uc_stack.ss_sp = low;
    start->context.uc_stack.ss_size = top - (uintptr_t)low;
    start->context.uc_link = NULL;
    start->entry = entry;
    start->arg = arg;
    makecontext(&start->context, (void (*)(void))context_enter, 2,
                (unsigned)(address >> 32), (unsigned)address);
    return &start->context;
}
