/* context.h: what runs: a stack and a place on it to continue at.
 *
 * The switch itself is chosen by file (context_<processor>.S or
 * context_portable.c). Around it this header tells the tools that follow
 * stacks: AddressSanitizer, ThreadSanitizer, and the C++ runtime, whose
 * exceptions in flight belong to a stack and not to a thread.
 *
 *  I1. A context that does not run knows where to continue (sp), and all that
 *      the tools want back.
 *  I2. What arrives completes what left: only here are the bounds of the stack
 *      that was left known.
 */
#ifndef YULA__CONTEXT_H
#define YULA__CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

typedef struct yula__context {
    void *sp;
    void *cxx_caught; /* __cxa_eh_globals of the Itanium C++ ABI */
    unsigned cxx_uncaught;
#if YULA__ASAN
    void *fake_stack;
    const void *bottom;
    size_t len;
#endif
#if YULA__TSAN
    void *fiber;
    bool ended;
#endif
} yula__context;

typedef void (*yula__context_cb)(void *value, void *arg);

#ifndef YULA__CONTEXT_PORTABLE
void *yula__context_jump(void **save, void *to, void *value);
void *yula__context_make(void *high, yula__context_cb entry, void *arg);
#ifdef __x86_64__
int yula__context_shadowed(void);
#endif
#endif

void *yula__context_portable_jump(void **save, void *to, void *value);
void *yula__context_portable_make(void *low, void *high, yula__context_cb entry,
                                  void *arg);

#ifdef __cplusplus
#error "context.h is private, and C"
#endif

/* The tools' side: the declarations are those of their own headers, which are
 * not installed with every compiler. */
#if YULA__ASAN
void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom,
                                    size_t len);
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom,
                                     size_t *len);
void __asan_unpoison_memory_region(const volatile void *base, size_t len);
#endif
#if YULA__TSAN
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
#endif

/* The first member of what it returns is the exception that is being handled,
 * the second counts those that are flying. NULL in a program without C++. */
extern void *__cxa_get_globals(void) __attribute__((weak));

typedef struct yula__cxx_globals {
    void *caught;
    unsigned uncaught;
} yula__cxx_globals;

/* context.c: whether jumps must go through libc (a shadow stack is on). */
extern bool yula__context_by_libc;
void yula__context_choose(void);

/* Prepare a context at the upper end of [low, high): its first jump calls entry
 * with what yula__context_arrive wants. entry must not return. */
void yula__context_init(yula__context *context, char *low, char *high,
                        yula__context_cb entry, void *arg);
/* Forget one that will not be continued, though it has not ended. */
void yula__context_drop(yula__context *context);

static inline void *
yula__context_leave(void **save, void *to, void *value)
{
#ifdef YULA__CONTEXT_PORTABLE
    return yula__context_portable_jump(save, to, value);
#else
    if (__builtin_expect(yula__context_by_libc, 0))
        return yula__context_portable_jump(save, to, value);
    return yula__context_jump(save, to, value);
#endif
}

/* First thing on the stack that was switched to; left is the context that was
 * running before. */
static inline void
yula__context_arrive(yula__context *here, void *left_context)
{
#if YULA__ASAN
    yula__context *left = left_context;
    __sanitizer_finish_switch_fiber(here->fake_stack, &left->bottom,
                                    &left->len);
#endif
#if YULA__TSAN
    if (((yula__context *)left_context)->ended)
        yula__context_drop(left_context);
#endif
    (void)here;
    (void)left_context;
}

static inline void
yula__context_swap_cxx(yula__context *from, const yula__context *to)
{
    yula__cxx_globals *globals = __cxa_get_globals();
    from->cxx_caught = globals->caught;
    from->cxx_uncaught = globals->uncaught;
    globals->caught = to->cxx_caught;
    globals->uncaught = to->cxx_uncaught;
}

/* Continue to; returns when somebody continues from. With ending set nobody
 * will, and it does not return. */
static inline void
yula__context_switch(yula__context *from, yula__context *to, bool ending)
{
    if (__builtin_expect(__cxa_get_globals != NULL, 0))
        yula__context_swap_cxx(from, to);
#if YULA__ASAN
    __sanitizer_start_switch_fiber(ending ? NULL : &from->fake_stack,
                                   to->bottom, to->len);
#endif
#if YULA__TSAN
    from->fiber = __tsan_get_current_fiber();
    from->ended = ending;
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    void *left = yula__context_leave(&from->sp, to->sp, from);
    yula__context_arrive(from, left);
    (void)ending;
}

#endif /* YULA__CONTEXT_H */
