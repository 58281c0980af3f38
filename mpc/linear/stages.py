"""The second-order expansion of a task over a horizon, at its steady state or along a moving reference."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from ctrl.linearisation import Expansions, LocalModel, terminal_expansion
from ctrl.regulator import LQR, lqr
from ctrl.terminal import weight_of_rest
from mpc.affine_task import AffineTask
from mpc.polyhedra import NoInvariantSet, Polyhedron, maximal_invariant_set
from systems import Task
from systems.reading import SteadyState

__all__ = ["ConstantStages", "MovingStages", "StageSource", "Stages"]

# Room between a steady state and a bound, of the room between the bounds, that counts as none: with less, the invariant
# set is as thin as the error of the steady state, which an interior-point method finds to some 1e-9.
AT_BOUND = 1e-6


@dataclass(frozen=True, eq=False)
class Stages:
    """The second-order expansion of a task over a horizon, in absolute variables: x+ = A_k x + B_k u + c_k; each stage
    costs z'H_k z + q_k'z of z = (x, u), the last state x'Px + p'x.

    Args:
        A: (N, n, n).
        B: (N, n, m).
        c: (N, n).
        K: (N, m, n), a stabilising feedback.
        H: (N, n + m, n + m).
        q: (N, n + m).
        P: (n, n).
        p: (n,).
    """

    A: np.ndarray
    B: np.ndarray
    c: np.ndarray
    K: np.ndarray
    H: np.ndarray
    q: np.ndarray
    P: np.ndarray
    p: np.ndarray

    def data(self, with_rest: bool) -> np.ndarray:
        """[q, c] of :class:`mpc.linear.condensing.ParametricQP`; a steady state that is chosen with the plan costs as
        many samples as the horizon has."""
        rest = len(self.q) * self.q[-1] if with_rest else np.zeros(0)
        return np.concatenate([self.q.ravel(), self.p, rest, self.c.ravel()])


class StageSource(ABC):
    """Source of the stages of each sample.

    Attributes:
        varies: whether the matrices of the stages differ from sample to sample.
        steady: the optimal steady state; None where there is none, or the reference moves.
    """

    varies = False

    steady: SteadyState | None = None

    @property
    def is_elsewhere(self) -> bool:
        """Whether the operating point is not the reference."""
        return False

    @property
    def at_edge(self) -> bool:
        """Whether the operating point is held off the reference by constraints, so that there is no set around it."""
        return False

    @property
    @abstractmethod
    def operating_point(self) -> tuple[np.ndarray, np.ndarray]:
        """State (n,) and input (m,) at which the first sample is expanded."""

    @abstractmethod
    def stages(self, k: int, horizon: int, x: np.ndarray | None = None) -> Stages:
        """The stages from sample ``k`` on.

        Args:
            x: (n,), the measured state, from which signals that are known ahead are predicted; default: not known.
        """

    @abstractmethod
    def end_at_rest(self) -> np.ndarray:
        """Ends the prediction at a steady state that is optimised with the plan; returns the cost (n,) of a unit of
        distance from it."""

    @abstractmethod
    def terminal_set(self, affine: AffineTask) -> Polyhedron:
        """Maximal invariant set {x: H x <= h} of e+ = (A - B K) e, e = x - x_ref, under input bounds and hard rows.

        Raises:
            NoInvariantSet: the reference moves, or the operating point is not an equilibrium inside the constraints.
        """


class ConstantStages(StageSource):
    """The stages of a task with a constant reference, expanded at its steady state.

    Args:
        task: see :class:`mpc.linear.linear_mpc.LinearMPC`.
        expansions: of the task.
        regulator: of the task without its constraints, None if it has none; not computed again where it is the same.
    """

    def __init__(self, task: Task, expansions: Expansions, regulator: LQR | None) -> None:
        self.task = task
        self.model: LocalModel = expansions.model(constrained=True)
        self.steady = expansions.steady_state(constrained=True)
        is_known = regulator is not None and regulator.model is self.model
        gain = regulator if is_known and regulator else lqr(self.model.plant, self.model.Q, self.model.R, self.model.N)
        self.K, self.P = gain.K, gain.P
        self._ends_at_rest = False
        self._own = None
        if task.reading.terminal is not None:
            self._own = terminal_expansion(task, self.model.x_ref, task.reading.start[0])

    @property
    def operating_point(self) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`StageSource`."""
        return self.model.x_ref, self.model.u_ref

    @property
    def is_elsewhere(self) -> bool:
        """See :class:`StageSource`."""
        return self.task.reading.is_elsewhere(self.steady)

    @property
    def at_edge(self) -> bool:
        """See :class:`StageSource`."""
        return self.task.reading.is_at_edge(self.steady)

    def end_at_rest(self) -> np.ndarray:
        """See :class:`StageSource`; the cost exceeds whatever reaching the steady state could save."""
        self._ends_at_rest = True
        return weight_of_rest(self.task, self.P, self.model.x_ref)

    def terminal_set(self, affine: AffineTask) -> Polyhedron:
        """See :class:`StageSource`."""
        if self.steady is None:
            raise NoInvariantSet("the reference is not an equilibrium")
        model, K, rows = self.model, self.K, affine.constraints
        n = len(model.x_ref)
        least, most = self.task.input_bounds
        hard = rows.hard
        at_rest = (rows.C @ np.concatenate([model.x_ref, model.u_ref]))[hard]
        closed = np.vstack([-K, (rows.C[:, :n] - rows.C[:, n:] @ K)[hard]])
        low = np.concatenate([least - model.u_ref, rows.lower[hard] - at_rest])
        high = np.concatenate([most - model.u_ref, rows.upper[hard] - at_rest])
        H, h = np.vstack([closed, -closed]), np.concatenate([high, -low])
        values = np.concatenate([model.u_ref, at_rest])
        sizes = np.abs(values) + np.where(np.isfinite(high - low), high - low, 0.0)
        touching = np.flatnonzero(np.minimum(high, -low) <= AT_BOUND * sizes)
        if len(touching):
            names = (*self.task.plant.input.names, *np.array(rows.names)[hard])
            raise NoInvariantSet(
                f"the steady state is not in the interior of the constraints, but on a bound of '{names[touching[0]]}' "
                "or beyond; move the reference away from it"
            )
        finite = np.isfinite(h)
        about_rest = maximal_invariant_set(model.plant.A - model.plant.B @ K, Polyhedron(H[finite], h[finite]))
        return Polyhedron(about_rest.H, about_rest.h + about_rest.H @ model.x_ref)

    def stages(self, k: int, horizon: int, x: np.ndarray | None = None) -> Stages:
        """See :class:`StageSource`."""
        model = self.model
        z = np.concatenate([model.x_ref, model.u_ref])
        H = np.block([[model.Q, model.N], [model.N.T, model.R]])
        q = model.gradient - 2.0 * H @ z
        P, p = self.P, -2.0 * self.P @ model.x_ref
        if self._ends_at_rest:  # the steady state of the plan is charged instead
            P, p = np.zeros_like(P), np.zeros_like(p)
        if self._own is not None:
            # The multipliers telescope: between the first and the last state they leave their own product.
            P, half = self._own
            p = 2.0 * half - model.multipliers - 2.0 * P @ model.x_ref
        count = np.ones((horizon, 1, 1))
        return Stages(
            count * model.plant.A, count * model.plant.B, np.tile(model.plant.c, (horizon, 1)), count * self.K,
            count * H, np.tile(q, (horizon, 1)), P, p,
        )  # fmt: skip


