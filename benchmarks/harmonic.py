"""How fast is a control step of harmonic MPC against CVXPY (DPP) with Clarabel, and against Clarabel called directly?

    python -m benchmarks.harmonic

Three runs of 200 steps each: oscillating masses to a set-point; the same with a new set-point every 20 steps, partly
inadmissible; one axis of the ball and plate to 1.8 m. Every solver gets the same states and references. No solver sees
an infinite bound. The time of a step is the least of several repetitions, whole calls from Python included; the table
shows median and 99th percentile over the steps. Ratios are of medians on the first run, smaller is better. CVXPY is
given the problem twice: stage by stage, as one writes it (``ratio_to_cvxpy``), and as few large matrices. Errors are
against a solution in 300 digits (:mod:`benchmarks.exact`, which takes two minutes). Then: how the step grows with
horizon and states, beside Clarabel called directly.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import cvxpy as cp
import numpy as np

from benchmarks.exact import ExactSolver
from ctrl.controller import Status
from mpc import HarmonicMPC
from mpc.harmonic.artificial_reference import tracking_model
from mpc.harmonic.conic_program import ConicProgram
from mpc.solvers.clarabel_socp import ClarabelSolver
from systems import Box, Fixed, LinearPlant, Quadratic, SetPoint, Task, exact
from systems.library import ball_and_plate_axis, oscillating_masses

STEPS = 200


@dataclass(frozen=True, eq=False)
class Run:
    """A controller and the states (steps, n) and references it met; ``parameters`` are what the back-ends get."""

    name: str
    controller: HarmonicMPC
    states: np.ndarray
    references: list[SetPoint]
    parameters: np.ndarray
    unsolved: int


def masses() -> Task:
    """Three oscillating masses; their bound of 1000 m/s is no bound, and is dropped for everybody."""
    task = oscillating_masses()
    return dataclasses.replace(task, constraints=tuple(c for c in task.constraints if c.name == "positions"))


def masses_controller() -> HarmonicMPC:
    return HarmonicMPC(masses(), 10, 3 * 1.627 * 0.2)


def axis_controller() -> HarmonicMPC:
    weights = [600.0, 50.0, 50.0, 50.0]
    return HarmonicMPC(ball_and_plate_axis(), 5, 0.3254, Te=weights, Th=weights, Se=[0.3], Sh=[0.15])


def closed_loop(name: str, controller: HarmonicMPC, every: int | None = None, seed: int = 0) -> Run:
    """Steps the sampled plant; ``every`` so many steps comes a new set-point, drawn by its input within +-0.9."""
    task = controller.task
    plant = exact(task.plant, task.dt)
    n, m = plant.B.shape
    rng, x = np.random.default_rng(seed), task.initial.mean(task.plant.state)
    reference = task.reference
    assert isinstance(reference, SetPoint)
    states, references, parameters, unsolved = [], [], [], 0
    for k in range(STEPS):
        if every and k % every == 0:
            u = rng.uniform(-0.9, 0.9, m)
            reference = SetPoint(np.linalg.solve(np.eye(n) - plant.A, plant.B @ u), u)
            controller.follow(reference)
        wanted = np.concatenate([*reference.at(task.plant, k), np.zeros(2 * (n + m))])
        states.append(x)
        references.append(reference)
        parameters.append(np.concatenate([x, wanted]))
        decision = controller.step(x, k)
        unsolved += decision.status is not Status.SOLVED
        x = plant.A @ x + plant.B @ decision.input
    return Run(name, controller, np.array(states), references, np.array(parameters), unsolved)


def least(call: Callable[[], object], repetitions: int) -> float:
    """Shortest of so many calls, in microseconds."""
    best = np.inf
    for _ in range(repetitions):
        began = perf_counter()
        call()
        best = min(best, perf_counter() - began)
    return 1e6 * best


def time_controller(run: Run, solver: HarmonicMPC, turns: int, repetitions: int) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds (steps,) and inputs (steps, m) of whole ``step`` calls, each repeated at once, and the run in turns;
    a solver that starts from its last answer must not see a sample twice."""
    times, inputs = np.full(STEPS, np.inf), np.zeros((STEPS, len(solver.task.plant.input)))
    for _ in range(turns):
        solver.reset()
        for k, (x, reference) in enumerate(zip(run.states, run.references, strict=True)):
            if k == 0 or reference is not run.references[k - 1]:
                solver.follow(reference)

            def step(x: np.ndarray = x, k: int = k) -> None:
                inputs[k] = solver.step(x, k).input

            times[k] = min(times[k], least(step, repetitions))
    return times, inputs


