"""Residual learning: a policy that adds to the law of a regulator and is compared with it during training.

Residual reinforcement learning: Johannink et al. (2019), Silver et al. (2018, arXiv 1812.06298).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch

from ctrl.laws.saturated_linear import SaturatedLinear
from safe_rl.policy import Policy
from safe_rl.trials import Trials, set_share
from systems import Task

__all__ = ["SHARE", "ResidualTrials"]

SHARE = 0.1
"""Initial share of half the range of an input that a residual may add."""

_GROWTH, _SHRINKAGE, _LEAST = 1.5, 0.5, 0.02
_SURE = 2.0  # standard errors
_PATIENCE = 4  # trials in a row with a higher cost before the share is halved; at first the cost is often higher


@final
class ResidualTrials(Trials):
    """Compares the residual policy of a learner with its regulator, and keeps the best.

    The averaged policy is tested with its share and with half of it. The share grows by half if the policy costs less
    than the regulator by more than two standard errors of the paired differences. It is halved if the policy has cost
    more in four trials in a row, or if a run overflows. The policy with the lowest cost so far is kept, at first the
    regulator itself, so on the runs of the trials it never costs more than the regulator.

    Args:
        task: whose runs are simulated.
        law: of the regulator.
        policies: of the learner, which have a common residual; the last one is tested.
        unit: initial share.
    """

    waits = 2_000

    def __init__(self, task: Task, law: SaturatedLinear, policies: Sequence[Policy], unit: float) -> None:
        self.law, self.unit, self._worse = law, unit, 0
        for policy in policies:
            policy.with_regulator(law, unit)
        best = copy.deepcopy(policies[-1])
        set_share(best, 0.0)
        super().__init__(task, policies, best)
        self._of_regulator = self.of_best

    @property
    def share(self) -> float:
        """Share of half the range of an input that the policy in training may add."""
        return _share_of(self.policies[0])

    @property
    def diagnostics(self) -> dict[str, float]:
        """Shares of the policies in training and kept, and the mean costs of the latter and of the regulator."""
        return {
            "residual share": self.share,
            "residual share kept": _share_of(self.best),
            "residual cost kept": float(self.of_best.mean()),
            "residual cost of the regulator": float(self._of_regulator.mean()),
        }

    def run(self) -> None:
        candidate = copy.deepcopy(self.policies[-1])
        full = self.costs(candidate)
        self.keep(candidate, full)
        set_share(candidate, self.share / 2)
        self.keep(candidate, self.costs(candidate))
        gain = self._of_regulator - full
        if not np.isfinite(full).all():
            self._worse = _PATIENCE
        else:
            doubt = _SURE * float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
            if gain.mean() > doubt:
                self._grow(_GROWTH)
            self._worse = self._worse + 1 if gain.mean() < -doubt else 0
        if self._worse >= _PATIENCE:
            self._grow(_SHRINKAGE)
            self._worse = 0

    def _grow(self, factor: float) -> None:
        """Changes the share of all policies; their means stay about the same in physical units."""
        before = self.share
        share = min(max(before * factor, _LEAST), 1.0)
        for policy in self.policies:
            policy.scale_mean(before / share)
            set_share(policy, share)

    def state_dict(self) -> dict[str, Any]:
        law = {name: torch.from_numpy(np.array(getattr(self.law, name))) for name in _LAW}
        return {"law": law, "unit": self.unit, "worse": self._worse, "best": self.best.content()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._worse = int(state["worse"])

    @staticmethod
    def law_of(state: dict[str, Any]) -> SaturatedLinear:
        """The law in a `state_dict`."""
        return SaturatedLinear(*(state["law"][name].numpy() for name in _LAW))


_LAW = ("K", "x_ref", "u_ref", "lower", "upper")


def _share_of(policy: Policy) -> float:
    assert policy.regulator is not None
    return float(policy.regulator.share)
