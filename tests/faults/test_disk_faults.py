"""List F, the disk: full, read-only, removed, or changed meanwhile; old outputs stay whole, no temporary files."""

from __future__ import annotations

import errno
import json
import re
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.recorded_runs import OUTPUTS, metadata_of
from tests.faults.script_runs import (
    NO_TORCH,
    SCRIPTS,
    Flag,
    error_line,
    fails,
    no_temporary_files,
    privileges_can_be_dropped,
    refused,
    run,
    snapshot,
    without_privileges,
    words_of,
    works,
)
from tests.raised import parts

by_script = pytest.mark.parametrize("script", SCRIPTS)
FOLDERS = {script: Path(names[0]).parent.name for script, names in OUTPUTS.items()}
OTHER: dict[str, dict[str, Flag]] = {  # another run, whose outputs have other bytes
    "E": {"layers": "q_net.0"}, "P": {"patch_spec": "q_net.0:3"}, "G": {"k": "1"}, "W": {"values": "-1"},
}  # fmt: skip


def limited(kind: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (value, value))


def outputs_are_whole(script: str, agent: Path) -> bool:
    """Every JSON file is whole, and a hash of another file is right or is found to be wrong."""
    for name in OUTPUTS[script]:
        if name.endswith(".json"):
            json.loads((agent / name).read_text())
    metadata_of(script, agent)
    return True


@by_script
def test_a_file_instead_of_the_output_folder_is_an_error_of_the_machine(script: str, agent: Path) -> None:
    """F14."""
    (agent / "out").write_text("mine")
    words = words_of(script, agent, fast=True, output_dir=str(agent / "out"))
    error = parts(file=agent / "out", problem=re.compile("is not a folder; .*"))
    refused(words, 4, error, agent.parent, orders=NO_TORCH, process=script == "E")


@by_script
def test_a_folder_instead_of_the_output_is_an_error_of_the_machine(script: str, agent: Path) -> None:
    path = agent / OUTPUTS[script][-1]
    path.unlink()
    path.mkdir()
    before = snapshot(agent / OUTPUTS[script][-1])
    error = parts(file=path, problem="is a directory, pipe or device; cannot be written as a file")
    fails(words_of(script, agent, fast=True), 4, error, orders=NO_TORCH, process=script == "P")
    assert snapshot(agent / OUTPUTS[script][-1]) == before
    assert no_temporary_files(agent)


@pytest.mark.skipif(not privileges_can_be_dropped(), reason="root cannot give up its privileges here")
@by_script
def test_a_read_only_output_folder_is_an_error_of_the_machine(script: str, agent: Path) -> None:
    """F15."""
    folder = agent / FOLDERS[script]
    folder.chmod(0o500)
    try:
        words = words_of(script, agent, fast=True)
        refused(words, 4, "Permission denied", agent.parent, orders=NO_TORCH, preexec_fn=without_privileges)
    finally:
        folder.chmod(0o700)


@by_script
def test_an_output_folder_that_is_removed_meanwhile_is_one_line(script: str, agent: Path) -> None:
    """F16: after the first bytes were written."""
    folder = agent / FOLDERS[script]
    orders = {"call": "fsync", "number": 1, "remove": str(folder)}
    reported = run(words_of(script, agent, fast=True), orders=orders, process=script == "W")
    assert "No such file or directory" in error_line(reported, 2)
    assert no_temporary_files(agent)


LINKED: dict[str, list[str]] = {script: [FOLDERS[script], *OUTPUTS[script]] for script in SCRIPTS}


@pytest.mark.parametrize(
    ("script", "name"), [(script, name) for script, names in LINKED.items() for name in names if "meta" not in name]
)
def test_nothing_is_written_through_a_link_in_the_agents_folder(script: str, name: str, agent: Path) -> None:
    """F17: neither a file nor a folder of outputs may lead elsewhere."""
    path, target = agent / name, agent.parent / "elsewhere"
    path.rename(target)
    path.symlink_to(target)
    words = words_of(script, agent, fast=True, **OTHER[script])
    refused(
        words, 2, parts(file=path, names=[str(target)]), agent.parent, orders=NO_TORCH, process=name == FOLDERS[script]
    )


@by_script
def test_a_link_to_an_agents_folder_is_a_folder(script: str, agent: Path) -> None:
    link = agent.parent / "link"
    link.symlink_to(agent)
    works(words_of(script, link, fast=True, **OTHER[script]), orders=NO_TORCH, process=script == "E")
    assert no_temporary_files(agent)


