"""Weight gradients of an agent's decisions, and their averages over inputs, computed and written to files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores
from Neuron_Selection.errors import InputError, SuiteWarning, UsageError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, GRADIENTS, output_folder
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.provenance import (
    StoredOutput,
    check_outputs,
    is_up_to_date,
    run_metadata,
    stored_json_metadata,
    vecnormalize_in,
)
from Neuron_Selection.FileFormats.scores import scores_in, scores_metadata
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
from Neuron_Selection.PatchingTooling.agent.network import Network
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from SaliencyTooling.gradient_network import gradient_network, has_closed_form, of_the_margin, of_the_maximum

FORMATS = {"json": ("json",), "npz": ("npz",), "both": ("json", "npz")}
_CHARACTERS_A_NUMBER = 20  # in JSON; a gradient that is exactly 0 takes 4
_LARGE_FILE = 10**9  # bytes; a larger JSON file is announced before it is written
Progress = Callable[..., Iterable[Any]]  # called as progress(items, total=..., unit=...), such as tqdm.tqdm


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputedGradients:
    """Result of ``compute_gradients``.

    ``written``: False where the files were up to date. ``inputs``: how many. ``engine``: ``numpy`` (closed form) or
    ``autograd``. ``npz_saving``: share of the JSON file's size that the npz format saves, None for ``npz`` alone.
    """

    files: tuple[Path, ...]
    written: bool
    inputs: int
    engine: str
    npz_saving: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AveragedGradients:
    """Result of ``average_gradients``. ``written``: False where the file was up to date."""

    files: tuple[Path, ...]
    written: bool


def compute_gradients(
    agent: OpenedAgent,
    *,
    inputs: Any = CLEAN,
    output_dir: str | Path | None = None,
    format: str = "json",  # noqa: A002 - named like the flag
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ComputedGradients:
    """Write the signed gradient of each input's greatest Q-value with respect to every weight and bias.

    :param inputs: an inputs file, or arrays as for ``OpenedAgent.inputs``
    :param output_dir: None means the agent's ``gradient_analysis/``
    :param format: ``json``, ``npz`` or ``both``
    :param progress: such as ``tqdm.tqdm``; wraps the inputs
    :raises SuiteError: inputs that do not fit the agent, or files of a different run without ``overwrite``
    """
    if format not in FORMATS:
        raise UsageError(field="format", found=shown(format), expected=f"one of {', '.join(FORMATS)}")
    folder = _folder(output_dir, agent.folder.folder / GRADIENTS)
    chosen = agent.inputs(inputs)
    formats = FORMATS[format]
    metadata = _metadata(agent, chosen, "gradients", formats=list(formats))
    paths = tuple(folder / f"weight_gradients.{kind}" for kind in formats)
    check_outputs(paths, [Path(chosen.where), agent.folder.zip_path])
    done = [is_up_to_date(stored_gradients(path), metadata, overwrite=overwrite) for path in paths]
    n_numbers = len(chosen.ids) * sum(array.size for array in agent.online_weights.values())
    binary = n_numbers * agent.stored_dtype.itemsize
    if not all(done):
        if "json" in formats and (text := n_numbers * _CHARACTERS_A_NUMBER) > _LARGE_FILE:
            size = f"{text / 1e9:,.1f} GB, {n_numbers // len(chosen.ids):,} gradients of {len(chosen.ids):,} inputs"
            message = f"weight_gradients.json: up to about {size} (--format npz: {binary / 1e9:,.1f} GB)"
            warnings.warn(SuiteWarning(message), stacklevel=2)
        network = gradient_network(agent)
        q_values = allowed_scores(network.scores(chosen.observations), chosen.action_masks)
        gradients: Iterable[InputGradient] = _gradients(agent, chosen, network, q_values)
        if progress is not None:
            gradients = progress(gradients, total=len(chosen.ids), unit="input")
        save_weight_gradients(folder, gradients, formats=formats, metadata=metadata)
    # dead neurons make the text short, so the file itself is measured
    saving = 1 - binary / paths[0].stat().st_size if "json" in formats else None
    return ComputedGradients(
        files=paths, written=not all(done), inputs=len(chosen.ids), engine=_method(agent), npz_saving=saving
    )


def _gradients(agent: OpenedAgent, inputs: Inputs, network: Network, q_values: np.ndarray) -> Iterator[InputGradient]:
    gradients = network.gradients(inputs.observations, of_the_maximum(q_values), dtype=agent.stored_dtype)
    for row, (input_id, one) in enumerate(zip(inputs.ids, gradients, strict=True)):
        stored = {name: array.astype(agent.stored_dtype, copy=False) for name, array in one.items()}
        action = int(np.argmax(q_values[row]))
        yield InputGradient(input_id=input_id, action=action, value=float(q_values[row, action]), gradients=stored)


def average_gradients(
    agent: OpenedAgent | None = None,
    *,
    gradients_path: str | Path | None = None,
    inputs: Any = None,
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> AveragedGradients:
    """Write the means of the gradients over the inputs, from a weight_gradients file, from the agent, or from both.

    The agent adds the gradients of the margin, where it has two actions or more.

    :param agent: None where ``gradients_path`` is all there is
    :param gradients_path: ``weight_gradients.json`` or ``.npz``; a bare name is looked for in the agent's folder first
    :param inputs: with an agent only; None means ``clean_inputs.json``
    :param output_dir: None means the folder of the gradients, or the agent's ``gradient_analysis/``
    :param progress: such as ``tqdm.tqdm``; wraps the inputs of the file
    :raises SuiteError: neither source, gradients of another agent or of other inputs, or the averages of a different
        run without ``overwrite``
    """
    if gradients_path is None and agent is None:
        raise UsageError("--gradients_path or --agent_path is required", hint="gradients.py writes the gradients")
    if inputs is not None and agent is None:
        raise UsageError("--inputs requires --agent_path: a gradients file belongs to inputs of its own")
    path = None if gradients_path is None else Path(gradients_path)
    if path is not None and agent is not None:
        path = agent.folder.find(str(gradients_path), GRADIENTS, hint="gradients.py makes it")
    chosen = None if agent is None else agent.inputs(CLEAN if inputs is None else inputs)
    default = path.parent if path is not None else agent.folder.folder / GRADIENTS if agent else Path()
    output = _folder(output_dir, default) / AVERAGE_FILE
    metadata, up_to_date = plan_averages(agent, chosen, output, gradients_path=path, overwrite=overwrite)
    if up_to_date:
        return AveragedGradients(files=(output,), written=False)
    means: dict[str, Mapping[str, np.ndarray]] = {}
    count = 0
    if path is not None:
        means[MAGNITUDE], means[SIGNED], count = _means_of_file(path, progress)
    if agent is not None and chosen is not None:
        network, observations = gradient_network(agent), chosen.observations
        q_values = allowed_scores(network.scores(observations), chosen.action_masks)
        if path is None:
            count = len(chosen.ids)
            means[MAGNITUDE] = network.mean_gradients(observations, of_the_maximum(q_values), magnitudes=True)
            means[SIGNED] = network.mean_gradients(observations, of_the_maximum(q_values), magnitudes=False)
        if q_values.shape[1] > 1:
            means[MARGIN] = network.mean_gradients(observations, of_the_margin(q_values), magnitudes=True)
    # rounded to the dtype of stored gradients, or noise in the last bits would decide between weights that tie
    dtype = agent.stored_dtype if agent is not None else np.dtype(np.float32)
    rounded = {key: {name: array.astype(dtype) for name, array in exact.items()} for key, exact in means.items()}
    save_average_gradients(output, AverageGradients(num_examples=count, means=rounded, metadata=metadata))
    return AveragedGradients(files=(output,), written=True)


def plan_averages(
    agent: OpenedAgent | None,
    inputs: Inputs | None,
    output: Path,
    *,
    gradients_path: Path | None = None,
    overwrite: bool = False,
) -> tuple[dict[str, Any], bool]:
    """Metadata of the averages, and whether the file is up to date; nothing is computed.

    :param inputs: given if and only if the agent is
    :raises SuiteError: gradients of another agent or of other inputs, or the averages of a different run
    """
    read = [gradients_path, Path(inputs.where) if inputs else None, agent.folder.zip_path if agent else None]
    check_outputs([output], [one for one in read if one is not None])
    origin: Mapping[str, Any] = {}
    more: dict[str, Any] = {}
    if gradients_path is not None:
        sha256 = sha256_of_file(gradients_path, hint="gradients.py makes it")
        origin = stored_gradients(gradients_path).complete or {}
        run = origin.get("run", {})
        _refuse_mixture(agent, inputs, run, gradients_path)
        more = {"gradients_sha256": sha256, "gradients_inputs": run.get("inputs"), **scores_metadata(scores_in(run))}
    if agent is not None and inputs is not None:
        more["n_actions"] = agent.architecture.n_actions
        metadata = _metadata(agent, inputs, "averages", **more)
    else:
        run = {"task": "averages", "weights_sha256": origin.get("run", {}).get("weights_sha256"), **more}
        command = {"task": "averages", "gradients_path": str(gradients_path)}
        metadata = run_metadata(command=command, run=run, agent=None, libraries=("numpy",))
        metadata["agent"] = origin.get("agent")
    stored = StoredOutput(files=(output,), complete=stored_json_metadata(output))
    return metadata, is_up_to_date(stored, metadata, overwrite=overwrite)


def _refuse_mixture(
    agent: OpenedAgent | None, inputs: Inputs | None, origin: Mapping[str, Any], gradients_path: Path
) -> None:
    """Raise where the magnitudes of the file and the margins of the agent would come from two runs."""
    weights, described = origin.get("weights_sha256"), origin.get("inputs")
    if agent is not None and weights is not None and weights != agent.agent_zip.weights_sha256:
        raise InputError(gradients_path, "weights_sha256", "the gradients belong to another agent")
    if inputs is not None and isinstance(described, dict) and described.get("sha256") != inputs.sha256:
        raise InputError(
            gradients_path,
            "inputs",
            found=f"{shown(described.get('name'))} ({shown(described.get('sha256'), quoted=False)[:12]})",
            expected=f"{shown(Path(inputs.where).name)} ({inputs.sha256[:12]})",
            hint="--inputs names the inputs of the gradients",
        )
    if agent is not None and origin and vecnormalize_in(origin) != vecnormalize_in(agent.normalisation_described):
        raise InputError(gradients_path, "vecnormalize", "the gradients have another normalisation of observations")


def _metadata(agent: OpenedAgent, inputs: Inputs, task: str, **more: Any) -> dict[str, Any]:
    """Metadata of what ran, whatever the flags: the closed form is numpy in float64 on the CPU."""
    run = {
        "task": task,
        "inputs": inputs.described,
        "gradients_by": _method(agent),
        "stored_dtype": agent.stored_dtype.name,
        **more,
    }
    command = {"task": task, "agent_path": str(agent.folder.folder), "inputs": inputs.where}
    if has_closed_form(agent):
        return numpy_metadata(agent, run, command=command)
    metadata = agent.metadata(run, command=command)
    metadata["run"]["device"] = agent.device_name
    return metadata


def _method(agent: OpenedAgent) -> str:
    """How the gradients are computed, for the metadata."""
    return "numpy" if has_closed_form(agent) else "autograd"


def numpy_metadata(agent: OpenedAgent, run: Mapping[str, Any], *, command: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of a run in numpy, whichever engine the agent was opened with."""
    engine = {"engine": "numpy", "device": "cpu", "dtype": "float64", "custom_classes": agent.custom_classes.described}
    typed = {} if agent.vecnormalize is None else {"vecnormalize": agent.vecnormalize}
    run = {**run, **engine, **scores_metadata(agent.architecture.head.scores), **agent.normalisation_described}
    return run_metadata(command={**command, **typed}, run=run, agent=agent.agent_zip, libraries=("numpy",))


def _means_of_file(path: Path, progress: Progress | None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], int]:
    magnitude: dict[str, np.ndarray] = {}
    signed: dict[str, np.ndarray] = {}
    count = 0
    gradients: Iterable[InputGradient] = load_weight_gradients(path)
    if progress is not None:
        gradients = progress(gradients, total=None, unit="input")
    for one in gradients:
        count += 1
        for name, array in one.gradients.items():
            exact = np.asarray(array, np.float64)
            magnitude[name] = magnitude[name] + np.abs(exact) if name in magnitude else np.abs(exact)
            signed[name] = signed[name] + exact if name in signed else exact
    if not count:
        raise InputError(path, "", "contains no gradients")
    return (
        {name: array / count for name, array in magnitude.items()},
        {name: array / count for name, array in signed.items()},
        count,
    )


def _folder(output_dir: str | Path | None, default: Path) -> Path:
    return output_folder(None if output_dir is None else str(output_dir), default)
