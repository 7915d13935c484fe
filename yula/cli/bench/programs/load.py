"""Ping-pong clients that check every byte, in one thread: a load for echo servers.

    python load.py --port 4711 --pid 815 --connections 100 --size 1024

Each connection sends one message, waits for all of it, compares it, sends the next. A message
depends on its connection and on the number of the request, so an answer that belongs to another
one does not compare equal. Options and result are those of bench/c/load.c, the faster client that
the benchmarks of the source tree use.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import select
import socket
import ssl
import struct
import sys
import time
from typing import Any

HEADER = struct.Struct("=QQ")  # nonce, number of the request
PLACES = 1 << 16  # how many different places of the random block a body can be cut from
RECEIVE_LEN = 256 * 1024
NO_LIMIT = 1 << 62
LOST_NS = 500_000_000  # a datagram that did not come back after this long was dropped
SOURCES = 8  # loopback addresses to connect from, when every request has a connection of its own


class Wrong(Exception):
    """The server does not echo."""


class Client:
    """One connection and the request in flight on it, if any."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.nonce = int.from_bytes(os.urandom(8), "little")
        self.number = 0
        self.busy = False
        self.started_ns = 0
        self.message = memoryview(b"")
        self.sent = 0
        self.received = 0


class Load:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.size: int = arguments.size
        self.block = os.urandom(PLACES + self.size)
        self.epoll = select.epoll()
        self.clients: dict[int, Client] = {}
        self.may_start = 0
        self.in_flight = 0
        self.completed = 0
        self.latencies: list[int] = []
        self.tls: ssl.SSLContext | None = None
        if arguments.tls:
            self.tls = ssl.create_default_context(cafile=arguments.tls)
            self.tls.check_hostname = False

    def connect(self, source: int | None = None) -> Client:
        if self.arguments.unix:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(self.arguments.unix)
        else:
            kind = socket.SOCK_DGRAM if self.arguments.udp else socket.SOCK_STREAM
            sock = socket.socket(socket.AF_INET, kind)
            if source is not None:
                sock.bind((f"127.0.0.{source + 2}", 0))
            sock.connect((self.arguments.host, self.arguments.port))
            if not self.arguments.udp:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is not None:
            sock = self.tls.wrap_socket(sock)
        sock.setblocking(False)
        client = Client(sock)
        self.clients[sock.fileno()] = client
        edge = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
        self.epoll.register(sock.fileno(), edge)
        return client

    def connect_again(self, client: Client) -> Client:
        """A new connection in the place of one that is done."""
        del self.clients[client.sock.fileno()]
        client.sock.close()
        return self.connect(self.completed % SOURCES)

    def start(self, client: Client, now: int) -> None:
        self.may_start -= 1
        self.in_flight += 1
        client.busy = True
        client.number += 1
        client.started_ns = now
        client.sent = client.received = 0
        header = HEADER.pack(client.nonce, client.number)[: self.size]
        place = hash((client.nonce, client.number)) % PLACES
        client.message = memoryview(header + self.block[place : place + self.size - len(header)])
        self.send(client)

    def send(self, client: Client) -> None:
        try:
            while client.sent < self.size:
                client.sent += client.sock.send(client.message[client.sent :])
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass

    def receive(self, client: Client) -> bool:
        """Everything that is there; True when the answer is complete."""
        while True:
            try:
                data = client.sock.recv(RECEIVE_LEN)
            except (BlockingIOError, ssl.SSLWantReadError):
                return False
            if not data:
                raise Wrong("the server closed the connection")
            end = client.received + len(data)
            if not client.busy or end > self.size:
                raise Wrong("the server sent more than it was sent")
            if data != client.message[client.received : end]:
                raise Wrong(f"wrong bytes in request {client.number}, from byte {client.received}")
            client.received = end
            if end == self.size:
                return True

    def event(self, client: Client, mask: int) -> None:
        if client.busy and client.sent < self.size:
            self.send(client)
        if not mask & ~select.EPOLLOUT or not self.receive(client):
            return
        now = time.monotonic_ns()
        self.latencies.append(now - client.started_ns)
        self.completed += 1
        self.in_flight -= 1
        client.busy = False
        if self.arguments.reconnect:
            client = self.connect_again(client)
        if self.may_start > 0:
            self.start(client, now)

    def run(self, deadline_ns: int, wants_answer: bool = False) -> None:
        """Until the deadline, or until nothing is in flight and nothing may be started.

        wants_answer: the deadline is not kept before there was one.
        """
        now = time.monotonic_ns()
        for client in list(self.clients.values()):
            if not client.busy and self.may_start > 0:
                self.start(client, now)
        patience = self.arguments.silence_ms / 1000
        while self.in_flight > 0 and (
            time.monotonic_ns() < deadline_ns or (wants_answer and not self.latencies)
        ):
            events = self.epoll.poll(patience)
            if not events:
                raise Wrong(f"the server has answered nobody for {patience:g} seconds")
            for number, mask in events:
                if number in self.clients:
                    self.event(self.clients[number], mask)

    def lost(self) -> int:
        now = time.monotonic_ns()
        return sum(
            client.busy and now - client.started_ns > LOST_NS for client in self.clients.values()
        )


