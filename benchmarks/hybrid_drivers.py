"""Who drives the roads of :mod:`benchmarks.hybrid`: planners by proved regions, regulators, MPC, a learner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any, Protocol

import casadi as ca
import numpy as np

from ctrl.certify import Certificate, ClosedLoop, QuadraticLyapunov, SearchLimits, certify, largest_level
from ctrl.controller import Source
from ctrl.hybrid import ModeReference, RegionPlanner
from ctrl.regulator import LQR
from mpc import NonlinearMPC
from safe_rl import DSACT, Policy
from safe_rl.controller import PolicyController
from systems import Box, Inequality, Nonlinear, Plant, Task, Uniform, signals
from systems.discretise import rk4
from systems.hybrid import HybridSystem
from systems.library.road_car import RoadCar
from systems.library.roads import ANGLE, DT, LANE, SPEEDS, Segment, joined, segment_task
from systems.observations import Observation
from systems.signals import Vector

FAST = (8.0, 12.0, 16.0)  # m/s
POSTED = {(1.0, 0.0): FAST, (1.0, 0.025): FAST, (0.3, 0.0): FAST, (0.3, 0.025): FAST[:1]}
"""Posted speeds by friction and curvature. On snow, turning at 12 m/s would take more than what the tyres give."""
BETWEEN = (8.0, 10.0, 12.0, 14.0, 16.0)
GIVEN = {place: BETWEEN if speeds is FAST else speeds for place, speeds in POSTED.items()}
"""Speeds that the planners give: between two posted ones lies one whose region overlaps with theirs."""
ASIDE = (-0.5, 0.5, 0.0)  # m, way-points where the road is straight
LIMITS = SearchLimits(boxes=40_000, seconds=600.0)
BOUNDS = np.array([-LANE, -ANGLE, SPEEDS[0]]), np.array([LANE, ANGLE, SPEEDS[1]])
Kind = tuple[float, float, float]  # friction, curvature, speed
EVERY = 2  # samples that MPC and the policy hold their input
AGAIN = 20  # samples after which a planner chooses again
SHOWN = 120.0  # m of road that the policy sees
UPDATES = 40_000  # of the policy


def kinds() -> list[Kind]:
    """All modes with all speeds that planners give."""
    return [(*place, speed) for place, speeds in GIVEN.items() for speed in speeds]


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


class Driver(Protocol):
    """A feedback for roads, with what it counts: seconds of its decisions, and numbers of its own."""

    seconds: list[float]

    def start(self, road: tuple[Segment, ...], system: HybridSystem) -> None: ...
    def input(self, mode: str, x: np.ndarray) -> np.ndarray: ...
    def counted(self) -> dict[str, int]: ...


class Planned:
    """A planner's references, chosen at every change of mode and once a second."""

    def __init__(self, regions: dict[Kind, Certificate], again: bool = True) -> None:
        self._again = AGAIN if again else -1
        self._made = {
            place: [
                (speed, ModeReference(regions[*place, speed], np.array([aside, 0.0, 0.0]), BOUNDS))
                for speed in speeds
                for aside in (ASIDE if place[1] == 0.0 else (0.0,))
                if regions[*place, speed].is_proved
            ]
            for place, speeds in GIVEN.items()
        }
        self.seconds: list[float] = []
        self.proved = 0
        self.broken = 0  # samples of proved choices whose region was left: must be none

    def start(self, road: tuple[Segment, ...], system: HybridSystem) -> None:
        references = {
            str(i): [r for speed, r in self._made[s.friction, s.curvature] if speed <= s.speed]
            for i, s in enumerate(road)
        }
        self._planner = RegionPlanner(system, references, DT)
        self._mode, self._k = "", 0

    def input(self, mode: str, x: np.ndarray) -> np.ndarray:
        if mode != self._mode or self._k == self._again:
            began = process_time()
            self._choice, self._mode, self._k = self._planner.choose(mode, x), mode, 0
            self.seconds.append(process_time() - began)
            self.proved += self._choice.is_proved
        self._k += 1
        return self._choice.reference.input(x[:3])

    def after(self, mode: str, x: np.ndarray) -> None:
        """Counts a state that a proved region did not hold."""
        if mode == self._mode and self._choice.is_proved:
            self.broken += not self._choice.reference.excess(x[:3]) <= 1.0 + 1e-9

    def counted(self) -> dict[str, int]:
        return {"proved": self.proved, "broken": self.broken}


