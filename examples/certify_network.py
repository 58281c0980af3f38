"""A network is trained to balance the torque-limited pendulum, and the region from which it does so is proved.

    python examples/certify_network.py

Training is gradient descent through the simulated closed loop, in torch, on the very plant that is then proved about:
the same CasADi expression, lowered to torch for one and to outward-rounded intervals for the other. The Lyapunov
function is a polynomial with the pendulum's energies, fitted to where simulated runs arrive; branch and bound has the
last word.
"""

from __future__ import annotations

from ctrl.certify import ClosedLoop, SearchLimits, largest_level, riccati
from ctrl.certify.candidates.fit import fitted, sampled_basin
from safe_rl.model_gradient import train_through_model
from systems.library import pendulum
from systems.library.pendulum import energies


def main() -> None:
    task = pendulum()
    print("training")
    law = train_through_model(task, report=print)
    loop = ClosedLoop(task, law)
    print("region of attraction")
    ellipse = largest_level(task, law, riccati(task), resolution=0.02, budget=SearchLimits(seconds=20))
    print(f"  the regulator's ellipse: {ellipse.kind}, area {ellipse.volume:.4g}")
    basin = sampled_basin(loop, *task.domain_bounds)
    print(f"  sampled: area {basin.volume:.4g} of 576")
    V = fitted(loop, 4, basin, share=0.6, margin=1e-3, rounds=10, features=energies())
    print(largest_level(task, law, V, resolution=5e-3, budget=SearchLimits(5_000_000, 120)))


if __name__ == "__main__":
    main()
