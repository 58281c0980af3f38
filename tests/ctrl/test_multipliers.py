"""Multiplier controllers: the toy problem, their special cases, the step problem against other solvers, saved state."""

from __future__ import annotations

import io
from collections.abc import Callable

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrl.multipliers import PID, GivenModel, Integral, MultiplierController, Predictive, Proportional, ViolationModel
from ctrl.multipliers.box_qp import minimise_in_box
from systems import DimensionMismatch, InvalidValue

# Toy: minimise |theta - (2, 1)|^2 / 2 with a'theta <= 1 by steps of 0.1 from 0. KKT: lam = 1.2, theta = (0.8, 0.4).
NORMAL, TARGET, ETA = np.array([1.0, 0.5]), np.array([2.0, 1.0]), 0.1
EFFECT = -ETA * NORMAL @ NORMAL

Result = tuple[float, float, float, np.ndarray]


def descend(controller: MultiplierController, steps: int = 200, noise: float = 0.0) -> Result:
    """Largest violation, their sum, the last multiplier, the last point."""
    theta, seen, lam = np.zeros(2), [], 0.0
    rng = np.random.default_rng(0)
    for _ in range(steps):
        e = NORMAL @ theta - 1.0
        seen.append(max(e, 0.0))
        if isinstance(controller, Predictive) and isinstance(controller.model, GivenModel):
            controller.model.set(-ETA * NORMAL @ (theta - TARGET), np.array([[EFFECT]]))
        lam = float(controller.update(np.array([e + noise * rng.normal()]))[0])
        theta = theta - ETA * (theta - TARGET + lam * NORMAL)
    return max(seen), sum(seen), lam, theta


def exact(**settings: float) -> Predictive:
    return Predictive(GivenModel(0.0, EFFECT), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("controller", "largest", "total", "lam", "theta"),
    [
        (Integral(0.5), "0.464", "4.99", 1.2, (0.8, 0.4)),
        (Integral(2.0), "0.266", "2.18", 1.2, (0.8, 0.4)),
        (Proportional(5.0), "0.207", "40.1", 1.034, (0.966, 0.483)),
        (PID(2.0, 0.5, 1.0), "0.273", "2.45", 1.2, (0.8, 0.4)),
        (exact(horizon=1), "0", "0", 1.2, (0.8, 0.4)),
        (exact(horizon=5), "0", "0", 1.2, (0.8, 0.4)),
        (exact(horizon=5, s=0.01), "0", "0", 1.2, (0.8, 0.4)),
        # Solved exactly, the bias of a zero reference is 1e-7 here; an early stop would leave more.
        (exact(horizon=5, r=1e-3, reference=0.0), "0", "0", 1.2, (0.8, 0.4)),
        (exact(horizon=5, r=1e-3), "0", "0", 1.2, (0.8, 0.4)),
    ],
)
def test_the_toy_problem(
    controller: MultiplierController, largest: str, total: str, lam: float, theta: tuple[float, float]
) -> None:
    found = descend(controller)
    assert f"{found[0]:.3g}" == largest or found[0] < 2e-7
    assert f"{found[1]:.3g}" == total or found[1] < 2e-5
    assert found[2] == pytest.approx(lam, abs=5e-4)
    np.testing.assert_allclose(found[3], theta, atol=5e-4)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("settings", "off"), [({}, 1e-5), ({"horizon": 1}, 1e-5), ({"r": 1e-3}, 3e-3)])
@pytest.mark.parametrize("forgetting", [0.95, 0.99])
@pytest.mark.every(4)
def test_an_identified_model_started_with_a_wrong_effect(
    factor: float, settings: dict[str, float], off: float, forgetting: float
) -> None:
    controller = Predictive(ViolationModel(factor * EFFECT, forgetting=forgetting), **settings)  # type: ignore[arg-type]
    largest, total, lam, theta = descend(controller, 400)
    assert lam == pytest.approx(1.2, abs=off)
    np.testing.assert_allclose(theta, [0.8, 0.4], atol=off)
    assert total < 0.5 < descend(Integral(2.0))[1]
    assert largest < 0.1


def test_the_model_that_is_identified_is_that_of_the_loop() -> None:
    model, rng = ViolationModel(-1.0, shape=2, forgetting=1.0, covariance=1e6), np.random.default_rng(0)
    e = lam = np.zeros(2)
    A, B = np.array([0.3, -0.1]), np.array([[-0.5, 0.2], [0.2, -0.3]])
    for _ in range(50):
        model.observe(e, lam, np.array(True))
        lam = rng.uniform(0.0, 2.0, 2)
        e = e + A + B @ lam
    np.testing.assert_allclose(model.drift, A, atol=1e-4)
    np.testing.assert_allclose(model.effect, B, atol=1e-4)


