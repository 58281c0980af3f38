"""Exported projects: what they hold, what they refuse, and LQR in C against LQR in Python."""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
import subprocess
from pathlib import Path

import casadi as ca
import numpy as np
import pytest

from ctrl import LQR
from ctrl.cli import main
from ctrl.controller import Decision
from ctrl.export import NotExportable, export
from ctrl.export.text import commented, identifier
from systems import InvalidValue, LinearPlant, Quadratic, Sinusoid, Task, Uniform, signals
from systems.library import cartpole, cartpole_track, double_integrator, pendulum, quadrotor
from systems.lowering.c_source import c_function, c_number
from tests.exported import STRICT, Compiled, check_project, compiler, largest_difference, run

TASK = double_integrator()


def starts(task: Task, count: int) -> np.ndarray:
    return task.initial.sample(task.plant.state, np.random.default_rng(3), (count,))


def with_end() -> Task:
    """A terminal cost, so that the gains vary."""
    return dataclasses.replace(TASK, cost=Quadratic(np.diag([1.0, 0.1]), [0.1], np.diag([30.0, 3.0])), steps=60)


def lose_some(x: np.ndarray, k: int) -> np.ndarray:
    return np.where(np.arange(len(x)) == k % len(x), (np.nan, np.inf, -np.inf)[k % 3], x) if k % 7 == 3 else x


@pytest.mark.parametrize(
    ("make", "steps"),
    [(cartpole, 500), (quadrotor, 500), (with_end, 60), (cartpole_track, 100), (pendulum, 500)],
)
@pytest.mark.every(3)
def test_lqr_in_c_is_lqr(make, steps: int, tmp_path: Path) -> None:
    """Constant gains, a terminal cost (gains that vary), a moving reference, angles, quaternions."""
    task = make()
    controller = LQR(task)
    folder = controller.export(tmp_path)
    check_project(folder)
    compiled = Compiled(folder, task)
    assert largest_difference(controller, compiled, task, starts(task, 2), steps, lose_some) < 1e-9
    assert b"fallbacks" in (folder / "include" / f"{compiled.name}.h").read_bytes()


def test_samples_outside_the_tables_take_their_ends(tmp_path: Path) -> None:
    task = with_end()
    controller = LQR(task)
    assert not np.allclose(controller.gain(0)[0], controller.gain(task.steps - 1)[0])
    compiled = Compiled(controller.export(tmp_path / "ends"), task)
    x = starts(task, 1)[0]
    for k in (-3, task.steps, task.steps + 1000, 2**31 - 1):
        assert np.allclose(compiled.step(x, k)[0], controller.step(x, k).input, rtol=1e-12, atol=1e-12)
    task = dataclasses.replace(TASK, reference=Sinusoid(0.1, x_sine={"position": 0.5}))
    controller = LQR(task)
    compiled = Compiled(controller.export(tmp_path / "moves", samples=30), task)
    for k, row in ((-5, 0), (0, 0), (17, 17), (30, 30), (31, 30), (5000, 30)):
        assert np.allclose(
            compiled.step([0.1, 0.0], k)[0], controller.step(np.array([0.1, 0.0]), row).input, atol=1e-12
        )
    assert "reach over 30 samples" in (tmp_path / "moves" / "README.md").read_text()


def test_zeros_are_a_new_run_and_every_input_is_finite_and_within_bounds(tmp_path: Path) -> None:
    compiled = Compiled(LQR(TASK).export(tmp_path), TASK)
    lower, upper = TASK.input_bounds
    for x in ([math.nan, 0.0], [math.inf, -math.inf], [1e308, 1e308], [-1e300, 1e300], [1e-320, 0.0]):
        u, status, source = compiled.step(np.array(x), 0)
        expected = LQR(TASK).step(np.array(x), 0)
        assert (lower <= u).all() and (u <= upper).all()  # noqa: PT018
        assert (status, source) == (expected.status, expected.source)
        assert np.allclose(u, expected.input)


