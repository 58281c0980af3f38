"""Boxes examined by torch: the same certificates, and the same refusals."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import ClosedLoop, Kind, SearchLimits, SymbolicLyapunov, certify, disturbances, riccati
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.files.file import read, save
from ctrl.certify.files.verification import recheck
from ctrl.certify.search.search import decreases
from ctrl.laws import Expression, Network
from ctrl.regulator import LQR
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum

pytest.importorskip("torch")

TASK = pendulum()
LAW = LQR(TASK).law
V = riccati(TASK)


def symbolic() -> SymbolicLyapunov:
    x = ca.SX.sym("x", 2)
    bowl = ca.bilin(ca.DM(V.P), x, x) + 0.1 * ca.tanh(x[0]) ** 2 + 1 - ca.cos(x[0])
    return SymbolicLyapunov(ca.Function("V", [x], [bowl]), np.zeros(2))


def network() -> Network:
    return Network((np.vstack([-LAW.K, -LAW.K]), np.array([[0.5, 0.5]])), (np.zeros(2), np.zeros(1)), ("tanh", "relu"))


CLAIMS: dict[str, dict[str, Any]] = {
    "quadratic": {"V": V, "level": 23.0, "kappa": 1e-4},
    "symbolic": {"V": symbolic(), "level": 10.0},
    "continuous": {"V": V, "level": 10.0, "continuous": True},
    "disturbed": {"V": V, "level": 20.0, "disturbance": disturbances(TASK), "inner": 0.05},
    "cut by a box": {"V": V, "level": 23.0, "box": (np.array([-1.0, -6.0]), np.array([1.0, 6.0]))},
}


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.every(3)
def test_claims_are_decided_alike(name: str, tmp_path: Any) -> None:
    ours = certify(TASK, LAW, **CLAIMS[name])
    there = certify(TASK, LAW, **CLAIMS[name], budget=SearchLimits(device="cpu"))
    assert ours.is_proved
    assert there.is_proved
    assert there.boxes <= 2 * ours.boxes
    stored = read(save(there, TASK, LAW, "pendulum", tmp_path / "p"), TASK)
    assert recheck(stored).holds  # by numpy


@pytest.mark.parametrize("law", [Expression(LAW.casadi), network()], ids=["expression", "network"])
def test_laws(law: Any) -> None:
    level = 20.0 if isinstance(law, Expression) else 1.0
    kinds = {certify(TASK, law, V, level, budget=SearchLimits(seconds=20.0, device=d)).kind for d in (None, "cpu")}
    assert len(kinds) == 1


@pytest.mark.slow
def test_four_states() -> None:
    task = cartpole()
    assert certify(task, LQR(task).law, level=1.0, budget=SearchLimits(device="cpu")).is_proved


def test_the_search_finds_counterexamples() -> None:
    loop = ClosedLoop(TASK, LAW)
    result = decreases(Claim(loop, SublevelSet(V, 24.0, *loop.domain)), SearchLimits(device="cpu"))
    assert result.kind is Kind.REFUSED
    assert result.counterexample is not None
    assert V(loop(result.counterexample)) > V(result.counterexample)


@pytest.mark.parametrize("term", ["log", "overflow"])
def test_what_is_undefined_is_not_proved_on_a_device_either(term: str) -> None:
    x = ca.SX.sym("x", 2)
    hidden = ca.log(x[0] - 5) if term == "log" else ca.exp(900 * (x[0] + 1))
    law = Expression(ca.Function("u", [x], [-ca.DM(LQR(TASK).K) @ x + ca.fmax(0, x[0] - 5) * hidden]))
    assert not certify(TASK, law, V, 5.0, budget=SearchLimits(3000, 20.0, "cpu")).is_proved


@pytest.mark.skipif(not __import__("torch").cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", CLAIMS)
def test_claims_are_decided_alike_by_a_gpu(name: str) -> None:
    assert certify(TASK, LAW, **CLAIMS[name], budget=SearchLimits(device="cuda")).is_proved
