"""Every plant and every task of the library, found through its ``__all__``, and the boxes on which they are probed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import casadi as ca
import numpy as np
import pytest

from systems import Plant, Task, library

PUBLIC = {name: getattr(library, name) for name in library.__all__}
PLANTS: dict[str, Callable[[], Plant]] = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing)}
TASKS: dict[str, Callable[[], Task]] = {name: thing for name, thing in PUBLIC.items() if not inspect.isclass(thing)}


@cache
def made(name: str) -> Task:
    return TASKS[name]()


@dataclass(frozen=True)
class Probe:
    """A CasADi function and the box from which its arguments are drawn, one (lower, upper) per argument."""

    name: str
    function: ca.Function
    boxes: tuple[tuple[np.ndarray, np.ndarray], ...]
    lowered: Callable[[str], Any]  # the same function in another arithmetic, the way the package itself lowers it

    def sample(self, n: int, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        return [rng.uniform(low, high, (n, len(low))) for low, high in self.boxes]


def _widened(lower: np.ndarray, upper: np.ndarray, share: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    reach = share * np.maximum(upper - lower, 0.4 * np.maximum(1.0, np.abs(lower + upper) / 2))
    return lower - reach, upper + reach


def probes(task: Task) -> list[Probe]:
    """The physics, the sampled physics, the charged cost and the constraint margins of a task."""
    from systems.lowering import lower

    plant = task.plant
    x = _widened(*task.initial.support(plant.state))
    if task.domain is not None:
        lowest, highest = task.domain.interval(plant.state)
        x = np.maximum(x[0], lowest), np.minimum(x[1], highest)
    u = tuple(np.nan_to_num(bound, posinf=1.0, neginf=-1.0) for bound in plant.bounds)
    declared = plant.disturbance
    mean, deviation = task.disturbance.mean(declared), np.sqrt(np.diag(task.disturbance.covariance(declared)))
    low, high = task.disturbance.support(declared)
    w = _widened(np.maximum(low, mean - 4.0 * deviation), np.minimum(high, mean + 4.0 * deviation))
    none = np.zeros(0), np.zeros(0)
    xr, ur = ((value - 0.1, value + 0.1) for value in task.reference.at(plant, 0))

    def plain(function: ca.Function) -> Callable[[str], Any]:
        return lambda to: lower(function, to=to)

    physics, step = plant.casadi(), task.dynamics.function()
    cost, margins = task.stage_cost_function(), task.margin_function()
    return [
        Probe("physics", physics, (x, u, w, none), plain(physics)),
        Probe("step", step, (x, u, w, none), task.dynamics.lower),
        Probe("cost", cost, (x, u, xr, ur), plain(cost)),
        Probe("margins", margins, (x, u), plain(margins)),
    ]


@pytest.fixture(params=PLANTS)
def plant(request: pytest.FixtureRequest) -> Plant:
    """Each plant with its default parameters."""
    return PLANTS[request.param]()


@pytest.fixture(params=TASKS)
def task_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def task(task_name: str) -> Task:
    """Each task."""
    return made(task_name)


@pytest.fixture
def all_tasks() -> dict[str, Task]:
    return {name: made(name) for name in TASKS}


@pytest.fixture(params=["physics", "step", "cost", "margins"])
def probe(request: pytest.FixtureRequest, task: Task) -> Probe:
    """Each function of each task; a plant that is discrete by nature is its own step."""
    if request.param == "step" and task.plant.is_discrete:
        pytest.skip("the same function as its physics")
    return next(probe for probe in probes(task) if probe.name == request.param)


@pytest.fixture
def task_probes(task: Task) -> list[Probe]:
    """All functions of one task."""
    return probes(task)


@pytest.fixture
def rates() -> Callable[..., np.ndarray]:
    """``rates(plant, x, u, w)``: the time derivative of the state, (n,); input and disturbance zero where left out."""

    def evaluate(plant: Plant, x: Any, u: Any = None, w: Any = None) -> np.ndarray:
        u = np.zeros(len(plant.input)) if u is None else u
        w = np.zeros(len(plant.disturbance)) if w is None else w
        return plant.casadi()(x, u, w, []).full()[:, 0]

    return evaluate
