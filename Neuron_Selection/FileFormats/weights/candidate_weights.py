"""``candidate_weights.json``: which weights to change, and from which neurons they come."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, write_atomically
from Neuron_Selection.FileFormats.storage.json_files import is_finite_number, json_bytes, parse_edited_json

CANDIDATES_FILE = "candidate_weights.json"
KEYS = ("weight_targets", "metadata", "neuron_weights", "top_k_per_neuron", "additional_weights")


def save_candidate_weights(path: Path, document: Mapping[str, Any]) -> None:
    """Write the file, its five keys in their order."""
    write_atomically(path, json_bytes({key: document[key] for key in KEYS}))


def load_candidate_weights(path: Path) -> dict[str, Any]:
    """A whole file, ours or a published one; ``weight_targets`` are checked one by one.

    :raises InputError: no targets, a target twice, or a field of another type
    """
    document = parse_edited_json(read_bytes(path, hint="extract.py makes it"), path)
    if not isinstance(document, dict):
        raise InputError(path, found=shown(document), expected="an object with weight_targets")
    targets = document.get("weight_targets")
    if not isinstance(targets, list):
        found = shown(targets) if "weight_targets" in document else "no such key"
        raise InputError(path, "weight_targets", found=found, expected="a list of targets", hint="extract.py makes it")
    if not targets:
        raise InputError(path, "weight_targets", found="an empty list", expected="at least one target")
    for key in KEYS[1:]:
        if not isinstance(document.get(key, {}), dict):
            raise InputError(path, key, found=shown(document[key]), expected="an object")
    seen: set[tuple[str, int, int]] = set()
    for number, target in enumerate(targets):
        place = _place(target, path, f"weight_targets[{number}]")
        if place in seen:
            found = f"{place[0]}[{place[1]},{place[2]}] twice"
            raise InputError(path, f"weight_targets[{number}]", found=found, expected="once")
        seen.add(place)
    return dict(document)


def _place(target: Any, path: Path, field: str) -> tuple[str, int, int]:
    """Layer, neuron and weight of a target, each of its fields checked."""
    if not isinstance(target, dict):
        raise InputError(path, field, found=shown(target), expected="an object")
    layer = target.get("layer_name")
    if not isinstance(layer, str) or not layer.endswith(".weight"):
        raise InputError(path, f"{field}.layer_name", found=shown(layer), expected="the name of a weight")
    for key in ("neuron_index", "weight_index"):
        if type(target.get(key)) is not int or target[key] < 0:
            raise InputError(path, f"{field}.{key}", found=shown(target.get(key)), expected="an index from 0")
    magnitude = target.get("gradient_magnitude", 0.0)
    if not is_finite_number(magnitude) or magnitude < 0:
        raise InputError(path, f"{field}.gradient_magnitude", found=shown(magnitude), expected="a finite number from 0")
    return layer, target["neuron_index"], target["weight_index"]
