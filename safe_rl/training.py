"""The part common to all learners: the training loop, evaluation, saving and exact resumption."""

from __future__ import annotations

import dataclasses
import platform
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from ctrl.answers import described
from ctrl.controller import Controller
from ctrl.filters import BarrierFilter, Filtered
from safe_rl import resumption
from safe_rl.answers import learner_answers, objective
from safe_rl.arithmetic import quick_arithmetic
from safe_rl.buffer import Batch
from safe_rl.checkpoint import read_checkpoint, write_checkpoint
from safe_rl.collector import Collector
from safe_rl.constraints import Constraints
from safe_rl.controller import PolicyController
from safe_rl.divergence import LastFinite
from safe_rl.environment import LearnableTask, expect_action_bounds, expect_learnable
from safe_rl.evaluation import evaluate
from safe_rl.handlers.base import Handler
from safe_rl.interruption import deferred_interrupt
from safe_rl.jump_start import JumpStart, JumpStartSettings
from safe_rl.policy import Policy
from safe_rl.progress import LOG, Monitor, Record
from safe_rl.run_plan import RunPlan
from safe_rl.scales import fix_scales
from systems import Task
from systems.arguments import expect_array, expect_flag, expect_number, expect_seed
from systems.envs.vector import expect_device
from systems.errors import InvalidValue, TriviumError, expect
from systems.files import kept, locked

__all__ = ["Learner", "RunExists"]


class RunExists(TriviumError, FileExistsError):
    """A new learner would overwrite an existing checkpoint."""


