"""What run_in_executor costs: a round trip alone and with 100 in flight, beside bare C.

    python bench/executor.py
    python bench/executor.py --loops yula,uvloop --rounds 15 --json executor.json

Each round runs every loop in a process of its own, alternated, once with one CPU and once with
all, and beside them bench/c/round_trip.c: the same trip of a function that does nothing, to a
thread on a futex and back through epoll. Wall and CPU microseconds of a trip (of the whole
process: loop and workers), median over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import machine, process, report, stats
from harness.case import PROGRAMS

SCRIPT = str(PROGRAMS / "small_operations.py")
CASES = {"executor": 1, "executor_100": 100}  # in flight
TRIPS = 20_000  # of bare C
LIMIT = 120  # seconds for one process

# (pinned, name) -> case -> wall and CPU microseconds, one pair a round
Figures = dict[tuple[bool, str], dict[str, list[tuple[float, float]]]]


def run_loop(name: str, options: argparse.Namespace, cpu: int | None) -> dict[str, Any]:
    chosen = [word for case in CASES for word in ("--case", case)]
    command = process.pinned(cpu, [*options.python, SCRIPT, "--loop", name, *chosen])
    ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    if ran.returncode != 0:
        raise SystemExit(f"{name} failed:\n{ran.stderr}")
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    return {one["case"]: (one["wall_ns"] / 1e3, one["cpu_ns"] / 1e3) for one in found}


def run_bare(cpu: int | None) -> dict[str, Any]:
    found = {}
    for case, flight in CASES.items():
        command = [str(process.BUILD / "round_trip"), str(TRIPS), str(flight)]
        ran = subprocess.run(
            process.pinned(cpu, command), capture_output=True, text=True, timeout=LIMIT, check=True
        )
        one = json.loads(ran.stdout)
        found[case] = (one["wall_ns"] / 1e3, one["cpu_ns"] / 1e3)
    return found


def run_rounds(names: list[str], options: argparse.Namespace) -> Figures:
    figures: Figures = {}
    cpu, _ = machine.cpus()
    for number in range(options.rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            for pinned in (True, False):
                report.progress(f"round {number + 1} of {options.rounds}: {name} ...")
                where = cpu if pinned else None
                found = run_bare(where) if name == "bare C" else run_loop(name, options, where)
                for case, pair in found.items():
                    figures.setdefault((pinned, name), {}).setdefault(case, []).append(pair)
    report.progress("")
    return figures


def table(figures: Figures, names: list[str], pinned: bool) -> str:
    rows = []
    head = [
        "one CPU" if pinned else "all CPUs",
        "alone, us", "CPU, us", "to bare C", "100 in flight, us", "CPU, us", "yula's rate to it",
    ]  # fmt: skip
    for name in names:
        row = [name]
        for case in CASES:
            pairs = figures[pinned, name][case]
            walls = [wall for wall, _ in pairs]
            row.append(f"{statistics.median(walls):.2f} ±{stats.spread(walls) * 100:.0f}%")
            row.append(f"{statistics.median(cpu for _, cpu in pairs):.2f}")
            other = "bare C" if case == "executor" else "yula"
            base = [wall for wall, _ in figures[pinned, other][case]] if other in names else walls
            row.append(str(stats.paired_ratio(walls, base)))
        rows.append(row)
    return report.table(head, rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loops", default=",".join(machine.LOOPS), help="names, comma-separated")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--python", help="interpreter or command for the loops (this one)")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    options.python = process.server_python(options.python)
    loops = options.loops.split(",")
    unknown = sorted(set(loops) - set(machine.LOOPS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; loops: {', '.join(machine.LOOPS)}")
    process.build_c_tools()
    what = machine.describe()
    interpreter = machine.ask_interpreter(options.python, loops)
    machine.print_header(what, interpreter, f"{options.rounds} rounds, best of 5 repeats in each")
    names = ["bare C", *(name for name in loops if interpreter["versions"][name] is not None)]
    figures = run_rounds(names, options)
    for pinned in (True, False):
        print(table(figures, names, pinned) + "\n")
    if options.json:
        saved = {
            "machine": what, "interpreter": interpreter, "settings": vars(options),
            "us": {f"{name}, {'one CPU' if pinned else 'all CPUs'}": cases
                   for (pinned, name), cases in figures.items()},
        }  # fmt: skip
        options.json.write_text(json.dumps(saved, indent=1, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
