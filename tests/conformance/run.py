"""Run CPython's own asyncio tests on yula.Loop. See README.md in this folder.

    python tests/conformance/run.py                              everything
    python tests/conformance/run.py --module test_events -k sock
    python tests/conformance/run.py --loop asyncio               the same tests on asyncio's loop

Exits with 0 if nothing failed that is not listed, and nothing passed that is listed as failing.
"""

import argparse
import asyncio
import collections
import importlib
import json
import sys
import time
from pathlib import Path

import expected as expected_list
import suite
from pool import Pool

# Longest first, so that the last process to finish is a short one.
SLOW_FIRST = ["test_subprocess", "test_events", "test_tasks", "test_sslproto", "test_ssl"]

# Seconds for a test that is listed as failing: some fail by waiting for ever.
LISTED_TIMEOUT = 10.0


def main(argv=None):
    args = _parse(argv)
    try:
        loop_class = _loop_class(args.loop)
        expected = _expected(args.expected, loop_class is asyncio.SelectorEventLoop)
        suite.substitute(loop_class)
        names = suite.module_names()
    except suite.SuiteMissing:
        sys.exit(suite.missing_message())
    except expected_list.BadList as err:
        sys.exit(str(err))
    unknown = set(args.module) - set(names)
    if unknown:
        sys.exit(f"no such module: {', '.join(sorted(unknown))}; there are: {' '.join(names)}")
    modules = [n for n in names if not args.module or n in args.module]
    report = run(modules, args, expected)
    report.print(loop_class, args.verbose)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(report.as_dict(loop_class), file, indent=1)
    return 1 if report.failed else 0


def run(modules, args, expected):
    tests, skipped_modules = suite.load(modules)
    known = {t.id for t in tests} | {f"{name}.*" for name in skipped_modules}
    report = Report(expected)
    chosen = [t for t in tests if not args.k or any(k in t.id for k in args.k)]
    if args.list:
        print("\n".join(t.id for t in chosen))
        sys.exit(0)
    order = {name: i for i, name in enumerate(SLOW_FIRST)}
    chosen.sort(key=lambda t: order.get(t.module, len(order)))
    for test in chosen:
        entry = expected.find(test.id)
        listed = entry is not None and entry.outcome == "fail"
        test.timeout = min(args.timeout, LISTED_TIMEOUT) if listed else args.timeout
    progress = _Progress(len(chosen), args.verbose)
    for record in Pool(chosen, jobs=args.jobs).run():
        verdict = report.add(record)
        progress.show(record, verdict)
    progress.clear()
    report.seconds = progress.seconds()
    if not args.k:
        for name, reason in skipped_modules.items():
            report.add_skipped_module(name, reason)
        for entry in expected.stale(known, set(modules)):
            report.problem(
                entry.pattern, f"listed in {expected.path.name}, but there is no such test"
            )
        report.check_counts(modules)
    return report


