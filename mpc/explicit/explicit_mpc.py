"""Explicit model predictive control: linear MPC solved in advance for all states, as a piecewise affine control law."""

from __future__ import annotations

import copyreg
from typing import Any, final

import numpy as np

from ctrl.controller import NotApplicable, Source, Status, measured_states, sample_index
from ctrl.export.code import ControllerCode
from mpc.explicit.lattice import NotRepresented, lattice_of
from mpc.explicit.multiparametric import GAP, MultiparametricQP, TooManyRegions, Unresolved, solve_everywhere
from mpc.export.explicit import explicit_part
from mpc.export.fallback import fallback_part
from mpc.linear.linear_mpc import LinearMPC, TerminalCondition
from mpc.online import OnlineController, SolveResult, check_input, quiet
from systems import Box, Hard, InvalidValue, Task
from systems.arguments import expect_whole
from systems.errors import expect

__all__ = ["ExplicitMPC"]


@final
class ExplicitMPC(OnlineController):
    """Linear MPC as an explicit piecewise affine control law (Bemporad, Morari, Dua & Pistikopoulos, 2002).

    The control law is a :class:`Lattice`, so the function that runs is the one that is certified. Outside the feasible
    states it is extended continuously, and the status of a decision says so.

    Args:
        task: as for :class:`LinearMPC`, with a constant reference.
        horizon: number of predicted samples. The number of regions grows steeply with it and with the states.
        terminal: as for :class:`LinearMPC`.
        within: bounds on the states for which the control law is computed; default: the task's domain, and its hard
            boxes where the domain is unbounded.
        max_regions: largest number of regions.

    Attributes:
        regions: the critical regions, each with its active rows.
        law: the input as a function of the state.
        online: the same MPC, solved
            in every step.

    Raises:
        NotApplicable: as :class:`LinearMPC`; a reference that moves; states without bounds; more regions than allowed;
            nothing feasible.
        InvalidValue: as :class:`LinearMPC`; requested bounds that leave a state unbounded or an empty box.
    """

    def __init__(
        self,
        task: Task,
        horizon: int = 5,
        terminal: TerminalCondition | None = None,
        within: Box | None = None,
        max_regions: int = 5000,
    ) -> None:
        check_input(task)
        if within is not None:
            expect(within, Box, "within", 'such as Box("within", {state: (lower, upper)})')
        expect_whole(max_regions, "max_regions", least=1)
        if not task.reference.is_constant:
            raise NotApplicable(f"task '{task.name}': its reference moves; explicit MPC supports a single set-point")
        if task.reading.has_integers:
            raise NotApplicable(
                f"task '{task.name}' has integer inputs, whose control law is not continuous; use LinearMPC"
            )
        super().__init__(task, horizon)
        self._arguments = (task, horizon, terminal, within, max_regions)
        if task.reading.terminal is not None:
            raise NotApplicable(
                f"task '{task.name}' has a terminal cost, so its law changes towards the end of the run; explicit MPC "
                "holds one law, use LinearMPC"
            )
        self.online = LinearMPC(task, horizon, terminal, solver="daqp")
        self.approximations = self.online.approximations
        problem = _problem(self.online, _bounds(task, within))
        first = self.online.problem.input_at[0]
        form, offset = self.online.form, self.online.offset
        try:
            self.regions = tuple(solve_everywhere(problem, max_regions))
            if not self.regions:
                raise NotApplicable(f"task '{task.name}': no state within the bounds is feasible")
            self.law = lattice_of(
                list(self.regions), form.expand[first], form.expand_state[first], offset[first], problem.box
            )
        except (TooManyRegions, Unresolved, NotRepresented) as reason:
            raise NotApplicable(
                f"task '{task.name}', as an explicit law: {reason}; shorten the horizon ({horizon}), narrow 'within', "
                "or solve it online"
            ) from reason
        self._middle, self._half = 0.5 * (problem.box[0] + problem.box[1]), 0.5 * (problem.box[1] - problem.box[0])
        shapes = [region.shape for region in self.regions]
        self._rows = np.vstack([shape.H for shape in shapes])
        self._right = np.concatenate([shape.h for shape in shapes]) + GAP
        counts = [len(shape.h) for shape in shapes]
        self._first = np.concatenate([[0], np.cumsum(counts)[:-1]])

    def __reduce__(self) -> tuple[Any, ...]:
        # The law took long to find, so a copy keeps it.
        return copyreg.__newobj__, (type(self),), self.__dict__  # type: ignore[attr-defined]

    def c_code(self, samples: int) -> ControllerCode:
        """The law in C, with its regions; see :meth:`mpc.online.OnlineController.c_code`."""
        regions = self._rows, self._right, self._first, self._middle, self._half
        part = explicit_part(self.law, *regions, self.task.reading.start[0])
        return ControllerCode(
            self.task,
            f"Explicit MPC over {self.horizon} samples, {len(self.regions)} regions.",
            fallback_part(self._fallback, samples) + part,
            self.approximations,
            notes=(
                "outside the feasible states the input is that of the extended control law; its status is "
                "`infeasible`, even if the controller in Python reports that only the terminal set cannot be reached",
            ),
            merged={Status.TERMINAL_SET_UNREACHABLE: Status.INFEASIBLE},
        )

    def reset(self) -> None:
        """Resets the online controller; the control law itself has no memory."""
        super().reset()
        self.online.reset()

    @quiet
    def _solve(self, x: np.ndarray, k: int) -> SolveResult:
        u = self._clip(self.law(x))
        if self._inside(x[None])[0]:
            return SolveResult(Status.SOLVED, None, 0, 0.0, u)
        if not np.isfinite(u).all():  # pieces of the law that overflow cancel
            u = self._fallback.backup(x, k)
        # The input stays that of the control law, to which certificates refer; the online controller determines the
        # status.
        is_set_unreachable = self.online.step(x, k).status is Status.TERMINAL_SET_UNREACHABLE
        status = Status.TERMINAL_SET_UNREACHABLE if is_set_unreachable else Status.INFEASIBLE
        return SolveResult(status, None, 0, 0.0, u, Source.BACKUP)

    @quiet
    def batch(self, x: np.ndarray, k: int) -> np.ndarray:
        """Inputs (b, m) for the states (b, n); NaN where ``step`` returns a status other than ``solved``."""
        sample_index(k)
        x = self._representatives(measured_states(x, self.task.plant.state))
        u = self._clip(self.law(x))
        inside = np.empty(len(x), dtype=bool)
        for first in range(0, len(x), 4096):
            part = slice(first, first + 4096)
            inside[part] = self._inside(x[part])
        return np.where(inside[:, None], u, np.nan)

    def is_feasible(self, x: np.ndarray) -> bool:
        """Whether the state (n,) lies in one of the regions, up to 5e-9 of the width of the bounds."""
        return bool(self._inside(self._representatives(np.asarray(x, dtype=float))[None])[0])

    def _representatives(self, x: np.ndarray) -> np.ndarray:
        """The representatives of states (..., n) for which the law is made."""
        reading = self.task.reading
        return x if reading.state.is_euclidean else reading.state.nearest(x, reading.start[0])

    def _representative(self, x: np.ndarray, k: int) -> np.ndarray:
        return self._representatives(x)

    @quiet
    def _inside(self, x: np.ndarray) -> np.ndarray:
        satisfied = self._rows @ ((x - self._middle) / self._half).T <= self._right[:, None]
        return np.asarray(np.logical_and.reduceat(satisfied, self._first, axis=0).any(axis=0))


