"""Claims about any controller from random runs: a bound on a probability that assumes nothing about plant or law."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from ctrl.comparison.metrics import settling_times
from ctrl.comparison.run import compare
from ctrl.comparison.spec import Factory
from ctrl.comparison.verdicts import violated_samples
from ctrl.controller import Controller, NotApplicable
from systems import Hard, Task
from systems.arguments import expect_seed, expect_whole
from systems.errors import expect
from systems.statistics import Rate

__all__ = ["RunsClaim", "claim_by_runs"]


@final
@dataclass(frozen=True)
class RunsClaim:
    """The number of n independent runs that succeed, and a lower bound on the probability that a run does.

    It is a statement about starts drawn from the task's initial distribution, under its disturbances, and not about
    any single start. It is right in at least 95 % of cases and is not a proof.

    Args:
        task: name of the task.
        controller: name of the controller.
        seed: of starts and disturbances.
        steps: samples of a run.
        seconds: duration of a run.
        constraints: names of the hard constraints.
        kept: runs that keep the hard constraints at every sample.
        stayed: runs that stay in the domain.
        arrived: runs that arrive at the reference and stay there until the end of the run.
        whole: runs of which all three hold.
    """

    task: str
    controller: str
    seed: int
    steps: int
    seconds: float
    constraints: tuple[str, ...]
    kept: Rate
    stayed: Rate
    arrived: Rate
    whole: Rate

    @property
    def claim(self) -> str:
        """The claim in one sentence."""
        k, n, least = self.whole.k, self.whole.n, _downward(self.whole.at_least)
        return (
            f"of {n} runs of task '{self.task}' under controller '{self.controller}', {k} kept the hard constraints "
            f"({', '.join(map(repr, self.constraints)) or 'none'}), stayed in the domain and arrived; with 95 % "
            f"confidence a run does so with a probability of at least {least}, from starts and "
            "under disturbances that are drawn from the task's distributions"
        )

    def __str__(self) -> str:
        def line(name: str, rate: Rate) -> str:
            return f"  {name:11} {rate.k} of {rate.n}, on its own at least {_downward(rate.at_least)}"

        return "\n".join(
            [
                f"SAMPLED, NOT PROVED: {self.claim}",
                line("constraints", self.kept),
                line("domain", self.stayed),
                line("arrived", self.arrived),
                f"  runs        {self.steps} samples, {self.seconds:g} s each, seed {self.seed}; no claim about later "
                "times or single initial states",
                "  bound       one-sided, Clopper and Pearson; for a number of runs and a seed chosen beforehand",
            ]
        )


def claim_by_runs(
    task: Task,
    controller: Controller | Factory,
    runs: int = 500,
    seed: int = 0,
    workers: int | None = None,
    name: str = "controller",
) -> RunsClaim:
    """Simulates a controller from random starts and bounds the probability that a run succeeds.

    For controllers without a law in closed form, such as online nonlinear MPC or a filtered policy, to which
    :func:`certify` does not apply. The bound is exact for independent draws and assumes nothing about the
    distribution, the plant or the controller (Clopper and Pearson, 1934).

    Args:
        task: whose initial states, disturbances, measurements and parameters of the plant are drawn.
        controller: the controller, or a function of the task that returns one, such as ``NonlinearMPC``.
        runs: how many; default: 500.
        seed: of the draws; default: 0. Choosing among seeds by their results invalidates the bound.
        workers: number of processes; default: the number of free cores.
        name: of the controller in the claim; default: "controller".

    Raises:
        NotApplicable: the controller cannot run the task, or nothing in the task is random, so that all runs are one.
    """
    expect(task, Task, "the task of claim_by_runs", "such as systems.library.cartpole()")
    runs, seed = expect_whole(runs, "runs", least=1), expect_seed(seed)
    compared = compare(task, {name: controller}, starts=runs, seeds=seed, workers=workers, announce=lambda line: None)
    if name not in compared.runs:
        raise NotApplicable(f"controller '{name}' failed: {compared.failed.get(name, 'it returned nothing')}")
    record = compared.runs[name]
    if len(record) < runs:
        raise NotApplicable(
            f"only {len(record)} of {runs} runs of task '{task.name}' are different, because its initial states and "
            "disturbances are not drawn from a continuous distribution, so the bound does not apply; use trivium "
            "compare"
        )
    hard = np.array([isinstance(c.requirement, Hard) for c in task.constraints], dtype=bool)
    safe = ~violated_samples(record.margins[..., hard]).any(axis=(1, 2))
    arrived = np.isfinite(settling_times(task, record))
    return RunsClaim(
        task.name,
        name,
        seed,
        record.inputs.shape[1],
        record.inputs.shape[1] * task.dt,
        tuple(c.name for c in task.constraints if isinstance(c.requirement, Hard)),
        *(Rate(int(each.sum()), runs) for each in (safe, record.stayed, arrived, safe & record.stayed & arrived)),
    )


def _downward(p: float) -> str:
    """A probability in percent, rounded down to two decimal places."""
    return f"{np.floor(1e4 * p) / 1e2:.2f} %"
