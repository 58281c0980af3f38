"""The largest level out of one search: as high as bisection's, proved as it stands, and verified from its file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ctrl.certify import ClosedLoop, QuadraticLyapunov, SearchLimits, certify, disturbances, largest_level, riccati
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.result import Kind, SearchResult
from ctrl.certify.files.file import read, save
from ctrl.certify.files.verification import holds_again, recheck
from ctrl.certify.search import levels, rising
from ctrl.certify.search.border import holds_at_border
from ctrl.certify.search.rising import highest
from ctrl.certify.search.search import decreases
from ctrl.regulator import LQR
from systems.library.pendulum import pendulum
from systems.tape.recorded import Recorder

TASK = pendulum()
LAW = LQR(TASK).law
V = riccati(TASK)
LIMITS = SearchLimits(200_000, 60.0)


def claim_at(level: float, **given: Any) -> Claim:
    return Claim.about(ClosedLoop(TASK, LAW), V, level, **given)


@pytest.fixture(scope="module")
def high() -> tuple[Claim, Any]:
    """Started far above what holds."""
    found = highest(claim_at(40.0), LIMITS, 2e-3)
    assert found[1].kind is Kind.PROVED
    return found


def test_the_level_is_the_highest_that_holds(high: tuple[Claim, Any]) -> None:
    claim, result = high
    assert decreases(claim, LIMITS).kind is Kind.PROVED
    higher = replace(claim, region=replace(claim.region, level=1.01 * claim.region.level))
    assert decreases(higher, SearchLimits(4 * result.boxes, 60.0)).kind is not Kind.PROVED


def test_its_halvings_are_a_proof_at_that_level_alone(high: tuple[Claim, Any]) -> None:
    claim, result = high
    shown, reason, low, _ = holds_again(claim, result.proof)
    assert shown, reason
    assert len(low) <= result.boxes
    higher = replace(claim, region=replace(claim.region, level=1.05 * claim.region.level))
    assert not holds_again(higher, result.proof)[0]


def test_a_search_takes_little_more_than_the_proof_of_its_level() -> None:
    found = highest(claim_at(20.0), LIMITS, 2e-3)
    assert found[1].kind is Kind.PROVED
    assert found[0].region.level == pytest.approx(20.0, rel=1e-8)
    assert found[1].boxes <= 1.5 * decreases(claim_at(20.0), LIMITS).boxes


def test_recorded_functions_find_the_same(high: tuple[Claim, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    monkeypatch.setattr(rising, "LONG", 0)
    monkeypatch.setattr("systems.tape.recorded.Recorder", lambda: used.append(Recorder()) or used[-1])
    claim, result = highest(claim_at(40.0), LIMITS, 2e-3)
    assert used
    assert claim.region.level == pytest.approx(high[0].region.level, rel=1e-9)
    assert result.boxes == high[1].boxes


def test_what_is_proved_grows_with_the_limit() -> None:
    """A search that is cut short proves the level below which nothing is open."""
    shares = [0.0]
    for boxes in (10, 800, 2000, 200_000):
        found = highest(claim_at(40.0), SearchLimits(boxes, 60.0), 2e-3)
        if found[1].kind is Kind.PROVED:
            shares.append(found[0].region.level)
            assert holds_again(found[0], found[1].proof)[0]
            assert found[1].boxes <= boxes + 4096  # what is begun is examined
    assert len(shares) > 2
    assert shares == sorted(shares)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"kappa": 1e-3},
        {"continuous": True},
        {"box": (np.array([-0.5, -3.0]), np.array([0.5, 3.0]))},
        {"disturbance": disturbances(TASK), "inner": 0.05},
    ],
    ids=["plain", "rate", "continuous", "cut", "disturbed"],
)
@pytest.mark.every(3)
def test_levels_are_those_of_bisection_and_survive_their_files(
    given: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = largest_level(TASK, LAW, V, resolution=1e-2, budget=LIMITS, **given)
    assert ours.is_proved
    stored = read(save(ours, TASK, LAW, "pendulum", tmp_path / "p"), TASK)
    assert recheck(stored).holds
    monkeypatch.setattr(levels, "_by_one_search", lambda *_: None)
    bisected = largest_level(TASK, LAW, V, resolution=1e-2, budget=LIMITS, **given)
    assert ours.level >= 0.98 * bisected.level
    assert certify(TASK, LAW, V, ours.level, budget=LIMITS, **given).is_proved


def test_nothing_is_proved_of_a_loop_that_diverges() -> None:
    diverging = type(LAW)(-LAW.K, LAW.x_ref, LAW.u_ref, LAW.lower, LAW.upper)
    claim = Claim.about(ClosedLoop(TASK, diverging), V, 1.0)
    assert highest(claim, SearchLimits(5000, 20.0), 2e-3)[1].kind is Kind.UNDECIDED
    assert not largest_level(TASK, diverging, V, budget=SearchLimits(5000, 20.0)).is_proved


def test_a_set_that_the_box_does_not_cut_needs_no_images_in_it() -> None:
    """The search goes on from the largest of these where it ends below."""
    wide = QuadraticLyapunov(np.diag([1.0, 1.0]), np.zeros(2))
    claim = Claim.about(ClosedLoop(TASK, LAW), wide, 5.0, box=(np.array([-1.0, -1.0]), np.array([1.0, 1.0])))
    whole = rising._largest_whole(claim)
    assert 0.999 < whole.region.level <= 1.0
    assert whole.region.is_whole


def test_what_the_first_search_proved_outlives_a_second_that_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = QuadraticLyapunov(np.diag([1.0, 1.0]), np.zeros(2))
    claim = Claim.about(ClosedLoop(TASK, LAW), wide, 5.0, box=(np.array([-1.0, -1.0]), np.array([1.0, 1.0])))
    low = replace(claim, region=replace(claim.region, level=0.1))
    outcomes = iter([(low, SearchResult(Kind.PROVED, np.ones(2), 7)), None])

    def found(claim: Claim, *_: Any) -> tuple[Claim, SearchResult]:
        return next(outcomes) or (claim, SearchResult(Kind.UNDECIDED, np.zeros(2), 11))

    monkeypatch.setattr(rising, "_highest", found)
    best, result = highest(claim, LIMITS, 2e-3)
    assert (best, result.kind, result.boxes) == (low, Kind.PROVED, 18)


def test_the_border_is_looked_at_of_the_set_that_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    """V is centred at the equilibrium, known to rounding, after the claim is made; the set moves with it."""
    looked: list[Claim] = []

    def holds(claim: Claim, limits: SearchLimits) -> tuple[int, str]:
        looked.append(claim)
        return holds_at_border(claim, limits)

    monkeypatch.setattr(levels, "holds_at_border", holds)
    law = type(LAW)(LAW.K, LAW.x_ref, LAW.u_ref + 0.01, LAW.lower, LAW.upper)
    box = (np.array([-0.3, -2.0]), np.array([0.3, 2.0]))
    found = largest_level(TASK, law, box=box, continuous=True, equilibrium="own", budget=SearchLimits(20_000, 20.0))
    assert found.is_proved
    assert found.domain is not None
    assert looked[-1].region.V is found.V
    assert looked[-1].region.level >= found.level


def test_boxes_that_cannot_be_halved_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rising, "halved", lambda *_: None)
    assert highest(claim_at(20.0), LIMITS, 2e-3)[1].kind is Kind.UNDECIDED


def test_no_level_below_the_inner_one_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = ClosedLoop(TASK, LAW, disturbance=disturbances(TASK))
    claim = Claim.about(loop, V, 20.0, inner=0.5)
    monkeypatch.setattr(rising._Rising, "proved", property(lambda search: 0.4))
    assert highest(claim, SearchLimits(10, 60.0), 2e-3)[1].kind is Kind.UNDECIDED
