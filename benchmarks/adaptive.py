"""What does learning online gain and cost: against the nominal controller, and against one that knew the plant?

    python -m benchmarks.adaptive [--steps 400] [--starts 8] [--features 200]

1. A residual: the cart of `examples/unknown_forces.py`, which follows a sine under unknown forces. Tracking error of
   nonlinear MPC with the nominal plant, with a residual that it learns by each rule, and with the true plant
   (clairvoyant), and the regret: the cost above that of the clairvoyant controller, after half of the run and at its
   end.
2. A parameter: the pendulum of `examples/unknown_payload.py`, a third heavier than its model, whose angle is measured.
   Linear and nonlinear MPC with the nominal mass, with its estimate and with the true mass, from the same starts and
   with the same noise: error of the angle, cost, and regret as its share of the clairvoyant cost.
3. Processor time of one sample's update: of the features' weights by each rule, and of all that follows from a
   parameter in LinearMPC (`set_parameters`), beside constructing the controller anew.

The last line is JSON.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import process_time
from typing import Any

import casadi as ca
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from ctrl import Controller, ExtendedKalmanFilter, OutputFeedback, simulate
from mpc import AdaptiveMPC, LinearMPC, NonlinearMPC, ParameterAdaptiveMPC
from systems import Fixed, Gaussian, Measurement, Plant, Quadratic, Sinusoid, Task, Uniform, Vector, signals
from systems.identification.online import FourierFeatures, OnlineRule, ProjectedGradient, RecursiveLeastSquares
from systems.library import cartpole, pendulum
from systems.library.pendulum import Pendulum

RULES = {"recursive least squares": RecursiveLeastSquares(), "gradient": ProjectedGradient()}
DT, RATE = 0.05, 2 * np.pi / 5.0  # s, rad/s
MASSES = {"mass": (0.1, 0.3)}  # kg
CHANGED: tuple[tuple[str, Callable[[], Task], str], ...] = (
    ("pendulum", pendulum, "mass"),
    ("cartpole", cartpole, "pole_mass"),
)


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        steps: samples of the cart's run.
        starts: runs of the pendulum per controller.
        features: random Fourier features of the residual.
        updates: updates that are timed.
    """

    steps: int = 400
    starts: int = 8
    features: int = 200
    updates: int = 100


@dataclass(frozen=True)
class Cart(Plant):
    """A unit mass; the true one is pushed, by a force that depends on its place, and has drag."""

    constant: float = 0.0  # N
    ripple: float = 0.0  # N
    drag: float = 0.0  # N s^2/m^2

    state = signals("position [m]", "speed [m/s]")
    input = signals("force [N]")

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        push = self.constant + self.ripple * ca.sin(3 * x.position)
        return x.speed, u.force + push - self.drag * x.speed * ca.fabs(x.speed)

    def limits(self) -> Mapping[str, tuple[float, float]]:
        return {"force": (-5.0, 5.0)}


def cart(steps: int) -> Task:
    """The cart on a sine of 1 m."""
    reference = Sinusoid(RATE * DT, x_sine=(1, 0), x_cosine=(0, RATE), u_sine=(-(RATE**2),))
    return Task(
        "cart", Cart(), DT, steps, Quadratic({"position": 10.0, "speed": 1.0}, {"force": 0.01}),
        Fixed([0.0, RATE]), reference=reference, truth=Cart(1.5, 1.0, 0.3),
    )  # fmt: skip


def learning(task: Task, rule: OnlineRule, features: int) -> AdaptiveMPC:
    """The controller that learns what force and place change within a sample."""
    basis = FourierFeatures({"position": 0.5, "speed": 1.0}, count=features)
    return AdaptiveMPC(task, basis, {"position": 0.008, "speed": 0.3}, rule, partial(NonlinearMPC, horizon=15))


