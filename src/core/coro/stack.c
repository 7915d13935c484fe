/* stack.c: stacks, in classes of sizes, out of large mappings.
 *
 * A mapping of its own for each stack and its guard would end at 32,000 of them
 * (vm.max_map_count is 65,530 by default). So a region holds many stacks, and a
 * guard is a mark in the page table (MADV_GUARD_INSTALL, Linux 6.13), made when
 * its stack is used first. Older kernels need a mapping for each guard: that
 * many stacks get one, and the rest do without rather than fail.
 *
 *  I1. A stack is in use, in kept, in given_back, or not made yet (at the end of
 *      the newest region of its class).
 *  I2. The pages of a stack in given_back hold no memory, and read as zero,
 *      unless the process locks its memory.
 *  I3. A stack that was given back may still be the one we run on, until the
 *      next take or trim: nothing is written to it before.
 * Thread: loop.
 */
#include "coro/stack.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

#include "base/compiler.h"
#include "loop/loop_i.h"

#if YULA__HAVE_VALGRIND
#include <valgrind/memcheck.h>
#include <valgrind/valgrind.h>
#else
#define VALGRIND_STACK_REGISTER(low, high) 0
#define VALGRIND_STACK_DEREGISTER(id) ((void)0)
#define VALGRIND_DISABLE_ERROR_REPORTING ((void)0)
#define VALGRIND_ENABLE_ERROR_REPORTING ((void)0)
#define VALGRIND_MAKE_MEM_DEFINED(base, len) ((void)0)
#endif

#if YULA__ASAN
void __asan_unpoison_memory_region(const volatile void *base, size_t len);
void __lsan_register_root_region(const void *base, size_t len);
void __lsan_unregister_root_region(const void *base, size_t len);
#endif

/* linux/mman.h, of kernels newer than the one this may be built on. */
#define STACK_GUARD_INSTALL 102

/* Below 12 KiB a function that does not probe its frame (gcc does only with
 * -fstack-clash-protection) cannot jump over the guard. Three pages rather than
 * two or four: an odd distance between stacks spreads them over the caches. */
#define STACK_GUARD_LEN ((size_t)12 * 1024)

#define STACK_REGION_LEN_FIRST ((size_t)1024 * 1024)
#define STACK_REGION_LEN_MAX ((size_t)256 * 1024 * 1024)

/* A guard that is a mapping splits the one it lies in: two mappings a stack.
 * With the default limit this leaves half of them to the rest of the process. */
#define STACK_MAPPING_GUARDS_MAX 16000

/* Instrumented frames are larger. */
#define STACK_DEFAULT (YULA_STACK_DEFAULT << (YULA__ASAN || YULA__TSAN ? 2 : 0))

static inline size_t
stack_class_len(unsigned class_index)
{
    return YULA_STACK_MIN << class_index;
}

static unsigned
stack_class_of(size_t len)
{
    unsigned class_index = 0;
    while (stack_class_len(class_index) < len)
        class_index++;
    return class_index;
}

static size_t
stack_round_up(size_t len, size_t to)
{
    return (len + to - 1) / to * to;
}

/* Crowded is twice that, so that a trim has something to do. */
static void
stacks_keep(yula__stacks *stacks, size_t keep)
{
    stacks->keep = keep;
    stacks->crowd = keep * 2;
    stacks->crowded = true;
}

void
yula__stacks_init(yula__stacks *stacks, yula_loop *loop)
{
    memset(stacks, 0, sizeof(*stacks));
    stacks->loop = loop;
    stacks->page_len = (size_t)sysconf(_SC_PAGESIZE);
    stacks->guard_len = stack_round_up(STACK_GUARD_LEN, stacks->page_len);
    stacks_keep(stacks, YULA_STACK_KEEP);
    stacks->default_class = stack_class_of(STACK_DEFAULT);
}

static void
region_free(yula__stacks *stacks, yula__stack_region *region)
{
    for (size_t i = 0; i < region->made; i++) {
        VALGRIND_STACK_DEREGISTER(region->stacks[i].valgrind_id);
        stacks->mapping_guards -= region->stacks[i].guarded &&
                                  stacks->guard == YULA_STACK_GUARD_MAPPING;
    }
    stacks->reserved_bytes -= region->len;
    yula__sys_munmap(region->base, region->len);
    yula__free(stacks->loop, region);
}

void
yula__stacks_fini(yula__stacks *stacks)
{
    for (unsigned i = 0; i < YULA__STACK_CLASSES; i++) {
        yula__stack_region *region = stacks->classes[i].regions;
        while (region != NULL) {
            yula__stack_region *next = region->next;
            region_free(stacks, region);
            region = next;
        }
    }
    yula__stacks_init(stacks, stacks->loop);
}

