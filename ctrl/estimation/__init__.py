"""State estimators, each constructed from a task alone, and output feedback."""

from ctrl.estimation.constant_gain import LuenbergerObserver, SteadyKalmanFilter
from ctrl.estimation.disturbance_model import DisturbanceModel, disturbance_model
from ctrl.estimation.estimator import Estimate, Estimator
from ctrl.estimation.kalman import ExtendedKalmanFilter, KalmanFilter
from ctrl.estimation.model import EstimationModel
from ctrl.estimation.observer_loop import observer_loop
from ctrl.estimation.offset_free import OffsetFree
from ctrl.estimation.output_feedback import OutputFeedback, standard_estimator
from ctrl.estimation.unscented import UnscentedKalmanFilter

__all__ = [
    "DisturbanceModel",
    "Estimate",
    "EstimationModel",
    "Estimator",
    "ExtendedKalmanFilter",
    "KalmanFilter",
    "LuenbergerObserver",
    "OffsetFree",
    "OutputFeedback",
    "SteadyKalmanFilter",
    "UnscentedKalmanFilter",
    "disturbance_model",
    "observer_loop",
    "standard_estimator",
]