def test_a_delayed_loop_is_identified_with_its_delay() -> None:
    A, B, lam, e = 0.15, -0.125, [0.0, 0.0], -1.0
    controller = Predictive(ViolationModel(-0.2, delay=1), horizon=3, r=1e-3)
    for _ in range(400):
        lam.append(float(controller.update(np.array([e]))[0]))
        e = e + A + B * lam[-2]
    assert controller.model.effect[0, 0] == pytest.approx(B, rel=5e-3)
    assert lam[-1] == pytest.approx(1.2, abs=1e-3)
    assert e == pytest.approx(0.0, abs=1e-2)


def test_a_noisy_violation_with_smoothing_is_held_near_the_limit() -> None:
    controller = Predictive(ViolationModel(EFFECT, forgetting=0.99, smoothing=0.9, b_min=0.02), r=0.01, maximum=10.0)
    _, _, _, theta = descend(controller, 600, noise=0.05)
    assert NORMAL @ theta == pytest.approx(1.0, abs=0.1)


def test_sign_of_the_effect_and_cap_on_the_drift_hold_whatever_is_measured() -> None:
    model, rng = ViolationModel(-0.1, shape=3, b_min=0.01, max_drift_change=0.05), np.random.default_rng(1)
    lam = np.zeros(3)
    for _ in range(200):
        before = model.drift.copy()
        model.observe(rng.normal(size=3) * 10.0 ** rng.uniform(-3, 3), lam, np.array(True))
        lam = rng.uniform(0, 5, 3) * (rng.random() < 0.5)
        assert np.abs(model.drift - before).max() <= 0.05 + 1e-12
        np.testing.assert_allclose(model.effect, model.effect.T, rtol=1e-12)
        assert np.linalg.eigvalsh(model.effect).max() <= -0.01 + 1e-12 * np.abs(model.effect).max()
        assert np.trace(model._p) <= 4 * 100.0 + 1e-6
        assert np.linalg.eigvalsh(model._p).min() > 0


def test_special_cases_of_pid() -> None:
    rng = np.random.default_rng(2)
    pairs = [
        (PID(0.0, 0.7, 0.0, 4, 3.0), Integral(0.7, 4, 3.0)),
        (PID(1.3, 0.0, 0.0, 4, 3.0), Proportional(1.3, 4, 3.0)),
    ]
    for general, special in pairs:
        for _ in range(100):
            e = rng.normal(size=4)
            np.testing.assert_array_equal(general.update(e), special.update(e))


def test_pid_is_the_published_form() -> None:
    rng, controller = np.random.default_rng(3), PID(0.1, 0.02, 0.3, 1, 1.0, filter_p=0.9, filter_d=0.8, delay=3)
    e = rng.normal(size=60) + 0.5
    integral, p, c = 0.0, e[0], [e[0]] * 4
    for value in e:
        integral = min(max(0.0, integral + 0.02 * value), 1.0)
        p = 0.9 * p + 0.1 * value
        c.append(0.8 * c[-1] + 0.2 * value)
        expected = min(max(0.0, 0.1 * p + integral + 0.3 * max(0.0, c[-1] - c[-4])), 1.0)
        assert controller.update(np.array([value]))[0] == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("controller", [Integral(0.5, maximum=2.0), PID(0.3, 0.5, 0.2, maximum=2.0)])
def test_nothing_winds_up(controller: MultiplierController) -> None:
    for _ in range(1000):
        assert controller.update(np.array([1.0]))[0] <= 2.0
    assert controller.multipliers[0] == 2.0
    assert controller.update(np.array([-0.1]))[0] < 2.0  # with the first sample in which the constraint holds
    for _ in range(1000):
        controller.update(np.array([-1.0]))
    controller.update(np.array([0.5]))
    assert controller.update(np.array([0.5]))[0] >= 0.3  # nor below


FINITE = st.floats(-10, 10)


@given(FINITE, FINITE, st.floats(-10, -1e-3), st.floats(0, 20))
def test_one_step_ahead_is_dead_beat(e: float, A: float, B: float, top: float) -> None:
    controller = Predictive(GivenModel(A, B), horizon=1, maximum=top)
    assert controller.update(np.array([e]))[0] == pytest.approx(min(max((e + A) / -B, 0.0), top), rel=1e-12)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 4), st.booleans(), st.booleans())
