"""What a workload is.

A case is one question to every loop: "echo/streams/1k/100" is an echo server of streams with 100
connections that send 1 KiB. Its name is a path, so that a group of cases can be chosen by a
pattern. A file in workloads/ makes the cases of its kind and lists them in CASES.

One measurement is one process under test, started for it and ended after it. It returns a
dictionary of figures; `case.figure.key` names the one that is compared, of which less is better.
Others that mean the same in every case: rate (operations a second), p50_us, p99_us, p999_us,
instructions and cycles (in user mode, an operation), lost, errors.
"""

from __future__ import annotations

import contextlib
import fnmatch
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).resolve().parent / "programs"


@dataclass(frozen=True)
class Figure:
    """The figure that a case compares; less is better."""

    key: str
    label: str
    unit: str
    scale: float = 1.0  # shown = measured * scale


# Which runs a case is part of, when none is asked for by name. Each includes those before it.
QUICK, MINUTE, FULL, NAMED = 1, 2, 3, 4

SERVER_CPU = Figure("cpu_us", "server CPU per request", "µs")
OWN_CPU = Figure("cpu_us", "CPU per operation", "µs")
WALL = Figure("wall_us", "time per operation", "µs")


@dataclass
class Settings:
    """How everything is measured in a run."""

    python: list[str] = field(default_factory=lambda: [sys.executable])
    seconds: float = 1.0  # measured, in each round
    warmup: float = 0.3  # before that
    patience: float = 20.0  # a process that does nothing for so long hangs
    env: Sequence[str] = ()  # NAME=VALUE for the processes under test
    load: list[str] = field(
        # -P: the programs' folder is on the path already, the working folder must not be
        default_factory=lambda: [sys.executable, "-P", "-S", str(PROGRAMS / "load.py")]
    )
    c_tools: Path | None = None  # where the bare C servers are, if anywhere


class Case:
    """One workload with its parameters. Subclasses measure."""

    name: str
    about: str
    figure: Figure = SERVER_CPU
    level = FULL
    modules: Sequence[str] = ()  # that the interpreter must have
    programs: Sequence[str] = ()  # that must be on the PATH
    descriptors = 256  # open at a time, in the server or the load
    overhead_s = 0.35  # of a measurement, besides the time that is measured: processes start

    def references(self, settings: Settings) -> list[str]:
        """The bare C servers to measure beside the loops: what the machine itself costs."""
        return []

    def lacks(self, settings: Settings, versions: dict[str, str | None]) -> str | None:
        """What is missing to measure this case, or None."""
        missing = [name for name in self.modules if versions.get(name) is None]
        missing += [name for name in self.programs if shutil.which(name) is None]
        return f"not installed: {', '.join(missing)}" if missing else None

    def prepared(self, settings: Settings) -> contextlib.AbstractContextManager[Any]:
        """Around all measurements of the case: a database that runs, say."""
        return contextlib.nullcontext()

    def measure(self, name: str, settings: Settings) -> dict[str, Any]:
        """One round of one loop, or of one of the references."""
        raise NotImplementedError


def choose(cases: Sequence[Case], patterns: Sequence[str], level: int) -> list[Case]:
    """The cases that a pattern matches; without patterns those of a level.

    "echo" means "echo/*", and "*" matches across "/".
    """
    if not patterns:
        return [case for case in cases if case.level <= level]
    return list(_matching(cases, patterns))


def _matching(cases: Sequence[Case], patterns: Sequence[str]) -> Iterator[Case]:
    for case in cases:
        for pattern in patterns:
            if fnmatch.fnmatchcase(case.name, pattern) or case.name.startswith(f"{pattern}/"):
                yield case
                break
