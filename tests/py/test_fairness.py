"""A greedy peer and a burst of accepts delay another connection by no more than a budget.

Nothing is timed: what is counted is what the loop did for the others between two services of a
connection that always has something to say. The budgets are those of the C headers.
"""

import asyncio
import contextlib
import resource
import socket
import subprocess
import sys

import pytest
from peers import KINDS, BufferedRecorder, Recorder, fill, pair, turns, until

READ_BUDGET = 256 * 1024  # YULA_STREAM_READ_MAX, bytes a turn
WRITE_BUDGET = 1024 * 1024  # YULA_STREAM_WRITE_BUDGET, bytes a turn
ACCEPT_BUDGET = 64  # YULA_LISTENER_BUDGET, connections a turn


class Chatty(asyncio.Protocol):
    """Answers itself: every byte served sends the next. Notes a meter at each service."""

    def __init__(self, peer, meter):
        self.peer = peer
        self.meter = meter
        self.last = meter()
        self.steps = []

    def data_received(self, data):
        now = self.meter()
        self.steps.append(now - self.last)
        self.last = now
        self.peer.send(b"x")


@contextlib.asynccontextmanager
async def chatty(meter):
    loop = asyncio.get_running_loop()
    ours, peer = pair("unix")
    with peer:
        transport, protocol = await loop.create_unix_connection(
            lambda: Chatty(peer, meter), sock=ours
        )
        peer.send(b"x")
        await turns(3)
        protocol.steps.clear()
        try:
            yield protocol
        finally:
            transport.abort()
            await turns(2)


@KINDS
@pytest.mark.parametrize("protocol_class", [Recorder, BufferedRecorder])
def test_a_peer_that_always_fills_its_buffer_takes_one_read_a_turn(loop, kind, protocol_class):
    read = [0]

    class Greedy(protocol_class):
        """Its peer's buffer is full again before the callback returns."""

        def data_received(self, data):
            read[0] += len(data)
            fill(self.peer)

        def buffer_updated(self, nbytes):
            read[0] += nbytes
            fill(self.peer)

    async def main():
        ours, peer = pair(kind, buffer=1 << 20)
        with peer:
            greedy = Greedy(1 << 18) if protocol_class is BufferedRecorder else Greedy()
            greedy.peer = peer
            create = loop.create_unix_connection if kind == "unix" else loop.create_connection
            transport, _ = await create(lambda: greedy, sock=ours)
            fill(peer)
            async with chatty(lambda: read[0]) as other:
                await until(lambda: read[0] > 50 << 20)
                assert max(other.steps) <= 2 * READ_BUDGET
                assert len(other.steps) >= read[0] // (2 * READ_BUDGET)
            transport.abort()
            await greedy.lost

    loop.run_until_complete(main())


@pytest.mark.yula_only(reason="asyncio reads as much at once as the user's buffer takes")
def test_a_huge_buffer_of_the_users_does_not_enlarge_the_read(loop):
    read = [0]

    class Greedy(BufferedRecorder):
        def buffer_updated(self, nbytes):
            read[0] += nbytes
            fill(self.peer)

    async def main():
        ours, peer = pair("tcp", buffer=4 << 20)
        with peer:
            greedy = Greedy(16 << 20)
            greedy.peer = peer
            transport, _ = await loop.create_connection(lambda: greedy, sock=ours)
            fill(peer)
            async with chatty(lambda: read[0]) as other:
                await until(lambda: read[0] > 50 << 20)
                assert max(other.steps) <= 2 * READ_BUDGET
            transport.abort()
            await greedy.lost

    loop.run_until_complete(main())


DRAIN = """
import socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
buffer, count = bytearray(1 << 20), 0
while size := sock.recv_into(buffer):
    count += size
print(count)
"""


