"""Echo: what each loop costs above a bare C server, and where its instructions go.

    python bench/echo.py                                   a minute: 1 KiB, protocols
    python bench/echo.py --style streams --size 10240
    python bench/echo.py --wire tls --style streams
    python bench/echo.py --rounds 15 --seconds 2 --json echo.json --python .venv/bin/python

One case of the suite (suite.py), with any size and number of connections, and with what only makes
sense for one: instructions counted exactly by valgrind, and its profile.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

from harness import child, instructions, machine, process, report, results, rounds, stats, tools
from harness.workloads.echo import STYLES, Echo

LOOPS = machine.LOOPS


def valgrind_table(counted: dict[str, float]) -> str:
    base = counted.get("uvloop")
    head = ["server", "user instructions/req (valgrind)", "to uvloop"]
    rows = [
        [name, f"{count:,.0f}", f"{count / base:.2f}" if base else "n/a"]
        for name, count in counted.items()
    ]
    return report.table(head, rows)


def ratio(found: rounds.Measured, name: str, base: str | None, key: str) -> str:
    if base is None or base not in found.rounds or key not in found.rounds[name][0]:
        return "n/a"
    return str(stats.paired_ratio(found.column(name, key), found.column(base, key)))


def result_table(found: rounds.Measured, base: str | None) -> str:
    head = ["server", "CPU µs/req", "±", f"to {base or 'C'}", "to uvloop", "requests/s",
            "p50 µs", "p99 µs", "p99.9 µs"]  # fmt: skip
    rows = []
    for name in found.rounds:
        cpu = found.column(name)
        row = [name, f"{statistics.median(cpu):.2f}", f"{stats.spread(cpu) * 100:.0f}%"]
        row += [ratio(found, name, base, "cpu_us"), ratio(found, name, "uvloop", "cpu_us")]
        for field in ("rate", "p50_us", "p99_us", "p999_us"):
            row.append(f"{statistics.median(found.column(name, field)):,.0f}")
        rows.append(row)
    return report.table(head, rows)


def counter_table(found: rounds.Measured) -> str:
    first = next(iter(found.rounds.values()))[0]
    if "instructions" not in first:
        return f"user instructions and cycles per request: n/a ({first.get('no_counters')})"
    head = ["server", "user instructions/req", "to uvloop", "user cycles/req", "to uvloop"]
    rows = []
    for name in found.rounds:
        row = [name]
        for key in ("instructions", "cycles"):
            row += [f"{statistics.median(found.column(name, key)):,.0f}",
                    ratio(found, name, "uvloop", key)]  # fmt: skip
        rows.append(row)
    return report.table(head, rows)


def parse_options() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loops", default=",".join(LOOPS), help="names, comma-separated")
    parser.add_argument("--no-c", action="store_true", help="leave the C servers out")
    parser.add_argument("--wire", choices=list(STYLES), default="tcp")
    parser.add_argument("--style", choices=sorted({style for all in STYLES.values() for style in all}),
                        help="(protocol; UDP: datagram)")  # fmt: skip
    parser.add_argument("--size", type=int, default=1024, help="bytes a message (1024)")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5, help="(5; 15 or more for a verdict)")
    parser.add_argument("--seconds", type=float, default=1.0, help="measured in each round (1)")
    parser.add_argument("--warmup", type=float, default=0.3, help="seconds before that (0.3)")
    parser.add_argument("--python", help="interpreter or command for the servers (this one)")
    parser.add_argument("--valgrind", action="store_true",
                        help="count user instructions with valgrind, too (slow, exact)")  # fmt: skip
    parser.add_argument("--profile", type=Path, metavar="FOLDER",
                        help="with --valgrind: keep each profile, for callgrind_annotate")  # fmt: skip
    parser.add_argument("--count-requests", type=int, default=instructions.REQUESTS,
                        help="requests to count with valgrind (10,000)")  # fmt: skip
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE",
                        help="for the servers, such as a tuned MALLOC_TRIM_THRESHOLD_")  # fmt: skip
    parser.add_argument("--void-spread", type=float, default=results.VOID_SPREAD,
                        help="the run is void when the control moved more (0.25)")  # fmt: skip
    parser.add_argument("--json", type=Path, help="write everything measured to this file")
    options = parser.parse_args()
    options.style = options.style or STYLES[options.wire][0]
    if options.style not in STYLES[options.wire]:
        parser.error(f"{options.wire} has the styles {', '.join(STYLES[options.wire])}")
    loops = [name for name in options.loops.split(",") if name]
    unknown = sorted(set(loops) - set(LOOPS))
    if unknown:
        parser.error(f"unknown loops: {', '.join(unknown)}; known: {', '.join(LOOPS)}")
    if options.valgrind and shutil.which("valgrind") is None:
        parser.error("valgrind is not installed (Debian: valgrind)")
    if options.valgrind and options.wire == "unix":
        parser.error("--valgrind goes over a port; Unix sockets have none")
    if options.profile:
        options.profile.mkdir(parents=True, exist_ok=True)
        options.profile = options.profile.resolve()
    return options, loops


def main() -> int:
    options, loops = parse_options()
    settings = tools.settings(no_c=options.no_c)
    settings.python = process.server_python(options.python)
    settings.seconds, settings.warmup = options.seconds, options.warmup
    settings.env = options.env
    case = Echo(options.style, options.size, options.connections, options.wire)
    child.allow_descriptors(case.descriptors)
    what = machine.describe()
    interpreter = machine.ask_interpreter(settings.python, loops)
    machine.print_header(
        what, interpreter, f"{case.about}; {options.rounds} rounds of {options.seconds:g} s"
    )
    loops = [name for name in loops if interpreter["versions"][name] is not None]

    def failing(name: str, why: str) -> None:
        report.progress("")
        print(f"FAILED {why}", file=sys.stderr)

    found = rounds.run_case(case, loops, settings, options.rounds, report.progress, failing)
    report.progress("")
    if not found.rounds:
        return 1
    summary = results.summarise(found, options.void_spread)
    print(result_table(found, summary["limit"]))
    print()
    print(counter_table(found))
    counted: dict[str, float] = {}
    if options.valgrind:

        def not_counted(name: str, why: str) -> None:
            report.progress("")
            print(f"not counted: {why}", file=sys.stderr)

        counted = instructions.count_all(
            case, list(found.rounds), settings, options.count_requests, options.profile,
            report.progress, not_counted,
        )  # fmt: skip
        report.progress("")
    if counted:
        print()
        print(valgrind_table(counted))
    print(f"\n{control_line(summary, found, options)}")
    if summary["void"]:
        print(report.paint("VOID: the machine did not hold still; repeat the run", "31;1"))
    if options.json:
        saved = {"machine": what, "interpreter": interpreter, "settings": vars(options),
                 "valgrind_instructions": counted, **summary, "rounds": found.rounds}  # fmt: skip
        options.json.write_text(json.dumps(saved, indent=1, default=str) + "\n")
        print(f"written: {options.json}")
    return 1 if found.failed else 0


def control_line(summary: results.Summary, found: rounds.Measured, options: argparse.Namespace
                 ) -> str:  # fmt: skip
    """Whether the machine held still: judged by the control, never by what is under test."""
    if summary["control"] is None:
        text = "no control (neither asyncio nor C was run): stability is not judged"
    else:
        text = (f"control {summary['control']} moved {summary['control_moved'] * 100:.0f} % between "
                f"rounds (limit {options.void_spread * 100:.0f} %)")  # fmt: skip
    waited = max(one["waited"] for done in found.rounds.values() for one in done)
    if waited > 0.05:
        text += f"; a server waited up to {waited * 100:.0f} % of the time for its CPU"
    return text


if __name__ == "__main__":
    sys.exit(main())
