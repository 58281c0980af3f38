"""A claim is made once, decided, and held by its certificate."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

from ctrl.certify import Certificate, Claim, ClosedLoop, Kind, SearchLimits, certify, disturbances, largest_level, prove
from ctrl.certify.files.file import Contradiction, read, save
from ctrl.laws import Expression
from ctrl.regulator import LQR
from systems.library.pendulum import pendulum

TASK = pendulum()
LAW = LQR(TASK).law
ATTRIBUTES = (
    "kind task law V reference level kappa state domain task_domain dynamics dt uncertain boxes seconds cpu volume "
    "origin rounding core counterexample reason advice proof disturbance inner is_proved region offset "
    "is_at_reference claim"
)


@pytest.fixture(scope="module")
def proved() -> Certificate:
    return certify(TASK, LAW, level=10.0)


def test_a_claim_with_all_left_open_is_that_of_certify(proved: Certificate) -> None:
    loop = ClosedLoop(TASK, LAW)
    certificate = prove(Claim.about(loop, level=10.0), SearchLimits())
    assert certificate.kind is Kind.PROVED
    assert certificate.claimed.loop is loop
    assert (certificate.level, certificate.boxes, certificate.volume) == (10.0, proved.boxes, proved.volume)


def test_a_certificate_answers_for_its_claim(proved: Certificate) -> None:
    for name in ATTRIBUTES.split():
        getattr(proved, name)
    assert (proved.task, proved.level, proved.kappa, proved.inner) == ("pendulum", 10.0, 0.0, 0.0)
    assert proved.law == "the saturated linear law"
    assert proved.contains(np.zeros(2))


@pytest.mark.parametrize("law", [LAW, Expression(LAW.casadi)], ids=["saturated", "expression"])
def test_a_certificate_can_be_copied_and_pickled(law: LQR) -> None:
    proved = certify(TASK, law, level=10.0)
    for other in (copy.deepcopy(proved), pickle.loads(pickle.dumps(proved))):
        assert str(other) == str(proved)
        assert prove(other.claimed, SearchLimits()).boxes == proved.boxes


def test_one_loop_serves_all_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    made, check = [], ClosedLoop.__post_init__

    def counted(self: ClosedLoop) -> None:
        made.append(self)
        check(self)

    monkeypatch.setattr(ClosedLoop, "__post_init__", counted)
    assert largest_level(TASK, LAW, budget=SearchLimits(20_000, 60.0), resolution=0.02).is_proved
    assert len(made) == 1


def test_files_with_the_former_words_are_read(tmp_path: Path) -> None:
    disturbed = certify(TASK, LAW, level=20.0, disturbance=disturbances(TASK), inner=0.05)
    path = save(disturbed, TASK, LAW, "pendulum", tmp_path / "disturbed")
    text = path.read_text()
    assert "in finite time, for all future time, under" in text
    path.write_text(text.replace("for all future time", "for good"))
    assert read(path, TASK).claim.region.inner == 0.05
    path.write_text(text.replace("for all future time", "for a while"))
    with pytest.raises(Contradiction, match="its words are not those of its numbers"):
        read(path, TASK)
