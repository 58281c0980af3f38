"""Does the package work as it is published: built, and installed without its extras?

    python .ci/try_wheel.py

Builds the sdist and the wheel, looks into the sdist, installs the wheel alone into a virtual environment of its own,
lists everything and runs one comparison there. Ends with an error if anything is amiss.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "tests/conftest.py", "tests/test_layers.py", "docs")

LOAD_ALL = """
from importlib import metadata

for group in metadata.entry_points().groups:
    for point in metadata.entry_points(group=group) if group.startswith("trivium.") else ():
        try:
            point.load()
            loads = True
        except ModuleNotFoundError:
            loads = False
        if loads is bool(point.extras):
            print(point)
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Output of a command that must succeed."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # or pip finds the clone
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def check_sdist(file: Path) -> None:
    """The sdist holds what is needed to test it."""
    with tarfile.open(file) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    missing = [name for name in NEEDED if name not in names]
    tests = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")]
    missing += [name for name in tests if name not in names]
    if missing:
        sys.exit(f"{file.name} lacks {', '.join(missing)}; see MANIFEST.in")


def check_wheel(file: Path, folder: Path) -> None:
    """The wheel, installed without extras, lists everything and compares what it can."""
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    run(programs / "python", "-m", "pip", "install", "-q", file, cwd=folder)
    listed = run(programs / "trivium", "list", cwd=folder)
    learner = re.search(r"^ +dsact .*$", listed, flags=re.MULTILINE)
    if "BROKEN" in listed or ":class:" in listed or learner is None:
        sys.exit(f"trivium list, of the wheel without extras:\n{listed}")
    if not learner[0].endswith("needs pip install 'trivium-control[rl]'"):
        sys.exit(f"expected the extra that dsact needs; trivium list says: {learner[0]}")
    wrong = run(programs / "python", "-c", LOAD_ALL, cwd=folder)
    if wrong:
        sys.exit(f"entry points whose declared extras are not those that loading them needs:\n{wrong}")
    said = run(
        programs / "trivium", "compare", "double-integrator", "--starts", "4", "--proof-seconds", "1", cwd=folder
    )
    if "linear-mpc" not in said:
        sys.exit(f"trivium compare, of the wheel without extras:\n{said}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
        (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
        check_sdist(sdist)
        check_wheel(wheel, folder)
        print(f"{sdist.name} and {wheel.name}: complete, and working without extras")


if __name__ == "__main__":
    main()
