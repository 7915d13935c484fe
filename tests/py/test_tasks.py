"""create_task, task factories, eager tasks, futures: asyncio's own classes on this loop."""

import asyncio
import contextvars
import sys

import pytest
from peers import turns

eager = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")


async def nothing():
    pass


def test_tasks_and_futures_are_asyncios_own(loop):
    async def main():
        assert type(loop.create_future()) is asyncio.Future
        task = loop.create_task(nothing())
        assert type(task) is asyncio.Task
        assert task in asyncio.all_tasks()
        assert asyncio.current_task().get_loop() is loop
        await task

    loop.run_until_complete(main())


def test_a_name_and_a_context_are_taken(loop):
    context = contextvars.Context()

    async def main():
        task = loop.create_task(nothing(), name="named", context=context)
        assert task.get_name() == "named"
        if hasattr(task, "get_context"):
            assert task.get_context() is context
        await task

    loop.run_until_complete(main())


def test_a_task_factory_gets_only_what_the_caller_gave(loop):
    calls = []

    def factory(loop, coro, **kwargs):
        calls.append(set(kwargs))
        return asyncio.Task(coro, loop=loop, **kwargs)

    async def main():
        await loop.create_task(nothing())
        await loop.create_task(nothing(), context=contextvars.Context())

    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    loop.run_until_complete(main())
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None
    assert calls == [set(), set(), {"context"}]


def test_a_task_factory_without_keywords_works(loop):
    made = []

    def factory(loop, coro):
        made.append(coro)
        return asyncio.Task(coro, loop=loop)

    loop.set_task_factory(factory)
    loop.run_until_complete(nothing())
    assert len(made) == 1


def test_a_task_factory_that_cannot_be_called_is_refused(loop):
    with pytest.raises(TypeError, match="task factory must be a callable or None"):
        loop.set_task_factory(5)


@eager
def test_the_eager_factory_runs_the_first_step_at_once(loop):
    order = []

    async def child():
        order.append("child")
        await asyncio.sleep(0)

    async def main():
        task = asyncio.create_task(child())
        order.append("after create_task")
        await task

    loop.set_task_factory(asyncio.eager_task_factory)
    loop.run_until_complete(main())
    assert order == ["child", "after create_task"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="eager_start= is new in 3.14")
def test_eager_start_is_passed_on(loop):
    order = []

    async def child():
        order.append("child")

    async def main():
        task = loop.create_task(child(), eager_start=True)
        order.append("after create_task")
        await task

    loop.run_until_complete(main())
    assert order == ["child", "after create_task"]


def test_the_order_of_task_steps_is_asyncios(loop):
    order = []

    async def worker(name):
        for step in range(3):
            order.append((name, step))
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(worker("a"), worker("b"))

    loop.run_until_complete(main())
    assert order == [(name, step) for step in range(3) for name in "ab"]


def test_cancelling_timing_out_and_shielding_work(loop):
    async def main():
        task = asyncio.create_task(asyncio.sleep(3600))
        await turns(1)
        task.cancel("message")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == ("message",)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.sleep(3600)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.sleep(3600), 0.001)
        inner = asyncio.ensure_future(asyncio.sleep(0.002, "shielded"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.0005):
                await asyncio.shield(inner)
        assert await inner == "shielded"

    loop.run_until_complete(main())


def test_a_task_group_cancels_its_siblings(loop):
    cancelled = []

    async def sibling():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    async def fails():
        await asyncio.sleep(0)
        raise LookupError

    async def main():
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(sibling())
                group.create_task(fails())

    loop.run_until_complete(main())
    assert cancelled == [1]


def test_queues_locks_and_events_work(loop):
    async def main():
        queue, results = asyncio.Queue(3), []

        async def producer():
            for i in range(100):
                await queue.put(i)
            await queue.put(None)

        async def consumer():
            while (item := await queue.get()) is not None:
                results.append(item)

        await asyncio.gather(producer(), consumer())
        assert results == list(range(100))
        semaphore, running, most = asyncio.Semaphore(3), 0, 0

        async def limited():
            nonlocal running, most
            async with semaphore:
                running += 1
                most = max(most, running)
                await turns(2)
                running -= 1

        await asyncio.gather(*(limited() for _ in range(20)))
        assert most == 3

    loop.run_until_complete(main())


def test_a_future_of_another_loop_is_refused(loop, loop_factory):
    other = loop_factory()
    future = other.create_future()

    async def main():
        await future

    with pytest.raises(RuntimeError, match="attached to a different loop"):
        loop.run_until_complete(main())
    with pytest.raises(ValueError, match="belong"):
        loop.run_until_complete(future)
    other.close()


def test_a_thousand_tasks_finish(loop):
    async def work(n):
        await asyncio.sleep(0)
        await asyncio.sleep(n % 5 / 10_000)
        return n

    async def main():
        return await asyncio.gather(*(work(n) for n in range(1000)))

    assert loop.run_until_complete(main()) == list(range(1000))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs are new in 3.14")
def test_the_call_graph_shows_the_tasks_of_this_loop(loop):
    async def inner():
        return asyncio.format_call_graph()

    async def outer():
        return await inner()

    text = loop.run_until_complete(outer())
    assert "outer" in text
    assert "inner" in text
