"""The C code of a network, and of a policy: a network of the observation of a task."""

from __future__ import annotations

import numpy as np

from ctrl.export.code import CodePart, Member, NotExportable, fragment
from ctrl.export.regulator import regulator_part
from ctrl.laws.network import Network
from ctrl.laws.residual import Residual
from ctrl.laws.saturated_linear import SaturatedLinear
from systems import Task
from systems.lowering.c_source import c_function
from systems.measured_history import MeasuredHistory
from systems.references import TabulatedReference

__all__ = ["measured_policy_part", "network_part", "policy_part", "residual_part"]

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


def residual_part(task: Task, law: Residual, reference: TabulatedReference) -> CodePart:
    """The whole step of a residual policy.

    Args:
        task: with a constant reference, whose state is observed.
        law: a network on a saturated linear law.
        reference: of the task.

    Raises:
        NotExportable: laws of another kind.
    """
    base, correction = law.base, law.correction
    if not (isinstance(base, SaturatedLinear) and isinstance(correction, Network)):
        raise NotExportable("a Residual has a form in C if a Network corrects a SaturatedLinear law")
    x_ref, u_ref = reference(0)
    observe = c_function(task.observe_function(), "observe")
    regulator = regulator_part(lambda _: (base.K, base.x_ref, base.u_ref), 0, task.plant.state)
    return (
        regulator
        + network_part(correction)
        + CodePart(
            (observe, fragment("ctrl.export", "residual.c")),
            {"REFERENCE_STATE": np.array([x_ref]), "REFERENCE_INPUT": np.array([u_ref])},
            {"OBSERVATIONS": len(task.observation_signals)},
        )
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


def measured_policy_part(task: Task, law: Network, reference: TabulatedReference, samples: int) -> CodePart:
    """The whole step of a policy of measured signals, with what it remembers of them.

    Args:
        task: with a measurement, which learners observe.
        law: from the observation to the input.
        reference: of the task.
        samples: from which on the last row of a reference that moves is held.
    """
    rows = [reference(k) for k in range(1 if task.reference.is_constant else samples + 1)]
    history, past, m = MeasuredHistory(task), task.past, len(task.plant.input)
    p = len(history.before)
    return network_part(law) + CodePart(
        (fragment("ctrl.export", "measured_policy.c"),),
        {
            "REFERENCE_STATE": np.array([x for x, _ in rows]),
            "REFERENCE_INPUT": np.array([u for _, u in rows]),
            "BEFORE": history.before,
            "FIRST_INPUT": history.first_input,
            "AGED": np.isin(np.arange(p), history.aged).astype(int),
        },
        {
            "REFERENCE_ROWS": len(rows),
            "OBSERVATIONS": len(task.observation_signals),
            "PAST": past,
            "MOVING": 0 if task.reference.is_constant else len(task.plant.state),
        },
        (
            Member("double", "values", (past + 1) * p, "last reported values at each sample, newest first"),
            Member("double", "ages", p, "samples since the last report of each signal"),
            Member("double", "inputs", past * m, "of the samples before, newest first"),
            Member("double", "applied", m, "the last decision"),
            Member("int", "begun", None, "whether there was a sample in this run"),
        ),
    )
