"""The data of off-policy learners: settings, networks, optimisers, replay buffer, warm-up and state."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from ctrl.controller import Controller, NotApplicable
from ctrl.filters import SafetyFilter
from ctrl.laws.saturated_linear import SaturatedLinear
from ctrl.regulator import LQR
from safe_rl.arithmetic import quick_arithmetic
from safe_rl.batched_filter import BatchedFilter
from safe_rl.buffer import Batch, ReplayBuffer
from safe_rl.cloning import RUNS, CloneTrials, Costs, clone
from safe_rl.environment import LearnableTask
from safe_rl.handlers.base import Handler
from safe_rl.jump_start import JumpStart
from safe_rl.networks import Ensemble
from safe_rl.optimiser import Adam
from safe_rl.policy import Policy
from safe_rl.residual import SHARE, ResidualTrials
from safe_rl.settings import expect_counts, expect_numbers, expect_widths
from safe_rl.training import Learner
from safe_rl.trials import Trials, regulator_law, stabilises
from safe_rl.worst_margin import worst_margin
from systems import Task
from systems.arguments import expect_number, expect_whole
from systems.envs.vector import VectorEnv
from systems.errors import InvalidValue


@dataclass(frozen=True)
class OffPolicySettings:
    """Settings of off-policy learners. Those that differ from the authors' are listed under `DSACT`."""

    hidden: tuple[int, ...] = (64, 64)
    """Widths of the hidden layers of policy and critics."""
    critic_rate: float = 1e-3
    """Adam step of the critics."""
    policy_rate: float = 1e-3
    """Adam step of the policy."""
    temperature_rate: float = 3e-3
    """Adam step of log(alpha)."""
    decay: int = 20_000
    """All Adam step sizes decrease linearly to a tenth over this number of updates, and stay there."""
    initial_log_temperature: float = -2.0
    """log(alpha) at the start."""
    entropy: float = -1.0
    """Target entropy per input, of actions counted in [-1, 1]."""
    averaging: float = 0.02
    """tau: share of the new weights in the targets, and of a new batch in the mean deviations s_i."""
    mean_updates: int = 1000
    """Updates over which `OffPolicy.mean_policy` averages the policy's weights."""
    delay: int = 2
    """Policy, temperature and targets are updated once in this number of updates."""
    batch_size: int = 256
    """Transitions per update."""
    capacity: int = 100_000
    """Capacity of the replay buffer in transitions."""
    warmup: int = 10_000
    """Transitions under uniform actions before the first update; they also fix the scales."""
    environments: int = 40
    """Environments stepped together."""
    evaluation_environments: int = 20
    """Number of environments that act without noise if constraints are handled; budgets are measured on these."""
    updates_per_step: int = 2
    """Updates for each step of all environments."""
    return_scale: float = 50.0
    """Rewards are scaled so that a return under uniform actions is about this large."""
    threads: int = 1
    """CPU threads while learning; one is fastest for small networks, and results depend on the number."""

    def __post_init__(self) -> None:
        expect_widths(self, ("hidden",))
        expect_counts(self, ("decay", "mean_updates", "delay", "batch_size", "capacity", "warmup"))
        expect_counts(self, ("environments", "updates_per_step", "threads"))
        expect_counts(self, ("evaluation_environments",), least=0)
        expect_numbers(self, ("critic_rate", "policy_rate", "temperature_rate", "return_scale"), above=0.0)
        expect_numbers(self, ("averaging",), above=0.0, most=1.0)
        expect_numbers(self, ("initial_log_temperature", "entropy"))
        if self.capacity < self.environments:
            raise InvalidValue(
                f"{type(self).__name__}: capacity = {self.capacity}, environments = {self.environments}: the buffer "
                "cannot hold one step of all environments; expected at least as many transitions, such as 100_000"
            )


