"""Debug mode: what it refuses, what it tells, and how it is switched on."""

import asyncio
import functools
import logging
import sys
import threading
import time

import pytest
from peers import turns


@pytest.fixture
def debugging(loop):
    loop.set_debug(True)
    return loop


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_calls_from_another_thread_are_refused_while_the_loop_runs(debugging, method):
    loop, caught = debugging, []

    def call():
        try:
            if method == "call_soon":
                loop.call_soon(print)
            else:
                getattr(loop, method)(loop.time() + 60, print)
        except RuntimeError as exc:
            caught.append(str(exc))

    async def main():
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()

    loop.run_until_complete(main())
    assert len(caught) == 1
    assert "Non-thread-safe operation" in caught[0]


def test_call_soon_threadsafe_from_another_thread_is_welcome(debugging):
    loop, seen = debugging, []

    async def main():
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(seen.append, 1))
        thread.start()
        thread.join()
        await turns(2)

    loop.run_until_complete(main())
    assert seen == [1]


async def coroutine_function():
    pass


@pytest.mark.parametrize("wrong", [5, "text", None, coroutine_function])
def test_what_cannot_be_called_back_is_a_type_error_at_once(debugging, wrong):
    loop = debugging
    for call in (
        functools.partial(loop.call_soon, wrong),
        functools.partial(loop.call_soon_threadsafe, wrong),
        functools.partial(loop.call_later, 1, wrong),
        functools.partial(loop.call_at, loop.time() + 1, wrong),
        functools.partial(loop.run_in_executor, None, wrong),
    ):
        with pytest.raises(TypeError):
            call()


def test_a_coroutine_object_is_no_callback(debugging):
    coro = coroutine_function()
    with pytest.raises(TypeError, match="coroutines cannot be used"):
        debugging.call_soon(coro)
    coro.close()


def test_a_slow_callback_is_told_of(debugging, caplog):
    loop = debugging
    loop.slow_callback_duration = 0.005

    def slow_one():
        time.sleep(0.01)

    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.call_soon(slow_one)
        loop.stop()
        loop.run_forever()
    (message,) = caplog.messages
    assert message.startswith("Executing <Handle ")
    assert "slow_one" in message
    assert "seconds" in message


def test_a_slow_step_of_a_task_is_told_of_with_the_task(debugging, caplog):
    loop = debugging
    loop.slow_callback_duration = 0.005

    async def slow_task():
        time.sleep(0.01)

    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.run_until_complete(loop.create_task(slow_task(), name="sloth"))
    assert any("Executing <Task" in m and "slow_task" in m for m in caplog.messages)


def test_a_fast_callback_is_not_told_of(debugging, caplog):
    loop = debugging
    assert loop.slow_callback_duration == 0.1
    loop.slow_callback_duration = 30
    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.run_until_complete(asyncio.sleep(0))
    assert caplog.messages == []


def test_debug_can_be_switched_while_the_loop_runs(loop):
    async def main():
        assert loop.get_debug() is False
        loop.call_soon(5).cancel()
        loop.set_debug(True)
        assert loop.get_debug() is True
        with pytest.raises(TypeError):
            loop.call_soon(5)
        loop.set_debug(False)
        loop.call_soon(5).cancel()

    loop.run_until_complete(main())


def test_coroutine_origins_are_tracked_while_a_debugging_loop_runs(loop):
    async def depth():
        return sys.get_coroutine_origin_tracking_depth()

    before = sys.get_coroutine_origin_tracking_depth()
    assert loop.run_until_complete(depth()) == before
    loop.set_debug(True)
    assert loop.run_until_complete(depth()) > before
    assert sys.get_coroutine_origin_tracking_depth() == before

    async def switch():
        loop.set_debug(False)
        await turns(1)
        return sys.get_coroutine_origin_tracking_depth()

    assert loop.run_until_complete(switch()) == before


def test_closing_with_a_pending_task_is_told_of(python_program):
    finished = python_program(
        """
loop = new_event_loop()
async def never():
    await asyncio.Event().wait()
task = loop.create_task(never())
loop.stop()
loop.run_forever()
loop.close()
del task
""",
    )
    assert finished.code == 0
    assert "Task was destroyed but it is pending!" in finished.err


@pytest.mark.parametrize("how", ["-X dev", "PYTHONASYNCIODEBUG", "runner"])
def test_debug_is_switched_on_from_outside(python_program, how):
    program = """
async def main():
    print(asyncio.get_running_loop().get_debug())
with asyncio.Runner(loop_factory=new_event_loop, debug=DEBUG) as runner:
    runner.run(main())
""".replace("DEBUG", "True" if how == "runner" else "None")
    options = ("-X", "dev") if how == "-X dev" else ()
    env = {"PYTHONASYNCIODEBUG": "1"} if how == "PYTHONASYNCIODEBUG" else {}
    finished = python_program(program, options=options, env=env)
    assert finished.out == "True\n"
    assert finished.code == 0


def test_a_fault_inside_a_debugged_callback_is_reported_with_its_source(debugging):
    loop, reports = debugging, []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    loop.call_soon(lambda: 1 / 0)
    loop.stop()
    loop.run_forever()
    assert isinstance(reports[0]["exception"], ZeroDivisionError)
    assert reports[0]["source_traceback"]
    assert "created at" in repr(reports[0]["handle"])


@pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt])
def test_an_exit_leaves_a_debugging_loop_as_well(debugging, leaving):
    def leave():
        raise leaving

    debugging.call_soon(leave)
    with pytest.raises(leaving):
        debugging.run_forever()


def test_everything_still_runs_in_order_under_debug(debugging):
    loop, order = debugging, []
    loop.call_soon(order.append, 1)
    loop.call_soon_threadsafe(order.append, 2)
    loop.call_later(0, order.append, 4)
    loop.call_soon(order.append, 3)
    loop.stop()
    loop.run_forever()
    assert order == [1, 2, 3, 4]
