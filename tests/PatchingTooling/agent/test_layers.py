"""The layers of a network: names, widths, roles, axes; and the names that are none."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from Neuron_Selection.errors import InputError, UsageError
from Neuron_Selection.PatchingTooling import PatchingExperiment
from Neuron_Selection.PatchingTooling.agent.heads import DQN
from Neuron_Selection.PatchingTooling.agent.layers import LayerTable
from Neuron_Selection.PatchingTooling.torch_network.layer_probe import probe_layers
from tests.made_agents import mlp_agent, new_dqn, save_dqn, vector_space
from tests.raised import Parts, parts, raises


def probed(net: nn.Module, observations: torch.Tensor) -> LayerTable:
    return probe_layers(net, DQN, lambda: net(observations))


IMAGE = spaces.Box(0, 255, (3, 36, 40), np.uint8)


@pytest.mark.parametrize("net_arch", [[], [5], [8, 6], [4, 4, 4]])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.PReLU])
def test_the_table_from_the_zip_equals_the_one_found_by_running(
    net_arch: list[int], activation: type[nn.Module], tmp_path: Path
) -> None:
    experiment = PatchingExperiment(mlp_agent(tmp_path, net_arch=net_arch, activation_fn=activation))
    cheap, probed = experiment.layer_table, experiment.torch_network.layers
    assert cheap is not probed
    assert cheap.layers == probed.layers
    assert cheap.refused == {name: probed.refused[name] for name in cheap.refused}
    assert {name for name in probed.refused if name.endswith((".weight", ".bias"))} <= set(cheap.refused)


def test_an_mlp_has_pre_and_post_activations_under_their_names(tmp_path: Path) -> None:
    layers = PatchingExperiment(mlp_agent(tmp_path, net_arch=[8, 6])).layers()
    reported = [(layer.name, layer.kind, layer.role, layer.width) for layer in layers.values()]
    assert reported == [
        ("features_extractor.flatten", "Flatten", "other", 4),
        ("q_net.0", "Linear", "pre-activation", 8),
        ("q_net.1", "ReLU", "post-activation", 8),
        ("q_net.2", "Linear", "pre-activation", 6),
        ("q_net.3", "ReLU", "post-activation", 6),
        ("q_net.4", "Linear", "output", 3),
    ]
    assert [layer.name for layer in layers.values() if layer.is_default] == [f"q_net.{n}" for n in range(5)]


def test_a_convolutions_neurons_are_its_channels(tmp_path: Path) -> None:
    layers = PatchingExperiment(save_dqn(tmp_path, new_dqn(IMAGE, policy="CnnPolicy", net_arch=[7]))).layers()
    assert layers["features_extractor.cnn.0"].width == 32
    assert layers["features_extractor.cnn.0"].neuron_axis == 1
    assert layers["features_extractor.cnn.1"].shape == layers["features_extractor.cnn.0"].shape == (32, 8, 9)
    assert layers["features_extractor.cnn.1"].width == 32
    assert layers["features_extractor.linear.0"].width == 512
    assert all(layer.is_cut for layer in layers.values())
    assert not layers["features_extractor.cnn.6"].is_default


def test_the_parts_of_a_dict_extractor_are_no_cuts(tmp_path: Path) -> None:
    space = spaces.Dict({"a": vector_space(2), "b": vector_space(3)})
    layers = PatchingExperiment(save_dqn(tmp_path, new_dqn(space, policy="MultiInputPolicy"))).layers()
    assert not layers["features_extractor.extractors.a"].is_cut
    assert layers["q_net.0"].is_cut


class Odd(nn.Module):
    """A network with layers that fire never, twice, and with no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.relu = nn.ReLU()
        self.unused = nn.Linear(4, 4)
        self.memory = nn.LSTM(4, 5, batch_first=True)
        self.positions = nn.Conv1d(4, 6, 1)
        self.tanh = nn.Tanh()
        self.last = nn.Linear(5, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        hidden = self.relu(self.relu(self.first(rows)))
        self.tanh(self.positions(hidden[:, :, None].expand(-1, -1, 7)))
        return self.last(self.memory(hidden[:, None])[0][:, 0])


def test_layers_that_fire_never_or_twice_are_left_out_by_name() -> None:
    table = probed(Odd(), torch.zeros(2, 3))
    assert list(table.layers) == ["first", "positions", "tanh", "last"]
    assert set(table.left_out) == {"relu", "unused", "memory"}
    assert table.layers["tanh"].neuron_axis == 1
    assert table.layers["tanh"].width == 6
    with raises(UsageError, field="layer 'relu'", names=["2 times", "first, positions, tanh, last"]):
        table.chosen(["relu"])
    with raises(
        UsageError,
        file="patch spec",
        field="layer 'unused'",
        problem=re.compile("it never fires .*"),
        names=["first (4), positions (6), tanh (6), last (2)"],
    ):
        table.resolve("unused:1")
    with raises(UsageError, file="patch spec", field="layer 'memory'", problem=re.compile("its output .*")):
        table.resolve({"memory": "all"})


def test_a_norm_over_whole_maps_keeps_the_channels_as_neurons() -> None:
    net = nn.Sequential(nn.Conv2d(3, 6, 2), nn.LayerNorm([6, 4, 5]), nn.ELU(), nn.Flatten(2), nn.LayerNorm(20))
    layers = probed(net, torch.zeros(2, 3, 5, 6)).layers
    assert {name: (layer.width, layer.neuron_axis) for name, layer in layers.items()} == {
        "0": (6, 1),
        "1": (6, 1),
        "2": (6, 1),
        "3": (20, 2),
        "4": (20, 2),
    }


def test_probing_leaves_no_hooks() -> None:
    net = Odd()
    probed(net, torch.zeros(2, 3))
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("q_net.9:1", parts(file="patch spec", names=["'q_net.9'"])),
        ("q_net:1", parts(file="patch spec", field="layer 'q_net'", names=["q_net.4 (3)"])),
        (
            "q_net.0.weight:1",
            parts(
                file="patch spec",
                field="layer 'q_net.0.weight'",
                problem=re.compile("a parameter; its layer is q_net.0; .*"),
            ),
        ),
        ("q_net_target.0:1", parts(file="patch spec", names=["'q_net_target.0'"])),
        ("q_net.0:8", parts(file="patch spec", found="neuron 8 in q_net.0", expected="0..7")),
        ("q_net.q_net.0:1;q_net.0:2", parts(file="patch spec", names=["'q_net.0'", "twice"])),
    ],
)
def test_names_and_indices_that_are_not_there_are_refused(spec: str, error: Parts, tmp_path: Path) -> None:
    with raises(UsageError, **error) as caught:
        PatchingExperiment(mlp_agent(tmp_path)).layer_table.resolve(spec)
    assert caught.value.detail[0].strip() == spec


def test_an_alias_resolves_to_the_canonical_name_in_the_order_of_firing(tmp_path: Path) -> None:
    table = PatchingExperiment(mlp_agent(tmp_path)).layer_table
    resolved = table.resolve("q_net.2:all;q_net.q_net.0:3,1")
    assert list(resolved.items()) == [("q_net.0", (3, 1)), ("q_net.2", "all")]


def test_an_unknown_layer_to_extract_names_the_nearest(tmp_path: Path) -> None:
    with raises(InputError, file="q_net", names=["'q_net.7'", "'q_net.4'"]):
        PatchingExperiment(mlp_agent(tmp_path)).layer_table.chosen(["q_net.7"])
