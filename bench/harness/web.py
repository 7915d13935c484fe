"""HTTP servers on a chosen loop, checked with real requests and driven by wrk."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import child, counters, machine, process
from harness.case import PROGRAMS, Settings
from harness.programs import loops

EXAMPLES = process.BENCH.parent / "examples" / "python"
BODY_LEN = 1024
# route -> path, body to send (None: GET), what the answer must be (checked before any load)
ROUTES: dict[str, tuple[str, bytes | None, bytes]] = {
    "plaintext": ("/", None, b"Hello, world!"),
    "10k": ("/10k", None, bytes(range(48, 112)) * 160),
    "json": ("/json", None, b'{"message": "Hello, world!", "numbers": [1, 2, 3]}'),
    "echo": ("/echo", b"x" * BODY_LEN, b"x" * BODY_LEN),
}
FRAMEWORKS = {"uvicorn": ("uvicorn", "httptools"), "aiohttp": ("aiohttp",)}
_RUNNING = re.compile(r"Uvicorn running on http://127\.0\.0\.1:(\d+)")
_BUILT_IN = ("asyncio", "uvloop")  # names that every uvicorn knows; others go by import string


def start(
    framework: str,
    loop: str,
    settings: Settings,
    slowly: Callable[[list[str], int], list[str]] = lambda command, before: command,
) -> child.Server:
    """slowly: what else to put the command under, behind its first `before` words."""
    cpu, _ = machine.cpus()
    before = len(settings.python) - 1
    if framework == "uvicorn":
        # aiofastnet's loop is made by a function of ours.
        env = [*settings.env, f"PYTHONPATH={PROGRAMS}"] if loop == "aiofastnet" else settings.env
        command = slowly(uvicorn(settings.python, loop), before)
        return child.Server(loop, command, cpu, hello=False, env=env)
    script = str(process.BENCH / "servers" / "aiohttp_server.py")
    command = slowly([*settings.python, script, "--loop", loop], before)
    return child.Server(loop, command, cpu, env=settings.env)


def uvicorn(
    python: list[str], loop: str, app: str = "asgi_app:app", folder: Path = EXAMPLES
) -> list[str]:
    """As a user would start it: yula by its runner, the others by uvicorn's own option.

    -P, because a checkout in the working folder would hide the installed package.
    """
    command = ["-m", "uvicorn", "--app-dir", str(folder), "--http", "httptools",
               "--host", "127.0.0.1", "--port", "0", "--no-access-log", app]  # fmt: skip
    if loop == "yula":
        return [*python, "-P", "-m", "yula", *command]
    module, factory, _ = loops.FACTORIES[loop]
    chosen = loop if loop in _BUILT_IN else f"{module}:{factory}"
    return [*python, "-P", *command, "--loop", chosen]


def wait_until_listening(server: child.Server, framework: str, timeout: float) -> int:
    """The port: uvicorn says it in its log, our own programs in their first line."""
    if framework != "uvicorn":
        return int(server.hello(timeout)["port"])
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = _RUNNING.search(server.output())
        if found:
            return int(found[1])
        if not server.alive():
            raise server.failure("uvicorn ended before it listened")
        time.sleep(0.02)
    raise server.failure(f"uvicorn did not listen within {timeout:.0f} s")


def check(server: child.Server, port: int, route: str, warmup: float = 0.0) -> str:
    """Ask as a client would, again and again for the time of the warm-up, and compare each answer.

    Returns the name of the loop that serves, which must be the one that was asked for.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        path, body, wanted = ROUTES[route]
        asked, until = 0, time.monotonic() + warmup
        while asked < 2 or time.monotonic() < until:  # the second on the kept-alive connection
            connection.request("GET" if body is None else "POST", path, body)
            response = connection.getresponse()
            got = response.read()
            asked += 1
            if response.status != 200 or got != wanted:
                raise server.failure(
                    f"wrong answer to {path}: status {response.status}, {len(got)} bytes, "
                    f"{got[:60]!r}"
                )
        connection.request("GET", "/loop")
        serving = str(json.loads(connection.getresponse().read())["loop"])
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise server.failure(f"no proper answer: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if not loops.is_of(serving, server.name):
        raise server.failure(f"the loop that serves is {serving}, not {server.name}")
    return serving


def require_wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    said = subprocess.run([found, "-v"], check=False, capture_output=True, text=True).stdout
    return " ".join(said.split()[:2])


def wrk(server: child.Server, port: int, route: str, connections: int, seconds: float
        ) -> dict[str, Any]:  # fmt: skip
    """Load for a time, whole seconds; what wrk counted, and what the server spent on it."""
    _, cpu = machine.cpus()
    path, body, _ = ROUTES[route]
    load = ["wrk", "--threads", "1", "--connections", str(connections),
            "--duration", f"{max(1, round(seconds))}s", "--timeout", "10s",
            "--script", str(process.BENCH / "wrk_report.lua"),
            f"http://127.0.0.1:{port}{path}"]  # fmt: skip
    if body is not None:
        load += ["--", str(len(body))]
    counted = counters.Counted(server.pid, child.pinned(cpu, load))
    before = server.cpu_ns()
    try:
        ran = subprocess.run(
            counted.command, check=False, capture_output=True, text=True, timeout=seconds + 30
        )
    except subprocess.TimeoutExpired:
        raise server.failure("wrk did not end") from None
    if not server.alive():
        raise server.failure("the server died under load")
    spent = server.cpu_ns() - before
    more = counted.result()
    lines = ran.stdout.strip().splitlines()
    if ran.returncode != 0 or not lines or not lines[-1].startswith("{"):
        raise server.failure(f"wrk failed: {(ran.stderr or ran.stdout).strip()}")
    result: dict[str, Any] = json.loads(lines[-1])
    requests = result["requests"]
    if requests == 0:
        raise server.failure("wrk got no answer at all")
    result["rate"] = requests / (result["microseconds"] / 1e6)
    result["cpu_us"] = spent / requests / 1e3
    result["errors"] = sum(result[kind] for kind in ("connect", "read", "write", "timeout"))
    if more is not None:
        result["instructions"] = more["instructions"] / requests
        result["cycles"] = more["cycles"] / requests
    return result
