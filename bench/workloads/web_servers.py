"""Real HTTP servers under wrk: uvicorn with an ASGI application, aiohttp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness import child, web
from harness.case import FULL, MINUTE, Case, Settings


@dataclass
class WebServer(Case):
    framework: str
    route: str
    level: int = FULL
    connections: int = 64

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


CASES: list[Case] = [
    WebServer("uvicorn", "plaintext", MINUTE), WebServer("uvicorn", "10k", MINUTE),
    WebServer("uvicorn", "json"), WebServer("uvicorn", "echo"),
    WebServer("aiohttp", "plaintext", MINUTE), WebServer("aiohttp", "10k"),
    WebServer("aiohttp", "echo"),
]  # fmt: skip
