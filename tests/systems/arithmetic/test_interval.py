"""Intervals enclose: every elementary operation against Arb, every zoo expression against samples."""

import operator
from fractions import Fraction

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from systems import InvalidValue
from systems.arithmetic import interval_functions as fn
from systems.arithmetic.interval import Interval, Truth, stack
from systems.arithmetic.rounding import MAX
from systems.lowering import jacobian, lower

flint.ctx.prec = 200
MANY = settings(max_examples=200)

finite = st.one_of(
    st.floats(-10, 10, allow_subnormal=True),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 5e-324, -5e-324, 2.0**-1022, 1e308, -1e308, np.pi, -np.pi / 2]),
    st.integers(-3_000_000, 3_000_000).map(lambda k: k * np.pi / 2),
)
ends = st.one_of(finite, st.sampled_from([np.inf, -np.inf]))


@st.composite
def boxes(draw):
    """A box and a point in it: any size, thin, or a single point."""
    a, b = sorted((draw(ends), draw(ends)))
    if draw(st.booleans()):
        a = draw(finite)
        b = a + abs(a) * draw(st.sampled_from([0.0, 2.0**-52, 1e-9, 0.1]))
    box = Interval(a, b)
    low, high = max(float(box.lo), -MAX), min(float(box.hi), MAX)
    t = draw(st.floats(0, 1))
    x = draw(st.sampled_from([low, high, min(max(low * (1 - t) + high * t, low), high)]))
    return box, x


def encloses(box, exact):
    """Whether the interval holds a value that Arb knows to 200 bits; True where Arb finds none."""
    if not exact.is_finite():
        return True
    assert not np.isnan(box.lo)
    assert not np.isnan(box.hi)
    return bool(flint.arb(float(box.lo)) <= exact.upper()) and bool(exact.lower() <= flint.arb(float(box.hi)))


UNARY = {
    "sqrt": (fn.sqrt, lambda x: x.sqrt()),
    "exp": (fn.exp, lambda x: x.exp() if abs(x) < 1e6 else flint.arb("nan")),
    "log": (fn.log, lambda x: x.log()),
    "log1p": (fn.log1p, lambda x: x.log1p()),
    "expm1": (fn.expm1, lambda x: x.expm1() if abs(x) < 1e6 else flint.arb("nan")),
    "sin": (fn.sin, lambda x: x.sin()),
    "cos": (fn.cos, lambda x: x.cos()),
    "tan": (fn.tan, lambda x: x.tan()),
    "asin": (fn.asin, lambda x: x.asin()),
    "acos": (fn.acos, lambda x: x.acos()),
    "atan": (fn.atan, lambda x: x.atan()),
    "sinh": (fn.sinh, lambda x: x.sinh() if abs(x) < 1e6 else flint.arb("nan")),
    "cosh": (fn.cosh, lambda x: x.cosh() if abs(x) < 1e6 else flint.arb("nan")),
    "tanh": (fn.tanh, lambda x: x.tanh()),
    "asinh": (fn.asinh, lambda x: x.asinh()),
    "acosh": (fn.acosh, lambda x: x.acosh()),
    "atanh": (fn.atanh, lambda x: x.atanh()),
    "floor": (fn.floor, lambda x: x.floor()),
    "ceil": (fn.ceil, lambda x: x.ceil()),
    "sign": (fn.sign, lambda x: x.sgn()),
    "abs": (abs, abs),
    "neg": (lambda x: -x, lambda x: -x),
    "sq": (lambda x: x.sq(), lambda x: x * x),
    "inverse": (lambda x: 1 / x, lambda x: 1 / x),
    "plus_constant": (lambda x: x + 0.1, lambda x: x + flint.arb(0.1)),
    "constant_minus": (lambda x: 0.1 - x, lambda x: flint.arb(0.1) - x),
    "times_constant": (lambda x: x * -0.1, lambda x: x * flint.arb(-0.1)),
    "by_constant": (lambda x: x / -0.3, lambda x: x / flint.arb(-0.3)),
    "constant_by": (lambda x: -0.3 / x, lambda x: flint.arb(-0.3) / x),
    **{
        f"power_{p}": (lambda x, p=p: fn.power(x, p), lambda x, p=p: x ** int(p))
        for p in (0.0, 1.0, 2.0, 3.0, 4.0, 7.0, -1.0, -2.0, -3.0)
    },
    **{
        f"power_{p}": (lambda x, p=p: fn.power(x, p), lambda x, p=p: x ** flint.arb(p))
        for p in (0.5, 1.5, 2.7, -0.5, -1.3)
    },
    "two_to_the": (
        lambda x: fn.power(2.0, x),
        lambda x: flint.arb(2) ** x if abs(x) < 1e6 else flint.arb("nan"),
    ),
}

