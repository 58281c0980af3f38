"""Is the feasible region of predictive Lagrangian optimisation larger than that of PID and integral multipliers?

    python -m benchmarks.feasible_region run [--hours H]
    python -m benchmarks.feasible_region show

Zhang, Yuan, Zhan et al. (2025, arXiv 2501.15217) report a region up to 7.2 % larger than under PID-Lagrangian at a
comparable reward; how it was measured is not public. Here: of starts from which the constraint can be kept, the share
that the trained policy keeps; base learner DSAC-T. Every method has the same tuning budget, four settings times two
seeds on each task; the setting with the largest mean share among those that met their budget (all, if none did) is run
with five fresh seeds. Reported: shares, their differences with intervals paired by seed, and returns beside them.

Cells are kept in `benchmarks/feasible_region.jsonl`, as those of `benchmarks.constrained` are.
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

from benchmarks.constrained import TASKS, append, cells, feasible, interval, share, train
from safe_rl import DSACT, Combination
from safe_rl.handlers import IntegralGains, Lagrangian, PIDGains, PredictiveGains

FILE = Path(__file__).with_suffix(".jsonl")
ON = ("braking", "lane-bound", "cartpole-track")
GAINS: dict[str, list[Any]] = {
    "integral": [IntegralGains(ki) for ki in (0.02, 0.05, 0.1, 0.3)],
    "pid": [
        PIDGains(kp, ki, kd) for kp, ki, kd in ((2.0, 0.1, 1.0), (5.0, 0.05, 0.0), (1.0, 0.3, 3.0), (5.0, 0.2, 5.0))
    ],
    "plo": [PredictiveGains(N, effect=B) for N, B in ((5, -0.05), (10, -0.05), (5, -0.15), (3, -0.03))],
}
TUNING, TESTING = (100, 101), (0, 1, 2, 3, 4)


def name(method: str, setting: int) -> str:
    return f"{method}#{setting}"


def made(method: str, setting: int) -> Combination:
    return Combination(name(method, setting), DSACT, Lagrangian(gains=GAINS[method][setting]))


def chosen(method: str, task: str, found: list[dict[str, Any]]) -> int | None:
    """The best setting, once all of them were tried."""
    rows = [c for c in found if c["task"] == task]
    known = feasible(TASKS[task], rows)
    worth = []
    for setting in range(len(GAINS[method])):
        mine = [c for c in rows if c["learner"] == name(method, setting) and c["seed"] in TUNING]
        if len(mine) < len(TUNING):
            return None
        met = all(c["cost"] <= c["budget"] for c in mine)
        worth.append((met, float(np.mean([share(c, known) for c in mine]))))
    return max(range(len(worth)), key=lambda setting: worth[setting])


@dataclass(frozen=True)
class Run:
    """Train what is missing: all settings first, then the chosen ones."""

    hours: float = 1e9
    """Start no further cell after so long."""
    scratch: Path = Path("runs/feasible_region")

    def run(self) -> None:
        torch.set_num_threads(1)
        began = time.monotonic()
        while time.monotonic() - began < 3600 * self.hours and (todo := self.missing(cells(FILE))):
            method, setting, task, seed = todo
            append(train(name(method, setting), made(method, setting), TASKS[task], seed, self.scratch), FILE)

    def missing(self, found: list[dict[str, Any]]) -> tuple[str, int, str, int] | None:
        """The next cell: method, setting, task, seed."""
        done = {(c["learner"], c["task"], c["seed"]) for c in found}
        for seed in TUNING:
            for task in ON:
                for method, settings in GAINS.items():
                    for setting in range(len(settings)):
                        if (name(method, setting), task, seed) not in done:
                            return method, setting, task, seed
        for seed in TESTING:
            for task in ON:
                for method in GAINS:
                    best = chosen(method, task, found)
                    assert best is not None
                    if (name(method, best), task, seed) not in done:
                        return method, best, task, seed
        return None


@dataclass(frozen=True)
class Show:
    """Shares, their differences and returns, of what is finished."""

    def run(self) -> None:
        found, summary = cells(FILE), {}
        for task in ON:
            rows = [c for c in found if c["task"] == task]
            known = feasible(TASKS[task], rows)
            table = Table(task, "setting", "seeds", "share kept, %", "met budget", "return", "plo minus it, %")
            by_method: dict[str, dict[int, float]] = {}
            for method in reversed(GAINS):  # plo first, which the others are compared with
                best = chosen(method, task, found)
                mine = [
                    c for c in rows if best is not None and c["learner"] == name(method, best) and c["seed"] in TESTING
                ]
                if not mine:
                    continue
                by_method[method] = {c["seed"]: share(c, known) for c in mine}
                pairs = [
                    by_method["plo"][seed] - value
                    for seed, value in by_method[method].items()
                    if method != "plo" and seed in by_method.get("plo", {})
                ]
                assert best is not None
                table.add_row(
                    method, str(GAINS[method][best]), str(len(mine)), interval(list(by_method[method].values())),
                    f"{sum(c['cost'] <= c['budget'] for c in mine)}", interval([c["return"] for c in mine]),
                    interval(pairs) if pairs else "",
                )  # fmt: skip
                summary[f"{task}/{method}"] = {
                    "share": float(np.mean(list(by_method[method].values()))),
                    "plo_minus_it": float(np.mean(pairs)) if pairs else None,
                    "return": float(np.mean([c["return"] for c in mine])),
                }
            Console(width=170).print(table)
        print(json.dumps(summary))


if __name__ == "__main__":
    tyro.cli(
        Annotated[Run, tyro.conf.subcommand("run")] | Annotated[Show, tyro.conf.subcommand("show")],
        description="Feasible regions under three multiplier controllers.",
    ).run()
