"""A filter by control barrier functions: the nearest input that lets no barrier fall faster than at a given rate."""

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

_ITERATIONS = 10  # linearisations of the conditions in the input; a plant that is affine in it needs one
_INSIDE = 1e-9  # by how much of its slope a condition is aimed at, so that rounding leaves it satisfied
_EDGE = 1e-12  # how far below zero a level counts as the edge of the safe set


@final
class BarrierFilter(SafetyFilter):
    """min |u - u_proposed|^2 subject to h(F(x, u, w)) >= (1 - gamma) h(x) for all w, and the input bounds.

    The quadratic program of control barrier functions (Ames, Xu, Grizzle & Tabuada, 2017) on the sampled plant F
    (Agrawal & Sreenath, 2017), gamma = 1 - exp(-rate dt). A constraint g <= 0 whose derivative reads no input is
    carried to its relative degree as a high-order barrier function (Xiao & Belta, 2019), see
    :func:`ctrl.filters.barriers.high_order`. Distances are in shares of the input bounds. One condition is solved in
    closed form, several by DAQP; where F is not affine in u, by a few linearisations. Disturbances are taken to first
    order. Where no input satisfies all conditions, the one with the least squared violation acts, or the backup's law.

    What is claimed is *sampled*: an input that satisfies the conditions exists where the barriers fit the input bounds,
    such as a braking distance does, and nobody has proved it. With a backup it is proved: every input that is applied
    has passed the shield.

    Args:
        task: its nominal plant is predicted, its hard constraints are the barriers unless some are given.
        barriers: constraints g(x, u) <= 0 whose sets are kept; default: the hard constraints of the task.
        rate: at which h may go to 0, 1/s; default: 1. Smaller is more careful, and asks less of the actuators.
        disturbance: intervals of signals of w, by name, the others being zero; default: what the task draws.
        backup: a shield that every input passes through afterwards; default: none.

    Attributes:
        names: of the constraint of each condition. degrees: relative degree of each. claim: what is claimed, in words.

    Raises:
        NotApplicable: nothing to keep, no input appears in the derivatives of a constraint, or disturbances without
            bounds.
        InvalidValue: a rate that is not positive, something else in place of a constraint or a shield.
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
        kept = ", ".join(f"'{name}'" for name in dict.fromkeys(self.names))
        return f"<BarrierFilter of {kept}{f' with {self.backup!r}' if self.backup else ''}>"

    def reset(self) -> None:
        """Nothing is remembered."""

    def correct(self, x: np.ndarray, u: np.ndarray, k: int) -> Correction:
        """See :meth:`SafetyFilter.correct`."""
        correction = self._corrected(x, u)
        if self.backup is None:
            return correction
        checked = self.backup.correct(x, correction.input, k)
        if checked.reason is None:  # proved to be safe, whatever became of the conditions
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
        """The point nearest to v, in shares of the bounds, under the conditions linearised where they were last
        evaluated."""
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
    """The constraints to keep.

    Raises:
        NotApplicable: there are none. InvalidValue: something else in place of one.
    """
    if given is None:
        kept = [c for c in task.constraints if isinstance(c.requirement, Hard) and not is_input_box(task, c)]
        if not kept:
            raise NotApplicable(
                f"task '{task.name}' has no hard constraint on its state, so there is nothing to keep; take its "
                "constraints as hard by with_hard_constraints(task), or give barriers"
            )
        return kept
    if not isinstance(given, (list, tuple)) or not given:
        raise InvalidValue(f"barriers = {shown(given)}; expected constraints, such as (Inequality(name, g),)")
    for constraint in given:
        expect(constraint, Constraint, "a barrier", 'such as Inequality("can stop", lambda x, u: ...)')
    return list(given)


def _claim(task: Task, names: Sequence[str], low: np.ndarray, high: np.ndarray) -> str:
    """What is claimed without a backup."""
    kept = ", ".join(f"'{name}'" for name in dict.fromkeys(names))
    drawn = f" with disturbances from {low.tolist()} to {high.tolist()}" if (high > low).any() else ""
    return (
        f"sampled, not proved: at the samples of the nominal plant{drawn}, {kept} is kept as long as an input exists "
        "that satisfies every condition"
    )
