"""A Gaussian process of bounded size that is updated point by point."""

from __future__ import annotations

from typing import final

import casadi as ca
import numpy as np

from systems.arguments import expect_array, expect_number, expect_whole
from systems.errors import InvalidValue, expect
from systems.identification.gaussian_process import Kernel

__all__ = ["IncrementalProcess"]

_LEAST_NOISE = 1e-4  # relative to the deviation of the function: bounds the condition number of the matrix
_ALIKE = 1.1  # ratio of variances within which points count as equally redundant


@final
class IncrementalProcess:
    """An exact Gaussian process with zero mean, whose Cholesky factor is updated for every point in O(capacity^2).

    A new point is always added, as a row of the factor. If there are then more than ``capacity`` points, one of the
    others is dropped, by a rank-one update of the factor (Gill, Golub, Murray & Saunders, 1974, method C1): the
    one whose value the rest predicts best, by its variance given all others (Rasmussen & Williams, 2006, equation
    5.12); of those within 10 % of the least variance, the oldest. Where points are added again and again, they
    therefore replace each other, and the process follows a function that changes slowly; points elsewhere stay.

    Args:
        kernel: with a noise of at least 1e-4 times the signal.
        outputs: number of functions, which share the kernel and the features; default: 1.
        capacity: largest number of points; default: 50.

    Attributes:
        count: number of points. points: (count, d), the oldest first. values: (count, outputs).
        root: (count, count), lower Cholesky factor of the covariance of the values.
        refused: number of samples that were not finite, which are left out.

    Raises:
        InvalidValue: a kernel whose lengths, signal or noise are not positive, or with too little noise.
    """

    def __init__(self, kernel: Kernel, outputs: int = 1, capacity: int = 50) -> None:
        expect(kernel, Kernel, "the kernel of a process", "such as Kernel(np.array([0.5]), signal=1.0, noise=0.1)")
        lengths = expect_array(kernel.lengths, "lengths of the kernel", ("d",))
        if not (len(lengths) and np.isfinite(lengths).all() and (lengths > 0.0).all()):
            raise InvalidValue(f"lengths of the kernel = {lengths.tolist()}; expected a positive length per feature")
        signal = expect_number(kernel.signal, "signal of the kernel", above=0.0)
        least = _LEAST_NOISE * signal
        expect_number(kernel.noise, "noise of the kernel", least=least, hint="at least 1e-4 times the signal")
        expect_whole(outputs, "outputs", least=1, most=1000)
        expect_whole(capacity, "capacity", least=1, most=2000)
        self.kernel, self.outputs, self.capacity = kernel, outputs, capacity
        self.count = self.refused = 0
        self._points = np.zeros((capacity + 1, len(lengths)))
        self._values = np.zeros((capacity + 1, outputs))
        self._root = np.zeros((capacity + 1, capacity + 1))
        self._root_inverse, self._weights = np.zeros((0, 0)), np.zeros((0, outputs))

    def __repr__(self) -> str:
        return f"<IncrementalProcess of {self.count} of {self.capacity} points, {self.outputs} outputs>"

    @property
    def points(self) -> np.ndarray:
        """The features, oldest first, (count, d)."""
        return self._points[: self.count].copy()

    @property
    def values(self) -> np.ndarray:
        """The values there, (count, outputs)."""
        return self._values[: self.count].copy()

    @property
    def root(self) -> np.ndarray:
        """Lower Cholesky factor of the covariance of the values, (count, count)."""
        return self._root[: self.count, : self.count].copy()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Limitations of the data, one sentence each."""
        texts = []
        if self.refused:
            texts.append(f"{self.refused} samples were not finite and were left out")
        if self.count > 1:
            constant = np.flatnonzero(np.ptp(self._points[: self.count], axis=0) == 0.0)
            texts += [f"feature {i} is the same at all points, so nothing is known of its effect" for i in constant]
        return tuple(texts)

    def update(self, z: np.ndarray, y: np.ndarray) -> bool:
        """Adds a sample, and says whether its numbers were finite; others are left out.

        Args:
            z: (d,). y: (outputs,).

        Raises:
            DimensionMismatch: arrays of other shapes.
        """
        z = expect_array(z, "z", (self._points.shape[1],), infinite=True, nan=True)
        y = expect_array(y, "y", (self.outputs,), infinite=True, nan=True)
        if not (np.isfinite(z).all() and np.isfinite(y).all()):
            self.refused += 1
            return False
        n, kernel = self.count, self.kernel
        row = self._root_inverse @ kernel(z[None], self._points[:n])[0]
        self._points[n], self._values[n] = z, y
        self._root[n, :n] = row
        # At least the noise remains of the variance; rounding must not make it less.
        self._root[n, n] = np.sqrt(max(kernel.signal**2 + kernel.noise**2 - row @ row, 0.5 * kernel.noise**2))
        self.count = n + 1
        self._invert()
        if self.count > self.capacity:
            self._drop(self._redundant())
            self._invert()
        self._weights = self._root_inverse.T @ (self._root_inverse @ self._values[: self.count])
        return True

    def predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (k, outputs) and deviation (k,), the same for all outputs, at features (k, d)."""
        k = self.kernel(z, self._points[: self.count])
        variance = self.kernel.signal**2 - ((k @ self._root_inverse.T) ** 2).sum(axis=1)
        return k @ self._weights, np.sqrt(np.maximum(variance, 0.0))

    def mean(self, z: ca.SX) -> ca.SX:
        """Of the functions, (outputs, 1), at a column of features (d, 1), as an expression of the present points."""
        if not self.count:
            return ca.SX.zeros(self.outputs, 1)
        return ca.SX(self._weights).T @ self.kernel.expression(self._points[: self.count], z)

    def deviation(self, z: ca.SX) -> ca.SX:
        """Standard deviation of each function there, without the noise of a sample, as an expression."""
        if not self.count:
            return ca.SX(self.kernel.signal)
        projected = ca.SX(self._root_inverse) @ self.kernel.expression(self._points[: self.count], z)
        return ca.sqrt(ca.fmax(self.kernel.signal**2 - ca.sumsqr(projected), 0.0))

    def _invert(self) -> None:
        from scipy.linalg.lapack import dtrtri  # slow to import

        self._root_inverse = np.ascontiguousarray(dtrtri(self._root[: self.count, : self.count], lower=1)[0])

    def _redundant(self) -> int:
        """The point to drop; never the last one, which is new."""
        variances = 1.0 / (self._root_inverse**2).sum(axis=0)[:-1]
        return int(np.flatnonzero(variances <= _ALIKE * variances.min())[0])

    def _drop(self, i: int) -> None:
        """Removes a point; the factor of those behind it takes up its column."""
        n, root = self.count - 1, self._root
        column = root[i + 1 : n + 1, i].copy()
        for array in (self._points, self._values):
            array[i:n] = array[i + 1 : n + 1]
        root[i:n, : n + 1] = root[i + 1 : n + 1, : n + 1]
        root[:n, i:n] = root[:n, i + 1 : n + 1]
        root[n] = root[:, n] = 0.0
        self.count = n
        for k in range(i, n):
            below, v = root[k + 1 : n, k], column[k - i]
            length = np.hypot(root[k, k], v)
            c, s = root[k, k] / length, v / length
            root[k, k] = length
            old = below.copy()
            rest = column[k - i + 1 :]
            below[:] = c * old + s * rest
            rest[:] = c * rest - s * old
