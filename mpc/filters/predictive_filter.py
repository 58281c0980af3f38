"""A predictive safety filter: an input is safe if a plan that begins with it ends in a terminal set."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import final

import numpy as np

from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.constraints import keeps_constraints
from ctrl.certify.search.limits import SearchLimits
from ctrl.controller import NotApplicable, Status
from ctrl.filters.disturbances import disturbance_bounds
from ctrl.filters.safety_filter import Correction, Reason, SafetyFilter
from ctrl.loop import SingleStep
from mpc.fallback import Plan
from mpc.filters.predictive_program import predictive_program
from mpc.filters.terminal_set import TerminalSet, regulator_set
from mpc.memory import expect_program
from mpc.online import LEAST, SLOWEST, check_horizon, quiet
from mpc.solvers.sqp import SQP
from systems import Task
from systems.arguments import expect_number
from systems.errors import expect
from systems.lowering.buffered import Buffered

__all__ = ["PredictiveFilter"]

_PROGRAMS = 20  # quadratic programs in one step
_TOLERANCE = 1e-7  # of the optimality conditions; smaller than the margin of plans to their constraints
_CONTAINED = SearchLimits(boxes=2_000_000, seconds=60.0)  # of the proof that a set lies within the constraints
_SAME = 1e-7  # distance from the proposed input, relative to the bounds, below which that counts as applied


@final
class PredictiveFilter(SafetyFilter):
    """min |u_0 - u_proposed|^2 subject to a plan from the state that satisfies the hard constraints and ends in a
    terminal set, in which a known law takes over.

    A predictive safety filter (Wabersich & Zeilinger, 2021, "A predictive safety filter for learning-based control of
    constrained nonlinear dynamical systems"). A proposed input is applied unchanged if the last plan or
    the terminal law extends it to such a plan; otherwise sequential quadratic programming with HPIPM searches for the
    nearest one. Every applied input begins a plan that has been *simulated*, so a solver that fails or errs degrades
    performance but not safety: the filter then follows the last plan and after it the terminal law.

    Constraints on predictions are tightened for bounded disturbances; see
    :func:`mpc.filters.predictive_program.predictive_program`. The claim is *sampled*: simulations are in floating
    point, and for nonlinear plants the tightening is linearised.

    Args:
        task: whose nominal plant is predicted and whose hard constraints and domain are enforced.
        certificate: of the terminal set and its law; default: :func:`mpc.filters.regulator_set`.
        horizon: predicted samples; default: 20.
        disturbance: intervals of signals of w, by name (others zero); default: those of the task's distribution.
        time_limit: seconds for the search in one step; default: 100 sample times and at least 60 s, so that results do
            not depend on the load of the machine. In a real-time loop, use the sample time.

    Attributes:
        terminal: the terminal set. plan: the last plan that was safe in simulation, None before the first. claim: in
            words.

    Raises:
        NotApplicable: no terminal set, one that is too small for the disturbances or not within the constraints, a
            certificate for another plant or wider inputs, or unbounded disturbances.
        InvalidValue: a horizon below 1, or an object that is not a certificate.
        HPIPMMissing: CasADi was built without HPIPM.
    """

    def __init__(
        self,
        task: Task,
        certificate: Certificate | None = None,
        *,
        horizon: int = 20,
        disturbance: Mapping[str, tuple[float, float]] | None = None,
        time_limit: float | None = None,
    ) -> None:
        super().__init__(task)
        check_horizon(horizon)
        expect_program(task, horizon)
        seconds = max(SLOWEST * task.dt, LEAST) if time_limit is None else time_limit
        self._seconds = float(expect_number(seconds, "time_limit", above=0.0))
        if certificate is not None:
            expect(certificate, Certificate, "the certificate of PredictiveFilter", "such as largest_level(task, law)")
            _expect_for(task, certificate)
        self.terminal = regulator_set(task) if certificate is None else TerminalSet(certificate)
        low, high = disturbance_bounds(task, disturbance)
        self._w = 0.5 * (low + high)
        self.horizon, self._state = horizon, task.reading.state
        program = predictive_program(task, self.terminal, horizon, self._w, 0.5 * (high - low))
        self._program, self._sqp = program, SQP(program.program, "speed", _TOLERANCE)
        self._sqp.low[1:], self._sqp.high[1:] = program.low[1:], program.high[1:]
        self._sqp.upper[0, ~program.reads_input] = np.inf
        self._sqp.set_bounds()
        self._step = SingleStep(task.dynamics)
        n, m = len(task.plant.state), len(task.plant.input)
        self._x, self._u, self._p = np.zeros(n), np.zeros(m), np.zeros(program.p.shape[1])
        self._g, self._end = np.zeros(len(program.reads_input)), np.zeros(1)
        self._rows = Buffered(program.rows, [self._x, self._u, self._p], [self._g])
        self._ends = Buffered(program.end, [self._x], [self._end])
        self._lower, self._upper = task.applied_bounds
        reach = self._upper - self._lower
        self._width = np.where(np.isfinite(reach) & (reach > 0), 0.5 * reach, 1.0)
        self.plan: Plan | None = None
        ends = "a proved" if self.terminal.is_proved else "the regulator's (sampled)"
        self.claim = (
            f"sampled, not proved: the states at the samples of the nominal plant, with disturbances from "
            f"{low.tolist()} to {high.tolist()}, satisfy the hard constraints, since every applied input begins a "
            f"simulated plan that ends in {ends} terminal set"
        )

    def __repr__(self) -> str:
        ends = "a proved" if self.terminal.is_proved else "the regulator's"
        return f"<PredictiveFilter with a horizon of {self.horizon} and {ends} terminal set>"

    def reset(self) -> None:
        """Discards the plan."""
        self.plan = None

    @quiet
    def correct(self, x: np.ndarray, u: np.ndarray, k: int) -> Correction:
        """See :meth:`SafetyFilter.correct`."""
        rest = np.clip(self.terminal.law(self.terminal.middle), self._lower, self._upper)
        if not np.isfinite(x).all():
            return Correction(rest, Reason.NO_STATE)
        plan = self.plan if self.plan is not None and 0 <= k - self.plan.k < self.horizon else None
        if not self._state.is_euclidean:  # the plan and the terminal set are about one representative of the state
            x = self._state.nearest(x, self.terminal.middle if plan is None else plan.x[k - plan.k])
        bases = [plan, None] if plan is not None else [None]
        is_given = bool(np.isfinite(u).all())
        if is_given:
            u = np.minimum(np.maximum(u, self._lower), self._upper)
            for base in bases:
                if self._keeps(completed := self._simulated(x, k, base, u)):
                    self.plan = completed
                    return Correction(u)
        backups = [self._simulated(x, k, base) for base in bases]
        safe = next((backup for backup in backups if self._keeps(backup)), None)
        iterations = 0
        if is_given:
            nearest, iterations = self._solved(x, u, k, safe or backups[0])
            if nearest is not None:
                self.plan = nearest
                near = np.abs(nearest.u[0] - u).max() <= _SAME * self._width.max()
                return Correction(nearest.u[0].copy(), None if near else Reason.UNSAFE_INPUT, iterations)
        if safe is not None:
            self.plan = safe
            return Correction(safe.u[0].copy(), Reason.UNSAFE_INPUT if is_given else Reason.NO_INPUT, iterations)
        # No plan is known to be safe from this state. The last one, if there is one, is the best guess.
        applied = backups[0].u[0]
        applied = applied.copy() if np.isfinite(applied).all() else rest
        return Correction(applied, Reason.INFEASIBLE, iterations)

    def _simulated(self, x: np.ndarray, k: int, base: Plan | None, first: np.ndarray | None = None) -> Plan:
        """The prediction from x under a plan, kept close to it by the terminal law's gain, then under that law.

        Args:
            x: (n,).
            k: its sample.
            base: a plan that includes sample k; None for the terminal law from the start.
            first: (m,), the first input; default: that of the plan or law.
        """
        N, K = self.horizon, self.terminal.K
        xs, us = np.empty((N + 1, len(x))), np.empty((N, len(self._lower)))
        xs[0] = x
        for j in range(N):
            if j == 0 and first is not None:
                us[0] = first
            else:
                i = N if base is None else k + j - base.k
                nominal = self.terminal.law(xs[j]) if base is None or i >= N else base.u[i] - K @ (xs[j] - base.x[i])
                us[j] = np.minimum(np.maximum(nominal, self._program.low[j]), self._program.high[j])
            xs[j + 1] = self._step(xs[j], us[j], self._w)
        return Plan(xs, us, k)

    def _keeps(self, plan: Plan) -> bool:
        """Whether a simulated plan satisfies the tightened constraints and ends in the tightened terminal set."""
        self._x[:] = plan.x[-1]
        self._ends.run()
        if not self._end[0] <= 0.0:
            return False
        for j in range(self.horizon):
            self._x[:], self._u[:], self._p[:] = plan.x[j], plan.u[j], self._program.p[j]
            self._rows.run()
            rows = self._g if j else self._g[self._program.reads_input]
            if not (rows <= 0.0).all():
                return False
        return True

    def _solved(self, x: np.ndarray, u: np.ndarray, k: int, guess: Plan) -> tuple[Plan | None, int]:
        """The plan whose first input is nearest to u, and the number of quadratic programs solved. The plan is None if
        the solver finds none that satisfies all conditions in simulation."""
        if not (np.isfinite(guess.x).all() and np.isfinite(guess.u).all()):
            return None, 0
        point, m = self._sqp.point, len(u)
        for array in (point.pi, point.lam, point.lam_last, point.mu):
            array[:] = 0.0
        point.x[:], point.v[:] = guess.x, guess.u
        point.p[:] = self._program.p
        point.p[0, :m], point.p[1:-1, :m] = u, guess.u[1:]
        ended = self._sqp.solve(x, _PROGRAMS, perf_counter() + self._seconds)
        if ended.status not in (Status.SOLVED, Status.MAX_ITERATIONS, Status.TIMEOUT):
            return None, ended.iterations
        nominal = Plan(point.x.copy(), point.v.copy(), k)
        if not (np.isfinite(nominal.x).all() and np.isfinite(nominal.u).all()):
            return None, ended.iterations
        nearest = self._simulated(x, k, nominal)
        return (nearest if self._keeps(nearest) else None), ended.iterations


def _expect_for(task: Task, certificate: Certificate) -> None:
    """Raises NotApplicable unless a certified set is a terminal set for this task's plant, inputs and constraints."""
    ours, theirs = task.dynamics, certificate.claimed.loop.task.true_dynamics
    sampling = [(d.plant, d.dt, d.integrator, d.substeps) for d in (ours, theirs)]
    if sampling[0] != sampling[1] or certificate.dt != task.dt:
        raise NotApplicable(
            f"task '{task.name}': the certificate is for another plant or sample time: {theirs.plant}, {theirs}; "
            f"expected {ours.plant}, {ours}"
        )
    (low, high), (least, most) = certificate.claimed.loop.task.applied_bounds, task.applied_bounds
    if (low < least).any() or (high > most).any():
        raise NotApplicable(
            f"task '{task.name}': the law of the certificate uses inputs from {low} to {high}, beyond the bounds "
            f"{least} to {most}; certify it for this task"
        )
    if not certificate.is_proved:  # of a sampled set nothing is proved of its constraints either
        return
    result = keeps_constraints(certificate, task, _CONTAINED)
    if not result.is_proved:
        raise NotApplicable(
            f"task '{task.name}': the certified set does not provably satisfy {result.constraint}, so a plan must not "
            "end in it; certify a lower level, or around a reference farther inside"
        )