class Report:
    def __init__(self, expected):
        self._expected = expected
        self.records = []  # (record, verdict, what is wrong)
        self.problems = []  # (name, text): failures that are not one test's
        self.constructed = {key: collections.Counter() for key in "ABC"}
        self.seconds = 0.0

    @property
    def failed(self):
        return sum(v == "fail" for _, v, _ in self.records) + len(self.problems)

    def add(self, record):
        entry = self._expected.find(record.id)
        verdict, wrong = expected_list.judge(record, entry)
        self.records.append((record, verdict, wrong))
        # A test that this machine cannot run still counts: the pinned numbers are those of a whole machine.
        if record.set and (record.constructed or (entry and entry.when and verdict == "skip")):
            self.constructed[record.set][record.id.partition(".")[0]] += 1
        return verdict

    def add_skipped_module(self, name, reason):
        entry = self._expected.find(f"{name}.*")
        if not entry or entry.outcome != "skip":
            self.problem(name, f"the whole module skips itself, which is not listed: {reason}")

    def problem(self, name, text):
        self.problems.append((name, text))

    def check_counts(self, modules):
        for key, pinned in self._expected.at_least.items():
            for module, least in pinned.items():
                have = self.constructed[key][module]
                if module in modules and have < least:
                    text = (
                        f"{have} tests constructed the loop under test, at least {least} are pinned"
                    )
                    self.problem(module, f"set {key}: {text}")

    def tally(self):
        counts = collections.Counter(v for _, v, _ in self.records)
        counts["fail"] += len(self.problems)
        return counts

    def print(self, loop_class, verbose):
        for record, verdict, wrong in self.records:
            if verdict == "fail":
                print(f"\n{'=' * 78}\nFAIL {record.id}\n{'-' * 78}\n{wrong}")
                if record.output.strip():
                    print(f"{'-' * 30} output {'-' * 40}\n{record.output.rstrip()}")
        for name, text in self.problems:
            print(f"\n{'=' * 78}\nFAIL {name}: {text}")
        if verbose:
            self._print_listed()
        self._print_counts(loop_class)
        self._print_summary()

    def _print_listed(self):
        for record, verdict, _ in self.records:
            if verdict in ("skip", "xfail"):
                print(f"{verdict:5} {record.id}: {self._expected.find(record.id).reason}")
            elif verdict == "n/a" and record.outcome != "pass":
                print(f"n/a   {record.id}: failed without constructing the loop under test")

    def _print_counts(self, loop_class):
        print(f"\ntests that constructed a {loop_class.__module__}.{loop_class.__qualname__}:")
        for key, text in (
            ("A", "mixins made for any loop"),
            ("B", "through the default factory"),
            ("C", "naming asyncio.SelectorEventLoop"),
        ):
            counter = self.constructed[key]
            print(f"  set {key}, {text}: {counter.total()}")
            for module in sorted(counter):
                least = self._expected.at_least[key].get(module)
                pinned = "" if least is None else f" (pinned {least})"
                print(f"    {module:28} {counter[module]:4}{pinned}")

    def _print_summary(self):
        counts = self.tally()
        for record, verdict, wrong in self.records:
            if verdict == "fail":
                print(f"FAILED {record.id}: {_last_line(wrong)[:160]}")
        for name, text in self.problems:
            print(f"FAILED {name}: {text}")
        print(
            f"{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped, "
            f"{counts['xfail']} expected to fail, {counts['n/a']} not applicable, in {self.seconds:.0f} s"
        )

    def as_dict(self, loop_class):
        return {
            "python": sys.version,
            "loop": f"{loop_class.__module__}.{loop_class.__qualname__}",
            "counts": dict(self.tally()),
            "constructed": {key: dict(sorted(c.items())) for key, c in self.constructed.items()},
            "problems": [{"name": name, "text": text} for name, text in self.problems],
            "tests": [dict(r.as_dict(), verdict=v) for r, v, _ in self.records],
        }


class _Progress:
    """One line that is rewritten on a terminal; with -v a line a test."""

    def __init__(self, total, verbose):
        self._total, self._verbose = total, verbose
        self._done = self._failed = 0
        self._start = time.monotonic()
        self._live = sys.stdout.isatty() and not verbose

    def show(self, record, verdict):
        self._done += 1
        self._failed += verdict == "fail"
        if self._verbose:
            which = record.set or "-"
            print(f"{verdict:5} {record.seconds:6.2f} s  {which}  {record.id}", flush=True)
        elif verdict == "fail" and not self._live:
            print(f"failed: {record.id} ({record.outcome})", flush=True)
        elif self._live:
            line = f"{self._done} of {self._total} tests, {self._failed} failed"
            print(f"\r{line} ", end="", flush=True)

    def clear(self):
        if self._live:
            print("\r" + " " * 60 + "\r", end="")

    def seconds(self):
        return time.monotonic() - self._start


def _last_line(text):
    return text.strip().rpartition("\n")[2]


def _loop_class(name):
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    module, _, attribute = ("yula:Loop" if name == "yula" else name).partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as err:
        hint = f"Install yula into {sys.executable} first."
        sys.exit(f"cannot load the loop {module}:{attribute}: {err}\n{hint}")


def _expected(path, loop_is_asyncio):
    path = path or expected_list.path_for_this_interpreter()
    try:
        return expected_list.Expected(path, loop_is_asyncio=loop_is_asyncio)
    except OSError as err:
        sys.exit(f"no list of expected failures for this interpreter: {err}")


def _parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--loop", default="yula", help="yula, asyncio or module:Class (default: yula)")
    add("--module", action="append", default=[], help="only this test module; repeatable")
    add("-k", action="append", default=[], help="only tests with this in their name; repeatable")
    add("-v", "--verbose", action="store_true", help="a line a test, and every listed reason")
    add("--list", action="store_true", help="print the names of the chosen tests and stop")
    add("--json", metavar="FILE", help="write every result to FILE")
    add("--jobs", type=int, default=2, help="processes at a time (default: 2)")
    add("--timeout", type=float, default=60.0, help="seconds a test may take (default: 60)")
    add("--expected", metavar="FILE", type=Path, help="another list than expected/3.X.toml")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
