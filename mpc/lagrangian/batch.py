"""Thousands of optimal control problems of one task at once: Lagrangian-predictive descent on torch rollouts."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from ctrl.controller import sample_index
from mpc.lagrangian.descent import Descent, DescentResult, Maker, dead_beat
from mpc.lagrangian.shooting import Point, Shooting
from systems import DimensionMismatch, Task
from systems.arguments import expect_arguments, expect_array, expect_number, expect_whole
from systems.lowering import lower

__all__ = ["LagrangianBatch", "TorchShooting"]


@final
class TorchShooting(Shooting):
    """Many problems in parallel: simulated sample by sample, then differentiated at all samples at once.

    The derivatives of a sample are CasADi functions lowered to torch, which is cheaper than backpropagation through the
    rollout and gives the same numbers. Set the problems with :meth:`place`.

    Args:
        task, horizon, parameters: see :class:`Shooting`.
        device: of the rollouts.
    """

    def __init__(self, task: Task, horizon: int, parameters: tuple[str, ...] = (), device: str = "cpu") -> None:
        import torch

        from systems.envs.model import SampleModel
        from systems.envs.vector import expect_device

        expect_device(device)
        super().__init__(task, horizon, parameters)
        self._torch: Any = torch
        self._kind: dict[str, Any] = {"dtype": torch.float64, "device": device}
        self._placed = torch.as_tensor(self.sign, **self._kind), torch.as_tensor(self.bound, **self._kind)
        self._model = SampleModel(task, "torch", torch.float64, device, parameters)
        self._stages, self._end = lower(self.local, "torch"), lower(self.last, "torch")

    def place(self, x0: np.ndarray, x_ref: np.ndarray, u_ref: np.ndarray, p: np.ndarray) -> None:
        """The problems from x0 (b, n) with references (horizon + 1, n) and (horizon + 1, m), parameters (b, q)."""
        self._x0, self._p = (self._torch.as_tensor(a, **self._kind) for a in (x0, p))
        self._xr, self._ur = (self._torch.as_tensor(a, **self._kind)[:, None] for a in (x_ref, u_ref))
        self._w = self._torch.zeros(len(self.task.plant.disturbance), **self._kind)

    def _zeros(self, shape: tuple[int, ...]) -> Any:
        return self._torch.zeros(shape, **self._kind)

    def evaluate(self, U: np.ndarray, which: np.ndarray) -> Point:
        torch, N, b = self._torch, self.horizon, len(which)
        with torch.no_grad():
            u = self._zeros((N + 1, b, self.m))
            u[:N] = torch.as_tensor(U, **self._kind).reshape(b, N, self.m).movedim(1, 0)
            p, states = self._p[which], [self._x0[which]]
            for k in range(N):
                states.append(self._model.advance(states[-1], u[k], self._w, p))
            x = torch.stack(states)
            shape = x.shape[:2]
            xr, ur, every = (a.expand(*shape, a.shape[-1]) for a in (self._xr, self._ur, p))
            point = self._condense(torch, x, self._stages(x, u, xr, ur, every), self._end(x[-1], xr[-1]))
            names = ("states", "cost", "gradient", "violation", "jacobian")
            return Point(*(getattr(point, name).cpu().numpy() for name in names))


class LagrangianBatch:
    """Solves the problem of :class:`LagrangianMPC` for many initial states and plant parameters at once.

    Intended for parametric studies, for training data of imitation learning, and for sampled regions of attraction.
    Solved problems leave the batch.

    Args:
        task, horizon: the problem.
        parameters: names of the plant parameters that vary between problems.
        make: the multiplier controller.
        max_iterations, tolerance: see :class:`Descent`.
        device: of the rollouts.
    """

    def __init__(
        self,
        task: Task,
        horizon: int = 15,
        parameters: tuple[str, ...] = (),
        make: Maker = dead_beat,
        max_iterations: int = 200,
        tolerance: float = 1e-6,
        device: str = "cpu",
    ) -> None:
        expect_arguments(make, "shape, maximum", "make")
        expect_whole(max_iterations, "max_iterations", least=1)
        expect_number(tolerance, "tolerance", above=0.0, hint="such as 1e-6")
        self.shooting = TorchShooting(task, horizon, parameters, device)
        self.descent = Descent(self.shooting, make, tolerance=tolerance, max_iterations=max_iterations)

    def solve(self, x0: np.ndarray, parameters: np.ndarray | None = None, k: int = 0) -> DescentResult:
        """Solves all problems from a cold start; a state that is not finite gives an infinite residual.

        Args:
            x0: states (b, n).
            parameters: (b, number of names), needed where names were given.
            k: the present sample.

        Raises:
            DimensionMismatch: shapes that do not fit.
        """
        shooting = self.shooting
        x0 = _any(x0, "x0")
        k = sample_index(k)
        given = np.zeros((len(x0), 0)) if parameters is None else _any(parameters, "parameters")
        if x0.ndim != 2 or x0.shape[1] != shooting.n or given.shape != (len(x0), len(shooting.parameters)):
            raise DimensionMismatch(
                f"states {x0.shape}, parameters {given.shape}; expected (b, {shooting.n}) and "
                f"(b, {len(shooting.parameters)})"
            )
        task = shooting.task
        x_ref, u_ref = task.reading.window(k, shooting.horizon + 1)
        shooting.place(x0, np.array(x_ref), np.array(u_ref), given)
        guess = np.tile(np.array(u_ref[:-1]).reshape(1, -1), (len(x0), 1))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self.descent.solve(guess, np.zeros((len(x0), len(shooting.weight))))


def _any(value: Any, what: str) -> np.ndarray:
    """Numbers, finite or not: one problem of a batch may be spoilt without the others."""
    return expect_array(value, what, infinite=True, nan=True)
