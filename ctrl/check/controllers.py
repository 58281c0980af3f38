"""Checks of a controller on a task."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ctrl.check.report import Check, Objection, Report, attempt
from ctrl.comparison.draws import draw
from ctrl.controller import BatchController, Controller, Decision, NotApplicable, Source, Status, expect_takes
from systems import Task
from systems.errors import expect
from systems.measurement import Sensors

__all__ = ["check_controller"]

RUN = 20  # samples of the run that is repeated
STATES = 8
SLACK = 1e-9


def check_controller(controller: Controller | Callable[[Task], Controller], task: Task) -> Report:
    """Checks that a controller satisfies the interface of :class:`Controller`.

    Args:
        controller: the controller, or a factory that makes one for the task.
        task: the task on which it is checked.
    """
    expect(task, Task, "the task to check a controller on", "such as systems.library.cartpole()")
    name = getattr(controller, "__name__", type(controller).__name__)
    subject, made = f"{name} on task '{task.name}'", []
    first = attempt(
        "can be made",
        lambda: made.append(_made(controller, task)),
        "a controller has reset() and step(x, k); a factory takes the task and returns one",
    )
    if not first.passed:
        return Report(subject, (first,))
    fits = attempt(
        "takes what the task measures",
        lambda: expect_takes(task, made[0]),
        "OutputFeedback(controller, ExtendedKalmanFilter(task)); comparisons do it by themselves",
        warning=True,
    )
    if task.measurement is None and fits.passed:
        return Report(subject, (first, *_checks(made[0], task)))
    return Report(subject, (first, fits, *_checks(made[0], task)))


def _made(given: Controller | Callable[[Task], Controller], task: Task) -> Controller:
    if isinstance(given, Controller) and not isinstance(given, type):
        return given
    if not callable(given):
        raise Objection(f"{type(given).__name__} has no reset() and step(x, k)")
    try:
        made = given(task)
    except NotApplicable as reason:
        raise Objection(f"it does not apply to this task: {reason}") from reason
    if not isinstance(made, Controller):
        raise Objection(f"the factory returned {type(made).__name__}, which has no reset() and step(x, k)")
    return made


def _checks(controller: Controller, task: Task) -> list[Check]:
    starts, disturbances = draw(task, STATES, (0,))
    measured = getattr(controller, "measurement", None) is not None and task.measurement is not None
    first, sensors = starts[0], Sensors(task.measurement, task.plant) if measured and task.measurement else None
    if sensors is not None:
        starts = np.array([sensors.expected(x, task.reading.start[1]) for x in starts])
    n = starts.shape[1]
    far = [scale * sign * np.ones(n) for scale in (1e2, 1e5, 1e10) for sign in (1.0, -1.0)]
    broken = [np.full(n, value) for value in (np.nan, np.inf)] + [np.where(np.arange(n) == 0, np.nan, starts[0])]

    def answers(states: list[np.ndarray], k: int = 0) -> str:
        controller.reset()
        decisions = [_decision(controller, task, x, k) for x in states]
        return ", ".join(sorted({str(decision.status) for decision in decisions}))

    def says_so() -> None:
        for x in broken:
            controller.reset()
            if _decision(controller, task, x, 0).status is Status.SOLVED:
                raise Objection(f"the state {x} was answered with status 'solved'")

    bounds = "return Decision(np.clip(u, *task.input_bounds)), with u of shape (m,), whatever happened"
    fallback = "catch numerical errors, and fall back on an input that always exists, such as the reference's"
    checks = [
        attempt("gives an input within bounds at sampled initial states", lambda: answers(list(starts)), bounds),
        attempt("answers far away", lambda: answers(far), fallback),
        attempt("answers a state that is not finite with a finite input in bounds", lambda: answers(broken), fallback),
        attempt("says so by its status", says_so, "Decision(backup, Status.NUMERICAL, Source.BACKUP)", warning=True),
        attempt(
            "answers late samples", lambda: answers(list(starts[:2]), 10 * task.steps), "k counts on beyond task.steps"
        ),
        attempt("leaves its argument alone", lambda: _leaves(controller, starts[0]), "copy x before writing to it"),
        attempt(
            "repeats itself after reset()",
            lambda: _repeats(controller, task, first, disturbances[0], sensors),
            "reset() must forget everything a run leaves behind: warm starts, integrators, random states",
        ),
    ]
    if sensors is not None:  # a value that is missing is nothing to complain about
        checks.pop(3)
    if isinstance(controller, BatchController):
        checks.append(attempt("batch equals step row by row", lambda: _batch(controller, starts)))
    return checks


def _decision(controller: Controller, task: Task, x: np.ndarray, k: int) -> Decision:
    """One step, held against the contract."""
    where = f"at x = {np.array2string(x, precision=3)}, k = {k}"
    try:
        decision = controller.step(x.copy(), k)
    except Exception as error:  # the contract: never because of numbers
        raise Objection(f"step raised {type(error).__name__} {where}: {error}") from error
    if not isinstance(decision, Decision):
        raise Objection(f"step returned {type(decision).__name__} {where}, not a Decision")
    u, (lower, upper) = np.asarray(decision.input), task.input_bounds
    if u.shape != lower.shape:
        raise Objection(f"the input has shape {u.shape} {where}; expected {lower.shape}")
    if not np.isfinite(u).all():
        raise Objection(f"the input is {u} {where}")
    slack = SLACK * (1 + np.abs(u))
    if (u < lower - slack).any() or (u > upper + slack).any():
        raise Objection(f"the input {u} {where} is beyond its bounds {lower}, {upper}")
    if not isinstance(decision.status, Status) or not isinstance(decision.source, Source):
        raise Objection(f"status {decision.status!r} and source {decision.source!r}: expected a Status and a Source")
    return decision


def _leaves(controller: Controller, x: np.ndarray) -> None:
    given = x.copy()
    controller.reset()
    controller.step(given, 0)
    if not np.array_equal(given, x):
        raise Objection(f"step changed the state it was given, from {x} to {given}")


def _repeats(
    controller: Controller, task: Task, start: np.ndarray, disturbance: np.ndarray, sensors: Sensors | None
) -> None:
    step, runs = task.dynamics.function(), []
    for _ in range(2):
        controller.reset()
        x, inputs = start, list[np.ndarray]()
        for k in range(min(RUN, task.steps)):
            before = inputs[-1] if inputs else task.reading.start[1]
            given = x if sensors is None else sensors.expected(x, before)
            inputs.append(_decision(controller, task, given, k).input)
            x = np.array(step(x, inputs[-1], disturbance[k], 0))[:, 0]
        runs.append(np.array(inputs))
    if not np.array_equal(runs[0], runs[1]):
        k = int(np.flatnonzero((runs[0] != runs[1]).any(axis=1))[0])
        raise Objection(f"the same run gave {runs[0][k]} and then {runs[1][k]} at sample {k}")


def _batch(controller: BatchController, starts: np.ndarray) -> None:
    controller.reset()
    together = np.asarray(controller.batch(starts.copy(), 0))
    alone = np.array([controller.step(x.copy(), 0).input for x in starts])
    if together.shape != alone.shape or not np.allclose(together, alone, rtol=1e-9, atol=1e-12):
        raise Objection(f"batch of shape {together.shape} differs from step, {alone.shape}")
