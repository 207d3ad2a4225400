from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest

from Neuron_Selection.errors import MachineError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import find_agent
from Neuron_Selection.ObservationTooling import draw_pairs
from Neuron_Selection.ObservationTooling.drawing.changes import MOST
from Neuron_Selection.ObservationTooling.drawing.made_pairs import pair_pictures
from Neuron_Selection.ObservationTooling.drawing.panels import picture_names
from Neuron_Selection.ObservationTooling.drawing.views import channel_colours, is_minigrid_view
from Neuron_Selection.ObservationTooling.environments.environment import environment_from
from Neuron_Selection.ObservationTooling.pair_making import make_pairs
from Neuron_Selection.ObservationTooling.recording import record_inputs
from Neuron_Selection.PatchingTooling import open_agent
from tests.made_agents import new_dqn, save_dqn
from tests.made_worlds import (
    DOOR_KEY,
    EXTRACTOR,
    decisive,
    dict_agent,
    dict_inputs,
    flat_agent,
    image_agent,
    random_inputs,
    vector_agent,
    with_visited,
)

pytest.importorskip("matplotlib")


def vector_pairs(folder):
    make_pairs(open_agent(with_visited(vector_agent(folder, 9), random_inputs(9, 30))), n_pairs=2)


def many_entries(folder):
    make_pairs(open_agent(with_visited(vector_agent(folder, MOST + 9), random_inputs(MOST + 9, 30))), n_pairs=2)


def named_entries(folder):
    with_visited(vector_agent(folder, 3), random_inputs(3, 30))
    names = {"entries": ["position", "velocity", "angle"], "actions": ["left", "stay", "right"]}
    (folder / "encoding.json").write_text(json.dumps(names))
    make_pairs(open_agent(folder), method="features", n_pairs=2)


def pixels_and_entries(folder):
    make_pairs(open_agent(with_visited(dict_agent(folder), dict_inputs())), n_pairs=2)


def minigrid_views(folder):
    image_agent(folder)
    agent = open_agent(folder, features_extractor=EXTRACTOR)
    record_inputs(agent, env=DOOR_KEY, wrapper=["minigrid.wrappers.ImgObsWrapper"], policy="random", episodes=1)
    make_pairs(agent, method="features", group="cells", n_pairs=2)


def edited_worlds(folder):
    environment = environment_from(DOOR_KEY, wrapper=["minigrid.wrappers.FlatObsWrapper"])
    agent = open_agent(flat_agent(folder))
    make_pairs(agent, method="environment", environment=environment, env_seeds=range(30), n_pairs=7)


def encoded_views(folder):
    encoding = {
        "view": {"rows": 2, "columns": 3, "agent": {"row": 1, "column": 1}},
        "channels": ["wall", "coin"],
        "headings": ["up", "down"],
    }
    with_visited(vector_agent(folder, 14), random_inputs(14, 30, values=2))
    (folder / "encoding.json").write_text(json.dumps(encoding))
    make_pairs(open_agent(folder), method="features", group="cells", n_pairs=2)


def frames(folder):
    from gymnasium import spaces

    save_dqn(folder, decisive(new_dqn(spaces.Discrete(16), n_actions=4, net_arch=[8], seed=3)))
    agent = open_agent(folder)
    record_inputs(agent, env="FrozenLake-v1", policy="random", episodes=12, frames=True)
    make_pairs(agent, n_pairs=2)


KINDS = [
    vector_pairs, many_entries, named_entries, pixels_and_entries, minigrid_views, edited_worlds, encoded_views,
]  # fmt: skip


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_every_kind_of_pair_is_drawn_and_comes_out_the_same_each_time(make, tmp_path):
    from matplotlib.image import imread

    make(tmp_path / "agent")
    pictures = pair_pictures(find_agent(tmp_path / "agent"), tmp_path / "agent" / "activation_inputs")
    first, second = map(pictures.draw, pictures.ids[:2])
    assert first == pictures.draw(pictures.ids[0]) != second
    pixels = imread(io.BytesIO(first))
    assert 0.02 < (pixels[:, :, :3].min(axis=2) < 0.9).mean() < 0.9  # neither empty nor full


