"""Echo servers: TCP, Unix sockets, TLS, UDP; protocols, streams, sock_*; all sizes and counts."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .. import certificate, child, machine
from ..case import FULL, MINUTE, NAMED, PROGRAMS, QUICK, Case, Settings
from ..programs import loops

SIZES = {"1": 1, "1k": 1024, "10k": 10240, "100k": 102400, "1m": 1 << 20}
CONNECTIONS = (1, 10, 100, 1000, 10_000)
# wire -> the styles a program can be written in
STYLES = {
    "tcp": ("protocol", "buffered", "streams", "sock"),
    "unix": ("protocol", "streams", "sock"),
    "tls": ("protocol", "streams"),
    "udp": ("datagram",),
}
ABOUT = {
    "protocol": "asyncio.Protocol",
    "buffered": "asyncio.BufferedProtocol",
    "streams": "asyncio.start_server",
    "sock": "loop.sock_recv and loop.sock_sendall",
    "datagram": "asyncio.DatagramProtocol",
}
WIRES = {"tcp": "TCP", "unix": "Unix socket", "tls": "TLS 1.3 over TCP", "udp": "UDP"}
# One socket has all clients' datagrams in its buffer, and what does not fit is dropped.
UDP_CONNECTIONS = 32
C_SERVERS: dict[str, dict[str, list[str]]] = {
    "tcp": {"C level": ["--level"], "C edge": ["--edge"]},
    "unix": {"C level": ["--level"]},
    "tls": {"C OpenSSL": []},
    "udp": {"C recvfrom": []},
}


@dataclass
class Echo(Case):
    style: str = "protocol"
    size: int = 1024
    connections: int = 100
    wire: str = "tcp"

    def __post_init__(self) -> None:
        group = "echo" if self.wire == "tcp" else self.wire
        style = "" if self.wire == "udp" else f"/{self.style}"
        self.name = f"{group}{style}/{size_name(self.size)}/{self.connections}"
        several = "connection" if self.connections == 1 else "connections"
        self.about = (f"echo over {WIRES[self.wire]} by {ABOUT[self.style]}: "
                      f"{self.size:,} B, {self.connections:,} {several}")  # fmt: skip
        self.programs = ("openssl",) if self.wire == "tls" else ()
        self.descriptors = self.connections + 256
        self.overhead_s = 0.35 + self.connections * 1e-4

    def durations(self, settings: Settings) -> tuple[float, float]:
        """Warm-up and measurement: several times what a round of all connections takes.

        What is in flight at the beginning was partly paid for before, and must not count for much.
        """
        turn = self.connections * (2e-5 + self.size * 2e-9)
        return max(settings.warmup, 5 * turn), max(settings.seconds, 10 * turn)

    def limit(self, settings: Settings) -> float:
        """Of the load client, which has a limit of its own for a silent server, in seconds."""
        return sum(self.durations(settings)) + settings.patience + 20

    def references(self, settings: Settings) -> list[str]:
        if settings.c_tools is None:
            return []
        if self.wire == "tls" and not (settings.c_tools / "tls_server").exists():
            return []
        return list(C_SERVERS[self.wire])

    def server_command(self, name: str, settings: Settings, unix: str = "") -> list[str]:
        own: list[str] = ["--size", str(self.size)]
        own += ["--unix", unix] if self.wire == "unix" else []
        own += ["--tls", str(certificate.pem())] if self.wire == "tls" else []
        if name in C_SERVERS[self.wire]:
            assert settings.c_tools is not None
            program = {"tls": "tls_server", "udp": "udp_server"}.get(self.wire, "echo_server")
            return [str(settings.c_tools / program), *C_SERVERS[self.wire][name], *own]
        script = str(PROGRAMS / "echo_server.py")
        return [*settings.python, script, "--loop", name, "--style", self.style, *own]

    def load_command(self, hello: dict[str, Any], pid: int, settings: Settings, unix: str = ""
                     ) -> list[str]:  # fmt: skip
        to = ["--unix", unix] if self.wire == "unix" else ["--port", str(hello["port"])]
        to += ["--udp"] if self.wire == "udp" else []
        to += ["--tls", str(certificate.pem())] if self.wire == "tls" else []
        return [*settings.load, *to, "--pid", str(pid),
                "--connections", str(self.connections), "--size", str(self.size),
                "--silence-ms", str(round(settings.patience * 1000)),
                "--warmup-ms", str(round(1000 * self.durations(settings)[0])),
                "--measure-ms", str(round(1000 * self.durations(settings)[1]))]  # fmt: skip

    def measure(self, name: str, settings: Settings) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="yula-bench-") as folder:
            unix = f"{folder}/socket"
            server_cpu, _ = machine.cpus()
            command = self.server_command(name, settings, unix)
            with child.Server(name, command, server_cpu, env=settings.env) as server:
                hello = greeted(server, name, settings)
                waited = server.waiting_ns()
                load = self.load_command(hello, server.pid, settings, unix)
                result = run_load(load, server, self.limit(settings))
                seconds = sum(self.durations(settings))
                result["waited"] = (server.waiting_ns() - waited) / 1e9 / seconds
        result["loop"] = hello["loop"]
        return result


def greeted(server: child.Server, name: str, settings: Settings) -> dict[str, Any]:
    """The server's first line. It must be the loop that was asked for."""
    hello = server.hello(settings.patience)
    if name in loops.FACTORIES and not loops.is_of(hello["loop"], name):
        raise server.failure(f"the loop that serves is {hello['loop']}")
    return hello


