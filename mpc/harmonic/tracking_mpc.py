"""MPC for tracking: the prediction ends at a steady state that is optimised with it."""

from __future__ import annotations

import numpy as np

from ctrl.answers import Answers
from mpc.harmonic.answers import STANDING, answers
from mpc.harmonic.artificial_reference import OffsetWeights, tracking_model, tracking_program
from mpc.harmonic.artificial_reference_mpc import ArtificialReferenceMPC, ConeBackEnd
from mpc.harmonic.target import SteadyTarget, Target
from mpc.online import check_horizon
from systems import Task
from systems.costs import Weight, weight_matrix

__all__ = ["TrackingMPC"]


class TrackingMPC(ArtificialReferenceMPC):
    """MPC for tracking (Limon, Alvarado, Alamo & Camacho, 2008) with terminal equality (Krupa, Limon & Alamo, 2021):

        min  sum_j |x_j - x_e|_Q^2 + |u_j - u_e|_R^2 + |x_e - x_r|_T^2 + |u_e - u_r|_S^2
        s.t. x_{j+1} = A x_j + B u_j + c,  x_N = x_e = A x_e + B u_e + c,  lower <= E x_j + F u_j <= upper,
             lower + eps <= E x_e + F u_e <= upper - eps.

    It remains feasible under any change of the reference. A moving reference is treated as constant at its present
    value.

    Args:
        task, horizon, eps, solver, max_iterations, time_limit: as in :class:`mpc.harmonic.harmonic_mpc.HarmonicMPC`.
        T: weight of the steady state; default: 10 N Q.
        S: weight of its input; default: R.

    Raises:
        NotApplicable, InvalidValue: as there.
    """

    def __init__(
        self,
        task: Task,
        horizon: int = 10,
        T: Weight | None = None,
        S: Weight | None = None,
        eps: float = 1e-4,
        solver: ConeBackEnd | None = None,
        max_iterations: int = 80,
        time_limit: float | None = None,
    ) -> None:
        check_horizon(horizon)
        system = tracking_model(task)
        Te = 10.0 * horizon * system.Q if T is None else weight_matrix(T, task.plant.state, "T")
        Se = system.R if S is None else weight_matrix(S, task.plant.input, "S")
        weights = OffsetWeights(Te, np.zeros_like(Te), Se, np.zeros_like(Se))
        super().__init__(task, tracking_program(system, horizon, weights, eps), 0.0, solver, max_iterations, time_limit)
        self._arguments = (task, horizon, T, S, eps, solver, max_iterations, time_limit)

    @property
    def _answers(self) -> Answers:
        return answers(STANDING)

    def _target_of(self, task: Task) -> Target:
        return SteadyTarget(task, parts=1)
