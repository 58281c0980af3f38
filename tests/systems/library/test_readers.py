"""The contract between the text of a plant and its readers: every plant and task, in every arithmetic."""

from __future__ import annotations

import shutil
from pathlib import Path

import casadi as ca
import numpy as np
import pytest

from systems import Plant, Task
from systems.arithmetic.interval import Interval
from systems.inputs.augmented_plant import AugmentedPlant
from systems.lowering import jacobian, lower
from tests.systems.library.conftest import TASKS

TOLERANCE = 1e-12


def evaluate(function: ca.Function, points: list[np.ndarray]) -> np.ndarray:
    """CasADi's own values (N, rows, columns) at N points."""
    n = len(points[0])
    rows, columns = function.size_out(0)
    values = np.array(function.map(n)(*[p.T for p in points])).reshape(rows, n, columns)
    return values.transpose(1, 0, 2)


def assert_close(values: np.ndarray, expected: np.ndarray) -> None:
    assert np.isfinite(expected).all()
    error = np.abs(values.reshape(expected.shape) - expected) / np.maximum(1.0, np.abs(expected))
    assert error.max(initial=0.0) <= TOLERANCE


def test_every_plant_has_a_task(plant: Plant, all_tasks: dict[str, Task]) -> None:
    carried = [task.plant for task in all_tasks.values()]
    carried += [outer.inner for outer in carried if isinstance(outer, AugmentedPlant)]
    assert any(type(of_task) is type(plant) for of_task in carried)


@pytest.mark.every(2)
def test_numpy_gives_the_values_and_jacobian_of_casadi(probe) -> None:
    points = probe.sample(300)
    assert_close(probe.lowered("numpy")(*points), evaluate(probe.function, points))
    derivative = jacobian(probe.function)
    assert_close(lower(derivative, to="numpy")(*points), evaluate(derivative, points))


@pytest.mark.every(2)
def test_torch_gives_the_values_of_casadi_and_differentiates_them(probe) -> None:
    torch = pytest.importorskip("torch")
    points = probe.sample(100)
    x, *rest = (torch.tensor(p, dtype=torch.float64) for p in points)
    x.requires_grad_()
    y = probe.lowered("torch")(x, *rest)
    assert_close(y.detach().numpy(), evaluate(probe.function, points))
    rows = [
        torch.autograd.grad(y[:, i].sum(), x, retain_graph=True, allow_unused=True)[0]
        if y[:, i].requires_grad
        else None
        for i in range(y.shape[1])
    ]
    dense = [(torch.zeros_like(x) if row is None else row).numpy() for row in rows]
    expected = evaluate(jacobian(probe.function), points)
    assert_close(np.stack(dense, axis=1) if dense else np.zeros(expected.shape), expected)


@pytest.mark.every(3)
def test_intervals_enclose_values_and_jacobian(probe) -> None:
    """10^4 points (10^3 of a large function) in 40 boxes of very different sizes, of which the smaller half must also
    give a useful answer."""
    boxes, per_box = 40, 250 if probe.function.n_instructions() < 2000 else 25
    radii = np.logspace(-9, -0.4, boxes)[:, None]
    rng = np.random.default_rng(1)
    lower_bounds, upper_bounds, points = [], [], []
    for (low, high), centre in zip(probe.boxes, probe.sample(boxes, seed=2), strict=True):
        low_box = np.maximum(low, centre - radii * (high - low))
        high_box = np.minimum(high, centre + radii * (high - low))
        lower_bounds.append(low_box)
        upper_bounds.append(high_box)
        draws = rng.uniform(low_box[:, None], high_box[:, None], (boxes, per_box, len(low)))
        points.append(draws.reshape(boxes * per_box, len(low)))
    arguments = [Interval(low, high) for low, high in zip(lower_bounds, upper_bounds, strict=True)]
    derivative = jacobian(probe.function)
    readings = (
        (probe.function, probe.lowered("interval")(*arguments)),
        (derivative, lower(derivative, to="interval")(*arguments)),
    )
    for function, box in readings:
        values = evaluate(function, points).reshape(boxes, per_box, *function.size_out(0))
        lo, hi = (bound.reshape(boxes, 1, *function.size_out(0)) for bound in (box.lo, box.hi))
        assert (lo <= values).all()
        assert (values <= hi).all()
        assert np.isfinite(lo[: boxes // 2]).all()
        assert np.isfinite(hi[: boxes // 2]).all()


def test_a_thin_box_gives_a_thin_interval(probe) -> None:
    points = probe.sample(50, seed=3)
    box = probe.lowered("interval")(*[Interval(p, p) for p in points])
    expected = evaluate(probe.function, points)[..., 0]
    width = (box.hi - box.lo) / np.maximum(1.0, np.abs(expected))
    assert width.max(initial=0.0) <= 1e-11


@pytest.mark.skipif(
    not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="compiled C needs a C compiler"
)
@pytest.mark.parametrize("task_name", TASKS)
@pytest.mark.every(16)
def test_compiled_c_gives_the_values_and_jacobian_of_casadi(task_probes, tmp_path: Path) -> None:
    from systems.lowering.c_backend import compile_c

    found = [p for p in task_probes if p.function.numel_out(0)]
    functions = [f for p in found for f in (p.function, jacobian(p.function))]
    compiled = compile_c(functions, folder=tmp_path)
    for i, (ours, theirs) in enumerate(zip(compiled, functions, strict=True)):
        points = found[i // 2].sample(50)
        assert_close(evaluate(ours, points), evaluate(theirs, points))


def test_parameters_as_symbols_give_the_same_physics(plant: Plant, all_tasks: dict[str, Task]) -> None:
    """A plant with all its parameters as arguments is the plant with these numbers inside."""
    names = tuple(plant.parameters)
    open_plant, closed = plant.casadi(names), plant.casadi()
    rng = np.random.default_rng(4)
    p = np.array([plant.parameters[name] for name in names])
    for task in all_tasks.values():
        if task.plant == plant:
            x = task.initial.sample(plant.state, rng)
            u = rng.uniform(*plant.bounds)
            w = np.full(len(plant.disturbance), 0.01)
            np.testing.assert_allclose(open_plant(x, u, w, p), closed(x, u, w, []), rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(lower(open_plant, to="numpy")(x, u, w, p), closed(x, u, w, []).full()[:, 0])
