"""The example of an energy tank: what is supplied never exceeds its capacity, counted anew in rational arithmetic."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from ctrl import simulate
from ctrl.controller import Decision, NotApplicable
from ctrl.filters import Filtered, Reason
from ctrl.trajectories import Trajectories
from examples.energy_tank import EnergyTank, ForceController, Options, Tool, main, supplied, task
from systems import InvalidValue, Task, Uniform, UnknownName

PORTS = {"force": "position"}


class Held:
    """Random forces over the whole range, each held over a random number of samples."""

    def __init__(self, seed: int) -> None:
        self.chance = np.random.default_rng(seed)

    def reset(self) -> None:
        self.until = 0

    def step(self, x: np.ndarray, k: int) -> Decision:
        if k >= self.until:
            self.u, self.until = self.chance.uniform(-50.0, 50.0, 1), k + int(self.chance.integers(1, 60))
        return Decision(self.u)


def levels(runs: Trajectories, capacity: float) -> tuple[Fraction, float]:
    """The least level of a tank over all runs, and the most energy that was supplied over any time, in exact numbers.

    The tank is filled at the start of each run, and what it cannot take is lost.
    """
    least, most = Fraction(capacity), Fraction(0)
    for states, inputs in zip(runs.states[:, :, 0], runs.inputs[:, :, 0], strict=True):
        q, level = [Fraction(float(value)) for value in states], Fraction(capacity)
        for k, u in enumerate(inputs):
            level = min(level - Fraction(float(u)) * (q[k + 1] - q[k]), Fraction(capacity))
            least = min(least, level)
        total = np.concatenate([[0.0], np.cumsum(inputs * np.diff(states))])
        most = max(most, float((total - np.minimum.accumulate(total)).max()))
    return least, float(most)


def pushed_runs(runs: int, steps: int, push: float, filtered: bool, capacity: float = 0.1) -> Trajectories:
    contact = dataclasses.replace(task(push), steps=steps, domain=None)
    controller = Held(3)
    chance = np.random.default_rng(0)
    starts = contact.initial.sample(contact.plant.state, chance, (runs,))
    disturbances = chance.uniform(-push, push, (runs, steps, 1))
    behind = Filtered(controller, EnergyTank(contact, PORTS, capacity)) if filtered else controller
    return simulate(contact, behind, starts, disturbances)


@pytest.mark.parametrize(("runs", "steps"), [(2, 500), pytest.param(100, 1000, marks=pytest.mark.slow)])
def test_random_forces_never_overdraw_the_tank(runs: int, steps: int) -> None:
    least, most = levels(pushed_runs(runs, steps, 1.0, filtered=True), 0.1)
    assert 0 <= least < 1e-3  # neither in debt nor needlessly cautious
    assert 0.099 < most <= 0.1
    least, most = levels(pushed_runs(runs, steps, 1.0, filtered=False), 0.1)
    assert least < -0.1
    assert most > 0.2


def test_tool_and_wall_never_store_more_than_they_had_and_the_tank_held() -> None:
    """By another account, of kinetic energy and the wall's spring: nothing else supplies energy here."""
    plant = Tool()
    for filtered in (True, False):
        runs = pushed_runs(3, 700, 0.0, filtered)
        stored = plant.stored(runs.states)
        gained = (stored - stored[:, :1]).max()
        assert (gained <= 0.1 + 1e-6) == filtered
        # What was supplied is stored or dissipated.
        assert (stored - stored[:, :1] <= supplied(runs) + 1e-6).all()


def free(capacity: float, push: float = 0.0) -> tuple[Task, EnergyTank]:
    """Far from the wall and without drag, where the work of a force at rest is u^2 dt^2 / (2 mass)."""
    contact = dataclasses.replace(
        task(), plant=Tool(drag=0.0), disturbance=Uniform({"push": -push}, {"push": push}), domain=None
    )
    return contact, EnergyTank(contact, PORTS, capacity)


def test_the_largest_part_is_that_of_the_closed_form() -> None:
    contact, tank = free(capacity=2e-4)
    x = np.array([-1.0, 0.0])
    correction = tank.correct(x, np.array([50.0]), 0)
    assert correction.reason is Reason.UNSAFE_INPUT
    assert correction.input[0] == pytest.approx((2 * 1.0 * 2e-4) ** 0.5 / contact.dt, rel=1e-3)
    assert (0.5 * (correction.input[0] * contact.dt) ** 2) <= 2e-4
    tank.reset()
    assert tank.correct(x, np.array([19.9]), 0).reason is None
    # A push of 10 N adds to the displacement: u (u + 10) dt^2 / 2 = capacity.
    _, tank = free(capacity=2e-4, push=10.0)
    expected = -5.0 + (25.0 + 2 * 2e-4 / contact.dt**2) ** 0.5
    assert tank.correct(x, np.array([50.0]), 0).input[0] == pytest.approx(expected, rel=1e-3)


