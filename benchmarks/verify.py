"""How much of a region of attraction is proved, and in what time?

    python -m benchmarks.verify

Times are of the whole way: simulation, fitting of the Lyapunov function, search for the level, and the proof of that
level, whose own share is given beside it. Shares of van der Pol's oscillator are of the area inside its limit cycle,
which is integrated here. The small-torque pendulum and the path follower have the plants, boxes and limits of published
certificates (Yang, Dai, Shi, Hsieh, Tedrake & Zhang 2024); the controller here is a saturated linear regulator, tuned,
and the ellipse of its own Riccati solution stands beside what a fitted function proves. Levels of the cart-pole and of
the quadrotor are shares of the lowest level at which sampling finds a violation. Rows of more states are described in
:mod:`benchmarks.verify_states`.

Limits are of processor time, since that is what a busy machine leaves as it is. Every proof is then run again beside
the same claim by other means (see :mod:`benchmarks.verify_peers`): plain intervals for all of them, z3 for the
oscillators, where sums of squares say what they find by themselves. Seconds of these races are of processor time;
where a rival gave up at its limit, the ratio is a lower bound and ``plain_proved`` is 0.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

import casadi as ca
import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import solve_continuous_lyapunov

from benchmarks.verify_peers import by_z3, race
from benchmarks.verify_states import contradictions, output_feedback, quadrotor_in_space, reach
from ctrl.certify import (
    Certificate,
    ClosedLoop,
    QuadraticLyapunov,
    SearchLimits,
    certify,
    largest_level,
    riccati,
    sampled_limit,
    sos_region,
)
from ctrl.certify.candidates.fit import fitted, sampled_basin
from ctrl.laws import Law, SaturatedLinear
from ctrl.regulator import LQR
from safe_rl.model_gradient import train_through_model
from systems import Quadratic, Task
from systems.arithmetic.interval import Interval
from systems.library import cartpole, path_tracking, pendulum, planar_quadrotor, van_der_pol_reversed
from systems.library.pendulum import energies
from systems.library.van_der_pol import ReversedVanDerPol, VanDerPol

PATIENCE = 30.0  # seconds of processor time that a rival is given for one claim
_BEGAN, _WORKED = perf_counter(), process_time()


@dataclass(frozen=True)
class Result:
    """A certificate, and the seconds that the whole way to it took."""

    certificate: Certificate
    seconds: float
    cpu: float


def timed(way: Callable[[], Certificate]) -> Result:
    began, worked = perf_counter(), process_time()
    certificate = way()
    return Result(certificate, perf_counter() - began, process_time() - worked)


def effort(seconds: float, boxes: int = 2_000_000) -> SearchLimits:
    """So many seconds of processor time, as far as this process has had its processor to itself until now."""
    share = (process_time() - _WORKED) / max(perf_counter() - _BEGAN, 1e-9)
    return SearchLimits(boxes, seconds / min(max(share, 0.02), 1.0))


def proved_volume(certificate: Certificate) -> float:
    return certificate.volume if certificate.is_proved else 0.0


def report(name: str, result: Result, note: str = "") -> None:
    c = result.certificate
    print(
        f"  {name:<36} {c.kind:<10} volume {c.volume:<9.5g} all {result.seconds:6.1f} s ({result.cpu:5.1f} s of "
        f"processor time), proof {c.seconds:5.2f} s, {c.boxes:,} boxes{note}"
    )


def against(certificate: Certificate, loop: ClosedLoop) -> dict[str, Any]:
    """Boxes per second and time of the proof, by itself and in plain intervals."""
    if not certificate.is_proved:
        return {}
    found = race(certificate, loop, PATIENCE)
    print(f"    {found}")
    return {
        "proof_seconds": found.ours.seconds,
        "boxes_per_second": found.ours.boxes_per_second,
        "plain_seconds": found.plain.seconds,
        "plain_boxes_per_second": found.plain.boxes_per_second,
        "plain_proved": float(found.plain.is_proved),
        "plain_over_ours": found.ratio,
    }


def asked_of_z3(certificate: Certificate, loop: ClosedLoop, name: str) -> dict[str, Any]:
    """The same claim put to z3; nothing where it is not installed."""
    found = by_z3(certificate, loop, PATIENCE) if certificate.is_proved else None
    if found is None:
        print("    z3: not installed (pip install z3-solver), or nothing to ask")
        return {}
    print(f"    z3, {name}: {found}")
    return {f"z3_{name}_seconds": found.seconds, f"z3_{name}_proved": float(found.is_proved)}


def limit_cycle_area(mu: float) -> float:
    """Area inside the oscillator's limit cycle, by integration in forward time."""
    f = VanDerPol(mu=mu).casadi()

    def flow(t: float, x: np.ndarray) -> np.ndarray:
        return np.array(f(x, 0, 0, 0))[:, 0]

    settled = solve_ivp(flow, (0, 60), [1.0, 0.0], rtol=1e-9, atol=1e-11).y[:, -1]
    turn = solve_ivp(flow, (0, 12), settled, rtol=1e-9, atol=1e-11, max_step=0.01).y.T
    angle = np.unwrap(np.arctan2(turn[:, 1], turn[:, 0]))
    x, y = turn[np.abs(angle - angle[0]) <= 2 * np.pi].T
    return float(0.5 * np.abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def oscillator(mu: float, share: float) -> dict[str, Any]:
    task = dataclasses.replace(van_der_pol_reversed(), plant=ReversedVanDerPol(mu=mu))
    law = SaturatedLinear(np.zeros((0, 2)), [0, 0], [], [], [])  # there is no input
    box = (np.array([-2.5, -2.0 - 1.4 * mu]), np.array([2.5, 2.0 + 1.4 * mu]))

    def way() -> Certificate:
        loop = ClosedLoop(task, law, continuous=True)
        V = fitted(loop, 6, sampled_basin(loop, *box), share=share, rounds=8)
        return largest_level(task, law, V, resolution=5e-3, budget=effort(30), continuous=True, box=box)

    result, area = timed(way), limit_cycle_area(mu)
    report(f"reversed oscillator, mu = {mu:g}", result, f", {result.certificate.volume / area:.1%} of {area:.4f}")
    loop = ClosedLoop(task, law, continuous=True)
    numbers = {"share": proved_volume(result.certificate) / area, "seconds": result.seconds, "cpu": result.cpu}
    numbers |= against(result.certificate, loop) | asked_of_z3(result.certificate, loop, "fitted")
    quadratic = timed(lambda: largest_level(task, law, linearised(loop), continuous=True, box=box))
    report("    its quadratic form", quadratic, f", {quadratic.certificate.volume / area:.1%}")
    numbers |= asked_of_z3(quadratic.certificate, loop, "quadratic")
    numbers |= {f"quadratic_{k}": v for k, v in against(quadratic.certificate, loop).items() if k == "proof_seconds"}
    try:
        squares = timed(lambda: sos_region(task, law, degree=4))
    except ImportError:
        print("    sums of squares: not run, cvxpy is not installed")
        return numbers
    report("    by sums of squares, degree 4", squares, f", {squares.certificate.volume / area:.1%}")
    return numbers | {
        "share_by_squares": proved_volume(squares.certificate) / area,
        "seconds_by_squares": squares.seconds,
    }


def linearised(loop: ClosedLoop) -> QuadraticLyapunov:
    """x'Px with A'P + PA = -I around the origin."""
    A = loop.enclose_jacobian(Interval.of(loop.reference)).jacobian.mid
    P = solve_continuous_lyapunov(A.T, -np.eye(len(A)))
    return QuadraticLyapunov(0.5 * (P + P.T), loop.reference)


def planar(
    task: Task, weights: Quadratic, degree: int, share: float, margin: float, features: ca.Function | None
) -> dict[str, Any]:
    """The tuned regulator: its ellipse, and a fitted function; and, with features, a network that is trained here."""
    tuned = dataclasses.replace(task, cost=weights)
    regulator = LQR(tuned).law
    ellipse = timed(lambda: largest_level(task, regulator, riccati(tuned), budget=effort(10)))
    report(f"{task.name}, tuned ellipse", ellipse)
    against(ellipse.certificate, ClosedLoop(task, regulator))

    def proved(law: Law) -> Certificate:
        loop = ClosedLoop(task, law)
        basin = sampled_basin(loop, *loop.domain)
        V = fitted(loop, degree, basin, share=share, margin=margin, rounds=10, features=features)
        return largest_level(task, law, V, resolution=5e-3, budget=effort(60))

    law: Law = regulator
    tuned_result = best = timed(lambda: proved(law))
    report(f"{task.name}, regulator, fitted", tuned_result)
    if features is not None:
        law = train_through_model(task, report=print)
        best = timed(lambda: proved(law))
        report(f"{task.name}, trained network, fitted", best)
    return {
        "area": proved_volume(best.certificate),
        "seconds": best.certificate.seconds,
        "seconds_in_all": best.seconds,
        "cpu": best.cpu,
        "area_regulator": proved_volume(tuned_result.certificate),
        "area_ellipse": proved_volume(ellipse.certificate),
        **against(best.certificate, ClosedLoop(task, law)),
    }


def regulator(task: Task, share: float, seconds: float) -> dict[str, Any]:
    law, V = LQR(task).law, riccati(task)
    limit = sampled_limit(ClosedLoop(task, law), V).level
    result = timed(lambda: certify(task, law, V, share * limit, budget=effort(seconds, 20_000_000)))
    proved = share if result.certificate.is_proved else 0.0
    report(f"{task.name}, {share:g} of the sampled", result)
    return {
        "level_of_sampled": proved,
        "seconds": result.seconds,
        "cpu": result.cpu,
        **against(result.certificate, ClosedLoop(task, law)),
    }


def of_many_states(name: str, way: Callable[[], tuple[Certificate, ClosedLoop]]) -> dict[str, Any]:
    """A region of a loop of more states, with a million random states of it looked at."""
    loops: list[ClosedLoop] = []

    def keeping_the_loop() -> Certificate:
        certificate, loop = way()
        loops.append(loop)
        return certificate

    result = timed(keeping_the_loop)
    certificate, loop = result.certificate, loops[0]
    report(name, result)
    numbers = {"volume": proved_volume(certificate), "seconds": result.seconds, "cpu": result.cpu}
    if not certificate.is_proved:
        return numbers
    wrong = contradictions(certificate, loop)
    print(f"    of 1,000,000 random states of the set, {wrong} contradict it")
    numbers |= {"proof_seconds": certificate.seconds, "boxes": float(certificate.boxes), "contradictions": float(wrong)}
    return numbers | (reach(certificate) if len(certificate.state) == 12 else {})


def main() -> None:
    print("proved regions of attraction")
    numbers = {
        "van_der_pol_mu1": oscillator(1.0, 0.97),
        "van_der_pol_mu3": oscillator(3.0, 0.85),
        "pendulum_small_torque": planar(pendulum(), Quadratic(np.eye(2), 100.0 * np.eye(1)), 4, 0.6, 1e-3, energies()),
        "path_tracking": planar(path_tracking(), Quadratic(np.eye(2), 10.0 * np.eye(1)), 6, 0.97, 3e-3, None),
        "cartpole_lqr": regulator(cartpole(), 0.9, 60.0),
        "planar_quadrotor_lqr": regulator(planar_quadrotor(), 0.5, 300.0),
        "quadrotor_lqr": of_many_states("quadrotor", lambda: quadrotor_in_space(False, effort(60))),
        "quadrotor_lqr_continuous": of_many_states(
            "quadrotor, continuous", lambda: quadrotor_in_space(True, effort(60))
        ),
        "pendulum_output_feedback": of_many_states(
            "pendulum, output feedback", lambda: output_feedback(lambda: effort(120, 20_000_000))
        ),
    }
    print(json.dumps({key: {k: float(f"{v:.4g}") for k, v in entry.items()} for key, entry in numbers.items()}))


if __name__ == "__main__":
    main()
