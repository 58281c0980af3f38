"""Checks: sound objects pass, and each broken one is refused for its own reason."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from dataclasses import dataclass

import casadi as ca
import numpy as np
import pytest

from ctrl import LQR, Decision, Status, check_controller, check_plant, check_task
from ctrl.check import CheckFailed, Report
from systems import (
    Box,
    Fixed,
    Gaussian,
    Inequality,
    LinearPlant,
    Nonlinear,
    Plant,
    Quadratic,
    SetPoint,
    Task,
    Trajectory,
    Uniform,
    equilibrium,
    signals,
)
from systems.inputs import limit_changes
from systems.library.cartpole import CartPole, cartpole
from systems.library.pendulum import Pendulum, pendulum, pendulum_swing_up

TASK = cartpole()


def failing(report: Report) -> str:
    return "\n".join(map(str, report.failures))


def warned(report: Report) -> str:
    return "\n".join(map(str, report.warnings))


# ---- what is sound passes ----


@pytest.mark.parametrize("plant", [CartPole, Pendulum(), Pendulum])
def test_sound_plants_pass(plant) -> None:
    report = check_plant(plant)
    assert report.passed, report
    assert not report.warnings, report
    report.raise_if_failed()


@pytest.mark.skipif(importlib.util.find_spec("systems.envs.gym") is None, reason="there are no environments")
@pytest.mark.parametrize("make", [cartpole, pendulum, pendulum_swing_up])
def test_sound_tasks_pass(make) -> None:
    report = check_task(make())
    assert report.passed, report


@pytest.mark.parametrize("given", [LQR, LQR(TASK)])
def test_sound_controllers_pass(given) -> None:
    report = check_controller(given, TASK)
    assert report.passed, report
    assert not report.warnings, report
    assert "batch equals step" in str(report)


# ---- broken plants ----


class Base(Plant):
    state = signals("x [m]", "v [m/s]")
    input = signals("f [N]")

    def limits(self):
        return {"f": (-1.0, 1.0)}


@dataclass(frozen=True)
class Short(Base):
    def ode(self, x, u, w):
        return (x.v,)


@dataclass(frozen=True)
class Misspelt(Base):
    def ode(self, x, u, w):
        return x.velocity, u.f


@dataclass(frozen=True)
class Needy(Base):
    mass: float

    def ode(self, x, u, w):
        return x.v, u.f / self.mass


@dataclass(frozen=True)
class Rooted(Base):
    def ode(self, x, u, w):
        return x.v, u.f + ca.sqrt(x.x)


@dataclass(frozen=True)
class Cusp(Base):
    def ode(self, x, u, w):
        return x.v, u.f + ca.sqrt(x.x**2 + x.v**2)


@dataclass(frozen=True)
class Idle(Base):
    def ode(self, x, u, w):
        return x.v, -x.x


@dataclass(frozen=True)
class Upside(Base):
    def ode(self, x, u, w):
        return x.v, u.f

    def limits(self):
        return {"f": (1.0, -1.0)}


@dataclass(frozen=True)
class Runaway(Base):
    def ode(self, x, u, w):
        return x.x, u.f  # nothing reaches x, and it grows


@pytest.mark.parametrize(
    ("plant", "check", "why"),
    [
        (Short, "one expression per state", "x, v"),
        (Misspelt, "one expression per state", "velocity"),
        (Needy, "can be made", "mass"),
        (Rooted, "finite at 64 points", "equation of v is not finite"),
        (Upside, "limits are ordered", "lower <= upper"),
        (Idle, "every input moves something", "f appears in no equation"),
        (3, "can be made", "not a Plant"),
    ],
)
def test_broken_plants_are_refused(plant, check: str, why: str) -> None:
    report = check_plant(plant) if plant != 3 else check_plant(type("Three", (), {})())
    assert check in failing(report)
    assert why in failing(report)
    with pytest.raises(CheckFailed, match=check):
        report.raise_if_failed()


def test_doubtful_plants_are_warned_of() -> None:
    assert "finite at the origin" in warned(check_plant(Cusp))
    assert check_plant(Cusp).passed
    assert "not stabilisable" in warned(check_plant(Runaway))
    assert check_plant(Runaway).passed


# ---- broken tasks ----


def changed(**changes) -> Task:
    return dataclasses.replace(TASK, **changes)


@pytest.mark.parametrize(
    ("task", "check", "why"),
    [
        (changed(initial=Gaussian({"angle": 1.0})), "sampled initial states", "outside the domain"),
        (changed(constraints=(Box("fence", {"position": (-0.5, 0.5)}),)), "sampled initial states", "'fence'"),
        (changed(reference=SetPoint({"angle": 2.0})), "reference lies inside", "outside the domain"),
        (changed(reference=SetPoint(u={"force": 11.0})), "reference lies inside", "force"),
        (
            changed(cost=Nonlinear(lambda x, u, xr, ur: ca.log(x.position) ** 2 + u.force**2)),
            "stage cost",
            "stage cost at x",
        ),
        (changed(truth=CartPole(half_length=1e-300)), "one sample from every", "next state"),
    ],
)
def test_broken_tasks_are_refused(task: Task, check: str, why: str) -> None:
    report = check_task(task)
    assert check in failing(report), report
    assert why in failing(report), report


def test_doubtful_tasks_are_warned_of() -> None:
    assert "drifts off it" in warned(check_task(changed(reference=SetPoint({"angle": 0.3}))))
    assert "four times the substeps" in warned(check_task(changed(dt=0.6)))
    assert "four times the substeps" in warned(check_task(limit_changes(changed(dt=0.6), {"force": 100.0})))
    assert "no state has a tolerance" in warned(check_task(changed(initial=Fixed(), tolerance=None)))


def test_a_task_of_a_broken_plant_says_so() -> None:
    task = Task("t", Idle(), 0.1, 10, Quadratic([1.0, 1.0], [1.0]), Uniform([-1.0] * 2, [1.0] * 2))
    assert "its plant satisfies the interface" in failing(check_task(task))
    assert "f appears in no equation" in failing(check_task(task))


@dataclass(frozen=True)
class Tank(Plant):
    """A model that holds for positive levels only."""

    state = signals("level [m]")
    input = signals("inflow [m3/s]")
    disturbance = signals("leak [m3/s]")

    def ode(self, x, u, w):
        return (u.inflow - ca.sqrt(x.level) - w.leak,)

    def limits(self):
        return {"inflow": (0.0, 2.0)}


def tank(**changes) -> Task:
    still = SetPoint([1.0], [1.0])
    plain = Task("tank", Tank(), 0.1, 20, Quadratic([1.0], [1.0]), Uniform([0.5], [1.5]), reference=still)
    return dataclasses.replace(plain, **changes)


def test_a_plant_is_asked_where_its_task_takes_place() -> None:
    assert "finite at 64 points around the origin" in failing(check_plant(Tank()))
    for task in (
        tank(),
        tank(initial=Fixed([1.0])),
        tank(domain=Box("filled", {"level": (0.1, 3.0)})),
        tank(domain=Box("filled", {"level": (0.1, np.inf)}), initial=Gaussian([0.1], [1.0])),
    ):
        report = check_task(task)
        assert not [check for check in report.failures if "64 points" in check.name], report
        assert not report.failures, report
    report = check_task(tank(domain=Box("any", {"level": (-1.0, 3.0)})))
    assert "has finite derivatives at 64 points of the domain" in failing(report)
    assert "give the task a domain without such states" in failing(report)


def test_drift_is_explained_by_its_cause() -> None:
    def drift(task: Task) -> str:
        return "\n".join(line for line in warned(check_task(task)).splitlines() if "drifts off it" in line)

    beside = drift(tank(reference=SetPoint([1.0], [0.5])))
    assert "level at 0.4" in beside
    assert "systems.equilibrium(plant, x, u) finds one" in beside
    found = equilibrium(Tank(), [0.8], [0.9])
    assert not drift(tank(reference=SetPoint(found.x, found.u)))
    leaking = drift(tank(disturbance=Fixed([0.2])))
    assert "the mean of the disturbance (leak) moves the plant off it" in leaking
    assert "finds one" not in leaking
    moving = drift(tank(reference=Trajectory(np.linspace(0.5, 1.5, 60)[:, None], np.ones((60, 1)))))
    assert "list what the plant itself can do" in moving
    assert "finds one" not in moving


def test_a_reference_that_ends_in_motion_is_warned_of() -> None:
    def listed(x: np.ndarray) -> bool:
        report = check_task(tank(reference=Trajectory(x[:, None], np.ones((len(x), 1)))))
        return "extends beyond the end of the run" in warned(report)

    ramp = 0.5 + 0.01 * np.arange(60.0)
    assert listed(ramp[:21])
    assert listed(ramp[:49])
    assert not listed(ramp[:50]), "as long as the run and a horizon"
    assert not listed(np.append(ramp[:20], ramp[19])), "it ends at rest"
    assert not listed(ramp[:1])


def test_a_budget_that_no_run_can_break_is_warned_of() -> None:
    track = Inequality("track", lambda x, u: x.position - 2.0)
    steps, discount = cartpole().steps, cartpole().discount
    assert f"'track' allows {steps} of at most {steps} violated samples" in warned(
        check_task(changed(constraints=(track.budget(steps),)))
    )
    reach = (1 - discount**steps) / (1 - discount)
    assert "'track' allows" in warned(check_task(changed(constraints=(track.budget(1.01 * reach, per="discounted"),))))
    sound = (track.budget(steps - 1), dataclasses.replace(track, name="cost").budget(1e9, of="excess"))
    assert "budget" not in warned(check_task(changed(constraints=sound)))


def test_unbounded_inputs_are_warned_of_and_no_failure() -> None:
    @dataclass(frozen=True)
    class Free(Tank):
        def limits(self):
            return {"inflow": (0.0, np.inf)}

    report = check_task(tank(plant=Free()))
    assert report.passed, report
    assert "every input is bounded: inflow may be anything" in warned(report)
    assert "every input is bounded" not in warned(check_task(tank()))


@dataclass(frozen=True)
class Levitated(Plant):
    """A magnet pulls a ball: unstable at every point at which it hangs."""

    state = signals("gap [m]", "speed [m/s]")
    input = signals("current [A]")

    def ode(self, x, u, w):
        return x.speed, 9.81 - 0.02 * u.current**2 / x.gap**2

    def limits(self):
        return {"current": (0.0, 3.0)}


def levitated(**changes) -> Task:
    still = SetPoint([0.05, 0.0], [0.05 * np.sqrt(9.81 / 0.02)])
    start = Uniform([0.045, -0.05], [0.055, 0.05])
    plain = Task("ball", Levitated(), 0.005, 200, Quadratic([1e4, 1.0], [1.0]), start, reference=still)
    return dataclasses.replace(plain, **changes)


def ends(task: Task) -> str:
    return "\n".join(line for line in warned(check_task(task)).splitlines() if "diverging runs terminate" in line)


def test_an_unstable_plant_without_a_domain_is_warned_of() -> None:
    """Every unstable plant whose modes grow over a run, and none that is stable, marginal, or kept in a domain."""
    said = ends(levitated())
    assert re.search(r"unstable at its reference \(a mode grows by 10 % per sample\) and no domain ends a run", said), (
        said
    )
    assert re.search(
        r"gap goes as far as [1-9][\d.e+]* m from its reference, where no start is further than 0\.00\d", said
    ), said
    assert "give the task a domain" in said
    assert ends(levitated(domain=Box("any", {"gap": (-np.inf, np.inf)}))), "which bounds nothing"
    assert not ends(levitated(domain=Box("model", {"gap": (0.01, 0.1)})))
    assert ends(dataclasses.replace(pendulum(), domain=None))
    assert ends(changed(domain=None))
    assert not ends(cartpole())
    assert not ends(tank()), "stable"
    assert not ends(levitated(steps=5)), "too short a run to diverge"


def test_a_discount_that_looks_too_near_or_too_far_is_warned_of() -> None:
    for discount, said in ((0.5, "do not see what their inputs lead to"), (0.999, "small beside the rest"), (0.97, "")):
        lines = [line for line in warned(check_task(changed(discount=discount))).splitlines() if "discount" in line]
        assert bool(lines) == bool(said)
        if said:
            (line,) = lines
            assert said in line
            # The discount that it names suits the task.
            advised = float(line.rpartition("about ")[2].split()[0].rstrip(".;"))
            assert "discount" not in warned(check_task(changed(discount=advised)))


def test_chains_of_integrators_are_not_called_unstable() -> None:
    """Their eigenvalues are 1 in fourfold, which arithmetic splits into a ring of radius 1e-4 around it."""
    A = np.eye(4) + 0.1 * np.diag(np.ones(3), 1) + 1e-14 * np.random.default_rng(0).normal(size=(4, 4))
    plant = LinearPlant(A, [[0.0], [0.0], [0.0], [0.1]], dt=0.1, input_limits=((-1.0, 1.0),))
    task = Task("chain", plant, 0.1, 500, Quadratic(np.ones(4), [1.0]), Uniform([-1.0] * 4, [1.0] * 4))
    assert np.abs(np.linalg.eigvals(A)).max() > 1 + 1e-5
    assert not ends(task)


@pytest.mark.parametrize(("bound", "wide"), [(1e20, True), (3e38, True), (1e300, True), (1e9, False)])
def test_inputs_too_large_for_a_learner_are_warned_of(bound: float, wide: bool) -> None:
    report = check_task(changed(plant=CartPole(max_force=bound), domain=None))
    assert (
        "its input bounds are small enough for learners (32 bits): force may be as large as" in warned(report)
    ) is wide, report


# ---- mutated controllers ----


class Good:
    """A sound controller with memory; each mutant breaks one clause of the contract."""

    def __init__(self, task: Task) -> None:
        self.law, self.last = LQR(task), np.zeros(1)

    def reset(self) -> None:
        self.last = np.zeros(1)

    def step(self, x: np.ndarray, k: int) -> Decision:
        decision = self.law.step(x, k)
        self.last = 0.9 * decision.input + 0.1 * self.last
        return dataclasses.replace(decision, input=self.last)


class Forgetless(Good):
    def reset(self) -> None:
        pass


class Beyond(Good):
    def step(self, x, k):
        return Decision(2.0 * super().step(x, k).input + 9.0)


class Row(Good):
    def step(self, x, k):
        return Decision(super().step(x, k).input[None])


class Scalar(Good):
    def step(self, x, k):
        return float(super().step(x, k).input[0])


class Poisoned(Good):
    def step(self, x, k):
        return Decision(np.clip(-self.law.K @ x, -10, 10))


class Raising(Good):
    def step(self, x, k):
        if not np.isfinite(x).all():
            raise ValueError("bad state")
        return super().step(x, k)


class Fragile(Good):
    def step(self, x, k):
        if np.abs(x).max() > 1e4:
            raise OverflowError("too far")
        return super().step(x, k)


class Impatient(Good):
    def step(self, x, k):
        return Decision(np.zeros((1000, 1))[k])


class Scribbling(Good):
    def step(self, x, k):
        decision = super().step(x, k)
        x *= 0.5
        return decision


class Random(Good):
    def step(self, x, k):
        return Decision(np.random.default_rng().uniform(-1, 1, 1))


class Divided(LQR):
    def batch(self, x, k):
        return super().batch(x, k) * (0.5 if np.ndim(x) == 2 else 1.0)


class Wordy(Good):
    def step(self, x, k):
        return dataclasses.replace(super().step(x, k), status="fine")


class Mute(Good):
    def step(self, x, k):
        return dataclasses.replace(super().step(np.nan_to_num(x, posinf=0.0), k), status=Status.SOLVED)


def test_the_sound_original_passes() -> None:
    assert check_controller(Good, TASK).passed


@pytest.mark.parametrize(
    ("mutant", "check", "why"),
    [
        (Forgetless, "repeats itself after reset", "the same run gave"),
        (Beyond, "gives an input within bounds", "beyond its bounds"),
        (Row, "gives an input within bounds", "shape (1, 1)"),
        (Scalar, "gives an input within bounds", "not a Decision"),
        (Poisoned, "not finite", "the input is [nan]"),
        (Raising, "not finite", "step raised ValueError"),
        (Fragile, "answers far away", "step raised OverflowError"),
        (Impatient, "answers late samples", "step raised IndexError"),
        (Scribbling, "leaves its argument alone", "changed the state"),
        (Random, "repeats itself after reset", "the same run gave"),
        (Divided, "batch equals step", "differs"),
        (Wordy, "gives an input within bounds", "'fine'"),
        (lambda task: 3, "can be made", "no reset() and step(x, k)"),
        (3, "can be made", "no reset() and step(x, k)"),
    ],
)
def test_mutants_are_refused(mutant, check: str, why: str) -> None:
    report = check_controller(mutant, TASK)
    assert check in failing(report), report
    assert why in failing(report), report


def test_a_controller_that_keeps_quiet_about_nan_is_warned_of() -> None:
    report = check_controller(Mute, TASK)
    assert report.passed, report
    assert "says so by its status" in warned(report)


def test_a_table_is_worth_a_warning_and_no_failure() -> None:
    """Every reader but proofs takes it."""
    knots = np.linspace(-2.0, 2.0, 9)
    table = ca.interpolant("table", "bspline", [knots], knots**3)

    @dataclass(frozen=True)
    class Sprung(Plant):
        state, input = signals("x [m]", "v [m/s]"), signals("f [N]")

        def ode(self, x, u, w):
            return [x.v, u.f - table(x.x) - x.v]

    report = check_plant(Sprung())
    (warned,) = [check for check in report.checks if check.name == "interval arithmetic encloses it"]
    assert not warned.passed
    assert warned.warning
    assert "'table' (BSplineInterpolant)" in warned.explanation
    assert not report.failures
