"""Patch every edge of an agent, make the circuit of the strongest ones, and save both, as ``patch_edges.py`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import UsageError
from Neuron_Selection.ExperimentTooling.circuits.masked_runs import CORRUPTED as CORRUPTED_RUN
from Neuron_Selection.ExperimentTooling.circuits.masked_runs import check_circuit_ablation, circuit_runs
from Neuron_Selection.ExperimentTooling.circuits.measures import SUBSETS, measure_circuit
from Neuron_Selection.ExperimentTooling.circuits.strongest import faithfulness_curves, strongest_edges
from Neuron_Selection.ExperimentTooling.contrast_pairs import OF_CIRCUITS, contrast_pairs
from Neuron_Selection.ExperimentTooling.edges.documents import circuit_of, curve_rows, direction_document, edge_rows
from Neuron_Selection.ExperimentTooling.edges.effects import direction_effects, importance_of
from Neuron_Selection.ExperimentTooling.edges.paths import BEAM, strongest_paths
from Neuron_Selection.ExperimentTooling.node_chain import Link, NodeChain, chain_of
from Neuron_Selection.ExperimentTooling.paired_inputs import paired_inputs, pairs_metadata
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED, RESULTS, output_folder
from Neuron_Selection.FileFormats.directions import directions_of
from Neuron_Selection.FileFormats.encoding import ENCODING, load_encoding
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date, meta_path
from Neuron_Selection.FileFormats.results.edges_file import edges_paths, load_edges, save_edges, stored_edges
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of_file
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

Progress = Callable[[Sequence[tuple[str, Link]]], Iterable[tuple[str, Link]]]
EDGES = 100
RESAMPLES = 999  # of tens of thousands of edges; the least q is about 1 / 1000 times edges per discovery


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchedEdges:
    """The document, the files by content, and whether an earlier run had written them."""

    document: Mapping[str, Any]
    paths: Mapping[str, Path]
    was_up_to_date: bool


def patch_edges(
    agent: OpenedAgent,
    *,
    clean: Any = CLEAN,
    corrupted: Any = CORRUPTED,
    direction: str = "both",
    edges: int | None = None,
    threshold: float | None = None,
    ablate: str = CORRUPTED_RUN,
    reference_inputs: Any = None,
    paths: int = 20,
    beam: int = BEAM,
    random_orders: int = 5,
    subsets: int = SUBSETS,
    resamples: int = RESAMPLES,
    cluster_by: str = "auto",
    seed: int = 0,
    input_ids: Sequence[str] | None = None,
    output_prefix: str | None = None,
    output_dir: str | None = None,
    overwrite: bool = False,
    progress: Progress = iter,
) -> PatchedEdges:
    """Patch every edge between neighbouring layers, and write the edges and the circuit of the strongest.

    The parameters are the flags of ``patch_edges.py``; inputs may be arrays as well.

    :param progress: iterates over the (direction, link) pairs
    :raises SuiteError: a network that is not a chain of layers, pairs without contrast, or an output of a different run
    """
    if edges is not None and threshold is not None:
        raise UsageError("--edges and --threshold cannot be used together: each alone chooses the circuit")
    if threshold is not None and threshold <= 0:
        raise UsageError(field="threshold", found=f"{threshold:g}", expected="a number above 0")
    check_circuit_ablation(ablate, has_reference=reference_inputs is not None)
    reference = None if reference_inputs is None else agent.inputs(reference_inputs)
    both = paired_inputs(agent, clean=clean, corrupted=corrupted, input_ids=input_ids)
    chain = chain_of(agent)
    files = edges_paths(output_folder(output_dir, agent.folder.folder / RESULTS), output_prefix)
    read = [*(Path(one.where) for one in both), agent.folder.zip_path, *([Path(reference.where)] if reference else [])]
    check_outputs([*files.values(), meta_path(files["results"])], read)
    names = _entry_names(agent, chain)
    count = EDGES if edges is None and threshold is None else edges
    decisive = {
        "task": "edges", "direction": direction, "edges": count, "threshold": threshold, "ablation": ablate,
        "reference_sha256": None if reference is None else reference.sha256, "paths": paths, "beam": beam,
        "random_orders": random_orders, "subsets": subsets, "resamples": resamples, "cluster_by": cluster_by,
        "seed": seed, "encoding_sha256": None if names is None else sha256_of_file(agent.folder.folder / ENCODING),
        "input_ids": None if input_ids is None else list(both[0].ids),
        **pairs_metadata(*both),
    }  # fmt: skip
    planned = agent.metadata(decisive, command={"script": "patch_edges.py", "direction": direction})
    if is_up_to_date(stored_edges(files), planned, overwrite=overwrite):
        return PatchedEdges(document=load_edges(files["results"]), paths=files, was_up_to_date=True)
    directions = directions_of(direction)
    pairs_of = {
        one: contrast_pairs(agent, *both, direction=one, cluster_by=cluster_by)
        for one in dict.fromkeys([*directions, OF_CIRCUITS])
    }
    effects = {
        one: direction_effects(chain, pairs_of[one], one, links, resamples=resamples, seed=seed)
        for one, links in _by_direction(chain, directions, progress)
    }
    importance, pairs = importance_of(effects.values()), pairs_of[OF_CIRCUITS]
    runs = circuit_runs(
        chain, pairs, ablate, reference=None if reference is None else reference.observations, seed=seed
    )
    masks = strongest_edges(importance, count=count, threshold=threshold)
    measures = measure_circuit(runs, masks, subsets=subsets, seed=seed)
    curves = faithfulness_curves(runs, importance, random_orders=random_orders, seed=seed)
    circuit = circuit_of(chain, masks, importance, measures, ablation=ablate, seed=seed, input_names=names)
    document = {
        "layers": dict(zip(chain.layers, chain.widths, strict=True)),
        "edges": chain.n_edges,
        "pairs_given": pairs.n_given,
        "contrast_pairs": pairs.count,
        "clusters": pairs.clusters.count,
        "clusters_are": pairs.clusters.description,
        "directions": {
            one: direction_document(
                links,
                strongest_paths(chain, pairs_of[one], one, count=paths, beam=beam) if paths else [],
                chain,
                names,
                n_pairs=pairs_of[one].count,
            )
            for one, links in effects.items()
        },
        "circuit": {
            "edges": len(circuit.edges),
            "neurons": sum(map(len, circuit.nodes.values())),
            "ablation": ablate,
            **asdict(measures),
        },
        "curves": [{"ranking": one.ranking, "cpr": one.area, "cmd": one.area_from_one} for one in curves],
    }
    save_edges(
        files, document, edges=edge_rows(effects, masks, names, chain.inputs), curve=curve_rows(curves),
        circuit=circuit, metadata=planned,
    )  # fmt: skip
    return PatchedEdges(document=document, paths=files, was_up_to_date=False)


def _entry_names(agent: OpenedAgent, chain: NodeChain) -> Sequence[str] | None:
    """What each entry of the observations means, if the chain begins with them and ``encoding.json`` names them."""
    n_actions = agent.architecture.n_actions
    encoding = load_encoding(agent.folder.folder / ENCODING, agent.agent_zip.observation_space, n_actions)
    names = None if encoding is None else encoding.entries.get("")
    return names if names is not None and chain.inputs and len(names) == chain.widths[0] else None


def _by_direction(
    chain: NodeChain, directions: Sequence[str], progress: Progress
) -> Iterable[tuple[str, Iterable[Link]]]:
    """Each direction with its links, all counted by one progress bar."""
    sites = iter(progress([(direction, link) for direction in directions for link in chain.links]))
    for direction in directions:
        yield direction, (next(sites)[1] for _ in chain.links)
