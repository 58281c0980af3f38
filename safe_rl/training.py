"""What every learner shares: the loop, evaluation, saving and exact resumption."""

from __future__ import annotations

import dataclasses
import platform
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from safe_rl.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from safe_rl.collector import Collector
from safe_rl.environment import LearnableTask
from safe_rl.policy import Policy
from safe_rl.progress import Monitor, Record

REPORT_EVERY = 200  # updates; reading the books waits for the device


@contextmanager
def quick_arithmetic(threads: int) -> Iterator[None]:
    """CPU threads and subnormal numbers as a learner wants them; the number of threads is restored.

    Subnormals are flushed to zero: tails of the activation's derivative reach them, and then a product takes
    several times as long. torch cannot tell what the setting was; it is left at torch's default, not flushed.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


def evaluate(policy: Policy, task: LearnableTask, episodes: int = 10, seed: int = 0) -> float:
    """Mean undiscounted return of the mean action over the first episode of each of `episodes` environments.

    Uses an environment of its own, so it never disturbs a learner.
    """
    environment = task.vector_env(episodes, device=policy.action_half.device, seed=seed)
    observation = environment.reset()
    total = torch.zeros(episodes, dtype=torch.float64, device=environment.device)
    running = torch.ones(episodes, dtype=torch.bool, device=environment.device)
    while bool(running.any()):
        seen = environment.step(policy.act(observation))
        total += torch.where(running, seen.reward, 0.0)
        running &= ~(seen.terminated | seen.truncated)
        observation = seen.observation
    return float(total.mean())


class Learner(ABC):
    """A policy in the making.

    A subclass holds its networks and writes `prepare`, `iterate`, `diagnostics` and the two halves of its
    state; the loop, the files and the books are here. Randomness comes from `generator` and from the
    environment's own, never from torch's global one, so a learner's numbers do not depend on what else the
    program draws.

    Args:
        task: gives the environment, the discount and the name.
        seed: of the learner and of its environment.
        settings: a frozen dataclass of numbers, strings and tuples.
        device: where networks, memory and environment live.
        environments: stepped together.
        hidden: widths of the policy's hidden layers.
    """

    settings_type: ClassVar[type[Any]]

    def __init__(
        self,
        task: LearnableTask,
        seed: int,
        settings: Any,
        device: torch.device | str,
        *,
        environments: int,
        hidden: Sequence[int],
        threads: int,
    ) -> None:
        self.task = task
        self.seed = seed
        self.settings = settings
        self.device = torch.device(device)
        self.discount = float(task.discount)
        if not 0.0 <= self.discount < 1.0:
            raise ValueError(
                f"task {task.name!r} has discount {self.discount}; a learner needs one from 0 to below 1, such as 0.99"
            )
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        environment = task.vector_env(environments, device=self.device, seed=seed)
        self.constraint_names = tuple(environment.constraint_names)
        self.policy = Policy(
            environment.observation_size,
            environment.action_low,
            environment.action_high,
            hidden,
            self.generator,
        )
        self.collector = Collector(environment, self.policy, self.generator)
        self.updates = 0
        self.history: list[Record] = []
        self._threads = threads

    @abstractmethod
    def prepare(self) -> None:
        """Before the first update: warm-up data and scales."""

    @abstractmethod
    def iterate(self) -> None:
        """Collect what is due and make one update; raises `updates` by one."""

    @abstractmethod
    def diagnostics(self) -> dict[str, float]:
        """Quantities worth a curve."""

    @abstractmethod
    def learner_state(self) -> dict[str, Any]:
        """Networks, optimisers, memory, averages: all that `iterate` reads and this class does not hold."""

    @abstractmethod
    def load_learner_state(self, state: dict[str, Any]) -> None:
        """Undo `learner_state`."""

    def learn(
        self,
        updates: int,
        progress: bool = True,
        checkpoint: str | Path | None = None,
        *,
        checkpoint_every: int = 2000,
        evaluate_every: int | None = None,
        log: str | Path | None = None,
    ) -> Self:
        """Learn until `updates` updates have been made in all, those before a resumption included.

        Args:
            progress: show a progress bar where the output is a terminal.
            checkpoint: file from which the run can be resumed exactly, written every `checkpoint_every`
                updates and at the end. A learner that starts afresh refuses to write over an existing one.
            evaluate_every: evaluate the mean action every so many updates; it does not change the run.
            log: folder for `progress.csv` and, where TensorBoard is installed, its files.
        """
        if updates < self.updates:
            raise ValueError(
                f"{updates} updates were asked for and {self.updates} are already made; `updates` counts "
                f"from the beginning: ask for more than {self.updates}"
            )
        if checkpoint is not None and self.updates == 0 and Path(checkpoint).exists():
            raise FileExistsError(
                f"{checkpoint} exists and would be lost; resume with {type(self).__name__}.load(path, task) or move it"
            )
        described = {"task": self.task.name, "seed": self.seed, **dataclasses.asdict(self.settings)}
        folder = None if log is None else Path(log)
        label = f"{type(self).__name__} {self.task.name}"
        monitor = Monitor(label, updates, self.updates, progress, folder, described)
        with quick_arithmetic(self._threads), monitor:
            if self.updates == 0 and updates > 0:
                self.prepare()
            while self.updates < updates:
                self.iterate()
                made, last = self.updates, self.updates == updates
                test = evaluate_every is not None and (last or made % evaluate_every == 0)
                if last or test or made % REPORT_EVERY == 0:
                    self.history.append(self._record(evaluate(self.policy, self.task) if test else None))
                    monitor.show(self.history[-1])
                if checkpoint is not None and (last or made % checkpoint_every == 0):
                    self.save(checkpoint)
        return self

    def _record(self, evaluation: float | None) -> Record:
        seen = self.collector.summary()
        costs = dict(zip(self.constraint_names, seen.mean_cost, strict=True))
        return Record(
            self.updates,
            self.collector.steps,
            seen.episodes,
            seen.mean_return,
            costs,
            seen.mean_length,
            self.diagnostics(),
            evaluation,
        )

    def predict(self, observation: ArrayLike, deterministic: bool = True) -> tuple[NDArray[np.float32], None]:
        """Action in physical units, (..., o) -> (..., m), and None: the policy has no memory.

        A sample draws from the learner's generator and so changes what it does next; for many fast calls use
        `policy.numpy()`.
        """
        tensor = torch.as_tensor(np.asarray(observation, dtype=np.float32), device=self.device)
        return self.policy.act(tensor, None if deterministic else self.generator).cpu().numpy(), None

    def save(self, path: str | Path) -> None:
        """Write everything the run depends on, atomically; the run itself is not disturbed."""
        write_checkpoint(
            path,
            type(self).__name__,
            {
                "identity": self._identity(),
                "seed": self.seed,
                "settings": dataclasses.asdict(self.settings),
                "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
                "updates": self.updates,
                "history": [dataclasses.asdict(record) for record in self.history],
                "generator": self.generator.get_state(),
                "collector": self.collector.state_dict(),
                "learner": self.learner_state(),
            },
        )

    @classmethod
    def load(cls, path: str | Path, task: LearnableTask, device: torch.device | str = "cpu") -> Self:
        """A learner that goes on exactly where the saved one was (given the same hardware and versions).

        Raises:
            CheckpointError: the file is damaged or foreign, or belongs to another task.
        """
        content = read_checkpoint(path, cls.__name__)
        try:
            fields = {
                name: tuple(value) if isinstance(value, list) else value for name, value in content["settings"].items()
            }
            learner = cls(task, content["seed"], cls.settings_type(**fields), device)  # type: ignore[call-arg]
            stored, here = content["identity"], learner._identity()
            differing = [
                f"{key} {stored.get(key)} (this task: {here[key]})" for key in here if stored.get(key) != here[key]
            ]
            if differing:
                raise CheckpointError(
                    f"{path}: made for another task: {'; '.join(differing)}; load it with the task it was made for"
                )
            learner.updates = int(content["updates"])
            learner.history = [Record(**record) for record in content["history"]]
            learner.generator.set_state(content["generator"])
            learner.collector.load_state_dict(content["collector"])
            learner.load_learner_state(content["learner"])
        except CheckpointError:
            raise
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise CheckpointError(
                f"{path}: its content does not fit this version of {cls.__name__} ({error}); "
                "load it with the version of the package that wrote it"
            ) from error
        return learner

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on with the task it is loaded for."""
        environment = self.collector.environment
        return {
            "task": self.task.name,
            "discount": self.discount,
            "observation size": environment.observation_size,
            "action low": environment.action_low.tolist(),
            "action high": environment.action_high.tolist(),
            "constraints": list(self.constraint_names),
        }
