"""Plants whose equations call functions that CasADi does not expand: a root finder, a table, a callback; and erf."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import casadi as ca
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from ctrl import LQR, Controller, NotApplicable, check_task, simulate
from ctrl.certify import certify
from mpc import HarmonicMPC, LagrangianMPC, LinearMPC, NonlinearMPC, StochasticMPC
from systems import Box, Plant, Quadratic, Task, Uniform, signals

GRID, OTHER = np.linspace(-2, 2, 9), np.linspace(-3, 3, 4)
TABLE = np.outer(np.sin(GRID), 1 + 0.1 * OTHER)
_z, _p = ca.SX.sym("z"), ca.SX.sym("p")
CUBIC = ca.rootfinder("cubic", "newton", {"x": _z, "p": _p, "g": _z**3 + _z - _p})
PLANE = ca.interpolant("plane", "linear", [GRID.tolist(), OTHER.tolist()], TABLE.ravel(order="F").tolist())


class Sine(ca.Callback):
    """sin, known to CasADi by its values alone."""

    def __init__(self, name: str, **options: bool) -> None:
        ca.Callback.__init__(self)
        self.construct(name, options)

    def eval(self, arguments: Any) -> Any:
        return [ca.sin(arguments[0])]


BLIND, SEEN = Sine("blind"), Sine("seen", enable_fd=True)


def _cardano(p: float) -> float:
    root = math.sqrt(p**2 / 4 + 1 / 27)
    return float(np.cbrt(p / 2 + root) + np.cbrt(p / 2 - root))


def _plane(x: float) -> float:
    return float(RegularGridInterpolator((GRID, OTHER), TABLE)([[x, 0.5]])[0])


FORMS: dict[str, tuple[Callable[[Any], Any], Callable[[float], float]]] = {
    "root finder": (lambda v: CUBIC(0, v), _cardano),
    "table of two signals": (lambda v: PLANE(ca.vertcat(v, 0.5)), _plane),
    "erf": (ca.erf, math.erf),
    "callback": (SEEN, math.sin),
}
CONTROLLERS: dict[str, Callable[[Task], Controller]] = {
    "LQR": LQR,
    "linear": lambda task: LinearMPC(task, 5),
    "nonlinear": lambda task: NonlinearMPC(task, 5),
    "Lagrangian": lambda task: LagrangianMPC(task, 5),
}


def task_of(read: Callable[[Any], Any]) -> Task:
    @dataclass(frozen=True)
    class Valve(Plant):
        gain: float = field(default=1.0)
        state, input = signals("x [-]"), signals("u [-]")

        def ode(self, x: Any, u: Any, w: Any) -> Any:
            return (-x.x - self.gain * read(x.x) + u.u,)

        def limits(self) -> dict[str, tuple[float, float]]:
            return {"u": (-3.0, 3.0)}

    return Task(
        "valve", Valve(), 0.1, 10, Quadratic([1], [0.1]), Uniform([-1.0], [1.0]), domain=Box("domain", {"x": (-2, 2)}),
        integrator="euler",
    )  # fmt: skip


@pytest.mark.parametrize("name", CONTROLLERS)
@pytest.mark.parametrize("form", FORMS)
def test_every_reader_sees_the_same_function(form: str, name: str) -> None:
    """Each step of each run is that of the function as scipy or math computes it."""
    read, right = FORMS[form]
    task = task_of(read)
    run = simulate(task, CONTROLLERS[name](task), np.array([[0.9], [-0.7]]))
    for states, inputs in zip(run.states, run.inputs, strict=True):
        for x, u, after in zip(states[:-1, 0], inputs[:, 0], states[1:, 0], strict=True):
            assert after == pytest.approx(x + 0.1 * (-x - right(x) + u), abs=1e-9)
    assert np.abs(run.states[:, -1]).max() < 0.25


def _proved(task: Task) -> object:
    return certify(task, LQR(task).law)


@pytest.mark.parametrize("make", [*CONTROLLERS.values(), HarmonicMPC, StochasticMPC, _proved])
def test_what_has_no_derivative_is_named(make: Callable[[Task], Any]) -> None:
    with pytest.raises(NotApplicable, match=r"Valve call 'blind' .*enable_fd"):
        make(task_of(BLIND))


def test_a_check_of_it_ends_and_names_it() -> None:
    report = str(check_task(task_of(BLIND)))
    assert "CasADi can differentiate its equations: the equations call 'blind'" in report
    assert "x_function" not in report


def test_environments_need_no_derivatives() -> None:
    env = task_of(BLIND).env()
    env.reset(seed=0)
    observation, *_ = env.step(np.array([0.5], dtype=np.float32))
    assert np.isfinite(observation).all()
