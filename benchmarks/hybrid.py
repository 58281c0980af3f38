"""Roads whose friction, curvature and speed change: who stays in the lane, and what does a decision take?

    python -m benchmarks.hybrid [--roads 300] [--mpc-roads 40] [--seed 0]

A car drives random roads of six segments. It fails where it leaves the lane, the angles or the speeds in which the
model is meant to hold, at any sample before the end of the last segment. Compared are

* the planner, which gives each segment the fastest reference (a speed of at most the posted one, a way-point beside the
  middle of the lane) whose proved region holds the state and whose prediction enters proved regions two changes ahead;
* the same planner with one common quadratic Lyapunov function for all modes and one level, proved in the same way;
* the linear-quadratic regulators of the segments at the posted speeds;
* nonlinear MPC over 3 s, which knows the present and the next segment and the reset between them; three quadratic
  programs per decision.

All drive the same roads from the same states; MPC, which takes longest, the first ones of them. Every choice of the
planners that was proved is checked: the state must stay in its region. Times are processor time on one thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from time import process_time
from typing import Any

import casadi as ca
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from scipy.stats import beta

from ctrl.certify import Certificate, ClosedLoop, QuadraticLyapunov, SearchLimits, certify, largest_level
from ctrl.controller import Source
from ctrl.hybrid import ModeReference, RegionPlanner
from ctrl.regulator import LQR
from mpc import NonlinearMPC
from systems import Box, Inequality, Nonlinear, Plant, Task, Uniform, signals
from systems.discretise import Discretisation, rk4
from systems.hybrid import HybridSystem
from systems.library.road_car import RoadCar
from systems.library.roads import ANGLE, DT, LANE, SPEEDS, Segment, joined, random_road, road_system, segment_task
from systems.lowering.buffered import Buffered
from systems.signals import Vector

FAST = (8.0, 12.0, 16.0)  # m/s
POSTED = {(1.0, 0.0): FAST, (1.0, 0.025): FAST, (0.3, 0.0): FAST, (0.3, 0.025): FAST[:1]}
"""Speeds by friction and curvature. On snow, turning at 12 m/s would take more than what the tyres give sideways."""
ASIDE = (-0.6, 0.6, -0.3, 0.3, 0.0)  # m, way-points where the road is straight
LIMITS = SearchLimits(boxes=40_000, seconds=600.0)
BOUNDS = np.array([-LANE, -ANGLE, SPEEDS[0]]), np.array([LANE, ANGLE, SPEEDS[1]])
Kind = tuple[float, float, float]  # friction, curvature, speed
EVERY = 2  # samples that MPC holds its input


def kinds() -> list[Kind]:
    """All modes."""
    return [(*place, speed) for place, speeds in POSTED.items() for speed in speeds]


def own_regions() -> dict[Kind, Certificate]:
    """For each mode the largest proved level of the cost-to-go of its regulator."""
    regions = {}
    for kind in kinds():
        task = segment_task(*kind)
        regions[kind] = largest_level(task, LQR(task).law, resolution=0.1, budget=LIMITS)
    return regions


def common_lyapunov() -> np.ndarray:
    """P (3, 3) that decreases in all linearised modes by the largest common rate, by bisection over LMIs."""
    import cvxpy as cp

    matrices = []
    for kind in kinds():
        task = segment_task(*kind)
        loop, x = ClosedLoop(task, LQR(task).law), task.reading.start[0]
        steps = 1e-6 * np.eye(3)
        matrices.append(np.stack([(loop(x + e) - loop(x - e)) / 2e-6 for e in steps], axis=1))
    scale = np.diag([1.0, 0.2, 2.0])
    slow, fast, best = 0.0, 0.2, None
    for _ in range(8):
        rate = 0.5 * (slow + fast)
        P = cp.Variable((3, 3), symmetric=True)
        scaled = [np.linalg.inv(scale) @ A @ scale for A in matrices]
        rows = [A.T @ P @ A << (1 - rate) * P - 1e-6 * np.eye(3) for A in scaled]
        problem = cp.Problem(cp.Minimize(cp.lambda_max(P)), [P >> np.eye(3), *rows])
        try:
            problem.solve(solver=cp.CLARABEL)
            feasible = problem.status == cp.OPTIMAL
        except cp.SolverError:
            feasible = False
        if feasible:
            slow, best = rate, np.linalg.inv(scale) @ P.value @ np.linalg.inv(scale)
        else:
            fast = rate
    if best is None:
        raise RuntimeError("no common quadratic Lyapunov function of the linearised modes")
    return 0.5 * (best + best.T)


def common_regions() -> tuple[dict[Kind, Certificate], float]:
    """The set {V <= c} of one V for all modes, proved for each of them, and c."""
    P, levels = common_lyapunov(), []
    for kind in kinds():
        task = segment_task(*kind)
        V = QuadraticLyapunov(P, task.reading.start[0])
        certificate = largest_level(task, LQR(task).law, V, resolution=0.1, budget=LIMITS)
        levels.append(certificate.level if certificate.is_proved else 0.0)
    level, regions = 0.999 * min(levels), {}
    for kind in kinds():
        task = segment_task(*kind)
        V = QuadraticLyapunov(P, task.reading.start[0])
        regions[kind] = certify(task, LQR(task).law, V, level=level, budget=LIMITS)
    return regions, level


@dataclass(frozen=True)
class RoadAhead(Plant):
    """The car with what MPC knows of the road: the present segment, the next one, and how far away that is."""

    dt: float = EVERY * DT

    state = signals(
        "offset [m]", "angle [rad]", "speed [m/s]", "remaining [m]", "friction [-]", "curvature [1/m]", "posted [m/s]",
        "next_friction [-]", "next_curvature [1/m]", "next_posted [m/s]", "turn [rad]", "shift [m]",
    )  # fmt: skip
    input = signals("turning [m/s^2]", "acceleration [m/s^2]")

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        car = RoadCar(friction=x.friction, curvature=x.curvature)

        def ode(z: Any) -> Any:
            own = Vector(car.state, z[:3], "state")
            return ca.vertcat(*car.ode(own, u, w), -car.progress(own))

        z = x.column[:4]
        for _ in range(EVERY):
            z = rk4(ode, z, DT)
        own = Vector(signals("offset [m]", "angle [rad]", "speed [m/s]"), z[:3], "state")
        offset, angle, speed, _ = joined(own, 0.0, x.turn, x.shift)
        road = x.column[4:]
        entered = ca.vertcat(offset, angle, speed, 1e3, x.column[7:10], x.column[7:12])
        return ca.if_else(z[3] <= 0, entered, ca.vertcat(z, road))

    def limits(self) -> dict[str, tuple[float, float]]:
        return dict(RoadCar().limits())


def mpc_task() -> Task:
    """The cost of the regulators about the posted speed of the segment on which the car is; the limits of its tyres."""
    plant, car = RoadAhead(), RoadCar()
    turning, braking = (share * car.gravity for share in (car.turning_share, car.braking_share))

    def cost(x: Vector, u: Vector, x_ref: Vector, u_ref: Vector) -> Any:
        steady = x.curvature * x.posted**2
        tracking = x.offset**2 + 20 * x.angle**2 + 0.3 * (x.speed - x.posted) ** 2
        return tracking + 0.2 * (u.turning - steady) ** 2 + 0.5 * u.acceleration**2

    start = {
        "speed": 10.0,
        "friction": 1.0,
        "posted": 10.0,
        "next_friction": 1.0,
        "next_posted": 10.0,
        "remaining": 50.0,
    }
    return Task(
        name="road-ahead",
        plant=plant,
        dt=plant.dt,
        steps=100,
        cost=Nonlinear(cost),
        initial=Uniform(start, start | {"speed": 11.0}),
        constraints=(
            Box("lane", {"offset": (-LANE, LANE), "angle": (-ANGLE, ANGLE), "speed": (SPEEDS[0], SPEEDS[1])}).soft(1e3),
            Inequality(
                "grip",
                lambda x, u: [
                    s * v - most * x.friction
                    for s in (1, -1)
                    for v, most in ((u.turning, turning), (u.acceleration, braking))
                ],
            ),
        ),
    )


class Planned:
    """A planner's references, chosen at every change of mode."""

    def __init__(self, regions: dict[Kind, Certificate]) -> None:
        self._made = {
            place: [
                (speed, ModeReference(regions[*place, speed], np.array([aside, 0.0, 0.0]), BOUNDS))
                for speed in speeds
                for aside in (ASIDE if place[1] == 0.0 else (0.0,))
                if regions[*place, speed].is_proved
            ]
            for place, speeds in POSTED.items()
        }
        self.seconds: list[float] = []
        self.proved: list[bool] = []
        self.broken = 0  # proved choices whose region was left: must be none

    def start(self, road: tuple[Segment, ...], system: HybridSystem) -> None:
        references = {
            str(i): [r for speed, r in self._made[s.friction, s.curvature] if speed <= s.speed]
            for i, s in enumerate(road)
        }
        self._planner = RegionPlanner(system, references, DT)
        self._mode = ""

    def input(self, mode: str, x: np.ndarray) -> np.ndarray:
        if mode != self._mode:
            began = process_time()
            self._choice, self._mode = self._planner.choose(mode, x), mode
            self.seconds.append(process_time() - began)
            self.proved.append(self._choice.is_proved)
        reference = self._choice.reference
        if self._choice.is_proved and not reference.excess(x[:3]) <= 1.0 + 1e-9:
            self.broken += 1
        return reference.input(x[:3])


