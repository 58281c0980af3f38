"""Boxes examined by recorded functions: the same findings as numpy's, the same certificates, the same refusals."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
import pytest

from ctrl.certify import ClosedLoop, Kind, SearchLimits, SymbolicLyapunov, certify, disturbances, riccati
from ctrl.certify.bounds.examiner import Examiner, as_written, suspicious, violates
from ctrl.certify.bounds.frame import frames
from ctrl.certify.claims.claim import Claim
from ctrl.certify.files.file import read, save
from ctrl.certify.files.verification import recheck
from ctrl.certify.functions.neural import NeuralLyapunov
from ctrl.certify.search import search
from ctrl.laws import Expression, Network
from ctrl.regulator import LQR
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum
from systems.tape.recorded import Recorder

TASK = pendulum()
LAW = LQR(TASK).law
V = riccati(TASK)


def symbolic() -> SymbolicLyapunov:
    x = ca.SX.sym("x", 2)
    bowl = ca.bilin(ca.DM(V.P), x, x) + 0.1 * ca.tanh(x[0]) ** 2 + 1 - ca.cos(x[0])
    return SymbolicLyapunov(ca.Function("V", [x], [bowl]), np.zeros(2))


def neural() -> NeuralLyapunov:
    rng = np.random.default_rng(0)
    weights = (rng.normal(size=(4, 2)), rng.normal(size=(3, 4)))
    return NeuralLyapunov(
        weights, (rng.normal(size=4), rng.normal(size=3)), 0.3 * rng.normal(size=(2, 3)), V.P, V.centre
    )


def network() -> Network:
    return Network((np.vstack([-LAW.K, -LAW.K]), np.array([[0.5, 0.5]])), (np.zeros(2), np.zeros(1)), ("tanh", "relu"))


CLAIMS: dict[str, dict[str, Any]] = {
    "quadratic": {"V": V, "level": 23.0, "kappa": 1e-4},
    "symbolic": {"V": symbolic(), "level": 10.0},
    "continuous": {"V": V, "level": 10.0, "continuous": True},
    "continuous disturbed": {
        "V": V,
        "level": 10.0,
        "continuous": True,
        "disturbance": disturbances(TASK),
        "inner": 1.0,
    },
    "disturbed": {"V": V, "level": 20.0, "disturbance": disturbances(TASK), "inner": 0.05},
    "cut by a box": {"V": V, "level": 23.0, "box": (np.array([-1.0, -6.0]), np.array([1.0, 6.0]))},
    "uncertain": {"V": V, "level": 10.0, "uncertain": {"mass": (TASK.plant.mass, 1.02 * TASK.plant.mass)}},
}


def claim_of(V: Any, level: float, continuous: bool = False, law: Any = LAW, task: Any = TASK, **given: Any) -> Claim:
    loop = ClosedLoop(task, law, continuous, given.pop("uncertain", {}), given.pop("disturbance", {}))
    return Claim.about(loop, V, level, **given)


def boxes_of(claim: Claim, examiner: Examiner, boxes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of all sizes in and around the region."""
    rng = np.random.default_rng(seed)
    cover = examiner.cover()
    assert cover is not None
    low, high = cover
    middle = rng.uniform(1.2 * low, 1.2 * high, (boxes, len(low)))
    half = (high - low) * 2.0 ** -rng.integers(1, 14, (boxes, 1)) * rng.random((boxes, len(low)))
    return middle - half, middle + half


def compared(claim: Claim, recorder: Recorder) -> None:
    for frame in frames(claim.loop, claim.region.V):
        examiner = Examiner(claim, frame)
        low, high = boxes_of(claim, examiner, 600)
        core = np.zeros(low.shape[1])
        with np.errstate(all="ignore"):
            ours, reference = (examiner.examine(low, high, core, run) for run in (recorder, as_written))
        np.testing.assert_array_equal(ours.open, reference.open)
        np.testing.assert_allclose(ours.spread, reference.spread, rtol=1e-6, atol=1e-12)
        scale = np.abs(high - low).max()
        settled = ~reference.open
        assert settled.any()
        assert not settled.all()
        assert np.abs(ours.worst - reference.worst).max() <= 4 * scale
        np.testing.assert_allclose(ours.disturbance, reference.disturbance, atol=1e-6)


@pytest.mark.parametrize("name", CLAIMS)
def test_findings_are_numpys(name: str) -> None:
    recorder = Recorder()
    compared(claim_of(**CLAIMS[name]), recorder)
    assert all(recorder._recorded.values()), "all functions are recorded"


@pytest.mark.parametrize("law", [Expression(LAW.casadi), network()], ids=["expression", "network"])
def test_findings_of_other_laws_are_numpys(law: Any) -> None:
    recorder = Recorder()
    compared(claim_of(V, 8.0, law=law), recorder)
    assert all(recorder._recorded.values())


@pytest.mark.slow
def test_findings_of_a_neural_function_are_numpys() -> None:
    recorder = Recorder()
    compared(claim_of(neural(), 6.0), recorder)
    assert all(recorder._recorded.values())


@pytest.mark.slow
def test_findings_of_four_states_are_numpys() -> None:
    task = cartpole()
    compared(claim_of(riccati(task), 1.0, law=LQR(task).law, task=task), Recorder())


@pytest.mark.parametrize("name", CLAIMS)
@pytest.mark.every(3)
def test_certificates_are_numpys_and_are_verified_by_it(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = certify(TASK, LAW, **CLAIMS[name])
    used = []
    monkeypatch.setattr(search, "LONG", 0)
    monkeypatch.setattr("systems.tape.recorded.Recorder", lambda: used.append(Recorder()) or used[-1])
    ours = certify(TASK, LAW, **CLAIMS[name])
    assert used
    assert ours.is_proved
    assert ours.boxes == reference.boxes
    stored = read(save(ours, TASK, LAW, "pendulum", tmp_path / "p"), TASK)
    assert recheck(stored).holds


@pytest.mark.parametrize("term", ["log", "overflow"])
def test_what_is_undefined_is_not_proved(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LONG", 0)
    x = ca.SX.sym("x", 2)
    hidden = ca.log(x[0] - 5) if term == "log" else ca.exp(900 * (x[0] + 1))
    law = Expression(ca.Function("u", [x], [-ca.DM(LAW.K) @ x + ca.fmax(0, x[0] - 5) * hidden]))
    assert not certify(TASK, law, V, 5.0, budget=SearchLimits(3000, 20.0)).is_proved


def test_the_search_finds_counterexamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LONG", 0)
    loop = ClosedLoop(TASK, LAW)
    result = search.decreases(Claim.about(loop, V, 24.0), SearchLimits())
    assert result.kind is Kind.REFUSED
    assert result.counterexample is not None
    assert V(loop(result.counterexample)) > V(result.counterexample)


@pytest.mark.parametrize("name", CLAIMS)
def test_what_is_proved_to_violate_a_claim_is_suspicious(name: str) -> None:
    """At levels at which points violate it."""
    given = {**CLAIMS[name], "level": 200.0}
    claim = claim_of(**given)
    rng = np.random.default_rng(8)
    box = claim.loop.disturbance_box
    x = rng.normal(size=(3000, 2)) * np.array([1.5, 6.0])
    w = rng.uniform(box.lo, box.hi, (3000, box.shape[0]))
    proved, looks = violates(claim, x, w), suspicious(claim, x, w)
    assert proved.any()
    assert not (proved & ~looks).any()
    assert looks.sum() <= 1.2 * proved.sum() + 20
