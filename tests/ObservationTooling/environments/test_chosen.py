"""Which environment a run is in: that of its flags, else a harmless one that was recorded."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.environment_flags import (
    add_acting_flags,
    add_environment_flags,
    environment_options,
    environment_words,
)
from Neuron_Selection.errors import InputError, SuiteError, UntrustedError, UsageError
from Neuron_Selection.loading_flags import add_loading_flags, agent_options, parse_with_variable
from Neuron_Selection.ObservationTooling import chosen_environment
from Neuron_Selection.PatchingTooling import OpenedAgent
from Neuron_Selection.suite_parser import SuiteParser
from tests.made_normalizers import new_normalizer, saved
from tests.ObservationTooling.environments.test_episodes import FACTORIES, agent_for
from tests.raised import Parts, parts, raises

SPACE = spaces.Box(-1000, 1000, (2,), np.float32)


@pytest.fixture
def agent(tmp_path: Path) -> OpenedAgent:
    return agent_for(tmp_path / "agent", SPACE)


def record(agent: OpenedAgent, **content: Any) -> Path:
    path = agent.folder.folder / "activation_inputs" / "environment.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_flags_come_first_and_a_recorded_environment_is_the_default(agent: OpenedAgent) -> None:
    with pytest.raises(UsageError):
        chosen_environment(agent)
    wrappers = ["minigrid.wrappers.ImgObsWrapper"]
    record(agent, env="MiniGrid-Empty-5x5-v0", wrappers=wrappers, frame_stack=2, env_kwargs={"max_steps": 9})
    found = chosen_environment(agent)
    assert found.described() == {
        "env": "MiniGrid-Empty-5x5-v0", "env_kwargs": {"max_steps": 9}, "wrappers": wrappers, "frame_stack": 2,
    }  # fmt: skip
    assert chosen_environment(agent, env="CartPole-v1").described()["wrappers"] == []


@pytest.mark.parametrize("option", [{"wrapper": ["minigrid.wrappers.ImgObsWrapper"]}, {"env_kwargs": ["a=1"]},
                                    {"frame_stack": 2}])  # fmt: skip
def test_flags_about_an_environment_need_its_name(option: dict[str, Any], agent: OpenedAgent) -> None:
    record(agent, env="CartPole-v1")
    with pytest.raises(UsageError):
        chosen_environment(agent, **option)


@pytest.mark.parametrize("env", [f"{FACTORIES}:make_line", "make.py:f", "os:CartPole-v1", "nowhere.py"])
def test_code_that_a_file_names_is_never_run(env: str, agent: OpenedAgent) -> None:
    path = record(agent, env=env)
    with pytest.raises(InputError) as raised:
        chosen_environment(agent)
    assert (raised.value.file, raised.value.field) == (str(path), "env")
    assert f"--env {env}" in raised.value.hint


@pytest.mark.parametrize(
    "content",
    [
        {}, {"env": 1}, {"env": "CartPole-v1", "frame_stack": 0}, {"env": "CartPole-v1", "wrappers": ["os.system"]},
        {"env": "CartPole-v1", "wrappers": "x"}, {"env": "CartPole-v1", "env_kwargs": []},
        {"env": "CartPole-v1", "env_kwargs": {"render_mode": "human"}},
        {"env": "CartPole-v1", "wrappers": ["gymnasium.wrappers.RecordVideo:video_folder=here"]},
    ],
)  # fmt: skip
def test_a_recorded_environment_is_checked(content: dict[str, Any], agent: OpenedAgent) -> None:
    path = record(agent, **content)
    with pytest.raises(InputError) as raised:
        chosen_environment(agent)
    assert raised.value.file == str(path)


def test_observations_recorded_with_statistics_need_the_same_ones(tmp_path: Path) -> None:
    file = saved(new_normalizer(SPACE), tmp_path / "vecnormalize.pkl")
    other = saved(new_normalizer(SPACE, seed=1), tmp_path / "other.pkl")
    agents = {path: agent_for(tmp_path / "agent", SPACE, vecnormalize=path) for path in (file, other, None)}
    normalizer = agents[file].normalizer
    assert normalizer is not None
    record(agents[file], env="CartPole-v1", vecnormalize_sha256=normalizer.sha256)
    chosen_environment(agents[file])
    for path in (other, None):
        with pytest.raises(InputError) as raised:
            chosen_environment(agents[path])
        assert raised.value.field == "vecnormalize_sha256"


def parsed(*words: str) -> argparse.Namespace:
    parser = SuiteParser(description="", example="")
    add_loading_flags(parser, policy="--policy_class")
    add_environment_flags(parser)
    add_acting_flags(parser)
    return parse_with_variable(parser, words)


def test_a_trusted_module_is_not_a_class_of_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    args = parsed("--env", "my.world:Maze-v0", "--trust", "my.world", "my.world.Extractor", "--wrapper", "w")
    assert (args.trust, args.trusts_module) == (["my.world.Extractor"], True)
    assert environment_options(args)["trusts_module"]
    assert environment_words(args) == ["--env", "my.world:Maze-v0", "--wrapper", "w"]
    assert not parsed("--env", "my.world:Maze-v0", "--trust", "my.worlds").trusts_module
    monkeypatch.setenv("AGENT_FLAGS", "--trust my.world --policy mine.py:Policy")
    args = parsed("--env", "my.world:Maze-v0", "--policy", "random")
    assert (args.trusts_module, args.acting, agent_options(args)["policy"]) == (True, "random", "mine.py:Policy")


def test_an_id_of_another_package_is_imported_only_where_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: OpenedAgent
) -> None:
    (tmp_path / "mazes.py").write_text(f"{FACTORIES.read_text()}\ngymnasium.register('Maze-v0', lambda: Walk(LINE))\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UntrustedError) as raised:
        chosen_environment(agent, env="mazes:Maze-v0").make()
    assert raised.value.exit_code == 3
    assert raised.value.hint == "--trust mazes imports it"
    assert "mazes" not in sys.modules
    try:
        world = chosen_environment(agent, env="mazes:Maze-v0", trusts_module=True)
        assert world.make().observation_space.shape == (2,)
        assert world.name == "Maze-v0"
    finally:
        gymnasium.registry.pop("Maze-v0", None)
        sys.modules.pop("mazes", None)


UNKNOWN = parts(file=..., problem=re.compile("unknown environment .*"))
NO_FACTORY = parts(file=FACTORIES, field=..., found="no function of this name", expected=...)
NO_FORM = parts(file="--env", found=..., expected="FILE.py:make_env")
# --env, relative to the factories: class, parts and hint of the error
BAD: dict[str, tuple[type[SuiteError], Parts, str]] = {
    "CartPol-v1": (InputError, UNKNOWN, "CartPole-v1"),
    "MiniGrid-DoorKey-5x5": (InputError, UNKNOWN, "MiniGrid-DoorKey-5x5-v0"),
    "ALE/Breakout-v5": (InputError, UNKNOWN, "--trust module"),
    "": (InputError, UNKNOWN, "--trust module"),
    "no_such_package_here:Maze-v0": (UntrustedError, parts(file=..., problem=...), "--trust no_such_package_here"),
    f"{FACTORIES}:make_raising": (UsageError, parts(field=..., problem=...), "no world today"),
    f"{FACTORIES}:make_leaving": (UsageError, parts(field=..., problem=...), "SystemExit"),
    f"{FACTORIES}:make_missing": (UsageError, parts(field=..., problem=...), "a_package_that_nobody_has"),
    f"{FACTORIES}:make_none": (
        InputError,
        parts(file=FACTORIES, field="make_none()", found="a builtins.NoneType", expected="a gymnasium.Env"),
        "",
    ),
    f"{FACTORIES}:make_nothing": (InputError, NO_FACTORY, ""),
    f"{FACTORIES}:not_a_function": (InputError, NO_FACTORY, ""),
    f"{FACTORIES}": (InputError, NO_FORM, ""),
    f"{FACTORIES}:": (InputError, NO_FORM, ""),
    "missing.py:make_env": (InputError, parts(file="missing.py", problem=...), "--env FILE.py:make_env"),
}


@pytest.mark.parametrize("env", BAD)
def test_an_environment_that_cannot_be_made_is_refused(env: str, agent: OpenedAgent) -> None:
    kind, error, hint = BAD[env]
    with raises(kind, **error) as raised:
        chosen_environment(agent, env=env).make()
    assert hint in raised.value.hint


def test_a_missing_package_is_named(agent: OpenedAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Box2D", None)
    monkeypatch.delitem(sys.modules, "gymnasium.envs.box2d.lunar_lander", raising=False)
    with raises(UsageError, field=..., problem=..., hint=re.compile("(?i).*box2d.*")):
        chosen_environment(agent, env="LunarLander-v3").make()


@pytest.mark.parametrize("option", [{"env_kwargs": ["nonsense=1"]}, {"wrapper": ["gymnasium.wrappers.TimeLimit"]},
                                    {"wrapper": ["minigrid.wrappers.ImgObsWrapper"]}])  # fmt: skip
def test_arguments_and_wrappers_that_do_not_fit_are_refused(option: dict[str, Any], agent: OpenedAgent) -> None:
    with pytest.raises(SuiteError) as raised:
        chosen_environment(agent, env="CartPole-v1", **option).make()
    assert raised.value.exit_code == 2
