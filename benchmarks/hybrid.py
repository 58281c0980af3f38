"""Roads whose friction, curvature and speed change: who stays in the lane, and what does a decision take?

    python -m benchmarks.hybrid run --driver planner [--roads 1000] [--seed 0]
    python -m benchmarks.hybrid show

A car drives random roads of six segments. It fails where it leaves the lane, the angles or the speeds in which the
model is meant to hold, at any sample before the end of the last segment. Compared are

* planner: chooses, at each change of mode and once a second, the fastest reference (a speed of at most the posted one,
  a way-point beside the middle of the lane) whose proved region holds the state and whose prediction enters proved
  regions two changes ahead;
* once: the same, at changes of mode only;
* common: the planner with one common quadratic Lyapunov function and one level for all modes, proved in the same way;
* lqr: the linear-quadratic regulators of the segments at the posted speeds;
* mpc: nonlinear MPC over 3 s, which knows the present and the next segment and the reset between them, three quadratic
  programs per decision, ten decisions per second; rti: the same by one program per decision; far: over 6 s;
* policy: trained by DSAC-T on the task of MPC.

All drive the same roads from the same states in the same plant, with the same limits; those that take longer may drive
the first ones of them only. MPC and the policy do not know the segment after the next one, planners do. Every choice of
the planners that was proved is checked: the state must stay in its region. Times are processor time on one thread.
Finished blocks of roads are kept in `benchmarks/results/`; `show` prints the table of all that is there.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.hybrid_drivers import (
    BOUNDS,
    POSTED,
    Driver,
    Planned,
    Regulators,
    common_regions,
    learned,
    own_regions,
    predictive,
)
from benchmarks.records import append, cells, results
from systems.discretise import Discretisation
from systems.library.roads import DT, Segment, random_road, road_system
from systems.lowering.buffered import Buffered
from systems.statistics import wilson

BLOCK = 25  # roads that are kept at once
SEGMENTS = 6
FILE = results(__file__)
Name = Literal["planner", "once", "common", "lqr", "mpc", "rti", "far", "policy"]


@dataclass(frozen=True)
class Run:
    """Drives roads."""

    driver: Name
    roads: int = 1000
    seed: int = 0
    policy: Path = Path("build/hybrid_policy.pt")


@dataclass(frozen=True)
class Show:
    """Prints the table of what has been driven."""


Step = Callable[[np.ndarray, np.ndarray], np.ndarray]
STEPPERS: dict[tuple[float, float], tuple[Step, np.ndarray, np.ndarray]] = {}


def stepper(segment: Segment) -> tuple[Step, np.ndarray, np.ndarray]:
    """One sample on a segment, evaluated in place, and the limits of its inputs."""
    key = segment.friction, segment.curvature
    if key not in STEPPERS:
        plant = road_system((segment,)).modes[0].plant
        x, u, after = np.zeros(4), np.zeros(2), np.zeros(4)
        buffered = Buffered(Discretisation(plant, DT).function(), [x, u], [after])

        def step(state: np.ndarray, given: np.ndarray) -> np.ndarray:
            x[:], u[:] = state, given
            buffered.run()
            return after.copy()

        STEPPERS[key] = step, *plant.bounds
    return STEPPERS[key]


def drive(road: tuple[Segment, ...], start: np.ndarray, driver: Driver) -> tuple[bool, float, int]:
    """Whether a driver reaches the end of a road, the seconds of processor time of its inputs, and their number."""
    system = road_system(road)
    driver.start(road, system)
    mode, x, spent = "0", np.append(start, 0.0), 0.0
    for k in range(1, 4001):
        segment = road[int(mode)]
        step, lower, upper = stepper(segment)
        began = process_time()
        u = driver.input(mode, x)
        spent += process_time() - began
        x = step(x, np.minimum(np.maximum(u, lower), upper))
        if not ((x[:3] >= BOUNDS[0]) & (x[:3] <= BOUNDS[1])).all():
            return False, spent, k
        if isinstance(driver, Planned):
            driver.after(mode, x)
        if x[3] >= segment.length:
            if int(mode) + 1 == len(road):
                return True, spent, k
            (guard,) = system.guards[mode]
            mode, x = guard.target, np.array(guard.reset(x)).ravel()
            if not ((x[:3] >= BOUNDS[0]) & (x[:3] <= BOUNDS[1])).all():
                return False, spent, k
    return False, spent, 4000


def draw(roads: int, seed: int) -> list[tuple[tuple[Segment, ...], np.ndarray]]:
    """Roads and states at their start."""
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(roads):
        road = random_road(rng, POSTED, SEGMENTS)
        away = rng.uniform([-0.5, -0.05, -1.0], [0.5, 0.05, 1.0])
        drawn.append((road, np.array([0.0, 0.0, road[0].speed]) + away))
    return drawn


def made(name: Name, policy: Path) -> tuple[Driver, dict[str, Any]]:
    """A driver, and what was proved for it."""
    began, worked = process_time(), {}
    driver: Driver
    if name in ("planner", "once", "common"):
        level: float | None = None
        if name == "common":
            regions, level = common_regions()
        else:
            regions = own_regions()
        worked = {
            "modes": len(regions),
            "proved_modes": sum(c.is_proved for c in regions.values()),
            "proof_seconds": round(process_time() - began, 1),
            "level": level,
            "volumes": {" ".join(map(str, k)): float(f"{c.volume:.3g}") for k, c in regions.items()},
        }
        driver = Planned(regions, again=name != "once")
    elif name == "lqr":
        driver = Regulators()
    elif name == "policy":
        driver = learned(policy)
    else:
        driver = predictive(60 if name == "far" else 30, 1 if name == "rti" else 3)
    return driver, worked


def run(options: Run) -> None:
    done = {c["block"] for c in cells(FILE) if (c["driver"], c["seed"]) == (options.driver, options.seed)}
    drawn = draw(options.roads, options.seed)
    left = [i for i in range(options.roads // BLOCK) if i not in done]
    if not left:
        return
    driver, worked = made(options.driver, options.policy)
    for i in left:
        driver.seconds.clear()
        before = driver.counted()
        driven = [drive(road, start, driver) for road, start in drawn[BLOCK * i : BLOCK * (i + 1)]]
        samples = sum(n for _, _, n in driven)
        cell = {
            "driver": options.driver, "seed": options.seed, "block": i,
            "reached": "".join("1" if done else "0" for done, _, _ in driven),
            "driving_seconds": round(DT * sum(n for done, _, n in driven if done), 2),
            "decisions": len(driver.seconds), "samples": samples,
            "p50_ms": float(f"{1e3 * np.quantile(driver.seconds, 0.5):.3g}"),
            "p99_ms": float(f"{1e3 * np.quantile(driver.seconds, 0.99):.3g}"),
            "sample_ms": float(f"{1e3 * sum(t for _, t, _ in driven) / samples:.3g}"),
            **{k: v - before[k] for k, v in driver.counted().items()},
            **(worked if i == left[0] else {}),
        }  # fmt: skip
        append(cell, FILE)
        print(f"{options.driver}, block {i}: {cell['reached'].count('1')} of {BLOCK}", flush=True)


def show() -> None:
    table = Table(
        "driver",
        "roads",
        "success \\[95 %]",
        "s per road",
        "decision p50 / p99, ms",
        "per sample, ms",
        "proved",
        "left",
    )
    summary: dict[str, Any] = {}
    kept = cells(FILE)
    for name in dict.fromkeys(c["driver"] for c in kept):
        own = sorted((c for c in kept if c["driver"] == name), key=lambda c: (c["seed"], c["block"]))
        n, k = BLOCK * len(own), sum(c["reached"].count("1") for c in own)
        low, high = wilson(k, n)
        p50, p99, sample = (float(np.median([c[key] for c in own])) for key in ("p50_ms", "p99_ms", "sample_ms"))
        seconds = sum(c["driving_seconds"] for c in own) / max(k, 1)
        decisions = sum(c["decisions"] for c in own)
        proved = sum(c["proved"] for c in own) / decisions if "proved" in own[0] else None
        broken = sum(c["broken"] for c in own) if "broken" in own[0] else None
        table.add_row(
            name, str(n), f"{100 * k / n:.1f} % \\[{100 * low:.1f}, {100 * high:.1f}]", f"{seconds:.1f}",
            f"{p50:.3g} / {p99:.3g}", f"{sample:.3g}", "" if proved is None else f"{100 * proved:.1f} %",
            "" if broken is None else str(broken),
        )  # fmt: skip
        summary[name] = {
            "roads": n, "reached": k, "interval": [round(low, 4), round(high, 4)], "seconds": round(seconds, 2),
            "p50_ms": p50, "p99_ms": p99, "sample_ms": sample, "proved": proved, "broken": broken,
        }  # fmt: skip
    Console().print(table)
    print(json.dumps(summary))


def main(options: Run | Show) -> None:
    warnings.filterwarnings("ignore", "Solution may be inaccurate")  # of bisections at the border of feasibility
    if isinstance(options, Run):
        run(options)
    else:
        show()


if __name__ == "__main__":
    main(
        tyro.cli(
            Annotated[Run, tyro.conf.subcommand("run", prefix_name=False)]
            | Annotated[Show, tyro.conf.subcommand("show", prefix_name=False)],
            description=__doc__,
        )
    )
