"""Functions of boxes, written for numpy, that are recorded at the first call and then run as compiled code."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any, final

import numpy as np

from systems.tape.machine import BLOCK
from systems.tape.tape import Tape
from systems.tape.trace import NotTraceable, Trace, Traced

__all__ = ["Recorded", "Recorder"]

Function = Callable[..., Sequence[np.ndarray]]


@final
class Recorded:
    """A compiled function of arrays (b, *shape): it returns its arrays and a mask (b,) of boxes whose results are not
    valid because an assumption of the recording does not hold, for instance after an overflow or an undefined value.

    Args:
        function: of arrays, one per shape, with a leading batch dimension; returns a sequence of such arrays. The
            results for one box must not depend on other boxes.
        shapes: of its arguments without the batch dimension.

    Raises:
        NotTraceable: its operations cannot be recorded.
    """

    def __init__(self, function: Function, *shapes: tuple[int, ...]) -> None:
        trace = Trace()
        given = [trace.inputs(*shape) for shape in shapes]
        results = [x if isinstance(x, Traced) else trace.constants(x) for x in function(*given)]
        if any(x.shape[:1] != (1,) for x in results):
            raise NotTraceable("a result without the batch in front")
        self.tape = Tape(trace, [int(k) for x in results for k in x.ids.flat])
        self._shapes = [(x.shape[1:], x.is_truth) for x in results]
        self._ends = np.cumsum([x.ids.size for x in results])[:-1]

    def __call__(self, *given: np.ndarray, pool: ThreadPoolExecutor | None = None) -> tuple[list[Any], np.ndarray]:
        boxes = len(given[0])
        columns = np.concatenate([x.reshape(boxes, prod(x.shape[1:])).T for x in given])
        out, doubt = self._run(columns, pool)
        arrays = []
        for part, (shape, is_truth) in zip(np.split(out, self._ends), self._shapes, strict=True):
            array = part.T.reshape(boxes, *shape)
            arrays.append(array == 1.0 if is_truth else array)
        return arrays, doubt

    def _run(self, columns: np.ndarray, pool: ThreadPoolExecutor | None) -> tuple[np.ndarray, np.ndarray]:
        boxes, threads = columns.shape[1], 1 if pool is None else pool._max_workers
        blocks = -(-boxes // BLOCK)
        if pool is None or blocks < 2 * threads:
            return self.tape(columns)
        share = -(-blocks // threads) * BLOCK
        parts = list(pool.map(self.tape, (columns[:, k : k + share] for k in range(0, boxes, share))))
        return np.concatenate([out for out, _ in parts], axis=1), np.concatenate([doubt for _, doubt in parts])


@final
class Recorder:
    """Runs functions of boxes as compiled code on all cores that the process may use.

    Functions that cannot be recorded, and boxes for which the results of a recorded function are not valid, are
    evaluated by numpy.
    """

    def __init__(self) -> None:
        self._recorded: dict[tuple[Function, tuple[tuple[int, ...], ...]], Recorded | None] = {}
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(cores) if cores > 1 else None

    def __call__(self, function: Function, *arrays: np.ndarray) -> Sequence[np.ndarray]:
        """The result of ``function(*arrays)``, up to the rounding of elementary functions and the order of sums."""
        shapes = tuple(x.shape[1:] for x in arrays)
        key = function, shapes
        if key not in self._recorded:
            try:
                self._recorded[key] = Recorded(function, *shapes)
            except Exception:  # NotTraceable, or an error that numpy itself will raise
                self._recorded[key] = None
        recorded = self._recorded[key]
        if recorded is None:
            return function(*arrays)
        results, doubt = recorded(*arrays, pool=self._pool)
        if doubt.any():
            again = np.flatnonzero(doubt)
            for result, part in zip(results, function(*(x[again] for x in arrays)), strict=True):
                result[again] = part
            if len(again) > 0.5 * len(doubt) > 0.25 * BLOCK:
                self._recorded[key] = None  # boxes that are evaluated twice take longer than by numpy alone
        return results
