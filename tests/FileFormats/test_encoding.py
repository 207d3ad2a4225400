from __future__ import annotations

import json

import numpy as np
import pytest

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.agent_zip.spaces import BoxSpace, DictSpace, DiscreteSpace
from Neuron_Selection.FileFormats.encoding import load_encoding
from tests.conftest import ROOT

EXAMPLE = ROOT / "examples" / "lava_crossing" / "agent" / "encoding.json"


def box(*shape):
    return BoxSpace(shape=shape, dtype=np.dtype(np.float32), low=np.zeros(shape), high=np.ones(shape))


@pytest.fixture
def written(tmp_path):
    def write(document):
        (tmp_path / "encoding.json").write_text(json.dumps(document))
        return tmp_path / "encoding.json"

    return write


def test_without_a_file_there_is_no_encoding(tmp_path):
    assert load_encoding(tmp_path / "encoding.json", box(2), 2) is None


def test_names_of_entries_and_actions_are_read(written):
    found = load_encoding(written({"entries": ["x", "v"], "actions": ["left", "right"]}), box(2), 2)
    assert (found.entries, found.cells, found.actions, found.view) == ({"": ("x", "v")}, {}, ("left", "right"), None)


def test_entries_of_a_dict_are_named_by_key(written):
    space = DictSpace(spaces={"position": box(2), "room": DiscreteSpace(n=4)})
    found = load_encoding(written({"entries": {"position": ["x", "y"], "room": ["room"]}}), space, 2)
    assert found.entries == {"position": ("x", "y"), "room": ("room",)}
    assert found.actions is None


def test_the_view_of_the_example_names_every_entry_by_its_own_formulas():
    document = json.loads(EXAMPLE.read_text())
    found = load_encoding(EXAMPLE, box(151), 3)
    names = found.entries[""]
    assert len(names) == len(set(names)) == len(found.cells[""]) == 151
    for row, column, channel in ((0, 0, 0), (6, 3, 2), (3, 5, 1)):
        entry = (row * 7 + column) * 3 + channel
        assert names[entry] == f"row {row}, column {column}: {document['channels'][channel]}"
        assert found.cells[""][entry] == f"row {row}, column {column}"
    assert names[147:] == tuple(f"heading {name}" for name in document["headings"])
    assert (found.view.n_entries, found.view.agent) == (147, (6, 3))


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], ""),
        ({}, ""),
        ({"entrys": ["x", "v"]}, ""),
        ({"view": {"rows": 1, "columns": 2, "agent": [0, 1]}, "channels": ["a"]}, "view.agent"),
        ({"view": {"rows": 1, "columns": 2, "agent": {"row": 1, "column": 0}}, "channels": ["a"]}, "view.agent"),
        ({"entries": ["x"]}, "entries"),
        ({"entries": ["x", "x"]}, "entries"),
        ({"entries": ["x", 1]}, "entries"),
        ({"entries": "xy"}, "entries"),
        ({"entries": ["x", "line\nbreak"]}, "entries"),
        ({"actions": ["only one"]}, "actions"),
        ({"view": {"rows": 1}, "channels": ["a"]}, "view"),
        ({"view": {"rows": 1, "columns": True}, "channels": ["a"]}, "view"),
        ({"view": {"rows": 1, "columns": 2}}, "channels"),
        ({"view": {"rows": 3, "columns": 3}, "channels": ["a"]}, "entries"),
    ],
)
def test_what_does_not_fit_the_agent_is_refused_with_its_field(document, field, written):
    with pytest.raises(InputError) as raised:
        load_encoding(written(document), box(2), 2)
    assert raised.value.field == field


def test_a_key_that_the_space_does_not_have_is_refused(written):
    with pytest.raises(InputError) as raised:
        load_encoding(written({"entries": {"speed": ["v"]}}), DictSpace(spaces={"position": box(2)}), 2)
    assert raised.value.field == "entries.speed"
