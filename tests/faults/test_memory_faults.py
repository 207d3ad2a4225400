"""List F, memory: what does not fit is exit 4, with how much it was; many inputs take memory in proportion."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.script_runs import NO_TORCH, SCRIPTS, error_line, refused, run, snapshot, words_of, works
from tests.faults.test_kills import commands
from tests.raised import parts

by_script = pytest.mark.parametrize("script", SCRIPTS)
MIB = 1 << 20


def at_most(mebibytes: int) -> Callable[[], None]:
    limit = mebibytes * MIB
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


@by_script
def test_a_file_that_does_not_fit_into_memory_is_named_with_its_size(script: str, agent: Path) -> None:
    """F36: a gibibyte, sparse on disk, where 700 MiB are allowed."""
    with (agent / "activation_inputs" / "new_inputs.json").open("wb") as file:
        file.truncate(1 << 30)
    error = parts(names=["new_inputs.json", "out of memory", "1,073,741,824 bytes"])
    words = words_of(script, agent, inputs="new_inputs.json", fast=True)
    refused(words, 4, error, agent.parent, orders=NO_TORCH, preexec_fn=at_most(700))


@pytest.mark.parametrize("script", ["E", "P"])
def test_a_memory_limit_that_torch_does_not_fit_into_is_one_line(script: str, agent: Path) -> None:
    """F36: the library cannot be mapped."""
    before = snapshot(agent)
    reported = run(words_of(script, agent), preexec_fn=at_most(220))
    assert "memory" in error_line(reported, 4)
    assert snapshot(agent) == before


@pytest.mark.parametrize("mebibytes", [60, 110, 130, 150, 170, 190, 210, 250, 280, 330, 360, 500, 690])
def test_little_memory_is_one_line_and_never_a_crash_or_a_spin(mebibytes: int, agent: Path) -> None:
    """F36: OpenBLAS would end the process, or try for ever, and torch abort; 40 CPU seconds are allowed."""
    limits = at_most(mebibytes)

    def limited() -> None:
        limits()
        resource.setrlimit(resource.RLIMIT_CPU, (40, 40))

    works(commands(agent)["sweep"])
    hooks = {"patching with hooks": words_of("P", agent)}
    for name, words in {**commands(agent), **hooks}.items():
        reported = run([*words, *(["--overwrite"] if "--overwrite" not in words else [])], preexec_fn=limited)
        assert reported.returncode in (0, 4), f"{name}: {reported.returncode} {reported.stderr}"
        if reported.returncode == 4:
            assert "memory" in error_line(reported, 4)
        else:
            assert mebibytes >= 160, name


@by_script
def test_ten_thousand_inputs_fit_into_a_third_of_a_gibibyte(script: str, agent: Path) -> None:
    """F37: nothing grows faster than the inputs."""
    inputs = {f"i{number}": [0.1 * (number % 7), 0.2, 0.3 * (number % 3), 0.4] for number in range(10_000)}
    (agent / "activation_inputs" / "new_inputs.json").write_text(json.dumps(inputs))
    words = words_of(script, agent, inputs="new_inputs.json", fast=True, output_dir=str(agent / "new"))
    works(words, orders=NO_TORCH, preexec_fn=at_most(350))
