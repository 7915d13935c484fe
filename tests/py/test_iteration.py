"""One turn of the loop: what runs, in which order, and what leaves it."""

import asyncio
import socket

import pytest
from peers import catch_reports, pair


def order_of_one_turn(loop, first):
    """Run turns until everything fired; `first` schedules and returns the order list."""
    order = []
    a, b = pair()
    with a, b:

        def on_io():
            order.append("io")
            loop.remove_reader(a)

        loop.add_reader(a, on_io)
        first(order, b)
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
    return order


def test_a_turn_runs_what_was_ready_then_io_then_due_timers(loop):
    def arrange(order, peer):
        peer.send(b"x")
        loop.call_later(0, order.append, "timer")
        loop.call_soon(lambda: (order.append("s1"), loop.call_soon(order.append, "nested")))
        loop.call_soon(order.append, "s2")

    assert order_of_one_turn(loop, arrange) == ["s1", "s2", "io", "timer", "nested"]


def test_what_a_batch_schedules_waits_for_a_new_poll(loop):
    def arrange(order, peer):
        def one():
            order.append("one")
            peer.send(b"x")
            loop.call_soon(order.append, "two")

        loop.call_soon(one)

    # The byte sent by `one` is reported by the poll before "two" runs, yet "two" was ready first.
    assert order_of_one_turn(loop, arrange) == ["one", "two", "io"]


def test_callbacks_run_first_in_first_out(loop):
    order = []
    for i in range(1000):
        loop.call_soon(order.append, i)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert order == list(range(1000))


def test_a_timer_due_in_this_batch_does_not_overtake_its_ready_work(loop):
    order = []
    loop.call_at(loop.time() - 1, order.append, "timer")
    loop.call_soon(order.append, "soon")
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()
    assert order == ["soon", "timer"]


def test_stop_lets_the_current_batch_finish_and_no_more(loop):
    order = []
    loop.call_soon(lambda: (loop.stop(), loop.call_soon(order.append, "nested")))
    loop.call_soon(order.append, "same batch")
    loop.run_forever()
    assert order == ["same batch"]
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert order == ["same batch", "nested"]


def test_stop_before_run_forever_makes_exactly_one_turn(loop):
    order = []
    loop.call_soon(lambda: (order.append("first"), loop.call_soon(order.append, "second")))
    loop.stop()
    loop.run_forever()
    assert order == ["first"]


def test_one_turn_of_a_stopped_loop_still_polls(loop):
    a, b = pair()
    order = []
    with a, b:
        b.send(b"x")
        loop.add_reader(a, order.append, "io")
        loop.stop()
        loop.run_forever()
        loop.remove_reader(a)
    assert order == ["io"]


def test_stop_is_forgotten_after_the_run_it_ended(loop):
    loop.call_soon(loop.stop)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert loop.run_until_complete(asyncio.sleep(0, "ran")) == "ran"


@pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt])
def test_an_exit_leaves_at_once_and_the_rest_of_the_batch_stays_queued(loop, leaving):
    order = []

    def leave():
        order.append("leave")
        raise leaving(7)

    loop.call_soon(leave)
    loop.call_soon(order.append, "queued")
    with pytest.raises(leaving):
        loop.run_forever()
    assert order == ["leave"]
    assert not loop.is_running()
    loop.call_soon(order.append, "after")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert order == ["leave", "queued", "after"]


@pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt])
def test_an_exit_from_a_timer_or_a_reader_leaves_the_loop(loop, leaving):
    def leave():
        raise leaving

    loop.call_later(0, leave)
    with pytest.raises(leaving):
        loop.run_forever()
    a, b = pair()
    with a, b:
        b.send(b"x")
        loop.add_reader(a, leave)
        with pytest.raises(leaving):
            loop.run_forever()
        loop.remove_reader(a)


@pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt])
def test_an_exit_from_a_task_leaves_run_until_complete_unchanged(loop, leaving):
    raised = leaving("from the task")

    async def main():
        raise raised

    with pytest.raises(leaving) as caught:
        loop.run_until_complete(main())
    assert caught.value is raised


