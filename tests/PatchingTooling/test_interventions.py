"""Interventions as values: both networks agree with the slow reference for every operation; their text form."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

from Neuron_Selection.errors import UsageError
from Neuron_Selection.PatchingTooling import OpenedAgent
from Neuron_Selection.PatchingTooling.agent.interventions import (
    Edit,
    Intervention,
    adding,
    alike,
    clamping,
    format_intervention,
    replacing,
    scaling,
)
from tests import slow_reference
from tests.made_agents import mlp_agent, new_dqn, save_dqn
from tests.raised import raises

WIDTHS = {"q_net.0": 8, "q_net.1": 8, "q_net.2": 6, "q_net.3": 6, "q_net.4": 3}


def rows(count: int, width: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, width)).astype(np.float32)


def vectors(layers: list[str], count: int = 1) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    return {layer: random.normal(size=(count, WIDTHS[layer])) for layer in layers}


TWO = {"q_net.0": (1, 5), "q_net.3": "all"}
INTERVENTIONS: dict[str, Intervention] = {
    "replace, a row each": replacing(TWO, vectors(list(TWO), 5)),
    "replace, one row for all": replacing({"q_net.1": (0, 7), "q_net.2": (2,)}, vectors(["q_net.1", "q_net.2"])),
    "add": adding({"q_net.0": "all", "q_net.1": (3,), "q_net.4": (0,)}, vectors(["q_net.0", "q_net.1", "q_net.4"])),
    "scale": scaling({"q_net.1": (0, 1, 2), "q_net.2": "all"}, -1.5),
    "clamp": clamping({"q_net.0": "all", "q_net.3": (0, 4)}, -0.1, 0.2),
    "of the output": scaling({"q_net.4": "all"}, 0.5),
    "several operations": {**scaling({"q_net.0": (2,)}, 3.0), **adding({"q_net.3": "all"}, vectors(["q_net.3"], 5))},
}


def by_definition(weights: list[tuple[np.ndarray, np.ndarray]], row: int, observation: np.ndarray, what: Intervention):
    """One input in plain numpy, layer after layer, each edited where it is computed."""
    values = observation.astype(np.float64)
    for number, (weight, bias) in enumerate(weights):
        values = edited(f"q_net.{2 * number}", weight.astype(np.float64) @ values + bias, row, what)
        if number < len(weights) - 1:
            values = edited(f"q_net.{2 * number + 1}", np.maximum(values, 0.0), row, what)
    return values


def edited(layer: str, output: np.ndarray, row: int, what: Intervention) -> np.ndarray:
    if layer not in what:
        return output
    edit = what[layer]
    values = [array[row if len(array) > 1 else 0] for array in edit.values]
    new = {
        "replace": lambda: values[0],
        "add": lambda: output + values[0],
        "scale": lambda: output * values[0],
        "clamp": lambda: np.minimum(np.maximum(output, values[0]), values[1]),
    }[edit.operation]()
    result = output.copy()
    for neuron in range(len(output)) if edit.neurons == "all" else edit.neurons:
        result[neuron] = np.broadcast_to(new, output.shape)[neuron]
    return result


@pytest.mark.parametrize("name", INTERVENTIONS)
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_both_networks_give_what_the_definition_gives(name: str, engine: str, tmp_path: Path) -> None:
    agent = OpenedAgent(mlp_agent(tmp_path, net_arch=[8, 6]), engine=engine, dtype="float64")
    tensors = agent.agent_zip.tensors
    weights = [(tensors[f"q_net.q_net.{n}.weight"], tensors[f"q_net.q_net.{n}.bias"]) for n in (0, 2, 4)]
    observations, what = rows(5), INTERVENTIONS[name]
    run = agent.network.patched(observations, what)
    expected = np.stack([by_definition(weights, row, one, what) for row, one in enumerate(observations)])
    assert np.abs(run.scores - expected).max() <= 1e-14
    assert np.abs(expected - agent.network.scores(observations)).max() > 1e-3
    assert set(run.changed) == set(what)
    (many, other) = agent.network.patched_many(observations, [what, scaling(dict.fromkeys(what, ()), 0.0)])
    assert np.abs(many - expected).max() <= 1e-14
    assert np.array_equal(other, agent.network.scores(observations))


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_both_networks_count_the_same_changes(name: str, tmp_path: Path) -> None:
    folder = mlp_agent(tmp_path, net_arch=[8, 6])
    runs = [
        OpenedAgent(folder, engine=engine, dtype="float64").network.patched(rows(5), INTERVENTIONS[name]).changed
        for engine in ("numpy", "torch")
    ]
    for layer, counts in runs[0].items():
        assert counts.tolist() == runs[1][layer].tolist(), layer


def test_channels_of_a_convolution_can_be_scaled_and_steered(tmp_path: Path) -> None:
    space = spaces.Box(0, 255, (1, 36, 36), np.uint8)
    agent = OpenedAgent(save_dqn(tmp_path, new_dqn(space, policy="CnnPolicy", net_arch=[4])), dtype="float64")
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 36, 36), np.uint8)
    layer = "features_extractor.cnn.1"
    own = agent.network.activations(images, [layer])[layer]
    halved, shifted = own.copy(), own.copy()
    halved[:, [2, 7]] *= 0.5
    shifted[:, 3] += 1.25
    vector = np.full((1, *own.shape[1:]), 1.25)
    for what, outputs in (
        (scaling({layer: (2, 7)}, 0.5), halved),
        (adding({layer: (3,)}, {layer: vector}), shifted),
    ):
        expected = agent.network.run_on(layer, outputs, images)
        assert np.abs(agent.network.patched(images, what).scores - expected).max() <= 1e-12
        assert np.abs(agent.network.patched_many(images, [what])[0] - expected).max() <= 1e-12


def test_an_intervention_is_a_value_that_can_be_pickled_and_printed() -> None:
    what = INTERVENTIONS["several operations"]
    again = pickle.loads(pickle.dumps(what))
    assert format_intervention(again) == format_intervention(what) == "scale q_net.0:2, add q_net.3:all"
    assert np.array_equal(again["q_net.3"].values[0], what["q_net.3"].values[0])
    assert format_intervention(replacing({"q_net.0": (5, 6, 7)}, vectors(["q_net.0"]))) == "replace q_net.0:5-7"


def test_what_differs_in_its_neurons_only_runs_together() -> None:
    source, other = vectors(["q_net.0"]), vectors(["q_net.0"])
    several = [
        replacing({"q_net.0": (1,)}, source),
        replacing({"q_net.0": (1,)}, other),
        replacing({"q_net.0": "all"}, source),
        scaling({"q_net.0": (1,)}, 2.0),
    ]
    assert alike(several) == [[0, 2], [1], [3]]


def test_an_unknown_operation_is_refused() -> None:
    with raises(UsageError, field="operation", found="'swap'", expected="one of replace, add, scale, clamp"):
        Edit(neurons="all", operation="swap", values=())


def test_the_slow_reference_agrees_with_the_definition_here(tmp_path: Path) -> None:
    agent = OpenedAgent(mlp_agent(tmp_path, net_arch=[8, 6]), engine="numpy")
    weights = slow_reference.mlp_weights(agent.agent_zip.tensors)
    source = vectors(["q_net.1"])
    held = {"q_net.1": {2: float(source["q_net.1"][0, 2])}}
    expected = slow_reference.run_one(weights, rows(1)[0], held)["q_net.4"]
    run: Callable[..., np.ndarray] = lambda what: agent.network.patched(rows(1), what).scores[0]  # noqa: E731
    assert np.abs(run(replacing({"q_net.1": (2,)}, source)) - expected).max() <= 1e-14
