"""A safety filter for the actions of a learner in Gymnasium."""

from __future__ import annotations

from collections import Counter
from typing import Any, final

import gymnasium
import numpy as np

from ctrl.filters.safety_filter import Interventions, Reason, SafetyFilter
from systems import InvalidValue
from systems.errors import NotReady, expect

__all__ = ["FilteredActions"]


@final
class FilteredActions(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A task's environment whose actions pass through a safety filter.

    In addition to the environment's own entries, ``info`` contains ``applied`` (m,), the applied input, and
    ``intervention``, the reason as text, empty if the action was applied unchanged. To learn from the filtered action,
    store ``info["applied"]`` in place of the action.

    Args:
        env: ``task.env()``, or another environment whose ``info`` contains the state (n,) as ``"state"`` and whose
            actions are inputs in the units of the plant.
        safety_filter: decides which actions are applied.

    Raises:
        InvalidValue: not an environment or not a filter; the environment does not expose its state.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], safety_filter: SafetyFilter) -> None:
        expect(env, gymnasium.Env, "the environment of FilteredActions", "such as task.env()")
        expect(safety_filter, SafetyFilter, "the filter of FilteredActions", "such as Shield(task, certificate)")
        super().__init__(env)
        self.safety_filter, self._k = safety_filter, 0
        self._x: np.ndarray | None = None
        self._steps, self._reasons = 0, Counter[Reason]()

    @property
    def statistics(self) -> Interventions:
        """How often the filter intervened, and why, in all runs so far."""
        return Interventions(self._steps, dict(self._reasons))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts a run; the arguments are those of the environment."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.safety_filter.reset()
        self._x, self._k = self._state(info), 0
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Applies the filtered action for one sample.

        Raises:
            NotReady: ``reset()`` was never called.
        """
        if self._x is None:
            raise NotReady("step() before the first reset(); call reset() to draw a start")
        proposed = np.asarray(action, dtype=np.float64).reshape(-1)
        correction = self.safety_filter.correct(self._x, proposed, self._k)
        observation, reward, terminated, truncated, info = self.env.step(correction.input)
        self._x, self._k, self._steps = self._state(info), self._k + 1, self._steps + 1
        if correction.reason is not None:
            self._reasons[correction.reason] += 1
        more = {"applied": correction.input.copy(), "intervention": str(correction.reason or "")}
        return observation, reward, terminated, truncated, {**info, **more}

    def _state(self, info: dict[str, Any]) -> np.ndarray:
        n = len(self.safety_filter.task.plant.state)
        x = np.asarray(info.get("state", ()), dtype=np.float64)
        if x.shape != (n,):
            raise InvalidValue(
                f"the environment's info has no 'state' of shape ({n},), which the filter needs; wrap task.env(), or "
                "add the state to info"
            )
        return x.copy()
