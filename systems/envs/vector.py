"""Many copies of a task as one batched torch simulator with automatic reset."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from systems.abstract_task import AbstractTask
from systems.arguments import expect_seed, expect_whole
from systems.distributions import Fixed
from systems.envs.model import SampleModel
from systems.envs.sampler import Sampler
from systems.envs.vector_sensors import VectorSensors
from systems.errors import DimensionMismatch, InvalidValue, expect, shown

__all__ = ["Transition", "VectorEnv", "expect_device"]


class Transition(NamedTuple):
    """One step of every environment; those that ended were reset, which affects only ``observation``."""

    observation: Tensor  # (n, o), after the automatic reset: where the next action is taken
    next_observation: Tensor  # (n, o), of the true successor
    reward: Tensor  # (n,)
    cost: Tensor  # (n, c), 1 for each named constraint the step violated, else 0; the excess where that is budgeted
    terminated: Tensor  # (n,) bool: left the domain, no future
    truncated: Tensor  # (n,) bool: the time was up, the value goes on


@final
class VectorEnv:
    """``n`` copies of a task, stepped together; the same rules and numbers as :class:`systems.envs.gym.GymEnv`.

    If the task has a measurement, the observations are those of the measured signals, as in ``GymEnv``, unless the task
    has an ``Observation`` of the state. Rewards and costs are always those of the true state.

    A step never waits for an accelerator. Actions (n, m) are inputs in physical units, clipped to
    ``task.input_bounds``; a NaN action ends its run with a reward of NaN. No gradient goes through :meth:`step`; the
    pure functions ``env.model.advance`` and ``env.model.rollout`` are the differentiable form.

    Args:
        task: the task to simulate.
        n: number of copies.
        device: on which they are simulated.
        dtype: floating type; default: 32 bits.
        seed: of the environment's own generator, the only source of its randomness.

    Raises:
        InvalidValue: n is not a whole number of at least 1; integer inputs.
    """

    def __init__(
        self,
        task: AbstractTask,
        n: int,
        device: str | torch.device = "cpu",
        seed: int = 0,
        dtype: torch.dtype | None = None,
    ) -> None:
        expect(task, AbstractTask, "the task of VectorEnv", "such as systems.library.cartpole()")
        if not any(dtype is known for known in (None, torch.float32, torch.float64)):
            raise InvalidValue(f"dtype = {shown(dtype)}; expected torch.float32 or torch.float64")
        if any(signal.integer for signal in task.plant.input):
            raise InvalidValue(
                f"task '{task.name}' has inputs that take whole numbers only, and the actions of VectorEnv are "
                "continuous; use task.env(), whose actions are discrete"
            )
        self.task, self.n = task, expect_whole(n, "n", least=1, unit="environments")
        n = self.n
        self.device = expect_device(device)
        self.dtype = dtype or torch.float32
        self.model = SampleModel(task, "torch", self.dtype, self.device)
        self.observation_size = len(task.observation_signals)
        self.action_size = len(task.plant.input)
        self.action_low, self.action_high = self.model.input_bounds
        self.constraint_names = tuple(constraint.name for constraint in task.constraints)
        self._start = Sampler(task.initial, task.plant.state, self.model)
        self._disturbance = Sampler(task.disturbance, task.plant.disturbance, self.model)
        self._generator = torch.Generator(self.device)
        self._generator.manual_seed(expect_seed(seed))
        self._variation = Sampler(task.variation or Fixed(), task.varied, self.model)
        self._x = self._start.draw(n, self._generator)
        self._p = self._variation.draw(n, self._generator)
        self._k = torch.zeros(n, dtype=torch.long, device=self.device)
        self._ends = self._x, self._k
        self._sensors = VectorSensors(task, n, self.model) if task.observes_measurement else None

    @property
    def state(self) -> Tensor:
        """The current states (n, states), after automatic resets."""
        return self._x

    @property
    def samples(self) -> Tensor:
        """Number of samples since the start of each current run, (n,) of int64."""
        return self._k

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """Successors of the last step before automatic resets: states (n, states) and samples (n,)."""
        return self._ends

    @torch.no_grad()
    def reset(self, staggered: bool = False) -> Tensor:
        """Restarts every run; returns the first observations (n, o).

        Staggered, each first run begins at a sample drawn at random, so that later ones do not all end together.
        """
        self._x = self._start.draw(self.n, self._generator)
        self._p = self._variation.draw(self.n, self._generator)
        self._k = torch.zeros_like(self._k)
        if staggered:
            self._k.random_(self.task.steps, generator=self._generator)
        if self._sensors is not None:
            return self._sensors.reset(self._x, self._k, self._generator)
        return self.model.observe(self._x, self._k)

    @torch.no_grad()
    def step(self, action: Tensor) -> Transition:
        """Applies the actions (n, m) for one sample and starts the runs that ended anew.

        Raises:
            DimensionMismatch: actions of another shape.
        """
        if not isinstance(action, Tensor) or action.is_complex():
            raise InvalidValue(f"actions of type {type(action).__name__}; expected a tensor of real numbers")
        if action.shape != (self.n, self.action_size):
            raise DimensionMismatch(f"actions of shape {tuple(action.shape)}; expected ({self.n}, {self.action_size})")
        w = self._disturbance.draw(self.n, self._generator)
        u = self.model.clip(action.to(self.dtype))
        outcome = self.model.step(self._x, u, w, self._k, self._p)
        k = self._k + 1
        truncated = k >= self.task.steps
        sensors = self._sensors
        if sensors is None:
            following = self.model.observe(outcome.state, k)
        else:
            following = sensors.step(outcome.state, u, k, self._generator)
        over = outcome.terminated | truncated
        self._ends = outcome.state, k
        if self.device.type == "cpu":
            # Counting rows would stop an accelerator's queue; here it saves drawing n starts for the few that end.
            rows = over.nonzero().squeeze(1)
            self._x = _replaced(outcome.state, rows, self._start.draw(len(rows), self._generator))
            if self.task.varied:
                self._p = _replaced(self._p, rows, self._variation.draw(len(rows), self._generator))
        else:
            self._x = torch.where(over[:, None], self._start.draw(self.n, self._generator), outcome.state)
            if self.task.varied:
                self._p = torch.where(over[:, None], self._variation.draw(self.n, self._generator), self._p)
        self._k = k.masked_fill(over, 0)
        if sensors is None:
            observation = self.model.observe(self._x, self._k)
        elif self.device.type == "cpu" and not over.any():
            observation = following
        else:
            observation = sensors.restart(self._x, self._k, over, self._generator)
        return Transition(observation, following, outcome.reward, outcome.spent, outcome.terminated, truncated)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next steps depend on; after :meth:`load_state_dict` they continue bit for bit."""
        now = {"state": self._x.clone(), "samples": self._k.clone(), "generator": self._generator.get_state()}
        measured = {} if self._sensors is None else {"sensors": self._sensors.state_dict()}
        return now | ({"parameters": self._p.clone()} if self.task.varied else {}) | measured

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state saved by :meth:`state_dict`.

        Raises:
            DimensionMismatch: it comes from another number of environments or another task.
        """
        if state["state"].shape != self._x.shape or state["samples"].shape != self._k.shape:
            raise DimensionMismatch(
                f"saved states of shape {tuple(state['state'].shape)}; this environment has {tuple(self._x.shape)}"
            )
        if ("parameters" in state) != bool(self.task.varied) or (
            self.task.varied and state["parameters"].shape != self._p.shape
        ):
            raise DimensionMismatch("saved parameters of the plant are those of another task")
        if not bool(((state["samples"] >= 0) & (state["samples"] < self.task.steps)).all()):
            raise InvalidValue(f"saved samples beyond the {self.task.steps} of a run")
        if self._sensors is not None:
            self._sensors.load_state_dict(state["sensors"])
        # The signal is the slowest axis in memory, as everywhere in a step.
        self._x = state["state"].to(self.device, self.dtype).mT.contiguous().mT
        self._k = state["samples"].to(self._k).clone()
        if self.task.varied:
            self._p = state["parameters"].to(self.device, self.dtype).mT.contiguous().mT
        self._generator.set_state(state["generator"])


def expect_device(device: Any) -> torch.device:
    """A device that torch has.

    Raises:
        InvalidValue: it names none, or one that is not there.
    """
    try:
        if isinstance(device, (str, torch.device)):
            known = torch.device(device)
            torch.empty(0, device=known)
            return known
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # each kind of device has its own
        text = (str(error).strip().splitlines() or ["no message"])[0]
        raise InvalidValue(f"device = {shown(device)}: {text}; use 'cpu', or 'cuda' where torch finds a GPU") from error
    raise InvalidValue(f"device = {shown(device)}; expected 'cpu', 'cuda' or a torch.device")


def _replaced(x: Tensor, rows: Tensor, by: Tensor) -> Tensor:
    """A copy of x (n, signals) with some rows replaced, components still contiguous."""
    return x.mT.index_copy(1, rows, by.mT).mT
