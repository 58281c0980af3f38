"""The rules of a sample: the end of a run, its costs, its constraint violations and its observation.

The rules, for environments, learners and the closed loop alike:

* A sample that starts in x and applies u costs l(x, u), and its constraints are evaluated at (x, u).
* It ends the run if its successor x' lies outside ``task.domain`` or is not a finite number. The run then stays
  where it ended, at x' with the input u_r of the reference at that sample, and every remaining sample is charged
  l(x', u_r). Where x' is not finite, it stays at (x, u) instead.
* The sample that ends a run is charged the constraints at (x', u_r) as well, where no later sample does so; a state
  that is not finite violates all of them.
* The terminal cost, if the task has one, is charged for the last state of the last sample.

:class:`SampleRules` applies them to recorded runs. :class:`SampleModel` applies them to one sample at a time, as
learners need it: what the remaining samples will be charged is part of the reward of the one that ends a run.
"""

from __future__ import annotations

import importlib
from math import isfinite
from operator import le
from typing import Any, Literal, NamedTuple, final

import casadi as ca
import numpy as np

from systems.abstract_task import AbstractTask
from systems.constraints import Budget
from systems.errors import DimensionMismatch
from systems.forecast import with_known
from systems.lowering import lower

__all__ = ["Rollout", "SampleModel", "SampleOutcome", "SampleRules"]


