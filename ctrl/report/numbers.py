"""Numbers of a report in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from systems.statistics import Estimate, Rate

_ROUNDING = 1e-12  # a relative half-width below this is rounding

__all__ = ["duration", "interval", "joined", "number", "percent", "rate"]


def number(value: float, digits: int = 3) -> str:
    """A number with a few significant digits.

    Args:
        value: any number.
        digits: significant ones; default: 3.
    """
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits}g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{decimals}f}"


def interval(estimate: Estimate, level: str = "95\u00a0%: ") -> str:
    """A mean and its interval, with two digits of its half-width and up to three of the mean.

    Args:
        estimate: the two.
        level: stated before the interval; default: 95 %.
    """
    if not math.isfinite(estimate.low):
        return f"{number(estimate.value)} (no interval)"
    half = estimate.high - estimate.value
    if half <= _ROUNDING * abs(estimate.value):
        return f"{number(estimate.value)} in every run"
    decimals = 1 - math.floor(math.log10(half))
    if estimate.value:
        decimals = max(decimals, min(2 - math.floor(math.log10(abs(estimate.value))), decimals + 1))
    if decimals > 6:
        return f"{estimate.value:.3g} ({level}{estimate.low:.3g} to {estimate.high:.3g})"
    value, low, high = (f"{entry:.{max(0, decimals)}f}" for entry in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({level}{low} to {high})"


def rate(counted: Rate, unit: str = "runs") -> str:
    """Counts with the confidence interval of their probability.

    Args:
        counted: k of n.
        unit: what is counted; default: runs.
    """
    low, high = counted.interval
    count = f"{counted.k} of {counted.n} {unit}"
    if counted.k == 0:
        return f"{count} (95\u00a0%: at most {_up(high)}\u00a0%)"
    if counted.k == counted.n:
        return f"{count} (95\u00a0%: at least {_down(low)}\u00a0%)"
    return f"{count} (95\u00a0%: {_down(low)} to {_up(high)}\u00a0%)"


def percent(share: float) -> str:
    """A share that is a lower bound, rounded down."""
    return f"{_down(share)}\u00a0%"


def duration(seconds: float) -> str:
    """A duration given in seconds, in a suitable unit."""
    if not math.isfinite(seconds):
        return "not timed"
    if seconds < 1e-3:
        return f"{number(1e6 * seconds)} µs"
    if seconds < 1:
        return f"{number(1e3 * seconds)} ms"
    return f"{number(seconds)} s" if seconds < 120 else f"{number(seconds / 60)} min"


def joined(names: Sequence[str]) -> str:
    """Names joined as in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _down(share: float) -> str:
    return f"{math.floor(1e3 * share + 1e-9) / 10:.1f}"


def _up(share: float) -> str:
    return f"{math.ceil(1e3 * share - 1e-9) / 10:.1f}"
