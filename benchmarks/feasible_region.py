"""Is the feasible region of predictive Lagrangian optimisation larger than that of PID and integral multipliers?

    python -m benchmarks.feasible_region run [--hours H]
    python -m benchmarks.feasible_region show

Zhang, Yuan, Zhan et al. (2025, arXiv 2501.15217) report a region up to 7.2 % larger than under PID-Lagrangian at a
comparable reward; how it was measured is not public. Here: of starts from which the constraint can be kept, the share
that the trained policy keeps; base learner DSAC-T, on the tasks of `benchmarks.beyond`, whose rewards ask for the
opposite of what their constraints do.

Every method has the same tuning budget, two settings on each task with a seed of their own, its default the first of
them; the one with the largest share among those that met their budget (all, if none did), the better return where
shares are equal, is run with up to ten fresh seeds. Reported: shares and returns, and their differences with
intervals paired by seed. A penalty of zero is run once, to show what is done by who does not look at the constraint.

Cells are kept in `benchmarks/results/feasible_region.jsonl`, as those of `benchmarks.constrained` are.
"""

from __future__ import annotations

import dataclasses
import itertools
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

from benchmarks.beyond import braking_beyond, can_keep, cartpole_beyond, lane_beyond
from benchmarks.constrained import described, starts, train, unpacked
from benchmarks.records import append, cells, hashed, interval, results
from safe_rl import DSACPID, DSACT, PLO, Combination, DSACLagrangian
from safe_rl.handlers import FixedPenalty, IntegralGains, Lagrangian, PIDGains, PredictiveGains
from systems import Task
from systems.describe import fingerprint

FILE = results(__file__)
TASKS = {task.name: task for task in (braking_beyond(), lane_beyond(), cartpole_beyond())}
UPDATES = {"braking-beyond": 3_000, "lane-beyond": 3_000, "cartpole-beyond": 4_000}
GAINS: dict[str, list[Any]] = {
    "integral": [IntegralGains(), IntegralGains(ki=0.03)],
    "pid": [PIDGains(), PIDGains(ki=0.03)],
    "plo": [PredictiveGains(), PredictiveGains(s=3.0)],
}
LIKE = {"integral": DSACLagrangian, "pid": DSACPID, "plo": PLO}
UNAWARE = "unaware"
TUNING, TESTING = (100,), tuple(range(10))


def made(method: str, setting: int) -> Combination:
    """The learner of a method with one of its settings."""
    if method == UNAWARE:
        return Combination(method, DSACT, FixedPenalty(weight=0.0))
    like = LIKE[method].handler
    assert isinstance(like, Lagrangian)
    return Combination(f"{method}#{setting}", DSACT, dataclasses.replace(like, gains=GAINS[method][setting]))


def digest(make: Combination, task: Task) -> str:
    """Changes with any setting of a cell, the task's included."""
    return hashed(f"{described(make, UPDATES[task.name])} {fingerprint(task)}")


Cell = tuple[str, int, str, int]
"""Method, setting, task, seed."""


class Found:
    """What is finished."""

    def __init__(self) -> None:
        self._marks = {
            (method, setting, name): digest(made(method, setting), task)
            for method, name, task in ((m, n, t) for m in (*GAINS, UNAWARE) for n, t in TASKS.items())
            for setting in range(len(GAINS.get(method, [None])))
        }
        current = set(self._marks.values())
        self._all = {(c["digest"], c["seed"]): c for c in cells(FILE) if c["digest"] in current}

    def cell(self, method: str, setting: int, task: str, seed: int) -> dict[str, Any] | None:
        return self._all.get((self._marks[method, setting, task], seed))

    def chosen(self, method: str, task: str) -> int | None:
        """The best setting, once all of them were tried."""
        worth = []
        for setting in range(len(GAINS[method])):
            mine = [c for seed in TUNING if (c := self.cell(method, setting, task, seed)) is not None]
            if len(mine) < len(TUNING):
                return None
            met = all(c["cost"] <= c["budget"] for c in mine)
            kept = sum(len(unpacked(c["safe"])) for c in mine)
            worth.append((met, kept, sum(c["return"] for c in mine)))
        return max(range(len(worth)), key=lambda setting: worth[setting])

    def tested(self, method: str, task: str) -> list[dict[str, Any]]:
        """Finished cells of the chosen setting, by seed."""
        best = self.chosen(method, task)
        found = [] if best is None else [self.cell(method, best, task, seed) for seed in TESTING]
        return [c for c in found if c is not None]

    def feasible(self, task: str) -> set[int]:
        """Starts that a policy kept, and of the others those from which `can_keep` knows how."""
        kept = set().union(*(unpacked(c["safe"]) for c in self._all.values() if c["task"] == task))
        rest = np.array(sorted(set(range(len(starts(TASKS[task])))) - kept), dtype=int)
        return kept | set(rest[can_keep(TASKS[task], starts(TASKS[task])[rest])].tolist())

    def missing(self) -> list[Cell]:
        """Cells to train: all settings first, then the chosen ones, as far as they are known."""
        plan: list[Cell] = []
        for seed, task, method in itertools.product(TUNING, TASKS, GAINS):
            plan += [(method, setting, task, seed) for setting in range(len(GAINS[method]))]
        plan += [(UNAWARE, 0, task, TUNING[0]) for task in TASKS]
        best = {(method, task): self.chosen(method, task) for method, task in itertools.product(GAINS, TASKS)}
        for seed, task, method in itertools.product(TESTING, TASKS, GAINS):
            setting = best[method, task]
            plan += [] if setting is None else [(method, setting, task, seed)]
        return [cell for cell in plan if self.cell(*cell) is None]


