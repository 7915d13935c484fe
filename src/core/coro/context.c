/* context.c: beginnings and ends of contexts, see context.h. */
#include "coro/context.h"

bool yula__context_by_libc;

void
yula__context_choose(void)
{
#if defined(__x86_64__) && !defined(YULA__CONTEXT_PORTABLE)
    /* The same for all threads of a process, so there is nothing to order. */
    if (yula__context_shadowed())
        __atomic_store_n(&yula__context_by_libc, true, __ATOMIC_RELAXED);
#endif
}

static void *
context_make(char *low, char *high, yula__context_cb entry, void *arg)
{
#ifdef YULA__CONTEXT_PORTABLE
    return yula__context_portable_make(low, high, entry, arg);
#else
    if (yula__context_by_libc)
        return yula__context_portable_make(low, high, entry, arg);
    return yula__context_make(high, entry, arg);
#endif
}

void
yula__context_init(yula__context *context, char *low, char *high,
                   yula__context_cb entry, void *arg)
{
    context->cxx_caught = NULL;
    context->cxx_uncaught = 0;
    context->sp = context_make(low, high, entry, arg);
#if YULA__ASAN
    context->fake_stack = NULL;
    context->bottom = low;
    context->len = (size_t)(high - low);
#endif
#if YULA__TSAN
    context->fiber = __tsan_create_fiber(0);
    context->ended = false;
#endif
}

void
yula__context_drop(yula__context *context)
{
#if YULA__TSAN
    __tsan_destroy_fiber(context->fiber);
    context->fiber = NULL;
#endif
    (void)context;
}
