"""Initial states and disturbances, drawn before any controller runs: common random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from systems import DimensionMismatch, Hard, InvalidValue, Task
from systems.arguments import expect_array, expect_seed, expect_whole, is_number
from systems.errors import expect

__all__ = ["Draws", "TunedOnRuns", "draw", "draw_all", "expect_unseen", "objection"]


class Draws(NamedTuple):
    """The random draws of a comparison, the same for every controller.

    Args:
        starts: (runs, n). disturbances: (runs, steps, q).
        noise: (runs, steps, p), of the measurement, NaN where a value is lost; None for a task without one.
        parameters: (runs, v), of the true plant in each run; None for a task without a variation.
    """

    starts: np.ndarray
    disturbances: np.ndarray
    noise: np.ndarray | None
    parameters: np.ndarray | None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of :func:`ctrl.loop.simulate` that they are, by name."""
        return self._asdict()

    def of(self, runs: np.ndarray) -> Draws:
        """Those of some runs, by their numbers."""
        return Draws(*(None if part is None else part[runs] for part in self))  # type: ignore[arg-type]


@runtime_checkable
class TunedOnRuns(Protocol):
    """A factory whose controllers were tuned on runs, which say nothing of how good they are on others."""

    def tuned_on(self) -> Draws | None:
        """The draws of these runs; None if nothing was tuned."""


def draw(task: Task, starts: int | ArrayLike, seeds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Initial states (runs, n) and disturbances (runs, steps, q) for every controller alike.

    The two come from generators of their own, so the first starts and disturbances of a longer comparison are those of
    a shorter one with the same seed.

    Args:
        task: the task of the runs.
        starts: number of states to draw from the task's initial distribution for each seed, or the states themselves,
            (runs, n). Runs that equal another in start and disturbances are left out.
        seeds: each adds its own starts (unless they are given) and disturbances.

    Raises:
        InvalidValue: no starts, a start that is not finite, lies outside the domain or violates a hard constraint.
        DimensionMismatch: starts that do not fit the plant.
    """
    return draw_all(task, starts, seeds)[:2]


def draw_all(task: Task, starts: int | ArrayLike, seeds: Sequence[int]) -> Draws:
    """The same, with the noise of the measurement and the parameters of the true plant.

    Args:
        task, starts, seeds: as of :func:`draw`.

    Raises:
        InvalidValue, DimensionMismatch: as there.
    """
    expect(task, Task, "the task of the runs", "such as systems.library.cartpole()")
    if is_number(starts) or starts is None or isinstance(starts, (bool, str)):
        given, count = None, expect_whole(starts, "starts", least=1, hint="or the initial states, (runs, n)")
    else:
        given = np.atleast_2d(expect_array(starts, "starts", infinite=True, nan=True))
        count = len(given)
    if count < 1 or not len(seeds):
        raise InvalidValue(f"{count} starts for {len(seeds)} seeds; expected at least one of each")
    if given is not None:
        _refuse(task, given)
    states, disturbances, noise, parameters = [], [], [], []
    for seed in seeds:
        seed = expect_seed(seed)
        chance = [np.random.default_rng([seed, stream]) for stream in range(5)]
        states.append(task.initial.sample(task.plant.state, chance[0], (count,)) if given is None else given)
        disturbances.append(task.disturbance.sample(task.plant.disturbance, chance[1], (count, task.steps)))
        if task.measurement is not None:
            noise.append(task.measurement.sample(chance[2], chance[3], (count, task.steps)))
        if task.variation is not None:
            parameters.append(task.draw_parameters(chance[4], count))
    return _distinct(
        Draws(
            np.concatenate(states),
            np.concatenate(disturbances),
            np.concatenate(noise) if noise else None,
            np.concatenate(parameters) if parameters else None,
        )
    )


def expect_unseen(name: str, factory: Any, draws: Draws) -> None:
    """Refuses runs on which a controller was tuned.

    Args:
        name: of the controller, for errors.
        factory: that makes it.
        draws: of the runs.

    Raises:
        InvalidValue: some of them are among those of the tuning.
    """
    used = factory.tuned_on() if isinstance(factory, TunedOnRuns) else None
    if used is None:
        return
    known, new = _rows(used), _rows(draws)
    if common := sum(row in known for row in new):
        raise InvalidValue(
            f"controller '{name}' was tuned on {common} of the {len(new)} runs, which would flatter it; choose other "
            "seeds, or, where all runs of a task are the same, a distribution of its initial states"
        )


def _rows(draws: Draws) -> set[bytes]:
    rows = np.hstack([part.reshape(len(draws.starts), -1) for part in draws if part is not None])
    return {row.tobytes() for row in rows}


def _distinct(draws: Draws) -> Draws:
    """Distinct runs only: copies of a run are not independent evidence, so intervals must not count them."""
    runs = np.hstack([part.reshape(len(draws.starts), -1) for part in draws if part is not None])
    _, first = np.unique(runs, axis=0, return_index=True)
    return draws.of(np.sort(first))


def _refuse(task: Task, starts: np.ndarray) -> None:
    n = len(task.plant.state)
    if starts.ndim != 2 or starts.shape[1] != n:
        raise DimensionMismatch(
            f"starts of shape {starts.shape}; expected (runs, {n}) for {', '.join(task.plant.state.names)}"
        )
    for run, x in enumerate(starts):
        why = objection(task, x)
        if why:
            raise InvalidValue(f"run {run} cannot start at {_point(task, x)}: {why}; give another start")


def objection(task: Task, x: np.ndarray) -> str | None:
    """Why no run may start at x (n,), or None: not finite, outside the domain, a hard constraint violated."""
    if not np.isfinite(x).all():
        return "it is not finite"
    if task.domain is not None and not task.domain.contains(x, task.plant.state):
        return f"it is outside the domain {_bounds(task.domain.bounds)}"
    for constraint in task.constraints:
        if isinstance(constraint.requirement, Hard):
            g = constraint.function(task.plant)
            state, u = g.sx_in()
            rows = g(state, u)
            bound = ca.which_depends(rows, u, 1, True)  # rows that an input can still change are not an objection
            value = np.array(ca.Function("at", [state, u], [rows])(x, 0))[:, 0]
            fixed = value[~np.array(bound, dtype=bool)]
            if np.isnan(fixed).any():
                return f"the hard constraint '{constraint.name}' is undefined there"
            if (fixed > 0).any():
                return f"it violates the hard constraint '{constraint.name}' by {fixed.max():.4g}"
    return None


def _point(task: Task, x: np.ndarray) -> str:
    return ", ".join(f"{name} = {value:.4g}" for name, value in zip(task.plant.state.names, x, strict=True))


def _bounds(bounds: Any) -> str:
    return ", ".join(f"{name} in [{low:g}, {high:g}]" for name, (low, high) in bounds.items())
