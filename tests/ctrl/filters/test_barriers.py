"""Barriers: the nearest input against an independent solver, answers in closed form, relative degrees, and proofs."""

import dataclasses

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.filtered_tasks import (
    at_random,
    braking_certificate,
    can_stop,
    certified,
    disturbed_braking,
    starts_within,
    stopping_certificate,
    towards_the_middle,
)
from ctrl import NotApplicable, simulate
from ctrl.certify import (
    Kind,
    QuadraticLyapunov,
    SearchLimits,
    SymbolicLyapunov,
    certify,
    certify_barrier,
    disturbances,
)
from ctrl.filters import BarrierFilter, Filtered, Reason, Shield, sublevel_barrier, with_hard_constraints
from ctrl.filters.nearest_input import on_half_space, on_polytope
from ctrl.foreign import FunctionController
from ctrl.laws import SaturatedLinear
from systems import Box, Fixed, Gaussian, Inequality, InvalidValue, LinearPlant, Quadratic, Task, Uniform
from systems.library import braking, double_integrator, lane_bound, oscillating_masses, planar_quadrotor

# ---- the nearest input ----

numbers = st.floats(-3.0, 3.0).map(lambda a: round(a, 3))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4).flatmap(lambda m: st.tuples(*[st.lists(numbers, min_size=m, max_size=m)] * 2)), numbers)
def test_the_closed_form_agrees_with_the_quadratic_program(points, b):
    v, a = points
    v = np.clip(v, -1.0, 1.0)
    low, high = -np.ones(len(v)), np.ones(len(v))
    z, is_feasible = on_half_space(v.tolist(), a, b, low.tolist(), high.tolist())
    most = np.abs(a).sum()
    if abs(most - b) < 1e-6:
        return
    assert is_feasible == (most >= b)
    if not is_feasible:
        assert np.dot(a, z) == pytest.approx(most)
        return
    exact, solved, _ = on_polytope(v, np.array([a]), np.array([b]), low, high)
    assert solved
    np.testing.assert_allclose(z, exact, atol=1e-6)
    assert np.dot(a, z) >= b - 1e-9


def test_without_a_solution_the_violation_is_least():
    A, b = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([0.5, 0.5])
    z, is_feasible, _ = on_polytope(np.array([0.9, 0.3]), A, b, -np.ones(2), np.ones(2))
    assert not is_feasible
    np.testing.assert_allclose(z, [0.0, 0.3], atol=1e-4)


# ---- answers in closed form ----


def test_relative_degrees():
    assert BarrierFilter(double_integrator()).degrees == (2, 2, 1, 1)
    assert BarrierFilter(with_hard_constraints(lane_bound())).degrees == (2, 2)
    gentle = Inequality("gentle", lambda x, u: u.acceleration**2 - 0.25)
    assert BarrierFilter(braking(), [gentle, can_stop(0.9)]).degrees == (0, 1, 1)
    assert BarrierFilter(braking(), [gentle]).correct(np.array([-2.0, 0.1]), np.array([0.9]), 0).input == (
        pytest.approx(0.5, abs=1e-6)
    )
    sideways = Inequality("sideways", lambda x, u: x.x - 1.0)
    assert BarrierFilter(planar_quadrotor(), [sideways]).degrees == (2,)
    steps = Inequality("steps", lambda x, u: ca.sign(u.acceleration) - 0.5)
    with pytest.raises(NotApplicable, match="'steps' changes with the input in steps only"):
        BarrierFilter(braking(), [steps])
    with pytest.raises(NotApplicable, match="no input appears in the derivatives of 'constant'"):
        BarrierFilter(braking(), [Inequality("constant", lambda x, u: 0.0 * x.speed - 1.0)])


@pytest.mark.parametrize(("x", "rate"), [((-0.5, 0.45), 1.0), ((-1.5, 0.6), 0.5), ((-0.05, 0.04), 1.0)])
def test_a_wall_before_a_double_integrator(x, rate):
    """psi = -v - rate p, and psi(x+) = exp(-rate dt) psi(x) is linear in u; the push is at its worst."""
    task, (p, v), dt, push = disturbed_braking(), x, 0.1, 0.1
    psi = -v - rate * p
    # -(v + dt a) - rate (p + dt v + dt^2 a / 2) >= exp(-rate dt) psi, a = u + push
    most = (-v - rate * (p + dt * v) - np.exp(-rate * dt) * psi) / (dt + 0.5 * rate * dt**2) - push
    assert -1 < most < 1
    barrier = BarrierFilter(task, rate=rate)
    within, beyond = (barrier.correct(np.array(x), np.array([most + away]), 0) for away in (-1e-6, 1e-3))
    assert within.reason is None
    assert within.input == pytest.approx(most - 1e-6, abs=1e-15)
    assert beyond.reason is (Reason.UNSAFE_INPUT if psi >= 0 else Reason.OUTSIDE)
    assert beyond.input == pytest.approx(most, abs=1e-7)
    assert beyond.input <= most


