"""Margins: the table of the segway-like system, the definition written out, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ctrl.controller import NotApplicable
from mpc import StochasticMPC
from mpc.stochastic.reachable import AdditiveNoise, ErrorDynamics
from mpc.stochastic.tightening import Tightening, margins
from systems import InvalidValue
from systems.library.segway import segway

UNIFORM = AdditiveNoise(np.zeros(2), np.array([[0.3, 0.1], [0.0, 0.4]]), "uniform")
NORMAL = AdditiveNoise(np.zeros(2), UNIFORM.factor, "normal")
A = np.array([[0.7, 0.4], [-0.3, 0.5]])
D = np.array([[1.0, 0.0], [0.5, -1.0], [0.2, 2.0]])
P = np.array([0.8, 0.95, 1.0])
OF_STATE = np.array([True, False, True])

# (samples ahead, exact quantile, one stochastic and the rest robust, robust), degrees, at p = 0.8. The quantiles were
# computed from 1e5 samples, whose standard error is 0.005 degrees; their first is 1.2 in truth.
TABLE = [
    (1, 1.199, 1.199, 2.000),
    (2, 1.479, 3.529, 4.330),
    (3, 1.703, 5.703, 6.504),
    (5, 1.927, 9.032, 9.832),
    (10, 2.025, 12.609, 13.410),
    (40, 2.043, 13.622, 14.423),
]


def lean_margin(recondition_every: float, tightening: Tightening) -> np.ndarray:
    controller = StochasticMPC(segway(), recondition_every=recondition_every, tightening=tightening)
    row = controller.rows.names.index("lean")
    return np.rad2deg(controller.margins.after(np.array([line[0] for line in TABLE]))[:, row])


def test_table_of_the_segway() -> None:
    table = np.array(TABLE)
    np.testing.assert_allclose(lean_margin(math.inf, "exact"), table[:, 1], atol=0.015)
    np.testing.assert_allclose(lean_margin(1, "exact"), table[:, 2], atol=0.0021)
    np.testing.assert_allclose(lean_margin(1, "worst-case"), table[:, 3], atol=0.00051)


@pytest.mark.parametrize("every", [1, 2, 3, 7, math.inf])
def test_margins_follow_the_definition(every: float) -> None:
    """Written with absolute times: the last re-conditioning before t, the one the prediction starts from, and A^l."""
    law = ErrorDynamics(A, UNIFORM)
    found = margins(law, D, P, OF_STATE, every, "exact")
    quantile, worst = law.quantile(D[:2], P[:2], 30), law.worst_case(D, 30)
    quantile = np.hstack([quantile, worst[:, 2:]])
    for k in range(8):
        start = 0 if math.isinf(every) else int(every) * (k // int(every))
        for i in range(10):
            t, wanted = k + i, np.zeros(3)
            for row in range(3):
                # A state at t cannot be changed at t any more; an input can.
                before = t - 1 if OF_STATE[row] else t
                last = start if math.isinf(every) else max(start, int(every) * (before // int(every)))
                if t > start:
                    wanted[row] = quantile[t - last, row] + worst[t - start, row] - worst[t - last, row]
            np.testing.assert_allclose(found.after(np.array([t - start]))[0], wanted, atol=1e-9)


@pytest.mark.parametrize("every", [1, 3, math.inf])
@pytest.mark.parametrize("tightening", ["exact", "distribution-free", "scaled-support", "worst-case"])
def test_what_was_measured_has_been_paid_for(every: float, tightening: Tightening) -> None:
    """Re-conditioning moves the prediction by an error of M samples; the margins must drop at least by its reach."""
    law = ErrorDynamics(A, UNIFORM)
    found = margins(law, D, P, OF_STATE, every, tightening)
    far = found.after(np.array([found.settled + 50, found.settled + 51, found.settled + 52]))
    assert (far <= found.largest + 1e-12).all()
    if math.isinf(every):
        return
    worst, M = law.worst_case(D, 60), int(every)
    for i in range(20):
        drop = found.after(np.array([M + i])) - found.after(np.array([i]))
        rows = OF_STATE < 1 if i == 0 else np.ones(3, dtype=bool)  # the state rows of the present are not imposed
        assert (drop >= worst[M + i] - worst[i] - 1e-9)[0, rows].all()


def test_normal_noise_has_a_closed_form_and_a_limit() -> None:
    law = ErrorDynamics(A, NORMAL)
    found = margins(law, D[:2], P[:2], OF_STATE[:2], math.inf, "exact")
    factor = np.array([0.8416212335729143, 1.6448536269514722])  # of the standard normal law
    for j in (1, 2, 5):
        np.testing.assert_allclose(found.after(np.array([j]))[0], factor * law.deviation(D[:2], j)[-1], rtol=1e-12)
    limit = np.sqrt(np.einsum("ri,ij,rj->r", D[:2], law.stationary_covariance(), D[:2]))
    np.testing.assert_allclose(found.after(np.array([10**6]))[0], factor * limit, rtol=1e-9)
    free = margins(law, D[:2], P[:2], OF_STATE[:2], math.inf, "distribution-free").after(np.array([3]))
    np.testing.assert_allclose(free[0], np.sqrt([4.0, 19.0]) * law.deviation(D[:2], 3)[-1], rtol=1e-12)


def test_unbounded_noise_is_refused_where_its_worst_case_is_needed() -> None:
    law = ErrorDynamics(A, NORMAL)
    for every, tightening, p in ((1, "exact", 0.9), (math.inf, "worst-case", 0.9), (math.inf, "exact", 1.0)):
        with pytest.raises(NotApplicable, match="unbounded"):
            margins(law, D, np.full(3, p), OF_STATE, every, tightening)  # type: ignore[arg-type]
    assert not margins(law, D, P, OF_STATE, 1, "none").largest.any()


@pytest.mark.parametrize("every", [0, -1, 1.5, True, math.nan])
def test_an_interval_is_a_whole_number_or_infinite(every: float) -> None:
    with pytest.raises(InvalidValue, match="recondition_every"):
        margins(ErrorDynamics(A, UNIFORM), D, P, OF_STATE, every, "exact")
