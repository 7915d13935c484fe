"""The handles that call_soon, call_later and call_at return."""

import asyncio
import contextvars
import functools
import gc
import sys
import weakref

import pytest
from peers import catch_reports

var = contextvars.ContextVar("var", default="unset")


def run_once(loop):
    loop.stop()
    loop.run_forever()


def make(loop, how, callback, *args, **kwargs):
    if how == "soon":
        return loop.call_soon(callback, *args, **kwargs)
    if how == "threadsafe":
        return loop.call_soon_threadsafe(callback, *args, **kwargs)
    if how == "later":
        return loop.call_later(0, callback, *args, **kwargs)
    return loop.call_at(loop.time(), callback, *args, **kwargs)


EVERY = pytest.mark.parametrize("how", ["soon", "threadsafe", "later", "at"])


@EVERY
def test_every_handle_is_an_asyncio_handle(loop, how):
    handle = make(loop, how, print)
    assert isinstance(handle, asyncio.Handle)
    assert isinstance(handle, asyncio.TimerHandle) == (how in ("later", "at"))
    handle.cancel()


@EVERY
def test_arguments_arrive_as_they_were_given(loop, how):
    seen = []
    make(loop, how, lambda *args: seen.append(args), 1, "two", None)
    make(loop, how, lambda *args: seen.append(args))
    make(loop, how, lambda *args: seen.append(args), *range(20))
    run_once(loop)
    assert seen == [(1, "two", None), (), tuple(range(20))]


@EVERY
def test_a_handle_cancelled_before_its_turn_does_not_run(loop, how):
    seen = []
    handle = make(loop, how, seen.append, 1)
    assert handle.cancelled() is False
    assert handle.cancel() is None
    assert handle.cancelled() is True
    handle.cancel()
    run_once(loop)
    assert seen == []


@EVERY
def test_a_callback_runs_in_the_context_it_was_scheduled_in(loop, how):
    seen = []
    context = contextvars.copy_context()
    context.run(var.set, "given")
    token = var.set("current")
    make(loop, how, lambda: seen.append(var.get()), context=context)
    make(loop, how, lambda: (seen.append(var.get()), var.set("changed")))
    var.reset(token)
    make(loop, how, lambda: seen.append(var.get()))
    run_once(loop)
    assert seen == ["given", "current", "unset"]
    assert var.get() == "unset"


@EVERY
def test_a_context_given_explicitly_is_not_copied(loop, how):
    context = contextvars.Context()
    make(loop, how, var.set, "kept", context=context)
    run_once(loop)
    assert context[var] == "kept"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Handle.get_context is new in 3.12")
@EVERY
def test_a_handle_tells_its_context(loop, how):
    context = contextvars.Context()
    assert make(loop, how, print, context=context).get_context() is context
    assert isinstance(make(loop, how, int).get_context(), contextvars.Context)


@EVERY
def test_the_slots_that_tools_read_are_there(loop, how):
    context = contextvars.Context()
    handle = make(loop, how, int, 5, context=context)
    assert handle._callback is int
    assert handle._args == (5,)
    assert handle._context is context
    assert handle._loop is loop
    assert handle._cancelled is False
    handle.cancel()
    assert handle._cancelled is True
    assert handle._callback is None
    assert handle._args is None


@EVERY
def test_run_calls_the_callback_at_once(loop, how):
    seen = []
    handle = make(loop, how, seen.append, 1)
    handle._run()
    assert seen == [1]
    handle.cancel()


def test_run_reports_an_exception_and_survives_it(loop):
    reports = catch_reports(loop)
    handle = loop.call_soon(lambda: 1 / 0)
    handle._run()
    handle.cancel()
    assert isinstance(reports[0]["exception"], ZeroDivisionError)


def test_the_repr_names_the_callback(loop):
    def named():
        pass

    handle = loop.call_soon(named)
    assert repr(handle).startswith("<Handle ")
    assert "named" in repr(handle)
    handle.cancel()
    assert "cancelled" in repr(handle)
    timer = loop.call_later(5, named)
    assert repr(timer).startswith("<TimerHandle when=")
    timer.cancel()
    assert repr(timer).startswith("<TimerHandle cancelled when=")


def test_the_repr_looks_into_partials_and_methods(loop):
    class Callback:
        def method(self):
            pass

    handle = loop.call_soon(functools.partial(Callback().method))
    assert "method" in repr(handle)
    handle.cancel()