def test_the_projects_own_test_finds_a_wrong_number(tmp_path: Path) -> None:
    folder = LQR(TASK).export(tmp_path)
    (source,) = (folder / "src").glob("*.c")
    text = source.read_text()
    gain = re.search(r"double GAIN\[2\] = \{\s*([^,]+),", text)
    assert gain is not None
    command = [*compiler(), *STRICT, f"-I{folder / 'include'}", source, folder / "test" / "test.c", "-lm", "-o"]
    run(*command, folder / "right")
    run(folder / "right")
    source.write_text(text.replace(gain[1], c_number(float(gain[1]) * (1 + 1e-7)), 1))
    run(*command, folder / "wrong")
    done = subprocess.run([folder / "wrong"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "instead of" in done.stdout
    source.write_text(text.replace("decision->status = SOLVED;", "decision->status = INFEASIBLE;"))
    run(*command, folder / "wrong")
    assert subprocess.run([folder / "wrong"], capture_output=True, check=False).returncode == 1


def test_names_and_units_that_c_would_not_take(tmp_path: Path) -> None:
    plant = LinearPlant(
        np.eye(3) * 0.5, np.ones((3, 1)), dt=0.1,
        state=signals("aθ [*/ int x; /*]", "X [??/]", "x [m\\s]"), input=signals("double [N]"),
    )  # fmt: skip
    task = Task("*/ #error ??/", plant, 0.1, 5, Quadratic(np.eye(3), [1.0]), Uniform(-np.ones(3), np.ones(3)))
    folder = LQR(task).export(tmp_path)
    check_project(folder)
    assert identifier("2 masses") == "c_2_masses"
    assert identifier("θ'") == "u3b8"
    assert identifier("...") == "c"
    assert "*/" not in commented("*/*/ /**/ //*")
    assert "/*" not in commented("/*/* /**/ ")


def test_cmake_builds_and_tests(tmp_path: Path) -> None:
    compiler()
    if shutil.which("cmake") is None:
        pytest.skip("no cmake")
    folder = LQR(TASK).export(tmp_path, name="axis_1")
    run("cmake", "-S", folder, "-B", tmp_path / "build")
    run("cmake", "--build", tmp_path / "build")
    run("ctest", "--test-dir", tmp_path / "build")
    assert (folder / "include" / "axis_1.h").is_file()
    assert "MIT License" in (folder / "LICENSES.md").read_text()


def test_the_command_writes_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["export", "double-integrator", "--controller", "lqr", "--to", str(tmp_path / "a"), "--name", "axis"]) == 0
    )
    assert "ctest" in capsys.readouterr().out
    check_project(tmp_path / "a")
    assert main(["export", "double-integrator", "--to", str(tmp_path / "a"), "--name", "2b"]) == 2
    assert main(["export", "double-integrator", "--to", str(tmp_path / "a"), "--samples", "0"]) == 2
    assert "name = '2b'" in capsys.readouterr().err


class Relay:
    """A controller of a user's own, without a form in C."""

    def reset(self) -> None: ...

    def step(self, x: np.ndarray, k: int) -> Decision:
        return Decision(np.zeros(1))


def test_what_cannot_be_exported_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotExportable, match=r"export one of LQR\(task\).*c_code"):
        export(Relay(), tmp_path)
    with pytest.raises(NotExportable, match=r"export one of"):
        export(LQR, tmp_path)
    for name in ("a b", "9", "_x", 5, "a\n"):
        with pytest.raises(InvalidValue, match="name"):
            LQR(TASK).export(tmp_path, name)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="samples"):
        LQR(TASK).export(tmp_path, samples=0)
    with pytest.raises(InvalidValue, match="folder"):
        LQR(TASK).export(5)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_expressions_in_c_have_the_values_of_casadi(tmp_path: Path) -> None:
    x, A = ca.SX.sym("x", 2), ca.SX.sym("A", 2, 2)
    a, b = x[0], x[1]
    entries = [
        a + b, a * b, a / b, -a, a**2, 2 * a, 1 / a, ca.sqrt(ca.fabs(a)), ca.exp(a), ca.sin(b), ca.tanh(a), ca.sign(b),
        ca.if_else(a < b, a, b * b), ca.fmin(a, b), ca.fmax(a, b), ca.atan2(a, b), ca.fabs(a) ** b, ca.erf(a),
        ca.logic_and(a > 0, b > 0), ca.logic_not(a == b), ca.floor(a), ca.fmod(a, b), A[0, 1] - A[1, 0], 3.0,
        ca.jacobian(ca.fmax(a, b), a), ca.log1p(a * a), ca.asin(ca.tanh(a)), ca.copysign(a, b), ca.SX(-0.25) * a,
    ]  # fmt: skip
    function = ca.Function("f", [x, A, ca.SX.sym("unused")], [ca.vertcat(*entries), A @ A], ["x", "A", "unused"],
                           ["values", "square"])  # fmt: skip
    text = c_function(function, "f")
    (tmp_path / "f.c").write_text(
        "#include <math.h>\n#include <stdio.h>\n"
        + text
        + "int main(void) { double x[2], A[4], v[64], s[4], none[1] = {0};"
        ' while (scanf("%lf %lf %lf %lf %lf %lf", x, x + 1, A, A + 1, A + 2, A + 3) == 6) { f(x, A, none, v, s);'
        f' for (int i = 0; i < {len(entries)}; ++i) printf("%.17g ", v[i]);'
        ' for (int i = 0; i < 4; ++i) printf("%.17g ", s[i]); printf("\\n"); } return 0; }'
    )
    run(*compiler(), *STRICT, tmp_path / "f.c", "-o", tmp_path / "f", "-lm")
    points = np.random.default_rng(0).normal(size=(20, 6))
    points[0, :2] = 1.0
    text = "\n".join(" ".join(map(repr, point.tolist())) for point in points)
    lines = subprocess.run([tmp_path / "f"], input=text, text=True,
                           capture_output=True, check=True).stdout.splitlines()  # fmt: skip
    for point, line in zip(points, lines, strict=True):
        values, square = function(point[:2], point[2:].reshape(2, 2), 0.0)
        expected = np.concatenate([np.array(values).ravel(), np.array(square).ravel()])
        assert np.allclose(np.array(line.split(), dtype=float), expected, rtol=1e-13, atol=1e-15)


def test_numbers_read_back_as_they_were() -> None:
    for value in (0.1, 1.0, 1e300, 5e-324, -2.5, 1e22, 123456789012345680.0):
        assert float(c_number(value)) == value
        assert "." in c_number(value) or "e" in c_number(value)
    assert [c_number(v) for v in (math.inf, -math.inf, math.nan)] == ["INFINITY", "-INFINITY", "NAN"]
