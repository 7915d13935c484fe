"""Medians, spreads, and confidence intervals of paired ratios."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Student's t, two-sided 95 %, for 1 to 30 degrees of freedom.
_T_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


def spread(values: Sequence[float]) -> float:
    """(largest - smallest) / median: how far a figure moved between rounds."""
    middle = statistics.median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


@dataclass(frozen=True)
class Ratio:
    """The geometric mean of paired ratios and its 95 % interval (none from one pair).

    As text, the interval is left out below five pairs: it would be so wide as to mislead.
    """

    mean: float
    low: float | None
    high: float | None
    pairs: int

    def __str__(self) -> str:
        if self.low is None or self.high is None or self.pairs < 5 or self.low == self.high:
            return f"{self.mean:.2f}"
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def paired_ratio(values: Sequence[float], base: Sequence[float]) -> Ratio:
    """values[i] / base[i], where both were measured in round i.

    The interval is Student's, on the logarithms: the ratios of two noisy machine-bound
    figures are skewed, their logarithms much less so.
    """
    logs = [math.log(a / b) for a, b in zip(values, base, strict=True)]
    mean = statistics.fmean(logs)
    count = len(logs)
    if count < 2:
        return Ratio(math.exp(mean), None, None, count)
    t = _T_95[count - 2] if count - 2 < len(_T_95) else 1.96
    half = t * statistics.stdev(logs) / math.sqrt(count)
    return Ratio(math.exp(mean), math.exp(mean - half), math.exp(mean + half), count)
