"""Critical regions: the active set against other solvers, and that nothing of the feasible parameters is left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import mpc.explicit.lattice as lattice_module
from benchmarks.explicit import random_problem as random_task
from ctrl.laws.lattice import Lattice
from mpc import ExplicitMPC
from mpc.explicit.critical_regions import MultiparametricQP, Parametric, Region
from mpc.explicit.lattice import NotRepresented, lattice_of
from mpc.explicit.multiparametric import TooManyRegions, Unresolved, solve_everywhere
from mpc.explicit.polytopes import Polytope


def random_problem(seed: int, kind: int) -> MultiparametricQP:
    """Hard and soft rows; repeated ones, rows that add up to others, rows of zeros, opposite rows."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    root = rng.normal(size=(d, d)) + 2.0 * np.eye(d)
    A, S = rng.normal(size=(4, d)), rng.normal(size=(4, n))
    b = rng.uniform(0.2, 1.0, 4)
    price = np.where(rng.random(4) < 0.4, rng.uniform(0.5, 3.0, 4), np.inf)
    if kind == 1:  # repeated, and in another unit
        A, S, b = (
            np.vstack([A, A[:2], 1e3 * A[:1]]),
            np.vstack([S, S[:2], 1e3 * S[:1]]),
            np.concatenate([b, b[:2], 1e3 * b[:1]]),
        )
    if kind == 2:  # the sum of two rows, which follows from them
        A, S, b = np.vstack([A, A[0] + A[1]]), np.vstack([S, S[0] + S[1]]), np.append(b, b[0] + b[1])
    if kind == 3:  # of the parameters alone
        A, S, b = np.vstack([A, np.zeros((2, d))]), np.vstack([S, rng.normal(size=(2, n))]), np.append(b, [0.8, 0.5])
    if kind == 4:  # an equality
        A, S, b = np.vstack([A, -A[0]]), np.vstack([S, -S[0]]), np.append(b, -b[0])
        price[0] = np.inf
    price = np.concatenate([price, np.full(len(b) - 4, np.inf)])
    box = -rng.uniform(0.5, 2.0, n), rng.uniform(0.5, 2.0, n)
    return MultiparametricQP(root @ root.T, rng.normal(size=d), rng.normal(size=(d, n)), A, b, S, price, box)


def optimum(problem: MultiparametricQP, x: np.ndarray) -> np.ndarray | None:
    """By SLSQP, with a slack for every soft row; None where it finds nothing feasible."""
    d, soft = len(problem.f), np.isfinite(problem.weight)
    q, force, limit = int(soft.sum()), problem.f + problem.F @ x, problem.b + problem.S @ x
    slack = np.zeros((len(problem.b), q))
    slack[np.flatnonzero(soft), np.arange(q)] = 1.0

    def cost(s: np.ndarray) -> float:
        return float(0.5 * s[:d] @ problem.H @ s[:d] + force @ s[:d] + problem.weight[soft] @ s[d:])

    conditions = [
        {"type": "ineq", "fun": lambda s: limit - problem.A @ s[:d] + slack @ s[d:]},
        {"type": "ineq", "fun": lambda s: s[d:]},
    ]
    found = minimize(
        cost, np.zeros(d + q), constraints=conditions, method="SLSQP", options={"ftol": 1e-14, "maxiter": 200}
    )
    return found.x[:d] if found.success else None


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.every(2)
def test_the_regions_give_the_optimum(kind: int) -> None:
    compared = 0
    for seed in range(5):
        problem = random_problem(seed, kind)
        regions = solve_everywhere(problem, 1000)
        rng = np.random.default_rng(seed)
        for x in rng.uniform(*problem.box, (15, len(problem.box[0]))):
            inside = [region for region in regions if region.set.contains(x, tolerance=1e-9)]
            right = optimum(problem, x)
            # SLSQP may fail to find a feasible point; ours may not.
            feasible = (
                right is not None
                and ((problem.A @ right - problem.b - problem.S @ x)[np.isinf(problem.weight)] <= 1e-7).all()
            )
            if not feasible:
                continue
            assert inside, (seed, x)
            for region in inside:
                np.testing.assert_allclose(region.K @ x + region.k, right, atol=2e-5)
            compared += 1
    assert compared >= 20


def test_the_active_set_meets_the_conditions_of_optimality() -> None:
    for seed in range(40):
        parametric = Parametric(random_problem(seed, seed % 5))
        rng = np.random.default_rng(seed)
        for x in rng.uniform(-1.0, 1.0, (10, len(parametric.middle))):
            rows = parametric.active_set(x)
            if rows is None:
                continue
            active = [i for i, status in rows if status == "active"]
            violated = [i for i, status in rows if status == "violated"]
            assert np.linalg.matrix_rank(parametric.U[active]) == len(active)
            given = parametric.weight[violated] @ parametric.U[violated]
            v = parametric.v @ np.append(x, 1.0)
            multipliers = np.linalg.lstsq(
                parametric.U[active] @ parametric.U[active].T, v[active] - parametric.U[active] @ given, rcond=None
            )[0]
            slack = v - parametric.U @ (given + multipliers @ parametric.U[active])
            assert (multipliers >= -1e-9).all()
            assert (multipliers <= parametric.weight[active] + 1e-9).all()
            assert (slack[violated] >= -1e-9).all()
            others = np.setdiff1d(np.arange(len(v)), violated)
            assert (slack[others] <= 1e-9).all()


