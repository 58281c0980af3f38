"""Regions of attraction: what is proved holds, what does not hold is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import (
    Certificate,
    ClosedLoop,
    Kind,
    QuadraticLyapunov,
    SearchLimits,
    SymbolicLyapunov,
    certify,
    largest_level,
    proved_region,
    proved_share,
    riccati,
    sampled_limit,
)
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.figure import phase_portrait
from ctrl.certify.search.search import decreases
from ctrl.laws import Expression, SaturatedLinear
from ctrl.regulator import LQR
from systems import Box, Fixed, Gaussian, InvalidValue, LinearPlant, Quadratic, SetPoint, Task, Uniform, UnknownName
from systems.arithmetic.interval import Interval
from systems.library.pendulum import pendulum
from systems.library.van_der_pol import van_der_pol

TASK = pendulum()
LAW = LQR(TASK).law
V = riccati(TASK)
LIMIT = sampled_limit(ClosedLoop(TASK, LAW), V)


def linear(A: object, B: object, limit: float = np.inf, **fields: object) -> Task:
    plant = LinearPlant(np.array(A), np.array(B), dt=0.1, input_limits=((-limit, limit),) if np.isfinite(limit) else ())
    n, m = plant.B.shape
    start = Uniform(-np.ones(n), np.ones(n))
    task = Task("linear", plant, 0.1, 50, Quadratic(np.eye(n), np.eye(m)), start)
    return dataclasses.replace(task, **fields)  # type: ignore[arg-type]


DOUBLE_INTEGRATOR = ([[1.0, 0.1], [0.0, 1.0]], [[0.005], [0.1]])


def exactly_breaks(certificate: Certificate, x: np.ndarray) -> bool:
    """Whether V(f(x)) > (1 - kappa) V(x) at a point of the pendulum, in 300-bit balls, no code shared with ours."""
    flint = pytest.importorskip("flint")
    flint.ctx.prec = 300
    arb, plant = flint.arb, TASK.plant
    m, length, b, g = (arb(v) for v in (plant.mass, plant.length, plant.damping, plant.gravity))
    angle, rate = arb(float(x[0])), arb(float(x[1]))
    u = -(arb(LAW.K[0, 0]) * angle + arb(LAW.K[0, 1]) * rate)
    u = min(max(u, arb(-plant.max_torque)), arb(plant.max_torque))
    acceleration = g / length * angle.sin() + (u - b * rate) / (m * length**2)
    after = (angle + arb(TASK.dt) * rate, rate + arb(TASK.dt) * acceleration)

    def value(z: tuple[object, object]) -> object:
        P = certificate.V.P
        return sum(arb(P[i, j]) * z[i] * z[j] for i in range(2) for j in range(2))  # type: ignore[operator]

    before = value((angle, rate))
    growth = value(after) - before * (1 - arb(certificate.kappa))  # type: ignore[operator]
    assert before <= arb(certificate.level)  # type: ignore[operator]
    assert growth < 0 or growth > 0, "300 bits decide every point but the reference"
    return bool(growth > 0)


# ---- the pendulum ----


def test_the_pendulum_is_certified_up_to_its_sampled_limit() -> None:
    assert 23.3 < LIMIT.level < 23.45
    certificate = certify(TASK, LAW, V, 0.99 * LIMIT.level)
    assert certificate.kind is Kind.PROVED
    assert certificate.is_proved
    assert certificate.boxes <= 5000
    assert certificate.domain is None
    assert (certificate.core > 0.05).all()
    assert "decrease around it proved" in certificate.origin
    assert np.isclose(certificate.volume, np.pi * certificate.level / np.sqrt(np.linalg.det(V.P)))
    assert certify(TASK, LAW).level == pytest.approx(certificate.level, rel=1e-3)


def test_the_pendulum_is_refused_above_it_with_a_counterexample() -> None:
    certificate = certify(TASK, LAW, V, 1.01 * LIMIT.level)
    assert certificate.kind is Kind.REFUSED
    assert certificate.counterexample is not None
    assert exactly_breaks(certificate, certificate.counterexample)


def test_the_search_itself_finds_counterexamples() -> None:
    loop = ClosedLoop(TASK, LAW)
    for factor in (1.001, 1.01, 2.0):
        region = SublevelSet(V, factor * LIMIT.level, *loop.domain)
        result = decreases(Claim(loop, region), SearchLimits())
        assert result.kind is Kind.REFUSED
        assert result.boxes > 0
        assert result.counterexample is not None
        assert exactly_breaks(certify(TASK, LAW, V, factor * LIMIT.level), result.counterexample)


def test_nothing_is_found_inside_a_certified_set() -> None:
    certificate = certify(TASK, LAW, V, 0.999 * LIMIT.level)
    assert certificate.is_proved
    loop, rng = ClosedLoop(TASK, LAW), np.random.default_rng(0)
    root = np.linalg.inv(np.linalg.cholesky(V.P))

    def inside(z: np.ndarray) -> np.ndarray:
        """States from points of the plane, brought into the set where they lie outside."""
        return np.sqrt(certificate.level) * (z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1.0)) @ root

    def growth(z: np.ndarray) -> np.ndarray:
        x = inside(z)
        return V(loop(x)) / np.maximum(V(x), 1e-30) - 1.0

    z = rng.standard_normal((100_000, 2))
    z *= (rng.random((len(z), 1)) ** 0.5) / np.linalg.norm(z, axis=1, keepdims=True)
    assert growth(z).max() < 0
    z = z[np.argsort(growth(z))[-2000:]]
    for _ in range(100):  # projected ascent
        slope = np.stack([(growth(z + e) - growth(z - e)) / 2e-6 for e in 1e-6 * np.eye(2)], axis=1)
        z = z + 0.02 * slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)
        z /= np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1.0)
    assert growth(z).max() < 0
    x = inside(z)
    for _ in range(2000):
        x = loop(x)
    assert np.abs(x).max() < 1e-6


def test_arb_confirms_the_decrease_at_random_points() -> None:
    certificate = certify(TASK, LAW, V, 0.99 * LIMIT.level)
    rng = np.random.default_rng(1)
    z = rng.standard_normal((1000, 2))
    z *= 10.0 ** rng.uniform(-8, 0, (1000, 1)) / np.linalg.norm(z, axis=1, keepdims=True)
    x = np.sqrt(0.999999 * certificate.level) * z @ np.linalg.inv(np.linalg.cholesky(V.P))
    assert not any(exactly_breaks(certificate, point) for point in x)


def mutated(**fields: object) -> SaturatedLinear:
    return dataclasses.replace(LAW, **fields)  # type: ignore[arg-type]


MUTATIONS: dict[str, Callable[[float], Certificate]] = {
    "sign": lambda c: certify(TASK, mutated(K=-LAW.K), V, c),
    "weak gain": lambda c: certify(TASK, mutated(K=0.4 * LAW.K), V, c),
    "strong gain": lambda c: certify(TASK, mutated(K=4.0 * LAW.K), V, c),
    "no gain": lambda c: certify(TASK, mutated(K=0.0 * LAW.K), V, c),
    "swapped gains": lambda c: certify(TASK, mutated(K=LAW.K[:, ::-1]), V, c),
    "input offset": lambda c: certify(TASK, mutated(u_ref=[1e-6]), V, c),
    "state offset": lambda c: certify(TASK, mutated(x_ref=[1e-9, 0.0]), V, c),
    "weaker motor": lambda c: certify(TASK, mutated(lower=[-0.7], upper=[0.7]), V, c),
    "level": lambda c: certify(TASK, LAW, V, 1.03 * c),
    "slow sampling": lambda c: certify(dataclasses.replace(TASK, dt=0.2), LAW, V, c),
    "kappa": lambda c: certify(TASK, LAW, V, c, kappa=0.2),
    "other V": lambda c: certify(TASK, LAW, QuadraticLyapunov(np.eye(2), np.zeros(2)), c),
    "tilted V": lambda c: certify(TASK, LAW, QuadraticLyapunov(V.P * [[1, -1], [-1, 1]], np.zeros(2)), c),
    "heavier": lambda c: certify(
        dataclasses.replace(TASK, plant=dataclasses.replace(TASK.plant, mass=0.17)), LAW, V, c
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_is_refused(name: str) -> None:
    certificate = MUTATIONS[name](0.99 * LIMIT.level)
    assert certificate.kind is Kind.REFUSED, str(certificate)
    assert certificate.counterexample is not None
    assert certificate.reason
    assert "REFUSED" in str(certificate)
    with pytest.raises(InvalidValue):
        QuadraticLyapunov(-V.P, np.zeros(2))


def test_a_centre_beside_the_reference_is_refused() -> None:
    task = dataclasses.replace(TASK, reference=SetPoint([0.01, 0.0]))
    certificate = certify(task, LAW, V, 1.0)
    assert certificate.kind is Kind.REFUSED
    assert "reference" in certificate.reason
    moved = certify(TASK, LAW, QuadraticLyapunov(V.P, np.array([0.01, 0.0])), 1.0)
    assert moved.kind is Kind.REFUSED
    assert "is not an equilibrium" in moved.reason


def test_an_equilibrium_that_holds_only_to_rounding_is_enclosed() -> None:
    """No double is the rest position exactly; the proof is about the true one, proved to lie within rounding of it."""
    plant = TASK.plant
    angle = 0.3
    torque = -plant.mass * plant.gravity * plant.length * np.sin(angle)
    task = dataclasses.replace(TASK, reference=SetPoint([angle, 0.0], [torque]))
    certificate = certify(task, LQR(task).law)
    assert certificate.is_proved
    assert "one equilibrium, proved to lie within" in certificate.origin
    assert 0 < certificate.V.centre.width.max() < 1e-13
    assert certificate.V.centre.contains(np.array([angle, 0.0])).all() or (
        np.abs(certificate.V.middle - [angle, 0.0]).max() < 1e-12
    )
    off = dataclasses.replace(TASK, reference=SetPoint([angle, 0.0], [torque + 1e-6]))
    refused = certify(off, LQR(task).law, QuadraticLyapunov(V.P, np.array([angle, 0.0])), 0.1)
    assert refused.is_proved  # the law still holds the point; what the task calls its input does not matter
    pushed = SaturatedLinear(LAW.K, [angle, 0.0], [torque + 1e-6], LAW.lower, LAW.upper)
    refused = certify(off, pushed, QuadraticLyapunov(V.P, np.array([angle, 0.0])), 0.1)
    assert refused.kind is Kind.REFUSED
    assert "is not an equilibrium" in refused.reason


def test_too_small_a_budget_is_undecided() -> None:
    for budget in (SearchLimits(boxes=50), SearchLimits(seconds=0.0)):
        certificate = certify(TASK, LAW, V, 0.99 * LIMIT.level, budget=budget)
        assert certificate.kind is Kind.UNDECIDED
        assert "undecided" in certificate.reason
        assert proved_share(certificate, TASK) == 0.0


def test_the_largest_level_is_close_to_the_limit() -> None:
    certificate = largest_level(TASK, LAW)
    assert certificate.is_proved
    assert 0.995 * LIMIT.level < certificate.level < LIMIT.level


def test_a_law_given_as_an_expression() -> None:
    import casadi as ca

    x = ca.SX.sym("x", 2)
    law = Expression(ca.Function("u", [x], [0.75 * ca.tanh(-(1.4 * x[0] + 0.51 * x[1]) / 0.75)]))
    certificate = largest_level(TASK, law, V)
    assert certificate.is_proved
    assert certificate.level > 10


# ---- cutting the set to the domain ----


def test_a_set_cut_by_the_domain_must_not_leave_it() -> None:
    wide = dataclasses.replace(TASK, domain=Box("model", {"angle": (-0.94, 0.94), "rate": (-4.2, 4.2)}))
    certificate = certify(wide, LAW, V, 0.99 * LIMIT.level)
    assert certificate.is_proved
    assert certificate.domain is not None
    assert not certificate.contains(np.array([[0.0, 4.21]]))[0]
    # A narrow box in the angle is left by states that move outward fast, although V decreases there.
    narrow = dataclasses.replace(TASK, domain=Box("model", {"angle": (-0.3, 0.3)}))
    refused = certify(narrow, LAW, V, 0.99 * LIMIT.level)
    assert refused.kind is Kind.REFUSED
    assert refused.counterexample is not None
    after = ClosedLoop(narrow, LAW)(refused.counterexample)
    assert abs(refused.counterexample[0]) <= 0.3 < abs(after[0])


def test_the_search_itself_notices_states_that_leave_the_domain() -> None:
    narrow = dataclasses.replace(TASK, domain=Box("model", {"angle": (-0.3, 0.3)}))
    loop = ClosedLoop(narrow, LAW)
    result = decreases(Claim(loop, SublevelSet(V, 0.99 * LIMIT.level, *loop.domain)), SearchLimits())
    assert result.kind is Kind.REFUSED
    assert result.counterexample is not None
    assert abs(result.counterexample[0]) <= 0.3 < abs(loop(result.counterexample)[0])


def test_the_neighbourhood_of_the_reference_must_not_leave_the_domain_either() -> None:
    # A contracting quarter turn: one Jacobian shows decrease everywhere at once, yet (0.95, 0) goes to (0, 0.855).
    turn = linear([[0.0, -0.9], [0.9, 0.0]], [[0.0], [0.0]], domain=Box("flat", {"x1": (-1.0, 1.0), "x2": (-0.5, 0.5)}))
    loop = ClosedLoop(turn, SaturatedLinear(np.zeros((1, 2)), [0, 0], [0], [-1], [1]))
    ball = QuadraticLyapunov(np.eye(2), np.zeros(2))
    result = decreases(Claim(loop, SublevelSet(ball, 10.0, *loop.domain)), SearchLimits())
    assert result.kind is Kind.REFUSED
    assert decreases(Claim(loop, SublevelSet(ball, 0.249, *loop.domain)), SearchLimits()).kind is Kind.PROVED


# ---- linear plants, where the answer is known ----


def test_a_stable_linear_loop_is_proved_at_any_level() -> None:
    task = linear(*DOUBLE_INTEGRATOR)
    law = LQR(task).law
    for level in (1e-9, 1.0, 1e12):
        certificate = certify(task, law, level=level)
        assert certificate.is_proved
        assert certificate.boxes == 1


def test_the_decay_of_a_scalar_loop_is_met_exactly() -> None:
    task = linear([[0.5]], [[1.0]])
    idle, V = SaturatedLinear([[0.0]], [0], [0], [-1], [1]), QuadraticLyapunov([[1.0]], [0.0])
    # x+ = x / 2, so V falls by 3/4, neither more nor less.
    assert certify(task, idle, V, 1.0, kappa=0.75 - 1e-12).is_proved
    assert certify(task, idle, V, 1.0, kappa=0.75).kind is Kind.UNDECIDED
    assert certify(task, idle, V, 1.0, kappa=0.75 + 1e-12).kind is Kind.REFUSED


def test_an_unstable_linear_loop_is_refused_at_any_level() -> None:
    task = linear([[1.001, 0.0], [0.0, 0.5]], [[1.0], [1.0]])
    idle = SaturatedLinear(np.zeros((1, 2)), [0, 0], [0], [-1], [1])
    for level in (1e-9, 1.0, 1e9):
        certificate = certify(task, idle, QuadraticLyapunov(np.eye(2), np.zeros(2)), level)
        assert certificate.kind is Kind.REFUSED
        assert certificate.counterexample is not None
        x = [Fraction(v) for v in certificate.counterexample.tolist()]
        after = [Fraction(1.001) * x[0], Fraction(0.5) * x[1]]
        assert sum(v * v for v in after) > sum(v * v for v in x)


def test_a_loop_that_keeps_its_distance_is_neither_proved_nor_refused() -> None:
    task = linear(np.eye(2), np.zeros((2, 1)), reference=SetPoint())
    idle = SaturatedLinear(np.zeros((1, 2)), [0, 0], [0], [-1], [1])
    assert certify(task, idle, QuadraticLyapunov(np.eye(2), np.zeros(2)), 1.0).kind is Kind.UNDECIDED


def test_the_saturated_double_integrator() -> None:
    task = linear(*DOUBLE_INTEGRATOR, limit=1.0)
    law, V = LQR(task).law, riccati(task)
    limit = sampled_limit(ClosedLoop(task, law), V).level
    certificate = certify(task, law, V, 0.99 * limit)
    assert certificate.is_proved
    # Beyond the level at which the input saturates, or there would be nothing to prove.
    unsaturated = float((law.upper / np.sqrt(law.K @ np.linalg.solve(V.P, law.K.T)))[0, 0] ** 2)
    assert certificate.level > 1.2 * unsaturated
    assert certify(task, law, V, 1.01 * limit).kind is Kind.REFUSED


# ---- what is said of a certificate ----


def test_the_share_of_the_starts_is_a_lower_bound() -> None:
    certificate = certify(TASK, LAW, V, 0.99 * LIMIT.level)
    assert proved_share(certificate, TASK) == 1.0
    wide = dataclasses.replace(TASK, initial=Uniform([-1.5, -6.0], [1.5, 6.0]))
    share = proved_share(certificate, wide)
    assert 0.99 * certificate.volume / 36.0 < share <= certificate.volume / 36.0
    assert proved_share(certificate, dataclasses.replace(TASK, initial=Fixed([0.1, 0.0]))) == 1.0
    assert proved_share(certificate, dataclasses.replace(TASK, initial=Fixed([3.0, 0.0]))) == 0.0
    line = Uniform([-2 * 0.5, 0.0], [2 * 0.5, 0.0])  # without width in the rate
    half = np.sqrt(certificate.level / V.P[0, 0])
    assert 0.999 * half < proved_share(certificate, dataclasses.replace(TASK, initial=line)) <= half
    assert proved_share(certificate, dataclasses.replace(TASK, initial=Gaussian([0.01, 0.01]))) == 1.0


def test_membership_is_sound() -> None:
    certificate = certify(TASK, LAW, V, 0.99 * LIMIT.level)
    edge = np.sqrt(certificate.level / V.P[0, 0])
    assert certificate.contains(np.array([[0.0, 0.0], [edge * (1 - 1e-9), 0.0]])).all()
    assert not certificate.contains(np.array([[edge * (1 + 1e-9), 0.0], [np.nan, 0.0]])).any()


def test_the_sampled_limit_needs_a_bound() -> None:
    task = linear(*DOUBLE_INTEGRATOR, initial=Gaussian([1.0, 1.0]))
    law, V = LQR(task).law, riccati(task)
    with pytest.raises(InvalidValue, match="ceiling"):
        sampled_limit(ClosedLoop(task, law), V)
    found = sampled_limit(ClosedLoop(task, law), V, ceiling=7.0)
    assert found.violation is None
    assert found.level == 7.0


def test_misuse_is_refused() -> None:
    for controller in (LQR(TASK), LQR):
        with pytest.raises(InvalidValue, match=r"the law is LQR, a controller; give its control law, LQR\(task\).law"):
            certify(TASK, controller)
        with pytest.raises(InvalidValue, match=r"give its control law, LQR\(task\).law"):
            largest_level(TASK, controller)
    with pytest.raises(InvalidValue, match="expected a Task"):
        certify(TASK.plant, LAW)  # type: ignore[arg-type]
    for candidate in (np.eye(2), lambda x: x @ x, ca.Function("V", [X := ca.SX.sym("x", 2)], [ca.sumsqr(X)])):
        with pytest.raises(InvalidValue, match=r"QuadraticLyapunov\(P, centre\)"):
            certify(TASK, LAW, candidate, 1.0)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match=r"casadi\.Function"):
        SymbolicLyapunov(ca.sumsqr(X), np.zeros(2))  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match=r"expected an interval \(low, high\)"):
        certify(TASK, LAW, V, 1.0, uncertain={"mass": 0.1})  # type: ignore[dict-item]
    for level in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InvalidValue, match="level"):
            certify(TASK, LAW, V, level)
    with pytest.raises(InvalidValue, match="kappa"):
        certify(TASK, LAW, V, 1.0, kappa=1.0)
    with pytest.raises(InvalidValue, match="inputs"):
        certify(TASK, SaturatedLinear(np.zeros((2, 2)), [0, 0], [0, 0], [-1, -1], [1, 1]), V, 1.0)


def test_certificates_say_what_they_are() -> None:
    text = str(certify(TASK, LAW, V, 20.0))
    for part in (
        "PROVED",
        "without disturbance",
        "euler, 0.05 s",
        "rounded outward",
        "decrease around it proved",
        "angle [rad]",
    ):
        assert part in text


def test_the_figure_distinguishes_proof_from_hope() -> None:
    proved = certify(TASK, LAW, V, 0.99 * LIMIT.level)
    axes = phase_portrait(TASK, LAW, proved, LIMIT.level, grid=5).axes[0]
    label = {line.get_label(): line for line in axes.lines}
    assert label[f"proved: V <= {proved.level:.4g}"].get_linestyle() == "-"
    ring = np.column_stack(label[f"proved: V <= {proved.level:.4g}"].get_data())
    assert np.allclose(V(ring), proved.level)
    refused = certify(TASK, LAW, V, 1.5 * LIMIT.level)
    axes = phase_portrait(TASK, LAW, refused, grid=5).axes[0]
    label = {line.get_label(): line for line in axes.lines}
    assert label[f"refused: V <= {refused.level:.4g}"].get_linestyle() == "--"
    assert "counterexample" in label


def test_boxes_that_hold_are_inside() -> None:
    region = certify(TASK, LAW, V, 20.0).region
    rng = np.random.default_rng(5)
    middle, half = rng.uniform([-1, -4], [1, 4], (2000, 2)), rng.uniform(0, 0.2, (2000, 2))
    box = Interval(middle - half, middle + half)
    corners = np.stack(
        [np.stack([a, b], axis=1) for a in (box.lo[:, 0], box.hi[:, 0]) for b in (box.lo[:, 1], box.hi[:, 1])]
    )
    truly = (V(corners) <= region.level).all(axis=0)
    assert not (region.surely_holds(box) & ~truly).any()
    assert region.surely_holds(box).sum() > 0.5 * truly.sum()


def test_saturation_does_not_hide_where_a_law_is_undefined() -> None:
    """3 + sqrt(x + 1), clipped at 1, is constant wherever it is defined; at x = -1.1 it is no number."""
    plant = LinearPlant([[0.5]], [[1.0]], c=[-1.0], dt=1.0, input_limits=((-1.0, 1.0),))
    cost = Quadratic({"x1": 1.0}, {"u1": 1.0})
    task = Task("gap", plant, 1.0, 10, cost, Fixed(), reference=SetPoint(u={"u1": 1.0}))
    x = ca.SX.sym("x")
    law = Expression(ca.Function("law", [x], [3 + ca.sqrt(x + 1)]))
    V = QuadraticLyapunov(np.eye(1), np.zeros(1))
    assert certify(task, law, V, level=0.81).is_proved
    assert not certify(task, law, V, level=1.44).is_proved


def test_the_proof_is_about_the_plant_that_really_runs() -> None:
    task = pendulum()
    assert proved_region(task, LQR(task)) == 1.0
    heavy = task.with_truth(dataclasses.replace(task.plant, mass=3 * task.plant.mass))
    assert proved_region(heavy, LQR(heavy)) == 0.0
    weak = task.with_truth(dataclasses.replace(task.plant, max_torque=0.3))
    share = proved_region(weak, LQR(weak))
    assert share is not None
    assert 0.0 < share < 1.0


# ---- parameters known to intervals ----


@pytest.mark.slow
def test_a_claim_for_all_masses_holds_for_each() -> None:
    masses = (0.14, 0.16)
    certificate = largest_level(TASK, LAW, V, resolution=0.02, uncertain={"mass": masses})
    assert certificate.is_proved
    assert 0.2 * LIMIT.level < certificate.level < LIMIT.level
    assert "for every mass in [0.14, 0.16]" in certificate.claim
    rng = np.random.default_rng(8)
    z = rng.standard_normal((20_000, 2))
    z *= rng.random((len(z), 1)) ** 0.5 / np.linalg.norm(z, axis=1, keepdims=True)
    x = np.sqrt(certificate.level) * z @ np.linalg.inv(np.linalg.cholesky(V.P))
    for mass in np.linspace(*masses, 9):
        other = TASK.with_truth(dataclasses.replace(TASK.plant, mass=float(mass)))
        assert (V(ClosedLoop(other, LAW)(x)) < V(x)).all()
        assert certify(other, LAW, V, certificate.level).is_proved


def test_a_claim_that_fails_for_one_mass_is_not_proved() -> None:
    heavy = TASK.with_truth(dataclasses.replace(TASK.plant, mass=0.2))
    limit = sampled_limit(ClosedLoop(heavy, LAW), V).level
    assert limit < 0.9 * LIMIT.level
    level = 1.05 * limit
    assert certify(TASK, LAW, V, level).is_proved
    assert not certify(TASK, LAW, V, level, uncertain={"mass": (0.15, 0.2)}, budget=SearchLimits(50_000, 10)).is_proved


def test_uncertain_parameters_are_checked() -> None:
    with pytest.raises(InvalidValue, match="around its value"):
        certify(TASK, LAW, V, 1.0, uncertain={"mass": (0.2, 0.3)})
    with pytest.raises(UnknownName, match="mas"):
        certify(TASK, LAW, V, 1.0, uncertain={"mas": (0.1, 0.3)})
    with pytest.raises(InvalidValue, match="limits"):
        certify(TASK, LAW, V, 1.0, uncertain={"max_torque": (0.5, 0.8)})


def test_more_directions_than_states_are_no_obstacle() -> None:
    task = van_der_pol()
    assert largest_level(task, LQR(task).law).is_proved


@pytest.mark.parametrize(
    "budget",
    [SearchLimits(0), SearchLimits(-5), SearchLimits(2.5), SearchLimits(10, -1.0), SearchLimits(10, float("nan")), 10],
)
def test_budgets_that_mean_nothing_are_refused(budget) -> None:
    task = pendulum()
    with pytest.raises(InvalidValue, match=r"SearchLimits|budget"):
        certify(task, LQR(task).law, riccati(task), 0.1, budget=budget)


@pytest.mark.parametrize("decide", [certify, largest_level])
@pytest.mark.parametrize(
    ("argument", "values"),
    [
        (
            "box",
            ["x", 5, ([-1.0] * 2,), ([-1.0] * 2,) * 3, (["a", "b"], ["c", "d"]), ([0.0], [1.0]), ([1.0] * 2,) * 2],
        ),
        ("uncertain", [5, {"mass": ("a", "b")}, {"mass": 0.1}, {"mass": (1.0, 2.0, 3.0)}, {"mass": None}]),
        ("disturbance", [5, {"push": ("a", "b")}, {"push": (None, None)}, {"push": (True, True)}]),
        ("inner", ["a", -1.0, np.nan, [0.1]]),
        ("equilibrium", ["else", 3, None]),
        ("kappa", ["a", None, -0.1, np.nan, 1.0]),
        ("continuous", ["yes", None, 1]),
    ],
)
def test_arguments_of_another_kind_are_refused_by_name(decide: Any, argument: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(InvalidValue, match=argument):
            decide(TASK, LAW, V, budget=SearchLimits(boxes=1), **{argument: value})


def test_resolutions_and_levels_of_another_kind_are_refused_by_name() -> None:
    for value in ("a", 0.0, -1.0, 1.0, np.nan):
        with pytest.raises(InvalidValue, match="resolution"):
            largest_level(TASK, LAW, V, resolution=value)
    for value in ("a", True, [1.0]):
        with pytest.raises(InvalidValue, match="level"):
            certify(TASK, LAW, V, value)
