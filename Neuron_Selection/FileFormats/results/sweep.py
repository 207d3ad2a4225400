"""Sweep files: Q-values of many patched runs, one array for each direction and set of layers.

``<direction>_<layer>``: (n_inputs, n_experiments, n_actions). Inputs come first, so that a sweep of any size is written
and read in blocks of inputs. ``<direction>_<layer>_flags``: (n_experiments,), 2 (dead) if all patched neurons are
``<= 0`` before a ReLU or ``== 0`` after it in both runs of every pair, 1 (constant) if the others never differ.
``clean_q_values`` and ``corrupted_q_values``: (n_inputs, n_actions), unpatched. ``clean_action_masks`` and
``corrupted_action_masks``: (n_inputs, n_actions), 1 for an allowed action, of inputs with masks. ``__metadata__``: JSON
bytes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.definitions import check_patch, positions_of
from Neuron_Selection.FileFormats.directions import DIRECTIONS
from Neuron_Selection.FileFormats.inputs import check_input_id
from Neuron_Selection.FileFormats.patch_spec import experiment_name
from Neuron_Selection.FileFormats.provenance import StoredOutput, check_format
from Neuron_Selection.FileFormats.storage.array_checks import check_float32
from Neuron_Selection.FileFormats.storage.atomic_files import opened_to_read, written_atomically
from Neuron_Selection.FileFormats.storage.document_checks import checked_document
from Neuron_Selection.FileFormats.storage.npz_files import (
    EPOCH,
    METADATA_KEY,
    metadata_array,
    npy_header,
    parse_metadata,
)
from Neuron_Selection.FileFormats.storage.zip_members import ZipMembers


class _Runs(msgspec.Struct):
    source: str
    target: str


class _Metadata(msgspec.Struct):
    run: dict[str, Any]
    ids: Annotated[list[Any], Meta(min_length=1)]
    clusters: dict[str, str]
    patches: Annotated[list[Any], Meta(min_length=1)]
    directions: dict[str, _Runs]
    n_actions: Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepGroup:
    """Experiments that patch the same layers; ``numbers`` are their positions in the definitions, from 1."""

    layers: tuple[str, ...]
    numbers: tuple[int, ...]

    @property
    def name(self) -> str:
        """The layers, as in the names of arrays."""
        return "+".join(self.layers)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SweepHeader:
    """The contents of a sweep.

    ``clusters``: id to cluster, for the ids that have one. ``random_sets``: positions, from 1, of the patches drawn as
    control. ``metadata``: the whole metadata.
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
        """The kind of ablation, None if neurons are replaced by values of the other run."""
        decisive = self.metadata["run"].get("ablation")
        return str(decisive["ablation"]) if isinstance(decisive, dict) and "ablation" in decisive else None

    @property
    def weights_sha256(self) -> str:
        """Fingerprint of the network; empty if unknown."""
        return str(self.metadata["run"].get("weights_sha256", ""))


def groups_of(patches: tuple[dict[str, Any], ...]) -> tuple[SweepGroup, ...]:
    """The groups of experiments that patch the same layers, in the order of their first experiments."""
    numbers: dict[tuple[str, ...], list[int]] = {}
    for number, patch in enumerate(patches, start=1):
        numbers.setdefault(tuple(patch), []).append(number)
    return tuple(SweepGroup(layers=layers, numbers=tuple(members)) for layers, members in numbers.items())


def header_from(metadata: Any, path: Path) -> SweepHeader:
    """Make a header from metadata.

    :raises InputError: naming the field
    """
    if isinstance(metadata, dict):
        check_format(metadata, path)
    checked = checked_document(metadata, _Metadata, path, field="metadata")
    for input_id in checked.ids:
        check_input_id(input_id, path)
    if len(set(checked.ids)) < len(checked.ids):
        raise InputError(path, "metadata.ids", "an id is listed twice")
    if not checked.directions or not set(checked.directions) <= set(DIRECTIONS):
        found = ", ".join(shown(name) for name in checked.directions) or "none"
        raise InputError(path, "metadata.directions", found=found, expected="denoising, noising or both")
    patches = patches_of(checked.patches, path)
    return SweepHeader(
        ids=tuple(checked.ids),
        clusters=checked.clusters,
        patches=patches,
        groups=groups_of(patches),
        directions={name: {"source": runs.source, "target": runs.target} for name, runs in checked.directions.items()},
        n_actions=checked.n_actions,
        random_sets=positions_of(checked.run.get("random_sets", []), path, count=len(patches)),
        metadata=metadata,
    )


def patches_of(patches: list[Any], path: Path) -> tuple[dict[str, Any], ...]:
    """Check patches in their JSON form."""
    for number, patch in enumerate(patches, start=1):
        check_patch(patch, path, f"metadata.patches: entry {number}")
    return tuple(patches)


FLAGS = ("", "constant", "dead")
BLOCK_BYTES = 1 << 21
_HEADER_LIMIT = 1 << 28
_HINT = "run_experiments.py makes it"


class SweepWriter:
    """Writes arrays into the file one after the other, each at once or in blocks."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, key: str, array: np.ndarray) -> None:
        """Write one array at once."""
        self.add_blocks(key, array.shape, array.dtype, [array])

    def add_blocks(self, key: str, shape: Sequence[int], dtype: Any, blocks: Iterable[np.ndarray]) -> None:
        """Write one array in blocks of its first axis, holding one block in memory at a time."""
        info = zipfile.ZipInfo(f"{key}.npy", EPOCH)
        info.file_size = int(np.prod(shape)) * np.dtype(dtype).itemsize + 1024  # zip64 must be chosen before writing
        with self._archive.open(info, "w") as member:
            described = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": tuple(shape)}
            np.lib.format.write_array_header_1_0(member, described)
            for block in blocks:
                member.write(np.ascontiguousarray(block, dtype).data)

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Write the metadata, as JSON bytes."""
        self.add(METADATA_KEY, metadata_array(metadata))


