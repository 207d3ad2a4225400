"""find_minimal_sets.py: its files, its ``next:`` command, its errors."""

from __future__ import annotations

import csv
import itertools
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import activation_patching
from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.ExperimentTooling.find_minimal_sets import main
from Neuron_Selection.FileFormats.inputs import save_inputs
from Neuron_Selection.FileFormats.results.minimal_sets_file import (
    CURVE_COLUMNS,
    MINIMAL_SET_FILES,
    SET_COLUMNS,
)
from tests.conftest import ROOT
from tests.made_agents import planted_agent
from tests.raised import DIFFERENT_RUN, INPUT_AND_OUTPUT, NO_SUCH_FILE, Parts, parts, raises, reports

SCRIPT = ROOT / "Neuron_Selection" / "ExperimentTooling" / "find_minimal_sets.py"
FILES = ["minimal_sets.csv", "minimal_sets.json", "minimal_sets.meta.json", "minimal_sets_curves.csv"]


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


def run(agent: Path, *words: str) -> int:
    return main(["--agent_path", str(agent), "--quiet", *words])


def results(agent: Path) -> Path:
    return agent / "patching_results" / "minimal_sets.json"


def test_every_pair_has_its_set_in_the_document_and_in_the_table(agent: Path, capsys: Any) -> None:
    assert run(agent, "--budget", "5000") == 0
    printed = capsys.readouterr().out
    document = MINIMAL_SET_FILES.load(results(agent))
    assert [(d, list(layers)) for d, layers in document.items()] == [
        ("denoising", ["q_net.1", "q_net.3"]), ("noising", ["q_net.1", "q_net.3"]),
    ]  # fmt: skip
    assert sorted(path.name for path in results(agent).parent.iterdir()) == FILES
    with results(agent).with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == SET_COLUMNS
    by_key = {(row["direction"], row["layer"], row["input_id"]): row for row in rows}
    assert len(by_key) == len(rows)
    for direction, layers in document.items():
        for layer, reported in layers.items():
            assert 0 < reported["contrast_pairs"] == len(reported["pairs"]) < reported["pairs_given"] == 20
            for input_id, pair in [*reported["pairs"].items(), ("", reported["together"])]:
                row = by_key[direction, layer, input_id]
                assert int(row["size"]) == pair["size"] == len(pair["patch"][layer])
                assert row["is_smallest"] == str(pair["smallest"]["is_smallest"]).lower() == "true"
                assert pair["patch"][layer] in pair["family"]["sets"] or not pair["is_minimal"]
    with (results(agent).parent / "minimal_sets_curves.csv").open(newline="") as file:
        assert tuple(next(csv.reader(file))) == CURVE_COLUMNS
    left_out = 20 - document["noising"]["q_net.3"]["contrast_pairs"]
    assert f"{left_out} of 20 pairs have no contrast and are left out: there is nothing to explain" in printed
    assert "engine numpy, float64" in printed


def test_the_closing_command_runs_and_serves_every_pair(agent: Path, capsys: Any) -> None:
    assert run(agent, "--direction", "denoising", "--json") == 0
    command = json.loads(capsys.readouterr().out)["next"]
    words = shlex.split(command)
    assert words[0] == "python"
    assert Path(words[1]).name == "activation_patching.py"
    assert activation_patching.main([*words[2:], "--quiet"]) == 0
    patched = json.loads((agent / "patching_results" / "minimal_sets_patched.json").read_text())
    reported = MINIMAL_SET_FILES.load(results(agent))["denoising"]["q_net.1"]["pairs"]
    assert len(reported) > 5
    assert all(patched[input_id]["matches_source"] for input_id in reported)


def test_a_certificate_holds_when_activation_patching_runs_it(agent: Path) -> None:
    assert run(agent, "--layers", "q_net.1", "--direction", "noising", "--goal", "flip") == 0
    reported = MINIMAL_SET_FILES.load(results(agent))["noising"]["q_net.1"]["pairs"]
    input_id, pair = max(reported.items(), key=lambda item: item[1]["size"])
    neurons = pair["patch"]["q_net.1"]
    assert len(neurons) > 1
    sets = [neurons, *([other for other in neurons if other != one] for one in neurons)]
    specs = ["q_net.1:" + ",".join(map(str, one)) for one in sets]
    flags = ["--agent_path", str(agent), "--direction", "noising", "--input_ids", input_id, "--quiet"]
    assert activation_patching.main([*flags, "--patch_spec", *specs]) == 0
    experiments = json.loads((agent / "patching_results" / "patching.json").read_text())
    changed = [one["results"][input_id]["action_changed"] for one in experiments.values()]
    assert changed == [True, *[False] * len(neurons)]


def test_the_same_search_is_left_alone_and_another_requires_overwrite(agent: Path, capsys: Any) -> None:
    assert run(agent) == 0
    first = capsys.readouterr().out
    before = {path.name: path.read_bytes() for path in results(agent).parent.iterdir()}
    assert main(["--agent_path", str(agent)]) == 0
    again = capsys.readouterr()
    assert again.out == first
    assert "up to date, left as it is" in again.err
    with reports(InputError, file=results(agent), problem=DIFFERENT_RUN):
        assert run(agent, "--goal", "flip") == 2
    assert {path.name: path.read_bytes() for path in results(agent).parent.iterdir()} == before
    assert run(agent, "--goal", "flip", "--overwrite") == 0
    metadata = MINIMAL_SET_FILES.stored(results(agent)).complete
    assert metadata is not None
    assert (metadata["run"]["goal"], metadata["run"]["engine"]) == ("flip", "numpy")
    table = results(agent).with_suffix(".csv")
    table.write_text(table.read_text() + "more\n")
    assert MINIMAL_SET_FILES.stored(results(agent)).complete is None