def test_the_plan_is_that_of_another_solver(seed: int, N: int, c: int, bounded: bool, changes: bool) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(c, c + 1))
    e, A, last, B = rng.normal(size=c), rng.normal(size=c), rng.uniform(0, 1, c), -root @ root.T
    top = rng.uniform(0.3, 1.0, c) if bounded else np.full(c, np.inf)
    q, r, s = 2.0, 0.3, 0.5 if changes else 0.0
    reference = rng.uniform(0, 1, c)
    controller = Predictive(GivenModel(A, B, c), N, q, r, s, top, reference)
    controller.start(last)
    plan = controller.plan(e[None], A[None], B[None], controller.multipliers[None])[0]
    lam = cp.Variable((N, c))
    cost, now = 0.0, e
    for i in range(N):
        now = now + A + B @ lam[i]
        cost += q * cp.sum_squares(cp.pos(now)) + r * cp.sum_squares(lam[i] - reference)
        cost += s * cp.sum_squares(lam[i] - (controller.multipliers if i == 0 else lam[i - 1]))
    limits = [lam >= 0] + ([lam <= np.tile(top, (N, 1))] if bounded else [])
    best = cp.Problem(cp.Minimize(cost), limits)
    best.solve(solver=cp.CLARABEL)
    np.testing.assert_allclose(plan, lam.value, atol=2e-5)
    np.testing.assert_array_equal(controller.update(e), plan[0])


def test_several_plans_at_once_are_those_one_by_one() -> None:
    rng = np.random.default_rng(5)
    root = rng.normal(size=(40, 3, 2))  # B is singular
    e, A, B = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)), -root @ np.swapaxes(root, 1, 2)
    for options in ({"horizon": 1, "maximum": 5.0}, {"horizon": 3, "r": 0.1, "maximum": 5.0}):
        together = Predictive(GivenModel(A, B, (40, 3)), **options).update(e)  # type: ignore[arg-type]
        for i in range(40):
            alone = Predictive(GivenModel(A[i], B[i], 3), **options).update(e[i])  # type: ignore[arg-type]
            np.testing.assert_allclose(together[i], alone, atol=1e-7)


def test_the_box_program_at_a_scale() -> None:
    rng = np.random.default_rng(6)
    root = rng.normal(size=(60, 60)) * np.logspace(-3, 3, 60)
    H, d, upper = root.T @ root, rng.normal(size=60), np.full(60, np.inf)
    upper[::3] = 1.0
    x = minimise_in_box(H[None], d[None], upper[None], np.zeros((1, 60)))[0]
    slope = H @ x - d
    expected = np.minimum(np.maximum(x - slope / np.diag(H), 0.0), upper)
    np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["integral", "pid", "given", "identified"])
def test_multipliers_of_a_quadratic_program_with_several_constraints(kind: str) -> None:
    rng = np.random.default_rng(7)
    G, h, target = rng.normal(size=(3, 4)), np.array([0.2, -0.1, 3.0]), rng.normal(size=4)
    x = cp.Variable(4)
    limits = [G @ x <= h]
    cp.Problem(cp.Minimize(cp.sum_squares(x - target) / 2), limits).solve(solver=cp.CLARABEL)
    expected, eta = limits[0].dual_value, 0.1
    assert (expected > 1e-3).sum() >= 1
    makers: dict[str, Callable[[], MultiplierController]] = {
        "integral": lambda: Integral(0.3, 3),
        "pid": lambda: PID(0.5, 0.3, 0.1, 3),
        "given": lambda: Predictive(GivenModel(0.0, -eta * G @ G.T, 3)),
        "identified": lambda: Predictive(ViolationModel(-0.5, 3), r=1e-3, maximum=20.0),
    }
    controller, theta, lam = makers[kind](), np.zeros(4), np.zeros(3)
    for _ in range(1000):
        if isinstance(controller, Predictive) and isinstance(controller.model, GivenModel):
            controller.model.set(-eta * G @ (theta - target), -eta * G @ G.T)
        lam = controller.update(G @ theta - h)
        theta = theta - eta * (theta - target + G.T @ lam)
    np.testing.assert_allclose(lam, expected, atol=2e-3)
    np.testing.assert_allclose(theta, x.value, atol=2e-3)


def everything(shape: int | tuple[int, ...]) -> list[MultiplierController]:
    return [
        Proportional(1.5, shape, 9.0),
        Integral(0.4, shape, 9.0),
        PID(0.4, 0.3, 0.2, shape, 9.0, 0.9, 0.8, 4),
        Predictive(GivenModel(0.1, -0.4, shape), maximum=9.0, s=0.1),
        Predictive(ViolationModel(-0.4, shape, delay=1, smoothing=0.5), maximum=9.0, r=0.1, s=0.1),
    ]


