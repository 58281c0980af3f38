"""Actuator dynamics: limits and weights on the change of inputs, dead time, first-order lag, rates as inputs."""

from systems.inputs.changes import limit_changes
from systems.inputs.dead_time import delay_inputs
from systems.inputs.lag import lag_inputs
from systems.inputs.rates import rates_as_inputs

__all__ = ["delay_inputs", "lag_inputs", "limit_changes", "rates_as_inputs"]
