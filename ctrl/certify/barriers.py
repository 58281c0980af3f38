"""Sets given by inequalities, proved invariant under a law and within the hard constraints of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter, process_time
from typing import final

import casadi as ca
import numpy as np

from ctrl.certify.candidates.sampling import corners
from ctrl.certify.claims.claim import expected_box
from ctrl.certify.claims.result import Kind
from ctrl.certify.constraints import holds_every_input
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.search.limits import SearchLimits
from ctrl.certify.search.prove import expect_limits
from ctrl.controller import NotApplicable
from ctrl.laws.law import Law
from systems import Constraint, Hard, InvalidValue, Task
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_functions import clipped
from systems.errors import expect, shown
from systems.lowering import lower

__all__ = ["BarrierCertificate", "certify_barrier"]


@final
@dataclass(frozen=True, eq=False)
class BarrierCertificate:
    """Whether S = {x in a box: g(x) <= 0} is invariant under a law and lies within the hard constraints of a task.

    -g is a barrier function of the sampled loop (Prajna & Jadbabaie, 2004; Agrawal & Sreenath, 2017, with the largest
    rate): g(f(x, w)) <= 0, and f(x, w) in the box, for all x in S and all disturbances w.

    Args:
        loop: the closed loop, with its disturbances.
        barriers: g, by constraints on the state.
        box: lower and upper (n,).
        kind: proved; refused, with a counterexample; or undecided, if a limit was reached.
        boxes: examined.
        cpu: processor time in seconds.
        counterexample: a state (n,) of S that is proved to leave it, or to violate a hard constraint.
    """

    loop: ClosedLoop
    barriers: tuple[Constraint, ...]
    box: tuple[np.ndarray, np.ndarray]
    kind: Kind = Kind.UNDECIDED
    boxes: int = 0
    cpu: float = 0.0
    counterexample: np.ndarray | None = None

    @property
    def is_proved(self) -> bool:
        return self.kind is Kind.PROVED

    @property
    def claim(self) -> str:
        """The claim in one sentence."""
        loop = self.loop
        hard = ", ".join(f"'{c.name}'" for c in loop.task.constraints if isinstance(c.requirement, Hard))
        drawn = ", ".join(f"any {name} in [{low!r}, {high!r}]" for name, (low, high) in loop.disturbance.items())
        return (
            f"every start in the box from {self.box[0].tolist()} to {self.box[1].tolist()} that keeps "
            f"{', '.join(repr(c.name) for c in self.barriers)} stays there and keeps the hard constraints "
            f"({hard or 'none'}) at every sample under the law, "
            f"{f'with {drawn} in any sample and no other disturbance' if drawn else 'without disturbance'}"
        )

    def __str__(self) -> str:
        lines = [f"{self.kind.upper()}: {self.claim}", f"  effort      {self.boxes:,} boxes, {self.cpu:.3f} s"]
        if self.counterexample is not None:
            lines.append(f"  broken at   {self.counterexample.tolist()}")
        return "\n".join(lines)

    def surely_holds(self, x: Interval) -> np.ndarray:
        """Whether each of the boxes (..., n) provably lies in S; (...,) of bool."""
        within = ((x.lo >= self.box[0]) & (x.hi <= self.box[1])).all(axis=-1)
        return np.asarray(within & (self.rows(x).hi <= 0.0).all(axis=-1))

    def contains(self, x: np.ndarray) -> np.ndarray:
        """Whether each of the states (..., n) provably lies in S; (...,) of bool."""
        return self.surely_holds(Interval.of(x))

    @cached_property
    def rows(self) -> Callable[[Interval], Interval]:
        """Encloses all rows of g over boxes (..., n) of states."""
        plant = self.loop.task.plant
        x = plant.state.symbol()
        g = ca.vertcat(*(c.function(plant)(x, 0) for c in self.barriers))
        enclosed: Callable[[Interval], Interval] = lower(ca.Function("barriers", [x], [g]), to="interval")
        return enclosed


def certify_barrier(
    task: Task,
    law: Law,
    barriers: Sequence[Constraint],
    limits: SearchLimits | None = None,
    *,
    box: tuple[np.ndarray, np.ndarray] | None = None,
    disturbance: Mapping[str, tuple[float, float]] | None = None,
) -> BarrierCertificate:
    """Decides by branch and bound whether a set given by inequalities is invariant under a law and lies within the hard
    constraints of a task.

    Boxes are divided in all states, so it is suitable for two to four states; for more, certify a Lyapunov function.

    Args:
        task: whose true plant is controlled, and with the hard constraints.
        law: the controller in closed form.
        barriers: conditions g(x) <= 0 on the state, such as ``Inequality("can stop", lambda x, u: ...)``.
        limits: of the search; default: 2,000,000 boxes and 60 seconds.
        box: lower and upper (n,) to which the set is restricted; default: the domain of the task.
        disturbance: intervals of signals of w, by name (others zero), within which they may change from sample to
            sample; default: none.

    Raises:
        NotApplicable: the loop has no enclosure, a barrier depends on the input, or the box is not bounded.
        InvalidValue: no barrier, an object that is not a constraint, or a box that reaches beyond half a period of a
            periodic signal.
    """
    began, limits = process_time(), expect_limits(limits)
    loop = ClosedLoop(task, law, disturbance=disturbance or {})
    if not isinstance(barriers, (list, tuple)) or not barriers:
        raise InvalidValue(f"barriers = {shown(barriers)}; expected constraints on the state, such as (Inequality(),)")
    for barrier in barriers:
        expect(barrier, Constraint, "a barrier", 'such as Inequality("can stop", lambda x, u: ...)')
        if barrier.function(task.plant).sparsity_jac(1, 0).nnz():
            raise NotApplicable(
                f"barrier '{barrier.name}' depends on the input; expected a function of the state alone, which "
                "defines a set of states"
            )
    lower_, upper = expected_box(loop, box)
    if not np.isfinite([lower_, upper]).all():
        raise NotApplicable(f"task '{task.name}' has no bounded domain; give box, finite bounds that contain the set")
    if beyond := loop.beyond_half_a_period(lower_, upper):
        raise InvalidValue(
            f"box from {lower_} to {upper}: a periodic signal or a quaternion leaves {beyond}, outside of which a "
            "controller may use an equivalent value closer to the reference, but the law does not; give a smaller box"
        )
    claimed = BarrierCertificate(loop, tuple(barriers), (lower_, upper))
    kind, boxes, point = _decided(claimed, limits)
    return BarrierCertificate(
        loop, claimed.barriers, claimed.box, kind, boxes, process_time() - began, counterexample=point
    )


def _decided(claimed: BarrierCertificate, limits: SearchLimits) -> tuple[Kind, int, np.ndarray | None]:
    loop, (least, most), began = claimed.loop, claimed.box, perf_counter()
    task = loop.task
    bounds = task.applied_bounds
    hard = [
        lower(g, to="interval")
        for c, g in zip(task.constraints, task.constraint_functions, strict=True)
        if isinstance(c.requirement, Hard) and not holds_every_input(c, task, bounds)
    ]

    def kept(x: Interval) -> np.ndarray:
        """Whether boxes of S provably satisfy the hard constraints and have images in S."""
        u = clipped(loop.law.enclose(x), *bounds)
        sure = claimed.surely_holds(loop.enclose(x))
        for rows in hard:
            sure = sure & (rows(x, u).hi <= 0.0).all(axis=-1)
        return np.asarray(sure)

    def broken(x: np.ndarray) -> np.ndarray:
        """Whether points provably leave S or violate a hard constraint."""
        point = Interval.of(x)
        u, result = clipped(loop.law.enclose(point), *bounds), np.zeros(len(x), dtype=bool)
        for rows in hard:
            result |= (rows(point, u).lo > 0.0).any(axis=-1)
        for w in corners(loop):
            after = loop.enclose(point, Interval.of(w))
            beyond = (after.hi < least) | (after.lo > most)
            result |= beyond.any(axis=-1) | (claimed.rows(after).lo > 0.0).any(axis=-1)
        return result & claimed.contains(x)

    low, high, examined = least[None], most[None], 0
    while len(low):
        if examined + len(low) > limits.boxes or perf_counter() - began > limits.seconds:
            return Kind.UNDECIDED, examined, None
        examined += len(low)
        left = ~(claimed.rows(Interval(low, high)).lo > 0.0).any(axis=-1)
        low, high = low[left], high[left]
        if not len(low):
            break
        left = ~kept(Interval(low, high))
        low, high = low[left], high[left]
        if not len(low):
            break
        middle = Interval(low, high).mid
        if (wrong := broken(middle)).any():
            return Kind.REFUSED, examined, middle[int(np.argmax(wrong))]
        rows, axis = np.arange(len(low)), np.argmax((high - low) / (most - least), axis=1)
        first, second = high.copy(), low.copy()
        first[rows, axis] = second[rows, axis] = middle[rows, axis]
        low, high = np.concatenate([low, second]), np.concatenate([first, high])
    return Kind.PROVED, examined, None
