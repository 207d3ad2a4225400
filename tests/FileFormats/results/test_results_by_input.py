from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.results.minimal_sets_file import (
    CURVE_COLUMNS,
    MINIMAL_SET_FILES,
    SET_COLUMNS,
)
from Neuron_Selection.FileFormats.results.results_by_input import (
    file_names,
    folder_meta_path,
    load_by_input,
    load_folder_metadata,
    save_by_input,
    stored_folder,
)
from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes
from tests.raised import Parts, parts, raises

METADATA = {"format": 1, "run": {"weights_sha256": "abc"}}
RECORD = {
    "baseline_output": [[1.0, 2.0]], "baseline_action": 1, "patched_output": [[2.0, 1.0]], "patched_action": 0,
    "action_changed": True,
}  # fmt: skip
IDS = ["a,1", "b"]


def experiments(input_id: str) -> dict[str, Any]:
    return {"exp_1_q_net.0": {"input_id": input_id, "patch_configuration": {"q_net.0": [1]}, "results": RECORD}}


def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "denoising"
    save_by_input(folder, {input_id: experiments(input_id) for input_id in IDS}, metadata=METADATA)
    return folder


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    assert load_folder_metadata(folder)["run"] == METADATA["run"]
    assert stored_folder(folder).complete == load_folder_metadata(folder)
    for input_id, name in file_names(IDS).items():
        assert load_by_input(folder / name) == (input_id, {"exp_1_q_net.0": RECORD})


def changed_metadata(folder: Path, **changed: Any) -> None:
    path = folder_meta_path(folder)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


CHANGES: dict[str, tuple[Callable[[Path], object], Parts]] = {
    "edited": (
        lambda f: (f / "b.json").write_text(json.dumps(experiments("b"))),
        parts(
            file="b.json",
            problem="was changed after it was written",
            hint="run again with --overwrite, or, for results from elsewhere, remove denoising.meta.json",
        ),
    ),
    "gone": (
        lambda f: (f / "b.json").unlink(),
        parts(
            file="b.json",
            problem="no such file, but the run wrote it",
            hint="run again with --overwrite, or, for results from elsewhere, remove denoising.meta.json",
        ),
    ),
    "another": (
        lambda f: (f / "c.json").write_text(json.dumps(experiments("c"))),
        parts(
            file="c.json",
            problem="was written by a different run",
            hint="run again with --overwrite, or, for results from elsewhere, remove denoising.meta.json",
        ),
    ),
    "all gone": (
        lambda f: [path.unlink() for path in f.glob("*.json")],
        parts(
            file="a_1.json",
            problem="no such file, but the run wrote it",
            hint="run again with --overwrite, or, for results from elsewhere, remove denoising.meta.json",
        ),
    ),
    "metadata of nothing": (
        lambda f: folder_meta_path(f).write_text("{}"),
        parts(
            file="denoising.meta.json",
            field="files",
            problem="lists no result files",
            hint="run again with --overwrite, or, for results from elsewhere, remove denoising.meta.json",
        ),
    ),
    "a command that is no object": (
        lambda f: changed_metadata(f, command=["run"]),
        parts(file="denoising.meta.json", field="metadata.command", found="a list", expected="an object"),
    ),
    "an unfinished run": (
        lambda f: changed_metadata(f, unfinished=True),
        parts(
            file="denoising.meta.json",
            problem="belongs to a run that was interrupted",
            hint="the same command finishes it",
        ),
    ),
    "metadata no JSON": (
        lambda f: folder_meta_path(f).write_text("{"),
        parts(
            file="denoising.meta.json",
            field="line 1, column 2",
            found="invalid JSON (Expecting property name enclosed in double quotes)",
            expected="JSON",
        ),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_that_is_not_as_it_was_written_is_refused(change: str, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    make, error = CHANGES[change]
    make(folder)
    with raises(InputError, **error):
        load_folder_metadata(folder)
    assert stored_folder(folder).complete is None


def test_a_folder_of_others_has_no_metadata(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    folder_meta_path(folder).unlink()
    assert load_folder_metadata(folder) == {}
    assert stored_folder(folder).complete is None


@pytest.mark.parametrize(
    "document",
    [
        {"b": RECORD},
        {"e": {"patch_configuration": {}, "results": {}}},
        {"e": {"results": {"a": RECORD, "b": RECORD}}},
        {"e": {"results": {"a": RECORD}}, "f": {"results": {}}},
        {**experiments("a"), "f": experiments("b")["exp_1_q_net.0"]},
    ],
)
def test_a_file_of_other_than_one_input_is_refused(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    with raises(InputError, file=path, found=re.compile(r"results of \d inputs"), expected="experiments of one input"):
        load_by_input(path)


def test_minimal_sets_are_refused_where_a_file_of_them_was_edited(tmp_path: Path) -> None:
    path = tmp_path / "minimal_sets.json"
    document = {"denoising": {"q_net.1": {"pairs": {}}}}
    rows = [dict.fromkeys(SET_COLUMNS, 1)]
    curves = csv_bytes(CURVE_COLUMNS, [dict.fromkeys(CURVE_COLUMNS)])
    MINIMAL_SET_FILES.save(path, document, {"sets": csv_bytes(SET_COLUMNS, rows), "curves": curves}, metadata=METADATA)
    assert MINIMAL_SET_FILES.load(path) == document
    assert MINIMAL_SET_FILES.stored(path).complete is not None
    (tmp_path / "minimal_sets.csv").write_text("edited")
    with raises(
        InputError,
        file="minimal_sets.meta.json",
        problem="does not match the files next to it",
        hint="run find_minimal_sets.py again",
    ):
        MINIMAL_SET_FILES.load(path)
    (tmp_path / "minimal_sets.meta.json").unlink()
    assert MINIMAL_SET_FILES.load(path) == document
