"""Reading CasADi functions: patterns, dead code, refusals by name."""

import casadi as ca
import numpy as np
import pytest
import torch

from systems import DimensionMismatch, InvalidValue
from systems.lowering import NotLowerable, jacobian, lower
from systems.lowering.program import read


def operations(function):
    return [i.op for i in read(function).instructions if i.op != "input"]


def test_if_else_is_one_where():
    x = ca.SX.sym("x", 3)
    for condition in (x[0] < 1, ca.logic_not(x[0] < 1)):
        f = ca.Function("f", [x], [ca.if_else(condition, ca.sin(x[1]), ca.cos(x[2]))])
        assert operations(f) == ["lt", "sin", "cos", "where"]
    # The gradient of a branch is one branch too, also when further terms are added.
    y = ca.if_else(x[0] < 1, x[1] ** 2, ca.sin(x[1])) + ca.exp(x[1])
    gradient = operations(ca.Function("f", [x], [ca.gradient(y, x)[1]]))
    assert gradient.count("where") == 1


def test_derivative_of_fmin_is_a_share():
    x = ca.SX.sym("x", 2)
    f = ca.Function("f", [x], [ca.fmin(x[0], x[1] ** 2)])
    assert "share" in operations(jacobian(f))
    assert "div" not in operations(jacobian(f))


def test_dead_code_is_dropped_and_equal_values_shared():
    x = ca.SX.sym("x", 2)
    f = ca.Function("f", [x], [ca.sin(x[0]) + 1, ca.sin(x[0]) * 2])
    assert sorted(operations(f)) == ["add", "sin", "twice"]
    first = ca.Function("g", [x], [ca.horzcat(f(x)[0])])
    assert operations(first) == ["sin", "add"]


def test_mx_functions_are_expanded():
    x = ca.MX.sym("x", 2)
    A = ca.DM([[0, 1], [-2, -3]])
    f = ca.Function("f", [x], [A @ x + ca.vertcat(0, ca.sin(x[0]))])
    value = np.array([[0.3, -0.2]])
    expected = f(value[0]).full().T
    np.testing.assert_allclose(lower(f, "numpy")(value), expected, rtol=1e-14)
    assert lower(f, "interval")(value).contains(expected).all()


def test_free_variables_are_refused_by_name():
    x, mass = ca.SX.sym("x"), ca.SX.sym("mass")
    f = ca.Function("pendulum", [x], [x / mass], {"allow_free": True})
    with pytest.raises(NotLowerable, match=r"pendulum has free variables \(mass\)"):
        lower(f, "numpy")


def called_functions():
    """A table, a root finder of two equations, and a callback without derivatives."""
    table = ca.interpolant("table", "linear", [np.linspace(-3, 3, 9).tolist()], np.sin(np.arange(9.0)).tolist())
    z, p = ca.SX.sym("z", 2), ca.SX.sym("p")
    equations = ca.vertcat(z[0] + z[0] ** 3 - p, z[1] - z[0] * p)
    root = ca.rootfinder("root", "newton", {"x": z, "p": p, "g": equations})

    class Cosine(ca.Callback):
        def __init__(self):
            ca.Callback.__init__(self)
            self.construct("cosine", {})

        def eval(self, given):
            return [ca.cos(given[0])]

    return table, root, Cosine()


def test_functions_that_cannot_be_expanded_are_evaluated_by_casadi():
    table, root, callback = called_functions()
    x = ca.SX.sym("x", 2)
    for at in (table(x[0]) * x[1], ca.sum1(root(ca.DM([0.1, 0.1]), x[0])) + x[1], callback(x[0]) + x[1] ** 2):
        function = ca.Function("plant", [x], [ca.vertcat(at, x[0])], ["x"], ["y"])
        points = np.random.default_rng(0).normal(size=(3, 100, 2))
        right = np.array(function.map(300)(points.reshape(-1, 2).T)).T.reshape(3, 100, 2)
        np.testing.assert_allclose(lower(function, "numpy")(points), right, rtol=1e-12)
        np.testing.assert_allclose(lower(function, "numpy")(points[0, 0]), right[0, 0], rtol=1e-12)
        np.testing.assert_allclose(lower(function, "torch")(torch.as_tensor(points)).numpy(), right, rtol=1e-12)
        with pytest.raises(NotLowerable, match=r"plant uses a call of '\w+' \(\w+\), which interval"):
            lower(function, "interval")
        with pytest.raises(NotLowerable, match="a gradient was requested"):
            lower(function, "torch")(torch.as_tensor(points).requires_grad_())


def test_an_argument_at_which_casadi_gives_up_is_undefined():
    z, p = ca.SX.sym("z"), ca.SX.sym("p")
    options = {"error_on_fail": True, "max_iter": 20}
    root = ca.rootfinder("root", "newton", {"x": z, "p": p, "g": z**2 + p}, options)
    f = lower(ca.Function("plant", [p], [root(1.0, p)], ["p"], ["y"]), "numpy")
    np.testing.assert_allclose(f(np.array([-4.0])), [2.0])
    assert np.isnan(f(np.array([4.0]))).all()


def test_the_error_function_and_its_inverse():
    x = ca.SX.sym("x", 1)
    points = np.linspace(-0.9, 0.9, 7)[:, None]
    for operation in (ca.erf, ca.erfinv):
        function = ca.Function("plant", [x], [operation(x)], ["x"], ["y"])
        right = np.array(function.map(7)(points.T)).T
        np.testing.assert_allclose(lower(function, "numpy")(points), right, rtol=1e-7)
        np.testing.assert_allclose(lower(function, "torch")(torch.as_tensor(points)).numpy(), right, rtol=1e-7)


@pytest.mark.parametrize(
    ("to", "operation", "expression"),
    [
        ("numpy", "remainder", lambda x: ca.remainder(x, 2)),
        ("interval", "erf", ca.erf),
        ("interval", "fmod", lambda x: ca.fmod(x, 2)),
        ("torch", "remainder", lambda x: ca.remainder(x, 2)),
    ],
)
def test_unsupported_operations_are_refused_by_name(to, operation, expression):
    x = ca.SX.sym("x")
    with pytest.raises(NotLowerable, match=rf"plant uses {operation}, which {to} arithmetic"):
        lower(ca.Function("plant", [x], [expression(x)]), to)


def test_wrong_calls_are_refused():
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u")
    function = ca.Function("plant", [x, u], [x * u], ["x", "u"], ["y"])
    f = lower(function, "numpy")
    with pytest.raises(DimensionMismatch, match=r"plant was given 1 inputs and takes 2: \(x, u\)"):
        f(np.zeros(2))
    with pytest.raises(DimensionMismatch, match=r"input 'x' of plant has shape \(2, 5\), expected \(..., 2\)"):
        f(np.zeros((2, 5)), np.zeros(1))
    with pytest.raises(InvalidValue, match="to = 'fortran'; expected 'numpy', 'torch'"):
        lower(function, "fortran")
    with pytest.raises(InvalidValue, match=r"'v' names no input of plant: choose from x, u"):
        jacobian(function, "v")


def test_matrix_inputs_and_structural_zeros_of_inputs():
    a = ca.SX.sym("a", ca.Sparsity.lower(2))
    f = lower(ca.Function("f", [a], [a @ ca.DM([1, 1])]), "numpy")
    batch = np.arange(12.0).reshape(3, 2, 2)
    np.testing.assert_array_equal(f(batch), np.tril(batch).sum(-1))
