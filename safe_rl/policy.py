"""The tanh-Gaussian policy, with the scaling of observations and the input bounds inside."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ctrl.laws.network import Activation, Network
from ctrl.laws.residual import Residual
from ctrl.laws.saturated_linear import SaturatedLinear
from safe_rl.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from safe_rl.environment import expect_action_bounds
from safe_rl.networks import MLP
from systems.arguments import expect_whole, is_whole
from systems.errors import DimensionMismatch, InvalidValue, expect, shown

LOG_STD_RANGE = (-20.0, 0.5)  # Duan et al. (2023), as in the authors' code
_HALF_LOG_2PI = 0.9189385332046727
_LOG_2 = 0.6931471805599453
_SMALL = 0.01  # factor on the last layer of a residual policy at first


@final
class Regulator(nn.Module):
    """The law that a residual policy corrects, u = clip(u_ref - K (x - x_ref)), and the share it may add.

    Args:
        law: of the state, which the policy observes.
        unit: range of an action of size 1, as a share of half the input's range.
        device: where it lives.
    """

    K: Tensor
    x_ref: Tensor
    u_ref: Tensor
    unit: Tensor
    share: Tensor

    def __init__(self, law: SaturatedLinear, unit: float, device: torch.device) -> None:
        super().__init__()
        for name, array in (("K", law.K), ("x_ref", law.x_ref), ("u_ref", law.u_ref)):
            self.register_buffer(name, torch.tensor(array, dtype=torch.float64, device=device))
        self.register_buffer("unit", torch.tensor(unit, dtype=torch.float32, device=device))
        self.register_buffer("share", torch.tensor(unit, dtype=torch.float32, device=device))

    def forward(self, observation: Tensor) -> Tensor:
        """Unclipped inputs (..., m), in 64 bits, so that without a correction they equal those of the regulator."""
        away = observation.to(torch.float64) - self.x_ref
        return self.u_ref - (away.unsqueeze(-2) * self.K).sum(dim=-1)


@final
class Policy(nn.Module):
    """u = centre + half * tanh(mean(z) + std(z) * noise), z = (observation - mean) / std.

    As a residual policy (`with_regulator`), u = clip(regulator(observation) + share * half * tanh(...)), and actions
    are in units of `regulator.unit * half`, so that stored actions stay valid when the share grows.

    Contains everything from the raw observation to the input in physical units, so it can be exported as one object.
    `act` and `forward` take the mean action.

    Args:
        observation_size: o.
        action_low, action_high: (m,), physical units, finite.
        hidden: widths of the hidden layers.
        generator: of the initial weights; its device is the policy's.
    """

    observation_mean: Tensor
    observation_std: Tensor
    action_centre: Tensor
    action_half: Tensor

    def __init__(
        self,
        observation_size: int,
        action_low: Tensor,
        action_high: Tensor,
        hidden: Sequence[int],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        for name, bound in (("action_low", action_low), ("action_high", action_high)):
            if not isinstance(bound, Tensor) or bound.ndim != 1 or bound.is_complex():
                raise InvalidValue(f"{name} = {shown(bound)}; expected a tensor of real numbers (m,)")
        if action_low.shape != action_high.shape:
            raise DimensionMismatch(f"action_low {tuple(action_low.shape)}, action_high {tuple(action_high.shape)}")
        expect_action_bounds(action_low.cpu(), action_high.cpu(), "a policy")
        expect(generator, torch.Generator, "the generator of a policy", "such as torch.Generator().manual_seed(0)")
        if not isinstance(hidden, (list, tuple)) or not all(is_whole(width) and width >= 1 for width in hidden):
            raise InvalidValue(f"hidden = {shown(hidden)}; expected whole numbers of at least 1, such as (64, 64)")
        self.hidden = tuple(hidden)
        self.observation_size = expect_whole(observation_size, "observation_size", least=1)
        self.action_size = action_low.shape[0]
        device = generator.device
        self.network = MLP([observation_size, *hidden, 2 * self.action_size], generator)
        low, high = action_low.to(device, torch.float32), action_high.to(device, torch.float32)
        self.register_buffer("observation_mean", torch.zeros(observation_size, device=device))
        self.register_buffer("observation_std", torch.ones(observation_size, device=device))
        self.register_buffer("action_centre", (high + low) / 2)
        self.register_buffer("action_half", (high - low) / 2)
        self.regulator: Regulator | None = None
        self.filtered_by = ""
        """The safety filter that it was trained with, in words; empty without one."""

    def with_regulator(self, law: SaturatedLinear, unit: float) -> None:
        """Makes the policy a residual on a regulator, and small: the last layer of its mean is nearly zero."""
        if law.K.shape != (self.action_size, self.observation_size):
            raise DimensionMismatch(
                f"the regulator's gain has shape {law.K.shape}; the policy has {self.action_size} actions and "
                f"{self.observation_size} observations"
            )
        self.regulator = Regulator(law, unit, self.action_half.device)
        self.scale_mean(_SMALL)

    @torch.no_grad()
    def scale_mean(self, factor: float) -> None:
        """Multiplies the mean before the tanh."""
        self.network.weights[-1][: self.action_size] *= factor
        self.network.biases[-1][: self.action_size] *= factor

    def scale(self, observation: Tensor) -> Tensor:
        """Scales raw observations."""
        return (observation - self.observation_mean) / self.observation_std

    def physical(self, action: Tensor, observation: Tensor | None = None) -> Tensor:
        """Normalised actions in [-1, 1] in physical units; for a residual policy, at these raw observations."""
        if self.regulator is None:
            return torch.addcmul(self.action_centre, self.action_half, action)
        assert observation is not None
        low, high = self.action_centre - self.action_half, self.action_centre + self.action_half
        base = torch.minimum(torch.maximum(self.regulator(observation), low), high)
        u = base + self.regulator.unit * self.action_half * action
        return torch.minimum(torch.maximum(u, low), high).to(action.dtype)

    def normalised(self, u: Tensor) -> Tensor:
        """The inverse of `physical`, except for residual policies: inputs in physical units to actions in [-1, 1]."""
        return ((u - self.action_centre) / self.action_half).clamp(-1.0, 1.0)

    def _squashed(self, before: Tensor) -> Tensor:
        """Normalised actions: in [-1, 1], or within the share of a residual policy."""
        action = torch.tanh(before)
        return action if self.regulator is None else action * (self.regulator.share / self.regulator.unit)

    def sample(self, scaled: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised action (..., m) and its log-density (...,), reparametrised by standard normal `noise`.

        `scaled` are scaled observations. With v the action before the tanh, log(1 - tanh(v)^2) is written as
        2 (log 2 - v - softplus(-2 v)), which does not lose digits where tanh saturates.
        """
        before, log_std = self._gaussian(scaled, noise)
        # torch's softplus(v, beta) is log(1 + exp(beta v)) / beta, so softplus(-2 v) = -2 softplus(v, -2).
        squash = torch.sub(before, F.softplus(before, beta=-2), alpha=2)
        negative = torch.add(torch.sub(log_std, squash, alpha=2), noise.square(), alpha=0.5)
        constant = self.action_size * (2.0 * _LOG_2 + _HALF_LOG_2PI)
        return self._squashed(before), -constant - negative.sum(dim=-1)

    def log_density(self, scaled: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (...,) of the actions tanh(before), and the entropy (...,) of the distribution of `before`."""
        mean, log_std = self.network(scaled).chunk(2, dim=-1)
        log_std = log_std.clamp(*LOG_STD_RANGE)
        squash = 2.0 * (_LOG_2 - before - F.softplus(-2.0 * before))
        deviate = (before - mean) * torch.exp(-log_std)
        log_density = (-0.5 * deviate.square() - log_std - _HALF_LOG_2PI - squash).sum(dim=-1)
        return log_density, (log_std + 0.5 + _HALF_LOG_2PI).sum(dim=-1)

    def sample_action(self, scaled: Tensor, noise: Tensor) -> Tensor:
        """As `sample`, without the log-density."""
        return self._squashed(self._gaussian(scaled, noise)[0])

    def _gaussian(self, scaled: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.network(scaled).chunk(2, dim=-1)
        log_std = log_std.clamp(*LOG_STD_RANGE)
        return torch.addcmul(mean, log_std.exp(), noise), log_std

    def forward(self, observation: Tensor) -> Tensor:
        """Mean action in physical units: (..., o) -> (..., m)."""
        mean = self.network(self.scale(observation))[..., : self.action_size]
        return self.physical(self._squashed(mean), observation)

    @torch.no_grad()
    def act(self, observation: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Action in physical units, (..., o) -> (..., m): the mean action, or a sample if a generator is given."""
        expect(observation, Tensor, "the observation of a policy", "such as torch.zeros(8, observation_size)")
        if observation.shape[-1:] != (self.observation_size,):
            raise DimensionMismatch(
                f"observation of shape {tuple(observation.shape)}; expected (..., {self.observation_size})"
            )
        observation = observation.to(self.observation_mean)
        if generator is None:
            return self(observation)
        shape = (*observation.shape[:-1], self.action_size)
        noise = torch.randn(shape, generator=generator, device=generator.device, dtype=observation.dtype)
        return self.physical(self.sample_action(self.scale(observation), noise), observation)

    def law(self) -> Network | Residual:
        """A frozen copy of the mean action, (..., o) -> (..., m), in numpy and float64.

        It takes microseconds per call and has enclosures, so the function that runs is the one that is certified.
        """

        def array(tensor: Tensor) -> NDArray[np.float64]:
            return tensor.detach().cpu().numpy().astype(np.float64)

        weights = [array(w) for w in self.network.weights]
        biases = [array(b) for b in self.network.biases]
        m = self.action_size
        weights[-1], biases[-1] = weights[-1][:m], biases[-1][:m]
        # The scaling is affine; folded into the first layer, it takes no time.
        std = array(self.observation_std)
        biases[0] = biases[0] - weights[0] @ (array(self.observation_mean) / std)
        weights[0] = weights[0] / std
        activations: list[Activation] = ["gelu" for _ in self.hidden]
        activations += ["tanh", "identity"]
        centre, half = array(self.action_centre), array(self.action_half)
        regulator = self.regulator
        if regulator is None:
            return Network((*weights, np.diag(half)), (*biases, centre), tuple(activations))
        low, high = (
            array(bound) for bound in (self.action_centre - self.action_half, self.action_centre + self.action_half)
        )
        K, x_ref, u_ref = (array(part) for part in (regulator.K, regulator.x_ref, regulator.u_ref))
        span = float(regulator.share) * half
        correction = Network((*weights, np.diag(span)), (*biases, np.zeros(m)), tuple(activations))
        return Residual(SaturatedLinear(K, x_ref, u_ref, low, high), correction, low, high)

    def save(self, path: str | Path) -> None:
        """Writes the policy alone (no learner, no replay memory) to a file that `Policy.load` reads."""
        write_checkpoint(path, "policy", self.content())

    def content(self) -> dict[str, Any]:
        """Sizes and tensors from which `of_content` constructs the same policy."""
        sizes = {"observation_size": self.observation_size, "hidden": list(self.hidden), "state": self.state_dict()}
        return sizes | ({"filtered_by": self.filtered_by} if self.filtered_by else {})

    @staticmethod
    def load(path: str | Path) -> Policy:
        """Reads a policy written by `save`; raises CheckpointError if that fails."""
        content = read_checkpoint(path, "policy")
        try:
            return Policy.of_content(content)
        except Exception as error:  # a checksum can be made for any content
            raise CheckpointError(f"{path}: not a valid policy: {error}; save the policy again") from error

    @staticmethod
    def of_content(content: dict[str, Any]) -> Policy:
        """The policy of a file's content, on the CPU.

        Sizes are taken from its tensors alone, so that no file can claim more memory than it contains.
        """
        state = content["state"]
        for name, tensor in state.items():
            kind = torch.float64 if name in ("regulator.K", "regulator.x_ref", "regulator.u_ref") else torch.float32
            if tensor.dtype != kind or not tensor.numel() or not bool(torch.isfinite(tensor).all()):
                raise ValueError(
                    f"{name} is of type {tensor.dtype} and size {tuple(tensor.shape)}; expected finite {kind}"
                )
        half, centre = state["action_half"], state["action_centre"]
        biases = [state[f"network.biases.{k}"] for k in range(len(content["hidden"]) + 1)]
        sizes = [len(state["observation_mean"]), *(len(bias) for bias in biases)]
        shapes = [tuple(state[f"network.weights.{k}"].shape) for k in range(len(biases))]
        if [sizes[0], sizes[1:-1]] != [content["observation_size"], content["hidden"]] or shapes != [
            (to, of) for of, to in pairwise(sizes)
        ]:
            raise ValueError(f"weights of shapes {shown(shapes)} for layers of {shown(content['hidden'])}")
        if not bool((state["observation_std"] > 0).all()):
            raise ValueError("observation_std has entries that are not positive")
        policy = Policy(sizes[0], centre - half, centre + half, sizes[1:-1], torch.Generator())
        if "regulator.K" in state:
            K, x_ref, u_ref = (state[f"regulator.{name}"].numpy() for name in ("K", "x_ref", "u_ref"))
            bound = np.full(len(u_ref), np.inf)
            policy.with_regulator(SaturatedLinear(K, x_ref, u_ref, -bound, bound), 1.0)
            unit, share = (float(state[f"regulator.{name}"]) for name in ("unit", "share"))
            if not (0.0 < unit <= 1.0 and 0.0 <= share <= 1.0):
                raise ValueError(f"regulator.unit is {unit} and regulator.share is {share}; expected shares")
        policy.load_state_dict(state)
        expect(content.get("filtered_by", ""), str, "filtered_by", "a description of the filter")
        policy.filtered_by = content.get("filtered_by", "")
        return policy