@pytest.mark.yula_only(reason="asyncio sends as much at once as the peer makes room for")
@KINDS
def test_a_peer_that_drains_as_fast_as_we_send_takes_one_budget_a_turn(loop, kind):
    total = 100 << 20

    async def main():
        ours, peer = pair(kind)
        peer.setblocking(True)
        with peer:
            child = subprocess.Popen(
                [sys.executable, "-c", DRAIN, str(peer.fileno())],
                pass_fds=[peer.fileno()],
                stdout=subprocess.PIPE,
            )
        create = loop.create_unix_connection if kind == "unix" else loop.create_connection
        transport, protocol = await create(Recorder, sock=ours)
        async with chatty(lambda: -transport.get_write_buffer_size()) as other:
            transport.write(bytes(total))
            other.last = other.meter()
            await until(lambda: transport.get_write_buffer_size() == 0)
            assert max(other.steps) <= 2 * WRITE_BUDGET
        transport.close()
        await protocol.lost
        assert await loop.run_in_executor(None, child.communicate) == (b"%d\n" % total, None)

    loop.run_until_complete(main())


@pytest.mark.yula_only(reason="asyncio accepts a whole backlog in one turn")
def test_a_burst_of_ten_thousand_accepts_takes_a_budget_a_turn(loop):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    # Each connection needs two descriptors of this process.
    batch = min((min(hard, 8192) - 200) // 2, 2000)
    accepted = [0]

    class Client(asyncio.Protocol):
        def connection_made(self, transport):
            accepted[0] += 1
            transport.abort()

    async def main():
        server = await loop.create_server(Client, "127.0.0.1", 0, backlog=4096)
        address = server.sockets[0].getsockname()
        async with chatty(lambda: accepted[0]) as other:
            sent = 0
            while sent < 10_000:
                clients = []
                for _ in range(batch):
                    client = socket.socket()
                    client.setblocking(False)
                    client.connect_ex(address)
                    clients.append(client)
                sent += batch
                await until(lambda sent=sent: accepted[0] == sent)
                for client in clients:
                    client.close()
                await turns(3)
            assert max(other.steps) <= 2 * ACCEPT_BUDGET
            assert len(other.steps) >= sent // (2 * ACCEPT_BUDGET)
        server.close()
        await server.wait_closed()

    try:
        loop.run_until_complete(main())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_flood_of_callbacks_leaves_every_turn_its_poll(loop):
    callbacks = [0]
    flooding = [True]

    def again():
        callbacks[0] += 1
        if flooding[0]:
            loop.call_soon(again)

    async def main():
        for _ in range(500):
            loop.call_soon(again)
        async with chatty(lambda: callbacks[0]) as other:
            await until(lambda: len(other.steps) >= 100)
            assert max(other.steps) <= 2 * 500
        flooding[0] = False
        await turns(2)

    loop.run_until_complete(main())


def test_two_hundred_busy_connections_get_equal_shares(loop):
    counts = [0] * 200

    async def main():
        ends = []
        for index in range(200):
            ours, peer = pair("unix")

            class Busy(asyncio.Protocol):
                def __init__(self, index=index, peer=peer):
                    self.index = index
                    self.peer = peer

                def data_received(self, data):
                    counts[self.index] += 1
                    self.peer.send(b"x")

            transport, _ = await loop.create_unix_connection(Busy, sock=ours)
            ends.append((transport, peer))
        for _, peer in ends:
            peer.send(b"x")
        await until(lambda: max(counts) >= 50)
        assert min(counts) >= max(counts) - 2
        for transport, _peer in ends:
            transport.abort()
        await turns(2)
        for _, peer in ends:
            peer.close()

    loop.run_until_complete(main())


def test_timers_that_are_always_due_do_not_starve_io(loop):
    fired = [0]
    going = [True]

    def again():
        fired[0] += 1
        if going[0]:
            loop.call_later(0, again)

    async def main():
        for _ in range(100):
            loop.call_later(0, again)
        async with chatty(lambda: fired[0]) as other:
            await until(lambda: len(other.steps) >= 100)
            assert max(other.steps) <= 2 * 100
        going[0] = False
        await turns(3)

    loop.run_until_complete(main())
