from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.ObservationTooling import verify_pairs
from Neuron_Selection.ObservationTooling.pair_making import make_pairs
from Neuron_Selection.ObservationTooling.pair_making.verification import verify_made_pairs
from Neuron_Selection.PatchingTooling import open_agent
from tests.made_agents import mlp_agent
from tests.made_worlds import dict_agent, dict_inputs, random_inputs, with_visited
from tests.raised import parts, raises, reports


@pytest.fixture(scope="module")
def agents(tmp_path_factory):
    """An agent with vectors and one with Dict observations."""
    folder = tmp_path_factory.mktemp("agents")
    with_visited(mlp_agent(folder / "mlp", width=9, net_arch=[12]), random_inputs(9, 40, values=4))
    with_visited(dict_agent(folder / "dict"), dict_inputs())
    return folder


def made(agents, tmp_path, name, method, group="entries"):
    folder = shutil.copytree(agents / name, tmp_path / name)
    make_pairs(open_agent(folder), method=method, group=group, n_pairs=8)
    return folder


@pytest.mark.parametrize(
    ("name", "method", "group"),
    [
        ("mlp", "nearest", "entries"),
        ("mlp", "features", "entries"),
        ("dict", "nearest", "entries"),
        ("dict", "features", "entries"),
        ("dict", "features", "cells"),
        ("dict", "features", "keys"),
    ],
)
def test_pairs_of_every_method_and_group_are_rebuilt_from_the_visited_inputs(
    agents, tmp_path, name, method, group, capsys
):
    folder = made(agents, tmp_path, name, method, group)
    assert verify_pairs.main(["--agent_path", str(folder)]) == 0
    assert capsys.readouterr().out == "8 pairs rebuilt, all bit for bit the same\n"


def changed(path, change):
    document = json.loads(path.read_text())
    change(next(iter(document.values())))
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("side", ["clean", "corrupted"])
@pytest.mark.parametrize("method", ["nearest", "features"])
def test_one_number_off_is_found(agents, tmp_path, method, side):
    folder = made(agents, tmp_path, "mlp", method)
    changed(folder / "activation_inputs" / f"{side}_inputs.json", lambda entry: entry["input"].__setitem__(2, 0.5))
    inputs = folder / "activation_inputs"
    with reports(
        InputError, file=inputs, field=re.compile(rf"{side} input 'state-\d+'"), problem=re.compile(".* 1 .*")
    ):
        assert verify_pairs.main(["--agent_path", str(folder)]) == 2


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"donor": "nobody"}, parts(file="visited_inputs.json", names=["nobody"])),
        ({"taken": ["entry 99"]}, parts(file=..., names=["entry 99"])),
        ({"corrupted_action": 7}, parts(file=..., field=re.compile(".*_action"), found="7", expected=...)),
        ({"clean_margin": True}, parts(file="pairs.json", field=re.compile(".*_margin"), found="true", expected=...)),
    ],
)
def test_a_wrong_record_is_refused(agents, tmp_path, change, error):
    folder = made(agents, tmp_path, "mlp", "features")
    changed(folder / "activation_inputs" / "pairs.json", lambda record: record.update(change))
    with reports(InputError, **error):
        assert verify_pairs.main(["--agent_path", str(folder)]) == 2


def test_visited_inputs_that_changed_since_are_noticed(agents, tmp_path):
    folder = made(agents, tmp_path, "mlp", "nearest")
    path = folder / "activation_inputs" / "visited_inputs.json"
    path.write_text(path.read_text() + "\n")
    with raises(InputError, file=path, problem=...):
        verify_made_pairs(open_agent(folder), folder / "activation_inputs", environment=lambda _: None)


def test_inputs_of_other_pairs_are_refused(agents, tmp_path):
    folder = made(agents, tmp_path, "mlp", "nearest")
    path = folder / "activation_inputs" / "clean_inputs.json"
    document = json.loads(path.read_text())
    document.pop(next(iter(document)))
    path.write_text(json.dumps(document))
    with reports(InputError, file=path, problem=..., hint=...):
        assert verify_pairs.main(["--agent_path", str(folder)]) == 2


def test_pairs_in_another_folder_are_verified_there(agents, tmp_path):
    folder = shutil.copytree(agents / "mlp", tmp_path / "mlp")
    make_pairs(open_agent(folder), n_pairs=4, output_dir=str(tmp_path / "out"))
    words = ["--agent_path", str(folder), "--pairs", str(tmp_path / "out")]
    assert verify_pairs.main(words) == 0
    (tmp_path / "moved").mkdir()
    shutil.move(folder / "activation_inputs" / "visited_inputs.json", tmp_path / "moved" / "states.json")
    assert verify_pairs.main(words) == 2
    assert verify_pairs.main([*words, "--inputs", str(tmp_path / "moved" / "states.json")]) == 0


def test_the_number_of_differing_entries_is_that_of_the_visited_inputs(agents, tmp_path):
    folder = made(agents, tmp_path, "mlp", "nearest")
    records = json.loads((folder / "activation_inputs" / "pairs.json").read_text())
    visited = json.loads((folder / "activation_inputs" / "visited_inputs.json").read_text())
    for name, record in records.items():
        assert record["differing_entries"] == int(
            (np.array(visited[name]["input"]) != visited[record["donor"]]["input"]).sum()
        )
