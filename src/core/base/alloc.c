/* alloc.c: the default allocator. */
#include "base/alloc.h"

#include <stdlib.h>

static void *
malloc_alloc(size_t len, void *arg)
{
    return malloc(len);
}

static void *
malloc_resize(void *memory, size_t len, void *arg)
{
    return realloc(memory, len);
}

static void
malloc_free(void *memory, void *arg)
{
    free(memory);
}

const yula_allocator yula__malloc_allocator = {
    .alloc = malloc_alloc,
    .resize = malloc_resize,
    .free = malloc_free,
};
