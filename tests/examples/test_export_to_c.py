"""The example of an exported controller compiles, and its test passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.export_to_c import main
from tests.exported import compiler


def test_the_exported_controller_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compiler()
    main(str(tmp_path / "axis"))
    printed = capsys.readouterr().out
    assert " 0 failures" in printed
    assert "0 solved" in printed
