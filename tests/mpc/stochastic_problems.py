"""Random linear tasks under bounded noise, with constraints of every kind."""

from __future__ import annotations

import numpy as np

from systems import Box, Constraint, Fixed, LinearPlant, Polytope, Quadratic, Task, Uniform


def random_task(seed: int, n: int, m: int) -> Task:
    """Stable and unstable plants; noise in some directions, not always of mean zero; reference off the origin."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, n))
    A *= rng.uniform(0.5, 1.25) / np.abs(np.linalg.eigvals(A)).max()
    q = int(rng.integers(1, n + 1))
    plant = LinearPlant(
        A,
        rng.normal(size=(n, m)),
        E=0.04 * rng.normal(size=(n, q)),
        c=0.02 * rng.normal(size=n),
        dt=0.1,
        input_limits=((-1.0, 1.2),) * m,
    )
    first, last, u = plant.state.names[0], plant.state.names[-1], plant.input.names[0]
    constraints: list[Constraint] = [
        Box("chance", {first: (-1.0, 1.2)}).chance(rng.uniform(0.3, 0.95)),
        Box("hard", {last: (-1.5, 1.4)}),
        Box("input chance", {u: (-0.8, 0.8)}).chance(0.7),
        Polytope("mixed", (first, u), rng.normal(size=(2, 2)), np.array([1.5, 1.5])).chance(0.8),
        Box("budget", {last: (-1.2, 1.2)}).budget(3.0),
        Box("soft", {first: (-0.5, 0.5)}).soft(3.0),
    ]
    kept = [constraint for i, constraint in enumerate(constraints) if i < 2 or rng.random() < 0.5]
    return Task(
        "random",
        plant,
        0.1,
        30,
        Quadratic(Q=np.eye(n), R=np.eye(m)),
        Fixed(),
        tuple(kept),
        disturbance=Uniform([-1.0] * q, list(rng.uniform(0.5, 1.5, q))),
    )
