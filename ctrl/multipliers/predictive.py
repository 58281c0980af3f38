"""The predictive multiplier controller: model predictive control of the violation."""

from __future__ import annotations

from typing import final

import numpy as np

from ctrl.multipliers.base import MultiplierController, gain
from ctrl.multipliers.box_qp import minimise_in_box
from ctrl.multipliers.model import GivenModel, ViolationModel
from systems.arguments import expect_number, expect_whole
from systems.errors import expect

__all__ = ["Predictive"]


@final
class Predictive(MultiplierController):
    """The first of the multipliers that minimise the predicted violation over a horizon of N updates:

        sum_{i=1..N} q |max(0, e_i)|^2 + r |lam_{i-1} - lam_ref|^2 + s |lam_{i-1} - lam_{i-2}|^2
        subject to  e_{i+1} = e_i + A + B lam_i,  0 <= lam_i <= maximum

    (predictive Lagrangian optimisation: Zhang, Yuan, Zhan et al., 2025, arXiv 2501.15217; these formulas are our
    reconstruction). The error is one-sided, so nothing is spent on staying exactly at the limit. With r = s = 0 there
    are many minimisers; taken is the dead-beat one, the least multipliers with e_{i+1} <= 0, whatever the horizon. With
    one constraint that is clip((e + A) / -B, 0, maximum); with several, the minimiser of lam'(-B)lam/2 - lam'(e + A)
    over 0 <= lam <= maximum: the multipliers of a step problem and, at their maximum, those of its exact penalty.

    The reference is the multiplier under which the violation, held for the whole horizon, ends on the limit. There it
    is -A/B. Elsewhere -A/B itself would not do: it keeps the violation where it is, even inside the limit, where the
    right multiplier is zero. A reference of 0 biases the result as soon as r > 0. With s > 0 but r = 0 a multiplier
    that once was too large need not come down, since nothing drives it while the constraint holds: give r > 0 as well.

    A row of violations with an entry that is not a finite number is left out as a whole, since B couples its entries.

    Args:
        model: of the loops; gives their number and arrangement.
        horizon: N. q: weight of the violation. r, s: of the distance from the reference, of changes.
        maximum: see :class:`MultiplierController`.
        reference: lam_ref, broadcast to the shape; as described where None.
    """

    def __init__(
        self,
        model: GivenModel | ViolationModel,
        horizon: int = 5,
        q: float = 1.0,
        r: float = 0.0,
        s: float = 0.0,
        maximum: float | np.ndarray = np.inf,
        reference: float | np.ndarray | None = None,
    ) -> None:
        expect(model, (GivenModel, ViolationModel), "the model of Predictive", "such as ViolationModel(-0.2)")
        super().__init__(model.drift.shape, maximum)
        self.model, self.horizon = model, expect_whole(horizon, "horizon", least=1, unit="updates")
        self.q = expect_number(q, "q", above=0.0)
        self.r, self.s = float(gain("r", r, ())), float(gain("s", s, ()))
        self.reference = None if reference is None else gain("reference", reference, self.shape)

    def _memory(self) -> dict[str, np.ndarray]:
        return {"multipliers": self.multipliers} | {f"model.{k}": v for k, v in self.model._memory().items()}

    def start(self, multipliers: np.ndarray) -> None:
        """Starts from these multipliers; what the model has learned of A and B stays, where it last was does not."""
        self._place(multipliers)
        self.model.restart()

    def _advance(self, violation: np.ndarray, known: np.ndarray) -> np.ndarray:
        rows = np.asarray(known.all(axis=-1))
        self.model.observe(violation, self.multipliers, rows)
        multipliers = self.multipliers.copy()
        if rows.any():
            e, A, B, last = self.model.error[rows], self.model.drift[rows], self.model.effect[rows], multipliers[rows]
            if self.model.delay:  # what is already on its way
                e = e + A + (B @ last[..., None])[..., 0]
            multipliers[rows] = self.plan(e, A, B, last, rows)[:, 0]
        return multipliers

    def plan(
        self, e: np.ndarray, A: np.ndarray, B: np.ndarray, last: np.ndarray, rows: np.ndarray | None = None
    ) -> np.ndarray:
        """All multipliers (batch, N, c) of the problem for e, A, last (batch, c) and B (batch, c, c).

        ``rows`` is the mask of the loops concerned where these are not all.
        """
        batch, c = e.shape
        chosen = np.ones(self.shape[:-1], dtype=bool) if rows is None else rows
        upper, given = self.maximum[chosen], None if self.reference is None else self.reference[chosen]
        N = self.horizon
        first = np.repeat(last[:, None], N, axis=1)
        if self.r == 0 and self.s == 0:
            rest = e
            for i in range(N):
                first[:, i] = _dead_beat(rest + A, B, upper, first[:, max(i - 1, 0)])
                rest = rest + A + (B @ first[:, i, :, None])[..., 0]
            return first
        target = _dead_beat(e / N + A, B, upper, last) if given is None else given
        before = np.tril(np.ones((N, N)))
        E = np.sqrt(2.0 * self.q) * np.einsum("ij,bkl->bikjl", before, B).reshape(batch, N * c, N * c)
        b = np.sqrt(2.0 * self.q) * (e[:, None] + A[:, None] * np.arange(1, N + 1)[:, None]).reshape(batch, N * c)
        change = np.eye(N) - np.eye(N, k=-1)
        H = np.kron(2.0 * self.r * np.eye(N) + 2.0 * self.s * change.T @ change, np.eye(c))
        d = np.tile(2.0 * self.r * target, (1, N))
        d[:, :c] += 2.0 * self.s * last
        plan = minimise_in_box(
            np.broadcast_to(H, (batch, N * c, N * c)), d, np.tile(upper, (1, N)), first.reshape(batch, N * c), E, b
        )
        return plan.reshape(batch, N, c)


def _dead_beat(gap: np.ndarray, B: np.ndarray, upper: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """The least multipliers (batch, c) with gap + B lam <= 0: complementary to that, or at their upper bounds."""
    if gap.shape[-1] == 1:
        slope = -B[..., 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            lam = np.where(slope > 0, gap / slope, np.where(gap > 0, np.inf, 0.0))
        # A multiplier without any effect and without a maximum is left where it was.
        return np.where(
            np.isfinite(lam), np.minimum(np.maximum(lam, 0.0), upper), np.where(np.isfinite(upper), upper, guess)
        )
    return minimise_in_box(-B, gap, upper, guess)