class Learner(ABC):
    """Base class of training algorithms.

    A subclass holds its networks and defines `prepare`, `iterate`, `diagnostics` and the two halves of its state; this
    class provides the loop, the files and the statistics. All random numbers come from `generator` and the
    environment's generator, never from torch's global one, so a learner's numbers do not depend on what else the
    program draws.

    Args:
        task: defines the environment, the discount and the name.
        seed: of the learner and of its environment.
        settings: a frozen dataclass of numbers, strings and tuples.
        device: of networks, memory and environment.
        handler: of the task's constraints; None learns the reward alone.
        environments: how many are stepped together.
        evaluation_environments: how many of them run without exploration noise if there is a handler, so that budgets
            are measured for the policy as it will be used; 0 measures all of them, with noise.
        hidden: widths of the policy's hidden layers.
        threads: of torch, while it learns.

    `name` labels it in the progress display and the log: the name of its combination, or of its parts. `checkpoint` is
    where `learn` wrote the last one. `baselines` are returns of other controllers, by name, to show beside its own.
    """

    settings_type: ClassVar[type[Any]]

    @property
    def approximations(self) -> tuple[str, ...]:
        """Approximations of the task, in words; empty for external environments."""
        task = self.task
        if not isinstance(task, Task):
            return ()
        return (objective(task), *learner_answers(self.handler is not None).read(task))

    def __repr__(self) -> str:
        return described(f"{self.name} on task '{self.task.name}', {self.updates} updates", self.approximations)

    def __init__(
        self,
        task: LearnableTask,
        seed: int,
        settings: Any,
        device: torch.device | str,
        handler: Handler | None,
        *,
        environments: int,
        evaluation_environments: int,
        hidden: Sequence[int],
        threads: int,
    ) -> None:
        self.task = task
        self.name = type(self).__name__ + ("" if handler is None else f" + {type(handler).__name__}")
        self.seed = expect_seed(seed)
        self.settings = settings
        self.device = expect_device(device)
        expect_learnable(task, f"the task of {type(self).__name__}")
        hint = "which a learner needs, such as 0.99"
        self.discount = float(
            expect_number(task.discount, f"task '{task.name}': discount", least=0.0, below=1.0, hint=hint)
        )
        # Two independent streams; with the same seed, the first weights and the first starts would be correlated.
        own, chance = np.random.SeedSequence(seed).generate_state(2)
        self.generator = torch.Generator(device=self.device).manual_seed(int(own))
        environment = task.vector_env(environments, device=self.device, seed=int(chance))
        self.constraint_names = tuple(environment.constraint_names)
        expect_action_bounds(environment.action_low.cpu(), environment.action_high.cpu(), f"task '{task.name}'")
        self.policy = Policy(
            environment.observation_size,
            environment.action_low,
            environment.action_high,
            hidden,
            self.generator,
        )
        self.handler = handler
        if handler is not None and evaluation_environments >= environments:
            raise InvalidValue(
                f"evaluation_environments = {evaluation_environments}, environments = {environments}: none is left to "
                f"explore with noise; expected fewer, such as evaluation_environments = {environments // 2}"
            )
        measured = evaluation_environments or environments
        self.constraints = None if handler is None else Constraints(task, handler, measured, self.device)
        noiseless = 0 if handler is None else evaluation_environments
        self.collector = Collector(environment, self.policy, self.generator, self.constraints, noiseless, task.name)
        self.reward_scale = torch.ones((), device=self.device)
        self.updates = 0
        self.prepared = False
        self.history: list[Record] = []
        self.baselines: dict[str, float] = {}
        self.checkpoint: Path | None = None
        self._last_finite: LastFinite | None = None
        self._threads = threads

    def expect_parts(self, settings: Any, handler: Any) -> None:
        """Rejects objects that are not settings or handlers."""
        name = type(self).__name__
        expect(settings, self.settings_type, f"settings of {name}", "such as it has with all of its defaults")
        if handler is not None:
            expect(handler, Handler, f"handler of {name}", "such as safe_rl.handlers.Lagrangian(gains=PIDGains())")

    @abstractmethod
    def prepare(self) -> None:
        """Collects warm-up data and fixes the scales, before the first update."""

    @abstractmethod
    def iterate(self) -> None:
        """Collects the transitions that are due, makes one update and increments `updates`."""

    @abstractmethod
    def networks(self) -> dict[str, nn.Module | Tensor]:
        """All trained networks by name, including the policies."""

    @abstractmethod
    def diagnostics(self) -> dict[str, float]:
        """Returns quantities to plot during training."""

    @abstractmethod
    def learner_state(self) -> dict[str, Any]:
        """The state of the subclass that `iterate` depends on: networks, optimisers, buffer, averages."""

    @abstractmethod
    def load_learner_state(self, state: dict[str, Any]) -> None:
        """Restores the state that `learner_state` returned."""

    def fix_scales(self, rows: Batch, policies: Sequence[Policy], return_scale: float) -> float:
        """Fixes the scales of observations, reward and costs; see `scales.fix_scales`."""
        survival, reward_scale = fix_scales(
            rows, policies, self.constraints, self.discount, return_scale, f"task '{self.task.name}'"
        )
        self.reward_scale.copy_(reward_scale)
        return survival

    def with_jump_start(self, start: JumpStart) -> Self:
        """Lets a prior policy begin the runs (see `JumpStart`); call it before `learn`, and again after `load`."""
        expect(start, JumpStart, "the jump start of a learner", "such as JumpStart(task, LQR)")
        self.collector.set_jump_start(start)
        return self

    def guided(self, controller: Callable[[Task], Controller], settings: JumpStartSettings | None = None) -> Self:
        """Lets another controller begin the runs, for an ever shorter part: `with_jump_start` on this task.

        Args:
            controller: constructs the prior policy: `LQR`, `NonlinearMPC`, a function of the task.
            settings: default: those of `JumpStartSettings`.

        Raises:
            InvalidValue: the task is an external environment, or the learner is a residual or a clone.
        """
        expect(self.task, Task, "the task of guided()", "whose state the prior policy observes")
        assert isinstance(self.task, Task)
        return self.with_jump_start(JumpStart(self.task, controller, settings))

    @property
    def result(self) -> Policy:
        """The policy to use after training."""
        return self.policy

    @property
    def safety_filter(self) -> BarrierFilter | None:
        """The filter through which actions pass; None if there is none."""
        return None if self.collector.filter is None else self.collector.filter.safety_filter

    def controller(self) -> PolicyController | Filtered:
        """`result` as a controller, behind the filter that it was trained with, if there is one.

        Raises:
            InvalidValue: the task is an external environment.
        """
        expect(self.task, Task, "the task of controller()", "of whose state a controller is a function")
        assert isinstance(self.task, Task)
        policy = PolicyController(self.task, self.result)
        return policy if self.safety_filter is None else Filtered(policy, self.safety_filter)

    def learn(
        self,
        updates: int | None = None,
        progress: bool = True,
        checkpoint: str | Path | None = None,
        *,
        steps: int | None = None,
        checkpoint_every: int = 2000,
        evaluate_every: int | None = None,
        log: str | Path | None = None,
    ) -> Self:
        """Trains until the total number of updates, including those before a resumption, is `updates`.

        Args:
            steps: train until this many transitions have been collected instead, including the warm-up.
            progress: show a progress bar if the output is a terminal.
            checkpoint: file from which the run can be resumed exactly, written every `checkpoint_every` updates, at the
                end and on Ctrl-C. A new learner refuses to overwrite an existing one. If it cannot be written, training
                continues with a warning, and the last one is written to the current folder or to the folder for
                temporary files.
            evaluate_every: number of updates after which the mean actions of `result`, which is saved, and of `policy`,
                whose costs are measured, are evaluated; this does not change the run.
            log: folder for `progress.csv` and, if TensorBoard is installed, its files.

        Raises:
            InUse: another process learns with the same checkpoint or log.
            KeyboardInterrupt: Ctrl-C; if there is a checkpoint, after the current update, once it is written.
            InvalidValue: invalid arguments, or an environment that returns invalid values such as NaN.
            RunExists: the checkpoint is that of another run.
            TrainingDiverged: weights became NaN or infinite. `policy` and `result` are those of the last check before,
                and the checkpoint is the last one written before.
        """
        plan = RunPlan.until(updates, steps, checkpoint, checkpoint_every, evaluate_every, log)
        expect_flag(progress, "progress")
        made = plan.made(self.updates, self.collector.steps)
        if plan.goal < made and self.updates:
            raise InvalidValue(
                f"{plan.goal} {plan.unit} were requested and {made} have already been made; `{plan.unit}` counts "
                f"from the beginning: request more than {made}"
            )
        if self.collector.lacks_jump_start:
            raise InvalidValue(
                "this run was started with a jump start; give it again: learner.with_jump_start(JumpStart(task, "
                "prior_policy))"
            )
        if self.collector.lacks_filter:
            raise InvalidValue(
                "this run was started with a safety filter; give it again: learner.filtered(safety_filter)"
            )
        folder = None if log is None else Path(log)
        limits = () if self.constraints is None else self.constraints.limits
        with ExitStack() as stack:
            for written in (checkpoint, None if folder is None else folder / LOG):
                if written is not None:
                    stack.enter_context(locked(written))
            if checkpoint is not None and self.updates == 0 and Path(checkpoint).exists():
                raise RunExists(
                    f"{checkpoint} exists and would be overwritten; resume with {type(self).__name__}.load(path, task) "
                    "or move it"
                )
            monitor = Monitor(
                f"{self.name} {self.task.name}",
                plan.goal,
                made,
                plan.unit,
                self.updates,
                progress,
                folder,
                self._described(),
                limits,
                self.baselines,
            )
            stack.enter_context(quick_arithmetic(self._threads))
            stack.enter_context(monitor)
            self._check_finite(checkpoint)
            if not self.prepared and plan.goal > 0:
                self.prepare()
                self.prepared = True
            with deferred_interrupt() if checkpoint is not None else nullcontext(lambda: False) as was_interrupted:
                while plan.made(self.updates, self.collector.steps) < plan.goal:
                    try:
                        self.iterate()
                    except Exception:
                        # If the weights are NaN, so are the actions, and the environment is not the cause.
                        self._check_finite(checkpoint)
                        raise
                    interrupted = was_interrupted()
                    due = plan.due(self.updates, self.collector.steps, interrupted)
                    if due.report or due.write:
                        self._check_finite(checkpoint)
                    if due.report:
                        self.history.append(self._record(due.evaluate))
                        monitor.show(self.history[-1])
                    if due.write and checkpoint is not None:
                        self._write_checkpoint(Path(checkpoint), due.last or interrupted)
                    if interrupted and not due.last:
                        raise KeyboardInterrupt(f"{self.updates} updates made; it resumes from {self.checkpoint}")
        return self

    def _write_checkpoint(self, path: Path, last: bool) -> None:
        """Writes a checkpoint, the last one to any folder that can be written; a full disk does not end the run."""
        try:
            if last:
                self.checkpoint, trouble = kept(path, self.save)
            else:
                self.save(path)
                self.checkpoint, trouble = path, ""
        except OSError as error:
            trouble = f"no checkpoint was written after {self.updates} updates: {error}"
        if trouble:
            where = "" if not last or self.checkpoint is None else f"; the last one is {self.checkpoint}"
            warnings.warn(f"{trouble}{where}", stacklevel=3)

    def _check_finite(self, checkpoint: str | Path | None = None) -> None:
        if self._last_finite is None:
            self._last_finite = LastFinite(self.networks())
        self._last_finite.check(self.updates, f"{self.name} on task '{self.task.name}'", checkpoint)

    def _described(self) -> dict[str, Any]:
        description = {
            "learner": self.name,
            "task": self.task.name,
            "seed": self.seed,
            **dataclasses.asdict(self.settings),
        }
        if self.handler is not None and self.constraints is not None:
            description |= {"handler": repr(self.handler), "budgets": [str(a) for a in self.constraints.limits]}
        return description

    def _record(self, evaluated: bool) -> Record:
        def mean_return(policy: Policy) -> float:
            return evaluate(policy, self.task, safety_filter=self.safety_filter)

        saved = mean_return(self.result) if evaluated else None
        trained = saved if self.result is self.policy or not evaluated else mean_return(self.policy)
        summary = self.collector.summary()
        more = {} if self.constraints is None else self.constraints.diagnostics(self.reward_scale)
        if self.safety_filter is not None:
            more["filtered share"] = summary.filtered
        costs = dict(zip(self.constraint_names, summary.mean_cost, strict=True))
        return Record(
            self.updates,
            self.collector.steps,
            summary.episodes,
            summary.mean_return,
            costs,
            summary.mean_length,
            self.diagnostics() | more,
            saved,
            trained,
        )

    def predict(self, observation: ArrayLike, deterministic: bool = True) -> tuple[NDArray[np.float32], None]:
        """Action in physical units, (..., o) -> (..., m), and None: the policy is stateless.

        Uses the policy in training; `result` is the averaged policy that is saved and compared. Sampling advances the
        learner's generator and therefore changes subsequent training; for many fast calls use `policy.law()`.
        """
        numbers = expect_array(observation, "observation", infinite=True, nan=True)
        expect_flag(deterministic, "deterministic")
        tensor = torch.as_tensor(numbers.astype(np.float32), device=self.device)
        return self.policy.act(tensor, None if deterministic else self.generator).cpu().numpy(), None

    def save(self, path: str | Path) -> None:
        """Writes everything the run depends on, atomically; the run itself is not disturbed.

        Raises:
            TrainingDiverged: weights are NaN or infinite, so training cannot be resumed from them.
        """
        self._check_finite(path)
        write_checkpoint(path, type(self).__name__, self.state_dict())

    @classmethod
    def load(
        cls,
        path: str | Path,
        task: LearnableTask,
        device: torch.device | str = "cpu",
        handler: Handler | None = None,
    ) -> Self:
        """Loads a learner that resumes exactly where the saved one stopped (given the same hardware and versions).

        Args:
            handler: the one with which it was made; a handler holds only settings, and its state is in the file.

        Raises:
            CheckpointError: the file is damaged or not a checkpoint, or belongs to another task or handler.
        """
        content = read_checkpoint(path, cls.__name__)
        with resumption.reading(path, cls.__name__):
            settings = resumption.settings(content, cls.settings_type)
            learner = cls(task, content["seed"], settings, device, handler)  # type: ignore[call-arg]
            resumption.expect_same_identity(content["identity"], learner.identity(), path)
            learner.load_state_dict(content)
        return learner

    def identity(self) -> dict[str, Any]:
        """Properties of task and handler that must be the same in a checkpoint and in the learner that loads it."""
        limits = () if self.constraints is None else self.constraints.limits
        return resumption.identity(self.task, self.collector.environment, self.handler, limits)

    def state_dict(self) -> dict[str, Any]:
        """The complete state of a run."""
        return {
            "identity": self.identity(),
            "seed": self.seed,
            "settings": dataclasses.asdict(self.settings),
            "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
            "updates": self.updates,
            "prepared": self.prepared,
            "reward_scale": self.reward_scale,
            "constraints": {} if self.constraints is None else self.constraints.state_dict(),
            "history": [dataclasses.asdict(record) for record in self.history],
            "generator": self.generator.get_state(),
            "collector": self.collector.state_dict(),
            "learner": self.learner_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state saved by `state_dict`.

        Raises:
            ValueError: the numbers of updates and steps contradict each other.
        """
        self.updates, self.prepared = int(state["updates"]), bool(state["prepared"])
        self.reward_scale.copy_(state["reward_scale"])
        if self.constraints is not None:
            self.constraints.load_state_dict(state["constraints"])
        self.history = [resumption.record(stored) for stored in state["history"]]
        self.generator.set_state(state["generator"])
        self.collector.load_state_dict(state["collector"])
        self.load_learner_state(state["learner"])
        if self.prepared != (self.collector.steps > 0) or (self.updates > 0 and not self.prepared):
            raise ValueError(f"{self.updates} updates after {self.collector.steps} steps, prepared: {self.prepared}")
