"""What is proved of one loop and asked of another: other input bounds, another true plant, inputs and states that a
controller reads or applies in another way than the law."""

from __future__ import annotations

import dataclasses
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import (
    Certificate,
    Kind,
    QuadraticLyapunov,
    SearchLimits,
    certify,
    certify_barrier,
    constraint_statuses,
    keeps_constraints,
    within_constraints,
)
from ctrl.controller import NotApplicable
from ctrl.filters import Shield
from ctrl.hybrid import ModeReference, RegionPlanner
from ctrl.laws import SaturatedLinear
from systems import Box, Inequality, InvalidValue, Plant, Quadratic, Task, Uniform, angle, integer, signals
from systems.hybrid import HybridSystem, Mode, Transition

LIMITS = SearchLimits(20_000, 1000.0)
ONE, ORIGIN = np.eye(1), np.zeros(1)
SQUARE = QuadraticLyapunov(ONE, ORIGIN)


@dataclasses.dataclass(frozen=True)
class Slide(Plant):
    """x' = rate x + u + cubic u^3."""

    rate: float = 0.5
    cubic: float = 0.0
    force: float = 50.0

    state = signals("x")
    input = signals("u")

    def ode(self, x, u, w):
        return (self.rate * x.x + u.u + self.cubic * u.u**3,)

    def limits(self):
        return {"u": (-self.force, self.force)}


def sliding(plant: Plant, **changes: Any) -> Task:
    return Task(
        "slide", plant, 0.1, 20, Quadratic(ONE, ONE), Uniform([-1.0], [1.0]), integrator="euler",
        domain=Box("d", {"x": (-2.0, 2.0)}), **changes,
    )  # fmt: skip


def linear(gain: float, offset: float = 0.0) -> SaturatedLinear:
    return SaturatedLinear(gain * ONE, ORIGIN, np.array([offset]), np.array([-40.0]), np.array([40.0]))


def proved(task: Task, law: SaturatedLinear) -> Certificate:
    certificate = certify(task, law, SQUARE, 1.0, budget=LIMITS)
    assert certificate.is_proved
    return certificate


@pytest.mark.parametrize("most", [0.1, 1.9])
def test_an_input_box_of_another_task_is_a_constraint_on_the_certified_loop(most: float) -> None:
    """Its law gives up to 2, and nothing clips that to the other task's box."""
    task, law = sliding(Slide()), linear(2.0)
    other = dataclasses.replace(task, constraints=(Box("box", {"u": (-most, most)}),))
    kept = keeps_constraints(proved(task, law), other, LIMITS)
    assert kept.kind is Kind.REFUSED
    assert kept.counterexample is not None
    assert abs(float(law(kept.counterexample)[0])) > most
    assert constraint_statuses(proved(task, law), other, LIMITS)[1].kind is Kind.REFUSED
    within = within_constraints(proved(task, law), other, LIMITS)
    assert 0.9 * most < 2.0 * within.level**0.5 <= most


def test_an_input_box_that_holds_all_inputs_of_the_loop_is_kept() -> None:
    task = sliding(Slide(force=2.0))
    certificate = proved(task, linear(9.0))
    for low, high, kept in ((-2.0, 2.0, True), (-2.0, 1.9, False), (-1.9, 2.0, False), (-9.0, 9.0, True)):
        other = dataclasses.replace(task, constraints=(Box("box", {"u": (low, high)}),))
        assert keeps_constraints(certificate, other, LIMITS).is_proved == kept


def test_an_input_of_another_constraint_is_not_clipped_to_another_tasks_box() -> None:
    task = sliding(Slide())
    power = Inequality("power", lambda x, u: u.u**2 - 0.5)
    other = dataclasses.replace(task, constraints=(power, Box("box", {"u": (-0.5, 0.5)})))
    assert keeps_constraints(proved(task, linear(2.0)), other, LIMITS).kind is Kind.REFUSED


def test_a_task_whose_actuators_reach_less_far_has_another_loop() -> None:
    certificate = proved(sliding(Slide()), linear(2.0))
    for other in (sliding(Slide(force=0.1)), sliding(Slide(), truth=Slide(force=0.1))):
        with pytest.raises(InvalidValue, match="beyond the actuator limits"):
            keeps_constraints(certificate, other)


def test_what_the_true_actuators_cannot_reach_is_not_applied() -> None:
    """The box asks for at least 0.5, and the true actuator gives 0.1 at most."""
    task = sliding(Slide(-1.0), truth=Slide(-1.0, force=0.1), constraints=(Box("box", {"u": (0.5, 1.0)}),))
    inside = Inequality("inside", lambda x, u: x.x**2 - 1.0)
    assert certify_barrier(task, linear(0.0, 0.6), (inside,), LIMITS).kind is Kind.REFUSED
    free = dataclasses.replace(task, constraints=())
    assert certify_barrier(free, linear(0.0, 0.6), (inside,), LIMITS).is_proved
    level = certify(task, linear(0.0, 0.6), QuadraticLyapunov(ONE, np.array([0.1])), 0.5, budget=LIMITS, inner=0.01)
    assert level.is_proved
    assert keeps_constraints(level, task, LIMITS).kind is Kind.REFUSED


# ---- modes of hybrid systems ----


def planned(plant: Plant, certificate: Certificate) -> RegionPlanner:
    never = Transition("m", "m", guard=lambda x: 100.0 - x.x, reset=lambda x: (x.x,))
    system = HybridSystem((Mode("m", plant),), (never,))
    return RegionPlanner(system, {"m": (ModeReference(certificate),)}, 0.1, "euler", horizon=0)


