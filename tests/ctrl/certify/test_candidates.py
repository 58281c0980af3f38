"""Candidates from the Lyapunov equation, what verify and compare make of them, and what is said where all fail."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import casadi as ca
import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov

from ctrl.certify import (
    ClosedLoop,
    Kind,
    QuadraticLyapunov,
    SearchLimits,
    SymbolicLyapunov,
    certify,
    largest_level,
    lyapunov,
    proved_region,
    reshaped,
    rest_point,
    riccati,
    sampled_limit,
)
from ctrl.certify.candidates.quadratics import quadratics
from ctrl.commands.proofs import best_certificate, reach_line
from ctrl.comparison import compare
from ctrl.comparison.table import text
from ctrl.controller import NotApplicable
from ctrl.laws import Network, SaturatedLinear
from ctrl.regulator import LQR
from systems import Box, InvalidValue, LinearPlant, Plant, Quadratic, SetPoint, Task, Uniform, signals
from systems.arithmetic.interval import Interval
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum
from systems.library.quadrotor import quadrotor


def delay() -> Task:
    """A lag behind three samples of dead time, with a cost on the output alone."""
    a = np.exp(-1 / 8)
    A = np.zeros((5, 5))
    A[0, 0], A[0, 1] = a, 2 * (1 - a)
    A[1, 2] = A[2, 3] = A[3, 4] = 1
    return Task(
        "delay",
        LinearPlant(A, np.eye(5)[:, 4:], dt=1.0, input_limits=((0.0, 3.0),)),
        dt=1.0,
        steps=60,
        cost=Quadratic(Q=[1, 0, 0, 0, 0], R=[0.1]),
        initial=Uniform([3.5, 1.8, 1.8, 1.8, 1.8], [4.5, 2.2, 2.2, 2.2, 2.2]),
        reference=SetPoint([4.0, 2, 2, 2, 2], [2.0]),
    )


def observer() -> Task:
    """A cost that does not see one of the states at all: its Riccati solution is singular."""
    A = np.array([[1.1, 0.0], [0.3, 0.5]])
    return Task(
        "blind",
        LinearPlant(A, np.array([[1.0], [0.0]]), dt=1.0, input_limits=((-1.0, 1.0),)),
        dt=1.0,
        steps=40,
        cost=Quadratic(Q=[1, 0], R=[1.0]),
        initial=Uniform([-1, -1], [1, 1]),
    )


# ---- the equation ----


@pytest.mark.parametrize("continuous", [False, True])
def test_the_equation_is_solved_in_units_of_the_task(continuous: bool) -> None:
    task = cartpole()
    law = LQR(task).law
    V = lyapunov(task, law, continuous)
    loop = ClosedLoop(task, law, continuous)
    J = loop.enclose_jacobian(V.centre).jacobian.mid
    low, high = task.initial.support(task.plant.state)
    scale = np.maximum(-low, high)
    D = np.diag(1 / scale**2)
    P = solve_continuous_lyapunov(J.T, -D) if continuous else solve_discrete_lyapunov(J.T, D)
    assert np.allclose(V.P, P, rtol=1e-8)
    # The same plant in other units of a state has the same V.
    assert (scale > 0).all()


def test_a_state_that_starts_nowhere_is_measured_by_the_domain() -> None:
    task = dataclasses.replace(pendulum(), initial=Uniform([0.0, -1.0], [0.0, 1.0]))
    V = lyapunov(task, LQR(task).law)
    J = ClosedLoop(task, LQR(task).law).enclose_jacobian(V.centre).jacobian.mid
    half = task.domain_bounds[1][0]
    assert np.allclose(V.P - J.T @ V.P @ J, np.diag([half**-2.0, 1.0]), rtol=1e-8)


def test_a_loop_that_is_not_attracted_has_none() -> None:
    task = pendulum()
    idle = SaturatedLinear(np.zeros((1, 2)), np.zeros(2), np.zeros(1), -np.ones(1), np.ones(1))
    with pytest.raises(NotApplicable, match="not attractive"):
        lyapunov(task, idle)


@pytest.mark.parametrize("make", [pytest.param(delay, marks=pytest.mark.slow), observer])
def test_a_cost_on_outputs_alone_is_no_obstacle(make) -> None:
    """The linear loop converges; its Riccati solution cannot show it."""
    task = make()
    law = LQR(task).law
    found = largest_level(task, law, lyapunov(task, law), box=None, budget=SearchLimits(50_000, 20))
    assert found.is_proved, found
    certificate, said = best_certificate(task, law, 10.0, None, False)
    assert certificate.is_proved
    assert certificate.level >= 0.9 * found.level
    assert "V:       the linearised loop's Lyapunov equation" in said
    share = proved_region(task, LQR(task), seconds=10.0)
    assert share == 1.0 or (make is observer and share is not None and share > 0.5)


def test_the_better_of_the_candidates_is_kept_and_named() -> None:
    task = pendulum()
    law = LQR(task).law
    certificate, said = best_certificate(task, law, 20.0, None, False)
    assert np.array_equal(certificate.V.P, riccati(task).P)  # type: ignore[attr-defined]
    assert "not tried: the linearised loop's Lyapunov equation, whose set is smaller even where samples end" in said
    assert "V:       the Riccati solution" in said
    half = np.sqrt(certificate.level * np.diag(np.linalg.inv(riccati(task).P)))
    printed = [
        float(part.split()[1]) for part in reach_line(certificate).split("reaches: ")[1].split(" from")[0].split(", ")
    ]
    assert (half <= printed).all()
    assert (printed <= 1.01 * half).all()
    loop = ClosedLoop(task, law)
    first, second = quadratics(loop, loop, rest_point(loop))
    assert first.volume >= second.volume > 0


def test_a_loop_with_an_equilibrium_of_its_own_has_two_candidates() -> None:
    task = pendulum()
    law = Network((-LQR(task).K,), (np.array([0.01]),), ("identity",))
    loop = ClosedLoop(task, law)
    rest = rest_point(loop)
    assert not rest.is_reference
    names = {candidate.name for candidate in quadratics(loop, loop, rest)}
    assert names == {"the linearised loop's Lyapunov equation", "the linearised loop's cost to go"}
    certificate, said = best_certificate(task, law, 10.0, None, False)
    assert certificate.is_proved
    assert "V:       the linearised loop's" in said


@pytest.mark.slow
def test_disturbed_claims_try_both() -> None:
    certificate, said = best_certificate(pendulum(), LQR(pendulum()).law, 10.0, None, False, disturbed=True)
    assert certificate.is_proved
    assert said.count("sampled: disturbances keep trajectories") == 2


def test_the_inner_level_of_a_disturbed_claim_allows_for_its_rate() -> None:
    """Where V must fall by a share, disturbances outweigh that in a larger set than they outweigh any fall."""
    task = pendulum()
    law, kappa = LQR(task).law, 1.0 - np.exp(-task.dt / 1.0)
    certificate, _ = best_certificate(task, law, 10.0, None, False, disturbed=True, kappa=kappa)
    assert certificate.is_proved
    assert certificate.inner < 0.25 * certificate.level
    assert certificate.time_constant <= 1.0 + 1e-9


# ---- where nothing is proved ----


@dataclass(frozen=True)
class Walk(Plant):
    """A level that nothing acts on, beside one that converges."""

    dt: float = 1.0

    state = signals("x", "rest")
    input = signals("u")

    def step(self, x, u, w):
        return (0.5 * x.x + 0 * u.u, x.rest)


def task_of(plant: Plant) -> Task:
    n = len(plant.state)
    return Task(
        name="t",
        plant=plant,
        dt=1.0,
        steps=10,
        cost=Quadratic(np.eye(n), np.eye(1)),
        initial=Uniform([-1] * n, [1] * n),
        domain=Box("d", dict.fromkeys(plant.state.names, (-5.0, 5.0))),
    )


def idle(n: int) -> SaturatedLinear:
    return SaturatedLinear(np.zeros((1, n)), np.zeros(n), np.zeros(1), -np.ones(1), np.ones(1))


def test_an_undecided_claim_says_why_and_what_to_try() -> None:
    walk = certify(task_of(Walk()), idle(2), QuadraticLyapunov(np.eye(2), np.zeros(2)), level=1.0)
    assert walk.kind is Kind.UNDECIDED
    assert "has an eigenvalue with a modulus of 1" in walk.reason
    assert "another law; or another plant, without the states that do not converge" in str(walk)
    slow = certify(delay(), LQR(delay()).law, riccati(delay()), level=1e-3)
    assert slow.reason == "this V does not decrease along the trajectories of the linearised loop"
    assert "  try         lyapunov(task, law), which does" in str(slow)
    x = ca.SX.sym("x", 2)
    flat = SymbolicLyapunov(ca.Function("V", [x], [x[0] ** 2 + x[1] ** 4]), np.zeros(2))
    halved = LinearPlant(0.5 * np.eye(2), np.zeros((2, 1)), dt=1.0)
    assert "not strictly convex" in certify(task_of(halved), idle(2), flat, level=0.5).reason
    hurried = certify(cartpole(), LQR(cartpole()).law, level=6.0, budget=SearchLimits(boxes=5000))
    assert "boxes undecided after" in hurried.reason
    assert "more seconds (SearchLimits(seconds=...), --seconds)" in hurried.advice
    for found in (walk, slow, hurried):
        assert found.boxes > 0, "parallelepipeds around the centre were examined"
        assert "effort      0 boxes" not in str(found)


@dataclass(frozen=True)
class Hidden(Plant):
    dt: float = 1.0

    state = signals("x")
    input = signals("u")

    def step(self, x, u, w):
        return (0.5 * x.x + 0 * u.u + ca.fmax(0, x.x - 3) * ca.log(x.x + 0.5),)


def test_points_at_which_numbers_may_not_exist_are_reported() -> None:
    found = certify(
        task_of(Hidden()), idle(1), QuadraticLyapunov(np.eye(1), np.zeros(1)), level=1.0, budget=SearchLimits(5000, 5)
    )
    assert found.kind is Kind.UNDECIDED
    assert "the closed loop may be undefined near x = [-" in found.reason
    assert "a domain that excludes this point" in found.advice


def test_a_missing_box_is_reported_in_words() -> None:
    task = pendulum()
    found = certify(task, LQR(task).law, QuadraticLyapunov(np.eye(2), np.array([0.3, 0.0])), level=1.0)
    assert found.kind is Kind.REFUSED
    assert found.boxes == 0
    assert "effort      no box was examined" in str(found)


def test_the_last_of_many_attempts_speaks_of_all() -> None:
    found = largest_level(delay(), LQR(delay()).law, riccati(delay()))
    assert found.kind is Kind.UNDECIDED
    assert found.reason.startswith("none of ")
    assert found.boxes >= 2 * 80
    assert "lyapunov(task, law), which does" in str(found)


@pytest.mark.slow
def test_a_level_is_proved_without_a_search_where_a_search_is_hopeless() -> None:
    """Twelve states: no budget cuts that into boxes, but a neighbourhood is settled at once."""
    n = 12
    A = 0.4 * np.eye(n) + 0.05 * np.diag(np.ones(n - 1), 1)

    @dataclass(frozen=True)
    class Long(Plant):
        dt: float = 1.0

        state = signals(*[f"x{i}" for i in range(n)])
        input = signals("u")

        def step(self, x, u, w):
            z = x.column
            return (
                ca.vertcat(*[(ca.SX(A) @ z)[i] + 0.3 * ca.sin(z[i]) ** 2 * z[(i + 5) % n] for i in range(n)]) + 0 * u.u
            )

    task = task_of(Long())
    law = idle(n)
    found = largest_level(task, law, lyapunov(task, law), budget=SearchLimits(2000, 20))
    assert found.is_proved, found
    assert found.level > 0
    assert certify(task, law, lyapunov(task, law), level=found.level, budget=SearchLimits(2000, 20)).is_proved


@pytest.mark.slow
def test_a_quaternion_is_proved_as_far_as_the_bounds_go() -> None:
    """Thirteen states, of which the cost does not see one: a small set, and words for what is not to be had."""
    task = quadrotor()
    law = LQR(task).law
    with pytest.raises(
        InvalidValue, match=r"its cost barely depends on qw, .* lyapunov\(task, law\), which weights every state"
    ):
        riccati(task)
    V = lyapunov(task, law)
    found = certify(task, law, V, level=5e-5, budget=SearchLimits(2000, 20))
    assert found.is_proved
    assert found.boxes == 1
    far = certify(task, law, V, level=1.0, budget=SearchLimits(500, 20))
    assert far.kind is Kind.UNDECIDED
    assert "boxes undecided" in far.reason


@dataclass(frozen=True)
class Spin(Plant):
    """Attitude as a unit complex number, without anything that draws its norm back to 1."""

    state = signals("c", "s", "rate")
    input = signals("torque")

    def ode(self, x, u, w):
        return (-x.s * x.rate, x.c * x.rate, u.torque)


def test_a_norm_that_nothing_restores_is_named() -> None:
    task = Task(
        name="spin",
        plant=Spin(),
        dt=0.1,
        steps=10,
        cost=Quadratic({"s": 1.0, "rate": 1.0}, {"torque": 1.0}),
        initial=Uniform({"c": 0.99, "s": -0.1}, {"c": 1.0, "s": 0.1}),
        reference=SetPoint({"c": 1.0}, [0.0]),
    )
    law = SaturatedLinear(np.array([[0.0, 1.0, 1.5]]), np.array([1.0, 0, 0]), np.zeros(1), [-1.0], [1.0])
    centre = np.array([1.0, 0.0, 0.0])
    J = ClosedLoop(task, law).enclose_jacobian(Interval.of(centre)).jacobian.mid
    P = np.eye(3)
    P[1:, 1:] = solve_discrete_lyapunov(J[1:, 1:].T, np.eye(2))
    found = certify(task, law, QuadraticLyapunov(0.5 * (P + P.T), centre), level=1e-4)
    assert found.kind is Kind.UNDECIDED
    assert "has an eigenvalue with a modulus of 1, expected less than 1" in found.reason
    assert "such as the norm of a quaternion" in found.advice
    with pytest.raises(NotApplicable, match="not attractive"):
        lyapunov(task, law)


# ---- comparisons ----


@pytest.mark.parametrize("make", [pendulum, pytest.param(delay, marks=pytest.mark.slow)])
def test_a_comparison_spends_on_a_proof_what_verify_does(make, monkeypatch: pytest.MonkeyPatch) -> None:
    """On every candidate: which of them succeeds is not known beforehand."""
    task = make()
    spent: dict[str, list[SearchLimits]] = {}

    def noted(name: str):
        def attempt(*given, budget: SearchLimits, **named):
            spent.setdefault(name, []).append(budget)
            return largest_level(*given, budget=SearchLimits(100, 1.0), **named)

        return attempt

    monkeypatch.setattr("ctrl.commands.proofs.largest_level", noted("verify"))
    monkeypatch.setattr("ctrl.certify.shares.largest_level", noted("compare"))
    best_certificate(task, LQR(task).law, 30.0, None, False)
    share = proved_region(task, LQR(task), seconds=30.0)
    # A share of 1 cannot grow, so no further candidate is tried.
    assert share == 1.0 or len(spent["compare"]) >= len(spent["verify"]) >= 1
    assert all(budget.seconds >= 30.0 and budget.boxes >= SearchLimits().boxes for budget in spent["compare"])


def test_a_comparison_says_what_was_not_tried() -> None:
    task = dataclasses.replace(pendulum(), steps=20)
    without = compare(task, {"lqr": LQR}, 4)
    assert "not tried" in " ".join(text(without).split())
    assert without.proved == {"lqr": None}
    tried = compare(task, {"lqr": LQR}, 4, proof=proved_region)
    assert "not tried" not in " ".join(text(tried).split())
    assert tried.proved["lqr"] == 1.0
    assert "100.0 %" in text(tried)
    nothing = compare(task, {"lqr": LQR}, 4, proof=lambda task, controller: 0.0)
    assert "RoA proved 0: nothing was proved within the time limit" in " ".join(text(nothing).split())
    nearly = compare(task, {"lqr": LQR}, 4, proof=lambda task, controller: 0.9999)
    assert "99.9 %" in text(nearly), "a lower bound is not rounded up"


@pytest.mark.slow
def test_a_reshaped_candidate_fills_more_of_its_box() -> None:
    """The set of the Riccati solution within the box, and the one that random search finds."""
    task, law = pendulum(), LQR(pendulum()).law
    loop, half = ClosedLoop(task, law), np.array([1.5, 1.5])
    box = -half, half
    first = riccati(task)
    V = reshaped(loop, first, box, rounds=300)
    again = reshaped(loop, first, box, rounds=300)
    assert np.array_equal(V.P, again.P)
    x = np.random.default_rng(9).uniform(*box, (20_000, 2))
    shares = [
        float((W(x) <= level).mean())
        for W, level in ((first, sampled_limit(loop, first, box=box).level), (V, sampled_limit(loop, V, box=box).level))
    ]
    assert shares[1] > 1.3 * shares[0]
    assert sampled_limit(loop, V, box=box).level > 0.9  # of samples that the search has not seen
    found = largest_level(task, law, V, budget=SearchLimits(200_000, 20), box=box)
    assert found.is_proved
    assert found.volume > 0.8 * shares[1] * 9.0


def test_a_reshaped_candidate_needs_a_box_and_samples() -> None:
    task, law = pendulum(), LQR(pendulum()).law
    with pytest.raises(NotApplicable, match="discrete time"):
        reshaped(ClosedLoop(task, law, True), riccati(task))
    with pytest.raises(InvalidValue, match="finite bounds"):
        reshaped(ClosedLoop(task, law), riccati(task), (np.array([-1.0, -np.inf]), np.ones(2)))
