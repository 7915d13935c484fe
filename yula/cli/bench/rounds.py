"""Measures a case on every loop, in rounds: every round has one measurement of each loop.

The order is reversed from one round to the next, so that a ratio within a round compares
neighbours in time, and a machine that gets slower does not favour whoever comes first.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .case import Case, Settings
from .child import ServerFailed

FAILURES = (ServerFailed, RuntimeError, OSError, ValueError, subprocess.SubprocessError)


@dataclass
class Measured:
    """What was measured for a case: a dictionary for each round, of each loop that went through."""

    case: Case
    rounds: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # why; first line short
    repeated: dict[str, list[str]] = field(default_factory=dict)  # why, where the second try worked
    references: list[str] = field(default_factory=list)  # those of `rounds` that are no loops

    def column(self, name: str, key: str | None = None) -> list[float]:
        return [float(one[key or self.case.figure.key]) for one in self.rounds[name]]


def run_case(
    case: Case,
    loops: Sequence[str],
    settings: Settings,
    rounds: int,
    say: Callable[[str], None] = lambda text: None,
    failing: Callable[[str, str], None] = lambda name, why: None,
    done: Callable[[str, int, dict[str, Any]], None] = lambda name, number, figures: None,
) -> Measured:
    """All rounds of one case. A loop that fails or hangs is reported, and the others go on.

    It has failed when it fails twice in a row: something else on the machine can take the CPU for
    so long that a short measurement sees nothing, or that a time limit strikes.

    say: gets a line on what is being done. failing: gets a loop's name and what went wrong.
    done: gets a loop's name, the number of the round and what was measured.
    """
    found = Measured(case, references=case.references(settings))
    names = [*found.references, *loops]
    found.rounds = {name: [] for name in names}
    with case.prepared(settings):
        for number in range(rounds):
            for name in names if number % 2 == 0 else names[::-1]:
                if name in found.failed:
                    continue
                say(f"{case.name}  round {number + 1} of {rounds}: {name}")
                try:
                    figures = try_twice(case, name, settings, found.repeated)
                except FAILURES as error:
                    found.failed[name] = str(error)
                    failing(name, str(error))
                    continue
                found.rounds[name].append(figures)
                done(name, number, figures)
    for name in found.failed:
        del found.rounds[name]
        found.repeated.pop(name, None)
    return found


def try_twice(
    case: Case, name: str, settings: Settings, repeated: dict[str, list[str]]
) -> dict[str, Any]:
    try:
        return case.measure(name, settings)
    except FAILURES as error:
        repeated.setdefault(name, []).append(str(error))
    return case.measure(name, settings)
