"""Cycles through callbacks, handles, transports and the loop itself are collected."""

import asyncio
import gc
import socket
import warnings
import weakref

import pytest
from peers import Recorder, pair, turns, until


class Token:
    """Something to look for after a collection."""


@pytest.fixture(autouse=True)
def _no_warnings_of_unclosed_loops():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


def collected(reference):
    for _ in range(3):
        gc.collect()
    return reference() is None


@pytest.mark.parametrize("how", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_a_loop_and_a_queued_callback_that_knows_it_are_collected_together(loop_class, how):
    def make():
        loop, token = loop_class(), Token()
        token.loop = loop
        when = {"call_later": (60,), "call_at": (1e9,)}.get(how, ())
        token.handle = getattr(loop, how)(*when, print, token)
        return weakref.ref(token)

    assert collected(make())


def test_a_loop_that_is_its_own_attribute_is_collected(loop_class):
    def make():
        loop = loop_class()
        loop.myself = loop
        return weakref.ref(loop)

    assert collected(make())


@pytest.mark.parametrize("how", ["add_reader", "add_writer"])
def test_a_loop_and_a_reader_that_knows_it_are_collected_together(loop_class, how):
    a, b = pair()

    def make():
        loop, token = loop_class(), Token()
        token.loop = loop
        getattr(loop, how)(a, print, token)
        return weakref.ref(token)

    with a, b:
        assert collected(make())


def test_a_loop_and_a_signal_handler_that_knows_it_are_collected_together(loop_class):
    import signal

    def make():
        loop, token = loop_class(), Token()
        token.loop = loop
        loop.add_signal_handler(signal.SIGUSR1, print, token)
        return weakref.ref(token)

    try:
        assert collected(make())
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_a_loop_and_an_exception_handler_that_knows_it_are_collected_together(loop_class):
    def make():
        loop, token = loop_class(), Token()
        token.loop = loop
        loop.set_exception_handler(lambda *_: token)
        loop.set_task_factory(lambda *_, **__: token)
        return weakref.ref(token)

    assert collected(make())


def test_a_closed_transport_and_its_protocol_are_collected_at_once(loop):
    async def main():
        ours, peer = pair()
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        del ours
        transport.close()
        await protocol.lost
        await turns(2)
        reference = weakref.ref(transport)
        with peer:
            del transport
            protocol.transport = None
            del protocol
            assert collected(reference)

    loop.run_until_complete(main())


def test_a_closed_transport_in_a_cycle_with_its_protocol_is_collected(loop):
    async def main():
        ours, peer = pair()
        transport, protocol = await loop.create_connection(Recorder, sock=ours)
        del ours
        transport.cycle = protocol
        transport.close()
        await protocol.lost
        await turns(2)
        reference = weakref.ref(transport)
        with peer:
            del transport, protocol
            assert collected(reference)

    loop.run_until_complete(main())


def test_a_closed_loop_with_open_transports_is_collected_with_them(loop_class):
    ours, peer = pair()

    def make():
        loop = loop_class()

        async def main():
            _transport, protocol = await loop.create_connection(Recorder, sock=ours)
            protocol.loop = loop
            return weakref.ref(protocol)

        reference = loop.run_until_complete(main())
        loop.close()
        return reference

    reference = make()
    with ours, peer:
        assert collected(reference)


def test_a_loop_dropped_open_with_an_open_transport_is_collected_with_it(loop_class):
    ours, peer = pair()

    def make():
        loop = loop_class()

        async def main():
            _transport, protocol = await loop.create_connection(Recorder, sock=ours)
            protocol.loop = loop
            return weakref.ref(protocol)

        return loop.run_until_complete(main())

    reference = make()
    with ours, peer:
        assert collected(reference)


def test_a_closed_server_and_its_factory_are_collected(loop):
    async def main():
        token = Token()
        server = await loop.create_server(lambda kept=token: kept, "127.0.0.1", 0)
        token.server = server
        server.close()
        await server.wait_closed()
        await turns(2)
        reference = weakref.ref(token)
        del token, server
        assert collected(reference)

    loop.run_until_complete(main())


def test_a_loop_dropped_with_a_server_open_is_collected_with_it(loop_class):
    def make():
        loop, token = loop_class(), Token()
        token.loop = loop
        server = loop.run_until_complete(loop.create_server(lambda: token, "127.0.0.1", 0))
        token.server = server
        return weakref.ref(token)

    assert collected(make())


def test_accepted_connections_that_ended_leave_nothing(loop):
    async def main():
        references = []

        class Once(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                references.append(weakref.ref(transport))

        server = await loop.create_server(Once, "127.0.0.1", 0)
        for _ in range(20):
            socket.create_connection(server.sockets[0].getsockname()).close()
        await until(lambda: len(references) == 20)
        await turns(5)
        server.close()
        await server.wait_closed()
        for _ in range(3):
            gc.collect()
        assert [r for r in references if r() is not None] == []

    loop.run_until_complete(main())


def test_a_task_waiting_for_nothing_is_collected_and_told_of(loop):
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context["message"]))

    async def stuck():
        await loop.create_future()

    async def main():
        reference = weakref.ref(loop.create_task(stuck()))
        await turns(2)
        assert collected(reference)

    loop.run_until_complete(main())
    assert reports == ["Task was destroyed but it is pending!"]


def test_a_cancelled_sock_recv_leaves_nothing(loop):
    a, b = pair()

    async def main():
        task = loop.create_task(loop.sock_recv(a, 10))
        await turns(2)
        task.cancel()
        await asyncio.wait([task])
        reference = weakref.ref(task)
        del task
        await turns(2)
        assert collected(reference)

    with a, b:
        loop.run_until_complete(main())


def test_an_exception_in_a_callback_is_not_kept(loop):
    loop.set_exception_handler(lambda *_: None)

    class Error(Exception):
        pass

    references = []

    def fail():
        error = Error()
        references.append(weakref.ref(error))
        raise error

    loop.call_soon(fail)
    loop.call_later(0, fail)
    loop.stop()
    loop.run_forever()
    for _ in range(3):
        gc.collect()
    assert [r for r in references if r() is not None] == []


def test_collections_in_the_middle_of_everything_do_no_harm(loop):
    thresholds = gc.get_threshold()

    async def main():
        async def echo(reader, writer):
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)

        async def talk(n):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for i in range(10):
                writer.write(b"%d %d\n" % (n, i))
                assert await reader.readline() == b"%d %d\n" % (n, i)
            writer.close()
            await writer.wait_closed()

        gc.set_threshold(1)
        try:
            await asyncio.gather(*(talk(n) for n in range(10)))
        finally:
            gc.set_threshold(*thresholds)
        server.close()
        await server.wait_closed()
        await turns(5)

    loop.run_until_complete(main())
