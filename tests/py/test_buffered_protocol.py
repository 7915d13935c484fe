"""Protocols that own their buffer."""

import asyncio
import socket

import pytest
from peers import KINDS, BufferedRecorder, Recorder, catch_reports, turns, until, wired

PATTERN = bytes(range(256)) * 4096


async def send_all(peer, data):
    view = memoryview(data)
    while view:
        try:
            view = view[peer.send(view[: 1 << 16]) :]
        except BlockingIOError:
            await turns()


@KINDS
@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
def test_every_byte_arrives_in_the_users_buffer_of_any_size(loop, kind, size):
    async def main():
        payload = PATTERN[: 1 << 12] if size < 100 else PATTERN
        protocol = BufferedRecorder(size)
        async with wired(protocol, kind) as (_, peer):
            await send_all(peer, payload)
            peer.shutdown(socket.SHUT_WR)
            assert await protocol.lost is None
            assert protocol.data == payload
            assert protocol.calls == ["made", "data", "eof", "lost"]

    loop.run_until_complete(main())


@KINDS
def test_the_size_hint_says_that_any_size_will_do(loop, kind):
    async def main():
        protocol = BufferedRecorder()
        async with wired(protocol, kind) as (_, peer):
            peer.send(b"x")
            await until(lambda: protocol.data == b"x")
            assert set(protocol.hints) == {-1}

    loop.run_until_complete(main())


@pytest.mark.parametrize("make", [bytearray, lambda n: memoryview(bytearray(n))])
def test_a_buffer_may_be_a_bytearray_or_a_memoryview(loop, make):
    async def main():
        class Any(BufferedRecorder):
            def get_buffer(self, sizehint):
                self.view = make(100)
                return self.view

            def buffer_updated(self, nbytes):
                self.data += bytes(self.view[:nbytes])

        protocol = Any()
        async with wired(protocol) as (_, peer):
            peer.send(b"hello")
            await until(lambda: protocol.data == b"hello")

    loop.run_until_complete(main())


def test_the_buffer_may_change_from_call_to_call(loop):
    async def main():
        class Changing(BufferedRecorder):
            def get_buffer(self, sizehint):
                self.buffer = bytearray(1 + len(self.data) % 50)
                return self.buffer

        protocol = Changing()
        async with wired(protocol) as (_, peer):
            await send_all(peer, PATTERN[:20000])
            await until(lambda: len(protocol.data) == 20000)
            assert protocol.data == PATTERN[:20000]

    loop.run_until_complete(main())


@pytest.mark.parametrize(
    "buffer, error",
    [(bytearray(), RuntimeError), (None, TypeError), ("text", TypeError)],
)
def test_a_buffer_that_cannot_be_filled_is_fatal(loop, buffer, error):
    reports = catch_reports(loop)

    async def main():
        class Wrong(BufferedRecorder):
            def get_buffer(self, sizehint):
                return buffer

        protocol = Wrong()
        async with wired(protocol) as (_, peer):
            peer.send(b"x")
            assert isinstance(await protocol.lost, error)
        assert len(reports) == 1
        assert reports[0]["transport"] is protocol.transport

    loop.run_until_complete(main())


def test_a_read_only_buffer_is_fatal_and_stays_untouched(loop):
    catch_reports(loop)
    constant = bytes(100)

    async def main():
        class Wrong(BufferedRecorder):
            def get_buffer(self, sizehint):
                return constant

        protocol = Wrong()
        async with wired(protocol) as (_, peer):
            peer.send(b"x" * 50)
            assert isinstance(await protocol.lost, (TypeError, BufferError))
        assert constant == bytes(100)

    loop.run_until_complete(main())


@KINDS
@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("method", ["get_buffer", "buffer_updated"])
def test_closing_inside_the_buffer_callbacks_is_safe(loop, kind, how, method):
    async def main():
        class Closes(BufferedRecorder):
            def get_buffer(self, sizehint):
                if method == "get_buffer":
                    getattr(self.transport, how)()
                return super().get_buffer(sizehint)

            def buffer_updated(self, nbytes):
                super().buffer_updated(nbytes)
                getattr(self.transport, how)()

        protocol = Closes()
        async with wired(protocol, kind) as (_, peer):
            peer.send(b"x")
            await protocol.lost
            await turns(3)
            assert protocol.calls[-1] == "lost"
            assert protocol.calls.count("lost") == 1

    loop.run_until_complete(main())


