"""Interface of QP back-ends. Every point is checked here, whatever a solver reports."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

from ctrl.controller import Status
from systems import DimensionMismatch, InvalidValue

__all__ = ["LOOSE", "QPSolver", "QuadraticProgram", "Solution", "WithoutTerminalSet"]


Point = tuple[np.ndarray, np.ndarray]  # with multipliers

LOOSE = 1e-3  # largest residual of a point that is used although its solver did not finish
POLISHABLE = 1e-1  # largest residual of a point that is polished


@dataclass(frozen=True, slots=True)
class Solution:
    """The point at which a solver stopped.

    Args:
        status: how it ended; SOLVED only if our own residual check agrees.
        point: (variables,), not necessarily finite unless ``residual`` is.
        multipliers: (rows,), positive where an upper and negative where a lower bound is active.
        iterations: of the solver.
        residual: largest scaled violation of the optimality conditions, infinite if unknown.
    """

    status: Status
    point: np.ndarray
    multipliers: np.ndarray
    iterations: int
    residual: float

    @property
    def is_usable(self) -> bool:
        """Whether the point may be used: solved, or so close to a solution that the difference does not matter."""
        return self.status is Status.SOLVED or (
            self.status in (Status.MAX_ITERATIONS, Status.TIMEOUT, Status.NUMERICAL, Status.TERMINAL_SET_UNREACHABLE)
            and self.residual <= LOOSE
        )


@dataclass(frozen=True, eq=False)
class QuadraticProgram:
    """min z'Hz/2 + f'z + sum_i weight_i dist(a_i'z, [lower_i, upper_i]); an infinite weight makes row i hard.

    ``f``, ``lower`` and ``upper`` come with every solve. Which bounds are finite and which are equal never changes.

    Args:
        H: (d, d), positive semidefinite.
        A: (rows, d), its rows a_i'.
        weight: (rows,), positive.
        lower, upper: (rows,), the bounds of one instance. A row needs at least one finite bound.
        product: computes A z for a point (d,), if there is a faster way than A; default: A.
    """

    H: sp.csc_matrix
    A: sp.csc_matrix
    weight: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    product: Callable[[np.ndarray], np.ndarray] | None = None

    def __post_init__(self) -> None:
        d, rows = self.H.shape[0], self.A.shape[0]
        vectors = (self.weight, self.lower, self.upper)
        if self.H.shape != (d, d) or self.A.shape[1] != d or any(v.shape != (rows,) for v in vectors):
            shapes = ", ".join(str(v.shape) for v in vectors)
            raise DimensionMismatch(f"H {self.H.shape}, A {self.A.shape}, weight and bounds {shapes} do not fit")
        if not (np.isfinite(self.lower) | np.isfinite(self.upper)).all():
            raise InvalidValue("a row without any finite bound has no effect; leave it out")
        if not (self.weight > 0).all():
            raise InvalidValue("the weight of a row must be positive, infinite for a hard constraint")

    @property
    def soft(self) -> np.ndarray:
        """Mask (rows,) of the rows that may be violated."""
        return np.isfinite(self.weight)

    @property
    def equality(self) -> np.ndarray:
        """Mask (rows,) of the hard rows whose bounds are equal."""
        return (self.lower == self.upper) & ~self.soft


class QPSolver(ABC):
    """One quadratic program, solved repeatedly for different ``f`` and bounds.

    Args:
        problem: the constant data.
        max_iterations: of one solve.
    """

    TOLERANCE = 1e-5  # largest residual of a point that counts as solved
    FEASIBLE = 1e-7  # largest violation of its hard rows
    # At the edge of a feasible set, a plan that is feasible to rounding leads to a state that is feasible to some more
    # rounding. Where the last solve ended well, so much more is allowed, and infeasible rows are relaxed by FEASIBLE.
    SLACK = 10.0
    POLISHED = 1e-7  # residual above which a point is polished, see :mod:`mpc.solvers.polish`
    POLISHES = 1  # steps at most

    def __init__(self, problem: QuadraticProgram, max_iterations: int) -> None:
        from mpc.solvers.optimality import check, check_rows, is_posed, violation  # numba is slow to import
        from mpc.solvers.polish import polished, polished_unit

        self.problem = problem
        self.max_iterations = max_iterations
        self._continues = False  # whether the last solve ended well
        # Dense products of small or full matrices are several times faster than sparse ones.
        size = problem.A.shape[0] * problem.A.shape[1]
        small = size <= 100_000 or problem.A.nnz >= 0.2 * size
        self._h = problem.H.toarray() if small else problem.H.tocsr()
        self._a = problem.A.toarray(order="C") if small else problem.A.tocsr()
        self._transposed = np.ascontiguousarray(self._a.T) if small else problem.A.T.tocsr()
        self._small = small
        length = np.sqrt(np.asarray(problem.A.multiply(problem.A).sum(axis=1)).ravel())
        self._length = np.where(length > 0, length, 1.0)
        self._is_unit = (sp.identity(problem.H.shape[0]) != problem.H).nnz == 0
        self._is_posed, self._check, self._check_rows, self._violated = is_posed, check, check_rows, violation
        self._polish, self._polish_unit = polished, polished_unit
        self._load()

    def _load(self) -> None:
        """Loads the compiled functions, which would otherwise delay the first solve, or the first polish, of a run."""
        weight, lower, upper = self.problem.weight, self.problem.lower.copy(), self.problem.upper.copy()
        f, y = np.zeros(self.problem.H.shape[0]), np.zeros(len(weight))
        self._is_posed(f, lower, upper)
        self.residual(f, y, f, lower, upper)
        self._violated(y, lower, upper, weight)
        if self._small and self._is_unit:
            one, wide = np.ones(1), np.ones((1, 1))
            self._polish_unit(wide, one, one, -one, one, one, one)

    def prepare(self) -> None:  # noqa: B027  # most have nothing to prepare
        """Prepares everything that only some solves need, so that none of them is delayed."""

    def reset(self) -> None:
        """Discards the last solve, so that the next one does not continue from it."""
        self._continues = False
        self._forget()

    @abstractmethod
    def _forget(self) -> None:
        """Forgets the warm start."""

    @abstractmethod
    def _solve(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[Status, np.ndarray, np.ndarray, int]:
        """Status, point, multipliers of the rows, iterations, for data that are numbers with lower <= upper."""

    def solve(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Solution:
        """Solves for these data; never raises because of numbers.

        Args:
            f: (d,).
            lower, upper: (rows,), infinite where there is no bound.
        """
        if not self._is_posed(f, lower, upper):
            self.reset()
            is_number = np.isfinite(f).all() and not np.isnan(lower).any() and not np.isnan(upper).any()
            return self._unsolved(Status.INFEASIBLE if is_number else Status.NUMERICAL)
        try:
            status, z, multipliers, iterations = self._solve(f, lower, upper)
            if self._continues and status is Status.INFEASIBLE:
                self._forget()
                status, z, multipliers, more = self._solve(f, *self._relaxed(lower, upper))
                iterations += more
        except (ArithmeticError, RuntimeError, ValueError):  # numbers that a back-end refuses, each in its own way
            self.reset()
            return self._unsolved(Status.NUMERICAL)
        allowed = self.FEASIBLE * (self.SLACK if self._continues else 1.0)
        residual, violation = self._checked(z, multipliers, f, lower, upper)
        is_good = self._is_good(residual, violation, allowed)
        if (residual > self.POLISHED or not is_good) and residual < POLISHABLE:
            data = f, lower, upper
            (z, multipliers), residual, violation = self._polish_steps((z, multipliers), residual, violation, *data)
            finer = self._finer(*data) if status is Status.SOLVED and residual > self.POLISHED else None
            if finer is not None:
                best = self._polish_steps(finer, *self._checked(*finer, *data), *data)
                if best[1] < residual and self._keeps_rows(best[0][0], z, lower, upper):
                    (z, multipliers), residual, violation = best
            is_good = self._is_good(residual, violation, allowed)
        if status is Status.SOLVED and not is_good:
            status = Status.NUMERICAL
        elif status in (Status.MAX_ITERATIONS, Status.NUMERICAL) and is_good:
            status = Status.SOLVED  # of a convex program these conditions are sufficient, whatever else was asked for
        if status in (Status.MAX_ITERATIONS, Status.NUMERICAL) and self.excludes(multipliers, lower, upper):
            status = Status.INFEASIBLE
        if status is not Status.SOLVED:
            self.reset()  # a working set that led nowhere must not be the start of the next solve
        self._continues = status is Status.SOLVED
        return Solution(status, z, multipliers, iterations, residual)

    def _polish_steps(
        self, start: Point, residual: float, violation: float, f: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> tuple[Point, float, float]:
        """The best of a start and of the points that polishing leads to, its residual and its violation."""
        best, trial = start, self._polished(*start, f, lower, upper)
        for left in reversed(range(self.POLISHES)):
            if trial is None:
                break
            after, beyond = self._checked(*trial, f, lower, upper)
            if after < residual and self._keeps_rows(trial[0], start[0], lower, upper):
                best, residual, violation = trial, after, beyond
            if not (left and self.POLISHED < after < np.inf):
                break
            trial = self._polished(*trial, f, lower, upper)
        return best, residual, violation

    def _finer(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Point | None:
        """Point and multipliers by tolerances that are finer than usual; None where there are none."""
        return None

    def _keeps_rows(self, z: np.ndarray, before: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> bool:
        """Whether a point violates the hard rows by at most as much as another one plus ``FEASIBLE``, measured
        in the variables: a short row, as an input in large units has, shows no violation in its own value.
        """
        scale, weight = 1.0 / self._length, self.problem.weight
        bounds = scale * lower, scale * upper, weight
        worst, limit = (self._violated(scale * self._value(point), *bounds) for point in (z, before))
        return bool(worst <= max(limit, self.FEASIBLE))

    def _is_good(self, residual: float, violation: float, allowed: float) -> bool:
        """Whether a point meets the conditions of optimality, and the hard rows up to ``allowed``."""
        return residual <= allowed or (residual <= self.TOLERANCE and violation <= allowed)

    def _relaxed(self, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of the hard inequalities farther apart by ``FEASIBLE``, relative to 1 + |bound|."""
        moves, more = ~(self.problem.soft | self.problem.equality), self.FEASIBLE
        return (
            np.where(moves, lower - more * (1.0 + np.abs(lower)), lower),
            np.where(moves, upper + more * (1.0 + np.abs(upper)), upper),
        )

    def _polished(
        self, z: np.ndarray, multipliers: np.ndarray, f: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> Point | None:
        value, weight = self._value(z), self.problem.weight
        if self._small and self._is_unit:
            return self._polish_unit(self._a, weight, f, lower, upper, value, multipliers)
        H, A = self.problem.H, self.problem.A.tocsr()
        return self._polish(H, A, weight, f, lower, upper, value, multipliers)

    def _unsolved(self, status: Status) -> Solution:
        rows, d = self.problem.A.shape
        return Solution(status, np.full(d, np.nan), np.full(rows, np.nan), 0, np.inf)

    @np.errstate(over="ignore", invalid="ignore")
    def residual(
        self, z: np.ndarray, multipliers: np.ndarray, f: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> float:
        """:func:`mpc.solvers.optimality.residual` of a point (d,) and multipliers (rows,)."""
        return self._checked(z, multipliers, f, lower, upper)[0]

    def _checked(
        self, z: np.ndarray, multipliers: np.ndarray, f: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> tuple[float, float]:
        """:func:`mpc.solvers.optimality.check` of a point (d,) and multipliers (rows,)."""
        curved = z if self._is_unit else self._h @ z
        data = f, self._value(z), multipliers, lower, upper, self.problem.weight
        if self._small:
            residual, violation = self._check_rows(curved, self._a, *data)
        else:
            residual, violation = self._check(curved, self._transposed @ multipliers, *data)
        return residual, violation

    def _value(self, z: np.ndarray) -> np.ndarray:
        """A z, (rows,)."""
        product = self.problem.product
        return self._a @ z if product is None else product(z)

    def excludes(self, multipliers: np.ndarray, lower: np.ndarray, upper: np.ndarray, radius: float = 1e5) -> bool:
        """Whether the multipliers prove (Farkas) that no point with sum |z_i| below ``radius`` times the largest bound
        satisfies the hard rows.

        Such is any y with A'y = 0 and sum_i max over [lower, upper] of y_i v_i < 0; diverging multipliers are one.
        """
        y = np.where(self.problem.soft, 0.0, multipliers)
        largest = np.abs(y).max(initial=0.0)
        if not 0 < largest < np.inf:
            return False
        y /= largest
        y[(y > 0) & np.isinf(upper) | (y < 0) & np.isinf(lower)] = 0.0
        bound = np.where(y > 0, upper, np.where(y < 0, lower, 0.0))
        radius *= 1.0 + float(np.abs(bound).max(initial=0.0))
        return bool(y @ bound < -radius * np.abs(self._transposed @ y).max(initial=0.0) - 1e-9)


class WithoutTerminalSet:
    """The same quadratic program without the rows of its terminal set, for states from which the set cannot be reached.

    Its plans satisfy the constraints over the horizon and include the terminal cost, but nothing is guaranteed beyond
    the horizon.

    Args:
        make: the back-end.
        problem: with the set.
        others: mask (rows,), the rows that do not belong to the set.
    """

    def __init__(
        self, make: Callable[[QuadraticProgram], QPSolver], problem: QuadraticProgram, others: np.ndarray
    ) -> None:
        self._make, self._problem, self._others = make, problem, others

    @cached_property
    def _solver(self) -> QPSolver:
        """The back-end, constructed when it is first needed, or by :meth:`prepare`."""
        problem, others, product = self._problem, self._others, self._problem.product
        return self._make(
            QuadraticProgram(
                problem.H,
                problem.A[others],
                problem.weight[others],
                problem.lower[others],
                problem.upper[others],
                None if product is None else lambda z: product(z)[others],
            )
        )

    def prepare(self) -> None:
        """See :meth:`QPSolver.prepare`."""
        self._solver.prepare()

    def reset(self) -> None:
        """Forgets the warm start."""
        if "_solver" in self.__dict__:
            self._solver.reset()

    def solve(self, f: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> Solution:
        """The solution, for data (d,), (rows,), (rows,) of the problem with the set, which was infeasible.

        Its status is ``TERMINAL_SET_UNREACHABLE`` where it can be used, and ``INFEASIBLE`` otherwise.
        """
        solution = self._solver.solve(f, lower[self._others], upper[self._others])
        status = Status.TERMINAL_SET_UNREACHABLE if solution.is_usable else Status.INFEASIBLE
        return dataclasses.replace(solution, status=status)