def test_any_other_exception_is_reported_and_the_turn_goes_on(loop):
    reports = catch_reports(loop)
    order = []
    handle = loop.call_soon(lambda: 1 / 0)
    loop.call_soon(order.append, "next")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert order == ["next"]
    assert isinstance(reports[0]["exception"], ZeroDivisionError)
    assert reports[0]["message"].startswith("Exception in callback")
    assert reports[0]["handle"] is handle


def test_a_generator_exit_or_cancelled_error_of_a_callback_is_only_reported(loop):
    # BaseExceptions that are no exits: asyncio reports them and goes on.
    reports = catch_reports(loop)

    def cancelled():
        raise asyncio.CancelledError

    def generator_exit():
        raise GeneratorExit

    loop.call_soon(cancelled)
    loop.call_soon(generator_exit)
    loop.call_soon(loop.stop)
    loop.run_forever()
    kinds = [type(report["exception"]) for report in reports]
    assert kinds == [asyncio.CancelledError, GeneratorExit]


def test_the_loop_refuses_to_run_inside_itself(loop):
    async def main():
        coro = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="This event loop is already running"):
            loop.run_until_complete(coro)
        coro.close()
        with pytest.raises(RuntimeError, match="This event loop is already running"):
            loop.run_forever()

    loop.run_until_complete(main())


def test_the_loop_refuses_to_run_inside_another(loop, loop_factory):
    async def main():
        other = loop_factory()
        coro = asyncio.sleep(0)
        try:
            with pytest.raises(
                RuntimeError, match="Cannot run the event loop while another loop is running"
            ):
                other.run_until_complete(coro)
        finally:
            coro.close()
            other.close()

    loop.run_until_complete(main())


def test_the_running_loop_is_visible_only_while_it_runs(loop):
    seen = []
    loop.call_soon(lambda: seen.append((asyncio.get_running_loop(), loop.is_running())))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [(loop, True)]
    assert not loop.is_running()
    assert asyncio._get_running_loop() is None


def test_run_until_complete_returns_the_result_or_raises_the_exception(loop):
    async def fails():
        raise LookupError("gone")

    future = loop.create_future()
    loop.call_soon(future.set_result, 5)
    assert loop.run_until_complete(future) == 5
    with pytest.raises(LookupError, match="gone"):
        loop.run_until_complete(fails())
    assert loop.run_until_complete(future) == 5


def test_a_future_left_unfinished_by_stop_is_an_error(loop):
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match="Event loop stopped before Future completed"):
        loop.run_until_complete(future)


def test_run_until_complete_attaches_the_stdlib_callback_that_anyio_looks_for(loop):
    async def main():
        return [callback for callback, _ in asyncio.current_task()._callbacks]

    callbacks = loop.run_until_complete(main())
    assert asyncio.base_events._run_until_complete_cb in callbacks


def test_run_until_complete_stops_after_the_batch_of_its_future(loop):
    order = []

    async def main():
        loop.call_soon(order.append, "same turn as the stop")
        return "done"

    assert loop.run_until_complete(main()) == "done"
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert order == ["same turn as the stop"]


def test_two_hundred_runs_of_one_loop_leave_no_state_behind(loop):
    for i in range(200):
        assert loop.run_until_complete(asyncio.sleep(0, i)) == i
    loop.stop()
    loop.run_forever()
    assert not loop.is_running()


def test_a_callback_may_close_every_descriptor_the_batch_still_has_events_for(loop):
    pairs = [pair() for _ in range(8)]
    fired = []

    def on_io(index):
        fired.append(index)
        for a, b in pairs:
            loop.remove_reader(a)
            a.close()
            b.close()

    for index, (a, b) in enumerate(pairs):
        b.send(b"x")
        loop.add_reader(a, on_io, index)
    loop.stop()
    loop.run_forever()
    assert len(fired) == 1


def test_a_loop_can_be_created_and_closed_many_times(loop_factory):
    for _ in range(50):
        loop = loop_factory()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    # A loop leaves no descriptor behind: the next two sockets take the lowest numbers again.
    with socket.socket() as probe:
        first = probe.fileno()
    loop = loop_factory()
    loop.close()
    with socket.socket() as probe:
        assert probe.fileno() == first
