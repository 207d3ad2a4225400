"""Evaluate a circuit of an agent and test its hypothesis, as ``check_circuit.py`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.ExperimentTooling.circuits.given import given_circuit
from Neuron_Selection.ExperimentTooling.circuits.hypothesis_tests import (
    equivalence_test,
    independence_test,
    minimality_test,
    random_circuits_test,
)
from Neuron_Selection.ExperimentTooling.circuits.masked_runs import (
    CircuitRuns,
    Masks,
    check_circuit_ablation,
    circuit_runs,
)
from Neuron_Selection.ExperimentTooling.circuits.measures import SUBSETS, Edge, edges_of, measure_circuit
from Neuron_Selection.ExperimentTooling.contrast_pairs import ContrastPairs, contrast_pairs
from Neuron_Selection.ExperimentTooling.node_chain import chain_of
from Neuron_Selection.ExperimentTooling.paired_inputs import paired_inputs, pairs_metadata
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED, RESULTS, output_folder
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date
from Neuron_Selection.FileFormats.results.circuit_check_file import save_circuit_check, stored_circuit_check
from Neuron_Selection.FileFormats.results.circuit_file import Node
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

Progress = Callable[[Sequence[Edge]], Iterable[Edge]]
SIGNIFICANT = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedCircuit:
    """The document, its path, the circuit's path if it comes from a file, and whether an earlier run had written it."""

    document: Mapping[str, Any]
    path: Path
    circuit_path: Path | None
    was_up_to_date: bool


def check_circuit(
    agent: OpenedAgent,
    *,
    circuit: str | None = None,
    patch_spec: str | Mapping[str, Any] | None = None,
    patches_file: str | None = None,
    clean: Any = CLEAN,
    corrupted: Any = CORRUPTED,
    ablate: str | None = None,
    reference_inputs: Any = None,
    subsets: int = SUBSETS,
    random_circuits: int = 199,
    permutations: int = 999,
    cluster_by: str = "auto",
    seed: int = 0,
    input_ids: Sequence[str] | None = None,
    allow_mismatch: bool = False,
    output_prefix: str = "circuit_check",
    output_dir: str | None = None,
    overwrite: bool = False,
    progress: Progress = iter,
) -> CheckedCircuit:
    """Measure a circuit on pairs, test its hypothesis, and write the results.

    The parameters are the flags of ``check_circuit.py``; inputs may be arrays as well.

    :param circuit: a circuit file; or ``patch_spec`` or ``patches_file``: neurons, with all edges between them. None of
        the three means ``circuit.json``
    :param progress: iterates over the edges of the circuit
    :raises SuiteError: a circuit of other layers or another agent, pairs without contrast, or an output of a different
        run
    """
    chain = chain_of(agent)
    given = given_circuit(
        agent, chain, circuit=circuit, patch_spec=patch_spec, patches_file=patches_file, allow_mismatch=allow_mismatch
    )
    ablation = ablate or given.ablation
    check_circuit_ablation(ablation, has_reference=reference_inputs is not None)
    reference = None if reference_inputs is None else agent.inputs(reference_inputs)
    both = paired_inputs(agent, clean=clean, corrupted=corrupted, input_ids=input_ids)
    path = results_path(output_folder(output_dir, agent.folder.folder / RESULTS), output_prefix)
    read = [Path(one.where) for one in (*both, reference) if one is not None]
    check_outputs([path], [*read, agent.folder.zip_path, *([] if given.path is None else [given.path])])
    decisive = {
        "task": "circuit check", **given.identity, "ablation": ablation,
        "reference_sha256": None if reference is None else reference.sha256, "subsets": subsets,
        "random_circuits": random_circuits, "permutations": permutations, "cluster_by": cluster_by, "seed": seed,
        "input_ids": None if input_ids is None else list(both[0].ids),
        **pairs_metadata(*both),
    }  # fmt: skip
    named = {"circuit": circuit, "patch_spec": patch_spec, "patches_file": patches_file}
    command = {"script": "check_circuit.py", **{flag: value for flag, value in named.items() if value is not None}}
    planned = agent.metadata(decisive, command=command)
    stored, document = stored_circuit_check(path)
    if is_up_to_date(stored, planned, overwrite=overwrite):
        return CheckedCircuit(document=document, path=path, circuit_path=given.path, was_up_to_date=True)
    pairs = contrast_pairs(agent, *both, cluster_by=cluster_by)
    observations, drawn_with = None if reference is None else reference.observations, given.seed
    runs = circuit_runs(chain, pairs, ablation, reference=observations, seed=seed if drawn_with is None else drawn_with)
    document = {
        "circuit": {
            "file": None if given.path is None else given.path.name,
            "nodes": dict(given.nodes),
            "edges": sum(int(mask.sum()) for mask in given.masks),
            "neurons": sum(map(len, given.nodes.values())),
            "ablation": ablation,
            "pairs_given": pairs.n_given,
            "contrast_pairs": pairs.count,
            "clusters": pairs.clusters.count,
        },
        "measures": asdict(measure_circuit(runs, given.masks, subsets=subsets, seed=seed, progress=progress)),
        "tests": _tests(
            runs, pairs, given.masks, permutations=permutations, random_circuits=random_circuits, seed=seed
        ),
    }
    save_circuit_check(path, document, metadata=planned)
    return CheckedCircuit(document=document, path=path, circuit_path=given.path, was_up_to_date=False)


def _tests(
    runs: CircuitRuns, pairs: ContrastPairs, masks: Masks, *, permutations: int, random_circuits: int, seed: int
) -> dict[str, Any]:
    against = random_circuits_test(runs, masks, draws=random_circuits, seed=seed)
    minimality = minimality_test(runs, masks, draws=random_circuits, seed=seed)
    names, edges = runs.chain.layers, edges_of(masks)
    rows = [] if minimality is None else zip(edges, minimality.effects, minimality.p, minimality.q, strict=True)
    return {
        "equivalence": asdict(equivalence_test(runs, pairs, masks, draws=permutations, seed=seed)),
        "independence": asdict(independence_test(runs, pairs, masks, draws=permutations, seed=seed)),
        "sufficiency": asdict(against.sufficiency),
        "partial_necessity": asdict(against.necessity),
        "minimality": {
            "needed": None if minimality is None else int(np.count_nonzero(minimality.q < SIGNIFICANT)),
            "edges": [
                {
                    "from": str(Node(names[link], sender)), "to": str(Node(names[link + 1], receiver)),
                    "effect": float(effect), "p": float(p), "q": float(q),
                }
                for (link, sender, receiver), effect, p, q in rows
            ],
        },
    }  # fmt: skip
