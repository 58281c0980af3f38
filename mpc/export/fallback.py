"""The C code of the fallback: the regulator of the task, or its reference where it has none."""

from __future__ import annotations

import numpy as np

from ctrl.export.code import CodePart
from ctrl.export.regulator import regulator_part
from mpc.fallback import Fallback

__all__ = ["fallback_part"]


def fallback_part(fallback: Fallback, samples: int) -> CodePart:
    """``regulate(x, k, u)`` and ``feed_back(x, towards, input, k, u)``.

    Args:
        fallback: of the controller.
        samples: from which on gains that vary are held.
    """
    task = fallback.task
    if fallback.regulator is not None:
        return fallback.regulator.c_part(samples)
    n, m = len(task.plant.state), len(task.plant.input)

    def gain(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x_ref, u_ref = task.reading.window(k, 1)
        return np.zeros((m, n)), x_ref[0], u_ref[0]

    return regulator_part(gain, 0 if task.reference.is_constant else samples, task.reading.state)
