"""What a program pays before its first line of work: the import, and the first loop."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from .. import child, machine
from ..case import FULL, MINUTE, PROGRAMS, Case, Figure, Settings
from ..programs.loops import FACTORIES

PYTHON_ALONE = "Python alone"
RUN = """
import sys; sys.path.insert(0, {programs!r})
import asyncio, loops
async def main(): pass
with asyncio.Runner(loop_factory=loops.factory({name!r})) as runner: runner.run(main())
"""


def imports(name: str) -> str:
    """The statement that makes a loop's module ready; asyncio is part of all."""
    if name == PYTHON_ALONE:
        return "pass"
    module = FACTORIES[name][0]
    return "import asyncio, " + ("aiofastnet, uvloop" if module == "loops" else module)


@dataclass
class Startup(Case):
    what: str
    repeats: int = 5

    def __post_init__(self) -> None:
        self.name = f"startup/{self.what}"
        self.figure = Figure("cpu_ms", "CPU of the whole process", "ms")
        self.about = {
            "import": "python -c 'import LOOP', from start to end",
            "run": "python running an empty coroutine on the loop, from start to end",
        }[self.what]
        self.level = MINUTE if self.what == "import" else FULL

    def references(self, settings: Settings) -> list[str]:
        return [PYTHON_ALONE]

    def measure(self, name: str, settings: Settings) -> dict[str, Any]:
        if self.what == "import" or name == PYTHON_ALONE:
            statement = imports(name)
        else:
            statement = RUN.format(programs=str(PROGRAMS), name=name)
        cpu, _ = machine.cpus()
        # -P: a folder of that name in the working folder is not what is meant.
        command = child.pinned(cpu, [*settings.python, "-P", "-c", statement])
        repeats = max(1, min(self.repeats, round(self.repeats * settings.seconds)))
        ran = [whole_run(command, settings) for _ in range(repeats)]
        return min(ran, key=lambda one: one["cpu_ms"])  # the caches of the file system are warm


def whole_run(command: list[str], settings: Settings) -> dict[str, float]:
    """CPU and wall milliseconds of a command from start to end."""
    began = time.monotonic()
    pid = os.posix_spawnp(command[0], command, child.environment(settings.env))
    deadline = began + settings.patience
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise child.ServerFailed(f"{' '.join(command)}: no end in {settings.patience:.0f} s")
        time.sleep(0.001)
    if status != 0:
        raise child.ServerFailed(f"{' '.join(command)}: failed")
    wall = time.monotonic() - began
    return {"cpu_ms": (usage.ru_utime + usage.ru_stime) * 1e3, "wall_ms": wall * 1e3}


CASES: list[Case] = [Startup("import"), Startup("run")]
