"""Write an agent with changed weights: ``edited.zip``, a manifest of the edits, and the exact inverse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_zip import repeated_extractors
from Neuron_Selection.FileFormats.agent_zip.edited_agent import TensorEdit, edited_agent_bytes
from Neuron_Selection.FileFormats.agent_zip.tensors import weights_sha256
from Neuron_Selection.FileFormats.provenance import (
    StoredOutput,
    check_outputs,
    different_run_error,
    is_up_to_date,
    metadata_of_files,
    stored_document,
    stored_json_metadata,
)
from Neuron_Selection.FileFormats.storage.atomic_files import is_there, read_bytes, sha256_of, written_atomically
from Neuron_Selection.FileFormats.weights.edits_file import load_weight_edits, save_weight_edits
from Neuron_Selection.flag_types import plain_float
from Neuron_Selection.PatchingTooling.agent.network import WeightChange
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Parameter_Selection.PerturbationTooling.weights.targets import (
    WeightTarget,
    change_to,
    changes_of,
    check_targets,
    choose_weights,
    chosen_values,
    parse_weight_target,
    target_in,
    weight_before,
)
from SaliencyTooling.gradient_runs import Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenAgent:
    """Result of ``write_agent``.

    ``files``: the agent, the manifest of its edits, the edits that undo them. ``written``: False where they were up to
    date. ``edits``: the number of weights changed.
    """

    files: tuple[Path, Path, Path]
    written: bool
    edits: int
    edited_weights_sha256: str


def write_agent(
    agent: OpenedAgent,
    *,
    output: str | Path,
    edits: str | Path | None = None,
    candidates: str | Path | None = None,
    mode: str | None = None,
    value: float | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> WrittenAgent:
    """Write a copy of the agent with some weights changed; the original stays as it is.

    :param output: a zip; the manifest and the inverse are written to the same folder
    :param edits: ``"q_net.0.weight[61,5]=0.25; ..."`` or an edits file; or, instead,
    :param candidates: a candidates file, all of whose weights are changed by ``mode`` and ``value``
    :param mode: ``set``, ``add`` or ``scale``; None means scale
    :param progress: such as ``tqdm.tqdm``; wraps the edits
    :raises SuiteError: edits that do not fit the agent, an output that is the agent itself, or that of a different run
        without ``overwrite``
    """
    if (edits is None) == (candidates is None):
        raise UsageError("exactly one of --edits and --candidates is required")
    if edits is not None and (mode is not None or value is not None):
        raise UsageError(f"{'--mode' if value is None else '--value'} cannot be used with --edits")
    if candidates is not None and value is None:
        raise UsageError("--candidates requires --value")
    if edits is not None:
        changes = edits_from(str(edits), agent)
        origin: dict[str, Any] = {"paths": [str(edits)] if is_there(Path(edits)) else []}
    else:
        (number,) = chosen_values(mode or "scale", [value or 0.0])
        chosen = choose_weights(agent, candidates=candidates)
        changes = changes_of(chosen.targets, agent.online_weights, mode or "scale", number)
        origin = {"paths": [str(path) for path in chosen.paths], "mode": mode or "scale", "value": number}
    if progress is not None:
        changes = list(progress(changes, total=len(changes), unit="weight"))
    return _write_edited_agent(agent, changes, Path(output), origin=origin, overwrite=overwrite)


def edits_from(text: str, agent: OpenedAgent) -> list[WeightChange]:
    """The changes in ``"q_net.0.weight[61,5]=0.25; ..."``, or in the edits file of that name.

    :raises SuiteError: not readable, of another agent, or a weight that this one does not have
    """
    where: object = "edits"
    if "[" in text and "=" in text and not is_there(Path(text)):
        pairs = [_parsed(part) for part in text.split(";") if part.strip()]
    else:
        where = path = Path(text)
        document = load_weight_edits(path)
        recorded, own = document["metadata"].get("weights_sha256"), agent.agent_zip.weights_sha256
        if recorded is not None and recorded != own:
            problem = f"the edits belong to another agent ({shown(recorded)}, this one is {own[:12]})"
            raise InputError(path, "metadata.weights_sha256", problem)
        pairs = [(target_in(edit), float(edit["value"])) for edit in document["edits"]]
    tensors = agent.online_weights
    check_targets([target for target, _ in pairs], tensors, where=where)
    return [change_to(target, value, tensors) for target, value in pairs]


def _parsed(text: str) -> tuple[WeightTarget, float]:
    left, _, right = text.rpartition("=")
    try:
        return parse_weight_target(left), plain_float(right)
    except ValueError as error:
        raise UsageError(field="edits", found=shown(text.strip()), expected="PARAMETER[ROW,COLUMN]=NUMBER") from error


def _write_edited_agent(
    agent: OpenedAgent, changes: Sequence[WeightChange], output: Path, *, origin: dict[str, Any], overwrite: bool
) -> WrittenAgent:
    """Write the three files.

    :param origin: where the edits come from, for the metadata
    """
    if output.suffix != ".zip":
        raise UsageError(field="output", found=shown(str(output)), expected="the name of a .zip")
    files = (output, output.with_name(f"{output.stem}.edits.json"), output.with_name(f"{output.stem}.inverse.json"))
    _, manifest, inverse = files
    original, own = agent.folder.zip_path, agent.agent_zip.weights_sha256
    check_outputs(files, [original, *(Path(path) for path in origin.get("paths", []))])
    tensors = agent.online_weights
    targets = [WeightTarget(parameter=one.parameter, row=one.row, column=one.column) for one in changes]
    before = [weight_before(target, tensors) for target in targets]
    if not np.isfinite(before).all():
        raise UsageError("a weight to be changed is NaN or infinite; no file could restore it", field="edits")
    forth = [_record(target, change.value, old) for target, change, old in zip(targets, changes, before, strict=True)]
    back = [_record(target, old, change.value) for target, change, old in zip(targets, changes, before, strict=True)]
    command = {"task": "write_agent", **origin}
    metadata = agent.metadata({"task": "write_agent", "edits": forth}, command=command)
    after = weights_sha256(_edited(changes, tensors))
    inverse_metadata = {"format": 1, "weights_sha256": after, "restores": own}
    up_to_date = is_up_to_date(_stored(*files), metadata, overwrite=overwrite)
    if not up_to_date:
        of_this_run = stored_document(inverse) == {"edits": back, "metadata": inverse_metadata}
        if inverse.exists() and not overwrite and not of_this_run:
            raise different_run_error(inverse)
        source = read_bytes(original)
        if sha256_of(source) != agent.agent_zip.sha256:
            raise InputError(original, "", "changed while it was being read")
        edited = [edit for change in changes for edit in _tensor_edits(agent, change)]
        data = edited_agent_bytes(source, edited, where=original)
        # the zip is put in place last, so that an interrupted run leaves no agent without its manifest
        with written_atomically(output) as file:
            file.write(data)
            save_weight_edits(inverse, back, metadata=inverse_metadata)
            hashes = {
                "weights_sha256": own,
                "inverse_sha256": sha256_of(read_bytes(inverse)),
                "edited_sha256": sha256_of(data),
                "edited_weights_sha256": after,
            }
            save_weight_edits(manifest, forth, metadata={**metadata, **hashes})
    return WrittenAgent(files=files, written=not up_to_date, edits=len(changes), edited_weights_sha256=after)


def _stored(output: Path, manifest: Path, inverse: Path) -> StoredOutput:
    """All three files as they are on disk now; the agent is written last."""
    metadata = stored_json_metadata(manifest)
    complete = metadata_of_files(metadata, {"edited_sha256": output, "inverse_sha256": inverse})
    unfinished = None if output.exists() else metadata
    return StoredOutput(files=(output, manifest), complete=complete, unfinished=unfinished)


def _record(target: WeightTarget, value: float, before: float) -> dict[str, Any]:
    return {**target.fields, "value": value, "value_before": before}


def _edited(changes: Sequence[WeightChange], tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors with the changes in them, under their names in the online network."""
    edited = dict(tensors)
    for name in {change.parameter for change in changes}:
        edited[name] = tensors[name].copy()
    for change in changes:
        edited[change.parameter][change.row].flat[change.column] = change.value
    return edited


def _tensor_edits(agent: OpenedAgent, change: WeightChange) -> list[TensorEdit]:
    """The edit of the stored tensor, and of those that repeat it."""
    within = np.unravel_index(change.column, agent.online_weights[change.parameter].shape[1:])
    index = (change.row, *(int(side) for side in within))
    names = [agent.architecture.head.stored_name(change.parameter)]
    extractor, _, inner = change.parameter.partition(".")
    if extractor == "features_extractor":
        repeated = (f"{name}.{inner}" for name in repeated_extractors(agent.agent_zip.policy_kwargs))
        names += [name for name in repeated if name in agent.agent_zip.tensors]
    return [TensorEdit(tensor=name, index=index, value=change.value) for name in names]
