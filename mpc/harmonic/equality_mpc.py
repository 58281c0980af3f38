"""MPC with terminal equality: the prediction ends at the reference."""

from __future__ import annotations

import numpy as np

from ctrl.answers import EXACT, Answers
from ctrl.controller import NotApplicable
from mpc.harmonic.answers import answers
from mpc.harmonic.artificial_reference import TrackingModel, equality_program, tracking_model
from mpc.harmonic.artificial_reference_mpc import ArtificialReferenceMPC, ConeBackEnd
from mpc.harmonic.target import SteadyTarget, Target
from mpc.online import check_horizon
from systems import Task
from systems.reading import STILL

__all__ = ["EqualityMPC"]


class EqualityMPC(ArtificialReferenceMPC):
    """MPC with a terminal equality constraint (Keerthi & Gilbert, 1988):

        min  sum_j |x_j - x_r|_Q^2 + |u_j - u_r|_R^2
        s.t. x_{j+1} = A x_j + B u_j + c,  x_N = x_r,  lower <= E x_j + F u_j <= upper.

    Args:
        task: as for :class:`mpc.harmonic.harmonic_mpc.HarmonicMPC`. Its reference must be an equilibrium, at which a
            prediction can end.
        horizon, solver, max_iterations, time_limit: as there.

    Raises:
        NotApplicable, InvalidValue: as there.
    """

    def __init__(
        self,
        task: Task,
        horizon: int = 10,
        solver: ConeBackEnd | None = None,
        max_iterations: int = 80,
        time_limit: float | None = None,
    ) -> None:
        check_horizon(horizon)
        self._model = tracking_model(task)
        super().__init__(task, equality_program(self._model, horizon), 0.0, solver, max_iterations, time_limit)
        self._arguments = (task, horizon, solver, max_iterations, time_limit)

    @property
    def _answers(self) -> Answers:
        return answers(EXACT)

    def _target_of(self, task: Task) -> Target:
        if not (task.reference.is_constant and _stands_still(self._model, *task.reading.start)):
            raise NotApplicable(
                f"task '{task.name}': its reference is not an equilibrium at which a prediction could end; use a "
                "set-point at which the plant is at rest, or MPC for tracking or harmonic MPC"
            )
        return SteadyTarget(task, parts=1)


def _stands_still(system: TrackingModel, x: np.ndarray, u: np.ndarray) -> bool:
    # The model has to rest there, which is linearised where the first reference was, not at one that follows it.
    moved = system.A @ x + system.B @ u + system.c - x
    return bool(np.abs(moved).max(initial=0.0) <= STILL * (1.0 + np.abs(x).max(initial=0.0)))
