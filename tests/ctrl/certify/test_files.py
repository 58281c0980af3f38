"""Certificates as files: what is read is what was proved, and what was tampered with does not pass."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import casadi as ca
import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov

from benchmarks.hostile_files import check, judged
from ctrl.certify import ClosedLoop, Kind, QuadraticLyapunov, certify, disturbances, riccati
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.subdivision import Subdivision
from ctrl.certify.files.audit import audit
from ctrl.certify.files.content import plain
from ctrl.certify.files.file import Contradiction, StoredClaim, read, save
from ctrl.certify.files.verification import recheck
from ctrl.commands import proofs as command
from ctrl.laws import Expression, Network
from ctrl.laws.lattice import Lattice, MaxMin
from ctrl.laws.law import Law
from ctrl.regulator import LQR
from systems import Box, InvalidValue, SetPoint, Task
from systems.files import FileError
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum
from systems.library.quadrotor import quadrotor_error_coordinates
from systems.library.van_der_pol import van_der_pol_reversed
from tests.ctrl.certify.forged import forged

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
    assert stored.claim.region.level == certificate.level
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
    moved = dataclasses.replace(
        stored.claim.region, V=stored.claim.region.V.centred_at(stored.claim.region.V.centre + 1e-6)
    )
    assert not recheck(forged(stored, region=moved)).holds


def test_what_was_tampered_with_does_not_pass(tmp_path: Path) -> None:
    stored = read(save(certify(TASK, LQR_LAW, level=22.0), TASK, LQR_LAW, "pendulum", tmp_path / "p"), TASK)
    proof, region = stored.proof, stored.claim.region
    cut = proof.axis.copy()
    cut[proof.left[0]] = -1  # a half of the whole is declared settled
    for fake in (
        forged(stored, proof=dataclasses.replace(proof, axis=cut)),
        forged(stored, proof=dataclasses.replace(proof, low=0.9 * proof.low)),
        forged(stored, proof=dataclasses.replace(proof, core=20 * proof.core)),
        forged(stored, proof=dataclasses.replace(proof, T=0.5 * proof.T)),
        forged(stored, proof=dataclasses.replace(proof, left=np.zeros_like(proof.left))),
        forged(stored, proof=dataclasses.replace(proof, axis=proof.axis + 5)),
        forged(stored, region=dataclasses.replace(region, level=24.0)),
        forged(stored, kappa=0.5),
        forged(stored, region=dataclasses.replace(region, level=float("nan"))),
    ):
        assert not recheck(fake).holds


def test_arb_finds_what_is_wrong(tmp_path: Path) -> None:
    """The audit is no rubber stamp: told that a larger set was proved, it finds a point that refutes it."""
    stored = read(save(certify(TASK, LQR_LAW, level=22.0), TASK, LQR_LAW, "pendulum", tmp_path / "p"), TASK)
    wide = forged(stored, region=dataclasses.replace(stored.claim.region, level=60.0))
    reach = np.array([[1.5, 7.0]])
    looked = audit(wide, -reach, reach, points=3000)
    assert looked.failure is not None


def test_the_audit_of_an_ellipsoid_in_twelve_states_looks_inside() -> None:
    """Of the box around it, one point of three thousand would lie in the set."""
    task = quadrotor_error_coordinates()
    claim = Claim.about(ClosedLoop(task, LQR(task).law), QuadraticLyapunov(LQR(task).P, np.zeros(12)), 0.01)
    one, none = np.ones(12), np.zeros(1, dtype=int)
    stored = StoredClaim(claim, Subdivision(np.eye(12), one, -one, one, none - 1, none, none))
    low, high = stored.proof.leaves()
    looked = audit(stored, low, high, points=3)
    assert looked.failure is None
    assert looked.relevant == 3
    assert audit(forged(stored, kappa=0.9), low, high, points=1).failure is not None


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    certificate = certify(TASK, LQR_LAW, level=22.0)
    path = save(certificate, TASK, LQR_LAW, "pendulum", tmp_path / "p")
    heavier: Task = dataclasses.replace(TASK, plant=dataclasses.replace(TASK.plant, mass=0.2))
    with pytest.raises(FileError, match=r"its task .* differs from .*: plant\.mass is 0\.15, expected 0\.2"):
        read(path, heavier)
    refused = certify(TASK, LQR_LAW, level=30.0)
    assert refused.kind is Kind.REFUSED
    with pytest.raises(InvalidValue, match="not proved"):
        save(refused, TASK, LQR_LAW, "pendulum", tmp_path / "r")
    with pytest.raises(InvalidValue, match=r"does not match the given task and law: law is 'the saturated linear law'"):
        save(certificate, TASK, network(), "pendulum", tmp_path / "r")
    with pytest.raises(InvalidValue, match="does not match the given task and law: dynamics is"):
        save(certificate, dataclasses.replace(TASK, dt=0.01), LQR_LAW, "pendulum", tmp_path / "r")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p.json"]


def test_formats_are_read_or_refused_by_name(tmp_path: Path) -> None:
    path = save(certify(TASK, LQR_LAW, level=22.0), TASK, LQR_LAW, "pendulum", tmp_path / "p")
    content = json.loads(path.read_text())
    for number, way in ((2, "re-create it with trivium verify"), (99, "read it with the release that wrote it")):
        path.write_text(json.dumps({**content, "format": number}))
        with pytest.raises(
            FileError, match=rf"p\.json: a certificate of format {number}; this release reads format 3; {way}"
        ):
            read(path, TASK)
    for other in (
        {},
        [],
        3,
        {"format": "3"},
        {"format": 3},
        {"kind": "table", "format": 3},
        {**content, "format": True},
    ):
        path.write_text(json.dumps(other))
        with pytest.raises(FileError, match=r"p\.json: .*expected"):
            read(path, TASK)
    for data in (b"\xff\x00", b"", b"[1", path.read_bytes()[:-2] * 2):
        path.write_bytes(data)
        with pytest.raises(FileError, match="not the JSON that was expected"):
            read(path, TASK)
    with pytest.raises(FileError, match=r"none\.json: cannot be read: No such file"):
        read(tmp_path / "none.json", TASK)
    with pytest.raises(FileError, match="it is a folder"):
        read(tmp_path, TASK)


# ---- what a stranger may write ----


def altered(tmp_path: Path, path: Path, *place: Any, to: Any) -> Path:
    """The same file with one part replaced."""
    content = json.loads(path.read_text())
    at = content
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = to
    (tmp_path / "altered.json").write_text(json.dumps(content))
    return tmp_path / "altered.json"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    return save(certify(TASK, LQR_LAW, level=22.0), TASK, LQR_LAW, "pendulum", folder / "p")


@pytest.mark.parametrize("place", [("law",), ("stated", "V")])
def test_a_file_runs_no_code(
    tmp_path: Path, good: Path, place: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A serialised function of CasADi may compile itself with a shell's words, or load a library by its path."""
    monkeypatch.chdir(tmp_path)
    x = ca.SX.sym("x", 2)
    function = ca.Function("f", [x], [x[0] ** 2]).serialize()
    centre = {} if place == ("law",) else {"centre": [[0.0, 0.0], [0.0, 0.0]]}
    for part in ({"function": function}, {"program": function}, {"program": {"function": function}}):
        with pytest.raises(Contradiction, match="not a valid certificate"):
            read(altered(tmp_path, good, *place, to={"kind": "expression", **part, **centre}), TASK)
    assert [path.name for path in tmp_path.iterdir()] == ["altered.json"]


