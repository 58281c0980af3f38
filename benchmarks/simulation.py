"""How many cart-pole steps per second: batched torch and numpy, CasADi's ``map``, a loop over Gymnasium's CartPole-v1.

``python -m benchmarks.simulation`` prints a table and one line of JSON. What counts as a step:

* *environment*: an uninterrupted simulation with inputs clipped, disturbances drawn, one Runge-Kutta step (four
  evaluations of the equations), reward, constraint cost, end of run, automatic reset and observation. Gymnasium's
  CartPole-v1 does the same with one Euler step (one evaluation), no disturbance and no constraint.
* *judged*: the same without the draws, resets and observations.
* *dynamics*: the Runge-Kutta step alone.

The library's closed loop (``simulate``, and ``totals``, which keeps no trajectories) is timed with the regulator of
the task, 20,000 undisturbed runs in double precision, as a multiple of its dynamics in numpy; and with a linear MPC,
one run after the other, as what the loop adds to the controller's own steps. Both are processor times.

The ratios compare like with like, or to our disadvantage: the environment in torch and the judged step in numpy with
Gymnasium's environment, and the dynamics in torch with the dynamics in CasADi's serial ``map``, which is 64-bit. Torch
and numpy compute in 32 bits, torch eagerly and without gradients. Everything runs in one thread. All kinds take turns,
and the median counts.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable

import casadi as ca
import gymnasium
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from ctrl import LQR, simulate, totals
from mpc import LinearMPC
from systems.envs.model import SampleModel
from systems.envs.vector import VectorEnv
from systems.library.cartpole import cartpole

STATES = 4096
ROUNDS = 25
SECONDS = 0.1  # of each kind in each round
TASK = cartpole()


def torch_environment() -> Callable[[], int]:
    env = VectorEnv(TASK, STATES, dtype=torch.float32)
    env.reset()
    actions = 20.0 * torch.rand(64, STATES, 1, generator=torch.Generator().manual_seed(0)) - 10.0
    step = 0

    def run() -> int:
        nonlocal step
        step += 1
        env.step(actions[step % 64])
        return STATES

    for _ in range(TASK.steps):  # until the runs no longer end together
        run()
    return run


def torch_dynamics() -> Callable[[], int]:
    model = SampleModel(TASK, "torch", torch.float32)
    x, u, w = (torch.from_numpy(a.astype(np.float32)).mT.contiguous().mT for a in points())

    def run() -> int:
        with torch.no_grad():
            model.advance(x, u, w)
        return STATES

    return run


def numpy_judged() -> Callable[[], int]:
    model = SampleModel(TASK, "numpy", np.float32)
    x, u, w = (np.asfortranarray(a.astype(np.float32)) for a in points())
    samples = np.zeros(STATES, dtype=int)

    def run() -> int:
        model.step(x, u, w, samples)
        return STATES

    return run


def numpy_dynamics() -> Callable[[], int]:
    model = SampleModel(TASK, "numpy", np.float32)
    x, u, w = (np.asfortranarray(a.astype(np.float32)) for a in points())

    def run() -> int:
        model.advance(x, u, w)
        return STATES

    return run


def casadi_map() -> Callable[[], int]:
    batched = TASK.dynamics.function().map(STATES, "serial")
    x, u, w = (ca.DM(a.T) for a in points())
    p = ca.DM(0, STATES)

    def run() -> int:
        batched(x, u, w, p)
        return STATES

    return run


def gymnasium_loop() -> Callable[[], int]:
    env = gymnasium.make("CartPole-v1", disable_env_checker=True)  # its checks are no part of the simulation
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(2, size=256).tolist()

    def run() -> int:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return len(actions)

    return run


def points() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States, inputs and disturbances, each (STATES, ...)."""
    rng = np.random.default_rng(0)
    plant = TASK.plant
    return (
        TASK.initial.sample(plant.state, rng, (STATES,)),
        rng.uniform(*plant.bounds, (STATES, len(plant.input))),
        TASK.disturbance.sample(plant.disturbance, rng, (STATES,)),
    )


def measure(kinds: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Steps per second of each kind, the median over rounds in which all take turns."""
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS + 1):
        for name, run in kinds.items():
            steps, start = 0, time.perf_counter()
            while (spent := time.perf_counter() - start) < SECONDS:
                steps += run()
            rates[name].append(steps / spent)
    return {name: statistics.median(values[1:]) for name, values in rates.items()}  # the first round warms up


def processor_time(run: Callable[[], object], rounds: int = 3) -> float:
    """Least seconds of so many calls."""
    least = np.inf
    for _ in range(rounds):
        start = time.process_time()
        run()
        least = min(least, time.process_time() - start)
    return least


def closed_loops(runs: int = 20_000, alone: int = 20) -> dict[str, float]:
    """What the closed loop costs beside the dynamics of many runs, and beside the steps of a controller alone."""
    starts = TASK.initial.sample(TASK.plant.state, np.random.default_rng(0), (runs,))
    regulator, predictive = LQR(TASK), LinearMPC(TASK)
    advance = TASK.true_dynamics.lower("numpy")

    def dynamics() -> None:
        for block in np.array_split(starts, -(-runs // STATES)):
            x = np.asfortranarray(block)
            u, w, p = np.zeros((len(x), 1)), np.zeros((len(x), len(TASK.plant.disturbance))), np.zeros(0)
            for _ in range(TASK.steps):
                x = advance(x, u, w, p)

    record = simulate(TASK, predictive, starts[:alone])

    def steps() -> None:
        for run in record.states:
            predictive.reset()
            for k in range(TASK.steps):
                predictive.step(run[k], k)

    bare = processor_time(dynamics)
    micro = 1e6 / (alone * TASK.steps)
    single = micro * processor_time(lambda: simulate(TASK, predictive, starts[:alone]))
    own = micro * processor_time(steps)
    return {
        "simulate_over_dynamics": processor_time(lambda: simulate(TASK, regulator, starts)) / bare,
        "totals_over_dynamics": processor_time(lambda: totals(TASK, regulator, starts)) / bare,
        "linear_mpc_sample_us": single,
        "linear_mpc_loop_us": single - own,
        "linear_mpc_loop_share": 1.0 - own / single,
    }


def main() -> None:
    torch.set_num_threads(1)  # the others have one, and waiting for threads costs more than such small batches gain
    rates = measure(
        {
            "torch, environment": torch_environment(),
            "torch, dynamics": torch_dynamics(),
            "numpy, judged": numpy_judged(),
            "numpy, dynamics": numpy_dynamics(),
            "CasADi map, dynamics": casadi_map(),
            "Gymnasium, environment": gymnasium_loop(),
        }
    )
    table = Table(f"{STATES:,} states", "steps per second", "/ Gymnasium", "/ CasADi map")
    gym, mapped = rates["Gymnasium, environment"], rates["CasADi map, dynamics"]
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / gym:.1f}", f"{rate / mapped:.2f}")
    Console().print(table)
    loops = closed_loops()
    for name, value in loops.items():
        print(f"{name:26s} {value:8.2f}")
    print(
        json.dumps(
            {
                "torch_over_gymnasium": round(rates["torch, environment"] / gym, 2),
                "numpy_over_gymnasium": round(rates["numpy, judged"] / gym, 2),
                "torch_over_casadi_map": round(rates["torch, dynamics"] / mapped, 2),
            }
            | {name: round(value, 3) for name, value in loops.items()}
        )
    )


if __name__ == "__main__":
    main()
