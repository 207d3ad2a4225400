"""Changed weights in numpy: against networks with that weight set, invariants, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from Neuron_Selection.errors import UsageError
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.agent.network import WeightChange
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from tests.made_agents import mlp_agent
from tests.raised import Parts, parts, raises


def read(folder: Path) -> tuple[PatchingExperiment, NumpyNetwork]:
    experiment = PatchingExperiment(folder, dtype="float64")
    return experiment, experiment.numpy_network


def random_changes(network: NumpyNetwork, count: int) -> list[WeightChange]:
    random, changes = np.random.default_rng(0), []
    for _ in range(count):
        linear = network.linears[int(random.integers(len(network.linears)))]
        row, column = int(random.integers(linear.n_outputs)), int(random.integers(linear.n_inputs))
        changes.append(
            WeightChange(parameter=f"{linear.name}.weight", row=row, column=column, value=float(random.normal()))
        )
    return changes


@pytest.mark.parametrize("activation", [torch.nn.ReLU, torch.nn.GELU])
@pytest.mark.parametrize("widths", [[20, 30, 12], [6], []])
def test_q_values_are_those_of_a_network_whose_weight_was_set(
    widths: list[int], activation: type, tmp_path: Path
) -> None:
    experiment, network = read(mlp_agent(tmp_path / "agent", net_arch=widths, activation_fn=activation))
    observations = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)
    observations[::2, 1:3] = 0.0  # weights that read nothing
    changes = random_changes(network, 80)
    found = network.scores_of_changes(observations, changes)
    q_net = experiment.torch_network.module
    for change, q_values in zip(changes, found, strict=True):
        weight = q_net.get_parameter(change.parameter).data
        kept = weight[change.row, change.column].item()
        weight[change.row, change.column] = change.value
        expected = experiment.q_values(observations)
        weight[change.row, change.column] = kept
        assert np.abs(q_values - expected).max() <= 1e-12 * np.abs(expected).max()


def test_a_weight_set_to_what_it_is_changes_nothing(tmp_path: Path) -> None:
    experiment, network = read(mlp_agent(tmp_path / "agent", net_arch=[20, 12], activation_fn=torch.nn.Tanh))
    observations = np.random.default_rng(1).normal(size=(70, 4)).astype(np.float32)
    same = []
    for change in random_changes(network, 50):
        tensor = experiment.agent_zip.tensors[f"q_net.{change.parameter}"]
        value = float(tensor[change.row, change.column])
        same.append(WeightChange(parameter=change.parameter, row=change.row, column=change.column, value=value))
    found = network.scores_of_changes(observations, same)
    assert (found == network.scores(observations)).all()


def test_order_and_grouping_change_no_bit(tmp_path: Path) -> None:
    _, network = read(mlp_agent(tmp_path / "agent", net_arch=[20, 12]))
    observations = np.random.default_rng(1).normal(size=(90, 4)).astype(np.float32)
    changes = random_changes(network, 60)
    together = network.scores_of_changes(observations, changes)
    backwards = network.scores_of_changes(observations[::-1], changes[::-1])
    assert np.array_equal(together, backwards[::-1, ::-1])
    assert np.array_equal(network.scores_of_changes(observations[4:5], changes), together[:, 4:5])


@pytest.mark.parametrize(
    ("parameter", "row", "column", "error"),
    [
        (
            "q_net.1.weight",
            0,
            0,
            parts(
                field="weight",
                found="'q_net.1.weight'",
                expected="one of q_net.0.weight, q_net.2.weight, q_net.4.weight",
            ),
        ),
        (
            "q_net.0.weight",
            8,
            0,
            parts(field="weight q_net.0.weight", found="row 8, column 0", expected="rows 0..7, columns 0..3"),
        ),
        (
            "q_net.2.weight",
            0,
            -1,
            parts(field="weight q_net.2.weight", found="row 0, column -1", expected="rows 0..5, columns 0..7"),
        ),
    ],
)
def test_a_weight_that_is_not_there_is_refused(
    parameter: str, row: int, column: int, error: Parts, tmp_path: Path
) -> None:
    _, network = read(mlp_agent(tmp_path / "agent"))
    change = WeightChange(parameter=parameter, row=row, column=column, value=0.0)
    with raises(UsageError, **error):
        network.scores_of_changes(np.zeros((2, 4), np.float32), [change])
