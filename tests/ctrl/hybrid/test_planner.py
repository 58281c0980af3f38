"""Proved regions of modes: invariance within a mode, membership after the reset, and what breaks them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ctrl.certify import Certificate, SearchLimits, certify
from ctrl.hybrid import ModeReference, RegionPlanner
from ctrl.regulator import LQR
from systems import InvalidValue
from systems.hybrid import HybridSystem, Transition
from systems.library.roads import ANGLE, DT, LANE, SPEEDS, Segment, road_system, segment_task

BOUNDS = np.array([-LANE, -ANGLE, SPEEDS[0]]), np.array([LANE, ANGLE, SPEEDS[1]])


def sampled(reference: ModeReference, n: int = 400) -> np.ndarray:
    """States (n, 3) in a region, half of them at its border."""
    rng = np.random.default_rng(1)
    region = reference.region
    z = rng.standard_normal((4 * n, 3))
    z /= np.sqrt(region.V(z + region.V.middle))[:, None]
    z *= np.sqrt(region.level) * np.where(rng.random(4 * n) < 0.5, 1 - 1e-9, rng.random(4 * n) ** (1 / 3))[:, None]
    x = z + region.V.middle + reference.moved_by
    return x[reference.contains(x)][:n]


@pytest.mark.slow
def test_a_region_is_kept_and_left_neither_by_the_lane_nor_by_V(dry: Certificate, snow: Certificate) -> None:
    for reference in (ModeReference(dry), ModeReference(snow), ModeReference(dry, np.array([0.7, 0.0, 0.0]), BOUNDS)):
        task = reference.certificate.claimed.loop.task
        step, x = task.dynamics.lower("numpy"), sampled(reference)
        assert len(x) > 100
        for _ in range(80):
            before, x = x, step(x, reference.input(x), np.zeros(0), np.zeros(0))
            assert (reference.excess(x) < reference.excess(before)).all()
            assert ((x >= BOUNDS[0]) & (x <= BOUNDS[1])).all()


def test_a_moved_region_keeps_to_the_lane_and_the_one_that_is_not_moved_would_not(dry: Certificate) -> None:
    moved = ModeReference(dry, np.array([1.0, 0.0, 0.0]), BOUNDS)
    _low, high = moved.region.hull
    assert high[0] + 1.0 <= LANE
    assert high[0] + 1.0 > LANE - 1e-6  # no more is given up than is needed
    assert moved.region.level < dry.level
    assert ModeReference(dry).region.hull[1][0] + 1.0 > LANE


def test_membership_is_the_inequality_and_refuses_what_lies_outside(dry: Certificate) -> None:
    reference, rng = ModeReference(dry), np.random.default_rng(0)
    x = rng.uniform(BOUNDS[0], BOUNDS[1], (2000, 3))
    V = dry.V(x)
    inside = (dry.level * (1 - 1e-9) >= V) & (np.abs(x[:, 0]) <= LANE)
    np.testing.assert_array_equal(reference.contains(x)[0.999 * dry.level > V], inside[0.999 * dry.level > V])
    assert not reference.contains(x)[dry.level < V].any()
    assert np.isinf(reference.excess(np.array([LANE + 0.01, 0.0, 12.0])))


def road(turn: float = 0.05) -> tuple[Segment, ...]:
    return (
        Segment(80.0, 1.0, 0.0, 12.0, turn=turn, shift=0.2),
        Segment(30.0, 0.3, 0.025, 8.0),
        Segment(30.0, 1.0, 0.0, 12.0),
    )


def planner(system: HybridSystem, dry: Certificate, slow: Certificate, snow: Certificate) -> RegionPlanner:
    straight = [
        ModeReference(certificate, np.array([aside, 0.0, 0.0]), BOUNDS)
        for certificate in (dry, slow)
        for aside in (-0.4, 0.0, 0.4)
    ]
    return RegionPlanner(system, {"0": straight, "1": [ModeReference(snow)], "2": straight}, DT)


def drive(
    system: HybridSystem, plan: RegionPlanner, x: np.ndarray, again: int = 1000
) -> list[tuple[bool, bool, float]]:
    """For each mode: whether all its choices were proved and the last predicted, and the largest excess of all."""
    mode, log = "0", []
    while True:
        choice = plan.choose(mode, x)
        reference, worst, proved = choice.reference, 0.0, choice.is_proved
        (guard,) = system.guards[mode] or (None,)
        step = segment_step(system, mode)
        for k in range(200):
            if k and k % again == 0:
                choice = plan.choose(mode, x)
                reference, proved = choice.reference, proved and choice.is_proved
            worst = max(worst, float(reference.excess(x[:3])))
            u = reference.input(x[:3])
            x = step(x, u, np.zeros(0), np.zeros(0))
            if guard is not None and guard.is_due(x, u, np.zeros(0)):
                break
        log.append((proved, choice.is_predicted, worst))
        if guard is None:
            return log
        mode, x = guard.target, np.array(guard.reset(x)).ravel()


def segment_step(system: HybridSystem, mode: str):
    from systems import Discretisation

    return Discretisation(system.mode(mode).plant, DT).lower("numpy")


@pytest.mark.slow
def test_choosing_again_hands_the_state_to_a_region_that_did_not_hold_it_before(
    dry: Certificate, slow: Certificate, snow: Certificate
) -> None:
    first, *others = road()
    system = road_system((replace(first, length=100.0), *others))
    plan, x = planner(system, dry, slow, snow), np.array([0.0, 0.0, 13.5, 0.0])
    assert not ModeReference(slow).contains(x[:3])
    choice = plan.choose("0", x)
    assert choice.reference.certificate is dry  # only its regions hold 13.5 m/s
    assert choice.is_proved
    assert not choice.is_predicted
    assert [proved for proved, _, _ in drive(system, plan, x)][1] is False
    log = drive(system, plan, x, again=20)
    assert [proved for proved, _, _ in log] == [True, True, True]
    assert all(worst <= 1.0 for _, _, worst in log)


def test_the_planner_enters_proved_regions_where_the_posted_speed_would_not(
    dry: Certificate, slow: Certificate, snow: Certificate
) -> None:
    system = road_system(road())
    plan, x = planner(system, dry, slow, snow), np.array([0.3, 0.02, 10.0, 0.0])
    choice = plan.choose("0", x)
    assert choice.is_proved
    assert choice.is_predicted
    assert choice.reference.certificate is slow  # 12 m/s would enter the snow too fast
    log = drive(system, plan, x)
    assert [proved for proved, _, _ in log] == [True, True, True]
    assert all(worst <= 1.0 for _, _, worst in log)
    only_posted = RegionPlanner(
        system, {"0": [ModeReference(dry)], "1": [ModeReference(snow)], "2": [ModeReference(dry)]}, DT
    )
    assert not only_posted.choose("0", x).is_predicted
    assert [proved for proved, _, _ in drive(system, only_posted, x)][1] is False


def test_another_reset_than_the_planned_one_is_noticed_when_it_comes(
    dry: Certificate, slow: Certificate, snow: Certificate
) -> None:
    plan = planner(road_system(road()), dry, slow, snow)
    for turn, kept in ((0.05, True), (0.35, False)):
        log = drive(road_system(road(turn)), plan, np.array([0.3, 0.02, 10.0, 0.0]))
        assert log[0][1] is True  # predicted with the reset of the plan
        assert log[1][0] is kept
        assert (log[1][2] <= 1.0) is kept


def test_in_the_last_mode_the_last_reference_is_chosen_whose_region_holds_the_state(
    dry: Certificate, slow: Certificate, snow: Certificate
) -> None:
    plan = planner(road_system(road()), dry, slow, snow)
    assert plan.choose("2", np.array([0.0, 0.0, 10.0, 0.0])).index == 5
    choice = plan.choose("2", np.array([-1.0, 0.0, 13.0, 0.0]))  # too fast for the slow ones
    assert choice.reference.certificate is dry
    assert choice.is_proved


def test_of_no_sequence_that_stays_inside_the_nearest_is_chosen(
    dry: Certificate, slow: Certificate, snow: Certificate
) -> None:
    plan = planner(road_system(road()), dry, slow, snow)
    choice = plan.choose("0", np.array([0.0, 0.0, 20.0, 0.0]))
    assert not choice.is_proved
    assert not choice.is_predicted
    nan = plan.choose("0", np.full(4, np.nan))
    assert not nan.is_proved


def test_what_is_not_proved_of_a_mode_is_refused(dry: Certificate, snow: Certificate) -> None:
    task = segment_task(1.0, 0.0, 12.0)
    too_much = certify(task, LQR(task).law, level=1e4, budget=SearchLimits(boxes=100))
    with pytest.raises(InvalidValue, match="not proved"):
        ModeReference(too_much)
    with pytest.raises(InvalidValue, match="depend on offset"):
        ModeReference(snow, np.array([0.3, 0.0, 0.0]))
    with pytest.raises(InvalidValue, match="depend on speed"):
        ModeReference(dry, np.array([0.0, 0.0, 1.0]))
    with pytest.raises(InvalidValue, match="no room"):
        ModeReference(dry, np.array([LANE, 0.0, 0.0]), BOUNDS)
    system = road_system((Segment(80.0, 0.3, 0.0, 12.0),))
    with pytest.raises(InvalidValue, match="actuator limits than those of mode '0'"):
        RegionPlanner(system, {"0": [ModeReference(dry)]}, DT)
    system = road_system((Segment(80.0, 1.0, 0.0, 12.0),))
    with pytest.raises(InvalidValue, match=r"expected rk4, 0\.1 s"):
        RegionPlanner(system, {"0": [ModeReference(dry)]}, 0.1)
    with pytest.raises(InvalidValue, match="mode '0' has no reference"):
        RegionPlanner(system, {}, DT)
    again = Transition("0", "0", lambda x: 1.0 - x.travelled)
    with pytest.raises(InvalidValue, match="has 2 transitions"):
        RegionPlanner(replace(system, transitions=(again, again)), {"0": [ModeReference(dry)]}, DT)
