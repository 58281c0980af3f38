"""Is the default learner never worse than the regulator, on plants that it was not tuned on?

    python -m benchmarks.strangers run [--seeds N] [--updates U] [--task NAME ...]
    python -m benchmarks.strangers show

`trivium train` with its defaults, on the plants of `benchmarks.plants`, and on the library's rocket, where optimisation
does far better than the regulator: DSAC-T, which learns what to add to LQR where
that brings the runs to the reference, 12,000 updates. Beside it LQR and nonlinear MPC, from the same 20 starts that no
learner has seen. A ratio is the mean cost of the policy over that of the better of the two; below 1 it is the best.

Cells are kept in `benchmarks/results/strangers.jsonl` as they end, so a run can be killed and resumed.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.plants import PLANTS
from benchmarks.records import append, cells, hashed, results
from ctrl import LQR, Controller
from ctrl.comparison.draws import draw
from ctrl.loop import totals
from mpc import NonlinearMPC
from safe_rl import DSACT, DSACTSettings, PolicyController
from systems import Task
from systems.describe import fingerprint
from systems.library import rocket_landing

FILE = results(__file__)
STARTS, SEED = 20, 7  # of the comparison
UPDATES = 12_000
TASKS: dict[str, tuple[Callable[[], Task], int | None]] = {**PLANTS, "rocket_landing": (rocket_landing, None)}
"""With the horizons of nonlinear MPC; None: its own."""
PEERS = ("lqr", "nonlinear-mpc")
SURE = 2.0  # standard errors of the paired differences


def digest(task: Task, updates: int) -> str:
    """Changes with the task, the learner's settings and the number of updates."""
    return hashed(f"{fingerprint(task)} {dataclasses.asdict(DSACTSettings())} {updates} {STARTS} {SEED}")


def costs(task: Task, controller: Controller) -> list[float]:
    """Of the runs from the starts of the comparison; infinite where a run overflows."""
    cost = totals(task, controller, *draw(task, STARTS, (SEED,))).cost
    return [float(c) if np.isfinite(c) else float("inf") for c in cost]


def learned(task: Task, seed: int, updates: int) -> dict[str, Any]:
    """A cell of the default learner."""
    began = time.process_time()
    learner = DSACT(task, seed=seed)
    regulator = learner.choose_regulator()
    learner.learn(updates, progress=True)
    trials = {} if learner.trials is None else learner.trials.diagnostics
    return {
        "costs": costs(task, PolicyController(task, learner.result)),
        "seconds": time.process_time() - began,
        "regulator": bool(regulator),
        "trials": trials,
    }


@dataclass(frozen=True)
class Run:
    """Runs what is missing."""

    seeds: int = 5
    updates: int = UPDATES
    task: tuple[str, ...] = tuple(TASKS)

    def run(self) -> None:
        for name in self.task:
            make, horizon = TASKS[name]
            task = make()
            key = digest(task, self.updates)
            done = {(c["who"], c["seed"]) for c in cells(FILE) if c["digest"] == key}
            common = {"task": name, "digest": key, "updates": self.updates}
            given = {} if horizon is None else {"horizon": horizon}
            peers: dict[str, Any] = {"lqr": LQR, "nonlinear-mpc": functools.partial(NonlinearMPC, **given)}
            for who in PEERS:
                if (who, 0) not in done:
                    append({**common, "who": who, "seed": 0, "costs": costs(task, peers[who](task))}, FILE)
            for seed in range(self.seeds):
                if ("learner", seed) not in done:
                    append({**common, "who": "learner", "seed": seed, **learned(task, seed, self.updates)}, FILE)


@dataclass(frozen=True)
class Show:
    """A row per task and seed, and all of it as JSON."""

    updates: int = UPDATES

    def run(self) -> None:
        table = Table("task", "seed", "LQR", "nonlinear MPC", "policy", "ratio to the better", "ratio to LQR", "share")
        summary: dict[str, Any] = {}
        for name, (make, _) in TASKS.items():
            digested = digest(make(), self.updates)
            found = {(c["who"], c["seed"]): c for c in cells(FILE) if c["digest"] == digested}
            if not all((who, 0) in found for who in PEERS):
                continue
            lqr, mpc = (np.array(found[who, 0]["costs"]) for who in PEERS)
            for (who, seed), cell in sorted(found.items()):
                if who != "learner":
                    continue
                mine = np.array(cell["costs"])
                row = compared(mine, lqr, mpc) | {"share": cell["trials"].get("residual share kept")}
                summary[f"{name}/{seed}"] = row
                share = "-" if row["share"] is None else f"{row['share']:.3g}"
                ratios = ["-" if (r := row[key]) is None else f"{r:.3f}" for key in ("to_best", "to_lqr")]
                ratios[1] += " worse" if row["worse"] else ""
                table.add_row(name, str(seed), *(f"{c.mean():.4g}" for c in (lqr, mpc, mine)), *ratios, share)
        Console(width=130).print(table)
        print(json.dumps(summary))


def compared(mine: np.ndarray, lqr: np.ndarray, mpc: np.ndarray) -> dict[str, Any]:
    """Ratios of mean costs, and whether the policy is worse than LQR by more than noise."""
    best = min(lqr.mean(), mpc.mean())
    with np.errstate(invalid="ignore"):
        more = np.where(mine == lqr, 0.0, mine - lqr)
        doubt = SURE * more.std(ddof=1) / len(more) ** 0.5
    return {
        "to_best": _ratio(mine.mean(), best),
        "to_lqr": _ratio(mine.mean(), lqr.mean()),
        "worse": not more.mean() <= max(doubt, 0.0),
    }


def _ratio(a: float, b: float) -> float | None:
    """None where a run overflowed."""
    return float(a / b) if np.isfinite([a, b]).all() else None


if __name__ == "__main__":
    tyro.cli(
        Annotated[Run, tyro.conf.subcommand("run")] | Annotated[Show, tyro.conf.subcommand("show")],
        description="The default learner on plants that it was not tuned on.",
    ).run()
