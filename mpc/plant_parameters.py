"""Parameters of a plant that may change while a controller runs: what is asked of their names and values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from systems import DimensionMismatch, Task
from systems.arguments import expect_array, expect_names
from systems.uncertain_parameters import expect_apart_from_limits

__all__ = ["changing_parameters", "parameter_values"]


def changing_parameters(task: Task, parameters: Sequence[str]) -> tuple[str, ...]:
    """The names of parameters that a controller may change.

    Raises:
        InvalidValue: not names, or limits of inputs are computed of one of them.
        UnknownName: a parameter that the plant does not have.
    """
    names = expect_names(parameters, "parameters")
    expect_apart_from_limits(
        task.plant,
        names,
        "which set_parameters does not change; leave it out of parameters, and call set_plant for other limits",
    )
    return names


def parameter_values(values: np.ndarray, names: Sequence[str], controller: object) -> np.ndarray:
    """The values (parameters,) given to ``set_parameters`` of a controller with parameters of these names.

    Raises:
        DimensionMismatch: another number of values.
        InvalidValue: values that are not finite numbers.
    """
    array = expect_array(values, f"values of {', '.join(names) or 'no parameters'}", ("parameters",))
    if len(array) != len(names):
        raise DimensionMismatch(
            f"{len(array)} values; expected {len(names)}, of the parameters that were named in "
            f"{type(controller).__name__}(task, parameters=...)"
        )
    return array
