"""Tasks whose set-point lies beyond their constraint, and from which starts that constraint can be kept.

Variants of three small tasks on which a learner that knows no constraint violates it for most of the run: what is
wanted lies behind the wall, the lane's edge, the end of the track. Actuators are weak and starts reach up to the edge
of what is feasible, so that keeping the constraint also takes foresight. Budgets are a few samples of a run at most.
"""

from __future__ import annotations

import dataclasses

import casadi as ca
import numpy as np

from systems import Box, Quadratic, SetPoint, Task, Uniform
from systems.envs.model import SampleModel
from systems.library import braking, cartpole_track, lane_bound
from systems.library.double_integrator import can_stop
from systems.library.path_tracking import PathTracking

__all__ = ["braking_beyond", "can_keep", "cartpole_beyond", "lane_beyond", "least_violation"]


def braking_beyond() -> Task:
    """As `braking`, with half the acceleration, and 0.5 m behind the wall is where to go."""
    task = braking()
    return dataclasses.replace(
        task,
        name="braking-beyond",
        plant=dataclasses.replace(task.plant, max_acceleration=0.5),
        reference=SetPoint({"position": 0.5}),
        initial=Uniform({"position": -2.0, "speed": 0.0}, {"position": -0.5, "speed": 0.65}),
    )


def lane_beyond() -> Task:
    """As `lane_bound`, with a third of the steering, and 1.5 m outside the lane is where to go.

    Four samples of a run may lie beyond its edge instead of one, so that there is something to gain from that. From 7
    starts in 1,000 the lane cannot be kept.
    """
    task = lane_bound()
    plant = dataclasses.replace(task.plant, max_steering=0.3)
    assert isinstance(plant, PathTracking)
    return dataclasses.replace(
        task,
        name="lane-beyond",
        plant=plant,
        steps=80,
        cost=Quadratic(Q={"offset": 1.0, "angle": 0.3}, R={"steering": 1.0}),
        constraints=(Box("lane", {"offset": (-1.0, 1.0)}).budget(4.0),),
        reference=SetPoint({"offset": -2.5}, {"steering": plant.wheelbase / plant.radius}),
        initial=Uniform({"offset": -0.7, "angle": -0.45}, {"offset": 0.7, "angle": 0.45}),
        domain=Box("model", {"offset": (-4.0, 4.0), "angle": (-3.0, 3.0)}),
    )


def cartpole_beyond() -> Task:
    """As `cartpole_track`, with one sample of a run beyond its end and not five; 0.5 m further is where to go."""
    task = cartpole_track()
    return dataclasses.replace(
        task,
        name="cartpole-beyond",
        reference=SetPoint({"position": 1.2}),
        constraints=(Box("track", {"position": (-np.inf, 0.7)}).budget(1.0),),
        initial=Uniform(
            {"position": -0.5, "angle": -0.1, "velocity": -0.3, "rate": -0.2},
            {"position": 0.5, "angle": 0.1, "velocity": 0.5, "rate": 0.2},
        ),
    )


def can_keep(task: Task, x: np.ndarray) -> np.ndarray:
    """From which states (b, n) the constraint can be kept at all samples of a run, (b,) of bool.

    In front of the wall in closed form. In the lane by a law that no other beats: turn as fast as can be until the car
    drives along the circle, then stay so. The next angle rises with the angle and with the steering, so until then no
    other law has the car head out less, hence none has it further out, at any sample. On the track by optimisation,
    which may miss some.
    """
    if task.name == "braking-beyond":
        return can_stop(task, x)
    if task.name == "lane-beyond":
        return _along(task, x)
    return np.array([least_violation(task, start) <= 0.0 for start in x])


def _along(task: Task, x: np.ndarray) -> np.ndarray:
    plant, model, kept = task.plant, SampleModel(task, "numpy"), np.ones(len(x), dtype=bool)
    assert isinstance(plant, PathTracking)
    for k in range(task.steps):
        bend = np.cos(x[:, 1]) / (plant.radius / plant.speed - np.sin(x[:, 1]))
        u = (bend - x[:, 1] / task.dt) * plant.wheelbase / plant.speed  # ends the angle within this sample
        outcome = model.step(x, model.clip(u[:, None]), np.zeros((len(x), 0)), np.full(len(x), k))
        kept &= ~outcome.violated.any(axis=1) & ~outcome.terminated
        x = outcome.state
    return kept


class _Solvers:
    """One nonlinear program for each task, made when it is first needed."""

    def __init__(self) -> None:
        self._made: dict[Task, tuple[ca.Function, dict[str, np.ndarray]]] = {}

    def of(self, task: Task) -> tuple[ca.Function, dict[str, np.ndarray]]:
        if task not in self._made:
            self._made[task] = _program(task)
        return self._made[task]


_SOLVERS = _Solvers()


def least_violation(task: Task, start: np.ndarray) -> float:
    """The largest g along a run from a state (n,), with inputs for which a local solver finds it least; inf if none.

    Inputs keep to their bounds and states to the task's domain. Not positive: the constraint can be kept.
    """
    solver, bounds = _SOLVERS.of(task)
    n, m = len(task.plant.state), len(task.plant.input)
    guess = np.concatenate([np.tile(start, task.steps), np.zeros(task.steps * m), [1.0]])
    assert len(guess) == task.steps * (n + m) + 1
    found = solver(x0=guess, p=start, **bounds)
    return float(found["f"]) if solver.stats()["success"] else np.inf


def _program(task: Task) -> tuple[ca.Function, dict[str, np.ndarray]]:
    """min s subject to x(k + 1) = f(x(k), u(k)) and g(x(k), u(k)) <= s: multiple shooting from the parameter x(0)."""
    plant, steps = task.plant, task.steps
    n, m, f = len(plant.state), len(plant.input), task.dynamics.function()
    X, U, s, start = ca.MX.sym("X", n, steps), ca.MX.sym("U", m, steps), ca.MX.sym("s"), ca.MX.sym("x0", n)
    before = ca.horzcat(start, X[:, :-1])
    gaps = X - f.map(steps)(before, U, ca.DM(len(plant.disturbance), steps), ca.DM(0, steps))
    rows = [ca.vec(c.function(plant).map(steps)(before, U)) - s for c in task.constraints]
    g = ca.vertcat(ca.vec(gaps), *rows)
    least = np.where(np.arange(g.numel()) < n * steps, 0.0, -np.inf)
    (lower, upper), (low, high) = task.domain_bounds, task.input_bounds
    bounds = {
        "lbx": np.concatenate([np.tile(lower, steps), np.tile(low, steps), [-np.inf]]),
        "ubx": np.concatenate([np.tile(upper, steps), np.tile(high, steps), [np.inf]]),
        "lbg": least,
        "ubg": np.zeros(g.numel()),
    }
    program = {"x": ca.vertcat(ca.vec(X), ca.vec(U), s), "p": start, "f": s, "g": g}
    quiet = {"ipopt.print_level": 0, "print_time": False, "ipopt.sb": "yes"}
    return ca.nlpsol("least_violation", "ipopt", program, quiet), bounds
