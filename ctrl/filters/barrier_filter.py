"""A filter based on control barrier functions: the nearest input under which no barrier decreases too fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import final

import numpy as np

from ctrl.controller import NotApplicable
from ctrl.filters.barriers import barrier_rows
from ctrl.filters.disturbances import disturbance_bounds
from ctrl.filters.nearest_input import on_half_space, on_polytope
from ctrl.filters.safety_filter import Correction, Reason, SafetyFilter
from ctrl.filters.shield import Shield
from systems import Constraint, Hard, InvalidValue, Task
from systems.arguments import expect_number
from systems.errors import expect, shown
from systems.lowering.buffered import Buffered
from systems.reading.conditions import is_input_box

__all__ = ["BarrierFilter"]

_ITERATIONS = 10  # linearisations of the conditions in the input; a plant that is affine in the input needs one
_INSIDE = 1e-9  # margin of a condition, relative to its slope, so that it is satisfied despite rounding
_EDGE = 1e-12  # how far below zero a level still counts as on the boundary of the safe set


@final
class BarrierFilter(SafetyFilter):
    """min |u - u_proposed|^2 subject to h(F(x, u, w)) >= (1 - gamma) h(x) for all w, and the input bounds.

    The quadratic program of control barrier functions (Ames, Xu, Grizzle & Tabuada, 2017) for the sampled plant F
    (Agrawal & Sreenath, 2017), with gamma = 1 - exp(-rate dt). A constraint g <= 0 that does not depend on the input is
    differentiated up to its relative degree as a high-order barrier function (Xiao & Belta, 2019), see
    :func:`ctrl.filters.barriers.high_order`. Distances are relative to the ranges of the inputs. A single condition is
    solved in closed form, several conditions by DAQP, with a few linearisations if F is not affine in u. Disturbances
    are considered to first order. If no input satisfies all conditions, the one with the least squared violation is
    applied, or that of the backup's law.

    The claim is *sampled*: an input that satisfies the conditions exists if the barriers respect the input bounds, as a
    braking distance does, but this is not proved. With a backup the claim is proved, because every applied input has
    been accepted or replaced by the shield.

    Args:
        task: whose nominal plant is predicted and whose hard constraints are the barriers by default.
        barriers: constraints g(x, u) <= 0 to be enforced; default: the hard constraints of the task.
        rate: at which h may approach 0, 1/s; default: 1. A smaller rate is more cautious and demands less of the
            actuators.
        disturbance: intervals of signals of w, by name (others zero); default: those of the task's distribution.
        backup: a shield that checks every input afterwards; default: none.

    Attributes:
        names: of the constraint of each condition. degrees: relative degree of each. claim: in words.
        rate, backup: as given. conditions: ``(x, u) -> (c (rows, 1), dc/du (rows, m))``, c >= 0 being safe.

    Raises:
        NotApplicable: no constraint to enforce, no input in the derivatives of a constraint, or unbounded disturbances.
        InvalidValue: a rate that is not positive, or an object that is not a constraint or a shield.
    """

    def __init__(
        self,
        task: Task,
        barriers: Sequence[Constraint] | None = None,
        *,
        rate: float = 1.0,
        disturbance: Mapping[str, tuple[float, float]] | None = None,
        backup: Shield | None = None,
    ) -> None:
        super().__init__(task)
        expect_number(rate, "rate", above=0.0)
        if backup is not None:
            expect(backup, Shield, "the backup of BarrierFilter", "such as Shield(task, certificate)")
        low, high = disturbance_bounds(task, disturbance)
        rows = barrier_rows(task, _barriers(task, barriers), rate, low, high)
        self.names, self.degrees, self.backup = rows.names, rows.degrees, backup
        self.rate, self.conditions = rate, rows.conditions
        self._disturbed = (low.tolist(), high.tolist())
        self.claim = backup.claim if backup is not None else _claim(task, self.names, low, high)
        self._lower, self._upper = task.applied_bounds
        self._rest = np.clip(task.reading.start[1], self._lower, self._upper)
        reach = self._upper - self._lower
        self._width = np.where(np.isfinite(reach) & (reach > 0), 0.5 * reach, 1.0)
        self._low, self._high = (bound / self._width for bound in (self._lower, self._upper))
        n, m, r, levels = len(task.plant.state), len(self._rest), len(self.names), rows.levels.size1_out(0)
        self._x, self._u, self._c, self._slopes = np.zeros(n), np.zeros(m), np.zeros(r), np.zeros((r, m))
        self._conditions = Buffered(rows.conditions, [self._x, self._u], [self._c, self._slopes])
        self._level = np.zeros(levels)
        self._levels = Buffered(rows.levels, [self._x], [self._level])
        self._is_single = r == 1
        self._plain = (self._lower.tolist(), self._upper.tolist(), self._width.tolist(), self._low.tolist(),
                       self._high.tolist())  # fmt: skip

    def __repr__(self) -> str:
        listed = ", ".join(f"'{name}'" for name in dict.fromkeys(self.names))
        return f"<BarrierFilter of {listed}{f' with {self.backup!r}' if self.backup else ''}>"

    @property
    def description(self) -> str:
        """What it enforces and how, in words, by which a filter is recognised in files."""
        listed = ", ".join(
            f"'{name}' of degree {degree}" for name, degree in zip(self.names, self.degrees, strict=True)
        )
        low, high = self._disturbed
        return f"a barrier filter of {listed} at {self.rate:g} per second, disturbances from {low} to {high}"

    def reset(self) -> None:
        """Does nothing: the filter has no memory."""

    def correct(self, x: np.ndarray, u: np.ndarray, k: int) -> Correction:
        """See :meth:`SafetyFilter.correct`."""
        correction = self._corrected(x, u)
        if self.backup is None:
            return correction
        checked = self.backup.correct(x, correction.input, k)
        if checked.reason is None:  # proved to be safe, whether or not the conditions are satisfied
            if correction.reason in (Reason.OUTSIDE, Reason.INFEASIBLE):
                return Correction(checked.input, Reason.UNSAFE_INPUT, correction.iterations)
            return correction
        return Correction(checked.input, checked.reason, correction.iterations)

    def _corrected(self, x: np.ndarray, u: np.ndarray) -> Correction:
        reason = None
        if not all(map(isfinite, u.tolist())):
            u, reason = self._rest, Reason.NO_INPUT
        if not all(map(isfinite, x.tolist())):
            return Correction(self._rest.copy(), Reason.NO_STATE)
        self._x[:] = x
        lower, upper, width, low, high = self._plain
        proposed = [min(max(a, b), c) for a, b, c in zip(u.tolist(), lower, upper, strict=True)]
        self._u[:] = proposed
        self._conditions.run()
        if self._is_satisfied():
            return Correction(self._u.copy(), reason)
        v, is_feasible, iterations = [a / b for a, b in zip(proposed, width, strict=True)], True, 0
        if not np.isfinite(self._slopes).all():
            return Correction(self._u.copy(), Reason.INFEASIBLE)
        while not self._is_satisfied() and is_feasible and iterations < _ITERATIONS:
            iterations += 1
            z, is_feasible = self._nearest(v, low, high)
            self._u[:] = [min(max(a * b, c), d) for a, b, c, d in zip(z, width, lower, upper, strict=True)]
            self._conditions.run()
        applied = self._u.copy()
        if not np.isfinite(applied).all():
            return Correction(np.array(proposed), Reason.INFEASIBLE, iterations)
        if not self._is_satisfied():
            return Correction(applied, Reason.INFEASIBLE, iterations)
        if reason is None:
            self._levels.run()
            reason = Reason.UNSAFE_INPUT if (self._level >= -_EDGE).all() else Reason.OUTSIDE
        return Correction(applied, reason, iterations)

    def _is_satisfied(self) -> bool:
        return all(c >= 0.0 for c in self._c.tolist())

    def _nearest(self, v: list[float], low: list[float], high: list[float]) -> tuple[Sequence[float], bool]:
        """The point nearest to v, relative to the ranges of the inputs, under the conditions linearised at the last
        evaluation."""
        if self._is_single:
            a = [s * b for s, b in zip(self._slopes[0].tolist(), self._plain[2], strict=True)]
            at = sum(s * w for s, w in zip(self._slopes[0].tolist(), self._u.tolist(), strict=True))
            return on_half_space(v, a, at - float(self._c[0]) + _INSIDE * (1.0 + sum(map(abs, a))), low, high)
        A = self._slopes * self._width
        size = np.sqrt((A * A).sum(axis=1)) + 1e-300
        b = (self._slopes @ self._u - self._c) / size + _INSIDE
        z, is_feasible, _ = on_polytope(np.array(v), A / size[:, None], b, self._low, self._high)
        return z.tolist(), is_feasible


def _barriers(task: Task, given: Sequence[Constraint] | None) -> list[Constraint]:
    """The constraints to enforce.

    Raises:
        NotApplicable: there are none. InvalidValue: an object that is not a constraint.
    """
    if given is None:
        hard = [c for c in task.constraints if isinstance(c.requirement, Hard) and not is_input_box(task, c)]
        if not hard:
            raise NotApplicable(
                f"task '{task.name}' has no hard constraint on its state, so there is nothing to enforce; make its "
                "constraints hard by with_hard_constraints(task), or pass barriers"
            )
        return hard
    if not isinstance(given, (list, tuple)) or not given:
        raise InvalidValue(f"barriers = {shown(given)}; expected constraints, such as (Inequality(name, g),)")
    for constraint in given:
        expect(constraint, Constraint, "a barrier", 'such as Inequality("can stop", lambda x, u: ...)')
    return list(given)


def _claim(task: Task, names: Sequence[str], low: np.ndarray, high: np.ndarray) -> str:
    """The claim of a filter without a backup."""
    listed = ", ".join(f"'{name}'" for name in dict.fromkeys(names))
    drawn = f" with disturbances from {low.tolist()} to {high.tolist()}" if (high > low).any() else ""
    return (
        f"sampled, not proved: at the samples of the nominal plant{drawn}, {listed} is satisfied as long as an input "
        "exists that satisfies every condition"
    )
