"""List F, the command line: what was typed is refused in one line, without torch unless only torch can detect it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.faults.recorded_runs import OUTPUTS
from tests.faults.script_runs import NO_TORCH, SCRIPTS, Flag, error_line, refused, run, snapshot, words_of, works
from tests.raised import DIFFERENT_RUN, INPUT_AND_OUTPUT, Parts, bad_sentence, bad_value, parts

by_script = pytest.mark.parametrize("script", SCRIPTS)
AS_PROCESSES = {"F1 unknown", "F9 folder"}  # one of each list
PREFIXED = pytest.mark.parametrize("script", ["P", "W"])  # the others name their outputs after their inputs

# name: (words after the command, the error)
TYPED: dict[str, tuple[list[str], Parts]] = {
    "F1 unknown": (["--colour", "red"], bad_sentence("--colour red")),
    "F2 twice": (["--quiet", "--quiet"], bad_sentence("--quiet")),
    "F2 twice, another value": (["--threads", "1", "--threads=2"], bad_sentence("--threads")),
    "F3 no value": (["--threads"], bad_sentence("--threads")),
    "F3 no folder": (["--output_dir"], bad_sentence("--output_dir")),
    "F4 abbreviation": (["--output", "x"], bad_sentence("--output x")),
    "F4 abbreviated agent": (["--agent", "x"], bad_sentence("--agent x")),
    "F7 no device": (["--device", "cudaa"], bad_sentence("--device", "'cudaa'")),
    "F8 mps": (["--device", "mps"], bad_sentence("--device", "'mps'")),
    "F8 meta": (["--device", "meta"], bad_sentence("--device", "'meta'")),
    "no threads": (["--threads", "0"], bad_sentence("--threads", "'0'")),
}

PREFIXES: dict[str, tuple[str, Parts]] = {
    "F9 folder": ("a/b", bad_value("output prefix", "'a/b'")),
    "F9 climbs": ("..", bad_value("output prefix", "'..'")),
    "F9 backslash": ("a\\b", bad_value("output prefix", "'a\\\\b'")),
    "F10 too long": ("x" * 300, bad_value("output prefix", "300 characters")),
    "F10 too many bytes": ("\u00fc" * 124, bad_value("output prefix", "124 characters")),
    "F11 reserved": ("CON", bad_value("output prefix", "'CON'")),
    "F11 reserved in small letters": ("con", bad_value("output prefix", "'con'")),
    "F11 reserved with an ending": ("nul.x", bad_value("output prefix", "'nul.x'")),
    "F11 escape": ("a\x1b[31m", bad_value("output prefix", "'a\\x1b[31m'")),
}


@by_script
@pytest.mark.parametrize("fault", TYPED)
def test_a_command_line_that_cannot_be_meant_is_refused(fault: str, script: str, agent: Path) -> None:
    more, error = TYPED[fault]
    words = [*words_of(script, agent), *more]
    refused(words, 2, error, agent.parent, orders=NO_TORCH, process=fault in AS_PROCESSES)


@PREFIXED
@pytest.mark.parametrize("fault", PREFIXES)
def test_an_output_prefix_that_is_no_file_name_is_refused(fault: str, script: str, agent: Path) -> None:
    prefix, error = PREFIXES[fault]
    words = words_of(script, agent, output_prefix=prefix)
    refused(words, 2, error, agent.parent, orders=NO_TORCH, process=fault in AS_PROCESSES)


@pytest.mark.parametrize(("device", "script"), [*(("cuda", script) for script in SCRIPTS), ("cuda:7", "P")])
def test_a_device_that_is_absent_is_never_replaced_in_silence(
    device: str, script: str, agent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F5, F6: only torch can detect it; CUDA is hidden from it here."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    error = parts(names=[f"device {device} ", "0 CUDA devices"])
    refused(words_of(script, agent, device=device), 4, error, agent.parent, process=device == "cuda:7")


@pytest.mark.parametrize("script", ["E", "P"])
def test_the_numpy_engine_on_another_device_is_refused(script: str, agent: Path) -> None:
    words = words_of(script, agent, fast=True, device="cuda")
    refused(
        words,
        2,
        parts(flags=["--engine"], names=["float64", "cpu"]),
        agent.parent,
        orders=NO_TORCH,
        process=script == "E",
    )


@by_script
def test_a_folder_whose_name_is_too_long_is_one_line(script: str, agent: Path) -> None:
    """F10, where the name is a folder's."""
    words = words_of(script, agent, output_dir=str(agent / ("x" * 300)), fast=True)
    before = snapshot(agent.parent)
    reported = run(words, orders=NO_TORCH, process=script == "W")
    assert "File name too long" in error_line(reported, 4)
    assert snapshot(agent.parent) == before


