"""A force controller that bounces on a stiff wall, and an energy tank behind which it comes to rest.

    python -m examples.energy_tank
    python -m examples.energy_tank --tank 0.2

The tool is pressed against a wall by a force that is proportional to the error of the contact force, sampled at 1 kHz.
At this gain the delay of one sample supplies more energy in every cycle than tool and wall dissipate, so the tool
bounces without end. The tank limits the energy that the controller can ever supply, by a given initial amount.

The filter shows how to write one of your own: a subclass of `SafetyFilter` with `correct` and `reset`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, final

import casadi as ca
import numpy as np
import tyro

from ctrl import simulate
from ctrl.comparison.figure import STYLE
from ctrl.controller import Decision, NotApplicable
from ctrl.filters import Correction, Filtered, Reason, SafetyFilter
from ctrl.trajectories import Trajectories
from systems import Box, Plant, Quadratic, Task, Uniform, Vector, nonnegative, positive, signals
from systems.arguments import expect_number
from systems.lowering import lower
from systems.lowering.buffered import Buffered

FORCE = 5.0  # N, with which the tool is to press against the wall
GAIN = 4.0  # of the force controller; with 1, it settles without a tank

_HALVINGS = 14  # of the part of an input that is applied
_RESERVE = 1e-9  # of the capacity, for rounding in the predicted work and in sums over millions of samples


@dataclass(frozen=True)
class Tool(Plant):
    """A mass before a wall that it touches at position 0, with the contact law of Hunt & Crossley (1975).

    mass position'' = force + push - drag position' - contact, contact = max(0, stiffness d (1 + loss position')), where
    d = max(0, position). A contact of this kind is passive: it only stores and dissipates energy.
    """

    mass: float = positive(1.0)  # kg
    drag: float = nonnegative(2.0)  # N s/m
    stiffness: float = positive(2e4)  # N/m
    loss: float = nonnegative(0.5)  # s/m
    max_force: float = positive(50.0)  # N

    state = signals("position [m]", "speed [m/s]")
    input = signals("force [N]")
    disturbance = signals("push [N]")

    def contact(self, x: Vector) -> Any:
        """The force of the wall, N."""
        return ca.fmax(0.0, self.stiffness * ca.fmax(0.0, x.position) * (1.0 + self.loss * x.speed))

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return x.speed, (u.force + w.push - self.drag * x.speed - self.contact(x)) / self.mass

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"force": (-self.max_force, self.max_force)}

    def sensor(self) -> Callable[[np.ndarray], np.ndarray]:
        """The force of the wall, N, (..., 1) at states (..., 2), as a function of arrays."""
        x = self.state.symbol()
        measured: Callable[[np.ndarray], np.ndarray] = lower(
            ca.Function("contact", [x], [self.contact(Vector(self.state, x))]), to="numpy"
        )
        return measured

    def stored(self, x: np.ndarray) -> np.ndarray:
        """Kinetic energy, and that of the wall's spring, J, (...,) at states (..., 2)."""
        return 0.5 * self.mass * x[..., 1] ** 2 + 0.5 * self.stiffness * np.maximum(x[..., 0], 0.0) ** 2


def task(push: float = 0.0) -> Task:
    """Press against the wall for 1 s, from up to 5 mm before it, while something pushes by up to `push` N."""
    return Task(
        name="contact",
        plant=Tool(),
        dt=1e-3,
        steps=1000,
        cost=Quadratic(Q={"position": 1e6, "speed": 1.0}, R={"force": 1e-3}),
        initial=Uniform({"position": -0.005, "speed": 0.0}, {"position": 0.0, "speed": 0.1}),
        disturbance=Uniform({"push": -push}, {"push": push}),
        domain=Box("model", {"position": (-2.0, 0.1), "speed": (-20.0, 20.0)}),
        integrator="rk4",
        substeps=4,
    )


