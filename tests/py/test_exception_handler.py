"""Who hears of an exception, with which words, and in which context."""

import asyncio
import contextvars
import gc
import logging
import sys

import pytest
from peers import catch_reports, turns

var = contextvars.ContextVar("var", default="unset")


def run_once(loop):
    loop.stop()
    loop.run_forever()


def test_the_handler_gets_the_loop_and_the_context(loop):
    seen = []
    loop.set_exception_handler(lambda *args: seen.append(args))
    error = ValueError("x")

    def fail():
        raise error

    handle = loop.call_soon(fail)
    run_once(loop)
    assert len(seen) == 1
    got_loop, context = seen[0]
    assert got_loop is loop
    assert context["exception"] is error
    assert context["handle"] is handle
    assert "fail" in context["message"]


def test_the_handler_can_be_read_back_and_removed(loop):
    def handler(loop, context):
        pass

    assert loop.get_exception_handler() is None
    loop.set_exception_handler(handler)
    assert loop.get_exception_handler() is handler
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None


def test_a_handler_that_cannot_be_called_is_refused(loop):
    with pytest.raises(TypeError, match="callable object or None"):
        loop.set_exception_handler("spam")


def test_without_a_handler_the_exception_is_logged(loop, asyncio_errors):
    loop.call_soon(lambda: 1 / 0)
    run_once(loop)
    record = asyncio_errors.pop()
    assert "Exception in callback" in record.getMessage()
    assert record.exc_info[0] is ZeroDivisionError


def test_a_handler_that_raises_is_logged_and_the_loop_goes_on(loop, asyncio_errors):
    def handler(loop, context):
        raise LookupError("in the handler")

    loop.set_exception_handler(handler)
    loop.call_soon(lambda: 1 / 0)
    ran = []
    loop.call_soon(ran.append, 1)
    run_once(loop)
    assert ran == [1]
    assert any("Unhandled error in exception handler" in r.getMessage() for r in asyncio_errors)
    asyncio_errors.clear()


@pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt])
def test_a_handler_that_raises_an_exit_leaves_the_loop(loop, leaving):
    def handler(loop, context):
        raise leaving

    loop.set_exception_handler(handler)
    loop.call_soon(lambda: 1 / 0)
    with pytest.raises(leaving):
        loop.run_forever()
    loop.set_exception_handler(None)


def test_the_handler_runs_in_the_context_of_the_failing_callback(loop):
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(var.get()))
    context = contextvars.copy_context()
    context.run(var.set, "of the callback")
    loop.call_soon(lambda: 1 / 0, context=context)
    loop.call_later(0, lambda: 1 / 0, context=context)
    run_once(loop)
    loop.call_soon(loop.stop)
    loop.run_forever()
    # BaseEventLoop.call_exception_handler, which both loops use, learnt it in 3.12.
    assert seen == ["of the callback" if sys.version_info >= (3, 12) else "unset"] * 2


def test_a_task_nobody_awaited_is_reported_when_it_is_collected(loop):
    reports = catch_reports(loop)

    async def fails():
        raise ValueError("never retrieved")

    async def main():
        task = asyncio.ensure_future(fails())
        await turns(2)
        del task
        gc.collect()

    loop.run_until_complete(main())
    assert [r["message"] for r in reports] == ["Task exception was never retrieved"]


def test_a_future_nobody_awaited_is_reported_when_it_is_collected(loop):
    reports = catch_reports(loop)
    future = loop.create_future()
    future.set_exception(ValueError("never retrieved"))
    del future
    gc.collect()
    assert [r["message"] for r in reports] == ["Future exception was never retrieved"]


def test_the_default_handler_prints_every_key(loop, asyncio_errors):
    loop.default_exception_handler({"message": "hello", "extra": [1, 2], "future": None})
    text = asyncio_errors.pop().getMessage()
    assert text.startswith("hello")
    assert "extra: [1, 2]" in text
    loop.default_exception_handler({})
    assert asyncio_errors.pop().getMessage() == "Unhandled exception in event loop"


def test_a_user_may_call_the_handler(loop):
    reports = catch_reports(loop)
    loop.call_exception_handler({"message": "by hand", "n": 1})
    assert reports == [{"message": "by hand", "n": 1}]


def test_the_report_of_a_callback_shows_its_name(loop, caplog, asyncio_errors):
    def a_telling_name():
        raise RuntimeError("told")

    with caplog.at_level(logging.ERROR, "asyncio"):
        loop.call_soon(a_telling_name)
        run_once(loop)
    assert "a_telling_name" in caplog.text
    assert "told" in caplog.text
    asyncio_errors.clear()
