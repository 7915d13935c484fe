"""A user's own call_soon, call_later or time is honoured, in a subclass and on the instance."""

import asyncio

import pytest
from peers import Recorder, turns, until, wired


@pytest.fixture
def make(loop_class):
    """make(**methods): an instance of a subclass with these methods; closed after the test."""
    made = []

    def make(**methods):
        made.append(type("Mine", (loop_class,), methods)())
        return made[-1]

    yield make
    for loop in made:
        loop.close()
    made.clear()


def counting(name, loop_class, calls):
    base = getattr(loop_class, name)

    def method(self, *args, **kwargs):
        calls.append(name)
        return base(self, *args, **kwargs)

    return method


async def some_work():
    await asyncio.sleep(0)
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, 1)
    await future


def test_a_subclass_sees_the_call_soon_of_tasks_and_futures(make, loop_class):
    calls = []
    loop = make(call_soon=counting("call_soon", loop_class, calls))
    loop.run_until_complete(some_work())
    assert len(calls) >= 4  # first step, sleep(0), set_result, wake-up


def test_a_subclass_sees_the_call_at_that_call_later_makes(make, loop_class):
    calls = []
    loop = make(call_at=counting("call_at", loop_class, calls))
    loop.run_until_complete(asyncio.sleep(0.001))
    assert calls == ["call_at"]


def test_a_subclass_sees_the_call_later_of_sleep(make, loop_class):
    calls = []
    loop = make(call_later=counting("call_later", loop_class, calls))
    loop.run_until_complete(asyncio.sleep(0.001))
    assert calls == ["call_later"]


def test_the_bound_method_assigned_on_the_instance_is_honoured(loop):
    calls = []
    original = loop.call_soon

    def call_soon(callback, *args, context=None):
        calls.append(callback)
        return original(callback, *args, context=context)

    loop.call_soon = call_soon
    try:
        loop.run_until_complete(some_work())
        assert len(calls) >= 4
    finally:
        del loop.call_soon
    count = len(calls)
    loop.run_until_complete(some_work())
    assert len(calls) == count


def test_call_later_assigned_on_the_instance_is_honoured(loop):
    calls = []
    original = loop.call_later

    def call_later(delay, callback, *args, context=None):
        calls.append(delay)
        return original(0, callback, *args, context=context)

    loop.call_later = call_later
    try:
        loop.run_until_complete(asyncio.sleep(3600))
    finally:
        del loop.call_later
    assert calls == [3600]


def test_a_method_patched_into_a_subclass_later_is_honoured_from_then_on(make, loop_class):
    calls = []
    loop = make()
    loop.run_until_complete(some_work())
    type(loop).call_soon = counting("call_soon", loop_class, calls)
    loop.run_until_complete(some_work())
    assert calls
    del type(loop).call_soon
    count = len(calls)
    loop.run_until_complete(some_work())
    assert len(calls) == count


class Clock:
    """A clock that jumps to the next deadline when nothing else is left to do."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self, *_):
        return self.now


def test_call_later_counts_from_an_overridden_time(make):
    clock = Clock()
    loop = make(time=lambda self: clock.now)
    assert loop.time() == 1000.0
    handle = loop.call_later(5, print)
    assert handle.when() == 1005.0
    handle.cancel()


def test_timers_fire_by_an_overridden_time(make):
    clock = Clock()
    loop = make(time=lambda self: clock.now)
    order = []
    loop.call_later(60, order.append, "minute")
    loop.call_later(3600, order.append, "hour")
    loop.stop()
    loop.run_forever()
    assert order == []
    clock.now += 61
    loop.stop()
    loop.run_forever()
    assert order == ["minute"]
    clock.now += 3600
    loop.stop()
    loop.run_forever()
    assert order == ["minute", "hour"]


def test_time_assigned_on_the_instance_moves_the_timers(loop):
    clock = Clock()
    loop.time = clock
    order = []
    try:
        loop.call_later(10, order.append, "timer")
        clock.now += 11
        loop.stop()
        loop.run_forever()
    finally:
        del loop.time
    assert order == ["timer"]


def test_a_whole_day_passes_at_once_in_virtual_time(make):
    clock = Clock()
    loop = make(time=lambda self: clock.now)
    ticks = []

    async def main():
        async def hourly():
            for _ in range(24):
                await asyncio.sleep(3600)
                ticks.append(loop.time())

        task = asyncio.ensure_future(hourly())
        while not task.done():
            clock.now += 60
            await turns(3)

    loop.run_until_complete(main())
    assert len(ticks) == 24
    assert clock.now >= 1000 + 24 * 3600


def test_a_timeout_expires_by_virtual_time(make):
    clock = Clock()
    loop = make(time=lambda self: clock.now)

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(100):
                clock.now += 101
                await asyncio.Event().wait()

    loop.run_until_complete(main())


def test_io_goes_on_under_virtual_time(make):
    clock = Clock()
    loop = make(time=lambda self: clock.now)

    async def main():
        protocol = Recorder()
        async with wired(protocol) as (_, peer):
            peer.send(b"hello")
            await until(lambda: protocol.data == b"hello")

    loop.run_until_complete(main())


def test_an_overridden_exception_handler_method_gets_the_reports(make):
    seen = []
    loop = make(call_exception_handler=lambda self, context: seen.append(context["message"]))
    loop.call_soon(lambda: 1 / 0)
    loop.stop()
    loop.run_forever()
    assert len(seen) == 1


def test_an_overridden_default_exception_handler_gets_the_reports(make):
    seen = []
    loop = make(default_exception_handler=lambda self, context: seen.append(context["message"]))
    loop.call_soon(lambda: 1 / 0)
    loop.stop()
    loop.run_forever()
    assert len(seen) == 1


def test_an_overridden_create_future_and_create_task_are_used(make, loop_class):
    calls = []
    loop = make(
        create_future=counting("create_future", loop_class, calls),
        create_task=counting("create_task", loop_class, calls),
    )

    async def main():
        await asyncio.sleep(0.001)

    loop.run_until_complete(main())
    assert calls == ["create_task", "create_future"]


def test_a_subclass_may_add_an_init_and_attributes(loop_class):
    class Mine(loop_class):
        def __init__(self, name):
            super().__init__()
            self.name = name

    loop = Mine("named")
    loop.run_until_complete(asyncio.sleep(0))
    assert loop.name == "named"
    loop.anything = 5
    loop.close()


def test_the_loop_takes_attributes_and_weak_references(loop):
    import weakref

    loop.note = "mine"
    assert weakref.ref(loop)() is loop
    assert loop.note == "mine"
