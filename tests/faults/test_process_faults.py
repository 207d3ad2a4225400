"""List F, the process: its streams, other processes, its environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.recorded_runs import OUTPUTS, metadata_of, results_of
from tests.faults.script_runs import (
    NO_TORCH,
    PATHS,
    SCRIPTS,
    Flag,
    environment,
    error_line,
    no_temporary_files,
    run,
    snapshot,
    words_of,
    works,
)

by_script = pytest.mark.parametrize("script", SCRIPTS)
HOOKS = ["E", "P"]  # the scripts that run torch by default


def forget_outputs(script: str, agent: Path) -> dict[str, Any]:
    """Remove what an undisturbed run wrote; what it was."""
    before = results_of(script, agent)
    for name in OUTPUTS[script]:
        (agent / name).unlink()
    return before


def started(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=environment())  # fmt: skip


@by_script
def test_a_closed_pipe_behind_it_is_no_traceback_and_loses_no_result(script: str, agent: Path) -> None:
    """F30: ``| head``, which has gone already."""
    before = forget_outputs(script, agent)
    reading, writing = os.pipe()
    os.close(reading)
    reported = run(words_of(script, agent, fast=True), stdout=writing)
    os.close(writing)
    assert reported.returncode == 141
    assert "Traceback" not in reported.stderr
    assert "BrokenPipe" not in reported.stderr
    assert results_of(script, agent) == before


@by_script
def test_a_full_disk_behind_stdout_is_a_matter_of_the_machine(script: str, agent: Path) -> None:
    """F31: the files are whole; what could not be printed is the error, and the interpreter adds nothing."""
    before = forget_outputs(script, agent)
    with Path("/dev/full").open("w") as full:
        reported = run(words_of(script, agent, fast=True), stdout=full)
    reported.stdout = ""
    assert error_line(reported, 4) == "error: No space left on device"
    assert results_of(script, agent) == before


@by_script
@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_stream_that_the_shell_closed_is_not_missed(closed: int, script: str, agent: Path) -> None:
    """F32: ``<&-``, ``>&-``, ``2>&-``; nothing is written to another stream instead."""
    before = forget_outputs(script, agent)
    reported = run(words_of(script, agent, fast=True), preexec_fn=lambda: os.close(closed))
    assert reported.returncode == 0, reported.stderr
    assert bool(reported.stdout) == (closed != 1)
    assert "next: " not in reported.stdout
    assert ("next: " in reported.stderr) == (closed != 2)
    assert "Traceback" not in reported.stderr
    assert results_of(script, agent) == before


@by_script
def test_two_processes_with_the_same_output_leave_one_whole_result(script: str, agent: Path) -> None:
    """F33: both replace it; it is what either of them writes alone."""
    before = forget_outputs(script, agent)
    both = [started(words_of(script, agent, fast=True)) for _ in range(2)]
    reported = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], reported
    assert results_of(script, agent) == before
    assert no_temporary_files(agent)


@by_script
def test_eight_in_parallel_over_one_agent_do_not_meet(script: str, agent: Path) -> None:
    """F34, F35: one folder, names of their own (folders of their own where the names are fixed)."""
    apart: dict[str, str] = {"P": "output_prefix", "W": "output_prefix"}
    words = []
    for number in range(8):
        name = f"run{number}"
        if script == "E":
            shutil.copy(agent / "activation_inputs" / "clean_inputs.json", agent / "activation_inputs" / f"{name}.json")
        own: dict[str, Flag] = {"inputs": f"{name}.json"} if script == "E" else {}
        own = {"output_dir": str(agent / name)} if script == "G" else own
        words.append(words_of(script, agent, fast=True, **own, **({apart[script]: name} if script in apart else {})))
    processes = [started(one) for one in words]
    reported = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, reported
    pattern = {"E": "*/run*.json", "P": "*/run?.json", "G": "run*/average*.json", "W": "*/run*.csv"}[script]
    found = [path for path in sorted(agent.glob(pattern)) if path.parent.name != "activation_inputs"]
    assert len(found) == 8
    assert len({path.read_bytes() for path in found}) == 1
    assert no_temporary_files(agent)


@by_script
@pytest.mark.parametrize("clock", [0, 4_000_000_000])
def test_a_clock_that_is_wrong_changes_no_byte(clock: int, script: str, agent: Path) -> None:
    """F38: 1970, which a zip cannot even hold, and 2096."""
    before = forget_outputs(script, agent)
    works(words_of(script, agent, fast=True), orders={**NO_TORCH, "clock": clock}, process=script == "E")
    assert results_of(script, agent) == before


LOCALES = {
    "no UTF-8 at all": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "as Python corrects it": {"LC_ALL": "C"},
    "ASCII streams": {"PYTHONIOENCODING": "ascii"},
}


@by_script
@pytest.mark.parametrize("locale", LOCALES)
def test_a_locale_without_unicode_is_no_obstacle(locale: str, script: str, agent: Path) -> None:
    """F39: names and ids beyond ASCII; what cannot be shown is shown as an escape."""
    other = agent.rename(agent.with_name("\u00e4gent \u4e2d"))
    name = "ids \u00fc_inputs.json"
    inputs = other / "activation_inputs" / name
    inputs.write_text(json.dumps({"\u00fc,\u4e2d": [0.1, 0.2, 0.3, 0.4]}))
    reported = works(
        words_of(script, other, inputs=name, fast=True), env=environment(NO_TORCH, LANG="C", **LOCALES[locale])
    )
    assert len(reported.stdout.splitlines()) >= 2
    works(words_of(script, other, inputs=name, fast=True), orders=NO_TORCH)  # what it wrote can be read


@by_script
def test_a_path_that_is_no_utf_8_is_recorded_as_it_is(script: str, agent: Path) -> None:
    """F12, F39: file names are bytes; a lone surrogate encodes one, in JSON as its escape."""
    other = agent.rename(os.fsdecode(os.fsencode(agent) + b"\xff"))
    reported = works(words_of(script, other, fast=True), orders=NO_TORCH, process=True)
    assert "agent\\udcff" in reported.stdout
    assert os.fsencode(metadata_of(script, other)["agent"]["path"]).endswith(b"agent\xff/agent.zip")
    reported = works(words_of(script, other, fast=True, overwrite=None), orders=NO_TORCH)
    assert "up to date" in reported.stderr


@by_script
def test_no_home_and_no_place_for_temporary_files_are_needed(script: str, agent: Path) -> None:
    """F40: with torch, whose libraries look for folders of their own."""
    before = snapshot(agent.parent)
    nowhere = environment(HOME="/nonexistent", TMPDIR="/nonexistent", XDG_CACHE_HOME=None, MPLCONFIGDIR=None)
    before = {name: content for name, content in before.items() if not name.startswith("agent/")}
    works(words_of(script, agent), env=nowhere, cwd=agent.parent)
    after = {name: content for name, content in snapshot(agent.parent).items() if not name.startswith("agent/")}
    assert after == before


@by_script
@pytest.mark.parametrize("where", [".", "agent"])
def test_modules_in_the_working_directory_are_never_imported(where: str, script: str, agent: Path) -> None:
    """F41: from another folder, with hostile modules in it and in the agent's."""
    folders = [agent.parent, agent, agent / "activation_inputs"]
    names = ("json", "torch", "numpy", "argparse", "signal", "zipfile", "sitecustomize", "Neuron_Selection", "tqdm")
    for folder in folders:
        for name in names:
            (folder / f"{name}.py").write_text("raise SystemExit('hostile')")
    works(words_of(script, agent, fast=script != "P"), cwd=agent.parent / where)  # one imports torch


