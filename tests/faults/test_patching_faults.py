"""Lists B and D, and what only extraction and patching can get wrong: patch specs, activations, files of two runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import activation_patching
from tests.faults.conftest import IDS
from tests.faults.fault_cases_agent import cut
from tests.faults.script_runs import NO_TORCH, Flag, refused, run, words_of, works
from tests.made_agents import mlp_agent

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
    "B1": ("", "empty patch spec"), "B2": (";", "empty patch spec"), "B3": ("  ", "empty patch spec"),
    "B4": ("q_net.0", "':' is missing"), "B5": ("q_net.0:", "the neurons after ':' are missing"),
    "B6": (":5", "the layer before ':' is missing"),
    "B7": ("qnet.0:5", "unknown layer 'qnet.0'; did you mean q_net.0?"),
    "B8": ("q_net.99:1", "unknown layer"), "B9": ("q_net.0.weight:1", "a parameter; its layer is q_net.0"),
    "B10": ("q_net_target.0:1", "unknown layer"), "B11": ("q_net:1", "a container of layers"),
    "B13": ("q_net.0:8", "found neuron 8 in q_net.0, expected 0..7"),
    "B14": ("q_net.0:100000000000000000000", "of 21 digits"), "B15": ("q_net.0:-1", "found '-1', expected a neuron"),
    "B16": ("q_net.0:1_0", "found '1_0'"), "B17": ("q_net.0:٣", "found '٣'"), "B18": ("q_net.0:+5", "found '+5'"),
    "B19": ("q_net.0:5.0", "found '5.0'"), "B19b": ("q_net.0:1e3", "found '1e3'"),
    "B20": ("q_net.0:5,,7", "found nothing, expected a neuron index"), "B21": ("q_net.0:5,", "found nothing"),
    "B24": ("q_net.0:5,5", "neuron 5 of q_net.0 is named twice"), "B25": ("q_net.0:5;q_net.0:7", "is named twice"),
    "B26": ("q_net.0:all,5", "'all' cannot be combined"), "B27": ("q_net.0:ALL", "found 'ALL'"),
    "B28": ("q_net.0:7-5", "found the range 7-5, expected its first"), "B29": ("q_net.0:5:7", "found '5:7'"),
    "B30": ("q_net.0：5；", "':' is missing"),
}  # fmt: skip


@pytest.mark.parametrize("fault", B_FAULTS)
def test_a_bad_patch_spec_gets_a_caret(fault: str, agent: Path) -> None:
    spec, says = B_FAULTS[fault]
    words = patching(agent, patch_spec=spec)
    refused(words, 2, says, agent.parent, orders=NO_TORCH, process=fault in AS_PROCESSES)
    reported = run(words, orders=NO_TORCH)
    assert reported.stderr.splitlines()[-2] == f"  {spec}"
    assert reported.stderr.splitlines()[-1].strip() == "^"


@pytest.mark.parametrize("spec", ["q_net.q_net.0:1;", " q_net.0 : 1 , 2 ; q_net.2:all ", "q_net.0:5-7"])
def test_specs_that_are_unusual_and_right(spec: str, agent: Path) -> None:
    """B12, B22, B23, B28."""
    works(patching(agent, patch_spec=spec))
    assert "q_net.q_net" not in results(agent)


def test_the_same_spec_twice_is_refused(agent: Path) -> None:
    refused(patching(agent, patch_spec=["q_net.0:1", "q_net.0:1"]), 2, "patch spec 'q_net.0:1' is given twice", agent)


def test_a_spec_without_value_and_no_agent_are_refused(agent: Path) -> None:
    words = patching(agent, patch_spec=None)
    refused([*words, "--patch_spec"], 2, "argument --patch_spec: expected at least one argument", agent)
    refused(patching(agent, agent_path=None), 2, "the following arguments are required: --agent_path", agent)


def test_debug_adds_the_traceback(agent: Path) -> None:
    reported = run([*patching(agent, patch_spec="q_net.0:99"), "--debug"])
    assert reported.returncode == 2
    assert "Traceback" in reported.stderr
    assert "error: patch spec: found neuron 99 in q_net.0, expected 0..7" in reported.stderr.splitlines()


def test_ids_with_commas_and_slashes_are_one_id_each(agent: Path) -> None:
    works(patching(agent, input_ids=[IDS[0], IDS[2]]))
    assert list(json.loads(results(agent))) == [IDS[0], IDS[2]]
    listed = agent / "ids.txt"
    listed.write_text(f"{IDS[2]}\n{IDS[1]}\n")
    works(patching(agent, input_ids=f"@{listed}", output_prefix="listed"))
    assert list(json.loads(results(agent, "listed.json"))) == [IDS[2], IDS[1]]


D_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "D1 missing": (lambda path: path.unlink(), "no such file in"),
    "D2 truncated": (cut(0.6), "found a truncated or damaged zip"),
    "D3 empty zip": (lambda path: path.write_bytes(b"PK\x05\x06" + bytes(18)), "found 0 arrays, none named"),
    "D4 pickled": (lambda path: np.savez(path, **{"x_q_net.0": np.array([{}], object)}), "found pickled objects"),
    "D5 bare pickle": (lambda path: path.write_bytes(b"\x80\x04K\x01."), "found a bare pickle, expected a zip file"),
    "D8 layer": (lambda path: rewritten(path, lambda key: "q_net.0" not in key), "q_net.0: layer not recorded"),
    "D9 id": (lambda path: rewritten(path, lambda key: IDS[1] not in key), f"unknown input id '{IDS[1]}'"),
    "D10 width": (lambda path: np.savez(path, **{f"{i}_q_net.0": np.zeros((1, 9), np.float32) for i in IDS}),
                  "q_net.0: found outputs of shape (9,), expected (8,)"),
    "D28 readable": (lambda path: path.write_bytes(b"{}"), "found JSON, expected an npz file"),
}  # fmt: skip


def rewritten(path: Path, keep: Callable[[str], bool]) -> None:
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files if key != "__metadata__" and keep(key)}
    np.savez(path, **arrays)


@pytest.mark.parametrize("fault", D_FAULTS)
def test_bad_activations(fault: str, agent: Path) -> None:
    spoil, says = D_FAULTS[fault]
    spoil(agent / "activation_logging" / "clean_activations.npz")
    refused(patching(agent), 2, says, agent, orders=NO_TORCH, process=fault in AS_PROCESSES)


def test_activations_of_another_agent_need_a_flag_that_is_recorded(agent: Path) -> None:
    """D11."""
    mlp_agent(agent, seed=1)
    refused(patching(agent), 2, "--allow_mismatch uses them", agent)
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
    refused(words, 2, "the activations of two files would both be called 'clean'", agent)


def test_unknown_layers_to_extract_are_refused(agent: Path) -> None:
    for layer, says in (("q_net.7", "unknown layer 'q_net.7'"), ("q_net", "'q_net': a container of layers")):
        refused(words_of("E", agent, layers=["q_net.0", layer], output_dir=str(agent / "new")), 2, says, agent)


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
    refused(words_of("P", agent, **flags), 2, "is both an input and an output", own.parent)


def test_an_inputs_file_called_like_an_output_is_never_written_over(agent: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("a.json", "a_activations_readable.json"):
        shutil.copy(agent / "activation_inputs" / "clean_inputs.json", own / name)
    inputs: list[str] = [str(own / "a.json"), str(own / "a_activations_readable.json")]
    refused(words_of("E", agent, output_dir=str(own), inputs=inputs), 2, "is both an input and an output", own)


def test_a_damaged_twin_is_made_again_by_overwrite(agent: Path) -> None:
    """D24."""
    twin = agent / "activation_logging" / "clean_activations_readable.json"
    kept = twin.read_bytes()
    twin.write_bytes(kept + b" ")
    extraction = words_of("E", agent, fast=True, overwrite=None)
    refused(patching(agent), 2, "--overwrite writes both again", agent)
    refused(extraction, 2, "already exists and was written by a different run", agent)
    works([*extraction, "--overwrite"])
    assert twin.read_bytes() == kept
    works(patching(agent))


def test_a_readable_file_of_somebody_else_is_kept(agent: Path) -> None:
    logging = agent / "activation_logging"
    (logging / "clean_activations.npz").unlink()
    (logging / "clean_activations_readable.json").write_text('{"mine": 1}')
    says = "readable.json: already exists and was written by a different run"
    refused(words_of("E", agent, overwrite=None), 2, says, agent)


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
