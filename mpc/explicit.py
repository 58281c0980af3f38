"""Explicit model predictive control: linear MPC solved for all states at once, as a piecewise affine law."""

from __future__ import annotations

from time import perf_counter
from typing import final

import numpy as np

from ctrl.controller import Decision, NotApplicable, Source, Status, measured_states, sample_index
from mpc.lattice import lattice_of
from mpc.linear import LinearMPC, Terminal
from mpc.multiparametric import Incomplete, MultiparametricQP, solve_everywhere
from mpc.multiparametric import Status as RowStatus
from mpc.recourse import Recourse
from mpc.transcription import check_input
from systems import Box, InvalidValue, Task
from systems.arguments import expect_whole
from systems.errors import expect

__all__ = ["ExplicitMPC"]


@final
class ExplicitMPC:
    """The law of :class:`LinearMPC` in closed form (Bemporad, Morari, Dua & Pistikopoulos, 2002).

    The law is a :class:`Lattice`, so what runs is what can be proved of. Beyond the feasible states it goes on
    continuously, which the status of a decision says.

    Args:
        task: as for :class:`LinearMPC`, with a constant reference.
        horizon: samples looked ahead. The number of regions grows steeply with it and with the states.
        terminal: as for :class:`LinearMPC`.
        within: bounds on the states for which the law is wanted; the task's domain where left out.
        max_regions: gives up beyond so many.

    Attributes:
        regions: where which rows are active. law: the input as a function of the state. online: the same MPC, solved
            in every step.

    Raises:
        NotApplicable: as :class:`LinearMPC`; a reference that moves; more regions than allowed; nothing feasible.
        InvalidValue: as :class:`LinearMPC`; states without bounds.
    """

    TOLERANCE = 1e-9  # by which a state may lie outside of a region and still count as inside, in units of the state

    def __init__(
        self,
        task: Task,
        horizon: int = 5,
        terminal: Terminal | None = None,
        within: Box | None = None,
        max_regions: int = 5000,
    ) -> None:
        check_input(task)
        if within is not None:
            expect(within, Box, "within", 'such as Box("within", {state: (lower, upper)})')
        expect_whole(max_regions, "max_regions", least=1)
        if not task.reference.is_constant:
            raise NotApplicable(f"task '{task.name}': its reference moves; explicit MPC holds one set-point")
        self.task, self.horizon = task, horizon
        self.online = LinearMPC(task, horizon, terminal, solver="daqp")
        problem = _problem(self.online, _bounds(task, within))
        try:
            self.regions = tuple(solve_everywhere(problem, self._active_rows, self._start(problem), max_regions))
        except Incomplete as reason:
            raise NotApplicable(
                f"task '{task.name}' has {reason}; shorten the horizon ({horizon}), narrow 'within', or solve it online"
            ) from None
        if not self.regions:
            raise NotApplicable(f"task '{task.name}': no state within the bounds is feasible")
        first = self.online.problem.input_at[0]
        form, offset = self.online.form, self.online.offset
        size = problem.box[1] - problem.box[0]
        self.law = lattice_of(self.regions, form.expand[first], form.expand_state[first], offset[first], size)
        self._rows = np.vstack([region.set.H for region in self.regions])
        self._right = np.concatenate([region.set.h for region in self.regions])
        counts = [len(region.set.h) for region in self.regions]
        self._first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self._recourse = Recourse(task)
        self._lower, self._upper = task.input_bounds

    def reset(self) -> None:
        """Nothing to forget: the law has no memory."""

    def step(self, x: np.ndarray, k: int) -> Decision:
        """Decides at sample ``k`` in state ``x`` (n,); the input is finite and within bounds whatever happens.

        Raises:
            DimensionMismatch: ``x`` has another shape.
            InvalidValue: ``x`` holds no numbers, or ``k`` is no sample number.
        """
        began = perf_counter()
        x, k = self._recourse.measured(x), sample_index(k)
        if not np.isfinite(x).all():
            return Decision(
                self._recourse.backup(x, k), Status.NUMERICAL, Source.BACKUP, seconds=perf_counter() - began
            )
        u = np.minimum(np.maximum(self.law(x), self._lower), self._upper)
        if self.is_feasible(x):
            return Decision(u, seconds=perf_counter() - began)
        return Decision(u, Status.INFEASIBLE, Source.BACKUP, seconds=perf_counter() - began)

    def batch(self, x: np.ndarray, k: int) -> np.ndarray:
        """Inputs (b, m) for the states (b, n); NaN where ``step`` says more than the input."""
        sample_index(k)
        x = measured_states(x, self.task.plant.state)
        u = np.minimum(np.maximum(self.law(x), self._lower), self._upper)
        inside = np.empty(len(x), dtype=bool)
        for first in range(0, len(x), 4096):
            part = slice(first, first + 4096)
            kept = self._rows @ x[part].T <= self._right[:, None] + self.TOLERANCE
            inside[part] = np.logical_and.reduceat(kept, self._first, axis=0).any(axis=0)
        return np.where(inside[:, None], u, np.nan)

    def is_feasible(self, x: np.ndarray) -> bool:
        """Whether one of the regions holds the state (n,)."""
        inside = self._rows @ x <= self._right + self.TOLERANCE
        return bool(np.logical_and.reduceat(inside, self._first).any())

    def _active_rows(self, x: np.ndarray) -> frozenset[tuple[int, RowStatus]] | None:
        """Of the split rows of :func:`_problem`: upper bounds first, then lower bounds."""
        form, solver = self.online.form, self.online.solver
        f, lower, upper = self.online.data(x)
        solver.reset()
        found = solver.solve(f, lower, upper)
        if found.status is not Status.SOLVED:
            return None
        up, down = np.isfinite(form.problem.upper), np.isfinite(form.problem.lower)
        push = np.concatenate([found.multipliers[up], -found.multipliers[down]])
        price = np.concatenate([form.problem.price[up], form.problem.price[down]])
        pushing = np.flatnonzero(push > 0)
        return frozenset((int(i), "violated" if push[i] >= (1 - 1e-9) * price[i] else "active") for i in pushing)

    def _start(self, problem: MultiparametricQP) -> np.ndarray:
        """A feasible state to begin from: the reference, slightly off it where rows may be active by accident."""
        lower, upper = problem.box
        x_ref = self.online.problem.model.x_ref
        offsets = np.random.default_rng(0).uniform(-1.0, 1.0, (200, len(lower)))
        scales = np.repeat([1e-3, 1e-2, 1e-1, 1.0], 50)[:, None]
        for x in np.clip(x_ref + scales * offsets * (upper - lower), lower, upper):
            if self._active_rows(x) is not None:
                return np.asarray(x)
        raise NotApplicable(f"task '{self.task.name}': no feasible state found within the bounds")


