"""Work posted by other threads: order, wake-up, and the race with close."""

import asyncio
import concurrent.futures
import gc
import threading
import weakref

import pytest
from peers import pair


def in_thread(target, *args):
    thread = threading.Thread(target=target, args=args)
    thread.start()
    return thread


def test_a_posted_callback_wakes_a_sleeping_loop(loop):
    seen = []

    def post():
        loop.call_soon_threadsafe(lambda: (seen.append(threading.get_ident()), loop.stop()))

    loop.call_later(60, print).cancel()
    # Posted from a timer thread a little later, so that the loop is asleep in most runs.
    timer = threading.Timer(0.01, post)
    timer.start()
    loop.run_forever()
    timer.join()
    assert seen == [threading.get_ident()]


def test_callbacks_of_one_thread_keep_their_order(loop):
    order = []

    def post():
        for i in range(5000):
            loop.call_soon_threadsafe(order.append, i)
        loop.call_soon_threadsafe(loop.stop)

    thread = in_thread(post)
    loop.run_forever()
    thread.join()
    assert order == list(range(5000))


def test_callbacks_of_many_threads_all_arrive_each_in_its_order(loop):
    order = []
    left = [8]

    def finished():
        left[0] -= 1
        if not left[0]:
            loop.stop()

    def post(name):
        for i in range(1000):
            loop.call_soon_threadsafe(order.append, (name, i))
        loop.call_soon_threadsafe(finished)

    threads = [in_thread(post, name) for name in range(8)]
    loop.run_forever()
    for thread in threads:
        thread.join()
    assert len(order) == 8000
    for name in range(8):
        assert [i for who, i in order if who == name] == list(range(1000))


def test_a_callback_posted_before_a_byte_was_sent_runs_before_its_reader(loop):
    order = []
    a, b = pair()

    def post_then_send():
        loop.call_soon_threadsafe(order.append, "posted")
        b.send(b"x")

    def on_io():
        a.recv(10)
        order.append("io")
        loop.stop()

    with a, b:
        loop.add_reader(a, on_io)
        for _ in range(300):
            thread = in_thread(post_then_send)
            loop.run_forever()
            thread.join()
        loop.remove_reader(a)
    assert order == ["posted", "io"] * 300


def test_a_callback_posted_while_the_batch_runs_also_precedes_the_byte(loop):
    # The thread posts and sends while a callback of the loop computes: both are found by one poll.
    order = []
    a, b = pair()

    def compute():
        thread = in_thread(post_then_send)
        thread.join()

    def post_then_send():
        loop.call_soon_threadsafe(order.append, "posted")
        b.send(b"x")

    def on_io():
        a.recv(10)
        order.append("io")
        loop.stop()

    with a, b:
        loop.add_reader(a, on_io)
        loop.call_soon(compute)
        loop.run_forever()
        loop.remove_reader(a)
    assert order == ["posted", "io"]


def test_from_the_loops_own_thread_it_keeps_its_place_among_call_soon(loop):
    order = []

    def mixed():
        loop.call_soon(order.append, 1)
        loop.call_soon_threadsafe(order.append, 2)
        loop.call_soon(order.append, 3)
        loop.call_soon_threadsafe(order.append, 4)
        loop.call_soon_threadsafe(loop.stop)

    loop.call_soon(mixed)
    loop.run_forever()
    assert order == [1, 2, 3, 4]


def test_before_the_first_run_it_keeps_its_place_too(loop):
    order = []
    loop.call_soon(order.append, 1)
    loop.call_soon_threadsafe(order.append, 2)
    loop.call_soon(order.append, 3)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert order == [1, 2, 3]


def test_what_is_posted_between_two_runs_is_run_by_the_next(loop):
    order = []
    loop.run_until_complete(asyncio.sleep(0))
    in_thread(loop.call_soon_threadsafe, order.append, "posted").join()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert order == ["posted"]


def test_posting_to_a_closed_loop_is_a_runtime_error(loop):
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.call_soon_threadsafe(print)
    caught = []

    def post():
        try:
            loop.call_soon_threadsafe(print)
        except RuntimeError as exc:
            caught.append(str(exc))

    in_thread(post).join()
    assert caught == ["Event loop is closed"]


def test_posting_races_with_close_without_a_crash(loop_factory):
    for _ in range(60):
        loop = loop_factory()
        errors = []
        started = threading.Barrier(3)

        def post(loop=loop, errors=errors, started=started):
            started.wait()
            try:
                while True:
                    loop.call_soon_threadsafe(int)
            except RuntimeError as exc:
                errors.append(str(exc))

        threads = [in_thread(post) for _ in range(2)]
        started.wait()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        for thread in threads:
            thread.join()
        assert errors == ["Event loop is closed"] * 2


