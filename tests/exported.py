"""Exported projects for tests: compiled strictly, and called from Python."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctrl.controller import Controller, Source, Status
from systems import Task
from systems.lowering.c_backend import CompilerMissing, find_compiler

STRICT = ("-Wall", "-Wextra", "-Werror", "-std=c99", "-pedantic", "-O2")
MATHS = {"sqrt", "erf", "erfc", "exp", "expm1", "log", "log1p", "sin", "cos", "tan", "tanh", "pow", "fabs", "rint",
         "atan2", "atan", "fmod", "fmin", "fmax", "sincos", "hypot", "floor", "ceil"}  # fmt: skip
COMPILED = {"_GLOBAL_OFFSET_TABLE_", "memcpy", "memset", "memmove", "__stack_chk_fail"}  # what compilers insert


def compiler() -> list[str]:
    """A C compiler; the test is skipped where none exists."""
    try:
        return find_compiler()
    except CompilerMissing as missing:
        pytest.skip(str(missing))


def run(*command: str | Path, text: str = "") -> str:
    """Output of a command that must succeed, given this text to read."""
    done = subprocess.run(
        [str(part) for part in command], input=text, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


class Compiled:
    """An exported controller, loaded: steps as in Python, with a memory of its own.

    Args:
        folder: of the project.
        task: for its sizes.
    """

    def __init__(self, folder: Path, task: Task) -> None:
        (source,) = (folder / "src").glob("*.c")
        self.folder, self.source, self.name = folder, source, source.stem
        self.n, self.m = len(task.plant.state), len(task.plant.input)
        shim = folder / "size.c"
        shim.write_text(
            f'#include "{self.name}.h"\nlong memory_size(void) {{ return (long)sizeof({self.name}_memory); }}'
        )
        library = folder / "controller.so"
        command = [*compiler(), *STRICT, "-fPIC", "-shared", f"-I{folder / 'include'}"]
        run(*command, source, shim, "-o", library, "-lm")
        loaded = ctypes.CDLL(str(library))
        loaded.memory_size.restype = ctypes.c_long
        self.memory_size = loaded.memory_size()
        self._step, self._reset = loaded[f"{self.name}_step"], loaded[f"{self.name}_reset"]
        numbers = np.ctypeslib.ndpointer(float, flags="C")
        self._step.argtypes = [ctypes.c_void_p, numbers, ctypes.c_long, ctypes.c_void_p]
        self._reset.argtypes = [ctypes.c_void_p]

        class Answer(ctypes.Structure):
            _fields_ = (
                ("input", ctypes.c_double * self.m),
                ("status", ctypes.c_int),
                ("source", ctypes.c_int),
                ("iterations", ctypes.c_int),
                ("residual", ctypes.c_double),
            )

        self._answer: Any = Answer()
        self.memory = ctypes.create_string_buffer(self.memory_size)

    def reset(self) -> None:
        self._reset(self.memory)

    def step(self, x: np.ndarray, k: int) -> tuple[np.ndarray, Status, Source]:
        answer = self._answer
        self._step(self.memory, np.array(x, dtype=float), k, ctypes.byref(answer))
        return np.array(answer.input[:]), tuple(Status)[answer.status], tuple(Source)[answer.source]

    @property
    def residual(self) -> float:
        """Of the last step."""
        return float(self._answer.residual)


def check_project(folder: Path) -> None:
    """The project compiles strictly, passes its own test (under valgrind, where there is one), its example runs, and
    the controller's object needs nothing but mathematics."""
    (source,) = (folder / "src").glob("*.c")
    command = [*compiler(), *STRICT, f"-I{folder / 'include'}"]
    run(*command, "-c", source, "-o", folder / "controller.o")
    for program, file in (("tested", "test/test.c"), ("shown", "example/main.c")):
        run(*command, folder / "controller.o", folder / file, "-o", folder / program, "-lm")
    run(folder / "tested")
    if valgrind := shutil.which("valgrind"):
        run(valgrind, "-q", "--error-exitcode=9", "--leak-check=full", folder / "tested")
    if (folder / "example" / "plant.h").exists():
        assert run(folder / "shown")
    if nm := shutil.which("nm"):
        needed = {line.split()[-1] for line in run(nm, "-u", folder / "controller.o").splitlines()}
        assert needed <= MATHS | COMPILED
        made = [line.split()[-1] for line in run(nm, "-g", "--defined-only", folder / "controller.o").splitlines()]
        assert {name.removeprefix(source.stem) for name in made} == {"_reset", "_step", "_status_name", "_source_name"}


def largest_difference(
    controller: Controller,
    compiled: Compiled,
    task: Task,
    starts: np.ndarray,
    steps: int,
    disturbed: Callable[[np.ndarray, int], np.ndarray] | None = None,
    merged: Mapping[Status, Status] | None = None,
) -> float:
    """Largest difference of inputs, as a share of the width of their bounds, of two closed loops from the same start,
    one of the controller in Python, one of the compiled one. Status and source must be the same in every step.

    Args:
        starts: (b, n).
        steps: of every run.
        disturbed: the state and the number of a sample to what the controller measures instead.
        merged: statuses that the C code reports as another one.
    """
    dynamics, worst = task.dynamics.function(), 0.0
    lower, upper = task.input_bounds
    scale = np.where(np.isfinite(upper - lower), upper - lower, 1.0)
    w = np.zeros(len(task.plant.disturbance))
    for start in starts:
        controller.reset()
        compiled.reset()
        ours, theirs = np.array(start, dtype=float), np.array(start, dtype=float)
        for k in range(steps):
            seen = [x if disturbed is None else disturbed(x, k) for x in (ours, theirs)]
            decision = controller.step(seen[0], k)
            u, status, source = compiled.step(seen[1], k)
            expected = (merged or {}).get(decision.status, decision.status)
            assert (status, source) == (expected, decision.source), (k, decision, u, status, source)
            worst = max(worst, float((np.abs(u - decision.input) / scale).max()))
            assert worst < 1.0, (k, decision, u)
            ours, theirs = (np.array(dynamics(x, v, w, [])).ravel() for x, v in ((ours, decision.input), (theirs, u)))
    return worst
