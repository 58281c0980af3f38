"""Recorded steps of a controller in a closed loop, against which the test of an exported project checks the C code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ctrl.controller import Controller, Source, Status
from systems import Task
from systems.measurement import Sensors

__all__ = ["Recording", "record"]

RUNS, STEPS = 2, 250
LOST = 17  # every so many samples a measurement is lost
_ENDS = (Status.SOLVED, Status.TERMINAL_SET_UNREACHABLE)
FAR = (2.0, -10.0, 100.0)  # factors of the last state at which a run ends


@dataclass(frozen=True, eq=False)
class Recording:
    """The recorded decisions of a controller.

    Args:
        resets: (steps,), whether a run begins.
        samples: (steps,), numbers of the samples.
        states: (steps, n), as measured, NaN where a measurement was lost; of a controller of measurements, these.
        inputs: (steps, m).
        statuses, sources: of the decisions.
        compared: (steps,), whether the C code has to decide the same: not where the solver in Python, and so the plan
            that is followed later, did not converge.
    """

    resets: np.ndarray
    samples: np.ndarray
    states: np.ndarray
    inputs: np.ndarray
    statuses: tuple[Status, ...]
    sources: tuple[Source, ...]
    compared: np.ndarray


def record(
    controller: Controller,
    task: Task,
    samples: int,
    merged: Mapping[Status, Status],
    converged: float = math.inf,
    seed: int = 0,
) -> Recording:
    """Runs a controller on its disturbed plant from random starts, with lost measurements, and at last far away from
    where the plant has been.

    The controller is reset before and after.

    Args:
        controller: to be recorded.
        task: its task.
        samples: of the longest run.
        merged: statuses that are recorded as another one.
        converged: largest residual of a solve that counts.
        seed: of starts and disturbances.
    """
    rng = np.random.default_rng(seed)
    sensors = None
    if task.measurement is not None and getattr(controller, "measurement", None) is not None:
        sensors = Sensors(task.measurement, task.plant)
    resets, numbers, measured, decisions, compared = [], [], [], [], []
    dynamics, (least, most) = task.true_dynamics.function(), task.domain_bounds
    for _ in range(RUNS):
        x = task.initial.sample(task.plant.state, rng)
        controller.reset()
        before = task.reference.at(task.plant, 0)[1]
        if sensors is not None:
            sensors.reset()
        known = True  # whether what is remembered comes from solves that converged
        steps = min(samples, STEPS)
        for k in range(steps):
            lost = k % LOST == LOST - 1
            given = x
            if sensors is not None and task.measurement is not None:
                given = sensors.read(x, before, k, task.measurement.sample(rng, rng, ()))
            if k >= steps - len(FAR) and k > len(FAR):
                given = FAR[steps - 1 - k] * given
            elif lost:
                given = np.where(rng.integers(len(given)) == np.arange(len(given)), np.nan, given)
            decision = controller.step(given, k)
            before = decision.input
            resets.append(k == 0)
            numbers.append(k)
            measured.append(given)
            decisions.append(decision)
            if np.isfinite(given).all() and decision.status is not Status.INFEASIBLE:
                known = decision.status in _ENDS and decision.residual <= converged
            compared.append(known)
            w = task.disturbance.sample(task.plant.disturbance, rng)
            x = np.array(dynamics(x, decision.input, w, [])).ravel()
            if not (np.isfinite(x).all() and (least <= x).all() and (x <= most).all()):
                break
    controller.reset()
    return Recording(
        np.array(resets),
        np.array(numbers),
        np.array(measured),
        np.array([d.input for d in decisions]),
        tuple(merged.get(d.status, d.status) for d in decisions),
        tuple(d.source for d in decisions),
        np.array(compared),
    )
