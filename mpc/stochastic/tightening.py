"""Tightening of constraints on a nominal prediction so that the disturbed plant satisfies them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ctrl.controller import NotApplicable
from mpc.stochastic.reachable import ErrorDynamics
from systems.arguments import expect_choice, expect_whole

__all__ = ["Margins", "Tightening", "check_interval", "margins"]

Tightening = Literal["exact", "distribution-free", "scaled-support", "worst-case", "none"]
"""``exact``: quantiles of the task's own distribution. ``distribution-free``: Cantelli's inequality, for any
distribution of the same covariance. ``scaled-support``: the support of the disturbance, scaled until it holds the
requested probability, as in the notebooks of ETH Zurich's ``ampyc``. ``worst-case``: every constraint as if it were
hard (robust MPC). ``none``: not at all (nominal MPC).
"""


@dataclass(frozen=True, eq=False)
class Margins:
    """The margin of each row, j samples after the nominal state was last set to the measured one.

    With M the samples from one such re-conditioning to the next and r(j) those since the last one before j,

        margin(j) = q_p(d' sum_{l < r} A^l w_l) + sum_{r <= l < j} max_w d' A^l w:

    disturbances since the last re-conditioning count with their probability; earlier ones will have been measured and
    must not make the problem infeasible then, so they count in full. M = 1 is the tightening of
    Kouvaritakis & Cannon (2016), M infinite that of Hewing, Wabersich & Zeilinger (2020).

    For a row of the state alone, "before j" excludes j: the state measured at j can no longer be changed. A row with an
    input includes it, since that input is still to be decided.

    Args:
        chance: (R + 1, rows), q_p minus the worst case of the same samples, constant in r from R on.
        worst: (L + 1, rows), sums of worst cases, constant from L on.
        every: M.
        is_state_row: (rows,), whether a row depends on the state alone.
    """

    chance: np.ndarray
    worst: np.ndarray
    every: float
    is_state_row: np.ndarray

    def after(self, j: np.ndarray) -> np.ndarray:
        """Margins (len(j), rows) for sample counts j >= 0."""
        j = np.asarray(j)
        if math.isinf(self.every):
            since = np.broadcast_to(j[:, None], (len(j), len(self.is_state_row)))
        else:
            every = int(self.every)
            since = np.where(self.is_state_row, np.where(j > 0, (j - 1) % every + 1, 0)[:, None], (j % every)[:, None])
        rows = np.arange(len(self.is_state_row))
        chance = self.chance[np.minimum(since, len(self.chance) - 1), rows]
        return chance + self.worst[np.minimum(j, len(self.worst) - 1)]

    @property
    def settled(self) -> int:
        """Samples from which on the margins repeat."""
        return max(len(self.worst), len(self.chance) if math.isinf(self.every) else 0) - 1

    @property
    def largest(self) -> np.ndarray:
        """Largest margin of each row over all j, (rows,)."""
        return self.after(np.arange(self.settled + len(self.chance) + 1)).max(axis=0)


def check_interval(recondition_every: float) -> None:
    """Raises InvalidValue unless the interval is a whole number of at least 1, or infinite."""
    if not (isinstance(recondition_every, float) and recondition_every == math.inf):
        expect_whole(recondition_every, "recondition_every", least=1, unit="samples", hint="or math.inf")


def margins(
    error: ErrorDynamics,
    directions: np.ndarray,
    probability: np.ndarray,
    is_state_row: np.ndarray,
    recondition_every: float,
    tightening: Tightening,
) -> Margins:
    """The margins of rows ``directions`` e, each to be kept with its probability.

    Args:
        error: the dynamics of e.
        directions: (rows, n).
        probability: (rows,), 1 for a hard row.
        is_state_row: (rows,), whether a row depends on the state alone.
        recondition_every: M.
        tightening: how the margins follow from the distribution.

    Raises:
        NotApplicable: an unbounded disturbance where the scheme needs its worst case.
        InvalidValue: an unknown tightening or interval.
    """
    check_interval(recondition_every)
    expect_choice(tightening, "tightening", get_args(Tightening))
    rows = len(directions)
    if tightening == "none" or not rows:
        return Margins(np.zeros((1, rows)), np.zeros((1, rows)), recondition_every, is_state_row)
    probability = np.ones(rows) if tightening == "worst-case" else np.asarray(probability, dtype=float)
    sure = probability >= 1.0
    settled = error.settling()
    if error.noise.is_bounded:
        worst = error.worst_case(directions, settled)
        worst = np.vstack([worst, worst[-1] + _tail(error, directions, settled)])
    else:
        _refuse_unbounded(recondition_every, tightening, sure)
        worst = np.zeros((settled + 2, rows))
    length = int(min(recondition_every, settled))
    chance = np.zeros((length + 1, rows))
    method = {
        "exact": error.quantile,
        "distribution-free": error.distribution_free,
        "scaled-support": error.scaled_support,
    }
    if not sure.all():
        chosen, p = directions[~sure], probability[~sure]
        chance[:, ~sure] = method[tightening](chosen, p, length) - worst[: length + 1, ~sure]
    if not error.noise.is_bounded:
        # Normal noise has no tail to add in full: from here on its own limit.
        limit = np.sqrt(np.einsum("ri,ik,rk->r", directions, error.stationary_covariance(), directions))
        with np.errstate(invalid="ignore", divide="ignore"):
            grown = np.where(chance[-1] == 0, 0.0, chance[-1] * limit / error.deviation(directions, length)[-1])
        chance = np.vstack([chance, grown])
    return Margins(chance, worst, recondition_every, is_state_row)


def _refuse_unbounded(recondition_every: float, tightening: Tightening, sure: np.ndarray) -> None:
    if tightening in ("worst-case", "scaled-support"):
        raise NotApplicable(
            f"the disturbance is unbounded, so tightening '{tightening}' has no margin to take; use 'exact' with "
            "recondition_every = math.inf, or a bounded distribution such as Uniform"
        )
    if not math.isinf(recondition_every):
        raise NotApplicable(
            "the disturbance is unbounded: no margin keeps the problem feasible when the nominal state is set to the "
            "measured one; use recondition_every = math.inf (indirect feedback), or a bounded "
            "distribution such as Uniform"
        )
    if sure.any():
        raise NotApplicable(
            "the disturbance is unbounded, so no feedback keeps a hard constraint for all future time; state a "
            "probability by .chance(p), or by input_probability for input bounds, or use a bounded "
            "distribution such as Uniform"
        )


def _tail(error: ErrorDynamics, directions: np.ndarray, settled: int) -> np.ndarray:
    """Bound (rows,) of the worst cases from ``settled`` on.

    Every A^l with l >= L is A^(l - L) A^L, so its row is at most |A^L| times as long as that of l - L, and so on.
    """
    length, reached = np.zeros(len(directions)), directions
    for _ in range(settled):
        length += np.linalg.norm(reached, axis=1)
        reached = reached @ error.A
    left = np.linalg.norm(np.linalg.matrix_power(error.A, settled), 2)
    radius = np.linalg.norm(np.abs(error.noise.factor).sum(axis=1))
    return radius * length * left / (1.0 - left)
