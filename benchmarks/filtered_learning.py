"""Is a policy that learns through its safety filter better behind it than one that is filtered after training?

    python -m benchmarks.filtered_learning [--updates 1500] [--seeds 3]

On braking before a wall, in disturbances, from starts from which one can stop. The filter keeps the stopping distance,
which is proved invariant. Both policies are those of DSAC-T, assessed behind the filter from the same 1,000 starts.
Violations are counted in samples, of all runs during training and of the assessment.
"""

from __future__ import annotations

import dataclasses
import json
from time import process_time
from typing import Any

import numpy as np
import tyro

from benchmarks.filtered_tasks import disturbed_braking, stopping_certificate
from ctrl.filters import BarrierFilter, Shield
from safe_rl import DSACT, assess
from systems import Uniform
from systems.statistics import mean

RUNS = 1_000


def main(updates: int = 1_500, seeds: int = 3) -> None:
    """Trains and assesses.

    Args:
        updates: of each training.
        seeds: number of trainings of each kind.
    """
    starts = Uniform({"position": -1.8, "speed": 0.0}, {"position": -0.8, "speed": 0.5})
    task = dataclasses.replace(disturbed_braking(), initial=starts, discount=0.95)
    barrier = stopping_certificate()
    safety_filter = BarrierFilter(task, barrier.barriers, rate=5.0, backup=Shield(task, barrier))
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        for kind in ("through", "after"):
            learner, began = DSACT(task, seed=seed), process_time()
            if kind == "through":
                learner.filtered(safety_filter)
            learner.learn(updates, progress=False)
            seconds = process_time() - began
            behind = assess(learner.result, task, RUNS, seed=99, safety_filter=safety_filter)
            alone = assess(learner.result, task, RUNS, seed=99)
            rows.append(
                {
                    "seed": seed,
                    "kind": kind,
                    "return behind the filter": float(behind.returns.mean()),
                    "violated samples behind it, of all runs": int(behind.spent.sum()),
                    "return alone": float(alone.returns.mean()),
                    "violated samples per run alone": float(alone.spent.mean()),
                    "violated samples per run in training": float(
                        np.nanmean([record.mean_costs["wall"] for record in learner.history])
                    ),
                    "processor seconds": seconds,
                }
            )
            print(rows[-1], flush=True)
    returns = {
        kind: np.array([row["return behind the filter"] for row in rows if row["kind"] == kind])
        for kind in ("through", "after")
    }
    gain = mean(returns["through"] - returns["after"])
    print(f"through the filter minus after: {gain.value:.2f} [{gain.low:.2f}, {gain.high:.2f}] of return")
    print(json.dumps({"rows": rows, "gain": gain.value, "low": gain.low, "high": gain.high}))


if __name__ == "__main__":
    tyro.cli(main)
