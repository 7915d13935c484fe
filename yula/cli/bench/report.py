"""Tables and bars for the terminal; plain text when it is not one."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉"


# A terminal that cannot show a sign gets a question mark, not a traceback.
if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors="replace")


def _unicode() -> bool:
    encoding = (sys.stdout.encoding or "ascii").lower()
    return encoding.replace("-", "") in ("utf8", "utf16", "utf32")


def paint(text: str, code: str) -> str:
    """Colour on a terminal, unless NO_COLOR says otherwise (no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty():
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def bold(text: str) -> str:
    return paint(text, "1")


def progress(text: str) -> None:
    """A line that says what is going on; a terminal sees it replaced by the next."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\x1b[K{text}")
    elif text:
        sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[str]], strong: str = "yula") -> str:
    """The first column to the left, the others to the right; the row named `strong` in bold."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        line = "  ".join(cells).rstrip()
        lines.append(bold(line) if row is head or row[0] == strong else line)
    return "\n".join(lines)


def bars(
    title: str,
    values: Sequence[tuple[str, float]],
    unit: str,
    width: int = 40,
    strong: str = "yula",
) -> str:
    """A bar chart: one line a name."""
    longest = max(len(name) for name, _ in values)
    largest = max(value for _, value in values) or 1.0
    lines = [bold(title)]
    for name, value in values:
        eighths = round(value / largest * width * 8)
        if _unicode():
            bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        else:
            bar = "#" * round(eighths / 8)
        colour = "32" if name == strong else "34"
        pad = " " * (width - len(bar))
        lines.append(f"  {name.ljust(longest)}  {paint(bar, colour)}{pad}  {value:,.0f} {unit}")
    return "\n".join(lines)
