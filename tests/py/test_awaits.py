"""Between the event and the coroutine: what an awaitable in C waits on, and how its task is woken.

Everything holds for asyncio's futures and is tested on both loops.
"""

import asyncio
import contextvars
import gc
import socket
import sys
import weakref

import pytest

variable = contextvars.ContextVar("variable", default=0)


async def passed_on(awaitable):
    return await awaitable


async def waiting(coroutine, make=asyncio.create_task):
    """A task that waits."""
    task = make(coroutine)
    while not task.done() and task._fut_waiter is None:
        await asyncio.sleep(0)
    return task


@pytest.fixture
def stream(run):
    """stream(main): run main(reader, peer), with a connection's reader and its peer's socket."""

    async def with_stream(main):
        loop = asyncio.get_running_loop()
        accepted = loop.create_future()
        server = await asyncio.start_server(lambda *both: accepted.set_result(both), "127.0.0.1", 0)
        peer = socket.create_connection(server.sockets[0].getsockname())
        reader, writer = await accepted
        try:
            await main(reader, peer)
        finally:
            peer.close()
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()

    return lambda main, **options: run(with_stream(main), **options)


@pytest.fixture
def pair(run):
    """pair(main): run main(socket, peer), two ends of a connection."""

    async def with_pair(main):
        ours, peer = socket.socketpair()
        with ours, peer:
            ours.setblocking(False)
            await main(ours, peer)

    return lambda main, **options: run(with_pair(main), **options)


# --- the future -----------------------------------------------------------------------------------


def test_what_is_waited_on_is_a_future(stream):
    async def main(reader, peer):
        task = await waiting(passed_on(reader.read(1)))
        future = reader._waiter
        assert task._fut_waiter is future
        assert isinstance(future, asyncio.Future)
        assert asyncio.isfuture(future)
        assert future.get_loop() is asyncio.get_running_loop()
        assert not future.done()
        assert not future.cancelled()
        assert repr(future).startswith("<Future pending")
        assert "wait_for=<Future pending" in repr(task)
        with pytest.raises(asyncio.InvalidStateError):
            future.result()
        reader.feed_data(b"a")
        assert future.done()
        assert future.result() is None
        assert future.exception() is None
        assert not future.cancel()
        assert repr(future).startswith("<Future finished result=None")
        assert await task == b"a"

    stream(main)


def test_a_future_that_somebody_keeps_stays_as_it_is(stream):
    async def main(reader, peer):
        kept = []
        for _ in range(40):
            task = await waiting(passed_on(reader.read(1)))
            assert all(future is not reader._waiter for future in kept)
            kept.append(reader._waiter)
            reader.feed_data(b"a")
            await task
        assert all(future.done() and future.result() is None for future in kept)

    stream(main)


def test_a_future_with_a_weak_reference_is_not_used_again(stream):
    async def main(reader, peer):
        task = await waiting(passed_on(reader.read(1)))
        reference = weakref.ref(reader._waiter)
        reader.feed_data(b"a")
        await task
        del task
        gc.collect()
        assert reference() is None

    stream(main)


def test_a_result_given_by_hand_wakes_the_task(stream):
    async def main(reader, peer):
        task = await waiting(passed_on(reader.read(1)))
        reader._buffer.extend(b"a")
        reader._waiter.set_result(None)
        assert await task == b"a"

    stream(main)


def test_an_exception_given_by_hand_is_raised_in_the_task(stream):
    async def main(reader, peer):
        task = await waiting(passed_on(reader.read(1)))
        reader._waiter.set_exception(LookupError("by hand"))
        with pytest.raises(LookupError, match="by hand"):
            await task

    stream(main)


def test_everybody_who_awaits_the_future_is_woken_in_the_order_they_came(stream):
    async def main(reader, peer):
        order = []
        task = await waiting(passed_on(reader.read(1)))
        future = reader._waiter
        task.add_done_callback(lambda _: order.append("task"))

        async def another():
            await future
            order.append("another")

        second = await waiting(another())
        future.add_done_callback(lambda done: order.append(done is future and done.done()))
        removed = order.append
        future.add_done_callback(removed)
        assert future.remove_done_callback(removed) == 1
        reader.feed_data(b"a")
        await asyncio.gather(task, second)
        assert order == ["another", True, "task"]

    stream(main)


def test_a_callback_added_after_the_event_runs_after_the_task(stream):
    async def main(reader, peer):
        order = []

        async def read():
            await reader.read(1)
            order.append("task")

        task = await waiting(read())
        future = reader._waiter
        reader.feed_data(b"a")
        future.add_done_callback(lambda _: order.append("callback"))
        await task
        await asyncio.sleep(0)
        assert order == ["task", "callback"]

    stream(main)


