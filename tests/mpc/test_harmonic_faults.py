"""What the controllers do when things go wrong, and what theory promises when they do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from ctrl.controller import NotApplicable, Source, Status
from mpc import EqualityMPC, HarmonicMPC, TrackingMPC
from mpc.harmonic.artificial_reference_mpc import ArtificialReferenceMPC
from systems import DimensionMismatch, Ellipsoid, InvalidValue, Nonlinear, SetPoint, Sinusoid, exact
from systems.library import cartpole
from tests.mpc.harmonic_problems import (
    AXIS_FREQUENCY,
    MASSES_FREQUENCY,
    START,
    axis,
    axis_controller,
    masses,
    masses_controller,
    resting,
)

MAKERS: dict[str, Callable[[], ArtificialReferenceMPC]] = {
    "harmonic": masses_controller,
    "harmonic, fast path": lambda: masses_controller("admm"),
    "harmonic, Clarabel": lambda: masses_controller("clarabel"),
    "harmonic, three iterations": lambda: HarmonicMPC(masses(), 10, MASSES_FREQUENCY, max_iterations=3),
    "harmonic, one iteration": lambda: HarmonicMPC(masses(), 10, MASSES_FREQUENCY, max_iterations=1),
    "tracking, one iteration": lambda: TrackingMPC(masses(), 10, max_iterations=1),
    "equality, one iteration": lambda: EqualityMPC(masses(), 20, max_iterations=1),
    "tracking": lambda: TrackingMPC(masses(), 10),
    "equality": lambda: EqualityMPC(masses(), 20),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("steps", [600, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.every(3)
def test_faults_never_reach_the_input(name: str, steps: int) -> None:
    if name == "harmonic, Clarabel" and steps > 1000:
        pytest.skip("the reference is too slow for this")
    task, controller = masses(), MAKERS[name]()
    plant = exact(task.plant, task.dt)
    lower, upper = task.input_bounds
    rng, x = np.random.default_rng(1), START
    clear, sources = 0, set()
    for k in range(steps):
        seen = x.copy()
        fault = rng.random()
        if fault < 0.05:
            seen[rng.integers(6)] = rng.choice([np.nan, np.inf, -np.inf])
        elif fault < 0.10:
            seen = seen + rng.normal(size=6) * rng.choice([10.0, 1e8, 1e300])
        clear = 0 if fault < 0.10 else clear + 1
        decision = controller.step(seen, k)
        sources.add(decision.source)
        assert decision.input.shape == (2,)
        assert np.isfinite(decision.input).all()
        assert (decision.input >= lower).all()
        assert (decision.input <= upper).all()
        assert decision.status is not Status.SOLVED or decision.residual < 1e-6
        if clear >= 2 and name in ("harmonic", "harmonic, fast path", "harmonic, Clarabel", "tracking"):
            assert decision.status is Status.SOLVED, f"not recovered at sample {k}"
        if k % 97 == 0:
            controller.follow(resting(task, rng.uniform(-0.5, 0.5, 2)))
        x = plant.A @ x + plant.B @ decision.input
        assert np.abs(x).max() < 10.0
    if name == "harmonic":
        assert {Source.OPTIMAL, Source.SHIFTED_PLAN} <= sources


def test_one_iteration_is_never_called_solved() -> None:
    controller = HarmonicMPC(masses(), 10, MASSES_FREQUENCY, max_iterations=1)
    decision = controller.step(START, 0)
    assert decision.status is Status.MAX_ITERATIONS
    assert decision.source is Source.BACKUP
    assert np.abs(decision.input).max() <= 0.8


def test_the_last_good_prediction_is_followed_beyond_its_horizon() -> None:
    task, controller = axis(), axis_controller(axis())
    plant, x = exact(task.plant, task.dt), np.zeros(4)
    controller.step(x, 0)
    found = controller.prediction
    for k in range(3 * controller.horizon):
        decision = controller.step(np.full(4, np.nan), k) if k else controller.step(x, 0)
        np.testing.assert_allclose(decision.input, found.point_at(k)[1], atol=1e-9)
        np.testing.assert_allclose(x, found.point_at(k)[0], atol=1e-9)
        # The prediction, and the harmonic it ends on, is a trajectory of the plant within its bounds.
        assert np.abs(x[1]) <= 0.5 + 1e-9
        x = plant.A @ x + plant.B @ decision.input
        if k:
            assert (decision.status, decision.source) == (Status.NUMERICAL, Source.SHIFTED_PLAN)


def test_reset_forgets_the_plan() -> None:
    controller = masses_controller()
    controller.step(START, 0)
    assert controller.step(np.full(6, np.nan), 1).source is Source.SHIFTED_PLAN
    controller.reset()
    assert controller.step(np.full(6, np.nan), 0).source is Source.BACKUP


@pytest.mark.parametrize("name", ["harmonic", "harmonic, fast path", "tracking"])
@pytest.mark.parametrize("changes", [10, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.every(3)
def test_feasible_for_any_change_of_the_reference(name: str, changes: int) -> None:
    task, controller = masses(), MAKERS[name]()
    plant = exact(task.plant, task.dt)
    rng, x = np.random.default_rng(2), START
    for k in range(3 * changes):
        if k % 3 == 0:
            # Neither an equilibrium nor admissible, most of the time.
            scale = rng.choice([0.1, 1.0, 10.0])
            controller.follow(SetPoint(scale * rng.normal(size=6), scale * rng.normal(size=2)))
        decision = controller.step(x, k)
        assert decision.status is Status.SOLVED, f"sample {k}"
        x = plant.A @ x + plant.B @ decision.input
        assert (x[:3] <= 0.3 + 1e-7).all()
        assert (x[:3] >= -1.0 - 1e-7).all()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("changes", [500])
def test_feasible_for_any_change_of_a_sinusoid(changes: int) -> None:
    task = dataclasses.replace(axis(), reference=Sinusoid(AXIS_FREQUENCY))
    controller = axis_controller(task)
    plant, rng, x = exact(task.plant, task.dt), np.random.default_rng(3), np.zeros(4)
    for k in range(3 * changes):
        if k % 3 == 0:
            mean, sine, cosine = rng.normal(size=(3, 4)) * rng.choice([0.1, 1.0])
            controller.follow(Sinusoid(AXIS_FREQUENCY, mean, sine, cosine))
        decision = controller.step(x, k)
        assert decision.status is Status.SOLVED, f"sample {k}"
        x = plant.A @ x + plant.B @ decision.input
        assert abs(x[1]) <= 0.5 + 1e-7
        assert abs(x[2]) <= np.pi / 4 + 1e-7


def test_terminal_equality_stays_feasible_for_the_reference_it_has() -> None:
    task, controller = masses(), EqualityMPC(masses(), 20)
    plant, rng, runs = exact(task.plant, task.dt), np.random.default_rng(4), 0
    for _ in range(60):
        x = rng.uniform(-0.5, 0.5, 6) * [0.4, 0.4, 0.4, 1.0, 1.0, 1.0]
        controller.reset()
        decision = controller.step(x, 0)
        if decision.status is Status.SOLVED:
            runs += 1
            for k in range(1, 20):
                x = plant.A @ x + plant.B @ decision.input
                decision = controller.step(x, k)
                assert decision.status is Status.SOLVED, f"sample {k}"
    assert runs >= 10


def test_set_points_beyond_the_bounds_end_at_the_nearest_admissible_one() -> None:
    task, controller = masses(), masses_controller()
    plant, x = exact(task.plant, task.dt), START
    controller.follow(resting(task, np.array([0.9, 0.9])))
    for k in range(300):
        x = plant.A @ x + plant.B @ controller.step(x, k).input
    found = controller.prediction
    assert x[:3].max() == pytest.approx(0.3 - 1e-4, abs=1e-5)
    np.testing.assert_allclose(found.sine, 0.0, atol=1e-4)
    np.testing.assert_allclose(found.cosine, 0.0, atol=1e-4)


def test_misuse_raises_at_once() -> None:
    task, controller = masses(), masses_controller()
    with pytest.raises(DimensionMismatch, match="expected"):
        controller.step(np.zeros(5), 0)
    with pytest.raises(InvalidValue, match="horizon"):
        HarmonicMPC(task, 0, 0.5)
    with pytest.raises(InvalidValue, match="frequency"):
        HarmonicMPC(task, 5, float("nan"))
    with pytest.raises(InvalidValue, match="eps"):
        HarmonicMPC(task, 5, 0.5, eps=1.0)
    with pytest.raises(InvalidValue, match="solver"):
        HarmonicMPC(task, 5, 0.5, solver="simplex")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="max_iterations"):
        HarmonicMPC(task, 5, 0.5, max_iterations=0)
    with pytest.raises(NotApplicable, match="quadratic"):
        HarmonicMPC(dataclasses.replace(task, cost=Nonlinear(lambda x, u, xr, ur: x.p1**4)), 5, 0.5)
    with pytest.raises(NotApplicable, match="affine"):
        HarmonicMPC(dataclasses.replace(task, constraints=(Ellipsoid("disc", ("p1", "p2"), np.eye(2)),)), 5, 0.5)
    with pytest.raises(NotApplicable, match="equilibrium"):
        EqualityMPC(dataclasses.replace(task, reference=SetPoint(x={"p1": 0.1})), 5)


def test_an_unstable_plant_with_soft_track() -> None:
    task = cartpole()
    controller = HarmonicMPC(task, horizon=15, frequency=0.12)
    f, x = task.dynamics.function(), np.array([1.0, 0.1, 0.0, 0.0])
    for k in range(100):
        decision = controller.step(x, k)
        x = np.array(f(x, decision.input, 0, []))[:, 0]
    np.testing.assert_allclose(x, 0.0, atol=0.05)
