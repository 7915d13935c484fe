"""Large batches beside a thread that wants the interpreter lock: reads before the lock is taken,
writes after it was given back, and every answer where it belongs."""

import asyncio
import os
import socket
from typing import ClassVar

import pytest
from computing import computing, until_contended

pytestmark = pytest.mark.yula_only(reason="about yula's way with the lock")

CPUS = len(os.sched_getaffinity(0))
several_cpus = pytest.mark.skipif(CPUS < 2, reason="on one CPU it is off: nobody could use it")


class Crowd:
    """Connections to an echo server on the loop, driven from threads of their own."""

    COUNT = 40
    ROUNDS = 60

    def __init__(self, protocol):
        self.protocol = protocol
        self.wrong = []

    def drive(self, address):
        peers = [socket.create_connection(address) for _ in range(self.COUNT)]
        for number in range(self.ROUNDS):
            for i, peer in enumerate(peers):
                peer.sendall(b"%06d" % (number * 1000 + i) * 20)
            for i, peer in enumerate(peers):
                want = b"%06d" % (number * 1000 + i) * 20
                got = b""
                while len(got) < len(want):
                    got += peer.recv(len(want) - len(got)) or b"END"
                if got != want:
                    self.wrong.append((number, i, got))
        for peer in peers:
            peer.close()

    async def serve(self):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self.protocol, "127.0.0.1", 0)
        async with server:
            await asyncio.to_thread(self.drive, server.sockets[0].getsockname())


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    """With a buffer smaller than a message."""

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = bytearray(50)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, count):
        self.transport.write(bytes(self.buffer[:count]))


class PausingEcho(Echo):
    """Pauses all the others while it is told, for one turn."""

    everybody: ClassVar = set()

    def connection_made(self, transport):
        super().connection_made(transport)
        self.everybody.add(transport)

    def connection_lost(self, exc):
        self.everybody.discard(self.transport)

    def data_received(self, data):
        super().data_received(data)
        for other in self.everybody - {self.transport}:
            if other.is_reading():
                other.pause_reading()
                asyncio.get_running_loop().call_soon(self.go_on, other)

    def go_on(self, transport):
        if not transport.is_closing() and not transport.is_reading():
            transport.resume_reading()


@several_cpus
@pytest.mark.parametrize("protocol", [Echo, BufferedEcho, PausingEcho])
def test_many_connections_beside_a_computing_thread_get_their_own_answers(run, protocol):
    crowd = Crowd(protocol)

    async def main():
        loop = asyncio.get_running_loop()
        with computing():
            await until_contended(loop)
            await crowd.serve()
        return loop.stats()

    stats = run(main())
    assert crowd.wrong == []
    if protocol is Echo:
        assert stats["reads_ahead"] > 0
        assert stats["sends_ahead"] > 0


@several_cpus
def test_streams_beside_a_computing_thread_get_their_own_answers(run):
    async def echo(reader, writer):
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    crowd = Crowd(None)

    async def main():
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            with computing():
                await until_contended(loop)
                address = server.sockets[0].getsockname()
                await asyncio.to_thread(crowd.drive, address)

    run(main())
    assert crowd.wrong == []


@several_cpus
def test_a_loop_that_stops_in_a_large_batch_sends_what_was_written(loop):
    peers = []

    class Answer(asyncio.Protocol):
        left = Crowd.COUNT

        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(b"answer")
            Answer.left -= 1
            if Answer.left == 0:
                loop.stop()

    async def begin():
        server = await loop.create_server(Answer, "127.0.0.1", 0)
        for _ in range(Crowd.COUNT):
            peers.append(socket.create_connection(server.sockets[0].getsockname()))
        await until_contended(loop)
        return server

    with computing():
        server = loop.run_until_complete(begin())
        for peer in peers:
            peer.sendall(b"ask")
        loop.run_forever()
        for peer in peers:  # while no loop runs
            peer.settimeout(20)
            assert peer.recv(100) == b"answer"
            peer.close()
    server.close()
    loop.run_until_complete(server.wait_closed())
    loop.run_until_complete(asyncio.sleep(0))
