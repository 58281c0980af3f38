"""What a certificate says is true of the set that was proved, and names it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import (
    Certificate,
    ClosedLoop,
    QuadraticLyapunov,
    SearchLimits,
    SymbolicLyapunov,
    certify,
    lyapunov,
)
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.sentences import sentence
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.files.file import read, save
from ctrl.certify.files.verification import recheck
from ctrl.commands.proofs import best_certificate, verify_again
from ctrl.laws import SaturatedLinear
from systems import Box, Plant, Quadratic, Task, Uniform, signals

ONE, ORIGIN = np.eye(1), np.zeros(1)
ZERO = SaturatedLinear(np.zeros((1, 1)), ORIGIN, ORIGIN, -np.ones(1), np.ones(1))
SQUARE = QuadraticLyapunov(ONE, ORIGIN)
X = ca.SX.sym("x", 1)
TWO = Quadratic(np.eye(2), np.eye(1))
IDLE = SaturatedLinear(np.zeros((1, 2)), np.zeros(2), np.zeros(1), -np.ones(1), np.ones(1))


@dataclass(frozen=True)
class Map(Plant):
    """x+ = 0.9 x up to |x| = 0.8, beyond which it grows."""

    dt: float = 1.0

    state = signals("x")
    input = signals("u")

    def step(self, x, u, w):
        return (0.9 * x.x + 2 * ca.fmax(0, x.x - 0.8) - 2 * ca.fmax(0, -x.x - 0.8) + 0 * u.u,)


@dataclass(frozen=True)
class Cubic(Plant):
    """x' = -x + x^3, which grows beyond |x| = 1."""

    state = signals("x")
    input = signals("u")

    def ode(self, x, u, w):
        return (-x.x + x.x**3 + 0 * u.u,)


def task(plant: Plant, low: float = -10.0, high: float = 10.0, **changes: Any) -> Task:
    return Task(
        name="t",
        plant=plant,
        dt=1.0,
        steps=50,
        cost=Quadratic({"x": 1.0}, {"u": 1.0}),
        initial=Uniform([-0.5], [0.5]),
        domain=Box("model", {"x": (low, high)}),
        **changes,
    )