def test_braking_refills_the_tank_up_to_its_capacity() -> None:
    _, tank = free(capacity=0.1)
    tank.level = 0.01
    fast = np.array([-1.0, 2.0])
    assert tank.correct(fast, np.array([-40.0]), 0).reason is None
    after = np.array([-1.0 + 2e-3 - 2e-5, 1.96])
    assert tank.correct(after, np.array([0.0]), 1).reason is None
    assert tank.level == pytest.approx(0.01 + 40.0 * (2e-3 - 2e-5), rel=1e-9)
    tank.reset()
    tank.correct(fast, np.array([-40.0]), 0)
    tank.correct(after, np.array([0.0]), 1)
    assert tank.level == tank.capacity == 0.1


def test_more_work_than_predicted_is_a_debt_that_only_braking_pays() -> None:
    _, tank = free(capacity=1e-3)
    tank.correct(np.array([-1.0, 0.0]), np.array([40.0]), 0)
    far = np.array([-0.9, 3.0])  # 4 J, by a hand that the disturbances do not include
    correction = tank.correct(far, np.array([40.0]), 1)
    assert tank.level == pytest.approx(1e-3 - 4.0)
    assert (correction.input[0], correction.reason) == (0.0, Reason.OUTSIDE)
    assert tank.correct(far, np.array([-40.0]), 2).reason is None
    tank.correct(np.array([-0.897, 3.0]), np.array([40.0]), 3)
    assert tank.level == pytest.approx(1e-3 - 4.0 + 0.12)


def test_numbers_that_are_missing() -> None:
    _, tank = free(capacity=1.0)
    x, lost = np.array([-1.0, 1.0]), np.full(2, np.nan)
    correction = tank.correct(x, np.array([np.nan]), 0)
    assert (correction.input[0], correction.reason) == (0.0, Reason.NO_INPUT)
    tank.correct(x, np.array([30.0]), 1)
    before = tank.level
    correction = tank.correct(lost, np.array([30.0]), 2)
    assert (correction.input[0], correction.reason) == (0.0, Reason.NO_STATE)
    assert tank.level == pytest.approx(before - 30.0 * (1e-3 + 1.5e-5))  # what was predicted
    assert tank.correct(np.array([3.0, 9.0]), np.array([0.0]), 3).reason is None
    assert tank.level == pytest.approx(before - 30.0 * (1e-3 + 1.5e-5))  # zero has done no work
    huge = tank.correct(np.array([1e300, 1e300]), np.array([30.0]), 4)
    assert np.isfinite(huge.input).all()


def test_misuse() -> None:
    contact = task()
    with pytest.raises(InvalidValue, match="capacity"):
        EnergyTank(contact, PORTS, 0.0)
    with pytest.raises(UnknownName):
        EnergyTank(contact, {"force": "place"}, 1.0)


def test_the_controller_bounces_and_the_tank_brings_it_to_rest(tmp_path, capsys) -> None:
    runs = main(Options(file=str(tmp_path / "tank.png")))
    contact = task()
    plant = contact.plant
    assert isinstance(plant, Tool)
    late = {name: plant.sensor()(run.states[0, -100:])[:, 0] for name, run in runs.items()}
    assert late["force controller"].max() > 30.0
    assert late["force controller"].min() == 0.0
    assert 0.0 < late["with a tank"].min() < 5.0 < late["with a tank"].max() < 10.0
    assert levels(runs["with a tank"], 0.1)[0] >= 0
    assert (tmp_path / "tank.png").stat().st_size > 10_000
    assert "J supplied at most" in capsys.readouterr().out
    # With a smaller gain, the controller settles by itself, and the tank never acts.
    modest = Filtered(ForceController(contact, gain=1.0), EnergyTank(contact, PORTS, 0.2))
    simulate(dataclasses.replace(contact, steps=300), modest, np.array([[-0.001, 0.0]]))
    assert modest.statistics.count == 0


def test_inputs_that_cannot_be_zero_are_refused() -> None:
    @dataclasses.dataclass(frozen=True)
    class Pressing(Tool):
        def limits(self):
            return {"force": (1.0, 50.0)}

    with pytest.raises(NotApplicable, match="zero"):
        EnergyTank(dataclasses.replace(task(), plant=Pressing()), PORTS, 1.0)