def cvxpy_problem(program: ConicProgram) -> tuple[cp.Problem, cp.Parameter, cp.Variable]:
    """The program in CVXPY, parametrised by the rules of DPP; the measured state is substituted."""
    n, first = program.state_at.shape[1], program.state_at[0]
    rest = np.setdiff1d(np.arange(program.S.shape[1]), first)
    z, p = cp.Variable(len(rest)), cp.Parameter(program.T.shape[1])
    x = p[:n]

    def rows(matrix: np.ndarray) -> cp.Expression:
        return matrix[:, rest] @ z + matrix[:, first] @ x

    constraints = [rows(program.G[n:]) == program.B[n:] @ p + program.b[n:]]
    up, down = np.isfinite(program.upper), np.isfinite(program.lower)
    constraints += [rows(program.C[up]) <= program.upper[up], rows(program.C[down]) >= program.lower[down]]
    e, s, c = (rows(program.D[i::3]) for i in range(3))
    amplitude = cp.vstack([s, c])
    for bound, room in ((program.high, program.high - e), (program.low, e - program.low)):
        kept = np.flatnonzero(np.isfinite(bound))
        constraints += [cp.SOC(room[kept], amplitude[:, kept], axis=0)]
    problem = cp.Problem(cp.Minimize(cp.sum_squares(rows(program.S) - program.T @ p - program.t)), constraints)
    assert problem.is_dpp()
    return problem, p, z


def written_out(controller: HarmonicMPC) -> tuple[cp.Problem, tuple[cp.Parameter, ...], cp.Variable]:
    """The same in CVXPY as one writes it, stage by stage, parametrised by the rules of DPP."""
    system, weights, eps = tracking_model(controller.task), controller.weights, 1e-4
    N, w = controller.horizon, controller.frequency
    n, m = system.B.shape
    A, B, out = system.A, system.B, system.outputs
    x, u = cp.Variable((N + 1, n)), cp.Variable((N, m))
    x_e, x_s, x_c = (cp.Variable(n) for _ in range(3))
    u_e, u_s, u_c = (cp.Variable(m) for _ in range(3))
    x_0, x_r, u_r = cp.Parameter(n), cp.Parameter(n), cp.Parameter(m)

    def price(weight: np.ndarray, z: cp.Expression) -> cp.Expression:
        return cp.sum_squares(np.linalg.cholesky(weight).T @ z)

    cost = price(weights.Te, x_e - x_r) + price(weights.Se, u_e - u_r)
    cost += sum(price(weights.Th, z) for z in (x_s, x_c)) + sum(price(weights.Sh, z) for z in (u_s, u_c))
    rules = [x[0] == x_0, x[N] == x_e + x_c, x_e == A @ x_e + B @ u_e + system.c]
    rules += [np.cos(w) * x_s - np.sin(w) * x_c == A @ x_s + B @ u_s]
    rules += [np.sin(w) * x_s + np.cos(w) * x_c == A @ x_c + B @ u_c]
    acts = np.abs(out.F).max(axis=1) > 0
    for j in range(N):
        s, c = np.sin(w * (j - N)), np.cos(w * (j - N))
        cost += price(system.Q, x[j] - x_e - s * x_s - c * x_c) + price(system.R, u[j] - u_e - s * u_s - c * u_c)
        rules += [x[j + 1] == A @ x[j] + B @ u[j] + system.c]
        for i in range(len(acts)):
            y = out.E[i] @ x[j] + out.F[i] @ u[j]
            if j > 0 or acts[i]:
                rules += [y <= out.upper[i]] if np.isfinite(out.upper[i]) else []
                rules += [y >= out.lower[i]] if np.isfinite(out.lower[i]) else []
    for i in range(len(acts)):
        e, s, c = (out.E[i] @ a + out.F[i] @ b for a, b in ((x_e, u_e), (x_s, u_s), (x_c, u_c)))
        amplitude = cp.norm(cp.hstack([s, c]))
        rules += [amplitude <= out.upper[i] - eps - e] if np.isfinite(out.upper[i]) else []
        rules += [amplitude <= e - out.lower[i] - eps] if np.isfinite(out.lower[i]) else []
    problem = cp.Problem(cp.Minimize(cost), rules)
    assert problem.is_dpp()
    return problem, (x_0, x_r, u_r), u


