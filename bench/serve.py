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
import sys
from pathlib import Path
from typing import Any

from harness import counters, machine, process, report, results, rounds, stats, web
from harness.case import Settings
from workloads.web_servers import WebServer

LOOPS = machine.LOOPS


def run_rounds(case: WebServer, loops: list[str], settings: Settings, options: argparse.Namespace
               ) -> rounds.Measured:  # fmt: skip
    widest = max(map(len, loops))

    def label(name: str, number: int) -> str:
        return f"round {number + 1} of {options.rounds}  {name.ljust(widest)}"

    def failing(name: str, why: str) -> None:
        report.progress("")
        print(f"FAILED    {name}\n{why}", flush=True)

    def done(name: str, number: int, one: dict[str, Any]) -> None:
        report.progress("")
        print(
            f"{label(name, number)}  {one['rate']:>9,.0f} requests/s  ({one['loop']})", flush=True
        )

    def say(text: str) -> None:
        if sys.stdout.isatty():
            report.progress(f"{text} ...")

    return rounds.run_case(case, loops, settings, options.rounds, say, failing, done)


def middle(found: rounds.Measured, name: str, field: str) -> float:
    return statistics.median(found.column(name, field))


def ratio(found: rounds.Measured, name: str, field: str) -> str:
    if "uvloop" not in found.rounds or field not in found.rounds[name][0]:
        return "n/a"
    return str(stats.paired_ratio(found.column(name, field), found.column("uvloop", field)))


def result_table(found: rounds.Measured) -> str:
    head = ["loop", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "CPU to uvloop"]
    if counters.why_not() is None:
        head += ["user instr/request", "to uvloop"]
    rows = []
    for name in found.rounds:
        row = [name, f"{middle(found, name, 'rate'):,.0f}"]
        row += [f"{middle(found, name, field) / 1e3:.2f}" for field in ("p50_us", "p99_us")]
        row += [f"{middle(found, name, 'cpu_us'):.1f}", ratio(found, name, "cpu_us")]
        if "user instr/request" in head:
            row += [f"{middle(found, name, 'instructions'):,.0f}",
                    ratio(found, name, "instructions")]  # fmt: skip
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
    parser.add_argument("--route", choices=sorted(web.ROUTES), default="plaintext")
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
    loops = [name for name in options.loops.split(",") if name]
    unknown = sorted(set(loops) - set(LOOPS))
    if unknown or not loops:
        parser.error(f"unknown loops: {', '.join(unknown)}; known: {', '.join(LOOPS)}")

    wrk_version = web.require_wrk()
    settings = Settings(process.server_python(options.python), options.duration, env=options.env)
    case = WebServer("uvicorn", options.route, connections=options.connections)
    what = machine.describe()
    interpreter = machine.ask_interpreter(settings.python, [*loops, *case.modules])
    lacking = [name for name in case.modules if interpreter["versions"][name] is None]
    if lacking:
        raise SystemExit(f"not installed for {interpreter['executable']}: {', '.join(lacking)}")
    text = (f"uvicorn, {options.route}, {wrk_version} with {options.connections} connections, "
            f"{options.rounds} rounds of {options.duration} s")  # fmt: skip
    machine.print_header(what, interpreter, text)
    names = [name for name in loops if interpreter["versions"][name] is not None]
    if not names:
        raise SystemExit("none of these loops is installed")
    found = run_rounds(case, names, settings, options)
    if not found.rounds:
        return 1

    print(f"\n{result_table(found)}\n")
    rates = [(name, middle(found, name, "rate")) for name in found.rounds]
    print(report.bars("requests per second (one CPU)", rates, ""))
    print()
    summary = results.summarise(found, options.void_spread)
    if summary["void"]:
        print(report.paint(
            f"Void: {summary['control']}, the control, moved {summary['control_moved'] * 100:.0f} % "
            f"between rounds (limit {options.void_spread * 100:.0f} %). Repeat on a quieter machine.",
            "33",
        ))  # fmt: skip
    if options.json:
        saved = {"machine": what, "interpreter": interpreter, "settings": vars(options),
                 "wrk": wrk_version, **summary}  # fmt: skip
        options.json.write_text(json.dumps(saved, indent=1, default=str) + "\n")
        print(f"written: {options.json}")
    for name in found.failed:
        print(report.paint(f"{name} failed: its output is above", "31;1"))
    if "yula" in found.rounds:
        print(own_program(settings.python))
    return 1 if found.failed else 0


if __name__ == "__main__":
    sys.exit(main())
