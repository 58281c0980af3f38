"""How fast is a control step of linear MPC against other people's solvers, called from Python, on the same problem?

    python -m benchmarks.linear

Six masses in a chain between two walls, three forces between two each (12 states, 3 inputs, horizon 30: the size of the
example of Wang & Boyd, 2010), terminal cost of the regulator. Random forces shake the masses and every 20 samples all
are kicked, so that inputs saturate in most plans and positions in some. One closed loop is recorded; then every solver
walks through its states in order, warm-started by its own last answer where it can be, several times, and the shortest
time of each sample counts: whole calls from Python, in turns with the others. The table shows median and 99th
percentile over the samples, and the largest difference of u_0 from that of qpOASES, an active-set method of another
make on matrices of another make. States from which no input is admissible have no solution; they are left out, and
counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np

from benchmarks import linear_modellers as modelled
from benchmarks import linear_peers as peer
from benchmarks.linear_peers import TOLERANCE, Problem, Step
from ctrl.controller import Status
from mpc import LinearMPC
from mpc.linear.linear_mpc import QPBackEnd
from systems import Box, Fixed, LinearPlant, Quadratic, Task, exact

HORIZON, STEPS, ROUNDS = 30, 300, 3
REFERENCE = "qpOASES (CasADi), condensed"

# What speeds up ipopt on a quadratic program and needs knowing it; mu_init, with the rest of its warm start, did not.
TUNED = {
    "expand": True,
    "ipopt.jac_c_constant": "yes",
    "ipopt.hessian_constant": "yes",
    "ipopt.mehrotra_algorithm": "yes",
}


def masses(count: int = 6) -> Task:
    """So many masses of 1 kg, springs of 1 N/m; force j pulls masses j and 2 j + 1 together."""
    stiffness = 2.0 * np.eye(count) - np.eye(count, k=1) - np.eye(count, k=-1)
    zero, one = np.zeros((count, count)), np.eye(count)
    pull = one[:, : count // 2] - one[:, 1::2]
    plant = LinearPlant(
        np.block([[zero, one], [-stiffness, zero]]), np.vstack([0.0 * pull, pull]), np.vstack([zero, one]),
        input_limits=((-0.5, 0.5),) * (count // 2),
    )  # fmt: skip
    names = plant.state.names
    box = dict.fromkeys(names[:count], (-1.3, 1.3)) | dict.fromkeys(names[count:], (-4.0, 4.0))
    cost = Quadratic(np.eye(2 * count), 0.1 * np.eye(count // 2))
    return Task("masses", plant, 0.5, STEPS, cost, Fixed(), (Box("box", box),), integrator="exact")


def closed_loop(task: Task, steps: int, seed: int = 0) -> tuple[np.ndarray, int, list[float]]:
    """States (samples, n) that have a solution, how many have none, and the shares of samples whose plan touches bounds
    on inputs, and on states."""
    plant, rng = exact(task.plant, task.dt), np.random.default_rng(seed)
    n, q = plant.E.shape
    controller, x = LinearMPC(task, HORIZON, terminal="cost"), np.zeros(n)
    limits = np.array([task.constraints[0].bounds[name][1] for name in task.plant.state.names])  # type: ignore[attr-defined]
    states, touched = [], []
    for k in range(steps):
        if k % 20 == 0:
            x = x + np.concatenate([np.zeros(q), rng.uniform(-1.5, 1.5, q)])
        decision = controller.step(x, k)
        if decision.status is Status.SOLVED and controller.plan is not None:
            states.append(x)
            plan, most = controller.plan, task.input_bounds[1] - 1e-6
            touched.append([(np.abs(plan.u) > most).any(), (np.abs(plan.x[1:]) > limits - 1e-6).any()])
        x = plant.A @ x + plant.B @ decision.input + plant.E @ rng.uniform(-0.2, 0.2, q)
    return np.array(states), steps - len(states), np.mean(touched, axis=0).tolist()


def walk(step: Step, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds (samples,) and inputs (samples, m)."""
    times, inputs = [], []
    for x in states:
        began = perf_counter()
        u = step(x)
        times.append(perf_counter() - began)
        inputs.append(np.array(u))
    return 1e6 * np.array(times), np.array(inputs)


def own(task: Task, horizon: int = HORIZON, solver: QPBackEnd | None = None) -> Step:
    """Ours, as a function of the state."""
    controller = LinearMPC(task, horizon, terminal="cost", solver=solver)
    return lambda x: controller.step(x, 0).input


def peers() -> dict[str, Callable[[Problem], Step]]:
    """The others; where a solver takes the problem in two forms, both."""
    precise = {"eps_abs": TOLERANCE, "eps_rel": TOLERANCE, "max_iter": 20000}
    return {
        "OSQP, sparse": peer.osqp_sparse,
        "OSQP, condensed": peer.osqp_condensed,
        "PIQP, sparse multistage": peer.piqp_sparse,
        "PIQP, condensed": peer.piqp_condensed,
        "Clarabel, sparse": peer.clarabel_direct,
        "HPIPM (CasADi), stages": modelled.casadi_conic("hpipm", {}, is_condensed=False),
        REFERENCE: modelled.casadi_conic("qpoases", {"printLevel": "none", "sparse": False}),
        "DAQP (CasADi), condensed": modelled.casadi_conic("daqp", {}),
        "CVXPY (DPP) + Clarabel": modelled.cvxpy_dpp("CLARABEL"),
        "CVXPY (DPP) + OSQP": modelled.cvxpy_dpp("OSQP", **precise),
        "do-mpc": modelled.do_mpc_controller({}),
        "do-mpc, ipopt told it is a QP": modelled.do_mpc_controller(TUNED),
    }