def test_an_inputs_file_whose_outputs_would_have_too_long_a_name_is_one_line(agent: Path) -> None:
    """F10, where the name comes from the inputs'."""
    name = "x" * 240 + ".json"
    shutil.copy(agent / "activation_inputs" / "clean_inputs.json", agent / "activation_inputs" / name)
    refused(words_of("E", agent, inputs=name, fast=True), 4, "File name too long", agent.parent, orders=NO_TORCH)


@by_script
def test_unicode_and_blanks_in_every_path_are_fine(script: str, agent: Path) -> None:
    """F12."""
    other = agent.parent / "mein Agent \u00fc\u4e2d\U0001f916 'q\""
    agent.rename(other)
    shutil.copy(other / "activation_inputs" / "clean_inputs.json", other / "activation_inputs" / "\u00e4 b_inputs.json")
    out = other / "aus gabe \u00f6"
    words = words_of(script, other, inputs="\u00e4 b_inputs.json", output_dir=str(out), fast=True)
    works(words, orders=NO_TORCH, process=script == "P")
    assert list(out.iterdir())


@by_script
def test_a_windows_path_is_a_name_that_is_not_there(script: str, agent: Path) -> None:
    """F13."""
    words = words_of(script, agent, agent_path="C:\\agents\\mine")
    error = parts(file="C:\\agents\\mine", problem="no such file or folder")
    refused(words, 2, error, agent.parent, orders=NO_TORCH, process=script == "G")


def own_input(script: str, agent: Path) -> dict[str, Flag]:
    """Flags under which an output would be the inputs file, which is moved there."""
    name = {"E": "a_activations_readable.json", "P": "a.json", "W": "a.json", "G": "weight_gradients.json"}[script]
    place = agent / "mixed"
    place.mkdir()
    shutil.copy(agent / "activation_inputs" / "clean_inputs.json", place / name)
    if script == "E":  # its outputs are called after its inputs: a link is needed to make them one
        (place / "a.json").symlink_to(place / name)
        name = "a.json"
    prefix: dict[str, Flag] = {"output_prefix": "a"} if script in "PW" else {}
    return {"inputs": str(place / name), "output_dir": str(place), **prefix}


@by_script
def test_an_output_that_would_replace_its_input_is_refused(script: str, agent: Path) -> None:
    """F18, also where --overwrite is given."""
    flags = own_input(script, agent)
    error = parts(file=..., problem=INPUT_AND_OUTPUT)
    refused(words_of(script, agent, **flags), 2, error, agent.parent, orders=NO_TORCH, process=script == "E")


@by_script
def test_an_output_different_run_error_is_kept_and_one_of_the_same_is_up_to_date(script: str, agent: Path) -> None:
    """F19."""
    before = snapshot(agent)
    reported = works(words_of(script, agent, fast=True, overwrite=None), orders=NO_TORCH, process=script == "W")
    assert "up to date, left as it is" in reported.stderr
    assert snapshot(agent) == before
    other: dict[str, Flag] = {
        "E": {"layers": "q_net.0"}, "P": {"patch_spec": "q_net.0:3"}, "G": {"k": "1"}, "W": {"values": "-1"},
    }[script]  # fmt: skip
    words = words_of(script, agent, fast=True, overwrite=None, **other)
    refused(words, 2, parts(file=..., problem=DIFFERENT_RUN), agent, orders=NO_TORCH)
    works(words_of(script, agent, fast=True, **other), orders=NO_TORCH)
    assert any(snapshot(agent)[name] != before[name] for name in OUTPUTS[script])
