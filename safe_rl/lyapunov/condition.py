"""The condition to be proved, as a loss with counterexamples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from ctrl.certify import ClosedLoop
from safe_rl.lyapunov.control import field
from safe_rl.lyapunov.networks import Control, Scale, Value
from safe_rl.lyapunov.settings import LyapunovSettings
from safe_rl.lyapunov.zubov import BasinSamples
from systems import InvalidValue
from systems.arithmetic.interval import Interval

__all__ = ["Condition", "Round", "local_shape"]

_ABOVE, _BELOW = 1.02, 0.97  # what V shall be at least where trajectories leave, and at most where they arrive from
_ASCENTS, _ATTACKED, _ADDED, _KEPT = 10, 2000, 1000, 8000
_SPREAD = 0.02  # of states around simulated ones, in half-widths of the box
_TINY = 1e-12


@final
@dataclass(frozen=True)
class Round:
    """The state of training at a search: mean losses since the last, and the share of states with V < 1 that break the
    condition."""

    update: int
    target: float
    decrease: float
    border: float
    broken: float


def local_shape(loop: ClosedLoop, scale: Scale, unit: float) -> np.ndarray:
    """Half the second-order part of Zubov's function, in scaled coordinates, by the Lyapunov equation; half, because
    the network's features have a quadratic part of their own.

    Raises:
        InvalidValue: the linearisation is not stable.
    """
    from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov  # slow to import, only needed here

    n = len(scale.centre)
    A = loop.enclose_jacobian(Interval.of(scale.centre)).jacobian.mid * scale.half / scale.half[:, None]
    values = np.linalg.eigvals(A)
    stable = (values.real < 0).all() if loop.continuous else (np.abs(values) < 1).all()
    if not stable:
        raise InvalidValue(
            f"the linearised loop of '{loop.task.name}' has the eigenvalues {np.array2string(values, precision=4)} and "
            "is not stable: no region of attraction can be proved for this law; give one that stabilises the reference"
        )
    if loop.continuous:
        P = solve_continuous_lyapunov(A.T, -np.eye(n))
    else:
        P = solve_discrete_lyapunov(A.T, loop.task.dt * np.eye(n))
    return np.asarray(0.25 * (P + P.T) / unit)


@final
class Condition:
    """V - and the controller, where one is trained along - in training.

    V should be near Zubov's function at the simulated states, decrease wherever it is below 1, and be above 1 where
    trajectories leave the box. The first matters until half of the updates are done and little after that.
    """

    def __init__(
        self,
        loop: ClosedLoop,
        scale: Scale,
        V: Value,
        control: Control | None,
        samples: BasinSamples,
        settings: LyapunovSettings,
        rng: np.random.Generator,
        generator: torch.Generator,
    ) -> None:
        self.loop, self.scale, self.V, self.control, self.settings = loop, scale, V, control, settings
        self._rng, self._generator = rng, generator
        self._states = samples.inside
        self._inside, self._target = torch.tensor(samples.inside), torch.tensor(samples.target)
        self._starts = samples.starts
        self._outside = torch.tensor(samples.outside)
        self._counterexamples = torch.zeros(0, len(scale.centre), dtype=torch.float64)
        self._field = None if control is None else field(loop.task, loop.continuous)
        self._dt = 1.0 if loop.continuous else loop.task.dt
        groups = [{"params": list(V.parameters()), "lr": settings.rate}]
        if control is not None:
            groups.append({"params": list(control.parameters()), "lr": 0.1 * settings.rate})
        self._optimiser = torch.optim.Adam(groups)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimiser, settings.updates, 1e-4)
        self._pool = torch.tensor(self._around(settings.probes))
        self._done = 0

    def round(self) -> Round:
        """Updates, then a search for states that break the condition."""
        settings = self.settings
        sums = torch.zeros(3, dtype=torch.float64)
        updates = min(settings.period, settings.updates - self._done)
        for _ in range(updates):
            losses = self._losses()
            early = self._done < 0.5 * settings.updates
            loss = (1.0 if early else 0.1) * losses[0] + losses[1] + losses[2]
            if settings.size > 0 and not early:
                loss = loss + settings.size * self._shortfall()
            self._optimiser.zero_grad()
            loss.backward()
            self._optimiser.step()
            self._schedule.step()
            self._done += 1
            sums += losses.detach()
        target, decrease, border = (sums / max(updates, 1)).tolist()
        return Round(self._done, target, decrease, border, self._searched())

    def _losses(self) -> Tensor:
        """Distance from Zubov's function, decrease where V < 1, and V > 1 where trajectories leave."""
        batch = self.settings.batch
        i = self._drawn(len(self._inside), batch)
        zubov = self._target[i]
        target = (((self.V(self._inside[i]) - zubov) / (zubov + 0.05)) ** 2).mean()
        x = self._pool[self._drawn(len(self._pool), batch)]
        if len(self._counterexamples):
            x = torch.cat([x, self._counterexamples[self._drawn(len(self._counterexamples), batch // 2)]])
        V, growth, leaves = self._growth(x, self._done > self.settings.updates // 3)
        below = V.detach() < 1.0
        decrease = (torch.relu(growth) * (below & ~leaves)).mean()
        border = (torch.relu(_ABOVE - V) * leaves).mean()
        if len(self._outside):
            i = self._drawn(len(self._outside), batch // 2)
            border = border + torch.relu(_ABOVE - self.V(self._outside[i])).mean()
        return torch.stack([target, decrease, border])

    def _shortfall(self) -> Tensor:
        """By how much V exceeds its largest allowed value where trajectories arrive from.

        Starts are uniform, so this is the area that is lost.
        """
        i = self._drawn(self._starts, self.settings.batch)
        return torch.relu(self.V(self._inside[i]) - _BELOW).mean()

    def _growth(self, x: Tensor, moves: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """V, the excess of its relative growth per second over what is allowed, and whether trajectories leave the box.

        Args:
            moves: whether gradients go through the controller.
        """
        if self.control is None or self._field is None:
            after = torch.from_numpy(self.loop(x.numpy()))
        else:
            with torch.set_grad_enabled(moves and torch.is_grad_enabled()):
                after = self._field(x, self.control(x))
        if self.loop.continuous:
            V, change = self.V.rate(x, after)
            ahead = x + 0.5 * self.loop.task.dt * after.detach()
        else:
            V = self.V(x)
            change, ahead = (self.V(after) - V) / self._dt, after.detach()
        room = torch.clamp(_ABOVE - V.detach(), 0.0, 1.0)
        allowed = self.settings.margin * (0.05 + room)
        z = self.scale(ahead)
        return V, change / (V.detach() + _TINY) + allowed, (z.abs() > 1.0).any(-1)

    def _searched(self) -> float:
        """Share of states with V < 1 that break the condition; the worst, made worse, join the training set."""
        x = torch.tensor(self._around(self.settings.probes))
        with torch.no_grad():
            badness = self._badness(x)
            share = float((badness > 0).sum() / max(int((badness > -np.inf).sum()), 1))
            worst = torch.argsort(badness)[-_ATTACKED:]
            x, best, step = x[worst], badness[worst], 0.05
            for _ in range(_ASCENTS):
                size = torch.linalg.vector_norm(self.scale(x), dim=-1, keepdim=True)
                noise = torch.randn(x.shape, generator=self._generator, dtype=x.dtype)
                ahead = self._within(x + step * size * torch.from_numpy(self.scale.half) * noise)
                new = self._badness(ahead)
                better = new > best
                x, best = torch.where(better[:, None], ahead, x), torch.where(better, new, best)
                step *= 0.8
            x = x[best > 0]
            x = x[torch.randperm(len(x), generator=self._generator)[:_ADDED]]
        self._counterexamples = torch.cat([self._counterexamples, x])[-_KEPT:]
        return share

    def _badness(self, x: Tensor) -> Tensor:
        """Positive where V < 1 and the condition fails by half its margin, or a trajectory leaves."""
        V, growth, leaves = self._growth(x)
        room = torch.clamp(_ABOVE - V, 0.0, 1.0)
        growth = growth - 0.5 * self.settings.margin * (0.05 + room)
        return torch.where(V < 1.0, torch.where(leaves, 1.0 + room, growth), -np.inf)

    def _around(self, count: int) -> np.ndarray:
        """States near simulated ones; a third of them nearer to the centre, at all distances alike."""
        centre, half = self.scale.centre, self.scale.half
        k = self._rng.integers(len(self._states), size=count)
        r = np.ones((count, 1))
        r[::3] = 10.0 ** (-3.0 * self._rng.random((len(r[::3]), 1)))
        spread = _SPREAD * half * self._rng.standard_normal((count, len(centre)))
        return np.clip(centre + ((self._states[k] - centre) + spread) * r, self.scale.lower, self.scale.upper)

    def _within(self, x: Tensor) -> Tensor:
        lower, upper = torch.from_numpy(self.scale.lower), torch.from_numpy(self.scale.upper)
        return torch.minimum(torch.maximum(x, lower), upper)

    def _drawn(self, size: int, count: int) -> Tensor:
        return torch.randint(size, (count,), generator=self._generator)
