"""One HTML page with everything a run found: it needs no network, no script and no other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from . import chart, results

STYLE = """
:root { color-scheme: light dark; --back: #fff; --fore: #1c2024; --soft: #667; --line: #dde;
  --ours: #0a7d5a; --best: #3b6fd4; --other: #a9b4c6; --limit: #c96a1b; --bad: #c0392b; --card: #f7f8fa }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --fore: #e6e8ea; --soft: #9aa4ae;
  --line: #2c3238; --ours: #3ecf9a; --best: #7aa5ff; --other: #59636f; --limit: #f0a35e;
  --bad: #ff7b6b; --card: #1b1f23 } }
* { box-sizing: border-box }
body { background: var(--back); color: var(--fore); margin: 2rem auto; max-width: 1360px;
  padding: 0 1rem; font: 15px/1.45 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0 0 .3rem } h2 { margin: 2.2rem 0 .6rem; font-size: 1.25rem }
h3 { margin: 0; font-size: 1rem } a { color: inherit }
p, dl { color: var(--soft); margin: .3rem 0 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem }
dt { font-weight: 600 } dd { margin: 0; overflow-wrap: anywhere }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .84rem }
th, td { padding: .22rem .45rem; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
thead th { border-bottom: 1px solid var(--line) } tbody tr:hover { background: var(--card) }
.wide { overflow-x: auto }
.heat { background: color-mix(in srgb, var(--bad) calc(var(--worse) * 45%), transparent) }
.first { font-weight: 700; color: var(--ours) }
td.bad, .void { color: var(--bad) } .limit-cell { color: var(--limit) }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(500px, 1fr)); gap: 1rem }
@media (max-width: 560px) { .cards { grid-template-columns: 1fr } }
.card { background: var(--card); border-radius: 8px; padding: .9rem 1rem }
.card p { font-size: .86rem } svg { width: 100%; height: auto; display: block; margin: .4rem 0 }
svg text { font: 13px system-ui, sans-serif; fill: var(--fore) } svg .name { text-anchor: end }
svg .value { fill: var(--soft); font-variant-numeric: tabular-nums }
.other rect { fill: var(--other) } .best rect { fill: var(--best) } .ours rect { fill: var(--ours) }
.limit rect { fill: var(--limit) } .ours .name { font-weight: 700 }
.whisker { stroke: var(--fore); stroke-opacity: .55; fill: none }
.limit-line { stroke: var(--limit); stroke-dasharray: 3 3 }
details summary { cursor: pointer; color: var(--soft); font-size: .86rem }
"""


def page(saved: dict[str, Any]) -> str:
    """The page for what a run saved."""
    title = f"yula bench, {saved['machine']['time']}"
    body = [f"<h1>{escape(title)}</h1>", _machine(saved)]
    for number, run in enumerate(saved["runs"]):
        body.append(_run(run, f"run{number}-"))
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _machine(saved: dict[str, Any]) -> str:
    what = saved["machine"]
    rows = {
        "machine": f"{what['cpu']}, {what['cpus']} CPUs, {what['kernel']}",
        "settings": saved["settings_text"],
        "reading": "Shorter is better. A bar is the median of the rounds, the whisker goes from the "
                   "smallest round to the largest. A ratio compares two loops within each round. "
                   f"When the control moved more than {saved['void_spread'] * 100:.0f} % between "
                   "rounds, the case's ratios are void.",
    }  # fmt: skip
    if what["environment"]:
        rows["variables"] = " ".join(
            f"{name}={value}" for name, value in what["environment"].items()
        )
    return (
        f"<dl>{''.join(f'<dt>{escape(k)}</dt><dd>{escape(v)}</dd>' for k, v in rows.items())}</dl>"
    )


def _run(run: dict[str, Any], anchor: str) -> str:
    """anchor: what the names of this run's cases begin with in the page."""
    interpreter, summaries, loops = run["interpreter"], run["cases"], run["loops"]
    versions = ", ".join(f"{name} {version}" for name, version in interpreter["versions"].items()
                         if version is not None and name != "asyncio")  # fmt: skip
    gil = "" if interpreter["gil"] else ", free-threaded"
    parts = [f"<h2>Python {escape(interpreter['python'])}{gil}</h2><p>{escape(versions)}</p>"]
    skipped = "".join(f"<dt>{escape(name)}</dt><dd>{escape(why)}</dd>"
                      for name, why in run["skipped"].items())  # fmt: skip
    parts += [_overview(summaries, loops, anchor), f"<dl>{skipped}</dl>" if skipped else ""]
    group = None
    for one in summaries:
        if one["name"].split("/")[0] != group:
            parts.append("</div>" if group is not None else "")
            group = one["name"].split("/")[0]
            parts.append(f"<h2>{escape(group)}</h2><div class=cards>")
        parts.append(_card(one, anchor))
    return "".join(parts) + ("</div>" if group is not None else "")