@final
class ForceController:
    """force = FORCE + gain (FORCE - contact), from a measured contact force."""

    def __init__(self, task: Task, gain: float = GAIN) -> None:
        plant = task.plant
        assert isinstance(plant, Tool)
        self.gain, self._force, self._most = gain, plant.sensor(), plant.max_force

    def reset(self) -> None:
        """Does nothing: the controller has no memory."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        contact = float(self._force(x)[0])
        return Decision(np.clip([FORCE + self.gain * (FORCE - contact)], -self._most, self._most))


@final
class EnergyTank(SafetyFilter):
    """Scales an input down so that the energy supplied over any time never exceeds the capacity of a tank.

    Every input acts on a displacement, so an actuator that holds u over a sample supplies exactly the work
    u (q+ - q) (Stramigioli, Secchi, van der Schaft & Fantuzzi, 2005). This work is taken from the tank, and negative
    work refills it up to its capacity (energy tanks: Ferraguti, Secchi & Fantuzzi, 2013; the sum of the work is the
    passivity observer of Hannaford & Ryu, 2002). An input is applied if the tank holds its predicted work; otherwise
    the largest part of it is applied for which that is so. No input does no work, so there always is such a part.

    The claim is *sampled*: of the nominal plant, whose work is predicted in floating point at the corners of the
    disturbances' box. If a sample supplies more than predicted, the tank is in debt, and no input that would supply
    energy is applied until the debt is paid.

    Args:
        task: whose plant is filtered; its input bounds must include zero.
        ports: the position on which each input acts, by the names of both; the work of other inputs is not counted.
        capacity: of the tank, J, which is also its level at the start of a run.

    Raises:
        NotApplicable: an input that cannot be zero. UnknownName: no such signal. InvalidValue: no positive capacity.
    """

    def __init__(self, task: Task, ports: Mapping[str, str], capacity: float) -> None:
        super().__init__(task)
        expect_number(capacity, "capacity", above=0.0, hint="in joules")
        plant = task.plant
        self._inputs = [plant.input.where(name) for name in ports]
        self._positions = [plant.state.where(name) for name in ports.values()]
        self.capacity, self._reserve = float(capacity), _RESERVE * capacity
        self._low, self._high = task.applied_bounds
        if (self._low > 0).any() or (self._high < 0).any():
            raise NotApplicable(
                f"task '{task.name}': inputs from {self._low} to {self._high}; a tank that is empty applies zero, "
                "which must lie within the bounds"
            )
        low, high = task.disturbance.support(plant.disturbance)
        distinct = [sorted({a, b}) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
        self._corners = [np.array(corner, dtype=float) for corner in itertools.product(*distinct)]
        n = len(plant.state)
        self._x, self._u, self._w, self._next = np.zeros(n), np.zeros(len(self._low)), np.zeros(len(low)), np.zeros(n)
        self._plant = Buffered(task.dynamics.function(), [self._x, self._u, self._w], [self._next])
        self.reset()

    def __repr__(self) -> str:
        return f"<EnergyTank of {self.capacity:g} J, now {self.level:g} J>"

    def reset(self) -> None:
        """Fills the tank."""
        self.level, self._last, self._predicted = self.capacity, None, 0.0

    def correct(self, x: np.ndarray, u: np.ndarray, k: int) -> Correction:
        """See :meth:`SafetyFilter.correct`."""
        is_known = bool(np.isfinite(x).all())
        self._book(x if is_known else None)
        rest = np.zeros(len(self._u))
        if not is_known:
            return Correction(rest, Reason.NO_STATE)
        is_given = bool(np.isfinite(u).all())
        proposed = np.minimum(np.maximum(u, self._low), self._high) if is_given else rest
        part, applied = 0.0, rest
        if (work := self._work(x, proposed)) <= self._held:
            part, applied = 1.0, proposed
        else:
            above, work = 1.0, 0.0
            for _ in range(_HALVINGS):  # `part` is one whose work the tank holds, which zero is
                tried = 0.5 * (part + above)
                if (needed := self._work(x, tried * proposed)) <= self._held:
                    part, applied, work = tried, tried * proposed, needed
                else:
                    above = tried
        self._last, self._predicted = (x.copy(), applied.copy()), work
        reason = None if is_given else Reason.NO_INPUT
        if reason is None and part < 1.0:
            reason = Reason.UNSAFE_INPUT if self.level >= 0 else Reason.OUTSIDE
        return Correction(applied.copy(), reason)

    @property
    def _held(self) -> float:
        """What an input may supply: the level less a reserve, nothing in debt, J."""
        return max(self.level - self._reserve, 0.0)

    def _work(self, x: np.ndarray, u: np.ndarray) -> float:
        """The most that an input (m,) may supply over the next sample, J; infinite where it cannot be predicted."""
        self._x[:], self._u[:] = x, u
        worst = -np.inf
        for corner in self._corners:
            self._w[:] = corner
            self._plant.run()
            work = sum(float(u[i] * (self._next[p] - x[p])) for i, p in zip(self._inputs, self._positions, strict=True))
            worst = max(worst, work if isfinite(work) else np.inf)
        return worst

    def _book(self, x: np.ndarray | None) -> None:
        """Takes from the tank what the last sample has supplied, or at most can have where its end is unknown."""
        if self._last is None:
            return
        before, u = self._last
        work = self._predicted
        if x is not None:
            work = sum(float(u[i] * (x[p] - before[p])) for i, p in zip(self._inputs, self._positions, strict=True))
        self.level, self._last = min(self.level - work, self.capacity), None


def supplied(runs: Trajectories) -> np.ndarray:
    """The energy supplied by the force up to every sample, J, (b, steps + 1)."""
    work = runs.inputs[..., 0] * np.diff(runs.states[..., 0], axis=1)
    return np.concatenate([np.zeros((len(work), 1)), np.cumsum(work, axis=1)], axis=1)


@dataclass(frozen=True)
class Options:
    """A force controller on a stiff wall, with and without an energy tank."""

    tank: float = 0.1
    """Capacity of the tank, J."""
    file: str = "energy_tank.png"
    """Of the figure."""


def main(options: Options) -> dict[str, Trajectories]:
    contact = task()
    tank = Filtered(ForceController(contact), EnergyTank(contact, {"force": "position"}, options.tank))
    runs = {
        name: simulate(contact, controller, np.array([[-0.003, 0.0]]))
        for name, controller in {"force controller": ForceController(contact), "with a tank": tank}.items()
    }
    for name, run in runs.items():
        late = run.states[0, -100:]
        print(
            f"{name:>16}: {supplied(run)[0].max():7.3f} J supplied at most, "
            f"in the last 0.1 s at most {1e3 * np.abs(late[:, 0]).max():.2f} mm from the wall's surface"
        )
    print(f"the tank {tank.statistics}")
    _figure(contact, runs, options)
    return runs


def _figure(contact: Task, runs: dict[str, Trajectories], options: Options) -> None:
    import matplotlib.pyplot as plt

    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(9.0, 2.8), layout="constrained", sharex=True)
        time = contact.dt * np.arange(contact.steps + 1)
        plant = contact.plant
        assert isinstance(plant, Tool)
        for name, run in runs.items():
            x = run.states[0]
            for ax, value in zip(axes, (1e3 * x[:, 0], plant.sensor()(x)[:, 0], supplied(run)[0]), strict=True):
                ax.plot(time, value, label=name)
        axes[2].axhline(options.tank, color="0.4", linestyle="--", linewidth=1.0, label="capacity of the tank")
        axes[1].axhline(FORCE, color="0.4", linestyle=":", linewidth=1.0)
        for ax, what in zip(axes, ("position [mm]", "contact force [N]", "energy supplied [J]"), strict=True):
            ax.set(xlabel="time [s]", ylabel=what)
        axes[2].legend()
        figure.savefig(options.file)
        plt.close(figure)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
