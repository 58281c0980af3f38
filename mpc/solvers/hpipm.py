"""HPIPM (Frison & Diehl, 2020) for quadratic programs with the stages of optimal control, called in place.

The library inside CasADi's wheel is used through ctypes, or that of an installed acados. All data and results lie in
arrays of this object, so a solve is a few foreign calls, each of which releases the interpreter lock, and allocates
nothing.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np

from ctrl.controller import Status
from mpc.solvers.hpipm_acados import ACADOS_SIZES, HPIPMMissing, acados_library, expect_sizes

__all__ = [
    "FREE",
    "HPIPM",
    "HPIPMMissing",
    "Mode",
    "Origin",
    "StageData",
    "StageSizes",
    "library",
    "status_of",
    "views",
]

Mode = Literal["speed_abs", "speed", "balance", "robust"]
"""HPIPM's trade between speed and robustness; `speed_abs` is the fastest and stops the earliest."""

Origin = Literal["casadi", "acados"]
"""Origin of HPIPM: CasADi's wheel, or an installed acados, which is built for the processor."""

_MODES = {"speed_abs": 0, "speed": 1, "balance": 2, "robust": 3}
_STATUS = {
    0: Status.SOLVED,
    1: Status.MAX_ITERATIONS,
    2: Status.NUMERICAL,
    3: Status.NUMERICAL,
    4: Status.INFEASIBLE,
}
# Sizes in bytes of the structs of the supported version: a call with another layout would crash the process.
_SIZES = {"qp_dim": 96, "qp": 120, "qp_sol": 56, "qp_ipm_arg": 192, "qp_ipm_ws": 296}
FREE = 1e30  # stands for an infinite bound: masked bounds are multiplied by 0, and must be finite
_NONE = 1e20  # bounds beyond this are masked
_ALIGNED = 64  # bytes, as BLASFEO's kernels want it


@functools.cache
def library() -> ctypes.CDLL:
    """The HPIPM of CasADi's wheel.

    Raises:
        HPIPMMissing: there is none, or it is of a version with another interface.
    """
    import casadi

    name = {"win32": "libhpipm.dll", "darwin": "libhpipm.dylib"}.get(sys.platform, "libhpipm.so")
    path = Path(casadi.__file__).parent / name
    try:
        opened = ctypes.CDLL(str(path))
        expect_sizes(opened, _SIZES, str(path))
    except (OSError, AttributeError) as error:
        raise HPIPMMissing(
            f"CasADi {casadi.CasadiMeta.version()} brings no HPIPM that can be called: {error}"
        ) from error
    return opened


@final
@dataclass(frozen=True)
class StageSizes:
    """Sizes of a program of N stages and a last one.

    Args:
        horizon: N, at least 1. states: n, of every stage.
        inputs, rows: of the stages before the last. last_inputs, last_rows: of the last.
    """

    horizon: int
    states: int
    inputs: int
    rows: int
    last_inputs: int = 0
    last_rows: int = 0

    @property
    def variables(self) -> int:
        """Number of states and inputs of all stages."""
        return (self.horizon + 1) * self.states + self.horizon * self.inputs + self.last_inputs

    @property
    def bounded(self) -> int:
        """Number of inputs and rows of all stages."""
        return self.horizon * (self.inputs + self.rows) + self.last_inputs + self.last_rows


class StageData:
    """Arrays of K stages with n states, m inputs and g rows, stage in front; matrices are stored by columns.

    Attributes:
        Q (K, n, n), S (K, n, m), R (K, m, m), q (K, n), r (K, m): of the cost; ``S[k]`` holds the transpose of S_k.
        C (K, n, g), D (K, m, g), lower (K, g), upper (K, g): rows lower <= C x + D u <= upper, C and D transposed.
        low, high (K, m): bounds of the inputs.
        x (K, n), u (K, m): the solution. lam_low, lam_high (K, m), lam_lower, lam_upper (K, g): its multipliers.
    """

    q: np.ndarray
    r: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    low: np.ndarray
    high: np.ndarray
    x: np.ndarray
    u: np.ndarray
    lam_low: np.ndarray
    lam_high: np.ndarray
    lam_lower: np.ndarray
    lam_upper: np.ndarray

    def __init__(self, K: int, n: int, m: int, g: int) -> None:
        self.Q, self.S, self.R = np.zeros((K, n, n)), np.zeros((K, n, m)), np.zeros((K, m, m))
        self.C, self.D = np.zeros((K, n, g)), np.zeros((K, m, g))


