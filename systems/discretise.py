"""From x' = f(x, u, w) to x+ = F(x, u, w): the integrators, written once for every arithmetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import casadi as ca
import numpy as np

from systems.affine import affine_matrices
from systems.arguments import expect_choice, expect_names, expect_number, expect_whole
from systems.errors import InvalidValue, expect
from systems.expressions import largest
from systems.implicit import ImplicitRungeKutta
from systems.linear import LinearPlant
from systems.lowering import lower
from systems.newton import solved, where_solved
from systems.plant import Plant

__all__ = ["Discretisation", "Integrator", "euler", "exact", "rk4"]

Integrator = Literal["rk4", "euler", "exact"] | ImplicitRungeKutta


def euler(ode: Callable[[Any], Any], x: Any, dt: float) -> Any:
    """One explicit Euler step; ``x`` may be CasADi, numpy, torch or an interval."""
    return x + dt * ode(x)


def rk4(ode: Callable[[Any], Any], x: Any, dt: float) -> Any:
    """One classical Runge-Kutta step (Kutta, 1901); ``x`` may be CasADi, numpy, torch or an interval."""
    k1 = ode(x)
    k2 = ode(x + (0.5 * dt) * k1)
    k3 = ode(x + (0.5 * dt) * k2)
    k4 = ode(x + dt * k3)
    return x + (dt / 6.0) * (k1 + 2.0 * (k2 + k3) + k4)


def exact(plant: Plant, dt: float) -> LinearPlant:
    """Zero-order-hold discretisation of a plant whose equations are affine, by one matrix exponential (Van Loan, 1978).

    Args:
        plant: continuous, affine in state, input and disturbance.
        dt: seconds between samples.

    Raises:
        InvalidValue: the equations are not affine in state, input and disturbance, or the plant is discrete already.
    """
    expect(plant, Plant, "the plant of exact", "such as LinearPlant(A, B)")
    expect_number(dt, "dt", above=0.0, hint="the sample time in seconds")
    if plant.is_discrete:
        raise InvalidValue(f"{plant.name} is discrete by nature; there is nothing to discretise, use it as it is")
    from scipy.linalg import expm  # scipy is slow to import and only needed here

    f = plant.casadi()
    matrices = affine_matrices(f, range(3))
    if matrices is None:
        raise InvalidValue(
            f"{plant.name} is not linear, so it has no exact discretisation; use integrator='rk4' or linearise it"
        )
    a, b, e = matrices
    c = np.array(f(0, 0, 0, 0))
    n, columns = len(a), np.hstack([b, e, c])
    block = np.zeros((n + columns.shape[1],) * 2)
    block[:n, :n], block[:n, n:] = a, columns
    power = expm(block * dt)[:n]
    m, q = b.shape[1], e.shape[1]
    ad, bd, ed, cd = np.split(power, [n, n + m, n + m + q], axis=1)
    limits = tuple(zip(*(bound.tolist() for bound in plant.bounds), strict=True))
    return LinearPlant(ad, bd, ed, cd[:, 0], dt, plant.state, plant.input, plant.disturbance, limits)


@dataclass(frozen=True)
class Discretisation:
    """The map of a plant from one sample to the next, by an integrator. Input and disturbance are held in between.

    Args:
        plant: continuous or discrete.
        dt: seconds between samples.
        integrator: ``rk4``, ``euler``, ``exact`` (affine plants only), or an implicit method for stiff plants, such as
            :class:`Radau` or :class:`Gauss`; default: ``rk4``. Ignored for plants that are discrete by nature.
        substeps: equal integrator steps per sample; default: 1.
    """

    plant: Plant
    dt: float
    integrator: Integrator = "rk4"
    substeps: int = 1

    def __post_init__(self) -> None:
        expect(self.plant, Plant, "the plant of a discretisation", "such as CartPole()")
        dt = expect_number(self.dt, "dt", above=0.0, hint="the sample time in seconds")
        object.__setattr__(self, "dt", dt)
        if not isinstance(self.integrator, ImplicitRungeKutta):
            hint = ", or an implicit method, such as Radau(order=5) or Gauss(order=4)"
            expect_choice(self.integrator, "integrator", ("rk4", "euler", "exact"), hint)
        object.__setattr__(self, "substeps", expect_whole(self.substeps, "substeps", least=1))
        own = getattr(self.plant, "dt", None)
        if self.plant.is_discrete and own is not None and not np.isclose(own, self.dt, rtol=1e-9, atol=0):
            raise InvalidValue(
                f"{self.plant.name} is discrete with dt = {own} s, but requested with dt = {self.dt} s; give both "
                "the same dt"
            )

    def __str__(self) -> str:
        if self.plant.is_discrete:
            return f"discrete plant, {self.dt:g} s"
        return f"{self.integrator}{f' x {self.substeps}' if self.substeps > 1 else ''}, {self.dt:g} s"

    def function(self, parameters: Sequence[str] = ()) -> ca.Function:
        """x+ as a CasADi function ``F(x, u, w, p) -> next``; ``parameters`` as in ``Plant.casadi``."""
        key = ("next", *expect_names(parameters, "parameters"))
        if key not in self._made:
            source = self.equations(parameters)
            x, u, w, p = source.sx_in()
            after = self.stepper(source)(x, u, w, p)
            name = f"{self.plant.name}_step"
            self._made[key] = ca.Function(name, [x, u, w, p], [after], ["x", "u", "w", "p"], ["next"])
        return self._made[key]

    def lower(self, to: Literal["numpy", "torch", "interval"], parameters: Sequence[str] = ()) -> Callable[..., Any]:
        """x+ in another arithmetic: ``F(x, u, w, p)`` on arrays (..., n), (..., m), (..., q), (..., len(parameters)).

        One program for the whole step: eager arithmetics pay per operation, and the unrolled step has the fewest.
        """
        return lower(self.function(parameters), to=to)

    def equations(self, parameters: Sequence[str] = ()) -> ca.Function:
        """The equations that are integrated: x' of a continuous plant; x+ of a discrete or exactly discretised one."""
        key = ("equations", *expect_names(parameters, "parameters"))
        if key not in self._made:
            if self._is_exact and parameters:
                raise InvalidValue("exact discretisation has no symbolic parameters; use integrator='rk4'")
            plant = exact(self.plant, self.dt) if self._is_exact else self.plant
            self._made[key] = plant.casadi(parameters)
        return self._made[key]

    @cached_property
    def _made(self) -> dict[tuple[str, ...], ca.Function]:
        """Functions made so far, by kind and names of parameters."""
        return {}

    @cached_property
    def _answers(self) -> dict[str, ca.Function | None]:
        """What was found out of the function of a sample."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    @property
    def _is_exact(self) -> bool:
        return self.integrator == "exact" and not self.plant.is_discrete

    def stepper(self, source: Callable[..., Any]) -> Callable[..., Any]:
        """x+ = F(x, u, w, p) from the :meth:`equations`: in any arithmetic that can add states and scale them, for an
        implicit method in CasADi alone."""
        if self.plant.is_discrete or self._is_exact:
            return source
        if isinstance(self.integrator, ImplicitRungeKutta):
            return lambda x, u, w, p: where_solved(*self._implicit(source, x, u, w, p))
        advance = {"rk4": rk4, "euler": euler}[self.integrator]
        h = self.dt / self.substeps

        def step(x: Any, u: Any, w: Any, p: Any) -> Any:
            for _ in range(self.substeps):
                x = advance(lambda z: source(z, u, w, p), x, h)
            return x

        return step

    def _implicit(self, source: Callable[..., Any], x: Any, u: Any, w: Any, p: Any) -> tuple[ca.SX, ca.SX]:
        """x+ of an implicit method, and the largest residual of Newton's method in its substeps."""
        assert isinstance(self.integrator, ImplicitRungeKutta)
        n, h = len(self.plant.state), self.dt / self.substeps
        advance, residuals = self.integrator.step(lambda z: source(z, u, w, p), n, h), []
        for _ in range(self.substeps):
            x, residual = advance(x)
            residuals.append(residual)
        return x, largest(*residuals) if any(not r.is_zero() for r in residuals) else ca.SX(0)

    @property
    def solved(self) -> ca.Function | None:
        """``s(x, u, w, p) -> solved``: 1 where all equations of a sample were solved, 0 where Newton's method did not
        converge and the next state is NaN; None for plants and integrators that solve nothing by iterations."""
        if "solved" not in self._answers:
            self._answers["solved"] = solved(self.function())
        return self._answers["solved"]

    def residual(self, parameters: Sequence[str] = ()) -> ca.Function:
        """``r(x, u, w, p) -> residual``: how far Newton's method was from a solution before its last iteration, as a
        share of the terms of the equations. Above ``systems.newton.SOLVED`` the next state is NaN; zero where nothing
        is solved by iterations.

        Args:
            parameters: as in :meth:`function`.
        """
        key = ("residual", *expect_names(parameters, "parameters"))
        if key not in self._made:
            source = self.equations(parameters)
            x, u, w, p = source.sx_in()
            explicit = self.plant.is_discrete or not isinstance(self.integrator, ImplicitRungeKutta)
            result = ca.SX(0) if explicit else self._implicit(source, x, u, w, p)[1]
            self._made[key] = ca.Function("residual", [x, u, w, p], [result], ["x", "u", "w", "p"], ["residual"])
        return self._made[key]

    def replace(self, plant: Plant) -> Discretisation:
        """The same sampling of another plant."""
        return dataclasses.replace(self, plant=plant)