@pytest.mark.parametrize("shape", [1, 3, (4, 2)])
@pytest.mark.parametrize("which", range(5))
def test_state_is_saved_to_the_last_bit(which: int, shape: int | tuple[int, ...]) -> None:
    rng, original, copy = np.random.default_rng(8), everything(shape)[which], everything(shape)[which]
    for _ in range(20):
        original.update(rng.normal(size=original.shape))
    file = io.BytesIO()
    np.savez(file, **original.state_dict())  # type: ignore[arg-type]
    file.seek(0)
    copy.load_state_dict(dict(np.load(file)))
    for _ in range(20):
        e = rng.normal(size=original.shape)
        np.testing.assert_array_equal(original.update(e), copy.update(e))
    if not isinstance(original, Predictive):  # what a model has learned outlives a reset
        original.reset()
        fresh = everything(shape)[which]
        e = rng.normal(size=original.shape)
        np.testing.assert_array_equal(original.update(e), fresh.update(e))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", range(5))
def test_a_violation_that_is_no_number_is_held(which: int, bad: float) -> None:
    rng, controller = np.random.default_rng(9), everything((2, 2))[which]
    for _ in range(10):
        controller.update(rng.normal(size=(2, 2)) + 0.5)
    before, saved = controller.multipliers.copy(), controller.state_dict()
    answer = controller.update(np.full((2, 2), bad))
    np.testing.assert_array_equal(answer, before)
    for name, array in controller.state_dict().items():
        assert np.isfinite(array).all()
        if name not in ("model.seen", "model.applied"):
            np.testing.assert_array_equal(array, saved[name])
    other = everything((2, 2))[which]
    other.load_state_dict(controller.state_dict())
    partly = other.update(np.array([[0.3, 0.4], [bad, 0.2]]))
    wholly = controller.update(np.array([[0.3, 0.4], [0.1, 0.2]]))
    np.testing.assert_array_equal(partly[0], wholly[0])  # the loops of another row do not notice
    assert partly[1, 0] == before[1, 0]
    for _ in range(50):
        assert np.isfinite(controller.update(rng.normal(size=(2, 2)))).all()


@pytest.mark.parametrize("which", range(5))
def test_extreme_numbers_stay_within_range(which: int) -> None:
    rng, controller = np.random.default_rng(10), everything(2)[which]
    for _ in range(300):
        lam = controller.update(rng.normal(size=2) * 10.0 ** rng.uniform(-300, 300))
        assert np.isfinite(lam).all()
        assert (lam >= 0).all()
        assert (lam <= 9.0).all()


@pytest.mark.parametrize("which", range(1, 5))
def test_a_start_is_where_the_loop_goes_on(which: int) -> None:
    controller = everything(2)[which]
    controller.start(np.array([1.0, 20.0]))
    np.testing.assert_array_equal(controller.multipliers, [1.0, 9.0])
    if which < 3:  # no violation, no change
        np.testing.assert_array_equal(controller.update(np.zeros(2)), [1.0, 9.0])


def test_misuse() -> None:
    with pytest.raises(DimensionMismatch, match=r"\(3,\); expected \(2,\)"):
        Integral(1.0, 2).update(np.zeros(3))
    with pytest.raises(InvalidValue, match="never negative"):
        Integral(1.0, maximum=-1.0)
    for make in (
        lambda: Integral(-1.0),
        lambda: Proportional(np.nan),
        lambda: Predictive(GivenModel(0.0, -1.0), r=-1.0),
    ):
        with pytest.raises(InvalidValue, match="at least 0"):
            make()
    with pytest.raises(InvalidValue, match="horizon = 0"):
        Predictive(GivenModel(0.0, -1.0), horizon=0)
    with pytest.raises(InvalidValue, match="expected B <= 0"):
        GivenModel(0.0, 1.0)
    with pytest.raises(
        InvalidValue, match=r"effect = 0\.5; expected a finite number, at most -0\.001, which is -b_min"
    ):
        ViolationModel(0.5)
    with pytest.raises(InvalidValue, match="share of the old value"):
        PID(1.0, 1.0, filter_p=1.0)
    controller = Integral(1.0, 2)
    with pytest.raises(InvalidValue, match="same kind"):
        controller.load_state_dict(PID(1.0, 1.0, shape=2).state_dict())
    with pytest.raises(DimensionMismatch, match="multipliers"):
        controller.load_state_dict(Integral(1.0, 3).state_dict())
    with pytest.raises(InvalidValue, match="finite"):
        controller.start(np.array([np.nan, 0.0]))
