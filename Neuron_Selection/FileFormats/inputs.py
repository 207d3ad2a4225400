"""Inputs files: ``{id: {"input": observation, "cluster": ..., "action_mask": ...}}`` or ``{id: observation}``.

An entry may have further keys, as those of ``visited_inputs.json`` do, which are ignored here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip.spaces import Space, without_bounds
from Neuron_Selection.FileFormats.observations import Observations, observations_from, rows_of
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of, write_atomically
from Neuron_Selection.FileFormats.storage.json_files import parse_edited_json
from Neuron_Selection.FileFormats.storage.known_names import refuse_unknown

ID_LIMIT = 1000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Inputs:
    """Observations and their ids.

    ``observations``: (n, *shape) in the space's dtype, or one such array per key. ``clusters``: id to cluster, for the
    ids that have one. ``where``: the file, or "arrays". ``sha256``: of its bytes. ``action_masks``: (n, n_actions),
    which actions are allowed; None without masks. ``normalised_with``: the SHA-256 of the VecNormalize file with which
    the observations were normalised before they were stored; None if they are raw, or if nothing is known.
    """

    where: str
    sha256: str
    ids: tuple[str, ...]
    observations: Observations
    clusters: Mapping[str, str]
    action_masks: np.ndarray | None = None
    normalised_with: str | None = None

    @property
    def described(self) -> dict[str, Any]:
        """The file, and whether it has masks, for the metadata of a run."""
        masks = {} if self.action_masks is None else {"action_masks": True}
        return {"name": Path(self.where).name, "sha256": self.sha256, **masks}

    def selected(self, ids: Sequence[str] | None) -> Inputs:
        """These ids only, in the order given; None keeps all.

        :raises SuiteError: an unknown id, or one given twice
        """
        if ids is None:
            return self
        refuse_unknown(ids, self.ids, what="input id", where=self.where)
        row_of = {input_id: row for row, input_id in enumerate(self.ids)}
        rows = [row_of[input_id] for input_id in ids]
        masks = None if self.action_masks is None else self.action_masks[rows]
        return replace(self, ids=tuple(ids), observations=rows_of(self.observations, rows), action_masks=masks)


def load_inputs(path: Path, space: Space, *, n_masked: int | None = None) -> Inputs:
    """Load every observation of an inputs file.

    :param space: the agent's observation space
    :param n_masked: the number of actions of an agent that was trained with masks; None for any other
    :raises InputError: naming the field
    """
    data = read_bytes(path, hint="an inputs file is {id: {'input': [...]}}")
    document = parse_edited_json(data, path)
    return inputs_from_document(document, space, path=path, sha256=sha256_of(data), n_masked=n_masked)


def inputs_from_document(
    document: Any, space: Space, *, path: Path, sha256: str, n_masked: int | None = None
) -> Inputs:
    """The inputs in the parsed document of an inputs file.

    :param path: of the file
    :param sha256: of its bytes
    :raises InputError: as ``load_inputs``
    """
    if not isinstance(document, dict):
        raise InputError(path, found=shown(document), expected="an object {id: {'input': [...]}}")
    if not document:
        raise InputError(path, problem="contains no inputs")
    values: list[Any] = []
    fields: list[str] = []
    clusters: dict[str, str] = {}
    masks: dict[str, np.ndarray] = {}
    normalised_with = _normalised_with(document, path)
    for input_id, entry in document.items():
        check_input_id(input_id, path)
        name = shown(input_id)
        if isinstance(entry, dict):
            if "input" not in entry:
                keys = ", ".join(shown(key) for key in list(entry)[:4]) or "none"
                raise InputError(path, name, f"has no key 'input' (its keys: {keys})")
            cluster = _cluster(entry, path, input_id)
            if cluster is not None:
                clusters[input_id] = cluster
            if entry.get("action_mask") is not None:
                masks[input_id] = _action_mask(entry["action_mask"], n_masked, path, f"{name}.action_mask")
            values.append(entry["input"])
            fields.append(f"{name}.input")
        else:
            values.append(entry)
            fields.append(name)
    space = space if normalised_with is None else without_bounds(space)
    observations = observations_from(values, space, where=path, fields=fields)
    for input_id in document:
        if masks and input_id not in masks:
            raise InputError(path, f"{shown(input_id)}.action_mask", "is missing, but other inputs have one")
    return Inputs(
        where=str(path),
        sha256=sha256,
        ids=tuple(document),
        observations=observations,
        clusters=clusters,
        action_masks=np.stack([*masks.values()]) if masks else None,
        normalised_with=normalised_with,
    )


def _action_mask(value: Any, n_actions: int | None, path: Path, field: str) -> np.ndarray:
    """Which actions are allowed, (n_actions,)."""
    if n_actions is None:
        raise InputError(path, field, "cannot be used with this agent: only MaskablePPO is trained with masks")
    expected = f"{n_actions} values, 0 or 1, one for each action"
    if not isinstance(value, list) or len(value) != n_actions:
        found = f"{len(value)} values" if isinstance(value, list) else shown(value)
        raise InputError(path, field, found=found, expected=expected)
    for entry in value:
        if not isinstance(entry, bool | int) or entry not in (0, 1):
            raise InputError(path, field, found=shown(entry), expected=expected)
    if not any(value):
        raise InputError(path, field, found="no allowed action", expected="at least one")
    return np.array(value, bool)


def clusters_in(path: Path) -> dict[str, str]:
    """The clusters in an inputs file, id to cluster, for the ids that have one; observations are not checked.

    :raises InputError: not such a file
    """
    document = parse_edited_json(read_bytes(path), path)
    if not isinstance(document, dict):
        raise InputError(path, found=shown(document), expected="an object {id: {'input': [...]}}")
    found = {input_id: _cluster(entry, path, input_id) for input_id, entry in document.items()}
    return {input_id: cluster for input_id, cluster in found.items() if cluster is not None}


def _normalised_with(document: Mapping[str, Any], path: Path) -> str | None:
    """The VecNormalize file that all entries name, if they do."""
    named = {entry.get("normalised_with") if isinstance(entry, dict) else None for entry in document.values()}
    found = named.pop()
    if named or not isinstance(found, str | None):
        expected = "the same SHA-256 in every entry, or in none"
        raise InputError(path, "normalised_with", found="different values", expected=expected)
    return found


def _cluster(entry: Any, path: Path, input_id: str) -> str | None:
    cluster = entry.get("cluster") if isinstance(entry, dict) else None
    if cluster is not None and (not isinstance(cluster, str | int) or isinstance(cluster, bool)):
        raise InputError(path, f"{shown(input_id)}.cluster", found=shown(cluster), expected="text or a whole number")
    return None if cluster is None else str(cluster)


def inputs_from_arrays(observations: Any, space: Space) -> Inputs:
    """Make inputs from arrays.

    :param observations: ``{id: observation}``; or a batch (n, *shape), or for a Dict space ``{key: batch}``,
        whose ids are "0", "1", ...
    """
    if isinstance(observations, Mapping):
        keys = getattr(space, "spaces", ())
        if keys and set(observations) == set(keys):
            counts = {key: len(_batch(observations[key], f"{key}: ")) for key in keys}
            count = next(iter(counts.values()))
            if len(set(counts.values())) > 1:
                found = ", ".join(f"{n} of {key}" for key, n in counts.items())
                raise InputError("arrays", found=found, expected="the same number of observations for each key")
            observations = {str(n): {key: observations[key][n] for key in keys} for n in range(count)}
    else:
        observations = {str(n): observation for n, observation in enumerate(_batch(observations))}
    ids = tuple(observations)
    for input_id in ids:
        check_input_id(input_id, "arrays")
    if not ids:
        raise InputError("arrays", problem="contain no inputs")
    batch = observations_from(list(observations.values()), space, where="arrays", fields=[shown(i) for i in ids])
    return Inputs(where="arrays", sha256=_sha256_of_arrays(ids, batch), ids=ids, observations=batch, clusters={})


def _batch(values: Any, key: str = "") -> list[Any]:
    try:
        return list(values)
    except TypeError as error:
        found = f"{key}{shown(values)}"
        raise InputError("arrays", found=found, expected="a batch", hint="[observation] is a batch of one") from error


def _sha256_of_arrays(ids: Sequence[str], batch: Observations) -> str:
    parts = batch if isinstance(batch, dict) else {"": batch}
    header = json.dumps([ids, [[key, array.dtype.str, array.shape] for key, array in parts.items()]])
    return sha256_of(header.encode() + b"".join(array.tobytes() for array in parts.values()))


def save_inputs(
    path: Path,
    observations: Mapping[str, np.ndarray | Mapping[str, np.ndarray]],
    *,
    clusters: Mapping[str, str] | None = None,
    normalised_with: str | None = None,
) -> None:
    """Write ``{id: {"input": [...], "cluster": ...}}``, one id per line.

    :param observations: id to an array, or for a Dict space to an array per key
    """
    write_atomically(path, inputs_bytes(observations, clusters=clusters, normalised_with=normalised_with, where=path))


def inputs_bytes(
    observations: Mapping[str, np.ndarray | Mapping[str, np.ndarray]],
    *,
    masks: np.ndarray | None = None,
    clusters: Mapping[str, str] | None,
    normalised_with: str | None,
    where: object,
) -> bytes:
    """The bytes that ``save_inputs`` writes.

    :param masks: (n, n_actions), in the order of the observations; None without action masks
    """
    normalised = {} if normalised_with is None else {"normalised_with": normalised_with}
    lines = []
    for row, (input_id, observation) in enumerate(observations.items()):
        check_input_id(input_id, where)
        entry: dict[str, Any] = {"input": _as_lists(observation)}
        if masks is not None:
            entry["action_mask"] = masks[row].astype(int).tolist()
        if clusters and input_id in clusters:
            entry["cluster"] = clusters[input_id]
        text = json.dumps({**entry, **normalised}, allow_nan=False)
        lines.append(f"{json.dumps(input_id, ensure_ascii=False)}: {text}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _as_lists(observation: np.ndarray | Mapping[str, np.ndarray]) -> Any:
    if isinstance(observation, Mapping):
        return {key: part.tolist() for key, part in observation.items()}
    return observation.tolist()


def check_input_id(input_id: Any, where: object) -> None:
    """Check an input id: text of 1 to 1,000 printable characters, without lone surrogates."""
    if not isinstance(input_id, str):
        raise InputError(where, "input id", found=shown(input_id), expected="text")
    if not input_id or len(input_id) > ID_LIMIT:
        raise InputError(
            where, shown(input_id), found=f"an input id of {len(input_id):,} characters", expected=f"1 to {ID_LIMIT:,}"
        )
    if not input_id.isprintable():
        raise InputError(where, shown(input_id), "the input id contains an unprintable character")


def ids_from_arguments(arguments: Sequence[str] | None) -> list[str] | None:
    """The ids of ``--input_ids``: one per argument, never split at commas; ``@FILE`` is a file with one id per line."""
    if arguments is None:
        return None
    ids: list[str] = []
    for argument in arguments:
        if argument.startswith("@"):
            ids += _ids_in(Path(argument[1:]))
        else:
            ids.append(argument)
    return ids


def _ids_in(path: Path) -> list[str]:
    data = read_bytes(path, hint="--input_ids @FILE reads one id per line")
    try:
        ids = [line for line in data.decode("utf-8-sig").splitlines() if line]
    except UnicodeDecodeError as error:
        raise InputError(path, found=f"bytes that are not UTF-8 (at byte {error.start})", expected="text") from error
    if not ids:
        raise InputError(path, problem="contains no input ids")
    return ids
