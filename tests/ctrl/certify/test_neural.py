"""Neural Lyapunov functions: bounds that hold, against CasADi's derivatives and Arb, and what is proved with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_discrete_lyapunov

from ctrl.certify import ClosedLoop, Kind, NeuralLyapunov, SearchLimits, SymbolicLyapunov, certify, sampled_limit
from ctrl.certify.files.audit import audit
from ctrl.certify.files.file import read, save
from ctrl.certify.files.verification import recheck
from ctrl.certify.functions.tanh_features import _second_derivative, features_over
from ctrl.laws import SaturatedLinear
from ctrl.regulator import LQR
from systems import DimensionMismatch, InvalidValue
from systems.arithmetic.interval import Interval
from systems.library.pendulum import pendulum
from tests.ctrl.certify.forged import forged

TASK = pendulum()
LAW = LQR(TASK).law


def neural(n: int = 2, sizes: tuple[int, ...] = (7, 6), seed: int = 0, scale: float = 1.0) -> NeuralLyapunov:
    rng = np.random.default_rng(seed)
    widths = [n, *sizes]
    weights = [scale * rng.standard_normal((b, a)) for a, b in zip(widths, sizes, strict=False)]
    biases = [rng.standard_normal(b) for b in sizes]
    root = rng.standard_normal((n, n))
    P = root @ root.T + 0.1 * np.eye(n)
    return NeuralLyapunov(
        tuple(weights),
        tuple(biases),
        rng.standard_normal((4, sizes[-1])),
        0.5 * (P + P.T),
        Interval.of(rng.uniform(-1, 1, n)),
    )


def with_features(P: np.ndarray, share: float) -> NeuralLyapunov:
    """About x'Px near the origin: a share of it by tanh features, less and less far from it."""
    root = np.linalg.cholesky(P).T
    output = np.sqrt(share) * root @ np.diag([4.0, 12.0])
    return NeuralLyapunov((np.diag([0.25, 1 / 12]),), (np.zeros(2),), output, (1 - share) * P, Interval.of(np.zeros(2)))


def contains(bound: Interval, value: Interval) -> bool:
    """Whether a tight enclosure of the truth meets the bound, entry by entry."""
    return bool(((bound.lo <= value.hi) & (value.lo <= bound.hi)).all())


@pytest.mark.parametrize(("n", "sizes"), [(1, (5,)), (2, (7, 6)), (3, (4, 4, 4))])
def test_values_and_derivatives_are_those_of_the_expression(n: int, sizes: tuple[int, ...]) -> None:
    V = neural(n, sizes)
    x = np.random.default_rng(1).uniform(-2, 2, (100, n))
    assert np.allclose(V(x), V.symbolic(x), rtol=1e-12, atol=1e-12)
    assert np.allclose(V.gradient(x), V.symbolic.gradient(x), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("seed", range(4))
def test_it_vanishes_at_the_centre_and_is_positive_elsewhere(seed: int) -> None:
    V = neural(seed=seed)
    assert V(V.middle) == 0.0
    assert (V.gradient(V.middle) == 0.0).all()
    directions = np.random.default_rng(2).standard_normal((500, 2))
    for r in (1e-6, 1e-2, 1.0, 1e3):
        x = V.middle + r * directions
        assert (V(x) >= 0.99 * np.linalg.eigvalsh(V.P).min() * ((x - V.middle) ** 2).sum(-1)).all()
    low, high = V.bounding_box(2.0)
    outside = np.array([[low[0] - 1e-9, 0.0], [0.0, high[1] + 1e-9]])
    assert (V(outside) > 2.0).all()


@pytest.mark.parametrize(("n", "sizes"), [(1, (5,)), (2, (7, 6)), (3, (4, 4, 4))])
@pytest.mark.parametrize("half", [1e-9, 1e-3, 0.1, 3.0])
@pytest.mark.every(3)
def test_everything_within_a_box_is_enclosed(n: int, sizes: tuple[int, ...], half: float) -> None:
    V, rng = neural(n, sizes, seed=3), np.random.default_rng(4)
    middle = rng.uniform(-1.5, 1.5, (60, n))
    width = half * rng.uniform(0, 1, (60, n))  # some directions hardly extend
    box = Interval(middle - width, middle + width)
    value, gradient, hessian = V.enclose(box), V.enclose_gradient(box), V.enclose_hessian(box)
    for k in range(6):
        x = rng.uniform(box.lo, box.hi) if k else box.lo
        at = Interval.of(x)  # the expression's own enclosures at points are tight, and made by other means
        assert contains(value, V.symbolic.enclose(at))
        assert contains(gradient, V.symbolic.enclose_gradient(at))
        assert contains(hessian, V.symbolic.enclose_hessian(at))


def test_the_enclosures_are_exact_to_first_order() -> None:
    """Halving a box halves the widths, and these are a fraction of what interval arithmetic alone gives."""
    V, rng = neural(sizes=(16, 16), seed=5), np.random.default_rng(6)
    middle = rng.uniform(-1, 1, (100, 2))

    def widths(V: NeuralLyapunov | SymbolicLyapunov, half: float) -> np.ndarray:
        box = Interval(middle - half, middle + half)
        return np.array([np.median(V.enclose_gradient(box).rad), np.median(V.enclose_hessian(box).rad)])

    fine, coarse = widths(V, 1e-4), widths(V, 2e-4)
    assert np.allclose(coarse / fine, 2.0, rtol=0.1)
    assert (fine < 0.3 * widths(V.symbolic, 1e-4)).all()


@settings(max_examples=200)
@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1))
def test_the_second_derivative_of_tanh_is_enclosed(low: float, width: float, at: float) -> None:
    high = min(low + width, 1.0)
    bound = _second_derivative(Interval(np.array([low]), np.array([high])))
    t = min(max(low + at * (high - low), low), high)
    assert bound.lo[0] <= -2 * t * (1 - t * t) + 1e-16
    assert bound.hi[0] >= -2 * t * (1 - t * t) - 1e-16
    grid = np.linspace(low, high, 101)
    values = -2 * grid * (1 - grid * grid)
    assert bound.hi[0] <= values.max() + 1e-3
    assert bound.lo[0] >= values.min() - 1e-3


