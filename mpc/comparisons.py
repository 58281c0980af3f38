"""The comparisons that ``trivium compare`` runs on certain tasks if no controllers are named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

from ctrl.comparison import Factory
from mpc.harmonic.equality_mpc import EqualityMPC
from mpc.harmonic.harmonic_mpc import HarmonicMPC
from mpc.harmonic.tracking_mpc import TrackingMPC
from mpc.stochastic.stochastic_mpc import StochasticMPC, nominal_mpc, robust_mpc

__all__ = ["artificial_references", "stochastic_schemes"]


def artificial_references() -> Mapping[str, Factory]:
    """Harmonic MPC with a short horizon, tracking MPC with the same and twice that horizon, equality MPC with six times
    it."""
    return {
        "harmonic, N = 5": partial(HarmonicMPC, horizon=5),
        "tracking, N = 5": partial(TrackingMPC, horizon=5),
        "tracking, N = 10": partial(TrackingMPC, horizon=10),
        "equality, N = 30": partial(EqualityMPC, horizon=30),
    }


def stochastic_schemes() -> Mapping[str, Factory]:
    """Stochastic MPC whose nominal state is never, sometimes or always reset to the measured one; nominal and robust
    MPC."""
    return {
        "nominal": nominal_mpc,
        "indirect feedback": partial(StochasticMPC, recondition_every=math.inf),
        "reset every 3 samples": partial(StochasticMPC, recondition_every=3),
        "robust-stochastic": partial(StochasticMPC, recondition_every=1),
        "robust": robust_mpc,
    }