/* --- making -------------------------------------------------------------- */

static int
region_new(yula__stacks *stacks, yula__stack_class *class, size_t stack_len)
{
    size_t stride = stack_len + stacks->guard_len;
    size_t len = class->regions != NULL ? class->regions->len * 2
                                        : STACK_REGION_LEN_FIRST;
    if (len > STACK_REGION_LEN_MAX)
        len = STACK_REGION_LEN_MAX;
    size_t count = len / stride > 0 ? len / stride : 1;
    len = count * stride;

    yula__stack_region *region = yula__alloc(
        stacks->loop, sizeof(*region) + count * sizeof(region->stacks[0]));
    if (region == NULL)
        return -ENOMEM;
    int err = yula__sys_mmap_stacks(len, &region->base);
    if (err < 0) {
        yula__free(stacks->loop, region);
        return err;
    }
    /* The top page of a stack is all that most coroutines use: a huge page for
     * it would take 512 times that. Refused where there are no huge pages. */
    (void)yula__sys_madvise(region->base, len, MADV_NOHUGEPAGE);
    region->len = len;
    region->count = count;
    region->made = 0;
    region->next = class->regions;
    class->regions = region;
    stacks->reserved_bytes += len;
    return 0;
}

static bool
stack_guard_lightly(yula__stacks *stacks, char *base)
{
    if (stacks->guard == YULA_STACK_GUARD_MAPPING)
        return false;
    int err = yula__sys_madvise(base, stacks->guard_len, STACK_GUARD_INSTALL);
    if (err < 0) {
        /* EINVAL: the kernel does not know it. Anything else (memory for page
         * tables) is not for ever. */
        if (err == -EINVAL && stacks->guard == YULA_STACK_GUARD_NONE)
            stacks->guard = YULA_STACK_GUARD_MAPPING;
        return false;
    }
    stacks->guard = YULA_STACK_GUARD_LIGHT;
    return true;
}

static bool
stack_guard_by_mapping(yula__stacks *stacks, char *base)
{
    if (stacks->guard != YULA_STACK_GUARD_MAPPING ||
        stacks->mapping_guards >= STACK_MAPPING_GUARDS_MAX ||
        yula__sys_mprotect(base, stacks->guard_len, PROT_NONE) < 0)
        return false;
    stacks->mapping_guards++;
    return true;
}

/* The next stack of the newest region, which has room. */
static yula__stack *
stack_make(yula__stacks *stacks, unsigned class_index)
{
    yula__stack_region *region = stacks->classes[class_index].regions;
    size_t stack_len = stack_class_len(class_index);
    char *base = region->base + region->made * (stack_len + stacks->guard_len);
    yula__stack *stack = &region->stacks[region->made++];

    stack->class_index = (uint8_t)class_index;
    stack->low = base + stacks->guard_len;
    stack->high = stack->low + stack_len;
    stack->guarded = stack_guard_lightly(stacks, base) ||
                     stack_guard_by_mapping(stacks, base);
    stacks->unguarded += !stack->guarded;
    stack->valgrind_id = VALGRIND_STACK_REGISTER(stack->low, stack->high);
    return stack;
}

/* --- taking and giving back ---------------------------------------------- */

static int
stack_take_cold(yula__stacks *stacks, unsigned class_index, yula__stack **out)
{
    yula__stack_class *class = &stacks->classes[class_index];

    if (class->given_back != NULL) {
        *out = class->given_back;
        class->given_back = (*out)->next;
        stacks->given_back--;
        return 0;
    }
    if (class->regions == NULL ||
        class->regions->made == class->regions->count) {
        int err = region_new(stacks, class, stack_class_len(class_index));
        if (err < 0)
            return err;
    }
    *out = stack_make(stacks, class_index);
    return 0;
}

int
yula__stack_take_slow(yula__stacks *stacks, size_t len, yula__stack **out)
{
    unsigned class_index = stacks->default_class;

    if (len > YULA_STACK_MAX)
        return -EINVAL;
    yula__stacks_settle(stacks);
    if (len != 0)
        class_index = stack_class_of(len);
    yula__stack_class *class = &stacks->classes[class_index];
    yula__stack *stack = class->kept;
    if (stack != NULL) {
        class->kept = stack->next;
        class->kept_count--;
    }
    else {
        int err = stack_take_cold(stacks, class_index, &stack);
        if (err < 0)
            return err;
    }
    stacks->in_use++;
#if YULA__ASAN
    /* Frames that were never left have poisoned parts. */
    __asan_unpoison_memory_region(stack->low,
                                  (size_t)(stack->high - stack->low));
    __lsan_register_root_region(stack->low, (size_t)(stack->high - stack->low));
#endif
    *out = stack;
    return 0;
}

