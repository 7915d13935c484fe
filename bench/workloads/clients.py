"""Clients on a chosen loop: asyncpg and redis-py with real servers, aiohttp's with a small one.

The client is what is measured, pinned to one CPU; the service has the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness import child, instructions, machine, process
from harness.case import FULL, MINUTE, Case, Figure, Settings
from harness.programs import loops

sys.path.append(str(process.BENCH.parent / "tests"))  # services.py: PostgreSQL and Redis
import services

CLIENTS = process.BENCH / "servers"
# what is asked -> the module of the client, its program, the operation
CLIENT = {
    "postgres": ("asyncpg", "postgres_client.py"),
    "redis": ("redis", "redis_client.py"),
    "aiohttp-client": ("aiohttp", "web_client.py"),
}
CPU = Figure("cpu_us", "client CPU per operation", "µs")


@dataclass
class Client(Case):
    service: str
    operation: str
    tasks: int  # each with a connection of its own, one operation at a time
    level: int = FULL
    counted_requests: int = 1_000

    def __post_init__(self) -> None:
        module, self.program = CLIENT[self.service]
        self.name = f"{self.service}/{self.operation}/{self.tasks}"
        self.about = f"{module}: {self.operation}, {self.tasks} at a time"
        self.figure = CPU
        self.modules = (module,)
        self.where: list[str] = []

    @contextlib.contextmanager
    def prepared(self, settings: Settings) -> Iterator[None]:
        with service(self.service, settings) as self.where:
            yield

    def command(self, name: str, settings: Settings) -> list[str]:
        return [*settings.python, str(CLIENTS / self.program), "--loop", name,
                "--operation", self.operation, "--tasks", str(self.tasks), *self.where]  # fmt: skip

    def measure(self, name: str, settings: Settings) -> dict[str, Any]:
        cpu, _ = machine.cpus()
        command = [*self.command(name, settings),
                   "--warmup", str(settings.warmup), "--seconds", str(settings.seconds)]  # fmt: skip
        limit = settings.warmup + settings.seconds + settings.patience
        try:
            ran = subprocess.run(
                child.pinned(cpu, command), check=False, capture_output=True, text=True,
                timeout=limit, env=child.environment(settings.env),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise child.ServerFailed(f"{name}: no result in {limit:.0f} s") from None
        lines = ran.stdout.strip().splitlines()
        if ran.returncode != 0 or not lines:
            said = ran.stderr.strip().splitlines() or [f"exit status {ran.returncode}"]
            raise child.ServerFailed(f"{name}: {said[-1]}")
        result: dict[str, Any] = json.loads(lines[-1])
        if not loops.is_of(result["loop"], name):
            raise child.ServerFailed(f"{name}: the loop is {result['loop']}")
        return result

    @contextlib.contextmanager
    def stepped(
        self, name: str, settings: Settings, slowly: instructions.Slowly, requests: int
    ) -> Iterator[instructions.Stepped]:
        """The client is what is counted, and steps through by itself."""
        cpu, _ = machine.cpus()
        command = [*self.command(name, settings), "--step", str(requests)]
        with tempfile.TemporaryFile(mode="w+") as said:
            with subprocess.Popen(
                child.pinned(cpu, slowly(command, len(settings.python) - 1)),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
                env=child.environment(settings.env),
            ) as client:  # fmt: skip

                def end() -> str:
                    client.wait(instructions.LIMIT_S)
                    said.seek(0)
                    return said.read()

                try:
                    yield instructions.Stepped(client.pid, client, end)
                finally:
                    client.kill()


@contextlib.contextmanager
def service(kind: str, settings: Settings) -> Iterator[list[str]]:
    """The service runs; yields the arguments that say where."""
    _, cpu = machine.cpus()
    if kind == "aiohttp-client":
        command = [sys.executable, str(CLIENTS / "web_responder.py")]
        with child.Server("web_responder.py", command, cpu) as server:
            yield ["--port", str(server.hello()["port"])]
        return
    try:
        running = services.Postgres() if kind == "postgres" else services.Redis()
        with running:
            if cpu is not None:
                # What it starts from now on, a process for each connection, inherits this.
                os.sched_setaffinity(running.process.pid, {cpu})
            yield ["--port", str(running.port)]
    except services.MissingService as missing:
        raise RuntimeError(str(missing)) from None


CASES: list[Case] = [
    Client("postgres", "query", 1), Client("postgres", "query", 10, MINUTE),
    Client("postgres", "rows", 10), Client("redis", "get", 1), Client("redis", "get", 50, MINUTE),
    Client("redis", "pipeline", 10), Client("aiohttp-client", "get", 1),
    Client("aiohttp-client", "get", 32, MINUTE), Client("aiohttp-client", "get-10k", 32),
]  # fmt: skip
