"""``candidate_weights.json``: the weights to change, and the neurons they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, write_atomically
from Neuron_Selection.FileFormats.storage.document_checks import Index, checked_document
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, parse_edited_json

CANDIDATES_FILE = "candidate_weights.json"
KEYS = ("weight_targets", "metadata", "neuron_weights", "top_k_per_neuron", "additional_weights")
_HINT = "extract.py makes it"


class _Target(msgspec.Struct):
    layer_name: str
    neuron_index: Index
    weight_index: Index
    gradient_magnitude: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class _CandidateWeights(msgspec.Struct):
    weight_targets: Annotated[list[_Target], msgspec.Meta(min_length=1)]
    metadata: dict[str, Any] = {}
    neuron_weights: dict[str, Any] = {}
    top_k_per_neuron: dict[str, Any] = {}
    additional_weights: dict[str, Any] = {}


def save_candidate_weights(path: Path, document: Mapping[str, Any]) -> None:
    """Write the file, its five keys in their order."""
    write_atomically(path, json_bytes({key: document[key] for key in KEYS}))


def load_candidate_weights(path: Path) -> dict[str, Any]:
    """Load a whole file, written by this suite or published.

    :raises InputError: no targets, a target given twice, or a field of another type
    """
    document = parse_edited_json(read_bytes(path, hint=_HINT), path)
    seen: set[tuple[str, int, int]] = set()
    for number, target in enumerate(checked_document(document, _CandidateWeights, path, hint=_HINT).weight_targets):
        field = f"weight_targets[{number}]"
        if not target.layer_name.endswith(".weight"):
            expected = "the name of a weight"
            raise InputError(path, f"{field}.layer_name", found=shown(target.layer_name), expected=expected)
        place = (target.layer_name, target.neuron_index, target.weight_index)
        if place in seen:
            raise InputError(path, field, f"{place[0]}[{place[1]},{place[2]}] is listed twice")
        seen.add(place)
    return dict(document)
