"""Connections themselves: how fast they are accepted, and what an idle one takes of memory."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

from .. import child, machine
from ..case import FULL, MINUTE, Case, Figure, Settings
from .echo import Echo, greeted, run_load


@dataclass
class Accepts(Case):
    """Every request has a connection of its own: accept, one echo, close."""

    style: str
    level: int = FULL
    at_a_time: int = 20

    def __post_init__(self) -> None:
        self.name = f"accept/{self.style}"
        self.figure = Figure("cpu_us", "server CPU per connection", "µs")
        self.about = (f"connections accepted, one 64 B echo on each, closed; {self.at_a_time} at a "
                      f"time ({self.style})")  # fmt: skip
        self.echo = Echo(self.style, 64, self.at_a_time)
        self.descriptors = 4096

    def references(self, settings: Settings) -> list[str]:
        return ["C level"] if settings.c_tools else []

    def measure(self, name: str, settings: Settings) -> dict[str, Any]:
        server_cpu, _ = machine.cpus()
        command = self.echo.server_command(name, settings)
        with child.Server(name, command, server_cpu, env=settings.env) as server:
            hello = greeted(server, name, settings)
            load = [*self.echo.load_command(hello, server.pid, settings), "--reconnect"]
            return run_load(load, server, self.echo.limit(settings))


@dataclass
class IdleMemory(Case):
    """Growth of the resident memory over the number of connections.

    Everything counts: what the allocator keeps in reserve, and the objects of the one minimal
    protocol that each connection has. Every connection has carried one message each way.
    """

    connections: int
    level: int = FULL
    size: int = 64

    def __post_init__(self) -> None:
        self.name = f"memory/idle/{self.connections}"
        self.figure = Figure("bytes", "memory per idle connection", "B")
        self.about = f"memory of one of {self.connections:,} idle connections (protocol)"
        self.echo = Echo("protocol", self.size, self.connections)
        self.descriptors = self.connections + 256
        self.overhead_s = 0.5 + self.connections * 2e-4

    def measure(self, name: str, settings: Settings) -> dict[str, Any]:
        server_cpu, load_cpu = machine.cpus()
        command = self.echo.server_command(name, settings)
        with child.Server(name, command, server_cpu, env=settings.env) as server:
            hello = greeted(server, name, settings)
            # A few connections that come and go first: what is made once is not theirs.
            first = Echo("protocol", self.size, 10).load_command(hello, server.pid, settings)
            self.all_idle(first, 10, server, load_cpu, settings)
            before = server.resident_bytes()
            load = self.echo.load_command(hello, server.pid, settings)
            after = self.all_idle(load, self.connections, server, load_cpu, settings)
        return {"bytes": (after - before) / self.connections, "loop": hello["loop"],
                "resident_before": before, "resident_after": after}  # fmt: skip

    def all_idle(self, load: Sequence[str], connections: int, server: child.Server,
                 cpu: int | None, settings: Settings) -> int:  # fmt: skip
        """Resident memory while all connections are open, each after one message each way."""
        command = [*load, "--warmup-ms", "0", "--requests", str(connections), "--step"]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            child.pinned(cpu, command), stdin=pipe, stdout=pipe, stderr=pipe, text=True
        ) as client:
            assert client.stdin and client.stdout and client.stderr
            try:
                expect("warm", client.stdout, settings.patience + 30, server)
                go_on(client.stdin)
                expect("done", client.stdout, settings.patience + 30, server)
                resident = server.resident_bytes()
                go_on(client.stdin)
                client.wait(settings.patience + 30)
            except BaseException:
                client.kill()
                raise
        return resident


def expect(word: str, stream: IO[str], limit: float, server: child.Server) -> None:
    """The load client says where it is, within the limit."""
    if (child.line_within(stream, limit) or "").strip() != word:
        raise server.failure(f"the load did not get to '{word}'")


def go_on(stream: IO[str]) -> None:
    stream.write("\n")
    stream.flush()


CASES: list[Case] = [
    Accepts("protocol", MINUTE), Accepts("streams"),
    IdleMemory(1000, MINUTE), IdleMemory(10_000),
]  # fmt: skip