def test_what_was_posted_and_never_ran_is_released_at_close(loop_factory):
    class Callback:
        def __call__(self):
            raise AssertionError("ran after close")

    loop = loop_factory()
    callback = Callback()
    gone = weakref.ref(callback)
    thread = in_thread(loop.call_soon_threadsafe, callback)
    thread.join()
    del callback, thread
    loop.close()
    del loop
    gc.collect()
    assert gone() is None


def test_a_posted_handle_can_be_cancelled_by_the_thread_that_posted_it(loop):
    ran = []

    def post():
        handle = loop.call_soon_threadsafe(ran.append, "cancelled")
        handle.cancel()
        assert handle.cancelled()
        loop.call_soon_threadsafe(loop.stop)

    release = threading.Event()

    def hold_the_turn():
        thread = in_thread(post)
        thread.join()
        release.set()

    loop.call_soon(hold_the_turn)
    loop.run_forever()
    assert release.is_set()
    assert ran == []


def test_a_future_resolved_from_a_thread_wakes_its_awaiter(loop):
    async def main():
        future = loop.create_future()
        thread = in_thread(loop.call_soon_threadsafe, future.set_result, "from the thread")
        try:
            return await future
        finally:
            thread.join()

    for _ in range(200):
        assert loop.run_until_complete(main()) == "from the thread"


def test_run_coroutine_threadsafe_brings_the_result_back(loop):
    results = []

    async def work(n):
        await asyncio.sleep(0)
        return n * 2

    def ask():
        futures = [asyncio.run_coroutine_threadsafe(work(n), loop) for n in range(100)]
        results.extend(f.result() for f in concurrent.futures.as_completed(futures))
        loop.call_soon_threadsafe(loop.stop)

    thread = in_thread(ask)
    loop.run_forever()
    thread.join()
    assert sorted(results) == [n * 2 for n in range(100)]


def test_stop_from_another_thread_needs_a_wake_up_and_gets_it(loop):
    timer = threading.Timer(0.01, loop.call_soon_threadsafe, (loop.stop,))
    timer.start()
    loop.run_forever()
    timer.join()
    assert not loop.is_running()


def test_two_loops_in_two_threads_post_to_each_other(loop_factory):
    loops = [loop_factory(), loop_factory()]
    done = threading.Barrier(3)
    counts = [0, 0]

    def ping(index):
        counts[index] += 1
        if counts[index] < 2000:
            loops[1 - index].call_soon_threadsafe(ping, 1 - index)
        else:
            for loop in loops:
                loop.call_soon_threadsafe(loop.stop)

    def serve(index):
        loops[index].call_soon(ping, index)
        loops[index].run_forever()
        done.wait()
        loops[index].close()

    threads = [in_thread(serve, index) for index in range(2)]
    done.wait()
    for thread in threads:
        thread.join()
    assert max(counts) == 2000


def test_the_running_loop_belongs_to_its_thread(loop):
    seen = []

    def look():
        seen.append(asyncio._get_running_loop())

    async def main():
        in_thread(look).join()

    loop.run_until_complete(main())
    assert seen == [None]


def test_what_four_threads_post_while_the_loop_sleeps_and_wakes_runs_once_in_order(loop):
    per_thread, seen = 2000, [[] for _ in range(4)]
    left = 4

    def finished():
        nonlocal left
        left -= 1
        if not left:
            loop.stop()

    def post(number):
        for i in range(per_thread):
            handle = loop.call_soon_threadsafe(seen[number].append, i)
            if i % 7 == 0:
                handle.cancel()  # it may have run already
            if i % 50 == 0:
                threading.Event().wait(1e-5)  # gives the lock up: the loop drains and sleeps
        loop.call_soon_threadsafe(finished)

    threads = [in_thread(post, number) for number in range(4)]
    loop.run_forever()
    for thread in threads:
        thread.join()
    for order in seen:
        assert order == sorted(set(order))
        assert {i for i in range(per_thread) if i % 7} <= set(order)


def test_a_posted_handle_that_its_callback_knows_is_collected_after_its_run(loop):
    class Token:
        pass

    def post():
        token = Token()
        token.handle = loop.call_soon_threadsafe(id, token)
        tokens.append(weakref.ref(token))
        loop.call_soon_threadsafe(loop.stop)

    tokens = []
    thread = in_thread(post)
    loop.run_forever()
    thread.join()
    gc.collect()
    assert tokens[0]() is None


def test_a_posted_handle_dropped_unrun_by_close_is_collected(loop_factory):
    class Token:
        pass

    def post():
        token = Token()
        token.handle = loop.call_soon_threadsafe(id, token)
        tokens.append(weakref.ref(token))

    def run():
        in_thread(post).join()
        raise SystemExit

    tokens = []
    loop = loop_factory()
    loop.call_soon(run)
    with pytest.raises(SystemExit):
        loop.run_forever()
    loop.close()
    gc.collect()
    assert tokens[0]() is None
