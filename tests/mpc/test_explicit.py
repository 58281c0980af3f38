"""Explicit MPC against the same MPC solved online."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ctrl import simulate
from ctrl.certify import certify, riccati
from ctrl.controller import NotApplicable, Source, Status
from ctrl.laws.lattice_network import relu_network
from mpc import ExplicitMPC
from systems import Box, InvalidValue, LinearPlant, Quadratic, SetPoint, Sinusoid, Task, Uniform
from systems.library import double_integrator, pendulum


def two_inputs() -> Task:
    """Three states, two inputs, unstable, a set-point off the origin."""
    plant = LinearPlant(
        A=[[1.1, 0.2, 0.0], [0.0, 0.9, 0.3], [0.1, 0.0, 0.7]],
        B=[[0.0, 0.5], [1.0, 0.0], [0.0, 1.0]],
        dt=1.0,
        input_limits=((-1.0, 1.0), (-0.5, 0.8)),
    )
    return Task(
        "two inputs", plant, 1.0, 20, Quadratic({"x1": 1.0, "x2": 1.0, "x3": 1.0}, {"u1": 1.0, "u2": 2.0}),
        Uniform({"x1": -1.0}, {"x1": 1.0}), constraints=(Box("kept", {"x2": (-1.0, 1.5)}),),
        domain=Box("model", dict.fromkeys(("x1", "x2", "x3"), (-4.0, 4.0))),
    )  # fmt: skip


def softened() -> Task:
    """A soft speed limit, so that rows are violated at their price in part of the states."""
    task = double_integrator()
    return dataclasses.replace(task, constraints=(Box("speed limit", {"speed": (-1.0, 1.0)}).soft(3.0),))


CASES = {
    "double integrator": (double_integrator(), 5, 0),
    "set-point": (dataclasses.replace(double_integrator(), reference=SetPoint({"position": 2.0})), 3, 0),
    "pendulum": (pendulum(), 6, 0),
    "two inputs": (two_inputs(), 2, 0),
    # The online form prices a soft violation with a slight curvature, the explicit one exactly.
    "soft": (softened(), 4, 1e-5),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[ExplicitMPC, float]:
    task, horizon, slack = CASES[request.param]
    return ExplicitMPC(task, horizon), slack


def states(explicit: ExplicitMPC, count: int) -> np.ndarray:
    """Random states, those near the feasible ones, and the borders of the regions: corners and middles of facets."""
    rng = np.random.default_rng(0)
    lower, upper = explicit.task.domain_bounds
    corners = [region.corners for region in explicit.regions]
    edges = [0.5 * (c + c[rng.permutation(len(c))]) for c in corners]
    middles = np.array([region.middle for region in explicit.regions])
    near = np.repeat(middles, 1 + count // len(middles), axis=0)[:count]
    near = near + 0.05 * rng.standard_normal(near.shape)
    return np.vstack([rng.uniform(lower, upper, (count, len(lower))), near, *corners, *edges])


def test_equals_the_online_controller_everywhere(case: tuple[ExplicitMPC, float]) -> None:
    explicit, slack = case
    compared = missed = 0
    for x in states(explicit, 1500):
        online = explicit.online.step(x, 0)
        if online.status is not Status.SOLVED:
            continue
        decision = explicit.step(x, 0)
        np.testing.assert_allclose(decision.input, online.input, atol=1e-8 + slack)
        compared += 1
        inside = ((x >= explicit.task.domain_bounds[0]) & (x <= explicit.task.domain_bounds[1])).all()
        missed += inside and decision.status is not Status.SOLVED
    assert compared > 1000
    assert missed == 0, "regions are missing"


@pytest.mark.slow
def test_equals_the_online_controller_on_ten_thousand_states() -> None:
    explicit = ExplicitMPC(double_integrator(), 10)
    compared = 0
    for x in states(explicit, 10_000):
        online = explicit.online.step(x, 0)
        if online.status is Status.SOLVED:
            np.testing.assert_allclose(explicit.step(x, 0).input, online.input, atol=1e-8)
            compared += 1
    assert compared > 10_000


def test_the_network_is_the_law(case: tuple[ExplicitMPC, float]) -> None:
    explicit, _ = case
    x = states(explicit, 500)
    hidden = x
    *layers, (W_last, b_last) = relu_network(explicit.law)
    for W, b in layers:
        hidden = np.maximum(hidden @ W.T + b, 0.0)
    np.testing.assert_allclose(hidden @ W_last.T + b_last, explicit.law(x), atol=1e-9)


def test_batch_equals_step(case: tuple[ExplicitMPC, float]) -> None:
    explicit, _ = case
    x = states(explicit, 100)[:400]
    together = explicit.batch(x, 0)
    for row, u in zip(x, together, strict=True):
        decision = explicit.step(row, 0)
        if decision.status is Status.SOLVED:
            np.testing.assert_allclose(u, decision.input, atol=1e-12)
        else:
            assert np.isnan(u).all()


def test_the_regions_do_not_overlap(case: tuple[ExplicitMPC, float]) -> None:
    explicit, _ = case
    middles = np.array([region.middle for region in explicit.regions])
    for i, region in enumerate(explicit.regions):
        inside = np.flatnonzero(region.set.contains(middles, tolerance=-1e-9))
        assert set(inside) <= {i}


def test_a_closed_loop_is_that_of_the_online_controller() -> None:
    task = double_integrator()
    explicit = ExplicitMPC(task, 5)
    starts = np.array([[0.4, 0.2], [-0.5, 0.6], [0.2, -0.1]])
    np.testing.assert_allclose(
        simulate(task, explicit, starts).states, simulate(task, explicit.online, starts).states, atol=1e-9
    )


def test_its_law_is_what_can_be_proved_of() -> None:
    task = pendulum()
    explicit = ExplicitMPC(task, 6)
    assert certify(task, explicit.law, riccati(task), 20.0).is_proved
    assert not certify(task, explicit.law, riccati(task), 30.0).is_proved


def test_beyond_the_feasible_states_it_says_so_and_stays_within_bounds() -> None:
    task = double_integrator()
    explicit = ExplicitMPC(task, 3)
    decision = explicit.step(np.array([9.0, 4.0]), 0)
    assert (decision.status, decision.source) == (Status.INFEASIBLE, Source.BACKUP)
    for x in ([np.nan, 0.0], [np.inf, 0.0], [1e300, -1e300]):
        decision = explicit.step(np.array(x), 0)
        assert decision.status is not Status.SOLVED
        assert np.isfinite(decision.input).all()
        assert (np.abs(decision.input) <= 1.0).all()


def test_what_does_not_fit_is_refused_with_the_reason() -> None:
    task = double_integrator()
    with pytest.raises(NotApplicable, match="more than 10 regions"):
        ExplicitMPC(task, 5, max_regions=10)
    with pytest.raises(NotApplicable, match="its reference moves"):
        ExplicitMPC(dataclasses.replace(task, reference=Sinusoid(0.1, x_sine={"position": 0.1})), 5)
    with pytest.raises(InvalidValue, match="position, speed have no bounds"):
        ExplicitMPC(dataclasses.replace(task, domain=None), 5)
    assert ExplicitMPC(
        dataclasses.replace(task, domain=None), 2, within=Box("w", {"position": (-1, 1), "speed": (-1, 1)})
    )
