"""attribute_neurons.py and find_interactions.py on a failing disk, and with files that cannot be used."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from Neuron_Selection.FileFormats.provenance import meta_path
from Neuron_Selection.FileFormats.results.attribution_file import ATTRIBUTION_FILES
from Neuron_Selection.FileFormats.results.interactions_file import INTERACTION_FILES
from Neuron_Selection.FileFormats.results.result_files import ResultFiles
from tests.conftest import ROOT
from tests.faults.script_runs import NO_TORCH, error_line, no_temporary_files, refused, run, snapshot, works
from tests.raised import INPUT_AND_OUTPUT, Parts, parts

FILES: dict[str, ResultFiles] = {"attribution": ATTRIBUTION_FILES, "interactions": INTERACTION_FILES}
by_script = pytest.mark.parametrize("script", FILES)


def words_of(script: str, agent: Path, *more: str) -> list[str]:
    path = ROOT / "Neuron_Selection" / "ExperimentTooling" / FILES[script].script
    few = ["--resamples", "99"] if script == "interactions" else []
    return [str(path), "--agent_path", str(agent), *few, *more]


def outputs(script: str, agent: Path) -> list[Path]:
    path = agent / "patching_results" / f"{script}.json"
    return [*FILES[script].paths(path).values(), meta_path(path)]


DISK = {
    "full": ("write", errno.ENOSPC), "fsync": ("fsync", errno.EIO), "rename": ("replace", errno.EACCES),
    "too many open files": ("make", errno.EMFILE),
}  # fmt: skip


@by_script
@pytest.mark.parametrize("fault", DISK)
def test_a_disk_that_fails_at_any_moment_leaves_whole_files_and_the_same_command_completes_them(
    fault: str, script: str, agent: Path
) -> None:
    call, number = DISK[fault]
    for moment in range(1, 40):
        reported = run(words_of(script, agent), orders={"call": call, "number": moment, "errno": number, **NO_TORCH})
        assert no_temporary_files(agent)
        for path in outputs(script, agent):
            if path.suffix == ".json" and path.exists():
                json.loads(path.read_text())
        if reported.returncode == 0:
            break
        error_line(reported, 4)
    assert reported.returncode == 0
    assert moment > 4
    assert FILES[script].stored(outputs(script, agent)[0]).complete is not None


def damaged(name: str, content: str) -> Callable[[Path], object]:
    return lambda agent: (agent / "activation_inputs" / f"{name}_inputs.json").write_text(content)


BAD: dict[str, tuple[Callable[[Path], object], Parts]] = {
    "no JSON": (
        damaged("clean", "{"),
        parts(file="clean_inputs.json", field=..., found=re.compile("invalid JSON .*"), expected="JSON"),
    ),
    "too few numbers": (
        damaged("corrupted", '{"x": {"input": [1, 2, 3]}}'),
        parts(file="corrupted_inputs.json", field="'x'.input", found="3 numbers", expected="4 numbers"),
    ),
    "other ids": (
        damaged("clean", '{"x": {"input": [1, 2, 3, 4]}}'),
        parts(file="corrupted_inputs.json", found="3 inputs", expected="the 1 ids of the clean inputs"),
    ),
    "no inputs": (damaged("clean", "{}"), parts(file="clean_inputs.json", problem="contains no inputs")),
    "no agent": (
        lambda agent: (agent / "agent.zip").write_bytes(b"PK"),
        parts(file="agent.zip", found="a truncated or damaged zip", expected="a zip file"),
    ),
}


@by_script
@pytest.mark.parametrize("fault", BAD)
def test_files_that_cannot_be_used_are_refused_without_torch_and_nothing_is_written(
    fault: str, script: str, agent: Path
) -> None:
    spoil, error = BAD[fault]
    spoil(agent)
    refused(words_of(script, agent), 2, error, agent.parent, orders=NO_TORCH)


@by_script
def test_nothing_is_written_through_a_link_or_over_what_is_read(script: str, agent: Path) -> None:
    works(words_of(script, agent), orders=NO_TORCH)
    for path in outputs(script, agent)[:-1]:
        target = agent.parent / "elsewhere"
        path.rename(target)
        path.symlink_to(target)
        refused(
            words_of(script, agent, "--overwrite"), 2, parts(file=path, names=[target]), agent.parent, orders=NO_TORCH
        )
        path.unlink()
        target.rename(path)
    clean = agent / "patching_results" / "own.json"
    clean.write_bytes((agent / "activation_inputs" / "clean_inputs.json").read_bytes())
    before = snapshot(agent)
    words = words_of(script, agent, "--clean", str(clean), "--output_prefix", "own", "--overwrite")
    refused(words, 2, parts(file=clean, problem=INPUT_AND_OUTPUT), agent.parent, orders=NO_TORCH)
    assert snapshot(agent) == before


@by_script
def test_a_file_instead_of_the_output_folder_is_an_error_of_the_machine(script: str, agent: Path) -> None:
    (agent / "out").write_text("mine")
    words = words_of(script, agent, "--output_dir", str(agent / "out"))
    refused(
        words, 4, parts(file=agent / "out", problem=re.compile("is not a folder; .*")), agent.parent, orders=NO_TORCH
    )