def test_unbounded_boxes_give_bounds_that_hold_or_none() -> None:
    V = neural()
    box = Interval(np.array([[-np.inf, 0.0], [-1e300, -1.0]]), np.array([[np.inf, 0.1], [1e300, 1.0]]))
    with np.errstate(all="ignore"):
        value, hessian = V.enclose(box), V.enclose_hessian(box)
    assert (value.lo <= V(np.array([[3.0, 0.05], [-5.0, 0.5]]))).all()
    assert (value.hi >= V(np.array([[1e100, 0.05], [1e100, 0.5]]))).all()
    H = V.symbolic.enclose_hessian(Interval.of(np.array([[0.3, 0.05], [0.3, 0.5]])))
    assert contains(hessian, H)


def test_nonsense_is_refused() -> None:
    V = neural()
    with pytest.raises(DimensionMismatch, match="layer 1"):
        replace_weights(V, (V.weights[0], V.weights[1].T))
    with pytest.raises(DimensionMismatch, match="output"):
        NeuralLyapunov(V.weights, V.biases, V.output.T, V.P, V.centre)
    with pytest.raises(InvalidValue, match="finite"):
        replace_weights(V, (V.weights[0] * np.nan, V.weights[1]))
    with pytest.raises(InvalidValue, match="positive definite"):
        NeuralLyapunov(V.weights, V.biases, V.output, -V.P, V.centre)
    with pytest.raises(ValueError, match="read-only"):
        V.weights[0][0, 0] = 1.0


def replace_weights(V: NeuralLyapunov, weights: tuple[np.ndarray, ...]) -> NeuralLyapunov:
    return NeuralLyapunov(weights, V.biases, V.output, V.P, V.centre)


def candidate() -> NeuralLyapunov:
    """For the regulator: its Lyapunov equation's solution, a third of it by features."""
    loop = ClosedLoop(TASK, LAW)
    A = loop.enclose_jacobian(Interval.of(np.zeros(2))).jacobian.mid
    P = solve_discrete_lyapunov(A.T, np.eye(2))
    return with_features(0.5 * (P + P.T), 0.3)


def test_a_proof_agrees_with_that_of_the_same_expression_and_survives_its_file(tmp_path: Path) -> None:
    V = candidate()
    level = 0.9 * sampled_limit(ClosedLoop(TASK, LAW), V).level
    found = certify(TASK, LAW, V, level)
    assert found.is_proved, found.reason
    slow = certify(TASK, LAW, V.symbolic, level, budget=SearchLimits(seconds=600))
    assert slow.is_proved
    assert np.isclose(found.volume, slow.volume, rtol=1e-3)
    assert found.boxes <= slow.boxes
    stored = read(save(found, TASK, LAW, "pendulum", tmp_path / "pendulum"), TASK)
    assert isinstance(stored.claim.region.V, NeuralLyapunov)
    assert (stored.claim.region.V.output == V.output).all()
    again = recheck(stored)
    assert again.holds, again.reason
    looked = audit(stored, again.low, again.high, points=60)
    assert looked.failure is None
    assert looked.relevant > 5
    inflated = forged(stored, region=replace(stored.claim.region, level=1.3 * level / 0.9))
    assert not recheck(inflated).holds


def test_false_claims_are_refused_with_a_point() -> None:
    V, loop = candidate(), ClosedLoop(TASK, LAW)
    limit = sampled_limit(loop, V).level
    high = certify(TASK, LAW, V, 1.05 * limit)
    assert high.kind is Kind.REFUSED
    x = high.counterexample
    assert x is not None
    assert V(x) <= 1.05 * limit
    assert V(loop(x)) > V(x) or (np.abs(loop(x)) > TASK.domain_bounds[1]).any()
    wrong = SaturatedLinear(-LAW.K, LAW.x_ref, LAW.u_ref, LAW.lower, LAW.upper)
    assert not certify(TASK, wrong, V, 0.1 * limit).is_proved


def test_features_without_derivatives_are_the_plain_bounds() -> None:
    V = neural()
    box = Interval(np.zeros((3, 2)), np.full((3, 2), 0.1))
    plain, sharp = (features_over(box, V.weights, V.biases, V.output, order) for order in (0, 1))
    assert plain.slope is None
    assert plain.second is None
    assert (sharp.value.rad <= plain.value.rad).all()


def test_a_copy_around_an_uncertain_centre_covers_every_centre() -> None:
    V = neural()
    centre = Interval(V.middle - 1e-6, V.middle + 1e-6)
    moved = V.centred_at(centre)
    x = np.random.default_rng(7).uniform(-1, 1, (20, 2))
    value = moved.enclose(Interval.of(x))
    for shift in ([1e-6, -1e-6], [-1e-6, 0.0]):
        other = V.centred_at(Interval.of(V.middle + np.array(shift)))
        assert isinstance(other.symbolic, SymbolicLyapunov)
        assert ((other(x) >= value.lo) & (other(x) <= value.hi)).all()