@final
class SampleRules:
    """The rules of a sample for recorded runs of a task, in numpy.

    Args:
        task: defines domain, costs and constraints; its true plant is simulated.
        steps: samples of the runs, which may differ from ``task.steps``.
    """

    def __init__(self, task: AbstractTask, steps: int) -> None:
        self.steps = steps
        self.state_reference, self.input_reference = task.reference.at(task.plant, np.arange(steps + 1))
        self._low, self._high = task.domain_bounds
        self._bounds = self._low.tolist(), self._high.tolist()
        self._stage = lower(task.stage_cost_function(), to="numpy")
        self._terminal = lower(task.terminal_cost_function(), to="numpy")
        self._margins = lower(task.margin_function(), to="numpy")

    def inside(self, x: np.ndarray) -> np.ndarray:
        """Which states (..., n) are finite and within the domain: (...) of bool. The model of learners says the same by
        an expression, see :func:`_outside`."""
        return np.asarray((np.isfinite(x) & (x >= self._low) & (x <= self._high)).all(axis=-1))

    def contains(self, x: np.ndarray) -> bool:
        """The same as :meth:`inside` of one state (n,), without arrays, which are slow for a few numbers."""
        low, high = self._bounds
        values = x.tolist()
        return all(map(isfinite, values)) and all(map(le, low, values)) and all(map(le, values, high))

    def arrive(
        self, k: int, going: np.ndarray, x: np.ndarray, u: np.ndarray, after: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Advances the runs that are still ``going`` (b,) of bool by sample k; the others stay at x.

        Args:
            x: (b, n). u: (b, m), as applied. after: (b, n), the plant's successors.

        Returns:
            The next states (b, n), which runs have just ended, which of them with a successor that is not finite, each
            (b,) of bool, and the inputs (b, m) of the remaining samples of those that ended.
        """
        finite = np.isfinite(after).all(axis=-1)
        moved = going & finite
        ended = going & ~self.inside(after)
        held = np.where(finite[:, None], self.input_reference[k + 1], u) if ended.any() else u
        return np.where(moved[:, None], after, x), ended, going & ~finite, held

    def charge(
        self, states: np.ndarray, inputs: np.ndarray, left: np.ndarray, diverged: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Costs (b, steps), terminal costs (b,) and margins (b, steps, c) of whole runs.

        Args:
            states: (b, steps + 1, n). inputs: (b, steps, m), both held from the end of a run on.
            left: (b,), the sample at which each run had ended; -1 for those that did not.
            diverged: (b,) of bool, with a successor that was not finite.
        """
        steps = self.steps
        # The reference, too, stands still once a run has stopped: every remaining sample costs the same.
        at = np.minimum(np.arange(steps + 1), np.where(left < 0, steps, left)[:, None])
        x = states[:, :-1]
        with np.errstate(all="ignore"):  # a run that diverged without a domain may cost infinitely much
            # Of runs that go to the end it is the same, of which no copies are needed.
            now = slice(steps) if (left < 0).all() else at[:, :-1]
            costs = self._stage(x, inputs, self.state_reference[now], self.input_reference[now])[..., 0]
            terminal = self._terminal(states[:, -1], self.state_reference[at[:, -1]])[..., 0]
            margins = self._margins(x, inputs)
            # A run that leaves with its last sample has no later one whose constraints are those of where it ended.
            late = left == steps
            if late.any():
                ended = self._margins(states[late, -1], self.input_reference[np.full(late.sum(), steps)])
                margins[late, -1] = np.maximum(margins[late, -1], ended)  # an undefined one stays undefined
        margins[diverged[:, None] & (np.arange(steps) >= left[:, None] - 1)] = np.inf
        return costs, terminal, margins


class SampleOutcome(NamedTuple):
    """The result of one sample; the batch (...) is that of the state."""

    state: Any  # (..., n), finite: the successor, or the state before it where the successor is not finite
    reward: Any  # (...)
    violated: Any  # (..., c) of bool, one column per constraint
    margin: Any  # (..., c), the largest g of each constraint at the start of the sample
    terminated: Any  # (...) of bool
    spent: Any  # (..., c), what the sample takes from a budget: 1 where violated, or the excess where that is budgeted


class Rollout(NamedTuple):
    """An open-loop run of T samples."""

    states: Any  # (T + 1, ..., n)
    costs: Any  # (T, ...), stage costs
    margins: Any  # (T, ..., c), the largest g of each constraint


@final
class SampleModel:
    """The discretised nominal plant of a task, with the charges of each sample.

    The rules are those of this module. A sample that ends the run carries the cost of staying there for all future
    time: with discount d,

        reward = -l(x, u) - d / (1 - d) l(x', u_r),

    and with d = 1 the factor is the number of samples that remain. A task with a terminal cost V_f ends with its last
    sample, which is charged V_f(x') as well. Where l(x', u_r) is not a finite number, l(x, u) takes its place, too.

    All methods are pure functions on arrays with the batch in front; in torch they are differentiable.

    Args:
        task: the task to simulate.
        to: the arithmetic.
        dtype: of the constants; default: 64 bits.
        device: of the constants; default: the processor.
        parameters: names of plant parameters that :meth:`advance` and :meth:`rollout` take as ``p``.

    Raises:
        UnknownName: no parameter has this name.
    """

    def __init__(
        self,
        task: AbstractTask,
        to: Literal["numpy", "torch"],
        dtype: Any = None,
        device: Any = None,
        parameters: tuple[str, ...] = (),
    ) -> None:
        plant = task.plant
        self.task = task
        self._xp: Any = importlib.import_module(to)
        self._placed = {"dtype": dtype or self._xp.float64} | ({"device": device} if to == "torch" else {})
        # Whole samples as straight-line programs: eager backends pay per operation and per call.
        self._sample = lower(_sample(task), to)
        self._advance = lower(task.dynamics.function(parameters), to)
        self._cost_and_margins = lower(_cost_and_margins(task), to)
        self._observe: Any = None if task.observes_measurement else lower(_observe(task), to)
        # One sample beyond the run, because the last successor is charged too.
        tables = task.reference.at(plant, np.arange(task.steps + 1))
        self._references = () if task.reference.is_constant else tuple(self.array(table.T) for table in tables)
        self.input_bounds = tuple(self.array(bound) for bound in task.input_bounds)
        self._on_host = to == "numpy" or self.input_bounds[0].device.type == "cpu"
        self._undisturbed = self.array(np.zeros(len(plant.disturbance)))
        self._no_parameters, self._zero = self.array(np.zeros(0)), self.array(np.zeros(()))
        self._own = self.array(task.parameters_of(plant))
        self._largest = self.array(np.array(float(self._xp.finfo(self._placed["dtype"]).max)))
        no_disturbance = np.zeros((task.steps, len(plant.disturbance)))
        self._known = None if plant.forecast is None else self.array(with_known(plant, no_disturbance).T)
        discount = task.discount
        of = [isinstance(c.requirement, Budget) and c.requirement.of == "excess" for c in task.constraints]
        self._excess, self._spends_excess = self.array(np.array(of, dtype=float)) > self._zero, any(of)
        self._ends = task.has_terminal_cost
        self._for_ever = self.array(np.array(discount / (1.0 - discount))) if discount < 1.0 else None

    def array(self, values: np.ndarray) -> Any:
        """The same numbers in the arithmetic, with the type and device of this model."""
        return self._xp.asarray(np.array(values, order="C"), **self._placed)

    def _spent(self, violated: Any, margin: Any, after: Any) -> Any:
        """The share that a sample takes from each budget; an excess that is not finite counts as 1."""
        xp = self._xp
        steps = violated + self._zero
        if not self._spends_excess:
            return steps
        worst = xp.clip(xp.maximum(margin, after), self._zero, None)
        known = xp.abs(worst) <= self._largest
        return xp.where(self._excess, xp.where(known, worst, steps), steps)

    def clip(self, u: Any) -> Any:
        """Inputs (..., m) as the actuators apply them."""
        return self._xp.clip(u, *self.input_bounds)

    def observe(self, x: Any, k: Any) -> Any:
        """A learner's observations (..., o) in the states (..., n) at the samples k, (...) of whole numbers.

        Raises:
            InvalidValue: learners observe measured signals.
        """
        if self._observe is None:
            self.task.observe_function()
        return self._observe(x, *self._reference(k))

    def state_reference(self, k: Any) -> Any:
        """The reference of the state (..., n) at the samples k, (...) of whole numbers; None if it is constant."""
        return self._reference(k)[0] if self._references else None

    def advance(self, x: Any, u: Any, w: Any = None, p: Any = None) -> Any:
        """The next states (..., n) under inputs (..., m), disturbances (..., q) and parameters (..., len(parameters)).

        By default ``w`` is zero, as in the models of all controllers. Here ``w`` includes the inputs that drive signals
        known ahead, unlike in :meth:`step` and :meth:`rollout`, which know the sample.
        """
        return self._advance(x, u, self._undisturbed if w is None else w, self._no_parameters if p is None else p)

    def step(self, x: Any, u: Any, w: Any, k: Any, p: Any = None) -> SampleOutcome:
        """One sample with all its charges.

        Args:
            x: states (..., n). u: inputs within their bounds (..., m). w: disturbances (..., q).
            k: which sample of the run this is, from 0 to ``task.steps - 1``, (...) of whole numbers.
            p: the parameters that the task's ``variation`` names (..., v); default: the plant's own.
        """
        xp = self._xp
        with np.errstate(over="ignore", invalid="ignore"):  # a run may blow up, which is a legitimate outcome
            if self._known is not None:
                w = w + self._driving(k)
            references = () if not self._references else (*self._reference(k), *self._reference(k + 1))
            varied = (self._own if p is None else p,) if self.task.varied else ()
            after, verdict, margin, margin_after = self._sample(x, u, w, *varied, *references)
            cost, rest, total, outside, *end = (verdict[..., i] for i in range(verdict.shape[-1]))
            finite = xp.abs(total) <= self._largest
            left = ~(finite & (outside <= self._zero))
            state, violated = after, ~(margin <= self._zero)
            # On an accelerator, reading a flag would stop the queue; here it saves work for a rare case.
            if not self._on_host or not finite.all():
                state = xp.where(finite[..., None], after, x)
                rest = xp.where(finite, rest, cost)
            if not self._on_host or left.any():
                cost = cost + xp.where(left, self._remaining(k) * rest, self._zero)
                violated = violated | (left[..., None] & ~(finite[..., None] & (margin_after <= self._zero)))
            over = left
            if self._ends:
                last = k == self.task.steps - 1
                counts = last & (xp.abs(end[0]) <= self._largest)
                cost = cost + xp.where(counts, end[0], self._zero)
                over = left | last
        spent = self._spent(violated, margin, xp.where(left[..., None], margin_after, margin))
        return SampleOutcome(state, -cost, violated, margin, over, spent)

    def rollout(self, x: Any, u: Any, w: Any = None, p: Any = None, start: int = 0) -> Rollout:
        """The open-loop run under given inputs; the domain is not checked and inputs are not clipped.

        Args:
            x: first states (..., n).
            u: inputs (T, ..., m).
            w: disturbances (T, ..., q); default: none.
            p: parameters (..., len(parameters)). start: which sample of the run comes first.

        Raises:
            DimensionMismatch: the inputs go beyond the end of the run.
        """
        if start + len(u) > self.task.steps:
            raise DimensionMismatch(
                f"{len(u)} inputs from sample {start} on go beyond the {self.task.steps} samples of '{self.task.name}'"
            )
        states, costs, margins = [x], [], []
        for k in range(len(u)):
            cost, margin = self._cost_and_margins(x, u[k], *self._reference(start + k))
            disturbed = None if w is None else w[k]
            if self._known is not None:
                disturbed = self._driving(start + k) + (self._undisturbed if disturbed is None else disturbed)
            x = self.advance(x, u[k], disturbed, p)
            states.append(x)
            costs.append(cost[..., 0])
            margins.append(margin)
        return Rollout(self._xp.stack(states), self._xp.stack(costs), self._xp.stack(margins))

    def _reference(self, k: Any) -> tuple[Any, ...]:
        """x_r (..., n) and u_r (..., m) at the samples k; nothing where it is constant and part of the programs."""
        return tuple(self._xp.moveaxis(table[:, k], 0, -1) for table in self._references)

    def _driving(self, k: Any) -> Any:
        """What drives known signals (..., q) at the samples k."""
        assert self._known is not None
        return self._xp.moveaxis(self._known[:, k], 0, -1)

    def _remaining(self, k: Any) -> Any:
        """How many samples the point of departure is charged for."""
        return self.task.steps - 1 - k if self._for_ever is None else self._for_ever


def _sample(task: AbstractTask) -> ca.Function:
    """``(x, u, w, [p], [xr, ur, xr', ur']) -> (x', (cost, rest, total, outside, end), margins, margins')``.

    Cost and margins are those of (x, u), ``rest`` and the margins' those of (x', ur'). ``total`` is a finite number
    only where ``rest`` and every entry of x' are; ``outside`` is positive outside the domain; ``end``, the terminal
    cost of x', is there for a task that has one, and ``p`` for one whose parameters vary.
    """
    plant = task.plant
    x, u, w = plant.state.symbol(), plant.input.symbol(), plant.disturbance.symbol()
    references = [symbol for _ in range(2) for symbol in (plant.state.symbol(), plant.input.symbol())]
    stage, margins = task.stage_cost_function(), task.margin_function()
    p = task.varied.symbol()
    after = task.dynamics.function(task.varied.names)(x, u, w, p)
    rest = stage(after, references[3], *references[2:])
    verdict = [stage(x, u, *references[:2]), rest, ca.sum1(after) + rest, _outside(task, after)]
    if task.has_terminal_cost:
        verdict.append(task.terminal_cost_function()(after, references[2]))
    return _bound(
        task,
        [x, u, w, *([p] if task.varied else [])],
        references,
        [after, ca.vertcat(*verdict), margins(x, u), margins(after, references[3])],
    )


def _outside(task: AbstractTask, x: ca.SX) -> ca.SX:
    """Positive outside the domain, in any arithmetic and without rounding."""
    rows = []
    for value, low, high in zip(ca.vertsplit(x), *task.domain_bounds, strict=True):
        below, above = low - value, value - high
        if np.isfinite(low) and np.isfinite(high):
            rows.append(-below * above)  # negative between the bounds: cheaper than the larger of the two
        elif np.isfinite(low) or np.isfinite(high):
            rows.append(below if np.isfinite(low) else above)
    return ca.mmax(ca.vertcat(*rows)) if rows else ca.SX(-1)


def _cost_and_margins(task: AbstractTask) -> ca.Function:
    """``(x, u, [xr, ur]) -> (stage cost, margins)``."""
    plant = task.plant
    x, u, xr, ur = (signals.symbol() for signals in (plant.state, plant.input, plant.state, plant.input))
    results = [task.stage_cost_function()(x, u, xr, ur), task.margin_function()(x, u)]
    return _bound(task, [x, u], [xr, ur], results)


def _observe(task: AbstractTask) -> ca.Function:
    """``(x, [xr, ur]) -> observation``."""
    x, xr, ur = task.plant.state.symbol(), task.plant.state.symbol(), task.plant.input.symbol()
    return _bound(task, [x], [xr, ur], [task.observe_function()(x, xr)])


def _bound(task: AbstractTask, read: list[ca.SX], references: list[ca.SX], results: list[ca.SX]) -> ca.Function:
    """A function of ``read`` and the references, with a constant reference written in as numbers."""
    if not task.reference.is_constant:
        return ca.Function("sample", [*read, *references], results)
    numbers = [ca.DM(value) for value in task.reference.at(task.plant, 0)] * (len(references) // 2)
    return ca.Function("sample", read, ca.substitute(results, references, numbers))