@KINDS
def test_pausing_inside_get_buffer_is_safe(loop, kind):
    async def main():
        class Pauses(BufferedRecorder):
            def get_buffer(self, sizehint):
                self.transport.pause_reading()
                loop.call_soon(loop.call_soon, self.transport.resume_reading)
                return super().get_buffer(sizehint)

        protocol = Pauses()
        async with wired(protocol, kind) as (_, peer):
            await send_all(peer, PATTERN[:60000])
            await until(lambda: len(protocol.data) == 60000)
            assert protocol.data == PATTERN[:60000]
            await turns(3)

    loop.run_until_complete(main())


def test_a_buffer_resized_after_it_was_given_is_either_refused_or_filled(loop):
    # While the loop holds the buffer a bytearray cannot be resized (BufferError); a loop that
    # holds it only for the read must look at it again.
    async def main():
        class Resizes(BufferedRecorder):
            def get_buffer(self, sizehint):
                loop.call_soon(self.resize)
                return super().get_buffer(sizehint)

            def resize(self):
                try:
                    del self.buffer[10:]
                    self.buffer.extend(bytes(5000))
                except BufferError:
                    self.calls.append("refused")

        protocol = Resizes(8192)
        async with wired(protocol) as (_, peer):
            for start in range(0, 60000, 3000):
                peer.send(PATTERN[start : start + 3000])
                await until(lambda start=start: len(protocol.data) == start + 3000)
            assert protocol.data == PATTERN[:60000]

    loop.run_until_complete(main())


def test_the_buffer_is_free_between_reads(loop):
    async def main():
        protocol = BufferedRecorder(100)
        async with wired(protocol) as (transport, peer):
            peer.send(b"one")
            await until(lambda: protocol.data == b"one")
            transport.pause_reading()
            protocol.buffer.extend(bytes(100))  # BufferError if the loop still held it
            transport.resume_reading()
            protocol.buffer.extend(bytes(100))
            peer.send(b"two")
            await until(lambda: protocol.data == b"onetwo")

    loop.run_until_complete(main())


@KINDS
def test_switching_between_the_two_kinds_of_protocol_in_mid_stream(loop, kind):
    async def main():
        received = bytearray()

        class Plain(asyncio.Protocol):
            def data_received(self, data):
                received.extend(data)
                transports[0].set_protocol(Buffered())

        class Buffered(asyncio.BufferedProtocol):
            def get_buffer(self, sizehint):
                self.buffer = bytearray(1000)
                return self.buffer

            def buffer_updated(self, nbytes):
                received.extend(self.buffer[:nbytes])
                transports[0].set_protocol(Plain())

        transports = []
        async with wired(Recorder(), kind) as (transport, peer):
            transports.append(transport)
            transport.set_protocol(Plain())
            for start in range(0, 400_000, 5000):
                await send_all(peer, PATTERN[start : start + 5000])
            await until(lambda: len(received) == 400_000)
            assert received == PATTERN[:400_000]
            transports.clear()

    loop.run_until_complete(main())


def test_a_protocol_is_buffered_by_its_type_not_by_its_methods(loop):
    async def main():
        class Duck(Recorder):
            """Has get_buffer, yet is no BufferedProtocol."""

            def get_buffer(self, sizehint):
                raise AssertionError("asked for a buffer")

            def buffer_updated(self, nbytes):
                raise AssertionError("told of a buffer")

        protocol = Duck()
        async with wired(protocol) as (_, peer):
            peer.send(b"x")
            await until(lambda: protocol.data == b"x")

    loop.run_until_complete(main())


@KINDS
def test_the_end_of_a_buffered_protocol_may_keep_the_connection_open(loop, kind):
    async def main():
        class Keeps(BufferedRecorder):
            def eof_received(self):
                super().eof_received()
                return True

        protocol = Keeps()
        async with wired(protocol, kind) as (transport, peer):
            peer.send(b"x")
            peer.shutdown(socket.SHUT_WR)
            await until(lambda: "eof" in protocol.calls)
            await turns(5)
            assert not transport.is_closing()
            assert protocol.calls == ["made", "data", "eof"]

    loop.run_until_complete(main())
