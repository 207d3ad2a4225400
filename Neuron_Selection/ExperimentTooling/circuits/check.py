"""Evaluate a circuit file on an agent and test its hypothesis, as ``check_circuit.py`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError
from Neuron_Selection.ExperimentTooling.circuits.hypothesis_tests import (
    equivalence_test,
    independence_test,
    minimality_test,
    random_circuits_test,
)
from Neuron_Selection.ExperimentTooling.circuits.masked_runs import CORRUPTED as CORRUPTED_RUN
from Neuron_Selection.ExperimentTooling.circuits.masked_runs import CircuitRuns, Masks, circuit_runs
from Neuron_Selection.ExperimentTooling.circuits.measures import SUBSETS, edges_of, masks_of, measure_circuit
from Neuron_Selection.ExperimentTooling.contrast_pairs import ContrastPairs, contrast_pairs
from Neuron_Selection.ExperimentTooling.node_chain import NodeChain, chain_of
from Neuron_Selection.ExperimentTooling.paired_inputs import paired_inputs, pairs_metadata
from Neuron_Selection.FileFormats.agent_zip.agent_folder import CLEAN, CORRUPTED, RESULTS, output_folder
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date
from Neuron_Selection.FileFormats.results.circuit_check_file import save_circuit_check, stored_circuit_check
from Neuron_Selection.FileFormats.results.circuit_file import Circuit, Node, load_circuit
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of_file
from Neuron_Selection.PatchingTooling.ablations import check_ablation_flags, parse_ablation
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

CIRCUIT = "circuit.json"
SIGNIFICANT = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedCircuit:
    """The document, its path, the circuit's path, and whether an earlier run had written the document."""

    document: Mapping[str, Any]
    path: Path
    circuit_path: Path
    was_up_to_date: bool


def check_circuit(
    agent: OpenedAgent,
    *,
    circuit: str = CIRCUIT,
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
) -> CheckedCircuit:
    """Measure a circuit on pairs, test its hypothesis, and write the results.

    The parameters are the flags of ``check_circuit.py``; inputs may be arrays as well.

    :raises SuiteError: a circuit of other layers or another agent, pairs without contrast, or an output of a different
        run
    """
    circuit_path = agent.folder.find(circuit, RESULTS, hint="patch_edges.py makes it")
    loaded = load_circuit(circuit_path)
    ablation = ablate or loaded.ablation
    if ablation != CORRUPTED_RUN or reference_inputs is not None:
        kind = None if ablation == CORRUPTED_RUN else parse_ablation(ablation)
        check_ablation_flags(kind, has_reference=reference_inputs is not None, has_seed=False)
    reference = None if reference_inputs is None else agent.inputs(reference_inputs)
    both = paired_inputs(agent, clean=clean, corrupted=corrupted, input_ids=input_ids)
    chain = chain_of(agent)
    masks = masks_in(loaded, chain, agent, circuit_path, allow_mismatch=allow_mismatch)
    path = results_path(output_folder(output_dir, agent.folder.folder / RESULTS), output_prefix)
    inputs = [*both, *([] if reference is None else [reference])]
    check_outputs([path], [*(Path(one.where) for one in inputs), agent.folder.zip_path, circuit_path])
    decisive = {
        "task": "circuit check", "circuit_sha256": sha256_of_file(circuit_path), "ablation": ablation,
        "reference_sha256": None if reference is None else reference.sha256, "subsets": subsets,
        "random_circuits": random_circuits, "permutations": permutations, "cluster_by": cluster_by, "seed": seed,
        "input_ids": None if input_ids is None else list(both[0].ids),
        **pairs_metadata(*both),
    }  # fmt: skip
    planned = agent.metadata(decisive, command={"script": "check_circuit.py", "circuit": circuit})
    stored, document = stored_circuit_check(path)
    if is_up_to_date(stored, planned, overwrite=overwrite):
        return CheckedCircuit(document=document, path=path, circuit_path=circuit_path, was_up_to_date=True)
    pairs = contrast_pairs(agent, *both, cluster_by=cluster_by)
    runs = circuit_runs(
        chain, pairs, ablation, reference=None if reference is None else reference.observations, seed=loaded.seed
    )
    document = {
        "circuit": {
            "file": circuit_path.name,
            "edges": len(loaded.edges),
            "neurons": sum(map(len, loaded.nodes.values())),
            "ablation": ablation,
            "pairs_given": pairs.n_given,
            "contrast_pairs": pairs.count,
            "clusters": pairs.clusters.count,
        },
        "measures": asdict(measure_circuit(runs, masks, subsets=subsets, seed=seed)),
        "tests": _tests(runs, pairs, masks, permutations=permutations, random_circuits=random_circuits, seed=seed),
    }
    save_circuit_check(path, document, metadata=planned)
    return CheckedCircuit(document=document, path=path, circuit_path=circuit_path, was_up_to_date=False)


def masks_in(
    circuit: Circuit, chain: NodeChain, agent: OpenedAgent, where: Path, *, allow_mismatch: bool
) -> list[np.ndarray]:
    """The masks of a circuit of this agent.

    :raises InputError: its layers are others, or its weights are and ``allow_mismatch`` is off
    """
    own = dict(zip(chain.layers, chain.widths, strict=True))
    if list(circuit.layers.items()) != list(own.items()):
        found, expected = (
            ", ".join(f"{name} ({width})" for name, width in layers.items()) for layers in (circuit.layers, own)
        )
        raise InputError(where, "layers", found=found, expected=expected)
    known = circuit.weights_sha256
    if known not in (None, agent.agent_zip.weights_sha256) and not allow_mismatch:
        raise InputError(
            where,
            "metadata.run.weights_sha256",
            found=f"a circuit of agent {str(known)[:12]}",
            expected=f"this agent, {agent.agent_zip.weights_sha256[:12]}",
            hint="--allow_mismatch uses it nevertheless",
        )
    places = {name: place for place, name in enumerate(chain.layers)}
    edges = [(places[edge.sends.layer], edge.sends.neuron, edge.receives.neuron) for edge in circuit.edges]
    return masks_of(edges, chain.widths)


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
