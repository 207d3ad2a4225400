"""The important neurons that a cross-metric summary names, each resolved to one row of a weight matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.results.cross_metric_summary import CrossMetricSummary, ImportantNeuron

Definitions = Callable[[], list[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateNeuron:
    """``experiment``: the summary's key. ``parameter``: the weight matrix, such as ``q_net.0.weight``."""

    experiment: str
    parameter: str
    neuron: int


def candidate_neurons(
    summary: CrossMetricSummary, rows_of: Mapping[str, int], *, definitions: Definitions
) -> list[CandidateNeuron]:
    """Every key of the summary as one neuron; a neuron under two keys counts once, under the first.

    A key is resolved by its ``patch`` field, else by the n of ``exp_<n>_<layer>`` in the definitions, else as
    ``<layer>_neuron_<i>``.

    :param rows_of: weight matrix to its number of rows
    :param definitions: opens the definitions file; called only if a key needs it
    :raises InputError: no key, or one that names nothing, several neurons, or a layer without a weight matrix
    """
    if not summary.neurons:
        raise InputError(
            summary.where,
            "common_neurons",
            found="no important neuron",
            expected="at least one",
            hint="analyze_metrics.py chose none: no contrast pairs, or a threshold too high",
        )
    opened: list[list[dict[str, Any]]] = []

    def definitions_once() -> list[dict[str, Any]]:
        if not opened:
            opened.append(definitions())
        return opened[0]

    chosen: dict[tuple[str, int], CandidateNeuron] = {}
    for important in summary.neurons:
        error = _Error(where=summary.where, key=important.key)
        layer, neuron = _place(important, definitions_once, error)
        parameter = f"{layer.removesuffix('.weight')}.weight"
        if parameter not in rows_of:
            layers = [name.removesuffix(".weight") for name in rows_of]
            hint = "generate_definitions.py --layers lists theirs, for run_experiments.py --definitions"
            expected, hint = (f"one of {', '.join(layers)}", hint) if layers else ("one; this network has none", "")
            raise error(f"layer {shown(layer)}, which has no weight matrix", expected, hint)
        if neuron >= rows_of[parameter]:
            raise error(f"neuron {shown(neuron)}", f"0..{rows_of[parameter] - 1} in {layer}")
        candidate = CandidateNeuron(experiment=important.key, parameter=parameter, neuron=neuron)
        chosen.setdefault((parameter, neuron), candidate)
    return list(chosen.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Error:
    where: object
    key: str

    def __call__(self, found: str, expected: str, hint: str = "") -> InputError:
        field = f"common_neurons.{shown(self.key, quoted=False)}"
        return InputError(self.where, field, found=found, expected=expected, hint=hint)


def _place(important: ImportantNeuron, definitions: Definitions, error: _Error) -> tuple[str, int]:
    if important.patch is not None:
        return _single(important.patch, error)
    if important.position is not None:
        patches = definitions()
        if important.position > len(patches):
            raise error(f"experiment {important.position}", f"1..{len(patches)} as in the definitions")
        layer, neuron = _single(patches[important.position - 1], error)
        if layer != important.layer:
            found = f"layer {shown(layer)} at position {important.position} of the definitions"
            raise error(found, f"{shown(important.layer)}: definitions of another network?")
        return layer, neuron
    if important.layer is None or important.neuron is None:
        raise error("a key that names no neuron", "a patch field, exp_<n>_<layer> or <layer>_neuron_<i>")
    return important.layer, important.neuron


def _single(patch: Mapping[str, Any], error: _Error) -> tuple[str, int]:
    """The one layer and neuron of a patch."""
    (layer, neurons), *more = patch.items()
    if more or neurons == "all" or len(neurons) != 1:
        raise error("a patch of several neurons", "one layer, one neuron")
    return layer, int(neurons[0])
