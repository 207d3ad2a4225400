"""The first two steps of the saliency pipeline, gradients and their averages: files in, files out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, SuiteWarning, shown
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.provenance import (
    StoredOutput,
    check_outputs,
    is_up_to_date,
    run_metadata,
    stored_json_metadata,
)
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of_file
from Neuron_Selection.FileFormats.weights.average_gradients import (
    AVERAGE_FILE,
    MAGNITUDE,
    MARGIN,
    SIGNED,
    AverageGradients,
    save_average_gradients,
)
from Neuron_Selection.FileFormats.weights.weight_gradients import (
    InputGradient,
    load_weight_gradients,
    save_weight_gradients,
    stored_gradients,
)
from Neuron_Selection.PatchingTooling.experiment import OpenedAgent
from SaliencyTooling.gradient_sources import GradientSource, gradient_source, of_the_margin, of_the_maximum

FORMATS = {"json": ("json",), "npz": ("npz",), "both": ("json", "npz")}
_CHARACTERS_A_NUMBER = 20  # of a gradient as text; one that is exactly 0 takes 4
_A_SAVING = 0.01  # share of a file that is worth a word
_MUCH = 10**9  # bytes of text that someone should know of before they are written
Progress = Callable[[Iterable[InputGradient], int], Iterable[InputGradient]]


def write_weight_gradients(
    opened: OpenedAgent, inputs: Inputs, folder: Path, *, formats: tuple[str, ...], overwrite: bool, progress: Progress
) -> tuple[list[Path], bool, str]:
    """Step 1: the signed gradient of each input's greatest Q-value with respect to every weight and bias.

    :return: the files, whether they were written now (else they were up to date), and how gradients are computed
    """
    source = gradient_source(opened)
    metadata = _metadata(opened, inputs, "gradients", source, formats=list(formats))
    paths = [folder / f"weight_gradients.{kind}" for kind in formats]
    check_outputs(paths, [Path(inputs.where), opened.folder.zip_path])
    done = [is_up_to_date(stored_gradients(path), metadata, overwrite=overwrite) for path in paths]
    if all(done):
        return paths, False, source.name
    if "json" in formats:
        _warn_of_size(opened, len(inputs.ids))
    q_values = source.q_values(inputs.observations)

    def each() -> Iterator[InputGradient]:
        gradients = source.each(inputs.observations, of_the_maximum(q_values))
        for row, (input_id, one) in enumerate(zip(inputs.ids, gradients, strict=True)):
            stored = {name: array.astype(opened.stored_dtype, copy=False) for name, array in one.items()}
            action = int(np.argmax(q_values[row]))
            yield InputGradient(input_id=input_id, action=action, value=float(q_values[row, action]), gradients=stored)

    save_weight_gradients(folder, progress(each(), len(inputs.ids)), formats=formats, metadata=metadata)
    return paths, True, source.name


def saving_of_npz(opened: OpenedAgent, n_inputs: int, text: Path) -> str:
    """What ``--format npz`` would save of this file. Dead neurons make text short: the file itself is measured."""
    saved = 1 - n_inputs * _n_weights(opened) * opened.stored_dtype.itemsize / text.stat().st_size
    return f"--format npz would save {f'about {saved:.0%} of it' if saved >= _A_SAVING else 'no space here'}"


def _n_weights(opened: OpenedAgent) -> int:
    return sum(array.size for array in opened.online_weights.values())


def _warn_of_size(opened: OpenedAgent, n_inputs: int) -> None:
    n_weights = _n_weights(opened)
    text, binary = (n_inputs * n_weights * size for size in (_CHARACTERS_A_NUMBER, opened.stored_dtype.itemsize))
    if text > _MUCH:
        message = (
            f"weight_gradients.json: up to about {text / 1e9:,.1f} GB, {n_weights:,} gradients of {n_inputs:,} inputs"
        )
        warnings.warn(SuiteWarning(f"{message} (--format npz: {binary / 1e9:,.1f} GB)"), stacklevel=3)


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
    metadata, up_to_date = plan_averages(opened, inputs, folder, gradients_path=gradients_path, overwrite=overwrite)
    if up_to_date:
        return path, False
    means: dict[str, Mapping[str, np.ndarray]] = {}
    count = 0
    if gradients_path is not None:
        means[MAGNITUDE], means[SIGNED], count = _means_of_file(gradients_path)
    if opened is not None and inputs is not None:
        source = gradient_source(opened)
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


def plan_averages(
    opened: OpenedAgent | None, inputs: Inputs | None, folder: Path, *, gradients_path: Path | None, overwrite: bool
) -> tuple[dict[str, Any], bool]:
    """The metadata that step 2 would write, and whether the file holds it already; nothing is computed.

    :raises SuiteError: gradients of another agent or at other inputs, or the averages of another run
    """
    path = folder / AVERAGE_FILE
    read = [gradients_path, Path(inputs.where) if inputs else None, opened.folder.zip_path if opened else None]
    check_outputs([path], [one for one in read if one is not None])
    origin: Mapping[str, Any] = {}
    more: dict[str, Any] = {}
    if gradients_path is not None:
        sha256 = sha256_of_file(gradients_path, hint="gradients.py makes it")
        origin = stored_gradients(gradients_path).complete or {}
        run = origin.get("run", {})
        _refuse_mixture(opened, inputs, run, gradients_path)
        more = {"gradients_sha256": sha256, "gradients_inputs": run.get("inputs")}
    if opened is not None and inputs is not None:
        more["n_actions"] = opened.architecture.n_actions
        metadata = _metadata(opened, inputs, "averages", gradient_source(opened), **more)
    else:
        run = {"task": "averages", "weights_sha256": origin.get("run", {}).get("weights_sha256"), **more}
        command = {"task": "averages", "gradients_path": str(gradients_path)}
        metadata = run_metadata(command=command, run=run, agent=None, libraries=("numpy",))
        metadata["agent"] = origin.get("agent")
    stored = StoredOutput(files=(path,), complete=stored_json_metadata(path))
    return metadata, is_up_to_date(stored, metadata, overwrite=overwrite)


def _refuse_mixture(
    opened: OpenedAgent | None, inputs: Inputs | None, origin: Mapping[str, Any], gradients_path: Path
) -> None:
    """Raise where the magnitudes of the file and the margins of the agent would be of two runs."""
    weights, at = origin.get("weights_sha256"), origin.get("inputs")
    if opened is not None and weights is not None and weights != opened.agent_zip.weights_sha256:
        raise InputError(gradients_path, "weights_sha256", found="gradients of another agent", expected="of this one")
    if inputs is not None and isinstance(at, dict) and at.get("sha256") != inputs.sha256:
        found = f"gradients at the inputs of {shown(at.get('name'))}, {shown(at.get('sha256'), quoted=False)[:12]}"
        expected = f"at those of {Path(inputs.where).name}, {inputs.sha256[:12]}"
        raise InputError(gradients_path, "inputs", found=found, expected=expected, hint="--inputs names them")


def _metadata(opened: OpenedAgent, inputs: Inputs, task: str, source: GradientSource, **more: Any) -> dict[str, Any]:
    """What ran, and not what was asked for: the closed form is numpy in float64 on the CPU, whatever the flags."""
    run = {
        "task": task,
        "inputs": {"name": Path(inputs.where).name, "sha256": inputs.sha256},
        "gradients_by": source.name,
        "stored_dtype": opened.stored_dtype.name,
        **more,
    }
    command = {"task": task, "agent_path": str(opened.folder.folder), "inputs": inputs.where}
    if source.name == "fast":
        ran = {"engine": "fast", "device": "cpu", "dtype": "float64", "custom_classes": opened.custom_classes.described}
        return run_metadata(command=command, run={**run, **ran}, agent=opened.agent_zip, libraries=("numpy",))
    metadata = opened.metadata(run, command=command)
    metadata["run"]["device"] = source.device
    return metadata


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
