"""Many interventions on the same inputs in torch, several in one pass, by the shortest way that applies.

The rows of a pass are pairs of an intervention and an input, always 64 of them, so that grouping never changes a bit.
An intervention leaves everything before it unchanged. Where the rest of the network is a chain of modules, a pass
starts at the edited layer, from what the unchanged run computed there; where one channel of a convolution is edited,
only that channel's part of the next layer is computed anew. Hooks on the whole network define what both must give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from Neuron_Selection.FileFormats.observations import Observations, count_of
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.agent.heads import SHARED, Head
from Neuron_Selection.PatchingTooling.agent.interventions import OPERATIONS, Intervention, alike, replacing
from Neuron_Selection.PatchingTooling.agent.network import refuse_nonfinite_scores
from Neuron_Selection.PatchingTooling.torch_network.hooks import observed
from Neuron_Selection.PatchingTooling.torch_network.layer_probe import has_known_forward, is_of_sb3

if TYPE_CHECKING:
    from Neuron_Selection.PatchingTooling.torch_network.network import TorchNetwork

Pass: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""The scores, (64, n_actions), of pairs: which intervention, and which input, int64, (64,) each."""


def scores_of_interventions(
    network: TorchNetwork,
    observations: Observations,
    interventions: Sequence[Intervention],
    *,
    target_run: Mapping[str, np.ndarray],
) -> np.ndarray:
    """The scores under each of many interventions, (n_interventions, n, n_actions), in the network's dtype.

    :param target_run: outputs of the unchanged run that are known already, layer to (n, *shape)
    """
    found: dict[int, np.ndarray] = {}
    with torch.no_grad():
        for members in alike(interventions):
            batch = batch_of(network, observations, [interventions[place] for place in members], target_run=target_run)
            found |= dict(zip(members, _scores(batch), strict=True))
    scores = np.stack([found[place] for place in range(len(interventions))])
    refuse_nonfinite_scores(scores)
    return scores


