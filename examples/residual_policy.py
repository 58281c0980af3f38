"""A policy that corrects a regulator: learned on it, compared with it, and proved to bring a region to rest.

    python -m examples.residual_policy

The regulator is the linear-quadratic one of another cost, as it may have been tuned years ago for other needs. What is
learned is added to it, within a share of the torque's range, and kept only where it costs less. The sum is one control
law, so its region of attraction is proved like that of any other.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import tyro

from ctrl import LQR, Controller, totals
from ctrl.certify import Certificate, ClosedLoop, SearchLimits, certify, cost_to_go, rest_point, sampled_limit
from ctrl.comparison.draws import draw
from safe_rl import SAC, PolicyController, SACSettings
from systems import Quadratic, Task
from systems.library import pendulum


@dataclass(frozen=True)
class Options:
    """A residual policy on a regulator of the pendulum."""

    updates: int = 6_000
    """Of the learner."""
    hidden: tuple[int, ...] = (16, 16)
    """Widths of the policy's layers; proofs cost less the narrower they are."""
    share: float = 0.5
    """Of the lowest level of V at which sampling finds a violation, to be proved."""
    seconds: float = 120.0
    """For the proof."""
    starts: int = 100
    """Of the comparison."""


def tuned_long_ago(task: Task) -> Controller:
    """The regulator of a cost in which torque is expensive."""
    return LQR(dataclasses.replace(task, cost=Quadratic(Q={"angle": 0.01}, R={"torque": 10.0})))


def main(options: Options | None = None) -> tuple[dict[str, float], Certificate]:
    """Learns, compares and proves; mean costs by name, and the certificate."""
    options = options or Options()
    task = pendulum()
    learner = SAC(task, settings=SACSettings(hidden=options.hidden)).residual(tuned_long_ago)
    learner.learn(options.updates)
    policy = PolicyController(task, learner.result)
    controllers = {"regulator": tuned_long_ago(task), "with residual": policy, "LQR of the task": LQR(task)}
    draws = draw(task, options.starts, (1,))
    costs = {name: float(np.mean(totals(task, its, *draws).cost)) for name, its in controllers.items()}
    for name, cost in costs.items():
        print(f"{name:16s} costs {cost:.4g} per run, from the same {options.starts} starts")
    print(f"share of the torque's range that is added: {learner.trials.diagnostics['residual share kept']:.3g}")

    loop = ClosedLoop(task, learner.result.law())
    V = cost_to_go(loop, rest_point(loop))
    level = options.share * sampled_limit(loop, V).level
    certificate = certify(task, loop.law, V, level, budget=SearchLimits(seconds=options.seconds), equilibrium="own")
    print(certificate)
    return costs, certificate


if __name__ == "__main__":
    main(tyro.cli(Options))
