"""A controller as a self-contained C99 project: library, example, test against recorded steps, build file and page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ctrl.controller import Controller, Source, Status
from ctrl.export.code import ControllerCode, NotExportable, fragment
from ctrl.export.header import header
from ctrl.export.page import page
from ctrl.export.recording import Recording, record
from ctrl.export.text import commented, identifier, table
from systems import InvalidValue, Task
from systems.arguments import expect_whole
from systems.errors import shown
from systems.files import write
from systems.lowering.c_source import c_function, c_number
from systems.lowering.program import NotLowerable

__all__ = ["Exportable", "ExportsCode", "export"]

LONGEST = 1_000_000  # samples in a table


@runtime_checkable
class Exportable(Controller, Protocol):
    """A controller that can be exported to C."""

    def c_code(self, samples: int) -> ControllerCode:
        """The C code of the controller, with tables of this number of samples for everything that varies with time.

        Raises:
            NotExportable: the controller cannot be exported for this task.
        """


class ExportsCode:
    """The method ``export`` of controllers that have ``c_code``."""

    def export(self, folder: str | Path, name: str = "", samples: int | None = None) -> Path:
        """Writes the controller as a C99 project; see :func:`ctrl.export.export`.

        Args:
            folder: where the project is written.
            name: prefix of all identifiers in the C code; default: the names of task and controller.
            samples: length of the tables of a moving reference or of varying gains, whose last rows are held
                afterwards; default: the samples of the task's run.

        Raises:
            NotExportable: the controller has no C code for this task.
        """
        return export(self, folder, name, samples)


def export(controller: Any, folder: str | Path, name: str = "", samples: int | None = None) -> Path:
    """Writes a controller as a C99 project into a folder: ``include/NAME.h``, ``src/NAME.c``, ``example/main.c``,
    ``test/``, ``CMakeLists.txt``, ``README.md``, ``LICENSES.md``. Files of these names are replaced.

    The code has fixed sizes, allocates nothing and calls nothing but ``<math.h>``. The controller is run to record the
    steps of the test, and is reset.

    Args:
        controller: such as ``LQR(task)``.
        folder: where the project is written.
        name: prefix of all identifiers in the C code; default: the names of task and controller.
        samples: length of the tables of a moving reference or of varying gains, whose last rows are held afterwards;
            default: the samples of the task's run.

    Returns:
        The folder.

    Raises:
        NotExportable: the controller cannot be exported to C; the message says what to export instead.
        InvalidValue: a name that is not an identifier of C.
        OSError: the folder cannot be written.
    """
    if not isinstance(controller, Exportable) or isinstance(controller, type):
        raise NotExportable(
            f"{shown(controller)} has no C code; export one of LQR(task), LinearMPC(task), ExplicitMPC(task), "
            "HarmonicMPC(task), NonlinearMPC(task, iterations=1), PolicyController(task, policy) and "
            "MeasuredPolicyController(task, policy), or give your own class a method c_code(samples) that returns a "
            "ctrl.export.ControllerCode"
        )
    if not isinstance(name, str) or (name and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)):
        raise InvalidValue(f"name = {shown(name)}; expected letters, digits and underscores, such as 'cartpole_lqr'")
    if not isinstance(folder, (str, Path)):
        raise InvalidValue(f"folder = {shown(folder)}; expected the path of a folder, such as 'firmware/controller'")
    if samples is not None:
        expect_whole(samples, "samples", least=1, most=LONGEST)
    task = _task_of(controller)
    if not len(task.plant.input):
        raise NotExportable(f"task '{task.name}' has no input, so there is nothing to compute")
    if task.plant.forecast is not None:
        raise NotExportable(
            f"task '{task.name}' has signals that are known ahead, and exported code has no time series; export a "
            "controller of the task without them"
        )
    if task.measurement is not None and getattr(controller, "measurement", None) is None:
        raise NotExportable(
            f"task '{task.name}' has a measurement, and estimators have no C code; export a controller of "
            "dataclasses.replace(task, measurement=None), and give its code an estimate of the state"
        )
    reach = task.steps if samples is None else int(samples)
    code = controller.c_code(reach)
    name = name or identifier(f"{task.name} {_words(type(controller).__name__)}")
    recording = code.recording or record(controller, task, reach, code.merged, code.converged)
    folder = Path(folder)
    files = {
        f"include/{name}.h": header(code, name),
        f"src/{name}.c": _source(code, name),
        **_example(code, name),
        "test/test.c": _named(fragment("ctrl.export", "test.c"), name),
        "test/recorded.h": _recorded(recording, code),
        "CMakeLists.txt": _named(fragment("ctrl.export", "CMakeLists.txt"), name),
        "README.md": page(code, name, recording),
        "LICENSES.md": _licences(code),
    }
    for place, text in files.items():
        write(folder / place, text.encode())
    return folder


def _task_of(controller: Any) -> Task:
    task = getattr(controller, "task", None)
    if not isinstance(task, Task):
        raise InvalidValue(f"{shown(controller)}.task is {shown(task)}; expected the Task that it controls")
    return task


def _words(name: str) -> str:
    """``LinearMPC`` as ``Linear MPC``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def _named(text: str, name: str) -> str:
    """A fragment with the prefix of a project in place of its own."""
    text = re.sub(r"\bNAME_", f"{name.upper()}_", re.sub(r"\bname_", f"{name}_", text))
    return text.replace("@name@", name)


