"""Ranking of the weights of important neurons: which neurons, how their weights are scored, which are selected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_zip import AgentZip
from Neuron_Selection.FileFormats.agent_zip.spaces import DiscreteSpace
from Neuron_Selection.FileFormats.results.cross_metric_summary import CrossMetricSummary, ImportantNeuron
from Neuron_Selection.FileFormats.weights.average_gradients import MAGNITUDE, MARGIN, AverageGradients
from SaliencyTooling.gradient_runs import Progress

SCORES = ("gradient", "margin", "weight_x_gradient")


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateNeuron:
    """A row of a weight matrix. ``experiment``: the key of the summary. ``parameter``: such as ``q_net.0.weight``."""

    experiment: str
    parameter: str
    neuron: int


def candidate_neurons(
    summary: CrossMetricSummary, rows_of: Mapping[str, int], *, definitions: Sequence[Mapping[str, Any]]
) -> list[CandidateNeuron]:
    """Every key of the summary as one neuron; a neuron under two keys counts once, under the first.

    A key is resolved by its ``patch`` field, else by the n of ``exp_<n>_<layer>`` in the definitions, else as
    ``<layer>_neuron_<i>``.

    :param rows_of: weight matrix to its number of rows
    :raises InputError: no key, or one that names nothing, several neurons, or a layer without a weight matrix
    """
    if not summary.neurons:
        raise InputError(
            summary.where,
            "common_neurons",
            "contains no important neuron",
            hint="analyze_metrics.py found none: no contrast pairs (make_pairs.py makes them), or a threshold too high",
        )
    chosen: dict[tuple[str, int], CandidateNeuron] = {}
    for important in summary.neurons:
        field = f"common_neurons.{shown(important.key, quoted=False)}"
        layer, neuron = _place(important, definitions, summary.where, field)
        parameter = f"{layer.removesuffix('.weight')}.weight"
        if parameter not in rows_of:
            layers = ", ".join(name.removesuffix(".weight") for name in rows_of)
            problem = f"layer {shown(layer)} has no weight matrix"
            if not layers:
                raise InputError(summary.where, field, f"{problem}, nor has any other layer of this network")
            hint = "generate_definitions.py --layers lists their neurons, for run_experiments.py --definitions"
            raise InputError(summary.where, field, f"{problem}; layers that have one: {layers}", hint=hint)
        if neuron >= rows_of[parameter]:
            expected = f"0..{rows_of[parameter] - 1} in {layer}"
            raise InputError(summary.where, field, found=f"neuron {shown(neuron)}", expected=expected)
        candidate = CandidateNeuron(experiment=important.key, parameter=parameter, neuron=neuron)
        chosen.setdefault((parameter, neuron), candidate)
    return list(chosen.values())


def _place(
    important: ImportantNeuron, definitions: Sequence[Mapping[str, Any]], where: object, field: str
) -> tuple[str, int]:
    """Layer and neuron of a key."""
    patch, position = important.patch, important.position
    if patch is None and position is None:
        if important.layer is None or important.neuron is None:
            expected = "a patch field, exp_<n>_<layer> or <layer>_neuron_<i>"
            raise InputError(where, field, "the key names no neuron", expected=expected)
        return important.layer, important.neuron
    if patch is None and position is not None:
        if position > len(definitions):
            expected = f"1..{len(definitions)} as in the definitions"
            raise InputError(where, field, found=f"experiment {position}", expected=expected)
        patch = definitions[position - 1]
        if list(patch) != [important.layer]:
            found = f"layer {shown(next(iter(patch)))} at position {position} of the definitions"
            hint = "the definitions may be of another network"
            raise InputError(where, field, found=found, expected=shown(important.layer), hint=hint)
    (layer, neurons), *more = (patch or {}).items()
    if more or neurons == "all" or len(neurons) != 1:
        raise InputError(where, field, "patches several neurons", expected="one layer, one neuron")
    return layer, int(neurons[0])


def weight_matrices(parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights that have rows: of Linear and convolution; no bias, slope of a PReLU or weight of a normalisation."""
    return {name: array for name, array in parameters.items() if name.endswith(".weight") and array.ndim > 1}


