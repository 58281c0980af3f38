"""Constraint generation: the optimum of a program with many cones by programs with few of them."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import clarabel
import numpy as np
import scipy.sparse as sp

from ctrl.controller import Status
from mpc.reduction.program import SampleProgram
from mpc.solvers.clarabel_socp import STATUS

__all__ = ["Optimum", "solve_by_generation", "solve_with"]

TOLERANCE = 1e-6  # violation of a cone, in units of the keep-out sets' half axes, below which it counts as satisfied
_ACTIVE = 1e-5  # dual, relative to the gradient of the objective, above which a cone counts as active


@dataclass(frozen=True, eq=False)
class Optimum:
    """The result of a program.

    Args:
        status: of the solver.
        z: (d,), of no meaning unless the status is SOLVED.
        active: numbers of the cones with a dual above zero.
        imposed: numbers of the cones in the last program.
        rounds: programs that were solved.
        iterations: of the solver, all rounds together.
        residual: largest residual of the last program.
    """

    status: Status
    z: np.ndarray
    active: np.ndarray
    imposed: np.ndarray
    rounds: int
    iterations: int
    residual: float


def solve_with(program: SampleProgram, numbers: np.ndarray, max_iterations: int, time_limit: float) -> Optimum:
    """The optimum under some of the cones, by Clarabel's interior-point method (Goulart & Chen, 2024).

    Args:
        program: of one sample.
        numbers: of the cones.
        max_iterations: of the solver.
        time_limit: seconds.
    """
    cones = program.cones(numbers)
    A = sp.csc_matrix(sp.vstack([program.C, cones.matrix]))
    b = np.concatenate([program.d, cones.right])
    kinds = [clarabel.NonnegativeConeT(len(program.d)), *(clarabel.SecondOrderConeT(size) for size in cones.sizes)]
    settings = clarabel.DefaultSettings()
    settings.verbose, settings.max_iter, settings.presolve_enable = False, max_iterations, False
    settings.time_limit = max(time_limit, 1e-3)
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-8
    solution = clarabel.DefaultSolver(sp.triu(program.P, format="csc"), program.q, A, b, kinds, settings).solve()
    z = np.array(solution.x)
    status = STATUS.get(str(solution.status), Status.NUMERICAL)
    if status is Status.SOLVED and not np.isfinite(z).all():
        status = Status.NUMERICAL
    starts = len(program.d) + np.concatenate([[0], np.cumsum(cones.sizes[:-1])]).astype(int)
    duals = np.array(solution.z)[starts] if len(numbers) else np.zeros(0)
    active = numbers[duals > _ACTIVE * max(1.0, float(np.abs(program.q).max(initial=0.0)))]
    residual = float(max(solution.r_prim, solution.r_dual))
    return Optimum(status, z, active, numbers, 1, int(solution.iterations), residual)


def solve_by_generation(
    program: SampleProgram, predicted: np.ndarray, max_iterations: int = 100, time_limit: float = np.inf
) -> Optimum:
    """The optimum under all cones: solves with the predicted ones, adds those that the result violates, and repeats.

    A program with fewer cones has a lower or equal optimum, so a result that violates none of the others is the optimum
    of the full program, and one without a solution shows that the full program has none. At least one cone is added per
    round, so it ends after finitely many. Of the cones that differ in the joint mode only, the most violated one is
    added.

    Args:
        program: of one sample.
        predicted: numbers of cones that are expected to be active; others do not change the result.
        max_iterations: of the solver, in each round.
        time_limit: seconds, of all rounds together.
    """
    began = perf_counter()
    numbers = np.unique(predicted[program.kept[predicted]])
    shape = len(program.model.keep_out), len(program.joint), program.horizon
    rounds = iterations = 0
    while True:
        left = time_limit - (perf_counter() - began)
        if left <= 0:
            return Optimum(Status.TIMEOUT, np.zeros(program.size), numbers[:0], numbers, rounds, iterations, np.inf)
        optimum = solve_with(program, numbers, max_iterations, left)
        rounds, iterations = rounds + 1, iterations + optimum.iterations
        violated = optimum.status is Status.SOLVED and len(numbers) < len(program.every)
        if violated:
            excess = program.violations(optimum.z)
            excess[numbers] = -np.inf  # imposed ones are satisfied to the solver's tolerance
            by_place = excess.reshape(shape)
            worst = by_place.argmax(axis=1)
            i, t = np.nonzero(np.take_along_axis(by_place, worst[:, None], axis=1)[:, 0] > TOLERANCE)
            added = np.ravel_multi_index((i, worst[i, t], t), shape)
            violated = len(added) > 0
            numbers = np.union1d(numbers, added)
        if not violated:
            return Optimum(
                optimum.status, optimum.z, optimum.active, optimum.imposed, rounds, iterations, optimum.residual
            )