def scores_of_pairs(
    network: TorchNetwork,
    observations: Observations,
    interventions: Sequence[Intervention],
    which: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """The scores of pairs of an intervention and an observation, (n_pairs, n_actions), in the network's dtype."""
    unchanged = network.scores(observations)
    scores = np.empty((len(which), unchanged.shape[1]), unchanged.dtype)
    group_of, within = np.zeros((2, len(interventions)), np.intp)
    groups = alike(interventions)
    for number, members in enumerate(groups):
        group_of[members], within[members] = number, np.arange(len(members))
    with torch.no_grad():
        for number, members in enumerate(groups):
            chosen = np.flatnonzero(group_of[which] == number)
            if not interventions[members[0]]:
                scores[chosen] = unchanged[rows[chosen]]
            elif len(chosen):
                batch = batch_of(network, observations, [interventions[place] for place in members])
                _run_pairs(batch, within[which[chosen]], rows[chosen], scores, chosen)
    refuse_nonfinite_scores(scores)
    return scores


def _run_pairs(batch: Batch, which: np.ndarray, rows: np.ndarray, scores: np.ndarray, places: np.ndarray) -> None:
    """Fill in the scores of pairs.

    :param places: (n_pairs,), the row of ``scores`` of each pair
    """
    run, one_each = _pass_of(batch)
    order = np.argsort(which, kind="stable")
    ends = np.flatnonzero(np.diff(which[order])) + 1 if one_each else np.zeros(0, np.intp)
    for group in np.split(order, ends):
        for start in range(0, len(group), CHUNK_ROWS):
            chosen = group[start : start + CHUNK_ROWS]
            filled = chosen[np.minimum(np.arange(CHUNK_ROWS), len(chosen) - 1)]
            pair = (torch.from_numpy(one[filled]).to(batch.network.device) for one in (which, rows))
            scores[places[chosen]] = run(*pair)[: len(chosen)].cpu().numpy()


def reusable_layers(network: TorchNetwork, layers: Sequence[str]) -> list[str]:
    """The layers whose outputs in the unchanged run serve interventions on ``layers``."""
    following = [next_with_weights(network, layer) for layer in layers] if len(layers) == 1 else []
    return [*layers, *(layer for layer in following if layer is not None)]


def scores_from(network: TorchNetwork, layer: str, outputs: np.ndarray, observations: Observations) -> np.ndarray:
    """The scores if a layer has these outputs, (n, n_actions): from there on if a chain follows, else under hooks.

    :param outputs: (n, *shape)
    """
    chain = chain_of(network.module, network.head)
    if layer not in chain:
        return network.patched(observations, replacing({layer: "all"}, {layer: outputs})).scores
    following = after(chain, layer)
    values = torch.from_numpy(np.ascontiguousarray(outputs)).to(network.device)
    scores = []
    with torch.no_grad():
        for start in range(0, len(outputs), CHUNK_ROWS):
            rows = np.minimum(np.arange(start, start + CHUNK_ROWS), len(outputs) - 1)
            ends = network.head.scores_from(run_through(following, values[rows]))
            scores.append(ends[: len(outputs) - start].cpu().numpy())
    return np.concatenate(scores)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """Interventions that differ in their neurons only, on the network's device.

    ``values``: layer to the values of its edit, (n or 1, *shape) each. ``masks``: layer to the edited neurons, 1 on
    every axis but the first and the neurons', (n_interventions, ...).
    """

    network: TorchNetwork
    observations: Observations
    interventions: Sequence[Intervention]
    values: Mapping[str, Sequence[torch.Tensor]]
    masks: Mapping[str, torch.Tensor]
    target_run: Mapping[str, np.ndarray]

    def edited(self, layer: str, output: torch.Tensor, which: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """A layer's output with the edits of each pair, a new tensor."""
        values = (value if len(value) == 1 else value.index_select(0, row) for value in self.values[layer])
        new = OPERATIONS[self.interventions[0][layer].operation](output, *values)
        return torch.where(self.masks[layer].index_select(0, which), new, output)

    def unchanged(self, layers: Sequence[str]) -> list[torch.Tensor]:
        """What layers output in the unchanged run, (n, *shape) each."""
        known = self.target_run
        if not all(layer in known for layer in layers):
            known = self.network.activations(self.observations, layers)
        return [torch.from_numpy(known[layer]).to(self.network.device) for layer in layers]

    def passes(self, *, one_each: bool) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        """The pairs, intervention by intervention, and how many of a pass's 64 are not padding.

        :param one_each: whether the pairs of one pass must share their intervention
        """
        n_inputs, count = count_of(self.observations), len(self.interventions)
        groups = [range(which, which + 1) for which in range(count)] if one_each else [range(count)]
        steps = torch.arange(CHUNK_ROWS, device=self.network.device)
        for group in groups:
            total = len(group) * n_inputs
            for start in range(0, total, CHUNK_ROWS):
                places = (start + steps).clamp_(max=total - 1)
                which = places.div(n_inputs, rounding_mode="floor")
                yield group[0] + which, places - which * n_inputs, min(CHUNK_ROWS, total - start)


def batch_of(
    network: TorchNetwork,
    observations: Observations,
    interventions: Sequence[Intervention],
    *,
    target_run: Mapping[str, np.ndarray] | None = None,
) -> Batch:
    """The batch of interventions that differ in their neurons only."""
    first, layers = interventions[0], network.layers.layers
    masks, values = {}, {}
    for name, edit in first.items():
        layer = layers[name]
        mask = np.zeros((len(interventions), layer.width), bool)
        for marked, intervention in zip(mask, interventions, strict=True):
            neurons = intervention[name].neurons
            marked[slice(None) if neurons == "all" else list(neurons)] = True
        shape = [len(mask)] + [1] * len(layer.shape)
        shape[layer.neuron_axis] = layer.width
        masks[name] = torch.from_numpy(mask.reshape(shape)).to(network.device)
        dtype = getattr(torch, network.dtype)
        values[name] = [
            torch.from_numpy(np.ascontiguousarray(array)).to(network.device, dtype=dtype) for array in edit.values
        ]
    return Batch(
        network=network,
        observations=observations,
        interventions=interventions,
        values=values,
        masks=masks,
        target_run=target_run or {},
    )


def _pass_of(batch: Batch) -> tuple[Pass, bool]:
    """The shortest pass that applies, and whether the pairs of one pass must share their intervention."""
    if is_of_single_channels(batch):
        return channel_pass(batch)
    return (chain_pass if is_in_chain(batch) else hooked_pass)(batch), False


def _scores(batch: Batch) -> np.ndarray:
    run, one_each = _pass_of(batch)
    parts = [run(which, row)[:count].cpu().numpy() for which, row, count in batch.passes(one_each=one_each)]
    return np.concatenate(parts).reshape(len(batch.interventions), count_of(batch.observations), -1)


def hooked_pass(batch: Batch) -> Pass:
    """Passes of the whole network under hooks."""

    def run(which: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        network = batch.network
        tensors = network.tensors(batch.observations, row.cpu().numpy())
        with observed(network.module, batch.values, lambda name, output: batch.edited(name, output, which, row)):
            return network.scores_of(tensors)

    return run


def chain_of(module: nn.Module, head: Head) -> dict[str, nn.Module]:
    """Layer to module, in the order in which they run, as far back from the scores as the network is a chain.

    The chain of a network that is not SB3's own is empty, since its ``forward`` may do anything.
    """
    if not has_known_forward(module):
        return {}
    shared = [SHARED] if head.critic and hasattr(module.mlp_extractor, "shared_net") else []
    parts = [*shared, head.mlp]
    if is_of_sb3(module.get_submodule("features_extractor"), "NatureCNN"):
        parts = ["features_extractor.cnn", "features_extractor.linear", *parts]
    chain = {f"{part}.{name}": layer for part in parts for name, layer in module.get_submodule(part).named_children()}
    return {**chain, head.output: module.get_submodule(head.output)} if head.output else chain


def after(chain: Mapping[str, nn.Module], layer: str) -> dict[str, nn.Module]:
    """The chain after one of its layers."""
    names = list(chain)
    return {name: chain[name] for name in names[names.index(layer) + 1 :]}


def run_through(modules: Mapping[str, nn.Module], values: torch.Tensor) -> torch.Tensor:
    """The output of the last of the modules."""
    for module in modules.values():
        values = module(values)
    return values


def is_in_chain(batch: Batch) -> bool:
    """Whether every edited layer is in the chain."""
    chain = chain_of(batch.network.module, batch.network.head)
    return all(name in chain for name in batch.values)


def chain_pass(batch: Batch) -> Pass:
    """Passes that start at the first edited layer of a chain."""
    head = batch.network.head
    chain = chain_of(batch.network.module, head)
    first = next(name for name in chain if name in batch.values)
    following = after(chain, first)
    (own,) = batch.unchanged([first])

    def run(which: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        output = batch.edited(first, own.index_select(0, row), which, row)
        for name, module in following.items():
            output = module(output)
            if name in batch.values:
                output = batch.edited(name, output, which, row)
        scores: torch.Tensor = head.scores_from(output)
        return scores

    return run


def next_with_weights(network: TorchNetwork, layer: str) -> str | None:
    """The layer that a channel feeds first; None where there are no channels, or the network is not a chain there."""
    chain = chain_of(network.module, network.head)
    if layer not in chain or len(network.layers.layers[layer].shape) != 3:
        return None
    skipped = (nn.Flatten,) if isinstance(chain[layer], nn.ReLU) else (nn.ReLU, nn.Flatten)
    following = after(chain, layer).items()
    name, module = next((name, module) for name, module in following if not isinstance(module, skipped))
    plain = isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros"
    return name if plain or isinstance(module, nn.Linear) else None


def is_of_single_channels(batch: Batch) -> bool:
    """Whether every intervention edits one channel of one layer that feeds a plain convolution or a Linear."""
    single = all([*map(len, (edit.neurons for edit in one.values()))] == [1] for one in batch.interventions)
    return single and next_with_weights(batch.network, next(iter(batch.values))) is not None


def channel_pass(batch: Batch) -> tuple[Pass, bool]:
    """Passes that add the change of one channel to what the next layer computed, and run the rest in full.

    :return: the pass, and whether the pairs of one pass must share their intervention
    """
    (layer,) = batch.values
    next_layer = next_with_weights(batch.network, layer)
    assert next_layer is not None  # noqa: S101 - checked by is_of_single_channels
    head = batch.network.head
    chain = chain_of(batch.network.module, head)
    module, rest = chain[next_layer], after(chain, next_layer)
    own, reached = batch.unchanged([layer, next_layer])
    values = OPERATIONS[batch.interventions[0][layer].operation](own, *batch.values[layer])
    delta = values - own if isinstance(chain[layer], nn.ReLU) else values.relu() - own.relu()
    channels = batch.masks[layer].flatten(1).int().argmax(dim=1)  # (n_interventions,)

    def run_convolution(which: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        channel = channels.index_select(0, which)
        added = _convolved(module, by_channel.index_select(0, channel), delta[row, channel, None])
        scores: torch.Tensor = head.scores_from(
            run_through(rest, added.view(len(row), *reached.shape[1:]).add_(reached.index_select(0, row)))
        )
        return scores

    def run_linear(which: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        channel = int(channels[which[0]])
        changing = delta.select(1, channel).index_select(0, row).flatten(1)
        scores: torch.Tensor = head.scores_from(
            run_through(rest, torch.addmm(reached.index_select(0, row), changing, by_channel[channel]))
        )
        return scores

    if isinstance(module, nn.Linear):
        by_channel = module.weight.T.reshape(delta.shape[1], -1, module.out_features)  # (channels, places, width)
        return run_linear, True
    by_channel = module.get_parameter("weight").transpose(0, 1).flatten(2)  # (channels, channels out, kernel)
    return run_convolution, False


def _convolved(convolution: nn.Module, kernels: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Images of one channel, each convolved with kernels of its own; a row's bits depend on nothing but the row.

    :param kernels: (rows, channels out, kernel)
    :param images: (rows, 1, height, width)
    :return: (rows, channels out, places)
    """
    assert isinstance(convolution, nn.Conv2d)  # noqa: S101 - as next_with_weights chose it
    return torch.bmm(kernels, functional.unfold(images, **{k: getattr(convolution, k) for k in _GEOMETRY}))


_GEOMETRY = ("kernel_size", "dilation", "padding", "stride")
