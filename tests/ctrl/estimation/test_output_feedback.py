"""Output feedback in closed loops and comparisons, and what takes a state only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from ctrl import LQR, Controller, Decision, NotApplicable, Status, compare, simulate, totals
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.check import check_controller
from ctrl.comparison.draws import draw, draw_all
from ctrl.comparison.pairing import paired
from ctrl.comparison.results import details
from ctrl.comparison.workers import RunCell
from ctrl.estimation import (
    EstimationModel,
    ExtendedKalmanFilter,
    KalmanFilter,
    LuenbergerObserver,
    OutputFeedback,
    SteadyKalmanFilter,
    UnscentedKalmanFilter,
    standard_estimator,
)
from ctrl.export.code import NotExportable
from ctrl.export.project import export
from mpc import LinearMPC
from systems import Fixed, Gaussian, InvalidValue, LinearPlant, Measurement, Quadratic, Task, signals
from systems.library import pendulum

NOISE = Gaussian({"angle": 0.02})
FULL = dataclasses.replace(pendulum(), steps=40)
TASK = dataclasses.replace(FULL, measurement=Measurement(signals("angle [rad]"), lambda x, u: (x.angle,), noise=NOISE))


def by(make: Callable[[Task], object]) -> Callable[[Task], Controller]:
    return lambda task: OutputFeedback(LQR(task), make(task))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "estimator",
    [ExtendedKalmanFilter, UnscentedKalmanFilter, SteadyKalmanFilter, lambda t: LuenbergerObserver(t, [0.6, 0.7])],
)
def test_a_pendulum_is_balanced_by_its_measured_angle(estimator: Callable[[Task], object]) -> None:
    x0, w, noise, _ = draw_all(TASK, 8, (0,))
    x0 = 0.5 * x0
    runs = simulate(TASK, by(estimator)(TASK), x0, w, noise=noise)
    assert runs.outputs is not None
    assert runs.estimates is not None
    np.testing.assert_allclose(runs.outputs, runs.states[:, :-1, :1] + noise)
    assert np.abs(runs.states[:, -10:, 0]).max() < 0.2
    error = (runs.estimates - runs.states[:, :-1])[:, -10:]
    assert np.sqrt((error**2).mean(axis=(0, 1))) == pytest.approx([0.0, 0.0], abs=0.2)
    assert (totals(TASK, by(estimator)(TASK), x0, w, noise=noise).cost == runs.cost).all()


def test_exact_outputs_give_the_loop_of_the_state() -> None:
    exact = dataclasses.replace(TASK, measurement=Measurement(signals("angle [rad]", "rate [rad/s]")))
    x0, w = draw(FULL, 3, (0,))
    known = simulate(FULL, LQR(FULL), x0, w)
    estimated = simulate(exact, OutputFeedback(LQR(exact), ExtendedKalmanFilter(exact)), x0, w)
    np.testing.assert_allclose(estimated.states, known.states, atol=1e-9)
    assert known.outputs is None


def test_the_cost_of_lqg_is_that_of_theory() -> None:
    """Mean stationary cost tr(Q S) + tr(R K (S - P) K'), with S from the Lyapunov equation of loop and filter together;
    Anderson & Moore (1990), section 8.2."""
    A, B, E, C = np.array([[1.0, 0.1], [0.0, 0.95]]), np.array([[0.0], [0.1]]), np.eye(2), np.array([[1.0, 0.0]])
    W, V = np.diag([1e-3, 4e-3]), np.array([[0.01]])
    task = Task(
        "lqg", LinearPlant(A, B, E, dt=0.1), 0.1, 3000, Quadratic(Q=[1, 1], R=[0.1]), Fixed([0.0, 0.0]),
        disturbance=Gaussian(covariance_matrix=W),
        measurement=Measurement(signals("x1 [-]"), noise=Gaussian(covariance_matrix=V)),
    )  # fmt: skip
    regulator, estimator = LQR(task), SteadyKalmanFilter(task)
    K, L = regulator.K, estimator.L
    # x+ = A x - B K z + w,  z+ = (I - L C)(A - B K) z + L (C x+ + v)
    F = np.block([[A, -B @ K], [L @ C @ A, (np.eye(2) - L @ C) @ (A - B @ K) - L @ C @ B @ K]])
    G = np.block([[E, np.zeros((2, 1))], [L @ C @ E, L]])
    noise = G @ np.block([[W, np.zeros((2, 1))], [np.zeros((1, 2)), V]]) @ G.T
    from scipy import linalg

    S = linalg.solve_discrete_lyapunov(F, noise)
    expected = np.trace(S[:2, :2]) + 0.1 * np.trace(K @ S[2:, 2:] @ K.T)
    x0, w, v, _ = draw_all(task, 1, (0, 1, 2))
    mean = simulate(task, OutputFeedback(regulator, estimator), x0, w, noise=v).costs[:, 100:].mean()
    assert mean == pytest.approx(expected, rel=0.05)


def test_a_controller_of_the_state_is_refused_with_what_to_do() -> None:
    x0, w, *_ = draw_all(TASK, 2, (0,))
    for run in (simulate, totals):
        with pytest.raises(NotApplicable, match=r"measures angle, and LQR takes a state.*OutputFeedback\(LQR\(task\)"):
            run(TASK, LQR(TASK), x0, w)
    pair = by(ExtendedKalmanFilter)(TASK)
    with pytest.raises(NotApplicable, match="gives its state"):
        simulate(FULL, pair, x0, w)
    other = dataclasses.replace(TASK, measurement=Measurement(signals("rate [rad/s]"), noise=Gaussian([0.1])))
    with pytest.raises(NotApplicable, match="measures rate"):
        simulate(other, pair, x0, w)
    with pytest.raises(InvalidValue, match="no measurement"):
        simulate(FULL, LQR(FULL), x0, w, noise=np.zeros((2, 40, 1)))
    with pytest.raises(ValueError, match="noise of shape"):
        simulate(TASK, pair, x0, w, noise=np.zeros((2, 39, 1)))
    with pytest.raises(NotApplicable, match="already uses measurements"):
        OutputFeedback(pair, ExtendedKalmanFilter(TASK))
    for wrong in ((LQR, ExtendedKalmanFilter(TASK)), (LQR(TASK), ExtendedKalmanFilter), (LQR(TASK), LQR(TASK))):
        with pytest.raises(InvalidValue, match="expected a"):
            OutputFeedback(*wrong)  # type: ignore[arg-type]


def test_other_readers_refuse_a_measurement(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable, match="the law is a function of the state"):
        ClosedLoop(TASK, LQR(TASK).law)
    with pytest.raises(NotExportable, match="estimators have no C code"):
        export(LQR(TASK), tmp_path / "code")


@pytest.mark.slow
def test_a_comparison_pairs_controllers_and_says_with_what() -> None:
    result = compare(
        TASK,
        {"lqr": LQR, "mpc": LinearMPC(TASK, 5), "luenberger": by(lambda t: LuenbergerObserver(t, [0.6, 0.7]))},
        starts=3,
        workers=1,
    )
    assert not result.failed
    assert not result.skipped
    assert dict(result.estimators) == {
        "lqr": "ExtendedKalmanFilter", "mpc": "ExtendedKalmanFilter", "luenberger": "LuenbergerObserver",
    }  # fmt: skip
    assert "uses the estimate in place of the state" in (result.approximations["lqr"] or ())
    assert any(text.startswith("estimator: ") for text in result.approximations["lqr"] or ())
    noise = draw_all(TASK, 3, (0,)).noise
    for runs in result.runs.values():
        assert runs.outputs is not None
        np.testing.assert_allclose(runs.outputs, runs.states[:, :-1, :1] + noise)
    runs, errors = result.runs["lqr"], result.metrics["lqr"].estimation_error
    assert errors["rate"] == pytest.approx(np.sqrt(((runs.estimates - runs.states[:, :-1])[..., 1] ** 2).mean()))
    assert "luenberger: state from LuenbergerObserver, root mean square error angle" in str(result)
    row = details(result)[0]
    assert (row["estimator"], row["estimation_error[rate]"]) == ("ExtendedKalmanFilter", errors["rate"])


def test_another_process_gives_the_same_numbers() -> None:
    """There the task and the controller's factory come apart, and functions are equal only to themselves."""
    x0, w, noise, _ = draws = draw_all(TASK, 2, (0,))
    controller, factory = paired(LQR(TASK), LQR, TASK)
    sent, task, other = (cloudpickle.loads(cloudpickle.dumps(thing)) for thing in (factory, TASK, TASK))
    here, there = simulate(TASK, controller, x0, w, noise=noise), simulate(task, sent(other), x0, w, noise=noise)
    np.testing.assert_array_equal(here.states, there.states)
    np.testing.assert_array_equal(here.estimates, there.estimates)
    assert paired(LQR(FULL), LQR, FULL)[1] is LQR
    cell = RunCell("token", factory, TASK, draws)
    np.testing.assert_array_equal(here.states, cell().states)


def test_outputs_may_depend_on_the_input_before() -> None:
    motor = Measurement(
        signals("angle [rad]", "current [A]"), lambda x, u: (x.angle, 3.0 * u.torque), noise=Gaussian([0.1, 0.1])
    )
    task = dataclasses.replace(FULL, measurement=motor)
    run = simulate(task, by(ExtendedKalmanFilter)(task), np.array([[0.3, 0.1]]))
    assert run.outputs is not None
    np.testing.assert_allclose(run.outputs[0, 1:, 1], 3.0 * run.inputs[0, :-1, 0])
    assert run.outputs[0, 0, 1] == 0.0
    assert np.abs(run.inputs).max() > 0.1


def test_runs_that_differ_in_noise_alone_are_all_kept() -> None:
    still = dataclasses.replace(TASK, initial=Fixed([0.1, 0.0]), disturbance=Fixed())
    assert len(draw_all(still, 5, (0,)).starts) == 5
    assert len(draw_all(dataclasses.replace(still, measurement=None), 5, (0,)).starts) == 1
    for one, other in zip(draw_all(TASK, 4, (7,))[:2], draw(FULL, 4, (7,)), strict=True):
        np.testing.assert_array_equal(one, other)  # starts and disturbances are those of the task without


def test_the_standard_estimator_fits_the_plant() -> None:
    linear = Task(
        "l", LinearPlant(np.eye(1), np.eye(1), dt=0.1), 0.1, 5, Quadratic(Q=[1], R=[1]), Gaussian([1.0]),
        measurement=Measurement(signals("x1 [-]"), noise=Gaussian([0.1])),
    )  # fmt: skip
    assert isinstance(standard_estimator(linear), KalmanFilter)
    assert isinstance(standard_estimator(TASK), ExtendedKalmanFilter)
    squared = Measurement(signals("x1 [-]"), lambda x, u: (x.x1**2,), noise=Gaussian([0.1]))
    assert isinstance(standard_estimator(dataclasses.replace(linear, measurement=squared)), ExtendedKalmanFilter)
    assert not EstimationModel(TASK).is_affine


def test_the_interface_is_checked_with_measurements() -> None:
    report = check_controller(by(ExtendedKalmanFilter), TASK)
    assert not [check for check in report.checks if not check.passed], str(report)
    state = check_controller(LQR, TASK)
    assert "combine it with an estimator" in str(state)


def test_a_fault_of_the_estimator_shows_in_the_decision() -> None:
    class Faulty:
        task = TASK

        def reset(self) -> None: ...

        def update(self, y: np.ndarray, u: np.ndarray, k: int) -> object:
            estimate = ExtendedKalmanFilter(TASK).update(y, u, k)
            return dataclasses.replace(estimate, status=Status.NUMERICAL)

    decision = OutputFeedback(LQR(TASK), Faulty()).step(np.array([0.1]), 0)  # type: ignore[arg-type]
    assert isinstance(decision, Decision)
    assert decision.status is Status.NUMERICAL
    assert OutputFeedback(LQR(TASK), ExtendedKalmanFilter(TASK)).step(np.array([np.nan]), 0).status is Status.SOLVED