def test_nothing_of_the_verifier_deserialises() -> None:
    """The one list of what turns data into code or objects, and where it may stand."""
    words = (
        "deserialize",
        "pickle.load",
        "torch.load",
        "np.load(",
        "ca.external",
        "eval(",
        "exec(",
        "import_module",
        "yaml",
    )
    allowed = {
        ("ctrl/discovery.py", "import_module"),  # names that the user types
        ("ctrl/realtime/worker.py", "pickle.load"),  # the controller, from the process that started this one
        ("mpc/solvers/acados_install.py", "import_module"),  # acados_template of the acados that the user installed
        ("systems/envs/model.py", "import_module"),  # numpy or torch
        ("systems/measured_history.py", "import_module"),  # numpy or torch
        ("systems/lowering/c_backend.py", "ca.external"),  # what was compiled here, by its checksum
        ("systems/lowering/emit.py", "exec("),  # text of its own templates and of numbers
    }
    root = Path(__file__).parents[3]
    found = {
        (str(path.relative_to(root)), word)
        for package in ("systems", "ctrl", "mpc", "safe_rl")
        for path in (root / package).rglob("*.py")
        for word in words
        if any(
            word in line and ".eval()" not in line and "def eval" not in line for line in path.read_text().splitlines()
        )
    }
    assert found == allowed


JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    1e308,
    5e-324,
    10**39,
    "x",
    "inf",
    [],
    [[]],
    {},
    [[1.0, 2.0], [3.0, 4.0]],
    "0" * 500,
]
STATED = "level kappa inner dt domain uncertain disturbance reference state task law dynamics V"
PLACES: list[tuple[Any, ...]] = [
    *(("stated", name) for name in STATED.split()),
    *(("stated", "V", *rest) for rest in (("P",), ("P", 0), ("centre",), ("centre", 0), ("kind",))),
    *(("law", *rest) for rest in ((), ("kind",), ("K",), ("K", 0), ("K", 0, 0), ("x_ref",), ("lower",), ("upper", 0))),
    *(("proof", *rest) for rest in ((), ("T",), ("T", 0), ("core",), ("low",), ("high", 0), ("halvings",))),
    *(("claim",), ("stated",), ("task",), ("task", "content")),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
@pytest.mark.every(2)
def test_every_part_is_refused_or_leads_to_no_false_claim(tmp_path: Path, good: Path, place: tuple[Any, ...]) -> None:
    for junk in JUNK:
        path = altered(tmp_path, good, *place, to=junk)
        if json.loads(path.read_text()) == json.loads(good.read_text()):
            continue
        answer, why = judged(lambda path: check(path, TASK), path)
        assert answer != "fault", (place, junk, why)


@pytest.mark.parametrize(
    "halvings",
    ["", "0", "0.", "...", "..0", "0..0", "2..", "00..", "0.0..0...", "é..", "0." * 3000 + "."],
)
def test_halvings_that_form_no_tree_are_refused(tmp_path: Path, good: Path, halvings: str) -> None:
    with pytest.raises(Contradiction, match="halv"):
        read(altered(tmp_path, good, "proof", "halvings", to=halvings), TASK)


def test_a_box_has_its_ends_in_order(tmp_path: Path, good: Path) -> None:
    proof = json.loads(good.read_text())["proof"]
    beyond = {
        "core": [-a for a in proof["core"]],
        "low": [a + 1 for a in proof["high"]],
        "high": [a - 1 for a in proof["low"]],
    }
    for part, value in beyond.items():
        with pytest.raises(Contradiction, match="low > high"):
            read(altered(tmp_path, good, "proof", part, to=value), TASK)


def test_halvings_come_back_as_they_were(good: Path) -> None:
    certificate = certify(TASK, LQR_LAW, level=22.0)
    assert certificate.proof is not None
    ours, theirs = certificate.proof.leaves(), read(good, TASK).proof.leaves()
    assert len(ours[0]) > 100
    order, again = (np.lexsort(np.hstack(leaves).T) for leaves in (ours, theirs))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a[order], b[again])


def test_more_than_memory_and_patience_allow_is_refused(tmp_path: Path, good: Path) -> None:
    wide = {
        "kind": "network",
        "weights": [[[0.0, 0.0]] * 200_000],
        "biases": [[0.0] * 200_000],
        "activations": ["relu"],
    }
    terms = {"A": [[0.0, 0.0]] * 2, "b": [0.0, 0.0], "terms": [[0] * 300_000, [1]]}
    for law, reason in ((wide, "400,000 weights"), ({"kind": "lattice", "inputs": [terms]}, "at most 500,000")):
        with pytest.raises(Contradiction, match=reason):
            read(altered(tmp_path, good, "law", to=law), TASK)


def test_the_end_of_the_time_limit_is_reported(good: Path) -> None:
    found = recheck(read(good, TASK), seconds=0.0)
    assert not found.holds
    assert "time limit reached with 0 of" in found.reason
    assert found.certificate is None


