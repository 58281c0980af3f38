"""The C code of the fallback: the regulator of the task, or the reference input if no regulator exists."""

from __future__ import annotations

import numpy as np

from ctrl.export.code import CodePart, Member, fragment
from ctrl.export.regulator import regulator_part
from mpc.fallback import Fallback
from systems import Task

__all__ = ["fallback_part", "representative_part"]


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


def representative_part(task: Task, samples: int) -> CodePart:
    """``represent(memory, x, k, near)``: the representative of a state that predictions start from.

    Args:
        task: whose state it is.
        samples: from which on the last row of a reference that moves is held.
    """
    memory = (Member("double", "last_state", len(task.plant.state), "the representative of the last measured state"),
              Member("int", "measured", None, "whether there is one"))  # fmt: skip
    if task.reading.state.is_euclidean:
        return CodePart((fragment("mpc.export", "same_representative.c"),), memory=memory)
    rows = 1 if task.reference.is_constant else samples + 1
    return CodePart(
        (fragment("mpc.export", "representative.c"),),
        {"REFERENCE_STATE": np.array([task.reading.window(k, 1)[0][0] for k in range(rows)])},
        {"REFERENCE_ROWS": rows},
        memory,
    )
