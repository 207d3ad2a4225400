"""run_experiments.py: up-to-date files stay, interrupted runs end with the same bytes, and errors."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Neuron_Selection.errors import CheckError, EngineError, InputError, UsageError
from Neuron_Selection.ExperimentTooling import run_experiments
from Neuron_Selection.ExperimentTooling.sweeps import run as sweep_run
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from tests.conftest import ROOT
from tests.made_agents import mlp_agent, new_dqn, save_dqn
from tests.raised import DIFFERENT_RUN, INPUT_AND_OUTPUT, NO_SUCH_FILE, Parts, parts, reports

IDS = ["env-v0-81110-6,4,0-0763", "a/b", "a:b", "plain"]


def put_inputs(folder: Path, count: int, width: int, ids: list[str] | None = None) -> None:
    (folder / "activation_inputs").mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for name in ("clean", "corrupted"):
        values = random.uniform(-9, 9, (count, width)).round(3).tolist()
        document = {
            input_id: {"input": row} for input_id, row in zip(ids or [*map(str, range(count))], values, strict=True)
        }
        (folder / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = mlp_agent(tmp_path_factory.mktemp("template") / "agent")
    put_inputs(folder, 4, 4, IDS)
    return folder


@pytest.fixture
def agent(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "agent"))


def run(agent: Path, *words: str) -> int:
    return run_experiments.main(["--agent_path", str(agent), *words])


def sweep_of(agent: Path, name: str = "sweep") -> dict[str, Any]:
    with np.load(agent / "patching_results" / f"{name}.npz") as stored:
        arrays = {key: stored[key] for key in stored.files}
    return {**arrays, "__metadata__": json.loads(arrays["__metadata__"].tobytes())}


def test_the_default_is_every_hidden_neuron_on_every_pair_in_both_directions(
    agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(agent, "--json") == 0
    reported = json.loads(capsys.readouterr().out)
    assert (reported["experiments"], reported["pairs"], reported["engine"], reported["dtype"]) == (
        14,
        4,
        "numpy",
        "float64",
    )
    assert reported["directions"]["noising"] == {"source": "corrupted_inputs.json", "target": "clean_inputs.json"}
    stored = sweep_of(agent)
    assert stored["denoising_q_net.0"].shape == stored["noising_q_net.0"].shape == (4, 8, 3)
    assert stored["denoising_q_net.2"].shape == (4, 6, 3)
    metadata = stored["__metadata__"]
    assert metadata["patches"][8] == {"q_net.2": [0]}
    assert metadata["run"]["dtype"] == "float64"
    assert metadata["noise_floor"] == reported["noise_floor"] > 0
    assert metadata["self_checks"] == {"whole_layer": "passed"}
    assert metadata["ids"] == IDS


def test_a_sweep_imports_neither_torch_nor_scipy(agent: Path) -> None:
    code = (
        "import sys; from Neuron_Selection.ExperimentTooling import run_experiments\n"
        f"assert run_experiments.main(['--agent_path', {str(agent)!r}, '--quiet']) == 0\n"
        "assert not {'torch', 'stable_baselines3', 'gymnasium', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)


def test_a_sweep_that_is_up_to_date_is_left_alone_and_another_is_refused(
    agent: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(agent) == 0
    path = agent / "patching_results" / "sweep.npz"
    before = path.read_bytes()
    assert run(agent, "--ablate", "zero", "--overwrite") == 0
    assert path.read_bytes() != before
    assert run(agent, "--overwrite") == 0
    assert path.read_bytes() == before
    monkeypatch.setattr(sweep_run, "write_sweep", None)
    capsys.readouterr()
    assert run(agent) == 0
    assert "sweep.npz: up to date, left as it is (--overwrite makes it again)" in capsys.readouterr().err
    with reports(InputError, file=path, problem=DIFFERENT_RUN):
        assert run(agent, "--direction", "noising") == 2
    (agent / "activation_inputs" / "clean_inputs.json").write_text(
        (agent / "activation_inputs" / "clean_inputs.json").read_text() + " "
    )
    with reports(InputError, file=path, problem=DIFFERENT_RUN):
        assert run(agent) == 2
    assert path.read_bytes() == before


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_sweep_that_dies_on_the_way_leaves_nothing_and_comes_out_the_same(
    at: int, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(agent, "--output_prefix", "undisturbed", "--by_input") == 0
    usual = NumpyNetwork.patched_many
    calls = iter(range(100))

    def dies(*arguments: Any, **more: Any) -> np.ndarray:
        if next(calls) == at:
            raise KeyboardInterrupt
        return usual(*arguments, **more)

    monkeypatch.setattr(NumpyNetwork, "patched_many", dies)
    assert run(agent, "--by_input") == 130
    folder = agent / "patching_results"
    assert sorted(entry.name for entry in folder.iterdir()) == ["undisturbed", "undisturbed.npz"]
    monkeypatch.setattr(NumpyNetwork, "patched_many", usual)
    assert run(agent, "--by_input") == 0
    assert (folder / "sweep.npz").read_bytes() == (folder / "undisturbed.npz").read_bytes()
    for file in (folder / "undisturbed").rglob("*.json"):
        assert file.read_bytes() == (folder / file.relative_to(folder / "undisturbed")).read_bytes()


@pytest.mark.parametrize("at", [2, 5])  # the first two calls are a check, before there is a file
def test_a_sweep_killed_outright_comes_out_the_same(at: int, agent: Path) -> None:
    """The child kills itself between two groups of experiments, its file open."""
    assert run(agent, "--output_prefix", "undisturbed") == 0
    code = (
        "import itertools, os, signal, sys\n"
        "from Neuron_Selection.ExperimentTooling import run_experiments\n"
        "from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork\n"
        "usual, calls = NumpyNetwork.patched_many, itertools.count()\n"
        "def dies(*arguments, **more):\n"
        f"    if next(calls) == {at}:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return usual(*arguments, **more)\n"
        "NumpyNetwork.patched_many = dies\n"
        f"run_experiments.main(['--agent_path', {str(agent)!r}])\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    folder = agent / "patching_results"
    (left,) = folder.glob(".*.tmp")
    assert not (folder / "sweep.npz").exists()
    left.unlink()
    assert run(agent) == 0
    assert (folder / "sweep.npz").read_bytes() == (folder / "undisturbed.npz").read_bytes()


def test_a_whole_layer_that_does_not_give_the_sources_q_values_stops_the_sweep(
    agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = NumpyNetwork.patched_many
    monkeypatch.setattr(NumpyNetwork, "patched_many", lambda *of, **more: usual(*of, **more) + 0.1)
    with reports(CheckError, file="self-check whole_layer failed", names=["q_net.0"]):
        assert run(agent) == 1
    assert list(agent.glob("patching_results/*.npz")) == []


def test_results_by_input_have_the_published_form(agent: Path) -> None:
    assert run(agent, "--by_input") == 0
    folder = agent / "patching_results"
    stored = sweep_of(agent)
    for direction in ("denoising", "noising"):
        by_id = {}
        for file in (folder / direction).glob("*.json"):
            document = json.loads(file.read_text())
            (input_id,) = {experiment["input_id"] for experiment in document.values()}
            by_id[input_id] = document
        assert set(by_id) == set(IDS)
        document = by_id["a:b"]
        assert list(document) == [f"exp_{n}_q_net.{0 if n < 9 else 2}" for n in range(1, 15)]
        record = document["exp_10_q_net.2"]
        assert record["patch_configuration"] == {"q_net.2": [1]}
        assert record["results"]["patched_output"] == [stored[f"{direction}_q_net.2"][2, 1].tolist()]
        assert record["results"]["direction"] == direction
        assert isinstance(record["results"]["action_changed"], bool)
        assert "kl_divergence" in record["patch_analysis"]
    assert run(agent, "--by_input") == 0
    (folder / "noising" / "plain.json").unlink()
    assert run(agent, "--by_input") == 2
    assert run(agent, "--by_input", "--overwrite") == 0
    assert len(list((folder / "noising").glob("*.json"))) == 4


def test_ablations_are_noising_by_default_and_record_their_kind(agent: Path) -> None:
    assert run(agent, "--ablate", "mean", "--output_prefix", "m", "--by_input") == 0
    stored = sweep_of(agent, "m")
    assert list(stored["__metadata__"]["directions"]) == ["noising"]
    assert stored["__metadata__"]["directions"]["noising"]["source"] == "ablation mean"
    assert stored["__metadata__"]["run"]["ablation"]["ablation"] == "mean"
    document = json.loads((agent / "patching_results" / "m" / "noising" / "plain.json").read_text())
    assert document["exp_1_q_net.0"]["results"]["ablation"] == "mean"
    assert run(agent, "--ablate", "zero", "--direction", "both", "--output_prefix", "z") == 0
    assert list(sweep_of(agent, "z")["__metadata__"]["directions"]) == ["denoising", "noising"]


def test_some_pairs_and_a_dry_run(agent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(agent, "--dry_run", "--input_ids", IDS[0], "plain") == 0
    assert "would run 14 experiments, 2 pairs, denoising and noising; engine numpy (an MLP)" in capsys.readouterr().out
    assert not (agent / "patching_results").exists()
    assert run(agent, "--input_ids", IDS[0], "plain") == 0
    assert sweep_of(agent)["__metadata__"]["ids"] == [IDS[0], "plain"]


def put(name: str, content: str) -> Any:
    return lambda agent: (agent / name).write_text(content)


def remove_one(agent: Path) -> None:
    path = agent / "activation_inputs" / "corrupted_inputs.json"
    document = json.loads(path.read_text())
    del document["plain"]
    path.write_text(json.dumps(document))


DEFINED = ["--definitions", "d.json"]
FAULTS: dict[str, tuple[Any, list[str], Parts]] = {
    "no definitions": (None, DEFINED, parts(file="d.json", problem=NO_SUCH_FILE)),
    "empty list": (
        put("d.json", "[]"),
        DEFINED,
        parts(file="d.json", found="an empty list", expected="a list of patches"),
    ),
    "an object": (
        put("d.json", "{}"),
        DEFINED,
        parts(file="d.json", found="an object", expected="a list of patches, or a circuit"),
    ),
    "no patch": (
        put("d.json", "[3]"),
        DEFINED,
        parts(file="d.json", field="entry 1", found="3", expected="an object {layer: [indices] | 'all'}"),
    ),
    "unknown layer": (
        put("d.json", '[{"q_net.9": [0]}]'),
        DEFINED,
        parts(file="d.json", field="entry 1", names=["'q_net.9'"]),
    ),
    "beyond the width": (
        put("d.json", '[{"q_net.0": [0]}, {"q_net.0": [8]}]'),
        DEFINED,
        parts(file="d.json", field="entry 2", found="neuron 8 in q_net.0", expected="0..7"),
    ),
    "a bool": (
        put("d.json", '[{"q_net.0": [true]}]'),
        DEFINED,
        parts(file="d.json", field="entry 1: 'q_net.0'", found="true", expected="a neuron index from 0"),
    ),
    "negative": (
        put("d.json", '[{"q_net.0": [-1]}]'),
        DEFINED,
        parts(file="d.json", field="entry 1: 'q_net.0'", found="-1", expected="a neuron index from 0"),
    ),
    "a fraction": (
        put("d.json", '[{"q_net.0": [1.0]}]'),
        DEFINED,
        parts(file="d.json", field="entry 1: 'q_net.0'", found="1.0", expected="a neuron index from 0"),
    ),
    "twice in another order": (
        put("d.json", '[{"q_net.0": [5, 6]}, {"q_net.0": [6, 5]}]'),
        DEFINED,
        parts(file="d.json", field="entry 2", problem="'q_net.0:5,6' is also entry 1"),
    ),
    "twice": (
        put("d.json", '[{"q_net.0": [1]}, {"q_net.0": [1]}]'),
        DEFINED,
        parts(file="d.json", field="entry 2", problem="'q_net.0:1' is also entry 1"),
    ),
    "no clean": (
        lambda agent: (agent / "activation_inputs" / "clean_inputs.json").unlink(),
        [],
        parts(file="clean_inputs.json", problem=NO_SUCH_FILE),
    ),
    "other ids": (
        remove_one,
        [],
        parts(file="corrupted_inputs.json", found="3 inputs", expected="the 4 ids of the clean inputs"),
    ),
    "unknown id": (None, ["--input_ids", "plane"], parts(file="clean_inputs.json", names=["'plane'"])),
    "ablation": (
        None,
        ["--ablate", "half"],
        parts(field="ablation", found="'half'", expected="zero, mean, resample, noise[=K] or constant=V"),
    ),
    "seed": (None, ["--seed", "0"], parts(flags=["--seed", "--ablate"])),
    "seed of zero": (None, ["--ablate", "zero", "--seed", "0"], parts(flags=["--seed", "--ablate"])),
    "reference": (None, ["--reference_inputs", "clean_inputs.json"], parts(flags=["--reference_inputs", "--ablate"])),
    "prefix": (
        None,
        ["--output_prefix", "../x"],
        parts(field="output prefix", found="'../x'", expected="a plain file name"),
    ),
    "direction": (None, ["--direction", "up"], parts(names=["--direction", "'up'"])),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_get_one_line_and_nothing_is_written(
    fault: str, agent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, words, error = FAULTS[fault]
    if spoil is not None:
        spoil(agent)
    before = {path: path.read_bytes() for path in agent.rglob("*") if path.is_file()}
    capsys.readouterr()
    with reports(InputError if "file" in error else UsageError, **error):
        assert run(agent, *words) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert (out, len(lines)) == ("", 1)
    assert lines[0].startswith("error: ")
    assert len(lines[0]) <= 410
    assert {path: path.read_bytes() for path in agent.rglob("*") if path.is_file()} == before


def test_a_sweep_does_not_write_over_what_it_reads(agent: Path) -> None:
    (agent / "patching_results").mkdir()
    clean = agent / "patching_results" / "sweep.npz"
    shutil.copy(agent / "activation_inputs" / "clean_inputs.json", clean)
    before = clean.read_bytes()
    with reports(InputError, file=clean, problem=INPUT_AND_OUTPUT):
        assert run(agent, "--clean", str(clean), "--overwrite") == 2
    assert clean.read_bytes() == before


def test_without_hidden_layers_the_way_to_sweep_the_others_is_named_and_works(tmp_path: Path) -> None:
    from Neuron_Selection.ExperimentTooling import generate_definitions

    agent = mlp_agent(tmp_path / "agent", net_arch=[])
    put_inputs(agent, 3, 4)
    with reports(UsageError, flags=["--definitions"], hint=re.compile("generate_definitions.py .*q_net.0 .*")):
        assert run(agent) == 2
    assert generate_definitions.main(["--agent_path", str(agent), "--layers", "q_net.0"]) == 0
    assert run(agent, "--definitions", "single_neuron_definitions.json") == 0


def test_the_fast_engine_is_refused_where_it_does_not_apply(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gymnasium import spaces

    space = spaces.Dict({"a": spaces.Box(-1, 1, (3,), np.float32), "b": spaces.Box(-1, 1, (2,), np.float32)})
    agent = save_dqn(tmp_path / "agent", new_dqn(space, policy="MultiInputPolicy", net_arch=[5]))
    (agent / "activation_inputs").mkdir()
    for name, sign in (("clean", 1), ("corrupted", -1)):
        document = {"x": {"input": {"a": [0.5 * sign, 0.1, 1], "b": [0.3, sign]}}}
        (agent / "activation_inputs" / f"{name}_inputs.json").write_text(json.dumps(document))
    layer, found = "layer features_extractor.extractors.b", "a second part of a Dict observation"
    with reports(EngineError, file="engine numpy", field=layer, found=found, expected=...):
        assert run(agent, "--engine", "fast") == 2
    capsys.readouterr()
    assert run(agent) == 0
    assert (
        "engine torch (layer features_extractor.extractors.b: found a second part of a Dict" in capsys.readouterr().out
    )
    stored = sweep_of(agent)
    assert stored["denoising_q_net.0"].shape == (1, 5, 3)
    assert stored["denoising_q_net.0"].dtype == np.float64
