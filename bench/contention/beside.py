"""A process beside the server, more threads in it, other loops in it: who gets how much."""

from __future__ import annotations

import argparse
from functools import partial

from harness import report, stats

from contention import frontier, runs

APART_WANTED = 0.55  # of the rate beside a process
STARVED = 0.05  # less than this part of what is due is starving

# What else runs in the server process, or otherwise than usual.
THREADS: dict[str, runs.Load] = {
    "1 thread": runs.Load(),
    "2 threads": runs.Load(compute=2),
    "4 threads": runs.Load(compute=4),
    "a thread that releases": runs.Load(server=("--kind", "release")),
    "2 loops, 1 thread": runs.Load(server=("--loops", "2")),
    "loop in a thread, main computes": runs.Load(server=("--main", "compute")),
}


def at(load: runs.Load, connections: int) -> runs.Load:
    return runs.Load(**{**vars(load), "connections": connections})


def job(load: runs.Load, options: argparse.Namespace) -> runs.Job:
    return partial(runs.measure, load=load, options=options)


def rate_cells(rounds: runs.Rounds, case: str, label: str) -> list[str]:
    done = rounds.results[case][label]
    rates = rounds.column(case, label, "rate")
    return [f"{rounds.middle(case, label, 'rate'):,.0f}", runs.spread(rates),
            f"{rounds.middle(case, label, 'p99_us') / 1e3:.2f}",
            runs.percent(runs.kept(done)),
            runs.percent(rounds.middle(case, label, "cpu"))]  # fmt: skip


def apart(options: argparse.Namespace) -> runs.Rounds:
    """The same server beside a process on its CPU, and beside a thread: only the GIL differs."""
    cases, pairs = {}, []
    for connections in options.connections or [1, 10, 100]:
        name = frontier.case_name(connections)
        pairs.append((f"{name}, thread", f"{name}, process"))
        cases[pairs[-1][0]] = job(runs.Load(connections), options)
        cases[pairs[-1][1]] = job(runs.Load(connections, apart=True), options)
    rounds = runs.run_rounds(cases, runs.subjects(options), options.rounds)
    for thread, process in pairs:
        print(f"{apart_table(rounds, thread, process)}\n")
    return rounds


def apart_table(rounds: runs.Rounds, thread: str, process: str) -> str:
    head = [thread.split(",")[0], "beside a thread /s", "±", "p99 ms", "it keeps", "CPU",
            "beside a process /s", "±", "p99 ms", "it keeps", "server CPU",
            "thread to process", ""]  # fmt: skip
    rows = []
    for label in rounds.labels(thread):
        both = [(one["rate"], two["rate"]) for one, two in rounds.pairs(thread, process, label)]
        if not both or not all(min(pair) > 0 for pair in both):
            continue
        ratio = stats.paired_ratio([one for one, _ in both], [two for _, two in both])
        good = runs.said(ratio.mean >= APART_WANTED).strip() if label == "yula" else ""
        rows.append([label, *rate_cells(rounds, thread, label),
                     *rate_cells(rounds, process, label), str(ratio), good])  # fmt: skip
    return report.table(head, rows)


def threads(options: argparse.Namespace) -> runs.Rounds:
    chosen = {name: load for name, load in THREADS.items() if not options.only
              or options.only in name}  # fmt: skip
    cases = {
        f"{name}; {frontier.case_name(connections)}": job(at(load, connections), options)
        for connections in options.connections or [100]
        for name, load in chosen.items()
    }
    rounds = runs.run_rounds(cases, runs.subjects(options), options.rounds)
    for case in cases:
        print(f"{threads_table(rounds, case)}\n{threads_claims(rounds, case)}\n")
    return rounds


def each(done: list[runs.Result], field: str) -> list[float]:
    """The mean of each of several values, such as one for every thread, over the rounds."""
    columns = zip(*(one[field] for one in done), strict=True)
    return [sum(column) / len(done) for column in columns]


def threads_table(rounds: runs.Rounds, case: str) -> str:
    head = [case, "requests/s", "±", "p99 ms", "threads keep", "CPU", "each keeps", "each loop /s"]
    rows = []
    for label in rounds.labels(case):
        done = rounds.results[case][label]
        shares = " ".join(runs.percent(share) for share in each(done, "shares"))
        loops = " ".join(f"{rate:,.0f}" for rate in each(done, "port_rates")
                         ) if "port_rates" in done[0] else ""  # fmt: skip
        rows.append([label, *rate_cells(rounds, case, label), shares, loops])
    return report.table(head, rows)


def threads_claims(rounds: runs.Rounds, case: str) -> str:
    found = frontier.points(rounds, case)
    if "yula" not in found:
        return ""
    done = rounds.results[case]["yula"]
    least = min(each(done, "shares"))
    lines = [f"{runs.said(least >= STARVED)} no thread starves beside yula: the least keeps "
             f"{runs.percent(least)}"]  # fmt: skip
    if "port_rates" in done[0]:
        rates = each(done, "port_rates")
        part = min(rates) / max(rates)
        lines.append(f"{runs.said(part >= 0.5)} no loop starves: the slower serves "
                     f"{runs.percent(part)} of what the faster does")  # fmt: skip
    mine = found.pop("yula")
    beaten_by = {label: point for label, point in found.items()
                 if point[0] >= mine[0] and point[1] > mine[1]}  # fmt: skip
    text = ", ".join(f"{label} {rate:,.0f}/s at {runs.percent(share)}"
                     for label, (share, rate) in beaten_by.items())  # fmt: skip
    lines.append(f"{runs.said(not beaten_by)} no other serves more and leaves as much"
                 + (f": {text}" if text else ""))  # fmt: skip
    return "\n".join(lines)
