/* stack.h: the pool of stacks, as the core sees it. Public: yula/stack.h. */
#ifndef YULA__STACK_H
#define YULA__STACK_H

#include <yula/stack.h>

#include "base/compiler.h"

/* 16 KiB, 32 KiB ... 64 MiB. */
#define YULA__STACK_CLASSES 13

/* One stack. Apart from its memory, which can then be given back whole. */
typedef struct yula__stack {
    struct yula__stack *next; /* in a list of free ones */
    char *low;                /* the guard lies below it */
    char *high;
    unsigned valgrind_id;
    uint8_t class_index;
    bool guarded;
} yula__stack;

/* A mapping with room for several stacks of one class. */
typedef struct yula__stack_region {
    struct yula__stack_region *next;
    char *base;
    size_t len;
    size_t count; /* stacks there is room for */
    size_t made;  /* of those, used at least once */
    yula__stack stacks[];
} yula__stack_region;

typedef struct yula__stack_class {
    yula__stack *kept; /* the one freed last comes first: it is in the caches */
    size_t kept_count;
    yula__stack *given_back;
    yula__stack_region *regions; /* the newest first: only it has room */
} yula__stack_class;

typedef struct yula__stacks {
    yula_loop *loop;
    yula__stack_class classes[YULA__STACK_CLASSES];
    size_t page_len;
    size_t guard_len;
    size_t keep;
    size_t crowd;
    size_t in_use;
    size_t given_back;
    size_t reserved_bytes;
    size_t unguarded;
    size_t mapping_guards;
    yula_stack_guard guard;
    unsigned default_class;
    bool crowded; /* some class has more than crowd free stacks */
} yula__stacks;

void yula__stacks_init(yula__stacks *stacks, yula_loop *loop);
#if YULA__ASAN
void yula__stack_forget(yula__stack *stack);
#endif
void yula__stacks_fini(yula__stacks *stacks);

/* After stacks were given back, on a stack that is none of them: return the
 * memory of all but that many of each class. */
void yula__stacks_trim(yula__stacks *stacks, size_t keep);

static inline void
yula__stacks_settle(yula__stacks *stacks)
{
    if (__builtin_expect(stacks->crowded, 0))
        yula__stacks_trim(stacks, stacks->keep);
}

/* A stack of at least that many bytes, 0 for the default. Returns 0, -EINVAL,
 * -ENOMEM. */
int yula__stack_take_slow(yula__stacks *stacks, size_t len, yula__stack **out);

static inline int
yula__stack_take(yula__stacks *stacks, size_t len, yula__stack **out)
{
    yula__stack_class *class = &stacks->classes[stacks->default_class];
    yula__stack *stack = class->kept;

    if (len != 0 || stack == NULL || stacks->crowded || YULA__ASAN)
        return yula__stack_take_slow(stacks, len, out);
    class->kept = stack->next;
    class->kept_count--;
    stacks->in_use++;
    *out = stack;
    return 0;
}

/* Give it back; may be called on that very stack, which stays usable until the
 * next yula__stack_take or yula__stacks_settle. */
static inline void
yula__stack_give(yula__stacks *stacks, yula__stack *stack)
{
    yula__stack_class *class = &stacks->classes[stack->class_index];

#if YULA__ASAN
    yula__stack_forget(stack);
#endif
    stack->next = class->kept;
    class->kept = stack;
    stacks->in_use--;
    if (__builtin_expect(++class->kept_count > stacks->crowd, 0))
        stacks->crowded = true;
}

/* What yula/stack.h promises. */
int yula__stacks_configure(yula__stacks *stacks,
                           const yula_stack_options *options);
void yula__stacks_get_stats(const yula__stacks *stacks, yula_stack_stats *out);

/* The most bytes ever used of it since its memory was last returned. */
size_t yula__stack_used(const yula__stacks *stacks, const yula__stack *stack);

/* The stack that address lies in, or whose guard it does; or NULL. */
yula__stack *yula__stack_of_address(const yula__stacks *stacks,
                                    const void *address);

#endif /* YULA__STACK_H */
