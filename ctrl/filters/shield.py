"""A shield based on a certificate: a policy acts as long as every possible next state lies in the certified set."""

from __future__ import annotations

from typing import final

import numpy as np

from ctrl.certify.barriers import BarrierCertificate
from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.constraints import KeptConstraints, keeps_constraints
from ctrl.certify.loops.closed_loop import ClosedLoop
from ctrl.certify.search.limits import SearchLimits
from ctrl.controller import NotApplicable
from ctrl.filters.safety_filter import Correction, Reason, SafetyFilter
from systems import Hard, Task
from systems.arithmetic.interval import Interval
from systems.errors import expect
from systems.lowering import lower
from systems.reading.conditions import is_input_box

__all__ = ["Shield"]


@final
class Shield(SafetyFilter):
    """Applies an input if every possible next state lies in a certified set S; otherwise the certified law acts.

    The next states are enclosed with outward rounding, for every disturbance and every parameter that the certificate
    covers. From every start in S the states therefore stay in S for any proposed inputs. They also satisfy the hard
    constraints of the task, which is proved once when the shield is constructed
    (:func:`ctrl.certify.keeps_constraints`). This is the simplex architecture (Seto, Krogh, Sha & Chutinan, 1998) with
    a one-step reachable set as the switching rule.

    Args:
        task: whose hard constraints and disturbances are used; other constraints are not enforced. Its plant must be
            that of the certificate; its reference may differ.
        certificate: proved, of a law that is evaluated once per sample.
        limits: of the proof that a sublevel set lies within the constraints; default: 2,000,000 boxes and 60 seconds.

    Attributes:
        certificate: as given.

    Raises:
        NotApplicable: a certificate that is not proved, is in continuous time, is of another plant, sample time,
            integrator or wider inputs, does not cover the disturbances or the drawn parameters of the task, or whose
            set does not provably lie within the hard constraints and the domain.
    """

    def __init__(
        self, task: Task, certificate: Certificate | BarrierCertificate, limits: SearchLimits | None = None
    ) -> None:
        super().__init__(task)
        kinds = (Certificate, BarrierCertificate)
        expect(certificate, kinds, "the certificate of Shield", "such as largest_level(task, LQR(task).law)")
        self.certificate = certificate
        self._set: SublevelSet | BarrierCertificate
        if isinstance(certificate, BarrierCertificate):
            self._loop, self._set = certificate.loop, certificate
        else:
            self._loop, self._set = certificate.claimed.loop, certificate.region
        if why := _mismatch(task, certificate, self._loop):
            raise NotApplicable(f"task '{task.name}': the certificate of '{self._loop.task.name}' {why}")
        self.claim = certificate.claim
        if isinstance(certificate, Certificate):
            self.claim += f"; {_kept(task, certificate, limits).claim}"
        self._state = task.reading.state
        self._lower, self._upper = self._loop.task.applied_bounds
        self._plant_step, self._w = self._loop.plant_step, self._loop.disturbance_box
        self._rows = [
            lower(g, to="interval")
            for constraint, g in zip(task.constraints, task.constraint_functions, strict=True)
            if isinstance(constraint.requirement, Hard)
            and g.sparsity_jac(1, 0).nnz()
            and not is_input_box(task, constraint)
        ]

    def __repr__(self) -> str:
        return f"<Shield by a {type(self.certificate).__name__} of task '{self._loop.task.name}'>"

    def reset(self) -> None:
        """Does nothing: the shield has no memory."""

    def correct(self, x: np.ndarray, u: np.ndarray, k: int) -> Correction:
        """See :meth:`SafetyFilter.correct`."""
        if not np.isfinite(x).all():
            return Correction(self._law(self._loop.reference), Reason.NO_STATE)
        x = x if self._state.is_euclidean else self._state.nearest(x, self._loop.reference)
        if not self._set.surely_holds(Interval.of(x)):
            return Correction(self._law(x), Reason.OUTSIDE)
        if not np.isfinite(u).all():
            return Correction(self._law(x), Reason.NO_INPUT)
        u = np.minimum(np.maximum(u, self._lower), self._upper)
        if self.is_safe(x, u):
            return Correction(u)
        return Correction(self._law(x), Reason.UNSAFE_INPUT)

    def is_safe(self, x: np.ndarray, u: np.ndarray) -> bool:
        """Whether an input (m,) within the bounds provably keeps the next state in the set and satisfies the hard
        constraints on the input itself, from a state (n,) of the set."""
        state, input = Interval.of(x), Interval.of(u)
        after = self._plant_step.enclose(state, input, self._w)
        return bool(self._set.surely_holds(after)) and all((rows(state, input).hi <= 0.0).all() for rows in self._rows)

    def _law(self, x: np.ndarray) -> np.ndarray:
        """The input of the certified law, or the reference input if that is not finite."""
        with np.errstate(all="ignore"):
            u = np.asarray(self._loop.law(x), dtype=float)
        if not np.isfinite(u).all():
            u = np.nan_to_num(self.task.reading.start[1], posinf=0.0, neginf=0.0)
        return np.minimum(np.maximum(u, self._lower), self._upper)


