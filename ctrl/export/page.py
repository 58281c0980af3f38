"""The page of an exported project: description, build, usage, and test."""

from __future__ import annotations

from collections import Counter

from ctrl.export.code import ControllerCode
from ctrl.export.recording import Recording
from ctrl.export.text import identifiers
from systems.signals import Signals

__all__ = ["page"]

_WIDTHS = {"double": 8, "long": 8, "int": 4}


def page(code: ControllerCode, name: str, recording: Recording) -> str:
    """The text of the project's README.md.

    Args:
        code: of the controller.
        name: prefix of everything public.
        recording: of the test.
    """
    task, part = code.task, code.part
    constants = sum(table.size * (8 if table.dtype.kind == "f" else 4) for table in part.tables.values())
    memory = 8 + sum(_WIDTHS[entry.kind] * (entry.count or 1) for entry in part.memory)
    sources = Counter(f"{status.value}, {source.value}" for status, source in zip(
        recording.statuses, recording.sources, strict=True))  # fmt: skip
    approximations = [f"- {text}" for text in code.approximations]
    notes = [f"- {text}" for text in code.notes]
    return "\n".join(
        [
            f"# {name}",
            "",
            f"{code.summary} Task '{task.name}', one sample every {task.dt:.9g} s. C99 without heap: the functions "
            "below allocate nothing and call nothing but `<math.h>`.",
            "",
            f"Constants: {_bytes(constants)}; memory of one controller: {_bytes(memory)}.",
            "",
            "```c",
            f'#include "{name}.h"',
            "",
            f"static {name}_memory memory;",
            f"{name}_decision decision;",
            f"{name}_reset(&memory);",
            "for (long k = 0;; ++k) {",
            "    /* every sample time: measure x"
            + (" */" if code.measurement is None else ", NaN for signals that are not reported */"),
            f"    {name}_step(&memory, x, k, &decision);",
            "    /* apply decision.input, log decision.status and decision.source */",
            "}",
            "```",
            "",
            "## Signals",
            "",
            "| place | signal | unit | bounds |",
            "| --- | --- | --- | --- |",
            *_rows(code.given, f"{name}_state", None),
            *_rows(
                task.plant.input,
                f"{name}_input",
                [f"{low:.9g} .. {high:.9g}" for low, high in zip(*task.input_bounds, strict=True)],
            ),
            "",
            *(
                ["## Approximations", "", "Of the task, the controller", "", *approximations, ""]
                if approximations
                else []
            ),
            *(["## Notes", "", *notes, ""] if notes else []),
            "## Build and test",
            "",
            "```bash",
            "cmake -S . -B build && cmake --build build && ctest --test-dir build",
            "```",
            "",
            "without CMake:",
            "",
            "```bash",
            f"cc -std=c99 -O2 -Iinclude src/{name}.c test/test.c -lm -o recorded_steps && ./recorded_steps",
            "```",
            "",
            f"or compile `src/{name}.c` with your code, without `-ffast-math`: measurements are tested for NaN. "
            f"The test repeats {len(recording.samples)} steps that the Python controller took, some without a "
            f"measurement. Of these {recording.compared.sum()} are compared, where its solver converged, with equal "
            f"status and source and to {code.tolerance:.0e} of the width of the input's bounds. In Python they were: "
            + "; ".join(f"{count} {what}" for what, count in sources.most_common())
            + ".",
            "",
            "[LICENSES.md](LICENSES.md) lists the licences.",
            "",
        ]
    )


def _rows(signals: Signals, prefix: str, bounds: list[str] | None) -> list[str]:
    return [
        f"| `{c_name}` | {signal.name} | {signal.unit} | {bounds[i] if bounds else ''} |"
        for i, (c_name, signal) in enumerate(zip(identifiers(signals, prefix), signals, strict=True))
    ]


def _bytes(count: int) -> str:
    return f"{count} bytes" if count < 4096 else f"{count / 1024:.1f} KiB"
