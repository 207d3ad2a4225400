"""Which engine runs many experiments: the numpy one where it applies, by the class of its refusal and not its words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.errors import EngineError, InputError, UsageError
from Neuron_Selection.ExperimentTooling.engine_choice import open_for_experiments
from tests.made_agents import mlp_agent, new_dqn, save_dqn


@pytest.mark.parametrize(
    ("options", "engine", "dtype", "reason"),
    [
        ({}, "fast", "float64", "an MLP"),
        ({"engine": "fast"}, "fast", "float64", "an MLP"),
        ({"engine": "hooks"}, "hooks", "float64", "as asked for"),
        ({"dtype": "float32"}, "hooks", "float32", "a device or dtype that only hooks have"),
    ],
)
def test_an_mlp_goes_by_numpy_unless_hooks_are_asked_for(
    options: dict[str, str], engine: str, dtype: str, reason: str, tmp_path: Path
) -> None:
    opened, told = open_for_experiments(mlp_agent(tmp_path), **options)
    assert (opened.engine_name, opened.dtype, told) == (engine, dtype, reason)


def test_a_network_that_numpy_cannot_run_goes_by_hooks_and_by_nothing_where_numpy_was_asked_for(tmp_path: Path) -> None:
    agent = save_dqn(tmp_path, new_dqn(spaces.Box(0, 255, (1, 36, 36), np.uint8), policy="CnnPolicy"))
    opened, told = open_for_experiments(agent)
    assert (opened.engine_name, opened.dtype) == ("hooks", "float64")
    assert told == "layer features_extractor.cnn.0: found a convolution"
    with pytest.raises(EngineError, match="engine fast: layer features_extractor.cnn.0: found a convolution"):
        open_for_experiments(agent, engine="fast")


def test_what_no_engine_can_mend_is_raised_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        open_for_experiments(tmp_path / "none")
    with pytest.raises(UsageError, match="dtype: found 'half'") as caught:
        open_for_experiments(mlp_agent(tmp_path), dtype="half")
    assert not isinstance(caught.value, EngineError)