@contextmanager
def written_sweep(path: Path) -> Iterator[SweepWriter]:
    """A sweep to write; it replaces ``path`` when the block ends, and is removed if the block raises."""
    with written_atomically(path) as file, zipfile.ZipFile(file, "w") as archive:
        yield SweepWriter(archive)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SweepFile:
    """A sweep that is open for reading."""

    path: Path
    header: SweepHeader
    members: ZipMembers

    def q_values(self, run: str) -> np.ndarray:
        """The unpatched Q-values of ``clean`` or ``corrupted``, (n_inputs, n_actions)."""
        shape = (len(self.header.ids), self.header.n_actions)
        return np.concatenate([block for _, block in self._blocks(f"{run}_q_values", shape, "<f8")])

    def action_masks(self, run: str) -> np.ndarray | None:
        """The actions that are allowed in ``clean`` or ``corrupted``, (n_inputs, n_actions); None without masks."""
        described = self.header.metadata["run"].get(run)
        if not isinstance(described, dict) or not described.get("action_masks"):
            return None
        key, shape = f"{run}_action_masks", (len(self.header.ids), self.header.n_actions)
        masks = np.concatenate([block for _, block in self._blocks(key, shape, "|u1")])
        if masks.max() > 1 or not masks.any(axis=1).all():
            raise InputError(self.path, key, found="other numbers", expected="0 and 1, a 1 for each input at least")
        return masks.astype(bool)

    def flags(self, direction: str) -> list[str]:
        """The flag of each experiment, in the order of the definitions: "", "constant" or "dead"."""
        found = [""] * len(self.header.patches)
        for group in self.header.groups:
            key = f"{direction}_{group.name}_flags"
            for rows, codes in self._blocks(key, (len(group.numbers),), "|u1"):
                if codes.max(initial=0) >= len(FLAGS):
                    raise InputError(self.path, shown(key), found=shown(int(codes.max())), expected="0, 1 or 2")
                for number, code in zip(group.numbers[rows], codes.tolist(), strict=True):
                    found[number - 1] = FLAGS[code]
        return found

    def blocks(self, direction: str, group: SweepGroup) -> Iterator[tuple[slice, np.ndarray]]:
        """The patched Q-values of a group, some inputs at a time: (n, n_experiments, n_actions)."""
        shape = (len(self.header.ids), len(group.numbers), self.header.n_actions)
        return self._blocks(f"{direction}_{group.name}", shape, "<f8")

    def _blocks(self, key: str, shape: tuple[int, ...], dtype: str) -> Iterator[tuple[slice, np.ndarray]]:
        row_bytes = int(np.prod(shape[1:])) * np.dtype(dtype).itemsize
        at_once = max(1, BLOCK_BYTES // max(row_bytes, 1))
        with self.members.opened(f"{key}.npy") as member:
            _check_array(member, self.path, key, shape, dtype)
            for start in range(0, shape[0], at_once):
                rows = slice(start, min(start + at_once, shape[0]))
                count = rows.stop - rows.start
                array = np.frombuffer(member.read(count * row_bytes), dtype).reshape(count, *shape[1:])
                check_float32(array, self.path, shown(key))
                yield rows, array
            if member.read(1):
                raise InputError(self.path, shown(key), "has more bytes than the array")


@contextmanager
def opened_sweep(path: Path) -> Iterator[SweepFile]:
    """Open a sweep for reading and check its header; arrays are checked when they are read.

    :raises InputError: not a sweep, or a sweep written by a newer suite
    """
    with opened_to_read(path, hint=_HINT) as file:
        members = ZipMembers(file, where=path, expected="a sweep", hint=_HINT)
        yield SweepFile(path=path, header=header_from(_metadata(members, path), path), members=members)


def stored_sweep(path: Path) -> StoredOutput:
    """A sweep file as it is on disk now; its arrays are listed, not read."""
    complete = None
    with suppress(InputError), opened_sweep(path) as sweep:
        header = sweep.header
        wanted = {f"{way}_{group.name}.npy" for way in header.directions for group in header.groups}
        complete = header.metadata if wanted <= set(sweep.members.names) else None
    return StoredOutput(files=(path,), complete=complete)


def experiment_names(patches: Sequence[Mapping[str, Any]]) -> list[str]:
    """``exp_<n>_<layer>`` of each patch, n counted from 1."""
    return [experiment_name(number, patch) for number, patch in enumerate(patches, start=1)]


def _metadata(members: ZipMembers, path: Path) -> Any:
    return parse_metadata(members.read(f"{METADATA_KEY}.npy", limit=_HEADER_LIMIT), path)


def _check_array(member: Any, path: Path, key: str, shape: tuple[int, ...], dtype: str) -> None:
    """Read the header of an array, and check it against the metadata."""
    head = member.read(10)
    head += member.read(int.from_bytes(head[8:10], "little"))
    try:
        found, fortran, found_dtype, _ = npy_header(head)
    except ValueError as error:
        raise InputError(path, shown(key), found="another format", expected="a .npy array", hint=_HINT) from error
    if found != shape or found_dtype != np.dtype(dtype) or fortran:
        described = f"{found_dtype.name} of shape {found}"
        raise InputError(path, shown(key), found=described, expected=f"{np.dtype(dtype).name} of shape {shape}")