def time_cvxpy(run: Run, matrices: bool) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds (steps,) and inputs (steps, m), as written out or as ready matrices, which CVXPY handles faster."""
    program = run.controller.program
    n, m = program.state_at.shape[1], program.input_at.shape[1]
    if matrices:
        problem, parameter, z = cvxpy_problem(program)
        rest = np.setdiff1d(np.arange(program.S.shape[1]), program.state_at[0])
        at = np.searchsorted(rest, program.input_at[0])
        parts: tuple[tuple[cp.Parameter, slice], ...] = ((parameter, slice(None)),)
    else:
        problem, (x_0, x_r, u_r), z = written_out(run.controller)
        at = 0
        parts = ((x_0, slice(n)), (x_r, slice(n, 2 * n)), (u_r, slice(2 * n, 2 * n + m)))

    def solve(values: np.ndarray) -> np.ndarray:
        for symbol, where in parts:
            symbol.value = values[where]
        problem.solve(solver=cp.CLARABEL)
        return np.array(z.value)[at]

    solve(run.parameters[0])  # compiles the problem
    inputs = [solve(values) for values in run.parameters]
    times = [least(lambda values=values: solve(values), 3) for values in run.parameters]
    return np.array(times), np.array(inputs)


def time_clarabel(run: Run, tolerance: float, repetitions: int) -> tuple[np.ndarray, np.ndarray, int]:
    solver = ClarabelSolver(run.controller.program, run.controller.task.input_bounds, tolerance=tolerance)
    times, inputs, unsolved = [], [], 0
    for parameter in run.parameters:
        times.append(least(lambda parameter=parameter: solver.solve(parameter, 0), repetitions))
        unsolved += solver.solve(parameter, 0) is not Status.SOLVED
        inputs.append(solver.input)
    return np.array(times), np.array(inputs), unsolved


def error(found: np.ndarray, reference: np.ndarray) -> float:
    return float(np.abs(found - reference).max())


def report(what: str, times: np.ndarray, worst: float, note: str = "") -> None:
    median, late = np.percentile(times, [50, 99])
    print(f"  {what:34s} {median:9.1f} {late:9.1f} {late / median:6.2f} {worst:11.1e}  {note}")


def chain(masses: int) -> Task:
    """So many masses of 1 kg in a row between walls, springs of 2 N/m, forces on the first and the last."""
    k = 2.0 * (2.0 * np.eye(masses) - np.eye(masses, k=1) - np.eye(masses, k=-1))
    zero, one = np.zeros((masses, masses)), np.eye(masses)
    A, B = np.block([[zero, one], [-k, zero]]), np.zeros((2 * masses, 2))
    B[masses, 0] = B[-1, 1] = 1.0
    plant = LinearPlant(A, B, input_limits=((-0.8, 0.8),) * 2)
    positions = {f"x{i + 1}": (-1.0, 0.3) for i in range(masses)}
    Q = [15.0] * masses + [1.0] * masses
    u = np.full(2, 0.4)
    return Task(
        f"chain of {masses}", plant, 0.2, STEPS, Quadratic(Q, [0.1, 0.1]), Fixed(), (Box("positions", positions),),
        SetPoint(np.linalg.solve(-A, B @ u), u), integrator="exact",
    )  # fmt: skip


def growth() -> dict[str, list[float]]:
    """Median microseconds of a control step over the first 20 samples, and of Clarabel called directly, by horizon and
    by number of states."""
    cases = [(f"N = {N}, n = 6", masses(), N) for N in (5, 10, 20, 30, 50, 75, 100, 150, 200)]
    cases += [(f"N = 10, n = {2 * k}", chain(k), 10) for k in (2, 4, 6, 8)]
    found = {}
    for name, task, horizon in cases:
        controller = HarmonicMPC(task, horizon, 3 * 1.627 * 0.2, solver="interior-point")
        program = controller.program
        sparse = ClarabelSolver(program, task.input_bounds, tolerance=1e-8)
        plant, x = exact(task.plant, task.dt), task.initial.mean(task.plant.state)
        own, direct = [], []
        for k in range(20):
            own.append(least(lambda at=x, k=k, step=controller.step: step(at, k), 5))
            u, parameter = controller.step(x, k).input, controller.solver.parameter().copy()
            direct.append(least(lambda p=parameter, solve=sparse.solve: solve(p, 0), 3))
            x = plant.A @ x + plant.B @ u
        found[name] = [float(f"{np.median(times):.4g}") for times in (own, direct)]
        free = program.S.shape[1] - len(program.G)
        print(f"  {name:18s} {free:4d} free variables {found[name][0]:9.1f} us    Clarabel {found[name][1]:9.1f} us")
    return found


def main() -> None:
    """Prints the table, then one line of JSON."""
    runs = [
        closed_loop("masses", masses_controller()),
        closed_loop("masses, switching", masses_controller(), every=20),
        closed_loop("ball and plate, one axis", axis_controller()),
    ]
    result: dict[str, object] = {}
    print(f"control step, {STEPS} steps     [us]        median       p99  ratio  error of u_0")
    for i, run in enumerate(runs):
        print(run.name)
        exact_solver = ExactSolver(run.controller.program)
        first = run.controller.program.input_at[0]
        reference = np.array([exact_solver.solve(parameter)[first] for parameter in run.parameters])
        own, inputs = time_controller(run, run.controller, 2, 10)
        note = f"{run.unsolved} of {STEPS} not converged"
        report("harmonic MPC", own, error(inputs, reference), note)
        make = masses_controller if i < 2 else axis_controller
        fast = make()
        fast = HarmonicMPC(
            fast.task, fast.horizon, fast.frequency, Te=fast.weights.Te, Th=fast.weights.Th, Se=fast.weights.Se,
            Sh=fast.weights.Sh, solver="admm",
        )  # fmt: skip
        quick, inputs_fast = time_controller(run, fast, 5, 1)
        report("harmonic MPC, solver='admm'", quick, error(inputs_fast, reference))
        direct, inputs_direct, missed = time_clarabel(run, 1e-8, 3)
        report("Clarabel direct", direct, error(inputs_direct, reference), f"{missed} of {STEPS} not converged")
        modelled, inputs_modelled = time_cvxpy(run, matrices=False)
        report("CVXPY (DPP) + Clarabel", modelled, error(inputs_modelled, reference))
        ready, inputs_ready = time_cvxpy(run, matrices=True)
        report("the same from ready matrices", ready, error(inputs_ready, reference))
        median = float(np.median(own))
        numbers = {
            "ratio_to_cvxpy": median / float(np.median(modelled)),
            "ratio_to_cvxpy_matrices": median / float(np.median(ready)),
            "ratio_to_clarabel": median / float(np.median(direct)),
            "p99_over_median": float(np.percentile(own, 99)) / median,
            "max_error": error(inputs, reference),
            "unconverged": run.unsolved,
        }
        if i == 0:
            result |= numbers
        else:
            result |= {f"{key}_{('switching', 'axis')[i - 1]}": value for key, value in numbers.items()}
    result["unconverged"] = sum(run.unsolved for run in runs)
    print("growth of the control step")
    result["growth_us"] = growth()
    print(json.dumps({key: float(f"{v:.4g}") if isinstance(v, float) else v for key, v in result.items()}))


if __name__ == "__main__":
    main()
