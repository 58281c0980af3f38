"""Control steps under hostile measurements and clocks: every controller on every task of the library that it takes.

``python -m benchmarks.faults --steps 100000`` prints a table and one line of JSON. Each controller runs on its task in
closed loop. Three samples in ten are hostile: measurements of NaN, infinite, huge, largest and smallest numbers, states
far outside, and clocks that jump ahead, back, stand still or count beyond the end. One in ten is misuse: a sample
number of NaN, 1.5 or text, a state of text, of another length or None, which must raise an error of Trivium's own and
change nothing. Counted are exceptions, warnings among them, that are no documented misuse, misuse that went unnoticed,
inputs that are no numbers or outside their bounds, statuses that hide a measurement of NaN, and the longest step.
"""

from __future__ import annotations

import collections
import json
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ctrl import Controller, NotApplicable, Status
from ctrl.discovery import entry_points, load
from safe_rl import Policy, PolicyController
from systems import Task, TriviumError

TRAINED = ("dsact",)  # learns for minutes; an untrained policy stands in
SLOW = (("oscillating-masses", "explicit-mpc"),)  # takes minutes to be made, of twelve states
NO_SAMPLE: list[Any] = [float("nan"), float("inf"), 1.5, 50.0, "3", None, True, [0], np.array([1]), 2**70]
NO_STATE: list[Any] = ["x", None, [], "nan", object(), [[[0.0]]], 1j, ["a"]]


def policy(task: Task) -> PolicyController:
    """An untrained policy of the task."""
    o, (low, high) = len(task.observation_signals), task.input_bounds
    bounds = (torch.tensor(bound, dtype=torch.float32) for bound in (low, high))
    return PolicyController(task, Policy(o, *bounds, (16,), torch.Generator().manual_seed(0)))


def pairs() -> Iterator[tuple[str, str, Task, Controller]]:
    """Every controller of every task in the library that takes it."""
    makers: dict[str, Callable[[Task], Controller]] = {
        name: load("trivium.controllers", name) for name in entry_points("trivium.controllers") if name not in TRAINED
    }
    makers["policy"] = policy
    for task_name in entry_points("trivium.tasks"):
        task = load("trivium.tasks", task_name)()
        for name, make in makers.items():
            if (task_name, name) in SLOW:
                continue
            try:
                yield task_name, name, task, make(task)
            except NotApplicable:
                continue
            except TriviumError as refused:
                print(f"{name} of {task_name}: {type(refused).__name__}: {str(refused)[:150]}")


def hostile(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A measurement that no sensor should give."""
    n, signs = len(x), rng.choice([-1.0, 1.0], len(x))
    some = (np.arange(n) == rng.integers(n)) | (rng.random(n) < 0.3)
    kind = rng.integers(6)
    if kind == 0:
        return np.where(some, np.nan, x)
    if kind == 1:
        return np.where(some, signs * np.inf, x)
    if kind == 2:
        return np.where(some, signs * 10.0 ** rng.uniform(2.0, 308.0, n), x)
    if kind == 3:
        return signs * np.finfo(float).max
    if kind == 4:
        return signs * np.finfo(float).smallest_subnormal * rng.integers(0, 100, n)
    return x + signs * 10.0 ** rng.uniform(0.0, 3.0) * (1.0 + np.abs(x))


def run(task: Task, controller: Controller, steps: int, seed: int, seconds: float) -> collections.Counter[str]:
    """What happened in so many steps, or in those that such a time allowed."""
    rng, count = np.random.default_rng(seed), collections.Counter[str]()
    lower, upper = task.input_bounds
    step, k = task.dynamics.function(), 0
    x = task.initial.sample(task.plant.state, rng, ())
    end = time.perf_counter() + seconds
    for _ in range(steps):
        if time.perf_counter() > end:
            break
        k, draw, shown = k + 1, rng.random(), x
        if draw < 0.1:
            wrong = (x, NO_SAMPLE[rng.integers(len(NO_SAMPLE))]) if rng.random() < 0.5 else None
            state, sample = wrong or (NO_STATE[rng.integers(len(NO_STATE))], k)
            count["misuse"] += 1
            try:
                controller.step(state, sample)
                count["misuse unnoticed"] += 1
            except TriviumError:
                pass
            except Exception as error:
                count[f"exception {type(error).__name__}"] += 1
        elif draw < 0.3:
            shown = hostile(x, rng)
        elif draw < 0.4:
            k = [k, max(k - 2, 0), 0, task.steps, 10 * task.steps, k + int(10 ** rng.uniform(0, 6))][rng.integers(6)]
        began = time.perf_counter()
        try:
            decision = controller.step(shown, k)
        except Exception as error:
            count[f"exception {type(error).__name__}"] += 1
            continue
        count["longest step [ms]"] = max(count["longest step [ms]"], int(1e3 * (time.perf_counter() - began)))
        count["steps"] += 1
        u = decision.input
        if u.shape != lower.shape or not np.isfinite(u).all():
            count["no number"] += 1
            continue
        if not ((lower <= u) & (u <= upper)).all():
            count["out of bounds"] += 1
        if not np.isfinite(shown).all() and decision.status is Status.SOLVED:
            count["NaN hidden"] += 1
        count[f"status {decision.status.value}"] += 1
        w = task.disturbance.sample(task.plant.disturbance, rng)
        x = np.array(step(x, u, w, []))[:, 0]
        low, high = task.domain_bounds
        if not ((low <= x) & (x <= high)).all() or rng.random() < 0.02:  # also where it is no number
            x = task.initial.sample(task.plant.state, rng, ())
    return count


def main(steps: int = 100_000, seconds: float = 30.0, seed: int = 0) -> None:
    """Counts what goes wrong.

    Args:
        steps: in all, shared among the pairs; what a slow pair leaves is shared among those after it.
        seconds: of one pair at most.
    """
    made = list(pairs())
    warnings.simplefilter("error")
    left = steps
    console, total = Console(), collections.Counter[str]()
    table = Table("task", "controller", "steps", "longest [ms]", "statuses", "faults")
    for i, (task_name, name, task, controller) in enumerate(track(made, "Faults", console=console)):
        count = run(task, controller, -(-left // (len(made) - i)), seed + i, seconds)
        left -= count["steps"]
        statuses = ", ".join(f"{key[7:]} {value}" for key, value in count.items() if key.startswith("status"))
        known = {"steps", "misuse", "longest step [ms]"}
        faults = {key: value for key, value in count.items() if key not in known and not key.startswith("status")}
        table.add_row(
            task_name, name, str(count["steps"]), str(count["longest step [ms]"]), statuses, str(faults or "none")
        )
        longest = max(total["longest step [ms]"], count["longest step [ms]"])
        total.update(count)
        total["longest step [ms]"] = longest
    console.print(table)
    print(json.dumps({"benchmark": "faults", "pairs": len(made), **dict(total)}))


if __name__ == "__main__":
    tyro.cli(main)
