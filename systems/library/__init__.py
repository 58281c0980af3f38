"""Plants of the literature, one per file, and functions that return their standard tasks."""

from systems.library.ball_and_plate import BallAndPlate, ball_and_plate, ball_and_plate_axis, ball_and_plate_linear
from systems.library.bandit import Bandit, bandit
from systems.library.battery import Battery, battery
from systems.library.cartpole import CartPole, cartpole, cartpole_swing_up, cartpole_track
from systems.library.cstr import StirredTank, stirred_tank
from systems.library.double_integrator import DoubleIntegrator, braking, double_integrator, effort_budget
from systems.library.driving import Highway, driving
from systems.library.greenhouse import Greenhouse, greenhouse
from systems.library.heat_pump import HeatPump, heat_pump
from systems.library.intersection import Intersection, intersection
from systems.library.oscillating_masses import OscillatingMasses, oscillating_masses
from systems.library.path_tracking import PathTracking, lane_bound, path_tracking
from systems.library.pendulum import Pendulum, pendulum, pendulum_swing_up
from systems.library.planar_quadrotor import PlanarQuadrotor, planar_quadrotor
from systems.library.quadrotor import Quadrotor, quadrotor, quadrotor_error_coordinates
from systems.library.quadrotor_in_wind import QuadrotorInWind, quadrotor_in_wind
from systems.library.rocket import Rocket, rocket_landing
from systems.library.segway import Segway, segway
from systems.library.single_track import DynamicCar, KinematicCar, dynamic_car, kinematic_car
from systems.library.van_der_pol import ReversedVanDerPol, VanDerPol, van_der_pol, van_der_pol_reversed

__all__ = [
    "BallAndPlate",
    "Bandit",
    "Battery",
    "CartPole",
    "DoubleIntegrator",
    "DynamicCar",
    "Greenhouse",
    "HeatPump",
    "Highway",
    "Intersection",
    "KinematicCar",
    "OscillatingMasses",
    "PathTracking",
    "Pendulum",
    "PlanarQuadrotor",
    "Quadrotor",
    "QuadrotorInWind",
    "ReversedVanDerPol",
    "Rocket",
    "Segway",
    "StirredTank",
    "VanDerPol",
    "ball_and_plate",
    "ball_and_plate_axis",
    "ball_and_plate_linear",
    "bandit",
    "battery",
    "braking",
    "cartpole",
    "cartpole_swing_up",
    "cartpole_track",
    "double_integrator",
    "driving",
    "dynamic_car",
    "effort_budget",
    "greenhouse",
    "heat_pump",
    "intersection",
    "kinematic_car",
    "lane_bound",
    "oscillating_masses",
    "path_tracking",
    "pendulum",
    "pendulum_swing_up",
    "planar_quadrotor",
    "quadrotor",
    "quadrotor_error_coordinates",
    "quadrotor_in_wind",
    "rocket_landing",
    "segway",
    "stirred_tank",
    "van_der_pol",
    "van_der_pol_reversed",
]
