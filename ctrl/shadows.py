"""Detects user files that Python imports in place of one of our packages, such as a ``mpc.py`` beside the script.

Importing this module fails if ``systems`` is shadowed, so that :mod:`ctrl`, which needs it, says why it cannot be
imported.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

__all__ = ["PACKAGES", "shadowing"]

# Imports the standard library only: our other packages may be the ones that are shadowed.

PACKAGES = ("systems", "ctrl", "mpc", "safe_rl")

_ROOT = Path(__file__).resolve().parents[1]


def shadowing() -> str:
    """A sentence that names the files which shadow our packages and how to fix it; empty if there are none."""
    files = [file for name in PACKAGES if (file := _shadow(name)) is not None]
    if not files:
        return ""
    named = " and ".join(f"'{file}'" for file in files)
    package = "package" if len(files) == 1 else "packages"
    return (
        f"Python imports {named} in place of the {package} of that name in {_ROOT}: rename what is yours, or start "
        "Python from another folder"
    )


def _shadow(name: str) -> Path | None:
    """The file that stands for our package ``name`` without being ours."""
    loaded = sys.modules.get(name)
    try:
        spec = loaded.__spec__ if loaded is not None else importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).resolve()
    if file == _ROOT / name / "__init__.py" or not (_ROOT / name / "__init__.py").exists():
        return None
    return file.parent if file.name == "__init__.py" else file


if _shadow("systems") is not None:
    raise ImportError(shadowing())
