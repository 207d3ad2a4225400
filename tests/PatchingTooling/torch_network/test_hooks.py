"""Hooks: outputs observed or edited for one forward pass, and no hook left afterwards whatever happened."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from Neuron_Selection.errors import CheckError, SuiteError
from Neuron_Selection.PatchingTooling.agent.interventions import Edit
from Neuron_Selection.PatchingTooling.agent.layers import Layer
from Neuron_Selection.PatchingTooling.torch_network.hooks import observed, patched, recorded
from tests.raised import raises


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))


def hook_count(net: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in net.modules())


def layer(width: int) -> Layer:
    return Layer(
        name="0", kind="Linear", role="other", width=width, shape=(width,), neuron_axis=1, is_cut=True, is_default=True
    )


def replaced(values: torch.Tensor, neurons: tuple[int, ...] | Literal["all"]) -> dict[str, Edit]:
    return {"0": Edit(neurons=neurons, operation="replace", values=(values.numpy(),))}


LAYERS = {"0": layer(4)}


def test_what_is_recorded_is_not_overwritten_by_an_in_place_activation() -> None:
    net, rows = small_net(), torch.randn(5, 3)
    with torch.no_grad(), recorded(net, ["0", "1"]) as outputs:
        net(rows)
    expected = nn.functional.linear(rows, net[0].weight, net[0].bias)
    assert (expected < 0).any()
    assert torch.equal(outputs["0"], expected)
    assert torch.equal(outputs["1"], expected.clamp(min=0))


def test_patching_changes_the_named_neurons_only_and_counts_what_changed() -> None:
    net, rows = small_net(), torch.randn(5, 3)
    with torch.no_grad(), recorded(net, ["0"]) as before:
        net(rows)
    values = before["0"].clone()
    values[:, 2] += 1.0
    values[3, 1] = 7.0
    with torch.no_grad(), patched(net, replaced(values, (1, 2)), layers=LAYERS) as changed:
        with recorded(net, ["0"]) as after:
            net(rows)
    assert torch.equal(after["0"][:, [0, 3]], before["0"][:, [0, 3]])
    assert torch.equal(after["0"][:, [1, 2]], values[:, [1, 2]])
    assert changed["0"].tolist() == [1, 1, 1, 2, 1]


def test_patching_never_writes_into_the_source() -> None:
    net, rows = small_net(), torch.randn(5, 3)
    values = torch.randn(5, 4)
    kept = values.clone()
    with torch.no_grad(), patched(net, replaced(values, "all"), layers=LAYERS):
        net(rows)
    assert torch.equal(values, kept)


def test_channels_of_a_convolution_are_patched_on_axis_1() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU())
    rows, values = torch.randn(2, 1, 4, 4), torch.randn(2, 3, 3, 3)
    with torch.no_grad(), patched(net, replaced(values, (1,)), layers={"0": layer(3)}) as changed:
        with recorded(net, ["0"]) as after:
            net(rows)
    assert torch.equal(after["0"][:, 1], values[:, 1])
    assert not torch.equal(after["0"][:, 0], values[:, 0])
    assert changed["0"].tolist() == [9, 9]


def test_hooks_go_and_those_of_before_stay_after_an_error_inside() -> None:
    net = small_net()
    seen: list[str] = []
    net[0].register_forward_hook(lambda *_: seen.append("mine"))
    with pytest.raises(ZeroDivisionError), recorded(net, ["0", "1"]):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), patched(net, replaced(torch.zeros(1, 4), "all"), layers=LAYERS):
        raise ZeroDivisionError
    assert hook_count(net) == 1
    net(torch.zeros(1, 3))
    assert seen == ["mine"]


def test_a_half_done_set_up_is_undone() -> None:
    net = small_net()
    with pytest.raises(AttributeError), observed(net, ["0", "no_such_layer"], lambda *_: None):
        pass
    assert hook_count(net) == 0


def test_a_layer_that_does_not_fire_is_an_error() -> None:
    net = small_net()
    with (
        raises(
            CheckError,
            file="self-check hooks_fired failed",
            field="layer 0",
            found="0 firings in one forward pass",
            expected="1",
        ),
        recorded(net, ["0"]),
    ):
        pass


def test_a_layer_that_fires_twice_is_an_error() -> None:
    net = small_net()
    with (
        raises(
            CheckError,
            file="self-check hooks_fired failed",
            field="layer 0",
            found="2 firings in one forward pass",
            expected="1",
        ),
        torch.no_grad(),
        recorded(net, ["0"]),
    ):
        net(torch.zeros(1, 3))
        net(torch.zeros(1, 3))


@pytest.mark.parametrize("shape", [(2, 4), (5, 1), (5, 3), (1, 3), (5, 4, 1)])
def test_values_of_another_shape_are_an_error_and_not_broadcast(shape: tuple[int, ...]) -> None:
    net = small_net()
    with raises(SuiteError, field="layer 0", found=f"values of {shape}", expected="(5, 4)"), torch.no_grad():
        with patched(net, replaced(torch.zeros(shape), "all"), layers=LAYERS):
            net(torch.zeros(5, 3))
    assert hook_count(net) == 0


def test_one_row_of_values_serves_every_row_of_the_pass() -> None:
    net, rows, values = small_net(), torch.randn(5, 3), torch.randn(1, 4)
    with torch.no_grad(), patched(net, replaced(values, (0, 3)), layers=LAYERS), recorded(net, ["0"]) as after:
        net(rows)
    assert torch.equal(after["0"][:, [0, 3]], values[:, [0, 3]].expand(5, 2))
