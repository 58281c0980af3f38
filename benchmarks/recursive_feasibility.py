"""Once feasible, always feasible: is it so, from the very edge of the feasible set?

    python -m benchmarks.recursive_feasibility [--plants 400] [--first 0]

Random linear plants (1 to 4 states, 1 or 2 inputs, stable and unstable, some in odd units), with limits on the inputs
alone or boxes on states as well. Every controller that promises recursive feasibility is started from states that are
feasible to it and as far out as bisection to 1e-12 finds them along random rays, and from random ones; then runs its
own model, under the disturbances it promises to bear: at the corners of their law for half of the runs. A loss is a
problem that is infeasible after one that was solved.

* LinearMPC with its terminal set, undisturbed.
* HarmonicMPC, undisturbed, with a reference that changes at every eighth sample.
* StochasticMPC that resets its prediction at every sample, every third one, and never; and with worst-case margins.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tyro

from ctrl.controller import Controller, NotApplicable, Status
from mpc import HarmonicMPC, LinearMPC, StochasticMPC
from systems import Box, Constraint, Fixed, InvalidValue, LinearPlant, Polytope, Quadratic, SetPoint, Task, Uniform

RAYS, SAMPLES = 6, 25


def random_task(seed: int, disturbed: bool) -> Task:
    """A plant under limits on its inputs, and perhaps on its states; ``disturbed`` with chances and a budget."""
    rng = np.random.default_rng(seed)
    n, m = 1 + seed % 4, 1 + (seed // 4) % 2
    A = rng.normal(size=(n, n))
    A *= rng.uniform(0.5, 1.3) / np.abs(np.linalg.eigvals(A)).max()
    units = 10.0 ** rng.integers(-3, 4, n) if rng.random() < 0.15 else np.ones(n)
    B = rng.normal(size=(n, m)) * units[:, None]
    limits = ((-1.0, float(rng.uniform(0.6, 1.4))),) * m
    if m == 2 and rng.random() < 0.15:
        limits = (limits[0], (-np.inf, np.inf))
    q = int(rng.integers(1, n + 1))
    E = (rng.normal(size=(n, q)) if rng.random() < 0.5 else np.eye(n)[:, :q]) * units[:, None]
    plant = LinearPlant(A * units[:, None] / units, B, E=0.03 * E if disturbed else None, dt=0.1, input_limits=limits)
    names, kind = plant.state.names, int(rng.integers(0, 4))
    box = {name: (-1.5 * unit, float(rng.uniform(0.8, 2.0)) * unit) for name, unit in zip(names, units, strict=True)}
    constraints: list[Constraint] = []
    if kind == 1:
        constraints.append(Box("some", {names[0]: box[names[0]]}))
    if kind == 2:
        constraints.append(Box("box", box))
    if kind == 3:
        constraints.append(Polytope("cut", names, rng.normal(size=(2, n)) / units, np.array([1.0, 1.5])))
    if disturbed:
        constraints.append(Box("chance", {names[-1]: box[names[-1]]}).chance(float(rng.uniform(0.5, 0.95))))
        if rng.random() < 0.3:
            constraints.append(Box("budget", {names[0]: (-1.2 * units[0], 1.2 * units[0])}).budget(3.0))
    weights = np.ones(n) / units**2
    if n > 1 and rng.random() < 0.15:
        weights[0] = 0.0
    return Task(
        f"random {seed}",
        plant,
        0.1,
        60,
        Quadratic(list(weights), [1.0] * m),
        Fixed(np.zeros(n)),
        tuple(constraints),
        disturbance=Uniform([-1.0] * q, list(rng.uniform(0.5, 1.5, q))) if disturbed else Fixed(),
    )


@dataclass
class Count:
    """What became of the runs of one kind of controller."""

    plants: int = 0
    runs: int = 0
    losses: int = 0
    odd: int = 0  # samples neither solved nor infeasible

    def as_json(self) -> dict[str, int]:
        return dataclasses.asdict(self)


def edge(controller: Controller, direction: np.ndarray, tries: int = 60) -> np.ndarray | None:
    """The farthest state along a ray at which the controller's problem is solved, to rounding."""

    def solved(share: float) -> bool:
        controller.reset()
        return controller.step(share * direction, 0).status is Status.SOLVED

    low, high = 0.0, 1.0
    while solved(high):
        low, high = high, 4.0 * high
        if high > 1e6:
            return low * direction
    if low == 0.0 and not solved(0.0):
        return None
    for _ in range(tries):
        if high - low <= 1e-12 * high:
            break
        middle = 0.5 * (low + high)
        low, high = (middle, high) if solved(middle) else (low, middle)
    return low * direction


