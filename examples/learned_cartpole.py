"""A cart-pole that is heavier than its data sheet says and has friction: data, two fits, and MPC with each model.

Run: python examples/learned_cartpole.py
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from ctrl import LQR, Comparison, Controller, Decision, compare
from ctrl.comparison.draws import draw
from ctrl.comparison.figure import STYLE
from ctrl.loop import simulate
from mpc import NonlinearMPC
from systems import Fixed, Task, Uniform, Vector, nonnegative
from systems.identification import GaussianProcess, Runs, Validation, fit_parameters, fit_residual, validate
from systems.library import CartPole, cartpole


@dataclass(frozen=True)
class CartPoleWithFriction(CartPole):
    """A cart-pole with viscous friction of its cart."""

    friction: float = nonnegative(0.0)  # N s/m

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        return super().ode(x, Vector(self.input, u.column - self.friction * x.velocity, "input"), w)


NOMINAL = CartPoleWithFriction()  # the data sheet: 1 kg, no friction
TRUE = CartPoleWithFriction(cart_mass=2.0, friction=3.0)
NOISE = np.array([0.001, 0.001, 0.01, 0.01])  # of the measured states


class Excited:
    """The LQR of the nominal plant with a random force on top, so that the data tell its effects apart."""

    def __init__(self, task: Task) -> None:
        self.regulator, self.rng = LQR(task), np.random.default_rng(0)

    def reset(self) -> None:
        """Forgets the force of the run before."""
        self.force = np.zeros(1)

    def step(self, x: np.ndarray, k: int) -> Decision:
        if k % 4 == 0:
            self.force = self.rng.uniform(-6.0, 6.0, 1)
        return Decision(self.regulator.step(x, k).input + self.force)


def recorded(task: Task, count: int) -> Runs:
    """Runs of the true plant under the nominal regulator, measured with noise."""
    calm = dataclasses.replace(task, disturbance=Fixed())
    starts, disturbances = draw(calm, count, [1])
    record = simulate(calm, Excited(calm), starts, disturbances)
    clean = Runs.recorded(record, task.plant.state, task.plant.input, task.dt)
    rng = np.random.default_rng(2)
    noisy = tuple(x + NOISE * rng.standard_normal(x.shape) for x in clean.states)
    return dataclasses.replace(clean, states=noisy)


def main(starts: int = 16, file: str = "learned_cartpole.png") -> tuple[Comparison, dict[str, Validation]]:
    """Fits, validates, compares and draws.

    Args:
        starts: of the comparison; default: 16.
        file: of the figure; default: "learned_cartpole.png".
    """
    task = dataclasses.replace(
        cartpole(), plant=NOMINAL, truth=TRUE, disturbance=Uniform({"push": -0.2}, {"push": 0.2})
    )
    train, held = recorded(task, 16).split()
    print(train)

    # The friction is known to be viscous: two numbers of the hand-written plant.
    grey = fit_parameters(NOMINAL, train, ("cart_mass", "friction"))
    print(grey)
    # Nothing is known of it: whatever the data sheet leaves unexplained, as a function of what may matter.
    features = lambda x, u: (ca.sin(x.angle), x.velocity, x.rate, u.force)  # noqa: E731
    process = fit_residual(NOMINAL, train, GaussianProcess(50), NOMINAL.state.names, features)
    print(process)
    reports = {"fitted parameters": validate(grey, held), "Gaussian process": validate(process, held)}
    for name, report in reports.items():
        print(f"{name}: {report}")

    models = {"data sheet": NOMINAL, "fitted parameters": grey.plant, "Gaussian process": process.plant, "truth": TRUE}

    def controller(plant: Any) -> Any:
        def make(task: Task) -> Controller:
            known = (
                process.task(task, bounded=True) if plant is process.plant else dataclasses.replace(task, plant=plant)
            )
            return NonlinearMPC(known, horizon=15)

        return make

    result = compare(task, {name: controller(plant) for name, plant in models.items()}, starts=starts, workers=1)
    print(result)
    _figure(result, reports, held, file)
    print(f"drawn in {file}")
    return result, reports


def _figure(result: Comparison, reports: dict[str, Validation], held: Runs, file: str) -> None:
    import matplotlib.pyplot as plt

    styles: dict[str, dict[str, Any]] = {name: {"color": f"C{i}"} for i, name in enumerate(result.runs)}
    styles["truth"] = {"color": "k", "linestyle": "--"}
    with plt.style.context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9), layout="constrained")
        for name, report in reports.items():
            left.plot(held.dt * np.arange(1, len(report.errors)), report.errors[1:, 0], label=name, **styles[name])
        left.plot(held.dt * np.arange(1, len(report.changes)), report.changes[1:, 0], color="0.6", label="no change")
        left.set(xlabel="time ahead [s]", ylabel="error of the position [m]", yscale="log", title="Held-out runs")
        left.legend()
        for name, runs in result.runs.items():
            distance = np.abs(runs.states[:, :, 0]).mean(axis=0)
            right.plot(held.dt * np.arange(len(distance)), distance, label=name, **styles[name])
        right.set(xlabel="time [s]", ylabel="mean distance [m]", title="MPC with each model on the true plant")
        right.legend()
        figure.savefig(file)
        plt.close(figure)


if __name__ == "__main__":
    main()
