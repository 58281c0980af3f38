"""Do safety filters keep what they promise, what do they cost, and how long does a step take?

    python -m benchmarks.filters [--steps 100000] [--only "braking: shield"]

Per task and filter: violated samples of n under inputs drawn uniformly at random and disturbances at the corners of
their bounds, with the 95 % interval of Clopper & Pearson; the cost of the task's regulator behind the filter, relative
to its own, which may violate; and the processor time of the filter where it passes an input on and where it acts, on
states of those runs and inputs at random, beside that of the rest of a control step (the wrapper, and the regulator).
Constraints are taken as hard. Runs begin where the filter promises something: in the certified set, or where a plan
exists.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from time import process_time

import numpy as np
import tyro
from scipy.stats import beta

from benchmarks.filtered_tasks import (
    at_random,
    certified,
    disturbed_braking,
    starts_within,
    stopping_certificate,
)
from ctrl import LQR, Controller, simulate
from ctrl.certify import BarrierCertificate, Certificate
from ctrl.filters import BarrierFilter, Correction, Filtered, Reason, SafetyFilter, Shield, sublevel_barrier
from mpc.filters import PredictiveFilter
from systems import Task

NAMES = ("braking", "cartpole-track", "lane-bound", "planar-quadrotor")
KINDS = ("shield", "barrier of the certificate", "proved stopping distance", "high-order barrier", "predictive")
TIMED = 400
PREDICTIVE = 5  # a search takes so much longer than a shield's step that it is given this share of the steps


class Passing(SafetyFilter):
    """Passes every input on: what is left of a step is the wrapper's."""

    def correct(self, x: np.ndarray, u: np.ndarray, k: int) -> Correction:
        """The input as it is."""
        return Correction(u)

    def reset(self) -> None:
        """Nothing is remembered."""


def filters(name: str) -> dict[str, Callable[[], tuple[SafetyFilter, Certificate | BarrierCertificate | None]]]:
    """The filters of a task, and the proof of each, if it has one."""
    task, certificate = certified(name)

    def barrier() -> tuple[SafetyFilter, Certificate]:
        return BarrierFilter(task, [sublevel_barrier(certificate)], rate=5.0, backup=shield()[0]), certificate

    def shield() -> tuple[Shield, Certificate]:
        return Shield(task, certificate), certificate

    made: dict[str, Callable[[], tuple[SafetyFilter, Certificate | BarrierCertificate | None]]] = {
        "shield": shield,
        "barrier of the certificate": barrier,
        "predictive": lambda: (PredictiveFilter(task, certificate), None),
    }
    if name == "braking":
        stop = stopping_certificate()
        made["proved stopping distance"] = lambda: (
            BarrierFilter(disturbed_braking(), stop.barriers, rate=5.0, backup=Shield(disturbed_braking(), stop)),
            stop,
        )
        made["high-order barrier"] = lambda: (BarrierFilter(task, rate=1.0), None)
    if name == "lane-bound":
        made["high-order barrier"] = lambda: (BarrierFilter(task, rate=1.0), None)
    return made


def starts(safety_filter: SafetyFilter, proof: Certificate | BarrierCertificate | None, count: int) -> np.ndarray:
    """Starts (count, n) of which the filter promises something."""
    if proof is not None:
        return starts_within(proof, count)
    task, rng, kept = safety_filter.task, np.random.default_rng(0), []
    while len(kept) < count:
        x = task.initial.sample(task.plant.state, rng)
        safety_filter.reset()
        reason = safety_filter.correct(x, task.reading.start[1], 0).reason
        if reason not in (Reason.INFEASIBLE, Reason.OUTSIDE):
            kept.append(x)
    return np.array(kept)


def corners(task: Task, runs: int) -> np.ndarray:
    """Disturbances of which each is an extreme."""
    low, high = task.disturbance.support(task.plant.disturbance)
    return np.where(np.random.default_rng(1).random((runs, task.steps, len(low))) < 0.5, low, high)


