from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Neuron_Selection.errors import InputError
from Neuron_Selection.ObservationTooling.environments.environment import environment_from
from Neuron_Selection.ObservationTooling.environments.wrappers import Wrapper, parse_arguments, parse_wrapper

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)


@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_a_wrapper_printed_and_parsed_is_the_same(arguments: dict[str, Any]) -> None:
    wrapper = Wrapper(name="minigrid.wrappers.ViewSizeWrapper", arguments=arguments)
    assert parse_wrapper(str(wrapper)) == wrapper


def test_values_are_json_or_text() -> None:
    wrapper = parse_wrapper('gymnasium.wrappers.ResizeObservation:shape=[84,84],mode=near,b=1.5,c=false,d={"x":[1,2]}')
    assert wrapper.arguments == {"shape": [84, 84], "mode": "near", "b": 1.5, "c": False, "d": {"x": [1, 2]}}
    assert parse_arguments(["is_slippery=false", "map_name=8x8", "desc=[\"SF\",\"FG\"]", "note=a=b"], where="") == {
        "is_slippery": False, "map_name": "8x8", "desc": ["SF", "FG"], "note": "a=b",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "ImgObsWrapper", "os.system", "minigrid.wrappers", "minigrid.wrappers.", "minigrid.wrappers.os",
        "gymnasium.wrappers.vector", "gymnasium.wrappers.vector.ClipAction", "minigrid.wrappers.ImgObsWrapp",
        "minigrid.envs.EmptyEnv", "minigrid.wrappers.ImgObsWrapper:", "minigrid.wrappers.ViewSizeWrapper:7",
        "minigrid.wrappers.ViewSizeWrapper:agent_view_size=5,agent_view_size=7", "minigrid.wrappers.Wrapper",
        "gymnasium.wrappers.RecordVideo:video_folder=here", "gymnasium.wrappers.HumanRendering", "",
    ],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_wrapper(text)
    assert raised.value.file == "--wrapper"
    assert raised.value.exit_code == 2


def test_the_nearest_name_is_shown() -> None:
    with pytest.raises(InputError) as raised:
        parse_wrapper("minigrid.wrappers.FlatObs")
    assert "FlatObsWrapper" in raised.value.hint


@pytest.mark.parametrize("words", [["a"], ["=1"], ["a b=1"], ["a=1", "a=2"], ["1=1"]])
def test_arguments_of_another_form_are_refused(words: list[str]) -> None:
    with pytest.raises(InputError) as raised:
        environment_from("CartPole-v1", env_kwargs=words)
    assert raised.value.file == "--env_kwargs"


def test_wrappers_are_applied_from_the_inside_out() -> None:
    environment = environment_from(
        "MiniGrid-Empty-5x5-v0",
        wrapper=["minigrid.wrappers.ViewSizeWrapper:agent_view_size=5", "minigrid.wrappers.ImgObsWrapper"],
    )
    assert environment.make().observation_space.shape == (5, 5, 3)
    assert environment.described()["wrappers"][0] == "minigrid.wrappers.ViewSizeWrapper:agent_view_size=5"


def test_render_mode_is_not_an_argument() -> None:
    with pytest.raises(InputError) as raised:
        environment_from("CartPole-v1", env_kwargs={"render_mode": "human"})
    assert raised.value.field == "render_mode"