def test_a_certificate_is_about_the_true_plant_and_not_about_the_nominal_one() -> None:
    certificate = proved(sliding(Slide(5.0), truth=Slide(-5.0)), linear(0.0))
    with pytest.raises(InvalidValue, match="other equations"):
        planned(Slide(5.0), certificate)
    assert planned(Slide(-5.0), certificate).choose("m", np.array([0.9])).is_proved


def test_the_true_plant_determines_which_states_may_be_shifted() -> None:
    certificate = proved(sliding(Slide(0.0), truth=Slide(-5.0)), linear(1.0))
    with pytest.raises(InvalidValue, match="depend on x"):
        ModeReference(certificate, np.array([0.2]))


def test_the_input_of_a_reference_is_the_one_of_the_certified_loop() -> None:
    """Within the box of its task, beyond which the cubic term throws the state out of the region."""
    plant = Slide(0.0, cubic=400.0)
    certificate = proved(sliding(plant, constraints=(Box("box", {"u": (-0.02, 0.01)}),)), linear(1.0))
    plan, x = planned(plant, certificate), np.array([[0.9], [-0.9], [0.001]])
    reference = plan.references["m"][0]
    np.testing.assert_allclose(reference.input(x), [[-0.02], [0.01], [-0.001]])
    assert reference.contains(x + 0.1 * (reference.input(x) + 400.0 * reference.input(x) ** 3)).all()
    np.testing.assert_array_equal(plan._laws["m"][0][-2:], [-0.02, 0.01])  # the bounds that predictions clip inputs to


# ---- parameters that are drawn for every run ----


@pytest.mark.parametrize(("low", "high"), [(-1.0, 0.5), (-2.0, -1.0)])
def test_a_shield_holds_for_all_plants_that_a_task_draws(low: float, high: float) -> None:
    plain, law = sliding(Slide(-1.0)), linear(2.0)
    varied = dataclasses.replace(plain, variation=Uniform({"rate": low}, {"rate": high}))
    inside = (Inequality("inside", lambda x, u: x.x**2 - 1.0),)
    for certificate in (proved(plain, law), certify_barrier(plain, law, inside, LIMITS)):
        assert certificate.is_proved
        Shield(plain, certificate)
        with pytest.raises(NotApplicable, match="rate from -1 to -1, but the task draws it from"):
            Shield(varied, certificate)
    for certificate in (proved(varied, law), certify_barrier(varied, law, inside, LIMITS)):
        Shield(varied, certificate)
        Shield(plain, certificate)
        narrower = dataclasses.replace(plain, variation=Uniform({"rate": low}, {"rate": 0.5 * (low + high)}))
        Shield(dataclasses.replace(narrower, truth=None), certificate)
    for changed in ({"rate": low - 0.1}, {"rate": low}), ({"rate": high}, {"rate": high + 0.1}):
        with pytest.raises(NotApplicable, match="is for rate"):
            Shield(dataclasses.replace(plain, variation=Uniform(*changed)), proved(varied, law))


# ---- signals that a controller treats in another way ----


@dataclasses.dataclass(frozen=True)
class Turning(Plant):
    dt: float = 1.0

    state = signals(angle("x [rad]"))
    input = signals("u")

    def step(self, x, u, w):
        return (x.x + u.u,)

    def limits(self):
        return {"u": (-9.0, 9.0)}


@pytest.mark.parametrize("reach", [(-6.0, 3.0), (-3.0, 3.2)])
def test_a_barriers_box_ends_half_a_period_from_the_reference(reach: tuple[float, float]) -> None:
    task = Task("turn", Turning(), 1.0, 5, Quadratic(ONE, ONE), Uniform([-1.0], [1.0]))
    inside = (Inequality("inside", lambda x, u: x.x**2 - 25.0),)
    with pytest.raises(InvalidValue, match="an equivalent value"):
        certify_barrier(task, linear(0.5), inside, LIMITS, box=(np.array(reach[:1]), np.array(reach[1:])))
    assert certify_barrier(task, linear(0.5), inside, LIMITS, box=(-3.0 * np.ones(1), 3.0 * np.ones(1))).is_proved


@dataclasses.dataclass(frozen=True)
class Switched(Plant):
    dt: float = 1.0

    state = signals("x", "y")
    input = signals(integer("pump [-]"), "valve")

    def step(self, x, u, w):
        return 0.5 * x.x + u.pump, 0.5 * x.y + u.valve

    def limits(self):
        return {"pump": (0, 1), "valve": (-1.0, 1.0)}


def test_a_law_in_closed_form_gives_no_integers() -> None:
    task = Task("pumps", Switched(), 1.0, 5, Quadratic(np.eye(2), np.eye(2)), Uniform([-1.0] * 2, [1.0] * 2))
    law = SaturatedLinear(0.1 * np.eye(2), np.zeros(2), np.zeros(2), -np.ones(2), np.ones(2))
    box = -np.ones(2), np.ones(2)
    for claim in (
        lambda: certify(task, law, QuadraticLyapunov(np.eye(2), np.zeros(2)), 1.0, box=box),
        lambda: certify_barrier(task, law, (Inequality("b", lambda x, u: x.x),), box=box),
    ):
        with pytest.raises(NotApplicable, match="pump must be an integer"):
            claim()


@pytest.mark.parametrize(
    "term", [lambda x: 2.0 * ca.sign(x), lambda x: ca.if_else(x > 0.5, 3.0, 0.0), lambda x: ca.floor(x + 0.5)]
)
def test_a_step_is_not_affine_though_its_slope_is_constant(term: Any) -> None:
    @dataclasses.dataclass(frozen=True)
    class Stepping(Plant):
        state = signals("x")
        input = signals("u")

        def ode(self, x, u, w):
            return (-x.x + u.u + term(x.x),)

    with pytest.raises(InvalidValue, match="not linear"):
        dataclasses.replace(sliding(Stepping()), integrator="exact")
