"""Policies and functions of other libraries as controllers in a comparison."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctrl import LQR, Status, compare
from ctrl.foreign import FunctionController, from_function, from_predict
from systems import InvalidValue
from systems.library.cartpole import cartpole

ROOT = Path(__file__).parents[2]
TASK = dataclasses.replace(cartpole(), steps=20)
GAIN = LQR(TASK).K


class Model:
    """A policy in the manner of Stable-Baselines3: the regulator, with or without scaled actions."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def predict(self, observation: Any, deterministic: bool = True) -> tuple[Any, None]:
        assert deterministic
        assert observation.dtype == np.float32
        return -GAIN @ observation / self.scale, None


def test_functions_and_policies_equal_the_law_that_they_hold() -> None:
    high = TASK.input_bounds[1][0]
    compared = compare(
        TASK,
        {
            "lqr": LQR,
            "function": from_function(lambda o: -GAIN @ o),
            "predict": from_predict(Model()),
            "scaled": from_predict(Model(high), unscaled=False),
        },
        starts=4,
        workers=1,
    )
    for name in ("function", "predict", "scaled"):
        np.testing.assert_allclose(compared.runs[name].states, compared.runs["lqr"].states, atol=1e-5)


def test_no_finite_number_gives_a_status_and_wrong_shapes_are_misuse() -> None:
    broken = FunctionController(TASK, lambda o: np.full(1, np.nan))
    decision = broken.step(np.zeros(4), 0)
    assert decision.status is Status.NUMERICAL
    assert np.isfinite(decision.input).all()
    with pytest.raises(InvalidValue, match="expected 1 numbers: force"):
        FunctionController(TASK, lambda o: np.zeros(2)).step(np.zeros(4), 0)
    with pytest.raises(InvalidValue, match="expected something with predict"):
        from_predict(3)  # type: ignore[arg-type]


def test_a_torch_network_and_its_onnx_file(tmp_path: Path) -> None:
    torch, runtime = pytest.importorskip("torch"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    network = torch.nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        network.weight[:] = torch.as_tensor(-GAIN)
    node = helper.make_node("MatMul", ["o", "K"], ["u"])
    graph = helper.make_graph(
        [node], "law", [helper.make_tensor_value_info("o", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("u", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(-GAIN.T.astype(np.float32), "K")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "law.onnx")
    session = runtime.InferenceSession(str(tmp_path / "law.onnx"))
    compared = compare(
        TASK,
        {
            "lqr": LQR,
            "torch": from_function(lambda o: network(torch.as_tensor(o)).detach().numpy()),
            "onnx": from_function(lambda o: session.run(None, {"o": o[None]})[0][0]),
        },
        starts=3,
        workers=1,
    )
    for name in ("torch", "onnx"):
        np.testing.assert_allclose(compared.runs[name].states, compared.runs["lqr"].states, atol=1e-5)


GYMNASIUM = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1:]:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, Absent())
try:
    import gymnasium
except ImportError:
    import systems.envs.registration
made = gymnasium.make("systems.envs.registration:trivium/double-integrator-v0")
print(made.reset(seed=0)[0].shape, gymnasium.make("trivium/double-integrator-v0").spec.id)
"""


@pytest.mark.parametrize(
    ("absent", "said"),
    [("torch", "(2,) trivium/double-integrator-v0"), ("gymnasium", "GymnasiumMissing: .* need Gymnasium: pip install")],
)
def test_gymnasium_finds_tasks_by_name_in_a_new_process(absent: str, said: str) -> None:
    """Without any step before it, and without torch."""
    pytest.importorskip("gymnasium")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", GYMNASIUM, absent], env=env, capture_output=True, text=True, check=False
    )
    assert re.search(said if "pip" in said else re.escape(said), done.stdout + done.stderr), done.stderr


def test_tasks_are_environments_of_gymnasium() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    from systems.envs.registration import make

    environment = gymnasium.make("trivium/cartpole-v0")
    observation, info = environment.reset(seed=0)
    assert observation.shape == (4,)
    assert info["state"].shape == (4,)
    assert len(environment.step(environment.action_space.sample())) == 5
    with pytest.raises(InvalidValue, match=r"unknown task 'carpole'; expected one of .*cartpole"):
        make("carpole")
