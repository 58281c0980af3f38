"""Names and units of vectors."""

from __future__ import annotations

import keyword
import pickle

import casadi as ca
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from systems import DimensionMismatch, InvalidValue, Signal, Signals, UnknownName, Vector, signals

XY = signals("x [m]", "angle_rate [rad/s]", "plain")


def test_declarations_are_read() -> None:
    assert XY.names == ("x", "angle_rate", "plain")
    assert XY.units == ("m", "rad/s", "-")
    assert str(XY[1]) == "angle_rate [rad/s]"
    assert signals() == ()
    assert signals().symbol().shape == (0, 1)
    assert pickle.loads(pickle.dumps(XY)) == XY


@pytest.mark.parametrize("text", ["", "2x [m]", "cart speed", "x [m", "x m", "x [m] [s]", "x-y"])
def test_a_declaration_that_is_no_identifier_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"not of the form 'name \[unit\]'"):
        signals(text)


def test_duplicate_and_reserved_names_are_refused() -> None:
    with pytest.raises(InvalidValue, match="given twice: a"):
        signals("a", "b", "a [m]")
    with pytest.raises(InvalidValue, match=r"x\.names already means"):
        signals("names")


def test_numbers_by_name_and_in_order() -> None:
    np.testing.assert_array_equal(XY.array({"plain": 3, "x": 1}), [1, 0, 3])
    np.testing.assert_array_equal(XY.array({"plain": 3}, default=np.inf), [np.inf, np.inf, 3])
    np.testing.assert_array_equal(XY.array([1, 2, 3]), [1, 2, 3])


def test_bad_numbers_say_what_was_expected() -> None:
    with pytest.raises(UnknownName, match=r"'angel_rate'; known: x, angle_rate, plain\. Did you mean 'angle_rate'\?"):
        XY.array({"angel_rate": 1.0})
    with pytest.raises(DimensionMismatch, match=r"start: given an array of shape \(2,\), expected \(3,\) for x, angle"):
        XY.array([1.0, 2.0], what="start")
    with pytest.raises(DimensionMismatch, match=r"shape \(1, 3\)"):
        XY.array(np.zeros((1, 3)))
    with pytest.raises(InvalidValue, match="NaN given for angle_rate"):
        XY.array([0.0, np.nan, 0.0])
    with pytest.raises(InvalidValue, match="values: x = nan; expected a number"):
        XY.array({"x": np.nan})


@given(st.lists(st.from_regex(r"[a-z]\w{0,8}", fullmatch=True), unique=True, max_size=6))
def test_every_name_finds_its_place(names: list[str]) -> None:
    if set(dir(Vector)) & set(names) or not all(n.isascii() and not keyword.iskeyword(n) for n in names):
        return
    declared = signals(*names)
    assert [declared.where(name) for name in names] == list(range(len(names)))
    column = Vector(declared, declared.symbol())
    assert [str(column[name]) for name in names] == names
    assert [str(entry) for entry in column] == names


def test_a_vector_is_read_in_four_ways() -> None:
    x = Vector(XY, XY.symbol(), "state")
    first, second, third = x
    for a, b in ((x.x, first), (x["angle_rate"], second), (x[-1], third), (x.column[0], first)):
        assert ca.is_equal(a, b)
    assert len(x) == 3
    assert repr(x) == "Vector(x [m], angle_rate [rad/s], plain [-])"


def test_a_misspelt_entry_of_a_vector_raises() -> None:
    x = Vector(XY, XY.symbol(), "Car state")
    with pytest.raises(UnknownName, match=r"unknown Car state signal 'plane'.*Did you mean 'plain'"):
        _ = x.plane
    with pytest.raises(IndexError, match="index 3 of a vector of 3"):
        _ = x[3]
    assert not hasattr(x, "plane")
    with pytest.raises(DimensionMismatch, match=r"column of shape \(2, 1\) given for 3 signals"):
        Vector(XY, ca.SX.sym("z", 2), "state")


@pytest.mark.parametrize("names", [["a", "b"], ("a", "b"), 3])
def test_a_list_of_names_is_no_name(names) -> None:
    with pytest.raises(InvalidValue, match=r"not a string; write one string per signal.*signals\(\*names\)"):
        signals(names)


@pytest.mark.parametrize("name", [*keyword.kwlist, "__len__", "__dict__", "__new__", "__anything", "_owner", "column"])
def test_a_name_that_cannot_be_read_is_refused(name: str) -> None:
    """``x.lambda`` is no Python, ``x.__len__`` is the vector's own, and ``x.__anything`` is mangled in a class body."""
    for make in (lambda: signals(f"{name} [m]"), lambda: signals("a", name), lambda: Signal(name)):
        with pytest.raises(InvalidValue, match="no signal may be called"):
            make()


@pytest.mark.parametrize(
    "name", ["match", "case", "type", "_", "_x", "lambda_", "index", "name", "unit", "where", "array"]
)
def test_names_that_only_look_reserved_are_fine(name: str) -> None:
    declared = signals(name)
    x = Vector(declared, declared.symbol())
    assert ca.is_equal(getattr(x, name), x[0])


def test_a_name_is_the_one_that_python_reads() -> None:
    """Python reads the micro sign of a keyboard as the Greek letter: x.aµ would not find its signal."""
    with pytest.raises(InvalidValue, match="Python reads x\\.a\u00b5 as x\\.a\u03bc; use"):
        signals("a\u00b5")
    declared = signals("a\u03bc")
    assert eval("x.a\u00b5", {"x": Vector(declared, declared.symbol())}) is not None


@pytest.mark.parametrize("entries", [("a", "b"), "ab", [Signal("a"), "b"], 3, [None], [("a", "m")]])
def test_signals_are_made_of_signals(entries) -> None:
    with pytest.raises(InvalidValue, match=r"expected the type Signal: write signals"):
        Signals(entries)
    with pytest.raises(InvalidValue, match="given twice: a"):
        Signals([Signal("a"), Signal("a", "m")])
