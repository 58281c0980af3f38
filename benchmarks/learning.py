"""How fast SAC learns here and in Stable-Baselines3: updates and environment steps per second, in one run.

    python -m benchmarks.learning           tables and one line of JSON: updates_ratio_to_sb3, steps_ratio_to_sb3

Both sides: the same task (the pendulum's swing-up, 3 observations, 1 input), the same networks (two hidden layers with
GELU), batch 256, policy and targets with every update, and 2 CPU threads. Networks of 64, which suffice for the tasks
of this package and are its default, and of 256, the default there. The former are what the ratios are of; the latter
are reported with the suffix _256. With 256 units nearly all of an update is matrix products, which are the same on
both sides but for gradients of the critics' weights in the policy's step, which nobody needs: 16 products to 18.

- Updates: gradient steps alone, on a filled replay memory.
- Steps: data collection alone, a policy that acts in an environment and a memory that stores. There one environment
  of the task in its Gymnasium form, which is what its SAC is used with by default, and, as the more favourable case
  for it, 16 of them in its vector form; the better of both counts. Here 256 in the batched form.

Rounds of both sides alternate, and the best round of each is compared: what other work on the machine does to two
threads that wait for each other is no property of either side. Medians are shown beside it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from safe_rl import SAC, SACSettings
from systems.library import pendulum_swing_up

THREADS, ROUNDS = 2, 12
BATCH, FILLED = 256, 2_048


def ours(environments: int, width: int) -> SAC:
    settings = SACSettings(
        hidden=(width, width),
        batch_size=BATCH,
        environments=environments,
        evaluation_environments=0,
        delay=1,
        warmup=FILLED,
        threads=THREADS,
    )
    learner = SAC(pendulum_swing_up(), settings=settings)
    learner.prepare()
    return learner


def theirs(environments: int, width: int):  # type: ignore[no-untyped-def]
    """Stable-Baselines3's SAC with its memory filled."""
    import stable_baselines3
    from stable_baselines3.common.env_util import make_vec_env

    task = pendulum_swing_up()
    envs = make_vec_env(lambda: task.env(), n_envs=environments)
    learner = stable_baselines3.SAC(
        "MlpPolicy", envs, batch_size=BATCH, buffer_size=100_000, learning_starts=0, train_freq=1, gradient_steps=0,
        policy_kwargs={"net_arch": [width, width], "activation_fn": torch.nn.GELU}, seed=0, device="cpu",
    )  # fmt: skip
    learner.learn(FILLED)
    return learner


def rate(work: Callable[[], int], seconds: float = 0.5) -> float:
    """Units per second; `work` does some and says how many."""
    began, done = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        done += work()
    return done / spent


def compare(width: int) -> tuple[float, float]:
    """Ratios of updates and of steps for networks of this width; prints what they are made of."""
    updating, collecting = ours(1, width), ours(256, width)
    single, several = theirs(1, width), theirs(16, width)

    def our_updates() -> int:
        for _ in range(5):
            updating.update(updating.buffer.sample(BATCH, updating.generator))
        return 5

    def our_steps() -> int:
        for _ in range(5):
            collecting.buffer.add(collecting.collector.collect())
        return 5 * 256

    def their_updates() -> int:
        single.train(gradient_steps=5, batch_size=BATCH)
        return 5

    def steps_of(learner) -> Callable[[], int]:  # type: ignore[no-untyped-def]
        def work() -> int:
            before = learner.num_timesteps
            learner.learn(160, reset_num_timesteps=False)
            return int(learner.num_timesteps - before)

        return work

    sides: dict[str, Callable[[], int]] = {
        "updates, ours": our_updates,
        "updates, Stable-Baselines3": their_updates,
        "steps, ours (256 environments)": our_steps,
        "steps, Stable-Baselines3 (1 environment)": steps_of(single),
        "steps, Stable-Baselines3 (16 environments)": steps_of(several),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for work in sides.values():
        work()  # warms up
    for _ in range(ROUNDS):
        for name, work in sides.items():
            rates[name].append(rate(work))
    found = {name: max(values) for name, values in rates.items()}
    table = Table(f"per second, networks of {width}", "best", "median", "least")
    for name, values in rates.items():
        table.add_row(name, f"{found[name]:.0f}", f"{median(values):.0f}", f"{min(values):.0f}")
    Console(width=110).print(table)
    mine, peer, stepping, one, many = found.values()
    return round(mine / peer, 2), round(stepping / max(one, many), 2)


def main() -> None:
    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)  # as our learners do while learning; here for both
    (updates, steps), (updates_256, steps_256) = compare(64), compare(256)
    print(
        json.dumps(
            {
                "updates_ratio_to_sb3": updates,
                "steps_ratio_to_sb3": steps,
                "updates_ratio_to_sb3_256": updates_256,
                "steps_ratio_to_sb3_256": steps_256,
                "threads": THREADS,
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
