"""Controllers of hybrid systems that are proved mode by mode."""

from ctrl.hybrid.planner import Choice, RegionPlanner
from ctrl.hybrid.references import ModeReference

__all__ = ["Choice", "ModeReference", "RegionPlanner"]
