"""What do compiled boxes gain, and what does the search for the largest level cost beside its final proof?

    python -m benchmarks.verify_speed [cartpole] [planar_quadrotor]

Boxes per second: batches of boxes that are open in the proof of a level are examined by numpy and by the recorded,
compiled functions in turn, on one thread. Search: `largest_level` of the linear-quadratic regulator with its
cost-to-go, and then `certify` at the level that was found, which is its final proof. All seconds are of processor time.
"""

from __future__ import annotations

import json
import sys
from time import process_time

import numpy as np

from ctrl.certify import ClosedLoop, SearchLimits, certify, largest_level, riccati, sampled_limit
from ctrl.certify.bounds.examiner import Examiner, Run, as_written
from ctrl.certify.bounds.frame import frames
from ctrl.certify.claims.claim import Claim
from ctrl.certify.claims.sublevel_set import SublevelSet
from ctrl.certify.search.search import CHUNK, Search
from ctrl.regulator import LQR
from systems import Task
from systems.library import cartpole, planar_quadrotor
from systems.tape.recorded import Recorder

TASKS = {"cartpole": (cartpole, 0.9), "planar_quadrotor": (planar_quadrotor, 0.3)}
LIMITS = SearchLimits(20_000_000, 3000.0)
ROUNDS = 5


def boxes_per_second(task: Task, share: float) -> dict[str, float]:
    """Of one batch of open boxes, by numpy and compiled."""
    loop, V = ClosedLoop(task, LQR(task).law), riccati(task)
    claim = Claim(loop, SublevelSet(V, share * sampled_limit(loop, V).level, *loop.domain), 0.0)
    search = next(s for s in (Search.start(claim, frame) for frame in frames(loop, V)) if s is not None)
    search.run(SearchLimits(6 * CHUNK, 600.0))
    low, high = search.low[-CHUNK:], search.high[-CHUNK:]
    examiner: Examiner = search.examiner
    ways: dict[str, Run] = {"numpy": as_written, "compiled": Recorder()}
    spent = {name: float("inf") for name in ways}
    for way in ways.values():  # records and compiles
        examiner.examine(low, high, search.core, way)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = process_time()
            examiner.examine(low, high, search.core, way)
            spent[name] = min(spent[name], process_time() - began)
    found = {f"{name}_boxes_per_second": len(low) / seconds for name, seconds in spent.items()}
    return found | {"boxes": float(len(low)), "ratio": spent["numpy"] / spent["compiled"]}


def search_over_proof(task: Task) -> dict[str, float]:
    """Seconds of the search for the largest level, and of the proof of the level that it found."""
    law, V = LQR(task).law, riccati(task)
    began = process_time()
    largest = largest_level(task, law, V, budget=LIMITS)
    searched, began = process_time() - began, process_time()
    proof = certify(task, law, V, largest.level, kappa=largest.kappa, budget=LIMITS)
    proved = process_time() - began
    limit = sampled_limit(ClosedLoop(task, law), V).level
    return {
        "level_of_sampled": largest.level / limit,
        "both_proved": float(largest.is_proved and proof.is_proved),
        "search_seconds": searched,
        "proof_seconds": proved,
        "search_boxes": float(largest.boxes),
        "proof_boxes": float(proof.boxes),
        "ratio": searched / proved,
    }


def main(names: list[str]) -> None:
    numbers = {}
    for name in names or list(TASKS):
        make, share = TASKS[name]
        for what, found in (
            ("kernel", boxes_per_second(make(), share)),
            ("search", search_over_proof(make())),
        ):
            numbers[f"{name}_{what}"] = {k: float(f"{v:.4g}") for k, v in found.items()}
            print(name, what, numbers[f"{name}_{what}"], flush=True)
    print(json.dumps(numbers))


if __name__ == "__main__":
    np.seterr(all="ignore")
    main(sys.argv[1:])
