"""Lowering to torch: batched, on any device, in any floating type, differentiable by autograd."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from systems.lowering.calls import call
from systems.lowering.emit import ELEMENTARY, INVERSE, OPERATORS, Arithmetic, calls, emit
from systems.lowering.fuse import fused
from systems.lowering.guards import guarded
from systems.lowering.program import NotLowerable, Program


def _call(function: Any, output: int, arguments: tuple[Tensor | float, ...]) -> Any:
    """A CasADi function on tensors, evaluated by way of numpy and without a gradient.

    Raises:
        NotLowerable: a gradient is requested.
    """
    tensors = [a for a in arguments if isinstance(a, Tensor)]
    if torch.is_grad_enabled() and any(a.requires_grad for a in tensors):
        raise NotLowerable(
            f"a gradient was requested through '{function.name()}' ({function.class_name()}), which torch cannot give; "
            "write a look-up table as casadi.pw_lin"
        )
    value = call(function, output, [a.detach().cpu().numpy() if isinstance(a, Tensor) else a for a in arguments])
    return torch.as_tensor(value, dtype=tensors[0].dtype, device=tensors[0].device) if tensors else float(value)


ARITHMETIC = Arithmetic(
    name="torch",
    templates={
        **OPERATORS,
        **calls((*ELEMENTARY, *INVERSE, "erf", "erfinv"), "torch."),
        **calls(("atan2", "fmin", "fmax", "fmod", "copysign", "hypot"), "torch.", arguments=2),
        "sq": "{0} * {0}",
        "fabs": "torch.abs({0})",
        "pow": "{0} ** {1}",
        "constpow": "{0} ** {1}",
        "truth": "{0} != 0",
        "real": "{0}.to(like.dtype)",
        "where": "torch.where({0}, {1}, {2})",
        "mask": "torch.where({0}, {1}, {1}.detach())",
        "muladd": "torch.addcmul({0}, {1}, {2})",
        "mulsub": "torch.addcmul({0}, {1}, {2}, value=-1)",
        "call": "",  # written by emit
        "share": "0.5 * (({0} <= {1}).to(like.dtype) - ({1} <= {0}).to(like.dtype) + 1.0)",
    },
    namespace={"torch": torch, "call": _call},
    # Constants are zero-dimensional tensors, created once per type and device: a Python number takes as long again as
    # the operation it takes part in.
    constant="c['{0}']",
    extra=("c", "like"),
    component="{0}[{1}]",
)
# Powers keep exponents as Python numbers, for which torch has fast paths.
_NUMBERS_STAY = frozenset({"pow", "constpow"})
ARITHMETIC = replace(ARITHMETIC, arrays=frozenset(ARITHMETIC.templates) - _NUMBERS_STAY)


@final
class TorchFunction:
    """A CasADi function on tensors: `f(x, u)` with tensors `(..., n)` whose batches broadcast.

    Returns one tensor `(..., m)` (`(..., r, c)` for a matrix), or a tuple of them when there are several
    outputs, of the inputs' floating type and on their device; its components are contiguous in memory.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        rewritten = fused(guarded(program))
        self._run, self.source = emit(rewritten, ARITHMETIC)
        self._numbers = {repr(a) for i in rewritten.instructions if i.op != "input" for a in i.args}
        self._constants: dict[tuple[torch.dtype, torch.device], dict[str, Tensor]] = {}

    def __call__(self, *inputs: Any) -> Any:
        tensors = [torch.as_tensor(a) for a in inputs]
        batch = self.program.batch([tuple(a.shape) for a in tensors])
        like = _like(tensors)
        components = [
            _in(a, like).unbind(-1) if len(port.shape) == 1 else _in(a, like)
            for a, port in zip(tensors, self.program.inputs, strict=True)
        ]
        results = self._run(*components, self._placed(like), like)
        outputs = [
            _assemble(components, port.shape, batch, like)
            for components, port in zip(results, self.program.outputs, strict=True)
        ]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _placed(self, like: Tensor) -> dict[str, Tensor]:
        """The constants as tensors of this type on this device."""
        key = like.dtype, like.device
        if key not in self._constants:
            with torch.inference_mode(False):  # a tensor created there could never take part in a gradient
                self._constants[key] = {
                    number: torch.full((), float(number), dtype=like.dtype, device=like.device)
                    for number in self._numbers
                }
        return self._constants[key]


def _in(a: Tensor, like: Tensor) -> Tensor:
    return a if a.dtype == like.dtype and a.device == like.device else a.to(like)


def _like(tensors: list[Tensor]) -> Tensor:
    """A tensor with the type and on the device to compute with."""
    used = [a for a in tensors if a.is_floating_point() and a.shape[-1:] != (0,)]
    if not used:
        return torch.empty(0, dtype=torch.get_default_dtype(), device=tensors[0].device if tensors else None)
    dtype = used[0].dtype
    for a in used[1:]:
        if a.dtype != dtype:
            dtype = torch.promote_types(dtype, a.dtype)
    return used[0] if used[0].dtype == dtype else torch.empty(0, dtype=dtype, device=used[0].device)


def _assemble(components: tuple[Any, ...], shape: tuple[int, ...], batch: tuple[int, ...], like: Tensor) -> Tensor:
    if not components:
        return like.new_empty((*batch, *shape))
    parts = [c if isinstance(c, Tensor) else like.new_full((), c) for c in components]
    # The signal is the slowest axis in memory, so that components stay contiguous from step to step.
    out = torch.stack([part if part.shape == batch else part.expand(batch) for part in parts])
    return out.movedim(0, -1) if len(shape) == 1 else out.unflatten(0, shape).movedim((0, 1), (-2, -1))
