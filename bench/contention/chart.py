"""The frontier as an SVG drawing: a panel for each number of connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from contention import frontier

WIDTH, HEIGHT = 340, 300  # of a panel's axes
LEFT, TOP, GAP, BOTTOM = 64, 84, 84, 64
COLOURS = ["#8c6d31", "#31748f", "#9c4f96", "#6b7280", "#2e7d32", "#c2410c", "#475569", "#a16207"]
OURS = "#d6204e"
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333 }
.title { font-size: 16px; font-weight: 600 }
.head { font-size: 13px; font-weight: 600 }
.small { font-size: 11px; fill: #666 }
.grid { stroke: #e3e3e3 }
.axis { stroke: #888 }
"""


def nice_top(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    step = 1.0
    while True:
        for factor in (1, 2, 2.5, 5):
            if value <= step * factor:
                return step * factor
        step *= 10


def ticks(top: float) -> list[float]:
    return [top * part / 5 for part in range(6)]


def short(rate: float) -> str:
    return f"{rate / 1000:g}k" if rate >= 1000 else f"{rate:g}"


def free_place(x: float, y: float, taken: Sequence[tuple[float, float]]) -> float:
    """The height nearest to y where a name covers none of those taken; y when all are."""
    for distance in range(0, HEIGHT, 12):
        for at in (y - distance, y + distance):
            if TOP <= at <= TOP + HEIGHT and not any(
                abs(x - other_x) < 60 and abs(at - other) < 12 for other_x, other in taken
            ):
                return at
    return y


class Panel:
    """One set of axes; x: the share a thread keeps, 0 to 100 %, y: requests a second."""

    def __init__(self, left: float, title: str, found: Mapping[str, frontier.Point]) -> None:
        self.left = left
        self.found = found
        self.top_rate = nice_top(max(rate for _, rate in found.values()) * 1.05)
        self.top_share = max(1.0, *(share for share, _ in found.values()))
        self.lines = [f'<text class="head" x="{left}" y="{TOP - 14}">{escape(title)}</text>']

    def x(self, share: float) -> float:
        return self.left + share / self.top_share * WIDTH

    def y(self, rate: float) -> float:
        return TOP + HEIGHT - rate / self.top_rate * HEIGHT

    def axes(self) -> None:
        for rate in ticks(self.top_rate):
            y = self.y(rate)
            self.lines.append(
                f'<line class="grid" x1="{self.left}" x2="{self.left + WIDTH}" y1="{y:.1f}" '
                f'y2="{y:.1f}"/><text class="small" x="{self.left - 8}" y="{y + 4:.1f}" '
                f'text-anchor="end">{short(rate)}</text>'
            )
        for percent in range(0, 101, 20):
            x = self.x(percent / 100)
            self.lines.append(
                f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP + HEIGHT}" '
                f'y2="{TOP + HEIGHT + 4}"/><text class="small" x="{x:.1f}" '
                f'y="{TOP + HEIGHT + 18}" text-anchor="middle">{percent} %</text>'
            )
        self.lines.append(
            f'<line class="axis" x1="{self.left}" x2="{self.left + WIDTH}" y1="{TOP + HEIGHT}" '
            f'y2="{TOP + HEIGHT}"/>'
        )

    def curve(self, ours: Sequence[frontier.Point]) -> None:
        """yula's settings, joined, and the level that its last one holds to the left."""
        best = frontier.front(ours)
        if not best:
            return
        path = [(0.0, best[0][1]), *best]
        joined = " ".join(f"{self.x(share):.1f},{self.y(rate):.1f}" for share, rate in path)
        self.lines.append(
            f'<polyline points="{joined}" fill="none" stroke="{OURS}" stroke-width="2" '
            'stroke-linejoin="round" opacity="0.6"/>'
        )

    def marks(self, colours: Mapping[str, str]) -> None:
        """The points and their names; a name that would cover another is moved down."""
        taken: list[tuple[float, float]] = []
        for label, (share, rate) in sorted(self.found.items(), key=lambda item: -item[1][1]):
            x, y = self.x(share), self.y(rate)
            colour = colours[label.split()[0]]
            ours = colour == OURS
            self.lines.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{5 if label == "yula" else 4}" '
                f'fill="{colour if label == "yula" or not ours else "#fff"}" stroke="{colour}" '
                f'stroke-width="1.5"><title>{escape(label)}: {rate:,.0f} requests/s, thread keeps '
                f"{share:.0%}</title></circle>"
            )
            name = label.removeprefix("yula ") if ours else label
            at = free_place(x, y + 4, taken)
            taken.append((x, at))
            right = share > 0.72 * self.top_share
            self.lines.append(
                f'<text x="{x + (-9 if right else 9):.1f}" y="{at:.1f}" '
                f'text-anchor="{"end" if right else "start"}" '
                f'style="fill: {colour}{"; font-weight: 600" if ours else ""}">{escape(name)}</text>'
            )


def draw(panels: Mapping[str, Mapping[str, frontier.Point]], subtitle: str) -> str:
    """panels: title to points by label."""
    names = list(dict.fromkeys(label.split()[0] for found in panels.values() for label in found))
    others = [name for name in names if name != "yula"]
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(others)} | {"yula": OURS}
    width = LEFT + len(panels) * (WIDTH + GAP)
    height = TOP + HEIGHT + BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><style>{STYLE}</style>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>'
        f'<text class="title" x="{LEFT}" y="28">Requests a second, against what a computing '
        "Python thread keeps of its speed</text>"
        f'<text class="small" x="{LEFT}" y="46">{escape(subtitle)}</text>'
    ]
    for index, (title, found) in enumerate(panels.items()):
        panel = Panel(LEFT + index * (WIDTH + GAP), title, found)
        panel.axes()
        ours, _ = frontier.split(dict(found))
        panel.curve(list(ours.values()))
        panel.marks(colours)
        lines += panel.lines
    lines.append(
        f'<text class="small" x="{LEFT}" y="{height - 14}">Right and up is better. The line and '
        "its numbers are yula over its setting (the loop's share of the lock), the full dot its "
        "default.</text></svg>"
    )
    return "\n".join(lines) + "\n"
