"""List C: a bad inputs file is refused by every script in one line, before torch is imported; odd good ones work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tests.faults.conftest import IDS
from tests.faults.recorded_runs import metadata_of
from tests.faults.script_runs import NO_TORCH, SCRIPTS, Flag, refused, words_of, works
from tests.made_agents import data_fields, mlp_state, new_dqn, pickled, save_dqn, write_zip
from tests.raised import NO_SUCH_FILE, Parts, bad_sentence, bad_state, bad_value, parts

by_script = pytest.mark.parametrize("script", SCRIPTS)
AS_PROCESSES = {"C3 no JSON", "C20 above", "C28 commas"}  # one of each list
GOOD = [0.1, 0.2, 0.3, 0.4]
DEEP = "[" * 100_000 + "]" * 100_000
IMAGE = spaces.Box(0, 255, (3, 4, 5), np.uint8)
TWO = spaces.Dict({"place": spaces.Box(-1, 1, (2,), np.float32), "time": spaces.Box(-1, 1, (2,), np.float32)})

BAD_INPUTS: dict[str, tuple[str | bytes | None, Parts]] = {
    "C1 missing": (None, bad_state("new_inputs.json", NO_SUCH_FILE)),
    "C2 empty": ("", bad_value("new_inputs.json", "an empty file")),
    "C3 no JSON": ('{"a": [1,\n 2', bad_value("line 2, column 3", "invalid JSON (Expecting ',' delimiter)")),
    "C4 UTF-16": ('{"a": [1,2,3,4]}'.encode("utf-16"),
                  bad_value("new_inputs.json", "bytes that are not UTF-8 (at byte 0)")),
    "C5 id twice": ('{"a": [1,2,3,4], "a": [1,2,3,4]}', bad_value("'a'", "a duplicate key")),
    "C5 key twice": ('{"a": {"input": [1,2,3,4], "input": [1,2,3,4]}}', bad_value("'a'.input", "a duplicate key")),
    "C6 list": ("[[1,2,3,4]]", bad_value("new_inputs.json", "a list")),
    "C6 number": ("7", bad_value("new_inputs.json", "7")),
    "C7 no inputs": ("{}", bad_state("new_inputs.json", "contains no inputs")),
    "C8 no input": ('{"a": {"inputs": [1]}}', bad_state("'a'", "has no key 'input' (its keys: 'inputs')")),
    "C9 NaN": ('{"a": [1,2,3,NaN]}', bad_value("'a'[3]", "the literal NaN")),
    "C9 Infinity": ('{"a": [1,2,3,-Infinity]}', bad_value("'a'[3]", "the literal -Infinity")),
    "C10 1e39": ('{"a": [1,2,3,1e39]}', bad_value("'a'[3]", "1e+39")),
    "C11 null": ('{"a": [1,2,3,null]}', bad_value("'a'", "null")),
    "C12 true": ('{"a": [1,2,3,true]}', bad_value("'a'", "true")),
    "C13 text": ('{"a": {"input": [1,2,3,"4"]}}', bad_value("'a'.input", "'4'")),
    "C14 ragged": ('{"a": [[1,2],[3]]}', bad_value("'a'", "lists of unequal lengths")),
    "C15 too wide": ('{"a": [1,2,3,4,5]}', bad_value("'a'", "5 numbers")),
    "C16 two in a row": ('{"a": [1,2,3,4,5,6,7,8]}', bad_value("'a'", "8 numbers")),
    "C18 two rows": ('{"a": [[1,2,3,4],[1,2,3,4]]}', bad_value("'a'", "an array of 2 x 4")),
    "C26 empty id": ('{"": [1,2,3,4]}', bad_value("''", "an input id of 0 characters")),
    "C29 newline": ('{"a\\nb": [1,2,3,4]}', bad_state("'a\\nb'", "the input id contains an unprintable character")),
    "C29 escape": ('{"a\\u001b[31m": [1,2,3,4]}',
                   bad_state("'a\\x1b[31m'", "the input id contains an unprintable character")),
    "C29 NUL": ('{"a\\u0000b": [1,2,3,4]}', bad_state("'a\\x00b'", "the input id contains an unprintable character")),
    "C30 long id": ('{"%s": [1,2,3,4]}' % ("a" * 10_000),
                    bad_value(f"'{27 * 'a'}...{28 * 'a'}'", "an input id of 10,000 characters")),
    "C33 surrogate": ('{"a\\ud800": [1,2,3,4]}',
                      bad_state("'a\\ud800'", "the input id contains an unprintable character")),
    "C36 deep": ('{"a": ' + DEEP + "}", bad_state("new_inputs.json", "is nested too deeply")),
    "C36 eleven deep": ('{"a": %s}' % (11 * "[" + "1" + 11 * "]"), bad_value("'a'", "lists nested more than 8 deep")),
    "C37 digits": ('{"a": [1,2,3,%s]}' % ("9" * 5_000),
                   bad_value("new_inputs.json", "an integer of thousands of digits")),
    "C37 integer": ('{"a": [1,2,3,%s]}' % ("9" * 400), bad_value("'a'", "an integer too large")),
}  # fmt: skip

# name: (observation space, one observation, the error)
BAD_OBSERVATIONS: dict[str, tuple[spaces.Space[Any], Any, Parts]] = {
    "C20 above": (IMAGE, np.full((3, 4, 5), 300).tolist(), bad_value("'a'.input[0][0][0]", "300")),
    "C20 below": (IMAGE, np.full((3, 4, 5), -1).tolist(), bad_value("'a'.input[0][0][0]", "-1")),
    "C21 halves": (IMAGE, np.full((3, 4, 5), 0.5).tolist(), bad_value("'a'.input[0][0][0]", "0.5")),
    "C22 key missing": (TWO, {"place": [0, 0]}, bad_state("'a'.input.time", "is missing")),
    "C23 key too many": (
        TWO,
        {"place": [0, 0], "time": [0, 0], "x": [0]},
        bad_state("'a'.input.x", "is not a key of this space; keys: place, time"),
    ),
    "C24 n": (spaces.Discrete(4), 4, bad_value("'a'.input", "4")),
    "C24 a half": (spaces.Discrete(4), 1.5, bad_value("'a'.input", "1.5")),
    "C24 negative": (spaces.Discrete(4), -1, bad_value("'a'.input", "-1")),
}

GOOD_INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "C17 a batch of one": ({"a": [GOOD], "b": {"input": [GOOD]}}, ""),
    "C25 out of bounds": ({"a": [11, 0, 0, 0]}, "1 inputs are outside the observation space's bounds (first: 'a')"),
    "C27 like paths": ({"../../a": GOOD, "/etc/a": GOOD, "C:\\a": GOOD, "a:b": GOOD, "..": GOOD}, ""),
    "C28 commas": ({"v0-81110-6,4,0-0763": GOOD, "v0-81110-6,4,0-0764": GOOD, ",": GOOD}, ""),
    "C31 equal after folding": ({"\u00e9": GOOD, "e\u0301": GOOD, "E\u0301": GOOD, "a": GOOD, "A": GOOD}, ""),
    "C32 words of numpy": ({"file": GOOD, "allow_pickle": GOOD, "arr_0": GOOD, "__metadata__": GOOD}, ""),
}


def with_inputs(agent: Path, content: str | bytes | None) -> None:
    path = agent / "activation_inputs" / "new_inputs.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def agent_of(folder: Path, space: spaces.Space[Any]) -> None:
    policy = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
    save_dqn(folder, new_dqn(space, policy=policy, net_arch=[8, 6]))


@by_script
@pytest.mark.parametrize("fault", BAD_INPUTS)
def test_a_bad_inputs_file_is_refused_without_torch(fault: str, script: str, agent: Path) -> None:
    content, error = BAD_INPUTS[fault]
    with_inputs(agent, content)
    words = words_of(script, agent, inputs="new_inputs.json")
    refused(words, 2, error, agent.parent, orders=NO_TORCH, process=fault in AS_PROCESSES)


@by_script
@pytest.mark.parametrize("fault", BAD_OBSERVATIONS)
def test_an_observation_of_another_space_is_refused_without_torch(fault: str, script: str, agent: Path) -> None:
    space, observation, error = BAD_OBSERVATIONS[fault]
    agent_of(agent, space)
    with_inputs(agent, json.dumps({"a": {"input": observation}}))
    words = words_of(script, agent, inputs="new_inputs.json")
    refused(words, 2, error, agent.parent, orders=NO_TORCH, process=fault in AS_PROCESSES)


@by_script
@pytest.mark.parametrize("inputs", GOOD_INPUTS)
def test_odd_inputs_that_are_right_work_and_keep_their_ids(inputs: str, script: str, agent: Path) -> None:
    content, warns = GOOD_INPUTS[inputs]
    with_inputs(agent, json.dumps(content))
    around = sorted(path.name for path in agent.parent.iterdir())
    words = words_of(script, agent, inputs="new_inputs.json", fast=True)
    reported = works(words, orders=NO_TORCH, process=inputs in AS_PROCESSES)
    assert warns in reported.stderr
    assert reported.stderr.count("warning: ") == bool(warns)
    assert sorted(path.name for path in agent.parent.iterdir()) == around
    assert ids_in_output(script, agent) == list(content)


def ids_in_output(script: str, agent: Path) -> list[str]:
    """The ids that the output lists; perturb_weights.py records their number and a hash."""
    if script == "E":
        readable = json.loads((agent / "activation_logging" / "new_activations_readable.json").read_text())
        with np.load(agent / "activation_logging" / "new_activations.npz") as stored:
            assert {f"{input_id}_q_net.0" for input_id in readable} <= set(stored.files)
        return list(readable)
    if script == "P":
        return list(json.loads((agent / "patching_results" / "patching.json").read_text()))
    if script == "G":
        return list(json.loads((agent / "gradient_analysis" / "weight_gradients.json").read_text()))
    reported = metadata_of(script, agent)["run"]["inputs"]
    ids = list(json.loads((agent / "activation_inputs" / "new_inputs.json").read_text("utf-8-sig")))
    assert reported["n"] == len(ids)
    return ids


@by_script
def test_a_byte_order_mark_changes_nothing(script: str, agent: Path) -> None:
    """C4."""
    text = (agent / "activation_inputs" / "clean_inputs.json").read_bytes()
    with_inputs(agent, b"\xef\xbb\xbf" + text)
    works(words_of(script, agent, inputs="new_inputs.json", fast=True), orders=NO_TORCH, process=script == "E")
    assert ids_in_output(script, agent) == IDS


@by_script
def test_images_with_channels_last_or_divided_already_are_reported(script: str, agent: Path) -> None:
    """C19 and C21: transposed as Stable-Baselines3 does, with a warning; never guessed silently."""
    agent_of(agent, IMAGE)
    with_inputs(agent, json.dumps({"a": np.ones((4, 5, 3), int).tolist()}))
    reported = works(
        words_of(script, agent, inputs="new_inputs.json", fast=True), orders=NO_TORCH, process=script == "P"
    )
    assert "1 images have their channels last; transposed to an array of 3 x 4 x 5, as SB3 does" in reported.stderr
    assert "no pixel is above 1, but this agent expects 0 to 255; were the images divided by 255?" in reported.stderr


UNKNOWN: dict[str, tuple[dict[str, Flag], Parts]] = {
    "E": ({"layers": ["q_net.0", "q_net.00"]}, bad_sentence("'q_net.00'")),
    "P": ({"input_ids": ["env-v0-81110-6"]}, bad_sentence("'env-v0-81110-6'")),
    "W": ({"input_ids": ["env-v0-81110-6"]}, bad_sentence("'env-v0-81110-6'")),
    "G": ({"inputs": "Clean_inputs.json"}, bad_state("Clean_inputs.json", NO_SUCH_FILE)),
}


@by_script
def test_an_unknown_name_is_refused_with_the_nearest(script: str, agent: Path) -> None:
    """C38: ids where there is --input_ids, else what is chosen by name."""
    flags, error = UNKNOWN[script]
    line = refused(words_of(script, agent, **flags), 2, error, agent.parent, orders=NO_TORCH, process=script == "W")
    assert script == "G" or (IDS[0] if script in "PW" else "q_net.0") in line


@by_script
def test_a_file_beyond_the_limit_is_refused_unread(script: str, agent: Path) -> None:
    """C34: three gibibytes, sparse on disk."""
    path = agent / "activation_inputs" / "new_inputs.json"
    with path.open("wb") as file:
        file.truncate(3 << 30)
    error = parts(file="new_inputs.json", found="3,221,225,472 bytes", expected="at most 2,147,483,648")
    words = words_of(script, agent, inputs="new_inputs.json")
    refused(words, 2, error, agent.parent, orders=NO_TORCH, process=script == "G")


@by_script
def test_the_last_of_thirty_thousand_inputs_is_checked_too(script: str, agent: Path) -> None:
    """C35, a part of it: the time grows with the ids alone."""
    entries = ", ".join(f'"{number}": [1,2,3,4]' for number in range(30_000))
    with_inputs(agent, "{" + entries + ', "last": [1,2,3]}')
    error = parts(file="new_inputs.json", field="'last'", found="3 numbers", expected="4 numbers")
    words = words_of(script, agent, inputs="new_inputs.json")
    refused(words, 2, error, agent.parent, orders=NO_TORCH, process=script == "E")


def test_ids_like_paths_stay_inside_of_the_results(agent: Path) -> None:
    """C27 and C31, where each id becomes a file."""
    ids = ["../../a", "/etc/a", "..", "\u00e9", "e\u0301", "a", "A"]
    with_inputs(agent, json.dumps(dict.fromkeys(ids, GOOD)))
    around = sorted(path.name for path in agent.parent.iterdir())
    works(words_of("P", agent, inputs="new_inputs.json", fast=True, by_input=True, output_prefix="each"))
    names = [path.name.casefold() for path in (agent / "patching_results" / "each" / "by_input").iterdir()]
    assert len(set(names)) == len(ids)
    assert sorted(path.name for path in agent.parent.iterdir()) == around


def test_the_spaces_of_these_tests_are_what_the_agents_say(agent: Path) -> None:
    """A space put together by hand is the one that the refusals above are about."""
    write_zip(agent / "agent.zip", data=data_fields(observation_space=pickled(spaces.Discrete(4))), policy=mlp_state())
    with_inputs(agent, '{"a": 3}')
    for script in SCRIPTS:
        works(words_of(script, agent, inputs="new_inputs.json", fast=True), orders=NO_TORCH)
