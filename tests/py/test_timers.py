"""call_later and call_at: never early, in order, cheap to cancel."""

import asyncio
import gc
import random
import sys
import threading
import time
import weakref

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def run_for(loop, delay):
    loop.call_later(delay, loop.stop)
    loop.run_forever()


def test_a_timer_is_never_early(loop):
    early = []

    def fire(when):
        # asyncio allows itself one clock tick; a nanosecond on Linux.
        if loop.time() < when - 1e-6:
            early.append(loop.time() - when)

    for i in range(300):
        when = loop.time() + i * 0.000137
        loop.call_at(when, fire, when)
    run_for(loop, 0.06)
    assert early == []


def test_deadlines_a_fraction_of_a_millisecond_apart_fire_in_their_order(loop):
    order = []
    now = loop.time()
    for i in reversed(range(20)):
        loop.call_at(now + 0.002 + i * 0.0002, order.append, i)
    run_for(loop, 0.02)
    assert order == list(range(20))


@pytest.mark.yula_only(reason="asyncio's heap leaves the order of equal deadlines undefined")
def test_equal_deadlines_fire_in_insertion_order(loop):
    order = []
    when = loop.time() + 0.002
    for i in range(500):
        loop.call_at(when, order.append, i)
    run_for(loop, 0.02)
    assert order == list(range(500))


@pytest.mark.yula_only(reason="asyncio's heap leaves the order of equal deadlines undefined")
def test_equal_deadlines_keep_their_order_when_some_are_cancelled(loop):
    order = []
    when = loop.time() + 0.002
    handles = [loop.call_at(when, order.append, i) for i in range(500)]
    dropped = set(random.Random(5).sample(range(500), 250))
    for i in dropped:
        handles[i].cancel()
    run_for(loop, 0.02)
    assert order == [i for i in range(500) if i not in dropped]


@pytest.mark.parametrize("delay", [0, -1, -0.0, -1e9])
def test_a_delay_that_is_already_over_gives_a_timer_handle_for_the_next_turn(loop, delay):
    order = []
    before = loop.time()
    handle = loop.call_later(delay, order.append, "timer")
    assert isinstance(handle, asyncio.TimerHandle)
    assert before + delay <= handle.when() <= loop.time() + delay
    assert order == []
    loop.stop()
    loop.run_forever()
    assert order == ["timer"]


def test_negative_delays_keep_the_order_of_their_deadlines(loop):
    order = []
    now = loop.time()
    for delay in (-1, -3, -2, 0):
        loop.call_at(now + delay, order.append, delay)
    loop.stop()
    loop.run_forever()
    assert order == [-3, -2, -1, 0]


def test_a_timer_handle_tells_its_deadline_to_the_last_bit(loop):
    when = loop.time() + 12345.678901234567
    handle = loop.call_at(when, print)
    assert handle.when() == when
    handle.cancel()
    assert handle.when() == when


@pytest.mark.parametrize("delay", [1e6, 1e9, 1e12, 1e18, 1e300, float("inf")])
def test_a_huge_delay_is_waited_for_not_overflowed(loop, delay):
    fired = []
    handle = loop.call_later(delay, fired.append, delay)
    run_for(loop, 0.005)
    assert fired == []
    handle.cancel()


@pytest.mark.yula_only(reason="asyncio passes the delay on to the selector, which clamps it")
def test_a_loop_with_nothing_but_a_huge_delay_sleeps_and_can_be_woken(loop):
    handle = loop.call_later(1e15, print)
    waker = threading.Timer(0.01, loop.call_soon_threadsafe, (loop.stop,))
    waker.start()
    loop.run_forever()
    waker.join()
    handle.cancel()


def test_a_delay_that_is_no_number_is_a_type_error(loop):
    for wrong in (None, "1", [], object()):
        with pytest.raises(TypeError):
            loop.call_later(wrong, print)
    with pytest.raises(TypeError):
        loop.call_at(None, print)


def test_any_real_number_is_a_delay(loop):
    from fractions import Fraction

    order = []
    loop.call_later(False, order.append, "bool")
    loop.call_later(Fraction(1, 1000), order.append, "fraction")
    run_for(loop, 0.005)
    assert order == ["bool", "fraction"]


def test_the_clock_is_the_monotonic_clock(loop):
    before = time.monotonic()
    now = loop.time()
    assert isinstance(now, float)
    assert before <= now <= time.monotonic()


