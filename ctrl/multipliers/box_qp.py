"""Small convex programs over a box, many at once, by projected Newton steps (Bertsekas, 1982)."""

from __future__ import annotations

import numpy as np

__all__ = ["minimise_in_box"]

_ITERATIONS = 100
_HALVINGS = 20


def minimise_in_box(
    H: np.ndarray,
    d: np.ndarray,
    upper: np.ndarray,
    start: np.ndarray,
    E: np.ndarray | None = None,
    b: np.ndarray | None = None,
    lower: np.ndarray | None = None,
    tolerance: float = 1e-11,
) -> np.ndarray:
    """Minimisers of x'Hx/2 - d'x + |max(0, b + Ex)|^2/2 subject to lower <= x <= upper.

    Where H leaves several minimisers, one near the start. Problems that are solved leave the batch, so a batch of which
    most are trivial costs little.

    Args:
        H: (batch, v, v), positive semidefinite. d, upper, start: (batch, v); bounds may be infinite.
        E: (batch, rows, v). b: (batch, rows). Left out, that term is not there. lower: (batch, v), zero if left out.
        tolerance: of the projected gradient, relative to its scale.
    """
    lower = np.zeros_like(upper) if lower is None else lower
    x = np.minimum(np.maximum(start, lower), upper)
    unsolved = np.arange(len(x))
    for _ in range(_ITERATIONS):
        if not len(unsolved):
            break
        term = (None, None) if E is None or b is None else (E[unsolved], b[unsolved])
        part = _Part(H[unsolved], d[unsolved], lower[unsolved], upper[unsolved], *term)
        at = x[unsolved]
        gradient, curvature = part.derivatives(at)
        diagonal = np.einsum("bii->bi", curvature)
        # Where a variable has no curvature of its own, its neighbours' sets the scale of its step.
        scale = np.maximum(diagonal, 1e-12 * np.maximum(diagonal.max(axis=1, keepdims=True), 1e-300))
        gap = np.abs(at - part.clip(at - gradient / scale))
        done = (gap <= tolerance * (1.0 + np.abs(at))).all(axis=1)
        if done.any():
            unsolved, at, gradient, curvature, scale = (a[~done] for a in (unsolved, at, gradient, curvature, scale))
            part = part.rows(~done)
            gap = gap[~done]
            if not len(unsolved):
                break
        moved, improved = part.search(at, gradient, curvature, scale, gap)
        x[unsolved] = moved
        unsolved = unsolved[improved]  # where nothing improves, rounding is all that is left
    return x


class _Part:
    """The problems of a batch that are still open."""

    def __init__(
        self,
        H: np.ndarray,
        d: np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
        E: np.ndarray | None,
        b: np.ndarray | None,
    ) -> None:
        self.H, self.d, self.lower, self.upper, self.E, self.b = H, d, lower, upper, E, b

    def rows(self, keep: np.ndarray) -> _Part:
        E, b = (None if a is None else a[keep] for a in (self.E, self.b))
        return _Part(self.H[keep], self.d[keep], self.lower[keep], self.upper[keep], E, b)

    def clip(self, x: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(x, self.lower), self.upper)

    def change(self, x: np.ndarray, move: np.ndarray) -> np.ndarray:
        """f(x + move) - f(x), (b,), without the cancellation that two values of f would suffer from."""
        slope = (self.H @ (x + 0.5 * move)[..., None])[..., 0] - self.d
        total = np.einsum("bi,bi->b", slope, move)
        if self.E is not None and self.b is not None:
            before = self.b + (self.E @ x[..., None])[..., 0]
            old, new = np.maximum(before, 0.0), np.maximum(before + (self.E @ move[..., None])[..., 0], 0.0)
            total += 0.5 * np.einsum("br,br->b", new - old, new + old)
        return total

    def derivatives(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gradient, curvature = (self.H @ x[..., None])[..., 0] - self.d, self.H
        if self.E is not None and self.b is not None:
            above = np.maximum(self.b + (self.E @ x[..., None])[..., 0], 0.0)
            gradient = gradient + np.einsum("bri,br->bi", self.E, above)
            active = self.E * (above > 0)[..., None]
            curvature = curvature + np.swapaxes(active, 1, 2) @ active
        return gradient, curvature

    def search(
        self, x: np.ndarray, gradient: np.ndarray, curvature: np.ndarray, scale: np.ndarray, gap: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The next points, along the projected Newton path, and which of them are better than the present ones."""
        near = np.minimum(gap.max(axis=1, keepdims=True), 1e-6 * (1.0 + np.abs(x)))
        fixed = (x <= self.lower + near) & (gradient > 0) | (x >= self.upper - near) & (gradient < 0)
        free = ~fixed
        v = x.shape[1]
        system = curvature * free[:, :, None] * free[:, None, :]
        system[:, np.arange(v), np.arange(v)] += np.where(fixed, scale, 1e-13 * scale.max(axis=1, keepdims=True))
        try:
            direction = -np.linalg.solve(system, gradient[..., None])[..., 0]
        except np.linalg.LinAlgError:  # one of the batch is singular to working precision
            direction = -gradient / scale
        best = x.copy()
        waiting, length = np.ones(len(x), dtype=bool), 1.0
        for _ in range(_HALVINGS):
            trial = self.clip(x + length * direction)
            descent = np.einsum("bi,bi->b", gradient, trial - x)
            better = waiting & (descent < 0) & (self.change(x, trial - x) <= 1e-4 * descent)
            best[better] = trial[better]
            waiting &= ~better
            if not waiting.any():
                break
            length *= 0.5
        if waiting.any():  # a steepest-descent step that the largest curvature allows
            size = np.abs(curvature).sum(axis=2).max(axis=1, keepdims=True)
            trial = self.clip(x - gradient / np.maximum(size, 1e-300))
            better = waiting & (self.change(x, trial - x) < 0)
            best[better] = trial[better]
            waiting &= ~better
        return best, ~waiting
