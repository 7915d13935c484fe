"""A real ASGI application under uvicorn, on yula, asyncio and uvloop, driven by wrk.

    python bench/serve.py                                  under a minute
    python bench/serve.py --route 10k --loops yula,uvloop
    python bench/serve.py --rounds 15 --duration 2 --json uvicorn.json

The server (examples/python/asgi_app.py, httptools) has one CPU and wrk another. In each round
every server is started anew, asked real questions whose answers are compared, warmed up and
measured, in an order that is reversed from one round to the next.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import counters, machine, process, report, stats, uvicorn

LOOPS = machine.LOOPS
MODULES = ["uvicorn", "httptools"]

Rounds = dict[str, list[dict[str, Any]]]


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    with uvicorn.start(options.python, name, options.env) as server:
        port = uvicorn.wait_until_listening(server)
        serving = uvicorn.check(server, port, options.route)
        uvicorn.wrk(server, port, options.route, options.connections, 1)  # warm-up
        waited = server.waiting_ns()
        result = uvicorn.wrk(server, port, options.route, options.connections, options.duration)
        result["loop"] = serving
        result["waited"] = (server.waiting_ns() - waited) / 1e9 / options.duration
        return result


def run_rounds(names: list[str], options: argparse.Namespace) -> tuple[Rounds, dict[str, str]]:
    rounds: Rounds = {name: [] for name in names}
    failed: dict[str, str] = {}
    widest = max(map(len, names))
    for number in range(options.rounds):
        for name in names if number % 2 == 0 else names[::-1]:
            if name in failed:
                continue
            label = f"round {number + 1} of {options.rounds}  {name.ljust(widest)}"
            if sys.stdout.isatty():
                report.progress(f"{label}  ...")
            try:
                one = measure(name, options)
            except (process.ServerFailed, subprocess.TimeoutExpired) as error:
                failed[name] = str(error)
                report.progress("")
                print(f"{label}  FAILED\n{error}", flush=True)
                continue
            rounds[name].append(one)
            report.progress("")
            print(f"{label}  {one['rate']:>9,.0f} requests/s  ({one['loop']})", flush=True)
    return {name: done for name, done in rounds.items() if name not in failed}, failed


def column(rounds: Rounds, name: str, field: str) -> list[float]:
    return [one[field] for one in rounds[name]]


def middle(rounds: Rounds, name: str, field: str) -> float:
    return statistics.median(column(rounds, name, field))


def ratio(rounds: Rounds, name: str, field: str) -> str:
    if "uvloop" not in rounds or field not in rounds[name][0]:
        return "n/a"
    return str(stats.paired_ratio(column(rounds, name, field), column(rounds, "uvloop", field)))


def result_table(rounds: Rounds) -> str:
    head = ["loop", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "CPU to uvloop"]
    if counters.why_not() is None:
        head += ["user instr/request", "to uvloop"]
    if any(one["errors"] or one["non_2xx"] for done in rounds.values() for one in done):
        head += ["socket errors", "non-2xx"]
    rows = []
    for name in rounds:
        row = [name, f"{middle(rounds, name, 'rate'):,.0f}"]
        row += [f"{middle(rounds, name, field) / 1e3:.2f}" for field in ("p50_us", "p99_us")]
        row += [f"{middle(rounds, name, 'cpu_us'):.1f}", ratio(rounds, name, "cpu_us")]
        if "user instr/request" in head:
            row += [f"{middle(rounds, name, 'instructions'):,.0f}",
                    ratio(rounds, name, "instructions")]  # fmt: skip
        if "non-2xx" in head:
            row += [f"{sum(column(rounds, name, field)):.0f}" for field in ("errors", "non_2xx")]
        rows.append(row)
    return report.table(head, rows)


def own_program(python: list[str]) -> str:
    """The line that runs the reader's own program, with the interpreter that was used."""
    near = os.path.relpath(python[0]) if os.path.isabs(python[0]) else python[0]
    shown = " ".join([python[0] if near.startswith("..") else near, *python[1:]])
    return (
        f"{report.bold('Your own program on yula, unchanged:')}\n"
        f"  {shown} -m yula your_app.py\n"
        f"  {shown} -m yula -m uvicorn your_module:app"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loops", default="yula,asyncio,uvloop", help="names, comma-separated")
    parser.add_argument("--route", choices=sorted(uvicorn.ROUTES), default="plaintext")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3, help="(3; 15 or more for a verdict)")
    parser.add_argument("--duration", type=int, default=3, help="seconds in each round (3)")
    parser.add_argument("--python", help="interpreter or command for the servers (this one)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE",
                        help="for the servers, such as a tuned MALLOC_TRIM_THRESHOLD_")  # fmt: skip
    parser.add_argument("--void-spread", type=float, default=0.25,
                        help="the run is void when asyncio's CPU moved more (0.25)")  # fmt: skip
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    options.python = process.server_python(options.python)
    loops = [name for name in options.loops.split(",") if name]
    unknown = sorted(set(loops) - set(LOOPS))
    if unknown or not loops:
        parser.error(f"unknown loops: {', '.join(unknown)}; known: {', '.join(LOOPS)}")

    wrk_version = uvicorn.require_wrk()
    what = machine.describe()
    interpreter = machine.ask_interpreter(options.python, [*loops, *MODULES])
    lacking = [name for name in MODULES if interpreter["versions"][name] is None]
    if lacking:
        raise SystemExit(f"not installed for {interpreter['executable']}: {', '.join(lacking)}")
    settings = (f"uvicorn, {options.route}, {wrk_version} with {options.connections} connections, "
                f"{options.rounds} rounds of {options.duration} s")  # fmt: skip
    machine.print_header(what, interpreter, settings)
    names = [name for name in loops if interpreter["versions"][name] is not None]
    if not names:
        raise SystemExit("none of these loops is installed")
    rounds, failed = run_rounds(names, options)
    if not rounds:
        return 1

    print(f"\n{result_table(rounds)}\n")
    rates = [(name, middle(rounds, name, "rate")) for name in rounds]
    print(report.bars("requests per second (one CPU)", rates, ""))
    print()
    broken = sum(one["errors"] + one["non_2xx"] for done in rounds.values() for one in done)
    if broken:
        print(report.paint(f"{broken} requests failed: the figures are not valid", "31;1"))
    void = False
    if "asyncio" in rounds and options.rounds > 1:
        moved = stats.spread(column(rounds, "asyncio", "cpu_us"))
        void = moved > options.void_spread
        if void:
            print(report.paint(
                f"Void: asyncio itself, the control, moved {moved * 100:.0f} % between rounds "
                f"(limit {options.void_spread * 100:.0f} %). Repeat on a quieter machine.", "33"
            ))  # fmt: skip
    if options.json:
        saved = {
            "machine": what,
            "interpreter": interpreter,
            "settings": vars(options),
            "wrk": wrk_version,
            "void": void,
            "failed": failed,
            "rounds": rounds,
        }
        options.json.write_text(json.dumps(saved, indent=1, default=str) + "\n")
        print(f"written: {options.json}")
    for name in failed:
        print(report.paint(f"{name} failed: its output is above", "31;1"))
    if "yula" in rounds:
        print(own_program(options.python))
    return 1 if failed or broken else 0


if __name__ == "__main__":
    sys.exit(main())
