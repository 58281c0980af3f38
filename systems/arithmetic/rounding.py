"""Outward rounding: every result of numpy is moved outward by more than its largest possible error.

With u = 2^-52, the result c of a correctly rounded operation is within half a unit in the last place of the
exact value, and the unit in the last place of a normal c is at most u |c|. The product u |c| is exact unless
it is subnormal, and then still not less than that unit, which is itself representable. So c -+ u |c|,
rounded, is at or beyond the neighbours of c. This is the idea of Rump, Zimmermann, Boldo and Melquiond (2009,
"Computing predecessor and successor in rounding to nearest"), one bit wider; it is four array operations,
several times faster than `nextafter`. Results that may underflow are moved by TINY as well. Sums need no TINY: a
sum below 2^-1021 is exact.

A lower bound is never +inf and an upper bound never -inf: where a finite value overflows, that side is unbounded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MAX = float(np.finfo(np.float64).max)
TINY = float(np.finfo(np.float64).tiny)  # 2^-1022, more than the error of any underflow
ULP = 2.0**-52
# Library functions are not correctly rounded. The vendors of numpy's vector loops state 4 units in the last
# place at worst; 16 leave a margin, and the tests compare every function with Arb.
LIBRARY = 16 * ULP


def array(x: Any) -> Any:
    """x as doubles in a numpy array; x itself if it is another kind of array with numpy's interface."""
    return x if hasattr(x, "__array_function__") and not isinstance(x, np.ndarray) else np.asarray(x, np.float64)


def is_scalar(x: Any) -> bool:
    """Whether x is one number rather than an array, which could be overwritten."""
    return not hasattr(x, "__array_function__")


def below(c: Any, relative: float = ULP, absolute: float = 0.0) -> Any:
    """A lower bound of the exact value that was rounded to c, a fresh array (overwritten) or scalar."""
    margin = np.abs(c)
    margin *= relative
    if absolute:
        margin += absolute
    if is_scalar(c):
        c = np.minimum(c, MAX)
    else:
        np.minimum(c, MAX, out=c)
    c -= margin
    return c


def above(c: Any, relative: float = ULP, absolute: float = 0.0) -> Any:
    """An upper bound of the exact value that was rounded to c, a fresh array (overwritten) or scalar."""
    margin = np.abs(c)
    margin *= relative
    if absolute:
        margin += absolute
    if is_scalar(c):
        c = np.maximum(c, -MAX)
    else:
        np.maximum(c, -MAX, out=c)
    c += margin
    return c
