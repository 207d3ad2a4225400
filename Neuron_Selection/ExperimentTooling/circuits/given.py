"""The circuit to check: that of a circuit file, or all edges between some neurons.

A patch names hidden neurons. Its circuit has all edges between them, the inputs and the scores; a layer that the patch
does not name is whole. With a patch of one layer and the values of the corrupted run on all other edges, the circuit's
faithfulness is thus the patch's margin recovery in denoising.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.ExperimentTooling.circuits.masked_runs import CORRUPTED, Masks, check_circuit_ablation
from Neuron_Selection.ExperimentTooling.circuits.measures import masks_of
from Neuron_Selection.ExperimentTooling.hidden_layers import activations_of_layers
from Neuron_Selection.ExperimentTooling.node_chain import NodeChain
from Neuron_Selection.FileFormats.agent_zip.agent_folder import RESULTS
from Neuron_Selection.FileFormats.definitions import load_definitions
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.FileFormats.results.circuit_file import Circuit, load_circuit
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of_file
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

CIRCUIT = "circuit.json"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GivenCircuit:
    """A circuit of an agent.

    :param nodes: its hidden neurons, a patch; of neurons that are given, without the layers that are whole
    :param ablation: what all other edges carry, unless another kind is chosen
    :param seed: of an ablation that is drawn; None if the circuit has none of its own
    :param path: the file it comes from
    :param identity: what identifies it in metadata
    """

    masks: Masks
    nodes: Mapping[str, list[int]]
    ablation: str
    seed: int | None
    path: Path | None
    identity: Mapping[str, Any]


def given_circuit(
    agent: OpenedAgent,
    chain: NodeChain,
    *,
    circuit: str | None,
    patch_spec: str | Mapping[str, Any] | None,
    patches_file: str | None,
    allow_mismatch: bool,
) -> GivenCircuit:
    """Load the circuit from the one of these that is given, by default from ``circuit.json``.

    :raises SuiteError: several are given, a circuit of other layers or another agent, or neurons that are in no layer
        of the chain
    """
    if sum(one is not None for one in (circuit, patch_spec, patches_file)) > 1:
        raise UsageError("--circuit, --patch_spec and --patches_file cannot be used together: each names a circuit")
    listed = None
    if patches_file is not None:
        listed = agent.folder.find(patches_file, ".")
        patch_spec, *others = load_definitions(listed)
        if others:
            found, hint = f"{1 + len(others)} patches", "--patch_spec names one"
            raise InputError(listed, found=found, expected="one patch, which is the circuit", hint=hint)
    if patch_spec is None:
        path = agent.folder.find(circuit or CIRCUIT, RESULTS, hint="patch_edges.py makes it")
        loaded = load_circuit(path)
        try:
            check_circuit_ablation(loaded.ablation, has_reference=False)
        except UsageError as error:
            raise InputError(path, error.field, found=error.found, expected=error.expected) from error
        return GivenCircuit(
            masks=_masks_in(loaded, chain, agent, path, allow_mismatch=allow_mismatch),
            nodes=loaded.nodes,
            ablation=loaded.ablation,
            seed=loaded.seed,
            path=path,
            identity={"circuit_sha256": sha256_of_file(path)},
        )
    chosen = _chosen(agent.layer_table.resolve(patch_spec), chain, agent)
    sizes = zip(chain.layers, chain.widths, strict=True)
    intact = [chosen.get(layer, np.ones(width, bool)) for layer, width in sizes]
    nodes = {layer: np.flatnonzero(is_in).tolist() for layer, is_in in chosen.items()}
    return GivenCircuit(
        masks=[np.outer(before, after) for before, after in pairwise(intact)],
        nodes=nodes,
        ablation=CORRUPTED,
        seed=None,
        path=listed,
        identity={"nodes": nodes},
    )


def _masks_in(
    circuit: Circuit, chain: NodeChain, agent: OpenedAgent, where: Path, *, allow_mismatch: bool
) -> list[np.ndarray]:
    """The masks of a circuit file of this agent.

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


def _chosen(patch: Mapping[str, Neurons], chain: NodeChain, agent: OpenedAgent) -> dict[str, np.ndarray]:
    """The nodes of each layer that a patch names, (width,), be it before or after their activation function."""
    chosen: dict[str, np.ndarray] = {}
    activations = activations_of_layers(agent)
    for name, neurons in patch.items():
        layer = activations.get(name, name)
        if layer not in chain.hidden:
            expected = f"a layer of {', '.join(chain.hidden)}"
            raise UsageError(field="patch spec", found=f"layer {shown(name)}", expected=expected)
        chosen.setdefault(layer, np.zeros(chain.widths[chain.layers.index(layer)], bool))
        chosen[layer][slice(None) if neurons == "all" else list(neurons)] = True
    return chosen