class OffPolicy(Learner):
    """Networks, optimisers and replay memory of an actor-critic learner; a subclass writes `update`, the whole rule.

    The first two members of `critics` are the twins of the reward; after them come the cost critics of all
    constraints, `handler.members` times. One batched network holds them all.
    """

    settings: Any

    def __init__(
        self,
        task: LearnableTask,
        seed: int,
        settings: OffPolicySettings,
        device: torch.device | str,
        handler: Handler | None,
        *,
        outputs: int,
        target_policy: bool,
    ) -> None:
        self.expect_parts(settings, handler)
        s = settings
        super().__init__(
            task,
            seed,
            s,
            device,
            handler,
            environments=s.environments,
            evaluation_environments=s.evaluation_environments,
            hidden=s.hidden,
            threads=s.threads,
        )
        o, m = self.policy.observation_size, self.policy.action_size
        self.members = 1 if handler is None else handler.members
        costs = 0 if self.constraints is None else self.members * len(self.constraints.limits)
        self.buffer = ReplayBuffer(s.capacity, o, m, len(self.constraint_names), device=self.device)
        self.critics = Ensemble(2 + costs, [o + m, *s.hidden, outputs], self.generator)
        self.target_critics = copy.deepcopy(self.critics).requires_grad_(False)
        self.target_policy = copy.deepcopy(self.policy).requires_grad_(False) if target_policy else None
        self.log_alpha = nn.Parameter(torch.tensor(float(s.initial_log_temperature), device=self.device))
        self.mean_policy = copy.deepcopy(self.policy).requires_grad_(False)
        """Average of the policy over about the last `mean_updates` updates, to be used after training."""
        # The weights as lists, which updates of averages and optimisers take.
        self.policy_weights: list[Tensor] = list(self.policy.parameters())
        self.mean_weights: list[Tensor] = list(self.mean_policy.parameters())
        self.online_weights: list[Tensor] = list(self.critics.parameters())
        self.target_weights: list[Tensor] = list(self.target_critics.parameters())
        if self.target_policy is not None:
            self.online_weights += self.policy_weights
            self.target_weights += list(self.target_policy.parameters())
        self.critic_optimiser = Adam([(list(self.critics.parameters()), s.critic_rate)])
        temperature: list[Tensor] = [self.log_alpha]
        self.actor_optimiser = Adam([(self.policy_weights, s.policy_rate), (temperature, s.temperature_rate)])
        self.trials: Trials | None = None
        """Of a residual policy against its regulator, or of a clone; None without one."""

    def residual(self, controller: Callable[[Task], Controller] = LQR, share: float = SHARE) -> Self:
        """Learns what to add to a regulator, u = clip(regulator + share * policy), exploring around it.

        `result` is then the policy that cost least in trials against the regulator, which are run while it learns, and
        the regulator itself as long as none cost less (`trials`). Call it before `learn`; a checkpoint remembers it.

        Args:
            controller: makes the regulator of the task.
            share: of half the range of an input that the policy may add at first; it grows while that helps.

        Raises:
            NotApplicable: the controller has no linear law of what the policy observes.
            InvalidValue: updates have been made, constraints are handled, a jump start is given, or the task is an
                external environment.
        """
        expect_number(share, "share", above=0.0, most=1.0, hint="such as 0.1")
        self._expect_fresh("residual")
        self._begin_residual(regulator_law(self.task, controller), share)
        return self

    def clone(self, controller: Callable[[Task], Controller], runs: int = RUNS) -> Self:
        """Starts as a copy of a controller and continues learning from there.

        The copy is fitted to `runs` runs of the controller, and to what the controller would do along as many runs of
        the copy. Then data come from the copy and its exploration, and for 2,000 updates only the critics learn.

        `result` is the policy that cost least in trials, which are run while it learns: the copy, what was learned
        from it, or LQR as long as that applies and none cost less (`trials`). Call it before `learn`; a checkpoint
        remembers it.

        Args:
            controller: makes what is copied: `LQR`, `NonlinearMPC`, a function of the task.
            runs: of the controller.

        Raises:
            NotApplicable: the controller cannot control the task.
            InvalidValue: updates have been made, constraints are handled, a jump start is given, or the task is an
                external environment.
        """
        expect_whole(runs, "runs", least=1, hint="such as 30")
        self._expect_fresh("clone")
        environment = self.collector.environment
        if not isinstance(environment, VectorEnv):
            raise InvalidValue(
                "clone() copies a controller that reads the plant's state, which only environments of a systems.Task "
                "provide"
            )
        assert isinstance(self.task, Task)
        s = self.settings
        with quick_arithmetic(s.threads):
            costs = clone(self.task, controller, self.policy, environment, runs, self.seed, s.entropy, self.generator)
        for other in self._policies()[1:]:
            other.load_state_dict(self.policy.state_dict())
        self._begin_clone(costs)
        return self

    def filtered(self, safety_filter: SafetyFilter) -> Self:
        """Acts and learns through a safety filter: what is applied is what is stored and what critics evaluate.

        The policy's gradient passes through the filter, so an unsafe proposal gains nothing over the input that
        replaces it, and critics are only asked about inputs that the filter lets pass. Uniform actions of the warm-up
        are filtered too. `controller()` is the policy with its filter. Call it before `learn`, and again after `load`.

        Args:
            safety_filter: a `BarrierFilter` of the same plant, see `BatchedFilter`.

        Raises:
            NotApplicable: another filter; several conditions on several inputs; or a policy that does not observe the
                state.
            InvalidValue: updates have been made without it, the learner is a residual or a clone, the task is an
                external environment, or the filter is that of another plant.
        """
        batched = BatchedFilter(safety_filter, self.device)
        if self.trials is not None or (self.prepared and not self.collector.lacks_filter):
            raise InvalidValue("call filtered() before the first update, and not together with residual() or clone()")
        task, of_filter = self.task, safety_filter.task
        if isinstance(task, Task):
            if task.observation is not None:
                raise NotApplicable(
                    f"task '{task.name}': its policy observes something other than the state, which a filter needs; "
                    "omit the observation from the task"
                )
            if (of_filter.plant, of_filter.dt) != (task.plant, task.dt):
                raise InvalidValue(
                    f"the filter is for plant {of_filter.plant.name} at {of_filter.dt:g} s, but task '{task.name}' has "
                    f"{task.plant.name} at {task.dt:g} s; construct the filter with this task"
                )
        self.collector.set_filter(batched)
        for policy in self._policies():
            policy.filtered_by = batched.safety_filter.description
        return self

    def applied(self, observation: Tensor, action: Tensor) -> Tensor:
        """The actions (b, m) that are applied if these are proposed: themselves without a filter."""
        batched = self.collector.filter
        if batched is None:
            return action
        assert isinstance(self.task, Task)
        state = observation[:, : len(self.task.plant.state)]  # the first entries of an observation of the state
        return self.policy.normalised(batched(state, self.policy.physical(action)))

    def with_jump_start(self, start: JumpStart) -> Self:
        if isinstance(self.trials, CloneTrials):
            raise InvalidValue("a clone already starts as its controller; omit the jump start or the clone")
        return super().with_jump_start(start)

    def _expect_fresh(self, method: str) -> None:
        with_others = self.collector.jump_start is not None or self.collector.filter is not None
        if self.prepared or with_others or self.trials is not None:
            raise InvalidValue(f"call {method}() once, before the first update, and without a jump start or filter")
        if self.handler is not None:
            raise InvalidValue(
                f"{method}() selects the policy of least cost regardless of constraints; learn without a handler"
            )

    def choose_regulator(self) -> str:
        """Learns a residual on LQR where that brings the runs of the task to the reference and no constraint is
        handled; a sentence that says so, or an empty one."""
        if self.handler is not None or not stabilises(self.task):
            return ""
        self.residual()
        return f"LQR brings the runs of task '{self.task.name}' to the reference; learning a residual on it"

    def _policies(self) -> list[Policy]:
        return [p for p in (self.policy, self.target_policy, self.mean_policy) if p is not None]

    def _begin_residual(self, law: SaturatedLinear, share: float) -> None:
        assert isinstance(self.task, Task)
        self.trials = ResidualTrials(self.task, law, self._policies(), share)

    def _begin_clone(self, costs: Costs) -> None:
        assert isinstance(self.task, Task)
        self.trials = CloneTrials(self.task, self._policies(), costs)

    @property
    def actor_factor(self) -> float:
        """Factor on the step sizes of policy and temperature: 0 while the critics learn alone."""
        return float(self.trials is None or self.updates >= self.trials.waits)

    @abstractmethod
    def update(self, batch: Batch) -> None:
        """One step of the rule on a batch; raises `updates` by one."""

    @property
    def result(self) -> Policy:
        """`mean_policy`; of a residual policy or a clone, the best in trials."""
        return self.mean_policy if self.trials is None else self.trials.best

    def compile(self) -> None:
        """Let `torch.compile` make kernels of `update`; the numbers agree to rounding, no longer to the bit.

        For accelerators and large networks. On a CPU it takes about a minute and gains nothing: an update took 1.3
        times as long with two layers of 64 units, and the same with 256. Not stored: a loaded learner has it not.
        """
        for optimiser in self._optimisers().values():  # its kernel is fused already, and moves what is compiled
            optimiser.step = torch.compiler.disable(optimiser.step)  # type: ignore[method-assign]
        self.update = torch.compile(self.update)  # type: ignore[method-assign]

    def prepare(self) -> None:
        """Fill the memory with uniform actions, fix the scales of observations, reward and costs.

        A clone acts itself, and its scales of observations are those that it was fitted with.
        """
        is_clone = isinstance(self.trials, CloneTrials)
        collect = self.collector.collect if is_clone else self.collector.collect_random
        while self.buffer.size < min(self.settings.warmup, self.settings.capacity):
            self.buffer.add(collect())
        rows = self.buffer.contents()
        survival = self.fix_scales(rows, () if is_clone else self._policies(), self.settings.return_scale)
        # The critics start at the mean of the scaled sums, not near 0.
        with torch.no_grad():
            means = (self.reward_scale * rows.reward.mean()).expand(2)
            if self.constraints is not None:
                if self.constraints.margins is None:
                    costs = self.constraints.scaled(rows.cost).mean(dim=1)
                else:
                    self.constraints.fix_margin_scales(self._margins(rows), self.settings.return_scale)
                    costs = (1.0 - survival) * self._scaled_margins(rows).mean(dim=1)
                means = torch.cat((means, costs.repeat(self.members)))
            for critics in (self.critics, self.target_critics):
                critics.biases[-1][:, 0] += (means / (1.0 - survival)).unsqueeze(1)

    def _margins(self, batch: Batch) -> Tensor:
        assert self.constraints is not None
        assert self.constraints.margins is not None
        return self.constraints.margins(batch.observation, self.policy.physical(batch.action, batch.observation))

    def _scaled_margins(self, batch: Batch) -> Tensor:
        assert self.constraints is not None
        return self._margins(batch) * self.constraints.scale.unsqueeze(1)

    def cost_targets(self, batch: Batch, successor: Tensor) -> Tensor:
        """Targets of the cost critics, (members * c, b), from their values of the successors, (members * c, b)."""
        assert self.constraints is not None
        if self.constraints.margins is not None:
            margins = self._scaled_margins(batch).repeat(self.members, 1)
            return worst_margin(margins, successor, self.discount, batch.terminated)
        cost = self.constraints.scaled(batch.cost).repeat(self.members, 1)
        return cost + self.discount * (1.0 - batch.terminated) * successor

    def iterate(self) -> None:
        if self.updates % self.settings.updates_per_step == 0:
            self.buffer.add(self.collector.collect())
            if self.constraints is not None:
                self.constraints.update_multipliers()
        self.update(self.buffer.sample(self.settings.batch_size, self.generator))
        if self.trials is not None and self.trials.is_due(self.updates):
            self.trials.run()

    # ---- state ----

    def diagnostics(self) -> dict[str, float]:
        own = {"temperature": float(self.log_alpha.detach().exp()), "reward_scale": float(self.reward_scale)}
        return own if self.trials is None else own | self.trials.diagnostics

    def learner_state(self) -> dict[str, Any]:
        return {
            "networks": {name: module.state_dict() for name, module in self._modules().items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self._optimisers().items()},
            "buffer": self.buffer.state_dict(),
            "log_alpha": self.log_alpha.detach(),
            "trials": None if self.trials is None else self.trials.state_dict(),
        }

    def load_learner_state(self, state: dict[str, Any]) -> None:
        stored = state.get("trials")
        if stored is not None and "law" in stored and self.trials is None:
            self._begin_residual(ResidualTrials.law_of(stored), float(stored["unit"]))
        for name, module in self._modules().items():
            module.load_state_dict(state["networks"][name])
        for name, optimiser in self._optimisers().items():
            optimiser.load_state_dict(state["optimisers"][name])
        if stored is not None and self.trials is None:
            self._begin_clone(CloneTrials.costs_of(stored))
        if stored is not None and self.trials is not None:
            self.trials.load_state_dict(stored)
        self.buffer.load_state_dict(state["buffer"])
        if (self.buffer.size > 0) != (self.collector.steps > 0):
            raise ValueError(
                f"{self.buffer.size} transitions for {self.collector.steps} steps; expected both or neither"
            )
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])

    def networks(self) -> dict[str, nn.Module | Tensor]:
        return {**self._modules(), "temperature": self.log_alpha}

    def _modules(self) -> dict[str, nn.Module]:
        modules: dict[str, nn.Module] = {"policy": self.policy, "mean_policy": self.mean_policy}
        if self.target_policy is not None:
            modules["target_policy"] = self.target_policy
        return modules | {"critics": self.critics, "target_critics": self.target_critics}

    def _optimisers(self) -> dict[str, Adam]:
        return {"critic": self.critic_optimiser, "actor": self.actor_optimiser}
