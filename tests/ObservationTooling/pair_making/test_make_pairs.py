from __future__ import annotations

import json
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.ObservationTooling.make_pairs import main
from Neuron_Selection.ObservationTooling.pair_making import make_pairs
from Neuron_Selection.PatchingTooling import open_agent
from tests.made_agents import mlp_agent, planted_agent, vector_space
from tests.made_normalizers import new_normalizer, saved
from tests.made_worlds import (
    DOOR_KEY,
    EXTRACTOR,
    dict_agent,
    dict_inputs,
    flat_agent,
    image_agent,
    loaded,
    random_inputs,
    vector_agent,
    with_visited,
)
from tests.raised import raises, reports
from tests.slow_pairs import slow_nearest


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    folder = mlp_agent(tmp_path_factory.mktemp("mlp") / "agent", width=9, net_arch=[12])
    return with_visited(folder, random_inputs(9, 60, values=3))


def looking_at_entry_3(folder, *, width=6, n=40, values=5):
    """An agent that acts by entry 3 alone: 0 below 2, 1 at 2, 2 above."""
    weight = np.zeros((3, width))
    weight[:, 3] = 1.0
    hidden = (weight, [0.0, -1.0, -2.5])  # x, x - 1, x - 2.5 rectified
    scores = ([[0, 0, 0], [0, 2, -4], [0, 0, 8]], [1.0, 0.0, 0.0])
    return with_visited(planted_agent(folder, [hidden, scores]), random_inputs(width, n, values=values))


def arrays(inputs):
    return {name: np.array(entry["input"]) for name, entry in inputs.items()}


def test_nearest_pairs_are_those_of_the_definition(mlp, tmp_path):
    made = make_pairs(open_agent(mlp), n_pairs=60, output_dir=str(tmp_path))
    files = loaded(tmp_path)
    visited = arrays(json.loads((mlp / "activation_inputs" / "visited_inputs.json").read_text()))
    ids, values = list(visited), np.stack(list(visited.values()))
    actions = open_agent(mlp).q_values(values).argmax(axis=1)
    assert made.summary["pairs"] == made.summary["possible"] == len(files["records"]) > 50
    for name, record in files["records"].items():
        row = ids.index(name)
        donor, differing, distance = slow_nearest(values, actions, row, range(len(ids)))
        assert (record["donor"], record["differing_entries"]) == (ids[donor], differing)
        assert record["distance"] == pytest.approx(distance)
        assert record["differs"] == [f"entry {entry}" for entry in np.flatnonzero(values[row] != values[donor])]
        assert files["clean"][name]["input"] == visited[name].tolist()
        assert files["corrupted"][name]["input"] == visited[ids[donor]].tolist()
        assert (record["clean_action"], record["corrupted_action"]) == (actions[row], actions[donor])


@pytest.mark.parametrize("method", ["nearest", "features"])
def test_every_pair_has_contrast_by_the_margins_and_actions_asked_for(mlp, method, tmp_path):
    agent = open_agent(mlp)
    make_pairs(agent, method=method, min_margin=0.05, from_action=1, output_dir=str(tmp_path))
    files = loaded(tmp_path)
    assert files["records"]
    for side in ("clean", "corrupted"):
        scores = agent.q_values(np.stack(list(arrays(files[side]).values())))
        ranked = np.sort(scores, axis=1)
        assert (ranked[:, -1] - ranked[:, -2] >= 0.05).all()
        for row, record in zip(scores, files["records"].values(), strict=True):
            assert record[f"{side}_action"] == row.argmax() == 1 if side == "clean" else row.argmax() != 1
            assert record[f"{side}_q_values"] == pytest.approx(row.tolist())


def test_a_planted_agent_that_looks_at_entry_3_gets_pairs_that_differ_in_entry_3(tmp_path):
    folder = looking_at_entry_3(tmp_path / "agent")
    made = make_pairs(open_agent(folder), method="features")
    files = loaded(folder / "activation_inputs")
    assert made.summary["pairs"] > 20
    for name, record in files["records"].items():
        assert record["taken"] == ["entry 3"]
        differs = np.flatnonzero(np.array(files["clean"][name]["input"]) != files["corrupted"][name]["input"])
        assert differs.tolist() == [3]


@pytest.mark.parametrize("width", [9, 30])
def test_sets_of_features_are_minimal_by_running_every_removal_and_every_part(width, tmp_path):
    folder = mlp_agent(tmp_path / "agent", width=width, net_arch=[12], seed=width)
    with_visited(folder, random_inputs(width, 40))
    agent = open_agent(folder)
    make_pairs(agent, method="features")
    files = loaded(folder / "activation_inputs")
    visited = arrays(json.loads((folder / "activation_inputs" / "visited_inputs.json").read_text()))
    for name, record in files["records"].items():
        entries = [int(one.removeprefix("entry ")) for one in record["taken"]]
        clean, donor = visited[name], visited[record["donor"]]

        def action(taken, clean=clean, donor=donor):
            mixed = clean.copy()
            mixed[list(taken)] = donor[list(taken)]
            return int(agent.q_values(mixed[None]).argmax())

        assert action(entries) == record["corrupted_action"] != record["clean_action"] == action(())
        removals = [[entry for entry in entries if entry != left_out] for left_out in entries]
        assert all(action(rest) == record["clean_action"] for rest in removals)
        if len(entries) <= 5:
            parts = [part for size in range(1, len(entries)) for part in combinations(entries, size)]
            assert all(action(part) == record["clean_action"] for part in parts)
        if record["is_smallest"] and len(entries) <= 3:
            smaller = [part for size in range(1, len(entries)) for part in combinations(range(width), size)]
            assert all(action(part) == record["clean_action"] for part in smaller)
        assert record["share_of_features"] == len(entries) / record["differing_groups"]


