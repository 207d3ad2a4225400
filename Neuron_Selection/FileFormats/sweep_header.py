"""What a sweep file says of itself: which inputs, experiments, directions and layers its arrays stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.definitions import check_patch, positions_of
from Neuron_Selection.FileFormats.directions import DIRECTIONS
from Neuron_Selection.FileFormats.inputs import check_input_id
from Neuron_Selection.FileFormats.run_metadata import check_format


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepGroup:
    """Experiments that patch the same layers; ``numbers`` are their positions in the definitions, from 1."""

    layers: tuple[str, ...]
    numbers: tuple[int, ...]

    @property
    def name(self) -> str:
        """The layers, as they stand in the names of arrays."""
        return "+".join(self.layers)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SweepHeader:
    """``clusters``: id to cluster, for the ids that carry one. ``metadata`` is all that the file says.

    ``random_sets``: which patches were drawn as control, as positions from 1.
    """

    ids: tuple[str, ...]
    clusters: Mapping[str, str]
    patches: tuple[dict[str, Any], ...]
    groups: tuple[SweepGroup, ...]
    directions: Mapping[str, Mapping[str, str]]
    n_actions: int
    random_sets: tuple[int, ...]
    metadata: Mapping[str, Any]

    @property
    def ablation(self) -> str | None:
        """The kind of ablation, None for values of the other run."""
        decisive = self.metadata["run"].get("ablation")
        return str(decisive["ablation"]) if isinstance(decisive, dict) and "ablation" in decisive else None

    @property
    def weights_sha256(self) -> str:
        """Fingerprint of the network that was swept; empty if unknown."""
        return str(self.metadata["run"].get("weights_sha256", ""))


def groups_of(patches: tuple[dict[str, Any], ...]) -> tuple[SweepGroup, ...]:
    """The groups of experiments that patch the same layers, in the order in which they first come."""
    numbers: dict[tuple[str, ...], list[int]] = {}
    for number, patch in enumerate(patches, start=1):
        numbers.setdefault(tuple(patch), []).append(number)
    return tuple(SweepGroup(layers=layers, numbers=tuple(members)) for layers, members in numbers.items())


def header_from(metadata: Any, path: Path) -> SweepHeader:
    """The header that metadata stand for, every field of its type.

    :raises InputError: the field, what was found and what was expected
    """
    if not isinstance(metadata, dict):
        raise InputError(path, "__metadata__", found=shown(metadata), expected="an object")
    check_format(metadata, path)
    for field, (fits, expected) in _FIELDS.items():
        if field not in metadata:
            raise InputError(path, f"metadata.{field}", found="no such field", expected=expected)
        if not fits(metadata[field]):
            raise InputError(path, f"metadata.{field}", found=shown(metadata[field]), expected=expected)
    ids = tuple(metadata["ids"])
    for input_id in ids:
        check_input_id(input_id, path)
    if len(set(ids)) < len(ids):
        raise InputError(path, "metadata.ids", found="an id twice", expected="each once")
    return SweepHeader(
        ids=ids,
        clusters=dict(metadata["clusters"]),
        patches=(patches := patches_of(metadata["patches"], path)),
        groups=groups_of(patches),
        directions=metadata["directions"],
        n_actions=metadata["n_actions"],
        random_sets=positions_of(metadata["run"].get("random_sets", []), path, count=len(patches)),
        metadata=metadata,
    )


def patches_of(patches: list[Any], path: Path) -> tuple[dict[str, Any], ...]:
    """Patches in their JSON form, checked."""
    for number, patch in enumerate(patches, start=1):
        check_patch(patch, path, f"metadata.patches: entry {number}")
    return tuple(patches)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _is_text_to_text(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _are_directions(value: Any) -> bool:
    known = isinstance(value, dict) and bool(value) and set(value) <= set(DIRECTIONS)
    return known and all(_is_text_to_text(told) and {"source", "target"} <= set(told) for told in value.values())


_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "run": (lambda value: isinstance(value, dict), "an object"),
    "ids": (_is_list, "a list of input ids"),
    "clusters": (_is_text_to_text, "an object {id: cluster}"),
    "patches": (_is_list, "a list of patches"),
    "directions": (_are_directions, "denoising and noising, or one of them, each with its source and target"),
    "n_actions": (lambda value: type(value) is int and value > 0, "a whole number from 1"),
}
