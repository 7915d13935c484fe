"""The small operations every program is made of: callbacks, timers, tasks, threads, children."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from .. import child, machine
from ..case import FULL, MINUTE, OWN_CPU, PROGRAMS, QUICK, WALL, Case, Figure, Settings
from ..programs import loops

SCRIPT = str(PROGRAMS / "small_operations.py")
NANOSECONDS = Figure("cpu_us", "CPU per operation", "ns", 1e3)
# operation -> what it is, what is compared, which runs it is part of
OPERATIONS: dict[str, tuple[str, Figure, int]] = {
    "call_soon": ("a callback, a thousand at a time", NANOSECONDS, QUICK),
    "call_soon_chain": ("a callback that schedules itself: a turn each", NANOSECONDS, FULL),
    "timer_cancel": ("call_later and cancel", NANOSECONDS, MINUTE),
    "timer_fire": ("call_at and the call", NANOSECONDS, FULL),
    "sleep_0": ("await asyncio.sleep(0)", NANOSECONDS, MINUTE),
    "task_gather": ("create_task, 100 at a time, and gather", NANOSECONDS, QUICK),
    "future_wakeup": ("await of a future that a callback resolves", NANOSECONDS, FULL),
    "threadsafe_1": ("call_soon_threadsafe from one thread", NANOSECONDS, MINUTE),
    "threadsafe_4": ("call_soon_threadsafe from four threads", NANOSECONDS, FULL),
    "executor": ("run_in_executor, one at a time", OWN_CPU, FULL),
    "executor_100": ("run_in_executor, 100 in flight", OWN_CPU, FULL),
    "getaddrinfo": ("getaddrinfo of a literal address", OWN_CPU, MINUTE),
    "getaddrinfo_name": ("getaddrinfo of localhost", OWN_CPU, FULL),
    "connect_close": ("create_connection and close", OWN_CPU, FULL),
    "file_read": ("4 KiB of a file, read in a thread", OWN_CPU, FULL),
    "subprocess_wait": ("start /bin/true and wait for it", WALL, FULL),
    "subprocess_pipe": ("a MiB from a child's standard output", WALL, FULL),
}
THREADED = ("executor", "executor_100", "getaddrinfo", "getaddrinfo_name", "file_read")


@dataclass
class Operation(Case):
    operation: str
    repeats: int = 5

    def __post_init__(self) -> None:
        self.name = f"operation/{self.operation}"
        self.about, self.figure, self.level = OPERATIONS[self.operation]

    def command(self, name: str, settings: Settings) -> list[str]:
        return [*settings.python, SCRIPT, "--loop", name, "--case", self.operation]

    def measure(self, name: str, settings: Settings) -> dict[str, Any]:
        cpu, _ = machine.cpus()
        # Shorter rounds than the second that servers get are made of fewer repeats.
        repeats = max(1, min(self.repeats, round(self.repeats * settings.seconds)))
        command = child.pinned(cpu, [*self.command(name, settings), "--repeats", str(repeats)])
        limit = settings.patience + 10
        try:
            ran = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=limit,
                env=child.environment(settings.env),
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
        result["cpu_us"] = result["cpu_ns"] / 1e3
        result["wall_us"] = result["wall_ns"] / 1e3
        result["rate"] = 1e9 / max(result["wall_ns"], 1e-3)
        return result


CASES: list[Case] = [Operation(name) for name in OPERATIONS]
