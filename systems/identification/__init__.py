"""Models from data. Whatever is fitted is a plant, with the covariance of what it leaves unexplained."""

from systems.identification.csv_file import read_csv
from systems.identification.grey_box import ParameterFit, fit_parameters
from systems.identification.runs import Runs

__all__ = ["ParameterFit", "Runs", "fit_parameters", "read_csv"]
