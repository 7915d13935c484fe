/* stack.h: the stacks that coroutines and tasks run on.
 *
 * A stack is reserved address space; it takes memory page by page as it is
 * used, at least one page, and never huge pages. Below each is a guard that
 * makes an overflow a segmentation fault. Free stacks are pooled by the loop:
 * some keep their memory and are used first, that of the others goes back to
 * the system.
 */
#ifndef YULA_STACK_H
#define YULA_STACK_H

#include <stddef.h>

#include <yula/loop.h>

YULA_BEGIN

/* Sizes are rounded up to a power of two between these; bytes. */
#define YULA_STACK_MIN ((size_t)16 * 1024)
#define YULA_STACK_MAX ((size_t)64 * 1024 * 1024)

/* What a task or coroutine gets that asks for no size: enough for printf and a
 * TLS handshake. Sanitizers make frames larger: four times that. */
#define YULA_STACK_DEFAULT ((size_t)64 * 1024)

/* Free stacks of one size that keep their memory. */
#define YULA_STACK_KEEP 256

/* Zeroed means defaults. Checked through size = sizeof(options). */
typedef struct yula_stack_options {
    size_t size;
    size_t stack_size; /* bytes, of those who ask for no size */
    size_t keep;       /* free stacks of one size that keep their memory */
    bool keep_none;    /* keep = 0, which would mean the default */
    bool measure; /* every user starts with untouched memory, so that what is
                     used is its own; costs a system call and page faults */
    void *reserved[6];
} yula_stack_options;

/* Change how the loop's stacks are made from now on.
 *
 * Returns 0, -ENOMEM, -EINVAL (a size out of range, an unknown struct size).
 * Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used.
 */
YULA_API int yula_stack_configure(yula_loop *loop,
                                  const yula_stack_options *options);

/* How a stack is guarded. */
typedef enum yula_stack_guard {
    YULA_STACK_GUARD_NONE = 0,    /* no stack was made yet */
    YULA_STACK_GUARD_LIGHT = 1,   /* MADV_GUARD_INSTALL: Linux 6.13 */
    YULA_STACK_GUARD_MAPPING = 2, /* PROT_NONE: two mappings a stack */
} yula_stack_guard;

typedef struct yula_stack_stats {
    size_t in_use;         /* stacks */
    size_t kept;           /* free, with their memory */
    size_t given_back;     /* free, without */
    size_t reserved_bytes; /* address space of all of them */
    size_t unguarded;      /* made without a guard, because the mappings of a
                              process are limited (vm.max_map_count) */
    yula_stack_guard guard;
    uint32_t reserved32;
    uint64_t reserved[8];
} yula_stack_stats;

/* Thread: loop.  Blocks: no.  Calls back: no.  GIL: not used. */
YULA_API void yula_stack_get_stats(const yula_loop *loop,
                                   yula_stack_stats *out);

/* Give the memory of all free stacks back to the system. Thread: loop. */
YULA_API void yula_stack_trim(yula_loop *loop);

/* When a task or coroutine of this loop overflows its stack, say so on standard
 * error before the process dies of SIGSEGV. Sets the process's handlers of
 * SIGSEGV and SIGBUS, which call the ones that were there before, and gives the
 * calling thread a signal stack if it has none.
 *
 * Returns 0, -ENOMEM, or what sigaction(2) failed with.
 * Thread: loop, the one that will run it.  Blocks: no.  Calls back: no.
 */
YULA_API int yula_stack_report_overflow(yula_loop *loop);

YULA_END

#endif /* YULA_STACK_H */
