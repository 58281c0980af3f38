"""Equilibria and linearisations of a plant, with derivatives by CasADi."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import casadi as ca
import numpy as np

from systems.arguments import expect_names, expect_number
from systems.discretise import Discretisation
from systems.errors import InvalidValue, expect
from systems.linear import LinearPlant
from systems.plant import Plant
from systems.signals import Signals, Values, expect_values

__all__ = ["Equilibrium", "equilibrium", "linearise"]


@dataclass(frozen=True)
class Equilibrium:
    """A state and an input at which the undisturbed plant is at rest.

    Args:
        x: (n,), the state.
        u: (m,), the input.
        residual: the largest absolute entry of the derivative there; of a discrete plant, of the change per sample.
    """

    x: np.ndarray
    u: np.ndarray
    residual: float


def equilibrium(
    plant: Plant, x: Values = (), u: Values = (), tolerance: float = 1e-9, hold: Sequence[str] = ()
) -> Equilibrium:
    """The equilibrium nearest to a guess: minimises |x - guess|^2 + |u - guess|^2 subject to equilibrium within the
    actuators' limits.

    Args:
        plant: continuous (ode = 0) or discrete (step = x).
        x, u: guesses, by name or in order; default: zero.
        tolerance: of the solver; residuals up to 1,000 times as large are accepted; default: 1e-9.
        hold: names of states or inputs that keep their guessed values, to select one of many equilibria; default:
            none.

    Raises:
        InvalidValue: no equilibrium was found near the guess.
        UnknownName: a name to hold that is neither state nor input.
    """
    expect(plant, Plant, "the plant of equilibrium", "such as CartPole()")
    expect_number(tolerance, "tolerance", above=0.0, hint="such as 1e-9")
    for name, values in (("x", x), ("u", u)):
        expect_values(values, f"{name}, the guess")
    x0 = plant.state.optional(x, "guess of the state")
    u0 = plant.input.optional(u, "guess of the input")
    f = plant.casadi()
    xs, us = plant.state.symbol(), plant.input.symbol()
    drift = f(xs, us, 0, 0) - (xs if plant.is_discrete else 0)
    z, guess = ca.vertcat(xs, us), np.concatenate([x0, u0])
    lower, upper = plant.bounds
    infinite = np.full(len(x0), np.inf)
    start = np.concatenate([x0, np.clip(u0, lower, upper)])
    lbx, ubx = np.concatenate([-infinite, lower]), np.concatenate([infinite, upper])
    held = [Signals((*plant.state, *plant.input)).where(name) for name in expect_names(hold, "hold")]
    lbx[held] = ubx[held] = guess[held]
    best, status = Equilibrium(x0, u0, np.inf), ""
    # The second way to lower the barrier takes other steps, should the first lead to where the plant is undefined.
    for strategy in ("monotone", "adaptive"):
        solver = ca.nlpsol(
            "equilibrium",
            "ipopt",
            {"x": z, "f": ca.sumsqr(z - guess), "g": drift},
            {
                "print_time": False,
                "show_eval_warnings": False,
                "ipopt": {"print_level": 0, "sb": "yes", "tol": tolerance * 0.1, "mu_strategy": strategy},
                "error_on_fail": False,
            },
        )
        point = np.array(solver(x0=start, lbx=lbx, ubx=ubx, lbg=0, ubg=0)["x"])[:, 0]
        status = solver.stats()["return_status"]
        xe, ue = point[: len(x0)], point[len(x0) :]
        change = np.array(f(xe, ue, 0, 0))[:, 0] - (xe if plant.is_discrete else 0)
        residual = float(np.max(np.abs(change), initial=0.0))
        if residual <= 1e3 * tolerance:
            return Equilibrium(xe, ue, residual)
        if residual < best.residual:
            best = Equilibrium(xe, ue, residual)
    undefined = "; the search met numbers that are undefined, such as the slope of a square root at 0"
    raise InvalidValue(
        f"{plant.name} has no equilibrium near x = {x0}, u = {u0} within its input limits: the best point "
        f"found still moves at {best.residual:.3g}{undefined if status == 'Invalid_Number_Detected' else ''}; "
        "give a better guess or check the limits"
    )


def linearise(model: Plant | Discretisation, x: Values, u: Values) -> LinearPlant:
    """First-order expansion at (x, u), in the *absolute* variables: f(x, u, w) ~ A x + B u + E w + c.

    Args:
        model: a plant, or its discretisation; for a discretisation, the derivatives are those of the simulated step.
        x: state, by name (others zero) or in order.
        u: input, by name (others zero) or in order.

    Returns:
        A continuous or discrete LinearPlant with the plant's signal names and input limits.

    Raises:
        InvalidValue: an object that is not a model, or a point that is not finite; a derivative that is not finite
            there.
        DimensionMismatch: a point of another size.
    """
    expect(model, (Plant, Discretisation), "the model of linearise", "such as CartPole() or task.dynamics")
    for name, values in (("x", x), ("u", u)):
        expect_values(values, f"{name} of linearise")
    plant = model.plant if isinstance(model, Discretisation) else model
    f = model.function() if isinstance(model, Discretisation) else model.casadi()
    dt = model.dt if isinstance(model, Discretisation) or model.is_discrete else None
    xs, us = plant.state.array(x, what="state"), plant.input.array(u, what="input")
    sx, su, sw, sp = f.sx_in()
    value = f(sx, su, sw, sp)
    at = ca.Function("at", [sx, su, sw, sp], [value, *(ca.jacobian(value, z) for z in (sx, su, sw))])
    v, a, b, e = (np.array(m) for m in at(xs, us, 0, 0))
    missing = without_derivative(plant, xs, v[:, 0], np.hstack([a, b]))
    if missing is not None:
        raise InvalidValue(f"{type(plant).__name__} cannot be linearised: {missing}")
    limits = tuple(zip(*(bound.tolist() for bound in plant.bounds), strict=True))
    return LinearPlant(a, b, e, v[:, 0] - a @ xs - b @ us, dt, plant.state, plant.input, plant.disturbance, limits)


def without_derivative(plant: Plant, x: np.ndarray, value: np.ndarray, slopes: np.ndarray) -> str | None:
    """Which of a plant's equations has no finite value or no finite derivative at a state, in words; None where all do.

    Args:
        x: (n,). value: (n,), the equations there. slopes: (n, n + m), their derivatives.
    """
    state = plant.state
    names = (*state.names, *plant.input.names)
    at = ", ".join(f"{name} = {number:.4g}" for name, number in zip(state.names, x, strict=True))
    wrong = ~np.isfinite(value)
    if wrong.any():
        undefined = ", ".join(name for name, bad in zip(state.names, wrong, strict=True) if bad)
        return (
            f"the equation of {undefined} is undefined at the reference ({at}), where a linearisation needs it; give a "
            "reference at which the plant is defined"
        )
    missing = ~np.isfinite(slopes)
    if not missing.any():
        return None
    rows = ", ".join(name for name, bad in zip(state.names, missing.any(axis=1), strict=True) if bad)
    columns = ", ".join(name for name, bad in zip(names, missing.any(axis=0), strict=True) if bad)
    return (
        f"the equation of {rows} has no derivative with respect to {columns} at the reference ({at}), such as that of "
        "a square root at 0; move the reference, or write sqrt(q + 1e-12)"
    )
