"""A loop beside threads that compute in Python: who gets what of the interpreter lock.

    python bench/gil.py frontier                          rate against the thread's share: 6 min
    python bench/gil.py frontier --chart frontier.svg --json frontier.json
    python bench/gil.py frontier --loops yula,talyn --connections 10 --rounds 3

The server and its computing threads are pinned to one CPU and a C client that checks every byte
to another. A thread's share is its speed while the loop serves, to its speed in the same process
while the loop is idle, before and after.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contention import application, beside, chart, frontier, quiet, runs, trace
from harness import machine, process, report

LOOPS = ["asyncio", "uvloop", "zuvloop", "rsloop", "rloop", "talyn", "yula"]
STYLES = ["protocol", "buffered", "streams", "sock"]


def frontier_report(options: argparse.Namespace) -> runs.Rounds:
    rounds = frontier.run(options)
    for case in rounds.results:
        print(f"{frontier.table(rounds, case)}\n")
    claims = frontier.claims(rounds, options)
    if claims:
        print(f"{claims}\n")
    if options.chart:
        panels = {case: frontier.points(rounds, case) for case in rounds.results}
        drawn = {case: found for case, found in panels.items() if found}
        options.chart.write_text(chart.draw(drawn, options.subtitle))
        print(f"drawn: {options.chart}\n")
    return rounds


SCENARIOS: dict[str, Callable[[argparse.Namespace], runs.Rounds]] = {
    "frontier": frontier_report,
    "apart": beside.apart,
    "threads": beside.threads,
    "paced": quiet.paced,
    "idle": quiet.idle,
    "application": application.run,
    "trace": trace.run,
}


def words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", choices=list(SCENARIOS))
    parser.add_argument("--loops", type=words, default=LOOPS, help="comma-separated")
    parser.add_argument("--yula-shares", type=lambda text: [float(word) for word in words(text)],
                        default=[0.1, 0.25, 0.5, 0.75, 0.9], metavar="A,B,...",
                        help="settings of yula beside its default (0.1,0.25,0.5,0.75,0.9)")  # fmt: skip
    parser.add_argument("--connections", type=lambda text: [int(word) for word in words(text)],
                        metavar="A,B,...", help="(1,10,100; threads: 100; paced: 1,10)")  # fmt: skip
    parser.add_argument("--style", choices=STYLES, default="protocol")
    parser.add_argument("--size", type=int, default=1024, help="bytes a message (1024)")
    parser.add_argument("--rounds", type=int, default=5, help="(5; 15 or more for a verdict)")
    parser.add_argument("--seconds", type=float, default=0.6, help="measured in each round (0.6)")
    parser.add_argument("--warmup", type=float, default=0.3, help="seconds before that (0.3)")
    parser.add_argument("--solo", type=float, default=0.3,
                        help="seconds that the threads are timed alone, before and after (0.3)")  # fmt: skip
    parser.add_argument("--python", help="interpreter or command for the servers (this one)")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE",
                        help="for the servers")  # fmt: skip
    parser.add_argument("--void-spread", type=float, default=0.1,
                        help="the run is void when the control moved more (0.1)")  # fmt: skip
    parser.add_argument("--chart", type=Path, help="frontier: draw it to this SVG file")
    parser.add_argument(
        "--only", metavar="TEXT", help="threads: only cases with this in their name"
    )
    parser.add_argument("--pace", type=int, default=100, help="paced: requests a second (100)")
    parser.add_argument("--idle-seconds", type=float, default=10, help="idle: watched for (10)")
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    options.python = process.server_python(options.python)
    unknown = sorted(set(options.loops) - set(machine.LOOPS))
    if unknown:
        parser.error(f"unknown loops: {', '.join(unknown)}; known: {', '.join(machine.LOOPS)}")
    return options


def save(path: Path, options: argparse.Namespace, what: dict[str, Any], rounds: runs.Rounds,
         void: bool, text: str) -> None:  # fmt: skip
    saved = {
        **what,
        "settings": vars(options),
        "void": void,
        "verdict": text,
        "failed": rounds.failed,
        "rounds": rounds.results,
    }
    path.write_text(json.dumps(saved, indent=1, default=str) + "\n")
    print(f"written: {path}")


def main() -> int:
    options = parse()
    process.build_c_tools()
    what = machine.describe()
    interpreter = machine.ask_interpreter(options.python, options.loops)
    options.loops = [name for name in options.loops if interpreter["versions"][name] is not None]
    settings = (f"{options.scenario}: echo, {options.style}, {options.size} B, "
                f"{options.rounds} rounds of {options.seconds:g} s")  # fmt: skip
    machine.print_header(what, interpreter, settings)
    options.subtitle = f"Python {interpreter['python']}, {what['cpu']}; {settings}"
    if not options.loops:
        raise SystemExit("none of these loops is installed")
    with runs.Counters(options.python) as options.counters:
        if not options.counters.real_time:
            print(
                "the CPU's speed is not taken out of the shares: no right to a real-time priority"
            )
        rounds = SCENARIOS[options.scenario](options)
    steady, text = runs.verdict(rounds, options.void_spread)
    print(text)
    if not steady:
        print(report.paint("VOID: the machine did not hold still; repeat the run", "31;1"))
    if options.json:
        found = {"machine": what, "interpreter": interpreter}
        save(options.json, options, found, rounds, not steady, text)
    return 1 if rounds.failed else 0


if __name__ == "__main__":
    sys.exit(main())
