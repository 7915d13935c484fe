/* boost_context.cpp: Boost.Context's bare switch (fcontext) on the tiny scheduler.
 *
 * fcontext and not boost::context::fiber, which is a layer above it and slower. As Debian builds
 * it, it saves MXCSR and the x87 control word.
 */
#include <boost/context/detail/fcontext.hpp>
#include <boost/version.hpp>

using boost::context::detail::fcontext_t;
using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

typedef struct {
    fcontext_t inside;  /* where the coroutine goes on */
    fcontext_t outside; /* where the scheduler does */
} tiny_context;

#define _Noreturn __attribute__((noreturn)) /* die.h is C */
#include "tiny.h"

static void
boost_body(transfer_t from)
{
    tiny *co = static_cast<tiny *>(from.data);
    co->context.outside = from.fctx;
    tiny_body(co);
    jump_fcontext(co->context.outside, nullptr); /* never comes back */
}

static void
tiny_context_init(tiny *co)
{
    co->context.inside = make_fcontext(co->stack + TINY_STACK_LEN,
                                       TINY_STACK_LEN, boost_body);
}

static void
tiny_context_resume(tiny *co)
{
    co->context.inside = jump_fcontext(co->context.inside, co).fctx;
}

static void
tiny_context_suspend(tiny *co)
{
    co->context.outside = jump_fcontext(co->context.outside, nullptr).fctx;
}

static void
tiny_context_fini(tiny *co)
{
    (void)co;
}

static void
boost_changer(transfer_t from)
{
    for (;;)
        from = jump_fcontext(from.fctx, nullptr);
}

static void
boost_change(uint64_t count)
{
    char *stack = tiny_stack_take();
    fcontext_t inside = make_fcontext(stack + TINY_STACK_LEN, TINY_STACK_LEN,
                                      boost_changer);
    for (uint64_t i = 0; i < count / 2; i++)
        inside = jump_fcontext(inside, nullptr).fctx;
    tiny_stack_give(stack);
}

extern const peer peer_under_test = {
    "boost-context", BOOST_LIB_VERSION, true,        tiny_echo,
    boost_change,    tiny_yields,       tiny_spawns, tiny_sleeps,
};
