"""Loops that rest beside the reference: where, proved; what is claimed of that point, and which claims are refused."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.hostile_files import forged
from ctrl.certify import (
    Certificate,
    ClosedLoop,
    Kind,
    QuadraticLyapunov,
    SearchLimits,
    certify,
    cost_to_go,
    largest_level,
    proved_region,
    rest_point,
    riccati,
    sampled_limit,
)
from ctrl.certify.files.audit import audit
from ctrl.certify.files.file import Contradiction, read, save
from ctrl.certify.files.verification import recheck
from ctrl.commands.proofs import best_certificate, verify_again
from ctrl.controller import NotApplicable
from ctrl.laws import Expression, Network, SaturatedLinear
from ctrl.regulator import LQR
from systems import LinearPlant, Quadratic, Task, Uniform
from systems.arithmetic.interval import Interval
from systems.library.double_integrator import double_integrator
from systems.library.pendulum import pendulum

TASK = pendulum()
LQR_LAW = LQR(TASK).law


def network(bias: float) -> Network:
    """About what a trained policy is: near the regulator, smooth, bounded, and not quite zero at the reference."""
    K = LQR(TASK).K / 0.75
    first = np.vstack([-K, -0.5 * K, 0.3 * K])
    return Network(
        (first, np.array([[0.7, 0.4, -0.3]]), np.array([[0.75]])),
        (np.array([0.0, 0.1, 0.2]), np.array([bias]), np.zeros(1)),
        ("tanh", "tanh", "identity"),
    )


LAW = network(-0.01)
LOOP = ClosedLoop(TASK, LAW)
REST = rest_point(LOOP)
V = cost_to_go(LOOP, REST)


@pytest.fixture(scope="module")
def proved() -> Certificate:
    return certify(TASK, LAW, equilibrium="own")


def linear_task(limit: float = 10.0) -> Task:
    plant = LinearPlant(
        np.array([[1.0, 0.125], [0.0, 1.0]]), np.array([[0.0], [0.125]]), dt=0.125, input_limits=((-limit, limit),)
    )
    return Task("linear", plant, 0.125, 50, Quadratic(np.eye(2), np.eye(1)), Uniform(-np.ones(2), np.ones(2)))


# ---- where the loop rests ----


@settings(max_examples=40)
@given(st.floats(-3.0, 3.0), st.floats(0.5, 3.0), st.floats(0.5, 3.0))
def test_the_rest_point_of_a_linear_loop_lies_in_its_box_exactly(bias: float, k1: float, k2: float) -> None:
    """At rest the speed is zero and k1 position = bias: rational numbers, which the box must hold."""
    law = SaturatedLinear(np.array([[k1, k2]]), np.zeros(2), np.array([bias]), [-10.0], [10.0])
    rest = rest_point(ClosedLoop(linear_task(), law))
    exact = Fraction(bias) / Fraction(k1)
    assert Fraction(rest.box.lo[0]) <= exact <= Fraction(rest.box.hi[0])
    assert rest.box.lo[1] <= 0.0 <= rest.box.hi[1]
    assert Fraction(rest.offset[0]) >= abs(exact)
    assert rest.box.width.max() <= 1e-9 * (1 + abs(bias / k1))
    assert rest.is_reference == (abs(exact) < 1e-8)


def test_the_rest_point_of_a_network_is_the_one_of_high_precision() -> None:
    """At rest the rate is zero and the torque holds the angle: one equation, solved in 300 bits."""
    flint = pytest.importorskip("flint")
    flint.ctx.prec = 300
    arb, plant = flint.arb, TASK.plant

    def torque(angle: object) -> object:
        z = [angle, arb(0)]
        for W, b, name in zip(LAW.weights, LAW.biases, LAW.activations, strict=True):
            z = [sum((arb(w) * a for w, a in zip(row, z, strict=True)), arb(c)) for row, c in zip(W, b, strict=True)]
            z = [a.tanh() if name == "tanh" else a for a in z]
        return z[0]

    def imbalance(angle: object) -> object:
        return arb(plant.mass) * arb(plant.gravity) * arb(plant.length) * angle.sin() + torque(angle)  # type: ignore[attr-defined]

    low, high = arb(REST.box.lo[0]), arb(REST.box.hi[0])
    assert (imbalance(low) > 0) != (imbalance(high) > 0)  # type: ignore[operator]
    assert REST.box.width.max() < 1e-12
    assert REST.box.lo[1] <= 0.0 <= REST.box.hi[1]
    assert not REST.is_reference
    assert 1e-3 < REST.offset[0] < 0.2


def test_a_regulator_rests_at_its_reference_exactly() -> None:
    rest = rest_point(ClosedLoop(TASK, LQR_LAW))
    assert rest.is_reference
    assert (rest.offset == 0).all()
    assert np.allclose(cost_to_go(ClosedLoop(TASK, LQR_LAW), rest).P, LQR(TASK).P, rtol=1e-9)


def test_loops_that_do_not_rest_say_so() -> None:
    push = SaturatedLinear(np.zeros((1, 2)), np.zeros(2), np.array([0.5]), [-1.0], [1.0])
    with pytest.raises(NotApplicable, match="no equilibrium of the closed loop was found"):
        rest_point(ClosedLoop(double_integrator(), push))
    x = ca.SX.sym("x", 2)
    cubic = Expression(ca.Function("cubic", [x], [-((x[0] - 0.5) ** 3) - x[1]]))  # the slope vanishes at rest
    with pytest.raises(NotApplicable, match="closed loop"):
        rest_point(ClosedLoop(double_integrator(), cubic))


def test_a_limit_cycle_is_named() -> None:
    """A steep law on the double integrator reacts a sample too late: it circles its rest point for ever."""
    task = double_integrator()
    steep = Network((np.array([[-8.0, -6.0]]) * 4,), (np.array([0.3]),), ("tanh",))
    rest = rest_point(ClosedLoop(task, steep))
    assert not rest.is_reference
    assert not rest.is_attractive
    assert rest.growth > 1
    with pytest.raises(NotApplicable, match=r"not attractive.*limit cycle.*train the law longer"):
        certify(task, steep, equilibrium="own")
    certificate = certify(task, steep, QuadraticLyapunov(riccati(task).P, rest.box), 0.01, equilibrium="own")
    assert not certificate.is_proved


# ---- claims ----


def test_the_claim_is_about_the_own_equilibrium(proved: Certificate) -> None:
    assert proved.is_proved, proved.reason
    assert proved.V.centre.contains(REST.box).all()
    assert not proved.is_at_reference
    assert (proved.offset >= REST.offset).all()
    assert proved.offset[0] < 1.001 * REST.offset[0]
    assert "the loop's own equilibrium" in proved.claim
    printed = float(proved.claim.split("within [")[1].split(",")[0])
    assert printed >= REST.offset[0], "a printed bound is a bound, too"
    rng = np.random.default_rng(0)
    x = proved.V.middle + rng.uniform(-1.5, 1.5, (4000, 2)) * [1.0, 4.0]
    x = x[proved.contains(x)]
    assert len(x) > 200
    levels = [proved.V(x)]
    for _ in range(2000):
        x = LOOP(x)
        levels.append(proved.V(x))
    assert (np.diff(levels[:200], axis=0) < 0).all()
    assert np.abs(x - REST.box.mid).max() < 1e-9
    assert np.abs(x).max() > 1e-3, "it is not the reference that they reach"


def test_claims_about_the_reference_are_refused_and_say_where_the_loop_rests() -> None:
    certificate = certify(TASK, LAW, riccati(TASK), 1.0)
    assert certificate.kind is Kind.REFUSED
    assert "the equilibrium of the loop is" in certificate.reason
    assert 'equilibrium="own"' in certificate.reason
    at_own = certify(TASK, LAW, V, 1.0)
    assert at_own.kind is Kind.REFUSED
    assert "the reference of the task is" in at_own.reason


@pytest.mark.parametrize("shift", [1e-8, 1e-6, 1e-3, -0.01])
@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, 1.0)])
def test_a_shifted_centre_is_refused(shift: float, direction: tuple[float, float]) -> None:
    moved = QuadraticLyapunov(V.P, REST.box + shift * np.array(direction))
    certificate = certify(TASK, LAW, moved, 1.0, equilibrium="own")
    assert certificate.kind is Kind.REFUSED
    assert "rest_point(loop)" in certificate.reason


def test_a_centre_known_too_poorly_is_refused() -> None:
    wide = QuadraticLyapunov(V.P, REST.box + Interval(-np.full(2, 1e-6), np.full(2, 1e-6)))
    assert not certify(TASK, LAW, wide, 1.0, equilibrium="own").is_proved


def test_a_box_without_the_equilibrium_proves_nothing() -> None:
    x = REST.box.mid
    for lower, upper in (
        (x + 0.01, x + 1.0),
        (x - 1.0, x - 1e-9),
        (np.array([x[0] + 1e-6, -1.0]), np.array([x[0] + 1.0, 1.0])),
    ):
        certificate = certify(TASK, LAW, V, 1.0, box=(lower, upper), equilibrium="own")
        assert not certificate.is_proved


def test_levels_beyond_the_sampled_limit_are_refused(proved: Certificate) -> None:
    limit = sampled_limit(LOOP, V).level
    assert proved.level > 0.98 * limit
    for factor in (1.02, 1.5, 3.0):
        certificate = certify(TASK, LAW, V, factor * limit, equilibrium="own")
        assert certificate.kind is Kind.REFUSED
        assert certificate.counterexample is not None


def test_a_worse_law_is_not_proved_by_another_laws_function(proved: Certificate) -> None:
    for bias in (-0.0101, 0.01, 0.0):
        assert not certify(TASK, network(bias), V, 1.0, equilibrium="own").is_proved
    flipped = dataclasses.replace(LAW, weights=(-LAW.weights[0], *LAW.weights[1:]))
    assert not certify(TASK, flipped, V, 1.0, equilibrium="own").is_proved


def test_parameters_may_be_uncertain_if_the_equilibrium_is_not() -> None:
    damped = certify(TASK, LAW, V, 10.0, equilibrium="own", uncertain={"damping": (0.095, 0.105)})
    assert damped.is_proved, damped.reason
    assert not certify(TASK, LAW, V, 1.0, equilibrium="own", uncertain={"mass": (0.149, 0.151)}).is_proved
    with pytest.raises(NotApplicable, match="uncertain parameter"):
        certify(TASK, LAW, equilibrium="own", uncertain={"mass": (0.149, 0.151)})


def test_continuous_time_and_the_largest_level() -> None:
    continuous = certify(TASK, LAW, continuous=True, equilibrium="own")
    assert continuous.is_proved, continuous.reason
    assert not continuous.is_at_reference
    assert "own equilibrium" in continuous.claim
    loop = ClosedLoop(TASK, LAW, continuous=True)
    A = rest_point(loop).slopes
    P = cost_to_go(loop).P
    assert np.linalg.eigvalsh(A.T @ P + P @ A).max() < 0
    best = largest_level(TASK, LAW, equilibrium="own", budget=SearchLimits(seconds=20), resolution=0.02)
    assert best.is_proved
    assert best.level > 0.9 * sampled_limit(LOOP, V).level


def test_a_comparison_counts_what_rests_within_the_tolerance() -> None:
    class Policy:
        def __init__(self, law: Network) -> None:
            self.law = law

    within = proved_region(TASK, Policy(LAW), seconds=10.0)  # type: ignore[arg-type]
    assert within is not None
    assert within > 0.5
    beyond = network(-0.16)
    assert rest_point(ClosedLoop(TASK, beyond)).offset[0] > TASK.arrival[0]
    assert proved_region(TASK, Policy(beyond), seconds=5.0) == 0.0  # type: ignore[arg-type]


# ---- files and the command line ----


def test_the_claim_survives_its_file(proved: Certificate, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(proved, TASK, LAW, "systems.library.pendulum:pendulum", tmp_path / "own")
    stored = read(path)
    found = recheck(stored)
    assert found.holds, found.reason
    assert audit(stored, found.low, found.high, points=60).failure is None
    assert verify_again(path, 20)
    assert "does not rest at the reference, but within angle" in capsys.readouterr().out


def test_tampered_files_do_not_pass(proved: Certificate, tmp_path: Path) -> None:
    path = save(proved, TASK, LAW, "systems.library.pendulum:pendulum", tmp_path / "own")
    content = json.loads(path.read_text())

    def judged(law: object = content["law"], **stated: object) -> bool:
        """Of a file with the words that its numbers come to, as a forger would write it."""
        changed = {**content, "law": law, "stated": {**content["stated"], **stated}}
        path.write_text(json.dumps(forged(changed, TASK)))
        return recheck(read(path, TASK)).holds

    assert judged()
    V, law = content["stated"]["V"], content["law"]
    assert not judged(V={**V, "centre": [[a + 1e-7 for a in end] for end in V["centre"]]})
    assert not judged(V={**V, "centre": [[0.0, 0.0], [0.0, 0.0]]}), "as if it were the reference"
    assert not judged(level=1.1 * proved.level)
    other = {**law, "biases": [[b + 1e-6 for b in layer] for layer in law["biases"]]}
    assert not judged(law=other), "its equilibrium is another one"
    at_most = content["claim"].index("within [") + len("within [")
    nearer = content["claim"][:at_most] + "0." + content["claim"][at_most:]
    path.write_text(json.dumps({**content, "claim": nearer}))
    with pytest.raises(Contradiction, match="the sentence does not match the numbers"):
        read(path, TASK)


def test_verify_says_by_how_much_the_loop_rests_beside() -> None:
    certificate, lines = best_certificate(TASK, LAW, 10.0, None, False)
    assert certificate.is_proved
    assert "does not rest at the reference, but within angle" in lines
    assert "cost to go" in lines
    at_reference, lines = best_certificate(TASK, LQR_LAW, 10.0, None, False)
    assert at_reference.is_at_reference
    assert "does not rest" not in lines


@pytest.mark.slow
def test_a_polynomial_is_fitted_around_the_own_equilibrium() -> None:
    certificate, _ = best_certificate(TASK, LAW, 20.0, 4, False)
    assert certificate.is_proved
    assert certificate.volume > best_certificate(TASK, LAW, 10.0, None, False)[0].volume
