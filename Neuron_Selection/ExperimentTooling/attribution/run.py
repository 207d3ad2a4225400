"""Attribute every layer in every direction and save the results, as ``attribute_neurons.py`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import UsageError
from Neuron_Selection.ExperimentTooling.attribution.documents import (
    LayerAttributed,
    document_of,
    neuron_rows,
    pair_arrays,
)
from Neuron_Selection.ExperimentTooling.attribution.paths import attribute
from Neuron_Selection.ExperimentTooling.hidden_layers import hidden_activations
from Neuron_Selection.ExperimentTooling.minimal_sets.explain import contrast_rows, of_rows, single_effects
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import mixtures_of
from Neuron_Selection.ExperimentTooling.paired_inputs import paired_inputs, pairs_metadata
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED, RESULTS, output_folder
from Neuron_Selection.FileFormats.directions import TARGETS, directions_of
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.provenance import check_outputs, installed_version, is_up_to_date
from Neuron_Selection.FileFormats.results.attribution_file import (
    ATTRIBUTION_FILES,
    NEURON_COLUMNS,
)
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes
from Neuron_Selection.FileFormats.storage.npz_files import npz_bytes
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

Progress = Callable[[Sequence[tuple[str, str]]], Iterable[tuple[str, str]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """The document, its path, and whether an earlier run had written it."""

    document: Mapping[str, Any]
    path: Path
    was_up_to_date: bool


def attribute_neurons(
    agent: OpenedAgent,
    *,
    clean: Any = CLEAN,
    corrupted: Any = CORRUPTED,
    layers: Sequence[str] | None = None,
    direction: str = "both",
    steps: int = 64,
    input_ids: Sequence[str] | None = None,
    output_prefix: str = "attribution",
    output_dir: str | None = None,
    overwrite: bool = False,
    progress: Progress = iter,
) -> Attribution:
    """Estimate each neuron's effect by gradients, compare with the exact effect, and write both.

    The parameters are the flags of ``attribute_neurons.py``; inputs may be arrays as well.

    :param layers: None means the activation after every hidden layer
    :param progress: iterates over the (direction, layer) pairs
    :raises SuiteError: an unknown layer, or an output of a different run
    """
    if not 1 <= steps <= 10_000:
        raise UsageError(field="steps", found=str(steps), expected="a whole number from 1 to 10000")
    pairs = paired_inputs(agent, clean=clean, corrupted=corrupted, input_ids=input_ids)
    runs = dict(zip(("clean", "corrupted"), pairs, strict=True))
    chosen = hidden_activations(agent) if layers is None else agent.layer_table.chosen(layers)
    path = results_path(output_folder(output_dir, agent.folder.folder / RESULTS), output_prefix)
    outputs = [*ATTRIBUTION_FILES.paths(path).values()]
    check_outputs(outputs, [*(Path(one.where) for one in pairs), agent.folder.zip_path])
    decisive = {
        "task": "attribution",
        "steps": steps,
        "direction": direction,
        "layers": list(chosen),
        "input_ids": None if input_ids is None else list(runs["clean"].ids),
        "scipy": installed_version("scipy"),
        **pairs_metadata(*pairs),
    }
    planned = agent.metadata(decisive, command={"script": ATTRIBUTION_FILES.script, "direction": direction})
    if is_up_to_date(ATTRIBUTION_FILES.stored(path), planned, overwrite=overwrite):
        return Attribution(document=ATTRIBUTION_FILES.load(path), path=path, was_up_to_date=True)
    sites = [(one, layer) for one in directions_of(direction) for layer in chosen]
    attributed = [attribute_layer(agent, *site, runs=runs, steps=steps) for site in progress(sites)]
    document = document_of(attributed, steps=steps)
    beside = {
        "neurons": csv_bytes(NEURON_COLUMNS, neuron_rows(attributed)),
        "pairs": npz_bytes(pair_arrays(attributed)),
    }
    ATTRIBUTION_FILES.save(path, document, beside, metadata=planned)
    return Attribution(document=document, path=path, was_up_to_date=False)


def attribute_layer(
    agent: OpenedAgent, direction: str, layer: str, *, runs: Mapping[str, Inputs], steps: int
) -> LayerAttributed:
    """The exact effects and the estimates of one layer in one direction.

    :param runs: the clean and the corrupted inputs
    """
    target, source = (runs[run] for run in TARGETS[direction])
    mixtures = mixtures_of(agent.network, layer, target, source)
    rows = contrast_rows(mixtures)
    mixtures = of_rows(mixtures, rows)
    changes, gaps = single_effects(mixtures)
    return LayerAttributed(
        direction=direction,
        layer=layer,
        n_pairs=len(target.ids),
        ids=[target.ids[row] for row in rows],
        changes=changes,
        gaps=gaps,
        moves=mixtures.moves,
        path=attribute(mixtures, steps=steps) if len(rows) else None,
    )
