"""Optional parts of a report beyond the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from ctrl.robustness import Robustness
    from ctrl.sweep import Sweep

__all__ = ["Additions"]


@final
@dataclass(frozen=True, eq=False)
class Additions:
    """Results beyond a comparison.

    Args:
        robustness: of the same controllers; default: none.
        trainings: of the same learners with several seeds; default: none.
        films: whether films of a run are shown, if the plant has a drawing; default: no.
    """

    robustness: Robustness | None = None
    trainings: Sweep | None = None
    films: bool = False

    @property
    def failed(self) -> bool:
        """Whether anything stopped with an error."""
        sweeps = [] if self.robustness is None else [self.robustness.sweep]
        return any(sweep.failed for sweep in (*sweeps, *([] if self.trainings is None else [self.trainings])))