def run(
    controller: Controller,
    task: Task,
    x: np.ndarray,
    rng: np.random.Generator,
    corners: bool,
    count: Count,
    each: Callable[[int], None] | None = None,
) -> bool:
    """One run; whether it was lost."""
    plant = task.plant
    assert isinstance(plant, LinearPlant)
    low, high = task.disturbance.support(plant.disturbance)
    controller.reset()
    count.runs += 1
    for k in range(SAMPLES):
        decision = controller.step(x, k)
        if decision.status is Status.INFEASIBLE and k:
            count.losses += 1
            return True
        if decision.status is not Status.SOLVED:
            if k == 0:
                return False
            count.odd += 1
        w = rng.uniform(low, high)
        if corners:
            w = np.where(rng.random(len(low)) < 0.5, low, high)
        x = plant.A @ x + plant.B @ decision.input + plant.E @ w + plant.c
        if each is not None:
            each(k)
    return False


def runs_of(
    controller: Controller, task: Task, seed: int, count: Count, each: Callable[[int], None] | None = None
) -> list[np.ndarray]:
    """Runs of one controller from its edge, and from half way; the starts of those that were lost."""
    rng = np.random.default_rng(seed)
    n = len(task.plant.state)
    plant = task.plant
    assert isinstance(plant, LinearPlant)
    size = np.abs(plant.B).max(axis=1) + 1e-300
    lost = []
    for i in range(RAYS):
        x = edge(controller, rng.normal(size=n) * size)
        if x is None:
            continue
        for share in (1.0, 0.5):
            if run(controller, task, share * x, rng, i % 2 == 0, count, each):
                lost.append(share * x)
    count.plants += 1
    return lost


def linear(seed: int, count: Count) -> list[np.ndarray]:
    """LinearMPC with its terminal set, DAQP and PIQP in turns."""
    task = random_task(seed, disturbed=False)
    return runs_of(LinearMPC(task, 1 + seed % 7, "set", solver="piqp" if seed % 5 == 4 else "daqp"), task, seed, count)


def harmonic(seed: int, count: Count) -> list[np.ndarray]:
    """HarmonicMPC with references that jump."""
    task = random_task(seed, disturbed=False)
    n = len(task.plant.state)
    controller = HarmonicMPC(task, n + 1 + seed % 4, frequency=0.3)
    rng = np.random.default_rng(seed)
    names = task.plant.state.names
    assert isinstance(task.plant, LinearPlant)
    size = np.abs(task.plant.B).max(axis=1)

    def jump(k: int) -> None:
        if k % 8 == 4:
            controller.follow(SetPoint(dict(zip(names, (rng.normal(size=n) * size).tolist(), strict=True))))

    return runs_of(controller, task, seed, count, jump)


def stochastic(every: float, tightening: str = "exact") -> Callable[[int, Count], list[np.ndarray]]:
    """StochasticMPC with an interval of re-conditioning."""

    def runs(seed: int, count: Count) -> list[np.ndarray]:
        task = random_task(seed, disturbed=True)
        controller = StochasticMPC(task, 1 + seed % 6, recondition_every=every, tightening=tightening)  # type: ignore[arg-type]
        return runs_of(controller, task, seed, count)

    return runs


KINDS: dict[str, Callable[[int, Count], list[np.ndarray]]] = {
    "linear": linear,
    "harmonic": harmonic,
    "stochastic, M = 1": stochastic(1),
    "stochastic, M = 3": stochastic(3),
    "stochastic, M = inf": stochastic(math.inf),
    "robust": stochastic(1, "worst-case"),
}


def main(plants: int = 400, first: int = 0, only: str = "") -> None:
    """Prints what is lost, then one line of JSON: plants, runs, losses, samples neither solved nor infeasible."""
    found = {}
    for name, runs in KINDS.items():
        if only not in name:
            continue
        count, seed = Count(), first
        while count.plants < plants and seed < first + 4 * plants:
            try:
                for x in runs(seed, count):
                    print(name, seed, "lost from", x.tolist(), flush=True)
            except (NotApplicable, InvalidValue):
                pass
            seed += 1
        found[name] = count.as_json()
        print(name, found[name], flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    tyro.cli(main)
