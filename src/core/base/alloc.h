/* alloc.h: the allocator a loop was made with. */
#ifndef YULA__ALLOC_H
#define YULA__ALLOC_H

#include <yula/loop.h>

/* malloc, realloc and free. */
extern const yula_allocator yula__malloc_allocator;

static inline void *
yula__allocator_alloc(const yula_allocator *allocator, size_t len)
{
    return allocator->alloc(len, allocator->arg);
}

#endif /* YULA__ALLOC_H */