def _overview(summaries: Sequence[results.Summary], loops: Sequence[str], anchor: str) -> str:
    """How many times the best loop's figure each one needs."""
    limits = any(one["limit"] for one in summaries)
    head = [
        "times the best loop",
        *loops,
        *(["limit"] if limits else []),
        "best",
        "yula to the best other",
    ]
    rows = []
    for one in summaries:
        medians = {name: one["loops"][name]["median"] for name in loops if name in one["loops"]}
        best = min(medians.values(), default=0)
        name = escape(one["name"])
        cells = [f'<td><a href="#{anchor}{name}">{name}</a></td>']
        for loop in loops:
            if loop not in medians:
                cells.append("<td class=bad>fails</td>" if loop in one["failed"] else "<td></td>")
                continue
            times = medians[loop] / best if best else 1.0
            worse = min(max(times - 1, 0) / 2, 1)
            kind = "first" if times == 1 else "heat"
            cells.append(f'<td class="{kind}" style="--worse:{worse:.2f}">{times:.2f}</td>')
        if limits:
            limit = one["loops"][one["limit"]]["median"] if one["limit"] else None
            text = f"{limit / best:.2f}" if limit and best else ""
            cells.append(f"<td class=limit-cell>{text}</td>")
        cells.append(f"<td>{results.shown(one, best)} {escape(one['figure']['unit'])}</td>")
        void = " class=void" if one["void"] else ""
        cells.append(f"<td{void}>{escape(results.verdict(one))}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<div class=wide><table><thead><tr>{names}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"


def _card(one: results.Summary, anchor: str) -> str:
    unit = one["figure"]["unit"]
    bars = []
    measured = one["loops"]
    fastest = min((name for name in measured if name not in one["references"]),
                  key=lambda name: measured[name]["median"], default=None)  # fmt: skip
    scale = one["figure"]["scale"]
    for name, each in measured.items():
        if name in one["references"] and name != one["limit"]:
            continue
        kind = "limit" if name == one["limit"] else "best" if name == fastest else "other"
        kind = "ours" if name == results.OURS else kind
        text = f"{results.shown(one, each['median'])} {unit}"
        if "rate" in each:
            text += f", {each['rate']:,.0f}/s"
        bars.append(chart.Bar(name, each["median"] * scale, each["low"] * scale,
                              each["high"] * scale, text, kind))  # fmt: skip
    bars.sort(key=lambda bar: bar.value)
    parts = [f'<section class=card id="{anchor}{escape(one["name"])}"><h3>{escape(one["name"])}</h3>',
             f"<p>{escape(one['about'])}. {escape(one['figure']['label'])}, {escape(unit)}.</p>"]  # fmt: skip
    if one["void"]:
        parts.append(f"<p class=void>Void: {escape(one['control'])}, the control, moved "
                     f"{one['control_moved'] * 100:.0f} % between rounds.</p>")  # fmt: skip
    parts.append(chart.bars(bars, one["about"]) if bars else "")
    for name, why in one["failed"].items():
        parts.append(f"<p class=void>{escape(results.short(why, name, 300))}</p>")
    for name, reasons in one["repeated"].items():
        parts.append(f"<p>Measured again after {escape(results.short(reasons[0], name, 200))}</p>")
    return "".join(parts) + _details(one) + "</section>"


def _details(one: results.Summary) -> str:
    keys = [key for key in results.BESIDES
            if any(key in each for each in one["loops"].values()) and key != "waited"]  # fmt: skip
    head = ["", one["figure"]["unit"], "±", "to limit", "to asyncio", "to uvloop"]
    head += [results.column_name(key) for key in keys]
    rows = []
    for name, each in one["loops"].items():
        row = [name, results.shown(one, each["median"]), f"{each['spread'] * 100:.0f} %"]
        row += [
            results.ratio_text(each[to], one["void"])
            for to in ("to_limit", "to_asyncio", "to_uvloop")
        ]
        row += [results.number(each[key]) if key in each else "" for key in keys]
        rows.append("".join(f"<td>{escape(cell)}</td>" for cell in row))
    return (
        "<details><summary>all figures</summary><div class=wide><table><thead><tr>"
        + "".join(f"<th>{escape(cell)}</th>" for cell in head)
        + "</tr></thead><tbody>"
        + "".join(f"<tr>{row}</tr>" for row in rows)
        + "</tbody></table></div></details>"
    )
