"""``visited_inputs.json``: the distinct observations of an agent's own episodes.

It is an inputs file, ``{id: {"input", "cluster", "action", "scores", "reward", "return", "step"}}``, one id per line.
``input`` is the observation as the network received it, ``cluster`` the seed of the episode in which it was first
visited, ``action`` what the agent did there, ``scores`` the network's scores, ``reward`` that of this step, ``return``
that of the whole episode, ``step`` the number of steps before. Observations that VecNormalize had normalised carry the
SHA-256 of its file under ``normalised_with``. The metadata are in ``visited_inputs.meta.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip.spaces import Space
from Neuron_Selection.FileFormats.inputs import Inputs, inputs_bytes, load_inputs
from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.FileFormats.provenance import StoredOutput, meta_path, stored_document, stored_output
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of, write_together
from Neuron_Selection.FileFormats.storage.document_checks import Index, checked_document
from Neuron_Selection.FileFormats.storage.json_files import json_bytes, read_edited_json

_HINT = "record_inputs.py makes such a file"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Visits:
    """n visited states in the order of their first visits, by episode and step.

    ``observations``: (n, *shape), as the network received them, or one such array per key. ``seeds``: (n,), int64, of
    the episodes. ``steps``: (n,), int64. ``actions``: (n,), int64. ``scores``: (n, n_actions), float64. ``rewards``,
    ``returns``: (n,), float64.
    """

    ids: tuple[str, ...]
    observations: Observations
    seeds: np.ndarray
    steps: np.ndarray
    actions: np.ndarray
    scores: np.ndarray
    rewards: np.ndarray
    returns: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VisitedInputs:
    """A loaded file. ``inputs``: as every inputs file; ``visits``: the same states with what the agent did there."""

    inputs: Inputs
    visits: Visits


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    action: Index
    scores: Annotated[tuple[float, ...], Meta(min_length=1)]
    reward: float
    return_: float = msgspec.field(name="return")
    step: Index
    cluster: str


def files_of(path: Path, *, environment: Path, frames: Path | None) -> dict[str, Path]:
    """The files that a recording writes, by the key of their SHA-256 in the metadata."""
    with_frames = {} if frames is None else {"frames_sha256": frames}
    return {"inputs_sha256": path, "environment_sha256": environment, **with_frames}


def visited_bytes(visits: Visits, *, normalised_with: str | None, where: object) -> bytes:
    """The bytes of the file."""
    normalised = {} if normalised_with is None else {"normalised_with": normalised_with}
    observations = {input_id: rows_of(visits.observations, row) for row, input_id in enumerate(visits.ids)}
    beside = {
        input_id: {
            "cluster": str(visits.seeds[row]),
            "action": int(visits.actions[row]),
            "scores": visits.scores[row].tolist(),
            "reward": float(visits.rewards[row]),
            "return": float(visits.returns[row]),
            "step": int(visits.steps[row]),
            **normalised,
        }
        for row, input_id in enumerate(visits.ids)
    }
    return inputs_bytes(observations, beside, where=where)


def save_recording(path: Path, contents: Mapping[str, bytes], files: Mapping[str, Path], *, metadata: Any) -> None:
    """Write the files of a recording and its metadata, which hold their SHA-256.

    :param contents: key of ``files_of`` to the bytes
    """
    hashes = {key: sha256_of(data) for key, data in contents.items()}
    written = {files[key]: data for key, data in contents.items()}
    write_together({**written, meta_path(path): json_bytes({**metadata, **hashes})})


def stored_recording(path: Path, files: Mapping[str, Path]) -> StoredOutput:
    """The files of a recording as they are on disk now."""
    return stored_output(stored_document(meta_path(path)), files)


def load_visited_inputs(path: Path, space: Space) -> VisitedInputs:
    """Load the file. Its observations are as the network received them: they are not to be normalised again.

    :param space: the agent's observation space
    :raises InputError: as ``load_inputs``; also a missing or wrong field, or scores of different lengths
    """
    inputs = load_inputs(path, space)
    document: Mapping[str, Any] = read_edited_json(path)
    entries = [checked_document(document[one], _Entry, path, field=shown(one), hint=_HINT) for one in inputs.ids]
    n_actions = len(entries[0].scores)
    for input_id, entry in zip(inputs.ids, entries, strict=True):
        if len(entry.scores) != n_actions:
            raise InputError(
                path, f"{shown(input_id)}.scores", found=f"{len(entry.scores)} numbers", expected=str(n_actions)
            )
        if entry.action >= n_actions:
            raise InputError(
                path, f"{shown(input_id)}.action", found=str(entry.action), expected=f"0 to {n_actions - 1}"
            )
    seeds = np.array(
        [_seed(entry.cluster, path, input_id) for input_id, entry in zip(inputs.ids, entries, strict=True)]
    )
    visits = Visits(
        ids=inputs.ids,
        observations=inputs.observations,
        seeds=seeds,
        steps=_column(entries, "step", np.int64),
        actions=_column(entries, "action", np.int64),
        scores=_column(entries, "scores", np.float64),
        rewards=_column(entries, "reward", np.float64),
        returns=_column(entries, "return_", np.float64),
    )
    return VisitedInputs(inputs=inputs, visits=visits)


def _column(entries: Sequence[_Entry], name: str, dtype: type) -> np.ndarray:
    return np.array([getattr(entry, name) for entry in entries], dtype)


def _seed(cluster: str, path: Path, input_id: str) -> int:
    if not (cluster.isascii() and cluster.isdigit() and len(cluster) <= 18):
        raise InputError(path, f"{shown(input_id)}.cluster", found=shown(cluster), expected="the seed of an episode")
    return int(cluster)
