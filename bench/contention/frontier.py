"""The frontier: requests a second against the share of its speed that a thread keeps."""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Sequence
from functools import partial

from harness import report

from contention import runs

Point = tuple[float, float]  # share kept by the thread, requests a second


def front(points: Sequence[Point]) -> list[Point]:
    """Those that no other beats in both, by rising share (and so by falling rate)."""
    best: list[Point] = []
    for share, rate in sorted(points, reverse=True):
        if not best or rate > best[-1][1]:
            best.append((share, rate))
    return best[::-1]


def rate_at(points: Sequence[Point], share: float) -> float | None:
    """What a curve serves where the thread keeps `share`; None beyond its last point.

    Between two settings it is taken to be straight, and it never rises with the share.
    """
    curve = front(points)
    if not curve or share > curve[-1][0]:
        return None
    if share <= curve[0][0]:
        return curve[0][1]
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if share <= x1:
            return y0 + (y1 - y0) * (share - x0) / (x1 - x0)
    return curve[-1][1]


def case_name(connections: int) -> str:
    return f"{connections} connection{'s' if connections != 1 else ''}"


def connections(options: argparse.Namespace) -> list[int]:
    return options.connections or [1, 10, 100]


def run(options: argparse.Namespace) -> runs.Rounds:
    cases = {case_name(count): partial(runs.measure, load=runs.Load(count), options=options)
             for count in connections(options)}  # fmt: skip
    return runs.run_rounds(cases, runs.subjects(options, True), options.rounds)


def table(rounds: runs.Rounds, case: str) -> str:
    head = [case, "requests/s", "±", "p50 ms", "p99 ms", "thread keeps", "±", "server CPU",
            "of it the loop"]  # fmt: skip
    rows = []
    for label in rounds.labels(case):
        rate, share = (rounds.column(case, label, field) for field in ("rate", "share"))
        kept = runs.kept(rounds.results[case][label])
        row = [label, f"{statistics.median(rate):,.0f}", runs.spread(rate)]
        row += [f"{rounds.middle(case, label, field) / 1e3:.2f}" for field in ("p50_us", "p99_us")]
        row += [runs.percent(kept), runs.spread(share)]
        row += [runs.percent(rounds.middle(case, label, field)) for field in ("cpu", "loop_cpu")]
        rows.append(row)
    return report.table(head, rows)


def points(rounds: runs.Rounds, case: str, number: int | None = None) -> dict[str, Point]:
    """By label: what all rounds found together, or what one found."""
    found = {}
    for label in rounds.labels(case):
        done = rounds.results[case][label]
        if number is not None:
            done = [one for one in done if one["round"] == number]
        if done:
            found[label] = (runs.kept(done), statistics.median(one["rate"] for one in done))
    return found


def split(found: dict[str, Point]) -> tuple[dict[str, Point], dict[str, Point]]:
    """yula's settings, and the others."""
    ours = {label: point for label, point in found.items() if label.split()[0] == "yula"}
    return ours, {label: point for label, point in found.items() if label not in ours}


def paired(rounds: runs.Rounds, case: str, against: str) -> list[float]:
    """In each round: yula's curve, where `against` stands, to what `against` serves."""
    ratios = []
    numbers = {one["round"] for done in rounds.results[case].values() for one in done}
    for number in sorted(numbers):
        ours, others = split(points(rounds, case, number))
        if against in others and ours and others[against][1] > 0:
            mine = rate_at(list(ours.values()), others[against][0])
            if mine is not None:
                ratios.append(mine / others[against][1])
    return ratios


def above_all(rounds: runs.Rounds, case: str) -> list[str]:
    ours, others = split(points(rounds, case))
    lines, all_above = [], True
    for label, (share, rate) in others.items():
        mine = rate_at(list(ours.values()), share)
        if mine is None:
            most = max(kept for kept, _ in ours.values())
            above, text = False, f"yula leaves {runs.percent(most)} at most"
        else:
            above, text = mine > rate, f"yula {mine:,.0f}/s there, {mine / max(rate, 1):.2f} times"
            pairs = paired(rounds, case, label)
            if len(pairs) > 1:
                text += f" (rounds: {min(pairs):.2f} to {max(pairs):.2f})"
        all_above = all_above and above
        lines.append(f"       {'above' if above else 'BELOW'} {label}: {rate:,.0f}/s at "
                     f"{runs.percent(share)}; {text}")  # fmt: skip
    head = f"{runs.said(all_above)} {case}: yula's curve lies above every other point"
    return [head, *lines]


def at_talyns_share(rounds: runs.Rounds, case: str) -> str:
    ours, others = split(points(rounds, case))
    if "talyn" not in others:
        return f"{runs.said(None)} {case}: 1.3 times talyn where talyn stands: it was not measured"
    share, rate = others["talyn"]
    mine = rate_at(list(ours.values()), share)
    good = mine is not None and mine >= 1.3 * rate
    text = "n/a" if mine is None else f"{mine / rate:.2f}"
    return (f"{runs.said(good)} {case}: at the share talyn leaves ({runs.percent(share)}) yula serves "
            f"{text} times as much (1.3 wanted)")  # fmt: skip


def at_default(rounds: runs.Rounds, case: str) -> list[str]:
    ours, others = split(points(rounds, case))
    if "yula" not in ours:
        return []
    share, rate = ours["yula"]
    lines = [f"{runs.said(share >= 0.4)} {case}: at yula's default the thread keeps "
             f"{runs.percent(share)} (40 % wanted)"]  # fmt: skip
    as_much = {label: point for label, point in others.items() if point[0] >= share}
    if not as_much:
        lines.append(f"{runs.said(None)} {case}: no other loop leaves as much as yula's default")
        return lines
    best = max(as_much, key=lambda label: as_much[label][1])
    factor = rate / max(1.0, as_much[best][1])
    lines.append(f"{runs.said(factor >= 2)} {case}: at its default yula serves {factor:.2f} times the "
                 f"best of those that leave as much, {best} (2 wanted)")  # fmt: skip
    return lines


def claims(rounds: runs.Rounds, options: argparse.Namespace) -> str:
    lines = []
    for count in connections(options):
        case = case_name(count)
        ours, others = split(points(rounds, case))
        if not ours or not others:
            continue
        lines += above_all(rounds, case)
        if count == max(connections(options)):
            lines.append(at_talyns_share(rounds, case))
        lines += at_default(rounds, case)
        if count == 10 and "yula" in ours:
            p99 = rounds.middle(case, "yula", "p99_us") / 1e3
            lines.append(f"{runs.said(p99 < 5)} {case}: p99 {p99:.2f} ms (under 5 wanted)")
    return "\n".join(lines)