def test_infeasible_parameters_have_no_active_set() -> None:
    # z >= 1 + x and z <= 0: feasible for x <= -1 only.
    problem = MultiparametricQP(
        np.eye(1), np.zeros(1), np.zeros((1, 1)), np.array([[-1.0], [1.0]]), np.array([-1.0, 0.0]),
        np.array([[-1.0], [0.0]]), np.full(2, np.inf), (np.array([-3.0]), np.array([3.0])),
    )  # fmt: skip
    parametric = Parametric(problem)
    assert parametric.active_set(np.array([0.5])) is None
    assert parametric.active_set(np.array([-0.5])) is not None
    regions = solve_everywhere(problem, 10)
    covered = np.array([[region.corners.min(), region.corners.max()] for region in regions])
    assert covered.min() == -3.0
    assert covered.max() == pytest.approx(-1.0, abs=1e-12)
    assert parametric.reach(np.array([-0.5]), np.array([1.0]), 1.0) == pytest.approx(1.0 / 6.0)


def test_a_region_that_cannot_be_found_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever it is: the facets of the others say that something is beyond them."""
    problem = random_problem(3, 0)
    all_rows = [region.rows for region in solve_everywhere(problem, 1000)]
    assert len(all_rows) >= 5
    true = Parametric.region
    for hidden in all_rows:
        monkeypatch.setattr(Parametric, "region", lambda self, rows, h=hidden: None if rows == h else true(self, rows))
        with pytest.raises(Unresolved):
            solve_everywhere(problem, 1000)


def test_too_many_regions() -> None:
    with pytest.raises(TooManyRegions, match="more than 3 regions"):
        solve_everywhere(random_problem(3, 0), 3)


def line(cuts: list[float], laws: list[tuple[float, float]]) -> list[Region]:
    """Regions of one parameter in [-1, 1] between cuts, z = K x + k on each."""
    regions = []
    for low, high, (K, k) in zip([-1.0, *cuts], [*cuts, 1.0], laws, strict=True):
        shape = Polytope.cube(1).within(np.array([[-1.0], [1.0]]), np.array([-low, high]))
        assert shape is not None
        regions.append(Region(frozenset(), np.array([[K]]), np.array([k]), None, shape.vertices, shape.middle, shape))  # type: ignore[arg-type]
    return regions


def lattice(regions: list[Region]) -> Lattice:
    return lattice_of(regions, np.eye(1), np.zeros((1, 1)), np.zeros(1), (-np.ones(1), np.ones(1)))


def test_a_lattice_of_known_pieces_and_none_of_what_jumps() -> None:
    saw = line([-0.5, 0.0, 0.5], [(1.0, 0.0), (-1.0, -1.0), (1.0, -1.0), (-1.0, 0.0)])
    law = lattice(saw)
    x = np.linspace(-1.0, 1.0, 101)[:, None]
    wanted = np.select([x < -0.5, x < 0.0, x < 0.5], [x, -x - 1.0, x - 1.0], -x)
    np.testing.assert_allclose(law(x), wanted, atol=1e-12)
    with pytest.raises(NotRepresented):
        lattice(line([0.0], [(1.0, 0.0), (1.0, 0.3)]))


def test_every_part_whose_term_is_too_large_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions may share a term; where it fails, each of them needs others."""
    calls: Counter[frozenset[int]] = Counter()
    true = lattice_module._split

    def counted(pieces: np.ndarray, term: frozenset[int], *rest: Any) -> Any:
        calls[term] += 1
        return true(pieces, term, *rest)

    monkeypatch.setattr(lattice_module, "_split", counted)
    task, horizon, with_set = random_task(358)
    ExplicitMPC(task, horizon, None if with_set else "cost", max_regions=300)
    assert max(calls.values()) == 2


def test_points_above_all_differences() -> None:
    square = Polytope.cube(2)
    steep = np.array([[1e9, 0.0, -5e8], [0.0, 1.0, 0.0]])  # above zero where x1 > 0.5 and x2 > 0
    found = lattice_module._where_above(square, steep)
    assert found is not None
    assert (steep @ np.append(found, 1.0) > 0.0).all()
    assert lattice_module._where_above(square, np.vstack([steep, [-1.0, 0.0, 0.4]])) is None
