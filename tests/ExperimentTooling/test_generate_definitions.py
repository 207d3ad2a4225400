"""Definitions made for an agent: layers and widths are the agent's own; the shipped file is the example agent's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.ExperimentTooling import generate_definitions, run_experiments
from Neuron_Selection.FileFormats.definitions import load_definitions, load_random_sets, positions_of
from tests.conftest import ROOT
from tests.made_agents import mlp_agent, new_dqn, save_dqn
from tests.raised import INPUT_AND_OUTPUT, Parts, parts, raises, reports

SHIPPED = ROOT / "Neuron_Selection" / "ExperimentTooling" / "Definitions" / "useful_neurons.json"
EXAMPLE = ROOT / "examples" / "lava_crossing" / "agent"


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    return mlp_agent(tmp_path / "agent", net_arch=[5, 3])


def generate(agent: Path, *words: str) -> int:
    return generate_definitions.main(["--agent_path", str(agent), *words])


def test_the_shipped_file_is_every_hidden_neuron_of_the_example_agent(tmp_path: Path) -> None:
    made = tmp_path / "made.json"
    assert generate(EXAMPLE, "--output", str(made)) == 0
    assert made.read_bytes() == SHIPPED.read_bytes()
    patches = load_definitions(SHIPPED)
    assert patches == [{layer: [neuron]} for layer in ("q_net.0", "q_net.2") for neuron in range(128)]


def test_published_definitions_have_the_same_form(published_files: Path) -> None:
    published = load_definitions(published_files / "useful_neurons.json")
    assert published == [{layer: [neuron]} for layer in ("q_net.0", "q_net.2") for neuron in range(64)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [{"q_net.0": [n]} for n in range(5)] + [{"q_net.2": [n]} for n in range(3)]),
        (["--type", "layer"], [{"q_net.0": "all"}, {"q_net.2": "all"}]),
        (["--type", "layer", "--layers", "q_net.3", "q_net.1"], [{"q_net.1": "all"}, {"q_net.3": "all"}]),
        (["--type", "groups", "--group_size", "2"],
         [{"q_net.0": [0, 1]}, {"q_net.0": [2, 3]}, {"q_net.0": [4]}, {"q_net.2": [0, 1]}, {"q_net.2": [2]}]),
        (["--type", "groups", "--layers", "q_net.2"], [{"q_net.2": [0, 1, 2]}]),
        (["--type", "custom", "--patch_spec", "q_net.2:1;q_net.0:0-2", "q_net.2:all"],
         [{"q_net.0": [0, 1, 2], "q_net.2": [1]}, {"q_net.2": "all"}]),
    ],
)  # fmt: skip
def test_every_type(words: list[str], expected: list[object], agent: Path) -> None:
    assert generate(agent, *words, "--output", str(agent / "d.json")) == 0
    assert json.loads((agent / "d.json").read_text()) == expected


def test_random_sets_are_of_the_same_sizes_new_and_follow_from_the_seed(agent: Path) -> None:
    words = ["--type", "custom", "--patch_spec", "q_net.0:0,1;q_net.2:0", "q_net.0:1,0;q_net.2:2", "--random_sets", "6"]
    lists = []
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert generate(agent, *words, "--seed", seed, "--output", str(agent / f"{name}.json")) == 0
        lists.append(load_definitions(agent / f"{name}.json"))
    assert lists[0] == lists[1] != lists[2]
    assert len(lists[0]) == 2 + 6
    sets = {json.dumps({layer: sorted(neurons) for layer, neurons in patch.items()}) for patch in lists[0]}
    assert len(sets) == 8
    for patch in lists[0]:
        assert [len(patch["q_net.0"]), len(patch["q_net.2"])] == [2, 1]


def test_which_sets_are_random_is_recorded_next_to_the_list(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--type", "custom", "--patch_spec", "q_net.0:0,1", "q_net.2:1", "--output", str(agent / "d.json")]
    assert generate(agent, *words, "--random_sets", "2") == 0
    assert load_random_sets(agent / "d.json") == (3, 4, 5, 6)
    stored = json.loads((agent / "d.meta.json").read_text())
    assert stored["run"]["random_sets"] == [3, 4, 5, 6]
    capsys.readouterr()
    assert generate(agent, *words, "--random_sets", "2") == 0
    assert "up to date, left as it is" in capsys.readouterr().err
    assert generate(agent, *words, "--overwrite") == 0  # no random sets, hence no metadata
    assert not (agent / "d.meta.json").exists()
    assert load_random_sets(agent / "d.json") == ()


def test_a_list_that_was_edited_no_longer_matches_its_metadata(agent: Path) -> None:
    path = agent / "d.json"
    words = ["--type", "custom", "--patch_spec", "q_net.0:0,1", "--random_sets", "2", "--output", str(path)]
    assert generate(agent, *words) == 0
    path.write_text('[{"q_net.0": [1, 2]}, {"q_net.0": [0, 1]}]')
    error = parts(file=agent / "d.meta.json", problem="does not belong to d.json")
    with raises(InputError, **error):
        load_random_sets(path)
    with reports(InputError, **error):
        assert run_experiments.main(["--agent_path", str(agent), "--definitions", str(path)]) == 2
    (agent / "d.meta.json").unlink()
    assert load_random_sets(path) == ()


@pytest.mark.parametrize("random_sets", [[0], [5], [True], "2", None, [1, 2, 3, 4]])
def test_random_sets_that_are_no_positions_are_refused(random_sets: object) -> None:
    expected = "a list of some of the positions from 1"
    with raises(InputError, file="d.meta.json", field="run.random_sets", found=shown(random_sets), expected=expected):
        positions_of(random_sets, "d.meta.json", count=4)


def test_metadata_of_other_files_and_the_agent_are_not_written_over(agent: Path) -> None:
    other, archive = agent / "d.meta.json", (agent / "agent.zip").read_bytes()
    other.write_text('{"results_sha256": ""}')
    words = ["--type", "custom", "--patch_spec", "q_net.0:0,1", "--output", str(agent / "d.json")]
    with reports(InputError, file=other, flags=["--output"]):
        assert generate(agent, *words, "--random_sets", "2") == 2
    assert generate(agent, *words) == 0
    assert other.read_text() == '{"results_sha256": ""}'
    with reports(InputError, file=agent / "agent.zip", problem=INPUT_AND_OUTPUT):
        assert generate(agent, "--output", str(agent / "agent.zip"), "--overwrite") == 2
    assert (agent / "agent.zip").read_bytes() == archive


def test_hidden_layers_of_a_cnn_are_its_convolutions_and_linears(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (1, 36, 36), np.uint8)
    agent = save_dqn(tmp_path / "cnn", new_dqn(space, policy="CnnPolicy", n_actions=2, net_arch=[4]))
    assert generate(agent, "--type", "layer") == 0
    assert [next(iter(patch)) for patch in load_definitions(agent / "layer_definitions.json")] == [
        "features_extractor.cnn.0", "features_extractor.cnn.2", "features_extractor.cnn.4",
        "features_extractor.linear.0", "q_net.0",
    ]  # fmt: skip


def test_the_same_list_is_left_alone_and_another_is_refused(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(agent) == 0
    path = agent / "single_neuron_definitions.json"
    before = path.read_bytes()
    assert generate(agent) == 0
    assert "up to date, left as it is" in capsys.readouterr().err
    path.write_text("[]")
    with reports(InputError, file=path, flags=["--overwrite"]):
        assert generate(agent) == 2
    assert generate(agent, "--overwrite") == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--type", "custom"], parts(flags=["--patch_spec", "--type"])),
        (["--patch_spec", "q_net.0:1"], parts(flags=["--patch_spec", "--type"])),
        (
            ["--type", "custom", "--patch_spec", "q_net.0:9"],
            parts(file="patch spec", found="neuron 9 in q_net.0", expected="0..4"),
        ),
        (["--type", "custom", "--patch_spec", "q_net.0:1", "q_net.0:1"], parts(names=["'q_net.0:1'"])),
        (["--type", "custom", "--patch_spec", "q_net.0:1,2", "q_net.0:2,1"], parts(names=["'q_net.0:2,1'"])),
        (
            ["--type", "custom", "--patch_spec", "q_net.0:1", "--layers", "q_net.0"],
            parts(flags=["--layers", "--patch_spec"]),
        ),
        (["--group_size", "2"], parts(flags=["--group_size", "--type"])),
        (["--layers", "q_net.7"], parts(file="q_net", names=["'q_net.7'"])),
        (["--type", "groups", "--group_size", "0"], parts(names=["--group_size", "'0'"])),
        (["--type", "neurons"], parts(names=["--type", "'neurons'"])),
        (["--random_sets", "1"], parts(field="--random_sets 1", problem="there are fewer other sets of 1 of q_net.0")),
        (["--type", "layer", "--random_sets", "2"], parts(flags=["--random_sets"])),
        (
            ["--type", "custom", "--patch_spec", "q_net.2:all", "--random_sets", "2"],
            parts(flags=["--random_sets"]),
        ),
        (["--seed", "1"], parts(flags=["--seed", "--random_sets"])),
    ],
)
def test_faulty_flags_are_refused_and_nothing_is_written(words: list[str], error: Parts, agent: Path) -> None:
    before = sorted(agent.iterdir())
    with reports(InputError if error.get("file") == "q_net" else UsageError, **error):
        assert generate(agent, *words) == 2
    assert sorted(agent.iterdir()) == before


def test_a_network_without_hidden_layers_requires_layers(tmp_path: Path) -> None:
    agent = mlp_agent(tmp_path / "agent", net_arch=[])
    with reports(UsageError, flags=["--layers"], names=["features_extractor.flatten, q_net.0"]):
        assert generate(agent) == 2
    assert generate(agent, "--layers", "q_net.0") == 0
