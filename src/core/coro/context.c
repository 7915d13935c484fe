/* context.c: beginnings and ends of contexts, and what a switch has to tell.
 *
 * AddressSanitizer and ThreadSanitizer follow stacks and want to know of each
 * change. The C++ runtime keeps the exceptions in flight for a thread, but they
 * belong to a stack: a coroutine may wait in a catch block while another throws.
 *
 *  I1. What arrives completes what left: only here are the bounds of the stack
 *      that was left known, and may its fiber be destroyed.
 */
#include "coro/context.h"

#include <pthread.h>

/* The tools' side: the declarations are those of their own headers, which are
 * not installed with every compiler. */
#if YULA__ASAN
void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom,
                                    size_t len);
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom,
                                     size_t *len);
#endif
#if YULA__TSAN
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
#endif

/* Set once: both are the same for all threads of a process. */
bool yula__context_special = YULA__ASAN || YULA__TSAN || YULA__MSAN;
static bool context_shadowed;

static void
context_choose(void)
{
#if defined(__x86_64__) && !defined(YULA__CONTEXT_PORTABLE)
    context_shadowed = yula__context_shadowed();
#endif
    if (context_shadowed || __cxa_get_globals != NULL)
        yula__context_special = true;
}

void
yula__context_choose(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, context_choose);
}

/* Not a function of its own, as context_leave is not. */
__attribute__((always_inline)) static inline void *
context_jump(void **save, void *to, void *value, bool leap)
{
#ifndef YULA__CONTEXT_PORTABLE
    if (!context_shadowed)
        return leap ? yula__context_leap(save, to, value)
                    : yula__context_jump(save, to, value);
#endif
    (void)leap;
    return yula__context_portable_jump(save, to, value);
}

uint64_t
yula__context_state(void)
{
#ifndef YULA__CONTEXT_PORTABLE
    return yula__context_words();
#else
    return 0; /* makecontext(3) takes the caller's */
#endif
}

static void *
context_make(char *low, char *high, yula__context_cb entry, void *arg,
             uint64_t state)
{
#ifndef YULA__CONTEXT_PORTABLE
    if (!context_shadowed)
        return yula__context_make(high, entry, arg, state);
#endif
    (void)state;
    return yula__context_portable_make(low, high, entry, arg);
}

static void
context_swap_cxx(yula__context *from, const yula__context *to)
{
    if (__cxa_get_globals == NULL)
        return;
    yula__cxx_globals *globals = __cxa_get_globals();
    from->cxx_caught = globals->caught;
    from->cxx_uncaught = globals->uncaught;
    globals->caught = to->cxx_caught;
    globals->uncaught = to->cxx_uncaught;
}

/* --- leaving and arriving ------------------------------------------------ */

#if YULA__ASAN || YULA__TSAN

/* A jump then carries the context that leaves, and the value takes the other
 * road. Not a function of its own: ThreadSanitizer would see it entered on one
 * stack and left on the other, whose record of calls ends up short by one. */
__attribute__((always_inline)) static inline void *
context_leave(yula__context *from, yula__context *to, void *value)
{
#if YULA__ASAN
    __sanitizer_start_switch_fiber(from->ended ? NULL : &from->fake_stack,
                                   to->bottom, to->len);
#endif
#if YULA__TSAN
    from->fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    to->value = value;
    return from;
}

static void *
context_arrive(yula__context *here, void *carried)
{
    yula__context *left = carried;
#if YULA__ASAN
    __sanitizer_finish_switch_fiber(here->fake_stack, &left->bottom,
                                    &left->len);
#endif
    if (left->ended)
        yula__context_drop(left);
    return here->value;
}

void *
yula__context_begin(yula__context *here, void *carried)
{
    return context_arrive(here, carried);
}

#else

static void *
context_leave(yula__context *from, yula__context *to, void *value)
{
    return value;
}

static void *
context_arrive(yula__context *here, void *carried)
{
    return carried;
}

#endif

void *
yula__context_switch_specially(yula__context *from, yula__context *to,
                               void *value, bool leap)
{
#if YULA__ASAN || YULA__TSAN
    from->ended = false;
#endif
    context_swap_cxx(from, to);
    void *carried = context_leave(from, to, value);
    yula__was_written(&from->sp, sizeof(from->sp));
    carried = context_jump(&from->sp, to->sp, carried, leap);
    yula__was_written(&carried, sizeof(carried));
    return context_arrive(from, carried);
}

/* --- the first and the last switch --------------------------------------- */

void
yula__context_init_specially(yula__context *context, char *low, char *high,
                             yula__context_cb entry, void *arg, uint64_t state)
{
    context->cxx_caught = NULL;
    context->cxx_uncaught = 0;
    context->sp = context_make(low, high, entry, arg, state);
    yula__was_written(&context->sp, sizeof(context->sp));
#if YULA__ASAN
    context->fake_stack = NULL;
    context->bottom = low;
    context->len = (size_t)(high - low);
#endif
#if YULA__TSAN
    context->fiber = __tsan_create_fiber(0);
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

_Noreturn void
yula__context_end_specially(yula__context *from, yula__context *to, void *value)
{
#if YULA__ASAN || YULA__TSAN
    from->ended = true;
#endif
    context_swap_cxx(from, to);
    void *carried = context_leave(from, to, value);
    context_jump(&from->sp, to->sp, carried, false);
    __builtin_trap();
}