def _kept(task: Task, certificate: Certificate, limits: SearchLimits | None) -> KeptConstraints:
    """The proof that a certified set satisfies the hard constraints.

    Raises:
        NotApplicable: there is no proof.
    """
    result = keeps_constraints(certificate, task, limits)
    if not result.is_proved:
        at = result.counterexample
        raise NotApplicable(
            f"task '{task.name}': the certified set does not provably satisfy {result.constraint}"
            + (f", which it violates at {at.tolist()}" if at is not None else "")
            + f" ({result.kind} after {result.boxes:,} boxes); certify a lower level, or choose a reference farther "
            "from the constraint"
        )
    return result


def _mismatch(task: Task, certificate: Certificate | BarrierCertificate, loop: ClosedLoop) -> str:
    """Why a certificate does not apply to a task, as the end of a sentence; empty if it applies."""
    if not certificate.is_proved:
        return f"is {certificate.kind}; a shield needs a proved one"
    if loop.continuous:
        return (
            "is for a law that is evaluated continuously, but the task holds inputs over samples; certify it with "
            "continuous=False"
        )
    ours, theirs = task.true_dynamics, loop.task.true_dynamics
    if (ours.plant, ours.dt, ours.integrator, ours.substeps) != (
        theirs.plant,
        theirs.dt,
        theirs.integrator,
        theirs.substeps,
    ):
        return f"is for another plant or discretisation: {theirs.plant}, {theirs}; expected {ours.plant}, {ours}"
    (low, high), (least, most) = loop.task.applied_bounds, task.applied_bounds
    if (low < least).any() or (high > most).any():
        return f"allows inputs from {low} to {high}, beyond the bounds {least} to {most} of the task"
    if task.variation is not None:
        for name, least, most in zip(task.varied.names, *task.variation.support(task.varied), strict=True):
            begins, ends = loop.uncertain.get(name, (ours.plant.parameters[name],) * 2)
            if least < begins or most > ends:
                return (
                    f"is for {name} from {begins:g} to {ends:g}, but the task draws it from {least:g} to {most:g}; "
                    "certify the law for the task with its variation"
                )
    low, high = task.disturbance.support(task.plant.disturbance)
    box = loop.disturbance_box
    if isinstance(certificate, BarrierCertificate) and (beyond := _not_among(task, loop.task)):
        return f"does not cover {beyond}; certify the barrier for this task"
    if (low < box.lo).any() or (high > box.hi).any():
        return (
            f"covers disturbances from {box.lo} to {box.hi}, but the task's lie in {low} to {high}; certify it with "
            "disturbance=disturbances(task), or bound the task's distribution"
        )
    return ""


def _not_among(task: Task, proved: Task) -> str:
    """The hard constraints and the domain of a task that another task does not have as well."""
    (low, high), (least, most) = proved.domain_bounds, task.domain_bounds
    hard = [c for c in task.constraints if isinstance(c.requirement, Hard) and c not in proved.constraints]
    words = [f"the constraint '{c.name}'" for c in hard if not is_input_box(task, c)]
    return ", ".join([*words, *(["the domain"] if (low < least).any() or (high > most).any() else [])])