class Regulators:
    """The regulator of each segment at its posted speed."""

    def __init__(self) -> None:
        places = [(*place, speed) for place, speeds in POSTED.items() for speed in speeds]
        self._laws = {kind: LQR(segment_task(*kind)).law for kind in places}
        self.seconds: list[float] = []

    def start(self, road: tuple[Segment, ...], system: HybridSystem) -> None:
        self._road = road

    def input(self, mode: str, x: np.ndarray) -> np.ndarray:
        s = self._road[int(mode)]
        began = process_time()
        u = self._laws[s.friction, s.curvature, s.speed](x[:3])
        self.seconds.append(process_time() - began)
        return np.asarray(u)

    def counted(self) -> dict[str, int]:
        return {}


class Informed:
    """A controller of the state of :class:`RoadAhead`: nonlinear MPC, or a policy."""

    def __init__(self, controller: Any) -> None:
        self._controller = controller
        self.seconds: list[float] = []
        self.failed = 0

    def start(self, road: tuple[Segment, ...], system: HybridSystem) -> None:
        self._road, self._k = road, 0
        self._controller.reset()

    def input(self, mode: str, x: np.ndarray) -> np.ndarray:
        if self._k % EVERY == 0:
            i = int(mode)
            here, there = self._road[i], self._road[min(i + 1, len(self._road) - 1)]
            last = i + 1 == len(self._road)
            known = [here.friction, here.curvature, here.speed, there.friction, there.curvature, there.speed]
            state = np.array([*x[:3], 1e3 if last else here.length - x[3], *known, here.turn, here.shift])
            began = process_time()
            decision = self._controller.step(state, self._k // EVERY)
            self.seconds.append(process_time() - began)
            self.failed += decision.source in (Source.SHIFTED_PLAN, Source.BACKUP)
            self._u = decision.input
        self._k += 1
        return self._u

    def counted(self) -> dict[str, int]:
        return {"failed": self.failed}


def predictive(horizon: int, iterations: int) -> Informed:
    """Nonlinear MPC over so many tenths of a second, by so many quadratic programs per decision."""
    return Informed(NonlinearMPC(mpc_task(), horizon=horizon, terminal="task", iterations=iterations))


@dataclass(frozen=True)
class SlipperyRoad(Plant):
    """The same car and road for a learner, which knows no constraints: inputs are clipped to what the tyres give."""

    dt: float = EVERY * DT

    state = RoadAhead.state
    input = RoadAhead.input

    def step(self, x: Vector, u: Vector, w: Vector) -> Any:
        car = RoadCar()
        turning, braking = (s * car.gravity * x.friction for s in (car.turning_share, car.braking_share))
        applied = ca.vertcat(
            ca.fmin(ca.fmax(u.turning, -turning), turning), ca.fmin(ca.fmax(u.acceleration, -braking), braking)
        )
        return RoadAhead().step(x, Vector(self.input, applied, "input"), w)

    def limits(self) -> dict[str, tuple[float, float]]:
        return dict(RoadCar().limits())


def learned_task() -> Task:
    """The cost of MPC on places before changes of mode; to leave the lane ends a run, and is charged."""

    def seen(x: Vector, x_ref: Vector) -> list[Any]:
        names = RoadAhead.state.names
        entries = zip(names, ca.vertsplit(x.column), strict=True)
        return [ca.fmin(entry, SHOWN) if name == "remaining" else entry for name, entry in entries]

    low = {
        "offset": -1.0, "angle": -0.15, "speed": 6.0, "remaining": 1.0, "friction": 0.3, "curvature": 0.0,
        "posted": 8.0, "next_friction": 0.3, "next_curvature": 0.0, "next_posted": 8.0, "turn": -0.15, "shift": -0.5,
    }  # fmt: skip
    high = {
        "offset": 1.0, "angle": 0.15, "speed": 17.0, "remaining": 120.0, "friction": 1.0, "curvature": 0.025,
        "posted": 16.0, "next_friction": 1.0, "next_curvature": 0.025, "next_posted": 16.0, "turn": 0.15, "shift": 0.5,
    }  # fmt: skip
    return replace(
        mpc_task(),
        name="slippery-road",
        plant=SlipperyRoad(),
        constraints=(),
        observation=Observation(RoadAhead.state, seen),
        steps=60,
        initial=Uniform(low, high),
        domain=Box("model", {"offset": (-LANE, LANE), "angle": (-ANGLE, ANGLE), "speed": SPEEDS}),
    )


def learned(file: Path) -> Informed:
    """A policy of DSAC-T with its default settings, from a file, or trained now."""
    task = learned_task()
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        DSACT(task, seed=0).learn(UPDATES).result.save(file)
    return Informed(PolicyController(task, Policy.load(file)))