def test_the_repr_in_debug_mode_says_where_it_was_created(loop):
    loop.set_debug(True)
    handle = loop.call_soon(print)
    assert "created at" in repr(handle)
    assert __file__ in repr(handle)
    handle.cancel()


def test_debug_mode_gives_every_handle_a_source_traceback(loop):
    plain = loop.call_soon(print)
    assert plain._source_traceback is None
    loop.set_debug(True)
    for how in ("soon", "threadsafe", "later", "at"):
        handle = make(loop, how, print)
        assert handle._source_traceback[-1].filename == __file__
        assert handle._source_traceback[-1].name == "make"
        handle.cancel()
    plain.cancel()


def test_a_report_in_debug_mode_carries_the_source_traceback(loop):
    reports = catch_reports(loop)
    loop.set_debug(True)
    loop.call_soon(lambda: 1 / 0)
    run_once(loop)
    assert reports[0]["source_traceback"][-1].filename == __file__


def test_timer_handles_compare_by_deadline(loop):
    now = loop.time() + 100
    early, late = loop.call_at(now, print), loop.call_at(now + 1, print)
    same = loop.call_at(now, print)
    assert early < late and early <= late and late > early and late >= early
    assert early == same and early != late
    assert hash(early) == hash(now)
    for handle in (early, late, same):
        handle.cancel()


def test_a_finished_handle_can_be_cancelled_without_harm(loop):
    handle = loop.call_soon(int)
    timer = loop.call_later(0, int)
    run_once(loop)
    handle.cancel()
    timer.cancel()
    run_once(loop)


def test_handles_can_be_weakly_referenced(loop):
    handle = loop.call_soon(int)
    gone = weakref.ref(handle)
    assert gone() is handle
    del handle
    run_once(loop)
    gc.collect()
    assert gone() is None


def test_a_callback_is_released_after_it_ran(loop):
    class Callback:
        def __call__(self):
            pass

    callback = Callback()
    gone = weakref.ref(callback)
    loop.call_soon(callback)
    loop.call_later(0, callback)
    del callback
    run_once(loop)
    gc.collect()
    assert gone() is None


def test_a_cancelled_handle_releases_its_callback_at_once(loop):
    class Callback:
        def __call__(self):
            pass

    callback = Callback()
    gone = weakref.ref(callback)
    handle = loop.call_soon(callback, callback)
    del callback
    handle.cancel()
    gc.collect()
    assert gone() is None


def test_a_finalizer_that_runs_in_cancel_may_schedule_again(loop):
    seen = []

    class Argument:
        def __del__(self):
            loop.call_soon(seen.append, "from the finalizer")

    loop.call_soon(print, Argument()).cancel()
    loop.call_later(100, print, Argument()).cancel()
    gc.collect()
    run_once(loop)
    assert seen == ["from the finalizer"] * 2


def test_keyword_arguments_other_than_context_are_refused(loop):
    with pytest.raises(TypeError):
        loop.call_soon(print, end="")
    with pytest.raises(TypeError):
        loop.call_later(1, print, end="")
    with pytest.raises(TypeError):
        loop.call_soon()
    with pytest.raises(TypeError):
        loop.call_later(1)


def test_the_callback_may_be_given_by_keyword(loop):
    seen = []
    loop.call_soon(callback=lambda: seen.append("soon"))
    loop.call_later(delay=0, callback=lambda: seen.append("later"))
    loop.call_at(when=0, callback=lambda: seen.append("at"))
    loop.call_soon_threadsafe(callback=lambda: seen.append("threadsafe"))
    run_once(loop)
    assert sorted(seen) == ["at", "later", "soon", "threadsafe"]


def test_outside_debug_mode_a_non_callable_is_reported_when_its_turn_comes(loop):
    reports = catch_reports(loop)
    loop.call_soon(5)
    run_once(loop)
    assert isinstance(reports[0]["exception"], TypeError)


def test_call_later_without_a_delay_is_a_type_error(loop):
    with pytest.raises(TypeError):
        loop.call_later(None, print)
    with pytest.raises(TypeError):
        loop.call_at(None, print)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="_ThreadSafeHandle is new in 3.14")
def test_call_soon_threadsafe_returns_the_thread_safe_handle(loop):
    handle = loop.call_soon_threadsafe(print)
    assert isinstance(handle, asyncio.events._ThreadSafeHandle)
    handle.cancel()
