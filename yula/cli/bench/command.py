"""The command line: which cases, on which loops, for how long; and what is shown in the end."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import child, machine, page, report, results, rounds
from .case import FULL, MINUTE, QUICK, Case, Settings, choose
from .workloads import connections, echo, operations, startup

CASES: list[Case] = [
    *echo.CASES, *connections.CASES, *operations.CASES, *startup.CASES,
]  # fmt: skip
ABOUT = """\
Compares the event loops that are installed for this Python, on this machine.

Every loop runs in a process of its own, on one CPU, with a client on another that checks every
byte. The loops take turns in rounds, and a ratio compares them within each round. Without options
it takes about a minute. CASE is a name or a pattern such as echo/streams or 'echo/*/1k/*'; --list
shows them all."""
SHORTEST_S, LONGEST_S = 0.1, 1.0


def main(arguments: list[str] | None = None) -> int:
    """python -m yula bench"""
    parser = make_parser("python -m yula bench", ABOUT)
    parser.add_argument("--quick", action="store_true", help="a few cases: 15 seconds")
    parser.add_argument("--full", action="store_true", help="everything: an hour")
    options = parser.parse_args(arguments)
    level = QUICK if options.quick else FULL if options.full else MINUTE
    settings = Settings(patience=10.0)
    budget = None if options.full else 15.0 if options.quick else 60.0
    return run(parser, options, CASES, settings, level, budget)


def make_parser(program: str, about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", nargs="*", metavar="CASE")
    parser.add_argument("--list", action="store_true", help="the cases, and end")
    parser.add_argument("--loops", default=",".join(machine.LOOPS), metavar="NAME,...",
                        help="(those that are installed, of all that are known)")  # fmt: skip
    parser.add_argument("--rounds", type=int, help="(3; 15 or more for a verdict)")
    parser.add_argument("--seconds", type=float, help="measured in each round")
    parser.add_argument("--python", action="append", metavar="COMMAND",
                        help="another interpreter; may be repeated")  # fmt: skip
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE",
                        help="for the processes under test")  # fmt: skip
    parser.add_argument("--void-spread", type=float, default=results.VOID_SPREAD, metavar="PART",
                        help="a case's ratios are void when the control moved more (0.25)")  # fmt: skip
    parser.add_argument("--details", action="store_true", help="all figures of every case")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with charts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    return parser


def run(
    parser: argparse.ArgumentParser,
    options: argparse.Namespace,
    cases: Sequence[Case],
    settings: Settings,
    level: int,
    budget: float | None,
    afterwards: Callable[[Case, results.Summary], None] | None = None,
) -> int:
    """Everything a command line asks for. Returns the exit status.

    afterwards: may add to the summary of a case when it has been measured.
    budget: seconds it should take when the command line does not say how long to measure.
    """
    wanted = choose(cases, options.case, level)
    if not wanted:
        parser.error(f"no case matches {' '.join(options.case)}; --list shows them")
    if options.list:
        list_cases(wanted if options.case else [case for case in cases if case.level <= FULL])
        if not options.case:
            print("\nOther sizes and numbers of connections: echo/STYLE/SIZE/CONNECTIONS; "
                  "--list 'echo/*' shows all.")  # fmt: skip
        return 0
    loops = [name for name in options.loops.split(",") if name]
    unknown = sorted(set(loops) - set(machine.LOOPS))
    if unknown or not loops:
        parser.error(f"unknown loops: {', '.join(unknown)}; known: {', '.join(machine.LOOPS)}")
    settings.env = options.env
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: report, then end
    began = time.monotonic()
    what = machine.describe()
    saved: dict[str, Any] = {"format": 1, "machine": what, "void_spread": options.void_spread,
                             "command": sys.argv, "runs": []}  # fmt: skip
    for python in options.python or [None]:
        settings.python = child.server_python(python)
        modules = sorted({module for case in wanted for module in case.modules} - set(loops))
        interpreter = machine.ask_interpreter(settings.python, [*loops, *modules])
        versions = interpreter["versions"]
        present = [name for name in loops if versions[name] is not None]
        if not present:
            print(f"none of these loops is installed for {interpreter['executable']}")
            continue
        skipped = {case.name: why for case in wanted if (why := case.lacks(settings, versions))}
        chosen = [case for case in wanted if case.name not in skipped]
        expected = plan(settings, options, chosen, len(present), budget)
        saved["settings_text"] = (f"{len(chosen)} cases, {options.rounds} rounds of "
                                  f"{settings.seconds:.2g} s each")  # fmt: skip
        saved["settings"] = {**vars(options), "seconds": settings.seconds,
                             "warmup": settings.warmup}  # fmt: skip
        machine.print_header(
            what, interpreter, f"{saved['settings_text']}: about {expected:.0f} seconds"
        )
        for name, why in skipped.items():
            print(f"skipped   {name}: {why}")
        one: dict[str, Any] = {"interpreter": interpreter, "loops": present, "skipped": skipped,
                               "cases": []}  # fmt: skip
        saved["runs"].append(one)

        def measured(case: Case, summary: results.Summary) -> None:
            if afterwards is not None:
                afterwards(case, summary)
            save(saved, options)  # a run of hours may be ended by anything

        interrupted = measure(one, chosen, present, settings, options, measured)
        show(one, options)
        if interrupted:
            break
    if not saved["runs"]:
        return 1
    print(f"({time.monotonic() - began:.0f} s)")
    write(saved, options)
    return exit_status(saved)


def list_cases(cases: Sequence[Case]) -> None:
    for case in cases:
        print(f"{case.name.ljust(28)} {case.about}")


def plan(
    settings: Settings,
    options: argparse.Namespace,
    cases: Sequence[Case],
    loops: int,
    budget: float | None,
) -> float:
    """How many rounds, and how long in each, where the command line does not say.

    Returns how many seconds it will take.
    """
    measured, overhead = 0, 0.0  # in each round
    for case in cases:
        names = loops + len(case.references(settings))
        measured += names
        overhead += names * case.overhead_s
    if options.rounds is None:
        fits = budget is None or budget > 3 * (overhead + measured * SHORTEST_S)
        options.rounds = 3 if fits else 2
    if options.seconds is not None:
        settings.seconds = options.seconds
    elif budget is not None:
        # The warm-up is a third of the time that is measured.
        each = (budget / options.rounds - overhead) / max(measured, 1) * 0.75
        settings.seconds = min(max(each, SHORTEST_S), LONGEST_S)
    settings.warmup = min(settings.warmup, settings.seconds / 3)
    child.allow_descriptors(max((case.descriptors for case in cases), default=256))
    count: int = options.rounds
    return count * (overhead + measured * (settings.warmup + settings.seconds))


def measure(
    one: dict[str, Any],
    cases: Sequence[Case],
    loops: Sequence[str],
    settings: Settings,
    options: argparse.Namespace,
    measured: Callable[[Case, results.Summary], None],
) -> bool:
    """Fills one["cases"]; tells `measured` of each. Ctrl-C ends the measuring, not the report: returns True."""
    shown = sys.stdout.isatty()
    for number, case in enumerate(cases):
        label = f"[{number + 1}/{len(cases)}] "
        if not shown:
            report.progress(f"{label}{case.name}")

        def say(text: str, label: str = label) -> None:
            if shown:
                report.progress(label + text)

        failing = say_failure(case)
        try:
            found = rounds.run_case(case, loops, settings, options.rounds, say, failing)
            summary = results.summarise(found, options.void_spread)
            one["cases"].append(summary)
            measured(case, summary)
        except KeyboardInterrupt:
            report.progress("")
            print("interrupted: what follows is what was measured before")
            return True
        except rounds.FAILURES as error:  # the service that the case needs did not start
            failing("all loops", str(error))
            one["skipped"][case.name] = results.short(str(error))
            continue
    report.progress("")
    return False


def say_failure(case: Case) -> Callable[[str, str], None]:
    def failing(name: str, why: str) -> None:
        report.progress("")
        print(f"FAILED    {case.name}: {results.short(why, name)}", file=sys.stderr, flush=True)

    return failing


def show(one: dict[str, Any], options: argparse.Namespace) -> None:
    summaries = one["cases"]
    if not summaries:
        return
    limits = any(each["limit"] for each in summaries)
    print(f"\n{results.matrix(summaries, one['loops'], limits)}\n")
    counted = results.instruction_matrix(summaries, one["loops"], limits)
    if counted:
        print(f"{counted}\n")
    if options.details:
        for each in summaries:
            print(f"{results.details(each)}\n")
    for each in summaries[:2]:
        scale = each["figure"]["scale"]
        bars = [(name, each["loops"][name]["median"] * scale)
                for name in one["loops"] if name in each["loops"]]  # fmt: skip
        if bars:
            title = f"{each['about']}: {each['figure']['label']}, less is better"
            print(report.bars(title, bars, each["figure"]["unit"]) + "\n")
    for each in summaries:
        for name, reasons in each["repeated"].items():
            print(f"repeated  {each['name']}: {results.short(reasons[0], name)}")
    void = [each["name"] for each in summaries if each["void"]]
    if void:
        print(report.paint(
            f"Void, because the control moved more than {options.void_spread * 100:.0f} % between "
            f"rounds (something else was running; repeat it): {', '.join(void)}\n", "33"
        ))  # fmt: skip


def save(saved: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        options.json.write_text(json.dumps(saved, indent=1, default=str) + "\n")


def write(saved: dict[str, Any], options: argparse.Namespace) -> None:
    save(saved, options)
    if options.json:
        print(f"written: {options.json}")
    if options.html:
        options.html.write_text(page.page(saved), encoding="utf-8")
        print(f"written: {options.html}")
    elif not options.json:
        print("--html FILE makes a page with charts; --json FILE saves every figure.")


def exit_status(saved: dict[str, Any]) -> int:
    """1 when yula failed in a case, or nothing was measured; rivals may fail."""
    summaries = [each for one in saved["runs"] for each in one["cases"]]
    ours = any(results.OURS in each["failed"] for each in summaries)
    return 1 if ours or not summaries else 0
