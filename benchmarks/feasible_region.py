"""Is the feasible region of predictive Lagrangian optimisation larger than that of PID and integral multipliers?

    python -m benchmarks.feasible_region run [--hours H]
    python -m benchmarks.feasible_region show

Zhang, Yuan, Zhan et al. (2025, arXiv 2501.15217) report a region up to 7.2 % larger than under PID-Lagrangian at a
comparable reward; how it was measured is not public. Here: of starts from which the constraint can be kept, the share
that the trained policy keeps; base learner DSAC-T. Every method has the same tuning budget, three settings times two
seeds on each task, its default the first of the settings; the one with the largest mean share among those that met
their budget (all, if none did) is run with five fresh seeds. Reported: shares, their differences with intervals paired
by seed, and returns beside them. Training is as short as in `benchmarks.constrained`.

Cells are kept in `benchmarks/feasible_region.jsonl`, as those of `benchmarks.constrained` are; what that one has
trained with the same settings and seed is not trained again.
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

from benchmarks.constrained import TASKS, append, cells, digest, feasible, interval, share, train
from safe_rl import DSACPID, DSACT, PLO, Combination, DSACLagrangian
from safe_rl.handlers import IntegralGains, Lagrangian, PIDGains, PredictiveGains

FILE = Path(__file__).with_suffix(".jsonl")
ON = ("braking", "lane-bound", "cartpole-track")
GAINS: dict[str, list[Any]] = {
    "integral": [IntegralGains(), IntegralGains(0.03), IntegralGains(0.3)],
    "pid": [PIDGains(), PIDGains(5.0, 0.05, 0.0), PIDGains(1.0, 0.3, 3.0)],
    "plo": [PredictiveGains(), PredictiveGains(horizon=3), PredictiveGains(s=3.0)],
}
LIKE = {"integral": DSACLagrangian, "pid": DSACPID, "plo": PLO}
TUNING, TESTING = (100, 101), (0, 1, 2, 3, 4)


def made(method: str, setting: int) -> Combination:
    like = LIKE[method].handler
    assert isinstance(like, Lagrangian)
    handler = dataclasses.replace(like, gains=GAINS[method][setting])
    return Combination(f"{method}#{setting}", DSACT, handler)


class Found:
    """What is finished, of this benchmark and of the one whose cells it shares."""

    def __init__(self) -> None:
        self._all = {(c["digest"], c["task"], c["seed"]): c for c in cells() + cells(FILE)}

    def cell(self, method: str, setting: int, task: str, seed: int) -> dict[str, Any] | None:
        return self._all.get((digest(made(method, setting), task), task, seed))

    def feasible(self, task: str) -> set[int]:
        """In closed form for braking, else the starts that any of these policies kept."""
        of = {
            m: [self.cell(m, i, task, seed) for i in range(len(GAINS[m])) for seed in TUNING + TESTING] for m in GAINS
        }
        return feasible(TASKS[task], [c for row in of.values() for c in row if c is not None])

    def chosen(self, method: str, task: str) -> int | None:
        """The best setting, once all of them were tried."""
        known, worth = self.feasible(task), []
        for setting in range(len(GAINS[method])):
            mine = [c for seed in TUNING if (c := self.cell(method, setting, task, seed)) is not None]
            if len(mine) < len(TUNING):
                return None
            met = all(c["cost"] <= c["budget"] for c in mine)
            worth.append((met, float(np.mean([share(c, known) for c in mine]))))
        return max(range(len(worth)), key=lambda setting: worth[setting])

    def missing(self) -> list[tuple[str, int, str, int] | None]:
        """Cells to train: method, setting, task, seed; None in the place of what is finished or not yet known."""
        plan: list[tuple[str, int | None, str, int]] = [
            (method, setting, task, seed)
            for seed, task, method in itertools.product(TUNING, ON, GAINS)
            for setting in range(len(GAINS[method]))
        ]
        best = {(method, task): self.chosen(method, task) for method, task in itertools.product(GAINS, ON)}
        plan += [(m, best[m, task], task, seed) for seed, task, m in itertools.product(TESTING, ON, GAINS)]
        return [None if i is None or self.cell(m, i, t, seed) else (m, i, t, seed) for m, i, t, seed in plan]


@dataclass(frozen=True)
class Run:
    """Train what is missing: all settings first, then the chosen ones."""

    hours: float = 1e9
    """Start no further cell after so long."""
    part: tuple[int, int] = (0, 1)
    """Of so many processes, which one this is: "1 2" is the second of two."""
    scratch: Path = Path("runs/feasible_region")

    def run(self) -> None:
        torch.set_num_threads(1)
        began = time.monotonic()
        while time.monotonic() - began < 3600 * self.hours:
            found = Found()
            mine = [cell for cell in found.missing()[self.part[0] :: self.part[1]] if cell is not None]
            if mine:
                method, setting, task, seed = mine[0]
                append(train(f"{method}#{setting}", made(method, setting), TASKS[task], seed, self.scratch), FILE)
            elif any(found.chosen(method, task) is None for method in GAINS for task in ON):
                time.sleep(10.0)  # another process has settings to try yet
            else:
                return


@dataclass(frozen=True)
class Show:
    """Shares, their differences and returns, of what is finished."""

    def run(self) -> None:
        found, summary = Found(), {}
        for task in ON:
            known = found.feasible(task)
            table = Table(task, "setting", "seeds", "share kept, %", "met budget", "return", "plo minus it, %")
            by_method: dict[str, dict[int, float]] = {}
            for method in reversed(GAINS):  # plo first, which the others are compared with
                best = found.chosen(method, task)
                mine = [
                    c
                    for seed in TESTING
                    if best is not None and (c := found.cell(method, best, task, seed)) is not None
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