#if YULA__ASAN
/* The leak detector need not look into it any more. */
void
yula__stack_forget(yula__stack *stack)
{
    __lsan_unregister_root_region(stack->low,
                                  (size_t)(stack->high - stack->low));
}
#endif

static void
stack_give_back(yula__stacks *stacks, yula__stack_class *class,
                yula__stack *stack)
{
    /* Fails for locked memory (mlockall): it stays, and is used again. */
    (void)yula__sys_madvise(stack->low, (size_t)(stack->high - stack->low),
                            MADV_DONTNEED);
    stack->next = class->given_back;
    class->given_back = stack;
    stacks->given_back++;
}

/* Those that were freed first go: the others are still in the caches. */
static void
class_trim(yula__stacks *stacks, yula__stack_class *class, size_t keep)
{
    yula__stack **link = &class->kept;

    for (size_t i = 0; i < keep && *link != NULL; i++)
        link = &(*link)->next;
    yula__stack *stack = *link;
    *link = NULL;
    while (stack != NULL) {
        yula__stack *next = stack->next;
        stack_give_back(stacks, class, stack);
        class->kept_count--;
        stack = next;
    }
}

void
yula__stacks_trim(yula__stacks *stacks, size_t keep)
{
    stacks->crowded = false;
    for (unsigned i = 0; i < YULA__STACK_CLASSES; i++)
        if (stacks->classes[i].kept_count > keep)
            class_trim(stacks, &stacks->classes[i], keep);
}

/* --- looking ------------------------------------------------------------- */

/* The first word of a page that is not zero, counted from its end. */
YULA__NO_ASAN static size_t
page_used(const char *page, size_t page_len)
{
    const uint64_t *word = (const uint64_t *)page;
    const uint64_t *end = (const uint64_t *)(page + page_len);

    VALGRIND_DISABLE_ERROR_REPORTING; /* most of it lies below the stack pointer */
    while (word < end && *word == 0)
        word++;
    VALGRIND_ENABLE_ERROR_REPORTING;
    size_t used = (size_t)((const char *)end - (const char *)word);
    VALGRIND_MAKE_MEM_DEFINED(&used, sizeof(used));
    return used;
}

/* Pages that were never touched are not there, and those that were began as
 * zeroes: the lowest page that is there, and its first word that is not zero. */
size_t
yula__stack_used(const yula__stacks *stacks, const yula__stack *stack)
{
    unsigned char present[256];
    size_t page_len = stacks->page_len;
    size_t step = sizeof(present) * page_len;

    for (char *at = stack->low; at < stack->high; at += step) {
        size_t len = (size_t)(stack->high - at);
        if (len > step)
            len = step;
        if (yula__sys_mincore(at, len, present) < 0)
            return 0;
        for (size_t i = 0; i < len / page_len; i++) {
            char *page = at + i * page_len;
            size_t used = present[i] & 1 ? page_used(page, page_len) : 0;
            if (used > 0)
                return (size_t)(stack->high - page) - page_len + used;
        }
    }
    return 0;
}

yula__stack *
yula__stack_of_address(const yula__stacks *stacks, const void *address)
{
    for (unsigned i = 0; i < YULA__STACK_CLASSES; i++) {
        size_t stride = stack_class_len(i) + stacks->guard_len;
        yula__stack_region *region = stacks->classes[i].regions;
        for (; region != NULL; region = region->next) {
            size_t offset = (size_t)((uintptr_t)address -
                                     (uintptr_t)region->base);
            if (offset < region->made * stride)
                return &region->stacks[offset / stride];
        }
    }
    return NULL;
}

/* --- public -------------------------------------------------------------- */

int
yula__stacks_configure(yula__stacks *stacks, const yula_stack_options *options)
{
    if (options->size != sizeof(*options) ||
        options->stack_size > YULA_STACK_MAX)
        return -EINVAL;
    stacks->default_class = stack_class_of(
        options->stack_size != 0 ? options->stack_size : STACK_DEFAULT);
    if (options->measure || options->keep_none)
        stacks_keep(stacks, 0);
    else
        stacks_keep(stacks,
                    options->keep != 0 ? options->keep : YULA_STACK_KEEP);
    return 0;
}

void
yula__stacks_get_stats(const yula__stacks *stacks, yula_stack_stats *out)
{
    *out = (yula_stack_stats){
        .in_use = stacks->in_use,
        .given_back = stacks->given_back,
        .reserved_bytes = stacks->reserved_bytes,
        .unguarded = stacks->unguarded,
        .guard = stacks->guard,
    };
    for (unsigned i = 0; i < YULA__STACK_CLASSES; i++)
        out->kept += stacks->classes[i].kept_count;
}
