"""numpy, torch and C give CasADi's numbers, and autograd gives CasADi's Jacobians."""

import casadi as ca
import numpy as np
import pytest
import torch

from systems.lowering import jacobian, lower

NO_DERIVATIVE_IN_CASADI = {"rounding"}


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("to", ["numpy", "torch"])
def test_values_equal_casadi(case, to, reference):
    x, u = case.sample(50)
    actual = lower(case.function, to)(*(map(torch.from_numpy, (x, u)) if to == "torch" else (x, u)))
    expected = reference(case.function, x, u)
    assert tuple(actual.shape) == expected.shape
    close(np.asarray(actual), expected)


@pytest.mark.parametrize("to", ["numpy", "torch"])
@pytest.mark.parametrize("wrt", ["x", "u"])
def test_jacobians_equal_casadi(case, to, wrt, reference):
    f = jacobian(case.function, wrt)
    x, u = case.sample(20)
    actual = lower(f, to)(*(map(torch.from_numpy, (x, u)) if to == "torch" else (x, u)))
    expected = reference(f, x, u)
    close(np.asarray(actual).reshape(20, -1), expected.reshape(20, -1))


def test_jacobian_agrees_with_finite_differences(case):
    x, u = case.sample(20)
    f, h = lower(case.function, "numpy"), 1e-6
    rows = f(x, u).reshape(20, -1).shape[1]
    steps = [np.eye(3)[i] * h for i in range(3)]
    differences = np.stack([(f(x + s, u) - f(x - s, u)).reshape(20, rows) / (2 * h) for s in steps], -1)
    # CasADi stacks a matrix-valued output by columns.
    shape = case.function.size_out(0)
    derivative = lower(jacobian(case.function, "x"), "numpy")(x, u).reshape(20, *shape[::-1], 3)
    derivative = derivative.swapaxes(1, 2).reshape(20, rows, 3)
    agree = np.isclose(differences, derivative, rtol=1e-4, atol=1e-4)
    assert agree.mean() > 0.98 if agree.size else True  # a step may straddle a kink


def test_autograd_equals_casadi(case, reference):
    if not case.function.numel_out(0):
        pytest.skip("nothing to differentiate")
    x, u = map(torch.from_numpy, case.sample(10))
    f = lower(case.function, "torch")
    derivative = jacobian(case.function, "x")
    expected = reference(derivative, x.numpy(), u.numpy())
    for k in range(len(x)):
        actual = torch.autograd.functional.jacobian(lambda v, k=k: f(v, u[k]), x[k])
        if actual.ndim == 3:
            actual = actual.movedim(0, 1)
        close(actual.reshape(-1, 3), expected[k].reshape(-1, 3))


@pytest.mark.parametrize("to", ["numpy", "torch"])
def test_branch_not_taken_leaks_no_nan(to):
    x = ca.SX.sym("x")
    y = ca.if_else(x > 0, ca.sqrt(x), -x) + ca.if_else(x > 0, 1 / ca.log(x), 0)
    f = lower(ca.Function("f", [x], [y]), to)
    value = f(np.array([[-4.0], [4.0]]) if to == "numpy" else torch.tensor([[-4.0], [4.0]]).double())
    close(np.asarray(value), [[4.0], [2 + 1 / np.log(4.0)]])


def test_branch_not_taken_leaks_no_nan_into_gradients():
    x = ca.SX.sym("x", 2)
    inner = ca.if_else(x[1] > 0, ca.sqrt(x[0] * x[1]) / x[1], x[0])
    y = ca.if_else(x[0] > 0, inner, ca.sin(x[0])) + ca.if_else(x[0] * x[1] > 0, ca.log(x[0] * x[1]), 0)
    function = ca.Function("f", [x], [y])
    points = torch.tensor([[1.0, 2.0], [-1.0, 2.0], [1.0, -2.0], [-1.0, -2.0], [1.0, 0.0]]).double()
    points.requires_grad_()
    lower(function, "torch")(points).sum().backward()
    expected = [jacobian(function)(p).full()[0] for p in points.detach().numpy()]
    close(points.grad.numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_is_kept(case, dtype):
    x, u = (a.to(dtype) for a in map(torch.from_numpy, case.sample(5)))
    assert lower(case.function, "torch")(x, u).dtype == dtype
    assert lower(case.function, "numpy")(x.numpy(), u.numpy()).dtype == x.numpy().dtype


def test_empty_inputs_have_no_say_in_the_precision():
    x, w = ca.SX.sym("x", 2), ca.SX.sym("w", 0)
    f = lower(ca.Function("f", [x, w], [2 * x]), "numpy")
    assert f(np.ones((4, 2), np.float32), np.zeros(0)).dtype == np.float32


def test_integers_are_computed_in_floating_point():
    x = ca.SX.sym("x", 1)
    f = ca.Function("f", [x], [x**2 / 3])
    assert lower(f, "numpy")(np.array([100_000])) == 1e10 / 3


@pytest.mark.parametrize("to", ["numpy", "torch"])
def test_batches_broadcast(to):
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u", 1)
    function = ca.Function("f", [x, u], [ca.vertcat(x * u, 1), u, ca.SX(5)])
    f = lower(function, to)
    convert = np.asarray if to == "numpy" else torch.as_tensor
    x0, u0 = np.arange(12.0).reshape(2, 3, 2), np.arange(3.0).reshape(3, 1)
    y, v, five = (np.asarray(r) for r in f(convert(x0), convert(u0)))
    assert (y.shape, v.shape, five.shape) == ((2, 3, 3), (2, 3, 1), (2, 3, 1))
    np.testing.assert_array_equal(y[..., :2], x0 * u0)
    np.testing.assert_array_equal(v[1], u0)
    assert (y[..., 2] == 1).all()
    assert (five == 5).all()
    single = np.asarray(f(convert(x0[0, 1]), convert(u0[1]))[0])
    np.testing.assert_array_equal(single, [2.0, 3.0, 1.0])


def test_components_are_contiguous():
    x = ca.SX.sym("x", 3)
    f = ca.Function("f", [x], [ca.sin(x)])
    assert lower(f, "numpy")(np.ones((64, 3)))[:, 0].flags.c_contiguous
    assert lower(f, "torch")(torch.ones(64, 3))[:, 0].is_contiguous()


def test_torch_vmap_and_forward_derivatives():
    x = ca.SX.sym("x", 2)
    f = lower(ca.Function("f", [x], [ca.vertcat(ca.fmin(x[0], 1) * x[1], ca.atan2(x[0], x[1]))]), "torch")
    points = torch.rand(5, 2, dtype=torch.float64)
    batched = torch.func.vmap(torch.func.jacfwd(f))(points)
    close(batched, torch.stack([torch.autograd.functional.jacobian(f, p) for p in points]))


def test_c_gives_the_same_numbers(tmp_path, case, reference):
    from systems.lowering.c_backend import compile_c

    x, u = case.sample(20)
    compiled, derivative = compile_c([case.function, jacobian(case.function)], tmp_path)
    if case.function.numel_out(0):
        close(reference(compiled, x, u), reference(case.function, x, u), 1e-14)
        close(reference(derivative, x, u), reference(jacobian(case.function), x, u), 1e-14)
