"""The engine of many experiments: numpy where it applies, judged by the class of its refusal and not by its message."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.errors import EngineError, InputError, UsageError
from Neuron_Selection.PatchingTooling import OpenedAgent, open_agent
from tests.made_agents import mlp_agent, new_dqn, save_dqn
from tests.raised import raises


@pytest.mark.parametrize(
    ("options", "engine", "dtype", "reason"),
    [
        ({}, "numpy", "float64", "an MLP"),
        ({"engine": "numpy"}, "numpy", "float64", "an MLP"),
        ({"engine": "fast"}, "numpy", "float64", "an MLP"),
        ({"engine": "torch"}, "torch", "float64", "as requested"),
        ({"engine": "hooks"}, "torch", "float64", "as requested"),
        ({"dtype": "float32"}, "torch", "float32", "a device or dtype that numpy does not have"),
    ],
)
def test_an_mlp_is_run_by_numpy_unless_torch_is_named(
    options: dict[str, str], engine: str, dtype: str, reason: str, tmp_path: Path
) -> None:
    agent = open_agent(mlp_agent(tmp_path), **options)
    assert (agent.engine, agent.dtype, agent.engine_reason) == (engine, dtype, reason)


def test_the_definition_is_the_default_in_the_dtype_of_training(tmp_path: Path) -> None:
    agent = OpenedAgent(mlp_agent(tmp_path))
    assert (agent.engine, agent.dtype) == ("torch", "float32")


def test_a_network_that_numpy_cannot_run_is_run_by_torch_and_refused_where_numpy_is_named(tmp_path: Path) -> None:
    agent = save_dqn(tmp_path, new_dqn(spaces.Box(0, 255, (1, 36, 36), np.uint8), policy="CnnPolicy"))
    opened = open_agent(agent)
    assert (opened.engine, opened.dtype) == ("torch", "float64")
    assert opened.engine_reason == "layer features_extractor.cnn.0: found a convolution"
    with raises(
        EngineError, file="engine numpy", field="layer features_extractor.cnn.0", found="a convolution", expected=...
    ):
        open_agent(agent, engine="numpy")


def test_what_no_engine_can_run_is_raised_at_once(tmp_path: Path) -> None:
    with raises(InputError, file="none", problem="no such file or folder"):
        open_agent(tmp_path / "none")
    with raises(UsageError, field="dtype", found="'half'", expected="float32 or float64"):
        open_agent(mlp_agent(tmp_path), dtype="half")