def microseconds(call: Callable[[int], object]) -> float:
    """Median processor time of 20 batches of calls."""
    batches = []
    for first in range(0, TIMED, TIMED // 20):
        began = process_time()
        for i in range(first, first + TIMED // 20):
            call(i)
        batches.append((process_time() - began) / (TIMED // 20))
    return 1e6 * float(np.median(batches))


def row(
    name: str, kind: str, steps: int, safety_filter: SafetyFilter, proof: Certificate | BarrierCertificate | None
) -> dict[str, object]:
    """One filter on one task."""
    task = safety_filter.task
    count = -(-steps // (task.steps * (PREDICTIVE if kind == "predictive" else 1)))
    begin, drawn = starts(safety_filter, proof, count), corners(task, count)
    filtered = Filtered(at_random(task), safety_filter)
    runs = simulate(task, filtered, begin, drawn)
    n, violated = filtered.statistics.steps, int((runs.margins > 0).any(axis=-1).sum())
    low = 0.0 if violated == 0 else float(beta.ppf(0.025, violated, n - violated + 1))
    high = float(beta.ppf(0.975, violated + 1, n - violated))
    few = slice(0, 50)
    regulator: Controller = LQR(task)
    alone = simulate(task, regulator, begin[few], drawn[few])
    behind = simulate(task, Filtered(regulator, safety_filter), begin[few], drawn[few])
    x = runs.states[:, :-1].reshape(-1, runs.states.shape[-1])
    rng = np.random.default_rng(2)
    x = x[rng.integers(0, len(x), TIMED)]
    u = rng.uniform(*task.input_bounds, (TIMED, len(task.plant.input)))
    safety_filter.reset()
    acts = np.array([safety_filter.correct(*pair, 0).reason is not None for pair in zip(x, u, strict=True)])

    def timed(chosen: np.ndarray) -> float:
        at = np.flatnonzero(chosen)
        if not len(at):
            return float("nan")
        return microseconds(lambda i: safety_filter.correct(x[at[i % len(at)]], u[at[i % len(at)]], 0))

    wrapped = Filtered(regulator, Passing(task))
    return {
        "task": name,
        "filter": kind,
        "claim": "proved" if proof is not None else "sampled",
        "steps": n,
        "violated": violated,
        "interval": [low, high],
        "left the domain": int((runs.left >= 0).sum()),
        "acted": filtered.statistics.share,
        "reasons": {str(reason): count for reason, count in filtered.statistics.reasons.items()},
        "regulator violated": int((alone.margins > 0).any(axis=-1).sum()),
        "cost": float(behind.cost.mean() / alone.cost.mean()),
        "passing us": timed(~acts),
        "acting us": timed(acts),
        "regulator us": microseconds(lambda i: regulator.step(x[i], 0)),
        "regulator and wrapper us": microseconds(lambda i: wrapped.step(x[i], 0)),
    }


def main(steps: int = 100_000, only: str = "") -> None:
    """Prints a table, then one line of JSON."""
    rows = []
    heads = (f"{'violated':>18}", f"{'95 %':>18}", f"{'acted':>8}", f"{'cost':>7}", f"{'passes':>8}", f"{'acts':>8}")
    print(f"{'task':18}{'filter':28}{'claim':9}", *heads, f"{'rest, us':>9}", sep="")
    for name in NAMES:
        for kind in KINDS:
            if only not in f"{name}: {kind}" or (made := filters(name)).get(kind) is None:
                continue
            rows.append(found := row(name, kind, steps, *made[kind]()))
            low, high = found["interval"]  # type: ignore[misc]
            print(
                f"{name:18}{kind:28}{found['claim']:9}{found['violated']:>7} of {found['steps']:>7,}"
                f"{f'{low:.1e}, {high:.1e}':>18}{found['acted']:>8.1%}{found['cost']:>7.3f}"
                f"{found['passing us']:>8.0f}{found['acting us']:>8.0f}{found['regulator and wrapper us']:>9.0f}",
                flush=True,
            )
    print(json.dumps({"filters": rows}))


if __name__ == "__main__":
    tyro.cli(main)
