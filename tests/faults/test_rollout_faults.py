"""List G, whole episodes: what run_rollouts.py refuses, before it writes anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.made_runs import environment, words
from tests.faults.script_runs import fails, refused, works
from tests.made_agents import mlp_agent
from tests.raised import DIFFERENT_RUN, Parts, bad_sentence, bad_value, parts

PATCH = ["--patch_spec", "q_net.1:0"]


def named(file: str) -> list[str]:
    return ["--from", file]


# name: (flags besides the environment, the error)
CHANGES: dict[str, tuple[list[str], Parts]] = {
    "G18 no change": (
        [],
        parts(
            flags=[
                "--neurons",
                "--patch_spec",
                "--steer",
                "--clamp",
                "--edits",
                "--weights",
                "--candidates",
                "--against",
                "--from",
            ]
        ),
    ),
    "G18 a layer that the agent lacks": (["--patch_spec", "q_net.9:0"], bad_sentence("q_net.9")),
    "G18 a neuron that the layer lacks": (
        ["--neurons", "q_net.1:8"],
        parts(file=..., field=..., found="neuron 8 in q_net.1", expected="0..7"),
    ),
    "G18 a change twice": (["--patch_spec", "q_net.1:0", "q_net.1:0"], bad_sentence("q_net.1:0")),
    "G18 a step without a number": (
        ["--steer", "q_net.1:0"],
        parts(file=..., field=..., found="'q_net.1:0'", expected=...),
    ),
    "G18 an unknown ablation": ([*PATCH, "--ablate", "half"], parts(field=..., found="'half'", expected=...)),
    "G18 reference inputs that nothing reads": (
        [*PATCH, "--reference_inputs", "clean_inputs.json"],
        parts(flags=["--reference_inputs", "--ablate"]),
    ),
    "G19 a file that is missing": (named("none.json"), parts(file="none.json", problem=...)),
    "G19 a file that names no neurons": (
        named("activation_inputs/clean_inputs.json"),
        parts(file="clean_inputs.json", problem="names no neurons"),
    ),
    "G20 exact values of an unknown world": ([*PATCH, "--exact"], parts(file=..., field=..., problem=...)),
    "G20 exact values and a flag of episodes": ([*PATCH, "--exact", "--gif"], parts(flags=["--gif", "--exact"])),
    "G20 a function that the file lacks": ([*PATCH, "--when", "environments.py:never"], bad_value("never", ...)),
    "G20 a discount of 1": ([*PATCH, "--gamma", "1"], parts(field="gamma", found="1", expected=...)),
    "G20 an unknown policy": (
        [*PATCH, "--policy", "boltzmann"],
        parts(file=..., field=..., found="'boltzmann'", expected=...),
    ),
    "G20 an unknown experiment to show": ([*PATCH, "--frames", "--show", "exp_9"], bad_sentence("exp_9")),
}


def other_agent(name: str) -> Callable[[Path], None]:
    def spoil(agent: Path) -> None:
        mlp_agent(agent, seed=7)

    return spoil


@pytest.mark.parametrize("fault", CHANGES)
def test_changes_that_cannot_be_made_are_refused_and_nothing_is_written(fault: str, world: Path) -> None:
    flags, error = CHANGES[fault]
    flags = [flag.replace("environments.py", f"{world.parent}/environments.py") for flag in flags]
    flags = [str(world / flag) if flag.startswith("activation_inputs") else flag for flag in flags]
    refused(words("rollouts", world, *environment(world), *flags, "--overwrite"), 2, error, world)


@pytest.mark.parametrize("fault", ["G6 make_nan", "G7 make_broken", "G4 make_wider", "G5 make_five_actions"])
def test_environments_that_cannot_be_used_are_refused_and_nothing_is_written(fault: str, world: Path) -> None:
    wrong = environment(world, fault.split()[1])
    error = parts(file=..., field=..., found=..., expected=..., problem=...)
    refused(words("rollouts", world, *wrong, *PATCH, "--overwrite"), 2, error, world)


@pytest.mark.parametrize("file", ["minimal_sets.json", "circuit.json"])
def test_neurons_that_were_named_for_another_agent_are_refused(file: str, world: Path) -> None:
    """G21."""
    works(words("rollouts", world, *environment(world), *named(file), "--output_prefix", "named"))
    mlp_agent(world, seed=7)
    error = parts(file=file, field="metadata.run.weights_sha256", problem=...)
    refused(words("rollouts", world, *environment(world), *named(file), "--overwrite"), 2, error, world)


def test_results_of_another_run_are_kept(world: Path) -> None:
    """G22."""
    more = [*environment(world), "--patch_spec", "q_net.1:1"]
    refused(words("rollouts", world, *more), 2, parts(file="rollouts.json", problem=DIFFERENT_RUN), world)
    works(words("rollouts", world, *more, "--overwrite"))


def test_minimal_sets_that_were_edited_are_not_read(world: Path) -> None:
    """G23."""
    path = world / "patching_results" / "minimal_sets.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "noising": {}}))
    error = parts(file="minimal_sets.meta.json", problem=..., hint=...)
    fails(words("rollouts", world, *environment(world), *named("minimal_sets.json"), "--overwrite"), 2, error)