def score_weights(
    average: AverageGradients, score: str, *, agent_zip: AgentZip | None, where: Path
) -> dict[str, np.ndarray]:
    """Scores to rank weights by: weight matrix to an array of its shape.

    :param score: ``gradient``, the mean |gradient| of the greatest Q-value; ``margin``, that of the margin; or
        ``weight_x_gradient``, |weight| x mean |gradient|
    :param agent_zip: the agent whose weights ``weight_x_gradient`` takes
    :param where: the file of the averages
    :raises SuiteError: averages or an agent that lack what the score needs
    """
    matrices = weight_matrices(average.means[MAGNITUDE])
    if score == "gradient":
        return matrices
    if score == "margin":
        if MARGIN not in average.means:
            space = None if agent_zip is None else agent_zip.action_space
            n_actions = average.metadata.get("run", {}).get("n_actions")
            if n_actions == 1 or (isinstance(space, DiscreteSpace) and space.n < 2):
                raise no_margin()
            hint = "average.py --agent_path writes them"
            raise InputError(where, MARGIN, "the margin's gradients that --score margin needs are missing", hint=hint)
        return {name: average.means[MARGIN][name] for name in matrices}
    if agent_zip is None:
        raise UsageError("--score weight_x_gradient requires --agent_path, to read the weights")
    scores = {}
    for name, array in matrices.items():
        weights = agent_zip.network_tensors.get(name)
        if weights is None or weights.shape != array.shape:
            expected = "no such weight in this agent" if weights is None else f"{weights.shape} as in this agent"
            raise InputError(where, name, found=f"gradients of shape {array.shape}", expected=expected)
        if not np.isfinite(weights).all():
            raise InputError(agent_zip.path, name, found="NaN or infinity", expected="finite weights")
        scores[name] = np.abs(weights.astype(np.float64)) * array
    return scores


def no_margin() -> UsageError:
    """The error of ``margin`` for an agent of one action."""
    return UsageError("--score margin cannot be used with an agent of one action, which has no margin")


def rank_weights(
    neurons: Sequence[CandidateNeuron],
    scores: Mapping[str, np.ndarray],
    averages: Mapping[str, np.ndarray],
    *,
    k: int,
    m: int,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The five parts of candidate_weights.json.

    Ties go to the lower layer (in the order of ``scores``), then the lower neuron, then the lower weight.

    :param scores: weight matrix to (rows, *shape), the scores to rank by; ``gradient_magnitude`` in the file
    :param averages: weight matrix to its average gradients, for ``neuron_weights``, each row flat in C order
    :param k: weights of each neuron; beyond its row, the whole row
    :param m: further weights of all neurons together; beyond what is left, all of it
    """
    layer_order = {parameter: place for place, parameter in enumerate(scores)}
    guaranteed: list[tuple[tuple[float, int, int, int], dict[str, Any]]] = []
    rest: list[tuple[tuple[float, int, int, int], CandidateNeuron]] = []
    top: dict[str, Any] = {}
    for neuron in neurons if progress is None else progress(neurons, total=len(neurons), unit="neuron"):
        row = scores[neuron.parameter][neuron.neuron].ravel()
        order = np.argsort(-row, kind="stable")
        best = order[:k].tolist()
        top[neuron.experiment] = {"indices": best, "values": row[best].tolist()}
        for place, weight in enumerate(order[: k + m].tolist()):  # no row can give more than m to the best m of all
            rank = (-float(row[weight]), layer_order[neuron.parameter], neuron.neuron, weight)
            if place < k:
                source = f"top_{place + 1}_of_{neuron.experiment}"
                guaranteed.append((rank, _target(neuron, rank, source, f"guaranteed_k_{place + 1}")))
            else:
                rest.append((rank, neuron))
    rest.sort(key=lambda entry: entry[0])
    additional: dict[str, Any] = {}
    targets = list(guaranteed)
    for rank, neuron in rest[:m]:
        added = additional.setdefault(neuron.experiment, {"indices": [], "values": []})
        added["indices"].append(rank[-1])
        added["values"].append(-rank[0])
        targets.append((rank, _target(neuron, rank, f"additional_from_{neuron.experiment}", "additional_global")))
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


def _target(neuron: CandidateNeuron, rank: tuple[float, int, int, int], source: str, priority: str) -> dict[str, Any]:
    return {
        "layer_name": neuron.parameter,
        "neuron_index": neuron.neuron,
        "weight_index": rank[-1],
        "gradient_magnitude": -rank[0],
        "source": source,
        "priority": priority,
    }