BINARY = {
    "add": (lambda x, y: x + y, lambda x, y: x + y),
    "sub": (lambda x, y: x - y, lambda x, y: x - y),
    "mul": (lambda x, y: x * y, lambda x, y: x * y),
    "div": (lambda x, y: x / y, lambda x, y: x / y),
    "atan2": (fn.atan2, lambda y, x: flint.arb.atan2(y, x)),
    "fmin": (fn.fmin, lambda x, y: x.min(y)),
    "fmax": (fn.fmax, lambda x, y: x.max(y)),
    "hypot": (fn.hypot, lambda x, y: (x * x + y * y).sqrt()),
    "power": (fn.power, lambda x, y: x**y if abs(y) < 1e4 else flint.arb("nan")),
    "copysign": (fn.copysign, lambda x, y: abs(x) * (y.sgn() if y != 0 else 1)),
    "where": (lambda x, y: fn.where(x < y, x, y * y), lambda x, y: x if x < y else y * y),
    "real": (lambda x, y: fn.real((x <= y) & ~(x == 0.0)), lambda x, y: flint.arb(int(x <= y and x != 0))),
}


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.every(2)
def test_unary_operations_enclose_what_arb_finds(name):
    ours, exact = UNARY[name]

    @MANY
    @given(boxes())
    def check(pair):
        box, x = pair
        result = ours(box)
        assert result.lo <= result.hi
        assert encloses(result, exact(flint.arb(x))), (box, x, result)

    check()


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.every(2)
def test_binary_operations_enclose_what_arb_finds(name):
    ours, exact = BINARY[name]

    @MANY
    @given(boxes(), boxes())
    def check(first, second):
        result = ours(first[0], second[0])
        assert result.lo <= result.hi
        assert encloses(result, exact(flint.arb(first[1]), flint.arb(second[1]))), (first, second, result)

    check()


@pytest.mark.parametrize("name", UNARY)
def test_large_batches_enclose_at_their_ends(name):
    # The vector loops of numpy differ from its scalar ones.
    ours, exact = UNARY[name]
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(-1, 1, 300), rng.normal(size=300) * 10.0 ** rng.uniform(-12, 6, 300)])
    result = ours(Interval(x, x))
    assert (result.lo <= result.hi).all()
    assert all(encloses(result[k], exact(flint.arb(x[k]))) for k in range(len(x)))


@pytest.mark.parametrize("name", UNARY)
def test_wide_boxes_enclose_what_arb_finds_at_their_ends(name):
    # Each end by its own rounding, whatever the other one is.
    ours, exact = UNARY[name]
    rng = np.random.default_rng(4)
    x = np.concatenate(
        [rng.uniform(-1, 1, 200), rng.uniform(-3, 3, 200), rng.normal(size=100) * 10.0 ** rng.uniform(-9, 2, 100)]
    )
    wide = rng.choice([1e-9, 0.1, 1.0, 3.0], len(x))
    zero = np.where(x > 0, x, wide)
    for low, high in ((x - wide, x), (x, x + wide), (x - zero, x), (-np.abs(x), np.abs(x))):
        result = ours(Interval(low, high))
        assert (result.lo <= result.hi).all()
        for end in (low, high):
            assert all(encloses(result[k], exact(flint.arb(end[k]))) for k in range(len(x)))


@pytest.mark.parametrize("bits", [19, 21, 26, 33, 40, 48, 52, 60])
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_extrema_and_poles_far_from_zero(name, bits):
    # There a period is not many doubles wide, and the quotient by it is rounded.
    ours, exact = UNARY[name]
    rng = np.random.default_rng(bits)
    turns = (rng.integers(2 ** (bits - 3), 2 ** (bits - 2), 300) * rng.choice([-1, 1], 300)).tolist()
    with_extremum = [flint.arb.pi() * k / 2 for k in turns]
    middle = np.array([float(m.mid()) for m in with_extremum])
    for half in (
        np.spacing(np.abs(middle)),
        np.spacing(np.abs(middle)) + 1e-3,
        np.full(300, 0.4) + np.spacing(np.abs(middle)),
    ):
        box = Interval(middle - half, middle + half)
        result = ours(box)
        for k, m in enumerate(with_extremum):
            inside = exact(m)
            if name == "tan" and turns[k] % 2:
                assert result.lo[k] == -np.inf
                assert result.hi[k] == np.inf
            else:
                assert encloses(result[k], inside), (name, middle[k], result[k])


