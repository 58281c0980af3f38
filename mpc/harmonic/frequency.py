"""Choice of the base frequency of a harmonic MPC."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mpc.harmonic.artificial_reference_mpc import ArtificialReferenceMPC
from mpc.harmonic.frequency_sweep import FrequencySweep, sweep
from mpc.harmonic.harmonic_mpc import HarmonicMPC
from mpc.online import check_horizon
from systems import InvalidValue, Task
from systems.arguments import expect_array, expect_factory, expect_names, expect_seed, expect_whole
from systems.errors import shown

__all__ = ["FrequencySweep", "choose_frequency"]


def choose_frequency(
    task: Task,
    horizon: int,
    frequencies: Sequence[float] | np.ndarray | None = None,
    controller: Callable[[float], ArtificialReferenceMPC] | None = None,
    plane: tuple[str, str] | None = None,
    starts: int = 4,
    seed: int = 0,
) -> FrequencySweep:
    """Simulates the nominal linear loop at each frequency, from initial states drawn from the task's distribution, and
    chooses the frequency with the fewest unsolved samples, then the lowest cost.

    Args:
        task: as for :class:`mpc.harmonic.harmonic_mpc.HarmonicMPC`.
        horizon: as there.
        frequencies: candidates; default: 16 from a quarter radian per horizon to 2.5 rad per sample, and 4 more around
            the best of them.
        controller: constructs the controller for a frequency; default: harmonic MPC with this horizon.
        plane: two states; the area of that section of the feasible set is then computed, too, for the figure.
        starts: number of draws in addition to the mean of the distribution of initial states.
        seed: of the draws.

    Raises:
        NotApplicable: no candidate yields a controller.
    """
    check_horizon(horizon)
    expect_whole(starts, "starts", least=0)
    expect_seed(seed)
    if controller is not None:
        expect_factory(controller, "frequency", "controller", "a function of the frequency that makes a controller")
    if plane is not None:
        expect_names(plane, "plane")
    if frequencies is not None:
        candidates = expect_array(frequencies, "frequencies", ("k",))
        if not len(candidates) or not (candidates > 0).all():
            raise InvalidValue(f"frequencies = {shown(frequencies)}; expected numbers above 0, in rad per sample")
    make = controller or (lambda frequency: HarmonicMPC(task, horizon, frequency))
    given = None if frequencies is None else np.asarray(frequencies, dtype=float)
    return sweep(task, horizon, make, given, plane, starts, seed)
