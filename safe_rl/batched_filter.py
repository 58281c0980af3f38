"""A differentiable barrier filter for batches of states and inputs, through which a learner acts and learns."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from ctrl.controller import NotApplicable
from ctrl.filters import BarrierFilter, SafetyFilter
from systems.errors import expect
from systems.lowering import lower

__all__ = ["BatchedFilter"]

_ITERATIONS = 10  # linearisations of the conditions in the input; a plant that is affine in the input needs one
_INSIDE = 1e-6  # margin of a condition, relative to its slope: environments of learners round to 32 bits
_SOFT = 1e6  # weight of a violated condition relative to the squared distance, the same as in the filter itself
_HALVINGS = 40


@final
class BatchedFilter:
    """A `BarrierFilter` in closed form for a whole batch; the inputs agree to about 1e-6 of their range.

    With a single condition this is the safety layer of Dalal et al. (2018, arXiv 1801.08757) with bounds: the proposed
    input moves along the gradient of the condition until it is satisfied. With a single input, the conditions define an
    interval. Gradients reach safe proposals unchanged, and other proposals along the boundary of the condition. A
    backup of the filter is omitted: it checks inputs one by one, and acts only if the conditions are not satisfied.

    Args:
        safety_filter: with a single condition, or on a task with a single input.
        device: of the tensors.

    Raises:
        NotApplicable: another kind of filter, or several conditions on several inputs.
    """

    def __init__(self, safety_filter: SafetyFilter, device: torch.device | str = "cpu") -> None:
        expect(safety_filter, SafetyFilter, "the filter of BatchedFilter", "such as BarrierFilter(task)")
        if not isinstance(safety_filter, BarrierFilter):
            raise NotApplicable(
                f"{type(safety_filter).__name__} cannot filter inputs in batches; learn with a BarrierFilter, which "
                "has a closed form, and apply this filter to the trained policy"
            )
        rows, inputs = len(safety_filter.names), len(safety_filter.task.plant.input)
        if rows > 1 and inputs > 1:
            raise NotApplicable(
                f"{safety_filter!r} has {rows} conditions on {inputs} inputs, for which there is no closed form; "
                "expected one condition, such as a smooth minimum of the barriers, or one input"
            )
        self.safety_filter = safety_filter
        self._conditions = lower(safety_filter.conditions, to="torch")
        low, high = (torch.tensor(bound, device=device) for bound in safety_filter.task.applied_bounds)
        reach = high - low
        self._width = torch.where(torch.isfinite(reach) & (reach > 0), 0.5 * reach, 1.0)
        self._low, self._high = low / self._width, high / self._width

    def __call__(self, state: Tensor, proposed: Tensor) -> Tensor:
        """The inputs (n, m) to apply in states (n, states) for proposed inputs; NaN is passed on."""
        x, u = state.detach().to(torch.float64), proposed.to(torch.float64)
        v = torch.minimum(torch.maximum(u / self._width, self._low), self._high)
        with torch.no_grad():
            at = v.detach()
            c, A = self._at(x, at)
            rows = (c < 0.0).any(dim=1).nonzero().squeeze(1)
            if not len(rows):
                return (v * self._width).to(proposed.dtype)
            z, slopes, is_feasible = self._nearest(x[rows], at[rows], c[rows], A[rows])
        if v.shape[1] > 1:
            z = z + _tangent(v[rows], slopes, (z > self._low) & (z < self._high) & is_feasible.unsqueeze(1))
        return (v.index_copy(0, rows, z) * self._width).to(proposed.dtype)

    def _at(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Conditions (n, r), less the margin, and their slopes (n, r, m) at relative inputs."""
        c, slopes = self._conditions(x, z * self._width)
        n, m = z.shape
        A = slopes.reshape(n, -1, m) * self._width
        return c.reshape(n, -1) - _INSIDE * (1.0 + A.abs().sum(dim=2)), A

    def _nearest(self, x: Tensor, v: Tensor, c: Tensor, A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The nearest inputs z, slopes (n, m) of the first condition, and whether z satisfies all conditions."""
        z, is_feasible = v.clone(), torch.ones(len(v), dtype=torch.bool, device=v.device)
        slopes = A[:, 0].clone()
        rows = torch.arange(len(v), device=v.device)
        solve = self._on_half_space if A.shape[1] == 1 else self._in_interval
        for _ in range(_ITERATIONS):
            b = (A @ z[rows].unsqueeze(2)).squeeze(2) - c
            z[rows], is_feasible[rows] = solve(v[rows], A, b)
            slopes[rows] = A[:, 0]
            c, A = self._at(x[rows], z[rows])
            unsolved = (c < -_INSIDE * 1e-3).any(dim=1) & is_feasible[rows]
            rows, c, A = rows[unsolved], c[unsolved], A[unsolved]
            if not len(rows):
                break
        return z, slopes, is_feasible

    def _on_half_space(self, v: Tensor, A: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """argmin |z - v|^2 subject to a'z >= b and bounds; the largest a'z if this is infeasible.

        z = clip(v + t a) for the least t that satisfies the condition, see `ctrl.filters.nearest_input`. The entries
        reach their bounds at different t; sorted by these, the slope of a'z after each is the sum of a_i^2 over the
        later entries.
        """
        a = A[:, 0]
        end = torch.where(a > 0, self._high, self._low)
        times = torch.where(a != 0, (end - v) / a, torch.inf).clamp(min=0.0)
        times, order = times.sort(dim=1)
        square = a.square().gather(1, order)
        left = square.flip(1).cumsum(1).flip(1)  # |a|^2 of the entries that have not reached their bound
        start = torch.nn.functional.pad(times[:, :-1], (1, 0))
        # An entry that never reaches its bound has slope zero, and zero slope over an infinite time adds nothing.
        gains = torch.where(left > 0, left * (times - start), 0.0).nan_to_num(nan=0.0)
        before = gains.cumsum(1) - gains
        short = (b[:, 0] - (a * v).sum(1)).unsqueeze(1)
        t = start + (short - before) / left.clamp(min=1e-300)
        inside = (short <= before + gains) & (left > 0)
        first = inside.to(torch.int8).argmax(dim=1, keepdim=True)
        is_feasible = inside.any(dim=1)
        moved = torch.minimum(torch.maximum(v + t.gather(1, first) * a, self._low), self._high)
        most = torch.where(a > 0, self._high, torch.where(a < 0, self._low, v))
        return torch.where(is_feasible.unsqueeze(1), moved, most), is_feasible

    def _in_interval(self, v: Tensor, A: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """The same for several conditions on one input; if infeasible, with the least squared violation."""
        a = A[:, :, 0]
        at = b / torch.where(a == 0, 1.0, a)
        low = torch.where(a > 0, at, -torch.inf).amax(dim=1, keepdim=True).maximum(self._low)
        high = torch.where(a < 0, at, torch.inf).amin(dim=1, keepdim=True).minimum(self._high)
        is_feasible = (low <= high).squeeze(1) & ((a != 0) | (b <= 0)).all(dim=1)
        z = torch.minimum(torch.maximum(v, low), high)
        if not bool(is_feasible.all()):
            # The derivative of (z - v)^2 / 2 + weight sum [b - a z]+^2 / 2, with |a| = 1, increases in z.
            a, at = a.sign(), at * a.abs().sign()
            low, high = (bound.expand_as(v).clone() for bound in (self._low, self._high))
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                short = (a * (at - middle)).clamp(min=0.0)
                is_right = (middle - v) - _SOFT * (a * short).sum(dim=1, keepdim=True) > 0
                low, high = torch.where(is_right, low, middle), torch.where(is_right, middle, high)
            z = torch.where(is_feasible.unsqueeze(1), z, 0.5 * (low + high))
        return z, is_feasible


def _tangent(v: Tensor, a: Tensor, free: Tensor) -> Tensor:
    """Zero, with the gradient of the nearest input: that of v minus its component along a, for free entries."""
    a = a * free
    away = v * free - a * ((a * v).sum(dim=1, keepdim=True) / a.square().sum(dim=1, keepdim=True).clamp(min=1e-300))
    return away - away.detach()
