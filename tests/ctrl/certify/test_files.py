"""Certificates as files: what is read is what was proved, and what was tampered with does not pass."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov

from ctrl.certify import Kind, QuadraticLyapunov, certify, riccati
from ctrl.certify.audit import audit
from ctrl.certify.files import read, recheck, save
from ctrl.laws import Expression, Network
from ctrl.laws.law import Law
from ctrl.regulator import LQR
from systems import InvalidValue, SetPoint, Task
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum
from systems.library.van_der_pol import van_der_pol_reversed

TASK = pendulum()
LQR_LAW = LQR(TASK).law


def network() -> Network:
    K = LQR(TASK).K
    first, biases = np.vstack([-K, -K]), (np.array([0.75, -0.75]), np.array([-0.75]))
    return Network((first, np.array([[1.0, -1.0]])), biases, ("relu", "identity"))


@pytest.mark.parametrize(
    "law", [LQR_LAW, network(), Expression(LQR_LAW.casadi)], ids=["linear", "network", "expression"]
)
def test_a_certificate_survives_its_file(tmp_path: Path, law: Law) -> None:
    certificate = certify(TASK, law, riccati(TASK), 22.0)
    path = save(certificate, TASK, law, "pendulum", tmp_path / "pendulum")
    stored = read(path, TASK)
    assert stored.region.level == certificate.level
    found = recheck(stored)
    assert found.holds, found.reason
    looked = audit(stored, found.low, found.high, points=100)
    assert looked.failure is None
    assert looked.relevant > 10


def test_continuous_time_and_four_states(tmp_path: Path) -> None:
    oscillator = van_der_pol_reversed()
    P = solve_continuous_lyapunov(np.array([[0.0, 1.0], [-1.0, -1.0]]), -np.eye(2))
    V, idle = QuadraticLyapunov((P + P.T) / 2, np.zeros(2)), LQR(oscillator).law
    for task, law, claim in (
        (oscillator, idle, certify(oscillator, idle, V, 2.29, continuous=True)),
        (cartpole(), LQR(cartpole()).law, certify(cartpole(), LQR(cartpole()).law, level=1.0)),
    ):
        stored = read(save(claim, task, law, task.name, tmp_path / task.name), task)
        found = recheck(stored)
        assert found.holds, found.reason
        assert audit(stored, found.low, found.high, points=60).failure is None


def test_an_enclosed_equilibrium_survives(tmp_path: Path) -> None:
    torque = -TASK.plant.mass * TASK.plant.gravity * TASK.plant.length * np.sin(0.3)
    task = dataclasses.replace(TASK, reference=SetPoint([0.3, 0.0], [torque]))
    law = LQR(task).law
    stored = read(save(certify(task, law), task, law, "pendulum", tmp_path / "off"), task)
    assert recheck(stored).holds
    moved = dataclasses.replace(stored.region, V=stored.region.V.centred_at(stored.region.V.centre + 1e-6))
    assert not recheck(dataclasses.replace(stored, region=moved)).holds


def test_what_was_tampered_with_does_not_pass(tmp_path: Path) -> None:
    stored = read(save(certify(TASK, LQR_LAW, level=22.0), TASK, LQR_LAW, "pendulum", tmp_path / "p"), TASK)
    proof, region = stored.proof, stored.region
    cut = proof.axis.copy()
    cut[proof.left[0]] = -1  # a half of the whole is declared settled
    for fake in (
        dataclasses.replace(stored, proof=dataclasses.replace(proof, axis=cut)),
        dataclasses.replace(stored, proof=dataclasses.replace(proof, low=0.9 * proof.low)),
        dataclasses.replace(stored, proof=dataclasses.replace(proof, core=20 * proof.core)),
        dataclasses.replace(stored, proof=dataclasses.replace(proof, T=0.5 * proof.T)),
        dataclasses.replace(stored, proof=dataclasses.replace(proof, left=np.zeros_like(proof.left))),
        dataclasses.replace(stored, proof=dataclasses.replace(proof, axis=proof.axis + 5)),
        dataclasses.replace(stored, region=dataclasses.replace(region, level=24.0)),
        dataclasses.replace(stored, kappa=0.5),
        dataclasses.replace(stored, region=dataclasses.replace(region, level=float("nan"))),
    ):
        assert not recheck(fake).holds


def test_arb_finds_what_is_wrong(tmp_path: Path) -> None:
    """The audit is no rubber stamp: told that a larger set was proved, it finds a point that refutes it."""
    stored = read(save(certify(TASK, LQR_LAW, level=22.0), TASK, LQR_LAW, "pendulum", tmp_path / "p"), TASK)
    wide = dataclasses.replace(stored, region=dataclasses.replace(stored.region, level=60.0))
    reach = np.array([[1.5, 7.0]])
    looked = audit(wide, -reach, reach, points=3000)
    assert looked.failure is not None


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    certificate = certify(TASK, LQR_LAW, level=22.0)
    path = save(certificate, TASK, LQR_LAW, "pendulum", tmp_path / "p")
    heavier: Task = dataclasses.replace(TASK, plant=dataclasses.replace(TASK.plant, mass=0.2))
    with pytest.raises(InvalidValue, match="not what"):
        read(path, heavier)
    refused = certify(TASK, LQR_LAW, level=30.0)
    assert refused.kind is Kind.REFUSED
    with pytest.raises(InvalidValue, match="not proved"):
        save(refused, TASK, LQR_LAW, "pendulum", tmp_path / "r")
    content = json.loads(path.read_text())
    (tmp_path / "p.json").write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(InvalidValue, match="format"):
        read(path, TASK)
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(InvalidValue, match="no certificate"):
        read(path, TASK)
    for level in ("much", None):
        (tmp_path / "p.json").write_text(json.dumps({**content, "level": level}))
        with pytest.raises(InvalidValue, match="no certificate"):
            read(path, TASK)
    (tmp_path / "p.json").write_bytes(b"\xff\x00")
    with pytest.raises(InvalidValue, match="no certificate"):
        read(path, TASK)


def test_arrays_that_are_missing_or_damaged_are_told(tmp_path: Path) -> None:
    path = save(certify(TASK, LQR_LAW, level=22.0), TASK, LQR_LAW, "pendulum", tmp_path / "p")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.json", "p.npz"]  # nothing is left of the writing
    arrays = path.with_suffix(".npz")
    for damaged in (arrays.read_bytes()[:100], b"", b"no arrays"):
        arrays.write_bytes(damaged)
        with pytest.raises(InvalidValue, match="no certificate"):
            read(path, TASK)
    arrays.unlink()
    with pytest.raises(InvalidValue, match=r"p\.npz cannot be read: No such file"):
        read(path, TASK)
    with pytest.raises(InvalidValue, match="cannot be read"):
        read(tmp_path, TASK)