def _source(code: ControllerCode, name: str) -> str:
    upper, part = name.upper(), code.part
    lower, most = code.task.input_bounds
    partial = int(code.measurement is not None)
    sizes = {"STATES": len(code.given), "PARTIAL": partial, "INPUTS": len(code.task.plant.input), **part.sizes}
    words = [f"#define {s.name} {upper}_{s.name}" for s in (*Status, *Source)]
    tables = {"LOWER": lower, "UPPER": most, **part.tables}
    quoted = {kind: ", ".join(f'"{value}"' for value in values) for kind, values in _NAMES.items()}
    return "\n".join(
        [
            f"/* {commented(code.summary)} Task: {commented(code.task.name)}. Written by Trivium; MIT license. */",
            "",
            f'#include "{name}.h"',
            "",
            "#include <math.h>",
            "",
            "#ifdef __FAST_MATH__",
            '#error "compile without -ffast-math: measurements are tested for NaN"',
            "#endif",
            "",
            f"typedef {name}_memory Memory;",
            f"typedef {name}_decision Decision;",
            f"typedef {name}_status Status;",
            "",
            "enum {",
            ",\n".join(f"    {key} = {value}" for key, value in sizes.items()),
            "};",
            "",
            *words,
            *[f"#define {kind} {values}" for kind, values in quoted.items()],
            "",
            *[table(key, values) for key, values in tables.items()],
            fragment("ctrl.export", "bounds.c"),
            *[_named(text, name) for text in part.sources],
            _named(fragment("ctrl.export", "frame.c"), name),
        ]
    )


_NAMES: dict[str, type[Status] | type[Source]] = {"STATUS_NAMES": Status, "SOURCE_NAMES": Source}


def _example(code: ControllerCode, name: str) -> dict[str, str]:
    """The loop with the task's plant, or with measurements that are read, where C has no form of the plant or what is
    measured is not its state."""
    task = code.task
    if code.measurement is not None:
        return {"example/main.c": _named(fragment("ctrl.export", "stdin.c"), name)}
    dynamics = task.dynamics.function()
    try:
        plant = c_function(dynamics, "discretised")
    except NotLowerable:
        return {"example/main.c": _named(fragment("ctrl.export", "stdin.c"), name)}
    start = task.initial.mean(task.plant.state)
    names = ", ".join([*("0" if dynamics.size1_in(i) == 0 else value for i, value in enumerate(_ARGUMENTS)), "after"])
    disturbance = dynamics.size1_in(2)
    text = [
        f"/* The plant of the task '{commented(task.name)}': one sample, undisturbed. */",
        "",
        "#include <math.h>",
        "",
        f"#define SAMPLES {task.steps}",
        f"#define START {{{', '.join(c_number(float(v)) for v in start)}}}",
        "",
        plant,
        "static void plant(const double *x, const double *u, double *after)",
        "{",
        *([f"    static const double w[{disturbance}] = {{0.0}};"] if disturbance else []),
        f"    discretised({names});",
        "}",
        "",
    ]
    return {"example/main.c": _named(fragment("ctrl.export", "main.c"), name), "example/plant.h": "\n".join(text)}


_ARGUMENTS = ("x", "u", "w", "p")


def _recorded(recording: Recording, code: ControllerCode) -> str:
    lower, upper = code.task.input_bounds
    width = upper - lower
    scale = np.where(np.isfinite(width) & (width > 0), width, 1.0 + np.abs(recording.inputs).max(axis=0, initial=0.0))
    statuses, sources = list(Status), list(Source)
    tables = {
        "RECORDED_RESET": recording.resets.astype(int),
        "RECORDED_SAMPLE": recording.samples,
        "RECORDED_STATE": recording.states,
        "RECORDED_INPUT": recording.inputs,
        "RECORDED_STATUS": np.array([statuses.index(status) for status in recording.statuses]),
        "RECORDED_SOURCE": np.array([sources.index(source) for source in recording.sources]),
        "RECORDED_COMPARED": recording.compared.astype(int),
        "INPUT_SCALE": scale,
    }
    head = f"enum {{ RECORDED = {len(recording.samples)} }};\n#define TOLERANCE {c_number(code.tolerance)}\n"
    return "\n".join([head, *[table(name, values) for name, values in tables.items()]])


def _licences(code: ControllerCode) -> str:
    ours = (Path(__file__).parent / "c" / "LICENSE").read_text(encoding="utf-8")
    texts = {"The controller's code, by Trivium": ours, **code.licences}
    return "# Licences\n\n" + "\n".join(f"## {name}\n\n```text\n{text.strip()}\n```\n" for name, text in texts.items())
