"""Every reader of tasks answers for every part that a task may have, and says so where users look."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ctrl.regulator
import mpc.harmonic.answers
import mpc.lagrangian.lagrangian_mpc
import mpc.linear.linear_mpc
import mpc.nonlinear.nonlinear_mpc
import mpc.reduction.multimodal_mpc
import mpc.sampling.sampling_mpc
import mpc.steering.covariance_steering
import mpc.stochastic.stochastic_mpc
import safe_rl.answers
from ctrl import LQR, Controller, NotApplicable, compare
from ctrl.answers import EXACT, Announced, Answers, Refused, announced
from ctrl.check import check_readings
from mpc import (
    MPPI,
    CrossEntropyMPC,
    EqualityMPC,
    ExplicitMPC,
    HarmonicMPC,
    LagrangianMPC,
    LinearMPC,
    NonlinearMPC,
    StochasticMPC,
    TrackingMPC,
)
from safe_rl import SAC, PolicyController, SACLagrangian
from systems import (
    Box,
    Fixed,
    Inequality,
    LinearPlant,
    Measurement,
    Nonlinear,
    Quadratic,
    Task,
    Trajectory,
    Uniform,
    integer,
    know_ahead,
    signals,
)
from systems.inputs import limit_changes
from systems.library import cartpole, cartpole_track, segway
from systems.reading import Part

ANSWERS = {
    "lqr": ctrl.regulator.ANSWERS,
    "linear": mpc.linear.linear_mpc.ANSWERS,
    "nonlinear": mpc.nonlinear.nonlinear_mpc.ANSWERS,
    "lagrangian": mpc.lagrangian.lagrangian_mpc.ANSWERS,
    "sampling": mpc.sampling.sampling_mpc.ANSWERS,
    "multimodal": mpc.reduction.multimodal_mpc.ANSWERS,
    "steering": mpc.steering.covariance_steering.ANSWERS,
    "stochastic": mpc.stochastic.stochastic_mpc.ANSWERS,
    "harmonic": mpc.harmonic.answers.answers(mpc.harmonic.answers.FITTED),
    "tracking": mpc.harmonic.answers.answers(mpc.harmonic.answers.STANDING),
    "policy": safe_rl.answers.POLICY,
    "learner": safe_rl.answers.learner_answers(False),
    "constrained learner": safe_rl.answers.learner_answers(True),
}

PLANT = LinearPlant([[1.0, 0.1], [0.0, 1.0]], [[0.0], [0.1]], E=[[0.0], [0.1]], dt=0.1, input_limits=((-1.0, 1.0),))
PLAIN = Task("plain", PLANT, 0.1, 20, Quadratic(Q=[1, 1], R=[1]), Fixed([0.5, 0.0]))
MAKERS: dict[str, Callable[[Task], Controller]] = {
    "lqr": LQR,
    "linear": lambda task: LinearMPC(task, 5),
    "nonlinear": lambda task: NonlinearMPC(task, 5),
    "lagrangian": lambda task: LagrangianMPC(task, 5),
    "sampling": lambda task: MPPI(task, 5, 20),
    "cross entropy": lambda task: CrossEntropyMPC(task, 5, 50),
    "harmonic": lambda task: HarmonicMPC(task, 5, frequency=0.3),
    "tracking": lambda task: TrackingMPC(task, 5),
    "equality": lambda task: EqualityMPC(task, 5),
    "stochastic": lambda task: StochasticMPC(task, 3),
    "explicit": lambda task: ExplicitMPC(task, 2, within=Box("w", {"x1": (-1.0, 1.0), "x2": (-1.0, 1.0)})),
}


@pytest.mark.parametrize("reader", ANSWERS)
def test_every_part_is_answered(reader: str) -> None:
    answers = ANSWERS[reader]
    assert set(answers.by_part) == set(Part)
    for part, answer in answers.by_part.items():
        if isinstance(answer, (Announced, Refused)):
            assert answer.text[0].islower() or answer.text.startswith("{names}"), (part, answer.text)


@pytest.mark.parametrize("reader", MAKERS)
def test_a_plain_task_is_taken_as_it_is_written(reader: str) -> None:
    controller = MAKERS[reader](PLAIN)
    assert announced(controller) == ()
    if reader != "explicit":
        assert "approximates" not in repr(controller)


def changed(**changes: object) -> Task:
    return dataclasses.replace(PLAIN, **changes)  # type: ignore[arg-type]


WALL = Box("wall", {"x1": (-2.0, 2.0)})
PARTS = {
    Part.HARD: changed(constraints=(WALL,)),
    Part.SOFT: changed(constraints=(WALL.soft(1.0),)),
    Part.CHANCE: changed(constraints=(WALL.chance(0.9),)),
    Part.BUDGET: changed(constraints=(WALL.budget(2.0),)),
    Part.EXCESS_BUDGET: changed(constraints=(WALL.budget(2.0, of="excess"),)),
    Part.CHANGE_LIMIT: limit_changes(PLAIN, {"u1": 2.0}),
    Part.INTEGER: changed(plant=dataclasses.replace(PLANT, input=signals(integer("u1 [-]")))),
    Part.DOMAIN: changed(domain=Box("d", {"x1": (-5.0, 5.0)})),
    Part.DISTURBANCE: changed(disturbance=Uniform([-0.01], [0.01])),
    Part.BIASED_DISTURBANCE: changed(disturbance=Uniform([0.01], [0.03])),
    Part.TERMINAL_COST: changed(cost=Quadratic(Q=[1, 1], R=[1], P=[3, 3])),
    Part.MOVING_REFERENCE: changed(reference=Trajectory(np.c_[0.1 * np.arange(40.0), np.ones(40)])),
    Part.NON_QUADRATIC_COST: changed(cost=Nonlinear(lambda x, u, xr, ur: x.x1**2 + x.x1**4 + x.x2**2 + u.u1**2)),
    Part.COST_ELSEWHERE: changed(cost=Nonlinear(lambda x, u, xr, ur: (x.x1 - 1) ** 2 + x.x2**2 + u.u1**2)),
    Part.NONLINEAR_CONSTRAINT: changed(constraints=(Inequality("disc", lambda x, u: x.x1**2 + x.x2**2 - 9.0),)),
    Part.MEASUREMENT: changed(measurement=Measurement(signals("x1 [-]"))),
    Part.FORECAST: know_ahead(PLAIN, signals("w1 [-]"), {"w1": np.linspace(0.0, 0.1, 40)}),
}
READERS = ("lqr", "linear", "nonlinear", "lagrangian", "sampling", "tracking", "stochastic")
ESTIMATE = "uses the estimate in place of the state"
# What each reader says of a part, or why it refuses it; empty where it takes the part exactly.
SAID = {
    ("nonlinear", Part.INTEGER): "rounds the integer u1 of a relaxation and improves them by local search",
    ("lqr", Part.CHANGE_LIMIT): "applies the limit 'rate limits' on the change of inputs after its optimum",
    **dict.fromkeys(
        [(reader, Part.INTEGER) for reader in ("lqr", "lagrangian", "tracking", "stochastic")],
        "refused: the input u1 must be an integer",
    ),
    **dict.fromkeys(
        [(reader, Part.FORECAST) for reader in ("lqr", "lagrangian", "tracking", "stochastic")],
        "refused: the signals w1 are known ahead",
    ),
    ("lqr", Part.HARD): "ignores the constraint 'wall'",
    ("lqr", Part.SOFT): "ignores the constraint 'wall'",
    ("lqr", Part.CHANCE): "ignores the constraint 'wall'",
    ("lqr", Part.BUDGET): "ignores the constraint 'wall'",
    ("lqr", Part.EXCESS_BUDGET): "ignores the constraint 'wall'",
    ("lqr", Part.DOMAIN): "ignores the domain",
    ("lqr", Part.BIASED_DISTURBANCE): "assumes that the mean of the disturbance is zero (w1 0.02 -)",
    ("lqr", Part.NON_QUADRATIC_COST): "expands the cost to second order",
    ("lqr", Part.COST_ELSEWHERE): "regulates to the optimal steady state x1 = 1, x2 = 0, u1 = 0",
    ("lqr", Part.NONLINEAR_CONSTRAINT): "ignores the constraint 'disc'",
    ("linear", Part.CHANCE): "enforces 'wall' at every predicted sample and permits no violation",
    ("linear", Part.BUDGET): "enforces 'wall' at every predicted sample and permits no violation",
    ("linear", Part.EXCESS_BUDGET): "refused: the budget of 'wall' limits the accumulated excess",
    ("linear", Part.DOMAIN): "ignores the domain",
    ("linear", Part.BIASED_DISTURBANCE): "ignores the mean of the disturbance (w1 0.02 -)",
    ("linear", Part.NON_QUADRATIC_COST): "expands the cost to second order",
    ("linear", Part.NONLINEAR_CONSTRAINT): "refused: disc is not affine",
    ("nonlinear", Part.CHANCE): "enforces 'wall' at every predicted sample and permits no violation",
    ("nonlinear", Part.BUDGET): "enforces 'wall' at every predicted sample and permits no violation",
    ("nonlinear", Part.EXCESS_BUDGET): "meets the budget of 'wall' in every run, not on average",
    ("nonlinear", Part.DOMAIN): "ignores the domain",
    ("nonlinear", Part.BIASED_DISTURBANCE): "ignores the mean of the disturbance",
    ("lagrangian", Part.CHANCE): "enforces 'wall' at every predicted sample and permits no violation",
    ("lagrangian", Part.BUDGET): "enforces 'wall' at every predicted sample and permits no violation",
    ("lagrangian", Part.EXCESS_BUDGET): "refused: the budget of 'wall' limits the accumulated excess",
    ("lagrangian", Part.DOMAIN): "ignores the domain",
    ("lagrangian", Part.BIASED_DISTURBANCE): "ignores the mean of the disturbance",
    ("sampling", Part.HARD): "enforces 'wall' by the drawn plan that violates it least",
    ("sampling", Part.NONLINEAR_CONSTRAINT): "enforces 'disc' by the drawn plan that violates it least",
    ("sampling", Part.CHANCE): "enforces 'wall' at every predicted sample and permits no violation",
    ("sampling", Part.BUDGET): "enforces 'wall' at every predicted sample and permits no violation",
    ("sampling", Part.EXCESS_BUDGET): "refused: the budget of 'wall' limits the accumulated excess",
    ("sampling", Part.DOMAIN): "ignores the domain",
    ("sampling", Part.BIASED_DISTURBANCE): "ignores the mean of the disturbance",
    ("tracking", Part.SOFT): "treats the soft 'wall' as hard",
    ("tracking", Part.CHANCE): "enforces 'wall' at every predicted sample and permits no violation",
    ("tracking", Part.BUDGET): "enforces 'wall' at every predicted sample and permits no violation",
    ("tracking", Part.EXCESS_BUDGET): "refused: the budget of 'wall' limits the accumulated excess",
    ("tracking", Part.DOMAIN): "ignores the domain",
    ("tracking", Part.BIASED_DISTURBANCE): "ignores the mean of the disturbance",
    ("tracking", Part.TERMINAL_COST): "refused: it has a terminal cost",
    ("tracking", Part.MOVING_REFERENCE): "treats the reference of each sample as constant",
    ("tracking", Part.NON_QUADRATIC_COST): "refused: its cost is not quadratic",
    ("tracking", Part.COST_ELSEWHERE): "refused: its cost is not quadratic",
    ("tracking", Part.NONLINEAR_CONSTRAINT): "refused: disc is not affine",
    ("stochastic", Part.BUDGET): "turns the budget of 'wall' into a probability for every sample",
    ("stochastic", Part.EXCESS_BUDGET): "refused: the budget of 'wall' limits the accumulated excess",
    ("stochastic", Part.DOMAIN): "ignores the domain",
    ("stochastic", Part.MOVING_REFERENCE): "refused: its reference moves",
    ("stochastic", Part.NON_QUADRATIC_COST): "expands the cost to second order",
    ("stochastic", Part.NONLINEAR_CONSTRAINT): "refused: disc is not affine",
    ("stochastic", Part.MEASUREMENT): f"{ESTIMATE}, without tightening for its error",
    **{(reader, Part.MEASUREMENT): ESTIMATE for reader in READERS if reader != "stochastic"},
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("reader", READERS)
def test_the_sentence_on_each_part(reader: str, part: Part) -> None:
    assert part in PARTS[part].reading.parts
    expected = SAID.get((reader, part), "")
    if expected.startswith("refused: "):
        with pytest.raises(NotApplicable) as refusal:
            MAKERS[reader](PARTS[part])
        assert expected.removeprefix("refused: ") in str(refusal.value)
        return
    said = announced(MAKERS[reader](PARTS[part])) or ()
    if expected:
        assert any(expected in text for text in said), said
    else:
        assert said == ()


def test_learned_policies_and_learners_say_what_they_are() -> None:
    learner = SAC(cartpole_track())
    assert "ignores the constraint 'track'" in learner.approximations
    assert (
        "meets the budget of 'track' on average over runs, not in every run"
        in SACLagrangian(cartpole_track()).approximations
    )
    controller = PolicyController(cartpole_track(), learner.result)
    assert controller.approximations[0].startswith("learned: the return discounted by 0.97 per sample")
    assert controller.approximations[0].endswith("if it was trained on this task"), "which a policy does not record"
    assert "guarantees nothing about the constraint 'track'" in repr(controller)


def test_a_comparison_carries_what_is_approximated(tmp_path: Path) -> None:
    class Silent:
        def reset(self) -> None: ...

        def step(self, x: np.ndarray, k: int) -> object:
            from ctrl import Decision

            return Decision(np.zeros(1))

    task = dataclasses.replace(cartpole(), steps=5)
    result = compare(task, {"lqr": LQR, "silent": Silent()}, starts=2, workers=1)  # type: ignore[dict-item]
    assert "ignores the constraint 'track'" in (result.approximations["lqr"] or ())
    assert result.approximations["silent"] is None
    text = str(result)
    assert "lqr approximates: linearises CartPole; ignores the constraint" in text.replace("\n", " ")
    assert "silent does not announce its approximations" in text
    result.save(tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "table.json").read_text())
    assert rows[0]["approximations"] == list(result.approximations["lqr"] or ())
    assert rows[1]["approximations"] is None
    assert "ignores the domain" in (tmp_path / "out" / "table.csv").read_text()


def test_a_measurement_that_fails_costs_one_controller_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import ctrl.comparison.run as run

    real, calls = run.measure, []

    def measure(task: Task, runs: object) -> object:
        calls.append(runs)
        if len(calls) == 1:
            raise RuntimeError("no measure")
        return real(task, runs)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "measure", measure)
    task = dataclasses.replace(cartpole(), steps=5)
    result = compare(task, {"first": LQR, "second": LQR}, starts=2, workers=1)
    assert list(result.runs) == ["second"]
    assert "no measure" in result.failed["first"]

    def proof(task: Task, controller: Controller) -> float:
        raise RuntimeError("no proof")

    with pytest.warns(UserWarning, match="its proof stopped"):
        result = compare(task, {"lqr": LQR}, starts=2, workers=1, proof=proof)
    assert result.proved == {"lqr": None}


def test_check_tells_how_controllers_take_a_task() -> None:
    def broken(task: Task) -> Controller:
        raise ZeroDivisionError("of my own")

    report = check_readings(cartpole_track(), {"lqr": LQR, "stochastic": MAKERS["stochastic"], "broken": broken})
    text = str(report)
    assert "regulates to a reference that violates 'track'" in text
    assert "refuses it: task 'cartpole-track': the plant is not affine" in text
    assert "ZeroDivisionError: of my own" in text
    assert [check.passed for check in report.checks] == [True, False, False]
    assert announced(StochasticMPC(segway())) == ("ignores the domain",)


def test_answers_may_depend_on_the_task() -> None:
    answers = Answers({**dict.fromkeys(Part, EXACT), Part.HARD: lambda task: Refused("{names} is too hard; soften it")})
    assert answers.read(PLAIN) == ()
    with pytest.raises(NotApplicable, match=r"task 'plain': 'wall' is too hard; soften it"):
        answers.read(PARTS[Part.HARD])