def step(word: str) -> None:
    """Say where we are and wait for a line."""
    print(word, flush=True)
    sys.stdin.readline()


def cpu_ns(pid: int | None) -> int:
    """User and system time of all threads of a process: clock_getcpuclockid(3)."""
    return time.clock_gettime_ns((~pid << 3) | 2) if pid else 0


def quantile_us(ordered: list[int], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] / 1e3 if ordered else 0.0


def measure(load: Load) -> dict[str, Any]:
    arguments = load.arguments
    load.may_start = NO_LIMIT if arguments.warmup_ms else 0
    load.run(time.monotonic_ns() + arguments.warmup_ms * 1_000_000)
    if arguments.step or arguments.requests:
        load.may_start = 0  # let what is in flight come home
        load.run(NO_LIMIT)
        if arguments.step:
            step("warm")
    load.may_start = arguments.requests or NO_LIMIT
    load.latencies.clear()
    load.completed = 0
    cpu, began = cpu_ns(arguments.pid), time.monotonic_ns()
    end = NO_LIMIT if arguments.requests else began + arguments.measure_ms * 1_000_000
    load.run(end, wants_answer=True)  # a figure needs one, however busy the CPU
    ended = time.monotonic_ns()
    spent = cpu_ns(arguments.pid) - cpu
    if arguments.step:
        step("done")
    seconds = (ended - began) / 1e9
    ordered = sorted(load.latencies)
    result = {
        "requests": load.completed, "seconds": seconds, "rate": load.completed / seconds,
        "p50_us": quantile_us(ordered, 0.5), "p99_us": quantile_us(ordered, 0.99),
        "p999_us": quantile_us(ordered, 0.999), "max_us": quantile_us(ordered, 1.0),
        "lost": load.lost(), "no_counters": "the client in Python does not read them",
    }  # fmt: skip
    if arguments.pid:
        result["server_cpu_ns"] = spent
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int)
    parser.add_argument("--unix", metavar="PATH")
    parser.add_argument("--udp", action="store_true")
    parser.add_argument("--tls", metavar="PEM", help="TLS; trust this certificate")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--warmup-ms", type=int, default=300)
    parser.add_argument("--measure-ms", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--silence-ms", type=int, default=20000)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--step", action="store_true")
    parser.add_argument("--reconnect", action="store_true",
                        help="a new connection for every request")  # fmt: skip
    arguments = parser.parse_args()
    gc.disable()
    load = Load(arguments)
    try:
        for _ in range(arguments.connections):
            load.connect()
        result = measure(load)
    except (OSError, Wrong) as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result), flush=True)
    # Thousands of sockets: the kernel closes them faster than we do.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
