"""The C code of a controller, from which a project is generated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

import numpy as np

from ctrl.controller import NotApplicable, Status
from ctrl.export.recording import Recording
from systems import Measurement, Signals, Task

__all__ = ["CodePart", "ControllerCode", "Member", "NotExportable", "fragment", "reference_notes"]


class NotExportable(NotApplicable):
    """A controller cannot be exported to C, for the stated reason."""


@dataclass(frozen=True)
class Member:
    """An entry of the C structure that contains a controller's internal state.

    Args:
        kind: its C type, such as ``double``.
        name: of the entry.
        count: of numbers; None for a single number.
        comment: what it holds.
    """

    kind: str
    name: str
    count: int | None = None
    comment: str = ""


@dataclass(frozen=True, eq=False)
class CodePart:
    """C sources with the tables, sizes and memory that they use.

    Args:
        sources: C text, in this order; see :func:`fragment`.
        tables: constants by their C names: doubles, or integers, row by row; default: none.
        sizes: whole numbers by their C names; default: none.
        memory: the internal state; default: none.
    """

    sources: tuple[str, ...]
    tables: Mapping[str, np.ndarray] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    memory: tuple[Member, ...] = ()

    def __add__(self, other: CodePart) -> CodePart:
        return CodePart(
            self.sources + other.sources,
            {**self.tables, **other.tables},
            {**self.sizes, **other.sizes},
            self.memory + other.memory,
        )


@dataclass(frozen=True, eq=False)
class ControllerCode:
    """The code that a controller adds to the frame of its project (``ctrl/export/c/frame.c``).

    All of it goes into one translation unit, where everything is static. The sources see the tables and sizes,
    ``STATES`` and ``INPUTS``, the types ``Memory``, ``Decision`` and ``Status``, the bounds ``LOWER`` and ``UPPER`` of
    the input, and every :class:`~ctrl.controller.Status` and :class:`~ctrl.controller.Source` by its name in Python.
    They define

    * ``static void start(Memory *memory)``: a new run begins. A structure of zeros must mean the same.
    * ``static int solve(Memory *memory, const double *x, long k, Decision *decision)``: the decision in the finite
      state x at sample k; zero where it has no input, but a status.
    * ``static void fallback(Memory *memory, const double *x, long k, Decision *decision)``: input and source where
      there is none, also of a state that is not finite.

    The frame checks the measurement and the input, and clips it. With a ``measurement``, x are the measured outputs,
    not all of which need be finite.

    Args:
        task: whose states are measured and whose inputs are set.
        summary: of the controller, one line.
        part: its C code.
        approximations: of the task, in words; default: none.
        tolerance: of the inputs in the project's test, as a share of the width of their bounds; default: 1e-9.
        converged: largest residual at which a step of the Python controller is a standard for the C code; default:
            infinite, for a law in closed form.
        notes: sentences for the project's page; default: none.
        merged: statuses that the C code reports as another one; default: none.
        licences: texts of the licences of code of others, by its name; default: none.
        recording: steps for the project's test; default: those of :func:`ctrl.export.recording.record`.
        measurement: the outputs that a step is given, NaN where one is not reported; default: the state of the plant.
    """

    task: Task
    summary: str
    part: CodePart
    approximations: tuple[str, ...] = ()
    tolerance: float = 1e-9
    converged: float = math.inf
    notes: tuple[str, ...] = ()
    merged: Mapping[Status, Status] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)
    recording: Recording | None = None
    measurement: Measurement | None = None

    @property
    def given(self) -> Signals:
        """The signals that a step is given."""
        return self.task.plant.state if self.measurement is None else self.measurement.signals


def fragment(package: str, name: str) -> str:
    """The text of a C file in the folder ``c`` of a package, such as ``fragment("ctrl.export", "frame.c")``."""
    return resources.files(package).joinpath("c", name).read_text(encoding="utf-8")


def reference_notes(task: Task, samples: int) -> tuple[str, ...]:
    """The note about the table of a reference that moves; none for a constant one."""
    if task.reference.is_constant:
        return ()
    return (f"the table of the reference reaches over {samples} samples; afterwards the last row is held",)
