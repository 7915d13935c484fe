"""Asynchronous generators that nobody finished: closed by the loop, with a warning when too late."""

import asyncio
import gc
import sys
import threading

import pytest
from peers import turns


async def numbers(log):
    try:
        while True:
            yield len(log)
    finally:
        await asyncio.sleep(0)
        log.append("closed")


def test_a_dropped_generator_is_closed_by_the_loop(loop):
    log = []

    async def main():
        generator = numbers(log)
        assert await anext(generator) == 0
        del generator
        gc.collect()
        await turns(4)

    loop.run_until_complete(main())
    assert log == ["closed"]


def test_shutdown_asyncgens_closes_those_still_alive(loop):
    log, generators = [], []

    async def main():
        for _ in range(3):
            generator = numbers(log)
            await anext(generator)
            generators.append(generator)

    loop.run_until_complete(main())
    assert log == []
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert log == ["closed"] * 3


def test_a_generator_that_fails_to_close_is_reported(loop):
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context["exception"]))

    async def fails():
        try:
            yield
        finally:
            raise LookupError("at the end")

    async def main():
        generator = fails()
        await anext(generator)
        return generator

    generator = loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert [type(exc) for exc in reports] == [LookupError]
    del generator


def test_a_generator_first_iterated_after_the_shutdown_is_warned_of(loop):
    log = []

    async def main():
        generator = numbers(log)
        with pytest.warns(ResourceWarning, match="after loop.shutdown_asyncgens"):
            await anext(generator)
        await generator.aclose()

    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(main())
    assert log == ["closed"]


def test_the_hooks_are_set_for_the_run_and_restored_after_it(loop):
    before = sys.get_asyncgen_hooks()

    async def main():
        return sys.get_asyncgen_hooks()

    during = loop.run_until_complete(main())
    assert sys.get_asyncgen_hooks() == before
    assert during.firstiter is not None
    assert during.finalizer is not None


def test_the_hooks_of_another_framework_are_restored(loop):
    def firstiter(generator):
        pass

    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=firstiter)
    try:
        loop.run_until_complete(asyncio.sleep(0))
        assert sys.get_asyncgen_hooks().firstiter is firstiter
    finally:
        sys.set_asyncgen_hooks(*before)


def test_a_generator_dropped_by_another_thread_is_closed_by_its_loop(loop):
    log = []

    async def main():
        box = [numbers(log)]
        await anext(box[0])
        thread = threading.Thread(target=lambda: (box.clear(), gc.collect()))
        thread.start()
        thread.join()
        while not log:
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert log == ["closed"]


def test_a_runner_closes_generators_at_its_end(loop_factory):
    log, kept = [], []

    async def main():
        generator = numbers(log)
        await anext(generator)
        kept.append(generator)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert log == ["closed"]
