"""Pairs of a MaskablePPO: decisions fall on allowed actions, and the masks are stored with the inputs."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sb3_contrib import MaskablePPO

from Neuron_Selection.errors import InputError, SuiteWarning
from Neuron_Selection.ExperimentTooling.contrast_pairs import contrast_pairs
from Neuron_Selection.ExperimentTooling.paired_inputs import paired_inputs
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED
from Neuron_Selection.ObservationTooling import draw_pairs, verify_pairs
from Neuron_Selection.ObservationTooling.environments.environment import environment_from
from Neuron_Selection.ObservationTooling.pair_making import make_pairs
from Neuron_Selection.ObservationTooling.pair_making.environments import environment_of_pairs
from Neuron_Selection.ObservationTooling.pair_making.verification import verify_made_pairs
from Neuron_Selection.PatchingTooling import open_agent
from ReportTooling.results.pairs import load_pairs
from tests.made_actors import new_agent, save_agent
from tests.made_agents import BlankEnv
from tests.made_worlds import DOOR_KEY, loaded, random_inputs, with_visited
from tests.raised import raises

ACTIONS = 4
FACTORY = f'''\
import gymnasium
from minigrid.wrappers import FlatObsWrapper


class Masked(gymnasium.Wrapper):
    """Forward is forbidden in front of a wall, dropping with empty hands."""

    def action_masks(self):
        world = self.env.unwrapped
        front = world.grid.get(*world.front_pos)
        is_open = front is None or front.can_overlap()
        return [True, True, is_open, True, world.carrying is not None, True, False]


def make_env(**kwargs):
    return Masked(FlatObsWrapper(gymnasium.make("{DOOR_KEY}", **kwargs)))
'''


def masked_agent(folder: Path, model: Any, width: int, *, n: int = 80) -> Path:
    """With visited states, some of which allow one action only; the last ones repeat the first with other masks."""
    random = np.random.default_rng(5)
    masks = random.random((n, ACTIONS)) < 0.6
    masks[np.arange(n), random.integers(0, ACTIONS, n)] = True
    masks[::20] = np.arange(ACTIONS) == 2
    with_visited(save_agent(folder, model), random_inputs(width, n, values=3))
    path = folder / "activation_inputs" / "visited_inputs.json"
    document = json.loads(path.read_text())
    for row, entry in enumerate(document.values()):
        entry["action_mask"] = masks[row].astype(int).tolist()
    inputs = [entry["input"] for entry in document.values()]
    for place, entry in enumerate(list(document.values())[-5:]):
        entry["input"] = inputs[place]
    path.write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    model = new_agent("MaskablePPO", n_actions=ACTIONS)
    width = model.observation_space.shape[0]
    return masked_agent(tmp_path_factory.mktemp("masked") / "agent", model, width), model


def chosen(model: Any, entry: dict[str, Any], mask: list[int]) -> int:
    """The action of sb3_contrib under a mask."""
    observation = np.array(entry["input"], np.float32)
    return int(model.predict(observation, deterministic=True, action_masks=np.array(mask, bool))[0])


@pytest.mark.parametrize("method", ["nearest", "features"])
def test_both_sides_are_decided_among_their_allowed_actions(method: Any, masked: Any, tmp_path: Path) -> None:
    folder, model = masked
    made = make_pairs(open_agent(folder), method=method, n_pairs=30, output_dir=str(tmp_path))
    files = loaded(tmp_path)
    visited = json.loads((folder / "activation_inputs" / "visited_inputs.json").read_text())
    assert made.summary["pairs"] == len(files["records"]) > 8
    for name, record in files["records"].items():
        sides = {side: files[side][name] for side in ("clean", "corrupted")}
        assert sides["clean"]["action_mask"] == visited[name]["action_mask"]
        donor = visited[record["donor"] if method == "nearest" else name]
        assert sides["corrupted"]["action_mask"] == donor["action_mask"]
        for side, entry in sides.items():
            assert chosen(model, entry, entry["action_mask"]) == record[f"{side}_action"]
        for target in sides.values():  # in an experiment, whose target may be either side
            assert len({chosen(model, entry, target["action_mask"]) for entry in sides.values()}) == 2
    words = ["--agent_path", str(folder), "--pairs", str(tmp_path)]
    assert verify_pairs.main(words) == 0


def test_all_pairs_have_contrast_in_both_directions_and_in_a_report(masked: Any, tmp_path: Path) -> None:
    _, model = masked
    own = masked_agent(tmp_path / "agent", model, model.observation_space.shape[0])
    agent = open_agent(own, engine="auto")
    made = make_pairs(agent, n_pairs=10)
    both = paired_inputs(agent, clean=CLEAN, corrupted=CORRUPTED, input_ids=None)
    for direction in ("denoising", "noising"):
        assert contrast_pairs(agent, *both, direction=direction, cluster_by="auto").count == made.summary["pairs"]
    pairs = load_pairs(agent, [*"abcd"])
    assert pairs is not None
    assert pairs.has_contrast.all()
    assert draw_pairs.main(["--agent_path", str(own), "--input_ids", pairs.ids[0]]) == 0


def test_states_that_differ_by_their_masks_alone_are_no_pair(masked: Any, tmp_path: Path) -> None:
    _, model = masked
    folder = masked_agent(tmp_path / "agent", model, model.observation_space.shape[0])
    path = folder / "activation_inputs" / "visited_inputs.json"
    document = json.loads(path.read_text())
    some = list(document.values())[1]
    both = {f"state-{action}": {**some, "action_mask": [int(other == action) for other in range(ACTIONS)]}
            for action in (0, 1)}  # fmt: skip
    path.write_text(json.dumps(both))
    with raises(InputError, file=path, problem=..., hint=...):
        make_pairs(open_agent(folder))


def test_without_masks_the_greatest_of_all_logits_decides_and_a_warning_is_given(masked: Any, tmp_path: Path) -> None:
    _, model = masked
    width = model.observation_space.shape[0]
    folder = with_visited(save_agent(tmp_path / "agent", model), random_inputs(width, 40, values=3))
    with pytest.warns(SuiteWarning):
        make_pairs(open_agent(folder), n_pairs=5)
    assert not any("action_mask" in entry for entry in loaded(folder / "activation_inputs")["clean"].values())


def test_masks_of_edited_worlds_are_those_of_the_environment_in_the_edited_state(tmp_path: Path) -> None:
    (tmp_path / "factory.py").write_text(FACTORY)
    environment = environment_from(f"{tmp_path / 'factory.py'}:make_env")
    env = environment.make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        space, n_actions = env.observation_space, 7
        model = MaskablePPO("MlpPolicy", BlankEnv(space, n_actions), n_steps=8, batch_size=8, seed=0, device="cpu",
                            policy_kwargs={"net_arch": [8]})  # fmt: skip
    for parameter in model.policy.parameters():
        parameter.data *= 6 if parameter.ndim > 1 else 0
    folder = save_agent(tmp_path / "agent", model)
    make_pairs(open_agent(folder), method="environment", environment=environment, env_seeds=range(15), n_pairs=8)
    files = loaded(folder / "activation_inputs")
    assert len(files["records"]) > 2
    for name, record in files["records"].items():
        env.reset(seed=record["seed"])
        for action in record["actions"]:
            env.step(action)
        assert files["clean"][name]["action_mask"] == [int(one) for one in env.get_wrapper_attr("action_masks")()]
        for side in ("clean", "corrupted"):
            mask = files[side][name]["action_mask"]
            assert mask[record[f"{side}_action"]] == 1
            assert chosen(model, files[side][name], mask) == record[f"{side}_action"]
    where = folder / "activation_inputs"
    count = verify_made_pairs(
        open_agent(folder), where,
        environment=lambda made: environment_of_pairs(made, env=environment.env),
    )  # fmt: skip
    assert count == len(files["records"])