def run_load(command: list[str], server: child.Server, limit: float) -> dict[str, Any]:
    """What the load client found, with the server's cost for each request."""
    _, load_cpu = machine.cpus()
    try:
        ran = subprocess.run(
            child.pinned(load_cpu, command), check=False, capture_output=True, text=True,
            timeout=limit,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise server.failure(f"the load did not end within {limit:.0f} s") from None
    if ran.returncode != 0:
        raise server.failure(f"the load failed: {ran.stderr.strip()[-500:]}")
    result: dict[str, Any] = json.loads(ran.stdout)
    requests = result["requests"]
    if requests == 0:
        raise server.failure("the server answered nothing while it was measured")
    result["cpu_us"] = result["server_cpu_ns"] / requests / 1e3
    if "server_instructions" in result:
        result["instructions"] = result["server_instructions"] / requests
        result["cycles"] = result["server_cycles"] / requests
    return result


def size_name(size: int) -> str:
    return next((name for name, bytes_ in SIZES.items() if bytes_ == size), str(size))


def all_cases() -> Iterator[Echo]:
    for wire, styles in STYLES.items():
        for style in styles:
            for size in SIZES.values():
                if wire == "udp":
                    if size < 65_000:
                        yield Echo(style, size, UDP_CONNECTIONS, wire)
                    continue
                for connections in CONNECTIONS:
                    if size * connections <= 1 << 30:
                        yield Echo(style, size, connections, wire)


def level_of(case: Echo) -> int:
    """Every combination can be named; a full run varies one thing at a time."""
    if case.name in LEVELS:
        return LEVELS[case.name]
    if case.wire in ("unix", "tls"):
        return FULL if case.connections == 100 and case.size in (1024, 102400) else NAMED
    varies_one = case.connections in (100, UDP_CONNECTIONS) or case.size == 1024
    return FULL if varies_one else NAMED


LEVELS = {
    "echo/protocol/1k/100": QUICK,
    "echo/streams/1k/100": QUICK,
    "echo/sock/1k/100": MINUTE,
    "echo/streams/100k/100": MINUTE,
    "tls/streams/1k/100": MINUTE,
    "udp/1k/32": MINUTE,
}
CASES: list[Case] = []
for _case in all_cases():
    _case.level = level_of(_case)
    CASES.append(_case)
