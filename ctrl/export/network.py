"""The C code of a network, and of a policy: a network of the observation of a task."""

from __future__ import annotations

import numpy as np

from ctrl.export.code import CodePart, fragment
from ctrl.laws.network import Network
from systems import Task
from systems.lowering.c_source import c_function
from systems.references import TabulatedReference

__all__ = ["network_part", "policy_part"]

_KINDS = ("relu", "leaky_relu", "tanh", "gelu", "identity")  # as numbered in network.c


def network_part(law: Network) -> CodePart:
    """``network(input, output)``.

    Args:
        law: the network.
    """
    widths = [law.weights[0].shape[1], *(len(b) for b in law.biases)]
    kinds = [_KINDS.index(name) for name in law.activations]
    return CodePart(
        (fragment("ctrl.export", "network.c"),),
        {
            "WIDTHS": np.array(widths),
            "ACTIVATIONS": np.array(kinds),
            "WEIGHTS": np.concatenate([W.ravel() for W in law.weights]),
            "BIASES": np.concatenate(law.biases),
        },
        {"LAYERS": len(law.weights), "WIDEST": max(widths)},
    )


def policy_part(task: Task, law: Network, reference: TabulatedReference, samples: int) -> CodePart:
    """The whole step of a policy.

    Args:
        task: gives the observation.
        law: from the observation to the input.
        reference: of the task.
        samples: from which on the last row of a reference that moves is held.

    Raises:
        NotLowerable: an observation without a form in C.
    """
    rows = [reference(k) for k in range(1 if task.reference.is_constant else samples + 1)]
    observe = c_function(task.observe_function(), "observe")
    return network_part(law) + CodePart(
        (observe, fragment("ctrl.export", "policy.c")),
        {"REFERENCE_STATE": np.array([x for x, _ in rows]), "REFERENCE_INPUT": np.array([u for _, u in rows])},
        {"REFERENCE_ROWS": len(rows), "OBSERVATIONS": len(task.observation_signals)},
    )