def _bounds(task: Task, within: Box | None) -> tuple[np.ndarray, np.ndarray]:
    lower, upper = task.domain_bounds if within is None else within.interval(task.plant.state)
    open_ = [
        name for name, a, b in zip(task.plant.state.names, lower, upper, strict=True) if not np.isfinite([a, b]).all()
    ]
    if open_:
        raise InvalidValue(
            f"task '{task.name}': the states {', '.join(open_)} have no bounds; give the task a domain, "
            f'or say where the law is wanted, within=Box("wanted", {{"{open_[0]}": (-1.0, 1.0), ...}})'
        )
    return lower, upper


def _problem(online: LinearMPC, box: tuple[np.ndarray, np.ndarray]) -> MultiparametricQP:
    """The condensed program with every two-sided row split in two."""
    form = online.form
    base = form.problem
    if base.equality.any():
        raise NotApplicable("a constraint has equal bounds; explicit MPC needs inequalities")
    f, lower, upper = online.data(np.zeros(form.f_state.shape[1]))
    up, down = np.isfinite(base.upper), np.isfinite(base.lower)
    A = base.A.toarray()
    return MultiparametricQP(
        base.H.toarray(),
        f,
        form.f_state,
        np.vstack([A[up], -A[down]]),
        np.concatenate([upper[up], -lower[down]]),
        np.vstack([form.shift_state[up], -form.shift_state[down]]),
        np.concatenate([base.price[up], base.price[down]]),
        box,
    )
