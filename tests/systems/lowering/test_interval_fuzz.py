"""Ten million cases of interval operations against Arb."""

from __future__ import annotations

import flint
import numpy as np
import pytest

from systems.arithmetic.interval import Interval
from tests.systems.arithmetic.test_interval import BINARY, UNARY, encloses

CASES = 10_000_000


def operands(rng: np.random.Generator, count: int) -> tuple[Interval, np.ndarray]:
    """Boxes of every size and place, and a point of each: an end half of the time."""
    kind = rng.integers(0, 4, count)
    middle = np.select(
        [kind == 0, kind == 1, kind == 2],
        [rng.uniform(-2, 2, count), rng.normal(size=count) * 10.0 ** rng.uniform(-8, 4, count), np.zeros(count)],
        rng.integers(-100, 100, count) * (np.pi / 2),
    )
    half = np.where(rng.random(count) < 0.3, 0.0, 10.0 ** rng.uniform(-17, 1, count)) * (1 + np.abs(middle))
    low, high = middle - half, middle + half
    end = np.where(rng.random(count) < 0.5, low, high)
    point = np.where(rng.random(count) < 0.5, end, low + rng.random(count) * (high - low))
    return Interval(low, high), np.clip(point, low, high)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_million_cases_against_arb() -> None:
    before, flint.ctx.prec = flint.ctx.prec, 120
    rng = np.random.default_rng(7)
    share = CASES // (len(UNARY) + len(BINARY)) + 1
    tried = 0
    try:
        for table, arity in ((UNARY, 1), (BINARY, 2)):
            for name, (ours, exact) in table.items():
                for start in range(0, share, 50_000):
                    count = min(50_000, share - start)
                    given = [operands(rng, count) for _ in range(arity)]
                    with np.errstate(all="ignore"):
                        result = ours(*(box for box, _ in given))
                    low, high = result.lo, result.hi
                    assert not np.isnan(low).any(), name
                    assert not np.isnan(high).any(), name
                    assert (low <= high).all(), name
                    points = [point.tolist() for _, point in given]
                    for k in range(count):
                        value = exact(*(flint.arb(p[k]) for p in points))
                        assert encloses(result[k], value), (name, [p[k] for p in points], low[k], high[k])
                    tried += count
    finally:
        flint.ctx.prec = before
    assert tried >= CASES