def test_keys_of_a_dict_are_taken_together(tmp_path):
    folder = with_visited(dict_agent(tmp_path / "agent"), dict_inputs())
    made = make_pairs(open_agent(folder), method="features", group="keys")
    files = loaded(folder / "activation_inputs")
    assert made.summary["pairs"]
    visited = json.loads((folder / "activation_inputs" / "visited_inputs.json").read_text())
    for name, record in files["records"].items():
        for key, value in files["corrupted"][name]["input"].items():
            origin = record["donor"] if key in record["taken"] else name
            assert value == visited[origin]["input"][key]


def test_cells_of_an_image_are_taken_with_all_their_channels(tmp_path):
    folder = image_agent(tmp_path / "agent")
    random = np.random.default_rng(0)
    inputs = {f"state-{n}": one.tolist() for n, one in enumerate(random.integers(0, 256, (20, 3, 7, 7)))}
    with_visited(folder, inputs)
    make_pairs(open_agent(folder, features_extractor=EXTRACTOR), method="features", group="cells")
    files = loaded(folder / "activation_inputs")
    for name, record in files["records"].items():
        clean, corrupted, donor = (np.array(one) for one in (
            files["clean"][name]["input"], files["corrupted"][name]["input"], inputs[record["donor"]]))  # fmt: skip
        taken = {f"cell {x},{y}" for x, y in np.argwhere((clean != corrupted).any(axis=0))}
        assert taken == set(record["taken"])
        changed = (clean != corrupted).any(axis=0)
        assert (corrupted[:, changed] == donor[:, changed]).all()


def test_pairs_are_balanced_and_no_clean_input_comes_twice(mlp, tmp_path):
    made = make_pairs(open_agent(mlp), n_pairs=12, output_dir=str(tmp_path))
    files = loaded(tmp_path)
    assert Counter(entry["cluster"] for entry in files["clean"].values()) == {"0": 4, "1": 4, "2": 4}
    assert len({json.dumps(entry["input"]) for entry in files["clean"].values()}) == 12
    assert list(files["clean"]) == list(files["corrupted"]) == list(files["records"])
    counts = made.summary["action_changes"].values()
    assert sum(counts) == 12
    assert max(counts) <= 12 / len(counts) + 2


def test_states_that_are_listed_twice_count_once(tmp_path):
    folder = looking_at_entry_3(tmp_path / "agent", n=12)
    path = folder / "activation_inputs" / "visited_inputs.json"
    visited = json.loads(path.read_text())
    path.write_text(json.dumps({**visited, **{f"{name}-again": entry for name, entry in visited.items()}}))
    made = make_pairs(open_agent(folder))
    assert made.summary["states"] <= 12
    assert not [name for name in loaded(folder / "activation_inputs")["records"] if name.endswith("again")]


def test_the_same_seed_gives_the_same_bytes_and_another_one_another_choice(mlp, tmp_path):
    chosen = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        make_pairs(open_agent(mlp), n_pairs=12, seed=seed, output_dir=str(tmp_path / name))
        chosen.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert chosen[0] == chosen[1] != chosen[2]


def test_a_second_run_leaves_the_files_and_a_different_one_needs_overwrite(mlp, tmp_path):
    agent = open_agent(mlp)
    first = make_pairs(agent, n_pairs=5, output_dir=str(tmp_path))
    again = make_pairs(agent, n_pairs=5, output_dir=str(tmp_path))
    assert (first.was_up_to_date, again.was_up_to_date) == (False, True)
    assert again.summary == first.summary
    with pytest.raises(InputError) as raised:
        make_pairs(agent, n_pairs=6, output_dir=str(tmp_path))
    assert raised.value.file == str(first.paths["clean"])
    assert make_pairs(agent, n_pairs=6, output_dir=str(tmp_path), overwrite=True).summary["pairs"] == 6


def test_a_bystander_file_is_not_read_and_written_at_once(mlp):
    with pytest.raises(InputError) as raised:
        make_pairs(open_agent(mlp), inputs=str(mlp / "activation_inputs" / "clean_inputs.json"))
    assert raised.value.file.endswith("clean_inputs.json")


