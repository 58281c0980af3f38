"""The goal of a learner's run, and the actions that are due after each update."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, final

from systems.arguments import expect_whole
from systems.errors import InvalidValue, expect

__all__ = ["REPORT_EVERY", "Due", "RunPlan"]

REPORT_EVERY = 200
"""Updates between two records; reading the statistics waits for the device."""


class Due(NamedTuple):
    """What is due after an update."""

    last: bool
    evaluate: bool
    report: bool
    write: bool


@final
@dataclass(frozen=True)
class RunPlan:
    """The arguments of `Learner.learn`, checked.

    Args:
        goal: total at which the run ends.
        unit: in which the goal is counted.
        checkpoint: file of the checkpoint; None for none.
        checkpoint_every: updates between two checkpoints.
        evaluate_every: updates between two evaluations; None for none.
        log: folder of the log; None for none.

    Raises:
        InvalidValue: an argument has the wrong type or is out of range.
    """

    goal: int
    unit: Literal["updates", "steps"]
    checkpoint: str | Path | None
    checkpoint_every: int
    evaluate_every: int | None
    log: str | Path | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "goal", expect_whole(self.goal, self.unit, least=0, most=2**62))
        expect_whole(self.checkpoint_every, "checkpoint_every", least=1)
        if self.evaluate_every is not None:
            expect_whole(self.evaluate_every, "evaluate_every", least=1)
        for name, path in (("checkpoint", self.checkpoint), ("log", self.log)):
            if path is not None:
                expect(path, (str, Path), name, "such as 'runs/cartpole'")

    @staticmethod
    def until(
        updates: int | None,
        steps: int | None,
        checkpoint: str | Path | None,
        checkpoint_every: int,
        evaluate_every: int | None,
        log: str | Path | None,
    ) -> RunPlan:
        """The plan that ends at one of two totals.

        Raises:
            InvalidValue: neither or both totals are given.
        """
        if (updates is None) == (steps is None):
            raise InvalidValue("give either updates or steps, the total to learn until")
        if steps is None:
            assert updates is not None
            return RunPlan(updates, "updates", checkpoint, checkpoint_every, evaluate_every, log)
        return RunPlan(steps, "steps", checkpoint, checkpoint_every, evaluate_every, log)

    def made(self, updates: int, steps: int) -> int:
        """Progress towards the goal, in its unit."""
        return updates if self.unit == "updates" else steps

    def due(self, updates: int, steps: int, interrupted: bool) -> Due:
        """What is due after an update.

        Args:
            updates: made so far.
            steps: transitions collected so far.
        interrupted: whether Ctrl-C was pressed, so that the run ends with a checkpoint.
        """
        last = self.made(updates, steps) >= self.goal
        evaluate = self.evaluate_every is not None and (last or updates % self.evaluate_every == 0)
        report = last or evaluate or updates % REPORT_EVERY == 0
        write = self.checkpoint is not None and (last or interrupted or updates % self.checkpoint_every == 0)
        return Due(last, evaluate, report, write)
