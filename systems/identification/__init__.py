"""Models from data: every fit returns a plant with the covariance of its errors."""

from systems.identification.csv_file import read_csv
from systems.identification.gaussian_process import GaussianProcess, Kernel
from systems.identification.grey_box import ParameterFit, fit_parameters
from systems.identification.lagrangian_network import Context, LagrangianFit, LagrangianNetwork, fit_lagrangian
from systems.identification.lagrangian_plant import LagrangianPlant
from systems.identification.learned_plant import LearnedPlant
from systems.identification.linear_fit import LinearFit, fit_linear
from systems.identification.neural_network import NeuralNetwork
from systems.identification.poles import Poles
from systems.identification.random_features import RandomFeatures
from systems.identification.residual import ResidualFit, fit_residual
from systems.identification.runs import Runs
from systems.identification.sparse import SparseFit, fit_sparse
from systems.identification.sparse_gaussian_process import SparseGaussianProcess
from systems.identification.subspace import SubspaceFit, fit_subspace
from systems.identification.terms import polynomials
from systems.identification.validation import Validation, validate

__all__ = [
    "Context",
    "GaussianProcess",
    "Kernel",
    "LagrangianFit",
    "LagrangianNetwork",
    "LagrangianPlant",
    "LearnedPlant",
    "LinearFit",
    "NeuralNetwork",
    "ParameterFit",
    "Poles",
    "RandomFeatures",
    "ResidualFit",
    "Runs",
    "SparseFit",
    "SparseGaussianProcess",
    "SubspaceFit",
    "Validation",
    "fit_lagrangian",
    "fit_linear",
    "fit_parameters",
    "fit_residual",
    "fit_sparse",
    "fit_subspace",
    "polynomials",
    "read_csv",
    "validate",
]
