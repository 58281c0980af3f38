"""A policy learns to balance the cart-pole, and a region from which it does so for ever is proved.

    python -m examples.certify_policy
    python -m examples.certify_policy --share 0.5 --seconds 300

The policy is that of DSAC-T, tanh over two layers of GELUs; nothing about it was made for a proof but its width: a part
of the region costs the less the narrower the network. What is learned never rests exactly at the reference. So the
loop's own equilibrium is found, proved to exist, and the claim is about that point; V is what the loop, linearised
there, costs from a state on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from ctrl.certify import Certificate, ClosedLoop, SearchLimits, certify, cost_to_go, rest_point, sampled_limit
from ctrl.laws import Network
from systems import Task
from systems.describe import fingerprint
from systems.library import cartpole


@dataclass(frozen=True)
class Options:
    """A proved region of attraction of a learned policy on the cart-pole."""

    share: float = 0.9
    """Of the lowest level of V at which sampling finds a violation."""
    hidden: tuple[int, ...] = (32, 32)
    """Widths of the policy's layers."""
    seed: int = 0
    """Of the learner."""
    updates: int = 20_000
    """Of the learner."""
    seconds: float = 600.0
    """For the proof."""
    policies: Path = Path("runs/policies")
    """Where policies are kept, so that each is trained once."""


def learned(task: Task, hidden: tuple[int, ...], seed: int, updates: int, folder: Path) -> Network:
    """The law of a policy that DSAC-T learned, from its file or trained now."""
    from safe_rl.base.dsact import DSACT, DSACTSettings  # torch, which the proof does not need
    from safe_rl.policy import Policy

    width = "x".join(map(str, hidden))
    path = folder / f"dsact-{task.name}-{width}-seed{seed}-{updates}-{fingerprint(task)[:8]}.policy"
    if not path.exists():
        print(f"  training: DSAC-T on {task.name}, {width}, seed {seed}, {updates:,} updates", flush=True)
        learner = DSACT(task, seed=seed, settings=DSACTSettings(hidden=hidden))
        learner.learn(updates)
        folder.mkdir(parents=True, exist_ok=True)
        learner.mean_policy.save(path)
    return Policy.load(path).law()


def policy_on_cartpole(options: Options | None = None) -> tuple[Certificate, float]:
    """The certificate, and the lowest level of its V at which sampling finds a violation."""
    options = options or Options()
    task = cartpole()
    law = learned(task, options.hidden, options.seed, options.updates, options.policies)
    loop = ClosedLoop(task, law)
    rest = rest_point(loop)
    V = cost_to_go(loop, rest)
    limit = sampled_limit(loop, V).level
    budget = SearchLimits(20_000_000, options.seconds)
    return certify(task, law, V, options.share * limit, budget=budget, equilibrium="own"), limit


def main(options: Options) -> None:
    certificate, limit = policy_on_cartpole(options)
    print(certificate)
    print(
        f"  sampled     no violation found below V = {limit:.6g}; the claim is {certificate.level / limit:.2f} of that"
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
