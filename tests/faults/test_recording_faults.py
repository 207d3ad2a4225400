"""List G, recording and pairs: what record_inputs.py and make_pairs.py refuse, before they write anything."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.made_runs import environment, words
from tests.faults.script_runs import fails, refused, works
from tests.raised import DIFFERENT_RUN, Parts, bad_value, parts

VISITED = "activation_inputs/visited_inputs.json"


def wrong(factory: str, error: Parts, code: int = 2) -> tuple[Callable[[Path], list[str]], int, Parts]:
    return lambda agent: environment(agent, factory), code, error


# name: (flags, exit code, the error)
ENVIRONMENTS: dict[str, tuple[Callable[[Path], list[str]], int, Parts]] = {
    "G1 an id that nobody registers": (lambda _: ["--env", "CartPole-v9"], 2, parts(file=..., problem=...)),
    "G2 a factory's file that is missing": (
        lambda agent: ["--env", f"{agent.parent}/none.py:make_env"],
        2,
        parts(file="none.py", problem=...),
    ),
    "G2 a factory that the file lacks": wrong("make", bad_value("make", "no function of this name")),
    "G2 a factory that makes no environment": wrong("make_nothing", bad_value("make_nothing()", ...)),
    "G3 a module that is not trusted": (lambda _: ["--env", "os:CartPole-v1"], 3, parts(file=..., problem=...)),
    "G4 other observations": wrong("make_wider", bad_value("observation space", ...)),
    "G5 other actions": wrong("make_five_actions", bad_value("action space", "Discrete 5")),
    "G6 NaN in an observation": wrong("make_nan", parts(file=..., field=..., found=..., expected=...)),
    "G7 an environment that raises": wrong("make_broken", parts(field=..., problem="cannot be used")),
    "G8 arguments that it does not take": (
        lambda agent: [*environment(agent), "--env_kwargs", "size=3"],
        2,
        parts(field=..., problem="cannot be used"),
    ),
}
BEFORE: dict[str, tuple[str, Parts]] = {
    "G9 an environment.json cut off": (
        '{"env": "Cart',
        parts(file="environment.json", field=..., found=..., expected="JSON"),
    ),
    "G9 without env": ("{}", parts(file="environment.json", field="env", problem=...)),
    "G9 of another type": ('{"env": 3}', parts(file="environment.json", field="env", found=..., expected=...)),
    "G10 a factory in a file of others": (
        json.dumps({"env": "/somewhere/env.py:make_env"}),
        parts(file="environment.json", field=..., problem=...),
    ),
}
PAIRS: dict[str, tuple[list[str], Parts]] = {
    "G12 an inputs file that is missing": (["--inputs", "none.json"], parts(file="none.json", problem=...)),
    "G13 an action that the agent lacks": (
        ["--from_action", "7"],
        parts(field="from_action", found="'7'", expected="an action from 0 to 2"),
    ),
    "G13 equal actions": (["--from_action", "1", "--to_action", "1"], parts(names=["1"])),
    "G13 a margin that no state has": (["--min_margin", "1e9"], parts(file="visited_inputs.json", problem=...)),
    "G13 a margin below 0": (["--min_margin", "-1"], parts(field="min_margin", found="-1", expected=...)),
    "G14 cells of a vector": (["--group", "cells"], parts(problem=..., field=..., file=...)),
    "G15 seeds of an environment": (["--n_env_seeds", "3"], parts(flags=["--n_env_seeds", "--method"])),
    "G15 states for edits": (["--method", "environment", "--inputs", "a.json"], parts(flags=["--inputs", "--method"])),
}


@pytest.mark.parametrize("fault", ENVIRONMENTS)
def test_an_environment_that_cannot_be_used_is_refused_and_nothing_is_written(fault: str, world: Path) -> None:
    flags, code, error = ENVIRONMENTS[fault]
    refused(words("record", world, *flags(world), "--overwrite"), code, error, world)


@pytest.mark.parametrize("fault", BEFORE)
def test_a_recorded_environment_is_read_as_data(fault: str, world: Path) -> None:
    content, error = BEFORE[fault]
    (world / "activation_inputs" / "environment.json").write_text(content)
    refused(words("record", world, "--overwrite"), 2, error, world)


def test_recordings_and_pairs_of_another_run_are_kept(world: Path) -> None:
    """G11."""
    for script, more in (("record", [*environment(world), "--seed", "9"]), ("pairs", ["--seed", "9"])):
        before = refused(words(script, world, *more), 2, parts(file=..., problem=DIFFERENT_RUN), world)
        assert "--overwrite" in before
        works(words(script, world, *more, "--overwrite"))


@pytest.mark.parametrize("fault", PAIRS)
def test_pairs_that_cannot_be_made_are_refused_and_nothing_is_written(fault: str, world: Path) -> None:
    flags, error = PAIRS[fault]
    if "--method" in flags:
        flags = [*flags, *environment(world)]
    refused(words("pairs", world, *flags, "--overwrite"), 2, error, world)


def test_names_that_do_not_fit_the_agent_are_refused(world: Path) -> None:
    """G16."""
    (world / "encoding.json").write_text('{"entries": ["x", "y"]}')
    error = parts(file="encoding.json", field="entries", found="2 names", expected=re.compile("4, .*"))
    for script in ("pairs", "edges", "report"):
        refused(words(script, world, "--overwrite"), 2, error, world)


def test_states_that_are_all_decided_alike_give_no_pair(world: Path) -> None:
    """G17."""
    document = json.loads((world / VISITED).read_text())
    alike = {name: {**entry, "input": [0, 0, 0, 0]} for name, entry in document.items()}
    (world / VISITED).write_text(json.dumps(alike))
    fails(words("pairs", world, "--overwrite"), 2, parts(file="visited_inputs.json", problem=..., hint=...))
