"""List E, the files between the steps: what is damaged, which script reads it, and the error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.script_runs import Flag, Spoil
from tests.raised import NO_SUCH_FILE, Parts, bad_sentence, bad_state, bad_value

GRADIENTS, AVERAGES, CANDIDATES, SUMMARY = (
    "gradient_analysis/weight_gradients.json",
    "gradient_analysis/average_gradients.json",
    "gradient_analysis/candidate_weights.json",
    "patching_results/cross_metric_summary.json",
)
Case = tuple[str, Spoil, dict[str, Flag], Parts]


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
    "E1 no summary": ("G", without(SUMMARY), {}, bad_state("cross_metric_summary.json", "no such file")),
    "E1 no summary to extract": ("extract", without(SUMMARY), {},
                                 bad_state("cross_metric_summary.json", "no such file")),
    "E2 no gradients": ("average", without(GRADIENTS), {}, bad_state("weight_gradients.json", "no such file")),
    "E3 no averages": ("extract", without(AVERAGES), {}, bad_state("average_gradients.json", "no such file")),
    "E5 no definitions": ("G", neurons(**{"exp_1_q_net.0": {}}), {"useful_neurons_path": "none.json"},
                          bad_state("none.json", NO_SUCH_FILE)),
    "E5 no definitions to extract": ("extract", neurons(**{"exp_1_q_net.0": {}}),
                                     {"useful_neurons_path": "none.json"}, bad_state("none.json", NO_SUCH_FILE)),
    "E6 summary of another": ("G", edited(SUMMARY, lambda document: {**document, **OF_ANOTHER}), {},
                              bad_sentence("(000000000000", place="weights_sha256")),
    "E7 unknown layer": ("G", neurons(**{"q_net.8_neuron_1": {}}), {},
                         bad_sentence("layer 'q_net.8'", place="common_neurons.q_net.8_neuron_1")),
    "E7 unknown layer to extract": ("extract", neurons(**{"q_net.8_neuron_1": {}}), {},
                                    bad_sentence("layer 'q_net.8'", place="common_neurons.q_net.8_neuron_1")),
    "E8 neuron beyond": ("G", patch(8), {}, bad_value("common_neurons.exp_1", "neuron 8")),
    "E8 neuron negative": ("G", patch(-1), {}, bad_value("common_neurons.exp_1.patch: 'q_net.0'", "-1")),
    "E8 neuron float": ("G", patch(1.5), {}, bad_value("common_neurons.exp_1.patch: 'q_net.0'", "1.5")),
    "E8 neuron bool": ("G", patch(True), {}, bad_value("common_neurons.exp_1.patch: 'q_net.0'", "true")),  # noqa: FBT003
    "E8 neuron beyond to extract": ("extract", patch(8), {}, bad_value("common_neurons.exp_1", "neuron 8")),
    "E10 NaN average": ("extract", with_field(AVERAGES, "average_gradients", "q_net.0.bias", value=[float("nan")] * 8),
                        {}, bad_value("'average_gradients'.'q_net.0.bias'[0]", "the literal NaN")),
    "E10 NaN gradient": ("average", bad_entry("gradients", "q_net.0.bias", value=[float("inf")] * 8), {},
                         bad_value("'env-v0-81110-6,4,0-0763'.gradients.'q_net.0.bias'[0]", "the literal Infinity")),
    "E10 negative average": ("extract", with_field(AVERAGES, "average_gradients", "q_net.0.bias", value=[-1.0] * 8),
                             {}, bad_value("average_gradients.q_net.0.bias", "a negative value")),
    "E11 no neurons": ("G", neurons(), {}, bad_state("common_neurons", "contains no important neuron")),
    "E11 no neurons to extract": ("extract", neurons(), {},
                                  bad_state("common_neurons", "contains no important neuron")),
    "E11 no gradients": ("average", text(GRADIENTS, "{}"), {}, bad_value("weight_gradients.json", "an object")),
    "E11 no averages": ("extract", with_field(AVERAGES, "average_gradients", value={}), {},
                        bad_value("average_gradients", "an object of length 0")),
    "E12 nothing asked for": ("G", nothing, BOTH, bad_sentence("--k", "--m")),
    "E12 nothing to extract": ("extract", nothing, BOTH, bad_sentence("--k", "--m")),
    "E13 k negative": ("G", nothing, {"k": "-1"}, bad_sentence("--k", "'-1'")),
    "E13 m negative": ("extract", nothing, {"m": "-1"}, bad_sentence("--m", "'-1'")),
    "E14 k a fraction": ("G", nothing, {"k": "2.5"}, bad_sentence("--k", "'2.5'")),
    "E14 m a fraction": ("extract", nothing, {"m": "2.5"}, bad_sentence("--m", "'2.5'")),
    "E14 k with underscore": ("extract", nothing, {"k": "1_0"}, bad_sentence("--k", "'1_0'")),
    "E19 two runs": ("extract", edited(SUMMARY, lambda document: {**document, **OF_ANOTHER}), {},
                     bad_sentence("(000000000000", place="weights_sha256")),
    "E19 averages of another": ("extract", edited(AVERAGES, weights), {"agent_path": "AGENT"},
                                bad_sentence("(000000000000", place="metadata.run.weights_sha256")),
    "E20 newer summary": ("G", edited(SUMMARY, lambda document: {**document, "metadata": {"format": 2}}), {},
                          bad_value("metadata.format", "2")),
    "E20 newer averages": ("extract", with_field(AVERAGES, "metadata", "format", value=2), {},
                           bad_value("metadata.format", "2")),
    "E24 summary": ("G", text(SUMMARY, "[]"), {}, bad_value("cross_metric_summary.json", "a list")),
    "E24 common_neurons": ("G", with_field(SUMMARY, "common_neurons", value=[]), {},
                           bad_value("common_neurons", "a list")),
    "E24 neuron": ("G", neurons(exp_1=7), {}, bad_value("common_neurons.exp_1", "7")),
    "E24 patch": ("G", neurons(exp_1={"patch": "q_net.0:1"}), {},
                  bad_value("common_neurons.exp_1.patch", "'q_net.0:1'")),
    "E24 importance": ("G", neurons(exp_1={"final_average_importance": "1"}), {},
                       bad_value("common_neurons.exp_1.final_average_importance", "'1'")),
    "E24 metrics_info": ("G", with_field(SUMMARY, "metrics_info", value=[]), {}, bad_value("metrics_info", "a list")),
    "E24 common_count": ("G", with_field(SUMMARY, "common_count", value="2"), {}, bad_value("common_count", "'2'")),
    "E24 summary metadata": ("G", with_field(SUMMARY, "metadata", value=7), {}, bad_value("metadata", "7")),
    "E24 averages": ("extract", with_field(AVERAGES, "average_gradients", value=[]), {},
                     bad_value("average_gradients", "a list")),
    "E24 average": ("extract", with_field(AVERAGES, "average_gradients", "q_net.0.weight", value="1"), {},
                    bad_value("average_gradients.q_net.0.weight", "'1'")),
    "E24 signed averages": ("extract", with_field(AVERAGES, "average_signed_gradients", value=7), {},
                            bad_value("average_signed_gradients", "7")),
    "E24 num_examples": ("extract", with_field(AVERAGES, "metadata", "num_examples", value="3"), {},
                         bad_value("metadata.num_examples", "'3'")),
    "E24 averages metadata": ("extract", with_field(AVERAGES, "metadata", value=[]), {},
                              bad_value("metadata", "a list")),
    "E24 averages run": ("extract", with_field(AVERAGES, "metadata", "run", value=7), {},
                         bad_value("metadata.run", "7")),
    "E24 averages fingerprint": ("extract", with_field(AVERAGES, "metadata", "run", "weights_sha256", value=7), {},
                                 bad_value("metadata.run.weights_sha256", "7")),
    "E24 gradients": ("average", text(GRADIENTS, "[]"), {}, bad_value("weight_gradients.json", "a list")),
    "E24 gradients of an input": ("average", bad_entry("gradients", value=[1]), {},
                                  bad_value("'env-v0-81110-6,4,0-0763'", "an object")),
    "E24 gradient": ("average", bad_entry("gradients", "q_net.0.bias", value="1"), {},
                     bad_value("'env-v0-81110-6,4,0-0763'.gradients.q_net.0.bias", "'1'")),
    "E24 action": ("average", bad_entry("max_logit_action", value="1"), {},
                   bad_value("'env-v0-81110-6,4,0-0763'.max_logit_action", "'1'")),
    "E24 value": ("average", bad_entry("max_logit_value", value=None), {},
                  bad_value("'env-v0-81110-6,4,0-0763'.max_logit_value", "null")),
}  # fmt: skip

WEIGHT_FAULTS: dict[str, Case] = {
    "E4 no candidates": ("W", without(CANDIDATES), {}, bad_state("candidate_weights.json", NO_SUCH_FILE)),
    "E4 no such file": ("W", nothing, {"candidates": "none.json"}, bad_state("none.json", NO_SUCH_FILE)),
    "E6 candidates of another": ("W", edited(CANDIDATES, weights), {},
                                 bad_sentence("(000000000000", place="metadata.run.weights_sha256")),
    "E7 unknown layer": ("W", target("layer_name", "q_net.8.weight"), {}, bad_sentence("'q_net.8.weight'")),
    "E7 unknown by hand": ("W", nothing, {"weights": "q_net.8.weight[0,0]"}, bad_sentence("'q_net.8.weight'")),
    "E7 unknown of all": ("W", nothing, {"all_weights": "q_net.8"}, bad_sentence("'q_net.8.weight'")),
    "E8 neuron beyond": ("W", target("neuron_index", 99), {},
                         bad_state("q_net.2.weight[99,7]", "index out of range for this agent")),
    "E8 neuron negative": ("W", target("neuron_index", -1), {}, bad_value("weight_targets[0].neuron_index", "-1")),
    "E8 neuron float": ("W", target("neuron_index", 1.0), {}, bad_value("weight_targets[0].neuron_index", "1.0")),
    "E8 neuron bool": ("W", target("neuron_index", value=True), {},
                       bad_value("weight_targets[0].neuron_index", "true")),
    "E8 weight beyond": ("W", target("weight_index", 99), {},
                         bad_state("q_net.2.weight[3,99]", "index out of range for this agent")),
    "E8 weight negative": ("W", target("weight_index", -1), {}, bad_value("weight_targets[0].weight_index", "-1")),
    "E8 weight float": ("W", target("weight_index", 1.0), {}, bad_value("weight_targets[0].weight_index", "1.0")),
    "E8 weight bool": ("W", target("weight_index", value=True), {},
                       bad_value("weight_targets[0].weight_index", "true")),
    "E8 beyond by hand": ("W", nothing, {"weights": "q_net.0.weight[8,0]"},
                          bad_state("q_net.0.weight[8,0]", "index out of range for this agent")),
    "E8 negative by hand": ("W", nothing, {"weights": "q_net.0.weight[-1,0]"},
                            bad_value("weights", "'q_net.0.weight[-1,0]'")),
    "E9 target twice": ("W", edited(CANDIDATES, lambda d: d["weight_targets"].append(d["weight_targets"][0])), {},
                        bad_state("weight_targets[8]", "q_net.2.weight[3,7] is listed twice")),
    "E9 twice by hand": ("W", nothing, {"weights": "q_net.0.weight[0,1]; q_net.0.weight[0,1]"},
                         bad_state("q_net.0.weight[0,1]", "is given twice")),
    "E10 NaN magnitude": ("W", target("gradient_magnitude", float("nan")), {},
                          bad_value("'weight_targets'[0].gradient_magnitude", "the literal NaN")),
    "E11 no targets": ("W", with_field(CANDIDATES, "weight_targets", value=[]), {},
                       bad_value("weight_targets", "a list of length 0")),
    "E11 none by hand": ("W", nothing, {"weights": " ; "}, bad_value("weights", "' ; '")),
    "E13 sets negative": ("W", nothing, {"control_sets": "-1"}, bad_sentence("--control_sets", "'-1'")),
    "E14 sets a fraction": ("W", nothing, {"control_sets": "2.5"}, bad_sentence("--control_sets", "'2.5'")),
    "E20 newer candidates": ("W", with_field(CANDIDATES, "metadata", "format", value=2), {},
                             bad_value("metadata.format", "2")),
    "E21 value NaN": ("W", nothing, {"values": "nan"}, bad_value("values", "nan")),
    "E21 value infinite": ("W", nothing, {"values": "inf"}, bad_value("values", "inf")),
    "E21 value two signs": ("W", nothing, {"values": "+-1"}, bad_sentence("--values", "'+-1'")),
    "E21 value underscore": ("W", nothing, {"values": "1_0"}, bad_sentence("--values", "'1_0'")),
    "E21 value other digits": ("W", nothing, {"values": "٣"}, bad_sentence("--values", "'٣'")),
    "E21 value too large": ("W", nothing, {"values": "1e39", "mode": "set"},
                            bad_value("q_net.2.weight[3,7]", "the value 1e+39")),
    "E21 value twice": ("W", nothing, {"values": ["2", "2.0"]}, bad_state("values", "2.0 is given twice")),
    "E21 no value": ("W", nothing, {"mode": "add", "values": None}, bad_sentence("--mode", "--values")),
    "E22 a bias": ("W", target("layer_name", "q_net.0.bias"), {},
                   bad_value("weight_targets[0].layer_name", "'q_net.0.bias'")),
    "E22 a bias by hand": ("W", nothing, {"weights": "q_net.0.bias[0,0]"},
                           bad_value("'q_net.0.bias'", "a tensor of shape (8,)")),
    "E24 candidates": ("W", text(CANDIDATES, "[]"), {}, bad_value("candidate_weights.json", "a list")),
    "E24 weight_targets": ("W", with_field(CANDIDATES, "weight_targets", value={"a": 1}), {},
                           bad_value("weight_targets", "an object")),
    "E24 target": ("W", with_field(CANDIDATES, "weight_targets", 0, value="a"), {},
                   bad_value("weight_targets[0]", "'a'")),
    "E24 layer_name": ("W", target("layer_name", 7), {}, bad_value("weight_targets[0].layer_name", "7")),
    "E24 neuron_index": ("W", target("neuron_index", "1"), {}, bad_value("weight_targets[0].neuron_index", "'1'")),
    "E24 weight_index": ("W", target("weight_index", None), {}, bad_value("weight_targets[0].weight_index", "null")),
    "E24 gradient_magnitude": ("W", target("gradient_magnitude", "1"), {},
                               bad_value("weight_targets[0].gradient_magnitude", "'1'")),
    "E24 metadata": ("W", with_field(CANDIDATES, "metadata", value=[]), {}, bad_value("metadata", "a list")),
    "E24 run": ("W", with_field(CANDIDATES, "metadata", "run", value=7), {}, bad_value("metadata.run", "7")),
    "E24 fingerprint": ("W", with_field(CANDIDATES, "metadata", "run", "weights_sha256", value=7), {},
                        bad_value("metadata.run.weights_sha256", "7")),
    "E24 neuron_weights": ("W", with_field(CANDIDATES, "neuron_weights", value=[]), {},
                           bad_value("neuron_weights", "a list")),
    "E24 top_k_per_neuron": ("W", with_field(CANDIDATES, "top_k_per_neuron", value=7), {},
                             bad_value("top_k_per_neuron", "7")),
    "E25 backslashes": ("W", nothing, {"candidates": "gradient_analysis\\candidate_weights.json"},
                        bad_state("gradient_analysis\\candidate_weights.json", NO_SUCH_FILE)),
}  # fmt: skip