# --- the turn -------------------------------------------------------------------------------------


def test_a_task_is_woken_in_its_place_among_other_callbacks(stream):
    async def main(reader, peer):
        order = []

        async def read():
            await reader.read(1)
            order.append("task")

        task = await waiting(read())
        loop = asyncio.get_running_loop()
        loop.call_soon(order.append, "before")
        reader.feed_data(b"a")
        loop.call_soon(order.append, "after")
        assert order == []
        await task
        assert order == ["before", "task", "after"]

    stream(main)


def test_each_step_of_a_task_runs_in_the_tasks_context(stream):
    async def main(reader, peer):
        async def read():
            variable.set(1)
            await reader.read(1)
            found = variable.get()
            variable.set(2)
            await reader.read(1)
            return found, variable.get()

        task = await waiting(read())
        variable.set(10)
        reader.feed_data(b"a")
        await asyncio.sleep(0)
        reader.feed_data(b"b")
        assert await task == (1, 2)
        assert variable.get() == 10

    stream(main)


@pytest.mark.parametrize("before", [True, False], ids=["before the event", "after the event"])
def test_a_cancelled_task_gets_the_message_and_loses_no_data(stream, before):
    async def main(reader, peer):
        task = await waiting(passed_on(reader.read(1)))
        if not before:
            reader.feed_data(b"a")
        assert task.cancel("why")
        assert task.cancelling() == 1
        if before:
            reader.feed_data(b"a")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert await reader.read(10) == b"a"

    stream(main)


def test_a_socket_operation_cancelled_before_the_event_loses_no_data(pair):
    async def main(ours, peer):
        loop = asyncio.get_running_loop()
        task = await waiting(passed_on(loop.sock_recv(ours, 10)))
        task.cancel("why")
        peer.send(b"a")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        assert await loop.sock_recv(ours, 10) == b"a"

    pair(main)


def test_a_socket_operation_cancelled_after_the_event_loses_no_data(pair, loop_name):
    async def main(ours, peer):
        loop = asyncio.get_running_loop()
        task = await waiting(passed_on(loop.sock_recv(ours, 10)))
        future = task._fut_waiter

        def cancel_when_woken():
            if future.done():
                task.cancel("why")
            else:
                loop.call_soon(cancel_when_woken)

        cancel_when_woken()
        peer.send(b"a")
        with pytest.raises(asyncio.CancelledError, match="why"):
            await task
        if loop_name == "yula":  # asyncio has received for the task, and drops it
            assert await loop.sock_recv(ours, 10) == b"a"

    pair(main)


def test_a_task_may_survive_its_cancellation(stream):
    async def main(reader, peer):
        async def read():
            try:
                return await reader.read(1)
            except asyncio.CancelledError:
                asyncio.current_task().uncancel()
                return b"again " + await reader.read(1)

        task = await waiting(read())
        task.cancel()
        await asyncio.sleep(0)
        peer.send(b"a")
        assert await task == b"again a"

    stream(main)


# --- who awaits -----------------------------------------------------------------------------------


class MyTask(asyncio.Task):
    pass


@pytest.mark.parametrize("kind", [asyncio.tasks._PyTask, MyTask], ids=["Python's", "a subclass"])
def test_other_kinds_of_tasks_are_woken_and_cancelled(stream, kind):
    async def main(reader, peer):
        loop = asyncio.get_running_loop()

        def make(coroutine):
            return kind(coroutine, loop=loop)

        task = await waiting(passed_on(reader.read(1)), make)
        peer.send(b"a")
        assert await task == b"a"
        task = await waiting(passed_on(reader.read(1)), make)
        reader.feed_data(b"b")
        assert await task == b"b"
        task = await waiting(passed_on(reader.read(1)), make)
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError):
            await task
        peer.send(b"c")
        assert await reader.read(1) == b"c"

    stream(main)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_an_eager_task_waits_and_is_woken(stream):
    async def main(reader, peer):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        task = asyncio.create_task(passed_on(reader.read(1)))
        assert task._fut_waiter is reader._waiter
        peer.send(b"a")
        assert await task == b"a"

    stream(main)


