"""What a report shows beyond the comparison, where it was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from ctrl.robustness import Robustness

__all__ = ["Additions"]


@final
@dataclass(frozen=True, eq=False)
class Additions:
    """Results beyond a comparison.

    Args:
        robustness: of the same controllers; default: none.
    """

    robustness: Robustness | None = None

    @property
    def failed(self) -> bool:
        """Whether anything stopped with an error."""
        return self.robustness is not None and bool(self.robustness.sweep.failed)
