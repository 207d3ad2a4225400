"""Read runs from folders of results organised by input, written by this suite or published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores
from Neuron_Selection.AnalysisTooling.runs.patched_runs import Block, DirectionRuns, PatchedRuns
from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.definitions import check_patch, positions_of
from Neuron_Selection.FileFormats.directions import DIRECTIONS, TARGETS
from Neuron_Selection.FileFormats.patch_spec import experiment_name
from Neuron_Selection.FileFormats.results.results_by_input import folder_meta_path, load_by_input, load_folder_metadata
from Neuron_Selection.FileFormats.scores import scores_in, scores_metadata
from Neuron_Selection.FileFormats.storage.atomic_files import read_bytes, sha256_of
from Neuron_Selection.FileFormats.storage.nested_numbers import filled_float_array


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Folder:
    """``patched``: (n_inputs, n_experiments, n_actions); ``source`` is None unless every record holds it.

    ``masks``: (n_inputs, n_actions), which actions are allowed; None unless every record holds it.
    """

    path: Path
    ids: tuple[str, ...]
    patches: Mapping[str, Any]
    baseline: np.ndarray
    source: np.ndarray | None
    patched: np.ndarray
    masks: np.ndarray | None
    settings: Mapping[str, str]
    sha256: str


def runs_by_input(results: Path, clusters: Mapping[str, str]) -> PatchedRuns:
    """Read the runs in ``denoising/`` and ``noising/`` of a folder of results, or in one of them.

    Published files do not hold the output of the source run; with both directions, the baseline of one direction is the
    source of the other.

    :param clusters: id to cluster
    :raises InputError: neither folder, or files that do not match each other
    """
    paths = {direction: results / direction for direction in DIRECTIONS}
    found = {direction: path for direction, path in paths.items() if any(path.glob("*.json"))}
    if not found:
        hint = "run_experiments.py --by_input makes them"
        raise InputError(results, problem="contains no *.json in denoising/ or noising/", hint=hint)
    metadata = [load_folder_metadata(path) for path in found.values()]
    folders: dict[str, _Folder] = {}
    for direction, path in found.items():
        folders[direction] = _read_folder(path, like=next(iter(folders.values()), None))
    first = next(iter(folders.values()))
    directions = {}
    for direction, folder in folders.items():
        opposite = next((other for name, other in folders.items() if name != direction), None)
        contrast = folder.source if folder.source is not None else None if opposite is None else opposite.baseline
        directions[direction] = _direction(folder, contrast, direction)
    names = [name if name.startswith("exp_") else "" for name in first.patches]
    if not all(names):  # a published name such as q_net.0_neuron_61
        names = [experiment_name(number, patch) for number, patch in enumerate(first.patches.values(), start=1)]
    run = metadata[0].get("run")
    run = run if isinstance(run, dict) else {}  # published results have no metadata
    random_sets = positions_of(run.get("random_sets", []), folder_meta_path(first.path), count=len(names))
    return PatchedRuns(
        where=str(results),
        ids=first.ids,
        clusters=clusters,
        names=tuple(names),
        patches=tuple(first.patches.values()),
        directions=directions,
        weights_sha256=str(run.get("weights_sha256", "")),
        decisive={"by_input": {name: folder.sha256 for name, folder in folders.items()}, "clusters": dict(clusters)},
        settings={
            "engine": run.get("engine"),
            "dtype": run.get("dtype"),
            "ablation": first.settings["ablation"] or None,
            **scores_metadata(scores_in(run)),
        },
        command=metadata[0].get("command", {}),
        random_sets=tuple(number - 1 for number in random_sets),
    )


def _read_folder(path: Path, *, like: _Folder | None) -> _Folder:
    """Read every file of a folder, one at a time.

    :param like: the folder of the other direction, with the same inputs and experiments; the order in a file is free
    """
    ids: list[str] = []
    patches: Mapping[str, Any] = {} if like is None else like.patches
    arrays: dict[str, list[np.ndarray]] = {"baseline_output": [], "source_output": [], "patched_output": []}
    masks: list[Any] = []
    hashes = []
    settings = {"source": "", "target": "", "ablation": ""}
    for file in sorted(path.glob("*.json")):
        input_id, records = load_by_input(file)
        if input_id in ids:
            raise InputError(file, f"input id {shown(input_id)}", "has results in another file as well")
        own = {name: _patch_of(record, file, name) for name, record in records.items()}
        patches = patches or own
        if own != patches:
            odd = next(name for name in [*patches, *own] if own.get(name) != patches.get(name))
            raise InputError(file, shown(odd), "the experiment differs from the first file")
        records = {name: records[name] for name in patches}
        ids.append(input_id)
        first = next(iter(records.values()))
        settings = {key: str(first.get(key) or "") for key in settings}
        hashes.append(sha256_of(read_bytes(file)))
        masks += [first["action_mask"]] if "action_mask" in first else []
        for key, parts in arrays.items():
            rows = [record.get(key) for record in records.values()]
            if key != "source_output" or all(row is not None for row in rows):
                parts.append(_array(rows, file, key, arrays["baseline_output"]))
        if not (arrays["baseline_output"][-1] == arrays["baseline_output"][-1][0]).all():
            raise InputError(file, "baseline_output", "differs between experiments on the same input")
    if like is not None and tuple(ids) != like.ids:
        odd = next(iter(sorted(set(ids) ^ set(like.ids))), "")
        where = f" ({shown(odd)})" if odd else ""
        raise InputError(path, "input ids", f"differ from those in {like.path.name}{where}")
    known = len(arrays["source_output"]) == len(ids)
    return _Folder(
        path=path,
        ids=tuple(ids),
        patches=patches,
        baseline=np.stack(arrays["baseline_output"])[:, 0],
        source=np.stack(arrays["source_output"])[:, 0] if known else None,
        patched=np.stack(arrays["patched_output"]),
        masks=_masks(masks, path, arrays["baseline_output"]),
        settings=settings,
        sha256=sha256_of("".join(hashes).encode()),
    )


def _patch_of(record: Mapping[str, Any], file: Path, name: str) -> Any:
    patch = record.get("patch_configuration")
    check_patch(patch, file, f"{shown(name)}.patch_configuration")
    return patch


def _array(rows: list[Any], file: Path, key: str, before: list[np.ndarray]) -> np.ndarray:
    """(n_experiments, n_actions), with as many actions as in the first file."""
    widths = {len(row[0]) if isinstance(row, list) and row and isinstance(row[0], list) else 0 for row in rows}
    expected = before[0].shape[1] if before else max(widths)
    if widths != {expected} or not expected:
        raise InputError(file, key, found=f"scores of {min(widths)} actions", expected=f"{expected}")
    array = filled_float_array([row[0] for row in rows], file, key)
    if array.ndim != 2:
        raise InputError(file, key, found=f"shape {array.shape}", expected="[[one number per action]]")
    return array


def _masks(found: list[Any], path: Path, baseline: list[np.ndarray]) -> np.ndarray | None:
    """The masks of a folder's inputs, which all of them have or none."""
    if not found:
        return None
    n_actions = baseline[0].shape[1]
    for mask in found:
        is_mask = isinstance(mask, list) and len(mask) == n_actions and all(isinstance(one, bool) for one in mask)
        if not is_mask or True not in mask:
            raise InputError(
                path, "action_mask", found=shown(mask), expected=f"{n_actions} booleans, one true at least"
            )
    if len(found) != len(baseline):
        raise InputError(path, "action_mask", found=f"{len(found)} of {len(baseline)} inputs", expected="all or none")
    return np.array(found, bool)


def _direction(folder: _Folder, contrast: np.ndarray | None, direction: str) -> DirectionRuns:
    is_unmoved = (folder.patched == folder.baseline[:, None]).all(axis=(0, 2))
    target, source = TARGETS[direction]
    masks = folder.masks

    def blocks() -> Iterator[Block]:
        everything = np.arange(folder.patched.shape[1])
        for row in range(len(folder.ids)):
            patched = allowed_scores(folder.patched[row : row + 1], None if masks is None else masks[row])
            yield Block(rows=slice(row, row + 1), experiments=everything, patched=patched)

    return DirectionRuns(
        baseline=allowed_scores(folder.baseline, masks),
        contrast=None if contrast is None else allowed_scores(contrast, masks),
        source=folder.settings["source"] or source,
        target=folder.settings["target"] or target,
        flags=tuple("unmoved" if still else "" for still in is_unmoved),
        blocks=blocks,
    )
