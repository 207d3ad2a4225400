"""List E: a bad file between two steps is refused before anything is written; unusual good ones work as documented."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.faults.fault_cases_pipeline import (
    AVERAGES,
    CANDIDATES,
    GRADIENTS,
    PIPELINE_FAULTS,
    SUMMARY,
    WEIGHT_FAULTS,
    edited,
    neurons,
    with_field,
)  # fmt: skip
from tests.faults.script_runs import NO_TORCH, Flag, refused, words_of, works
from tests.made_agents import data_fields, mlp_agent, mlp_state, pickled, planted_agent, vector_space, write_zip
from tests.raised import parts

AS_PROCESSES = {"E1 no summary", "E2 no gradients", "E3 no averages", "weights, E4 no candidates"}  # one of each script
RESULTS = "perturbation_results/results.json"


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def command(script: str, agent: Path, **flags: Flag) -> list[str]:
    """The candidates are read where no weights are named by hand."""
    return words_of(script, agent, **{**({"weights": None} if script == "W" else {}), **flags})


@pytest.mark.parametrize("fault", [*PIPELINE_FAULTS, *(f"weights, {fault}" for fault in WEIGHT_FAULTS)])
def test_a_bad_file_of_the_pipeline_is_refused_before_anything_is_written(fault: str, agent: Path) -> None:
    cases = WEIGHT_FAULTS if fault.startswith("weights, ") else PIPELINE_FAULTS
    script, spoil, flags, error = cases[fault.removeprefix("weights, ")]
    spoil(agent)
    flags = {name: str(agent) if value == "AGENT" else value for name, value in flags.items()}
    new = {"output_dir": str(agent / "new")}  # so that a step that ran too early is seen
    words = command(script, agent, **{**new, **flags})
    refused(words, 2, error, agent.parent, orders=NO_TORCH, process=fault in AS_PROCESSES)


@pytest.mark.parametrize("script", ["G", "extract"])
def test_k_of_nothing_and_k_beyond_a_row_are_reported(script: str, agent: Path) -> None:
    """E12, E15, E16: k alone or m alone is enough; more than there is is never padded."""
    reported = works(command(script, agent, k="0", m="2"), orders=NO_TORCH)
    assert "2 weights of 2 neurons (0 guaranteed, 2 additional)" in reported.stdout
    reported = works(command(script, agent, k="5", m="99"), orders=NO_TORCH)
    assert "12 weights of 2 neurons (9 guaranteed, 3 additional)" in reported.stdout  # rows of 4 and of 8
    assert "fewer additional weights than the 99 requested" in reported.stdout


def test_a_neuron_under_two_keys_counts_once(agent: Path) -> None:
    """E9, in a summary."""
    neurons(**{"exp_1_q_net.0": {"patch": {"q_net.0": [3]}}, "q_net.0_neuron_3": {}})(agent)
    reported = works(command("G", agent, k="1", m="0"), orders=NO_TORCH)
    assert "1 weights of 1 neurons" in reported.stdout


def test_gradients_that_are_all_zero_are_ranked_by_place(agent: Path) -> None:
    """E17: dead neurons; nothing is divided by their gradients."""
    planted_agent(agent, [(np.zeros((8, 4)), np.full(8, -1.0)), (np.zeros((6, 8)), np.full(6, -1.0)),
                          (np.ones((3, 6)), [1.0, 2.0, 3.0])])  # fmt: skip
    works(command("G", agent, k="1", m="0"), orders=NO_TORCH)
    chosen = [(t["layer_name"], t["weight_index"]) for t in read(agent / CANDIDATES)["weight_targets"]]
    assert chosen == [("q_net.0.weight", 0), ("q_net.2.weight", 0)]
    reported = works([*command("W", agent), "--json"], orders=NO_TORCH)
    assert json.loads(reported.stdout)["targets_that_flip"] == 0


def test_ties_go_to_the_lower_layer_neuron_and_weight(agent: Path) -> None:
    """E18: by magnitude, then layer, neuron, weight."""

    def level(document: Any) -> None:
        means = document["average_gradients"]
        document["average_gradients"] = {name: np.full(np.shape(value), 0.5).tolist() for name, value in means.items()}

    edited(AVERAGES, level)(agent)
    neurons(**{"q_net.2_neuron_1": {}, "q_net.0_neuron_5": {}, "q_net.0_neuron_2": {}})(agent)
    works(command("extract", agent, k="2", m="1"), orders=NO_TORCH)
    chosen = [(t["layer_name"], t["neuron_index"], t["weight_index"]) for t in
              read(agent / CANDIDATES)["weight_targets"]]  # fmt: skip
    first, second = "q_net.0.weight", "q_net.2.weight"
    assert chosen == [(first, 2, 0), (first, 2, 1), (first, 2, 2), (first, 5, 0), (first, 5, 1),
                      (second, 1, 0), (second, 1, 1)]  # fmt: skip


def test_gradients_and_an_agent_that_do_not_belong_together_are_refused(agent: Path) -> None:
    """E6 and E19: averages of gradients that another agent has."""
    other = mlp_agent(agent.parent / "other", seed=1)
    words = command("average", agent, agent_path=str(other), inputs=str(agent / "activation_inputs/clean_inputs.json"))
    error = parts(file=agent / GRADIENTS, field="weights_sha256", problem="the gradients belong to another agent")
    refused(words, 2, error, agent.parent, orders=NO_TORCH)


def test_published_files_without_metadata_work_with_a_warning(agent: Path) -> None:
    """E20: the older form has no fingerprint; only its indices can be checked."""
    edited(AVERAGES, lambda document: document["metadata"].clear())(agent)
    edited(CANDIDATES, lambda document: {key: document[key] for key in document if key != "metadata"})(agent)
    reported = works(command("W", agent), orders=NO_TORCH)
    assert "warning: " in reported.stderr
    assert "does not say which agent it belongs to; only its indices are checked" in reported.stderr
    works(command("extract", agent), orders=NO_TORCH)


@pytest.mark.parametrize(("script", "name"), [("G", SUMMARY), ("extract", AVERAGES), ("extract", SUMMARY),
                                              ("average", GRADIENTS), ("W", CANDIDATES)])  # fmt: skip
def test_files_from_windows_work(script: str, name: str, agent: Path) -> None:
    """E25: CRLF, and a byte-order mark as Notepad writes it."""
    path = agent / name
    indented = json.dumps(read(path), indent=2)
    path.write_bytes(b"\xef\xbb\xbf" + indented.replace("\n", "\r\n").encode())
    works(command(script, agent), orders=NO_TORCH, process=name == CANDIDATES)


def test_weights_that_two_layers_share_in_the_file_are_changed_one_by_one(agent: Path) -> None:
    """E23: one storage behind two tensors gives what two copies give."""
    square = [8, 8]
    inputs = {f"i{n}": [((3 * n + k) % 7 - 3) / 2 for k in range(8)] for n in range(3)}
    (agent / "activation_inputs" / "clean_inputs.json").write_text(json.dumps(inputs))
    reported = []
    for shared in (True, False):
        state = mlp_state(width=8, hidden=(8, 8))
        weight = state["q_net.q_net.0.weight"]
        state["q_net.q_net.2.weight"] = weight if shared else torch.clone(weight)
        fields = data_fields(policy_kwargs={"net_arch": square}, observation_space=pickled(vector_space(8)))
        write_zip(agent / "agent.zip", data=fields, policy=state)
        works(command("W", agent, weights="q_net.0.weight[0,1]", values="4"), orders=NO_TORCH)
        reported.append(read(agent / RESULTS)["results"])
    assert reported[0] == reported[1]
    assert reported[0][0]["q_change_size"] > 0


def test_perturbing_twice_and_after_a_failure_gives_the_same_bytes(agent: Path) -> None:
    """E26: weights come back bit for bit, on the real network as well."""
    flags: dict[str, Flag] = {"dtype": "float32", "values": ["0", "-1"]}  # float32 takes the real network
    works(command("W", agent, **flags), process=True)
    first = (agent / RESULTS).read_bytes()
    refused(
        command("W", agent, **flags),
        4,
        os.strerror(errno.ENOSPC),
        agent,
        orders={"call": "fsync", "number": 1, "errno": errno.ENOSPC},
    )
    works(command("W", agent, **flags))
    assert (agent / RESULTS).read_bytes() == first


def test_a_type_that_is_wrong_in_a_file_that_is_not_read_does_no_harm(agent: Path) -> None:
    """The refusals above are of the fields that count."""
    with_field(CANDIDATES, "weight_targets", 0, "source", value=7)(agent)
    works(command("W", agent), orders=NO_TORCH)
