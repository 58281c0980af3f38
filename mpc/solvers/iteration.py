"""The numerical part of sequential quadratic programming as compiled C: foreign calls without the interpreter lock."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, final, get_args

import numpy as np

from ctrl.regulator import Feedback
from mpc.solvers.hpipm import HPIPM
from mpc.solvers.staged import Hessian, Linearisation

__all__ = ["NOT_CONVEX", "NOT_FINITE", "Arrays", "CompiledIteration"]

NOT_FINITE, NOT_CONVEX = -1, -2  # beside the statuses of HPIPM, which are not negative
_ARGUMENTS, _RESULTS = 5, 15  # of the function of a stage with the most of them

Arrays = dict[str, np.ndarray]
"""Those of :class:`mpc.solvers.sqp.SQP`: lowest, highest, least, most, cost_gradient, weight."""


class _Iteration(ctypes.Structure):
    """``iteration`` of iteration.c."""

    _fields_ = (
        *((name, ctypes.c_long) for name in ("N", "n", "variables", "bounded", "inputs", "rows", "given")),
        ("stage_steps", ctypes.c_long * (_ARGUMENTS + _RESULTS)),
        ("stage_arrays", ctypes.c_void_p * (_ARGUMENTS + _RESULTS)),
        ("last_arrays", ctypes.c_void_p * (_ARGUMENTS + _RESULTS)),
        *((name, ctypes.c_void_p) for name in ("arg", "res", "w", "iw")),
        *((name, ctypes.c_void_p) for name in ("point", "point_bounded", "multipliers", "pi", "f", "F", "next")),
        *((name, ctypes.c_void_p) for name in ("step", "gradient", "lower", "upper", "lam_lower", "lam_upper")),
        *((name, ctypes.c_void_p) for name in ("qp_pi", "b", "A", "S", "C", "r", "row_lower", "row_upper")),
        *((name, ctypes.c_void_p) for name in ("lowest", "highest", "least", "most")),
        *((name, ctypes.c_void_p) for name in ("pivots", "slope", "cost_gradient", "weight", "kept")),
        *((name, ctypes.c_double) for name in ("armijo", "shortest", "inexact")),
        ("controls", ctypes.c_long),
        *((name, ctypes.c_void_p) for name in ("K", "x_ref", "u_ref", "input_low", "input_high", "periods")),
        ("set", ctypes.c_void_p * 27),
        ("get", ctypes.c_void_p * 12),
        *((name, ctypes.c_void_p) for name in ("qp", "sol", "argument", "workspace")),
        *((name, ctypes.c_void_p) for name in ("set_data", "solve_program", "get_solution", "get_number")),
    )


@final
class CompiledIteration:
    """The steps of :class:`mpc.solvers.sqp.SQP` in C, on its arrays; each method is the one of that name there.

    Numbers are those of Python to the last bit but for sums, which are rounded in another order.

    Args:
        library: compiled by :meth:`mpc.solvers.staged.Linearisation.compile`.
        linearisation: of the program.
        arrays: of the solver.
        armijo, shortest, inexact: of its line search.
    """

    def __init__(
        self,
        library: Path,
        linearisation: Linearisation,
        arrays: Arrays,
        armijo: float,
        shortest: float,
        inexact: float,
    ) -> None:
        qp, point, sizes = linearisation.qp, linearisation.point, linearisation.qp.sizes
        self._kept: list[Any] = [linearisation, arrays]  # whose memory is written to
        data = self._data = _Iteration(
            N=sizes.horizon, n=sizes.states, variables=sizes.variables, bounded=sizes.bounded,
            inputs=sizes.horizon * sizes.inputs + sizes.last_inputs, rows=sizes.rows,
            armijo=armijo, shortest=shortest, inexact=inexact,
        )  # fmt: skip
        self._place_functions(linearisation)
        first = qp.stages
        self._place(
            point=point.variables, point_bounded=point.bounded, multipliers=point.multipliers, pi=point.pi, f=point.f,
            F=point.F, next=point.next, step=qp.step, gradient=qp.gradient, lower=qp.lower, upper=qp.upper,
            lam_lower=qp.lam_lower, lam_upper=qp.lam_upper, qp_pi=qp.pi, b=qp.b, A=qp.A, S=first.S, C=first.C,
            r=first.r, row_lower=first.lower, row_upper=first.upper, pivots=linearisation.pivots,
            slope=linearisation.slope, kept=np.zeros(sizes.variables + qp.pi.size + sizes.bounded), **arrays,
        )  # fmt: skip
        self._place_solver(qp)
        n, m = sizes.states, sizes.inputs
        self._law = tuple(np.zeros(size) for size in (m * n, n, m, m, m, n))
        self._place(**dict(zip(("K", "x_ref", "u_ref", "input_low", "input_high", "periods"), self._law, strict=True)))
        opened, self._at = ctypes.CDLL(str(library)), ctypes.byref(data)
        self._linearise, self._feedback = opened.iteration_linearise, opened.iteration_feedback
        self._residual, self._search = opened.iteration_residual, opened.iteration_search
        self._residual.restype = self._search.restype = ctypes.c_double
        self._is_finite, self._real_time, self._move = (
            opened.iteration_is_finite, opened.iteration_real_time, opened.iteration_move
        )  # fmt: skip
        self._advance = opened.iteration_advance
        self._x = np.zeros(sizes.states)
        self._x_at = ctypes.c_void_p(self._x.ctypes.data)
        self._kinds = {kind: ctypes.c_int(i + 1) for i, kind in enumerate(get_args(Hessian))}
        self._full = ctypes.c_double(1.0)

    def _place(self, **arrays: np.ndarray) -> None:
        for name, array in arrays.items():
            assert array.flags.c_contiguous
            assert array.itemsize == 8
            setattr(self._data, name, array.ctypes.data)
            self._kept.append(array)

    def _place_functions(self, linearisation: Linearisation) -> None:
        data, functions = self._data, linearisation.functions
        for table, parts in zip((data.stage_arrays, data.last_arrays), linearisation.arrays, strict=True):
            for start, entries in zip((0, _ARGUMENTS), parts, strict=True):
                for i, array in enumerate(entries):
                    table[start + i] = array.ctypes.data
        for start, entries in zip((0, _ARGUMENTS), linearisation.arrays[0], strict=True):
            for i, array in enumerate(entries):
                data.stage_steps[start + i] = array.size // len(array)
        most = [max(getattr(f, size)() for f in functions) for size in ("sz_arg", "sz_res", "sz_w", "sz_iw")]
        self._place(
            arg=np.zeros(max(most[0], _ARGUMENTS)), res=np.zeros(max(most[1], _RESULTS)), w=np.zeros(most[2] + 1),
            iw=np.zeros(most[3] + 1),
        )  # fmt: skip

    def _place_solver(self, qp: HPIPM) -> None:
        data, (given, outputs, structs, calls) = self._data, qp.foreign()
        self._kept.append((given, outputs, structs))
        data.given = len(given)
        for table, entries in ((data.set, given), (data.get, outputs)):
            for i, entry in enumerate(entries):
                table[i] = None if entry is None else ctypes.addressof(entry)
        data.qp, data.sol, data.argument, data.workspace = map(ctypes.addressof, structs)
        data.set_data, data.solve_program, data.get_solution, data.get_number = (
            ctypes.cast(call, ctypes.c_void_p).value for call in calls
        )

    def linearise(self, hessian: Hessian) -> bool:
        """Writes the quadratic program; returns whether it is convex."""
        return bool(self._linearise(self._at, self._kinds[hessian]))

    def residual(self) -> float:
        return float(self._residual(self._at))

    def feedback(self, x: np.ndarray) -> int:
        """Solves the quadratic program; returns the status of HPIPM."""
        self._x[:] = x
        return int(self._feedback(self._at, self._x_at))

    def is_finite(self) -> bool:
        """Whether all numbers of the step are."""
        return bool(self._is_finite(self._at))

    def move(self, length: float) -> None:
        self._move(self._at, ctypes.c_double(length))

    def search(self) -> float:
        return float(self._search(self._at))

    def set_limits(self, lower: np.ndarray, upper: np.ndarray, periods: np.ndarray) -> None:
        """Takes the bounds (m,) of the plant's inputs, and the periods (n,) of its states' signals."""
        self._data.controls = len(lower)
        _, _, _, low, high, of_state = self._law
        low[: len(lower)], high[: len(upper)], of_state[:] = lower, upper, periods

    def advance(self, x: np.ndarray, feedback: Feedback, limit: float) -> bool:
        """Shifts the point by one sample to one that begins in x (n,), extended by the feedback within the bounds;
        False where it is not finite or, relative to 1 + |x|, farther from x than the limit."""
        K, x_ref, u_ref = feedback
        gains, states, inputs, _, _, _ = self._law
        self._x[:], states[:] = x, x_ref
        gains[: K.size], inputs[: len(u_ref)] = K.ravel(), u_ref
        return bool(self._advance(self._at, self._x_at, ctypes.c_double(limit)))

    def real_time(self, hessian: Hessian, x: np.ndarray) -> int:
        """Linearises, solves and moves; returns the status of HPIPM, NOT_FINITE where there is no step, or NOT_CONVEX
        where it has only linearised."""
        self._x[:] = x
        return int(self._real_time(self._at, self._kinds[hessian], self._x_at))