def test_the_braking_distance_of_a_double_integrator_is_its_maximal_safe_set():
    """h = -p - v^2 / 2 with all of the braking: on the edge full braking is the only safe input, and it suffices."""
    task = dataclasses.replace(with_hard_constraints(braking()))
    edge = Inequality("stopping distance", lambda x, u: x.position + ca.fmax(x.speed, 0.0) ** 2 / 2)
    barrier = BarrierFilter(task, [edge], rate=20.0)
    for v in (0.3, 1.0, 1.7):
        on_edge = barrier.correct(np.array([-0.5 * v**2 - 1e-6, v]), np.array([1.0]), 0)
        assert on_edge.input == pytest.approx(-1.0, abs=1e-4)
        beyond = barrier.correct(np.array([-0.5 * v**2 + 0.02, v]), np.array([1.0]), 0)
        assert beyond.reason is Reason.INFEASIBLE
        assert beyond.input == pytest.approx(-1.0)
        far = barrier.correct(np.array([-0.5 * v**2 - 1.0, v]), np.array([1.0]), 0)
        assert far.reason is None
    ahead = FunctionController(task, lambda observation: [1.0])
    runs = simulate(task, Filtered(ahead, barrier), np.array([[-2.0, 0.0], [-0.5, 0.95]]))
    assert runs.margins.max() <= 0
    assert runs.margins[:, -1].min() > -0.01  # it comes as near as it may


def linear(B, E, limits) -> Task:
    """x1' = x2, x2' = u1 + ..., a wall at x1 = 0 and a disturbance of up to 0.2, sampled by Euler steps."""
    plant = LinearPlant([[0.0, 1.0], [0.0, 0.0]], B, E, input_limits=limits)
    return Task(
        "linear", plant, 0.1, 10, Quadratic([1.0, 1.0], np.ones(len(limits))), Fixed(), integrator="euler",
        constraints=(Box("wall", {"x1": (-np.inf, 0.0)}),), disturbance=Uniform([-0.2], [0.2]),
    )  # fmt: skip


def test_a_disturbance_that_appears_before_the_input_is_taken_at_its_worst():
    """x1' = x2 + w, x2' = u: psi_1 = -x2 - 0.2 - rate x1, and the next psi_1 under the worst w."""
    task, rate, x = linear([[0.0], [1.0]], [[1.0], [0.0]], ((-9.0, 9.0),)), 0.8, np.array([-1.0, 0.4])
    barrier = BarrierFilter(task, rate=rate)
    assert barrier.degrees == (2,)
    psi = -x[1] - 0.2 - rate * x[0]
    # -(x2 + dt u) - 0.2 - rate (x1 + dt (x2 + 0.2)) = exp(-rate dt) psi
    most = (-x[1] - 0.2 - rate * (x[0] + 0.1 * (x[1] + 0.2)) - np.exp(-rate * 0.1) * psi) / 0.1
    assert barrier.correct(x, np.array([9.0]), 0).input == pytest.approx(most, abs=1e-6)


def test_distances_are_shares_of_the_bounds():
    """Two equal inputs, one with ten times the range: it moves a hundred times as far, both ten times their share."""
    task = linear([[0.0, 0.0], [1.0, 1.0]], [[0.0], [1.0]], ((-1.0, 1.0), (-10.0, 10.0)))
    correction = BarrierFilter(task).correct(np.array([-1.0, 0.8]), np.array([0.9, 3.0]), 0)
    assert correction.reason is Reason.UNSAFE_INPUT
    away = np.array([0.9, 3.0]) - correction.input
    assert away[0] > 0.01
    assert away[1] == pytest.approx(100 * away[0], rel=1e-6)


def test_several_conditions_are_a_quadratic_program():
    task = double_integrator()
    barrier = BarrierFilter(task, rate=3.0)
    runs = simulate(task, Filtered(at_random(task), barrier), np.array([[-4.0, 0.5], [4.0, -0.2]]))
    assert runs.margins.max() <= 0
    fast = barrier.correct(np.array([0.0, 0.99]), np.array([1.0]), 0)
    gamma = 1 - np.exp(-0.3)
    assert fast.input == pytest.approx(0.01 * gamma / 0.1, abs=1e-7)


