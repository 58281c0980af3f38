"""Nonlinear least squares over parameters that all pieces of runs share and initial states of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from systems.errors import InvalidValue
from systems.identification.segments import Prediction, Segments
from systems.signals import Signals

__all__ = ["Minimum", "minimise"]

_ITERATIONS = 200
_SMALL = 1e-10  # relative decrease of the cost at which iterations end
_MOST_DAMPING = 1e12


@final
@dataclass(frozen=True, eq=False)
class Minimum:
    """The minimiser of the sum of squares.

    Args:
        parameters: (P,).
        starts: initial states of the pieces, (S, n) for each length of pieces.
        errors: measured minus predicted states, (S, samples + 1, n) for each length.
        information: (P, P), of the parameters, initial states eliminated.
        freedom: number of errors less number of estimates.
        iterations: until then.
    """

    parameters: np.ndarray
    starts: list[np.ndarray]
    errors: list[np.ndarray]
    information: np.ndarray
    freedom: int
    iterations: int


def minimise(
    predict: Prediction,
    state: Signals,
    pieces: Sequence[Segments],
    starts: Sequence[np.ndarray],
    parameters: np.ndarray,
    bounds: np.ndarray,
    deviations: np.ndarray,
    free: bool,
) -> Minimum:
    """Levenberg-Marquardt steps, in which the initial states are eliminated piece by piece (a Schur complement).

    Args:
        predict: the plant.
        state: its signals.
        pieces: measured.
        starts: first guess of the initial states, as of :class:`Minimum`.
        parameters: first guess, (P,).
        bounds: lower and upper, (2, P); steps end before they reach them.
        deviations: of the errors, (n,).
        free: whether initial states are estimated.

    Raises:
        InvalidValue: the plant diverges from the first guess, or there are too few data.
    """
    count, n = len(parameters), len(deviations)
    rows = sum(piece.states[:, (0 if free else 1) :].size for piece in pieces)
    freedom = rows - count - (sum(map(np.size, starts)) if free else 0)
    if freedom < 1:
        raise InvalidValue(
            f"{rows} numbers measured, {rows - freedom} to be estimated; give more samples or longer pieces"
        )
    p, x0 = parameters.copy(), [start.copy() for start in starts]

    def errors(x0: Sequence[np.ndarray], p: np.ndarray) -> tuple[list[np.ndarray], float]:
        parts = [
            state.deviation(piece.states, predict.states(start, piece.inputs, p))
            for piece, start in zip(pieces, x0, strict=True)
        ]
        with np.errstate(all="ignore"):
            total = sum(float(((part / deviations) ** 2).sum()) for part in parts)
        return parts, total if np.isfinite(total) else np.inf

    parts, cost = errors(x0, p)
    if not np.isfinite(cost):
        raise InvalidValue(
            "the prediction from the measured states diverges; give a shorter horizon, more substeps, or better first "
            "values of the parameters"
        )
    damping, iteration = 1e-3, 0
    blocks = _normal(predict, pieces, x0, p, parts, deviations)
    while iteration < _ITERATIONS and damping < _MOST_DAMPING:
        iteration += 1
        step, moves = _step(blocks, damping, count, n, free)
        tried = np.clip(p + step, p + 0.9 * (bounds[0] - p), p + 0.9 * (bounds[1] - p))
        moved = [start + move for start, move in zip(x0, moves, strict=True)]
        new, after = errors(moved, tried)
        if not after <= cost:
            damping *= 10.0
            continue
        small = cost - after <= _SMALL * cost
        p, x0, parts, cost, damping = tried, moved, new, after, max(damping / 10.0, 1e-12)
        blocks = _normal(predict, pieces, x0, p, parts, deviations)
        if small:
            break
    information = _reduced(blocks, 0.0, count, n, free)[0]
    return Minimum(p, x0, parts, information, freedom, iteration)


_Blocks = list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


def _normal(
    predict: Prediction,
    pieces: Sequence[Segments],
    starts: Sequence[np.ndarray],
    p: np.ndarray,
    errors: Sequence[np.ndarray],
    deviations: np.ndarray,
) -> _Blocks:
    """Blocks of the normal equations of each length of pieces: by start and start, start and parameters, parameters
    and parameters, and the two right-hand sides."""
    blocks = []
    for piece, start, e in zip(pieces, starts, errors, strict=True):
        _, dx, dp = predict.sensitivities(start, piece.inputs, p)
        count, n = start.shape
        jx = (dx / deviations[:, None]).reshape(count, -1, n)
        jp = (dp / deviations[:, None]).reshape(count, jx.shape[1], len(p))
        r = (e / deviations).reshape(count, -1, 1)
        turned = jx.transpose(0, 2, 1)
        blocks.append(
            (
                turned @ jx,
                turned @ jp,
                np.einsum("sri,srj->ij", jp, jp),
                turned @ r,
                np.einsum("sri,sr->i", jp, r[..., 0]),
            )
        )
    return blocks


def _reduced(
    blocks: _Blocks, damping: float, count: int, n: int, free: bool
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Matrix and right-hand side for the parameters alone, and the inverses of the damped blocks of the starts."""
    matrix, right, inverses = np.zeros((count, count)), np.zeros(count), []
    for xx, xp, pp, gx, gp in blocks:
        matrix += pp
        right += gp
        if free:
            own = np.einsum("sii->si", xx)
            inverse = np.linalg.inv(xx + damping * np.eye(n) * own[:, None, :])
            matrix -= np.einsum("sia,sij,sjb->ab", xp, inverse, xp)
            right -= np.einsum("sia,sij,sjk->a", xp, inverse, gx)
            inverses.append(inverse)
    return matrix, right, inverses


def _step(blocks: _Blocks, damping: float, count: int, n: int, free: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """Steps of the parameters and of the starts."""
    matrix, right, inverses = _reduced(blocks, damping, count, n, free)
    own = np.sum([np.diag(pp) for _, _, pp, _, _ in blocks], axis=0) if count else np.zeros(0)
    step = np.linalg.lstsq(matrix + damping * np.diag(own), right, rcond=None)[0] if count else np.zeros(0)
    if not free:
        return step, [np.zeros(gx.shape[:2]) for _, _, _, gx, _ in blocks]
    moves = [
        inverse @ (gx - (xp @ step)[..., None]) for (_, xp, _, gx, _), inverse in zip(blocks, inverses, strict=True)
    ]
    return step, [move[..., 0] for move in moves]
