"""Cloning: a policy that begins as a copy of a controller (Pomerleau, 1991), fitted in two rounds (Ross et al., 2011).

In the first round the controller acts; in the second the copy acts, and the controller provides the inputs that it
would have applied, so that small errors do not lead the copy away from its training data.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ctrl.comparison.draws import draw_all
from ctrl.controller import BatchController, Controller, NotApplicable
from ctrl.loop import simulate
from ctrl.regulator import LQR
from ctrl.trajectories import Trajectories
from safe_rl.controller import PolicyController
from safe_rl.optimiser import Adam, decayed
from safe_rl.policy import Policy
from safe_rl.trials import Trials, regulator_law, set_share, simulated
from systems import InvalidValue, Task
from systems.arguments import expect_factory
from systems.envs.vector import VectorEnv
from systems.errors import TriviumError, shown

__all__ = ["RUNS", "CloneTrials", "clone"]

RUNS = 30
"""Number of runs of the controller in the first round, and of its copy in the second."""

_SEED = 2**33  # the first seed of these runs, larger than those of comparisons and trials
_STEPS, _BATCH, _RATE = 8_000, 256, 3e-3  # of Adam, in each round
_HALF_LOG_2PI_E = 1.4189385332046727  # entropy of a normal distribution of deviation 1


class Costs(NamedTuple):
    """Mean costs of a controller's runs, and of its copy from the same starts."""

    of_controller: float
    of_copy: float


def clone(
    task: Task,
    controller: Callable[[Task], Controller],
    policy: Policy,
    environment: VectorEnv,
    runs: int,
    seed: int,
    entropy: float,
    generator: torch.Generator,
) -> Costs:
    """Fits a policy to a controller, with the entropy that a learner aims at for exploration.

    Args:
        task: whose runs are simulated.
        controller: factory of the controller to copy.
        policy: whose weights and scales of observations are set.
        environment: defines the observation of the policy.
        runs: number of runs in each round.
        seed: of starts and disturbances.
        entropy: of an action, per input, with actions counted in [-1, 1].
        generator: of the batches of the regression.

    Raises:
        InvalidValue: an object that is not a controller factory.
        NotApplicable: all runs of the controller leave the domain at once, or the policy observes measured signals.
    """
    expect_factory(controller, "task", "controller", "a factory of controllers of a task, such as LQR")
    if task.observes_measurement:
        raise NotApplicable(
            f"policies of task '{task.name}' observe its measured signals, but a controller is cloned as a function of "
            "the state; clone it on dataclasses.replace(task, measurement=None, observation=None) and combine the "
            "policy with an estimator, or learn without a clone"
        )
    task = simulated(task)
    made = controller(task)
    if not isinstance(made, Controller):
        raise InvalidValue(
            f"controller makes {shown(made)}, which has no reset() and step(x, k); expected a factory of controllers "
            "of a task, such as LQR"
        )
    first, second = (draw_all(task, runs, (_SEED + 2 * seed + i,)) for i in range(2))
    its = simulate(task, made, **first.arguments)
    rows = [_Rows.of(its, its.inputs, environment)]
    if not len(rows[0].inputs):
        raise NotApplicable(
            f"{shown(made)} leaves the domain of task '{task.name}' at once, so there is nothing to clone; give a "
            "controller that stays in it"
        )
    _fit(policy, rows, entropy, generator)
    own = simulate(task, PolicyController(task, policy), **second.arguments)
    rows.append(_Rows.of(own, _answers(made, own), environment))
    _fit(policy, rows, entropy, generator)
    mine = simulate(task, PolicyController(task, policy), **first.arguments)
    return Costs(*(float(np.where(np.isfinite(c), c, np.inf).mean()) for c in (its.cost, mine.cost)))


class _Rows(NamedTuple):
    """Observations of a policy, (rows, o), and the inputs that it should choose for them, (rows, m)."""

    observations: Tensor
    inputs: Tensor

    @staticmethod
    def of(trajectories: Trajectories, inputs: np.ndarray, environment: VectorEnv) -> _Rows:
        """The samples of runs before they left the domain."""
        states = trajectories.states[:, :-1]
        k = np.broadcast_to(np.arange(states.shape[1]), states.shape[:2])
        present = ((trajectories.left < 0)[:, None] | (k < trajectories.left[:, None])) & np.isfinite(inputs).all(-1)
        x = torch.as_tensor(states[present], dtype=torch.float32, device=environment.device)
        observation = environment.model.observe(x, torch.as_tensor(k[present], device=environment.device))
        return _Rows(
            observation.to(torch.float32),
            torch.as_tensor(inputs[present], dtype=torch.float32, device=observation.device),
        )


