"""List G, hostile files: a JSON file of episodes, pairs or circuits that is damaged is refused, and read as data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from Neuron_Selection.errors import InputError, SuiteError
from Neuron_Selection.FileFormats.provenance import meta_path
from tests.conftest import ROOT
from tests.faults.made_runs import environment, words
from tests.faults.script_runs import snapshot
from tests.in_process import in_process
from tests.raised import reported_errors

VERIFY = str(ROOT / "Neuron_Selection" / "ObservationTooling" / "verify_pairs.py")
VISITED, SETS, CIRCUIT = "activation_inputs/visited_inputs.json", "minimal_sets.json", "circuit.json"

Words = Callable[[Path], list[str]]
# file -> the command that reads it
READERS: dict[str, Words] = {
    VISITED: lambda agent: words("pairs", agent, "--overwrite"),
    "activation_inputs/environment.json": lambda agent: words("record", agent, "--overwrite"),
    "activation_inputs/pairs.json": lambda agent: [VERIFY, "--agent_path", str(agent)],
    f"patching_results/{CIRCUIT}": lambda agent: words("circuit", agent, "--overwrite"),
    f"patching_results/{SETS}": lambda agent: words(
        "rollouts", agent, *environment(agent), "--from", SETS, "--overwrite"
    ),
    "rollout_results/rollouts.json": lambda agent: words(
        "compare", agent, "--overwrite", "--output_dir", f"{agent}/all"
    ),
    "patching_results/edges.json": lambda agent: words("report", agent, "--overwrite"),
}
by_file = pytest.mark.parametrize("name", READERS)
MARKUP = '<script>alert("1")</script>'
# what a value is replaced by -> its text in the file
VALUES = {
    "null": "null", "NaN": "NaN", "infinity": "1e999", "5,000 digits": "9" * 5000, "a boolean": "true",
    "text": json.dumps(MARKUP), "a list": "[]", "an object": "{}", "a fraction": "0.5", "below 0": "-1",
    "deep nesting": "[" * 50_000 + "]" * 50_000,
}  # fmt: skip
_MARK = "\u0001replaced\u0001"


def wholes(data: bytes) -> dict[str, bytes]:
    """Files that are no such document at all."""
    text = data.decode()
    key = json.dumps(next(iter(json.loads(text))))
    return {
        "empty": b"", "cut": data[: len(data) // 2], "UTF-16": text.encode("utf-16"), "a list": b"[]",
        "an empty object": b"{}", "deep nesting": VALUES["deep nesting"].encode(),
        "a key twice": b"{" + f"{key}: 1, {key}: 1".encode() + b"}", "markup": f"<html>{MARKUP}</html>".encode(),
        "NaN": b'{"a": NaN}', "5,000 digits": ("{" + f"{key}: {'9' * 5000}" + "}").encode(),
    }  # fmt: skip


def fields(document: Any) -> Iterator[tuple[Any, Any]]:
    """Holder and key of every kind of field: of a list, or an object whose keys are ids, the first entry alone."""
    entries = [*document.items()] if isinstance(document, dict) else [*enumerate(document)]
    is_record = isinstance(document, dict) and len(entries) < 25
    for key, value in entries if is_record else entries[:1]:
        yield document, key
        if isinstance(value, dict | list) and value:
            yield from fields(value)


def damaged(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The document with one field replaced: some forty of all fields and values, evenly spaced."""
    document = json.loads(data)
    places = [(holder, key, kind) for holder, key in fields(document) for kind in VALUES]
    for holder, key, kind in places[:: max(1, len(places) // 40)]:
        kept, holder[key] = holder[key], _MARK
        yield f"{key} {kind}", json.dumps(document).replace(json.dumps(_MARK), VALUES[kind]).encode()
        holder[key] = kept


@by_file
def test_a_file_that_is_no_such_document_is_refused_with_its_name(name: str, world: Path) -> None:
    """G29."""
    path = world / name
    before = path.read_bytes()
    for kind, data in wholes(before).items():
        path.write_bytes(data)
        others = snapshot(world.parent)
        with reported_errors() as errors:
            reported = in_process(READERS[name](world))
        assert reported.returncode == 2, (kind, reported.stderr)
        assert "Traceback" not in reported.stderr
        (error,) = errors
        assert isinstance(error, SuiteError)
        assert Path(error.file).name in (path.name, meta_path(path).name), (kind, error)
        assert snapshot(world.parent) == others


@by_file
def test_a_field_of_another_kind_is_refused_or_has_no_effect_but_never_a_traceback(name: str, world: Path) -> None:
    """G30."""
    path = world / name
    before = path.read_bytes()
    refusals = 0
    for kind, data in damaged(before):
        path.write_bytes(data)
        with reported_errors() as errors:
            reported = in_process(READERS[name](world))
        assert reported.returncode in (0, 2), (kind, reported.stderr)
        assert "Traceback" not in reported.stderr, kind
        for error in errors:
            assert isinstance(error, SuiteError)
            assert len(str(error)) < 1000
            refusals += isinstance(error, InputError)
    assert refusals > 3


@by_file
def test_the_file_as_it_was_made_is_read(name: str, world: Path) -> None:
    """But for an environment.json that names code, which is not run from a file."""
    reported = in_process(READERS[name](world))
    assert reported.returncode == (2 if name.endswith("environment.json") else 0)
