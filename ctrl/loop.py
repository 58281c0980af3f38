"""The closed loop: one definition for every controller."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from math import isfinite
from operator import le
from time import perf_counter

import numpy as np

from ctrl.controller import BatchController, Controller, Decision, Source, Status, expect_takes
from ctrl.trajectories import Totals, Trajectories
from systems import DimensionMismatch, InvalidValue, Task
from systems.arguments import expect_arguments, expect_array
from systems.discretise import Discretisation
from systems.envs.model import SampleRules
from systems.errors import expect, shown
from systems.forecast import with_known
from systems.lowering.buffered import Buffered
from systems.measurement import Sensors

__all__ = ["TIMED", "SingleStep", "one_by_one", "simulate", "totals"]

TIMED = 1000
"""Steps of a batch controller that are repeated one by one to measure what a single step takes."""

BLOCK = 4096
"""Runs of a batch controller that are simulated together: as many as the fast memory of a processor holds."""

STATUSES, SOURCES = ({name: i for i, name in enumerate(words)} for words in (Status, Source))
FIELDS = tuple(field.name for field in dataclasses.fields(Trajectories))
NO_PARAMETERS = np.zeros(0)

Successor = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""x+ (b, n) of (x, u, w, p)."""


def simulate(
    task: Task,
    controller: Controller,
    starts: np.ndarray,
    disturbances: np.ndarray | None = None,
    progress: Callable[[int], None] | None = None,
    noise: np.ndarray | None = None,
    parameters: np.ndarray | None = None,
) -> Trajectories:
    """Simulates the controller on the task's true plant from every initial state.

    A :class:`BatchController` computes many runs at once, and its ``step`` is then timed on some of the visited states;
    any other controller is reset and simulated from one initial state after another. Inputs are clipped to the plant's
    limits, as by its actuators.

    On a task with a measurement, the controller receives the measured outputs, NaN where a signal is not reported; see
    :class:`ctrl.estimation.OutputFeedback`.

    Args:
        task: defines true plant, reference, cost and constraints.
        controller: anything with ``reset()`` and ``step(x, k)``.
        starts: (b, n), finite initial states.
        disturbances: (b, steps, q), held over each sample; its second dimension sets the length of the runs; default:
            ``task.steps`` undisturbed samples.
        progress: called with the number of runs just finished; default: not called.
        noise: (b, steps, p), of the measurement, NaN where a value is lost; default: none.
        parameters: (b, v), of the true plant in each run, those that the task's ``variation`` names in its order;
            default: the plant's own.

    Raises:
        NotApplicable: a task with a measurement, and a controller that takes a state.
        DimensionMismatch: arrays that do not fit the task, or a controller whose inputs do not.
        InvalidValue: a start or a disturbance that is not finite, or a controller that returned a NaN.
    """
    _check(controller, progress)
    loop = _Loop(task, starts, disturbances, noise, parameters)
    expect_takes(task, controller)
    result = _blank(task, len(loop.starts), loop.steps)
    for rows, part in loop.parts(controller):
        for field in FIELDS:
            if (record := getattr(result, field)) is not None:
                record[rows] = getattr(part, field)
        if progress:
            progress(len(part))
    if isinstance(controller, BatchController) and loop.sensors is None:
        _time(controller, result)
    return result


def one_by_one(
    task: Task,
    controller: Controller,
    starts: np.ndarray,
    disturbances: np.ndarray,
    noise: np.ndarray | None = None,
    parameters: np.ndarray | None = None,
) -> Iterator[Trajectories]:
    """The runs of :func:`simulate` one by one as they end, for a controller that is not a batch controller.

    Args:
        task, controller, starts, disturbances, noise, parameters: as of :func:`simulate`.

    Raises:
        NotApplicable, DimensionMismatch, InvalidValue: as there.
    """
    _check(controller, None)
    loop = _Loop(task, starts, disturbances, noise, parameters)
    expect_takes(task, controller)
    for _, part in loop.parts(controller):
        yield part


def totals(
    task: Task,
    controller: Controller,
    starts: np.ndarray,
    disturbances: np.ndarray | None = None,
    progress: Callable[[int], None] | None = None,
    noise: np.ndarray | None = None,
    parameters: np.ndarray | None = None,
) -> Totals:
    """The sums over the runs of :func:`simulate`, equal to the bit, with the memory of one block of runs.

    Args:
        task, controller, starts, disturbances, progress, noise, parameters: as of :func:`simulate`.

    Raises:
        NotApplicable, DimensionMismatch, InvalidValue: as there.
    """
    _check(controller, progress)
    loop, parts = _Loop(task, starts, disturbances, noise, parameters), []
    expect_takes(task, controller)
    for _, part in loop.parts(controller):
        parts.append(Totals.of(part))
        if progress:
            progress(len(part))
    return Totals.joined(parts)