def test_its_answer_to_what_is_not_a_number():
    barrier = BarrierFilter(disturbed_braking())
    for x, u, reason in (
        ([-1.0, 0.0], [np.nan], Reason.NO_INPUT),
        ([np.nan, 0.0], [0.0], Reason.NO_STATE),
        ([-1.0, np.inf], [0.0], Reason.NO_STATE),
        ([1e308, 1e308], [0.0], Reason.INFEASIBLE),
    ):
        correction = barrier.correct(np.array(x), np.array(u), 0)
        assert correction.reason is reason
        assert np.abs(correction.input) <= 1
    assert barrier.correct(np.array([-1.0, 0.0]), np.array([np.inf]), 0).reason is Reason.NO_INPUT


def test_misuse_is_refused():
    task = disturbed_braking()
    with pytest.raises(NotApplicable, match="no hard constraint on its state"):
        BarrierFilter(braking())
    with pytest.raises(InvalidValue, match="rate"):
        BarrierFilter(task, rate=0.0)
    with pytest.raises(InvalidValue, match="barriers = "):
        BarrierFilter(task, can_stop(0.85))
    with pytest.raises(InvalidValue, match="backup"):
        BarrierFilter(task, backup=stopping_certificate())
    with pytest.raises(NotApplicable, match="unbounded"):
        BarrierFilter(dataclasses.replace(task, disturbance=Gaussian({"push": 0.1})))
    assert BarrierFilter(dataclasses.replace(task, disturbance=Fixed())).claim.startswith("sampled, not proved")


# ---- proofs ----


def test_a_barrier_that_fits_the_actuators_is_proved():
    proved = stopping_certificate()
    assert proved.is_proved, proved
    assert "'can stop' stays there and keeps the hard constraints ('wall')" in proved.claim


@pytest.mark.parametrize("mutant", ["deceleration", "disturbance", "law", "sign", "constraint", "no braking", "box"])
def test_mutated_barriers_are_refused(mutant):
    task, law, barriers = disturbed_braking(), towards_the_middle(), [can_stop(0.85)]
    drawn = disturbances(task)
    if mutant == "deceleration":
        barriers = [can_stop(0.95)]
    elif mutant == "disturbance":
        drawn = {"push": (-0.3, 0.3)}
    elif mutant == "law":
        law = SaturatedLinear(-law.K, law.x_ref, law.u_ref, law.lower, law.upper)
    elif mutant == "sign":
        barriers = [Inequality("can stop", lambda x, u: [-g for g in can_stop(0.85).g(x, u)])]
    elif mutant == "constraint":
        task = dataclasses.replace(task, constraints=(Box("wall", {"position": (-np.inf, -0.2)}),))
    elif mutant == "box":  # nothing keeps it from going back beyond the domain
        barriers = [Inequality("can stop", lambda x, u: can_stop(0.85).g(x, u)[0])]
    else:
        barriers = [Inequality("position", lambda x, u: [x.position + 0.01, -3.9 - x.position])]
    result = certify_barrier(task, law, barriers, SearchLimits(boxes=300_000), disturbance=drawn)
    assert result.kind is Kind.REFUSED, result
    assert result.contains(result.counterexample)


def test_a_counterexample_leaves_the_set():
    task = disturbed_braking()
    result = certify_barrier(task, towards_the_middle(), [can_stop(0.95)], disturbance=disturbances(task))
    worst = max(
        float(can_stop(0.95).function(task.plant)(result.loop(result.counterexample, np.array([w])), 0).full().max())
        for w in (-0.1, 0.1)
    )
    assert worst > 0


def test_which_barrier_certificates_a_shield_refuses():
    task, proved = disturbed_braking(), stopping_certificate()
    Shield(task, proved)
    other = dataclasses.replace(task, constraints=(Box("another wall", {"position": (-np.inf, -0.5)}),))
    with pytest.raises(NotApplicable, match="does not cover the constraint 'another wall'"):
        Shield(other, proved)
    with pytest.raises(NotApplicable, match="covers disturbances"):
        Shield(dataclasses.replace(task, disturbance=Uniform({"push": -0.2}, {"push": 0.2})), proved)
    with pytest.raises(NotApplicable, match="undecided"):
        Shield(task, dataclasses.replace(proved, kind=Kind.UNDECIDED))