@by_script
def test_a_link_given_as_the_output_folder_is_written_into(script: str, agent: Path) -> None:
    (agent.parent / "real").mkdir()
    (agent.parent / "out").symlink_to("real")
    words = words_of(script, agent, fast=True, output_dir=str(agent.parent / "out"))
    works(words, orders=NO_TORCH, process=script == "P")
    assert any((agent.parent / "real").iterdir())


DISK: dict[str, tuple[str, int]] = {
    "F20 full": ("write", errno.ENOSPC),
    "F22 fsync": ("fsync", errno.EIO),
    "F23 rename": ("replace", errno.EACCES),
    "F25 too many open files": ("make", errno.EMFILE),
}


@by_script
@pytest.mark.parametrize("fault", DISK)
def test_a_disk_that_fails_at_any_moment_leaves_whole_files_and_no_others(fault: str, script: str, agent: Path) -> None:
    """The first call fails, then the second, and so on, until the run comes through."""
    call, number = DISK[fault]
    before = snapshot(agent)
    words = words_of(script, agent, fast=True, **OTHER[script])
    for place in range(1, 20):
        orders: dict[str, Any] = {**NO_TORCH, "call": call, "number": place, "errno": number}
        reported = run(words, orders=orders, process=script == "E")
        if reported.returncode == 0:
            if call != "fsync" or place > 2 * len(OUTPUTS[script]):
                break
            continue  # a folder that could not be synced is no error: its files are complete
        assert f"/{FOLDERS[script]}/" in error_line(reported, 4)  # the file, not the temporary one next to it
        assert ".tmp" not in reported.stderr
        assert no_temporary_files(agent)
        now = snapshot(agent)
        assert now.keys() == before.keys()
        assert place > 1 or now == before
        assert outputs_are_whole(script, agent)
    assert reported.returncode == 0
    assert place > len(OUTPUTS[script])  # each file was in its turn


@by_script
def test_a_quota_that_is_used_up_is_an_error_of_the_machine(script: str, agent: Path) -> None:
    """F21."""
    orders = {**NO_TORCH, "call": "write", "number": 1, "errno": errno.EDQUOT}
    words = words_of(script, agent, fast=True)
    refused(words, 4, "quota exceeded", agent.parent, orders=orders, process=script == "G")


@by_script
@pytest.mark.parametrize("size", [0, 100])
def test_a_file_size_limit_is_an_error_of_the_machine(size: int, script: str, agent: Path) -> None:
    """F24: SIGXFSZ does not kill, the write fails."""
    words = words_of(script, agent, fast=True)
    limit = limited(resource.RLIMIT_FSIZE, size)
    refused(words, 4, "File too large", agent.parent, orders=NO_TORCH, preexec_fn=limit)


@by_script
def test_a_failure_to_open_an_input_is_an_error_of_the_machine(script: str, agent: Path) -> None:
    """F25, while reading."""
    orders = {"call": "read", "name": "clean_inputs.json", "number": 1, "errno": errno.EMFILE}
    refused(words_of(script, agent, fast=True), 4, "Too many open files", agent.parent, orders=orders)


@by_script
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_process_that_is_killed_leaves_whole_files_and_a_rerun_completes_them(
    call: str, script: str, agent: Path
) -> None:
    """F26: ``kill -9`` at the first and at the last such moment. A killed process cannot clear its temporary file."""
    words = words_of(script, agent, fast=True, **OTHER[script])
    last = len(OUTPUTS[script])
    for number in (1, last):
        reported = run(words, orders={"call": call, "number": number, "signal": int(signal.SIGKILL)})
        assert reported.returncode == -signal.SIGKILL
        assert outputs_are_whole(script, agent)
    works(words, orders=NO_TORCH, process=script == "W")
    works([word for word in words if word != "--overwrite"], orders=NO_TORCH)  # and it is up to date


def signals_heard() -> None:
    """In the child: signals that a shell in the background ignores have their default again."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@by_script
@pytest.mark.parametrize(("ends", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_while_writing_leaves_the_old_files(ends: signal.Signals, code: int, script: str, agent: Path) -> None:
    """F27, F28, F29."""
    orders = {"call": "fsync", "number": 1, "signal": int(ends)}
    words = words_of(script, agent, fast=True, **OTHER[script])
    refused(words, code, "no partially written files remain", agent.parent, orders=orders, preexec_fn=signals_heard)


@by_script
def test_a_hang_up_is_ignored_under_nohup(script: str, agent: Path) -> None:
    """F29: who ignores it beforehand wants the run to go on."""
    orders = {"call": "fsync", "number": 1, "signal": int(signal.SIGHUP)}
    works(words_of(script, agent, fast=True), orders=orders, preexec_fn=lambda: ignore(signal.SIGHUP))


def ignore(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)
