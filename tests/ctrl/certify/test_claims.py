"""A claim is made once, decided, and held by its certificate."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ctrl.certify import (
    Certificate,
    Claim,
    ClosedLoop,
    Kind,
    QuadraticLyapunov,
    SearchLimits,
    certify,
    disturbances,
    largest_level,
    prove,
)
from ctrl.certify.files.file import Contradiction, read, save
from ctrl.controller import NotApplicable
from ctrl.laws import Expression, SaturatedLinear
from ctrl.regulator import LQR
from systems import Box, Fixed, Plant, Quadratic, Task, know_ahead, signals
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
    with pytest.raises(Contradiction, match="the sentence does not match the numbers"):
        read(path, TASK)


def test_a_truth_whose_signals_are_known_ahead_alone_is_not_proved() -> None:
    """x+ = x/2 + d, where the series of d is 5 in what runs, and 0 for a proof that leaves it out."""

    @dataclass(frozen=True)
    class Pushed(Plant):
        dt: float = 1.0
        state, input, disturbance = signals("x"), signals("u"), signals("d")

        def step(self, x, u, w):
            return (0.5 * x.x + u.u + w.d,)

    @dataclass(frozen=True)
    class Nominal(Plant):
        dt: float = 1.0
        state, input, disturbance = signals("x", "d"), signals("u"), signals("d_next")

        def step(self, x, u, w):
            return 0.5 * x.x + u.u + x.d, w.d_next

    box = Box("model", {"x": (-9.0, 9.0)})
    inner = Task("pushed", Pushed(), 1.0, 5, Quadratic([1.0], [1.0]), Fixed([0.5]), domain=box)
    known = know_ahead(inner, signals("d"), {"d": np.full(6, 5.0)})
    nominal = Task("pushed", Nominal(), 1.0, 5, Quadratic([1.0, 1.0], [1.0]), Fixed([0.5, 0.0]), domain=box)
    V = QuadraticLyapunov(np.diag([1.0, 10.0]), np.zeros(2))
    law = SaturatedLinear(np.zeros((1, 2)), np.zeros(2), *np.zeros((3, 1)))
    assert certify(nominal, law, V, level=1.0).is_proved
    with pytest.raises(NotApplicable, match="signals that are known ahead"):
        certify(dataclasses.replace(nominal, truth=known.plant), law, V, level=1.0)
