"""attribute_neurons.py and find_interactions.py: their files, closing commands, remarks and faults."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.ExperimentTooling import attribute_neurons as attribute_script
from Neuron_Selection.ExperimentTooling import find_interactions as interactions_script
from Neuron_Selection.ExperimentTooling.attribution import attribute_neurons
from Neuron_Selection.ExperimentTooling.interactions import find_interactions
from Neuron_Selection.FileFormats.inputs import save_inputs
from Neuron_Selection.FileFormats.results.attribution_file import ATTRIBUTION_FILES, NEURON_COLUMNS
from Neuron_Selection.FileFormats.results.interactions_file import (
    INTERACTION_COLUMNS,
    INTERACTION_FILES,
    PLAYER_COLUMNS,
)
from Neuron_Selection.FileFormats.results.result_files import ResultFiles
from Neuron_Selection.PatchingTooling import open_agent
from tests.in_process import typed
from tests.made_agents import planted_agent
from tests.raised import DIFFERENT_RUN, NO_SUCH_FILE, Parts, parts, raises, reports

MAINS = {"attribution": attribute_script.main, "interactions": interactions_script.main}
WORDS = {"attribution": [], "interactions": ["--resamples", "99", "--neurons", "5"]}
FILES: dict[str, ResultFiles] = {"attribution": ATTRIBUTION_FILES, "interactions": INTERACTION_FILES}
by_script = pytest.mark.parametrize("script", MAINS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agent folder with 20 pairs, some of them without contrast."""
    random, sides = np.random.default_rng(3), [4, 9, 7, 3]
    layers = [(random.normal(size=(b, a)), random.normal(size=b)) for a, b in itertools.pairwise(sides)]
    folder = planted_agent(tmp_path_factory.mktemp("made") / "agent", layers)
    for name in ("clean", "corrupted"):
        observations = {f"id;{n},0": row for n, row in enumerate(random.normal(size=(20, 4)).astype(np.float32))}
        save_inputs(folder / "activation_inputs" / f"{name}_inputs.json", observations)
    return folder


@pytest.fixture
def agent(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "agent"))


def run(script: str, agent: Path, *words: str) -> int:
    own = [word for word in WORDS[script] if "--all" not in words or word not in ("--neurons", "5")]
    return MAINS[script](["--agent_path", str(agent), "--quiet", *own, *words])


def results(script: str, agent: Path) -> Path:
    return agent / "patching_results" / f"{script}.json"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_neuron_has_its_row_and_every_pair_its_numbers(agent: Path) -> None:
    assert run("attribution", agent) == 0
    document = ATTRIBUTION_FILES.load(results("attribution", agent))
    rows = rows_of(agent / "patching_results" / "attribution.csv")
    assert tuple(rows[0]) == NEURON_COLUMNS
    assert len(rows) == 2 * (9 + 7)
    arrays = np.load(agent / "patching_results" / "attribution_pairs.npz")
    assert len(arrays.files) == 2 * 2 * 4
    for direction, layers in document.items():
        for layer, site in layers.items():
            assert site["contrast_pairs"] == len(site["pairs"]) < site["pairs_given"] == 20
            assert site["path"]["method"] == "exact"
            assert site["path"]["greatest_residual"] < 1e-10
            assert site["path"]["flips"] == site["path"]["flips_verified"] == site["contrast_pairs"]
            chosen = [row for row in rows if (row["direction"], row["layer"]) == (direction, layer)]
            effects = arrays[f"{direction}_{layer}_effect"]
            assert effects.shape == (site["contrast_pairs"], len(chosen))
    for site in (layers["q_net.3"] for layers in document.values()):
        for estimate in site["estimates"].values():
            assert estimate["recall"]["top_1"] == estimate["recall"]["top_5"] == 1.0
            assert estimate["spearman"] == pytest.approx(1.0)


