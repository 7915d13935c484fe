"""yula.run and yula.new_event_loop do what asyncio's do, on yula."""

import asyncio
import sys
import threading

import pytest

import yula


async def running_loop():
    return asyncio.get_running_loop()


def outcome(function, *args, **keywords):
    """What a call returned or raised, comparable between two functions."""
    try:
        return function(*args, **keywords)
    except BaseException as error:
        return type(error), str(error)


def test_run_returns_the_result_and_runs_on_yula():
    loop = yula.run(running_loop())
    assert type(loop) is yula.Loop
    assert loop.is_closed()


def test_new_event_loop_makes_an_open_loop_that_is_not_current():
    loop = yula.new_event_loop()
    try:
        assert type(loop) is yula.Loop
        assert not loop.is_closed()
        assert not loop.is_running()
    finally:
        loop.close()


def test_two_new_event_loops_are_two_loops():
    first, second = yula.new_event_loop(), yula.new_event_loop()
    first.close()
    second.close()
    assert first is not second


def test_event_loop_is_another_name_of_loop():
    assert yula.EventLoop is yula.Loop


def test_run_takes_a_loop_factory():
    made = []

    def factory():
        made.append(asyncio.SelectorEventLoop())
        return made[-1]

    assert yula.run(running_loop(), loop_factory=factory) is made[0]
    made.clear()


def test_run_with_no_loop_factory_makes_the_default_loop():
    assert type(yula.run(running_loop(), loop_factory=None)) is asyncio.SelectorEventLoop


@pytest.mark.parametrize("debug", [True, False, None])
def test_run_sets_debug_as_asyncio_run_does(debug):
    async def main():
        return asyncio.get_running_loop().get_debug()

    assert yula.run(main(), debug=debug) == asyncio.run(main(), debug=debug)


def test_run_passes_an_exception_on():
    async def main():
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        yula.run(main())


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_run_passes_on_what_leaves_a_program(kind):
    async def main():
        raise kind(3)

    with pytest.raises(kind) as caught:
        yula.run(main())
    assert caught.value.args == (3,)


@pytest.mark.parametrize("wrong", [None, 1, "coroutine", running_loop])
def test_run_refuses_what_is_no_coroutine_as_asyncio_run_does(wrong):
    ours = outcome(yula.run, wrong)
    assert ours == outcome(asyncio.run, wrong)
    assert ours[0] in (TypeError, ValueError)


def test_run_refuses_to_run_inside_a_running_loop_as_asyncio_run_does():
    async def main(function):
        inner = running_loop()
        try:
            return outcome(function, inner)
        finally:
            inner.close()

    assert yula.run(main(yula.run)) == yula.run(main(asyncio.run))


def test_run_takes_only_main_by_position():
    main = running_loop()
    with pytest.raises(TypeError):
        yula.run(main, True)
    main.close()


def test_run_cancels_the_tasks_that_are_left():
    ended = []

    async def other():
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("other")

    async def main():
        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        return task

    assert yula.run(main()).cancelled()
    assert ended == ["other"]


def test_run_closes_async_generators_and_the_default_executor():
    closed = []

    async def numbers():
        try:
            while True:
                yield 1
        finally:
            closed.append("generator")

    async def main():
        generator = numbers()
        await anext(generator)
        await asyncio.get_running_loop().run_in_executor(None, threading.get_ident)
        return generator

    kept = yula.run(main())
    assert closed == ["generator"]
    assert "asyncio_0" not in {thread.name for thread in threading.enumerate()}
    del kept


def test_run_works_in_a_thread():
    loops = []
    thread = threading.Thread(target=lambda: loops.append(yula.run(running_loop())))
    thread.start()
    thread.join()
    assert type(loops[0]) is yula.Loop
    loops.clear()


@pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio.run takes coroutines only here")
def test_run_takes_any_awaitable():
    class Awaitable:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return "done"

    assert yula.run(Awaitable()) == "done"


def test_asyncio_runner_and_run_take_new_event_loop():
    with asyncio.Runner(loop_factory=yula.new_event_loop) as runner:
        assert type(runner.run(running_loop())) is yula.Loop