def boxed(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array([low]), np.array([high])


def test_a_smaller_box_is_named() -> None:
    found = certify(task(Map()), ZERO, SQUARE, level=4.0, box=boxed(-0.7, 0.7))
    assert found.is_proved
    assert "V <= 4 within the box (x in [-0.7, 0.7]) stays there" in found.claim
    assert "domain" not in found.claim
    without = certify(replace(task(Map()), domain=None), ZERO, SQUARE, level=4.0, box=boxed(-0.7, 0.7))
    assert without.is_proved
    assert "within the box (x in [-0.7, 0.7])" in without.claim


def test_the_domain_is_named_where_it_cuts_and_as_far_as_it_does() -> None:
    found = certify(task(Map(), -0.7, 0.7), ZERO, SQUARE, level=4.0)
    assert found.is_proved
    assert "within the domain of the task (x in [-0.7, 0.7]) stays" in found.claim
    lower = certify(task(Map(), -0.7, 10.0), ZERO, SQUARE, level=0.5)
    assert lower.is_proved
    assert "within the domain of the task (x >= -0.7) stays" in lower.claim
    upper = certify(task(Map(), -10.0, 0.6), ZERO, SQUARE, level=0.5)
    assert "within the domain of the task (x <= 0.6) stays" in upper.claim
    whole = certify(task(Map()), ZERO, SQUARE, level=0.5)
    assert whole.is_proved
    assert "V <= 0.5 stays there" in whole.claim


def test_a_set_that_reaches_beyond_the_domain_says_so() -> None:
    beyond = certify(task(Map(), -0.3, 10.0), ZERO, SQUARE, level=0.5, box=boxed(-2.0, 2.0))
    assert beyond.is_proved
    assert "V <= 0.5, a set that reaches beyond the domain of the task in x, stays" in beyond.claim
    cut = certify(task(Map(), -0.3, 0.3), ZERO, SQUARE, level=0.5, box=boxed(-0.6, 0.2))
    assert cut.is_proved
    assert (
        "within the box (x in [-0.6, 0.2]), a set that reaches beyond the domain of the task in x, stays" in cut.claim
    )
    inside = certify(task(Map(), -0.3, 0.3), ZERO, SQUARE, level=0.04, box=boxed(-0.6, 0.6))
    assert inside.is_proved
    assert "beyond" not in inside.claim


@pytest.mark.parametrize("level", [0.123456789, 0.5, 0.0999999999, 1.23456789e-7, 0.25])
def test_no_level_is_rounded_up(level: float) -> None:
    found = certify(task(Map()), ZERO, SQUARE, level=level)
    printed = re.search(r"V <= (\S+) ", found.claim)
    assert printed is not None
    assert level * (1 - 2e-5) < float(printed[1]) <= level


@pytest.mark.parametrize("inner", [0.123456789, 0.0123455001])
def test_no_inner_level_is_rounded_down(inner: float) -> None:
    pushed = replace(task(Map()), plant=Pushed(), initial=Uniform([-1, -1], [1, 1]), domain=None, cost=TWO)
    region = SublevelSet(QuadraticLyapunov(np.eye(2), np.zeros(2)), 1.0, np.full(2, -9.0), np.full(2, 9.0), inner)
    claim = Claim(ClosedLoop(pushed, IDLE, disturbance={"w": (-1.0, 1.0)}), region)
    printed = float(sentence(claim).split("comes to V <= ")[1].split(" ")[0])
    assert inner <= printed < inner * (1 + 2e-5)


def test_the_correction_of_a_candidate_is_stated() -> None:
    cubic = task(Cubic(), -1.3, 1.3)

    def claimed(W: ca.SX, level: float) -> Certificate:
        return certify(cubic, ZERO, SymbolicLyapunov(ca.Function("V", [X], [W]), ORIGIN), level, continuous=True)

    plain = claimed(X**2, 0.5)
    assert plain.is_proved
    assert "where V" not in plain.claim
    shifted = claimed(X**2 - 1, 0.5)
    assert shifted.is_proved
    assert "V <= 0.5, where V(x) = W(x) + 1.0 + [-0.0]'(x - c) with W the function given" in shifted.claim
    tilted = claimed(X**2 + 10 * X, 0.5)
    assert tilted.is_proved
    assert "V(x) = W(x) + -0.0 + [-10.0]'(x - c)" in tilted.claim
    hardly = claimed(X**2 + 1e-13, 0.5)
    assert "where V" not in hardly.claim


def test_a_file_shown_again_names_the_same_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where nothing but one side of one state is bounded, which JSON has no number for."""
    home = tmp_path / "home.py"
    home.write_text(
        "import numpy as np\n"
        "from systems import Box, LinearPlant, Quadratic, Task, Uniform\n"
        "A = np.array([[0.9, 0.1], [0.0, 0.8]])\n"
        "plant = LinearPlant(A, np.array([[0.0], [1.0]]), dt=1.0, input_limits=((-1.0, 1.0),))\n"
        "task = Task('t', plant, 1.0, 20, Quadratic(np.eye(2), np.eye(1)), Uniform([-1, -1], [1, 1]),\n"
        "            domain=Box('d', {'x1': (-np.inf, 0.5)}))\n"
    )
    from ctrl.discovery import load_task

    source = f"{home}:task"
    half = load_task(source)
    law = SaturatedLinear(np.zeros((1, 2)), np.zeros(2), np.zeros(1), -np.ones(1), np.ones(1))
    proved = certify(half, law, QuadraticLyapunov(np.diag([1.0, 4.0]), np.zeros(2)), level=1.0)
    assert proved.is_proved, proved
    assert "within the domain of the task (x1 <= 0.5)" in proved.claim
    path = save(proved, half, law, source, tmp_path / "claim")
    stored = read(path, half)
    assert stored.claim.region.lower.tolist() == [-np.inf, -np.inf]
    assert stored.claim.region.upper.tolist() == [0.5, np.inf]
    assert recheck(stored).holds
    assert verify_again(path, 50, half)
    assert "within the domain of the task (x1 <= 0.5)" in capsys.readouterr().out


@dataclass(frozen=True)
class Pushed(Plant):
    dt: float = 1.0

    state = signals("x", "y")
    input = signals("u")
    disturbance = signals("v", "w")

    def step(self, x, u, w):
        return (0.5 * x.x + 0.1 * x.y + 0.1 * w.v + 0 * u.u, 0.4 * x.y + 0.1 * w.w)


@pytest.mark.parametrize("bounds", [{"x": (-0.5, 0.5)}, {"y": (-0.4, 10.0)}, {"x": (-1.0, 0.9), "y": (-0.3, 0.6)}])
@pytest.mark.every(3)
def test_a_disturbed_claim_that_the_domain_cuts(bounds: dict[str, tuple[float, float]]) -> None:
    pushed = Task(
        name="pushed",
        plant=Pushed(),
        dt=1.0,
        steps=20,
        cost=Quadratic(np.eye(2), np.eye(1)),
        initial=Uniform([-1, -1], [1, 1]),
        disturbance=Uniform([-1, -1], [1, 1]),
        domain=Box("d", bounds),
    )
    law = SaturatedLinear(np.zeros((1, 2)), np.zeros(2), np.zeros(1), -np.ones(1), np.ones(1))
    W = {"v": (-1.0, 1.0), "w": (-1.0, 1.0)}
    V = QuadraticLyapunov(np.eye(2), np.zeros(2))
    proved = certify(pushed, law, V, level=1.0, disturbance=W, inner=0.2, budget=SearchLimits(100_000, 20))
    assert proved.is_proved, proved
    assert "within the domain of the task" in proved.claim
    found, _ = best_certificate(pushed, law, 5.0, None, False, disturbed=True)
    assert found.is_proved, found


@dataclass(frozen=True)
class Sheared(Plant):
    """x+ = 0.9 x + a y, y+ = 0.9 y."""

    a: float = 0.5
    dt: float = 1.0

    state = signals("x", "y")
    input = signals("u")

    def step(self, x, u, w):
        return 0.9 * x.x + self.a * x.y + 0 * u.u, 0.9 * x.y


def test_the_advice_for_an_uncertain_parameter_is_followed_with_success() -> None:
    sheared = Task("t", Sheared(), 1.0, 50, TWO, Uniform([-1.0] * 2, [1.0] * 2))
    V, box = lyapunov(sheared, IDLE), (-np.ones(2), np.ones(2))
    wide = certify(sheared, IDLE, V, 0.1, box=box, uncertain={"a": (0.1, 0.9)})
    assert not wide.is_proved
    assert "narrower intervals of a," in wide.advice
    assert certify(sheared, IDLE, V, 0.1, box=box, uncertain={"a": (0.48, 0.52)}).is_proved
    assert "narrower" not in certify(sheared, IDLE, V, 0.1, box=box, kappa=0.18).advice
