"""Plants and runs that the tests of identification share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from systems import Discretisation, Plant, Vector, nonnegative
from systems.identification import Runs
from systems.library import CartPole


@dataclass(frozen=True)
class RubbingCartPole(CartPole):
    """A cart-pole whose cart has viscous friction."""

    friction: float = nonnegative(0.0)  # N s/m

    def ode(self, x: Vector, u: Vector, w: Vector) -> Any:
        slowed = Vector(self.input, u.column - self.friction * x.velocity, "input")
        return super().ode(x, slowed, w)


TRUE = replace(RubbingCartPole(), cart_mass=1.4, friction=0.5)


def simulated(
    plant: Plant,
    dt: float,
    starts: np.ndarray,
    inputs: np.ndarray,
    measured: Any = 0.0,
    process: Any = 0.0,
    seed: int = 0,
    substeps: int = 4,
) -> Runs:
    """Runs of a plant from starts (b, n) under inputs (b, samples, m) with Gaussian noise of these deviations."""
    rng = np.random.default_rng(seed)
    sampling = Discretisation(plant, dt, substeps=1 if plant.is_discrete else substeps)
    step, none = sampling.lower("numpy"), np.zeros(len(plant.disturbance))
    states = [starts]
    for k in range(inputs.shape[1]):
        after = step(states[-1], inputs[:, k], none, np.zeros(0))
        states.append(after + process * rng.standard_normal(after.shape))
    noisy = np.stack(states, axis=1)
    noisy = noisy + measured * rng.standard_normal(noisy.shape)
    return Runs(tuple(noisy), tuple(inputs), dt, plant.state, plant.input)


def excited(plant: Plant, runs: int = 12, samples: int = 60, seed: int = 1, **noise: Any) -> Runs:
    """Runs of a cart-pole around its lower position, under forces that change every few samples."""
    rng = np.random.default_rng(seed)
    starts = np.array([0.0, np.pi, 0.0, 0.0]) + rng.uniform(-0.5, 0.5, (runs, 4))
    inputs = np.repeat(rng.uniform(-8.0, 8.0, (runs, samples // 5, 1)), 5, axis=1)
    return simulated(plant, 0.05, starts, inputs, seed=seed, **noise)
