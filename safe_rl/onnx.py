"""Export of a policy to ONNX, with a JSON description of its interface."""

from __future__ import annotations

import copy
import logging
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from safe_rl.policy import Policy
from systems.arguments import expect_names, expect_number
from systems.errors import DimensionMismatch, expect
from systems.files import write, write_json


def export_onnx(
    policy: Policy,
    path: str | Path,
    *,
    observation_signals: Sequence[str] | None = None,
    action_signals: Sequence[str] | None = None,
    discount: float | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the mean action as an ONNX graph, and `<name>.json`, its interface, whose path is returned.

    The graph takes `observation` (batch, o), raw, and gives `action` (batch, m) in physical units; scaling,
    tanh and input bounds are inside. Both are float32.

    Args:
        policy: to export.
        path: of the graph.
        observation_signals, action_signals: names with units, such as "angle [rad]", for the description.
        discount, settings: of the training, for the description.

    Raises:
        InvalidValue: not a policy.
        InvalidValue, DimensionMismatch: signals that do not match the sizes of the policy, or are not names.
        ImportError: onnx or onnxscript is not installed.
    """
    expect(policy, Policy, "policy", "such as learner.result, or Policy.load(file)")
    expect(path, (str, Path), "path", "such as 'policy.onnx'")
    if discount is not None:
        expect_number(discount, "discount", least=0.0, most=1.0)
    if settings is not None:
        expect(settings, Mapping, "settings", "such as dataclasses.asdict(learner.settings)")
    path = Path(path)
    for what, signals, size in (
        ("observation", observation_signals, policy.observation_size),
        ("action", action_signals, policy.action_size),
    ):
        if signals is not None:
            expect_names(signals, f"{what}_signals")
        if signals is not None and len(signals) != size:
            raise DimensionMismatch(
                f"{what}_signals = {list(signals)}; expected {size} names, as many as the policy has"
            )
    try:
        import onnx
        import onnxscript
    except ImportError as error:
        raise ImportError(
            f"export needs {error.name}, which is not installed; pip install 'trivium-control[rl]'"
        ) from error
    example = torch.zeros(2, policy.observation_size, device=policy.observation_mean.device)
    with _without_messages_of_torch_to_itself():
        program = torch.onnx.export(
            copy.deepcopy(policy).eval(),
            (example,),
            dynamo=True,
            input_names=["observation"],
            output_names=["action"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    write(path, program.model_proto.SerializeToString())
    low, high = policy.action_centre - policy.action_half, policy.action_centre + policy.action_half
    contract = {
        "model": path.name,
        "input": {
            "name": "observation",
            "shape": ["batch", policy.observation_size],
            "type": "float32",
            "signals": None if observation_signals is None else list(observation_signals),
            "scaling": "inside",
            "mean": policy.observation_mean.tolist(),
            "std": policy.observation_std.tolist(),
        },
        "output": {
            "name": "action",
            "shape": ["batch", policy.action_size],
            "type": "float32",
            "signals": None if action_signals is None else list(action_signals),
            "low": low.tolist(),
            "high": high.tolist(),
        },
        "discount": discount,
        "settings": None if settings is None else dict(settings),
        "versions": {
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxscript": onnxscript.__version__,
            "python": platform.python_version(),
        },
    }
    contract_path = path.with_suffix(".json")
    write_json(contract_path, contract)
    return contract_path


_REGISTRATION = "torch.onnx._internal.exporter._registration"
_OPTIONAL = "torchvision is not installed"


@contextmanager
def _without_messages_of_torch_to_itself() -> Iterator[None]:
    """Within, two messages of torch's exporter are left out that no argument of ours avoids: that it registers
    operators of torchvision, which policies do not have, and that its own copies of programs use a deprecated class.
    All others are shown."""
    logger = logging.getLogger(_REGISTRATION)
    logger.addFilter(_is_relevant)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        logger.removeFilter(_is_relevant)


def _is_relevant(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_OPTIONAL)
