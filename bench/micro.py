"""The small operations every program is made of: one loop per process, alternated.

    python bench/micro.py
    python bench/micro.py --loops yula,uvloop --cases call_soon,timer_cancel --rounds 15
    python bench/micro.py --instructions valgrind --cases call_soon    (exact, slow)

A figure is the median over the rounds of the best of five repeats in each round's process, in
CPU time of the whole process (for the executor: both threads), pinned to one CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness import counters, machine, process, report, stats

CASES = ["call_soon", "call_soon_chain", "timer_cancel", "timer_fire", "sleep_0", "task_gather",
         "future_wakeup", "threadsafe_1", "threadsafe_4", "executor", "executor_100",
         "getaddrinfo"]  # fmt: skip
LOOPS = machine.LOOPS
THREADED = ("executor", "executor_100", "getaddrinfo")  # a thread takes part, on most loops
CASE_LIMIT = 30.0  # seconds; a loop that takes longer for one case is said to hang
SCRIPT = str(process.BENCH / "servers" / "micro_cases.py")

# loop -> case -> CPU nanoseconds an operation, one for each round (None: failed or hung)
Figures = dict[str, dict[str, list[float | None]]]


def command(name: str, options: argparse.Namespace, cases: list[str]) -> list[str]:
    chosen = [word for case in cases for word in ("--case", case)]
    return [*options.python, SCRIPT, "--loop", name, *chosen]


def run_cases(name: str, options: argparse.Namespace, cases: list[str]) -> dict[str, float | None]:
    """All cases in one process. After a hang or a crash the next case begins a new one."""
    cpu, _ = machine.cpus()
    found: dict[str, float | None] = {}
    left = list(cases)
    while left:
        with subprocess.Popen(
            process.pinned(cpu, command(name, options, left)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as worker:  # fmt: skip
            assert worker.stdout is not None and worker.stderr is not None
            while left:
                ready, _, _ = select.select([worker.stdout], [], [], CASE_LIMIT)
                line = worker.stdout.readline() if ready else ""
                if not line:
                    worker.kill()
                    said = worker.stderr.read().strip().splitlines()
                    why = said[-1] if ready and said else f"no result in {CASE_LIMIT:.0f} s"
                    report.progress("")
                    print(f"FAILED {name}, {left[0]}: {why}", file=sys.stderr)
                    found[left.pop(0)] = None
                    break
                one = json.loads(line)
                found[one["case"]] = one["cpu_ns"]
                left.remove(one["case"])
    return found


def run_rounds(names: list[str], options: argparse.Namespace) -> Figures:
    figures: Figures = {name: {case: [] for case in options.cases} for name in names}
    for number in range(options.rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            report.progress(f"round {number + 1} of {options.rounds}: {name} ...")
            working = [case for case in options.cases if None not in figures[name][case]]
            for case, cpu_ns in run_cases(name, options, working).items():
                figures[name][case].append(cpu_ns)
    report.progress("")
    return figures


def whole(figures: Figures, name: str, case: str) -> list[float] | None:
    """The rounds of a case, if it worked in every one."""
    values = [value for value in figures[name][case] if value is not None]
    return values if len(values) == len(figures[name][case]) and values else None


def time_table(figures: Figures) -> str:
    names = list(figures)
    compare = "yula" in figures and "uvloop" in figures
    head = ["ns per operation", *names] + (["yula to uvloop"] if compare else [])
    rows = []
    for case in next(iter(figures.values())):
        row = [case]
        for name in names:
            values = whole(figures, name, case)
            row.append("fails" if values is None else
                       f"{statistics.median(values):,.0f} ±{stats.spread(values) * 100:.0f}%")  # fmt: skip
        if compare:
            ours, theirs = whole(figures, "yula", case), whole(figures, "uvloop", case)
            row.append(str(stats.paired_ratio(ours, theirs)) if ours and theirs else "n/a")
        rows.append(row)
    return report.table(head, rows)


def instructions(names: list[str], options: argparse.Namespace, figures: Figures
                 ) -> dict[str, dict[str, float | None]]:  # fmt: skip
    """User instructions an operation: a run with N of them less one with half as many.

    The difference takes out the start of the interpreter and everything that happens once.
    """
    before = len(options.python) - 1
    found: dict[str, dict[str, float | None]] = {}
    for name in names:
        found[name] = {}
        for case in options.cases:
            if whole(figures, name, case) is None:
                found[name][case] = None
                continue
            report.progress(f"instructions: {name}, {case} ...")
            counts = 500 if case in THREADED else 4_000
            try:
                totals = []
                for count in (counts, counts * 2):
                    once = [
                        *command(name, options, [case]),
                        "--repeats",
                        "0",
                        "--count",
                        str(count),
                    ]
                    totals.append(counters.whole_run(once, before, options.instructions, 120))
                found[name][case] = (totals[1] - totals[0]) / counts
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                report.progress("")
                print(f"not counted: {name}, {case}: {error}", file=sys.stderr)
                found[name][case] = None
    report.progress("")
    return found


def instruction_table(found: dict[str, dict[str, float | None]], tool: str) -> str:
    names = list(found)
    head = [f"user instructions ({tool})", *names]
    rows = []
    for case in next(iter(found.values())):
        values = [found[name][case] for name in names]
        rows.append([case, *("n/a" if value is None else f"{value:,.0f}" for value in values)])
    return report.table(head, rows)


def import_times(names: list[str], options: argparse.Namespace) -> dict[str, list[float]]:
    """CPU milliseconds of `python -c 'import X'`, from start to end, alternated.

    The first, 'pass', is the interpreter alone. The user's site is left as it is.
    """
    cpu, _ = machine.cpus()
    statements = {"pass": "pass", **{name: f"import {name}" for name in names}}
    found: dict[str, list[float]] = {name: [] for name in statements}
    order = list(statements)
    for number in range(options.imports + 1):
        if sys.stdout.isatty() or not number:
            report.progress(f"import time: {number} of {options.imports} ...")
        for name in order if number % 2 == 0 else order[::-1]:
            once = process.pinned(cpu, [*options.python, "-P", "-c", statements[name]])
            pid = os.posix_spawnp(once[0], once, os.environ)
            _, status, usage = os.wait4(pid, 0)
            if status != 0:
                raise SystemExit(f"{' '.join(once)}: failed")
            if number:  # the first fills the caches of the file system
                found[name].append((usage.ru_utime + usage.ru_stime) * 1e3)
    report.progress("")
    return found


def import_table(found: dict[str, list[float]]) -> str:
    head = ["import", "CPU ms", "±", "above asyncio, ms"]
    asyncio_ms = statistics.median(found["asyncio"]) if "asyncio" in found else None
    rows = []
    for name, values in found.items():
        middle = statistics.median(values)
        above = "" if asyncio_ms is None or name == "pass" else f"{middle - asyncio_ms:+.1f}"
        label = "(Python alone)" if name == "pass" else name
        rows.append([label, f"{middle:.1f}", f"{stats.spread(values) * 100:.0f}%", above])
    return report.table(head, rows)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loops", default=",".join(LOOPS), help="names, comma-separated")
    parser.add_argument("--cases", default=",".join(CASES), help="names, comma-separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--imports", type=int, default=15, help="runs of each import (15; 0: none)")
    parser.add_argument("--instructions", choices=["auto", "perf", "valgrind", "none"],
                        default="auto", help="count them too (auto: if perf can)")  # fmt: skip
    parser.add_argument("--python", help="interpreter or command for the loops (this one)")
    parser.add_argument("--void-spread", type=float, default=0.25,
                        help="a case is void when asyncio moved more (0.25)")  # fmt: skip
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    options.python = process.server_python(options.python)
    options.cases = [case for case in options.cases.split(",") if case]
    options.loops = [name for name in options.loops.split(",") if name]
    unknown = sorted(set(options.loops) - set(LOOPS)) + sorted(set(options.cases) - set(CASES))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; loops: {', '.join(LOOPS)}; "
                     f"cases: {', '.join(CASES)}")  # fmt: skip
    if options.instructions == "valgrind" and shutil.which("valgrind") is None:
        parser.error("valgrind is not installed (Debian: valgrind)")
    return options


def main() -> int:
    options = parse_options()
    what = machine.describe()
    interpreter = machine.ask_interpreter(options.python, options.loops)
    machine.print_header(what, interpreter, f"{options.rounds} rounds, best of 5 repeats in each")
    names = [name for name in options.loops if interpreter["versions"][name] is not None]
    began = time.monotonic()
    figures = run_rounds(names, options)
    print(time_table(figures) + "\n")
    void = []
    if "asyncio" in figures:
        for case in options.cases:
            values = whole(figures, "asyncio", case)
            if values and stats.spread(values) > options.void_spread:
                void.append(case)
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
        counted = instructions(names, options, figures)
        print(instruction_table(counted, tool) + "\n")

    imported: dict[str, list[float]] = {}
    if options.imports:
        imported = import_times(names, options)
        print(import_table(imported) + "\n")
    if options.json:
        saved: dict[str, Any] = {
            "machine": what, "interpreter": interpreter, "settings": vars(options),
            "void": void, "cpu_ns": figures, "instructions": counted, "import_cpu_ms": imported,
        }  # fmt: skip
        options.json.write_text(json.dumps(saved, indent=1, default=str) + "\n")
        print(f"written: {options.json}")
    print(f"({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
