"""What does a GPU do for a proof?

    python -m benchmarks.device [cuda]

The same claims by numpy and on a device of torch, one after the other on one machine: boxes per second, and whether
both decide alike. Before that, eigenvalues of more matrices at once than CUDA's solver takes.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

import numpy as np

from ctrl.certify import Certificate, ClosedLoop, SearchLimits, certify, riccati, sampled_limit
from ctrl.regulator import LQR
from systems import Task
from systems.library import cartpole, planar_quadrotor
from systems.lowering.device import fetched, placed

MATRICES = 300_000
CLAIMS = {"cartpole": (cartpole, 0.9), "planar_quadrotor": (planar_quadrotor, 0.5)}


def eigenvalues(device: str) -> dict[str, float]:
    """Seconds for that many matrices, and how far their eigenvalues are from numpy's."""
    found = {}
    for n in (4, 6):
        M = np.random.default_rng(n).normal(size=(MATRICES, n, n))
        M = M + M.swapaxes(-1, -2)
        there = placed(M, device)
        began = perf_counter()
        values = fetched(np.linalg.eigh(there)[0])
        found[f"eigh_{n}_seconds"] = perf_counter() - began
        found[f"eigh_{n}_error"] = float(np.abs(values[::100] - np.linalg.eigvalsh(M[::100])).max())
    return found


def proof(task: Task, share: float, device: str | None) -> Certificate:
    law, V = LQR(task).law, riccati(task)
    level = share * sampled_limit(ClosedLoop(task, law), V).level
    return certify(task, law, V, level, budget=SearchLimits(50_000_000, 240.0, device))


def main() -> None:
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
    numbers: dict[str, object] = {"device": device, **eigenvalues(device)}
    for name, (make, share) in CLAIMS.items():
        proof(make(), 0.01, device)  # what is loaded once does not count
        for where in (None, device):
            found = proof(make(), share, where)
            print(f"{name} by {where or 'numpy'}: {found.kind}, {found.boxes:,} boxes in {found.seconds:.2f} s")
            numbers[f"{name}_{where or 'numpy'}"] = {
                "kind": str(found.kind),
                "boxes": found.boxes,
                "seconds": round(found.seconds, 3),
                "boxes_per_second": round(found.boxes / max(found.seconds, 1e-9)),
            }
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