def _check(controller: Controller, progress: Callable[[int], None] | None) -> None:
    if isinstance(controller, type) or not isinstance(controller, Controller):
        raise InvalidValue(
            f"the controller of simulate is {shown(controller)}; expected something with reset() and step(x, k), such "
            "as LQR(task)"
        )
    if progress is not None:
        expect_arguments(progress, "runs", "progress")


class _Loop:
    """The task's functions on arrays, and the loop over samples."""

    def __init__(
        self,
        task: Task,
        starts: np.ndarray,
        disturbances: np.ndarray | None,
        noise: np.ndarray | None,
        parameters: np.ndarray | None,
    ) -> None:
        expect(task, Task, "the task of simulate", "such as systems.library.cartpole()")
        plant = task.plant
        self.task, self.starts = task, expect_array(starts, "starts")
        b, q = len(self.starts) if self.starts.ndim else 0, len(plant.disturbance)
        if disturbances is None:
            self.disturbances = np.broadcast_to(np.zeros(q), (b, task.steps, q))
        else:
            self.disturbances = expect_array(disturbances, "disturbances")
        names = task.varied.names
        if parameters is None:
            self.parameters = np.broadcast_to(task.parameters_of(task.true_dynamics.plant), (b, len(names)))
        else:
            self.parameters = expect_array(parameters, "parameters")
        for name, array, shape in (
            ("starts", self.starts, (b, len(plant.state))),
            ("disturbances", self.disturbances, (b, *self.disturbances.shape[1:2], q)),
            ("parameters", self.parameters, (b, len(names))),
        ):
            if array.shape != shape or not b:
                raise DimensionMismatch(
                    f"{name} of shape {array.shape} given for {b} runs of task '{task.name}'; expected {shape}"
                    + ("" if b else " with at least one run")
                )
        self.steps = self.disturbances.shape[1]
        self.disturbances = with_known(task.true_dynamics.plant, self.disturbances)
        self.lower, self.upper = task.true_dynamics.plant.bounds
        self.rules, self.solved = SampleRules(task, self.steps), task.true_dynamics.solved
        self.sensors: Sensors | None = None
        if task.measurement is not None:
            self.sensors = Sensors(task.measurement, plant)
            self.noise = _noise(task, noise, (b, self.steps, len(task.measurement.signals)))
        elif noise is not None:
            raise InvalidValue(f"noise given for task '{task.name}', which has no measurement; leave it out")

    def parts(self, controller: Controller) -> Iterator[tuple[slice, Trajectories]]:
        """The runs, some at a time, with their places among all."""
        b = len(self.starts)
        if not isinstance(controller, BatchController) or self.sensors is not None:
            one = SingleStep(self.task.true_dynamics, self.task.varied.names)
            for i in range(b):
                controller.reset()
                one.parameters[:] = self.parameters[i]
                yield slice(i, i + 1), self.alone(controller, i, one)
            return
        controller.reset()
        many = self.successor(b)
        # What is left over is part of the last block: a product with very few rows may be rounded differently.
        ends = [*range(BLOCK, b - BLOCK + 1, BLOCK), b]
        for first, last in pairwise([0, *ends]):
            rows = slice(first, last)
            yield rows, self.together(controller, rows, many)

    def successor(self, runs: int) -> Successor:
        """Array arithmetic for many runs, CasADi's own evaluation for one, where arrays are slow."""
        names = self.task.varied.names
        if runs == 1:
            one = SingleStep(self.task.true_dynamics, names)
            one.parameters[:] = self.parameters[0]
            return lambda x, u, w, p: one(x[0], u[0], w[0])[None]
        many = self.task.true_dynamics.lower("numpy", names)
        return many if names else lambda x, u, w, p: many(x, u, w, NO_PARAMETERS)

    def together(self, controller: BatchController, rows: slice, successor: Successor) -> Trajectories:
        """Some of the runs of a controller that answers all of their states at once."""
        w, p, steps, rules = self.disturbances[rows], self.parameters[rows], self.steps, self.rules
        b, (n, m) = len(w), (self.starts.shape[1], len(self.task.plant.input))
        # Of one sample all runs lie side by side, so that the arithmetic of a sample reads and writes whole lines.
        states, inputs = np.empty((n, steps + 1, b)).T, np.empty((m, steps, b)).T
        statuses, sources = (np.full((steps, b), -1, dtype=np.int8).T for _ in range(2))
        states[:, 0] = self.starts[rows]
        left = np.where(rules.inside(states[:, 0]), -1, 0)
        held, diverged = np.broadcast_to(rules.input_reference[0], (b, m)).copy(), np.zeros(b, dtype=bool)
        unsolved = None if self.solved is None else np.zeros(b, dtype=bool)
        for k in range(steps):
            x, going = states[:, k], left < 0
            if not going.any():
                states[:, k + 1 :], inputs[:, k:] = x[:, None], held[:, None]
                break
            u, status, source = self.batch(controller, x, k)
            u = np.clip(u, self.lower, self.upper)
            if not going.all():
                status, source = np.where(going, status, -1), np.where(going, source, -1)
                u = np.where(going[:, None], u, held)
            statuses[:, k], sources[:, k], inputs[:, k] = status, source, u
            with np.errstate(all="ignore"):  # a plant may blow up; that ends the run
                after = successor(x, inputs[:, k], w[:, k], p)
            states[:, k + 1], ended, blown, stays = rules.arrive(k, going, x, inputs[:, k], after)
            if ended.any():
                left[ended] = k + 1
                diverged |= blown
                if unsolved is not None:
                    failed = [self.failed(x[i], inputs[i, k], w[i, k]) for i in np.flatnonzero(blown)]
                    unsolved[blown] = failed
                held = np.where(ended[:, None], stays, held)
        charged = rules.charge(states, inputs, left, diverged)
        timed = np.full((b, steps), np.nan)
        return Trajectories(states, inputs, *charged, timed, statuses, sources, left, unsolved=unsolved)

    def failed(self, x: np.ndarray, u: np.ndarray, w: np.ndarray) -> bool:
        """Whether equations of the plant are not solved in a sample."""
        return self.solved is not None and not float(self.solved(x, u, w, NO_PARAMETERS))

    def alone(self, controller: Controller, i: int, successor: SingleStep) -> Trajectories:
        """Run ``i`` of a controller that answers one state after the other: as :meth:`together`, in plain numbers."""
        steps, rules, w = self.steps, self.rules, self.disturbances[i]
        states, inputs = np.empty((1, steps + 1, self.starts.shape[1])), np.empty((1, steps, len(self.lower)))
        seconds = np.full((1, steps), np.nan)
        statuses, sources = (np.full((1, steps), -1, dtype=np.int8) for _ in range(2))
        x, held = self.starts[i].copy(), rules.input_reference[0]
        states[0, 0] = x
        lower, upper = self.lower.tolist(), self.upper.tolist()
        left, diverged = -1 if rules.inside(x) else 0, False
        unsolved = None if self.solved is None else np.zeros(1, dtype=bool)
        outputs, estimates = _blank_outputs(self.task, 1, steps)
        if self.sensors is not None:
            self.sensors.reset()
        for k in range(steps):
            if left >= 0:
                states[0, k + 1 :], inputs[0, k:] = x, held
                break
            given = x.copy()  # a controller that writes to its argument must not change the record
            if self.sensors is not None and outputs is not None:
                before = inputs[0, k - 1] if k else rules.input_reference[0]
                given = self.sensors.read(x, before, k, self.noise[i, k])
                outputs[0, k] = given
            began = perf_counter()
            decision = controller.step(given, k)
            seconds[0, k] = perf_counter() - began
            if estimates is not None and (estimate := getattr(controller, "estimate", None)) is not None:
                estimates[0, k] = estimate.state
            u = self._checked(decision, controller, k)
            statuses[0, k], sources[0, k] = STATUSES[decision.status], SOURCES[decision.source]
            if not all(map(le, lower, values := u.tolist())) or not all(map(le, values, upper)):
                u = np.clip(u, self.lower, self.upper)
            inputs[0, k] = u
            after = successor(x, u, w[k])
            if not rules.contains(after):
                left, diverged = k + 1, not bool(np.isfinite(after).all())
                if diverged and unsolved is not None:
                    unsolved[0] = self.failed(x, u, w[k])
                held = u if diverged else rules.input_reference[k + 1]
                after = x if diverged else after
            x = after.copy()
            states[0, k + 1] = x
        charged = rules.charge(states, inputs, np.array([left]), np.array([diverged]))
        ended = np.array([left])
        return Trajectories(
            states, inputs, *charged, seconds, statuses, sources, ended, outputs, estimates, unsolved
        )  # fmt: skip

    def batch(self, controller: BatchController, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All states' inputs; rows that came back without a finite number are put to ``step``, which has a fallback."""
        shape = (len(x), len(self.lower))
        given = np.array(x, order="C")  # a copy, since a controller may write to it
        u = expect_array(controller.batch(given, k), f"{type(controller).__name__}.batch", infinite=True, nan=True)
        if u.shape != shape:
            raise DimensionMismatch(
                f"{type(controller).__name__}.batch returned shape {u.shape} for {len(x)} states; expected {shape}"
            )
        statuses, sources = (np.zeros(len(x), dtype=np.int8) for _ in range(2))
        for i in np.flatnonzero(~np.isfinite(u).all(axis=1)):
            decision = controller.step(x[i].copy(), k)
            u[i] = self._checked(decision, controller, k)
            statuses[i], sources[i] = STATUSES[decision.status], SOURCES[decision.source]
        return u, statuses, sources

    def _checked(self, decision: Decision, controller: Controller, k: int) -> np.ndarray:
        name = type(controller).__name__
        if not isinstance(decision, Decision):
            raise InvalidValue(f"{name}.step returned {type(decision).__name__}; expected a Decision")
        words = isinstance(decision.status, str) and isinstance(decision.source, str)
        if not words or decision.status not in STATUSES or decision.source not in SOURCES:
            raise InvalidValue(
                f"{name}.step returned status {shown(decision.status)} and source {shown(decision.source)}; expected a "
                "Status and a Source"
            )
        u = decision.input
        if not (isinstance(u, np.ndarray) and u.dtype == np.float64):
            u = expect_array(u, f"{name}.step: the input at sample {k}", infinite=True, nan=True)
        if u.shape != self.lower.shape:
            raise DimensionMismatch(
                f"{name}.step returned an input of shape {u.shape}; expected {self.lower.shape} for "
                f"{', '.join(self.task.plant.input.names)}"
            )
        if not all(map(isfinite, u.tolist())):  # faster than numpy for a few numbers
            raise InvalidValue(f"{name}.step returned {u} at sample {k}; an input must always be finite")
        return u


class SingleStep:
    """x+ (n,) of x (n,), u (m,), w (d,) through CasADi's buffers, which saves the conversions a call would make.

    The array that is returned is the same at every call.

    Args:
        dynamics: from one sample to the next.
        names: of the plant's parameters in ``parameters``; default: none.

    Attributes:
        parameters: (v,), to be set before a call; at first the plant's own values.
    """

    def __init__(self, dynamics: Discretisation, names: Sequence[str] = ()) -> None:
        plant = dynamics.plant
        self.parameters = np.array([float(plant.parameters[name]) for name in names])
        self._x, self._u, self._w = (np.zeros(len(part)) for part in (plant.state, plant.input, plant.disturbance))
        self._after = np.zeros(len(plant.state))
        self._function = Buffered(dynamics.function(names), [self._x, self._u, self._w, self.parameters], [self._after])

    def __call__(self, x: np.ndarray, u: np.ndarray, w: np.ndarray | float = 0.0) -> np.ndarray:
        """The next state, valid until the next call."""
        self._x[:], self._u[:], self._w[:] = x, u, w
        self._function.run()
        return self._after


def _blank(task: Task, b: int, steps: int) -> Trajectories:
    """Room for the record of b runs."""
    n, m, c = len(task.plant.state), len(task.plant.input), len(task.constraints)
    return Trajectories(
        np.empty((b, steps + 1, n)), np.empty((b, steps, m)), np.empty((b, steps)), np.empty(b),
        np.empty((b, steps, c)), np.empty((b, steps)), np.empty((b, steps), dtype=np.int8),
        np.empty((b, steps), dtype=np.int8), np.empty(b, dtype=int), *_blank_outputs(task, b, steps),
        None if task.true_dynamics.solved is None else np.empty(b, dtype=bool),
    )  # fmt: skip


def _blank_outputs(task: Task, b: int, steps: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The same for what is measured and estimated: nothing for a task without a measurement."""
    if task.measurement is None:
        return None, None
    sizes = len(task.measurement.signals), len(task.plant.state)
    return np.full((b, steps, sizes[0]), np.nan), np.full((b, steps, sizes[1]), np.nan)


def _noise(task: Task, noise: np.ndarray | None, shape: tuple[int, int, int]) -> np.ndarray:
    """The noise of a measurement, zero where none is given."""
    if noise is None:
        return np.zeros(shape)
    given = expect_array(noise, "noise", infinite=True, nan=True)
    if given.shape != shape:
        raise DimensionMismatch(f"noise of shape {given.shape} given for task '{task.name}'; expected {shape}")
    return given


def _time(controller: BatchController, result: Trajectories) -> None:
    """Times single steps at visited states, spread evenly; a batch's time divided by its size would say nothing."""
    runs, samples = np.nonzero(result.statuses >= 0)
    for i in np.unique(np.linspace(0, len(runs) - 1, TIMED).astype(int)) if len(runs) else ():
        run, k = runs[i], int(samples[i])
        x = result.states[run, k].copy()
        began = perf_counter()
        controller.step(x, k)
        result.seconds[run, k] = perf_counter() - began