def run(task: Task, controller: Controller) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the position [m], and costs, at the samples of one run."""
    runs = simulate(task, controller, task.initial.mean(task.plant.state)[None])
    x_ref, _ = task.reading.window(0, task.steps)
    return runs.states[0, :-1, 0] - x_ref[:, 0], runs.costs[0]


def measured_pendulum() -> Task:
    """The pendulum of an unknown mass, whose motor can hardly hold it, and whose angle is measured."""
    return dataclasses.replace(
        pendulum(),
        truth=Pendulum(mass=0.2),
        steps=80,
        initial=Uniform({"angle": -0.3, "rate": -0.3}, {"angle": 0.3, "rate": 0.3}),
        measurement=Measurement(signals("angle [rad]"), noise=Gaussian({"angle": 0.005})),
    )


def known(task: Task) -> Task:
    """The same task for a controller that knows the true plant."""
    return dataclasses.replace(task, plant=task.truth, truth=None)


def residual(options: Options) -> tuple[dict[str, dict[str, float]], dict[str, list[float]]]:
    """Tracking error [mm] and regret of each controller, and processor times [ms] of the updates of each rule."""
    task = cart(options.steps)
    learners = {name: learning(task, rule, options.features) for name, rule in RULES.items()}
    controllers: dict[str, Controller] = {
        "clairvoyant": NonlinearMPC(known(task), horizon=15),
        "nominal": NonlinearMPC(task, horizon=15),
        **learners,
    }
    rows: dict[str, dict[str, float]] = {}
    best: np.ndarray | None = None
    for name, controller in controllers.items():
        errors, costs = run(task, controller)
        best = costs if best is None else best
        regret = np.cumsum(costs - best)
        rows[name] = {
            "error_mm": 1e3 * float(np.sqrt((errors**2).mean())),
            "regret_half": float(regret[len(regret) // 2 - 1]),
            "regret": float(regret[-1]),
        }
    times = {}
    for name, learner in learners.items():
        after, k = task.true_dynamics.function(), options.steps + 10
        x, taken = task.initial.mean(task.plant.state), []
        for i in range(options.updates):
            u = np.array([np.sin(0.3 * i)])
            learner._last = x, u, k + i
            x = np.array(after(x, u, [], [])).ravel()
            began = process_time()
            learner._learn(x, k + i + 1)
            taken.append(1e3 * (process_time() - began))
        times[name] = taken
    return rows, times


def parameter(options: Options) -> dict[str, dict[str, float]]:
    """Error of the angle [mrad], cost and regret of each controller."""
    rng, payload = np.random.default_rng(0), measured_pendulum()
    starts = payload.initial.sample(payload.plant.state, rng, (options.starts,))
    assert payload.measurement is not None
    assert payload.measurement.noise is not None
    noise = payload.measurement.noise.sample(payload.measurement.signals, rng, (options.starts, payload.steps))
    rows: dict[str, dict[str, float]] = {}
    for kind, make in {"linear": LinearMPC, "nonlinear": NonlinearMPC}.items():
        predictive: Any = partial(make, horizon=20)
        adaptive = ParameterAdaptiveMPC(payload, MASSES, predictive=predictive)
        with_model = {"clairvoyant": known(payload), "nominal": payload}
        controllers: dict[str, Controller] = {
            name: OutputFeedback(predictive(task), ExtendedKalmanFilter(task)) for name, task in with_model.items()
        }
        controllers["adaptive"] = adaptive
        for name, controller in controllers.items():
            runs = simulate(payload, controller, starts, noise=noise)
            best = rows[f"{kind}, clairvoyant"]["cost"] if rows.get(f"{kind}, clairvoyant") else None
            cost = float(runs.cost.mean())
            rows[f"{kind}, {name}"] = {
                "error_mrad": 1e3 * float(np.sqrt((runs.states[:, :-1, 0] ** 2).mean())),
                "cost": cost,
                "relative_regret": 0.0 if best is None else cost / best - 1.0,
            }
    return rows


def changes(options: Options) -> dict[str, dict[str, float]]:
    """Processor times [ms] of a change of parameters in LinearMPC, and of constructing it anew."""
    rows = {}
    for name, make, changed in CHANGED:
        task = make()
        nominal = float(task.plant.parameters[changed])
        controller = LinearMPC(task, horizon=20, parameters=(changed,))
        factors = np.random.default_rng(0).uniform(0.8, 1.2, options.updates)
        controller.set_parameters(np.array([0.9 * nominal]))
        taken, anew = [], []
        for i, factor in enumerate(factors):
            began = process_time()
            controller.set_parameters(np.array([factor * nominal]))
            taken.append(1e3 * (process_time() - began))
            assert not controller.refused
            if i < 5:
                began = process_time()
                plant = task.plant.with_parameters({changed: float(factor * nominal)})
                LinearMPC(dataclasses.replace(task, plant=plant), horizon=20)
                anew.append(1e3 * (process_time() - began))
        rows[name] = {**spread(taken), "anew_ms": float(np.median(anew)), "sample_ms": 1e3 * task.dt}
    return rows


def spread(times: list[float]) -> dict[str, float]:
    """Median, 99th percentile and largest of times [ms]."""
    p50, p99 = np.percentile(times, [50, 99])
    return {"p50_ms": float(p50), "p99_ms": float(p99), "max_ms": float(max(times))}


def show(console: Console, title: str, rows: dict[str, dict[str, float]]) -> None:
    """One table, with the keys of the first row as columns."""
    table = Table("", *next(iter(rows.values())), title=title)
    for name, row in rows.items():
        table.add_row(name, *(f"{value:.4g}" for value in row.values()))
    console.print(table)


def main(options: Options) -> None:
    """Prints the tables, and the JSON line."""
    console = Console()
    learned, times = residual(options)
    show(console, "cart under unknown forces", learned)
    updates = {name: spread(taken) for name, taken in times.items()}
    show(console, f"update of {options.features} features", updates)
    estimated = parameter(options)
    show(console, "pendulum of unknown mass", estimated)
    changed = changes(options)
    show(console, "LinearMPC: change of a parameter", changed)
    print(json.dumps({"residual": learned, "update": updates, "parameter": estimated, "set_parameters": changed}))


if __name__ == "__main__":
    main(tyro.cli(Options))
