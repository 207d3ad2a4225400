"""The commands of steps that were not run: complete, and none that the agent does not allow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gymnasium import spaces

from Neuron_Selection.PatchingTooling import open_agent
from ReportTooling.results.loading import load_results
from ReportTooling.results.steps import STEPS, step_command
from tests.made_agents import new_dqn, save_dqn, vector_space

NAMED = {step.name: step for step in STEPS}


def test_a_network_without_smallest_flips_is_not_asked_for_them(tmp_path: Path) -> None:
    space = spaces.Dict({"a": vector_space(2), "b": vector_space(3)})
    folder = save_dqn(tmp_path, new_dqn(space, policy="MultiInputPolicy", net_arch=[4]))
    missing = [step.name for step in load_results(open_agent(folder)).missing]
    assert missing == [step.name for step in STEPS if step.name != "flips"]


def test_flags_on_how_the_agent_is_loaded_are_repeated_where_they_exist(tmp_path: Path) -> None:
    recorded = [None, {"script": "analyze_metrics.py"}, {"features_extractor": "my file.py:Cnn", "trust": 7}]
    command = step_command(NAMED["edges"], tmp_path, recorded=recorded)
    assert command.endswith("--features_extractor 'my file.py:Cnn'")
    assert "--features_extractor" not in step_command(NAMED["analysis"], tmp_path, recorded=recorded)
    assert step_command(NAMED["edges"], tmp_path, overwrite=True).endswith(f"--agent_path {tmp_path} --overwrite")


@pytest.mark.parametrize(("env", "is_asked"), [(None, True), ("mine.py:make_env", True), ("CartPole-v1", False)])
def test_episodes_need_an_environment_unless_one_was_recorded(tmp_path: Path, env: str | None, is_asked: bool) -> None:  # noqa: FBT001
    (tmp_path / "activation_inputs").mkdir()
    if env is not None:
        record = {"env": env, "env_kwargs": {}, "wrappers": [], "frame_stack": 1}
        (tmp_path / "activation_inputs" / "environment.json").write_text(json.dumps(record))
    assert ("--env ENV" in step_command(NAMED["rollouts"], tmp_path)) == is_asked
