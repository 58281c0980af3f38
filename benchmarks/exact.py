"""The solution of a cone program to some 10 digits, by slow arithmetic: what the errors of the fast solvers are
measured against.

Double precision cannot serve: where a harmonic cone sits at its apex, solvers that stop at 1e-12 still differ by 1e-5.
Nothing of the solvers that are judged is used, neither their condensing nor their scaling. Needs python-flint.
"""

from __future__ import annotations

import numpy as np
from flint import arb, arb_mat, ctx
from scipy import linalg

from mpc.harmonic.conic_program import ConicProgram

__all__ = ["ExactSolver"]

BITS = 1024
GAP = 1e-18  # absolute, in the unit of the objective; it bounds half the squared error, measured by the objective


def _matrix(a: np.ndarray) -> arb_mat:
    return arb_mat([[float(value) for value in row] for row in np.atleast_2d(a)])


def _column(a: np.ndarray) -> arb_mat:
    return arb_mat([[float(value)] for value in a])


def _dot(a: list[arb], b: list[arb]) -> arb:
    return sum((x * y for x, y in zip(a, b, strict=True)), arb(0))


class ExactSolver:
    """min |S z - T p - t|^2 under its constraints, by the plainest primal-dual path following in 1024 bits.

    Equalities are eliminated by solving for a well conditioned choice of variables.
    """

    def __init__(self, program: ConicProgram) -> None:
        ctx.prec = BITS
        self.program = program
        equalities, d = program.G.shape
        order = linalg.qr(program.G, pivoting=True, mode="r")[1]
        basic, free = np.sort(order[:equalities]), np.sort(order[equalities:])
        self._inverse = _matrix(program.G[:, basic]).solve(_matrix(np.eye(equalities))).mid()
        # z = N y + what the equalities demand of the basic variables
        eliminated = (-(self._inverse * _matrix(program.G[:, free]))).mid()
        k = len(free)
        rows: dict[int, list[arb]] = {int(at): [eliminated[i, j] for j in range(k)] for i, at in enumerate(basic)}
        rows |= {int(at): [arb(int(i == j)) for j in range(k)] for i, at in enumerate(free)}
        self._N = arb_mat([rows[i] for i in range(d)])
        self._basic = basic
        self._S = _matrix(program.S)
        SN = (self._S * self._N).mid()
        self._gradient, self._hessian = (2 * SN.transpose()).mid(), (2 * SN.transpose() * SN).mid()
        upper, lower = np.flatnonzero(np.isfinite(program.upper)), np.flatnonzero(np.isfinite(program.lower))
        blocks, right = [program.C[upper], -program.C[lower]], [program.upper[upper], -program.lower[lower]]
        self._boxed = len(upper) + len(lower)
        for bound, sign in ((program.high, 1.0), (program.low, -1.0)):
            for i in np.flatnonzero(np.isfinite(bound)):
                e, s, c = program.D[3 * i : 3 * i + 3]
                blocks.append(np.array([sign * e, -s, -c]))
                right.append(np.array([sign * bound[i], 0.0, 0.0]))
        self._rows, self._right = _matrix(np.vstack(blocks)), _column(np.concatenate(right))
        self._K = (self._rows * self._N).mid()

    def solve(self, parameter: np.ndarray) -> np.ndarray:
        """The optimum z (d,), rounded to doubles.

        Raises:
            ArithmeticError: it was not found; no point is feasible.
        """
        ctx.prec = BITS
        program, K, H = self.program, self._K, self._hessian
        p = _column(parameter)
        demanded = self._inverse * (_matrix(program.B) * p + _column(program.b))
        fixed = arb_mat(len(program.S[0]), 1)
        for i, at in enumerate(self._basic):
            fixed[int(at), 0] = demanded[i, 0]
        q = (self._gradient * (self._S * fixed - _matrix(program.T) * p - _column(program.t))).mid()
        h = (self._right - self._rows * fixed).mid()
        y = H.solve(-q).mid()
        slack = (h - K * y).mid()
        s = self._inside([slack[i, 0] for i in range(slack.nrows())])
        z = self._inside([arb(0)] * len(s))
        degree = self._boxed + (len(s) - self._boxed) // 3
        centring = 0.5
        for _ in range(200):
            mu = _dot(s, z) / degree
            dual = (H * y + q + K.transpose() * arb_mat([[a] for a in z])).mid()
            primal = (K * y + arb_mat([[a] for a in s]) - h).mid()
            worst = max(float(abs(a)) for a in primal.entries() + dual.entries())
            if float(mu) * degree < GAP and worst < GAP:
                point = self._N * y + fixed
                return np.array([float(point[i, 0]) for i in range(point.nrows())])
            square, towards = self._scaled(s, z, (mu * centring).mid())
            weighted = (square * K).mid()
            aim = -dual - K.transpose() * (arb_mat([[a] for a in towards]) + square * primal)
            dy = (H + K.transpose() * weighted).mid().solve(aim.mid()).mid()
            ds = (-primal - K * dy).mid()
            dz = (arb_mat([[a] for a in towards]) - square * ds).mid()
            step = arb(1)
            while not (self._interior(s, ds, step) and self._interior(z, dz, step)):
                step = (step * 0.8).mid()
                if float(step) < 1e-12:
                    raise ArithmeticError("no point is feasible")
            # Steps that were cut short come from points too near the boundary.
            centring = min(0.9, max(0.05, (1.0 - float(step)) ** 2))
            step = (step * 0.95).mid() if float(step) < 1 else step
            y = (y + step * dy).mid()
            s = [(a + step * ds[i, 0]).mid() for i, a in enumerate(s)]
            z = [(a + step * dz[i, 0]).mid() for i, a in enumerate(z)]
        raise ArithmeticError("no solution after 200 iterations")

    def _inside(self, s: list[arb]) -> list[arb]:
        """Lifted by so much that every row and cone has room 1."""
        inside = [max(a, arb(1)) for a in s[: self._boxed]]
        for i in range(self._boxed, len(s), 3):
            norm = (s[i + 1] * s[i + 1] + s[i + 2] * s[i + 2]).sqrt().mid()
            inside += [max(s[i], norm + 1), s[i + 1], s[i + 2]]
        return inside

    def _interior(self, s: list[arb], ds: arb_mat, step: arb) -> bool:
        moved = [a + step * ds[i, 0] for i, a in enumerate(s)]
        cones = ((moved[i], moved[i + 1], moved[i + 2]) for i in range(self._boxed, len(s), 3))
        return all(a > 0 for a in moved[: self._boxed]) and all(t > 0 and t * t > a * a + b * b for t, a, b in cones)

    def _scaled(self, s: list[arb], z: list[arb], centre: arb) -> tuple[arb_mat, list[arb]]:
        """W^-2 of Nesterov & Todd (1997), and centre s^-1 - z; dz + W^-2 ds has to equal the latter."""
        square, towards = arb_mat(len(s), len(s)), []
        for i in range(self._boxed):
            square[i, i] = (z[i] / s[i]).mid()
            towards.append((centre / s[i] - z[i]).mid())
        for i in range(self._boxed, len(s), 3):
            a, b = s[i : i + 3], z[i : i + 3]
            flipped_a, flipped_b = [a[0], -a[1], -a[2]], [b[0], -b[1], -b[2]]
            det_a, det_b = _dot(a, flipped_a), _dot(b, flipped_b)
            root_a, root_b = det_a.sqrt(), det_b.sqrt()
            gamma = ((1 + _dot(a, b) / (root_a * root_b)) / 2).sqrt()
            # The scaling point w, with W^-2 = (2 Jw (Jw)' - J) det(z)^1/2 / det(s)^1/2.
            w = [(p / root_a + r / root_b) / (2 * gamma) for p, r in zip(a, flipped_b, strict=True)]
            turned = [w[0], -w[1], -w[2]]
            for j in range(3):
                for k in range(3):
                    sign = 0 if j != k else (1 if j == 0 else -1)
                    square[i + j, i + k] = ((2 * turned[j] * turned[k] - sign) * root_b / root_a).mid()
            towards += [(centre * p / det_a - r).mid() for p, r in zip(flipped_a, b, strict=True)]
        return square, towards
