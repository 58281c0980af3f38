"""What the first control steps of every controller still make or load, each in a process in which nothing ran before.

``python -m tests.first_steps`` prints one line of JSON, a list for every controller. A process of its own for each is
needed because a compiled function that one controller loads is loaded for all of them.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np

from ctrl import LQR, Controller
from ctrl.controller import Status
from mpc import (
    MPPI,
    CrossEntropyMPC,
    EqualityMPC,
    ExplicitMPC,
    HarmonicMPC,
    LagrangianMPC,
    LinearMPC,
    NonlinearMPC,
    StochasticMPC,
    TrackingMPC,
)
from mpc.online import OnlineController
from mpc.solvers.conic_solver import ConicSolver
from mpc.solvers.daqp import DAQP
from mpc.solvers.hpipm import HPIPM
from mpc.solvers.ipopt import Ipopt
from mpc.solvers.qp import QPSolver
from systems import Task
from systems.library import ball_and_plate_axis, cartpole, cartpole_track, double_integrator, pendulum, segway

__all__ = ["NAMES", "made_or_loaded"]

NAMES = (
    "LQR", "LinearMPC", "LinearMPC, PIQP", "LinearMPC, moving", "NonlinearMPC", "NonlinearMPC, one iteration",
    "LagrangianMPC", "ExplicitMPC", "HarmonicMPC", "HarmonicMPC, ADMM", "TrackingMPC, Clarabel", "EqualityMPC",
    "MPPI", "CrossEntropyMPC", "StochasticMPC", "policy", "lane keeping",
)  # fmt: skip


def controller_of(name: str) -> tuple[Controller, Task]:
    """The controller of this name and its task; what a policy needs is imported with it."""
    if name == "policy":
        from tests.test_sample_numbers_and_states import learned

        return learned(pendulum()), pendulum()
    if name == "lane keeping":
        from safe_rl.driving import LaneKeeping
        from systems.library import driving

        return LaneKeeping(driving()), driving()
    axis = ball_and_plate_axis()
    task, make = {
        "LQR": (cartpole(), LQR),
        "LinearMPC": (cartpole(), LinearMPC),
        "LinearMPC, PIQP": (cartpole(), lambda task: LinearMPC(task, solver="piqp")),
        "LinearMPC, moving": (cartpole_track(), LinearMPC),
        "NonlinearMPC": (cartpole(), NonlinearMPC),
        "NonlinearMPC, one iteration": (cartpole(), lambda task: NonlinearMPC(task, iterations=1)),
        "LagrangianMPC": (cartpole(), LagrangianMPC),
        "ExplicitMPC": (double_integrator(), lambda task: ExplicitMPC(task, 2)),
        "HarmonicMPC": (axis, lambda task: HarmonicMPC(task, 5, 0.3)),
        "HarmonicMPC, ADMM": (axis, lambda task: HarmonicMPC(task, 5, 0.3, solver="admm")),
        "TrackingMPC, Clarabel": (axis, lambda task: TrackingMPC(task, 5, solver="clarabel")),
        "EqualityMPC": (double_integrator(), lambda task: EqualityMPC(task, 30)),
        "MPPI": (cartpole(), MPPI),
        "CrossEntropyMPC": (cartpole_track(), CrossEntropyMPC),
        "StochasticMPC": (segway(), lambda task: StochasticMPC(task, recondition_every=3)),
    }[name]
    return make(task), task


def made_or_loaded(name: str) -> list[str]:
    """Modules imported, functions compiled or read from numba's cache, and programs, solvers and CasADi functions made
    in the steps after construction: the first ones, one without a measurement, one from far outside, and one whose
    quadratic program its solver cannot solve."""
    controller, task = controller_of(name)
    x = task.initial.mean(task.plant.state)
    found: list[str] = []
    before = set(sys.modules)
    _watch(found)
    controller.step(x, 0)
    controller.step(0.99 * x, 1)
    controller.step(np.full_like(x, np.nan), 2)
    controller.step(x + 1e3, 3)
    DAQP._solve = lambda self, f, lower, upper: (Status.NUMERICAL, f * np.nan, lower * np.nan, 0)  # type: ignore[method-assign]
    controller.step(0.98 * x, 4)
    return found + sorted(f"import of {module}" for module in set(sys.modules) - before)


def _watch(found: list[str]) -> None:
    """Records in ``found`` what is made or loaded from now on."""

    def noted(owner: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def noting(*given: Any, **named: Any) -> Any:
            found.append(f"{owner.__name__}.{name}")
            return original(*given, **named)

        setattr(owner, name, noting)

    for kind in (QPSolver, OnlineController, HPIPM, Ipopt, LQR, ca.Function, *ConicSolver.__subclasses__()):
        noted(kind, "__init__")
    for method in ("map", "mapaccum", "expand", "jacobian", "factory", "forward", "reverse"):
        noted(ca.Function, method)
    for function in ("nlpsol", "conic", "rootfinder", "integrator", "qpsol"):
        noted(ca, function)
    if "numba" not in sys.modules:
        return  # its import would be found
    from numba.core import event

    class Lock(event.Listener):  # taken by numba to compile, and to read its cache
        def on_start(self, happened: event.Event) -> None:
            found.append("function of numba compiled or loaded")

        def on_end(self, happened: event.Event) -> None:
            pass

    event.register("numba:compiler_lock", Lock())


def main() -> None:
    """Prints one line of JSON."""
    is_quick = "fork" in multiprocessing.get_all_start_methods() and sys.platform != "darwin"
    context = multiprocessing.get_context("fork" if is_quick else "spawn")
    found = {}
    for name in sys.argv[1:] or NAMES:
        with context.Pool(1) as pool:
            found[name] = pool.apply(made_or_loaded, (name,))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
