"""Real HTTP servers under wrk: uvicorn with an ASGI application, aiohttp."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness import child, instructions, process, web
from harness.case import FULL, MINUTE, Case, Settings


@dataclass
class WebServer(Case):
    framework: str
    route: str
    level: int = FULL
    connections: int = 64
    counted_requests: int = 2_000

    def __post_init__(self) -> None:
        self.name = f"{self.framework}/{self.route}"
        self.about = f"{self.framework} under wrk: {self.route}, {self.connections} connections"
        self.modules = web.FRAMEWORKS[self.framework]
        self.programs = ("wrk",)
        self.overhead_s = 1.5  # wrk measures for a second at least

    def measure(self, name: str, settings: Settings) -> dict[str, Any]:
        with web.start(self.framework, name, settings) as server:
            port = web.wait_until_listening(server, self.framework, settings.patience)
            serving = web.check(server, port, self.route, settings.warmup)
            waited = server.waiting_ns()
            result = web.wrk(server, port, self.route, self.connections, settings.seconds)
            result["loop"] = serving
            result["waited"] = (server.waiting_ns() - waited) / 1e3 / result["microseconds"]
            if result["errors"] or result["non_2xx"]:
                raise child.ServerFailed(f"{name}: {result['errors']} requests failed, "
                                         f"{result['non_2xx']} had another status")  # fmt: skip
            return result

    @contextlib.contextmanager
    def stepped(
        self, name: str, settings: Settings, slowly: instructions.Slowly, requests: int
    ) -> Iterator[instructions.Stepped]:
        with web.start(self.framework, name, settings, slowly) as server:
            port = web.wait_until_listening(server, self.framework, instructions.LIMIT_S)
            path, body, _ = web.ROUTES[self.route]
            load = [sys.executable, str(process.BENCH / "servers" / "http_load.py"),
                    "--port", str(port), "--path", path, "--requests", str(requests),
                    "--connections", str(self.connections)]  # fmt: skip
            load += [] if body is None else ["--body-len", str(len(body))]
            with instructions.stepped_server(server, load) as stepped:
                yield stepped


CASES: list[Case] = [
    WebServer("uvicorn", "plaintext", MINUTE), WebServer("uvicorn", "10k", MINUTE),
    WebServer("uvicorn", "json"), WebServer("uvicorn", "echo"),
    WebServer("aiohttp", "plaintext", MINUTE), WebServer("aiohttp", "10k"),
    WebServer("aiohttp", "echo"),
]  # fmt: skip
