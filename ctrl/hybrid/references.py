"""A reference that a mode of a hybrid system may be given, with the region that is proved for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import casadi as ca
import numpy as np

from ctrl.certify.claims.certificate import Certificate
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.laws.saturated_linear import SaturatedLinear
from systems import InvalidValue
from systems.arguments import expect_array
from systems.arithmetic.interval import Interval
from systems.errors import expect

__all__ = ["ModeReference"]

_INWARD = 1.0 - 1e-9  # of a level that is computed in floating point from one that is proved


@final
@dataclass(frozen=True, eq=False)
class ModeReference:
    """A regulator of one mode, the region that is proved for it, and both moved sideways if the dynamics allow it.

    From every state of the region the mode's sampled loop stays in it at all samples and within the domain of the task.
    This holds for every smaller level, too, as V decreases: with ``least`` and ``most`` the level is lowered until the
    moved region keeps within these bounds.

    Args:
        certificate: proved, of the mode's plant under a SaturatedLinear law, undisturbed.
        shift: (n,), by which reference and region are moved; the plant's equations must not depend on the states that
            are moved, and the mode's discretisation follows them; default: zero.
        bounds: lower and upper (n,) that the moved region must keep within; default: the certificate's box.

    Raises:
        InvalidValue: the certificate is not proved, or of a disturbed loop, or of another law; the equations depend on
            a state that is moved; the moved region has no room within the bounds.
    """

    certificate: Certificate
    shift: np.ndarray | None = None
    bounds: tuple[np.ndarray, np.ndarray] | None = None

    def __post_init__(self) -> None:
        expect(self.certificate, Certificate, "ModeReference: certificate", "such as largest_level(task, law)")
        task, law = self.certificate.claimed.loop.task, self.certificate.claimed.loop.law
        if not self.certificate.is_proved:
            raise InvalidValue(
                f"the certificate of task '{task.name}' is {self.certificate.kind}, not proved, so nothing is known of "
                "its region; lower its level (largest_level) or raise its limits (SearchLimits)"
            )
        if self.certificate.inner > 0 or self.certificate.disturbance or not self.certificate.dt:
            raise InvalidValue(
                f"the certificate of task '{task.name}' is about {self.certificate.claim}; expected a sampled loop "
                "without disturbance, whose trajectories converge"
            )
        if not isinstance(law, SaturatedLinear):
            raise InvalidValue(
                f"the law is a {type(law).__name__}; expected a SaturatedLinear law, such as LQR(task).law"
            )
        n = len(self.certificate.state)
        shift = np.zeros(n) if self.shift is None else expect_array(self.shift, "shift", (n,))
        object.__setattr__(self, "shift", shift)
        read = self._equations_read(np.flatnonzero(shift))
        if read:
            raise InvalidValue(
                f"the equations of {task.plant.name} depend on {', '.join(read)}, so its region cannot be moved there; "
                "prove a region around the other reference"
            )
        if not self.region.level > 0:
            raise InvalidValue(f"a region moved by {shift} has no room within the bounds")

    def _equations_read(self, moved: np.ndarray) -> list[str]:
        """Names of the moved states that the equations read."""
        f = self.certificate.claimed.loop.task.true_dynamics.plant.casadi()
        x, u, w, p = f.sx_in()
        ode = f(x, u, w, p)
        return [self.certificate.state.names[i] for i in moved if ca.depends_on(ode, x[int(i)])]

    @property
    def moved_by(self) -> np.ndarray:
        """The shift (n,)."""
        assert self.shift is not None
        return self.shift

    @cached_property
    def law(self) -> SaturatedLinear:
        """The law of the reference that is not moved, within the input bounds of the certified loop."""
        loop = self.certificate.claimed.loop
        law, bounds = loop.law, loop.task.applied_bounds
        assert isinstance(law, SaturatedLinear)
        return replace(law, lower=np.clip(law.lower, *bounds), upper=np.clip(law.upper, *bounds))

    @cached_property
    def region(self) -> SublevelSet:
        """The proved region before it is moved, at the level that is left."""
        region = self.certificate.region
        if self.bounds is None:
            return region
        lower, upper = (np.asarray(b, dtype=float) - self.moved_by for b in self.bounds)
        centre, level = region.V.middle, region.level
        # The half-width in each state of {V <= level} grows with its root.
        low, high = region.V.bounding_box(level)
        for i in range(len(centre)):
            cut = region.lower[i] < lower[i] or region.upper[i] > upper[i]
            room = min(centre[i] - lower[i], upper[i] - centre[i])
            reach = max(high[i] - centre[i], centre[i] - low[i])
            if cut and reach > room:
                level = min(level, _INWARD * region.level * max(room, 0.0) ** 2 / reach**2)
        return SublevelSet(region.V, level, region.lower, region.upper)

    def contains(self, x: np.ndarray) -> np.ndarray:
        """Whether the states (..., n) surely lie in the moved region, (...,) of bool, with outward rounding."""
        return np.asarray(self.region.surely_holds(Interval.of(x) - self.moved_by))

    def excess(self, x: np.ndarray) -> np.ndarray:
        """V over the level at states (..., n), (...,): at most 1 in the region; infinite outside of its box."""
        z, region = x - self.moved_by, self.region
        inside = ((z >= region.lower) & (z <= region.upper)).all(axis=-1)
        return np.where(inside, region.V(z) / region.level, np.inf)

    def input(self, x: np.ndarray) -> np.ndarray:
        """The input (..., m) at states (..., n)."""
        return self.law(x - self.moved_by)
