"""Refuses horizons whose matrices or programs would not fit into memory, before they are built."""

from __future__ import annotations

import math
import os

from systems import InvalidValue, Task

__all__ = ["expect_dense", "expect_program"]

_BYTES = 1_500  # of memory for each operation of plant and cost and each sample of the horizon
_MOST = 1_000_000  # such operations; CasADi takes about 20 s to differentiate as many, and cannot be interrupted


def expect_program(task: Task, horizon: int) -> None:
    """Raises InvalidValue if the nonlinear program over this horizon would not fit into the free memory."""
    operations = task.dynamics.function().n_instructions() + task.stage_cost.n_instructions()
    needed, most = horizon * operations * _BYTES, min(_free_memory(), _MOST * _BYTES)
    if needed > most:
        raise InvalidValue(
            f"horizon = {horizon}: the program would need about {needed / 1e9:.3g} GB of memory, of at most "
            f"{most / 1e9:.3g} GB; shorten the horizon to {int(horizon * most / needed)} samples or fewer, or raise dt"
        )


def expect_dense(horizon: int, needed: float, power: int = 2) -> None:
    """Raises InvalidValue if dense matrices of this size, which grows with this power of the horizon, would not fit
    into the free memory."""
    most = _free_memory() / 8.0
    if needed > most:
        raise InvalidValue(
            f"horizon = {horizon}: its matrices would need about {8.0 * needed / 1e9:.3g} GB of memory, of "
            f"{8.0 * most / 1e9:.3g} GB that are free; shorten the horizon to "
            f"{int(horizon * (most / needed) ** (1.0 / power))} samples or fewer, or raise dt"
        )


def _free_memory() -> float:
    """Bytes; infinite where the system does not tell."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf
