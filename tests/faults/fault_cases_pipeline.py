"""List E, the files between the steps: what is spoilt, which script reads it, and what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.script_runs import Flag, Spoil

GRADIENTS, AVERAGES, CANDIDATES, SUMMARY = (
    "gradient_analysis/weight_gradients.json",
    "gradient_analysis/average_gradients.json",
    "gradient_analysis/candidate_weights.json",
    "patching_results/cross_metric_summary.json",
)
LAYER = "average_gradients.q_net.0.weight"
Case = tuple[str, Spoil, dict[str, Flag], str]


def edited(name: str, change: Callable[[Any], Any]) -> Spoil:
    """The JSON file with a change; a function that gives None changed the document in place."""

    def spoil(agent: Path) -> None:
        path = agent / name
        document = json.loads(path.read_text())
        changed = change(document)
        path.write_text(json.dumps(document if changed is None else changed))

    return spoil


def with_field(name: str, *keys: Any, value: Any) -> Spoil:
    """The JSON file with one value, at the end of these keys, replaced."""

    def change(document: Any) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return edited(name, change)


def without(name: str) -> Spoil:
    return lambda agent: (agent / name).unlink()


def text(name: str, content: str) -> Spoil:
    return lambda agent: (agent / name).write_text(content)


def target(key: str, value: Any) -> Spoil:
    """The first candidate with one value replaced."""
    return with_field(CANDIDATES, "weight_targets", 0, key, value=value)


def neurons(**important: Any) -> Spoil:
    return text(SUMMARY, json.dumps({"common_neurons": important}))


def patch(neuron: Any, layer: str = "q_net.0") -> Spoil:
    return neurons(exp_1={"patch": {layer: [neuron]}})


def weights(agent: dict[str, Any]) -> None:
    agent["metadata"]["run"]["weights_sha256"] = "0" * 64


def bad_entry(*keys: str, value: Any) -> Spoil:
    """The gradients of the first input with one value replaced."""
    return edited(GRADIENTS, lambda document: with_first(document, keys, value))


def with_first(document: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    entry = next(iter(document.values()))
    for key in keys[:-1]:
        entry = entry[key]
    entry[keys[-1]] = value


def nothing(_agent: Path) -> None:
    pass


OF_ANOTHER = {"metadata": {"format": 1, "run": {"weights_sha256": "0" * 64}}}
BOTH = {"k": "0", "m": "0"}
PIPELINE_FAULTS: dict[str, Case] = {
    "E1 no summary": ("G", without(SUMMARY), {}, "no such file (analyze_metrics.py makes it)"),
    "E1 no summary to extract": ("extract", without(SUMMARY), {}, "no such file (analyze_metrics.py makes it)"),
    "E2 no gradients": ("average", without(GRADIENTS), {}, "no such file (gradients.py makes it)"),
    "E3 no averages": ("extract", without(AVERAGES), {}, "no such file (average.py makes it)"),
    "E5 no definitions": ("G", neurons(**{"exp_1_q_net.0": {}}), {"useful_neurons_path": "none.json"},
                          "(generate_definitions.py makes it)"),
    "E5 no definitions to extract": ("extract", neurons(**{"exp_1_q_net.0": {}}),
                                     {"useful_neurons_path": "none.json"}, "none.json: no such file"),
    "E6 summary of another": ("G", edited(SUMMARY, lambda document: {**document, **OF_ANOTHER}), {},
                              "weights_sha256: the summary belongs to another agent (000000000000"),
    "E7 unknown layer": ("G", neurons(**{"q_net.8_neuron_1": {}}), {}, "layer 'q_net.8' has no weight"),
    "E7 unknown layer to extract": ("extract", neurons(**{"q_net.8_neuron_1": {}}), {}, "layer 'q_net.8' has no"),
    "E8 neuron beyond": ("G", patch(8), {}, "common_neurons.exp_1: found neuron 8, expected 0..7 in q_net.0"),
    "E8 neuron negative": ("G", patch(-1), {}, "common_neurons.exp_1.patch: 'q_net.0': found"),
    "E8 neuron float": ("G", patch(1.5), {}, "common_neurons.exp_1.patch: 'q_net.0': found"),
    "E8 neuron bool": ("G", patch(True), {}, "common_neurons.exp_1.patch: 'q_net.0': found"),  # noqa: FBT003
    "E8 neuron beyond to extract": ("extract", patch(8), {}, "found neuron 8, expected 0..7 in q_net.0"),
    "E10 NaN average": ("extract", with_field(AVERAGES, "average_gradients", "q_net.0.bias", value=[float("nan")] * 8),
                        {}, "found the literal NaN, expected finite numbers"),
    "E10 NaN gradient": ("average", bad_entry("gradients", "q_net.0.bias", value=[float("inf")] * 8), {},
                         "found the literal Infinity, expected finite numbers"),
    "E10 negative average": ("extract", with_field(AVERAGES, "average_gradients", "q_net.0.bias", value=[-1.0] * 8),
                             {}, "q_net.0.bias: found a negative value"),
    "E11 no neurons": ("G", neurons(), {}, "common_neurons: contains no important neuron"),
    "E11 no neurons to extract": ("extract", neurons(), {}, "contains no important neuron"),
    "E11 no gradients": ("average", text(GRADIENTS, "{}"), {}, "found an object, expected an object {id:"),
    "E11 no averages": ("extract", with_field(AVERAGES, "average_gradients", value={}), {}, "average_gradients: found"),
    "E12 nothing asked for": ("G", nothing, BOTH, "--k and --m are both 0: no weight"),
    "E12 nothing to extract": ("extract", nothing, BOTH, "--k and --m are both 0: no weight"),
    "E13 k negative": ("G", nothing, {"k": "-1"}, "--k: found '-1', expected a whole number from 0"),
    "E13 m negative": ("extract", nothing, {"m": "-1"}, "--m: found '-1', expected a whole number from 0"),
    "E14 k a fraction": ("G", nothing, {"k": "2.5"}, "--k: found '2.5', expected a whole number from 0"),
    "E14 m a fraction": ("extract", nothing, {"m": "2.5"}, "--m: found '2.5', expected a whole number from 0"),
    "E14 k with underscore": ("extract", nothing, {"k": "1_0"}, "--k: found '1_0', expected a whole number from 0"),
    "E19 two runs": ("extract", edited(SUMMARY, lambda document: {**document, **OF_ANOTHER}), {},
                     "weights_sha256: the summary belongs to another agent (000000000000"),
    "E19 averages of another": ("extract", edited(AVERAGES, weights), {"agent_path": "AGENT"},
                                "weights_sha256: the averages belong to another agent"),
    "E20 newer summary": ("G", edited(SUMMARY, lambda document: {**document, "metadata": {"format": 2}}), {},
                          "metadata.format: found 2, expected a whole number, at most 1 (written by a newer suite)"),
    "E20 newer averages": ("extract", with_field(AVERAGES, "metadata", "format", value=2), {},
                           "metadata.format: found 2, expected a whole number, at most 1"),
    "E24 summary": ("G", text(SUMMARY, "[]"), {}, "found a list, expected an object"),
    "E24 common_neurons": ("G", with_field(SUMMARY, "common_neurons", value=[]), {}, "common_neurons: found a list"),
    "E24 neuron": ("G", neurons(exp_1=7), {}, "common_neurons.exp_1: found 7, expected an object"),
    "E24 patch": ("G", neurons(exp_1={"patch": "q_net.0:1"}), {}, "exp_1.patch: found 'q_net.0:1', expected an"),
    "E24 importance": ("G", neurons(exp_1={"final_average_importance": "1"}), {}, "found '1', expected a finite"),
    "E24 metrics_info": ("G", with_field(SUMMARY, "metrics_info", value=[]), {}, "metrics_info: found a list"),
    "E24 common_count": ("G", with_field(SUMMARY, "common_count", value="2"), {}, "common_count: found '2', expected"),
    "E24 summary metadata": ("G", with_field(SUMMARY, "metadata", value=7), {}, "metadata: found 7, expected an"),
    "E24 averages": ("extract", with_field(AVERAGES, "average_gradients", value=[]), {}, "average_gradients: found"),
    "E24 average": ("extract", with_field(AVERAGES, "average_gradients", "q_net.0.weight", value="1"), {},
                    f"{LAYER}: found '1', expected numbers"),
    "E24 signed averages": ("extract", with_field(AVERAGES, "average_signed_gradients", value=7), {},
                            "average_signed_gradients: found 7, expected an object"),
    "E24 num_examples": ("extract", with_field(AVERAGES, "metadata", "num_examples", value="3"), {},
                         "metadata.num_examples: found '3', expected a whole number"),
    "E24 averages metadata": ("extract", with_field(AVERAGES, "metadata", value=[]), {}, "metadata: found a list"),
    "E24 averages run": ("extract", with_field(AVERAGES, "metadata", "run", value=7), {}, "metadata.run: found 7"),
    "E24 averages fingerprint": ("extract", with_field(AVERAGES, "metadata", "run", "weights_sha256", value=7), {},
                                 "metadata.run.weights_sha256: found 7, expected text"),
    "E24 gradients": ("average", text(GRADIENTS, "[]"), {}, "found a list, expected an object {id:"),
    "E24 gradients of an input": ("average", bad_entry("gradients", value=[1]), {}, "found an object, expected an"),
    "E24 gradient": ("average", bad_entry("gradients", "q_net.0.bias", value="1"), {}, "found '1', expected numbers"),
    "E24 action": ("average", bad_entry("max_logit_action", value="1"), {}, "max_logit_action: found '1'"),
    "E24 value": ("average", bad_entry("max_logit_value", value=None), {}, "max_logit_value: found null"),
}  # fmt: skip

WEIGHT_FAULTS: dict[str, Case] = {
    "E4 no candidates": ("W", without(CANDIDATES), {}, "(extract.py makes it; --weights names weights by hand)"),
    "E4 no such file": ("W", nothing, {"candidates": "none.json"}, "none.json: no such file in"),
    "E6 candidates of another": ("W", edited(CANDIDATES, weights), {},
                                 "metadata.run.weights_sha256: the candidates belong to another agent (000000000000"),
    "E7 unknown layer": ("W", target("layer_name", "q_net.8.weight"), {}, "unknown parameter 'q_net.8.weight'"),
    "E7 unknown by hand": ("W", nothing, {"weights": "q_net.8.weight[0,0]"}, "unknown parameter 'q_net.8.weight'"),
    "E7 unknown of all": ("W", nothing, {"all_weights": "q_net.8"}, "unknown parameter 'q_net.8.weight'"),
    "E8 neuron beyond": ("W", target("neuron_index", 99), {}, "index out of range for this agent"),
    "E8 neuron negative": ("W", target("neuron_index", -1), {}, "neuron_index: found -1, expected a whole number, at"),
    "E8 neuron float": ("W", target("neuron_index", 1.0), {}, "neuron_index: found 1.0, expected a whole number"),
    "E8 neuron bool": ("W", target("neuron_index", value=True), {}, "neuron_index: found true, expected a whole"),
    "E8 weight beyond": ("W", target("weight_index", 99), {}, "index out of range for this agent"),
    "E8 weight negative": ("W", target("weight_index", -1), {}, "weight_index: found -1, expected a whole number, at"),
    "E8 weight float": ("W", target("weight_index", 1.0), {}, "weight_index: found 1.0, expected a whole number"),
    "E8 weight bool": ("W", target("weight_index", value=True), {}, "weight_index: found true, expected a whole"),
    "E8 beyond by hand": ("W", nothing, {"weights": "q_net.0.weight[8,0]"}, "expected rows 0..7, columns 0..3"),
    "E8 negative by hand": ("W", nothing, {"weights": "q_net.0.weight[-1,0]"}, "expected PARAMETER[ROW,COLUMN]"),
    "E9 target twice": ("W", edited(CANDIDATES, lambda d: d["weight_targets"].append(d["weight_targets"][0])), {},
                        "is listed twice"),
    "E9 twice by hand": ("W", nothing, {"weights": "q_net.0.weight[0,1]; q_net.0.weight[0,1]"}, "is given twice"),
    "E10 NaN magnitude": ("W", target("gradient_magnitude", float("nan")), {}, "found the literal NaN"),
    "E11 no targets": ("W", with_field(CANDIDATES, "weight_targets", value=[]), {}, "found a list of length 0"),
    "E11 none by hand": ("W", nothing, {"weights": " ; "}, "weights: found ' ; ', expected PARAMETER[ROW,COLUMN]"),
    "E13 sets negative": ("W", nothing, {"control_sets": "-1"}, "--control_sets: found '-1', expected a whole"),
    "E14 sets a fraction": ("W", nothing, {"control_sets": "2.5"}, "--control_sets: found '2.5', expected a whole"),
    "E20 newer candidates": ("W", with_field(CANDIDATES, "metadata", "format", value=2), {},
                             "metadata.format: found 2, expected a whole number, at most 1"),
    "E21 value NaN": ("W", nothing, {"values": "nan"}, "found nan, expected finite numbers"),
    "E21 value infinite": ("W", nothing, {"values": "inf"}, "found inf, expected finite numbers"),
    "E21 value two signs": ("W", nothing, {"values": "+-1"}, "--values: "),
    "E21 value underscore": ("W", nothing, {"values": "1_0"}, "expected"),
    "E21 value other digits": ("W", nothing, {"values": "٣"}, "expected"),
    "E21 value too large": ("W", nothing, {"values": "1e39", "mode": "set"}, "expected a finite float32"),
    "E21 value twice": ("W", nothing, {"values": ["2", "2.0"]}, "values: 2.0 is given twice"),
    "E21 no value": ("W", nothing, {"mode": "add", "values": None}, "--mode add requires --values"),
    "E22 a bias": ("W", target("layer_name", "q_net.0.bias"), {}, "layer_name: found 'q_net.0.bias', expected the"),
    "E22 a bias by hand": ("W", nothing, {"weights": "q_net.0.bias[0,0]"}, "found a tensor of shape (8,), expected"),
    "E24 candidates": ("W", text(CANDIDATES, "[]"), {}, "found a list, expected an object"),
    "E24 weight_targets": ("W", with_field(CANDIDATES, "weight_targets", value={"a": 1}), {}, "found an object"),
    "E24 target": ("W", with_field(CANDIDATES, "weight_targets", 0, value="a"), {}, "weight_targets[0]: found 'a'"),
    "E24 layer_name": ("W", target("layer_name", 7), {}, "weight_targets[0].layer_name: found 7, expected text"),
    "E24 neuron_index": ("W", target("neuron_index", "1"), {}, "neuron_index: found '1', expected a whole number"),
    "E24 weight_index": ("W", target("weight_index", None), {}, "weight_index: found null, expected a whole number"),
    "E24 gradient_magnitude": ("W", target("gradient_magnitude", "1"), {}, "gradient_magnitude: found '1', expected"),
    "E24 metadata": ("W", with_field(CANDIDATES, "metadata", value=[]), {}, "metadata: found a list, expected an"),
    "E24 run": ("W", with_field(CANDIDATES, "metadata", "run", value=7), {}, "metadata.run: found 7, expected an"),
    "E24 fingerprint": ("W", with_field(CANDIDATES, "metadata", "run", "weights_sha256", value=7), {},
                        "metadata.run.weights_sha256: found 7, expected text"),
    "E24 neuron_weights": ("W", with_field(CANDIDATES, "neuron_weights", value=[]), {}, "neuron_weights: found a list"),
    "E24 top_k_per_neuron": ("W", with_field(CANDIDATES, "top_k_per_neuron", value=7), {}, "top_k_per_neuron: found 7"),
    "E25 backslashes": ("W", nothing, {"candidates": "gradient_analysis\\candidate_weights.json"}, "no such file"),
}  # fmt: skip
