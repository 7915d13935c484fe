"""What loop.stats() says of the waits for the lock, beside a trace of them from below."""

from __future__ import annotations

import argparse
import struct
from functools import partial

from harness import process, report

from contention import frontier, quiet, runs

# ORDER gil_trace: bench/c/gil_trace.c
FIELDS = [f"{kind}_{field}" for kind in ("own", "inside", "handing_over")
          for field in ("waits", "waited_ns", "longest_ns")]  # fmt: skip
WANTED = 0.03  # how far the two may be apart


def traced(subject: runs.Subject, connections: int, options: argparse.Namespace) -> runs.Result:
    path = options.counters.path.with_name("trace")
    path.write_bytes(bytes(8 * len(FIELDS)))
    load = runs.Load(connections, stats=subject.loop == "yula", env=(f"GIL_TRACE={path}",),
                     server=("--preload", str(process.BUILD / "gil_trace.so")))  # fmt: skip
    result = runs.measure(subject, load, options)
    values = struct.unpack(f"{len(FIELDS)}Q", path.read_bytes())
    return {**result, "trace": dict(zip(FIELDS, values, strict=True))}


def run(options: argparse.Namespace) -> runs.Rounds:
    """The whole life of each server is compared: the trace and the loop begin and end together."""
    cases = {frontier.case_name(count): partial(traced, connections=count, options=options)
             for count in options.connections or [1, 10, 100]}  # fmt: skip
    rounds = runs.run_rounds(cases, runs.subjects(options), options.rounds)
    for case in cases:
        print(f"{table(rounds, case)}\n")
    print(f"{claims(rounds)}\n")
    return rounds


def table(rounds: runs.Rounds, case: str) -> str:
    head = [case, "round", "requests/s", "CPU", "traced: own waits", "waited ms", "longest",
            "inside batches", "waited ms", "stats(): waits", "waited ms", "longest",
            "lost estimate ms"]  # fmt: skip
    rows = []
    for label in rounds.labels(case):
        for one in rounds.results[case][label]:
            seen, says = one["trace"], quiet.gil_stats(one)
            row = [label, str(one["round"] + 1), f"{one['rate']:,.0f}", runs.percent(one["cpu"])]
            row += [f"{seen['own_waits']:,}", ms(seen["own_waited_ns"]), ms(seen["own_longest_ns"])]
            row += [f"{seen['inside_waits']:,}", ms(seen["inside_waited_ns"])]
            row += [f"{says['waits']:,}" if "waits" in says else "n/a"]
            row += [ms(says.get(key)) for key in ("waited_ns", "longest_wait_ns",
                                                  "lost_estimate_ns")]  # fmt: skip
            rows.append(row)
    return report.table(head, rows)


def ms(ns: float | None) -> str:
    return "n/a" if ns is None else f"{ns / 1e6:.2f}"


def claims(rounds: runs.Rounds) -> str:
    ratios = []
    for by_label in rounds.results.values():
        for one in by_label.get("yula", []):
            says = quiet.gil_stats(one).get("waited_ns")
            if says is not None and one["trace"]["own_waited_ns"]:
                ratios.append(says / one["trace"]["own_waited_ns"])
    if not ratios:
        return f"{runs.said(None)} loop.stats() agrees with the trace: it says nothing of waits"
    worst = max(ratios, key=lambda ratio: abs(ratio - 1))
    return (f"{runs.said(abs(worst - 1) <= WANTED)} loop.stats() agrees with the trace of its own "
            f"waits: {min(ratios):.4f} to {max(ratios):.4f} of it in {len(ratios)} runs")  # fmt: skip
