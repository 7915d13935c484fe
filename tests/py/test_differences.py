"""The rows of docs/compatibility.md that no other test shows, on both loops.

Each test says what either loop does: when asyncio changes, or yula, the row has to change too.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import inspect
import math
import socket
import sys
import sysconfig
import time

import pytest
from peers import KINDS, Recorder, catch_reports, pair, turns, until, wired

var = contextvars.ContextVar("var", default="nothing set")


class Executor(concurrent.futures.ThreadPoolExecutor):
    """A default executor that counts what it is given."""

    def __init__(self):
        super().__init__(max_workers=1)
        self.submitted = 0

    def submit(self, *args, **kwargs):
        self.submitted += 1
        return super().submit(*args, **kwargs)


# --- the loop -------------------------------------------------------------------------------------


def test_time_is_the_kernels_clock_not_the_function_of_the_time_module(
    loop, loop_name, monkeypatch
):
    monkeypatch.setattr(time, "monotonic", lambda: -1.0)
    assert (loop.time() == -1.0) is (loop_name == "asyncio")


def test_a_timer_whose_time_is_not_a_number_is_refused(loop, loop_name):
    if loop_name == "yula":
        with pytest.raises(ValueError, match="NaN"):
            loop.call_at(math.nan, print)
    else:
        loop.call_at(math.nan, print).cancel()


def test_the_queues_of_asyncios_loop_are_there_and_empty(loop, loop_name):
    soon, later = loop.call_soon(print), loop.call_later(3600, print)
    expected = 0 if loop_name == "yula" else 1
    assert len(loop._ready) == len(loop._scheduled) == expected
    soon.cancel()
    later.cancel()


def test_handles_are_of_classes_derived_from_asyncios(loop, loop_name):
    handle, timer = loop.call_soon(print), loop.call_later(3600, print)
    same = loop_name == "asyncio"
    assert isinstance(handle, asyncio.Handle) and (type(handle) is asyncio.Handle) is same
    assert isinstance(timer, asyncio.TimerHandle) and (type(timer) is asyncio.TimerHandle) is same
    handle.cancel()
    timer.cancel()


def test_a_posted_handle_can_be_cancelled_safely_on_every_version(loop, loop_name):
    handle = loop.call_soon_threadsafe(print)
    posted = loop.call_soon(print)
    expected = loop_name == "yula" or sys.version_info >= (3, 14)
    assert (type(handle) is not type(posted)) is expected
    handle.cancel()
    posted.cancel()


def test_transports_and_servers_do_not_go_through_an_overridden_call_soon(loop_class, loop_name):
    class Loop(loop_class):
        seen = ()

        def call_soon(self, callback, *args, **kwargs):
            self.seen += (callback,)
            return super().call_soon(callback, *args, **kwargs)

    async def main():
        protocol = Recorder()
        async with wired(protocol):
            pass
        return protocol

    loop = Loop()
    try:
        protocol = loop.run_until_complete(main())
    finally:
        loop.close()
    assert (protocol.connection_made in loop.seen) is (loop_name == "asyncio")


# --- sock_* and names -----------------------------------------------------------------------------


def test_what_sock_methods_return_is_a_coroutine_for_asyncio_only(loop, loop_name):
    async def main():
        ours, peer = pair()
        with ours, peer:
            operation = loop.sock_recv(ours, 1)
            assert asyncio.iscoroutine(operation) and inspect.isawaitable(operation)
            assert inspect.iscoroutine(operation) is (loop_name == "asyncio")
            assert inspect.iscoroutinefunction(loop.sock_recv) is (loop_name == "asyncio")
            peer.send(b"x")
            assert await operation == b"x"

    loop.run_until_complete(main())


def test_a_wrong_argument_of_a_sock_method_is_told_by_the_call_not_by_the_await(loop, loop_name):
    async def main():
        ours, peer = pair()
        with ours, peer:
            if loop_name == "yula":
                with pytest.raises(TypeError):
                    loop.sock_sendall(ours, "text")
            else:
                operation = loop.sock_sendall(ours, "text")
                with pytest.raises(TypeError):
                    await operation

    loop.run_until_complete(main())


def test_two_tasks_may_wait_for_one_socket(loop, loop_name):
    async def main():
        ours, peer = pair()
        with ours, peer:
            waiting = [asyncio.ensure_future(loop.sock_recv(ours, 1)) for _ in range(2)]
            await turns(2)
            peer.send(b"xy")
            await until(lambda: any(task.done() for task in waiting))
            await turns(5)
            served = sum(task.done() for task in waiting)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            return served

    # asyncio's second call takes the first one's reader away.
    assert loop.run_until_complete(main()) == (2 if loop_name == "yula" else 1)


def test_sock_recv_leaves_a_reader_of_the_same_socket_alone(loop, loop_name):
    async def main():
        ours, peer = pair()
        with ours, peer:
            loop.add_reader(ours, lambda: None)
            receiving = asyncio.ensure_future(loop.sock_recv(ours, 1))
            await turns(2)
            peer.send(b"x")
            assert await receiving == b"x"
            return loop.remove_reader(ours)

    assert loop.run_until_complete(main()) is (loop_name == "yula")


def test_names_are_looked_up_without_the_default_executor(loop, loop_name):
    async def main():
        await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        literal = loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        try:
            literal.send(None)
        except StopIteration:
            answered_at_once = True
        else:
            answered_at_once = False
            literal.close()
        return answered_at_once

    executor = Executor()
    loop.set_default_executor(executor)
    try:
        answered_at_once = loop.run_until_complete(main())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        executor.shutdown()
    assert executor.submitted == (0 if loop_name == "yula" else 2)
    assert answered_at_once is (loop_name == "yula")


# --- connections ----------------------------------------------------------------------------------


@KINDS
def test_a_write_leaves_at_the_end_of_its_turn(loop, loop_name, kind):
    """After the callback and those behind it; not after 16 others' writes, or half a millisecond."""

    async def main():
        async with wired(Recorder(), kind) as (transport, peer):
            peer.setblocking(False)
            found = []

            def look():
                with contextlib.suppress(BlockingIOError):
                    found.append(peer.recv(1))

            transport.write(b"x")
            look()
            at_once = bool(found)
            await asyncio.sleep(0)
            look()
            return found, at_once

    assert loop.run_until_complete(main()) == ([b"x"], loop_name == "asyncio")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_large_write_leaves_at_the_end_of_its_callback(loop, kind):
    async def main():
        async with wired(Recorder(), kind) as (transport, peer):
            peer.setblocking(False)
            found = []
            loop.call_soon(transport.write, bytes(20_000))
            loop.call_soon(lambda: found.append(peer.recv(10)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return found

    assert loop.run_until_complete(main()) == [bytes(10)]


def test_a_connection_is_accepted_and_begun_in_two_turns(loop, loop_name):
    """In the first the protocol is made, in the second connection_made is called."""

    async def main():
        made = asyncio.Event()
        turn = {}

        class Protocol(asyncio.Protocol):
            def __init__(self):
                turn["protocol"] = turn["now"]

            def connection_made(self, transport):
                turn["connection"] = turn["now"]
                transport.abort()
                made.set()

        def count():
            turn["now"] += 1
            if not made.is_set():
                loop.call_soon(count)

        server = await loop.create_server(Protocol, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()):
            turn["now"] = 0
            count()
            await made.wait()
            await turns(3)
        server.close()
        await server.wait_closed()
        return turn["protocol"], turn["connection"]

    protocol, connection = loop.run_until_complete(main())
    if loop_name == "yula":
        assert connection - protocol == 1 and protocol <= 2
    else:
        assert protocol >= 2  # the accept has a turn of its own, and a task


def test_resume_reading_leaves_the_context_of_the_connection(loop, loop_name):
    class Protocol(Recorder):
        context = None

        def data_received(self, data):
            super().data_received(data)
            self.context = var.get()

    async def main():
        protocol = Protocol()
        async with wired(protocol) as (transport, peer):
            transport.pause_reading()
            var.set("of who resumed")
            transport.resume_reading()
            peer.send(b"x")
            await until(lambda: protocol.context)
            return protocol.context

    alone = sys.version_info >= (3, 15) or loop_name == "yula"
    assert loop.run_until_complete(main()) == ("nothing set" if alone else "of who resumed")


@pytest.mark.parametrize("method", ["connection_made", "connection_lost"])
def test_the_report_of_a_failed_protocol_names_transport_and_protocol(loop, loop_name, method):
    class Protocol(asyncio.Protocol):
        pass

    def fail(self, argument):
        raise ZeroDivisionError

    setattr(Protocol, method, fail)

    async def main():
        reports = catch_reports(loop)
        ours, peer = pair()
        with peer:
            transport, protocol = await loop.create_connection(Protocol, sock=ours)
            transport.close()
            await until(lambda: reports)
            await turns(2)
        (report,) = reports
        if loop_name == "yula":
            assert report["message"] == f"protocol.{method}() failed"
            assert report["transport"] is transport and report["protocol"] is protocol
        else:
            assert report["message"].startswith("Exception in callback")
            assert "handle" in report

    loop.run_until_complete(main())


def test_a_transport_is_asyncios_by_its_interface_not_by_its_class(loop, loop_name):
    async def main():
        async with wired(Recorder()) as (transport, _):
            assert isinstance(transport, asyncio.Transport)
            private = asyncio.selector_events._SelectorSocketTransport
            assert isinstance(transport, private) is (loop_name == "asyncio")
            assert hasattr(transport, "_buffer") is (loop_name == "asyncio")

    loop.run_until_complete(main())


def test_methods_of_one_argument_take_it_by_position(loop, loop_name):
    async def main():
        async with wired(Recorder()) as (transport, _):
            if loop_name == "yula":
                with pytest.raises(TypeError):
                    transport.write(data=b"x")
            else:
                transport.write(data=b"x")

    loop.run_until_complete(main())


# --- the interpreter ------------------------------------------------------------------------------


@pytest.mark.yula_only
@pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"),
    reason="only a free-threaded Python can do without the GIL",
)
def test_a_free_threaded_python_switches_its_gil_on(run_python):
    program = "import sys; print(sys._is_gil_enabled())"
    finished = run_python(program, options=("-W", "ignore"), env={"PYTHON_GIL": ""})
    assert finished.out == "True\n", finished.err
