"""What the measurements say: medians, spreads, paired ratios, what is void; as saved to JSON.

A case's summary is a dictionary, which the tables and the HTML page are made from; so they can be
made again from a saved file.

The control is asyncio (without it, the first bare server): it is not under test, so when its
figure moves between rounds it was the machine that moved, and every ratio of the case is void.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from . import child, report, stats
from .rounds import Measured

CONTROL = "asyncio"
OURS = "yula"
VOID_SPREAD = 0.25
BESIDES = ("rate", "p50_us", "p99_us", "p999_us", "instructions", "cycles", "wall_us", "waited")

Summary = dict[str, Any]


def summarise(found: Measured, void_spread: float = VOID_SPREAD) -> Summary:
    case, figure = found.case, found.case.figure
    medians = {name: statistics.median(found.column(name)) for name in found.rounds}
    limit = min((name for name in found.references if name in medians),
                key=lambda name: medians[name], default=None)  # fmt: skip
    control = CONTROL if CONTROL in medians else limit
    moved = stats.spread(found.column(control)) if control else None
    loops = [name for name in medians if name not in found.references]
    rivals = [name for name in loops if name != OURS]
    best = min(rivals, key=lambda name: medians[name], default=None)
    summary: Summary = {
        "name": case.name,
        "about": case.about,
        "figure": {"label": figure.label, "unit": figure.unit, "scale": figure.scale,
                   "key": figure.key},
        "control": control,
        "control_moved": moved,
        "void": moved is not None and moved > void_spread,
        "references": [name for name in found.references if name in medians],
        "limit": limit,
        "best_other": best,
        "failed": found.failed,
        "repeated": found.repeated,
        "loops": {},
    }  # fmt: skip
    for name, rounds in found.rounds.items():
        values = found.column(name)
        one: dict[str, Any] = {
            "median": medians[name],
            "low": min(values),
            "high": max(values),
            "spread": stats.spread(values),
            "to_limit": ratio(found, name, limit),
            "to_best_other": ratio(found, name, best),
            "to_asyncio": ratio(found, name, CONTROL),
            "to_uvloop": ratio(found, name, "uvloop"),
        }
        for key in BESIDES:
            if all(key in each for each in rounds):
                one[key] = statistics.median(found.column(name, key))
        one["rounds"] = rounds
        summary["loops"][name] = one
    return summary


def ratio(found: Measured, name: str, base: str | None) -> dict[str, Any] | None:
    if base is None or base not in found.rounds:
        return None
    values, others = found.column(name), found.column(base)
    if len(values) != len(others) or min(*values, *others) <= 0:
        return None
    paired = stats.paired_ratio(values, others)
    return {"mean": paired.mean, "low": paired.low, "high": paired.high, "pairs": paired.pairs}


def ratio_text(one: dict[str, Any] | None, void: bool = False) -> str:
    """1.04 [1.01, 1.07]; in brackets of its own where the control moved."""
    if one is None:
        return ""
    text = str(stats.Ratio(one["mean"], one["low"], one["high"], one["pairs"]))
    return f"void ({text})" if void else text


def number(value: float) -> str:
    """Three digits that count: 0.0123, 1.23, 12.3, 123, 1,230."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 2 if abs(value) < 10 else 1
    return f"{value:.{digits}f}" if abs(value) >= 0.1 else f"{value:.2g}"


def shown(summary: Summary, value: float) -> str:
    return number(value * summary["figure"]["scale"])


def matrix(summaries: Sequence[Summary], loops: Sequence[str], limits: bool) -> str:
    """A row for each case, a column for each loop; the last one says who is ahead."""
    ours = OURS in loops and len(loops) > 1
    head = ["", "unit", *(["limit"] if limits else []), *loops]
    head += [f"{OURS} to the best other"] if ours else []
    rows = []
    for one in summaries:
        row = [one["name"], one["figure"]["unit"]]
        if limits:
            limit = one["limit"]
            row.append(shown(one, one["loops"][limit]["median"]) if limit else "")
        for name in loops:
            if name in one["loops"]:
                row.append(shown(one, one["loops"][name]["median"]))
            else:
                row.append("fails" if name in one["failed"] else "")
        if ours:
            row.append(verdict(one))
        rows.append(row)
    return report.table(head, rows)


def instruction_matrix(summaries: Sequence[Summary], loops: Sequence[str], limits: bool) -> str:
    """The same of the user instructions an operation, where they were counted; else nothing."""
    head = [
        "user instructions",
        *(["limit"] if limits else []),
        *loops,
        f"{OURS} to the best other",
    ]
    rows = []
    for one in summaries:
        counts = {
            name: each["instructions"]
            for name, each in one["loops"].items()
            if "instructions" in each
        }
        if not counts:
            continue
        bare = [counts[name] for name in one["references"] if name in counts]
        row = [one["name"], *([f"{min(bare):,.0f}" if bare else ""] if limits else [])]
        row += [f"{counts[name]:,.0f}" if name in counts else "" for name in loops]
        rivals = {name: counts[name] for name in loops if name in counts and name != OURS}
        if OURS in counts and rivals:
            best = min(rivals, key=lambda name: rivals[name])
            row.append(f"{counts[OURS] / rivals[best]:.2f} {best}")
        else:
            row.append("")
        rows.append(row)
    return report.table(head, rows) if rows else ""


def verdict(one: Summary) -> str:
    if OURS not in one["loops"] or one["best_other"] is None:
        return ""
    text = ratio_text(one["loops"][OURS]["to_best_other"], one["void"])
    return f"{text} {one['best_other']}"


def details(one: Summary) -> str:
    """Everything about one case: a row for each loop."""
    unit = one["figure"]["unit"]
    keys = [key for key in BESIDES if key not in ("waited", "wall_us") and any(
        key in each for each in one["loops"].values())]  # fmt: skip
    head = [one["name"], unit, "±", "to limit", "to uvloop", *map(column_name, keys)]
    rows = []
    for name, each in one["loops"].items():
        row = [name, shown(one, each["median"]), f"{each['spread'] * 100:.0f}%",
               ratio_text(each["to_limit"], one["void"]),
               ratio_text(each["to_uvloop"], one["void"])]  # fmt: skip
        rows.append([*row, *(number(each[key]) if key in each else "" for key in keys)])
    return report.table(head, rows)


def column_name(key: str) -> str:
    names = {"rate": "a second", "p50_us": "p50 µs", "p99_us": "p99 µs", "p999_us": "p99.9 µs",
             "instructions": "user instr."}  # fmt: skip
    return names.get(key, key)


def short(why: str, name: str = "", width: int = 110) -> str:
    """The first line of a failure, which begins with the loop's name; and the server's last words."""
    lines = [line.strip() for line in why.strip().splitlines()]
    text = lines[0] if lines else "no reason given"
    if name and not text.startswith(f"{name}:"):
        text = f"{name}: {text}"
    said = [line.lstrip("| ") for line in lines[1:] if line.startswith("|")]
    if said and said[-1] and said[-1] != child.SILENT:
        text = f"{text}; {said[-1]}"
    return text if len(text) <= width else f"{text[: width - 1]}…"
