"""Ready-made combinations of base learner and constraint handler: published methods, tuned on the small tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from safe_rl.base.dsact import DSACT
from safe_rl.base.ppo import PPO
from safe_rl.base.sac import SAC
from safe_rl.environment import LearnableTask
from safe_rl.handlers.base import Handler
from safe_rl.handlers.conservative import ConservativeAugmented
from safe_rl.handlers.gains import DualAdamGains, IntegralGains, PIDGains, PredictiveGains
from safe_rl.handlers.harmonic import Harmonic
from safe_rl.handlers.lagrangian import Lagrangian
from safe_rl.handlers.penalty import FixedPenalty
from safe_rl.training import Learner
from systems.arguments import expect_name
from systems.errors import InvalidValue, expect, shown

__all__ = [
    "ALL",
    "CAL",
    "DSACH",
    "DSACPID",
    "PLO",
    "PPOPID",
    "SACPID",
    "SACPLO",
    "Combination",
    "DSACLagrangian",
    "DSACPenalty",
    "PPOLagrangian",
    "SACLagrangian",
]


@final
@dataclass(frozen=True)
class Combination:
    """A base learner with a constraint handler; call it with a task, like the class of a learner.

    Args:
        name: its name on the command line.
        base: class of the base learner.
        handler: of the task's constraints.
        settings: of the base learner, if a call gives none; default: the base learner's own.
    """

    name: str
    base: type[Learner]
    handler: Handler
    settings: Any = None

    def __post_init__(self) -> None:
        expect_name(self.name, "the name of a combination")
        if not (isinstance(self.base, type) and issubclass(self.base, Learner)):
            raise InvalidValue(
                f"combination '{self.name}': base = {shown(self.base)}; expected a learner, such as DSACT"
            )
        expect(self.handler, Handler, f"combination '{self.name}': handler", "such as Lagrangian(gains=PIDGains())")
        if self.settings is not None:
            expect(self.settings, self.settings_type, f"combination '{self.name}': settings", "those of its base")
        gains = getattr(self.handler, "gains", None)
        with_gains = "" if gains is None else f", {type(gains).__name__}"
        # The description shown by `trivium list`.
        object.__setattr__(self, "__doc__", f"{self.base.__name__} + {type(self.handler).__name__}{with_gains}.")

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def settings_type(self) -> type[Any]:
        """The class of its settings, which is that of the base learner."""
        return self.base.settings_type

    def __call__(
        self, task: LearnableTask, seed: int = 0, settings: Any = None, device: torch.device | str = "cpu"
    ) -> Learner:
        """A new learner.

        Args:
            task: to learn on.
            seed: of the learner and its environment.
            settings: of the base learner; default: those of the combination.
            device: of networks, memory and environment.
        """
        chosen = self.settings if settings is None else settings
        return self._named(self.base(task, seed, chosen, device, self.handler))  # type: ignore[call-arg]

    def load(self, path: str | Path, task: LearnableTask, device: torch.device | str = "cpu") -> Learner:
        """Loads a learner written by `save`; see `Learner.load`."""
        return self._named(self.base.load(path, task, device, self.handler))

    def _named(self, learner: Learner) -> Learner:
        learner.name = self.name
        return learner


# A model of the violation's response needs steps long enough to show it: a policy follows its multiplier over hundreds
# of updates, so the predictive controller acts once in 20 steps (40 updates).
PLO = Combination("plo", DSACT, Lagrangian(gains=PredictiveGains(), period=20))
DSACLagrangian = Combination("dsac-lagrangian", DSACT, Lagrangian(gains=IntegralGains()))
DSACPID = Combination("dsac-pid", DSACT, Lagrangian(gains=PIDGains()))
DSACPenalty = Combination("dsac-penalty", DSACT, FixedPenalty(weight=3.5))
DSACH = Combination("dsac-h", DSACT, Harmonic())
SACLagrangian = Combination("sac-lagrangian", SAC, Lagrangian(gains=IntegralGains()))
SACPID = Combination("sac-pid", SAC, Lagrangian(gains=PIDGains()))
SACPLO = Combination("sac-plo", SAC, Lagrangian(gains=PredictiveGains(), period=20))
# Published with the critics as the source of the violation. There, random actions make up a hundredth of the memory;
# here they are a third, so the critics' mean over the memory would largely be the cost of random actions. The
# violation is therefore measured on the runs.
CAL = Combination(
    "cal",
    SAC,
    ConservativeAugmented(source="episodes", period=10, convexity=3.0, gains=DualAdamGains(rate=0.05, maximum=100.0)),
)
# With integral action alone, PPO's cost oscillates about the budget, at any gain and by more than the usual reserve.
PPOLagrangian = Combination("ppo-lagrangian", PPO, Lagrangian(gains=IntegralGains(), margin=0.1))
PPOPID = Combination("ppo-pid", PPO, Lagrangian(gains=PIDGains()))

ALL = (
    PLO,
    DSACLagrangian,
    DSACPID,
    DSACPenalty,
    DSACH,
    SACLagrangian,
    SACPID,
    SACPLO,
    CAL,
    PPOLagrangian,
    PPOPID,
)
"""All combinations, for tests, comparisons and benchmarks. Only the fixed penalty ignores the budget: its default
weight is large enough for the small tasks, where it spends far less than allowed; elsewhere it guarantees nothing."""