def test_no_more_boxes_at_once_than_memory_holds(tmp_path: Path, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide law is examined in fewer boxes at a time."""
    seen = []

    def noted(claim: Any, proof: Any, seconds: float, chunk: int) -> Any:
        seen.append(chunk)
        return False, "not asked", proof.low[None], proof.high[None]

    monkeypatch.setattr("ctrl.certify.files.verification.holds_again", noted)
    K = LQR(TASK).K[0]
    for law in (
        LQR_LAW,
        Lattice((MaxMin(np.tile(-K, (100, 1)), np.zeros(100), tuple(tuple(range(100)) for _ in range(150))),)),
        Network((np.tile(-K / 300, (300, 1)), np.ones((1, 300))), (np.zeros(300), np.zeros(1)), ("tanh", "identity")),
    ):
        recheck(forged(read(good, TASK), loop=ClosedLoop(TASK, law)))
    assert seen[0] == 4096
    assert all(1 <= chunk < 2000 for chunk in seen[1:])


def test_an_audit_ends_in_time(good: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def slow(*given: Any, **named: Any) -> Any:
        time.sleep(0.2)
        return audit(*given, **named)

    monkeypatch.setattr(command, "audit", slow)
    monkeypatch.setattr(command, "_LEAST_AUDIT", 0.3)
    assert command.verify_again(good, 100_000, TASK, 0.3)
    assert "of 20 looked at" in capsys.readouterr().out


def test_a_law_that_squares_without_end_does_not_hang(tmp_path: Path, good: Path) -> None:
    """In rational arithmetic forty squarings of 0.3 would fill the memory."""
    program: list[list[Any]] = [["input", 0, 0, 0], ["add", "0x1.3333333333333p-2", 0]]
    program += [["sq", k] for k in range(1, 41)]
    data = {"name": "u", "inputs": [["x", [2]]], "outputs": [["u", [1]]], "instructions": program, "entries": [[41]]}
    content = json.loads(good.read_text())
    content["law"] = {"kind": "expression", "program": data}
    content["stated"]["law"] = "the expression law"
    content["claim"] = content["claim"].replace("the saturated linear law", "the expression law")
    (tmp_path / "p.json").write_text(json.dumps(content))
    assert not recheck(read(tmp_path / "p.json", TASK)).holds


# ---- what is shown is what was claimed ----

BOXED = dataclasses.replace(TASK, domain=Box("some", {"rate": (-4.0, 4.0)}))
CLAIMS: dict[str, tuple[Task, dict[str, Any]]] = {
    "plain": (TASK, {"level": 22.0}),
    "a domain that bounds some states": (BOXED, {"level": 22.0}),
    "a box": (TASK, {"level": 22.0, "box": (np.array([-np.inf, -4.0]), np.array([np.inf, 4.0]))}),
    "uncertain": (TASK, {"level": 15.0, "uncertain": {"mass": (0.149, 0.151), "gravity": (9.8, 9.82)}}),
    "disturbed": (TASK, {"level": 20.0, "disturbance": disturbances(TASK), "inner": 0.05}),
    "continuous": (TASK, {"level": 10.0, "continuous": True, "kappa": 1e-3}),
    "discrete, kappa": (TASK, {"level": 10.0, "kappa": 1e-3}),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_every_field_of_the_claim_comes_back(tmp_path: Path, name: str) -> None:
    task, claim = CLAIMS[name]
    certificate = certify(task, LQR_LAW, **claim)
    assert certificate.is_proved, certificate.reason
    path = save(certificate, task, LQR_LAW, name, tmp_path / "p")
    json.loads(path.read_text(), parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    found = recheck(read(path, task))
    assert found.holds, found.reason
    assert found.certificate is not None
    assert found.certificate.claim == certificate.claim
    for field in certificate.claimed.stated:
        ours, theirs = (plain(getattr(c, field)) for c in (certificate, found.certificate))
        assert ours == theirs, field


def test_a_lattice_survives_its_file(tmp_path: Path) -> None:
    K = LQR(TASK).K
    law = Lattice((MaxMin(np.vstack([-K, 0 * K, 0 * K]), np.array([0.0, 0.75, -0.75]), ((0, 1), (2,))),))
    stored = read(save(certify(TASK, law, riccati(TASK), 20.0), TASK, law, "pendulum", tmp_path / "p"), TASK)
    found = recheck(stored)
    assert found.holds, found.reason
    x = np.random.default_rng(0).normal(size=(50, 2))
    np.testing.assert_array_equal(stored.claim.loop.law(x), law(x))


def test_objects_without_a_form_in_files_are_reported(tmp_path: Path) -> None:
    class Other(Law):
        def __call__(self, x: np.ndarray) -> np.ndarray:
            return LQR_LAW(x)

        def enclose(self, x: Any) -> Any:
            return LQR_LAW.enclose(x)

        def enclose_jacobian(self, x: Any) -> Any:
            return LQR_LAW.enclose_jacobian(x)

        @property
        def casadi(self) -> ca.Function:
            return LQR_LAW.casadi

        def exact(self, x: Any) -> Any:
            return LQR_LAW.exact(x)

    law = Other()
    with pytest.raises(InvalidValue, match="Other cannot be stored in a file; write it as an Expression"):
        save(certify(TASK, law, level=10.0), TASK, law, "pendulum", tmp_path / "p")
    assert not list(tmp_path.iterdir())
