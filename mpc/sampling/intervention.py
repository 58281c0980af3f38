"""What a safe sampling controller enforces: barriers and a Lyapunov function with bands of a learned residual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

from ctrl.controller import NotApplicable
from systems import Constraint, Hard, InvalidValue, Task
from systems.affine import is_affine_in
from systems.arguments import expect_number, expect_whole
from systems.errors import expect, shown
from systems.identification.online import ProcessResidual
from systems.plant import Plant
from systems.reading.conditions import is_input_box

__all__ = ["Conditions", "Intervention"]


@final
@dataclass(frozen=True, eq=False)
class Intervention:
    """The quadratic program that corrects inputs (Zheng, Yang, Wu, Pan & Cheng, 2021), with x' = f(x, u) + d:

    min |u - u_proposed|^2 + weight e^2, subject to the input bounds,
    dV/dt <= -decrease V + e for all d within the band (control-Lyapunov condition), and
    dpsi/dt >= -rate psi for all d within the band, for each level psi of each barrier.

    d is a Gaussian process learned in flight; the band is its mean +- ``deviations`` standard deviations, those of the
    function and of one sample together. V is the cost-to-go of the regulator. Distances are relative to the ranges of
    the inputs, and e to the slope of its condition.

    The levels of a barrier h = -g are psi_0 = h and psi_(i+1) = dpsi_i/dt + rate psi_i with the least derivative over
    the band, as of a high-order barrier function (Xiao & Belta, 2019). That function ends where an input appears. With
    ``levels``, it goes on from there with the inputs of the reference in psi_(i+1), so that inputs that appear later
    can act, such as the torque that turns a quadrotor. Each level in whose derivative an input appears gives one
    condition; where all levels are at least 0, the inputs of the reference satisfy all of them but the last.

    Args:
        residual: d, and what it depends on.
        barriers: constraints g(x) <= 0 to enforce; default: the hard constraints of the task on its state.
        levels: number of derivatives of each barrier; default: until an input appears.
        rate: 1/s; default: 3.
        deviations: half of the width of the band; default: 2.
        decrease: of V, 1/s; default: 0.5.
        weight: of the violation of the control-Lyapunov condition; 0 leaves it out; default: 0.01.
        samples: whether the inputs of all sampled sequences are corrected, too, by a few iterations; otherwise only the
            one that is applied is, by DAQP; default: yes.

    Raises:
        InvalidValue: a number outside its range.
    """

    residual: ProcessResidual
    barriers: Sequence[Constraint] = ()
    levels: int | None = None
    rate: float = 3.0
    deviations: float = 2.0
    decrease: float = 0.5
    weight: float = 0.01
    samples: bool = True

    def __post_init__(self) -> None:
        expect(self.residual, ProcessResidual, "the residual", 'such as ProcessResidual({"x": 1.0}, {"x_rate": 1.0})')
        if not isinstance(self.barriers, (list, tuple)):
            raise InvalidValue(f"barriers = {shown(self.barriers)}; expected a tuple of constraints")
        for barrier in self.barriers:
            expect(barrier, Constraint, "a barrier", 'such as Inequality("wall", lambda x, u: x.x - 1.0)')
        if self.levels is not None:
            expect_whole(self.levels, "levels", least=1, most=10)
        expect_number(self.rate, "rate", above=0.0)
        for name in ("deviations", "decrease", "weight"):
            expect_number(getattr(self, name), name, least=0.0)
        if not isinstance(self.samples, bool):
            raise InvalidValue(f"samples = {shown(self.samples)}; expected True or False")

    def conditions(self, task: Task, P: np.ndarray | None) -> Conditions:
        """The conditions of a task.

        Args:
            task: whose plant is nominal. P: (n, n) of V about the reference; None if there is no V.

        Raises:
            NotApplicable: nothing to enforce, a plant that is discrete or not affine in its inputs, or a barrier that
                depends on an input or that no input influences.
        """
        return Conditions(self, task, P)


@final
class Conditions:
    """Affine conditions A u >= b on the input, of which the barriers' are hard, and the last, of V, is soft.

    Args:
        intervention: what is enforced.
        task: whose plant is nominal.
        P: (n, n) of V about the reference; None if there is no V.

    Attributes:
        plant: with d as its disturbances, behind its own.
        names: of the barrier of each hard condition.
        has_lyapunov: whether there is a soft one.
        function: ``(x, xr, p) -> (A, b, levels)``, relative to ``plant`` inputs in their units, rows not scaled; p are
            mean and deviation of d.
    """

    def __init__(self, intervention: Intervention, task: Task, P: np.ndarray | None) -> None:
        nominal, residual = task.plant, intervention.residual
        if nominal.is_discrete:
            raise NotApplicable(
                f"{nominal.name} is discrete, and the conditions need its derivatives in time; give a continuous plant"
            )
        self.plant: Plant = residual.disturbed(nominal)
        own, outputs = len(nominal.disturbance), len(residual.sizes)
        x, u, xr = nominal.state.symbol(), nominal.input.symbol(), ca.SX.sym("xr", len(nominal.state))
        p, d = ca.SX.sym("p", 2 * outputs), ca.SX.sym("d", outputs)
        mean, radius = p[:outputs], float(intervention.deviations) * p[outputs:]
        f = self.plant.casadi()(x, u, ca.vertcat(ca.SX.zeros(own, 1), d), ca.SX(0, 1))
        if not is_affine_in(ca.Function("f", [x, u, d], [f]), 1):
            raise NotApplicable(f"{nominal.name} is not affine in its inputs, which the conditions need")
        held = ca.SX(task.reference.at(nominal, 0)[1]) if task.reference.is_constant else ca.SX.zeros(u.shape)

        def change(psi: ca.SX) -> ca.SX:
            """The least derivative in time over the band."""
            slope = ca.jacobian(psi, x)
            worst = ca.fabs(ca.mtimes(slope, ca.jacobian(f, d))) @ radius
            return ca.substitute(slope @ f, d, mean) - worst

        rows, levels, self.names = list[ca.SX](), list[ca.SX](), list[str]()
        for barrier in _barriers(intervention, task):
            for g in ca.vertsplit(barrier.function(nominal)(x, u)):
                if ca.depends_on(ca.simplify(g), u):
                    raise NotApplicable(f"'{barrier.name}' depends on an input; give barriers of the state alone")
                psi, before, i = -g, len(rows), 0
                while i < (intervention.levels or len(nominal.state)):
                    derivative = change(psi)
                    levels.append(psi)
                    if not ca.simplify(ca.jacobian(derivative, u)).is_zero():
                        rows.append(derivative + intervention.rate * psi)
                        self.names.append(barrier.name)
                        if intervention.levels is None:
                            break
                    psi = ca.substitute(derivative, u, held) + intervention.rate * psi
                    i += 1
                if len(rows) == before:
                    raise NotApplicable(
                        f"no input appears in the derivatives of '{barrier.name}' up to these levels, so no input can "
                        "enforce it; give more levels, or leave it out"
                    )
        self.has_lyapunov = P is not None and intervention.weight > 0.0
        if P is not None and self.has_lyapunov:
            V = ca.bilin(ca.SX(P), x - xr, x - xr)
            rows.append(change(-V) - intervention.decrease * V)
        conditions = ca.vertcat(*rows)
        A = ca.densify(ca.jacobian(conditions, u))
        b = ca.densify(-ca.substitute(conditions, u, ca.SX.zeros(u.shape)))
        self.size = 2 * outputs
        self.function = ca.Function("rows", [x, xr, p], [*ca.cse([A, b]), ca.densify(ca.vertcat(*levels))])


def _barriers(intervention: Intervention, task: Task) -> list[Constraint]:
    given = list(intervention.barriers) or [
        c for c in task.constraints if isinstance(c.requirement, Hard) and not is_input_box(task, c)
    ]
    if not given:
        raise NotApplicable(f"task '{task.name}' has no hard constraint on its state; pass barriers")
    return given