def test_frames_are_drawn_where_they_were_recorded(tmp_path):
    pytest.importorskip("pygame")
    from matplotlib.image import imread

    frames(tmp_path / "agent")
    folder = find_agent(tmp_path / "agent")
    with_frames = pair_pictures(folder, folder.folder / "activation_inputs")
    first = imread(io.BytesIO(with_frames.draw(with_frames.ids[0])))
    (folder.folder / "activation_inputs" / "visited_inputs_frames.npz").unlink()
    without = pair_pictures(folder, folder.folder / "activation_inputs")
    second = imread(io.BytesIO(without.draw(without.ids[0])))
    assert len(first) > len(second) + 300  # pixel rows
    (folder.folder / "activation_inputs" / "visited_inputs.json").unlink()
    assert pair_pictures(folder, folder.folder / "activation_inputs").draw(without.ids[0])


def test_the_script_draws_the_ids_asked_for_into_a_folder(tmp_path, capsys):
    vector_pairs(tmp_path / "agent")
    words = ["--agent_path", str(tmp_path / "agent")]
    assert draw_pairs.main(words) == 0
    drawn = sorted((tmp_path / "agent" / "pair_drawings").iterdir())
    assert sorted(capsys.readouterr().out.splitlines()) == [str(path) for path in drawn]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    assert draw_pairs.main(words) == 2
    assert draw_pairs.main([*words, "--overwrite", "--input_ids", drawn[0].stem]) == 0
    assert draw_pairs.main([*words, "--input_ids", "nobody"]) == 2


def test_a_world_whose_environment_is_code_needs_its_flag(tmp_path):
    edited_worlds(tmp_path / "agent")
    path = tmp_path / "agent" / "activation_inputs" / "pairs.meta.json"
    path.write_text(path.read_text().replace(f'"env": "{DOOR_KEY}"', '"env": "mine.py:make_env"'))
    first = next(iter(json.loads((tmp_path / "agent" / "activation_inputs" / "pairs.json").read_text())))
    words = ["--agent_path", str(tmp_path / "agent"), "--input_ids", first]
    assert draw_pairs.main(words) == 2
    assert not (tmp_path / "agent" / "pair_drawings").exists()
    flags = ["--env", DOOR_KEY, "--wrapper", "minigrid.wrappers.FlatObsWrapper"]
    assert draw_pairs.main([*words, *flags]) == 0


def test_without_matplotlib_it_says_how_to_get_it(tmp_path, monkeypatch):
    vector_pairs(tmp_path / "agent")
    pictures = pair_pictures(find_agent(tmp_path / "agent"), tmp_path / "agent" / "activation_inputs")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MachineError):
        pictures.draw(pictures.ids[0])


def test_ids_that_are_unsafe_as_names_get_others_and_no_two_the_same():
    ids = ["CartPole-v1-3-7", "../up", "..", "a/b", "a_b", "a:b", "x" * 300, "é,1"]
    names = picture_names(ids)
    assert names["CartPole-v1-3-7"] == "CartPole-v1-3-7.png"
    assert len({name.casefold() for name in names.values()}) == len(ids)
    assert all("/" not in name and not name.startswith(".") and len(name) < 200 for name in names.values())


def test_minigrids_numbers_are_told_from_pixels():
    numbers = np.zeros((3, 7, 7), np.uint8)
    numbers[:, 2, 3] = 10, 5, 3
    assert is_minigrid_view(numbers)
    assert not is_minigrid_view(np.full((3, 7, 7), 40, np.uint8))
    assert not is_minigrid_view(numbers.astype(np.float32))
    assert not is_minigrid_view(np.zeros((4, 7, 7), np.uint8))


def test_channels_have_different_colours():
    colours = channel_colours(("wall_or_unseen", "lava", "goal", "coin", "key"))
    assert len(set(colours)) == 5