class MovingStages(StageSource):
    """The stages of a task along a moving reference.

    Args:
        task: see :class:`mpc.linear.linear_mpc.LinearMPC`.
        horizon: number of predicted samples.
        expansions: of the task.
        regulator: of the task.
    """

    def __init__(self, task: Task, horizon: int, expansions: Expansions, regulator: LQR) -> None:
        self.task, self.regulator, self._expansions = task, regulator, expansions
        self._table = expansions.models(0, task.steps + horizon)
        self.varies = not self._table.are_constant

    @property
    def operating_point(self) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`StageSource`."""
        return self._table.x_ref[0], self._table.u_ref[0]

    def end_at_rest(self) -> np.ndarray:
        """See :class:`StageSource`."""
        raise NoInvariantSet("the reference moves")

    def terminal_set(self, affine: AffineTask) -> Polyhedron:
        """See :class:`StageSource`."""
        raise NoInvariantSet("the reference moves")

    def stages(self, k: int, horizon: int, x: np.ndarray | None = None) -> Stages:
        """See :class:`StageSource`."""
        table, first = self._table, k
        if not 0 <= k <= len(table.A) - horizon:
            table, first = self._expansions.models(k, horizon), 0
        A, B, drift, Q, R, N, q, r = (
            part[first : first + horizon]
            for part in (table.A, table.B, table.drift, table.Q, table.R, table.N, table.q, table.r)
        )
        x, u = table.x_ref[first : first + horizon + 1], table.u_ref[first : first + horizon]
        z = np.hstack([x[:-1], u])
        H = np.concatenate([np.concatenate([Q, N], axis=2), np.concatenate([N.transpose(0, 2, 1), R], axis=2)], axis=1)
        linear = 2.0 * (np.hstack([q, r]) - np.einsum("kij,kj->ki", H, z))
        c = x[1:] + drift - np.einsum("kij,kj->ki", A, x[:-1]) - np.einsum("kij,kj->ki", B, u)
        if self.task.reading.terminal is not None:
            P, half = terminal_expansion(self.task, x[-1], x[-1])
        else:
            P, half, centre = self.regulator.cost_to_go(k + horizon)
            half = half + P @ (x[-1] - centre)
        K = np.array([self.regulator.gain(k + i)[0] for i in range(horizon)])
        return Stages(A, B, c, K, H, linear, P, 2.0 * (half - P @ x[-1]))
