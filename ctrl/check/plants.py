"""Checks of a plant."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np

from ctrl.check.report import Check, Objection, Report, attempt
from ctrl.check.samples import Samples, around_origin
from ctrl.regulator import NotStabilisable, lqr
from systems import Plant, equilibrium, linearise
from systems.lowering import NotLowerable, lower
from systems.reading import not_differentiable

__all__ = ["check_plant", "plant_report"]

AGREEMENT = 1e-9


def check_plant(plant: Plant | type[Plant]) -> Report:
    """Checks that simulation, optimisation, learning and proofs can use a plant.

    Args:
        plant: the plant, or its class, which is then constructed with default parameters. It is evaluated around the
            origin; :func:`check_task` evaluates it in the task's domain.

    Examples:
        >>> from systems.library import CartPole
        >>> check_plant(CartPole).passed
        True
    """
    return plant_report(plant, around_origin)


def plant_report(plant: Plant | type[Plant], sample: Callable[[Plant], Samples]) -> Report:
    """The checks of a plant.

    Args:
        plant: the plant, or its class.
        sample: gives the points at which it is evaluated.
    """
    name = plant.__name__ if isinstance(plant, type) else type(plant).__name__
    first = attempt(
        "can be made",
        lambda: None if _made(plant) is not None else "",
        "declare state and input as signals(...), give every field a default, write ode or step",
    )
    if not first.passed:
        return Report(name, (first,))
    made = _made(plant)
    equations = attempt("equations give one expression per state", lambda: f"{made.casadi()}")
    limits = attempt("actuator limits are ordered", lambda: _bounds(made))
    checks = [first, equations, limits]
    if equations.passed and limits.passed:
        checks += _numbers(made, sample(made))
    return Report(name, tuple(checks))


def _made(plant: Plant | type[Plant]) -> Plant:
    made = plant() if isinstance(plant, type) else plant
    if not isinstance(made, Plant):
        raise Objection(f"it is {type(made).__name__}, not a Plant; derive from systems.Plant")
    return made


def _numbers(plant: Plant, samples: Samples) -> list[Check]:
    f = plant.casadi()
    if opaque := not_differentiable(f):
        reason = f"the equations call {opaque}, which has no derivatives: only environments and learners can use it"
        return [Check("CasADi can differentiate its equations", False, reason)]
    x, u, w, p = f.sx_in()
    value = f(x, u, w, p)
    jacobian = ca.Function("jacobian", [x, u, w, p], [ca.jacobian(value, ca.vertcat(x, u, w))])
    points = (samples.x, samples.u, samples.w)

    def finite(of: ca.Function, x: Any, u: Any, w: Any, where: str) -> None:
        value = np.array(of(x, u, w, 0))
        if not np.isfinite(value).all():
            rows = [plant.state.names[i] for i in np.flatnonzero(~np.isfinite(value).all(axis=1))]
            raise Objection(f"the equation of {', '.join(rows)} is not finite {where}")

    def everywhere(of: ca.Function) -> None:
        for x, u, w in zip(*points, strict=True):
            finite(of, x, u, w, f"at x = {np.round(x, 3)}, u = {np.round(u, 3)}")

    smooth = "avoid sqrt(0), 0/0, atan2(0, 0): add a small constant where a quantity may vanish" + (
        f", {samples.fix}" if samples.fix else ""
    )
    middle = f"at {samples.centre}"
    return [
        attempt(f"finite {samples.where}", lambda: everywhere(f), smooth),
        attempt(f"has finite derivatives {samples.where}", lambda: everywhere(jacobian), smooth),
        attempt(
            f"finite {middle}", lambda: finite(jacobian, samples.x_ref, samples.u_ref, 0, middle), smooth, warning=True
        ),
        attempt("every input moves something", lambda: _idle(plant, value, u, "input"), "drop it, or use it"),
        attempt("every disturbance moves something", lambda: _idle(plant, value, w, "disturbance"), "", warning=True),
        attempt("reads the same in numpy", lambda: _agrees(f, "numpy", points)),
        *([attempt("reads the same in torch", lambda: _agrees(f, "torch", points))] if _has("torch") else []),
        _read_by_proofs(f, samples),
        attempt(
            f"stabilisable about its equilibrium nearest {samples.centre}",
            lambda: _stabilisable(plant, samples),
            warning=True,
        ),
    ]


def _bounds(plant: Plant) -> str:
    lower, upper = plant.bounds
    ranges = zip(plant.input, lower, upper, strict=True)
    return ", ".join(f"{signal} in [{low:g}, {high:g}]" for signal, low, high in ranges)


def _idle(plant: Plant, value: Any, symbols: Any, role: str) -> None:
    read = ca.which_depends(value, symbols, 1, False) if symbols.shape[0] else []
    idle = [name for name, used in zip(getattr(plant, role).names, read, strict=True) if not used]
    if idle:
        raise Objection(f"{role} {', '.join(idle)} appears in no equation")


def _expected(f: ca.Function, points: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.array([np.array(f(x, u, w, 0))[:, 0] for x, u, w in zip(*points, strict=True)])


def _agrees(f: ca.Function, to: Any, points: tuple[np.ndarray, ...]) -> str:
    arguments: list[Any] = [*points, np.zeros(0)]
    if to == "torch":
        import torch

        arguments = [torch.as_tensor(argument) for argument in arguments]
    actual, expected = np.asarray(lower(f, to=to)(*arguments)), _expected(f, points)
    with np.errstate(all="ignore"):
        gap = np.nanmax(np.abs(actual - expected) / (1 + np.abs(expected)), initial=0.0)
    if not gap <= AGREEMENT:
        raise Objection(f"differs from CasADi by {gap:.3g} (relative)")
    return f"largest difference {gap:.1g}"


def _read_by_proofs(f: ca.Function, samples: Samples) -> Check:
    """A function that intervals cannot read, such as a look-up table, fails no check: only proofs need it."""
    name = "interval arithmetic encloses it"
    try:
        lower(f, to="interval")
    except NotLowerable as error:
        return Check(name, False, f"{error}; only proofs need it", warning=True)
    return attempt(name, lambda: _enclosed(f, samples))


def _enclosed(f: ca.Function, samples: Samples) -> None:
    from systems.arithmetic.interval import Interval

    points = (samples.x, samples.u, samples.w)
    states = Interval(np.maximum(samples.x - 1e-3, samples.lower), np.minimum(samples.x + 1e-3, samples.upper))
    boxes = [states, *(Interval(point - 1e-3, point + 1e-3) for point in points[1:])]
    enclosed, expected = lower(f, to="interval")(*boxes, Interval(np.zeros(0), np.zeros(0))), _expected(f, points)
    if not ((enclosed.lo <= expected) & (expected <= enclosed.hi) | np.isnan(expected)).all():
        raise Objection("an enclosure misses the value CasADi gives")


def _stabilisable(plant: Plant, samples: Samples) -> str:
    if not plant.input:
        return "there is no input to stabilise it with"
    try:
        rest = equilibrium(plant, samples.x_ref, samples.u_ref)
        local = linearise(plant, rest.x, rest.u)
        lqr(local, np.eye(len(plant.state)), np.eye(len(plant.input)))
    except NotStabilisable as error:
        raise Objection(str(error)) from error
    return f"x = {np.round(rest.x, 4)}, u = {np.round(rest.u, 4)}"


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
