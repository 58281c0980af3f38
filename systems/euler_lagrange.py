"""Equations of Lagrangian mechanics, derived from mass matrix and potential."""

from __future__ import annotations

import casadi as ca

__all__ = ["accelerations", "kinetic_energy", "solve_positive_definite"]


def kinetic_energy(mass: ca.SX, v: ca.SX) -> ca.SX:
    """1/2 v'M v, for a mass matrix M (n, n) and rates v (n, 1)."""
    return 0.5 * ca.bilin(mass, v, v)


def accelerations(q: ca.SX, v: ca.SX, mass: ca.SX, potential: ca.SX, force: ca.SX) -> ca.SX:
    """The accelerations (n, 1) of L(q, v) = 1/2 v'M(q) v - V(q) under generalised forces.

    d/dt (M v) = dL/dq + force, solved for v': M v' = force + dL/dq - (dM/dt) v. Differentiating the energies keeps what
    their structure implies, whatever M > 0 and V are: the power that enters 1/2 v'M v + V is force'v, exactly.

    Args:
        q: coordinates, (n, 1), symbols.
        v: their rates, (n, 1), symbols.
        mass: M(q), (n, n), symmetric and positive definite.
        potential: V(q), (1, 1).
        force: generalised forces, (n, 1), of anything.
    """
    momentum = mass @ v
    of_configuration = ca.gradient(kinetic_energy(mass, v) - potential, q)
    return solve_positive_definite(mass, force + of_configuration - ca.jtimes(momentum, q, v))


def solve_positive_definite(matrix: ca.SX, right: ca.SX) -> ca.SX:
    """The solution (n, 1) of a positive definite system, by L D L' without pivoting or roots."""
    n = matrix.shape[0]
    lower = [[ca.SX(0)] * n for _ in range(n)]  # L, and D on its diagonal
    for j in range(n):
        for i in range(j, n):
            entry = matrix[i, j] - sum((lower[i][k] * lower[k][k] * lower[j][k] for k in range(j)), ca.SX(0))
            lower[i][j] = entry if i == j else entry / lower[j][j]
    x = [right[i] for i in range(n)]
    for i in range(n):
        x[i] = x[i] - sum((lower[i][k] * x[k] for k in range(i)), ca.SX(0))
    for i in reversed(range(n)):
        x[i] = x[i] / lower[i][i] - sum((lower[k][i] * x[k] for k in range(i + 1, n)), ca.SX(0))
    return ca.vertcat(*x)