def test_socket_operations_in_gather_shield_and_wait_for(pair):
    async def main(ours, peer):
        loop = asyncio.get_running_loop()
        peer.send(b"abc")
        both = await asyncio.gather(loop.sock_recv(ours, 2), loop.sock_recv(ours, 2))
        assert both == [b"ab", b"c"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_recv(ours, 1), 0.001)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(shielded := asyncio.shield(loop.sock_recv(ours, 1)), 0.001)
        assert shielded.cancelled()
        await asyncio.sleep(0)
        receiving = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        peer.send(b"d")
        assert await receiving[0] == b"d"

    pair(main)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs are new in 3.14")
def test_a_future_knows_who_awaits_it_and_forgets(stream):
    async def main(reader, peer):
        task = await waiting(passed_on(reader.read(1)))
        future = reader._waiter
        assert [entry.future for entry in asyncio.capture_call_graph(future).awaited_by] == [task]
        reader.feed_data(b"a")
        await task
        assert asyncio.capture_call_graph(future).awaited_by == ()
        # And one that nobody looked at keeps no task alive.
        reference = weakref.ref(task)
        task = await waiting(passed_on(reader.read(1)))
        assert reference() is None
        reference = weakref.ref(task)
        reader.feed_data(b"a")
        await task
        del task
        await asyncio.sleep(0)  # the handle that woke us had it
        assert reference() is None

    stream(main)


# --- who watches ------------------------------------------------------------------------------------


def test_a_callback_that_fails_is_reported_with_a_handle(stream, asyncio_errors):
    async def main(reader, peer):
        reports = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, report: reports.append(report))

        def fail(future):
            raise LookupError("from the callback")

        operation = reader.read(1)
        future = operation.send(None)
        future.add_done_callback(fail, context=contextvars.copy_context())
        reader.feed_data(b"a")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        operation.close()
        assert [str(report["exception"]) for report in reports] == ["from the callback"]
        assert "Exception in callback" in reports[0]["message"]
        assert isinstance(reports[0]["handle"], asyncio.Handle)

    stream(main)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_exit_from_a_woken_task_leaves_the_loop(loop, kind):
    ours, peer = socket.socketpair()
    ours.setblocking(False)

    async def read():
        await loop.sock_recv(ours, 1)
        raise kind("from the task")

    with ours, peer:
        task = loop.run_until_complete(waiting(read()))
        peer.send(b"a")
        with pytest.raises(kind, match="from the task"):
            loop.run_until_complete(task)
        assert isinstance(task.exception(), kind)


def test_a_replaced_run_of_handles_sees_each_wake_up(stream, monkeypatch):
    seen = []
    original = asyncio.Handle._run

    def run(handle):
        seen.append(handle._callback)
        return original(handle)

    async def main(reader, peer):
        task = await waiting(passed_on(reader.read(1)))
        monkeypatch.setattr(asyncio.Handle, "_run", run)
        reader.feed_data(b"a")
        await task
        monkeypatch.undo()

    stream(main)
    assert any("wakeup" in repr(callback) for callback in seen)


def test_an_overridden_call_soon_sees_each_wake_up(stream):
    seen = []

    async def main(reader, peer):
        loop = asyncio.get_running_loop()
        original = loop.call_soon

        def call_soon(callback, *args, context=None):
            seen.append(callback)
            return original(callback, *args, context=context)

        waits_since_before = await waiting(passed_on(reader.read(1)))
        loop.call_soon = call_soon
        reader.feed_data(b"a")
        await waits_since_before
        count = len([callback for callback in seen if "wakeup" in repr(callback)])
        task = await waiting(passed_on(reader.read(1)))
        reader.feed_data(b"a")
        await task
        del loop.call_soon
        assert count > 0
        assert len([callback for callback in seen if "wakeup" in repr(callback)]) > count

    stream(main)


def test_a_slow_step_after_a_wake_up_is_reported_in_debug_mode(stream, caplog):
    async def main(reader, peer):
        loop = asyncio.get_running_loop()

        async def read():
            await reader.read(1)
            loop.slow_callback_duration = 1e-9  # everything is slow

        task = await waiting(read())
        reader.feed_data(b"a")
        await task
        loop.slow_callback_duration = 10

    stream(main, debug=True)
    assert any("Executing" in record.getMessage() for record in caplog.records)
    caplog.clear()


def test_a_loop_closed_between_the_event_and_the_step_keeps_nothing(loop):
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    task = loop.run_until_complete(waiting(passed_on(loop.sock_recv(ours, 1))))
    future = task._fut_waiter
    with ours, peer:
        peer.send(b"a")
        while not future.done():
            loop.call_soon(loop.stop)
            loop.run_forever()
        assert not task.done()
    task._log_destroy_pending = False
    reference = weakref.ref(task)
    del task, future
    loop.close()
    gc.collect()
    assert reference() is None
