"""Is explicit MPC the law of its online controller, everywhere, on random problems?

    python -m benchmarks.explicit [--problems 300] [--states 10000] [--first 0]

Random linear plants (1 to 4 states, 1 or 2 inputs, horizons 1 to 5, stable and unstable, some in odd units) under hard
and soft boxes and polytopes, with parallel and repeated rows, equal bounds, states without weight, an input without
limits, references off the origin and on a bound. Every law is compared with its online controller in random states of
its box and at, and near, the corners of its regions, in units of the input range (of the largest input where there are
no limits).

Where the two differ by more than 1e-9, the program is solved in rational numbers, and the error of either is its
distance from that. A state that lies outside of the feasible ones by rounding is judged 1e-8 farther in. A state is
missing where the law calls it infeasible and the online controller solves it, there and 1e-6 farther out. Laws that are
refused are counted by reason.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from time import perf_counter

import numpy as np
import tyro

from benchmarks.rational import RationalSolver
from ctrl.controller import NotApplicable, Status
from mpc import ExplicitMPC, LinearMPC
from systems import Box, Constraint, Fixed, LinearPlant, Polytope, Quadratic, SetPoint, Task

LARGEST = 5000  # regions
NEGLIGIBLE = 1e-9  # difference, in input ranges, that nobody looks into
JUDGED = 1000  # states of a problem at most, those with the largest differences


def random_problem(seed: int) -> tuple[Task, int, bool]:
    """A task, a horizon, and whether a terminal set is asked for where there is one."""
    rng = np.random.default_rng(seed)
    n, m, horizon = int(rng.integers(1, 5)), int(rng.integers(1, 3)), int(rng.integers(1, 6))
    A = rng.normal(size=(n, n))
    A *= rng.uniform(0.5, 1.3) / np.abs(np.linalg.eigvals(A)).max()
    B = rng.normal(size=(n, m))
    units = 10.0 ** rng.integers(-3, 4, n) if rng.random() < 0.2 else np.ones(n)
    unit_u = 10.0 ** rng.integers(-3, 4, m) if rng.random() < 0.2 else np.ones(m)
    limits = np.column_stack([-rng.uniform(0.5, 1.5, m), rng.uniform(0.5, 1.5, m)]) * unit_u[:, None]
    if m == 2 and rng.random() < 0.15:
        limits[1] = -np.inf, np.inf
    plant = LinearPlant(
        A * units[:, None] / units,
        B * units[:, None] / unit_u,
        dt=float(rng.choice([1.0, 0.1])),
        input_limits=tuple((float(low), float(high)) for low, high in limits),
    )
    names, kind = plant.state.names, int(rng.integers(0, 6))
    low, high = -rng.uniform(1.0, 3.0, n) * units, rng.uniform(1.0, 3.0, n) * units
    box = Box("box", {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)})
    price = float(rng.uniform(0.3, 20.0) / units.max())
    normal = rng.normal(size=(2, n)) / units
    price_cut = float(rng.uniform(1.0, 5.0))
    constraints: list[Constraint] = {
        0: [],
        1: [box],
        2: [box.soft(price)],
        3: [box, Polytope("cut", names, np.vstack([normal, normal]), np.array([1.0, 1.5, 1.2, 1.5]))],
        4: [Box("some", {names[0]: box.bounds[names[0]]}), box.soft(price)],
        5: [Box("one side", {names[0]: (-np.inf, box.bounds[names[0]][1])})],
    }[kind]  # type: ignore[assignment]
    if kind == 3 and n > 1 and rng.random() < 0.5:
        constraints.append(Polytope("soft cut", names[:2], normal[:, :2], np.array([0.8, 0.8])).soft(price_cut))
    if m == 2 and rng.random() < 0.1:
        constraints.append(Box("equal", {plant.input.names[0]: (0.1 * limits[0, 1],) * 2}))
    weights = rng.uniform(0.1, 3.0, n) / units**2
    if n > 1 and rng.random() < 0.2:
        weights[-1] = 0.0
    cost = Quadratic(list(weights), list(rng.uniform(0.1, 3.0, m) / unit_u**2))
    reference = None
    if rng.random() < 0.25:
        u = 0.3 * np.where(np.isfinite(limits[:, 1]), limits[:, 1], 1.0) * rng.uniform(-1, 1, m)
        x = np.linalg.solve(np.eye(n) - plant.A, plant.B @ u)
        if rng.random() < 0.3 and kind in (1, 2):
            x[0] = box.bounds[names[0]][1]  # on the bound, and perhaps no equilibrium
        reference = SetPoint(
            dict(zip(names, x.tolist(), strict=True)), dict(zip(plant.input.names, u.tolist(), strict=True))
        )
    domain = Box("domain", {name: (-4.0 * unit, 4.0 * unit) for name, unit in zip(names, units, strict=True)})
    task = Task(
        f"random {seed}", plant, plant.dt or 1.0, 20, cost, Fixed(np.zeros(n)), tuple(constraints), domain=domain
    )
    if reference is not None:
        task = dataclasses.replace(task, reference=reference)
    return task, horizon, bool(rng.random() < 0.5)


def optimum(online: LinearMPC, referee: RationalSolver, x: np.ndarray) -> np.ndarray | None:
    """The optimal first input (m,) without rounding in its program; None where that is infeasible."""
    z = referee.solve(*online.data(x))
    if z is None:
        return None
    first, form = online.problem.input_at[0], online.form
    return np.asarray(form.expand[first] @ z + form.expand_state[first] @ x + online.offset[first])


def examine(task: Task, horizon: int, with_set: bool, count: int, seed: int = 0) -> dict[str, float]:
    """Errors of a law and of its online controller, and how many states are missing.

    Raises:
        NotApplicable: no law.
    """
    began = perf_counter()
    explicit = ExplicitMPC(task, horizon, None if with_set else "cost", max_regions=LARGEST)
    built, online = perf_counter() - began, explicit.online
    rng = np.random.default_rng(seed)
    lower, upper = task.domain_bounds
    corners = np.vstack([region.corners for region in explicit.regions])
    if len(corners) > count:
        corners = corners[rng.choice(len(corners), count, replace=False)]
    near = np.vstack([0.999 * region.corners + 0.001 * region.middle for region in explicit.regions])
    near = near[rng.permutation(len(near))[:count]]
    states = np.vstack([rng.uniform(lower, upper, (count, len(lower))), corners, near])
    low, high = task.input_bounds
    inputs, answers = explicit.batch(states, 0), np.full((len(states), len(low)), np.nan)
    for i, x in enumerate(states):
        decision = online.step(x, 0)
        if decision.status is Status.SOLVED:
            answers[i] = decision.input
    solved, held = np.isfinite(answers).all(axis=1), np.isfinite(inputs).all(axis=1)
    largest = np.abs(answers[solved]).max(axis=0, initial=1e-300)
    scale = np.where(np.isfinite(high - low) & (high > low), high - low, largest)
    both = np.flatnonzero(solved & held)
    inner = np.mean([region.middle for region in explicit.regions], axis=0)
    referee = RationalSolver(online.form.problem)
    difference = (np.abs(inputs - answers) / scale).max(axis=1)
    error = online_error = 0.0
    for i in both[np.argsort(-difference[both])][:JUDGED]:
        if difference[i] <= max(NEGLIGIBLE, error):
            error = max(error, float(difference[i]))
            break
        x, law = states[i], inputs[i]
        right = optimum(online, referee, x)
        if right is None:
            x = x + 1e-8 * (inner - x)
            right, law = optimum(online, referee, x), explicit.batch(x[None], 0)[0]
        right = np.full_like(law, np.inf) if right is None else np.minimum(np.maximum(right, low), high)
        error = max(error, float((np.abs(law - right) / scale).max()))
        online_error = max(online_error, float((np.abs(answers[i] - right) / scale).max()))
    first, form = online.problem.input_at[0], online.form
    for region in explicit.regions:  # the law is that of its regions
        x = rng.dirichlet(np.full(len(region.corners), 0.5), 20) @ region.corners
        own = (form.expand[first] @ (region.K @ x.T + region.k[:, None]) + form.expand_state[first] @ x.T).T
        error = max(error, float((np.abs(explicit.law(x) - own - online.offset[first]) / scale).max()))
    # Outside of all regions by rounding, or missing? A state that is missing has solved ones farther out.
    outer = states[solved & ~held] + 1e-6 * (states[solved & ~held] - inner)
    outer = outer[((outer >= lower) & (outer <= upper)).all(axis=1)]
    return {
        "regions": len(explicit.regions),
        "seconds": built,
        "states": len(both),
        "error": error,
        "online error": online_error,
        "missing": sum(online.step(x, 0).status is Status.SOLVED for x in outer),
    }


def main(problems: int = 300, states: int = 10_000, first: int = 0) -> None:
    """Prints the problems with an error above 1e-7, of the law or online, or missing states, then one line of JSON."""
    refused: Counter[str] = Counter()
    found = []
    for seed in range(first, first + problems):
        task, horizon, with_set = random_problem(seed)
        try:
            result = examine(task, horizon, with_set, states)
        except NotApplicable as reason:
            said = str(reason).split(":", 1)[-1].split(";")[0].strip()
            print(seed, said, flush=True)
            refused[said] += 1
            continue
        found.append(result)
        if max(result["error"], result["online error"]) > 1e-7 or result["missing"]:
            print(seed, {key: float(f"{value:.3g}") for key, value in result.items()}, flush=True)
    print(
        json.dumps(
            {
                "laws": len(found),
                "refused": dict(refused),
                "states": sum(int(r["states"]) for r in found),
                "largest_error": max((r["error"] for r in found), default=None),
                "largest_online_error": max((r["online error"] for r in found), default=None),
                "wrong_laws": sum(r["error"] > 1e-7 for r in found),
                "missing_states": sum(int(r["missing"]) for r in found),
                "regions": sum(int(r["regions"]) for r in found),
                "seconds": sum(r["seconds"] for r in found),
            }
        )
    )


if __name__ == "__main__":
    tyro.cli(main)
