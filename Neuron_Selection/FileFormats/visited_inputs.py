"""``visited_inputs.json``: the distinct observations of an agent's own episodes.

It is an inputs file, ``{id: {"input", "cluster", "action", "scores", "reward", "return", "step"}}``, one id per line.
``input`` is the observation as the network received it, ``cluster`` the seed of the episode in which it was first
visited, ``action`` what the agent did there, ``scores`` the network's scores, ``reward`` that of this step, ``return``
that of the whole episode, ``step`` the number of steps before. Inputs of an agent with action masks have the
``action_mask`` of the environment. Observations that VecNormalize had normalised carry the SHA-256 of its file under
``normalised_with``. The metadata are in ``visited_inputs.meta.json``.
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
from Neuron_Selection.FileFormats.environment_file import ENVIRONMENT_FILE
from Neuron_Selection.FileFormats.hashed_files import save_hashed, stored_hashed
from Neuron_Selection.FileFormats.inputs import Inputs, check_input_id, inputs_from_document
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.FileFormats.provenance import StoredOutput
from Neuron_Selection.FileFormats.state_frames import frames_path
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of
from Neuron_Selection.FileFormats.storage.document_checks import Index, checked_document
from Neuron_Selection.FileFormats.storage.json_files import parse_edited_json

_HINT = "record_inputs.py makes such a file"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Visits:
    """n visited states in the order of their first visits, by episode and step.

    ``observations``: (n, *shape), as the network received them, or one such array per key. ``seeds``: (n,), int64, of
    the episodes. ``steps``: (n,), int64. ``actions``: (n,), int64. ``scores``: (n, n_actions), float64. ``rewards``,
    ``returns``: (n,), float64. ``masks``: (n, n_actions), the allowed actions; None without masks.
    """

    ids: tuple[str, ...]
    observations: Observations
    seeds: np.ndarray
    steps: np.ndarray
    actions: np.ndarray
    scores: np.ndarray
    rewards: np.ndarray
    returns: np.ndarray
    masks: np.ndarray | None = None


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


def recording_files(path: Path, *, with_frames: bool) -> dict[str, Path]:
    """The files that a recording writes next to its metadata, by content."""
    frames = {"frames": frames_path(path)} if with_frames else {}
    return {"inputs": path, "environment": path.with_name(ENVIRONMENT_FILE), **frames}


def visited_bytes(visits: Visits, *, normalised_with: str | None, where: object) -> bytes:
    """The bytes of the file; all numbers are finite, which msgspec would not check."""
    observations = _as_lists(visits.observations)
    clusters, actions, steps = ([*map(str, visits.seeds.tolist())], visits.actions.tolist(), visits.steps.tolist())
    scores, rewards, returns = visits.scores.tolist(), visits.rewards.tolist(), visits.returns.tolist()
    masks = None if visits.masks is None else visits.masks.astype(int).tolist()
    normalised = {} if normalised_with is None else {"normalised_with": normalised_with}
    lines = []
    for row, input_id in enumerate(visits.ids):
        check_input_id(input_id, where)
        mask = {} if masks is None else {"action_mask": masks[row]}
        entry = {
            "input": observations[row],
            **mask,
            "cluster": clusters[row],
            "action": actions[row],
            "scores": scores[row],
            "reward": rewards[row],
            "return": returns[row],
            "step": steps[row],
            **normalised,
        }
        lines.append(msgspec.json.encode(input_id) + b": " + msgspec.json.encode(entry))
    return b"{\n" + b",\n".join(lines) + b"\n}\n"


def _as_lists(observations: Observations) -> list[Any]:
    if not isinstance(observations, dict):
        lists: list[Any] = observations.tolist()
        return lists
    parts = [part.tolist() for part in observations.values()]
    return [dict(zip(observations, values, strict=True)) for values in zip(*parts, strict=True)]


def save_recording(
    path: Path, contents: Mapping[str, bytes], files: Mapping[str, Path], *, metadata: Mapping[str, Any]
) -> None:
    """Write the files of a recording and its metadata; frames of an earlier recording are removed.

    :param contents: key of ``recording_files`` to the bytes
    """
    save_hashed(path, files, contents, metadata=metadata)
    if "frames" not in contents:
        frames_path(path).unlink(missing_ok=True)


def stored_recording(path: Path, files: Mapping[str, Path], *, environment: bytes) -> StoredOutput:
    """The files of a recording as they are on disk now.

    :param environment: the bytes of ``environment.json`` that the planned run would write. Recordings of one
        environment share this file, so one with these bytes counts as written by any of them.
    """
    own = dict(files)
    if own["environment"].is_file() and read_bytes(own["environment"]) == environment:
        del own["environment"]
    return stored_hashed(path, own)


def load_visited_inputs(path: Path, space: Space) -> VisitedInputs:
    """Load the file. Its observations are as the network received them: they are not to be normalised again.

    :param space: the agent's observation space
    :raises InputError: as ``load_inputs``; also a missing or wrong field, or scores of different lengths
    """
    data = read_bytes(path, hint=_HINT)
    document = parse_edited_json(data, path)
    if not isinstance(document, dict) or not document:
        raise InputError(path, found=shown(document), expected="an object {id: {'input': [...]}}", hint=_HINT)
    entries = [checked_document(entry, _Entry, path, field=shown(one), hint=_HINT) for one, entry in document.items()]
    n_actions = len(entries[0].scores)
    inputs = inputs_from_document(document, space, path=path, sha256=sha256_of(data), n_masked=n_actions)
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
        masks=inputs.action_masks,
    )
    return VisitedInputs(inputs=inputs, visits=visits)


def _column(entries: Sequence[_Entry], name: str, dtype: type) -> np.ndarray:
    return np.array([getattr(entry, name) for entry in entries], dtype)


def _seed(cluster: str, path: Path, input_id: str) -> int:
    if not (cluster.isascii() and cluster.isdigit() and len(cluster) <= 18):
        raise InputError(path, f"{shown(input_id)}.cluster", found=shown(cluster), expected="the seed of an episode")
    return int(cluster)
