"""The closed loop: one definition for every controller."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from ctrl.controller import BatchController, Controller, Decision, Source, Status
from ctrl.trajectories import Trajectories, stack
from systems import DimensionMismatch, InvalidValue, Task
from systems.arguments import expect_arguments, expect_array
from systems.discretise import Discretisation
from systems.envs.model import SampleRules
from systems.errors import expect, shown

__all__ = ["TIMED", "SingleStep", "simulate"]

TIMED = 1000
"""Steps of a batch controller that are repeated one by one to measure what a single step takes."""

STATUSES, SOURCES = tuple(Status), tuple(Source)
NO_PARAMETERS = np.zeros(0)

Successor = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""x+ (b, n) of (x, u, w)."""
Decided = tuple[np.ndarray, "np.ndarray | int", "np.ndarray | int", "np.ndarray | float"]


def simulate(
    task: Task,
    controller: Controller,
    starts: np.ndarray,
    disturbances: np.ndarray | None = None,
    progress: Callable[[int], None] | None = None,
) -> Trajectories:
    """Simulates the controller on the task's true plant from every initial state.

    A :class:`BatchController` computes all runs at once, and its ``step`` is then timed on some of the visited states;
    any other controller is reset and simulated from one initial state after another. Inputs are clipped to the plant's
    limits, as by its actuators.

    Args:
        task: whose true plant, reference, cost and constraints are simulated.
        controller: anything with ``reset()`` and ``step(x, k)``.
        starts: (b, n), finite initial states.
        disturbances: (b, steps, q), held over each sample; its second dimension sets the length of the runs; default:
            ``task.steps`` undisturbed samples.
        progress: called with the number of runs just finished; default: not called.

    Raises:
        DimensionMismatch: arrays that do not fit the task, or a controller whose inputs do not.
        InvalidValue: a start or a disturbance that is not finite, or a controller that returned a NaN.
    """
    if isinstance(controller, type) or not isinstance(controller, Controller):
        raise InvalidValue(
            f"the controller of simulate is {shown(controller)}; expected something with reset() and step(x, k), such "
            "as LQR(task)"
        )
    if progress is not None:
        expect_arguments(progress, "runs", "progress")
    loop = _Loop(task, starts, disturbances)
    if isinstance(controller, BatchController):
        controller.reset()
        result = loop.run(lambda x, k: loop.batch(controller, x, k), slice(None), loop.successor(len(loop.starts)))
        _time(controller, result)
        if progress:
            progress(len(result))
        return result
    runs, one = [], loop.successor(1)
    for i in range(len(loop.starts)):
        controller.reset()
        runs.append(loop.run(lambda x, k: loop.single(controller, x[0], k), slice(i, i + 1), one))
        if progress:
            progress(1)
    return stack(runs)


