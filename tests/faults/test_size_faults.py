"""Small files that hold much: they cost at most 20 times their size and 300 MB, and 10 seconds, or are refused by name.

The limits are set on the child process, so that no clock and no other process can change what is found.
"""

from __future__ import annotations

import re
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.faults.hostile_files import HOSTILE, MB, policy_that_inflates
from tests.faults.script_runs import error_line, fails, run
from tests.in_process import Completed
from tests.raised import parts

INSPECT = ROOT / "Neuron_Selection" / "inspect_agent.py"
WRITE = ROOT / "Parameter_Selection" / "PerturbationTooling" / "write_agent.py"
COMMANDS = {
    "inspect": lambda path: [str(INSPECT), str(path)],
    "write": lambda path: [str(WRITE), "--agent_path", str(path), "--edits", "q_net.0.weight[0,0]=1",
                           "--output", str(path.with_name("edited.zip"))],
}  # fmt: skip


def limited(path: Path) -> Callable[[], None]:
    memory = 20 * path.stat().st_size + 300 * MB
    return lambda: (
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory)),
        resource.setrlimit(resource.RLIMIT_CPU, (10, 10)),
    )


def limited_run(command: str, path: Path, *more: str) -> Completed:
    return run([*COMMANDS[command](path), *more], preexec_fn=limited(path))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_holds_far_too_much_is_refused_with_member_size_and_limit(
    name: str, command: str, tmp_path: Path
) -> None:
    make, too_large, _ = HOSTILE[name]
    reported = limited_run(command, make(tmp_path / "agent.zip", too_large))
    found = (
        reported.stdout.replace("not readable: ", "error: ") if reported.returncode == 0 else error_line(reported, 2)
    )
    if command == "inspect" and name == "optimizers that inflate":
        assert reported.returncode == 0  # the optimizers are not needed, and nothing of them is kept
        return
    assert "expected at most " in found
    assert "--max_size raises the limit" in found
    if command == "inspect" and "directory" not in name:
        assert "pickled names (read, not run):" in reported.stdout  # what can be listed is listed
    assert not (tmp_path / "edited.zip").exists()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_holds_as_much_as_is_allowed_stays_within_the_limits(
    name: str, command: str, tmp_path: Path
) -> None:
    make, _, allowed = HOSTILE[name]
    reported = limited_run(command, make(tmp_path / "agent.zip", allowed))
    assert reported.returncode in (0, 2), reported.stderr
    assert "Traceback" not in reported.stderr
    assert "--max_size" not in reported.stderr + reported.stdout


def test_a_large_agent_is_read_where_max_size_allows_it(tmp_path: Path) -> None:
    path = policy_that_inflates(tmp_path / "agent.zip", 200 * MB)
    words = COMMANDS["write"](path)
    found, expected = re.compile("[0-9,]+ bytes.*"), re.compile("at most .*")
    error = parts(file=..., field=..., found=found, expected=expected, hint="--max_size raises the limit")
    fails(words, 2, error)
    assert run([*words, "--max_size", "1GB"]).returncode == 0


@pytest.mark.parametrize("text", ["", "0", "-1", "4XB", "1e9", "4 GB GB", "\u0663"])
def test_a_size_is_read_strictly(text: str, tmp_path: Path) -> None:
    fails([*COMMANDS["inspect"](tmp_path), "--max_size", text], 2, parts(names=["--max_size", repr(text)]))
