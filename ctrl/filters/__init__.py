"""Safety filters around any controller or policy: it acts where that is safe, else the nearest safe input does.

``Filtered(controller, Shield(task, certificate))`` is a controller; :class:`ctrl.filters.gym.FilteredActions` does the
same in Gymnasium. :func:`with_hard_constraints` makes the constraints of a task those that a filter keeps.
"""

from ctrl.filters.filtered import Filtered
from ctrl.filters.hard import with_hard_constraints
from ctrl.filters.safety_filter import Correction, Interventions, Reason, SafetyFilter
from ctrl.filters.shield import Shield

__all__ = ["Correction", "Filtered", "Interventions", "Reason", "SafetyFilter", "Shield", "with_hard_constraints"]
