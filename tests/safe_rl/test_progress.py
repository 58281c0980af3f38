"""What is shown of a run, on a narrow terminal and in a log."""

from __future__ import annotations

import io
import json
import math
import threading
import warnings
from pathlib import Path

import pytest
from rich.console import Console

from safe_rl import progress
from safe_rl.budgets import CostLimit
from safe_rl.progress import Monitor, Record


def shown(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> str:
    output = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(file=output, force_terminal=terminal, width=80, color_system=None)
    )
    limits = (CostLimit("wall of some length", 0, 5.0, False, False, 60, 0.99),)
    with Monitor("DSACT + Lagrangian mass", 2_000, 0, "updates", 0, True, None, {}, limits) as monitor:
        for updates in range(100, 2_001, 100):
            values = {"spent": 1.25, "multiplier": 3.5, "threshold": 4.85}
            seen = {f"{what} wall of some length": value for what, value in values.items()}
            monitor.show(Record(updates, 20 * updates, 10, -31.25, {"wall of some length": 2.0}, 60.0, seen))
    return output.getvalue()


def test_eighty_columns_hold_count_costs_and_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, terminal=True)
    assert "2000/2000" in text
    assert "…" not in text
    assert "nan" not in text
    assert "\nwall of some length 1.25 of 5 (multiplier 3.5, rising beyond 4.85)" in text


def test_a_log_has_ten_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    budget, *lines = shown(monkeypatch, terminal=False).splitlines()
    assert budget.startswith("budget 'wall of some length'")
    assert len(lines) == 10
    assert lines[0].startswith("DSACT + Lagrangian mass 200/2000 updates  return -31.25")
    assert lines[-1].endswith("wall of some length 1.25 of 5 (multiplier 3.5, rising beyond 4.85)")


RECORD = Record(1, 20, 1, -1.0, {}, 60.0, {})


def monitored(folder: Path, updates: int = 0) -> Monitor:
    return Monitor("DSACT mass", 10, updates, "updates", updates, False, folder, {"rate": math.inf})


def test_a_log_that_cannot_be_written_ends_and_the_run_does_not(tmp_path: Path) -> None:
    with monitored(tmp_path) as monitor:
        monitor.show(RECORD)
        (tmp_path / "progress.csv").unlink()
        (tmp_path / "progress.csv").mkdir()
        with pytest.warns(UserWarning, match=r"the log stops here: '.*progress\.csv' cannot be written"):
            monitor.show(RECORD)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            monitor.show(RECORD)  # once


def test_settings_are_json_for_everybody(tmp_path: Path) -> None:
    with monitored(tmp_path):
        pass
    text = (tmp_path / "settings.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == {"rate": "inf"}


def test_a_thread_of_tensorboard_that_a_full_disk_ends_is_a_warning(tmp_path: Path) -> None:
    class Writer(threading.Thread):
        def run(self) -> None:
            raise OSError(28, "No space left on device")

    class Mine(Writer):
        def run(self) -> None:
            raise OSError(28, "mine")

    def run(thread: threading.Thread) -> None:
        thread.start()
        thread.join()

    Writer.__module__ = "tensorboard.summary"
    Mine.__module__ = "mine"
    seen: list[object] = []
    before, threading.excepthook = threading.excepthook, lambda args: seen.append(str(args.exc_value))
    try:
        with monitored(tmp_path) as monitor:
            if monitor._board is None:
                pytest.skip("needs TensorBoard")
            with pytest.warns(UserWarning, match="TensorBoard's files are not written any further: No space"):
                run(Writer())
            run(Mine())
        assert seen == ["[Errno 28] mine"]
        run(Mine())
        assert len(seen) == 2, "the hook is put back"
    finally:
        threading.excepthook = before
