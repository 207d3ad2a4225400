from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.ObservationTooling.egocentric_view import ENCODING
from Neuron_Selection.ObservationTooling.lava_crossing.input_ids import format_input_id
from Neuron_Selection.ObservationTooling.lava_crossing.pair_files import load_pairs, refuse_to_replace, save_pairs
from Neuron_Selection.ObservationTooling.lava_crossing.rebuilding import rebuild_input, verify_pairs
from tests.raised import parts, raises

AGENT = Path(__file__).resolve().parents[3] / "examples" / "lava_crossing" / "agent"
FIRST = next(iter(json.loads((AGENT / "activation_inputs" / "pairs.json").read_text())))


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(AGENT, tmp_path / "agent")
    return tmp_path / "agent"


def change(path, edit):
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def test_pairs_that_were_saved_load_again_and_save_to_the_same_bytes(folder, tmp_path):
    written = save_pairs(tmp_path / "copy", load_pairs(folder))
    assert len(written) == 4
    for path in written:
        assert path.read_bytes() == (folder / path.relative_to(tmp_path / "copy")).read_bytes()


def test_the_inputs_files_hold_the_environment_seed_as_cluster_and_the_encoding_is_next_to_them(folder):
    for name in ("clean_inputs.json", "corrupted_inputs.json"):
        for input_id, entry in json.loads((folder / "activation_inputs" / name).read_text()).items():
            assert list(entry) == ["input", "cluster"]
            assert input_id.startswith(f"MiniGrid-LavaCrossingS9N1-v0-{entry['cluster']}-")
            assert set(entry["input"]) == {0.0, 1.0}
    assert json.loads((folder / "encoding.json").read_text()) == ENCODING


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (lambda d: d.pop(FIRST), parts(names=["clean_inputs.json"])),
        (lambda d: d[FIRST].update(cells=[[1, 2]] * 3), parts(field=f"'{FIRST}'.cells", found="3 cells", expected="2")),
        (lambda d: d[FIRST].update(edit="wall_added"), parts(field=f"'{FIRST}'.edit", names=["'wall_added'"])),
        (
            lambda d: d[FIRST].update(cells=[[1]]),
            parts(field=f"'{FIRST}'.cells[0]", found="a list of length 1", expected="a list of length 2"),
        ),
        (
            lambda d: d[FIRST].update(clean_action=True),
            parts(field=f"'{FIRST}'.clean_action", found="true", expected="a whole number"),
        ),
        (lambda d: d[FIRST].pop("edit"), parts(field=f"'{FIRST}'.edit", problem="is missing")),
        (lambda d: d[FIRST].update(note="x"), parts(field=f"'{FIRST}'", names=["`note`"])),
        (lambda d: d.update({FIRST: 1}), parts(field=f"'{FIRST}'", found="1", expected="an object")),
    ],
)
def test_a_damaged_pairs_file_is_refused_with_the_place(folder, edit, error):
    change(folder / "activation_inputs" / "pairs.json", edit)
    with raises(InputError, file="pairs.json", **error):
        load_pairs(folder)


def test_a_pairs_file_that_is_no_object_is_refused(folder):
    (folder / "activation_inputs" / "pairs.json").write_text("[]")
    with raises(InputError, file="pairs.json", found="a list", expected="an object {id: {'edit': ...}}"):
        load_pairs(folder)


def test_inputs_files_of_other_pairs_are_refused(folder):
    change(folder / "activation_inputs" / "corrupted_inputs.json", lambda d: d.pop(FIRST))
    with raises(InputError, file="corrupted_inputs.json", names=["clean_inputs.json"]):
        load_pairs(folder)


def test_pairs_are_not_replaced_unasked(folder, tmp_path):
    refuse_to_replace(tmp_path)
    with raises(InputError, file=folder / "activation_inputs" / "clean_inputs.json", flags=["--overwrite"]):
        refuse_to_replace(folder)


@pytest.mark.parametrize("name", ["clean", "corrupted"])
def test_one_number_off_is_found_and_its_id_named(folder, name):
    def flip(document):
        document[FIRST]["input"][40] = 1.0 - document[FIRST]["input"][40]

    change(folder / "activation_inputs" / f"{name}_inputs.json", flip)
    with raises(InputError, file="agent", field=f"{name} input '{FIRST}'", names=["1 of 151 numbers"]):
        verify_pairs(load_pairs(folder), where="agent")


def test_another_edit_than_the_stored_one_is_found(folder):
    def move(document):
        document[FIRST]["cells"][1][1] -= 1

    change(folder / "activation_inputs" / "pairs.json", move)
    with raises(InputError, file="agent", field=f"corrupted input '{FIRST}'", names=["2 of 151 numbers"]):
        verify_pairs(load_pairs(folder), where="agent")


def test_minus_zero_is_not_zero(folder):
    pair = load_pairs(folder)[0]
    pair.clean[np.flatnonzero(pair.clean == 0)[0]] = -0.0
    with raises(InputError, file="agent", field=f"clean input '{FIRST}'", names=["0 of 151 numbers"]):
        verify_pairs([pair], where="agent")


@pytest.mark.parametrize(("cell", "content"), [((0, 3), "#"), ((7, 7), "G"), ((30, 1), "#")])
def test_an_id_whose_cell_holds_something_is_refused(folder, cell, content):
    place = replace(load_pairs(folder)[0].place, cell=cell)
    found = f"'{content}' on cell {cell[0]},{cell[1]}"
    with raises(InputError, file=f"input id '{format_input_id(place)}'", found=found, expected="a free cell"):
        rebuild_input(place)