def test_a_middle_and_a_radius_hold_all_of_an_interval():
    rng = np.random.default_rng(6)
    low = rng.normal(size=2000) * 10.0 ** rng.uniform(-3, 3, 2000)
    high = low + np.spacing(np.abs(low)) * rng.integers(0, 4, 2000)
    high[::2] = low[::2] + np.abs(low[::2]) * rng.random(1000)
    box = Interval(low, high)
    for k in range(2000):
        mid, rad = Fraction(box.mid[k]), Fraction(box.rad[k])
        assert mid - rad <= Fraction(low[k])
        assert Fraction(high[k]) <= mid + rad
        assert Fraction(box.width[k]) >= Fraction(high[k]) - Fraction(low[k])


def test_containment_and_hulls_look_at_both_ends():
    x = Interval([0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    assert x.contains(Interval([-0.5, 0.2, 0.2], [0.5, 1.2, 0.8])).tolist() == [False, False, True]
    hull = x.hull(Interval([-1.0, 0.5, 2.0], [-0.5, 0.7, 3.0]))
    assert hull.lo.tolist() == [-1.0, 0.0, 0.0]
    assert hull.hi.tolist() == [1.0, 1.0, 3.0]


SMOOTH = [name for name in UNARY if name not in ("floor", "ceil", "sign")]


@pytest.mark.parametrize("name", SMOOTH)
def test_results_are_tight(name):
    # On boxes inside every domain the width is that of the exact range to 1e-12, found by dense sampling.
    ours, _ = UNARY[name]
    shift = 1.1 if name == "acosh" else 0.1
    low = np.linspace(0, 0.5, 101) + shift
    high = low + 0.2
    result = ours(Interval(low, high))
    grid = np.linspace(low, high, 2001)
    values = ours(Interval(grid, grid))
    np.testing.assert_allclose(result.lo, values.lo.min(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(result.hi, values.hi.max(0), rtol=1e-12, atol=1e-12)


def test_extrema_of_sine_and_cosine_are_found_to_rounding():
    rng = np.random.default_rng(2)
    low = rng.uniform(-20, 20, 1000)
    high = low + rng.uniform(0, 7, 1000)
    grid = np.linspace(low, high, 4001)
    for ours, f in ((fn.sin, np.sin), (fn.cos, np.cos)):
        result = ours(Interval(low, high))
        np.testing.assert_allclose(result.lo, f(grid).min(0), atol=1e-6)
        np.testing.assert_allclose(result.hi, f(grid).max(0), atol=1e-6)
        assert (result.lo >= -1).all()
        assert (result.hi <= 1).all()


def test_one_quadrant_of_atan2_is_tight_and_the_cut_is_whole():
    box = fn.atan2(Interval(1, 2), Interval(-1, 1))
    np.testing.assert_allclose([box.lo, box.hi], [np.pi / 4, 3 * np.pi / 4], rtol=1e-13)
    box = fn.atan2(Interval(-1, 1), Interval(-2, -1))
    np.testing.assert_allclose([box.lo, box.hi], [-np.pi, np.pi], rtol=1e-13)
    assert box.hi > np.pi


def test_infinities_never_give_nan():
    line, zero, half = Interval(-np.inf, np.inf), Interval(0, 0), Interval(0, np.inf)
    assert (zero * line).width < 1e-300
    for box in (
        line - line,
        half - half,
        half / half,
        line * half,
        0.0 * line,
        line / 0.0,
        Interval.of(np.nan),
    ):
        assert box.lo == -np.inf or abs(box.lo) < 1e-300
        assert not np.isnan(box.hi)
    big = Interval(1e308, 1.7e308)
    for box in (big + big, big * big, big.sq(), fn.exp(big), -big - big):
        assert box.lo <= box.hi
    again = (big + big) - (big + big)
    assert (again.lo, again.hi) == (-np.inf, np.inf)


def test_boxes_that_leave_a_domain_are_opened():
    assert fn.sqrt(Interval(0, 4)).lo == 0
    assert 2 <= fn.sqrt(Interval(0, 4)).hi < 2 + 1e-14
    assert fn.log(Interval(0, 1)).lo == -np.inf
    partly = (
        fn.sqrt(Interval(-1, 4)),
        fn.log(Interval(-1, 1)),
        fn.asin(Interval(0.5, 1.5)),
        fn.power(Interval(-1, 4), 1.5),
    )
    for box in (*partly, fn.sqrt(Interval(-2, -1)), fn.log(Interval(-2, -1)), fn.asin(Interval(2, 3))):
        assert (box.lo, box.hi) == (-np.inf, np.inf)
    quotient = Interval([1.0, 1.0], [2.0, 2.0]) / Interval([-1.0, 1.0], [1.0, 2.0])
    assert (quotient.lo[0], quotient.hi[0]) == (-np.inf, np.inf)
    np.testing.assert_allclose([quotient.lo[1], quotient.hi[1]], [0.5, 2])


def test_square_forgets_nothing():
    box = Interval(-1, 2).sq()
    assert box.lo == 0
    assert 4 < box.hi < 4.0001


ENDS = [(a, b) for a in range(-1, 3) for b in range(a, 3)]


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne])
def test_statements_hold_at_all_or_at_some_pairs_of_points(compare):
    for first in ENDS:
        for second in ENDS:
            a, b = (np.linspace(low, high, 2 * (high - low) + 1) for low, high in (first, second))
            holds = compare(a[:, None], b)
            truth = compare(Interval(*map(float, first)), Interval(*map(float, second)))
            assert (bool(truth.sure), bool(truth.possible)) == (holds.all(), holds.any()), (first, second)


@pytest.mark.parametrize("exponent", [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.5, 1.5, -0.5])
@pytest.mark.parametrize("ends", [(-3.0, -1.0), (-2.0, 1.0), (0.5, 2.0), (-1.0, 0.0), (0.0, 2.0)])
def test_powers_have_the_range_of_their_points_and_a_value_where_these_do(ends, exponent):
    x = np.linspace(*ends, 301)
    with np.errstate(all="ignore"):
        values = np.power(x, exponent)
    power = Interval(*ends) ** exponent
    has_values = bool(np.isfinite(values).all())
    assert (power.undefined is None or not power.undefined.any()) == has_values
    if has_values:
        assert float(power.lo) == pytest.approx(values.min(), rel=1e-12, abs=1e-300)
        assert float(power.hi) == pytest.approx(values.max(), rel=1e-12, abs=1e-300)
        assert power.lo <= values.min()
        assert power.hi >= values.max()


def test_only_a_denominator_that_holds_zero_leaves_a_quotient_without_value():
    ones = Interval.of(np.ones(4))
    low, high = np.array([-2.0, -1.0, 0.0, 1.0]), np.array([-1.0, 0.0, 1.0, 2.0])
    expected = [False, True, True, False]
    assert (ones / Interval(low, high)).undefined.tolist() == expected
    assert (1.0 / Interval(low, high)).undefined.tolist() == expected
    assert (0.0 / Interval(low, high)).undefined.tolist() == expected


def test_comparisons_are_three_valued():
    x = Interval([0.0, 2.0, 5.0], [1.0, 4.0, 6.0])
    truth = x < 3.0
    assert truth.sure.tolist() == [True, False, False]
    assert truth.possible.tolist() == [True, True, False]
    assert (~truth).sure.tolist() == [False, False, True]
    assert (x > 3.0).sure.tolist() == [False, False, True]
    assert (Interval.of(1.0) == 1.0).sure
    with pytest.raises(InvalidValue, match="undecided"):
        bool(x < 3.0)


@pytest.mark.parametrize("scalar", [2, 2.0, np.float64(2), np.float32(2), np.int64(2), np.array(2.0)])
def test_numbers_of_any_kind_work_on_either_side(scalar):
    x = Interval([1.0, -3.0], [2.0, -1.0])
    for box, low in (
        (x + scalar, 3), (scalar + x, 3), (x - scalar, -1), (scalar - x, 0), (x * scalar, 2), (scalar * x, 2),
        (x / scalar, 0.5), (scalar / x, 1), (x + scalar * x / 6, 4 / 3),
    ):  # fmt: skip
        assert isinstance(box, Interval)
        assert box.shape == (2,)
        assert abs(box.lo[0] - low) < 1e-12
    array = np.array([1.0, 2.0])
    assert (array + x).contains(array + np.array([1.5, -2.0])).all()


def test_views_and_summaries():
    x = Interval(np.zeros((5, 3)), np.ones((5, 3)))
    assert x[..., 1].shape == (5,)
    assert x[2].shape == (3,)
    assert stack([x[..., 0], x[..., 1]], axis=-1).shape == (5, 2)
    assert x.contains(np.full(3, 0.5)).all()
    assert not x.contains(np.nan).any()
    assert not x.contains(Interval(0.5, 1.5)).any()
    hull = x.hull(Interval(-1, 0.5))
    assert (hull.lo == -1).all()
    assert (hull.hi == 1).all()
    third = Interval(0.1, 0.7)
    assert third.mid - third.rad <= 0.1
    assert third.mid + third.rad >= 0.7
    assert third.width >= 0.6
    assert np.isfinite(Interval(-np.inf, np.inf).mid)
    point = Interval.point(0.3)
    assert (point.mid, point.rad) == (0.3, 0)


def test_bad_bounds_are_refused():
    with pytest.raises(ValueError, match=r"interval \[2.0, 1.0\] at \(1,\)"):
        Interval([0.0, 2.0], [1.0, 1.0])
    with pytest.raises(ValueError, match="must be numbers"):
        Interval(np.nan, 1.0)


@pytest.mark.parametrize("derivative", [False, True])
def test_zoo_boxes_enclose_samples(case, derivative):
    function = jacobian(case.function) if derivative else case.function
    boxes, samples = 100, 100
    rng = np.random.default_rng(3)
    ends = np.sort(rng.uniform(case.lower, case.upper, (2, boxes, 4)), axis=0)
    ends[1, ::2] = ends[0, ::2] + (ends[1, ::2] - ends[0, ::2]) * 1e-3  # every other box is small
    enclosure = lower(function, "interval")(
        Interval(ends[0, :, :3], ends[1, :, :3]), Interval(ends[0, :, 3:], ends[1, :, 3:])
    )
    points = rng.uniform(ends[0], ends[1], (samples, boxes, 4))
    values = lower(function, "numpy")(points[..., :3], points[..., 3:])
    assert enclosure.shape == values.shape[1:]
    # The samples themselves are rounded, to a few units in the last place.
    slack = 1e-13 * (1 + np.abs(values))
    assert ((enclosure.lo <= values + slack) & (values - slack <= enclosure.hi)).all()


def test_zoo_thin_boxes_give_thin_intervals(case):
    x, u = case.sample(200)
    enclosure = lower(case.function, "interval")(Interval(x, x + 1e-9), Interval(u, u + 1e-9))
    thin = enclosure.width < 1e-6
    assert thin.mean() > 0.97 if thin.size else True  # a jump may lie in a box
    if case.function.name() not in ("zoo_rounding", "zoo_logic", "zoo_if_else_number", "zoo_fabs_sign"):
        derivative = lower(jacobian(case.function), "interval")(Interval(x, x + 1e-9), Interval(u, u + 1e-9))
        assert (derivative.width < 1e-4).mean() > 0.97 if derivative.lo.size else True


def test_points_are_taken_as_arrays(case):
    x, u = case.sample(20)
    values = lower(case.function, "numpy")(x, u)
    enclosure = lower(case.function, "interval")(x, u)
    slack = 1e-13 * (1 + np.abs(values))
    assert ((enclosure.lo <= values + slack) & (values - slack <= enclosure.hi)).all()
    assert (enclosure.width <= 1e-11 * (1 + np.abs(values))).all()


def test_widths_and_radii_are_not_rounded_down() -> None:
    """In rational arithmetic: mid +- rad holds both ends, and no width is short."""
    rng = np.random.default_rng(4)
    lo = rng.normal(size=3000) * 10.0 ** rng.integers(-8, 8, 3000)
    hi = lo + rng.random(3000) * 10.0 ** rng.integers(-8, 8, 3000)
    box = Interval(lo, hi)
    for low, high, mid, rad, width in zip(lo, hi, box.mid, box.rad, box.width, strict=True):
        assert Fraction(float(width)) >= Fraction(float(high)) - Fraction(float(low))
        reach = max(Fraction(float(high)) - Fraction(float(mid)), Fraction(float(mid)) - Fraction(float(low)))
        assert Fraction(float(rad)) >= reach


def test_statements_joined_are_as_sure_and_as_possible_as_their_parts() -> None:
    """Both sides count, in every combination."""
    values = [(False, False), (False, True), (True, True)]
    for a_sure, a_possible in values:
        for b_sure, b_possible in values:
            a, b = Truth(np.array([a_sure]), np.array([a_possible])), Truth(np.array([b_sure]), np.array([b_possible]))
            either, both, other = a | b, a & b, ~a
            assert (either.sure[0], either.possible[0]) == (a_sure or b_sure, a_possible or b_possible)
            assert (both.sure[0], both.possible[0]) == (a_sure and b_sure, a_possible and b_possible)
            assert (other.sure[0], other.possible[0]) == (not a_possible, not a_sure)
