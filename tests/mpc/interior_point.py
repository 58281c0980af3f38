"""The interior-point method in C, compiled alone and called from Python, with an independent solver as the judge."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import clarabel
import numpy as np
import scipy.sparse as sp

from mpc.export.staged_interior_point import interior_point
from mpc.solvers.hpipm import HPIPM, StageSizes
from tests.exported import STRICT, compiler, run

STATUSES = ("SOLVED", "MAX_ITERATIONS", "INFEASIBLE", "NUMERICAL")


@cache
def _library(sizes: StageSizes) -> ctypes.CDLL:
    part = interior_point(sizes)
    lengths = {m.name: "" if m.count is None else f"[{max(m.count, 1)}]" for m in part.memory}
    members = "".join(f"    double {name}{length};\n" for name, length in lengths.items())
    constants = {**part.sizes, "STATES": sizes.states}
    text = "\n".join(
        [
            "#include <math.h>",
            f"typedef struct {{\n{members}}} Memory;",
            f"enum {{ {', '.join(f'{name} = {value}' for name, value in constants.items())} }};",
            f"enum {{ {', '.join(STATUSES)} }};",
            *part.sources,
            "int run(Memory *memory, int most, int *iterations);",
            "int run(Memory *memory, int most, int *iterations)",
            "{",
            "    return solve_program(memory, most, iterations);",
            "}",
            "",
        ]
    )
    folder = Path(mkdtemp())
    (folder / "solver.c").write_text(text)
    run(*compiler(), *STRICT, "-fPIC", "-shared", folder / "solver.c", "-o", folder / "solver.so", "-lm")
    return ctypes.CDLL(str(folder / "solver.so"))


class InteriorPoint:
    """The solver for programs of these sizes; its members by name in ``data``."""

    def __init__(self, sizes: StageSizes) -> None:
        self.sizes, self._library = sizes, _library(sizes)
        memory = interior_point(sizes).memory

        class Memory(ctypes.Structure):
            _fields_ = tuple((m.name, ctypes.c_double * max(m.count or 1, 1)) for m in memory)

        self._memory = Memory()
        self.data = {m.name: np.ctypeslib.as_array(getattr(self._memory, m.name)) for m in memory}
        self.iterations = 0

    def load(self, qp: HPIPM) -> None:
        """Takes the program in the arrays of HPIPM."""
        s, data = self.sizes, self.data
        N, n, m = s.horizon, s.states, s.inputs
        width = n + max(m, s.last_inputs)
        limits, rows = max(m + s.rows, s.last_inputs + s.last_rows, 1), max(s.rows, s.last_rows, 1)
        H, h = data["qp_H"].reshape(N + 1, width, width), data["qp_h"].reshape(N + 1, width)
        G = data["qp_G"].reshape(N + 1, rows, width)
        low, high = data["qp_low"].reshape(N + 1, limits), data["qp_high"].reshape(N + 1, limits)
        for k in range(N + 1):
            part, i = (qp.stages, k) if k < N else (qp.last, 0)
            v, g = part.r.shape[1], part.lower.shape[1]
            H[k, : v + n, : v + n] = np.block([[part.R[i], part.S[i].T], [part.S[i], part.Q[i]]])
            h[k, : v + n] = np.concatenate([part.r[i], part.q[i]])
            G[k, :g, : v + n] = np.hstack([part.D[i].T, part.C[i].T])
            low[k, : v + g] = np.concatenate([part.low[i], part.lower[i]])
            high[k, : v + g] = np.concatenate([part.high[i], part.upper[i]])
        data["qp_F"].reshape(N, n, m + n)[:] = np.concatenate([qp.B, qp.A], axis=1).transpose(0, 2, 1)
        data["qp_b"].reshape(N, n)[:] = qp.b

    def solve(self, most: int = 50) -> str:
        count = ctypes.c_int()
        status = self._library.run(ctypes.byref(self._memory), most, ctypes.byref(count))
        self.iterations = count.value
        return STATUSES[status]

    @property
    def z(self) -> np.ndarray:
        """The solution as one vector, see :func:`stacked`."""
        s = self.sizes
        z = self.data["qp_z"].reshape(s.horizon + 1, -1)
        return np.concatenate([*z[:-1, : s.inputs + s.states], z[-1, : s.last_inputs + s.states]], axis=None)


class Stacked:
    """The program in the arrays of HPIPM as one: min z'H z / 2 + h'z, A z = b, low <= G z <= high, over all (v, x)."""

    def __init__(self, qp: HPIPM) -> None:
        s = qp.sizes
        N, n = s.horizon, s.states
        counts = [s.inputs + n] * N + [s.last_inputs + n]
        begins = np.concatenate([[0], np.cumsum(counts)])
        H, h, G, low, high = [], [], [], [], []
        A, b = np.zeros(((N + 1) * n, begins[-1])), np.zeros((N + 1) * n)
        A[:n, s.inputs : s.inputs + n] = np.eye(n)
        for k in range(N + 1):
            part, i = (qp.stages, k) if k < N else (qp.last, 0)
            v = part.r.shape[1]
            H.append(np.block([[part.R[i], part.S[i].T], [part.S[i], part.Q[i]]]))
            h += [part.r[i], part.q[i]]
            G.append(np.vstack([np.eye(v, v + n), np.hstack([part.D[i].T, part.C[i].T])]))
            low += [part.low[i], part.lower[i]]
            high += [part.high[i], part.upper[i]]
            if k < N:
                rows = slice((k + 1) * n, (k + 2) * n)
                A[rows, begins[k] : begins[k + 1]] = np.hstack([qp.B[k].T, qp.A[k].T])
                A[rows, begins[k + 2] - n : begins[k + 2]] = -np.eye(n)
                b[rows] = -qp.b[k]
        self.H, self.G = sp.block_diag(H, "csc"), sp.block_diag(G, "csc")
        self.h, self.A, self.b = np.concatenate(h), sp.csc_matrix(A), b
        self.low, self.high = np.concatenate(low), np.concatenate(high)

    def value(self, z: np.ndarray) -> float:
        return float(0.5 * z @ (self.H @ z) + self.h @ z)

    def violation(self, z: np.ndarray) -> float:
        g = self.G @ z
        return float(max(np.abs(self.A @ z - self.b).max(), (self.low - g).max(), (g - self.high).max(), 0.0))

    def judged(self, compliance: float = 0.0) -> tuple[str, np.ndarray]:
        """Status and solution of Clarabel; with a compliance, limits may be exceeded by e at the cost e^2 / (2 c)."""
        above, below = np.isfinite(self.high), np.isfinite(self.low)
        rows = sp.vstack([self.G[above], -self.G[below]])
        bounds = np.concatenate([self.high[above], -self.low[below]])
        unit = np.abs(self.h).max()  # Clarabel's accuracy depends on the unit of the cost
        H, h, A = sp.triu(self.H) / unit, self.h / unit, self.A
        count = len(bounds)
        if compliance:
            H = sp.block_diag([H, sp.identity(count) / (compliance * unit)])
            h, A = np.concatenate([h, np.zeros(count)]), sp.hstack([A, sp.csc_matrix((A.shape[0], count))])
            rows = sp.hstack([rows, -sp.identity(count)])
        settings = clarabel.DefaultSettings()
        settings.verbose, settings.max_iter = False, 200
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-11
        cones = [clarabel.ZeroConeT(len(self.b)), clarabel.NonnegativeConeT(count)]
        solution = clarabel.DefaultSolver(
            H.tocsc(), h, sp.vstack([A, rows]).tocsc(), np.concatenate([self.b, bounds]), cones, settings
        ).solve()
        return str(solution.status), np.array(solution.x)[: self.H.shape[0]]
