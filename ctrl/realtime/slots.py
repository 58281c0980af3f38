"""Records of fixed size in memory that two processes share; the newest one counts."""

from __future__ import annotations

import ctypes
from multiprocessing.context import BaseContext
from typing import Any, final

import numpy as np

__all__ = ["Slot", "answer_type", "request_type", "shared"]

_ATTEMPTS = 1000  # to read while the other process writes


def request_type(states: int, outputs: int = 0, inputs: int = 0, reports: int = 0) -> np.dtype:
    """What to decide about: number of the request, number of the sample, state, and the last reports of outputs: the
    fields of :class:`ctrl.realtime.asked.Reports`."""
    first = [("version", "i8"), ("number", "i8"), ("k", "i8"), ("x", "f8", (states,))]
    history = [("ks", "i8", (reports,)), ("ys", "f8", (reports, outputs)), ("us", "f8", (reports, inputs))]
    return np.dtype([*first, *history] if reports else first)


def answer_type(inputs: int) -> np.dtype:
    """A decision: the fields of :class:`ctrl.realtime.runner.Answer`."""
    fields = ("status", "source", "iterations", "took")
    first = [("version", "i8"), ("number", "i8"), ("input", "f8", (inputs,))]
    return np.dtype([*first, *((name, "i8") for name in fields)])


def shared(context: BaseContext, dtype: np.dtype) -> Any:
    """Memory for one record, which a process that is started is given."""
    return context.RawArray(ctypes.c_char, dtype.itemsize)


@final
class Slot:
    """One record, written by one process and read by another without a lock that a killed process could keep.

    A version number is odd while a record is being written, so a reader notices a record that is torn (the sequence
    lock of Linux).

    Args:
        memory: of the size of the record. dtype: with the first field ``version``.
    """

    def __init__(self, memory: Any, dtype: np.dtype) -> None:
        self._record = np.frombuffer(memory, dtype, count=1)
        self._version = self._record["version"]
        self._fields = [self._record[name] for name in dtype.names or () if name != "version"]

    def write(self, *values: Any) -> None:
        """Writes all fields, in the order of their declaration."""
        self._version[0] += 1
        for field, value in zip(self._fields, values, strict=True):
            field[0] = value
        self._version[0] += 1

    def read(self) -> np.void | None:
        """A copy of the record; None if it was left half written."""
        for _ in range(_ATTEMPTS):
            before = int(self._version[0])
            copy = self._record[0].copy()
            if before % 2 == 0 and before == self._version[0]:
                return copy
        return None
