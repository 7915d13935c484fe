/* context.h: what runs: a stack and a place on it to continue at.
 *
 * The change of stacks is chosen by file (context_<processor>.S or
 * context_portable.c). What else a switch has to do is in context.c.
 *
 *  I1. A context that does not run knows where to continue (sp), and all that
 *      the tools want back.
 */
#ifndef YULA__CONTEXT_H
#define YULA__CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
#endif
#if YULA__ASAN || YULA__TSAN
    void *value; /* on its way to here */
    bool ended;
#endif
} yula__context;

typedef void (*yula__context_cb)(void *value, void *arg);

#ifndef YULA__CONTEXT_PORTABLE
void *yula__context_jump(void **save, void *to, void *value);
void *yula__context_leap(void **save, void *to, void *value);
void *yula__context_make(void *high, yula__context_cb entry, void *arg,
                         uint64_t words);
uint64_t yula__context_words(void);
#ifdef __x86_64__
int yula__context_shadowed(void);
#endif
#endif

/* As yula__context_leap, but nothing of the current context is kept. */
#if defined(__x86_64__) && !defined(YULA__CONTEXT_PORTABLE)
_Noreturn static inline void
yula__context_exit(void **save, void *to, void *value)
{
    (void)save;
    /* Not a call, see yula__context_entry. */
    __asm__ volatile("jmp yula__context_last"
                     :
                     : "S"(to), "d"(value)
                     : "memory");
    __builtin_unreachable();
}
#elif !defined(YULA__CONTEXT_PORTABLE)
_Noreturn static inline void
yula__context_exit(void **save, void *to, void *value)
{
    yula__context_leap(save, to, value);
    __builtin_unreachable();
}
#endif

void *yula__context_portable_jump(void **save, void *to, void *value);
void *yula__context_portable_make(void *low, void *high, yula__context_cb entry,
                                  void *arg);

#ifdef __cplusplus
#error "context.h is private, and C"
#endif

/* The first member of what it returns is the exception that is being handled,
 * the second counts those that are flying. NULL in a program without C++. */
extern void *__cxa_get_globals(void) __attribute__((weak));

typedef struct yula__cxx_globals {
    void *caught;
    unsigned uncaught;
} yula__cxx_globals;

/* context.c: whether more is to be done than to change stacks: a tool watches, a
 * C++ runtime is there, or a shadow stack is on. */
extern bool yula__context_special;
void yula__context_choose(void);
void *yula__context_switch_specially(yula__context *from, yula__context *to,
                                     void *value, bool leap);

/* What a context begins with of the processor's state (rounding and the like):
 * the caller's. */
uint64_t yula__context_state(void);
void yula__context_init_specially(yula__context *context, char *low, char *high,
                                  yula__context_cb entry, void *arg,
                                  uint64_t state);
/* Forget one that will not be continued, though it has not ended. */
void yula__context_drop(yula__context *context);
#if YULA__ASAN || YULA__TSAN
void *yula__context_begin(yula__context *here, void *carried);
#else
static inline void *
yula__context_begin(yula__context *here, void *carried)
{
    (void)here;
    return carried;
}
#endif
_Noreturn void yula__context_end_specially(yula__context *from,
                                           yula__context *to, void *value);

/* Prepare a context at the upper end of [low, high): its first switch calls
 * entry, which begins with yula__context_begin and ends with a
 * yula__context_end: it must not return. */
static inline void
yula__context_init(yula__context *context, char *low, char *high,
                   yula__context_cb entry, void *arg, uint64_t state)
{
#ifndef YULA__CONTEXT_PORTABLE
    if (__builtin_expect(!yula__context_special, 1)) {
        context->sp = yula__context_make(high, entry, arg, state);
        return;
    }
#endif
    yula__context_init_specially(context, low, high, entry, arg, state);
}

/* Continue to, where its yula__context_switch returns value. Returns when
 * somebody continues from. */
static inline void *
yula__context_switch(yula__context *from, yula__context *to, void *value)
{
#ifdef YULA__CONTEXT_PORTABLE
    return yula__context_switch_specially(from, to, value, false);
#else
    if (__builtin_expect(yula__context_special, 0))
        return yula__context_switch_specially(from, to, value, false);
    return yula__context_jump(&from->sp, to->sp, value);
#endif
}

/* The same, for places that continue each other in turn, two of them, and not
 * one: see yula__context_leap. Of use as the last thing a function does. */
static inline void *
yula__context_alternate(yula__context *from, yula__context *to, void *value)
{
#ifdef YULA__CONTEXT_PORTABLE
    return yula__context_switch_specially(from, to, value, true);
#else
    if (__builtin_expect(yula__context_special, 0))
        return yula__context_switch_specially(from, to, value, true);
    return yula__context_leap(&from->sp, to->sp, value);
#endif
}

/* The last one: nobody will continue from. */
_Noreturn static inline void
yula__context_end(yula__context *from, yula__context *to, void *value)
{
#ifndef YULA__CONTEXT_PORTABLE
    if (__builtin_expect(!yula__context_special, 1))
        yula__context_exit(&from->sp, to->sp, value);
#endif
    yula__context_end_specially(from, to, value);
}

#endif /* YULA__CONTEXT_H */
