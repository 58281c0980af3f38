"""Linear programs: every answer against its certificate in rational arithmetic, and against HiGHS without presolve."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from systems import Box, DimensionMismatch, InvalidValue, Polytope, linear_programs
from systems.linear_programs import LPOutcome, feasible_point, maximise

Program = tuple[np.ndarray, np.ndarray, np.ndarray]


def random_program(seed: int) -> Program:
    """Bounded, unbounded and empty; degenerate, of low rank, with parallel, repeated and zero rows, in odd units."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    rows = int(rng.integers(0, 30)) if rng.random() < 0.8 else int(rng.integers(0, n + 1))
    kind, H = rng.integers(6), rng.normal(size=(rows, n))
    if kind == 1:
        H = np.round(H)
    if kind == 2:
        H = np.vstack([H, -H])
    if kind == 3 and rows:
        H = np.vstack([H, H[rng.integers(0, rows, 3)], np.zeros((1, n))])
    if kind == 4:
        H = np.round(2 * H) * 10.0 ** rng.integers(-3, 4, n) * 10.0 ** rng.integers(-3, 4, (rows, 1))
    if kind == 5:
        half = max(1, n // 2)
        H = np.round(H[:, :half]) @ np.round(rng.normal(size=(half, n)))
    h = H @ rng.normal(size=n) * rng.integers(0, 2) + rng.uniform(0, 2, len(H)) * rng.integers(0, 2, len(H))
    if rng.random() < 0.2:
        h -= rng.uniform(0, 1, len(H)) * (rng.random(len(H)) < 0.2)
    c = rng.normal(size=n)
    if rng.random() < 0.4 and len(H):
        c = H.T @ np.abs(rng.normal(size=len(H)))
    if rng.random() < 0.1:
        c = np.zeros(n)
    return c, H, h


def exactly(H: np.ndarray, y: np.ndarray) -> list[Fraction]:
    """y'H without rounding."""
    return [sum((Fraction(a) * Fraction(b) for a, b in zip(y, column, strict=True)), Fraction(0)) for column in H.T]


@given(st.integers(0, 10**9))
@example(8439)  # where multipliers of 1e7 cancel
@settings(max_examples=300)
def test_the_certificate_supports_the_answer(seed: int) -> None:
    c, H, h = random_program(seed)
    found = maximise(c, H, h)
    size = np.abs(H).max(axis=0, initial=1e-300)  # of the unit of x_i
    if found.outcome is LPOutcome.BOUNDED:
        assert found.multipliers is not None
        assert found.point is not None
        assert (found.multipliers >= 0).all()
        gap = [float(a - Fraction(b)) for a, b in zip(exactly(H, found.multipliers), c, strict=True)]
        assert (np.abs(gap) <= 1e-10 * (np.abs(c) / size).max() * size).all()
        rounding = 1e-15 * (np.abs(h) @ found.multipliers)  # of the sum itself, whose terms may cancel
        assert found.value == pytest.approx(h @ found.multipliers, rel=1e-9, abs=1e-9 + rounding)
        assert found.value == pytest.approx(c @ found.point, rel=1e-7, abs=1e-7)
    elif found.outcome is LPOutcome.EMPTY:
        assert found.multipliers is not None
        assert (found.multipliers >= 0).all()
        short = float(sum(Fraction(a) * Fraction(b) for a, b in zip(h, found.multipliers, strict=True)))
        assert short < 0
        assert (np.abs([float(a) for a in exactly(H, found.multipliers)]) <= -1e-3 * short * size).all()
    elif found.outcome is LPOutcome.UNBOUNDED:
        assert found.ray is not None
        assert found.point is not None
        assert c @ found.ray > 0
        assert (H @ found.ray <= 1e-9 * (np.abs(H) @ np.abs(found.ray) + np.abs(H).max(axis=1))).all()
    if found.point is not None:
        assert (H @ found.point <= h + 1e-8 * (1.0 + np.abs(H) @ np.abs(found.point))).all()


def test_agrees_with_highs_without_presolve() -> None:
    seen: Counter[str] = Counter()
    for seed in range(400):
        c, H, h = random_program(seed)
        if not len(H):
            continue
        found = maximise(c, H, h)
        judge = linprog(-c, H, h, bounds=(None, None), options={"presolve": False})
        said = {0: LPOutcome.BOUNDED, 2: LPOutcome.EMPTY, 3: LPOutcome.UNBOUNDED}.get(judge.status)
        seen[found.outcome] += 1
        if found.outcome is LPOutcome.BOUNDED and said is LPOutcome.BOUNDED:
            assert found.value == pytest.approx(-judge.fun, rel=1e-6, abs=1e-6)
        else:
            assert found.outcome is said or said is None, seed  # HiGHS may give up
    assert min(seen[outcome] for outcome in (LPOutcome.BOUNDED, LPOutcome.EMPTY, LPOutcome.UNBOUNDED)) >= 30


def test_an_unbounded_problem_that_presolve_calls_infeasible() -> None:
    H = np.array([[-0.73, 0.51, 0.16], [0.73, -0.51, -0.16]])
    found = maximise(np.array([0.24, 0.29, 0.54]), H, np.ones(2))
    assert (found.outcome, found.value) == (LPOutcome.UNBOUNDED, np.inf)


@pytest.mark.parametrize("lie", ["bounded", "empty", "unbounded", "nothing", "nan"])
def test_a_solver_that_lies_is_not_believed(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other solver is asked, and where there is none, nothing is claimed."""
    from systems.simplex import BOUNDED, EMPTY, STOPPED, UNBOUNDED

    def liar(c: np.ndarray, H: np.ndarray, h: np.ndarray) -> linear_programs.Answer:
        status = {"bounded": BOUNDED, "nan": BOUNDED, "empty": EMPTY, "unbounded": UNBOUNDED, "nothing": STOPPED}[lie]
        return status, np.full(len(c), np.nan if lie == "nan" else 0.1), 0.1 + np.arange(len(h))

    square, ones = np.vstack([np.eye(2), -np.eye(2)]), np.ones(4)
    slab = square[[0, 2]]
    monkeypatch.setattr(linear_programs, "_simplex", liar)
    assert maximise(np.array([1.0, 2.0]), square, ones).value == pytest.approx(3.0)
    assert maximise(np.array([1.0, 2.0]), slab, ones[:2]).outcome is LPOutcome.UNBOUNDED
    assert maximise(np.array([1.0, 2.0]), square, -ones).outcome is LPOutcome.EMPTY
    assert maximise(np.ones(2), np.zeros((0, 2)), np.zeros(0)).outcome is LPOutcome.UNBOUNDED
    monkeypatch.setattr(linear_programs, "_highs", liar)
    for H, h in ((square, ones), (slab, ones[:2]), (square, -ones)):
        found = maximise(np.array([1.0, 2.0]), H, h)
        assert (found.outcome, found.value) == (LPOutcome.UNKNOWN, np.inf)


@given(st.integers(0, 10**9), st.integers(-6, 6), st.integers(-6, 6))
@example(8, 6, -6)
@settings(max_examples=60)
def test_units_do_not_matter(seed: int, of_x: int, of_rows: int) -> None:
    c, H, h = random_program(seed)
    one, other = maximise(c, H, h), maximise(c * 10.0**of_x, H * 10.0 ** (of_x + of_rows), h * 10.0**of_rows)
    if LPOutcome.UNKNOWN not in (one.outcome, other.outcome):  # an answer may be given up, but never another one
        assert one.outcome == other.outcome
        assert other.value == pytest.approx(one.value, rel=1e-9, abs=1e-9)


def test_units_hardly_ever_cost_the_answer() -> None:
    rng = np.random.default_rng(0)
    scaled = [(random_program(seed), 10.0 ** rng.integers(-6, 7, 2)) for seed in range(300)]
    unknown = [maximise(c * x, H * x * rows, h * rows).outcome is LPOutcome.UNKNOWN for (c, H, h), (x, rows) in scaled]
    assert sum(unknown) <= 3


def test_infinite_bounds_are_no_condition() -> None:
    H, h = np.array([[1.0], [2.0], [-1.0]]), np.array([3.0, np.inf, np.inf])
    found = maximise(np.ones(1), H, h)
    assert found.value == pytest.approx(3.0)
    assert found.multipliers is not None
    np.testing.assert_allclose(found.multipliers, [1.0, 0.0, 0.0])
    assert maximise(-np.ones(1), H, h).value == np.inf


def test_feasible_points() -> None:
    H = np.array([[1.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    inside = feasible_point(H, np.array([1.0, 0.0, 0.0])).point
    assert inside is not None
    assert (H @ inside <= np.array([1.0, 0.0, 0.0]) + 1e-12).all()
    assert feasible_point(H, np.array([-1.0, 0.0, 0.0])).outcome is LPOutcome.EMPTY
    assert feasible_point(H[:1], np.array([-1e6])).outcome is LPOutcome.BOUNDED


def test_support_of_constraints() -> None:
    triangle = Polytope("t", ("a", "b"), [[1.0, 1.0], [-1.0, 0.0], [0.0, -1.0]], [1.0, 0.0, 0.0])
    assert triangle.support({"a": 2.0, "b": 1.0}) == pytest.approx(2.0)
    assert triangle.support({"a": -1.0, "c": 1.0}) == np.inf
    assert Polytope("half", ("a", "b"), [[1.0, 1.0]], [1.0]).support({"a": 1.0}) == np.inf
    assert Polytope("none", ("a",), [[1.0], [-1.0]], [-1.0, -1.0]).support({"a": 1.0}) == -np.inf
    assert Box("box", {"a": (-1.0, 2.0)}).support({"a": 2.0}) == 4.0


def test_misuse() -> None:
    with pytest.raises(DimensionMismatch):
        maximise(np.ones(2), np.eye(3), np.ones(3))
    with pytest.raises(InvalidValue):
        maximise(np.ones(3), np.eye(3), np.array([1.0, np.nan, 1.0]))
    with pytest.raises(InvalidValue):
        maximise(np.array([np.inf]), np.eye(1), np.ones(1))
