"""The C code of a regulator with tabulated gains: LQR itself, and the fallback of predictive controllers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ctrl.export.code import CodePart, fragment
from systems.signals import Signals

__all__ = ["nearest_part", "regulator_part"]

Gain = Callable[[int], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""K (m, n), x_ref (n,) and u_ref (m,) at a sample."""


def nearest_part(state: Signals) -> CodePart:
    """``nearest(x, to, near)`` for the periodic signals of a state.

    Args:
        state: whose signals they are.
    """
    if state.is_euclidean:
        return CodePart((fragment("ctrl.export", "euclidean.c"),))
    quaternions = state.quaternions
    return CodePart(
        (fragment("ctrl.export", "nearest.c"),),
        {"PERIODS": state.periods, "QUATERNION_AT": np.array(quaternions, dtype=int).ravel()},
        {"QUATERNIONS": len(quaternions)},
    )


def regulator_part(gain: Gain, samples: int, state: Signals, is_before_as_after: bool = False) -> CodePart:
    """``regulate(x, k, u)`` and ``feed_back(x, towards, input, k, u)``, see ``ctrl/export/c/regulator.c``.

    Args:
        gain: of a sample.
        samples: from which on the last row is held; 0 where the gain is the same at every sample.
        state: the signals of the state.
        is_before_as_after: whether samples before the first are answered like those after the last; default: like the
            first one.
    """
    rows = [gain(k) for k in range(samples + 1)]
    names = ("GAIN", "GAIN_STATE", "GAIN_INPUT")
    tables = {name: np.array(table, dtype=float) for name, table in zip(names, zip(*rows, strict=True), strict=True)}
    sizes = {"GAIN_ROWS": samples + 1, "GAIN_ROW_BEFORE": samples if is_before_as_after else 0}
    return nearest_part(state) + CodePart((fragment("ctrl.export", "regulator.c"),), tables, sizes)