def test_the_same_search_writes_the_same_bytes(agent: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        assert run(agent, "--output_dir", str(tmp_path / name), "--budget", "300") == 0
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_some_ids_only_and_hooks_where_float32_is_asked_for(agent: Path, capsys: Any) -> None:
    words = ["--dtype", "float32", "--layers", "q_net.1", "--random_orders", "0"]
    assert run(agent, *words) == 0
    assert "gradient_x_difference" in capsys.readouterr().out
    assert run(agent, *words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["engine"] == "torch"
    reported = MINIMAL_SET_FILES.load(results(agent))["denoising"]["q_net.1"]["pairs"]
    chosen = next(iter(reported))
    assert run(agent, "--layers", "q_net.1", "--input_ids", chosen, "--overwrite", "--random_orders", "0") == 0
    alone = MINIMAL_SET_FILES.load(results(agent))["denoising"]["q_net.1"]
    assert list(alone["pairs"]) == [chosen]
    assert alone["pairs"][chosen]["patch"] == reported[chosen]["patch"]


def test_pairs_without_contrast_are_counted_and_nothing_is_made_up(agent: Path, capsys: Any) -> None:
    assert run(agent, "--corrupted", "clean_inputs.json") == 0
    printed = capsys.readouterr().out
    assert "20 of 20 pairs have no contrast" in printed
    assert "next:" not in printed
    reported = MINIMAL_SET_FILES.load(results(agent))["denoising"]["q_net.3"]
    assert (reported["pairs"], reported["together"], reported["curves"]) == ({}, None, [])


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ["--goal", "flips"],
            parts(
                field="goal",
                found="'flips'",
                expected="flip, matches_source or recovery=X with X above 0, as recovery=0.9",
            ),
        ),
        (["--share", "0"], parts(field="share", found="0", expected="a number above 0, at most 1")),
        (["--share", "nan"], parts(field="share", found="nan", expected="a number above 0, at most 1")),
        (["--share", "x"], parts(names=["--share", "'x'"])),
        (["--budget", "-1"], parts(names=["--budget", "'-1'"])),
        (["--layers", "q_net.9"], parts(file="q_net", names=["'q_net.9'"])),
        (["--layers", "q_net"], parts(field="layer 'q_net'", names=["q_net.0, q_net.1"])),
        (["--input_ids", "id;0"], parts(file="clean_inputs.json", names=["'id;0'"])),
        (["--clean", "none.json"], parts(file="none.json", problem=NO_SUCH_FILE)),
        (["--output_prefix", "../up"], parts(field="output prefix", found="'../up'", expected="a plain file name")),
        (
            ["--goal", "recovery=0.9", "--share", "0.1"],
            parts(flags=["--share", "--goal"]),
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_written(words: list[str], error: Parts, agent: Path) -> None:
    with reports(InputError if "file" in error else UsageError, **error):
        assert run(agent, *words) == 2
    assert not (agent / "patching_results").exists()


def test_inputs_that_only_one_side_has_are_refused_and_not_dropped(agent: Path) -> None:
    path = agent / "activation_inputs" / "clean_inputs.json"
    document = json.loads(path.read_text())
    some = dict(list(document.items())[:8])
    path.write_text(json.dumps(some))
    expected = "the 8 ids of the clean inputs"
    with reports(InputError, file="corrupted_inputs.json", found="20 inputs", expected=expected):
        assert run(agent) == 2
    assert run(agent, "--input_ids", *some) == 0


def test_a_search_does_not_write_over_what_it_reads(agent: Path) -> None:
    (agent / "patching_results").mkdir()
    clean = agent / "patching_results" / "minimal_sets.json"
    shutil.copy(agent / "activation_inputs" / "clean_inputs.json", clean)
    before = clean.read_bytes()
    with reports(InputError, file=clean, problem=INPUT_AND_OUTPUT):
        assert run(agent, "--clean", str(clean), "--overwrite") == 2
    assert clean.read_bytes() == before


def test_progress_is_reported_by_layer_if_hooks_take_long(agent: Path, capsys: Any) -> None:
    words = ["--agent_path", str(agent), "--direction", "noising", "--random_orders", "0"]
    assert main([*words, "--dtype", "float32"]) == 0
    err = capsys.readouterr().err
    assert [line for line in err.splitlines() if ": layer " in line] == [
        "noising, q_net.1: layer 1 of 2", "noising, q_net.3: layer 2 of 2",
    ]  # fmt: skip
    assert main([*words, "--overwrite"]) == 0
    assert "layer 1 of 2" not in capsys.readouterr().err


def test_another_document_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "minimal_sets.json"
    path.write_text('["denoising"]')
    with raises(InputError, file="minimal_sets.json", found="a list", expected="an object {direction: ...}"):
        MINIMAL_SET_FILES.load(path)


def test_the_script_starts_from_anywhere_without_torch(agent: Path, tmp_path: Path) -> None:
    code = (
        f"import runpy, sys\nsys.argv = [{str(SCRIPT)!r}, '--agent_path', {str(agent)!r}]\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "assert not {'torch', 'stable_baselines3', 'scipy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
