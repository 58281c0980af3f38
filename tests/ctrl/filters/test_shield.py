"""Shields by a certificate: where they act, what they keep, and which certificates they refuse."""

import dataclasses
import re

import numpy as np
import pytest

from benchmarks.filtered_tasks import at_random, braking_certificate, certified, disturbed_braking, starts_within
from ctrl import LQR, Controller, NotApplicable, Source, Status, simulate
from ctrl.certify import Kind, QuadraticLyapunov, SearchLimits, certify, keeps_constraints, riccati
from ctrl.filters import Filtered, Reason, Shield
from ctrl.foreign import FunctionController
from systems import Box, Inequality, InvalidValue, Polytope, Uniform
from systems.library import DoubleIntegrator, cartpole


@pytest.fixture(scope="module")
def shield() -> Shield:
    return Shield(disturbed_braking(), braking_certificate())


def test_the_claim_names_the_set_and_the_constraints(shield):
    assert braking_certificate().is_proved
    assert "stays there" in shield.claim
    assert "keeps its hard constraints ('wall')" in shield.claim


def test_acts_exactly_where_the_next_state_can_leave_the_set(shield):
    """The plant is linear and V quadratic, so the largest safe input is the root of a quadratic equation."""
    certificate, task = shield.certificate, shield.task
    model, P, c = task.dynamics.lower("numpy"), certificate.V.P, certificate.V.middle
    x = c + np.array([0.8, 0.15])
    assert certificate.contains(x)

    def next_state(u: float, w: float) -> np.ndarray:
        return model(x[None], np.array([[u]]), np.array([[w]]), np.zeros(0))[0]

    zero, slope = next_state(0.0, 0.1) - c, next_state(1.0, 0.1) - next_state(0.0, 0.1)
    a, b, d = slope @ P @ slope, 2 * slope @ P @ zero, zero @ P @ zero - certificate.level
    largest = (-b + np.sqrt(b * b - 4 * a * d)) / (2 * a)
    assert -1 < largest < 1
    within, beyond = (shield.correct(x, np.array([largest + away]), 0) for away in (-1e-4, 1e-4))
    assert within.reason is None
    assert within.input == pytest.approx(largest - 1e-4)
    assert beyond.reason is Reason.UNSAFE_INPUT
    np.testing.assert_array_equal(beyond.input, certificate.claimed.loop.law(x))


def test_its_answer_to_what_is_not_a_number_and_to_states_outside(shield):
    law, inside = shield.certificate.claimed.loop.law, np.array([-1.2, 0.1])
    outside = np.array([-0.1, 1.0])
    for x, u, reason, input in (
        (inside, [np.nan], Reason.NO_INPUT, law(inside)),
        (outside, [0.0], Reason.OUTSIDE, law(outside)),
        (np.array([np.nan, 0.0]), [0.0], Reason.NO_STATE, [0.0]),
        (np.array([np.inf, 0.0]), [0.0], Reason.NO_STATE, [0.0]),
        (np.array([1e308, -1e308]), [0.0], Reason.OUTSIDE, None),
    ):
        correction = shield.correct(x, np.array(u), 0)
        assert correction.reason is reason
        assert np.abs(correction.input) <= 1
        if input is not None:
            np.testing.assert_array_equal(correction.input, input)


def test_the_filtered_controller_counts_and_says_why(shield):
    filtered = Filtered(at_random(shield.task), shield)
    assert isinstance(filtered, Controller)
    runs = simulate(shield.task, filtered, starts_within(shield.certificate, 2))
    assert filtered.statistics.steps == runs.inputs[..., 0].size
    assert 0 < filtered.statistics.count == filtered.statistics.reasons[Reason.UNSAFE_INPUT]
    assert "unsafe input: " in repr(filtered)
    outside = filtered.step(np.array([-0.1, 1.0]), 0)
    assert (outside.status, outside.source) == (Status.INFEASIBLE, Source.BACKUP)
    broken = filtered.step(np.array([np.nan, 1.0]), 0)
    assert (broken.status, broken.source) == (Status.NUMERICAL, Source.BACKUP)
    assert filtered.statistics.reasons[Reason.OUTSIDE] == filtered.statistics.reasons[Reason.NO_STATE] == 1


def corners(task, runs: int) -> np.ndarray:
    """Disturbances of which each is one of the two extremes."""
    low, high = task.disturbance.support(task.plant.disturbance)
    return np.where(np.random.default_rng(1).random((runs, task.steps, len(low))) < 0.5, low, high)


def violations(shield: Shield, policy: Controller, starts: np.ndarray, disturbances: np.ndarray) -> int:
    """Samples at which the set was left, a hard constraint violated, or the run ended."""
    result = simulate(shield.task, Filtered(policy, shield), starts, disturbances)
    left = ~shield.certificate.contains(result.states)
    return int(left.sum() + (result.margins > 0).sum() + (result.left >= 0).sum())


def random_violations(shield: Shield, steps: int) -> int:
    """The same of inputs drawn at random, in at least so many steps."""
    task, runs = shield.task, -(-steps // shield.task.steps)
    return violations(shield, at_random(task), starts_within(shield.certificate, runs), corners(task, runs))


def test_random_inputs_never_leave_the_set(shield):
    assert random_violations(shield, 300) == 0


def test_without_the_bound_of_the_disturbance_the_set_is_left(shield):
    """A policy and a disturbance that both aim at the wall."""
    task, starts = shield.task, np.array([[-1.2, 0.0]])
    ahead, worst = FunctionController(task, lambda observation: [1.0]), np.full((1, 60, 1), 0.1)
    assert violations(shield, ahead, starts, worst) == 0
    careless = Shield(task, shield.certificate)
    careless._w = careless._w * 0.0
    assert violations(careless, ahead, starts, worst) > 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["cartpole-track", "braking", "lane-bound", "planar-quadrotor"])
