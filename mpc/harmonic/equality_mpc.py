"""MPC with terminal equality: the prediction ends at the reference."""

from __future__ import annotations

import numpy as np

from ctrl.answers import EXACT, Answers
from ctrl.controller import NotApplicable
from mpc.harmonic.artificial_reference import Model, answers, check_horizon, equality_program, model
from mpc.harmonic.artificial_reference_mpc import RecedingHorizon, Solver
from mpc.harmonic.target import Steady, Wanted
from systems import Task

__all__ = ["EqualityMPC"]


class EqualityMPC(RecedingHorizon):
    """The oldest MPC with a stability proof (Keerthi & Gilbert, 1988):

        min  sum_j |x_j - x_r|_Q^2 + |u_j - u_r|_R^2
        s.t. x_{j+1} = A x_j + B u_j + c,  x_N = x_r,  lower <= E x_j + F u_j <= upper.

    Args:
        task, horizon, solver, max_iterations, time_limit: as in :class:`mpc.harmonic.harmonic_mpc.HarmonicMPC`. The reference must
            be an equilibrium, else a prediction could not go on.

    Raises:
        NotApplicable, InvalidValue: as there.
    """

    def __init__(
        self,
        task: Task,
        horizon: int = 10,
        solver: Solver | None = None,
        max_iterations: int = 80,
        time_limit: float | None = None,
    ) -> None:
        check_horizon(horizon)
        self._model = model(task)
        super().__init__(task, equality_program(self._model, horizon), 0.0, solver, max_iterations, time_limit)

    @property
    def _answers(self) -> Answers:
        return answers(EXACT)

    def _wanted_by(self, task: Task) -> Wanted:
        if not (task.reference.is_constant and _stands_still(self._model, *task.reading.start)):
            raise NotApplicable(
                f"task '{task.name}': its reference is no equilibrium, where a prediction could end; use a set-point "
                "at which the plant stands still, or MPC for tracking or harmonic MPC"
            )
        return Steady(task, parts=1)


def _stands_still(system: Model, x: np.ndarray, u: np.ndarray) -> bool:
    moved = system.A @ x + system.B @ u + system.c - x
    return bool(np.abs(moved).max(initial=0.0) <= 1e-7 * (1.0 + np.abs(x).max(initial=0.0)))
