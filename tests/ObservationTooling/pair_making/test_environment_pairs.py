from __future__ import annotations

import json

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from minigrid.core.world_object import WorldObj
from minigrid.wrappers import FlatObsWrapper

from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.ObservationTooling.environments.environment import environment_from
from Neuron_Selection.ObservationTooling.pair_making import make_pairs
from Neuron_Selection.ObservationTooling.pair_making.environments import environment_of_pairs
from Neuron_Selection.ObservationTooling.pair_making.verification import verify_made_pairs
from Neuron_Selection.PatchingTooling import open_agent
from tests.made_agents import mlp_agent, new_dqn, save_dqn
from tests.made_worlds import DOOR_KEY, EXTRACTOR, flat_agent, image_agent, loaded
from tests.raised import raises

FLAT = environment_from(DOOR_KEY, wrapper=["minigrid.wrappers.FlatObsWrapper"])
IMAGE = environment_from(DOOR_KEY, wrapper=["minigrid.wrappers.ImgObsWrapper"])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An agent with pairs by edits of DoorKey."""
    folder = flat_agent(tmp_path_factory.mktemp("flat") / "agent")
    make_pairs(open_agent(folder), method="environment", environment=FLAT, env_seeds=range(30), n_pairs=16)
    return folder


def verified(folder, **options):
    return verify_made_pairs(
        open_agent(folder, **options), folder / "activation_inputs", environment=environment_of_pairs
    )


def seen(record, *, with_edit):
    """A state of DoorKey through FlatObsWrapper, derived without the code under test: by playing the record."""
    env = FlatObsWrapper(gymnasium.make(DOOR_KEY))
    env.reset(seed=record["seed"])
    for action in record["actions"]:
        env.step(action)
    base = env.unwrapped
    if with_edit:
        for cell, thing in zip(record["cells"], record["contents"], strict=True):
            made = None
            if thing is not None:
                kinds = {"wall": 2, "door": 4, "key": 5, "goal": 8}
                colours = ["red", "green", "blue", "purple", "yellow", "grey"]
                made = WorldObj.decode(kinds[thing[0]], colours.index(thing[1]), thing[2])
            base.grid.set(*cell, made)
        if record["agent"] is not None:
            *base.agent_pos, base.agent_dir = record["agent"]
    return env.observation(base.gen_obs())


def test_both_sides_are_what_the_wrapped_environment_shows_before_and_after_one_edit(made):
    files = loaded(made / "activation_inputs")
    assert len(files["records"]) > 10
    for name, record in files["records"].items():
        assert files["clean"][name]["input"] == seen(record, with_edit=False).tolist()
        assert files["corrupted"][name]["input"] == seen(record, with_edit=True).tolist()
        assert name == f"{DOOR_KEY}-{record['seed']}-{len(record['actions'])}"
        assert files["clean"][name]["cluster"] == str(record["seed"])


def test_every_edit_changes_the_decision_and_kinds_are_balanced(made):
    agent, files = open_agent(made), loaded(made / "activation_inputs")
    for side in ("clean", "corrupted"):
        scores = agent.q_values(np.array([entry["input"] for entry in files[side].values()]))
        assert scores.argmax(axis=1).tolist() == [record[f"{side}_action"] for record in files["records"].values()]
    assert all(record["clean_action"] != record["corrupted_action"] for record in files["records"].values())
    assert len({record["edit"] for record in files["records"].values()}) >= 5


def test_an_image_agent_with_an_own_extractor_gets_pairs_that_are_verified(tmp_path):
    folder = image_agent(tmp_path / "agent")
    agent = open_agent(folder, features_extractor=EXTRACTOR)
    written = make_pairs(agent, method="environment", environment=IMAGE, env_seeds=range(40), n_pairs=6)
    assert verified(folder, features_extractor=EXTRACTOR) == written.summary["pairs"] > 0


def test_the_pairs_are_rebuilt_bit_for_bit(made):
    assert verified(made) == len(loaded(made / "activation_inputs")["records"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda record: record.update(seed=record["seed"] + 1), "clean input"),
        (lambda record: record.update(clean_action=record["clean_action"] ^ 1), "clean_action"),
        (lambda record: record.update(cells=[[99, 1]], contents=[None], agent=None), "cells"),
        (lambda record: record.update(cells=[[1, 1]], contents=[], agent=None), "contents"),
        (lambda record: record.update(cells=[[1, 1]], contents=[["dragon", "red", 0]], agent=None), "contents"),
        (lambda record: record.update(actions=[77]), "actions"),
        (lambda record: record.update(method="magic"), "method"),
        (lambda record: record.pop("edit"), "edit"),
    ],
)
def test_a_record_that_does_not_lead_to_the_inputs_is_named(made, change, field, tmp_path):
    path = made / "activation_inputs" / "pairs.json"
    before = path.read_text()
    document = json.loads(before)
    change(next(iter(document.values())))
    path.write_text(json.dumps(document))
    try:
        with pytest.raises(InputError) as raised:
            verified(made)
    finally:
        path.write_text(before)
    assert field in raised.value.field


def test_an_environment_that_is_code_is_not_run_from_a_file(made):
    path = made / "activation_inputs" / "pairs.meta.json"
    before = path.read_text()
    try:
        for env in ("evil.py:make_env", "evil_module:Id-v0"):
            path.write_text(before.replace(f'"env": "{DOOR_KEY}"', f'"env": "{env}"'))
            with raises(InputError, file=path, field=..., names=[env], hint=...):
                verified(made)
    finally:
        path.write_text(before)


def test_stacked_frames_are_refused_with_the_other_methods_named(tmp_path):
    stacked = environment_from(DOOR_KEY, wrapper=["minigrid.wrappers.FlatObsWrapper"], frame_stack=2)
    width = 2 * FLAT.make().observation_space.shape[0]
    model = new_dqn(spaces.Box(0, 255, (width,), np.uint8), n_actions=7, net_arch=[4])
    for parameter in model.policy.q_net.parameters():
        parameter.data *= 0
    model.policy.q_net.q_net[-1].bias.data[0] = 1.0  # it turns left for ever
    folder = save_dqn(tmp_path / "agent", model)
    with raises(UsageError, names=["nearest", "features"]):
        make_pairs(open_agent(folder), method="environment", environment=stacked, env_seeds=range(2))


def test_another_kind_of_environment_is_refused(tmp_path):
    agent, cart = open_agent(mlp_agent(tmp_path / "agent", n_actions=2)), environment_from("CartPole-v1")
    with raises(UsageError, names=["CartPoleEnv"]):
        make_pairs(agent, method="environment", environment=cart)