class _Loop:
    """The task's functions on arrays, and the loop over samples."""

    def __init__(self, task: Task, starts: np.ndarray, disturbances: np.ndarray | None) -> None:
        expect(task, Task, "the task of simulate", "such as systems.library.cartpole()")
        plant = task.plant
        self.task, self.starts = task, expect_array(starts, "starts")
        b, q = len(self.starts) if self.starts.ndim else 0, len(plant.disturbance)
        given = np.zeros((b, task.steps, q)) if disturbances is None else disturbances
        self.disturbances = expect_array(given, "disturbances")
        for name, array, shape in (
            ("starts", self.starts, (b, len(plant.state))),
            ("disturbances", self.disturbances, (b, *self.disturbances.shape[1:2], q)),
        ):
            if array.shape != shape or not b:
                raise DimensionMismatch(
                    f"{name} of shape {array.shape} given for {b} runs of task '{task.name}'; expected {shape}"
                    + ("" if b else " with at least one run")
                )
        self.steps = self.disturbances.shape[1]
        self.lower, self.upper = task.true_dynamics.plant.bounds
        self.rules = SampleRules(task, self.steps)

    def successor(self, runs: int) -> Successor:
        """Array arithmetic for many runs, CasADi's own evaluation for one, where arrays are slow."""
        if runs == 1:
            return SingleStep(self.task.true_dynamics)
        many = self.task.true_dynamics.lower("numpy")
        return lambda x, u, w: many(x, u, w, NO_PARAMETERS)

    def run(self, decide: Callable[[np.ndarray, int], Decided], rows: slice, successor: Successor) -> Trajectories:
        """The loop itself, for some of the runs at once."""
        w, steps, rules = self.disturbances[rows], self.steps, self.rules
        b, m = len(w), len(self.task.plant.input)
        states = np.empty((b, steps + 1, self.starts.shape[1]))
        inputs, seconds = np.empty((b, steps, m)), np.full((b, steps), np.nan)
        statuses, sources = (np.full((b, steps), -1, dtype=np.int8) for _ in range(2))
        states[:, 0] = self.starts[rows]
        left = np.where(rules.inside(states[:, 0]), -1, 0)
        held, diverged = np.broadcast_to(rules.input_reference[0], (b, m)).copy(), np.zeros(b, dtype=bool)
        for k in range(steps):
            x, going = states[:, k], left < 0
            if not going.any():
                states[:, k + 1 :], inputs[:, k:] = x[:, None], held[:, None]
                break
            u, status, source, taken = decide(x, k)
            statuses[:, k], sources[:, k] = np.where(going, status, -1), np.where(going, source, -1)
            seconds[:, k] = taken
            inputs[:, k] = np.where(going[:, None], np.clip(u, self.lower, self.upper), held)
            with np.errstate(all="ignore"):  # a plant may blow up; that ends the run
                after = successor(x, inputs[:, k], w[:, k])
            states[:, k + 1], ended, blown, stays = rules.arrive(k, going, x, inputs[:, k], after)
            left[ended] = k + 1
            diverged |= blown
            held = np.where(ended[:, None], stays, held)
        charged = rules.charge(states, inputs, left, diverged)
        return Trajectories(states, inputs, *charged, seconds, statuses, sources, left)

    def single(self, controller: Controller, x: np.ndarray, k: int) -> Decided:
        """One state's decision, timed."""
        x = x.copy()  # a controller that writes to its argument must not write history
        began = perf_counter()
        decision = controller.step(x, k)
        taken = perf_counter() - began
        u = self._checked(decision, controller, k)
        return u[None], STATUSES.index(decision.status), SOURCES.index(decision.source), taken

    def batch(self, controller: BatchController, x: np.ndarray, k: int) -> Decided:
        """All states' inputs; rows that came back without a finite number are put to ``step``, which has a fallback."""
        shape = (len(x), len(self.lower))
        u = expect_array(controller.batch(x.copy(), k), f"{type(controller).__name__}.batch", infinite=True, nan=True)
        if u.shape != shape:
            raise DimensionMismatch(
                f"{type(controller).__name__}.batch returned shape {u.shape} for {len(x)} states; expected {shape}"
            )
        statuses, sources = (np.zeros(len(x), dtype=np.int8) for _ in range(2))
        for i in np.flatnonzero(~np.isfinite(u).all(axis=1)):
            decision = controller.step(x[i].copy(), k)
            u[i] = self._checked(decision, controller, k)
            statuses[i], sources[i] = STATUSES.index(decision.status), SOURCES.index(decision.source)
        return u, statuses, sources, np.nan

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
        u = expect_array(decision.input, f"{name}.step: the input at sample {k}", infinite=True, nan=True)
        if u.shape != self.lower.shape:
            raise DimensionMismatch(
                f"{name}.step returned an input of shape {u.shape}; expected {self.lower.shape} for "
                f"{', '.join(self.task.plant.input.names)}"
            )
        if not np.isfinite(u).all():
            raise InvalidValue(f"{name}.step returned {u} at sample {k}; an input must be finite whatever happened")
        return u


class SingleStep:
    """x+ (1, n) of (x, u, w) for one run through CasADi's buffers, which saves the conversions a call would make.

    The array returned is the same at every call.

    Args:
        dynamics: from one sample to the next.
    """

    def __init__(self, dynamics: Discretisation) -> None:
        plant = dynamics.plant
        self.function = dynamics.function()  # kept, like everything here: CasADi holds bare addresses
        buffers: Any = self.function.buffer()  # CasADi's own annotations of these are wrong
        self.buffer, self.evaluate = buffers
        self.arguments = [np.zeros((1, len(declared))) for declared in (plant.state, plant.input, plant.disturbance)]
        self.after = np.zeros((1, len(plant.state)))
        for i, argument in enumerate(self.arguments):
            if argument.size:
                self.buffer.set_arg(i, argument.data)
        self.buffer.set_res(0, self.after.data)

    def __call__(self, *given: np.ndarray) -> np.ndarray:
        for argument, value in zip(self.arguments, given, strict=True):
            argument[:] = value
        self.evaluate()
        return self.after


def _time(controller: BatchController, result: Trajectories) -> None:
    """Times single steps at visited states, spread evenly; a batch's time divided by its size would say nothing."""
    runs, samples = np.nonzero(result.statuses >= 0)
    for i in np.unique(np.linspace(0, len(runs) - 1, TIMED).astype(int)) if len(runs) else ():
        run, k = runs[i], int(samples[i])
        x = result.states[run, k].copy()
        began = perf_counter()
        controller.step(x, k)
        result.seconds[run, k] = perf_counter() - began
