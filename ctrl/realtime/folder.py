"""The folder of a run of a loop."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ctrl.comparison.verdicts import violated_samples
from ctrl.controller import Source, Status
from ctrl.realtime.estimate import Freshness
from ctrl.realtime.figure import figure
from ctrl.realtime.log import Applied
from systems.describe import describe
from systems.files import OutputError, json_text, probe, write

if TYPE_CHECKING:
    from ctrl.realtime.data import LoopData

__all__ = ["csv_text", "save", "trace"]

_TRACED = 20_000  # samples at most in a trace, the last ones: a viewer has to hold them all
_LOOP, _CONTROLLER = 1, 2  # threads of the trace


def save(run: LoopData, folder: str | Path, command: Sequence[str] = ()) -> Path:
    """See :meth:`ctrl.realtime.run.LoopRun.save`."""
    folder = Path(folder).expanduser()
    probe(folder / "summary.json")
    page, pictures = figure(run), {}
    for name, resolution in (("figure.png", 200), ("figure.pdf", 300)):
        buffer = io.BytesIO()
        page.savefig(buffer, format=Path(name).suffix[1:], dpi=resolution)
        pictures[name] = buffer.getvalue()
    texts = {
        "samples.csv": csv_text(run),
        "summary.json": json_text(_numbers(run, command)),
        "trace.json": json.dumps({"displayTimeUnit": "ms", "traceEvents": list(trace(run))}),
        "task.json": json_text(describe(run.task)),
    }
    try:
        for name, content in (pictures | {name: text.encode() for name, text in texts.items()}).items():
            write(folder / name, content)
    except OSError as error:
        raise OutputError(f"cannot write the run to '{folder}': {error.strerror or error}") from error
    return folder


def csv_text(run: LoopData) -> str:
    """One line per sample: times in microseconds since the sample was due, words, state, input and outputs."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    plant = run.task.plant
    head = ["k", "due [s]", "begin [us]", "asked [us]", "answered [us]", "written [us]", "computing [us]"]
    head += ["measurement", "input from", "status", "source", "fallback", "missed", "skipped", "iterations"]
    outputs = () if run.task.measurement is None else run.task.measurement.signals
    measured = [f"measured {signal}" for signal in outputs]
    writer.writerow([*head, *map(str, plant.state), *map(str, plant.input), *measured])
    for k, times, took, codes, skipped, iterations, x, u, y in zip(*run.columns, strict=True):
        due, *later = times.tolist()
        writer.writerow(
            [
                int(k), f"{1e-9 * due:.9f}", *(f"{1e-3 * (time - due):.3f}" for time in later), f"{1e-3 * took:.3f}",
                *_words(run, codes), int(codes[5]), int(skipped), int(iterations), *map(repr, x.tolist()),
                *map(repr, u.tolist()), *map(repr, y.tolist()),
            ]
        )  # fmt: skip
    return out.getvalue()


def _words(run: LoopData, codes: Any) -> list[str]:
    """Freshness, origin of the input, status, source and fallback; empty where there is none."""
    names: list[Sequence[str]] = [tuple(Freshness), tuple(Applied), tuple(Status), tuple(Source), run.fallbacks]
    return [str(words[code]) if code >= 0 else "" for words, code in zip(names, codes[:5].tolist(), strict=True)]


def trace(run: LoopData) -> Iterator[dict[str, Any]]:
    """Events in Chrome's trace format, which Perfetto reads, too; times in microseconds."""
    for thread, name in ((_LOOP, "loop"), (_CONTROLLER, "controller")):
        yield {"ph": "M", "name": "thread_name", "pid": 1, "tid": thread, "args": {"name": name}}
    columns = type(run.columns)(*(column[-_TRACED:] for column in run.columns))
    for k, times, codes, u in zip(columns.k, columns.times, columns.codes, columns.u, strict=True):
        due, woke, asked, answered, written = (1e-3 * float(time) for time in times)
        measured, applied, status, source, fallback = _words(run, codes)
        common = {"pid": 1, "tid": _LOOP}
        about = {"measurement": measured, "input": applied, "fallback": fallback, "late_us": round(woke - due, 3)}
        yield common | {"ph": "X", "name": f"sample {k}", "ts": woke, "dur": written - woke, "args": about}
        if answered > asked:
            about = {"status": status, "source": source}
            span = {"ph": "X", "name": f"step {k}", "ts": asked, "dur": answered - asked, "args": about}
            yield common | span | {"tid": _CONTROLLER}
        if codes[5]:
            yield common | {"ph": "i", "name": "deadline missed", "ts": written, "s": "t"}
        for name, value in zip(run.task.plant.input.names, u.tolist(), strict=True):
            yield {"ph": "C", "name": name, "pid": 1, "ts": written, "args": {"value": value}}


def _numbers(run: LoopData, command: Sequence[str]) -> dict[str, Any]:
    settings = dataclasses.asdict(run.settings)
    names = [constraint.name for constraint in run.task.constraints]
    cost = float(run.stage_costs.mean()) if len(run.columns.k) else math.nan
    return _finite(
        {
            "command": list(command),
            "task": run.task.name,
            "rate": 1.0 / run.task.dt,
            "settings": settings,
            "summary": dataclasses.asdict(run.summary),
            "mean_stage_cost": cost,
            "violated_samples": dict(zip(names, violated_samples(run.margins).sum(axis=0).tolist(), strict=True)),
            "worst_margins": dict(zip(names, _largest(run.margins), strict=True)),
            "estimator": run.estimator,
            "restarts": run.restarts,
            "stopped": run.stopped,
            "errors": list(run.errors),
        }
    )


def _largest(margins: np.ndarray) -> list[float]:
    """The largest margin of each constraint; NaN where it is undefined at any sample, or there is no sample."""
    return margins.max(axis=0).tolist() if len(margins) else [math.nan] * margins.shape[1]


def _finite(value: Any) -> Any:
    """The same with None for numbers that do not exist."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
