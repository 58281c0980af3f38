"""The layers of docs/architecture.md, enforced."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.structure import circles, import_graph

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "systems": {"systems"},
    "ctrl": {"systems", "ctrl"},
    "mpc": {"systems", "ctrl", "mpc"},
    "safe_rl": {"systems", "ctrl", "mpc", "safe_rl"},
}
TORCH_AT_IMPORT = {
    f"systems/{name}.py"
    for name in (
        "lowering/torch_backend",
        "lowering/torch_array",
        "envs/sampler",
        "envs/vector",
        "envs/vector_sensors",
        "identification/lagrangian_training",
    )
}


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(tree: ast.AST) -> set[str]:
    """Top-level names of everything imported anywhere in a module."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_upward_only(package: str) -> None:
    ours = set(MAY_IMPORT)
    for path in (ROOT / package).rglob("*.py"):
        wrong = (imported(parsed(path)) & ours) - MAY_IMPORT[package]
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("package", ["systems", "ctrl", "mpc"])
def test_torch_is_imported_at_the_top_of_few_files(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        if str(path.relative_to(ROOT)) in TORCH_AT_IMPORT:
            continue
        top = ast.Module([n for n in parsed(path).body if isinstance(n, ast.Import | ast.ImportFrom)], [])
        assert "torch" not in imported(top), path


@pytest.mark.parametrize("package", ["systems", "ctrl", "mpc"])
def test_importing_a_package_does_not_import_torch(package: str) -> None:
    code = f"import sys, {package}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_only_tests_of_the_examples_import_examples() -> None:
    for folder in (*MAY_IMPORT, "benchmarks", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            if (ROOT / "tests" / "examples") not in path.parents and "examples" in path.read_text():
                assert "examples" not in imported(parsed(path)), path.relative_to(ROOT)


def test_no_files_import_each_other_in_a_circle() -> None:
    """Imports inside functions and those for type checkers count, too."""
    assert not circles(import_graph(ROOT, tuple(MAY_IMPORT)))


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert sorted(map(sorted, circles(graph))) == [["a", "b", "c"], ["d", "e"]]