def test_no_violation_in_many_steps(name):
    assert random_violations(Shield(*certified(name)), 20_000) == 0


# ---- which certificates are refused ----


def refused(task, certificate, words: str) -> None:
    with pytest.raises(NotApplicable, match=words):
        Shield(task, certificate)


def test_refuses_certificates_of_something_else():
    task, proved = disturbed_braking(), braking_certificate()
    refused(dataclasses.replace(task, plant=DoubleIntegrator(max_acceleration=2.0)), proved, "another plant")
    refused(task.with_truth(DoubleIntegrator(max_acceleration=2.0)), proved, "another plant")
    refused(dataclasses.replace(task, dt=0.05), proved, "another plant or discretisation")
    refused(dataclasses.replace(task, integrator="rk4"), proved, "another plant or discretisation")
    tighter = Box("gentle", {"acceleration": (-0.5, 0.5)})
    refused(dataclasses.replace(task, constraints=(*task.constraints, tighter)), proved, "beyond the bounds")
    wider = Uniform({"push": -0.2}, {"push": 0.1})
    refused(dataclasses.replace(task, disturbance=wider), proved, re.escape("covers disturbances from [-0.1]"))
    undecided = dataclasses.replace(proved, result=dataclasses.replace(proved.result, kind=Kind.UNDECIDED))
    refused(task, undecided, "is undecided; a shield needs a proved one")
    continuous = dataclasses.replace(proved.claimed.loop, continuous=True)
    claimed = dataclasses.replace(proved.claimed, loop=continuous)
    refused(task, dataclasses.replace(proved, claimed=claimed), "evaluated continuously")
    with pytest.raises(InvalidValue, match="the certificate of Shield"):
        Shield(task, LQR(task))


def test_refuses_sets_that_reach_beyond_constraints_or_domain():
    task, proved = disturbed_braking(), braking_certificate()
    nearer = Box("nearer wall", {"position": (-np.inf, -1.0)})
    refused(dataclasses.replace(task, constraints=(nearer,)), proved, "'nearer wall', which it violates at")
    small = Box("model", {"position": (-1.3, 2.0), "speed": (-3.0, 3.0)})
    refused(dataclasses.replace(task, domain=small), proved, "the domain, beyond which")


def test_hard_constraints_on_the_input_are_kept_as_well():
    """|u| <= 0.9 as an inequality, of which the input bounds say nothing: the law keeps it in a small set, a proposed
    input may not."""
    task, large = disturbed_braking(), braking_certificate()
    loop = large.claimed.loop
    proved = certify(loop.task, loop.law, level=0.4, inner=0.36, disturbance=loop.disturbance)
    gentle = Inequality("gentle", lambda x, u: u.acceleration**2 - 0.9**2)
    task = dataclasses.replace(task, constraints=(gentle,))
    shield, x = Shield(task, proved), proved.V.middle
    assert shield.correct(x, np.array([0.89]), 0).reason is None
    assert shield.correct(x, np.array([0.91]), 0).reason is Reason.UNSAFE_INPUT
    refused(task, large, "'gentle', which it violates at")


# ---- sets within constraints ----


@pytest.mark.parametrize("names", [("position", "angle"), ("position",), ("position", "angle", "velocity", "rate")])
def test_a_set_within_a_half_space_agrees_with_the_support_function(names):
    """{V <= level} lies in a'x <= b exactly where sqrt(level a' P^-1 a) <= b."""
    task = cartpole()
    V, level = riccati(task), 0.7
    normal = np.array([1.0, -2.0, 0.3, 0.5])[: len(names)]
    whole = np.zeros(4)
    whole[: len(names)] = normal
    most = np.sqrt(level * whole @ np.linalg.solve(V.P, whole))
    certificate = certify(task, LQR(task).law, V, level, budget=SearchLimits(boxes=1))
    for factor, kind in ((1.01, Kind.PROVED), (0.99, Kind.REFUSED)):
        constraint = Polytope("half space", names, normal[None], [factor * most])
        kept = keeps_constraints(certificate, dataclasses.replace(task, constraints=(constraint,)))
        assert kept.kind is kind, kept
        if kind is Kind.REFUSED:
            assert certificate.contains(kept.counterexample)
            assert whole @ kept.counterexample > factor * most
    touching = Polytope("half space", names, normal[None], [most])
    few = keeps_constraints(certificate, dataclasses.replace(task, constraints=(touching,)), SearchLimits(boxes=3))
    assert few.kind is not Kind.PROVED


def test_a_set_within_a_constraint_needs_every_row_and_no_undefined_value():
    import casadi as ca

    task = cartpole()
    certificate = certify(task, LQR(task).law, QuadraticLyapunov(np.eye(4), np.zeros(4)), 0.04, budget=SearchLimits(1))

    def kind(g) -> Kind:
        limits = SearchLimits(boxes=20_000)
        constraint = Inequality("g", g)
        return keeps_constraints(certificate, dataclasses.replace(task, constraints=(constraint,)), limits).kind

    assert kind(lambda x, u: [x.position - 1, x.angle - 1]) is Kind.PROVED
    assert kind(lambda x, u: [x.position - 1, x.angle - 0.1]) is Kind.REFUSED
    assert kind(lambda x, u: ca.log(x.position + 1) - 1) is Kind.PROVED
    assert kind(lambda x, u: ca.log(x.position + 0.1) - 1) is not Kind.PROVED