def test_a_cancelled_timer_does_not_run_and_lets_go_of_its_callback(loop):
    class Callback:
        def __call__(self):
            raise AssertionError("a cancelled timer ran")

    callback = Callback()
    gone = weakref.ref(callback)
    handle = loop.call_later(0.001, callback)
    handle.cancel()
    del callback
    gc.collect()
    assert gone() is None
    run_for(loop, 0.005)
    assert handle.cancelled()


def test_a_timer_may_be_cancelled_by_an_earlier_one_of_the_same_batch(loop):
    order = []
    now = loop.time()
    victim = loop.call_at(now - 1, order.append, "victim")
    loop.call_at(now - 2, victim.cancel)
    loop.stop()
    loop.run_forever()
    assert order == []


def test_a_timer_may_cancel_itself_and_be_cancelled_again_later(loop):
    handles = []
    handles.append(loop.call_later(0, lambda: handles[0].cancel()))
    loop.stop()
    loop.run_forever()
    handles[0].cancel()
    assert handles[0].cancelled()


def test_a_timer_that_rearms_itself_runs_once_a_turn(loop):
    turns = []

    def again():
        turns.append(len(turns))
        if len(turns) < 5:
            loop.call_later(0, again)
        else:
            loop.stop()

    loop.call_later(0, again)
    loop.run_forever()
    assert turns == [0, 1, 2, 3, 4]


def test_a_storm_of_cancelled_timers_keeps_no_memory(loop):
    # zeroconf re-arms a timer at each packet: 200,000 cancelled ones must not stay in the heap.
    blocks = sys.getallocatedblocks()

    async def storm():
        for _ in range(200):
            for _ in range(1000):
                loop.call_later(3600, print).cancel()
            await asyncio.sleep(0)

    loop.run_until_complete(storm())
    assert sys.getallocatedblocks() - blocks < 20_000


def test_a_storm_of_cancelled_timers_does_not_disturb_the_live_ones(loop):
    order = []
    rng = random.Random(11)
    now = loop.time()
    handles = []
    for i in range(5000):
        handles.append(loop.call_at(now + rng.random() / 100, order.append, i))
    live = {i for i in range(5000) if i % 7 == 0}
    for i in rng.sample(range(5000), 5000):
        if i not in live:
            handles[i].cancel()
    run_for(loop, 0.05)
    assert sorted(order) == sorted(live)
    assert order == sorted(order, key=lambda i: handles[i].when())


@pytest.mark.yula_only(reason="counts turns, which asyncio does not tell")
def test_cancelled_timers_do_not_wake_the_loop(loop):
    fired = []
    for i in range(20):
        loop.call_later(0.001 * i, print).cancel()
    loop.call_later(0.02, fired.append, 1)
    loop.call_later(0.03, loop.stop)
    before = loop.stats()["turns"]
    loop.run_forever()
    assert fired == [1]
    assert loop.stats()["turns"] - before <= 4


@pytest.mark.yula_only(reason="counts turns, which asyncio does not tell")
def test_a_timer_that_is_rearmed_at_every_packet_costs_no_turn_of_its_own(loop):
    # What zeroconf does: cancel and re-arm while other work goes on.
    async def main():
        handle = loop.call_later(1, print)
        before = loop.stats()["turns"]
        for _ in range(100):
            handle.cancel()
            handle = loop.call_later(1, print)
            await asyncio.sleep(0)
        handle.cancel()
        assert loop.stats()["turns"] - before <= 101

    loop.run_until_complete(main())


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(plan=st.lists(st.tuples(st.integers(0, 30), st.integers(-1, 60)), max_size=60))
def test_any_plan_of_timers_and_cancellations_fires_what_is_left_in_order(loop_class, plan):
    loop = loop_class()
    order, handles, expected = [], [], {}
    now = loop.time()
    for index, (slot, cancel) in enumerate(plan):
        handles.append(loop.call_at(now + slot * 0.00005, order.append, index))
        expected[index] = slot
        if 0 <= cancel < len(handles):
            handles[cancel].cancel()
            expected.pop(cancel, None)
    run_for(loop, 0.003)
    loop.close()
    assert sorted(order) == sorted(expected)
    assert [expected[i] for i in order] == sorted(expected.values())


def test_sleep_wakes_after_its_delay_and_returns_its_result(loop):
    async def main():
        start = loop.time()
        assert await asyncio.sleep(0.003, "result") == "result"
        return loop.time() - start

    assert loop.run_until_complete(main()) >= 0.003 - 1e-6


def test_timers_left_at_close_never_run(loop):
    fired = []
    loop.call_later(0, fired.append, 1)
    loop.call_later(10, fired.append, 2)
    loop.close()
    assert fired == []