def test_every_two_neurons_have_their_row_and_q_is_over_all_of_them(agent: Path) -> None:
    from scipy.stats import false_discovery_control

    assert run("interactions", agent) == 0
    rows = rows_of(agent / "patching_results" / "interactions.csv")
    assert tuple(rows[0]) == INTERACTION_COLUMNS
    assert len(rows) == 2 * 10
    for direction in ("denoising", "noising"):
        p, q = ([float(row[name]) for row in rows if row["direction"] == direction] for name in ("p", "q"))
        assert q == pytest.approx(false_discovery_control(p))
    for row in rows:
        pieces = [float(row[name]) for name in ("effect", "other_effect", "interaction")]
        assert float(row["effect_together"]) == pytest.approx(sum(pieces), abs=1e-12)
    neurons = rows_of(agent / "patching_results" / "interactions_neurons.csv")
    assert tuple(neurons[0]) == PLAYER_COLUMNS
    document = INTERACTION_FILES.load(results("interactions", agent))
    for direction, one in document.items():
        values = [float(row["shapley"]) for row in neurons if row["direction"] == direction]
        assert one["shapley"]["method"] == "all subsets"
        assert sum(values) == pytest.approx(one["shapley"]["total"])
        assert sum(one["kinds"].values()) == 10


def test_the_neurons_are_those_of_largest_mean_effect_over_the_directions(agent: Path) -> None:
    for script in MAINS:
        assert run(script, agent) == 0
    sizes: dict[int, float] = {}
    for row in rows_of(agent / "patching_results" / "attribution.csv"):
        if row["layer"] == "q_net.1":
            sizes[int(row["neuron"])] = sizes.get(int(row["neuron"]), 0.0) + abs(float(row["effect"]))
    one = INTERACTION_FILES.load(results("interactions", agent))["denoising"]
    assert [row["neuron"] for row in one["neurons"]] == sorted(sorted(sizes, key=lambda neuron: -sizes[neuron])[:5])


def test_all_neurons_of_two_layers(agent: Path) -> None:
    assert run("interactions", agent, "--all", "--layers", "q_net.3", "q_net.1", "--permutations", "20") == 0
    one = INTERACTION_FILES.load(results("interactions", agent))["noising"]
    assert one["layers"] == ["q_net.1", "q_net.3"]
    movable = {(row["layer"], row["neuron"]) for row in one["neurons"]}
    assert 9 < len(movable) <= 16
    again = ["--all", "--layers", "q_net.3", "q_net.1", "--permutations", "0", "--overwrite"]
    assert run("interactions", agent, *again) == 0
    found = INTERACTION_FILES.load(results("interactions", agent))["noising"]["shapley"]
    assert found is not None
    assert found["method"] == "all subsets"


def test_the_printed_commands_run_as_they_stand(agent: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(agent.parent)
    for script, main in MAINS.items():
        assert main(["--agent_path", str(agent), *WORDS[script], "--output_prefix", f"own_{script}"]) == 0
        (following,) = re.findall(r"^next: (python .*)$", capsys.readouterr().err, re.MULTILINE)
        done = typed(following, agent.parent)
        assert done.returncode == 0, done.stderr


@by_script
def test_the_same_run_is_left_as_it_is_and_another_is_refused(script: str, agent: Path, capsys: Any) -> None:
    assert run(script, agent) == 0
    folder = results(script, agent).parent
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert MAINS[script](["--agent_path", str(agent), *WORDS[script]]) == 0
    assert "up to date, left as it is" in capsys.readouterr().err
    with reports(InputError, file=results(script, agent), problem=DIFFERENT_RUN):
        assert run(script, agent, "--direction", "noising") == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert run(script, agent, "--direction", "noising", "--overwrite") == 0
    assert list(FILES[script].load(results(script, agent))) == ["noising"]


@by_script
def test_the_same_run_writes_the_same_bytes(script: str, agent: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        assert run(script, agent, "--output_dir", str(tmp_path / name)) == 0
    one, other = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "other"))
    assert len(one) == 4
    assert one == other


@by_script
def test_pairs_without_contrast_are_counted_and_nothing_is_made_up(script: str, agent: Path, capsys: Any) -> None:
    assert run(script, agent, "--corrupted", "clean_inputs.json") == 0
    assert "20 of 20 pairs have no contrast" in capsys.readouterr().out
    assert run(script, agent, "--corrupted", "clean_inputs.json", "--json") == 0
    json.loads(capsys.readouterr().out)
    document = FILES[script].load(results(script, agent))
    sites = document["denoising"].values() if script == "attribution" else [document["denoising"]]
    for site in sites:
        assert site["contrast_pairs"] == 0
        assert not site["estimates" if script == "attribution" else "neurons"]


