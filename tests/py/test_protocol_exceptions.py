"""Exceptions raised by protocol callbacks: which are fatal, which are only reported."""

import asyncio
import contextlib
import socket
import struct

import pytest
from peers import KINDS, BufferedRecorder, Recorder, catch_reports, fill, turns, until, wired

EXITS = pytest.mark.parametrize("leaving", [SystemExit, KeyboardInterrupt])


def raising(base, method, exc):
    """A protocol class whose `method` records the call and then raises."""
    original = getattr(base, method)

    def wrapper(self, *args):
        original(self, *args)
        self.calls.append(f"raised in {method}")
        raise exc

    return type("Raising", (base,), {method: wrapper})


@KINDS
def test_data_received_raising_is_fatal_and_ends_the_connection_with_it(loop, kind):
    reports = catch_reports(loop)
    error = ValueError("bad bytes")

    async def main():
        protocol = raising(Recorder, "data_received", error)()
        async with wired(protocol, kind) as (transport, peer):
            peer.send(b"one")
            assert await protocol.lost is error
            with contextlib.suppress(BrokenPipeError):  # a Unix socket tells at once
                peer.send(b"two")
            await turns(3)
            assert transport.is_closing()
            assert protocol.data == b"one"
            assert protocol.calls == ["made", "data", "raised in data_received", "lost"]
            assert reports[0]["message"] == "Fatal error: protocol.data_received() call failed."
            assert reports[0]["exception"] is error
            assert reports[0]["transport"] is transport
            assert reports[0]["protocol"] is protocol
            assert len(reports) == 1

    loop.run_until_complete(main())


@KINDS
def test_eof_received_raising_is_fatal(loop, kind):
    reports = catch_reports(loop)
    error = ValueError("at the end")

    async def main():
        protocol = raising(Recorder, "eof_received", error)()
        async with wired(protocol, kind) as (_, peer):
            peer.shutdown(socket.SHUT_WR)
            assert await protocol.lost is error
        assert [r["message"] for r in reports] == [
            "Fatal error: protocol.eof_received() call failed."
        ]

    loop.run_until_complete(main())


def test_get_buffer_raising_is_fatal(loop):
    reports = catch_reports(loop)
    error = ValueError("no buffer")

    async def main():
        protocol = raising(BufferedRecorder, "get_buffer", error)()
        async with wired(protocol) as (_, peer):
            peer.send(b"x")
            assert await protocol.lost is error
        assert "protocol.get_buffer() call failed" in reports[0]["message"]
        assert len(reports) == 1

    loop.run_until_complete(main())


def test_buffer_updated_raising_is_fatal(loop):
    reports = catch_reports(loop)
    error = ValueError("no use")

    async def main():
        protocol = raising(BufferedRecorder, "buffer_updated", error)()
        async with wired(protocol) as (_, peer):
            peer.send(b"x")
            assert await protocol.lost is error
            assert protocol.data == b"x"
        assert reports[0]["message"] == "Fatal error: protocol.buffer_updated() call failed."

    loop.run_until_complete(main())


def test_connection_made_raising_is_reported_and_the_transport_stays_open(loop):
    reports = catch_reports(loop)
    error = ValueError("not now")

    async def main():
        protocol = raising(Recorder, "connection_made", error)()
        async with wired(protocol) as (transport, peer):
            peer.send(b"still here")
            await until(lambda: protocol.data == b"still here")
            assert not transport.is_closing()
        assert [r["exception"] for r in reports] == [error]

    loop.run_until_complete(main())


def test_connection_lost_raising_is_reported_and_the_socket_is_closed(loop):
    reports = catch_reports(loop)
    error = ValueError("at last")

    async def main():
        protocol = raising(Recorder, "connection_lost", error)()
        async with wired(protocol) as (transport, peer):
            transport.close()
            await protocol.lost
            await until(lambda: peer.recv(1) == b"")
        assert [r["exception"] for r in reports] == [error]
        assert protocol.calls.count("lost") == 1

    loop.run_until_complete(main())


def test_pause_and_resume_writing_raising_are_only_reported(loop):
    reports = catch_reports(loop)
    error = ValueError("do not pause me")

    async def main():
        cls = raising(raising(Recorder, "pause_writing", error), "resume_writing", error)
        protocol = cls()
        async with wired(protocol, buffer=1 << 17) as (transport, peer):
            transport.write(bytes(1 << 21))
            assert "pause" in protocol.calls
            got = 0
            while "resume" not in protocol.calls or got < 1 << 21:
                try:
                    got += len(peer.recv(65536))
                except BlockingIOError:
                    await turns()
            assert not transport.is_closing()
            transport.write(b"goes on")
            await until(lambda: transport.get_write_buffer_size() == 0)
        assert [r["message"] for r in reports] == [
            "protocol.pause_writing() failed",
            "protocol.resume_writing() failed",
        ]
        assert all(r["exception"] is error for r in reports)

    loop.run_until_complete(main())


