"""Candidate weights: of each important neuron the k of greatest score, and the m greatest of the rest together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from SaliencyTooling.candidate_neurons import CandidateNeuron


def select_weights(
    neurons: Sequence[CandidateNeuron],
    scores: Mapping[str, np.ndarray],
    averages: Mapping[str, np.ndarray],
    *,
    k: int,
    m: int,
) -> dict[str, Any]:
    """The five parts of candidate_weights.json.

    Ties go to the lower layer (in the order of ``scores``), then the lower neuron, then the lower weight.

    :param scores: weight matrix to (rows, *shape), what weights are ranked by; ``gradient_magnitude`` in the file
    :param averages: weight matrix to its average gradients, told in ``neuron_weights``, each row flat in C order
    :param k: weights of each neuron; beyond its row, the whole row
    :param m: further weights of all neurons together; beyond what is left, all of it
    """
    layer_order = {parameter: place for place, parameter in enumerate(scores)}
    rows = {neuron.experiment: scores[neuron.parameter][neuron.neuron].ravel() for neuron in neurons}
    guaranteed: list[tuple[tuple[float, int, int, int], dict[str, Any]]] = []
    rest: list[tuple[tuple[float, int, int, int], CandidateNeuron, int]] = []
    top: dict[str, Any] = {}
    for neuron in neurons:
        row = rows[neuron.experiment]
        order = np.argsort(-row, kind="stable")
        chosen = order[:k].tolist()
        top[neuron.experiment] = {"indices": chosen, "values": row[chosen].tolist()}
        for place, weight in enumerate(order.tolist()):
            rank = (-float(row[weight]), layer_order[neuron.parameter], neuron.neuron, weight)
            if place < k:
                source, priority = f"top_{place + 1}_of_{neuron.experiment}", f"guaranteed_k_{place + 1}"
                guaranteed.append((rank, _target(neuron, weight, row, source, priority)))
            elif place < k + m:  # no row can give more than m to the pool's best m
                rest.append((rank, neuron, weight))
    rest.sort(key=lambda entry: entry[0])
    additional: dict[str, Any] = {}
    targets = list(guaranteed)
    for rank, neuron, weight in rest[:m]:
        row = rows[neuron.experiment]
        told = additional.setdefault(neuron.experiment, {"indices": [], "values": []})
        told["indices"].append(weight)
        told["values"].append(float(row[weight]))
        source = f"additional_from_{neuron.experiment}"
        targets.append((rank, _target(neuron, weight, row, source, "additional_global")))
    targets.sort(key=lambda entry: entry[0])
    return {
        "weight_targets": [target for _, target in targets],
        "metadata": {
            "k_per_neuron": k,
            "additional_m": m,
            "num_candidate_neurons": len(neurons),
            "total_weights_selected": len(targets),
            "guaranteed_per_neuron": len(guaranteed),
            "additional_selected": len(targets) - len(guaranteed),
            "description": f"Top {k} weights per neuron plus top {m} additional weights globally",
        },
        "neuron_weights": {
            neuron.experiment: {
                "layer_name": neuron.parameter,
                "neuron_index": neuron.neuron,
                "weights": averages[neuron.parameter][neuron.neuron].ravel().tolist(),
            }
            for neuron in neurons
        },
        "top_k_per_neuron": top,
        "additional_weights": additional,
    }


def _target(neuron: CandidateNeuron, weight: int, row: np.ndarray, source: str, priority: str) -> dict[str, Any]:
    return {
        "layer_name": neuron.parameter,
        "neuron_index": neuron.neuron,
        "weight_index": weight,
        "gradient_magnitude": float(row[weight]),
        "source": source,
        "priority": priority,
    }