def violations(barrier: BarrierFilter, starts: np.ndarray) -> int:
    task = barrier.task
    low, high = task.disturbance.support(task.plant.disturbance)
    draws = np.random.default_rng(1).random((len(starts), task.steps, len(low)))
    runs = simulate(task, Filtered(at_random(task), barrier), starts, np.where(draws < 0.5, low, high))
    return int((runs.margins > 0).sum() + (runs.left >= 0).sum())


def proved_barrier(name: str) -> tuple[BarrierFilter, np.ndarray]:
    """A filter whose every input passes a shield, and starts."""
    if name == "braking":
        task, certificate = disturbed_braking(), stopping_certificate()
        barriers = certificate.barriers
    else:
        task, certificate = certified(name)
        barriers = [sublevel_barrier(certificate)]
    barrier = BarrierFilter(task, barriers, rate=5.0, backup=Shield(task, certificate))
    return barrier, starts_within(certificate, 400)


def test_random_inputs_keep_the_constraints():
    barrier, starts = proved_barrier("braking")
    assert violations(barrier, starts[:5]) == 0
    assert violations(BarrierFilter(barrier.task, rate=1.0), np.array([[-1.5, 0.2], [-0.8, 0.6]])) == 0


def test_the_backup_acts_where_the_conditions_let_too_much_through():
    task, proved = disturbed_braking(), stopping_certificate()
    lax = Inequality("lax", lambda x, u: x.position - 1.0)
    barrier = BarrierFilter(task, [lax], backup=Shield(task, proved))
    x = np.array([-0.5, 0.9])
    assert proved.contains(x)
    correction = barrier.correct(x, np.array([1.0]), 0)
    assert correction.reason is Reason.UNSAFE_INPUT
    np.testing.assert_array_equal(correction.input, towards_the_middle()(x))
    assert barrier.correct(np.array([-2.0, 0.0]), np.array([1.0]), 0).reason is None


def test_the_sublevel_set_of_a_certificate_is_a_barrier():
    """The nearest input with V(x+) <= level - (1 - gamma) (level - V(x)), on its edge."""
    certificate = braking_certificate()
    task, rate = disturbed_braking(), 2.0
    barrier = BarrierFilter(task, [sublevel_barrier(certificate)], rate=rate, backup=Shield(task, certificate))
    x = certificate.V.middle + np.array([0.8, 0.15])
    correction = barrier.correct(x, np.array([1.0]), 0)
    after = task.dynamics.lower("numpy")(x, correction.input, np.array([0.1]), np.zeros(0))
    level, keep = certificate.level, np.exp(-rate * task.dt)
    assert certificate.V(after) == pytest.approx(level - keep * (level - certificate.V(x)), rel=1e-3)
    assert correction.reason is Reason.UNSAFE_INPUT


def test_which_certificates_are_barriers():
    task = disturbed_braking()
    V = braking_certificate().V
    few = SearchLimits(boxes=1)
    cut = certify(task, towards_the_middle(), QuadraticLyapunov(V.P, V.middle), 40.0, inner=1.0, budget=few)
    with pytest.raises(NotApplicable, match="cut off by its box"):
        sublevel_barrier(cut)
    x = ca.SX.sym("x", 2)
    symbolic = SymbolicLyapunov(ca.Function("V", [x], [ca.sumsqr(x - V.middle)]), V.middle)
    with pytest.raises(NotApplicable, match="expected a QuadraticLyapunov"):
        sublevel_barrier(certify(task, towards_the_middle(), symbolic, 0.1, inner=0.05, budget=few))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["braking", "cartpole-track", "lane-bound", "planar-quadrotor"])
def test_no_violation_in_many_steps_of_a_proved_barrier(name):
    barrier, starts = proved_barrier(name)
    assert violations(barrier, starts[: -(-20_000 // barrier.task.steps)]) == 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_violation_in_many_steps_of_a_lane():
    """A high-order barrier that is not proved: sampled, from starts within its set."""
    task = with_hard_constraints(lane_bound())
    drawn, barrier = (
        task.initial.sample(task.plant.state, np.random.default_rng(2), (200,)),
        BarrierFilter(task, rate=1.0),
    )
    starts = np.array([x for x in drawn if barrier.correct(x, np.zeros(1), 0).reason is not Reason.OUTSIDE])
    assert len(starts) > 150
    assert violations(barrier, starts) == 0


def test_a_plant_of_several_masses_is_taken():
    task = oscillating_masses()
    barrier = BarrierFilter(with_hard_constraints(task), rate=1.0)
    assert set(barrier.degrees) <= {1, 2, 3, 4}