def growth() -> dict[str, list[float]]:
    """Median and 95th percentile in microseconds of a step of the default, and medians of bare DAQP, of PIQP on the
    sparse form, and of ours with HPIPM, by horizon and by number of states; all take turns on the same states."""
    found = {}
    cases = [(6, N) for N in (10, 20, 30, 50, 75, 100, 150, 200)] + [(count, 30) for count in (4, 8, 12)]
    for count, horizon in cases:
        task = masses(count)
        states, problem = closed_loop(task, 60)[0], Problem.of(task, horizon)
        steps = (
            own(task, horizon), peer.daqp_bare(problem), peer.piqp_sparse(problem), own(task, horizon, "hpipm"),
        )  # fmt: skip
        times = np.min([[walk(step, states)[0] for step in steps] for _ in range(3)], axis=0)
        row = [float(np.median(times[0])), float(np.percentile(times[0], 95)), *np.median(times[1:], axis=1).tolist()]
        name = f"N = {horizon}, n = {2 * count}, m = {count // 2}"
        found[name] = [float(f"{value:.4g}") for value in row]
        print(
            f"  {name:24s} {horizon * (count // 2):4d} inputs  LinearMPC {row[0]:9.1f} (p95 {row[1]:9.1f})  bare DAQP "
            f"{row[2]:9.1f}  PIQP {row[3]:9.1f}  with HPIPM {row[4]:9.1f} us",
            flush=True,
        )
    return found


def main() -> None:
    """Prints the table, then one line of JSON."""
    task = masses()
    problem = Problem.of(task, HORIZON)
    states, lost, (inputs_touched, states_touched) = closed_loop(task, STEPS)
    print(
        f"{len(states)} samples ({lost} of {STEPS} left out: no solution); the plan touches input bounds in "
        f"{inputs_touched:.0%} of them, state bounds in {states_touched:.0%}\n"
        f"tolerance {TOLERANCE:g} where a solver stops on one; do-mpc: discrete model, ipopt with mumps, warm-started, "
        "silent, nothing stored"
    )
    makers: dict[str, Callable[[], Step]] = {
        "LinearMPC": partial(own, task),
        "LinearMPC, solver='piqp'": partial(own, task, HORIZON, "piqp"),
        "(bare DAQP, nothing checked)": partial(peer.daqp_bare, problem),
    }
    makers |= {name: partial(make, problem) for name, make in peers().items()}
    steps = {name: make() for name, make in makers.items()}
    _, reference = walk(steps[REFERENCE], states)
    times = {name: np.full(len(states), np.inf) for name in steps}
    errors = dict.fromkeys(steps, 0.0)
    for _ in range(ROUNDS):
        for name, step in steps.items():
            seconds, inputs = walk(step, states)
            times[name] = np.minimum(times[name], seconds)
            errors[name] = max(errors[name], float(np.abs(inputs - reference).max()))
    median = {name: float(np.median(t)) for name, t in times.items()}
    late = {name: float(np.percentile(t, 99)) for name, t in times.items()}
    print(f"control step [us] {'median':>22s} {'p99':>9s} {'ratio':>8s} {'error of u_0':>13s}")
    for name in steps:
        ratio = median[name] / median["LinearMPC"]
        print(f"  {name:30s} {median[name]:9.1f} {late[name]:9.1f} {ratio:7.1f}x {errors[name]:13.1e}")
    others = {name: median[name] for name in peers()}
    best = min(others, key=others.__getitem__)
    tuned = min((name for name in others if name.startswith("do-mpc")), key=others.__getitem__)
    print("growth of the control step")
    result = {
        "ratio_to_dompc": median["LinearMPC"] / median["do-mpc"],
        "ratio_to_fastest_dompc": median["LinearMPC"] / median[tuned],
        "ratio_to_best_other": median["LinearMPC"] / median[best],
        "ratio_to_bare_daqp": median["LinearMPC"] / median["(bare DAQP, nothing checked)"],
        "p99_ratio_to_best_other": late["LinearMPC"] / min(late[name] for name in others),
        "p99_over_median": late["LinearMPC"] / median["LinearMPC"],
        "median_us": median["LinearMPC"],
        "best_other": best,
        "max_error": errors["LinearMPC"],
        "max_error_of_others": max(errors[name] for name in others),
        "growth_us": (grown := growth()),
        # At most 1 where a step takes at most 1.15 times bare DAQP or PIQP, whichever is faster, and 10 us.
        "worst_of_target": max(row[0] / (1.15 * min(row[2], row[3]) + 10.0) for row in grown.values()),
    }
    print(json.dumps({key: float(f"{v:.4g}") if isinstance(v, float) else v for key, v in result.items()}))


if __name__ == "__main__":
    main()
