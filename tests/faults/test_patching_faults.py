"""Lists B and D, and what only extraction and patching can get wrong: patch specs, activations, files of two runs."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import activation_patching
from Neuron_Selection.errors import UsageError
from tests.faults.conftest import IDS
from tests.faults.fault_cases_agent import cut
from tests.faults.script_runs import NO_TORCH, Flag, refused, run, words_of, works
from tests.made_agents import mlp_agent
from tests.raised import (
    DIFFERENT_RUN,
    INPUT_AND_OUTPUT,
    NO_SUCH_FILE,
    Parts,
    bad_sentence,
    bad_state,
    bad_value,
    parts,
    reports,
)

AS_PROCESSES = {"B1", "D1 missing"}  # one of each list


def patching(agent: Path, **changed: Flag) -> list[str]:
    """A command that patches what conftest.py extracted into the corrupted run."""
    usual: dict[str, Flag] = {
        "target_input": "corrupted_inputs.json",
        "source_activations": "clean_activations.npz",
        "ablate": None,
    }
    return words_of("P", agent, **{**usual, **changed})


def results(agent: Path, name: str = "patching.json") -> str:
    return (agent / "patching_results" / name).read_text()


B_FAULTS = {
    "B1": ("", bad_state("patch spec", "empty patch spec")),
    "B2": (";", bad_state("patch spec", "empty patch spec")),
    "B3": ("  ", bad_state("patch spec", "empty patch spec")),
    "B4": ("q_net.0", bad_state("patch spec", "':' is missing")),
    "B5": ("q_net.0:", bad_state("patch spec", "the neurons after ':' are missing")),
    "B6": (":5", bad_state("patch spec", "the layer before ':' is missing")),
    "B7": ("qnet.0:5", bad_sentence("'qnet.0'")),
    "B8": ("q_net.99:1", bad_sentence("'q_net.99'")),
    "B9": ("q_net.0.weight:1", bad_sentence("a parameter", place="layer 'q_net.0.weight'")),
    "B10": ("q_net_target.0:1", bad_sentence("'q_net_target.0'")),
    "B11": ("q_net:1", bad_sentence("a container of layers, not a layer", place="layer 'q_net'")),
    "B13": ("q_net.0:8", bad_value("patch spec", "neuron 8 in q_net.0")),
    "B14": ("q_net.0:100000000000000000000", bad_value("patch spec", "a neuron index of 21 digits")),
    "B15": ("q_net.0:-1", bad_value("patch spec", "'-1'")),
    "B16": ("q_net.0:1_0", bad_value("patch spec", "'1_0'")),
    "B17": ("q_net.0:٣", bad_value("patch spec", "'٣'")),
    "B18": ("q_net.0:+5", bad_value("patch spec", "'+5'")),
    "B19": ("q_net.0:5.0", bad_value("patch spec", "'5.0'")),
    "B19b": ("q_net.0:1e3", bad_value("patch spec", "'1e3'")),
    "B20": ("q_net.0:5,,7", bad_value("patch spec", "nothing")),
    "B21": ("q_net.0:5,", bad_value("patch spec", "nothing")),
    "B24": ("q_net.0:5,5", bad_state("patch spec", "neuron 5 of q_net.0 is named twice")),
    "B25": ("q_net.0:5;q_net.0:7", bad_sentence("layer 'q_net.0'", place="patch spec")),
    "B26": ("q_net.0:all,5", bad_state("patch spec", "'all' cannot be combined with indices")),
    "B27": ("q_net.0:ALL", bad_value("patch spec", "'ALL'")),
    "B28": ("q_net.0:7-5", bad_value("patch spec", "the range 7-5")),
    "B29": ("q_net.0:5:7", bad_value("patch spec", "'5:7'")),
    "B30": ("q_net.0：5；", bad_state("patch spec", "':' is missing")),
}


@pytest.mark.parametrize("fault", B_FAULTS)
def test_a_bad_patch_spec_gets_a_caret(fault: str, agent: Path) -> None:
    spec, error = B_FAULTS[fault]
    words = patching(agent, patch_spec=spec)
    refused(words, 2, error, agent.parent, orders=NO_TORCH, process=fault in AS_PROCESSES)
    reported = run(words, orders=NO_TORCH)
    assert reported.stderr.splitlines()[-2] == f"  {spec}"
    assert reported.stderr.splitlines()[-1].strip() == "^"


@pytest.mark.parametrize("spec", ["q_net.q_net.0:1;", " q_net.0 : 1 , 2 ; q_net.2:all ", "q_net.0:5-7"])
def test_specs_that_are_unusual_and_right(spec: str, agent: Path) -> None:
    """B12, B22, B23, B28."""
    works(patching(agent, patch_spec=spec))
    assert "q_net.q_net" not in results(agent)


def test_the_same_spec_twice_is_refused(agent: Path) -> None:
    refused(patching(agent, patch_spec=["q_net.0:1", "q_net.0:1"]), 2, parts(names=["'q_net.0:1'"]), agent)


def test_a_spec_without_value_and_no_agent_are_refused(agent: Path) -> None:
    words = patching(agent, patch_spec=None)
    refused([*words, "--patch_spec"], 2, parts(flags=["--patch_spec"]), agent)
    refused(patching(agent, agent_path=None), 2, parts(flags=["--agent_path"]), agent)


def test_debug_adds_the_traceback(agent: Path) -> None:
    with reports(UsageError, file="patch spec", found="neuron 99 in q_net.0", expected="0..7"):
        reported = run([*patching(agent, patch_spec="q_net.0:99"), "--debug"])
    assert reported.returncode == 2
    assert "Traceback" in reported.stderr
    assert sum(line.startswith("error: ") for line in reported.stderr.splitlines()) == 1


def test_ids_with_commas_and_slashes_are_one_id_each(agent: Path) -> None:
    works(patching(agent, input_ids=[IDS[0], IDS[2]]))
    assert list(json.loads(results(agent))) == [IDS[0], IDS[2]]
    listed = agent / "ids.txt"
    listed.write_text(f"{IDS[2]}\n{IDS[1]}\n")
    works(patching(agent, input_ids=f"@{listed}", output_prefix="listed"))
    assert list(json.loads(results(agent, "listed.json"))) == [IDS[2], IDS[1]]


D_FAULTS: dict[str, tuple[Callable[[Path], object], Parts]] = {
    "D1 missing": (lambda path: path.unlink(), bad_state("clean_activations.npz", NO_SUCH_FILE)),
    "D2 truncated": (cut(0.6), bad_value("clean_activations.npz", "a truncated or damaged zip")),
    "D3 empty zip": (lambda path: path.write_bytes(b"PK\x05\x06" + bytes(18)),
                     bad_value("clean_activations.npz", "0 arrays, none named <id>_<layer>")),
    "D4 pickled": (lambda path: np.savez(path, **{"x_q_net.0": np.array([{}], object)}),
                   bad_value("'x_q_net.0'", "pickled objects")),
    "D5 bare pickle": (lambda path: path.write_bytes(b"\x80\x04K\x01."),
                       bad_value("clean_activations.npz", "a bare pickle")),
    "D8 layer": (lambda path: rewritten(path, lambda key: "q_net.0" not in key),
                 bad_state("q_net.0", "layer not recorded; the file has q_net.1, q_net.2, q_net.3, q_net.4")),
    "D9 id": (lambda path: rewritten(path, lambda key: IDS[1] not in key), bad_sentence("'env-v0-81110-6,4,1-0764'")),
    "D10 width": (lambda path: np.savez(path, **{f"{i}_q_net.0": np.zeros((1, 9), np.float32) for i in IDS}),
                  bad_value("q_net.0", "outputs of shape (9,)")),
    "D28 readable": (lambda path: path.write_bytes(b"{}"), bad_value("clean_activations.npz", "JSON")),
}  # fmt: skip


def rewritten(path: Path, keep: Callable[[str], bool]) -> None:
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files if key != "__metadata__" and keep(key)}
    np.savez(path, **arrays)


@pytest.mark.parametrize("fault", D_FAULTS)
def test_bad_activations(fault: str, agent: Path) -> None:
    spoil, error = D_FAULTS[fault]
    spoil(agent / "activation_logging" / "clean_activations.npz")
    refused(patching(agent), 2, error, agent, orders=NO_TORCH, process=fault in AS_PROCESSES)


def test_activations_of_another_agent_need_a_flag_that_is_recorded(agent: Path) -> None:
    """D11."""
    mlp_agent(agent, seed=1)
    error = parts(
        file="clean_activations.npz",
        field="weights_sha256",
        found=re.compile("activations of agent [0-9a-f]{12}"),
        expected=re.compile("this agent, [0-9a-f]{12}"),
        hint=re.compile("--allow_mismatch .*"),
    )
    refused(patching(agent), 2, error, agent)
    works(patching(agent, allow_mismatch=True))
    assert json.loads(results(agent, "patching.meta.json"))["run"]["source"]["weights_match"] is False


def test_activations_of_others_are_taken_with_a_warning(agent: Path) -> None:
    """D13."""
    rewritten(agent / "activation_logging" / "clean_activations.npz", lambda _: True)
    assert "warning: " in works(patching(agent)).stderr


def test_two_inputs_files_of_one_name_are_refused(agent: Path) -> None:
    other = agent / "other"
    other.mkdir()
    shutil.copy(agent / "activation_inputs" / "clean_inputs.json", other)
    words = words_of("E", agent, inputs=["clean_inputs.json", str(other / "clean_inputs.json")])
    refused(words, 2, parts(field="--inputs", names=["'clean'"]), agent)


def test_unknown_layers_to_extract_are_refused(agent: Path) -> None:
    for layer, error in (
        ("q_net.7", parts(file="q_net", names=["'q_net.7'"])),
        ("q_net", parts(field="layer 'q_net'", problem=re.compile("a container of layers, .*"))),
    ):
        refused(words_of("E", agent, layers=["q_net.0", layer], output_dir=str(agent / "new")), 2, error, agent)


def test_json_gives_one_document(agent: Path) -> None:
    reported = works([*patching(agent), "--json", "--quiet"])
    document = json.loads(reported.stdout)
    assert reported.stderr == ""
    (found,) = document["runs"]
    assert (found["direction"], found["engine"]) == ("denoising", "torch")
    (summary,) = found["experiments"]
    assert set(summary) == {"patch_spec", "inputs", "contrast_pairs", "flips", "matches", "near_ties", "must_match"}
    assert summary["inputs"] == 3


@pytest.mark.parametrize("flag", ["patches_file", "reference_inputs"])
def test_a_file_that_is_read_is_never_written_over(flag: str, agent: Path, tmp_path: Path) -> None:
    own = tmp_path / "own" / "x.json"
    own.parent.mkdir()
    inputs = (agent / "activation_inputs" / "clean_inputs.json").read_text()
    own.write_text('[{"q_net.0": [1]}]' if flag == "patches_file" else inputs)
    flags: dict[str, Flag] = {"patch_spec": None} if flag == "patches_file" else {}
    flags |= {"ablate": "mean", "output_dir": str(own.parent), "output_prefix": "x", flag: str(own)}
    refused(words_of("P", agent, **flags), 2, parts(file=own, problem=INPUT_AND_OUTPUT), own.parent)


def test_an_inputs_file_called_like_an_output_is_never_written_over(agent: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("a.json", "a_activations_readable.json"):
        shutil.copy(agent / "activation_inputs" / "clean_inputs.json", own / name)
    inputs: list[str] = [str(own / "a.json"), str(own / "a_activations_readable.json")]
    refused(
        words_of("E", agent, output_dir=str(own), inputs=inputs),
        2,
        parts(file="a_activations_readable.json", problem=INPUT_AND_OUTPUT),
        own,
    )


def test_a_damaged_twin_is_made_again_by_overwrite(agent: Path) -> None:
    """D24."""
    twin = agent / "activation_logging" / "clean_activations_readable.json"
    kept = twin.read_bytes()
    twin.write_bytes(kept + b" ")
    extraction = words_of("E", agent, fast=True, overwrite=None)
    error = parts(file="clean_activations.npz", names=[twin.name], hint=re.compile(".* --overwrite .*"))
    refused(patching(agent), 2, error, agent)
    refused(extraction, 2, parts(file="clean_activations.npz", problem=DIFFERENT_RUN), agent)
    works([*extraction, "--overwrite"])
    assert twin.read_bytes() == kept
    works(patching(agent))


def test_a_readable_file_of_somebody_else_is_kept(agent: Path) -> None:
    logging = agent / "activation_logging"
    (logging / "clean_activations.npz").unlink()
    (logging / "clean_activations_readable.json").write_text('{"mine": 1}')
    error = parts(file="clean_activations_readable.json", problem=DIFFERENT_RUN)
    refused(words_of("E", agent, overwrite=None), 2, error, agent)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")]
)
def test_a_lack_of_memory_exits_4(error: Exception, agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F36."""

    def lacking(*_arguments: object, **_more: object) -> None:
        raise error

    monkeypatch.setattr("Neuron_Selection.PatchingTooling.torch_network.network.TorchNetwork.scores", lacking)
    refused(patching(agent), 4, "out of memory", agent)


def test_another_runtime_error_is_a_bug_and_traces_back(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_more: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("Neuron_Selection.PatchingTooling.torch_network.network.TorchNetwork.scores", broken)
    with pytest.raises(RuntimeError, match="broken"):
        activation_patching.main(patching(agent)[1:])


def test_threads_are_set_for_every_numerical_library(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    for variable in variables:
        monkeypatch.setenv(variable, "1")
    assert activation_patching.main([*patching(agent)[1:], "--dry_run", "--threads", "3"]) == 0
    assert [os.environ[variable] for variable in variables] == ["3", "3", "3"]
