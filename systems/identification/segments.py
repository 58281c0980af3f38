"""Predictions over segments of runs, with derivatives with respect to initial state and parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import casadi as ca
import numpy as np

from systems.identification.runs import Runs
from systems.lowering import lower

__all__ = ["Prediction", "Segments", "cut"]


@final
@dataclass(frozen=True, eq=False)
class Segments:
    """S pieces of runs of equal length.

    Args:
        states: (S, samples + 1, n), as measured.
        inputs: (S, samples, m).
    """

    states: np.ndarray
    inputs: np.ndarray


def cut(runs: Runs, samples: int, *, overlap: bool = False) -> list[Segments]:
    """The runs in pieces of so many samples, what is left over in shorter ones; one entry per length.

    Args:
        runs: to cut.
        samples: of each piece.
        overlap: whether the last row of a piece is also the first of the next, so that every transition is in one
            piece; default: no row is in two pieces, so that errors of measurement are independent from piece to piece.
    """
    pieces: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for x, u in zip(runs.states, runs.inputs, strict=True):
        for start in range(0, len(u), samples if overlap else samples + 1):
            inputs = u[start : start + samples]
            pieces.setdefault(len(inputs), []).append((x[start : start + len(inputs) + 1], inputs))
    return [Segments(*(np.array(part) for part in zip(*pieces[n], strict=True))) for n in sorted(pieces, reverse=True)]


@final
class Prediction:
    """The undisturbed plant from one sample to the next, for many states at once, with derivatives.

    Args:
        step: the next state F(x, u, w, p), such as ``Discretisation.function(parameters)``.
    """

    def __init__(self, step: ca.Function) -> None:
        x, u, w, p = step.sx_in()
        after = ca.substitute(step(x, u, w, p), w, ca.SX.zeros(*w.shape)) if w.numel() else step(x, u, w, p)
        outputs = [after, ca.jacobian(after, x), ca.jacobian(after, p)]
        self._step = lower(
            ca.Function("predict", [x, u, p], outputs, ["x", "u", "p"], ["next", "dx", "dp"]), to="numpy"
        )
        self._value = lower(ca.Function("predict", [x, u, p], [after], ["x", "u", "p"], ["next"]), to="numpy")
        self._parameters = p.numel()

    def states(self, starts: np.ndarray, inputs: np.ndarray, p: np.ndarray) -> np.ndarray:
        """States (S, samples + 1, n) from ``starts`` (S, n) under ``inputs`` (S, samples, m)."""
        states = [starts]
        with np.errstate(all="ignore"):  # a prediction that diverges is noticed by whoever asked for it
            for k in range(inputs.shape[1]):
                states.append(np.broadcast_to(self._value(states[-1], inputs[:, k], p), starts.shape))
        return np.stack(states, axis=1)

    def sensitivities(
        self, starts: np.ndarray, inputs: np.ndarray, p: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same with derivatives by start (S, samples + 1, n, n) and parameters (S, samples + 1, n, len(p))."""
        count, n = starts.shape
        states, by_start = [starts], [np.broadcast_to(np.eye(n), (count, n, n))]
        by_parameter = [np.zeros((count, n, self._parameters))]
        with np.errstate(all="ignore"):
            for k in range(inputs.shape[1]):
                after, dx, dp = map(np.asarray, self._step(states[-1], inputs[:, k], p))
                states.append(np.broadcast_to(after, (count, n)))  # what is constant has no batch
                dx = dx.reshape(-1, n, n)
                by_start.append(dx @ by_start[-1])
                moved = dx @ by_parameter[-1]
                by_parameter.append(moved + dp.reshape(-1, n, self._parameters) if self._parameters else moved)
        return tuple(np.stack(part, axis=1) for part in (states, by_start, by_parameter))  # type: ignore[return-value]
