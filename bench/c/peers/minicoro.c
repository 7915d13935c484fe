/* minicoro.c: minicoro's coroutines on the tiny scheduler.
 *
 * With the library's own switch, or with ucontext's (-DPEER_UCONTEXT says that it is linked with
 * such a build). A coroutine's memory comes from the pool of tiny.h, because the default
 * allocator would clear 56 KiB each time.
 */
#include <minicoro.h>

typedef struct {
    mco_coro *coro;
} tiny_context;

#include "tiny.h"

static void *
pool_alloc(size_t size, void *stack)
{
    return size <= TINY_STACK_LEN ? stack : NULL;
}

static void
pool_dealloc(void *memory, size_t size, void *stack)
{
    (void)memory;
    (void)size;
    (void)stack;
}

static void
minicoro_body(mco_coro *coro)
{
    tiny_body((tiny *)coro->user_data);
}

static mco_desc
minicoro_desc(void (*body)(mco_coro *), char *stack)
{
    mco_desc desc = mco_desc_init(body, TINY_STACK_LEN - 4096);
    desc.alloc_cb = pool_alloc;
    desc.dealloc_cb = pool_dealloc;
    desc.allocator_data = stack;
    return desc;
}

static void
tiny_context_init(tiny *co)
{
    mco_desc desc = minicoro_desc(minicoro_body, co->stack);
    desc.user_data = co;
    if (mco_create(&co->context.coro, &desc) != MCO_SUCCESS)
        die("mco_create");
}

static void
tiny_context_resume(tiny *co)
{
    mco_resume(co->context.coro);
}

static void
tiny_context_suspend(tiny *co)
{
    mco_yield(co->context.coro);
}

static void
tiny_context_fini(tiny *co)
{
    mco_destroy(co->context.coro);
}

static void
minicoro_changer(mco_coro *coro)
{
    for (;;)
        PEER_SWITCHING(mco_yield(coro));
}

/* A resume and the yield that answers it are two changes. */
static void
minicoro_change(uint64_t count)
{
    char *stack = tiny_stack_take();
    mco_desc desc = minicoro_desc(minicoro_changer, stack);
    mco_coro *coro;
    if (stack == NULL || mco_create(&coro, &desc) != MCO_SUCCESS)
        die("mco_create");
    for (uint64_t i = 0; i < count / 2; i++)
        PEER_SWITCHING(mco_resume(coro));
    mco_destroy(coro);
    tiny_stack_give(stack);
}

const peer peer_under_test = {
#ifdef PEER_UCONTEXT
    .name = "minicoro-ucontext",
    .saves_control_words = true,
#else
    .name = "minicoro",
    .saves_control_words = false,
#endif
    .version = PEER_VERSION,
    .echo = tiny_echo,
    .change = minicoro_change,
    .yield = tiny_yields,
    .spawn = tiny_spawns,
    .sleep = tiny_sleeps,
};
