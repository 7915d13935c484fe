"""Large transfers, byte for byte, with random segments and random pauses on both sides."""

import asyncio
import random
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peers import KINDS, BufferedRecorder, Recorder, pair, turns


class Restless:
    """Pauses and resumes its transport at random while it collects."""

    rng = random.Random(0)

    def restless(self):
        if self.rng.random() < 0.3 and not self.transport.is_closing():
            self.transport.pause_reading()
            delay = self.rng.randrange(4)
            self.transport._loop.call_soon(self.wait, delay)

    def wait(self, turns_left):
        if self.transport.is_closing():
            return
        if turns_left:
            self.transport._loop.call_soon(self.wait, turns_left - 1)
        else:
            self.transport.resume_reading()


class RestlessPlain(Restless, Recorder):
    def data_received(self, data):
        super().data_received(data)
        self.restless()


class RestlessBuffered(Restless, BufferedRecorder):
    def get_buffer(self, sizehint):
        self.buffer = bytearray(self.rng.choice([1000, 10_000, 300_000]))
        return self.buffer

    def buffer_updated(self, nbytes):
        super().buffer_updated(nbytes)
        self.restless()


async def send_in_pieces(transport, payload, rng):
    start = 0
    while start < len(payload):
        size = rng.choice([1, 10, 1000, 20_000, 70_000, 300_000])
        piece = payload[start : start + size]
        how = rng.randrange(4)
        if how == 0:
            transport.write(piece)
        elif how == 1:
            transport.write(memoryview(piece))
        elif how == 2:
            transport.write(bytearray(piece))
        else:
            cut = rng.randint(0, len(piece))
            transport.writelines([piece[:cut], bytearray(piece[cut:])])
        start += size
        if rng.random() < 0.3:
            await turns(rng.randrange(1, 4))
    if transport.can_write_eof():
        transport.write_eof()


@KINDS
@pytest.mark.parametrize("protocol_class", [RestlessPlain, RestlessBuffered])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_directions_at_once_arrive_byte_for_byte(loop, kind, protocol_class, seed):
    rng = random.Random(seed)
    there, back = rng.randbytes(5_000_000), rng.randbytes(3_000_000)

    class Keeps(protocol_class):
        def eof_received(self):
            super().eof_received()
            return True

    Keeps.rng = rng

    async def main():
        a, b = pair(kind, buffer=rng.choice([None, 1 << 17]))
        create = loop.create_unix_connection if kind == "unix" else loop.create_connection
        one, left = await create(Keeps, sock=a)
        two, right = await create(Keeps, sock=b)
        await asyncio.gather(
            send_in_pieces(one, there, rng),
            send_in_pieces(two, back, rng),
        )
        while "eof" not in left.calls or "eof" not in right.calls:
            await asyncio.sleep(0)
        assert right.data == there
        assert left.data == back
        one.close()
        two.close()
        await asyncio.gather(left.lost, right.lost)
        await turns(5)

    loop.run_until_complete(main())


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(0, 200_000), max_size=12),
    buffer=st.sampled_from([None, 1 << 17]),
    unix=st.booleans(),
    end=st.sampled_from(["close", "write_eof"]),
)
def test_whatever_is_written_before_the_end_arrives_before_it(loop_class, sizes, buffer, unix, end):
    loop = loop_class()
    payload = [bytes([index]) * size for index, size in enumerate(sizes)]

    async def main():
        kind = "unix" if unix else "tcp"
        a, b = pair(kind, buffer=buffer)
        create = loop.create_unix_connection if unix else loop.create_connection
        one, left = await create(Recorder, sock=a)
        _two, right = await create(Recorder, sock=b)
        for piece in payload:
            one.write(piece)
        getattr(one, end)()
        await right.lost
        assert right.data == b"".join(payload)
        one.close()
        await left.lost
        await turns(2)

    loop.run_until_complete(main())
    loop.close()


def test_a_hundred_megabytes_through_streams(loop):
    block = random.Random(9).randbytes(1 << 20)

    async def main():
        async def serve(reader, writer):
            for _ in range(100):
                writer.write(block)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(100):
            assert await reader.readexactly(len(block)) == block
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        await turns(5)

    loop.run_until_complete(main())


def test_a_peer_that_sends_in_single_bytes_and_ends_is_heard_whole(loop):
    async def main():
        a, b = pair()
        b.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        protocol = (await loop.create_connection(Recorder, sock=a))[1]
        with b:
            for byte in range(256):
                b.send(bytes([byte]))
                if byte % 7 == 0:
                    await turns(1)
            b.shutdown(socket.SHUT_WR)
            await protocol.lost
        assert protocol.data == bytes(range(256))

    loop.run_until_complete(main())
