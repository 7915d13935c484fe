"""Charts in SVG, drawn with the page's own colours: see page.py for the style."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 540
LABEL = 96  # room for the names on the left
VALUE = 150  # and for the figures on the right
ROW = 24
BAR = 14


@dataclass(frozen=True)
class Bar:
    """One loop's figure: its median, and how far the rounds lay apart."""

    name: str
    value: float
    low: float
    high: float
    text: str
    kind: str  # "ours", "best", "other" or "limit": a class of the style sheet


def bars(entries: Sequence[Bar], title: str) -> str:
    """Horizontal bars from zero, with a whisker from the smallest to the largest round."""
    height = ROW * len(entries) + 8
    largest = max((max(one.value, one.high) for one in entries), default=0.0) or 1.0
    room = WIDTH - LABEL - VALUE
    # A round that went astray must not make all the bars small.
    largest = min(largest, 1.5 * max(one.value for one in entries) or 1.0)

    def at(value: float) -> float:
        return LABEL + min(value / largest, 1.0) * room

    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    limit = next((one.value for one in entries if one.kind == "limit"), None)
    if limit is not None:
        parts.append(f'<line class="limit-line" x1="{at(limit):.1f}" x2="{at(limit):.1f}" '
                     f'y1="0" y2="{height}"/>')  # fmt: skip
    for i, one in enumerate(entries):
        top = 4 + i * ROW
        middle = top + ROW / 2
        end = at(one.value)
        parts.append(
            f'<g class="{one.kind}"><title>{escape(one.name)}: {escape(one.text)}</title>'
            f'<text class="name" x="{LABEL - 8}" y="{middle + 4}">{escape(one.name)}</text>'
            f'<rect x="{LABEL}" y="{middle - BAR / 2}" height="{BAR}" rx="2" '
            f'width="{max(end - LABEL, 1):.1f}"/>'
            f'<path class="whisker" d="M{at(one.low):.1f} {middle}H{at(one.high):.1f}'
            f"M{at(one.low):.1f} {middle - 4}v8M{at(one.high):.1f} {middle - 4}v8\"/>"
            f'<text class="value" x="{max(end, at(one.high)) + 8:.1f}" y="{middle + 4}">'
            f"{escape(one.text)}</text></g>"
        )  # fmt: skip
    parts.append("</svg>")
    return "".join(parts)