@EXITS
@pytest.mark.parametrize("method", ["connection_made", "data_received", "eof_received"])
def test_an_exit_from_a_protocol_callback_leaves_the_loop(loop, method, leaving):
    async def main():
        protocol = raising(Recorder, method, leaving("from the protocol"))()
        async with wired(protocol) as (_, peer):
            peer.send(b"x")
            peer.shutdown(socket.SHUT_WR)
            await protocol.lost

    leave_the_loop(loop, main(), leaving)


@EXITS
@pytest.mark.parametrize("method", ["get_buffer", "buffer_updated"])
def test_an_exit_from_a_buffered_protocol_leaves_the_loop(loop, method, leaving):
    async def main():
        protocol = raising(BufferedRecorder, method, leaving("from the protocol"))()
        async with wired(protocol) as (_, peer):
            peer.send(b"x")
            await protocol.lost

    leave_the_loop(loop, main(), leaving)


@EXITS
def test_an_exit_from_connection_lost_leaves_the_loop(loop, leaving):
    async def main():
        protocol = raising(Recorder, "connection_lost", leaving("from the protocol"))()
        async with wired(protocol) as (transport, _):
            transport.close()
            await turns(10)

    leave_the_loop(loop, main(), leaving)


@EXITS
def test_an_exit_from_pause_writing_leaves_the_loop(loop, leaving):
    # asyncio raises it from write(), and so through the task; yula ends the turn with it.
    async def main():
        protocol = raising(Recorder, "pause_writing", leaving("from the protocol"))()
        async with wired(protocol, buffer=1 << 17) as (transport, _):
            transport.write(bytes(1 << 21))
            await turns(10)

    leave_the_loop(loop, main(), leaving)


def leave_the_loop(loop, main, leaving):
    """Run until the exit leaves the loop, then once more to end what it interrupted."""
    task = loop.create_task(main)
    with pytest.raises(leaving, match="from the protocol"):
        loop.run_forever()
    assert not loop.is_running()
    # What raised is still there to be read, and may raise until the task has closed it.
    while not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, leaving):
            loop.run_until_complete(task)
    if not task.cancelled():
        assert isinstance(task.exception(), leaving)


def reset(peer):
    """Close so that the other end gets ECONNRESET."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def test_a_reset_is_the_reason_of_connection_lost_and_not_reported(loop):
    reports = catch_reports(loop)

    async def main():
        protocol = Recorder()
        async with wired(protocol) as (_, peer):
            reset(peer)
            assert isinstance(await protocol.lost, ConnectionResetError)
            assert protocol.calls == ["made", "lost"]

    loop.run_until_complete(main())
    assert reports == []


def test_a_reset_with_a_full_write_buffer_is_still_one_loss(loop):
    async def main():
        protocol = Recorder()
        async with wired(protocol, buffer=1 << 17) as (transport, peer):
            transport.write(bytes(1 << 21))
            reset(peer)
            assert isinstance(await protocol.lost, (ConnectionResetError, BrokenPipeError))
            await turns(3)
            assert protocol.calls.count("lost") == 1
            assert transport.get_write_buffer_size() == 0

    loop.run_until_complete(main())


@KINDS
def test_writing_to_a_peer_that_closed_ends_with_its_error_not_an_exception(loop, kind):
    async def main():
        protocol = Recorder()
        async with wired(protocol, kind) as (transport, peer):
            transport.pause_reading()
            peer.close()
            while not protocol.lost.done():
                transport.write(b"x" * 1000)
                await turns()
            assert isinstance(protocol.reason, (BrokenPipeError, ConnectionResetError))

    loop.run_until_complete(main())


def test_the_reason_of_a_fatal_error_is_not_overwritten_by_abort_or_close(loop):
    catch_reports(loop)
    error = ValueError("first")

    async def main():
        class Both(Recorder):
            def data_received(self, data):
                raise error

            def connection_lost(self, exc):
                super().connection_lost(exc)

        protocol = Both()
        async with wired(protocol) as (transport, peer):
            peer.send(b"x")
            await until(transport.is_closing)
            transport.close()
            transport.abort()
            assert await protocol.lost is error

    loop.run_until_complete(main())


def test_abort_gives_no_reason(loop):
    async def main():
        protocol = Recorder()
        async with wired(protocol, buffer=1 << 17) as (transport, peer):
            fill(peer)
            transport.write(bytes(1 << 21))
            transport.abort()
            assert protocol.calls[-1] != "lost"
            assert await protocol.lost is None

    loop.run_until_complete(main())
