"""Names of input entries from encoding.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from Neuron_Selection.errors import InputError, SuiteWarning
from Neuron_Selection.FileFormats.entry_names import load_entry_names
from Neuron_Selection.ObservationTooling.egocentric_view import CHANNELS, ENCODING, HEADING_NAMES, LENGTH


def test_every_entry_is_named_as_the_encoding_places_it(tmp_path: Path) -> None:
    (tmp_path / "encoding.json").write_text(json.dumps(ENCODING))
    names = load_entry_names(tmp_path, LENGTH)
    assert names is not None
    assert len(names) == len(set(names)) == LENGTH
    for row, column, channel in ((0, 0, 0), (5, 3, 1), (6, 6, 2)):
        assert names[(row * 7 + column) * 3 + channel] == f"row {row}, column {column}, {CHANNELS[channel]}"
    assert names[147:] == [f"heading {name}" for name in HEADING_NAMES]


def test_without_an_encoding_or_with_one_of_another_length_entries_have_no_names(tmp_path: Path) -> None:
    assert load_entry_names(tmp_path, 4) is None
    (tmp_path / "encoding.json").write_text(json.dumps(ENCODING))
    with pytest.warns(SuiteWarning, match="describes 151 entries"):
        assert load_entry_names(tmp_path, 4) is None


def test_another_encoding_is_refused_by_its_field(tmp_path: Path) -> None:
    (tmp_path / "encoding.json").write_text(json.dumps({**ENCODING, "channels": "lava"}))
    with pytest.raises(InputError) as raised:
        load_entry_names(tmp_path, LENGTH)
    assert (raised.value.field, raised.value.found) == ("channels", "'lava'")
