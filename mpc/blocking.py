"""Move blocking: the inputs of a plan are held over several samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, final

import numpy as np

from systems.arguments import expect_whole
from systems.errors import InvalidValue, shown

__all__ = ["MoveBlocking"]


@final
@dataclass(frozen=True)
class MoveBlocking:
    """The inputs of a plan are constant over blocks of samples (Cagienard, Grieder, Kerrigan & Morari, 2007).

    A plan then has fewer variables for the same horizon. It is optimal among such plans. Recursive feasibility is not
    guaranteed, since the blocks shift from sample to sample.

    Args:
        lengths: samples of each block, the first one first. The last block reaches to the end of the horizon.

    Raises:
        InvalidValue: no block, or a length below 1.
    """

    lengths: Sequence[int]

    def __post_init__(self) -> None:
        if isinstance(self.lengths, str) or not isinstance(self.lengths, Sequence) or not self.lengths:
            raise InvalidValue(f"lengths = {shown(self.lengths)}; expected samples of each block, such as (1, 1, 2, 4)")
        lengths = tuple(expect_whole(length, "length of a block", least=1) for length in self.lengths)
        object.__setattr__(self, "lengths", lengths)

    @classmethod
    def control_horizon(cls, samples: int) -> Self:
        """Inputs are free for this number of samples, after which the last one is held.

        Args:
            samples: of the control horizon.
        """
        return cls((1,) * expect_whole(samples, "the control horizon", least=1, most=1_000_000))

    def blocks(self, horizon: int) -> np.ndarray:
        """The block of each of ``horizon`` samples, (horizon,), counted from 0."""
        listed = np.repeat(np.arange(len(self.lengths)), self.lengths)[:horizon]
        return np.concatenate([listed, np.full(horizon - len(listed), len(self.lengths) - 1)])

    def __str__(self) -> str:
        return (
            f"holds inputs over blocks of {', '.join(map(str, self.lengths))} samples, the last to the end of the plan"
        )
