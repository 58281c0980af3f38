"""Do the structure of a Lagrangian network and its context help, where an arm carries loads of unknown mass?

    python -m benchmarks.lagrangian_networks [--arm two|seven] [--runs 24] [--seeds 3]

The arm follows random set-points by proportional-derivative control with some torque for its weight; each run has a
load of its own, between nothing and `load` kg, which no model is told. On held-out runs, models see 0.3 s, from which
those with a context infer it, and then predict 0.5 s under the recorded torques. All models are trained on the same
samples, by the same method (Levenberg-Marquardt on velocity errors integrated over a sample), with about the same
number of weights:

* ``lagrangian, context``: `fit_lagrangian` with one entry of context,
* ``lagrangian``: the same without,
* ``unstructured, context`` and ``unstructured``: accelerations as outputs of a network, with and without an input for
  the context, which is a free number for each training run, and searched on a grid afterwards,
* ``EKF of the load``: the true equations with masses 10 % too large, of which an extended Kalman filter estimates the
  load from the same 0.3 s: an arm known from its drawing.

The two-link arm is that of the library. The arm of seven joints has the published Denavit-Hartenberg parameters of a
Franka Emika Panda; its inertias are ours and simple: a point mass in the middle between neighbouring joints, a rotor.

The last line is JSON; for each model, with one number for each seed,

* ``error``: root mean square over runs and joints of the angle's error after 0.5 s [rad],
* ``median``: its median over runs,
* ``energy``: median over runs of the error of the true energy of the predicted state after 2 s without input, relative
  to the standard deviation of the energy in the runs,
* ``lost``: of these predictions, the share that is not finite, or has rates above ten times the largest measured one,
* ``weights``: their number,
* ``seconds``: processor time of the training.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import process_time
from typing import Any, Literal

import casadi as ca
import numpy as np
import torch
import tyro

from systems import Discretisation, Gaussian, Measurement, Plant, Quadratic, Task, Vector, nonnegative, signals
from systems.estimated_parameters import estimate_parameters
from systems.euler_lagrange import accelerations, kinetic_energy
from systems.identification import LagrangianNetwork, Runs, fit_lagrangian
from systems.identification.lagrangian_network import between
from systems.identification.lagrangian_training import fit_with_contexts
from systems.library.two_link_arm import TwoLinkArm

DT = 0.02  # s
WINDOW, HORIZON, FREE = 15, 25, 100  # samples
# Denavit-Hartenberg parameters (Craig's convention) of the Panda as published by its maker: a, d [m], alpha [rad].
PANDA = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
)
FLANGE = 0.2  # m, from the last joint to the load
MASSES = (3.0, 3.0, 3.0, 2.5, 2.5, 1.5, 0.8)  # kg
ROTOR = 0.1  # kg m^2

Flow = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (N, 2 n), (N, m) -> (N, 2 n)


@dataclass(frozen=True)
class SevenJointArm(Plant):
    """The kinematics of a Panda with simplified inertias and a point mass as payload."""

    payload: float = nonnegative(1.0)  # kg
    damping: float = nonnegative(0.5)  # N m s
    heavier: float = nonnegative(1.0)  # factor of the masses of the links

    state = signals(*(f"q{i} [rad]" for i in range(1, 8)), *(f"v{i} [rad/s]" for i in range(1, 8)))
    input = signals(*(f"torque{i} [N m]" for i in range(1, 8)))

    def energies(self, q: ca.SX) -> tuple[ca.SX, ca.SX]:
        """Mass matrix (7, 7) and potential [J]."""
        frame, origins = ca.SX.eye(4), []
        for i, (a, d, alpha) in enumerate(PANDA):
            c, s, ca_, sa = ca.cos(q[i]), ca.sin(q[i]), np.cos(alpha).round(12), np.sin(alpha).round(12)
            rows = [[c, -s, 0, a], [s * ca_, c * ca_, -sa, -sa * d], [s * sa, c * sa, ca_, ca_ * d], [0, 0, 0, 1]]
            frame = frame @ ca.vertcat(*(ca.horzcat(*row) for row in rows))
            origins.append(frame[:3, 3])
        hand = (frame @ ca.DM([0.0, 0.0, FLANGE, 1.0]))[:3]
        ends = [*origins[1:], hand]
        points = [(self.heavier * m, 0.5 * (a + b)) for m, a, b in zip(MASSES, origins, ends, strict=True)]
        mass, potential = ROTOR * ca.SX.eye(7), ca.SX(0)
        for m, place in [*points, (self.payload, hand)]:
            turned = ca.jacobian(place, q)
            mass += m * turned.T @ turned
            potential += 9.81 * m * place[2]
        return mass, potential

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        q, v = ca.SX.sym("q", 7), ca.SX.sym("v", 7)
        derived = accelerations(q, v, *self.energies(q), u.column - self.damping * v)
        return ca.vertcat(x.column[7:], ca.substitute(derived, ca.vertcat(q, v), x.column))


@dataclass(frozen=True)
class Arm:
    """An arm, how it is excited, and the size of its networks.

    Args:
        plant: true.
        known: the same with wrong masses, for the Kalman filter.
        load: largest, kg.
        reach: largest set-point of each joint, rad.
        stiffness: of the control, N m/rad, by joint.
        hidden: units of each layer.
    """

    plant: Any
    known: Any
    load: float
    reach: float
    stiffness: tuple[float, ...]
    hidden: tuple[int, ...]


ARMS = {
    "two": Arm(TwoLinkArm(), TwoLinkArm(upper_mass=2.2, lower_mass=1.65), 2.0, 2.0, (25.0, 8.0), (24,)),
    "seven": Arm(
        SevenJointArm(), SevenJointArm(heavier=1.1), 3.0, 1.2, (60.0, 60.0, 40.0, 40.0, 15.0, 15.0, 5.0), (24,)
    ),
}


def measured(arm: Arm, count: int, samples: int, seed: int) -> tuple[Runs, np.ndarray]:
    """Runs with a new set-point every 0.5 s, and the loads (count,)."""
    rng, plant = np.random.default_rng(seed), arm.plant
    n, loads = len(plant.input), rng.uniform(0.0, arm.load, count)
    q = ca.SX.sym("q", n)
    weight = ca.Function("weight", [q], [ca.gradient(plant.energies(q)[1], q)])
    step = Discretisation(plant, DT, "rk4", 4).function(("payload",))
    stiff = np.array(arm.stiffness)
    x, states, inputs = np.concatenate([rng.uniform(-1, 1, (count, n)) * arm.reach, np.zeros((count, n))], 1), [], []
    for k in range(samples):
        if k % 25 == 0:
            target = rng.uniform(-1, 1, (count, n)) * arm.reach
        u = stiff * (target - x[:, :n]) - 0.15 * stiff * x[:, n:] + np.array(weight(target.T)).T
        states.append(x)
        inputs.append(u)
        x = np.array(step(x.T, u.T, np.zeros((0, count)), loads[None])).T
    states.append(x)
    return Runs(np.stack(states, 1), np.stack(inputs, 1), DT, plant.state, plant.input), loads


def rolled(flow: Flow, x: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """States (N, samples, 2 n) after each sample, by the Runge-Kutta method with two substeps."""
    states, h = [], DT / 2
    with np.errstate(all="ignore"):
        for k in range(inputs.shape[1]):
            u = inputs[:, k]
            for _ in range(2):
                a = flow(x, u)
                b = flow(x + 0.5 * h * a, u)
                c = flow(x + 0.5 * h * b, u)
                x = x + h / 6 * (a + 2 * b + 2 * c + flow(x + h * c, u))
            states.append(x)
    return np.stack(states, 1)


def flow_of(plant: Plant, names: tuple[str, ...] = (), values: np.ndarray | None = None) -> Flow:
    """The equations of a plant, with parameters (N, len(names)) of each run."""
    f = plant.casadi(names)

    def flow(x: np.ndarray, u: np.ndarray) -> np.ndarray:
        p = np.zeros((0, len(x))) if values is None else values.T
        return np.array(f(x.T, u.T, np.zeros((len(plant.disturbance), len(x))), p)).T

    return flow


# ---- unstructured networks ----


@dataclass(frozen=True, eq=False)
class Unstructured:
    """q'' = size * network(sin q, cos q, q', B u[, c]), all scaled.

    Args:
        layers: matrices and offsets.
        speed, torque, size: scales.
        contexts: of the training runs, (runs, k).
    """

    layers: list[tuple[np.ndarray, np.ndarray]]
    speed: np.ndarray
    torque: np.ndarray
    size: np.ndarray
    contexts: np.ndarray

    def accelerations(self, q: np.ndarray, v: np.ndarray, force: np.ndarray, c: np.ndarray) -> np.ndarray:
        values = np.concatenate([np.sin(q), np.cos(q), v / self.speed, force / self.torque, c], axis=1)
        for i, (matrix, offset) in enumerate(self.layers):
            values = values @ matrix.T + offset
            if i < len(self.layers) - 1:
                values = np.tanh(values)
        return np.asarray(self.size * values)

    def context(self, window: Runs) -> np.ndarray:
        """Of least velocity errors on a grid."""
        q, v, force, _ = between(window, np.eye(len(self.size)))
        lowest, highest = self.contexts.min(), self.contexts.max()
        grid = np.linspace(lowest - 0.2 * (highest - lowest), highest + 0.2 * (highest - lowest), 57)
        errors = [(self._errors(q, v, force, np.full((len(force), 1), c)) ** 2).sum() for c in grid]
        return grid[[int(np.argmin(errors))]]

    def _errors(self, q: np.ndarray, v: np.ndarray, force: np.ndarray, c: np.ndarray) -> np.ndarray:
        parts = [self.accelerations(q[i], v[i], force, c) for i in range(3)]
        return np.asarray((v[2] - v[0] - DT * (parts[0] + 4 * parts[1] + parts[2]) / 6) / self.size)


def fit_unstructured(runs: Runs, contexts: int, weights: int, depth: int, iterations: int, seed: int) -> Unstructured:
    """A network of about so many weights, trained as `fit_lagrangian` trains its own."""
    q, v, force, run = between(runs, np.eye(len(runs.input)))
    n, count = q.shape[2], len(runs)
    speed, torque, size = (np.sqrt((a**2).mean(axis=0)) for a in (v[1], force, (v[2] - v[0]) / DT))
    inputs, units = 4 * n + contexts, 1
    shapes = lambda h: [(h, inputs), *[(h, h)] * (depth - 1), (n, h)]  # noqa: E731
    while sum(a * b + a for a, b in shapes(units)) < weights:
        units += 1
    draw = np.random.default_rng(seed).standard_normal
    first = np.concatenate([part for a, b in shapes(units) for part in (draw(a * b) / np.sqrt(b), 0.1 * draw(a))])

    def split(at: Any) -> list[Any]:
        layers, used = [], 0
        for a, b in shapes(units):
            layers.append((at[used : used + a * b].reshape(a, b), at[used + a * b : used + a * b + a]))
            used += a * b + a
        return layers

    def error(w: torch.Tensor, c: torch.Tensor, features: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        values = torch.cat([features, c.expand(3, -1)], dim=1)
        for i, (matrix, offset) in enumerate(split(w)):
            values = values @ matrix.T + offset
            values = torch.tanh(values) if i < depth else values
        return change - (values[0] + 4 * values[1] + values[2]) / 6

    features = np.concatenate([np.sin(q), np.cos(q), v / speed, np.broadcast_to(force / torque, v.shape)], axis=2)
    data = (features.transpose(1, 0, 2), (v[2] - v[0]) / (DT * size))
    w, c, _ = fit_with_contexts(error, data, run, first, 0.1 * draw((count, contexts)), 1e-6, iterations)
    return Unstructured(split(w), speed, torque, size, c)


# ---- measurements ----


def window(runs: Runs, r: int) -> Runs:
    """What a model sees of run r before it predicts."""
    return Runs([runs.states[r][: WINDOW + 1]], [runs.inputs[r][:WINDOW]], DT, runs.state, runs.input)


def estimated_load(arm: Arm, seen: Runs) -> float:
    """By an extended Kalman filter on the known arm."""
    from ctrl import ExtendedKalmanFilter

    plant, x = arm.known, seen.states[0]
    deviations = np.concatenate([np.full(len(plant.input), 1e-3), np.full(len(plant.input), 1e-2)])
    task = Task("load", plant, DT, WINDOW, Quadratic(np.ones(len(plant.state)), np.ones(len(plant.input))),
                Gaussian(deviations, x[0]),
                measurement=Measurement(plant.state, noise=Gaussian(deviations)))  # fmt: skip
    estimator = ExtendedKalmanFilter(estimate_parameters(task, {"payload": (0.0, 2.0 * arm.load)}))
    estimator.reset()
    u = np.zeros(len(plant.input))
    for k in range(WINDOW + 1):
        estimate = estimator.update(x[k], u, k)
        u = seen.inputs[0][min(k, WINDOW - 1)]
    return float(np.clip(estimate.state[-1], 0.0, 2.0 * arm.load))


def figures(arm: Arm, flow: Flow, held: Runs, loads: np.ndarray) -> dict[str, float]:
    """The numbers of one model, whose flow has the context of each held-out run."""
    n = len(arm.plant.input)
    states, inputs = np.stack(held.states), np.stack(held.inputs)
    start, under = states[:, WINDOW], inputs[:, WINDOW : WINDOW + HORIZON]
    errors = rolled(flow, start, under)[:, -1, :n] - states[:, WINDOW + HORIZON, :n]
    size = np.sqrt((errors**2).mean(axis=1))
    x = arm.plant.state.symbol()
    plant, p = arm.plant.symbolic(("payload",))
    mass, potential = plant.energies(x[:n])
    energy = ca.Function("energy", [x, p], [kinetic_energy(mass, x[n:]) + potential])
    at = lambda points: np.array(energy(points.T, loads[None])).ravel()  # noqa: E731
    free = np.zeros((len(loads), FREE, n))
    true = rolled(flow_of(arm.plant, ("payload",), loads[:, None]), start, free)[:, -1]
    predicted = rolled(flow, start, free)
    fastest = 10.0 * np.abs(states[:, :, n:]).max()
    kept = np.isfinite(predicted).all(axis=(1, 2)) & (
        np.abs(np.nan_to_num(predicted[:, :, n:], nan=1e9)) < fastest
    ).all(axis=(1, 2))
    drift = np.where(kept, np.abs(at(np.where(kept[:, None], predicted[:, -1], true)) - at(true)), np.inf)
    spread = np.std([at(states[:, k]) for k in range(0, states.shape[1], 10)])
    return {
        "error": float(np.sqrt((np.nan_to_num(size, nan=1e3) ** 2).mean())),
        "median": float(np.median(size)),
        "energy": float(np.median(drift) / spread),
        "lost": float(1.0 - kept.mean()),
    }


def models(arm: Arm, train: Runs, held: Runs, seed: int, iterations: int) -> Iterator[tuple[str, Flow, int, float]]:
    """Each model by name with its flow in the held-out runs, its number of weights and its seconds of training."""
    n, weights, seen = len(arm.plant.input), 0, [window(held, r) for r in range(len(held))]
    for contexts in (1, 0):
        began = process_time()
        fit = fit_lagrangian(train, LagrangianNetwork(arm.hidden, contexts, iterations=iterations, seed=seed))
        seconds = process_time() - began
        values = np.array([fit.context(part).values for part in seen]) if contexts else None
        weights = max(weights, fit.weights)
        name = "lagrangian, context" if contexts else "lagrangian"
        yield name, flow_of(fit.plant, fit.plant.context_names, values), fit.weights, seconds
    for contexts in (1, 0):
        began = process_time()
        network = fit_unstructured(train, contexts, weights, len(arm.hidden), iterations, seed)
        seconds = process_time() - began
        c = np.array([network.context(part) if contexts else np.zeros(0) for part in seen])
        name = "unstructured, context" if contexts else "unstructured"
        yield name, _unstructured_flow(network, c, n), sum(m.size + b.size for m, b in network.layers), seconds
    began = process_time()
    estimates = np.array([[estimated_load(arm, part)] for part in seen])
    yield "EKF of the load", flow_of(arm.known, ("payload",), estimates), 0, process_time() - began


def _unstructured_flow(network: Unstructured, c: np.ndarray, n: int) -> Flow:
    return lambda x, u: np.concatenate([x[:, n:], network.accelerations(x[:, :n], x[:, n:], u, c)], axis=1)


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        arm: with two joints or seven; default: two.
        runs: for training; default: 24 of two joints, 60 of seven.
        samples: of each run; default: 100.
        held: runs held out; default: 40.
        iterations: of training; default: 60.
        seeds: of data and networks; default: 3.
    """

    arm: Literal["two", "seven"] = "two"
    runs: int | None = None
    samples: int = 100
    held: int = 40
    iterations: int = 60
    seeds: int = 3


def main(options: Options) -> None:
    """Prints a table, then JSON."""
    arm = ARMS[options.arm]
    count = options.runs or (24 if options.arm == "two" else 60)
    rows: dict[str, dict[str, list[float]]] = {}
    for seed in range(options.seeds):
        train, _ = measured(arm, count, options.samples, 100 + seed)
        held, loads = measured(arm, options.held, WINDOW + HORIZON, 200 + seed)
        for name, flow, weights, seconds in models(arm, train, held, seed, options.iterations):
            row = {**figures(arm, flow, held, loads), "weights": float(weights), "seconds": seconds}
            for key, value in row.items():
                rows.setdefault(name, {}).setdefault(key, []).append(float(f"{value:.4g}"))
            print(f"seed {seed}  {name:22s}", "  ".join(f"{k} {v:8.4g}" for k, v in row.items()), flush=True)
    print(json.dumps({"arm": options.arm, "runs": count, "samples": options.samples, **rows}))


if __name__ == "__main__":
    main(tyro.cli(Options))
