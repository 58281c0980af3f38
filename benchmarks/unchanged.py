"""Do costs, certificates and learned weights stay the same to the bit while the code is restructured?

    python -m benchmarks.unchanged > before.txt      # at one commit
    python -m benchmarks.unchanged --against before.txt

Costs of 40 samples from 4 starts for every library task and controller that takes it, certificates by the default
candidate (answer, level, boxes, volume), and every learner's weights after 200 updates. Numbers are written in
hexadecimal, weights as a checksum. The last line is JSON; the exit status is 1 where a row differs from `--against`.
Rows are comparable on one machine with one set of library versions only.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import inspect
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

import mpc
import safe_rl
from ctrl import LQR, NotApplicable, simulate
from ctrl.certify import Effort, certify
from systems import Task, TriviumError, library
from systems.library import pendulum_swing_up

CONTROLLERS: dict[str, Callable[[Task], object]] = {
    "LQR": LQR,
    "LinearMPC": mpc.LinearMPC,
    "TrackingMPC": mpc.TrackingMPC,
    "EqualityMPC": mpc.EqualityMPC,
    "HarmonicMPC": mpc.HarmonicMPC,
    "NonlinearMPC": mpc.NonlinearMPC,
    "LagrangianMPC": mpc.LagrangianMPC,
    "robust_stochastic_mpc": mpc.robust_stochastic_mpc,
    "ExplicitMPC": lambda task: mpc.ExplicitMPC(task, horizon=2),
}
LEARNERS = ("DSACT", "SAC", "PPO", "PLO", "DSACH", "DSACLagrangian", "DSACPID", "DSACPenalty", "CAL", "PPOLagrangian")
SLOW = {("driving", "LagrangianMPC"), ("driving", "NonlinearMPC"), ("rocket-landing", "LagrangianMPC")}


def tasks() -> Iterator[Task]:
    """Every task of the library, by name."""
    for name in sorted(library.__all__):
        make = getattr(library, name)
        if inspect.isfunction(make) and isinstance(task := make(), Task):
            yield task


def costs() -> Iterator[tuple[str, str]]:
    for task in tasks():
        starts = task.initial.sample(task.plant.state, np.random.default_rng(1), (4,))
        short = np.zeros((4, min(40, task.steps), len(task.plant.disturbance)))
        for name, make in CONTROLLERS.items():
            if (task.name, name) in SLOW:
                continue
            try:
                runs = simulate(task, make(task), starts, short)  # type: ignore[arg-type]
            except NotApplicable:
                continue
            except TriviumError as error:
                yield f"cost {task.name} {name}", type(error).__name__
                continue
            yield f"cost {task.name} {name}", float(runs.cost.sum()).hex()


def certificates() -> Iterator[tuple[str, str]]:
    for task in tasks():
        for continuous in (False, True):
            try:
                c = certify(task, LQR(task).law, budget=Effort(boxes=20_000, seconds=600.0), continuous=continuous)
            except TriviumError as error:
                yield f"certificate {task.name} {continuous}", type(error).__name__
                continue
            row = f"{c.kind.name} {float(c.level).hex()} {c.boxes} {float(c.volume).hex()}"
            yield f"certificate {task.name} {continuous}", row


def weights() -> Iterator[tuple[str, str]]:
    for name in LEARNERS:
        learner = getattr(safe_rl, name)
        task = pendulum_swing_up()
        if name not in ("DSACT", "SAC", "PPO"):
            from systems import Box

            task = dataclasses.replace(task, constraints=(Box("fast", {"rate": (-6.0, 6.0)}).budget(5.0),))
        torch.manual_seed(0)
        made = learner(task, seed=0)
        made.learn(200, progress=False)
        parameters = np.concatenate([p.detach().numpy().ravel() for p in made.policy.parameters()])
        yield f"weights {name}", f"{made.updates} {hashlib.sha256(parameters.tobytes()).hexdigest()[:16]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="what another run printed")
    parser.add_argument("--only", choices=("costs", "certificates", "weights"))
    chosen = parser.parse_args()
    before = {}
    if chosen.against is not None:
        before = dict(line.split(": ", 1) for line in chosen.against.read_text().splitlines() if ": " in line)
    warnings.simplefilter("ignore")
    rows, differ = 0, []
    for part in (costs, certificates, weights):
        if chosen.only in (None, part.__name__):
            for key, value in part():
                rows += 1
                was = before.get(key, value)
                print(f"{key}: {value}" + (f"   was {was}" if was != value else ""), flush=True)
                if was != value:
                    differ.append(key)
    print(json.dumps({"benchmark": "unchanged", "rows": rows, "differ": differ}))
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
