"""A first control step takes no longer than later ones: the constructor makes and loads everything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.first_steps import NAMES


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-m", "tests.first_steps"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", NAMES)
def test_a_step_makes_and_loads_nothing(found: dict[str, list[str]], name: str) -> None:
    assert not found[name]
