"""The README stays true: its Python blocks, pasted into one file, are a program, and what it names exists."""

from __future__ import annotations

import math
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def pasted(tmp_path: Path) -> Path:
    """All Python blocks in one file, with fewer starts."""
    for package in ("torch", "gymnasium", "control"):
        pytest.importorskip(package)
    code = "\n".join(blocks("python"))
    assert code.count("starts=50") == 1
    (tmp_path / "pasted.py").write_text(code.replace("starts=50", "starts=5"), encoding="utf-8")
    return tmp_path


def test_the_python_blocks_are_a_script(pasted: Path) -> None:
    """In a process of its own, whose workers import the file: only the guard keeps them from comparing in turn."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "pasted.py"], cwd=pasted, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "mass · 100 steps of 0.1 s" in done.stdout
    assert "relay" in done.stdout
    assert "FAILED" not in done.stdout


def test_the_python_blocks_are_a_module(pasted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = runpy.run_path(str(pasted / "pasted.py"), run_name="pasted")
    assert capsys.readouterr().out == "", "an import compares nothing"
    assert page["same"].A.tolist() == page["double_integrator"].A.tolist()
    assert page["observations"].shape == (1024, 2)
    assert page["transition"].reward.shape == (1024,)
    assert math.isfinite(page["reward"])
    assert page["certificate"].is_proved


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert {"docs/architecture.md", "examples/"} <= set(links)
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_every_name_of_the_tables_is_in_systems() -> None:
    import systems

    named = re.findall(r"^\| `([A-Z]\w+)\(", README, flags=re.MULTILINE)
    assert len(named) >= 7
    for name in named:
        assert hasattr(systems, name), name
