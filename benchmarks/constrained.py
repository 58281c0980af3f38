"""Constrained learners on the small tasks: do they meet their budgets, what do they earn, and where do they stay safe?

    python -m benchmarks.constrained run [--hours H]      trains the cells that are missing, one after the other
    python -m benchmarks.constrained show                 tables of what is finished, and one line of JSON

A cell is a learner, a task and a seed, with default settings. Each finished cell is one line of
`benchmarks/results/constrained.jsonl`, appended at once, so the whole can be run in pieces, killed and resumed, by
several processes with different `--part`s. A cell in progress goes on from its checkpoint.

Reported of each: mean cost of the mean action over 10,000 runs from fresh starts with its 95 % interval, against the
budget; return; share of feasible starts that are never unsafe, where what is feasible is known (braking) or found by
the union over all learners (the other tasks; a lower bound of what is feasible).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.records import append, cells, hashed, interval, results
from safe_rl import PPO, Learner, Policy, assess
from safe_rl.combinations import ALL, Combination
from systems import Task
from systems.envs.model import SampleModel
from systems.library import bandit, braking, cartpole_track, effort_budget, lane_bound
from systems.library.double_integrator import can_stop

TASKS = {task.name: task for task in (bandit(), braking(), effort_budget(), lane_bound(), cartpole_track())}
LEARNERS = {combination.name: combination for combination in ALL}
UPDATES = {"bandit": 6_000, "braking": 4_000, "effort-budget": 6_000, "lane-bound": 4_000, "cartpole-track": 5_000}
SLOWER = {("effort-budget", PPO): 10_000}
"""Where a base learner needs longer: PPO overshoots on its way to the budget, and settles by then."""
SEEDS, STARTS, GRID = 5, 10_000, 2_000
FILE = results(__file__)


def feasibility(task: Task, policy: Policy) -> str:
    """Of which `starts` no constraint is ever violated, undisturbed: a bit for each, in hexadecimal; see `unpacked`."""
    plant = task.plant
    x = starts(task)
    model, act = SampleModel(task, "numpy"), policy.law()
    safe = np.ones(GRID, dtype=bool)
    for k in range(task.steps):
        u = model.clip(act(model.observe(x, np.full(GRID, k))))
        outcome = model.step(x, u, np.zeros((GRID, len(plant.disturbance))), np.full(GRID, k))
        safe &= ~outcome.violated.any(axis=1) & ~outcome.terminated
        x = outcome.state
    return np.packbits(safe).tobytes().hex()


def unpacked(bits: str) -> set[int]:
    """Indices of the starts that `feasibility` found safe; none where it was not asked."""
    if not bits:
        return set()
    return set(np.flatnonzero(np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8), count=GRID)).tolist())


def updates(make: Combination, task: str) -> int:
    """How long a combination learns on a task."""
    return SLOWER.get((task, make.base), UPDATES[task])


def digest(make: Combination, task: str) -> str:
    """Changes with any setting of a learner, so that what other settings led to is not taken for a cell's result.

    It does not know the task: whoever changes one of these deletes its cells.
    """
    return hashed(described(make, updates(make, task)))


def described(make: Combination, long: int) -> str:
    """All settings of a cell but those of its task."""
    return f"{make.base.__name__} {make.base.settings_type()} {make.handler} {long} {STARTS}"


def starts(task: Task) -> np.ndarray:
    """Fixed ones (GRID, n), from a box half again as wide as that of the task."""
    low, high = task.initial.support(task.plant.state)
    reach = 0.25 * (high - low)
    x = np.random.default_rng(0).uniform(low - reach, high + reach, (GRID, len(low)))
    return np.clip(x, *task.domain_bounds) if task.domain is not None else x


def train(name: str, make: Combination, task: Task, seed: int, scratch: Path, long: int, mark: str) -> dict[str, Any]:
    """One cell, from its checkpoint where there is one.

    Args:
        name: of the learner with its settings. long: updates. mark: the digest of the cell.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / f"{name}-{task.name}-{seed}-{mark}"
    began = time.perf_counter()
    learner: Learner = make.load(path, task) if path.exists() else make(task, seed=seed)
    learner.learn(long, progress=True, checkpoint=path)
    found = assess(learner.result, task, STARTS, seed=10_000 + seed)
    during = [sum(r.mean_costs.values()) * r.episodes for r in learner.history if r.episodes]
    cost, low, high = found.interval()
    late = learner.history[-max(1, len(learner.history) // 4) :]
    price = f"multiplier {found.limits[0].name}"
    cell = {
        "learner": name,
        "task": task.name,
        "seed": seed,
        "digest": mark,
        "updates": learner.updates,
        "steps": learner.collector.steps,
        "budget": found.limits[0].limit,
        "cost": round(cost, 6),
        "cost_low": round(low, 6),
        "cost_high": round(high, 6),
        "return": round(float(found.returns.mean()), 6),
        "discounted_return": round(float(found.discounted_returns.mean()), 6),
        "late_price": round(float(np.mean([r.diagnostics[price] for r in late])), 6),
        "training_cost": round(float(sum(during)), 2),
        "safe": feasibility(task, learner.result) if task.name not in ("bandit", "effort-budget") else "",
        "seconds": round(time.perf_counter() - began, 1),
        "torch": torch.__version__,
    }
    path.unlink()
    return cell


@dataclass(frozen=True)
class Run:
    """Train what is missing."""

    hours: float = 1e9
    """Start no further cell after so long."""
    part: tuple[int, int] = (0, 1)
    """Of so many processes, which one this is: "1 2" is the second of two."""
    learners: tuple[str, ...] = tuple(LEARNERS)
    tasks: tuple[str, ...] = tuple(TASKS)
    seeds: int = SEEDS
    scratch: Path = Path("runs/constrained")

    def run(self) -> None:
        torch.set_num_threads(1)
        began, index = time.monotonic(), 0
        for seed in range(self.seeds):
            for task in self.tasks:
                for name in self.learners:
                    index += 1
                    done = {(c["learner"], c["task"], c["seed"], c["digest"]) for c in cells(FILE)}
                    make = LEARNERS[name]
                    mine = (name, task, seed, digest(make, task))
                    if index % self.part[1] != self.part[0] or mine in done:
                        continue
                    if time.monotonic() - began > 3600 * self.hours:
                        return
                    append(train(name, make, TASKS[task], seed, self.scratch, updates(make, task), mine[3]), FILE)


@dataclass(frozen=True)
class Show:
    """Tables of what is finished."""

    def run(self) -> None:
        summary: dict[str, Any] = {}
        found = [c for c in cells(FILE) if c["digest"] == digest(LEARNERS[c["learner"]], c["task"])]
        for task in TASKS:
            rows = [c for c in found if c["task"] == task]
            table = Table(
                f"{task}, budget {rows[0]['budget'] if rows else ''}", "seeds that meet it", "cost per run [95 %]",
                "return [95 %]", "feasible starts kept [95 %]", "cost while learning",
            )  # fmt: skip
            known = feasible(TASKS[task], rows)
            for name in LEARNERS:
                mine = [c for c in rows if c["learner"] == name]
                if not mine:
                    continue
                kept = [c["cost"] <= c["budget"] for c in mine]
                shares = [share(c, known) for c in mine] if known else []
                table.add_row(
                    name, f"{sum(kept)} of {len(kept)}", interval([c["cost"] for c in mine]),
                    interval([c["return"] for c in mine]), f"{interval(shares)} %" if shares else "",
                    f"{np.mean([c['training_cost'] for c in mine]):.4g}",
                )  # fmt: skip
                summary[f"{task}/{name}"] = {
                    "met": sum(kept), "of": len(kept), "updates": mine[0]["updates"],
                    "return": float(np.mean([c["return"] for c in mine])),
                    "feasible": float(np.mean(shares)) if shares else None,
                }  # fmt: skip
            Console(width=150).print(table)
        print(json.dumps(summary))


def feasible(task: Task, rows: list[dict[str, Any]]) -> set[int]:
    """Starts from which safety can be kept: in closed form for braking, else those that any policy kept."""
    if task.name == "braking":
        return set(np.flatnonzero(can_stop(task, starts(task))).tolist())
    return set().union(*(unpacked(c["safe"]) for c in rows)) if rows else set()


def share(cell: dict[str, Any], known: set[int]) -> float:
    """Of the feasible starts, those that a policy keeps, in percent."""
    return 100.0 * len(unpacked(cell["safe"]) & known) / len(known)


def main() -> None:
    command = tyro.cli(
        Annotated[Run, tyro.conf.subcommand("run")] | Annotated[Show, tyro.conf.subcommand("show")],
        description="Constrained learners on the small tasks.",
    )
    command.run()


if __name__ == "__main__":
    main()
