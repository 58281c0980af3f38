"""An arm lifts a load of unknown mass by MPC with a model that was learned from runs with other loads.

Run: python examples/arm_with_unknown_load.py
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import casadi as ca
import numpy as np

from ctrl import Comparison, Controller, Decision, compare
from ctrl.comparison.figure import STYLE
from ctrl.loop import simulate
from mpc import NonlinearMPC
from systems import Plant, Task, Uniform
from systems.identification import LagrangianFit, LagrangianNetwork, Runs, fit_lagrangian
from systems.library.two_link_arm import TwoLinkArm, two_link_arm

LOADS = (0.0, 2.0)  # kg
VARIED = Uniform({"payload": LOADS[0]}, {"payload": LOADS[1]})
WINDOW = 15  # samples


class Recorder:
    """Proportional-derivative control to random set-points, with the torque that holds a load of 1 kg."""

    def __init__(self, task: Task, seed: int) -> None:
        self.rng, q = np.random.default_rng(seed), ca.SX.sym("q", 2)
        self.weight = ca.Function("weight", [q], [ca.gradient(TwoLinkArm().energies(q)[1], q)])

    def reset(self) -> None:
        """Forgets the set-point."""
        self.target = np.zeros(2)

    def step(self, x: np.ndarray, k: int) -> Decision:
        if k % 12 == 0:
            self.target = self.rng.uniform([-1.0, -1.5], [3.0, 1.5])
        torque = np.array([25.0, 8.0]) * (self.target - x[:2] - 0.15 * x[2:])
        return Decision(torque + np.array(self.weight(x[:2])).ravel())


def planned(task: Task, plant: Plant) -> Task:
    """The task for a controller, which knows neither the true plant nor what varies."""
    return dataclasses.replace(task, plant=plant, truth=None, variation=None)


class WithContext:
    """Nonlinear MPC with the context that explains the last samples, held over the horizon.

    Args:
        task: to be controlled.
        fit: of its plant.
    """

    def __init__(self, task: Task, fit: LagrangianFit) -> None:
        self.fit, self.dt = fit, task.dt
        learned = planned(task, fit.plant)
        self.controller = NonlinearMPC(learned, 15, parameters=fit.plant.context_names)
        self.approximations = (*self.controller.approximations, "takes the inferred context for exact")
        self.reset()

    def reset(self) -> None:
        """Starts a new run, with the mean context."""
        self.controller.reset()
        self.states: list[np.ndarray] = []
        self.inputs: list[np.ndarray] = []
        self.context = self.fit.contexts.mean(axis=0)

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Infers the context, then decides."""
        plant = self.fit.plant
        self.states = [*self.states[-WINDOW:], x.copy()]
        self.inputs = self.inputs[-WINDOW:]
        if self.inputs and np.isfinite(self.states).all():
            window = Runs([np.array(self.states)], [np.array(self.inputs)], self.dt, plant.state, plant.input)
            self.context = self.fit.context(window).values
        self.controller.set_parameters(self.context)
        decision = self.controller.step(x, k)
        self.inputs.append(np.clip(decision.input, *plant.bounds))
        return decision


def recorded(task: Task, count: int, seed: int, load: float | None = None) -> Runs:
    """Runs of the true arm, each with a load of its own if none is given."""
    rng = np.random.default_rng(seed)
    lifted = dataclasses.replace(task, steps=80, domain=None).with_variation(VARIED)
    starts = np.concatenate([rng.uniform(-1.5, 1.5, (count, 2)), np.zeros((count, 2))], axis=1)
    loads = rng.uniform(*LOADS, (count, 1)) if load is None else np.full((count, 1), load)
    record = simulate(lifted, Recorder(lifted, seed), starts, parameters=loads)
    return Runs.recorded(record, task.plant.state, task.plant.input, task.dt)


def main(
    runs: int = 24, starts: int = 8, iterations: int = 40, file: str = "arm_with_unknown_load.png"
) -> tuple[Comparison, LagrangianFit]:
    """Records, fits, compares and draws.

    Args:
        runs: for training.
        starts: of the comparison.
        iterations: of training.
        file: of the figure.
    """
    task = two_link_arm()
    train = recorded(task, runs, 1)
    limits = tuple(zip(*(bound.tolist() for bound in task.plant.bounds), strict=True))
    with_context = fit_lagrangian(train, LagrangianNetwork((16,), 1, iterations=iterations), input_limits=limits)
    without = fit_lagrangian(train, LagrangianNetwork((16,), 0, iterations=iterations), input_limits=limits)
    print(with_context)
    print(without)

    def knowing(plant: Plant, task: Task) -> Controller:
        return NonlinearMPC(planned(task, plant), horizon=15)

    makers: dict[str, Any] = {
        "learned, with context": partial(WithContext, fit=with_context),
        "learned, without": partial(knowing, without.plant),
        "true equations, load of 1 kg": partial(knowing, task.plant),
    }
    loaded = dataclasses.replace(task, truth=task.plant).with_variation(VARIED)
    result = compare(loaded, makers, starts=starts, workers=1)
    print(result)
    _figure(result, with_context, task, file)
    print(f"drawn in {file}")
    return result, with_context


def _figure(result: Comparison, fit: LagrangianFit, task: Task, file: str) -> None:
    import matplotlib.pyplot as plt

    loads = np.linspace(*LOADS, 9)
    inferred = []
    for load in loads:
        run = recorded(task, 1, 99, load)
        window = Runs([run.states[0][: WINDOW + 1]], [run.inputs[0][:WINDOW]], run.dt, run.state, run.input)
        inferred.append(fit.context(window))
    values = np.array([c.values[0] for c in inferred])
    goal, _ = task.reference.at(task.plant, 0)
    with plt.style.context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="constrained")
        left.plot(loads, values, "o-", color="C0")
        left.set(xlabel="load [kg]", ylabel="context", title=f"Inferred from {WINDOW} samples", ylim=(0, None))
        for i, (name, runs) in enumerate(result.runs.items()):
            distance = np.rad2deg(np.abs(runs.states[:, :, :2] - goal[:2]).max(axis=2))
            right.plot(task.dt * np.arange(distance.shape[1]), np.median(distance, axis=0), color=f"C{i}", label=name)
        right.set(
            xlabel="time [s]", ylabel="largest error of an angle [deg]", yscale="log", title="MPC, median of the runs"
        )
        right.legend()
        figure.savefig(file)
        plt.close(figure)


if __name__ == "__main__":
    main()
