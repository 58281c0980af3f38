"""The closed loop of a task and a control law: values, intervals with Jacobians, and affine forms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from functools import cached_property
from typing import Any, final

import numpy as np

from ctrl.certify.loops.plant_step import PlantStep, ValueAndJacobian
from ctrl.certify.loops.second_order import SecondOrder
from ctrl.controller import Controller, NotApplicable
from ctrl.laws.law import Law, clip, clip_exactly
from systems import InvalidValue, Task, TriviumError, UnknownName
from systems.arguments import expect_flag, is_number
from systems.arithmetic.affine import Affine, Patch, clipped
from systems.arithmetic.balls import Ball, upward
from systems.arithmetic.interval import Interval
from systems.arithmetic.interval_functions import clipped as clipped_box
from systems.arithmetic.interval_functions import intersection
from systems.errors import expect, shown

__all__ = ["ClosedLoop"]


@final
@dataclass(frozen=True, eq=False)
class ClosedLoop:
    """f(x, w) = F(x, clip(u(x)), w): the true plant under a control law, without disturbances unless given.

    In discrete time f(x) is the next state, x+ = f(x); in continuous time the time derivative, x' = f(x), with the
    control law evaluated continuously.

    The law is clipped to the task's input bounds, and these to the true plant's limits.

    The enclosures hold in real arithmetic for the equations of the true plant with its parameters, dt, gains and bounds
    exactly as stored in double precision; see :class:`ctrl.certify.loops.plant_step.PlantStep`.

    Args:
        task: whose true plant is controlled, with a constant reference.
        law: the controller in closed form.
        continuous: whether the law is evaluated continuously; default: once per sample.
        uncertain: intervals of parameters of the plant, by name; default: none but those that the task draws for every
            run, over their support, which are uncertain in any case. Only these become symbols in the plant's
            equations. The enclosures then hold for every value in the intervals; point evaluations use the plant's own
            values.
        disturbance: intervals of signals of w, by name, the others being zero; default: none. The enclosures then hold
            for every value in the intervals; point evaluations use the middle unless w is given.

    Raises:
        NotApplicable: the reference moves, an input must be an integer, or the plant may jump between neighbouring
            states.
        InvalidValue: an interval that does not hold the plant's own value, or an unbounded disturbance; an uncertain
            parameter that the plant's equations or limits read in a way that an expression cannot follow.
        UnknownName: no such parameter or signal.
    """

    task: Task
    law: Law
    continuous: bool = False
    uncertain: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    disturbance: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.task, Task):
            raise InvalidValue(
                f"the task is of type {type(self.task).__name__}; expected a Task, which contains a plant"
            )
        law: object = self.law
        if isinstance(law, type) or (isinstance(law, Controller) and not isinstance(law, Law)):
            name = law.__name__ if isinstance(law, type) else type(law).__name__
            known = hasattr(law, "law")
            way = f"give its control law, {name}(task).law" if known else "only a law in closed form can be certified"
            raise InvalidValue(f"the law is {name}, a controller; {way}")
        if not self.task.reference.is_constant:
            raise NotApplicable(f"task '{self.task.name}': its reference changes with time; expected a constant one")
        if self.continuous and self.task.true_dynamics.plant.is_discrete:
            raise NotApplicable(f"plant {self.task.plant.name} is defined in discrete time; use continuous=False")
        if self.task.plant.forecast is not None or self.task.true_dynamics.plant.forecast is not None:
            raise NotApplicable(
                f"task '{self.task.name}' has signals that are known ahead, so its plant changes with time, which "
                "proofs do not support; prove the claim for the task without them"
            )
        if self.task.reading.has_integers:
            names = ", ".join(signal.name for signal in self.task.plant.input if signal.integer)
            raise NotApplicable(
                f"task '{self.task.name}': {names} must be an integer, but a law in closed form is continuous, so the "
                "actuator cannot apply its inputs; prove the claim for a plant whose input is declared as a real "
                "number by signals(...) (it does not hold for the rounded input)"
            )
        if self.task.measurement is not None:
            raise NotApplicable(
                f"task '{self.task.name}' has a measurement, but the law is a function of the state; prove the claim "
                "for dataclasses.replace(task, measurement=None) (it does not hold for the loop with an estimator)"
            )
        expect_flag(self.continuous, "continuous")
        for what in ("uncertain", "disturbance"):
            intervals = getattr(self, what)
            expect(intervals, Mapping, what, 'such as {"mass": (0.9, 1.1)}')
            for name, ends in intervals.items():
                is_pair = isinstance(ends, (tuple, list, np.ndarray)) and len(ends) == 2
                if not (is_pair and all(map(is_number, ends))):
                    raise InvalidValue(f"{what}: {name} = {shown(ends)}; expected an interval (low, high)")
            object.__setattr__(self, what, dict(intervals))  # a copy, which the caller cannot change
        self._take_variation()
        _ = self.plant_step.parameters, self.plant_step.equations, self.disturbance_box
        n, m = len(self.task.plant.state), len(self.task.plant.input)
        try:
            given = np.shape(self.law(np.zeros(n)))
            reads = self.law.enclose_jacobian(Interval.of(np.zeros(n))).shape[-1]
        except TriviumError:
            raise
        except ValueError as error:  # of numpy, which cannot multiply its weights by the state
            raise InvalidValue(
                f"the law does not accept the {n} states of plant {self.task.plant.name}: {error}"
            ) from error
        if given != (m,):
            raise InvalidValue(
                f"the law returns shape {given}; expected ({m},), the inputs of plant {self.task.plant.name}"
            )
        if reads != n:
            raise InvalidValue(f"the law reads {reads} states; plant {self.task.plant.name} has {n}")

    def _take_variation(self) -> None:
        """Makes the parameters uncertain that the task draws for every run."""
        task = self.task
        if task.variation is None:
            return
        known = task.true_dynamics.plant.parameters
        for name, low, high in zip(task.varied.names, *task.variation.support(task.varied), strict=True):
            least, most = self.uncertain.get(name, (known[name], known[name]))
            self.uncertain[name] = min(least, float(low)), max(most, float(high))  # type: ignore[index]

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: a copy lowers its functions anew, since those cannot be pickled."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __call__(self, x: np.ndarray, w: np.ndarray | None = None) -> np.ndarray:
        """f (..., n) at states (..., n) and disturbances (..., q) in floating point, for sampling."""
        u = np.clip(self.law(x), *self._bounds)
        return self.plant_step(x, u, self.disturbance_box.mid if w is None else w)

    def enclose(self, x: Interval, w: Interval | np.ndarray | None = None) -> Interval:
        """An enclosure of f over the boxes (..., n), for all disturbances or for those in boxes (..., q)."""
        u = clipped_box(self.law.enclose(x), *self._bounds)
        return self.plant_step.enclose(x, u, self.disturbance_box if w is None else w)

    def enclose_jacobian(self, x: Interval) -> ValueAndJacobian:
        """As :meth:`enclose`, with enclosures (..., n, n) of the Jacobian df/dx over the boxes."""
        u, slope = clip(self.law.enclose(x), self.law.enclose_jacobian(x), *self._bounds)
        identity = np.broadcast_to(np.eye(x.shape[-1]), (*x.shape, x.shape[-1]))
        return self.plant_step.enclose_jacobian(x, u, self.disturbance_box, Ball.of(identity), Ball.of(slope))

    def enclose_slopes(self, patch: Patch) -> Ball:
        """An enclosure (b, n, n) of the slopes df/dd over parallelepipeds x = point + T d."""
        u, slope = clip(self._input_range(patch), self.law.enclose_slopes(patch), *self._bounds)
        by_u = Ball.of(slope) @ patch.turn
        return self.plant_step.enclose_jacobian(patch.hull, u, self.disturbance_box, patch.turn, by_u).jacobian

    def expanded(self, patch: Patch) -> SecondOrder | None:
        """F of x and u to second order over one parallelepiped: F = F(point) + J v + R[v, v] / 2 with the deviations v
        of x and u from the point and its input, the Jacobian J (n, n + m) there, and a mean R (n, n + m, n + m) of the
        second derivatives on the way to x.

        None if this may not exist: if an input may not be affine in the state, for instance because it may reach a
        bound, or the plant's equations may have kinks.

        Args:
            patch: a single one, whose arrays have one row.

        Returns:
            The value over the patch, the Jacobian at its point, and the means.
        """
        (lower, upper), reach = self._bounds, self._input_range(patch)[0]
        if self.law.affine_slope(patch) is None or not ((reach.lo >= lower) & (reach.hi <= upper)).all():
            return None
        n, m, w, point = patch.T.shape[0], len(lower), self.disturbance_box, patch.point[0]
        u_point = clipped_box(self.law.enclose(point), lower, upper)
        by_x, by_u = Ball.of(np.eye(n, n + m)), Ball.of(np.eye(m, n + m, n))

        def over(share: float) -> SecondOrder:
            x, u = (at + (whole - at) * share for at, whole in ((point, patch.hull[0]), (u_point, reach)))
            return self.plant_step.enclose_second_order(x, u, w, by_x, by_u)

        # Taylor's remainder is the integral of 2 (1 - t) times the second derivatives at the share t of the way.
        try:
            parts = [over(share) for share in (1.0, 0.75, 0.5, 0.25)]
        except NotApplicable:
            return None
        mean = parts[0].hessian * (1 / 16)
        for part, weight in zip(parts[1:], (3 / 16, 5 / 16, 7 / 16), strict=True):
            mean = mean + part.hessian * weight
        at_point = self.plant_step.enclose_jacobian(point, u_point, w, by_x, by_u)
        return SecondOrder(parts[0].value, at_point.jacobian, mean)

    def relax(self, patch: Patch) -> Affine:
        """An affine form of f over parallelepipeds: that of the law, carried through the plant by its Jacobian.

        A mean value form (Moore, Kearfott & Cloud 2009, section 6.3) in the state and the input: with u = C d + e,
        f = f(middle) + (df/dx T + df/du C) d + df/du e, where the slopes are enclosed over the whole box.

        Where there is a disturbance, it is a form over :meth:`with_disturbances` of them.
        """
        n, m, half = patch.half.shape[-1], len(self.task.plant.input), patch.half
        k = n + m + (self.disturbance_box.shape[0] if self.is_disturbed else 0)
        lower, upper = self._bounds
        form = clipped(self.law.relax(patch), half, lower, upper)
        # The range of a relaxation may exceed the bounds, the input itself does not; but the mean value theorem needs
        # all points between the input and the relaxation's own middle.
        reach = form.range(half)
        least, most = np.clip(reach.lo, lower, upper), np.clip(reach.hi, lower, upper)
        u = Interval(np.fmin(least, form.value), np.fmax(most, form.value))
        by_x = np.zeros((len(patch), n, k))
        by_x[..., :n] = patch.T
        by_u = np.zeros((len(patch), m, k))
        by_u[..., n : n + m] = np.eye(m)
        w = self.disturbance_box
        slopes = self.plant_step.enclose_jacobian(patch.hull, u, w, Ball.of(by_x), Ball.of(by_u), n + m).jacobian
        by_input = slopes[..., n : n + m]
        total = slopes[..., :n] + (by_input @ Ball.of(form.matrix))
        if self.is_disturbed:
            by_w = slopes[..., n + m :]
            total = Ball(*(np.concatenate([a, b], axis=-1) for a, b in ((total.mid, by_w.mid), (total.rad, by_w.rad))))
            half = self.with_disturbances(patch).half
        value = self.plant_step.enclose(patch.point, Interval.of(form.value), w.mid)
        with np.errstate(invalid="ignore", over="ignore"):
            radius = (total.rad @ half[..., None])[..., 0] + (by_input.size @ form.radius[..., None])[..., 0]
            return Affine(value.mid, total.mid, upward(radius + value.rad))

    def with_disturbances(self, patch: Patch) -> Patch:
        """The parallelepipeds extended by one direction per disturbance, along which the state is constant; unchanged
        without disturbances."""
        if not self.is_disturbed:
            return patch
        reach = np.broadcast_to(self.disturbance_box.rad, (len(patch), self.disturbance_box.shape[0]))
        across = np.zeros((len(patch.T), reach.shape[-1]))
        return Patch(
            patch.hull, patch.point, np.concatenate([patch.half, reach], axis=-1), np.hstack([patch.T, across])
        )

    def _input_range(self, patch: Patch) -> Interval:
        """Bounds on the unclipped law, from its relaxation and its enclosure over the hull."""
        near, far = self.law.relax(patch).range(patch.half), self.law.enclose(patch.hull)
        return intersection(near, far)

    def law_directions(self, x: Interval) -> list[np.ndarray]:
        """Gradients (n,) of the inputs near the middle of a box (n,): the control law's kinks are most pronounced along
        these."""
        return [row for row in Ball.of(self.law.enclose_jacobian(x)).mid if np.isfinite(row).all() and row.any()]

    @cached_property
    def plant_step(self) -> PlantStep:
        """The true plant, one sample or, in continuous time, its derivative."""
        return PlantStep(self.task.true_dynamics, self.continuous, self.uncertain, self.is_disturbed)

    @property
    def reference(self) -> np.ndarray:
        """The reference state (n,)."""
        return self.task.reading.start[0]

    @cached_property
    def representatives(self) -> tuple[np.ndarray, np.ndarray]:
        """Bounds, lower and upper (n,), within which periodic signals and quaternions are the representatives nearest
        to the reference.

        A controller may map its measurement to the representative nearest to the reference, so the control law
        describes the controller within these bounds only.

        Raises:
            NotApplicable: the quaternions nearest to the reference do not form a box.
        """
        state, at = self.task.reading.state, self.reference
        lower, upper = at - 0.5 * state.periods, at + 0.5 * state.periods
        for group in state.quaternions:
            nonzero = [i for i in group if at[i] != 0.0]
            if len(nonzero) != 1:
                names = ", ".join(state.names[i] for i in group)
                raise NotApplicable(
                    f"task '{self.task.name}': the reference of the quaternion {names} has {len(nonzero)} nonzero "
                    "components, so the attitudes closer to it than to its negative do not form a box; rotate the "
                    "axes so that only one is nonzero, or bound the quaternion by the task's domain"
                )
            (lower if at[nonzero[0]] > 0 else upper)[nonzero[0]] = 0.0
        return lower, upper

    @property
    def domain(self) -> tuple[np.ndarray, np.ndarray]:
        """``Task.domain_bounds`` cut to the :attr:`representatives`."""
        (low, high), (least, most) = self.task.domain_bounds, self.representatives
        return np.maximum(low, least), np.minimum(high, most)

    def beyond_half_a_period(self, lower: np.ndarray, upper: np.ndarray) -> str:
        """In words, the parts of a box of states, lower and upper (n,), beyond the :attr:`representatives`; empty if
        there are none."""
        least, most = self.representatives
        out = [
            f"{name} in [{low!r}, {high!r}]"
            for name, low, high in zip(self.task.plant.state.names, least.tolist(), most.tolist(), strict=True)
        ]
        return ", ".join(text for text, wrong in zip(out, (lower < least) | (upper > most), strict=True) if wrong)

    def drift(self, x: np.ndarray) -> tuple[bool, float]:
        """Whether x is exactly an equilibrium, and a bound on its change (in one sample, or per unit of time).

        Intervals cannot prove an equality. Rational arithmetic can, and is used if the value is rational for an
        obvious reason (polynomial plants, zero angles).
        """
        moved = self.increment(Interval.of(x))
        bound = float(abs(moved).hi.max(initial=0.0))
        point = [Fraction(a) for a in x.tolist()]
        u = self.law.exact(point)
        if u is None:
            return False, bound
        middle = [Fraction(a) for a in self.disturbance_box.mid.tolist()]
        return self.plant_step.rests_exactly(point, clip_exactly(u, *self._bounds), middle), bound

    def increment(self, x: Interval) -> Interval:
        """Encloses the change per sample f(x) - x (..., n), in continuous time the derivative f(x); zero at an
        equilibrium."""
        after = self.enclose(x)
        return after if self.continuous else after - x

    @property
    def is_sampled_exactly(self) -> bool:
        """Whether the enclosures hold the solution between samples, and not an integrator's step."""
        return self.plant_step.flow is not None

    @property
    def is_disturbed(self) -> bool:
        return bool(self.disturbance)

    @cached_property
    def disturbance_box(self) -> Interval:
        """Enclosure (q,) of the admitted disturbances."""
        low, high = (np.zeros(len(self.task.plant.disturbance)) for _ in range(2))
        names = list(self.task.plant.disturbance.names)
        for name, (least, most) in self.disturbance.items():
            if name not in names:
                raise UnknownName.among(name, names, f"disturbance of {self.task.plant.name}")
            if not -np.inf < least <= most < np.inf:
                raise InvalidValue(f"{name} in [{least}, {most}]; expected a bounded interval")
            low[names.index(name)], high[names.index(name)] = least, most
        return Interval(low, high)

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        return self.task.applied_bounds
