"""Measured runs, to which models are fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from systems.arguments import expect_array, expect_number, expect_seed
from systems.errors import DimensionMismatch, InvalidValue, expect, shown
from systems.runs import RecordedRuns
from systems.signals import Signals

__all__ = ["Runs"]

_JITTER = 1e-2  # of a sample: times that differ by more are not equally spaced


@final
@dataclass(frozen=True, eq=False)
class Runs:
    """Measured states and inputs of several runs, equally sampled; the input is held from one sample to the next.

    Args:
        states: one array per run, (samples + 1, n), each run at least two rows.
        inputs: one array per run, (samples, m): row k is applied from row k of the states to row k + 1. A last row that
            is never applied, as loggers write it, may be there: (samples + 1, m); it is dropped.
        times: one array per run, (samples + 1,), seconds, increasing and equally spaced; or one number, the seconds
            between samples of all runs.
        state, input: names and units.

    Raises:
        InvalidValue: no runs, NaN or infinite entries, times that repeat, decrease or are not equally spaced.
        DimensionMismatch: arrays whose lengths or widths do not fit.
    """

    states: tuple[np.ndarray, ...]
    inputs: tuple[np.ndarray, ...]
    times: Any
    state: Signals
    input: Signals

    def __post_init__(self) -> None:
        for role in ("state", "input"):
            expect(getattr(self, role), Signals, f"the {role} of runs", 'such as signals("position [m]")')
        for what in ("states", "inputs"):
            given = getattr(self, what)
            if not isinstance(given, (list, tuple)) and not (isinstance(given, np.ndarray) and given.ndim == 3):
                raise InvalidValue(f"{what} of runs = {shown(given)}; expected one array per run: [first, second, ...]")
        if not len(self.states):
            raise InvalidValue("no runs given; a model needs at least one, and one more to validate it")
        if len(self.states) != len(self.inputs):
            raise DimensionMismatch(
                f"{len(self.states)} runs of states and {len(self.inputs)} of inputs; give both for every run"
            )
        states, inputs = [], []
        for r, (x, u) in enumerate(zip(self.states, self.inputs, strict=True)):
            x, u = _finite(x, f"states of run {r}", self.state), _finite(u, f"inputs of run {r}", self.input)
            if len(x) < 2:
                raise DimensionMismatch(f"run {r} has {len(x)} row of states; expected at least 2: leave the run out")
            if len(u) not in (len(x) - 1, len(x)):
                raise DimensionMismatch(
                    f"run {r} has {len(x)} rows of states and {len(u)} of inputs; expected {len(x) - 1} inputs, each "
                    "applied from one state to the next"
                )
            states.append(self.state.continuous(x))
            inputs.append(u[: len(x) - 1])
        for array in (*states, *inputs):
            array.setflags(write=False)
        object.__setattr__(self, "states", tuple(states))
        object.__setattr__(self, "inputs", tuple(inputs))
        object.__setattr__(self, "times", self._expect_times())

    def _expect_times(self) -> tuple[np.ndarray, ...]:
        """Times of each run, (samples + 1,)."""
        if not isinstance(self.times, (list, tuple, np.ndarray)) or getattr(self.times, "ndim", 1) == 0:
            dt = expect_number(self.times, "times of runs", above=0.0, hint="the seconds between samples, or an array")
            return tuple(dt * np.arange(len(x)) for x in self.states)
        if len(self.times) != len(self.states):
            raise DimensionMismatch(f"{len(self.times)} arrays of times for {len(self.states)} runs; give one per run")
        times = [expect_array(t, f"times of run {r}", (len(self.states[r]),)) for r, t in enumerate(self.times)]
        steps = [np.diff(t) for t in times]
        for r, step in enumerate(steps):
            if (step <= 0).any():
                k = int(np.argmax(step <= 0))
                verb = "repeats" if step[k] == 0 else "decreases"
                raise InvalidValue(
                    f"the time of run {r} {verb} at row {k + 1} ({times[r][k]:g} s, then {times[r][k + 1]:g} s); drop "
                    "doubled rows, sort the rows by time, and begin a new run where a clock was reset"
                )
        dt = float(np.median(np.concatenate(steps)))
        for r, step in enumerate(steps):
            if (np.abs(step - dt) > _JITTER * dt).any():
                k = int(np.argmax(np.abs(step - dt)))
                raise InvalidValue(
                    f"run {r} is not sampled every {dt:g} s: {step[k]:g} s pass after row {k}; resample it to equal "
                    "steps, or cut it into two runs at a gap"
                )
            times[r].setflags(write=False)
        return tuple(times)

    @classmethod
    def recorded(cls, trajectories: RecordedRuns, state: Signals, input: Signals, dt: float) -> Runs:
        """The runs that ``simulate`` or a comparison recorded, each up to where it left the domain.

        Args:
            trajectories: the record.
            state, input: signals of the plant that ran.
            dt: seconds between samples.

        Raises:
            InvalidValue: no run stayed in the domain for two samples.
        """
        whole = trajectories.inputs.shape[1]
        # The last transition of a run that left may be held instead of computed, so it is dropped, too.
        lengths = [whole if left < 0 else int(left) - 1 for left in trajectories.left]
        kept = [(r, length) for r, length in enumerate(lengths) if length >= 1]
        if not kept:
            raise InvalidValue("every recorded run left the domain within two samples; there is nothing to fit")
        return cls(
            tuple(trajectories.states[r, : length + 1] for r, length in kept),
            tuple(trajectories.inputs[r, :length] for r, length in kept),
            expect_number(dt, "dt", above=0.0, hint="the seconds between samples"),
            state,
            input,
        )

    def __len__(self) -> int:
        return len(self.states)

    @cached_property
    def dt(self) -> float:
        """Seconds between samples: the mean of all runs."""
        return float(sum(t[-1] - t[0] for t in self.times) / self.samples)

    @property
    def samples(self) -> int:
        """Number of transitions of all runs together."""
        return sum(map(len, self.inputs))

    def transitions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """States, inputs and next states of all runs: (samples, n), (samples, m), (samples, n)."""
        return (
            np.concatenate([x[:-1] for x in self.states]),
            np.concatenate(self.inputs),
            np.concatenate([x[1:] for x in self.states]),
        )

    def select(self, runs: Sequence[int]) -> Runs:
        """Some of the runs, by number.

        Args:
            runs: numbers from 0 to ``len(self) - 1``.
        """
        pick = [range(len(self))[r] for r in runs]
        states, inputs, times = (tuple(part[r] for r in pick) for part in (self.states, self.inputs, self.times))
        return Runs(states, inputs, times, self.state, self.input)

    def split(self, share: float = 0.25, seed: int = 0) -> tuple[Runs, Runs]:
        """Runs to fit a model to and runs to validate it on; no run is in both, since its samples are dependent.

        Args:
            share: of the runs to hold out, at least one; default: 0.25.
            seed: of the draw; default: 0.

        Raises:
            InvalidValue: a single run, or a share that leaves nothing to fit.
        """
        expect_number(share, "share of the runs to hold out", above=0.0, below=1.0)
        held = max(1, round(share * len(self)))
        if held >= len(self):
            raise InvalidValue(
                f"{len(self)} runs cannot be split with a share of {share:g} held out; record more runs, or cut a long "
                "one into several"
            )
        order = np.random.default_rng(expect_seed(seed)).permutation(len(self))
        return self.select(sorted(order[held:])), self.select(sorted(order[:held]))

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """Limitations of these data, one sentence each; empty if there are none."""
        x, u, after = self.transitions()
        texts = []
        for signal, column in zip((*self.state, *self.input), np.hstack([x, u]).T, strict=True):
            if np.ptp(column) == 0.0:
                texts.append(
                    f"{signal.name} is constant ({column[0]:g} {signal.unit}): its effect cannot be told from an "
                    "offset; excite it, or leave it out"
                )
        for signal, before, later in zip(self.state, x.T, after.T, strict=True):
            held = np.mean(before == later)
            if np.ptp(before) > 0.0 and held > 0.5:
                texts.append(
                    f"{signal.name} repeats its last value at {held:.0%} of the samples: it is measured more seldom "
                    "than it is logged; take every second sample, or fewer"
                )
        if len(self) == 1:
            texts.append("there is one run: nothing can be held out to validate a model; record another")
        return tuple(texts)

    def __repr__(self) -> str:
        names = ", ".join((*self.state.names, *self.input.names))
        return f"Runs({len(self)} runs, {self.samples} samples of {self.dt:g} s: {names})"


def _finite(value: Any, what: str, declared: Signals) -> np.ndarray:
    """An array of one run as finite numbers, one column per signal."""
    array = expect_array(value, what, ("samples", len(declared)), infinite=True, nan=True)
    bad = ~np.isfinite(array)
    if bad.any():
        row, column = map(int, np.argwhere(bad)[0])
        raise InvalidValue(
            f"{what}: {declared.names[column]} is {array[row, column]} at row {row} ({int(bad.any(axis=1).sum())} bad "
            "rows in all); cut the run there, or interpolate where few samples are missing"
        )
    return array
