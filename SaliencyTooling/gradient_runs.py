"""The three steps of the saliency pipeline: gradients, averages, candidate weights; files in, files out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.FileFormats.atomic_files import read_bytes, sha256_of, sha256_of_file
from Neuron_Selection.FileFormats.average_gradients import (
    MAGNITUDE,
    MARGIN,
    SIGNED,
    AverageGradients,
    load_average_gradients,
    save_average_gradients,
)
from Neuron_Selection.FileFormats.candidate_weights import save_candidate_weights
from Neuron_Selection.FileFormats.cross_metric_summary import load_cross_metric_summary
from Neuron_Selection.FileFormats.definitions import load_definitions
from Neuron_Selection.FileFormats.gradient_writers import save_weight_gradients
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.json_files import read_edited_json
from Neuron_Selection.FileFormats.run_metadata import is_up_to_date
from Neuron_Selection.FileFormats.weight_gradients import (
    InputGradient,
    load_weight_gradients,
    stored_metadata,
)
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from SaliencyTooling.candidate_neurons import candidate_neurons
from SaliencyTooling.gradient_sources import gradient_source, of_the_margin, of_the_maximum
from SaliencyTooling.weight_selection import select_weights

FORMATS = {"json": ("json",), "npz": ("npz",), "both": ("json", "npz")}
AVERAGE_FILE, CANDIDATES_FILE = "average_gradients.json", "candidate_weights.json"
Progress = Callable[[Iterable[InputGradient], int], Iterable[InputGradient]]


def write_weight_gradients(
    opened: OpenedAgent, inputs: Inputs, folder: Path, *, formats: tuple[str, ...], overwrite: bool, progress: Progress
) -> tuple[list[Path], bool, str]:
    """Step 1: the signed gradient of each input's greatest Q-value with respect to every weight and bias.

    :return: the files, whether they were written now (else they were up to date), and how gradients are computed
    """
    source = gradient_source(opened)
    metadata = _metadata(opened, inputs, "gradients", source.name, formats=list(formats))
    paths = [folder / f"weight_gradients.{kind}" for kind in formats]
    done = [is_up_to_date(path, stored_metadata(path), metadata, overwrite=overwrite) for path in paths]
    if all(done):
        return paths, False, source.name
    q_values = source.q_values(inputs.observations)

    def each() -> Iterator[InputGradient]:
        gradients = source.each(inputs.observations, of_the_maximum(q_values))
        for row, (input_id, one) in enumerate(zip(inputs.ids, gradients, strict=True)):
            stored = {name: array.astype(opened.stored_dtype, copy=False) for name, array in one.items()}
            action = int(np.argmax(q_values[row]))
            yield InputGradient(input_id=input_id, action=action, value=float(q_values[row, action]), gradients=stored)

    save_weight_gradients(folder, progress(each(), len(inputs.ids)), formats=formats, metadata=metadata)
    return paths, True, source.name


def write_averages(
    opened: OpenedAgent | None,
    inputs: Inputs | None,
    folder: Path,
    *,
    gradients_path: Path | None,
    overwrite: bool,
) -> tuple[Path, bool]:
    """Step 2: means over the inputs, from the agent or from a weight_gradients file.

    From an agent with two actions or more, the margin's gradients are averaged too.

    :return: the file, and whether it was written now
    """
    path = folder / AVERAGE_FILE
    means: dict[str, Mapping[str, np.ndarray]] = {}
    metadata: dict[str, Any] = {"format": 1, "libraries": {}, "suite_version": "", "command": {}, "run": {}}
    if opened is not None and inputs is not None:
        source = gradient_source(opened)
        metadata = _metadata(opened, inputs, "averages", source.name)
    if gradients_path is not None:
        sha256 = sha256_of_file(gradients_path, hint="gradients.py makes it")
        metadata["run"] = {**metadata["run"], "gradients_sha256": sha256}
        origin = stored_metadata(gradients_path) or {}
        weights = origin.get("run", {}).get("weights_sha256")
        if opened is not None and weights is not None and weights != opened.agent_zip.weights_sha256:
            raise InputError(
                gradients_path, "weights_sha256", found="gradients of another agent", expected="of this one"
            )
        if weights is not None:
            metadata["run"]["weights_sha256"] = weights
    if is_up_to_date(path, stored_json_metadata(path), metadata, overwrite=overwrite):
        return path, False
    count = 0
    if gradients_path is not None:
        means[MAGNITUDE], means[SIGNED], count = _means_of_file(gradients_path)
    if opened is not None and inputs is not None:
        q_values = source.q_values(inputs.observations)
        if gradients_path is None:
            count = len(inputs.ids)
            means[MAGNITUDE] = source.mean_magnitudes(inputs.observations, of_the_maximum(q_values))
            means[SIGNED] = source.mean_signed(inputs.observations, of_the_maximum(q_values))
        if q_values.shape[1] > 1:
            means[MARGIN] = source.mean_magnitudes(inputs.observations, of_the_margin(q_values))
    # rounded as the gradients are stored, or noise of the last bits would decide between weights that tie
    dtype = opened.stored_dtype if opened is not None else np.dtype(np.float32)
    rounded = {key: {name: array.astype(dtype) for name, array in told.items()} for key, told in means.items()}
    save_average_gradients(path, AverageGradients(num_examples=count, means=rounded, metadata=metadata))
    return path, True


def write_candidates(
    cross_metric_path: Path,
    average_path: Path,
    folder: Path,
    *,
    definitions_path: Path,
    score: str,
    weights: Mapping[str, np.ndarray] | None,
    k: int,
    m: int,
    overwrite: bool,
) -> tuple[Path, dict[str, Any], bool]:
    """Step 3: the weights to change, chosen from the rows of the important neurons.

    :param score: gradient, margin or weight_x_gradient; the last needs ``weights``
    :return: the file, its metadata, and whether it was written now
    """
    path = folder / CANDIDATES_FILE
    if k == 0 and m == 0:
        raise UsageError("k and m: found 0 and 0, expected at least one weight to select")
    average = load_average_gradients(average_path)
    summary = load_cross_metric_summary(cross_metric_path)
    told = average.metadata.get("run", {}).get("weights_sha256")
    if summary.weights_sha256 and told and summary.weights_sha256 != told:
        found = f"a summary of the agent {summary.weights_sha256[:12]}"
        raise InputError(
            cross_metric_path, "weights_sha256", found=found, expected=f"of the gradients' agent, {told[:12]}"
        )
    matrices = {
        name: array for name, array in average.means[MAGNITUDE].items() if name.endswith(".weight") and array.ndim > 1
    }
    scores = _scores(average, matrices, score, weights, average_path)
    neurons = candidate_neurons(
        summary,
        {name: len(array) for name, array in matrices.items()},
        definitions=lambda: load_definitions(definitions_path),
    )
    document = select_weights(neurons, scores, matrices, k=k, m=m)
    run = {
        "task": "candidates",
        "cross_metric_sha256": sha256_of(read_bytes(cross_metric_path)),
        "average_sha256": sha256_of(read_bytes(average_path)),
        "weights_sha256": told,
        "score": score,
        "k": k,
        "m": m,
    }
    document["metadata"] |= {"format": 1, "run": run}
    stored = stored_json_metadata(path)
    if path.exists() and not overwrite:
        if stored is None or stored.get("run") != run:
            raise UsageError(f"{path}: found the output of another run, expected none (--overwrite replaces it)")
        return path, stored, False
    save_candidate_weights(path, document)
    return path, document["metadata"], True


def stored_json_metadata(path: Path) -> dict[str, Any] | None:
    """The ``metadata`` inside a JSON file, or None where there is none."""
    try:
        document = read_edited_json(path)
    except InputError:
        return None
    metadata = document.get("metadata") if isinstance(document, dict) else None
    return metadata if isinstance(metadata, dict) else None


def _metadata(opened: OpenedAgent, inputs: Inputs, task: str, source: str, **more: Any) -> dict[str, Any]:
    run = {
        "task": task,
        "inputs": {"name": Path(inputs.source).name, "sha256": inputs.sha256},
        "gradients_by": source,
        "stored_dtype": opened.stored_dtype.name,
        **more,
    }
    return opened.metadata(
        run, command={"task": task, "agent_path": str(opened.folder.folder), "inputs": inputs.source}
    )


def _means_of_file(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]:
    magnitude: dict[str, np.ndarray] = {}
    signed: dict[str, np.ndarray] = {}
    count = 0
    for one in load_weight_gradients(path):
        count += 1
        for name, array in one.gradients.items():
            exact = np.asarray(array, np.float64)
            magnitude[name] = magnitude[name] + np.abs(exact) if name in magnitude else np.abs(exact)
            signed[name] = signed[name] + exact if name in signed else exact
    if not count:
        raise InputError(path, found="no inputs", expected="at least one")
    return (
        {name: array / count for name, array in magnitude.items()},
        {name: array / count for name, array in signed.items()},
        count,
    )


def _scores(
    average: AverageGradients,
    matrices: Mapping[str, np.ndarray],
    score: str,
    weights: Mapping[str, np.ndarray] | None,
    where: Path,
) -> dict[str, np.ndarray]:
    if score == "gradient":
        return dict(matrices)
    if score == "margin":
        if MARGIN not in average.means:
            raise InputError(
                where,
                MARGIN,
                found="no such key",
                expected="one for --score margin",
                hint="average.py --agent_path writes it",
            )
        return {name: average.means[MARGIN][name] for name in matrices}
    if weights is None:
        raise UsageError("score weight_x_gradient: found no agent, expected --agent_path to read its weights")
    for name, array in matrices.items():
        if name not in weights or weights[name].shape != array.shape:
            raise InputError(where, name, found=f"gradients of shape {array.shape}", expected="as in this agent")
    return {name: np.abs(weights[name].astype(np.float64)) * array for name, array in matrices.items()}