def test_an_agent_that_acts_alike_everywhere_has_no_pairs_and_a_hint(tmp_path):
    folder = planted_agent(tmp_path / "agent", [(np.zeros((2, 3)), [1, 1]), ([[1, 0], [0, 0]], [0, 0])])
    with_visited(folder, random_inputs(3, 10))
    with pytest.raises(InputError) as raised:
        make_pairs(open_agent(folder))
    assert raised.value.problem == "the agent acts alike in all 10 states it visits"
    assert "--policy epsilon=0.3" in raised.value.hint
    assert not (folder / "activation_inputs" / "pairs.json").exists()


def test_a_margin_that_no_state_has_is_named_with_the_counts(mlp):
    with pytest.raises(InputError) as raised:
        make_pairs(open_agent(mlp), min_margin=1e6)
    assert raised.value.problem.endswith("60 of the decisions are near ties or lead by less than 1e+06)")


@pytest.mark.parametrize(
    "request_",
    [
        {"min_margin": -1.0},
        {"min_margin": np.inf},
        {"from_action": 1, "to_action": 1},
        {"from_action": "left"},
        {"to_action": 3},
        {"method": "features", "group": "cells"},
        {"method": "features", "group": "keys"},
        {"method": "environment"},
    ],
)
def test_what_cannot_be_made_is_a_usage_error_and_writes_nothing(mlp, request_, tmp_path):
    with pytest.raises(UsageError):
        make_pairs(open_agent(mlp), output_dir=str(tmp_path / "out"), **request_)
    assert not (tmp_path / "out").exists()


def test_a_missing_file_names_the_script_that_makes_it(tmp_path):
    with raises(InputError, file="visited_inputs.json", problem=..., hint="record_inputs.py makes it"):
        make_pairs(open_agent(mlp_agent(tmp_path / "agent")))


def test_names_of_entries_and_actions_are_those_of_the_encoding(tmp_path):
    folder = looking_at_entry_3(tmp_path / "agent")
    names = ["a", "b", "c", "speed", "e", "f"]
    (folder / "encoding.json").write_text(json.dumps({"entries": names, "actions": ["slow", "keep", "brake"]}))
    make_pairs(open_agent(folder), method="features", from_action="slow")
    records = loaded(folder / "activation_inputs")["records"].values()
    assert {tuple(record["taken"]) for record in records} == {("speed",)}
    assert {record["clean_action"] for record in records} == {0}


def test_behind_vecnormalize_pairs_hold_normalised_observations_and_say_so(tmp_path):
    folder = vector_agent(tmp_path / "agent", 4)
    with_visited(folder, random_inputs(4, 30))
    normalizer = new_normalizer(vector_space(4), epsilon=0)
    normalizer.obs_rms.mean[:], normalizer.obs_rms.var[:] = 0.5, 4.0
    saved(normalizer, folder / "vecnormalize.pkl")
    agent = open_agent(folder, vecnormalize="vecnormalize.pkl")
    make_pairs(agent)
    files = loaded(folder / "activation_inputs")
    raw = random_inputs(4, 30)
    for side in ("clean", "corrupted"):
        scores = agent.q_values(str(folder / "activation_inputs" / f"{side}_inputs.json"))  # not normalised again
        actions = [record[f"{side}_action"] for record in files["records"].values()]
        assert scores.argmax(axis=1).tolist() == actions
    for name, entry in files["clean"].items():
        assert entry["input"] == pytest.approx(((np.array(raw[name]) - 0.5) / 2).tolist(), abs=1e-6)
        assert entry["normalised_with"] == agent.normalizer.sha256


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (["--env", "CartPole-v1"], "--env"),
        (["--env_kwargs", "a=1", "--method", "features"], "--env_kwargs"),
        (["--wrapper", "gymnasium.wrappers.FlattenObservation"], "--wrapper"),
        (["--frame_stack", "2"], "--frame_stack"),
        (["--first_env_seed", "0"], "--first_env_seed"),
        (["--n_env_seeds", "100"], "--n_env_seeds"),
        (["--method", "environment", "--inputs", "visited_inputs.json", "--env", DOOR_KEY], "--inputs"),
    ],
)
def test_a_flag_that_the_method_does_not_use_is_an_error(words, flag, tmp_path):
    folder = with_visited(flat_agent(tmp_path / "agent"), {})
    words += ["--wrapper", "minigrid.wrappers.FlatObsWrapper"] if "environment" in words else []
    with reports(UsageError, flags=[flag, "--method"]):
        assert main(["--agent_path", str(folder), *words]) == 2


def test_a_limit_on_the_states_that_are_compared_is_reported(tmp_path, capsys):
    folder = with_visited(mlp_agent(tmp_path / "agent", width=9, net_arch=[12]), random_inputs(9, 1200))
    assert main(["--agent_path", str(folder), "--n_pairs", "5"]) == 0
    summary = json.loads((folder / "activation_inputs" / "pairs.meta.json").read_text())["summary"]
    assert summary["possible"] > summary["compared"] == 1000
    assert "1000" in capsys.readouterr().err
    assert main(["--agent_path", str(folder), "--n_pairs", "120", "--overwrite"]) == 0
    assert "1000" not in capsys.readouterr().err
