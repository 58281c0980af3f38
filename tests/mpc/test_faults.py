"""Faults: measurements that are no numbers or out of reach, budgets of one iteration, clocks that jump, back-ends that
raise or lie. No controller may break, and none may remember."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ctrl.controller import Source, Status
from mpc import StochasticMPC
from mpc.online import COLD_AFTER
from tests.mpc.faults import CASES, Case, Spoiler

pytestmark = pytest.mark.filterwarnings("error")

MEASUREMENTS = ("nan", "inf", "huge", "largest", "subnormal", "infeasible")
CLOCK = ("ahead", "back")


def jumped(k: int, fault: str, rng: np.random.Generator) -> int:
    """The next sample."""
    if fault == "ahead":
        return k + int(10.0 ** rng.uniform(0.3, 6.0))
    return max(k - int(10.0 ** rng.uniform(0.0, 6.0)), 0) if fault == "back" else k + 1


def run_with_faults(case: Case, steps: int, seed: int) -> dict[tuple[str, Status], int]:
    """Runs a controller through faults of all kinds, alone and in a row, and checks every decision.

    Returns:
        How often each fault ended in each status.
    """
    task, rng = case.task, np.random.default_rng(seed)
    controller: Any = case.make(task)
    fresh = case.make(task)
    spoil, (lower, upper) = Spoiler(controller), task.input_bounds
    step, kinds = task.dynamics.function(), [*MEASUREMENTS, *CLOCK, *spoil.kinds]
    if case.wrong is None:
        kinds.remove("infeasible")
    x, k, healthy, left, fault = np.zeros(len(case.start)), 0, 0, 0, "none"
    coming: list[str] = []  # so that every fault has its turn
    seen: dict[tuple[str, Status], int] = {}
    for _ in range(steps):
        if left == 0:
            fault, left = "none", 1
            if rng.random() < 0.2:
                coming = coming or list(rng.permutation(kinds))
                fault, left = str(coming.pop()), int(rng.choice([1, 1, 2, 5]))
        left -= 1
        k = jumped(k, fault, rng)
        before, mend = getattr(controller, "plan", None), spoil(fault)
        shown = case.measurement(x, fault, rng)
        decision = controller.step(shown.copy(), k)
        mend()
        seen[fault, decision.status] = seen.get((fault, decision.status), 0) + 1
        assert decision.input.shape == lower.shape
        assert np.isfinite(decision.input).all()
        assert ((lower <= decision.input) & (decision.input <= upper)).all()
        if fault in ("nan", "inf", "raise", "nan answer", "inf answer"):
            assert decision.status is Status.NUMERICAL
        # A nominal state that goes on by itself does not care what is measured.
        if fault == "garbage answer" or (fault == "infeasible" and spoil.kinds and case.restart):
            assert decision.status is not Status.SOLVED
        if decision.source in (Source.SHIFTED_PLAN, Source.BACKUP) and not isinstance(controller, StochasticMPC):
            assert getattr(controller, "plan", None) is before
        healthy = healthy + 1 if fault in ("none", "subnormal") else 0
        if healthy >= 2:
            assert (decision.status, decision.source) == (Status.SOLVED, Source.OPTIMAL)
            if case.restart and rng.random() < 0.3:
                fresh.reset()
                np.testing.assert_allclose(decision.input, fresh.step(shown, k).input, atol=case.agreement)
        w = task.disturbance.sample(task.plant.disturbance, rng)
        x = np.array(step(x, decision.input, w, []))[:, 0]
        if (np.abs(x) > case.leave).any() or rng.random() < 0.02:
            x = rng.uniform(-case.start, case.start)
    assert {name for name, _ in seen} == {"none", *kinds}
    return seen


SLOW = ("lqr, moving", "linear, moving", "lagrangian, moving")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CASES])
@pytest.mark.every(4)
def test_faults_do_no_harm_and_pass(name: str) -> None:
    case = CASES[name]()
    run_with_faults(case, case.steps, seed=0)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "steps", [pytest.param(3000, marks=pytest.mark.slow), pytest.param(10_000, marks=pytest.mark.manual)]
)
@pytest.mark.parametrize("name", CASES)
def test_thousands_of_steps_of_faults(name: str, steps: int) -> None:
    run_with_faults(CASES[name](), steps, seed=1)


PLANNING = [name for name in CASES if "lqr" not in name]


@pytest.mark.parametrize("name", PLANNING)
def test_time_goes_on_without_a_measurement(name: str) -> None:
    """Samples are skipped and measurements lost: what is applied is what was planned for that very sample."""
    case = CASES[name]()
    controller: Any = case.make(case.task)
    lower, upper = case.task.input_bounds
    assert controller.step(case.start, 7).status is Status.SOLVED
    plan = controller.plan
    planned = {7 + i: u for i, u in enumerate(plan.u)}
    assert np.abs(np.diff(plan.u[:5], axis=0)).max() > 1e-6  # or a frozen clock would pass
    for k in (8, 9, 11, 12):
        if k in planned:
            decision = controller.step(np.full(len(case.start), np.nan), k)
            assert decision.source is Source.SHIFTED_PLAN
            np.testing.assert_allclose(decision.input, np.clip(planned[k], lower, upper), atol=1e-9)
    late = controller.step(np.full(len(case.start), np.nan), 7 + len(plan.u) + 1)
    assert late.source is Source.BACKUP


@pytest.mark.parametrize("name", PLANNING)
@pytest.mark.parametrize("how", ["raise", "garbage answer"])
@pytest.mark.every(3)
def test_a_back_end_that_fails_leaves_the_plan_alone_and_then_starts_cold(name: str, how: str) -> None:
    """Recovery is with the first sound solve, and as from nothing."""
    case = CASES[name]()
    controller: Any = case.make(case.task)
    spoil = Spoiler(controller)
    controller.step(case.start, 0)
    mend = spoil(how)
    for k in range(1, 6):
        decision = controller.step(case.start * 0.9**k, k)
        assert decision.status is not Status.SOLVED
        assert decision.source in (Source.SHIFTED_PLAN, Source.BACKUP)
    mend()
    x = 0.5 * case.start
    decision = controller.step(x, 6)
    assert (decision.status, decision.source) == (Status.SOLVED, Source.OPTIMAL)
    if case.restart:
        np.testing.assert_allclose(decision.input, case.make(case.task).step(x, 6).input, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("k", [-7, 10**9])
@pytest.mark.every(3)
def test_any_sample_number_is_answered(name: str, k: int) -> None:
    case = CASES[name]()
    decision = case.make(case.task).step(0.5 * case.start, k)
    assert decision.status is Status.SOLVED


def test_the_guess_of_lagrangian_mpc_after_failures() -> None:
    """The shifted plan and its multipliers, then, after three failures, nothing of them."""
    case = CASES["lagrangian"]()
    controller: Any = case.make(case.task)
    controller.step(np.array([0.5, -1.2]), 0)
    plan, solve, guesses = controller.plan, controller.descent.solve, []
    controller.descent.solve = lambda u, lam: guesses.append((u.copy(), lam.copy())) or solve(u, lam)
    mend = Spoiler(controller)("nan answer")
    for k in range(1, 6):
        controller.step(plan.x[k], k)
        expected = plan.u[k:, 0] if k <= COLD_AFTER else np.zeros(8 - k)
        np.testing.assert_allclose(guesses[-1][0][0][: 8 - k], expected, atol=1e-12)
        assert controller.plan is plan
    mend()
    assert not guesses[-1][1].any()
    assert controller.step(plan.x[6], 6).status is Status.SOLVED
