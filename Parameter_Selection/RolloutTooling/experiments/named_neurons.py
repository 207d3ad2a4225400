"""Neurons that other tools named, for ``--from``: the important ones of an analysis, minimal sets, circuits.

``READERS`` maps the name of a file's kind to how its neurons are read; the kind follows from the file's content.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.ExperimentTooling.definition_lists import single_neurons
from Neuron_Selection.ExperimentTooling.hidden_layers import hidden_layers
from Neuron_Selection.FileFormats.directions import TARGETS
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.FileFormats.provenance import fingerprint_in, meta_path, stored_document
from Neuron_Selection.FileFormats.results.circuit_file import load_circuit
from Neuron_Selection.FileFormats.results.cross_metric_summary import load_cross_metric_summary
from Neuron_Selection.FileFormats.results.minimal_sets_file import MINIMAL_SET_FILES
from Neuron_Selection.FileFormats.storage.json_files import read_edited_json
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from SaliencyTooling.weight_ranking import candidate_neurons, weight_matrices

Named = dict[str, dict[str, Neurons]]
"""Name of an experiment to its patch."""


def named_neurons(agent: OpenedAgent, path: Path) -> Named:
    """The experiments that a file names, with layers and neurons of this agent.

    :raises InputError: a file of another kind or of another agent, or one that names no neurons
    """
    document = read_edited_json(path, hint="analyze_metrics.py or find_minimal_sets.py makes it")
    for applies, read in READERS.values():
        if isinstance(document, dict) and applies(document):
            return read(agent, path)
    raise InputError(path, problem="names no neurons", hint=f"--from takes {', '.join(READERS)}")


def _important_neurons(agent: OpenedAgent, path: Path) -> Named:
    """Each important neuron alone, and all of them together."""
    summary = load_cross_metric_summary(path)
    _check_agent(agent, summary.metadata, path)
    rows = {name: len(array) for name, array in weight_matrices(agent.online_weights).items()}
    needed = any(one.patch is None and one.position is not None for one in summary.neurons)
    definitions = single_neurons(agent.layer_table, hidden_layers(agent)) if needed else []
    named: Named = {}
    together: dict[str, list[int]] = {}
    for one in candidate_neurons(summary, rows, definitions=definitions):
        layer = one.parameter.removesuffix(".weight")
        named[one.experiment] = {layer: (one.neuron,)}
        together.setdefault(layer, []).append(one.neuron)
    if len(named) > 1:
        layers = (layer for layer in agent.layer_table.layers if layer in together)
        named["important_together"] = {layer: tuple(sorted(together[layer])) for layer in layers}
    return named


def _minimal_sets(agent: OpenedAgent, path: Path) -> Named:
    """The set of each direction and layer that explains all pairs together; equal sets count once."""
    _check_agent(agent, stored_document(meta_path(path)) or {}, path)
    named: Named = {}
    for direction, layers in MINIMAL_SET_FILES.load(path).items():
        for layer, site in layers.items() if isinstance(layers, dict) else ():
            together = site.get("together") if isinstance(site, dict) else None
            patch = together.get("patch") if isinstance(together, dict) else None
            if patch:
                try:
                    resolved = agent.layer_table.resolve(patch)
                except UsageError as error:
                    raise InputError(path, f"{direction}.{layer}.together.patch", str(error)) from error
                if resolved not in named.values():
                    named[f"{direction}_{layer}"] = resolved
    if not named:
        raise InputError(path, problem="has no set for all pairs together", hint="find_minimal_sets.py --share lowers")
    return named


def _circuit(agent: OpenedAgent, path: Path) -> Named:
    """The neurons of a circuit together; and all other neurons of the same layers, which it should not need."""
    circuit = load_circuit(path)
    recorded = {} if circuit.weights_sha256 is None else {"run": {"weights_sha256": circuit.weights_sha256}}
    _check_agent(agent, recorded, path)
    if not circuit.nodes:
        raise InputError(path, "nodes", "contains no neuron")
    try:
        inside = agent.layer_table.resolve(circuit.nodes)
    except UsageError as error:
        raise InputError(path, "nodes", str(error)) from error
    widths = agent.layer_table.widths
    others: dict[str, Neurons] = {
        layer: tuple(n for n in range(widths[layer]) if n not in neurons) for layer, neurons in inside.items()
    }
    outside = {layer: neurons for layer, neurons in others.items() if neurons}
    return {"circuit": inside, **({"outside_circuit": outside} if outside else {})}


def _check_agent(agent: OpenedAgent, metadata: Mapping[str, Any], path: Path) -> None:
    recorded = fingerprint_in(metadata, path) if metadata else None
    own = agent.agent_zip.weights_sha256
    if recorded is not None and recorded != own:
        problem = f"is of another agent ({recorded[:12]}, this one is {own[:12]})"
        raise InputError(path, "metadata.run.weights_sha256", problem)


Reader = Callable[[OpenedAgent, Path], Named]
READERS: dict[str, tuple[Callable[[Mapping[str, Any]], bool], Reader]] = {
    "cross_metric_summary.json": (lambda document: "common_neurons" in document, _important_neurons),
    "circuit.json": (lambda document: {"edges", "nodes"} <= set(document), _circuit),
    "minimal_sets.json": (lambda document: bool(document) and set(document) <= set(TARGETS), _minimal_sets),
}
