"""A terminal set that cannot be reached is told apart from constraints that cannot be kept."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Literal

import numpy as np
import pytest
from scipy.optimize import linprog

from ctrl import compare, simulate
from ctrl.comparison.table import _ENDINGS, text
from ctrl.controller import Source, Status
from mpc import EqualityMPC, HarmonicMPC, LinearMPC, StochasticMPC, TrackingMPC
from mpc.online import COLD_AFTER
from mpc.stochastic.tightened_program import program_margins
from systems import Box, Fixed, LinearPlant, Quadratic, SetPoint, Task, Uniform
from systems.library import double_integrator

MASS = LinearPlant([[1.0, 0.2], [0.0, 1.0]], [[0.02], [0.2]], E=[[0.0], [1.0]], dt=0.2, input_limits=((-1.0, 1.0),))


def task() -> Task:
    """A mass on a track, slow in relation to the horizons below."""
    box, force = Box("box", {"x1": (-2.0, 2.0), "x2": (-1.0, 1.0)}), Uniform([-0.005], [0.005])
    return Task("mass", MASS, 0.2, 40, Quadratic(np.eye(2), np.eye(1)), Fixed(), (box,), disturbance=force)


def has_point(A: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> bool:
    """By HiGHS without presolve, up to 1e-7."""
    up, down = np.isfinite(upper), np.isfinite(lower)
    found = linprog(
        np.zeros(A.shape[1]), np.vstack([A[up], -A[down]]), np.concatenate([upper[up], -lower[down]]),
        bounds=(None, None), options={"presolve": False},
    )  # fmt: skip
    return bool(found.status == 0)


@pytest.mark.parametrize("solver", ["daqp", "piqp"])
def test_linear_mpc(solver: Literal["daqp", "piqp"]) -> None:
    with_set = LinearMPC(task(), 4, "set", solver=solver)
    without = LinearMPC(task(), 4, "cost", solver=solver)
    seen: Counter[Status] = Counter()
    for x in np.random.default_rng(0).uniform([-2.2, -1.4], [2.2, 1.4], (150, 2)):
        for controller in (with_set, without):
            controller.reset()
        decision, other = with_set.step(x, 0), without.step(x, 0)
        seen[decision.status] += 1
        _, lower, upper = with_set.data(x)
        A = with_set.form.problem.A.toarray()
        rows = len(without.form.problem.weight)
        assert (decision.status is Status.SOLVED) == has_point(A, lower, upper)
        assert (decision.status is Status.INFEASIBLE) == (not has_point(A[:rows], lower[:rows], upper[:rows]))
        assert (other.status is Status.INFEASIBLE) == (decision.status is Status.INFEASIBLE)
        if decision.status is Status.TERMINAL_SET_UNREACHABLE:
            assert decision.source is Source.SUBOPTIMAL
            np.testing.assert_allclose(decision.input, other.input, atol=1e-6)
            assert with_set.plan is not None
            assert (np.abs(with_set.plan.x[1:]) <= np.array([2.0, 1.0]) + 1e-6).all()
    assert min(seen[s] for s in (Status.SOLVED, Status.TERMINAL_SET_UNREACHABLE, Status.INFEASIBLE)) >= 5


def test_the_double_integrator_is_never_infeasible() -> None:
    posed = double_integrator()
    starts = posed.initial.sample(posed.plant.state, np.random.default_rng(0), (40,))
    statuses = Counter(tuple(Status)[i] for i in simulate(posed, LinearMPC(posed), starts).statuses.ravel())
    assert set(statuses) == {Status.SOLVED, Status.TERMINAL_SET_UNREACHABLE}
    assert statuses[Status.TERMINAL_SET_UNREACHABLE] < 60


@pytest.mark.parametrize("every", [1, np.inf])
def test_stochastic_mpc(every: float) -> None:
    controller = StochasticMPC(task(), 4, recondition_every=every)
    program, margin = controller.program, program_margins(controller.program, controller.margins, 0)
    A = program.problem.A.toarray()
    behind = (program.stage > 4) | (program.stage == 4) & ~np.append(controller.rows.is_state_row, True)[program.row]
    assert 0 < behind.sum() < len(behind)
    seen: Counter[Status] = Counter()
    for x in np.random.default_rng(0).uniform([-2.2, -1.4], [2.2, 1.4], (150, 2)):
        controller.reset()
        decision = controller.step(x, 0)
        seen[decision.status] += 1
        shift = (program.on_nominal + program.on_measured) @ x
        lower, upper = program.problem.lower + margin - shift, program.problem.upper - margin - shift
        assert (decision.status is Status.SOLVED) == has_point(A, lower, upper)
        kept = has_point(A[~behind], lower[~behind], upper[~behind])
        assert (decision.status is Status.INFEASIBLE) == (not kept)
        assert decision.status is not Status.TERMINAL_SET_UNREACHABLE or decision.source is Source.SUBOPTIMAL
    assert min(seen[s] for s in (Status.SOLVED, Status.TERMINAL_SET_UNREACHABLE, Status.INFEASIBLE)) >= 5


def test_an_unreachable_set_does_not_keep_stochastic_mpc_from_the_measured_state() -> None:
    """Its nominal state may have led where no set is; after some samples the measured one is tried again."""
    controller = StochasticMPC(task(), 4, recondition_every=np.inf)
    states = np.random.default_rng(0).uniform([-2.2, -1.4], [2.2, 1.4], (150, 2))
    statuses = [(controller.reset(), controller.step(x, 0).status)[1] for x in states]
    start = states[statuses.index(Status.TERMINAL_SET_UNREACHABLE)]
    controller.reset()
    controller.step(start, 0)
    assert controller.nominal is not None
    for k in range(1, COLD_AFTER + 1):
        controller._zeta = start - controller.loop.model.x_ref  # as if it did not get anywhere
        decision = controller.step(np.array([0.1, 0.0]), k)
    assert decision.status is Status.SOLVED


@pytest.mark.parametrize("kind", [EqualityMPC, TrackingMPC, HarmonicMPC])
def test_artificial_references(kind: type[EqualityMPC] | type[TrackingMPC] | type[HarmonicMPC]) -> None:
    controller = HarmonicMPC(task(), 3, frequency=0.3) if kind is HarmonicMPC else kind(task(), 3)
    open_ended = LinearMPC(task(), 3, "cost")
    seen: Counter[Status] = Counter()
    unreachable = np.zeros(2)
    for x in np.random.default_rng(0).uniform([-2.2, -1.4], [2.2, 1.4], (150, 2)):
        controller.reset()
        open_ended.reset()
        decision, other = controller.step(x, 0), open_ended.step(x, 0)
        seen[decision.status] += 1
        assert (decision.status is Status.INFEASIBLE) == (other.status is Status.INFEASIBLE)
        if decision.status is Status.TERMINAL_SET_UNREACHABLE:
            np.testing.assert_array_equal(decision.input, other.input)
            unreachable = x
    assert min(seen[s] for s in (Status.SOLVED, Status.TERMINAL_SET_UNREACHABLE, Status.INFEASIBLE)) >= 1
    reference = SetPoint({"x1": -1.0 if unreachable[0] > 0 else 1.0})
    controller.follow(reference)
    moved = LinearMPC(dataclasses.replace(task(), reference=reference), 3, "cost").step(unreachable, 0)
    decision = controller.step(unreachable, 0)
    assert decision.status is Status.TERMINAL_SET_UNREACHABLE
    np.testing.assert_array_equal(decision.input, moved.input)


def test_tables_say_what_it_means() -> None:
    assert set(_ENDINGS) == set(Status) - {Status.SOLVED}
    posed = double_integrator()
    comparison = compare(posed, {"equality": lambda t: EqualityMPC(t, 5)}, starts=4, seeds=0)
    assert "samples terminal set unreachable" in text(comparison)
    assert "the terminal set cannot be reached within the constraints" in " ".join(text(comparison).split())
