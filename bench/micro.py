"""The small operations every program is made of, and the import: the suite's, with instructions.

    python bench/micro.py
    python bench/micro.py --loops yula,uvloop --cases call_soon,timer_cancel --rounds 15
    python bench/micro.py --instructions valgrind --cases call_soon    (exact, slow)

A figure is the median over the rounds of the best of five repeats in each round's process, pinned
to one CPU: CPU time of the whole process (for the executor: both threads), for children time on the
clock.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness import counters, machine, process, report, results, rounds, stats
from harness.case import Settings
from harness.workloads.operations import OPERATIONS, THREADED, Operation
from harness.workloads.startup import Startup

LOOPS = machine.LOOPS
CHILDREN = ("subprocess_wait", "subprocess_pipe")  # their instructions are the children's


def run_cases(options: argparse.Namespace, loops: list[str], settings: Settings
              ) -> dict[str, rounds.Measured]:  # fmt: skip
    found = {}
    for operation in options.cases:

        def failing(name: str, why: str, operation: str = operation) -> None:
            report.progress("")
            print(f"FAILED {operation}: {why}", file=sys.stderr)

        found[operation] = rounds.run_case(
            Operation(operation), loops, settings, options.rounds, report.progress, failing
        )
    report.progress("")
    return found


def time_table(found: dict[str, rounds.Measured], loops: list[str]) -> str:
    compare = "yula" in loops and "uvloop" in loops
    head = ["per operation", "unit", *loops] + (["yula to uvloop"] if compare else [])
    rows = []
    for operation, one in found.items():
        figure = one.case.figure
        row = [operation, figure.unit]
        for name in loops:
            if name not in one.rounds:
                row.append("fails")
                continue
            values = one.column(name)
            middle = results.number(statistics.median(values) * figure.scale)
            row.append(f"{middle} ±{stats.spread(values) * 100:.0f}%")
        if compare:
            both = "yula" in one.rounds and "uvloop" in one.rounds
            row.append(str(stats.paired_ratio(one.column("yula"), one.column("uvloop")))
                       if both else "n/a")  # fmt: skip
        rows.append(row)
    return report.table(head, rows)


def instructions(found: dict[str, rounds.Measured], loops: list[str], settings: Settings,
                 options: argparse.Namespace) -> dict[str, dict[str, float | None]]:  # fmt: skip
    """User instructions an operation: a run with N of them less one with half as many.

    The difference takes out the start of the interpreter and everything that happens once.
    """
    before = len(settings.python) - 1
    counted: dict[str, dict[str, float | None]] = {}
    for operation, measured in found.items():
        if operation in CHILDREN:
            continue
        counted[operation] = dict.fromkeys(loops)
        for name in measured.rounds:
            report.progress(f"instructions: {operation}, {name} ...")
            counts = 500 if operation in THREADED else 4_000
            try:
                totals = []
                for count in (counts, counts * 2):
                    once = [*Operation(operation).command(name, settings),
                            "--repeats", "0", "--count", str(count)]  # fmt: skip
                    totals.append(counters.whole_run(once, before, options.instructions, 120))
                counted[operation][name] = (totals[1] - totals[0]) / counts
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                report.progress("")
                print(f"not counted: {name}, {operation}: {error}", file=sys.stderr)
    report.progress("")
    return counted


def instruction_table(counted: dict[str, dict[str, float | None]], loops: list[str], tool: str
                      ) -> str:  # fmt: skip
    rows = []
    for operation, values in counted.items():
        row = [values[name] for name in loops]
        rows.append([operation, *("n/a" if value is None else f"{value:,.0f}" for value in row)])
    return report.table([f"user instructions ({tool})", *loops], rows)


def import_table(found: rounds.Measured) -> str:
    head = ["import", "CPU ms", "±", "above asyncio, ms"]
    known = "asyncio" in found.rounds
    asyncio_ms = statistics.median(found.column("asyncio")) if known else None
    rows = []
    for name in found.rounds:
        values = found.column(name)
        middle = statistics.median(values)
        alone = name in found.references
        above = "" if asyncio_ms is None or alone else f"{middle - asyncio_ms:+.1f}"
        rows.append([name, f"{middle:.1f}", f"{stats.spread(values) * 100:.0f}%", above])
    return report.table(head, rows)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loops", default=",".join(LOOPS), help="names, comma-separated")
    parser.add_argument("--cases", default=",".join(OPERATIONS), help="names, comma-separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--imports", type=int, default=15, help="runs of each import (15; 0: none)")
    parser.add_argument("--instructions", choices=["auto", "perf", "valgrind", "none"],
                        default="auto", help="count them too (auto: if perf can)")  # fmt: skip
    parser.add_argument("--python", help="interpreter or command for the loops (this one)")
    parser.add_argument("--void-spread", type=float, default=results.VOID_SPREAD,
                        help="a case is void when asyncio moved more (0.25)")  # fmt: skip
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    options.python = process.server_python(options.python)
    options.cases = [case for case in options.cases.split(",") if case]
    options.loops = [name for name in options.loops.split(",") if name]
    unknown = sorted(set(options.loops) - set(LOOPS)) + sorted(set(options.cases) - set(OPERATIONS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; loops: {', '.join(LOOPS)}; "
                     f"cases: {', '.join(OPERATIONS)}")  # fmt: skip
    if options.instructions == "valgrind" and shutil.which("valgrind") is None:
        parser.error("valgrind is not installed (Debian: valgrind)")
    return options


def main() -> int:
    options = parse_options()
    settings = Settings(python=options.python)
    what = machine.describe()
    interpreter = machine.ask_interpreter(options.python, options.loops)
    machine.print_header(what, interpreter, f"{options.rounds} rounds, best of 5 repeats in each")
    loops = [name for name in options.loops if interpreter["versions"][name] is not None]
    began = time.monotonic()
    found = run_cases(options, loops, settings)
    print(time_table(found, loops) + "\n")
    summaries = [results.summarise(one, options.void_spread) for one in found.values()]
    void = [one["name"] for one in summaries if one["void"]]
    if void:
        print(report.paint(f"VOID (asyncio moved more than {options.void_spread * 100:.0f} % "
                           f"between rounds): {', '.join(void)}\n", "31;1"))  # fmt: skip

    counted: dict[str, dict[str, float | None]] = {}
    tool = options.instructions
    if tool in ("auto", "perf"):
        lacking = counters.why_not()
        if lacking:
            print(f"user instructions: n/a ({lacking}; --instructions valgrind counts them too)\n")
        tool = options.instructions = "none" if lacking else "perf"
    if tool != "none":
        counted = instructions(found, loops, settings, options)
        print(instruction_table(counted, loops, tool) + "\n")

    if options.imports:
        one_each = rounds.run_case(
            Startup("import", repeats=1), loops, settings, options.imports, report.progress
        )
        report.progress("")
        print(import_table(one_each) + "\n")
        summaries.append(results.summarise(one_each, options.void_spread))
    if options.json:
        saved: dict[str, Any] = {
            "machine": what, "interpreter": interpreter, "settings": vars(options),
            "cases": summaries, "instructions": counted,
        }  # fmt: skip
        options.json.write_text(json.dumps(saved, indent=1, default=str) + "\n")
        print(f"written: {options.json}")
    print(f"({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