def _answers(controller: Controller, trajectories: Trajectories) -> np.ndarray:
    """The inputs of a controller along the runs of another, (b, steps, m)."""
    inputs, states = np.empty_like(trajectories.inputs), trajectories.states
    if isinstance(controller, BatchController):
        for k in range(inputs.shape[1]):
            inputs[:, k] = controller.batch(states[:, k], k)
        return inputs
    for run, left in enumerate(trajectories.left):
        controller.reset()
        for k in range(inputs.shape[1]):
            stopped = 0 <= left <= k
            inputs[run, k] = np.nan if stopped else controller.step(states[run, k], k).input
    return inputs


def _fit(policy: Policy, rows: Sequence[_Rows], entropy: float, generator: torch.Generator) -> None:
    """Fits the mean action by Adam on squared errors, each input in units of the spread of its data."""
    observation, inputs = (torch.cat(part) for part in zip(*rows, strict=True))
    m = policy.action_size
    std, mean = torch.std_mean(observation, dim=0, correction=0)
    policy.observation_mean.copy_(mean)
    policy.observation_std.copy_(torch.where(std > 1e-6 * (1.0 + mean.abs()), std, 1.0))
    action = ((inputs - policy.action_centre) / policy.action_half).clamp(-1.0, 1.0)
    spread = action.std(dim=0, correction=0).clamp(min=1e-3)
    scaled = policy.scale(observation)
    weights = list(policy.network.parameters())
    optimiser = Adam([(weights, _RATE)])
    for step in range(_STEPS):
        chosen = torch.randint(len(action), (_BATCH,), generator=generator, device=generator.device)
        action_of_copy = torch.tanh(policy.network(scaled[chosen])[:, :m])
        loss = F.mse_loss(action_of_copy / spread, action[chosen] / spread)
        optimiser.step(torch.autograd.grad(loss, weights), decayed(step, _STEPS) ** 2)
    with torch.no_grad():
        policy.network.weights[-1][m:] = 0.0
        policy.network.biases[-1][m:] = entropy - _HALF_LOG_2PI_E


@final
class CloneTrials(Trials):
    """Compares the policy of a learner that started as a copy of a controller with the copy and with LQR, and keeps the
    best: LQR itself, if it applies, until a policy costs less.

    Args:
        task: whose runs are simulated.
        policies: of the learner; the last one is tested, and is the copy at first.
        costs: of the copy and of the controller.
    """

    waits = 2_000

    def __init__(self, task: Task, policies: Sequence[Policy], costs: Costs) -> None:
        self.copied = costs
        super().__init__(task, policies, copy.deepcopy(policies[-1]))
        self._of_copy = self.of_best
        self._of_lqr: np.ndarray | None = None
        try:
            regulator = copy.deepcopy(policies[-1])
            regulator.with_regulator(regulator_law(self.task, LQR), 1.0)
        except TriviumError:
            return
        set_share(regulator, 0.0)
        self._of_lqr = self.costs(regulator)
        if not self._of_copy.mean() < self._of_lqr.mean():
            self.best, self.of_best = regulator.requires_grad_(False), self._of_lqr

    @property
    def diagnostics(self) -> dict[str, float]:
        """Mean costs in the trials of the policy kept, the copy and LQR, and of controller and copy in the runs that
        were copied."""
        lqr = {} if self._of_lqr is None else {"clone cost of LQR": float(self._of_lqr.mean())}
        return {
            "clone cost kept": float(self.of_best.mean()),
            "clone cost at first": float(self._of_copy.mean()),
            **lqr,
            "copied cost of the controller": self.copied.of_controller,
            "copied cost of the clone": self.copied.of_copy,
        }

    def run(self) -> None:
        policy = self.policies[-1]
        self.keep(policy, self.costs(policy))

    def state_dict(self) -> dict[str, Any]:
        lqr = torch.zeros(0) if self._of_lqr is None else torch.from_numpy(self._of_lqr)
        return {
            "costs": list(self.copied),
            "best": self.best.content(),
            "of copy": torch.from_numpy(self._of_copy),
            "of LQR": lqr,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self._of_copy = state["of copy"].numpy()
        self._of_lqr = state["of LQR"].numpy() if len(state["of LQR"]) else None

    @staticmethod
    def costs_of(state: dict[str, Any]) -> Costs:
        """The costs of copy and controller in a `state_dict`."""
        return Costs(*(float(cost) for cost in state["costs"]))