def _bounds(task: Task, within: Box | None) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (n,) of the states: those requested, else the domain, and the hard boxes where that is unbounded."""
    state = task.plant.state
    lower, upper = task.domain_bounds if within is None else within.interval(state)
    if within is None:
        boxes = [c.interval(state) for c in task.constraints if isinstance(c, Box) and isinstance(c.requirement, Hard)]
        least = np.max([low for low, _ in boxes], axis=0, initial=-np.inf) if boxes else lower
        most = np.min([high for _, high in boxes], axis=0, initial=np.inf) if boxes else upper
        lower, upper = np.where(np.isinf(lower), least, lower), np.where(np.isinf(upper), most, upper)
    unbounded = [name for name, a, b in zip(state.names, lower, upper, strict=True) if not np.isfinite([a, b]).all()]
    if unbounded:
        raise (NotApplicable if within is None else InvalidValue)(
            f"task '{task.name}': the states {', '.join(unbounded)} have no bounds; give the task a domain or a hard "
            f'box, or say where the law shall hold, within=Box("within", {{"{unbounded[0]}": (-1.0, 1.0), ...}})'
        )
    flat = [name for name, a, b in zip(state.names, lower, upper, strict=True) if not a < b]
    if flat:
        raise InvalidValue(
            f"task '{task.name}': the bounds of {', '.join(flat)} leave no room; expected lower < upper for every state"
        )
    return lower, upper


def _problem(online: LinearMPC, box: tuple[np.ndarray, np.ndarray]) -> MultiparametricQP:
    """The condensed program with every two-sided row split in two."""
    form = online.form
    base = form.problem
    f, lower, upper = online.data(np.zeros(form.shift_state.shape[1]))
    up, down = np.isfinite(base.upper), np.isfinite(base.lower)
    A = base.A.toarray()
    return MultiparametricQP(
        base.H.toarray(),
        f,
        np.zeros((len(f), form.shift_state.shape[1])),
        np.vstack([A[up], -A[down]]),
        np.concatenate([upper[up], -lower[down]]),
        np.vstack([form.shift_state[up], -form.shift_state[down]]),
        np.concatenate([base.weight[up], base.weight[down]]),
        box,
    )
