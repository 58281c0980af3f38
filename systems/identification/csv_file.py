"""Reads runs from CSV files with named columns."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from systems.arguments import expect_name
from systems.errors import DimensionMismatch, InvalidValue, UnknownName, expect
from systems.files.reading import read_bytes
from systems.identification.runs import Runs
from systems.signals import Signals, signals

__all__ = ["read_csv"]

_MOST_BYTES = 2**30


def read_csv(file: str | Path, state: Signals, input: Signals, time: str = "time", run: str = "") -> Runs:
    """The runs in a CSV file with one row per sample and a first row that names the columns.

    A name may carry its unit, ``angle [rad]``, which must then be the unit of the signal. Columns without a signal
    of that name are ignored.

    Args:
        file: comma-separated, UTF-8.
        state, input: the signals to read.
        time: column of the seconds; default: "time".
        run: column whose value identifies the run; default: none, the file is one run.

    Raises:
        UnknownName: no such column.
        InvalidValue: an entry that is not a number, another unit than the signal's, a column named twice, or whatever
            :class:`Runs` refuses.
        DimensionMismatch: rows of different lengths.
    """
    for what, declared in (("state", state), ("input", input)):
        expect(declared, Signals, f"read_csv: {what}", 'such as signals("position [m]")')
    expect_name(time, "read_csv: time")
    text = read_bytes(file, _MOST_BYTES).decode("utf-8-sig", errors="replace")
    rows = [row for row in csv.reader(io.StringIO(text)) if row]
    if len(rows) < 3:
        raise InvalidValue(f"{file}: {len(rows)} rows; expected one of names and at least two samples")
    heads = [head.split("[")[0].strip() for head in rows[0]]
    for head, name in zip(rows[0], heads, strict=True):
        for signal in (*state, *input):
            if signal.name == name and "[" in head and head != f"{name} [{signal.unit}]":
                raise InvalidValue(
                    f"{file}: column '{head.strip()}' for the signal {signal}; convert its numbers, or declare the "
                    "signal in the unit of the file"
                )
    for name in (*state.names, *input.names, time, *([run] if run else [])):
        if name not in heads:
            raise UnknownName.among(name, heads, f"column of {file}")
        if heads.count(name) > 1:
            raise InvalidValue(f"{file}: {heads.count(name)} columns are named {name}; rename all but one")
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(heads):
            raise DimensionMismatch(f"{file}: row {line} has {len(row)} entries; expected {len(heads)}, one per column")

    def numbers(names: tuple[str, ...], samples: list[int]) -> np.ndarray:
        table = np.empty((len(samples), len(names)))
        for j, name in enumerate(names):
            column = heads.index(name)
            for i, line in enumerate(samples):
                try:
                    table[i, j] = float(rows[line][column] or "nan")
                except ValueError:
                    raise InvalidValue(
                        f"{file}: row {line + 1}, column {name}: '{rows[line][column]}' is not a number; write numbers "
                        "with a decimal point, and leave the entry empty where nothing was measured"
                    ) from None
        return table

    groups: dict[str, list[int]] = {}
    for line, row in enumerate(rows[1:], start=1):
        groups.setdefault(row[heads.index(run)] if run else "", []).append(line)
    if any(len(lines) < 2 for lines in groups.values()):
        raise InvalidValue(f"{file}: a run of a single row; leave it out, or check that '{run}' numbers the runs")
    return Runs(
        tuple(numbers(state.names, lines) for lines in groups.values()),
        tuple(numbers(input.names, lines) for lines in groups.values()),
        tuple(numbers(signals(time).names, lines)[:, 0] for lines in groups.values()),
        state,
        input,
    )