@by_script
def test_single_pairs_and_hooks(script: str, agent: Path, capsys: Any) -> None:
    assert run(script, agent, "--json") == 0
    chosen = (
        json.loads(results("attribution", agent).read_text())["noising"]["q_net.1"]["pairs"]
        if (script == "attribution")
        else {"id;1,0": None, "id;0,0": None, "id;2,0": None, "id;3,0": None}
    )
    some = list(chosen)[:4]
    words = ["--input_ids", *some, "--dtype", "float32", "--layers", "q_net.1", "--overwrite", "--json"]
    capsys.readouterr()
    assert run(script, agent, *words) == 0
    assert json.loads(capsys.readouterr().out)["engine"] == "torch"


@pytest.mark.parametrize(
    ("script", "arguments", "error"),
    [
        ("attribution", {"steps": 0}, parts(field="steps", found="0", expected="a whole number from 1 to 10000")),
        (
            "attribution",
            {"output_prefix": "../up"},
            parts(field="output prefix", found="'../up'", expected="a plain file name"),
        ),
        ("interactions", {"neurons": 1}, parts(field="neurons", found="1", expected="a whole number from 2")),
        (
            "interactions",
            {"threshold": float("nan")},
            parts(field="threshold", found="nan", expected="a number from 0"),
        ),
        ("interactions", {"q_threshold": 2.0}, parts(field="q_threshold", found="2", expected="a number from 0 to 1")),
        (
            "interactions",
            {"permutations": 1},
            parts(field="permutations", found="1", expected="0 or a whole number from 2"),
        ),
        (
            "interactions",
            {"confidence": 1.0},
            parts(field="confidence", found="1", expected="a number between 0 and 1"),
        ),
        (
            "interactions",
            {"layers": ["q_net.1", "q_net.2", "q_net.3"]},
            parts(field="--layers", found="3 layers", expected="one or two"),
        ),
    ],
)
def test_numbers_out_of_range_are_refused(script: str, arguments: Any, error: Parts, agent: Path) -> None:
    call: Any = {"attribution": attribute_neurons, "interactions": find_interactions}[script]
    with raises(UsageError, **error):
        call(open_agent(agent), **arguments)
    assert not (agent / "patching_results").exists()


@by_script
def test_what_is_not_there_is_refused_and_nothing_is_written(script: str, agent: Path) -> None:
    opened = open_agent(agent)
    call: Any = {"attribution": attribute_neurons, "interactions": find_interactions}[script]
    for arguments, error in (
        ({"layers": ["q_net.9"]}, parts(file="q_net", names=["'q_net.9'"])),
        ({"clean": "none.json"}, parts(file="none.json", problem=NO_SUCH_FILE)),
        ({"input_ids": ["id;99,0"]}, parts(file="clean_inputs.json", names=["'id;99,0'"])),
    ):
        with raises(InputError, **error):
            call(opened, **arguments)
    assert not (agent / "patching_results").exists()


@by_script
def test_files_that_do_not_belong_together_are_refused(script: str, agent: Path) -> None:
    assert run(script, agent) == 0
    path = results(script, agent)
    table = path.with_suffix(".csv")
    table.write_text(table.read_text() + "more\n")
    with raises(InputError, file=f"{script}.meta.json", problem="does not match the files next to it"):
        FILES[script].load(path)
    for content, found in (("[]", "a list"), ("{}", "an object"), ('{"denoising": 1}', "a direction without results")):
        path.write_text(content)
        expected = re.compile("an object {direction: .*")
        with raises(InputError, file=path, field=..., found=found, expected=expected):
            FILES[script].load(path)


def test_the_intervals_of_all_pairs_take_fewer_resamples_unless_a_number_is_given(agent: Path, capsys: Any) -> None:
    expected = {"--all": (999, 9999), "--all --resamples 99": (99, 99), "--neurons 3": (9999, 9999)}
    for words, numbers in expected.items():
        command = ["--agent_path", str(agent), "--direction", "noising", "--overwrite", *words.split()]
        assert interactions_script.main(command) == 0
        stored = INTERACTION_FILES.load(results("interactions", agent))["noising"]["resamples"]
        assert (stored["intervals"], stored["p"]) == numbers
        assert ("intervals of 999 resamples" in capsys.readouterr().out) == (numbers[0] != numbers[1])
