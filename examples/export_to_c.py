"""A model predictive controller of a double integrator leaves Python: exported as C, compiled, and run beside it.

Run: python examples/export_to_c.py [FOLDER]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mpc import LinearMPC
from systems.library import double_integrator
from systems.lowering.c_backend import find_compiler


def main(folder: str = "double_integrator_c") -> None:
    """Writes the project, compiles it, runs its test and its example."""
    controller = LinearMPC(double_integrator(), horizon=20)
    project = controller.export(folder, name="axis")
    built = Path(project) / "build"
    built.mkdir(exist_ok=True)
    for program, source in (("test", "test/test.c"), ("example", "example/main.c")):
        files = [str(project / "src" / "axis.c"), str(project / source)]
        command = [*find_compiler(), "-std=c99", "-O2", f"-I{project / 'include'}", *files, "-o", str(built / program)]
        subprocess.run([*command, "-lm"], check=True)
    tested = subprocess.run([str(built / "test")], capture_output=True, text=True, check=True)
    print(f"test: {tested.stdout.strip()}")
    shown = subprocess.run([str(built / "example")], capture_output=True, text=True, check=True).stdout.splitlines()
    print("sample, status, position [m], speed [m/s], input:")
    for line in shown[:3] + shown[-1:]:
        print(f"  {line}")
    size = (project / "src" / "axis.c").stat().st_size
    print(f"written: {project}, {size // 1024} KiB of C")


if __name__ == "__main__":
    main(*sys.argv[1:2])
