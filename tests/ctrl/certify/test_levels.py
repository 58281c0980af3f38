"""Bisection for the highest level, with an oracle in place of the proofs: it answers by a threshold and costs what it
says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ctrl.certify import ClosedLoop, SearchLimits, certify, largest_level, riccati
from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.result import Kind, SearchResult
from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from ctrl.certify.search import levels
from ctrl.laws import SaturatedLinear
from ctrl.regulator import LQR
from systems import Fixed, LinearPlant, Quadratic, Task
from systems.library import pendulum

PLANT = LinearPlant([[0.9]], [[0.1]], dt=1.0, input_limits=((-1.0, 1.0),))
TASK = Task("line", PLANT, 1.0, 10, Quadratic([1.0], [1.0]), Fixed([0.0]))
LAW = SaturatedLinear(np.array([[0.5]]), np.zeros(1), np.zeros(1), [-1.0], [1.0])
V = QuadraticLyapunov(np.eye(1), np.zeros(1))
TOP = 8.0  # the sampled limit


@dataclass
class Oracle:
    """Proves what lies at or below a level."""

    highest: float
    failure: Kind = Kind.REFUSED
    boxes: int = 1
    seconds: float = 0.0
    clock: float = 0.0
    asked: list[tuple[Claim, SearchLimits]] = field(default_factory=list)

    def __call__(self, claim: Claim, limits: SearchLimits) -> Certificate:
        assert len(self.asked) < 100, "the search does not end"
        self.asked.append((claim, limits))
        self.clock += self.seconds
        kind = Kind.PROVED if claim.region.level <= self.highest else self.failure
        return Certificate(
            claim, SearchResult(kind, np.zeros(1), self.boxes, self.seconds, 2.0 * self.seconds, reason="too high")
        )

    @property
    def tried(self) -> list[float]:
        return [claim.region.level for claim, _ in self.asked]


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Certificate]:
    """Runs a search with an oracle."""

    def run(oracle: Oracle, settled: float = 0.0, **options: Any) -> Certificate:
        monkeypatch.setattr(levels, "prove", oracle)
        monkeypatch.setattr(levels, "_by_one_search", lambda *_: None)
        monkeypatch.setattr(levels, "perf_counter", lambda: oracle.clock)
        monkeypatch.setattr(levels, "sampled_limit", lambda *_, **__: SimpleNamespace(level=TOP))
        monkeypatch.setattr(levels, "_settled", lambda claim: settled)
        return largest_level(TASK, LAW, V, **options)

    return run


@pytest.mark.parametrize("failure", [Kind.REFUSED, Kind.UNDECIDED])
@pytest.mark.parametrize("highest", [7.99, 6.0, 2.5, 0.3])
def test_ends_a_resolution_below_the_highest_level(
    highest: float, failure: Kind, search: Callable[..., Certificate]
) -> None:
    for resolution in (None, 1e-2):
        oracle = Oracle(highest, failure)
        found = search(oracle) if resolution is None else search(oracle, resolution=resolution)
        share = 2e-3 if resolution is None else resolution
        assert found.is_proved
        assert highest - share * TOP <= found.level <= highest
        assert oracle.tried[0] == pytest.approx((1.0 - share) * TOP)
        assert len(oracle.tried) <= 14  # bisection halves what is open
        assert max(oracle.tried) < TOP


def test_a_coarse_resolution_ends_the_search_early(search: Callable[..., Certificate]) -> None:
    """At 0.2 of the limit: 6.4 fails, 3.2 is proved, 4.8 fails, and 1.6 is left open."""
    oracle = Oracle(4.0)
    assert search(oracle, resolution=0.21).level == pytest.approx(0.395 * TOP)
    np.testing.assert_allclose(np.array(oracle.tried) / TOP, [0.79, 0.395, 0.5925])


def test_a_low_level_is_found_to_within_a_factor(search: Callable[..., Certificate]) -> None:
    """Below a resolution, the next level up that failed has to be near the one that is proved."""
    oracle = Oracle(4e-5 * TOP, Kind.UNDECIDED)
    found = search(oracle, settled=1e-5 * TOP)
    failed = min(level for level in oracle.tried if level > oracle.highest)
    assert found.is_proved
    assert found.level <= oracle.highest < failed <= 4.0 * found.level
    assert len(oracle.tried) < 12
    # Without a level to start from, nothing is looked for below a resolution.
    none = Oracle(4e-5 * TOP, Kind.UNDECIDED)
    assert not search(none).is_proved
    np.testing.assert_allclose(np.array(none.tried[1:]) / none.tried[:-1], 0.4)
    assert none.tried[-1] <= 2e-3 * TOP < none.tried[-2]


def test_after_an_undecided_start_it_goes_on_from_where_it_is_settled(search: Callable[..., Certificate]) -> None:
    oracle = Oracle(1.0, Kind.UNDECIDED)
    search(oracle, settled=0.5)
    assert oracle.tried[1] == pytest.approx(0.5)
    assert oracle.tried[2] == pytest.approx((0.5 * 0.998 * TOP) ** 0.5)  # far apart: the middle of their logarithms
    refused = Oracle(1.0, Kind.REFUSED)
    search(refused, settled=0.5)
    assert refused.tried[1] == pytest.approx(0.5 * 0.998 * TOP)


def test_an_attempt_gets_half_of_what_is_left(search: Callable[..., Certificate]) -> None:
    oracle = Oracle(4.0, boxes=10, seconds=3.0)
    search(oracle, budget=SearchLimits(1000, 60.0))
    boxes, seconds = np.array([(limits.boxes, limits.seconds) for _, limits in oracle.asked]).T
    used = np.arange(len(boxes))
    np.testing.assert_array_equal(boxes, (1000 - 10 * used) // 2)
    np.testing.assert_allclose(seconds, 0.5 * (60.0 - 3.0 * used))
    assert len(boxes) > 5


def test_the_search_ends_with_its_limits(search: Callable[..., Certificate]) -> None:
    hurried = Oracle(4.0, seconds=25.0)
    found = search(hurried, resolution=1e-9, budget=SearchLimits(10**6, 100.0))
    assert len(hurried.asked) == 5  # the fifth begins when nothing is left, and gets no time
    assert hurried.asked[-1][1].seconds == 0.0
    assert found.is_proved
    costly = Oracle(4.0, boxes=250)
    assert search(costly, resolution=1e-9, budget=SearchLimits(1000, 100.0)).is_proved
    assert len(costly.asked) == 4
    assert costly.asked[-1][1].boxes == 125
    one = Oracle(4.0, boxes=1)
    search(one, budget=SearchLimits(1, 100.0))
    assert [limits.boxes for _, limits in one.asked] == [1]


@pytest.mark.parametrize(
    ("limit", "each", "attempts"), [("seconds", 24.7, 5), ("seconds", 24.25, 6), ("boxes", 247, 4), ("boxes", 194, 6)]
)
def test_less_than_a_fiftieth_of_a_limit_is_not_spent(
    limit: str, each: float, attempts: int, search: Callable[..., Certificate]
) -> None:
    """Of 100 seconds 1.2 or 3 are left when the fifth attempt begins, and of 1000 boxes 12 after the fourth or 30 after
    the fifth."""
    oracle = Oracle(4.0, boxes=1, seconds=each) if limit == "seconds" else Oracle(4.0, boxes=int(each))
    search(oracle, resolution=1e-9, budget=SearchLimits(10**6 if limit == "seconds" else 1000, 100.0))
    assert len(oracle.asked) == attempts


def test_where_nothing_is_proved_the_last_attempt_says_what_all_took(search: Callable[..., Certificate]) -> None:
    oracle = Oracle(0.0, Kind.UNDECIDED, boxes=10, seconds=2.0)
    found = search(oracle, budget=SearchLimits(200, 1000.0))
    count = len(oracle.asked)
    assert found.kind is Kind.UNDECIDED
    assert count > 5
    assert (found.boxes, found.seconds, found.result.cpu) == (10 * count, 2.0 * count, 4.0 * count)
    assert found.level == oracle.tried[-1] == min(oracle.tried)
    assert f"none of {count} levels from {oracle.tried[0]:.6g} to {oracle.tried[-1]:.6g}" in found.reason
    assert found.reason.endswith("at the last: too high")
    single = Oracle(0.0, Kind.UNDECIDED)
    assert search(single, budget=SearchLimits(1, 1000.0)).reason == "too high"


def test_the_last_attempt_is_that_of_a_search_without_proof(search: Callable[..., Certificate]) -> None:
    """A proof is never replaced by a later attempt that failed."""
    oracle = Oracle(4.0)
    found = search(oracle)
    assert oracle.tried[-1] > found.level or oracle.tried[-1] == found.level
    assert found.level == max(level for level in oracle.tried if level <= 4.0)


def test_stays_above_the_inner_level(search: Callable[..., Certificate]) -> None:
    """Below it there is nothing to claim."""
    oracle = Oracle(0.0)
    found = search(oracle, inner=1.0)
    assert not found.is_proved
    np.testing.assert_allclose(np.array(oracle.tried) / TOP, [0.998, 0.499, 0.2495])  # half of that is below 1
    assert [claim.region.inner for claim, _ in oracle.asked] == [1.0] * len(oracle.asked)
    high = Oracle(2.0 * TOP)
    assert search(high, inner=1.5 * TOP).level >= 1.5 * TOP


def test_every_attempt_makes_the_claim_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    task = pendulum()
    oracle = Oracle(0.0)
    monkeypatch.setattr(levels, "prove", oracle)
    monkeypatch.setattr(levels, "_by_one_search", lambda *_: None)
    monkeypatch.setattr(levels, "_settled", lambda claim: 0.0)
    low, high = np.full(2, -0.02), np.full(2, 0.03)
    name, signal = "mass", task.plant.disturbance.names[0]
    mass = task.plant.mass
    law = SaturatedLinear(np.array([[10.0, 2.0]]), np.zeros(2), np.zeros(1), [-5.0], [5.0])
    quadratic = QuadraticLyapunov(np.eye(2), np.zeros(2))
    largest_level(
        task, law, quadratic, kappa=0.01, continuous=True, box=(low, high), uncertain={name: (mass, 1.1 * mass)},
        disturbance={signal: (-0.1, 0.1)}, inner=1e-3, budget=SearchLimits(3, 10.0, "cpu"),
    )  # fmt: skip
    claim, limits = oracle.asked[0]
    assert claim.loop.uncertain == {name: (mass, 1.1 * mass)}
    assert claim.loop.disturbance == {signal: (-0.1, 0.1)}
    assert (claim.loop.continuous, claim.kappa, claim.region.inner, limits.device) == (True, 0.01, 1e-3, "cpu")
    np.testing.assert_array_equal(claim.domain, (low, high))
    largest_level(task, law, quadratic, inner=0.0, budget=SearchLimits(3, 10.0))
    plain = oracle.asked[-1][0]
    assert (plain.loop.uncertain, plain.loop.disturbance, plain.loop.continuous) == ({}, {}, False)
    assert plain.equilibrium == "reference"


def test_what_is_settled_around_the_centre_takes_one_box() -> None:
    """And is not far below what takes more."""
    task = pendulum()
    law, quadratic = LQR(task).law, riccati(task)
    for level in (1.0, 60.0):
        claim = Claim.about(ClosedLoop(task, law), quadratic, level)
        settled = levels._settled(claim)
        assert 0.0 < settled <= level
        assert certify(task, law, quadratic, level=settled).boxes == 1
    assert certify(task, law, quadratic, level=3.0 * settled).boxes > 1
    disturbed = ClosedLoop(task, law, disturbance={task.plant.disturbance.names[0]: (-0.01, 0.01)})
    assert levels._settled(Claim.about(disturbed, quadratic, 5.0, inner=1e-3)) == 0.0
