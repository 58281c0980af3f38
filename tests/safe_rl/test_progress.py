"""What is shown of a run, on a narrow terminal and in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from safe_rl import progress
from safe_rl.budgets import Allowance
from safe_rl.progress import Monitor, Record


def shown(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> str:
    output = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(file=output, force_terminal=terminal, width=80, color_system=None)
    )
    limits = (Allowance("wall of some length", 0, 5.0, False, False, 60, 0.99),)
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
