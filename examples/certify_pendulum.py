"""A proof about the loop that runs: how large a region of attraction has the saturated regulator of a weak pendulum?

Run: python examples/certify_pendulum.py
"""

from __future__ import annotations

from ctrl import LQR
from ctrl.certify import ClosedLoop, certify, largest_level, riccati, sampled_limit
from systems.library import pendulum


def main() -> None:
    task = pendulum()
    law = LQR(task).law
    V = riccati(task)

    limit = sampled_limit(ClosedLoop(task, law), V)
    print(f"sampling finds no violation of the decrease of V below {limit.level:.4f}; that is no proof\n")
    print(largest_level(task, law, V))
    print()
    print(certify(task, law, V, level=1.01 * limit.level))


if __name__ == "__main__":
    main()
