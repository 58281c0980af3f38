"""Safety filters for any controller or policy: its input is applied if it is safe, otherwise a safe input is.

``Filtered(controller, Shield(task, certificate))`` is a controller; :class:`ctrl.filters.gym.FilteredActions` does the
same in Gymnasium. :class:`BarrierFilter` uses control barrier functions instead of a certificate.
:func:`with_hard_constraints` makes the constraints of a task hard, so that a filter enforces them.
"""

from ctrl.filters.barrier_filter import BarrierFilter
from ctrl.filters.barriers import sublevel_barrier
from ctrl.filters.filtered import Filtered
from ctrl.filters.hard import with_hard_constraints
from ctrl.filters.safety_filter import Correction, Interventions, Reason, SafetyFilter
from ctrl.filters.shield import Shield

__all__ = [
    "BarrierFilter",
    "Correction",
    "Filtered",
    "Interventions",
    "Reason",
    "SafetyFilter",
    "Shield",
    "sublevel_barrier",
    "with_hard_constraints",
]