def views(sizes: StageSizes, block: np.ndarray, of: Literal["variables", "bounded"]) -> tuple[np.ndarray, ...]:
    """Parts of a block of numbers, as arrays by stages.

    Args:
        of: ``variables`` for x (N + 1, n), u (N, m) and u_N (1, m_N); ``bounded`` for u, u_N and the rows, (N, g) and
            (1, g_N).
    """
    N, n, m, g = sizes.horizon, sizes.states, sizes.inputs, sizes.rows
    inputs = [(N, m), (1, sizes.last_inputs)]
    shapes = [(N + 1, n), *inputs] if of == "variables" else [*inputs, (N, g), (1, sizes.last_rows)]
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    return tuple(
        part.reshape(shape) for part, shape in zip(np.split(block[: ends[-1]], ends[:-1]), shapes, strict=True)
    )


@final
class HPIPM:
    """min sum_k [x; u]'[Q S'; S R][x; u] / 2 + q'x + r'u over x_{k+1} = A x + B u + b, lower <= C x + D u <= upper and
    low <= u <= high, with x_0 = 0. Bounds beyond 1e20 are none.

    Args:
        sizes: of all stages. mode: see :data:`Mode`. max_iterations: of the interior-point method.
        tolerance: of all residuals. origin: see :data:`Origin`.

    Attributes:
        stages, last: data and results of the stages before the last, and of the last.
        gradient, step: (variables,), all q and r and all x and u as one block; see :func:`views`.
        lower, upper, lam_lower, lam_upper: (bounded,), all bounds and their multipliers as one block each.
        A (N, n, n), B (N, m, n): transposes of A_k, B_k. b (N, n). pi (N, n): multipliers of the dynamics.

    Raises:
        HPIPMMissing, AcadosMissing: see :func:`library` and :func:`mpc.solvers.hpipm_acados.acados_library`.
    """

    def __init__(
        self,
        sizes: StageSizes,
        mode: Mode = "balance",
        max_iterations: int = 50,
        tolerance: float = 1e-8,
        origin: Origin = "casadi",
    ) -> None:
        self.sizes, self.origin, self.tolerance = sizes, origin, 0.0
        self._library = acados_library() if origin == "acados" else library()
        N, n, m = sizes.horizon, sizes.states, sizes.inputs
        self.stages = StageData(N, n, m, sizes.rows)
        self.last = StageData(1, n, sizes.last_inputs, sizes.last_rows)
        self.A, self.B = np.zeros((N, n, n)), np.zeros((N, m, n))
        self.b, self.pi = np.zeros((N, n)), np.zeros((N, n))
        self.gradient, self.step = np.zeros(sizes.variables), np.zeros(sizes.variables)
        self.lower, self.upper, self.lam_lower, self.lam_upper, *masks = (np.zeros(sizes.bounded) for _ in range(6))
        s, last = self.stages, self.last
        for block, of_x, of_u in ((self.gradient, "q", "r"), (self.step, "x", "u")):
            x, u, u_last = views(sizes, block, "variables")
            for part, names in ((s, (x[:-1], u)), (last, (x[-1:], u_last))):
                for name, view in zip((of_x, of_u), names, strict=True):
                    setattr(part, name, view)
        for block, of_u, of_row in (
            (self.lower, "low", "lower"), (self.upper, "high", "upper"),
            (self.lam_lower, "lam_low", "lam_lower"), (self.lam_upper, "lam_high", "lam_upper"),
        ):  # fmt: skip
            u, u_last, rows, rows_last = views(sizes, block, "bounded")
            for part, names in ((s, (u, rows)), (last, (u_last, rows_last))):
                for name, view in zip((of_u, of_row), names, strict=True):
                    setattr(part, name, view)
        self._masks = [(mask, views(sizes, mask, "bounded")) for mask in masks]
        self._order = np.arange(max(m, sizes.last_inputs), dtype=np.intc)
        self._create(mode, max_iterations, tolerance)
        none, index = (ctypes.c_void_p * (N + 1))(), (ctypes.c_void_p * (N + 1))(*([self._order.ctypes.data] * (N + 1)))
        of = self._table
        A, B, b, pi = (_addresses(N, a) for a in (self.A, self.B, self.b, self.pi))
        reverse = () if origin == "acados" else (None,)
        self._set = (
            A, B, b, of("Q"), of("S"), of("R"), of("q"), of("r"), none, none, none, index, of("low"), of("high"),
            of("C"), of("D"), of("lower"), of("upper"), none, none, none, none, index, *reverse, none, none, self._qp,
        )  # fmt: skip
        self._get = (
            self._sol, of("u"), of("x"), none, none, pi, of("lam_low"), of("lam_high"), of("lam_lower"),
            of("lam_upper"), none, none,
        )  # fmt: skip

    def foreign(self) -> tuple[tuple, tuple, tuple, tuple]:
        """Arguments and functions of a solve: the arguments that set and get all, the structs of the program, solution,
        options and workspace, and the functions that set all, solve, get all and get a number."""
        call = self._library
        return (
            self._set,
            self._get,
            (self._qp, self._sol, self._arg, self._workspace),
            (call.d_ocp_qp_set_all, call.d_ocp_qp_ipm_solve, call.d_ocp_qp_sol_get_all, call.d_ocp_qp_ipm_get),
        )

    def _table(self, name: str) -> ctypes.Array:
        """Addresses of an array's stages."""
        return _addresses(self.sizes.horizon, getattr(self.stages, name), getattr(self.last, name))

    def _create(self, mode: Mode, max_iterations: int, tolerance: float) -> None:
        """Allocates the structs of HPIPM in buffers of this object."""
        call, s = self._library, self.sizes
        structs, kinds = (ACADOS_SIZES, 3) if self.origin == "acados" else (_SIZES, 1)  # kinds: of soft bounds
        self._memory: list[ctypes.Array] = []

        def created(name: str, *arguments: object) -> ctypes.Array:
            size = getattr(call, f"d_ocp_{name}_memsize")
            size.restype = ctypes.c_size_t
            struct, memory = self._aligned(structs[name]), self._aligned(size(*arguments))
            getattr(call, f"d_ocp_{name}_create")(*arguments, struct, memory)
            return struct

        def sizes(stage: int, last: int, first: int | None = None) -> ctypes.Array:
            values = [stage if first is None else first, *[stage] * (s.horizon - 1), last]
            return (ctypes.c_int * (s.horizon + 1))(*values)

        dim = created("qp_dim", s.horizon)
        inputs, zero = sizes(s.inputs, s.last_inputs), sizes(0, 0)
        states, rows = sizes(s.states, s.states, first=0), sizes(s.rows, s.last_rows)
        call.d_ocp_qp_dim_set_all(states, inputs, zero, inputs, rows, *[zero] * kinds, dim)
        self._qp, self._sol, self._arg = created("qp", dim), created("qp_sol", dim), created("qp_ipm_arg", dim)
        call.d_ocp_qp_ipm_arg_set_default(_MODES[mode], self._arg)
        call.d_ocp_qp_ipm_arg_set(b"iter_max", ctypes.byref(ctypes.c_int(max_iterations)), self._arg)
        self.set_tolerance(tolerance)
        self._workspace = created("qp_ipm_ws", dim, self._arg)
        self._number = ctypes.c_int()

    def _aligned(self, size: int) -> ctypes.Array:
        memory = (ctypes.c_char * (size + _ALIGNED))()
        self._memory.append(memory)
        return (ctypes.c_char * size).from_buffer(memory, -ctypes.addressof(memory) % _ALIGNED)

    def set_tolerance(self, tolerance: float) -> None:
        """Solves to this tolerance of all residuals from now on."""
        if tolerance != self.tolerance:
            self.tolerance = tolerance
            for name in (b"tol_stat", b"tol_eq", b"tol_ineq", b"tol_comp"):
                self._library.d_ocp_qp_ipm_arg_set(name, ctypes.byref(ctypes.c_double(tolerance)), self._arg)

    def set_bounds(self) -> None:
        """To be called when it has changed which bounds there are: the others are masked, and made finite."""
        for bounds, (mask, parts), fields in (
            (self.lower, self._masks[0], (b"lbu_mask", b"lg_mask")),
            (self.upper, self._masks[1], (b"ubu_mask", b"ug_mask")),
        ):
            np.clip(bounds, -FREE, FREE, out=bounds)
            mask[:] = np.abs(bounds) < _NONE
            for stages, last, field in ((parts[0], parts[1], fields[0]), (parts[2], parts[3], fields[1])):
                for k, part in enumerate([*stages, *last]):
                    if len(part):
                        self._library.d_ocp_qp_set(field, k, ctypes.c_void_p(part.ctypes.data), self._qp)

    @property
    def iterations(self) -> int:
        """Of the last solve."""
        self._library.d_ocp_qp_ipm_get(b"iter", self._workspace, ctypes.byref(self._number))
        return self._number.value

    def solve(self) -> Status:
        """Solves the program in the arrays; its solution lies in them afterwards. Every bound must be finite."""
        call = self._library
        call.d_ocp_qp_set_all(*self._set)
        call.d_ocp_qp_ipm_solve(self._qp, self._sol, self._arg, self._workspace)
        call.d_ocp_qp_sol_get_all(*self._get)
        call.d_ocp_qp_ipm_get(b"status", self._workspace, ctypes.byref(self._number))
        return status_of(self._number.value)


def status_of(number: int) -> Status:
    """The status for HPIPM's."""
    return _STATUS.get(number, Status.NUMERICAL)


def _addresses(horizon: int, stages: np.ndarray, last: np.ndarray | None = None) -> ctypes.Array:
    """Addresses of the stages of an array, and of the last one."""
    table = [stages.ctypes.data + k * stages.strides[0] for k in range(horizon)]
    return (ctypes.c_void_p * (horizon + 1))(*table, None if last is None else last.ctypes.data)