@dataclass(frozen=True)
class Run:
    """Train what is missing."""

    hours: float = 1e9
    """Start no further cell after so long."""
    scratch: Path = Path("runs/feasible_region")

    def run(self) -> None:
        torch.set_num_threads(1)
        began = time.monotonic()
        while (missing := Found().missing()) and time.monotonic() - began < 3600 * self.hours:
            method, setting, name, seed = missing[0]
            make, task = made(method, setting), TASKS[name]
            append(
                train(f"{method}#{setting}", make, task, seed, self.scratch, UPDATES[name], digest(make, task)), FILE
            )


COLUMNS = ("met budget", "price", "cost", "share kept, %", "return", "PLO - it, points", "PLO - it, return")


@dataclass(frozen=True)
class Show:
    """Shares and returns of what is finished, and by how much those of PLO are larger."""

    def run(self) -> None:
        found, summary = Found(), {}
        differences: dict[str, list[dict[int, float]]] = {method: [] for method in GAINS if method != "plo"}
        for task in TASKS:
            known = found.feasible(task)
            table = Table(f"{task}, {len(known)} feasible starts", *COLUMNS)
            blind = found.cell(UNAWARE, 0, task, TUNING[0])
            plo = {c["seed"]: c for c in found.tested("plo", task)}
            if blind is not None:
                table.add_row(UNAWARE, *columns([blind], known, []))
            for method in reversed(GAINS):  # plo first, which the others are compared with
                setting, mine = found.chosen(method, task), found.tested(method, task)
                if setting is None or not mine:
                    continue
                pairs = [(plo[c["seed"]], c) for c in mine if c["seed"] in plo and method != "plo"]
                if pairs:
                    differences[method].append(
                        {a["seed"]: d for (a, _), d in zip(pairs, wider(pairs, known), strict=True)}
                    )
                table.add_row(f"{method}: {GAINS[method][setting]}", *columns(mine, known, pairs))
                summary[f"{task}/{method}"] = {
                    "share": float(np.mean([share(c, known) for c in mine])),
                    "return": float(np.mean([c["return"] for c in mine])),
                } | ({"plo_minus_it": float(np.mean(wider(pairs, known)))} if pairs else {})
            Console(width=170).print(table)
        for method, by_task in differences.items():
            seeds = set.intersection(*map(set, by_task)) if len(by_task) == len(TASKS) else set()
            if seeds:
                mean = [float(np.mean([task[seed] for task in by_task])) for seed in sorted(seeds)]
                print(f"PLO - {method}, mean over the tasks, {len(mean)} seeds: {interval(mean)} points")
        print(json.dumps(summary))


def columns(mine: list[dict[str, Any]], known: set[int], pairs: list[tuple[Any, Any]]) -> list[str]:
    """What a table says of cells, and of the differences within pairs of them."""
    met = sum(c["cost"] <= c["budget"] for c in mine)
    own = [[c["late_price"] for c in mine], [c["cost"] for c in mine], [share(c, known) for c in mine]]
    own += [[c["return"] for c in mine], wider(pairs, known), [a["return"] - b["return"] for a, b in pairs]]
    return [f"{met} of {len(mine)}", *(interval(values) if values else "" for values in own)]


def wider(pairs: list[tuple[Any, Any]], known: set[int]) -> list[float]:
    """By how many points the share of the first is larger, pair by pair."""
    return [share(a, known) - share(b, known) for a, b in pairs]


def share(cell: dict[str, Any], known: set[int]) -> float:
    """Of the feasible starts, those that a policy keeps, in percent."""
    return 100.0 * len(unpacked(cell["safe"]) & known) / len(known)


if __name__ == "__main__":
    tyro.cli(
        Annotated[Run, tyro.conf.subcommand("run")] | Annotated[Show, tyro.conf.subcommand("show")],
        description="Feasible regions under three multiplier controllers.",
    ).run()
