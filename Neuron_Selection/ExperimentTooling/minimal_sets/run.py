"""Search every layer in every direction for minimal sets and save them, as ``find_minimal_sets.py`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import UsageError
from Neuron_Selection.ExperimentTooling.hidden_layers import hidden_activations
from Neuron_Selection.ExperimentTooling.minimal_sets.documents import (
    LayerExplained,
    curve_rows,
    document_of,
    set_rows,
)
from Neuron_Selection.ExperimentTooling.minimal_sets.exact_families import Family
from Neuron_Selection.ExperimentTooling.minimal_sets.explain import (
    contrast_rows,
    explain_pairs,
    explain_together,
    of_rows,
)
from Neuron_Selection.ExperimentTooling.minimal_sets.goals import Goal, parse_goal
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import mixtures_of
from Neuron_Selection.ExperimentTooling.minimal_sets.ranking_curves import ranking_curves
from Neuron_Selection.ExperimentTooling.paired_inputs import paired_inputs, pairs_metadata
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED, RESULTS, output_folder
from Neuron_Selection.FileFormats.directions import TARGETS, directions_of
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.kept_blocks import KeptBlocks
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date
from Neuron_Selection.FileFormats.results.minimal_sets_file import (
    CURVE_COLUMNS,
    MINIMAL_SET_FILES,
    SET_COLUMNS,
)
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes
from Neuron_Selection.FileFormats.storage.json_files import json_bytes
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

Progress = Callable[[Sequence[tuple[str, str]]], Iterable[tuple[str, str]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Settings:
    """What decides the search, but for the inputs and layers."""

    goal: Goal
    share: float
    budget: int
    random_orders: int
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MinimalSets:
    """The document, its path, and whether an earlier run had written it."""

    document: Mapping[str, Any]
    path: Path
    was_up_to_date: bool


def find_minimal_sets(
    agent: OpenedAgent,
    *,
    clean: Any = CLEAN,
    corrupted: Any = CORRUPTED,
    layers: Sequence[str] | None = None,
    direction: str = "both",
    goal: str = "matches_source",
    share: float = 1.0,
    budget: int = 0,
    random_orders: int = 10,
    seed: int = 0,
    input_ids: Sequence[str] | None = None,
    output_prefix: str = "minimal_sets",
    output_dir: str | None = None,
    overwrite: bool = False,
    progress: Progress = iter,
) -> MinimalSets:
    """Find the smallest sets of neurons that explain decisions, layer by layer, and write them.

    The parameters are the flags of ``find_minimal_sets.py``; inputs may be arrays as well.

    :param layers: None means the activation after every hidden layer
    :param progress: iterates over the (direction, layer) pairs
    :raises SuiteError: an impossible goal or share, or an output of a different run
    """
    settings = _Settings(goal=parse_goal(goal), share=share, budget=budget, random_orders=random_orders, seed=seed)
    if not 0 < share <= 1:
        raise UsageError(field="share", found=f"{share:g}", expected="a number above 0, at most 1")
    if settings.goal.kind == "recovery" and share < 1:
        raise UsageError(
            f"--share cannot be used with --goal {settings.goal}: one set for all pairs is judged by a ratio of sums"
        )
    pairs = paired_inputs(agent, clean=clean, corrupted=corrupted, input_ids=input_ids)
    runs = dict(zip(("clean", "corrupted"), pairs, strict=True))
    chosen = hidden_activations(agent) if layers is None else agent.layer_table.chosen(layers)
    path = results_path(output_folder(output_dir, agent.folder.folder / RESULTS), output_prefix)
    outputs = [*MINIMAL_SET_FILES.paths(path).values()]
    check_outputs(outputs, [*(Path(one.where) for one in pairs), agent.folder.zip_path])
    decisive = {
        "task": "minimal sets",
        "goal": str(settings.goal),
        "share": share,
        "budget": budget,
        "random_orders": random_orders,
        "seed": seed,
        "direction": direction,
        "layers": list(chosen),
        "input_ids": None if input_ids is None else list(runs["clean"].ids),
        **pairs_metadata(*pairs),
    }
    command = {"script": MINIMAL_SET_FILES.script, "direction": direction}
    planned = agent.metadata(decisive, command=command)
    if is_up_to_date(MINIMAL_SET_FILES.stored(path), planned, overwrite=overwrite):
        return MinimalSets(document=MINIMAL_SET_FILES.load(path), path=path, was_up_to_date=True)
    blocks = KeptBlocks(path, planned)
    sites = [(one, layer) for one in directions_of(direction) for layer in chosen]
    explained = [
        _explained(agent, one, layer, runs=runs, settings=settings, blocks=blocks) for one, layer in progress(sites)
    ]
    document = document_of(explained)
    beside = {
        "sets": csv_bytes(SET_COLUMNS, set_rows(explained)),
        "curves": csv_bytes(CURVE_COLUMNS, curve_rows(explained)),
    }
    MINIMAL_SET_FILES.save(path, document, beside, metadata=planned)
    blocks.remove()
    return MinimalSets(document=document, path=path, was_up_to_date=False)


def _explained(
    agent: OpenedAgent,
    direction: str,
    layer: str,
    *,
    runs: Mapping[str, Inputs],
    settings: _Settings,
    blocks: KeptBlocks,
) -> LayerExplained:
    target, source = (runs[run] for run in TARGETS[direction])
    mixtures = mixtures_of(agent.network, layer, target, source)
    rows = contrast_rows(mixtures)
    mixtures, has_contrast = of_rows(mixtures, rows), len(rows) > 0
    ids, goal, budget = [target.ids[row] for row in rows], settings.goal, settings.budget
    together, curves = None, []
    kept = partial(_kept_family, blocks, f"{direction} {layer}", mixtures.layer.width)
    if has_contrast:
        together = explain_together(mixtures, goal, share=settings.share, budget=budget, kept=kept)
        curves = ranking_curves(mixtures, goal, random_orders=settings.random_orders, seed=settings.seed)
    return LayerExplained(
        direction=direction,
        layer=layer,
        width=mixtures.layer.width,
        n_pairs=len(target.ids),
        pairs=explain_pairs(mixtures, ids, goal, budget=budget, kept=kept) if has_contrast else [],
        together=together,
        curves=curves,
    )


def _kept_family(blocks: KeptBlocks, site: str, width: int, name: str, find: Callable[[], Family]) -> Family:
    """The family of one input of a layer: of an earlier run that was interrupted, or found now."""
    import msgspec

    data = blocks.read(f"{site} {name}")
    if data is not None:
        with suppress(msgspec.MsgspecError):
            family = msgspec.json.decode(data, type=Family)
            if all(0 <= neuron < width for neurons in family.sets for neuron in neurons):
                return family
    family = find()
    blocks.keep(f"{site} {name}", json_bytes(asdict(family), indent=None))
    return family