@by_script
@pytest.mark.parametrize("python", [("-O",), ("-W", "error"), ("-X", "dev", "-W", "error")])
def test_python_with_optimisation_and_strict_warnings(python: tuple[str, ...], script: str, agent: Path) -> None:
    """F42."""
    before = forget_outputs(script, agent)
    works(words_of(script, agent, fast=True), python=python, orders=NO_TORCH)
    assert results_of(script, agent) == before


def test_strict_warnings_where_torch_is_imported(agent: Path) -> None:
    """F42: with the hooks engine."""
    works(words_of("P", agent), python=("-O", "-W", "error"))


@pytest.mark.parametrize("script", HOOKS)
def test_a_library_that_is_not_installed_is_one_line(script: str, agent: Path) -> None:
    """F43."""
    reported = run(words_of(script, agent), orders={"absent": ["torch"]})
    assert "torch" in error_line(reported, 4)


@by_script
def test_a_failing_agent_in_a_loop_does_not_touch_the_others_and_a_rerun_resumes(script: str, agent: Path) -> None:
    """F44."""
    before = forget_outputs(script, agent)
    others = [Path(shutil.copytree(agent, agent.with_name(name))) for name in ("second", "third")]
    good = (others[0] / "agent.zip").read_bytes()
    (others[0] / "agent.zip").write_bytes(good[:1000])

    def loop() -> list[tuple[int, bool]]:
        words = [words_of(script, one, fast=True, overwrite=None) for one in [agent, *others]]
        reported = [run(one, orders=NO_TORCH, process=script == "E") for one in words]
        return [(one.returncode, "up to date" in one.stderr) for one in reported]

    assert loop() == [(0, False), (2, False), (0, False)]
    assert not any((others[0] / name).exists() for name in before)
    (others[0] / "agent.zip").write_bytes(good)
    assert loop() == [(0, True), (0, False), (0, True)]
    assert all(results_of(script, one) == before for one in [agent, *others])


def test_every_script_of_this_package_is_one_of_the_repository() -> None:
    assert all((Path(__file__).parents[2] / path).is_file() for path in PATHS.values())
