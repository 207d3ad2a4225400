"""Find the neurons that interact and save the results, as ``find_interactions.py`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.experiment_statistics import Sampling
from Neuron_Selection.AnalysisTooling.measures.cluster_statistics import RESAMPLES
from Neuron_Selection.AnalysisTooling.measures.clusters import clusters_of
from Neuron_Selection.errors import UsageError
from Neuron_Selection.ExperimentTooling.hidden_layers import hidden_activations
from Neuron_Selection.ExperimentTooling.interactions.direction import (
    DirectionInteractions,
    Rules,
    interactions_of,
)
from Neuron_Selection.ExperimentTooling.interactions.documents import document_of, pair_rows, player_rows
from Neuron_Selection.ExperimentTooling.interactions.set_effects import Players
from Neuron_Selection.ExperimentTooling.minimal_sets.explain import contrast_rows, of_rows, single_effects
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import Mixtures, mixtures_of
from Neuron_Selection.ExperimentTooling.paired_inputs import paired_inputs, pairs_metadata
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED, RESULTS, output_folder
from Neuron_Selection.FileFormats.directions import TARGETS, directions_of
from Neuron_Selection.FileFormats.provenance import check_outputs, installed_version, is_up_to_date
from Neuron_Selection.FileFormats.results.interactions_file import (
    INTERACTION_COLUMNS,
    INTERACTION_FILES,
    PLAYER_COLUMNS,
)
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

Progress = Callable[[Sequence[str]], Iterable[str]]
INTERVALS_OF_ALL = 999  # resamples: the intervals of thousands of pairs would otherwise take most of the time


@dataclass(frozen=True, kw_only=True, slots=True)
class Interactions:
    """The document, its path, and whether an earlier run had written it."""

    document: Mapping[str, Any]
    path: Path
    was_up_to_date: bool


def find_interactions(
    agent: OpenedAgent,
    *,
    clean: Any = CLEAN,
    corrupted: Any = CORRUPTED,
    layers: Sequence[str] | None = None,
    neurons: int = 32,
    all: bool = False,  # noqa: A002 - the flag's name
    direction: str = "both",
    threshold: float = 0.01,
    q_threshold: float | None = None,
    permutations: int = 100,
    cluster_by: str = "auto",
    confidence: float = 0.95,
    resamples: int | None = None,
    seed: int = 0,
    input_ids: Sequence[str] | None = None,
    output_prefix: str = "interactions",
    output_dir: str | None = None,
    overwrite: bool = False,
    progress: Progress = iter,
) -> Interactions:
    """Patch the most important neurons of one or two layers two by two, name their interactions, and write them.

    The parameters are the flags of ``find_interactions.py``; inputs may be arrays as well.

    :param layers: None means the last hidden activation but one: in the last one, the scores are linear
    :param resamples: of intervals and p values; None means 9999, for the intervals of ``all`` 999
    :param progress: iterates over the directions
    :raises SuiteError: more than two layers, a number out of range, or an output of a different run
    """
    rules = Rules(threshold=threshold, q_threshold=q_threshold, permutations=permutations)
    sampling = Sampling(confidence=confidence, resamples=resamples or RESAMPLES, seed=seed)
    intervals = replace(sampling, resamples=resamples or (INTERVALS_OF_ALL if all else RESAMPLES))
    _check(neurons, rules, sampling)
    hidden = hidden_activations(agent)
    chosen = hidden[-2:][:1] if layers is None else agent.layer_table.chosen(layers)
    if len(chosen) > 2:
        raise UsageError(field="--layers", found=f"{len(chosen)} layers", expected="one or two")
    pairs = paired_inputs(agent, clean=clean, corrupted=corrupted, input_ids=input_ids)
    runs = dict(zip(("clean", "corrupted"), pairs, strict=True))
    named = {**runs["corrupted"].clusters, **runs["clean"].clusters}
    clusters = clusters_of(runs["clean"].ids, named, cluster_by, where=runs["clean"].where)
    path = results_path(output_folder(output_dir, agent.folder.folder / RESULTS), output_prefix)
    outputs = [*INTERACTION_FILES.paths(path).values()]
    check_outputs(outputs, [*(Path(one.where) for one in pairs), agent.folder.zip_path])
    decisive = {
        "task": "interactions",
        "layers": list(chosen),
        "neurons": None if all else neurons,
        "direction": direction,
        **asdict(rules),
        **asdict(sampling),
        "interval_resamples": intervals.resamples,
        "cluster_by": cluster_by,
        "input_ids": None if input_ids is None else list(runs["clean"].ids),
        "scipy": installed_version("scipy"),
        **pairs_metadata(*pairs),
    }
    planned = agent.metadata(decisive, command={"script": INTERACTION_FILES.script, "direction": direction})
    if is_up_to_date(INTERACTION_FILES.stored(path), planned, overwrite=overwrite):
        return Interactions(document=INTERACTION_FILES.load(path), path=path, was_up_to_date=True)
    mixtures = {
        one: [mixtures_of(agent.network, layer, *(runs[run] for run in TARGETS[one])) for layer in chosen]
        for one in directions_of(direction)
    }
    rows = {one: contrast_rows(sites[0]) for one, sites in mixtures.items()}  # action masks may differ between the runs
    mixtures = {one: [of_rows(site, rows[one]) for site in sites] for one, sites in mixtures.items()}
    clusters_in = {one: replace(clusters, of_input=clusters.of_input[of_one]) for one, of_one in rows.items()}
    counts = {
        one: {
            "layers": list(chosen),
            "pairs_given": len(runs["clean"].ids),
            "contrast_pairs": len(of_one.of_input),
            "clusters_with_contrast": len(np.unique(of_one.of_input)),
            "clusters_by": of_one.description,
            "resamples": {"intervals": intervals.resamples, "p": sampling.resamples},
        }
        for one, of_one in clusters_in.items()
    }
    important = _most_important([*mixtures.values()], most=None if all else neurons)
    found: dict[str, DirectionInteractions | None] = dict.fromkeys(mixtures)
    for one in progress([one for one in mixtures if len(rows[one])]):
        players = Players(mixtures=mixtures[one], neurons=important)
        found[one] = interactions_of(
            players, clusters_in[one], one, rules=rules, sampling=sampling, intervals=intervals
        )
    document = document_of(found, counts=counts, rules=rules)
    beside = {
        "interactions": csv_bytes(INTERACTION_COLUMNS, pair_rows(found)),
        "neurons": csv_bytes(PLAYER_COLUMNS, player_rows(found)),
    }
    INTERACTION_FILES.save(path, document, beside, metadata=planned)
    return Interactions(document=document, path=path, was_up_to_date=False)


def _check(neurons: int, rules: Rules, sampling: Sampling) -> None:
    """Raise for numbers out of range."""
    q_threshold = rules.q_threshold
    limits = (
        ("neurons", neurons, neurons >= 2, "a whole number from 2"),
        ("threshold", rules.threshold, 0 <= rules.threshold < np.inf, "a number from 0"),
        ("permutations", rules.permutations, rules.permutations != 1, "0 or a whole number from 2"),
        ("confidence", sampling.confidence, 0 < sampling.confidence < 1, "a number between 0 and 1"),
        ("q_threshold", q_threshold, q_threshold is None or 0 <= q_threshold <= 1, "a number from 0 to 1"),
    )
    for field, value, is_right, expected in limits:
        if not is_right:
            raise UsageError(field=field, found=f"{value:g}", expected=expected)


def _most_important(sites: Sequence[Sequence[Mixtures]], *, most: int | None) -> list[np.ndarray]:
    """The neurons of each layer with the largest mean absolute effect alone over the directions, by index.

    :param sites: the mixtures of every layer, direction by direction
    :param most: how many of each layer, None for all; those that never differ are left out
    """
    important = []
    for of_layer in zip(*sites, strict=True):
        sizes = np.zeros(of_layer[0].layer.width)
        moves = np.zeros(len(sizes), bool)
        for mixtures in of_layer:
            changes, gaps = single_effects(mixtures)
            sizes += np.abs(changes.sum(axis=0)) / gaps.sum() if len(gaps) else 0.0
            moves |= mixtures.moves.any(axis=0)
        order = np.argsort(-sizes, kind="stable")
        important.append(np.sort(order[moves[order]][:most]))
    return important
