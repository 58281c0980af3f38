"""Whether a certified set lies within the constraints of a task, decided with outward rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import final

import casadi as ca
import numpy as np

from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.claims.result import Kind
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.functions.lyapunov import QuadraticLyapunov
from ctrl.certify.search.limits import SearchLimits
from ctrl.certify.search.prove import expect_limits
from systems import Hard, InvalidValue, Task
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_functions import clipped
from systems.arithmetic.interval_matrices import least_eigenvalue, product
from systems.constraints import Box, Constraint
from systems.errors import expect
from systems.lowering import lower
from systems.reading.conditions import is_input_box

__all__ = ["ConstraintStatus", "KeptConstraints", "constraint_statuses", "holds_every_input", "keeps_constraints"]

_SHRUNK = 1e-6  # of a projected quadratic function, so that outward rounding proves that it bounds the full one


@final
@dataclass(frozen=True, eq=False)
class KeptConstraints:
    """Whether every state of a certified set satisfies a task's hard constraints with the input of the certified law.

    The certificate guarantees that the state never leaves the set. Together, they guarantee that the constraints hold
    at every sample from every start in the set.

    Args:
        certificate: of the set and the law.
        task: with the hard constraints.
        kind: proved; refused, with a counterexample; or undecided, if a limit was reached.
        boxes: examined.
        constraint: name of the constraint that is violated or undecided; empty if all are satisfied.
        counterexample: a state (n,) of the set that is proved to violate it.
    """

    certificate: Certificate
    task: Task
    kind: Kind
    boxes: int = 0
    constraint: str = ""
    counterexample: np.ndarray | None = None

    @property
    def is_proved(self) -> bool:
        return self.kind is Kind.PROVED

    @property
    def claim(self) -> str:
        """The claim in one sentence."""
        names = ", ".join(f"'{c.name}'" for c in self.task.constraints if isinstance(c.requirement, Hard))
        cut = " within its box" if self.certificate.domain else ""
        return (
            f"every state with V <= {self.certificate.level!r}{cut} lies in the domain of the task and keeps its hard "
            f"constraints ({names or 'none'}) under {self.certificate.law}"
        )

    def __str__(self) -> str:
        lines = [f"{self.kind.upper()}: {self.claim}"]
        if self.constraint:
            lines.append(f"  because     of {self.constraint}")
        if self.counterexample is not None:
            lines.append(f"  broken at   {self.counterexample.tolist()}")
        return "\n".join(lines)


@final
@dataclass(frozen=True, eq=False)
class ConstraintStatus:
    """Whether every state of a certified set keeps one constraint, with the input of the certified law.

    Args:
        constraint: of the task; None for its domain.
        kind: proved; refused, with a counterexample; or undecided.
        boxes: examined.
        counterexample: a state (n,) of the set that is proved to violate it.
        assumed: what runs of the task must be like for the claim to be about them, in words; empty if it is about all.
    """

    constraint: Constraint | None
    kind: Kind
    boxes: int = 0
    counterexample: np.ndarray | None = None
    assumed: str = ""

    def __str__(self) -> str:
        c = self.constraint
        named = "domain" if c is None else f"'{c.name}' ({type(c.requirement).__name__.lower()})"
        if self.kind is Kind.PROVED:
            runs = "at every sample of every run that starts in it" + (f", {self.assumed}" if self.assumed else "")
            return f"{named}: satisfied in every state of the proved set, and so {runs}"
        if self.counterexample is not None:
            return f"{named}: violated at {self.counterexample.tolist()}, a state of the proved set"
        return f"{named}: undecided" + ("; the set may reach beyond it" if c is None else f" ({self.boxes:,} boxes)")


def constraint_statuses(
    certificate: Certificate, task: Task, limits: SearchLimits | None = None
) -> tuple[ConstraintStatus, ...]:
    """Decides for the domain and for every constraint of a task, whatever its requirement, whether a certified set
    satisfies it.

    If a set is never left and satisfies a constraint, so does every sample of every run that starts in it: a soft
    constraint costs nothing there, a chance constraint holds with probability 1, and no part of a budget is spent.

    Args:
        certificate: of the set and the law.
        task: with the constraints; its states and inputs must be those of the certificate.
        limits: of the search, shared by all constraints; default: 2,000,000 boxes and 60 seconds.

    Raises:
        InvalidValue: a task whose signals differ from those of the certificate.
    """
    limits = _expected(certificate, task, limits)
    domain = ConstraintStatus(None, Kind.PROVED if _is_within_domain(certificate, task) else Kind.UNDECIDED)
    assumed = _assumed(certificate, task)
    statuses = (domain, *_examined(certificate, task, task.constraints, limits, shared=True))
    return tuple(replace(status, assumed=assumed) for status in statuses)


def keeps_constraints(certificate: Certificate, task: Task, limits: SearchLimits | None = None) -> KeptConstraints:
    """Decides by branch and bound whether a certified set lies within the domain and the hard constraints of a task.

    Only the coordinates on which a constraint depends are divided; in these, an ellipsoid is bounded by its projection.

    Args:
        certificate: of the set and the law.
        task: with the domain and the hard constraints; its states and inputs must be those of the certificate.
        limits: of the search; default: 2,000,000 boxes and 60 seconds.

    Raises:
        InvalidValue: a task whose signals differ from those of the certificate.
    """
    limits, boxes = _expected(certificate, task, limits), 0
    if not _is_within_domain(certificate, task):
        return KeptConstraints(certificate, task, Kind.UNDECIDED, 0, "the domain, beyond which the set may reach")
    hard = [c for c in task.constraints if isinstance(c.requirement, Hard)]
    for status in _examined(certificate, task, hard, limits):
        boxes += status.boxes
        if status.kind is not Kind.PROVED and status.constraint is not None:
            name = f"the constraint '{status.constraint.name}'"
            return KeptConstraints(certificate, task, status.kind, boxes, name, status.counterexample)
    return KeptConstraints(certificate, task, Kind.PROVED, boxes)


def _expected(certificate: Certificate, task: Task, limits: SearchLimits | None) -> SearchLimits:
    expect(certificate, Certificate, "the certificate", "such as largest_level(task, LQR(task).law)")
    expect(task, Task, "the task", "such as systems.library.double_integrator()")
    loop = certificate.claimed.loop
    if (task.plant.state, task.plant.input) != (loop.task.plant.state, loop.task.plant.input):
        raise InvalidValue(
            f"the states or inputs of task '{task.name}' differ from those of '{certificate.task}', the task of the "
            "certificate"
        )
    (low, high), (least, most) = loop.task.applied_bounds, task.true_dynamics.plant.bounds
    if (low < least).any() or (high > most).any():
        raise InvalidValue(
            f"the certified loop applies inputs from {low} to {high}, beyond the actuator limits {least} to {most} of "
            f"task '{task.name}', which would clip them; certify the law for this task"
        )
    return expect_limits(limits)


def _assumed(certificate: Certificate, task: Task) -> str:
    """What distinguishes the runs that a claim is about from those of a task, in words; empty where nothing does."""
    loop, words = certificate.claimed.loop, []
    low, high = task.disturbance.support(task.plant.disturbance)
    if (low < loop.disturbance_box.lo).any() or (high > loop.disturbance_box.hi).any():
        words.append("under the disturbances of the claim" if loop.is_disturbed else "without disturbance")
    if task.variation is not None:
        least, most = (v.tolist() for v in task.variation.support(task.varied))
        nominal = loop.task.true_dynamics.plant.parameters
        covered = [loop.uncertain.get(name, (nominal[name],) * 2) for name in task.varied.names]
        if any(a < c or b > d for a, b, (c, d) in zip(least, most, covered, strict=True)):
            words.append("with the parameters of the claim")
    return " and ".join(words)


def _is_within_domain(certificate: Certificate, task: Task) -> bool:
    low, high = certificate.region.hull
    least, most = task.domain_bounds
    return bool(((low >= least) & (high <= most)).all())


def _examined(
    certificate: Certificate, task: Task, which: Sequence[Constraint], limits: SearchLimits, shared: bool = False
) -> Iterator[ConstraintStatus]:
    """The statuses of some constraints of a task, one after the other.

    Args:
        shared: whether each may use at most an equal share of the remaining limits.
    """
    loop, region, boxes, began = certificate.claimed.loop, certificate.region, 0, perf_counter()
    bounds = loop.task.applied_bounds  # the inputs applied; the task may have narrower constraints
    functions = dict(zip(map(id, task.constraints), task.constraint_functions, strict=True))
    for k, constraint in enumerate(which):
        if holds_every_input(constraint, task, bounds):  # the input is clipped to it
            yield ConstraintStatus(constraint, Kind.PROVED)
            continue
        g = functions[id(constraint)]
        value = _under_law(g, lambda x: clipped(loop.law.enclose(x), *bounds))
        share = len(which) - k if shared else 1
        left = SearchLimits((limits.boxes - boxes) // share, (limits.seconds - (perf_counter() - began)) / share)
        kind, examined, point = _decided(value, region, _divided(g, region), left)
        boxes += examined
        yield ConstraintStatus(constraint, kind, examined, point)


def holds_every_input(constraint: Constraint, task: Task, bounds: tuple[np.ndarray, np.ndarray]) -> bool:
    """Whether a constraint is a hard box on inputs alone that contains all inputs within the bounds."""
    if not (isinstance(constraint, Box) and is_input_box(task, constraint)):
        return False
    low, high = constraint.interval(task.plant.input)
    return bool(((low <= bounds[0]) & (bounds[1] <= high)).all())


def _under_law(g: ca.Function, law: Callable[[Interval], Interval]) -> Callable[[Interval], Interval]:
    """The rows of a constraint under a law, over boxes of states."""
    rows, reads_input = lower(g, to="interval"), bool(g.sparsity_jac(1, 0).nnz())
    no_input = Interval.of(np.zeros(g.size1_in(1)))

    def value(x: Interval) -> Interval:
        result: Interval = rows(x, law(x) if reads_input else no_input)
        return result

    return value


def _divided(g: ca.Function, region: SublevelSet) -> np.ndarray:
    """Indices of the states to be divided: those on which g depends, or all if it depends on the input."""
    n = g.size1_in(0)
    if g.sparsity_jac(1, 0).nnz() or not isinstance(region.V, QuadraticLyapunov):
        return np.arange(n)
    return np.unique(g.sparsity_jac(0, 0).get_triplet()[1]).astype(int)


def _decided(
    value: Callable[[Interval], Interval], region: SublevelSet, divided: np.ndarray, limits: SearchLimits
) -> tuple[Kind, int, np.ndarray | None]:
    """Whether all rows are at most 0 on a set: the outcome, the number of boxes examined, and a counterexample."""
    least = _least(region, divided)
    lower, upper = region.hull
    width = np.where(upper > lower, upper - lower, 1.0)
    low, high, examined, began = lower[None], upper[None], 0, perf_counter()
    while len(low):
        if examined + len(low) > limits.boxes or perf_counter() - began > limits.seconds:
            return Kind.UNDECIDED, examined, None
        examined += len(low)
        box = Interval(low, high)
        rows = value(box)
        proved = (rows.hi <= 0.0).all(axis=-1)
        left = ~proved & ~(least(box) > region.level)
        low, high = low[left], high[left]
        if not len(low):
            break
        points = _lifted(Interval(low, high).mid, region, divided)
        broken = region.surely_holds(Interval.of(points)) & (value(Interval.of(points)).lo > 0.0).any(axis=-1)
        if broken.any():
            return Kind.REFUSED, examined, points[int(np.argmax(broken))]
        if not len(divided):
            return Kind.UNDECIDED, examined, None
        rows_, axis = np.arange(len(low)), divided[np.argmax(((high - low) / width)[:, divided], axis=1)]
        middle, first, second = Interval(low, high).mid[rows_, axis], high.copy(), low.copy()
        first[rows_, axis] = second[rows_, axis] = middle
        low, high = np.concatenate([low, second]), np.concatenate([first, high])
    return Kind.PROVED, examined, None


def _least(region: SublevelSet, divided: np.ndarray) -> Callable[[Interval], np.ndarray]:
    """A lower bound (b,) on V over boxes (b, n), sharp in the divided coordinates only. The least value of a quadratic
    function over the other coordinates is again quadratic, by the Schur complement."""
    V = region.V
    if isinstance(V, QuadraticLyapunov) and 0 < len(divided) < len(V.P):
        S = np.linalg.inv(np.linalg.inv(V.P)[np.ix_(divided, divided)]) * (1.0 - _SHRUNK)
        S = 0.5 * (S + S.T)
        E = np.eye(len(V.P))[:, divided]
        if least_eigenvalue(Interval.of(V.P) - product(product(E, S), E.T))[1] > 0:
            projected = QuadraticLyapunov(S, V.centre[divided])
            return lambda box: projected.enclose(box[..., divided]).lo
    return lambda box: V.enclose(box).lo


def _lifted(x: np.ndarray, region: SublevelSet, divided: np.ndarray) -> np.ndarray:
    """The states (b, n) with the given divided coordinates at which a quadratic V is least; unchanged for other V."""
    V = region.V
    if not isinstance(V, QuadraticLyapunov) or not 0 < len(divided) < len(V.P):
        return x
    others = np.setdiff1d(np.arange(len(V.P)), divided)
    lifted, away = x.copy(), (x - V.middle)[:, divided]
    lifted[:, others] = (
        V.middle[others] - away @ np.linalg.solve(V.P[np.ix_(others, others)], V.P[np.ix_(others, divided)]).T
    )
    return np.clip(lifted, region.lower, region.upper)
