"""Faults on purpose: measurements, budgets, clocks and back-ends that go wrong, for every controller alike."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np

from ctrl.controller import Controller, Status
from ctrl.regulator import LQR
from mpc import (
    LagrangianMPC,
    LinearMPC,
    NonlinearMPC,
    indirect_feedback_mpc,
    nominal_mpc,
    robust_mpc,
    robust_stochastic_mpc,
)
from mpc.solvers.daqp import DAQP
from mpc.solvers.piqp import PIQP
from systems import Box, Sinusoid, Task
from systems.library.cartpole import cartpole
from systems.library.pendulum import pendulum
from systems.library.segway import segway


def fenced_pendulum() -> Task:
    """With hard limits that a push or a fault can break."""
    return dataclasses.replace(pendulum(), constraints=(Box("fence", {"angle": (-0.8, 0.8), "rate": (-2.0, 2.0)}),))


def swinging_pendulum() -> Task:
    """To follow a reference that moves, and does not come near the limits."""
    return dataclasses.replace(fenced_pendulum(), reference=Sinusoid(0.1, x_sine={"angle": 0.05}))


def fenced_segway() -> Task:
    """With a hard limit on its lean besides, which a fault can break."""
    posed = segway()
    return dataclasses.replace(posed, constraints=(*posed.constraints, Box("fence", {"angle": (-0.6, 0.6)})))


@dataclass(frozen=True)
class Case:
    """A controller of a task, and what is needed to hurt it.

    Args:
        start, leave: half-widths of the states a run starts from, and is taken back from. wrong: a state that no input
            brings back within the limits, where there is one.
        restart: whether a fresh controller decides as one that has run does.
        agreement: of the inputs of the two. A first-order method stops at a residual of 1e-6, which leaves the input
            uncertain by that over the least curvature.
        steps: of a run that takes about a second.
    """

    task: Task
    make: Callable[[Task], Controller]
    start: np.ndarray
    leave: np.ndarray
    wrong: np.ndarray | None
    restart: bool = True
    agreement: float = 2e-5
    steps: int = 800

    def measurement(self, x: np.ndarray, fault: str, rng: np.random.Generator) -> np.ndarray:
        """What is shown to the controller in state ``x``."""
        n, signs = len(x), rng.choice([-1.0, 1.0], len(x))
        one = np.arange(n) == rng.integers(n)
        if fault in ("nan", "inf"):
            bad = np.nan if fault == "nan" else signs * np.inf
            return np.where(one | (rng.random(n) < 0.3), bad, x)
        if fault == "huge":
            return np.where(one | (rng.random(n) < 0.7), signs * 10.0 ** rng.uniform(3.0, 308.0, n), x)
        if fault == "largest":
            return signs * np.finfo(float).max
        if fault == "subnormal":
            return signs * np.finfo(float).smallest_subnormal * rng.integers(0, 100, n)
        if fault == "infeasible" and self.wrong is not None:
            return signs[0] * self.wrong * 10.0 ** rng.uniform(0.0, 2.0)
        return x


def _pendulum(make: Callable[..., Controller], posed: Task | None = None, steps: int = 800, **options: Any) -> Case:
    bounds = np.array([0.2, 0.3]), np.array([0.5, 1.2]), np.array([1.2, 3.0])
    return Case(posed or fenced_pendulum(), functools.partial(make, **options), *bounds, steps=steps)


def _cartpole(make: Callable[..., Controller], steps: int = 800, agreement: float = 2e-5, **options: Any) -> Case:
    """Its track is soft, so nothing is infeasible."""
    start = np.array([1.0, 0.1, 0.3, 0.3])
    made = functools.partial(make, **options)
    return Case(cartpole(), made, start, 3.0 * start, None, agreement=agreement, steps=steps)


def _segway(make: Callable[[Task], Controller], restart: bool = True) -> Case:
    return Case(fenced_segway(), make, np.full(2, 0.1), np.full(2, 0.3), np.array([0.9, 0.3]), restart)


CASES: dict[str, Callable[[], Case]] = {
    "lqr": lambda: _pendulum(LQR),
    "linear, daqp": lambda: _pendulum(LinearMPC, horizon=15, solver="daqp"),
    "linear, piqp": lambda: _pendulum(LinearMPC, horizon=15, solver="piqp"),
    "nonlinear": lambda: _pendulum(NonlinearMPC, horizon=10, steps=400),
    "lagrangian": lambda: _pendulum(LagrangianMPC, horizon=8, max_iterations=40, steps=130),
    "lqr, moving": lambda: _pendulum(LQR, swinging_pendulum()),
    "linear, moving": lambda: _pendulum(LinearMPC, swinging_pendulum(), horizon=15, steps=200),
    "nonlinear, moving": lambda: _pendulum(NonlinearMPC, swinging_pendulum(), horizon=10, steps=400),
    "lagrangian, moving": lambda: _pendulum(
        LagrangianMPC, swinging_pendulum(), horizon=8, max_iterations=40, steps=130
    ),
    "linear, soft": lambda: _cartpole(LinearMPC, steps=500),
    "linear, soft, piqp": lambda: _cartpole(LinearMPC, solver="piqp", steps=500),
    "nonlinear, soft": lambda: _cartpole(NonlinearMPC, steps=200),
    "lagrangian, soft": lambda: _cartpole(LagrangianMPC, horizon=10, max_iterations=40, steps=130, agreement=1e-4),
    "robust stochastic": lambda: _segway(robust_stochastic_mpc),
    "indirect feedback": lambda: _segway(indirect_feedback_mpc, restart=False),
    "robust": lambda: _segway(robust_mpc),
    "nominal": lambda: _segway(nominal_mpc),
}


# ---- back-ends that break ----


class Broken:
    """Stands in for what a back-end calls, and spoils each answer.

    Args:
        inner: a solver, or a CasADi function. how: ``raise``, or what every number of a primal answer becomes.
    """

    def __init__(self, inner: Any, how: str) -> None:
        self._inner, self._how = inner, how
        self._value = {"nan": np.nan, "inf": np.inf, "garbage": 3e5}.get(how, 0.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _spoil(self, found: Any) -> Any:
        return np.full(found.shape, self._value)

    def solve(self, *given: Any, **named: Any) -> Any:
        """Of DAQP, whose answer is (x, value, flag, info), and of PIQP, which keeps it."""
        if self._how == "raise":
            raise RuntimeError("the back-end broke")
        found = self._inner.solve(*given, **named)
        return (self._spoil(found[0]), found[1], 1, found[3]) if isinstance(found, tuple) else self._claim

    @property
    def _claim(self) -> Any:
        import piqp

        return piqp.PIQP_SOLVED

    @property
    def result(self) -> Any:
        """Of PIQP."""
        found = self._inner.result
        names = ("x", "y", "z_l", "z_u", "info")
        seen = {name: getattr(found, name) for name in names}
        return type("Result", (), {**seen, "x": self._spoil(found.x)})

    def stats(self) -> dict[str, Any]:
        """Of a solver in CasADi."""
        return {**self._inner.stats(), "success": True, "return_status": "Solve_Succeeded"}

    def __call__(self, *given: Any, **named: Any) -> Any:
        if self._how == "raise":
            raise RuntimeError("the back-end broke")
        found = self._inner(*given, **named)
        if isinstance(found, dict):
            return {**found, "x": ca.DM(self._spoil(found["x"]))}
        return tuple(ca.DM(self._spoil(part)) for part in found)


Part = tuple[Any, str]  # an object and the name of one of its attributes


def _replaced(parts: dict[Part, Any]) -> Callable[[], None]:
    """Sets these attributes; the function returned puts back what was there."""
    before = {(place, name): getattr(place, name) for place, name in parts}
    for (place, name), value in parts.items():
        setattr(place, name, value)
    return lambda: [setattr(place, name, value) for (place, name), value in before.items()] and None


def broken(controller: Any, how: str) -> dict[Part, Any]:
    """What to put into a controller for its back-end to break."""
    if isinstance(controller, LinearMPC) and controller._source.varies:  # which makes its back-end anew in every sample

        def made(name: Any, problem: Any, make: Any = controller._back_end) -> Any:
            solver = make(name, problem)
            for place, part in ((solver, "_model"), (solver.rescue, "_solver")):
                setattr(place, part, Broken(getattr(place, part), how))
            return solver

        return {(controller, "_back_end"): made}
    more: dict[Part, Any] = {}
    if isinstance(controller, NonlinearMPC):
        places = [(controller.solver, "_solver")]
        sequential = controller._sequential
        assert sequential is not None
        more = {
            (sequential.sqp.qp, "solve"): functools.partial(_spoiled, sequential.sqp.qp, how),
            (sequential.sqp, "compiled"): None,  # which calls HPIPM in C
        }
    elif isinstance(controller, LagrangianMPC):
        places = [(controller.shooting, "_stages")]
    else:
        places = [(controller.solver, "_solver")]
        if isinstance(controller.solver, DAQP):
            places = [(controller.solver, "_model"), (controller.solver.rescue, "_solver")]
    # PIQP would make itself anew, and so be whole at the second attempt of the same step.
    stays = {(place, "_set_up"): lambda: None for place, _ in places if isinstance(place, PIQP)}
    return {(place, name): Broken(getattr(place, name), how) for place, name in places} | stays | more


def _spoiled(qp: Any, how: str) -> Status:
    """HPIPM's solve, with every number of its answer spoiled; a call of C raises nothing, it fails."""
    if how == "raise":
        return Status.NUMERICAL
    for array in (qp.stages.x, qp.stages.u, qp.last.x, qp.last.u, qp.pi):
        array[:] = {"nan": np.nan, "inf": np.inf, "garbage": 3e5}[how]
    return Status.SOLVED


def hasty(controller: Any) -> dict[Part, Any]:
    """What to put into a controller for its back-end to stop after one iteration."""
    if isinstance(controller, LagrangianMPC):
        return {(controller.descent, "max_iterations"): 1}
    if isinstance(controller, LinearMPC) and controller._source.varies:
        return {(controller, "_iterations"): 1}
    solver: dict[Part, Any] = {(controller, "solver"): type(controller.solver)(controller.solver.problem, 1)}
    return solver | {(controller, "_most"): 1} if isinstance(controller, NonlinearMPC) else solver


class Spoiler:
    """Breaks the back-end of a controller and fixes it again."""

    BACK_END = ("hasty", "raise", "nan answer", "inf answer", "garbage answer")

    def __init__(self, controller: Any) -> None:
        self.kinds: dict[str, dict[Part, Any]] = {}
        if not isinstance(controller, LQR):
            ways = {kind: broken(controller, kind.split()[0]) for kind in self.BACK_END[1:]}
            self.kinds = {"hasty": hasty(controller), **ways}

    def __call__(self, fault: str) -> Callable[[], None]:
        """Sets a fault in, if it is one of a back-end; the function returned takes it away."""
        return _replaced(self.kinds.get(fault, {}))