class Regulators:
    """The regulator of each segment at its posted speed."""

    def __init__(self) -> None:
        self._laws = {kind: LQR(segment_task(*kind)).law for kind in kinds()}
        self.seconds: list[float] = []

    def start(self, road: tuple[Segment, ...], system: HybridSystem) -> None:
        self._road = road

    def input(self, mode: str, x: np.ndarray) -> np.ndarray:
        began = process_time()
        s = self._road[int(mode)]
        u = self._laws[s.friction, s.curvature, s.speed](x[:3])
        self.seconds.append(process_time() - began)
        return np.asarray(u)


class Predictive:
    """Nonlinear MPC over the present and the next segment."""

    def __init__(self, horizon: int = 30, iterations: int = 3) -> None:
        self._mpc = NonlinearMPC(mpc_task(), horizon=horizon, terminal="task", iterations=iterations)
        self.seconds: list[float] = []
        self.failed = 0

    def start(self, road: tuple[Segment, ...], system: HybridSystem) -> None:
        self._road, self._k = road, 0
        self._mpc.reset()

    def input(self, mode: str, x: np.ndarray) -> np.ndarray:
        if self._k % EVERY == 0:
            i = int(mode)
            here, there = self._road[i], self._road[min(i + 1, len(self._road) - 1)]
            last = i + 1 == len(self._road)
            known = [here.friction, here.curvature, here.speed, there.friction, there.curvature, there.speed]
            state = np.array([*x[:3], 1e3 if last else here.length - x[3], *known, here.turn, here.shift])
            began = process_time()
            decision = self._mpc.step(state, self._k // EVERY)
            self.seconds.append(process_time() - began)
            self.failed += decision.source in (Source.SHIFTED_PLAN, Source.BACKUP)
            self._u = decision.input
        self._k += 1
        return self._u


def drive(road: tuple[Segment, ...], start: np.ndarray, driver: Any) -> tuple[bool, float]:
    """Whether a driver reaches the end of a road, and the seconds that it takes."""
    system = road_system(road)
    driver.start(road, system)
    mode, x = "0", np.append(start, 0.0)
    for k in range(4000):
        plant, segment = system.mode(mode).plant, road[int(mode)]
        u = np.clip(driver.input(mode, x), *plant.bounds)
        x = stepper(segment)(x, u)
        if not ((x[:3] >= BOUNDS[0]) & (x[:3] <= BOUNDS[1])).all():
            return False, np.nan
        if x[3] >= segment.length:
            if int(mode) + 1 == len(road):
                return True, (k + 1) * DT
            (guard,) = system.guards[mode]
            mode, x = guard.target, np.array(guard.reset(x)).ravel()
            if not ((x[:3] >= BOUNDS[0]) & (x[:3] <= BOUNDS[1])).all():
                return False, np.nan
    return False, np.nan


STEPPERS: dict[tuple[float, float], Callable[[np.ndarray, np.ndarray], np.ndarray]] = {}


def stepper(segment: Segment) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """One sample on a segment, evaluated in place."""
    key = segment.friction, segment.curvature
    if key not in STEPPERS:
        f = Discretisation(road_system((segment,)).modes[0].plant, DT).function()
        x, u, after = np.zeros(4), np.zeros(2), np.zeros(4)
        buffered = Buffered(f, [x, u], [after])

        def step(state: np.ndarray, given: np.ndarray) -> np.ndarray:
            x[:], u[:] = state, given
            buffered.run()
            return after.copy()

        STEPPERS[key] = step
    return STEPPERS[key]


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """Exact interval at 95 % of a probability of which k of n draws came true (Clopper & Pearson, 1934)."""
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    return low, float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0


@dataclass(frozen=True)
class Options:
    """Success and time per decision on random roads."""

    roads: int = 300
    mpc_roads: int = 40
    seed: int = 0


def draw(options: Options) -> list[tuple[tuple[Segment, ...], np.ndarray]]:
    """Roads and states at their start."""
    rng, drawn = np.random.default_rng(options.seed), []
    for _ in range(options.roads):
        road = random_road(rng, POSTED, 6)
        away = rng.uniform([-0.5, -0.05, -1.0], [0.5, 0.05, 1.0])
        drawn.append((road, np.array([0.0, 0.0, road[0].speed]) + away))
    return drawn


def main(options: Options) -> None:
    console, drawn = Console(), draw(options)
    began = process_time()
    regions = own_regions()
    proofs = process_time() - began
    unproved = [kind for kind, c in regions.items() if not c.is_proved]
    console.print(f"{len(regions) - len(unproved)} of {len(regions)} modes proved in {proofs:.0f} s of processor time")
    began = process_time()
    shared, level = common_regions()
    console.print(f"common V: level {level:.4g}, {process_time() - began:.0f} s; volumes, own against common:")
    volumes = {kind: (regions[kind].volume, shared[kind].volume) for kind in regions}
    for kind, (own, common) in volumes.items():
        console.print(f"  {kind}: {own:.3g}, {common:.3g}")
    drivers: dict[str, tuple[Any, int]] = {
        "LQR": (Regulators(), options.roads),
        "planner": (Planned(regions), options.roads),
    }
    if all(c.is_proved for c in shared.values()):
        drivers["common Lyapunov"] = Planned(shared), options.roads
    if options.mpc_roads:
        drivers["NMPC"] = Predictive(), min(options.mpc_roads, options.roads)
    table = Table(
        "driver", "roads", "success [95 %]", "seconds per road", "decision p50 / p99, ms", "proved choices", "left"
    )
    summary: dict[str, Any] = {
        "modes": len(regions),
        "unproved": len(unproved),
        "proof_cpu_seconds": proofs,
        "level": level,
    }
    reached: dict[str, list[bool]] = {}
    for name, (driver, n) in drivers.items():
        results = [drive(road, start, driver) for road, start in drawn[:n]]
        k = sum(done for done, _ in results)
        low, high = clopper_pearson(k, n)
        seconds = float(np.nanmean([t for _, t in results])) if k else float("nan")
        p50, p99 = (1e3 * float(np.quantile(driver.seconds, q)) for q in (0.5, 0.99))
        proved = float(np.mean(driver.proved)) if isinstance(driver, Planned) else None
        broken = driver.broken if isinstance(driver, Planned) else None
        reached[name] = [done for done, _ in results]
        table.add_row(
            name, str(n), f"{100 * k / n:.1f} % [{100 * low:.1f}, {100 * high:.1f}]", f"{seconds:.1f}",
            f"{p50:.3g} / {p99:.3g}", "" if proved is None else f"{100 * proved:.1f} %",
            "" if broken is None else str(broken),
        )  # fmt: skip
        summary[name] = {
            "roads": n, "reached": k, "interval": [low, high], "seconds": seconds, "p50_ms": p50, "p99_ms": p99,
            "proved": proved, "broken": broken, "failed_solves": getattr(driver, "failed", None),
        }  # fmt: skip
        console.print(f"{name}: {k} of {n}")
    both = min(options.mpc_roads, options.roads)
    summary["same_roads"] = {name: int(sum(done[:both])) for name, done in reached.items()}
    console.print(table)
    print(json.dumps(summary))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
