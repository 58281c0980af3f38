"""Trains a network that predicts the active constraints of a multi-modal MPC from recorded duals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mpc.reduction.dual_network import DualNetwork, DualRecorder
from safe_rl.optimiser import Adam, decayed
from systems import InvalidValue
from systems.arguments import expect_number, expect_seed, expect_whole
from systems.errors import expect

__all__ = ["train_dual_network"]

_BATCH = 256


def train_dual_network(
    records: DualRecorder,
    hidden: Sequence[int] = (64, 64),
    updates: int = 2_000,
    learning_rate: float = 3e-3,
    threshold: float = 0.1,
    seed: int = 0,
) -> DualNetwork:
    """Fits the probabilities that cones are active to recorded duals, by cross-entropy with Adam.

    A wrong prediction costs time but never changes a decision, because constraint generation adds missing cones.

    Args:
        records: of runs of the controller.
        hidden: units of the hidden layers.
        updates: of the weights.
        learning_rate: of Adam, which decreases to a tenth.
        threshold: probability above which the network predicts that a cone is active.
        seed: of the first weights and the batches.

    Raises:
        InvalidValue: no records, or a number out of its range.
    """
    expect(records, DualRecorder, "records", "such as DualRecorder(controller) after some runs")
    expect_number(threshold, "threshold", above=0.0, below=1.0)
    expect_whole(updates, "updates", least=1)
    expect_number(learning_rate, "learning_rate", above=0.0)
    expect(hidden, (list, tuple), "hidden", "such as (64, 64)")
    sizes = [expect_whole(units, "hidden", least=1) for units in hidden]
    if records.shape is None:
        raise InvalidValue("the recorder holds no records; simulate runs with it first")
    generator = torch.Generator().manual_seed(expect_seed(seed))
    inputs = np.array(records.inputs)
    mean, scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-3)
    x = torch.tensor((inputs - mean) / scale, dtype=torch.float32)
    y = torch.zeros(len(x), int(np.prod(records.shape)))
    for row, numbers in zip(y, records.active, strict=True):
        row[torch.as_tensor(numbers, dtype=torch.long)] = 1.0
    layers = [x.shape[1], *sizes, y.shape[1]]
    parameters: list[Tensor] = []
    for fan_in, units in pairwise(layers):
        for shape in ((units, fan_in), (units,)):
            drawn = (2.0 * torch.rand(shape, generator=generator) - 1.0) * fan_in**-0.5
            parameters.append(drawn.requires_grad_())
    optimiser = Adam([(parameters, learning_rate)])
    for update in range(updates):
        batch = torch.randint(len(x), (min(_BATCH, len(x)),), generator=generator)
        values = x[batch]
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            values = torch.relu(F.linear(values, weight, bias))
        logits = F.linear(values, parameters[-2], parameters[-1])
        loss = F.binary_cross_entropy_with_logits(logits, y[batch], reduction="sum") / len(batch)
        gradients = torch.autograd.grad(loss, parameters)
        optimiser.step(gradients, decayed(update, updates))
    arrays = [p.detach().double().numpy() for p in parameters]
    return DualNetwork(records.shape, mean, scale, arrays[::2], arrays[1::2], threshold)
