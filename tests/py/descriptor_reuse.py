"""Stress: connections are cancelled and closed while their descriptors' numbers are reused.

    python tests/py/descriptor_reuse.py [--cycles 100000] [--seed 1]

Every request carries a nonce and its reply must bring the same one back. One cycle is one of

  transport   create_connection to an echo server, cancelled or aborted at a random moment, or
              answered;
  sock        sock_connect, sock_sendall, sock_recv, cancelled and closed at a random moment, with
              the number taken by a new connection at once;
  reader      a socket that is watched with add_reader is closed without remove_reader while a
              duplicate of it lives on, as a child process that inherited it would keep it: the
              kernel goes on reporting the late answer under a number that has a new owner.

A reply with the wrong nonce is `wrong`; a callback called although nobody wrote to its connection
is a `stray` event. Both must be 0. The last line is a JSON object of the counts; the exit status
is 1 if anything went astray.
"""

import argparse
import asyncio
import collections
import json
import random
import socket
import sys

import yula

WORKERS = 16
DUPLICATES_KEPT = 8


class Echo(asyncio.Protocol):
    """Sends every nonce back, some turns later."""

    def __init__(self, stress):
        self.stress = stress

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.later(data, self.stress.rng.randrange(4))

    def later(self, data, turns):
        if turns:
            self.stress.loop.call_soon(self.later, data, turns - 1)
        else:
            self.transport.write(data)


class Client(asyncio.Protocol):
    def __init__(self, stress, nonce):
        self.stress = stress
        self.nonce = nonce
        self.got = b""
        self.done = stress.loop.create_future()

    def data_received(self, data):
        self.got += data
        self.stress.check(self.got, self.nonce)
        if len(self.got) >= len(self.nonce) and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc):
        if not self.done.done():
            self.done.set_result(None)


class Stress:
    def __init__(self, seed):
        self.loop = asyncio.get_running_loop()
        self.rng = random.Random(seed)
        self.counts = collections.Counter(
            cycles=0, answered=0, cut=0, reused=0, wrong=0, stray=0, stale=0
        )
        self.duplicates = collections.deque()

    def nonce(self):
        return b"%016x" % self.rng.getrandbits(64)

    def check(self, got, nonce):
        if not nonce.startswith(got):
            self.counts["wrong"] += 1

    async def turns(self, most):
        for _ in range(self.rng.randrange(most)):
            await asyncio.sleep(0)

    # --- one cycle ------------------------------------------------------------------------------

    async def transport(self):
        client = Client(self, self.nonce())
        connecting = self.loop.create_task(
            self.loop.create_connection(lambda: client, *self.address)
        )
        if self.rng.random() < 0.3:
            await self.turns(5)
            connecting.cancel()
        try:
            transport, _ = await connecting
        except asyncio.CancelledError:
            self.counts["cut"] += 1
            return
        transport.write(client.nonce)
        if self.rng.random() < 0.5:
            await self.turns(6)
            self.counts["cut"] += 1
        else:
            await client.done
            self.answered(client.got, client.nonce)
        transport.abort()

    async def sock(self):
        doomed = self.open()
        number = doomed.fileno()
        task = self.loop.create_task(self.ask(doomed))
        await self.turns(8)
        task.cancel()
        doomed.close()  # before the loop hears of the cancellation
        with self.open() as fresh:
            self.counts["reused"] += fresh.fileno() == number
            await self.ask(fresh)
        try:
            await task
        except (asyncio.CancelledError, OSError):
            self.counts["cut"] += 1

    def open(self):
        sock = socket.socket()
        sock.setblocking(False)
        return sock

    async def ask(self, sock):
        nonce, got = self.nonce(), b""
        await self.loop.sock_connect(sock, self.address)
        await self.loop.sock_sendall(sock, nonce)
        while len(got) < len(nonce):
            data = await self.loop.sock_recv(sock, 100)
            if not data:
                break
            got += data
            self.check(got, nonce)
        self.answered(got, nonce)

    async def reader(self):
        doomed, late = socket.socketpair()
        number = doomed.fileno()
        self.loop.add_reader(number, self.never)
        await self.turns(2)
        self.duplicates.append(doomed.dup())
        doomed.close()
        fresh, peer = socket.socketpair()
        if fresh.fileno() != number:
            self.loop.remove_reader(number)
        with fresh, peer, late:
            self.counts["reused"] += fresh.fileno() == number
            fresh.setblocking(False)
            nonce = self.nonce()
            answer = self.loop.create_future()
            self.loop.add_reader(fresh, self.on_reply, fresh, nonce, answer)
            late.send(self.nonce())
            await self.turns(4)
            peer.send(nonce)
            await answer
            self.loop.remove_reader(fresh)
        while len(self.duplicates) > DUPLICATES_KEPT:
            self.duplicates.popleft().close()

    def never(self):
        self.counts["stray"] += 1

    def on_reply(self, sock, nonce, answer):
        try:
            got = sock.recv(100)
        except BlockingIOError:
            self.counts["stray"] += 1  # an event, and nobody wrote to this connection
            return
        self.answered(got, nonce)
        if not answer.done():
            answer.set_result(None)

    def answered(self, got, nonce):
        self.counts["answered"] += got == nonce
        self.counts["wrong"] += got != nonce

    # --- all cycles -----------------------------------------------------------------------------

    async def worker(self, cycles):
        kinds = (self.transport, self.sock, self.reader, self.reader)
        for _ in range(cycles):
            await self.rng.choice(kinds)()
            self.counts["cycles"] += 1

    async def run(self, cycles):
        server = await self.loop.create_server(lambda: Echo(self), "127.0.0.1", 0, backlog=512)
        self.address = server.sockets[0].getsockname()
        share, rest = divmod(cycles, WORKERS)
        async with asyncio.TaskGroup() as group:
            for index in range(WORKERS):
                group.create_task(self.worker(share + (index < rest)))
        server.close()
        while self.duplicates:
            self.duplicates.popleft().close()
        self.counts["stale"] = self.loop.stats()["stale"]
        return dict(self.counts)


async def main(cycles, seed):
    return await Stress(seed).run(cycles)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    counts = yula.run(main(options.cycles, options.seed))
    print(json.dumps(counts))
    sys.exit(1 if counts["wrong"] or counts["stray"] else 0)
