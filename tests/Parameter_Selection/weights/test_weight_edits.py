"""Weights of the real network change inside a block and are restored bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from Neuron_Selection.errors import UsageError
from Neuron_Selection.PatchingTooling import OpenedAgent
from Neuron_Selection.PatchingTooling.agent.network import WeightChange
from Neuron_Selection.PatchingTooling.torch_network.weight_edits import weights_changed
from Parameter_Selection.PerturbationTooling.weights.targets import WeightTarget, changes_of
from SaliencyTooling.gradient_network import of_the_maximum
from tests.interventions import patched
from tests.made_agents import mlp_agent
from tests.raised import Parts, parts, raises


def change(parameter: str, row: int, column: int, value: float) -> WeightChange:
    return WeightChange(parameter=parameter, row=row, column=column, value=value)


def bits(net: nn.Module) -> dict[str, bytes]:
    return {name: tensor.detach().numpy().tobytes() for name, tensor in net.state_dict().items()}


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def test_inside_the_block_exactly_the_named_weights_differ_and_after_it_none(net: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        net[0].weight[0, 0] = -0.0  # its sign bit must come back too
    stored = bits(net)
    with weights_changed(
        net, [change("0.weight", 0, 0, 2.5), change("0.weight", 3, 1, -1.0), change("2.weight", 2, 4, 0.1)]
    ):
        assert net[0].weight[0, 0] == 2.5
        assert net[0].weight[3, 1] == -1.0
        assert net[2].weight[2, 4] == torch.tensor(0.1)
        differ = {name: int((tensor != before[name]).sum()) for name, tensor in net.state_dict().items()}
        assert differ == {"0.weight": 3 - 1, "0.bias": 0, "2.weight": 1, "2.bias": 0}
    assert bits(net) == stored
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())


def test_an_error_in_the_block_restores_every_weight(net: nn.Module) -> None:
    stored = bits(net)
    with pytest.raises(RuntimeError, match="in the middle"):
        with weights_changed(net, [change("0.weight", 1, 1, 9.0)]):
            assert bits(net) != stored
            raise RuntimeError("in the middle")
    assert bits(net) == stored


def test_a_set_up_that_fails_half_way_restores_what_was_written(
    net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    from Neuron_Selection.PatchingTooling.torch_network import weight_edits

    stored, write, calls = bits(net), weight_edits._write, []

    def failing(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(weight_edits, "_write", failing)
    with pytest.raises(KeyboardInterrupt):
        with weights_changed(net, [change("0.weight", 1, 1, 9.0), change("2.weight", 0, 0, 9.0)]):
            pass
    assert len(calls) == 4
    assert bits(net) == stored


def test_a_column_of_a_convolution_is_the_flat_index_in_its_row() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, (2, 4)))
    stored = bits(net)
    with weights_changed(net, [change("0.weight", 2, 13, 7.0)]):
        assert net[0].weight[2].flatten()[13] == 7.0
        assert net[0].weight[2, 1, 1, 1] == 7.0
    assert bits(net) == stored


def test_nested_blocks_come_back_in_order(net: nn.Module) -> None:
    stored = bits(net)
    with weights_changed(net, [change("0.weight", 0, 0, 1.0)]):
        middle = bits(net)
        with weights_changed(net, [change("0.weight", 0, 0, 2.0)]):
            assert net[0].weight[0, 0] == 2.0
        assert bits(net) == middle
    assert bits(net) == stored


@pytest.mark.parametrize(
    ("edits", "error"),
    [
        ([], parts(field="weights", problem="at least one weight to change is required")),
        ([change("1.weight", 0, 0, 1.0)], parts(names=["1.weight[0,0]", "0.weight, 2.weight"])),
        ([change("0.bias", 0, 0, 1.0)], parts(names=["0.bias[0,0]", "0.weight, 2.weight"])),
        (
            [change("0.weight", 5, 0, 1.0)],
            parts(field="weight 0.weight[5,0]", problem="index out of range", expected="rows 0..4, columns 0..3"),
        ),
        (
            [change("0.weight", 0, 4, 1.0)],
            parts(field="weight 0.weight[0,4]", problem="index out of range", expected="rows 0..4, columns 0..3"),
        ),
        (
            [change("0.weight", -1, 0, 1.0)],
            parts(field="weight 0.weight[-1,0]", problem="index out of range", expected="rows 0..4, columns 0..3"),
        ),
        (
            [change("0.weight", 0, 0, float("nan"))],
            parts(field="weight 0.weight", found="NaN or infinity", expected="finite numbers"),
        ),
        (
            [change("0.weight", 0, 0, 1e39)],
            parts(field="weight 0.weight", found="NaN or infinity", expected="finite numbers"),
        ),
        (
            [change("0.weight", 0, 0, 1.0), change("0.weight", 0, 0, 2.0)],
            parts(problem="weight 0.weight[0,0] is given twice"),
        ),
        (
            [change("0.weight", 0, 0, 1.0), change("2.weight", 9, 0, 2.0)],
            parts(field="weight 2.weight[9,0]", problem="index out of range", expected="rows 0..2, columns 0..4"),
        ),
    ],
)
def test_a_wrong_edit_is_refused_before_anything_is_written(
    net: nn.Module, edits: list[WeightChange], error: Parts
) -> None:
    stored = bits(net)
    with raises(UsageError, **error):
        with weights_changed(net, edits):
            pytest.fail("the block must not run")
    assert bits(net) == stored


@pytest.mark.parametrize(("net_arch", "activation"), [([8, 6], nn.ReLU), ([], nn.ReLU), ([5, 4, 7], nn.Tanh)])
def test_the_fast_sweep_is_the_definition_on_random_networks(
    tmp_path: Path, net_arch: list[int], activation: type[nn.Module]
) -> None:
    folder = mlp_agent(tmp_path / "agent", net_arch=net_arch, activation_fn=activation, seed=3)
    opened = OpenedAgent(folder, dtype="float64")
    fast, real = opened.numpy_network, opened.torch_network
    random = np.random.default_rng(1)
    for count in (1, 7, 70):
        observations = random.normal(size=(count, 4)).astype(np.float32)
        tensors = {name: array for name, array in opened.online_weights.items() if name.endswith(".weight")}
        targets = [
            WeightTarget(
                parameter=name, row=int(random.integers(array.shape[0])), column=int(random.integers(array.shape[1]))
            )
            for name, array in tensors.items()
        ]
        for value in (0.0, -1.0, 3.0):
            changes = changes_of(targets, tensors, "scale", value)
            alone = fast.scores_of_changes(observations, changes)
            defined = real.scores_of_changes(observations, changes)
            assert np.allclose(alone, defined, rtol=0, atol=1e-12)
            assert count < 70 or np.abs(alone - fast.scores(observations)).max() > 1e-6  # something moved
            together = []
            for network in (fast, real):
                with network.with_weights(changes) as changed:
                    together.append(changed.scores(observations))
            assert np.allclose(*together, rtol=0, atol=1e-12)
        wanted, weights = of_the_maximum(fast.scores(observations)), [(t.parameter, t.row, t.column) for t in targets]
        by_weight = [network.weight_gradients(observations, wanted, weights) for network in (fast, real)]
        assert np.allclose(*by_weight, rtol=0, atol=1e-12)
    magnitudes = [network.mean_gradients(observations, wanted, magnitudes=True) for network in (fast, real)]
    assert list(magnitudes[0]) == list(magnitudes[1]) == list(opened.online_weights)
    for name in tensors:
        assert np.allclose(magnitudes[0][name], magnitudes[1][name], atol=1e-12)


def test_zeroing_all_outgoing_weights_of_a_neuron_is_its_zero_ablation(tmp_path: Path) -> None:
    folder = mlp_agent(tmp_path / "agent")
    opened = OpenedAgent(folder, engine="numpy")
    observations = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    for neuron in range(8):
        outgoing = [WeightTarget(parameter="q_net.2.weight", row=row, column=neuron) for row in range(6)]
        changes = changes_of(outgoing, opened.online_weights, "scale", 0.0)
        with opened.network.with_weights(changes) as changed:
            zeroed = changed.scores(observations)
        source = {"q_net.1": np.zeros((9, 8))}
        ablated, _ = patched(opened.network, observations, source, {"q_net.1": (neuron,)})
        assert np.allclose(zeroed, ablated, rtol=0, atol=1e-14)
