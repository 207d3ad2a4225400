"""``TorchNetwork``: an agent's real network under forward hooks; it defines what every other computation must give.

A row's float32 result depends on the size of its batch. Every pass therefore has exactly 64 rows, the last one padded
with copies of its last row, so that the order and grouping of inputs never change a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn

from Neuron_Selection.FileFormats.agent_zip.tensors import weights_sha256
from Neuron_Selection.FileFormats.observations import Observations, count_of, rows_of
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.agent.custom_classes import CustomClasses
from Neuron_Selection.PatchingTooling.agent.heads import Head
from Neuron_Selection.PatchingTooling.agent.interventions import Intervention, replacing
from Neuron_Selection.PatchingTooling.agent.layers import LayerTable
from Neuron_Selection.PatchingTooling.agent.network import (
    Linear,
    PatchedRun,
    WeightChange,
    refuse_nonfinite_scores,
)
from Neuron_Selection.PatchingTooling.torch_network import many_patches, mixed_inputs
from Neuron_Selection.PatchingTooling.torch_network.custom_runs import errors_reported
from Neuron_Selection.PatchingTooling.torch_network.hooks import observed, patched, recorded
from Neuron_Selection.PatchingTooling.torch_network.weight_edits import weights_changed


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TorchNetwork:
    """See ``Network``.

    :param policy: SB3's policy, in eval mode on its device
    :param module: the part of it that gives the scores; hooks sit on it, and layer names count from it
    :param forward: observations as tensors to the outputs that scores are made of
    """

    policy: Any
    module: nn.Module
    forward: Callable[[Any], torch.Tensor]
    head: Head
    layers: LayerTable
    custom: CustomClasses
    dtype: str
    engine: str = "torch"

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        device: torch.device = self.policy.device
        return device

    @property
    def first_names(self) -> dict[str, str]:
        """Every name of a parameter to the first name it has, under which gradients are reported.

        They differ only if a custom class uses one parameter in several layers.
        """
        first: dict[int, str] = {}
        named = self.module.named_parameters(remove_duplicate=False)
        return {name: first.setdefault(id(parameter), name) for name, parameter in named}

    def tensors(self, observations: Observations, rows: np.ndarray) -> Any:
        """Some observations as the network takes them, after SB3's conversion."""
        return self.policy.obs_to_tensor(rows_of(observations, rows))[0]

    def scores_of(self, tensors: Any) -> torch.Tensor:
        """The scores of observations that are tensors already, (n, n_actions)."""
        scores: torch.Tensor = self.head.scores_from(self.forward(tensors))
        return scores

    def scores(self, observations: Observations) -> np.ndarray:
        """One score for each action, (n, n_actions), in the network's dtype."""
        return np.concatenate([self._forward(observations, rows)[:count] for rows, count in _chunks(observations)])

    def activations(self, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """Outputs of layers: layer to (n, *shape), in the network's dtype."""
        parts: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}
        for rows, count in _chunks(observations):
            with recorded(self.module, layers) as outputs:
                self._forward(observations, rows)
            for layer, output in outputs.items():
                parts[layer].append(output[:count].cpu().numpy())
        return {layer: np.concatenate(arrays) for layer, arrays in parts.items()}

    def patched(self, observations: Observations, intervention: Intervention) -> PatchedRun:
        """The scores under one intervention, how many values it changed, and the critic's values.

        :raises CheckError: a layer that did not fire exactly once
        """
        scores: list[np.ndarray] = []
        values: dict[str, list[np.ndarray]] = {self.head.critic_output: []} if self.head.critic else {}

        def keep(layer: str, output: torch.Tensor) -> None:
            values[layer].append(output[:, 0].cpu().numpy())

        changed: dict[str, list[np.ndarray]] = {name: [] for name in intervention}
        for rows, count in _chunks(observations):
            edits = {name: edit.of_rows(rows) for name, edit in intervention.items()}
            with (
                patched(self.module, edits, layers=self.layers.layers) as counts,
                observed(self.module, values, keep),  # after the edits, whose hooks are called first
            ):
                scores.append(self._forward(observations, rows)[:count])
            for name in intervention:
                changed[name].append(counts[name][:count].cpu().numpy())
        scored = np.concatenate(scores)
        return PatchedRun(
            scores=scored,
            changed={name: np.concatenate(parts) for name, parts in changed.items()},
            values=np.concatenate(values[self.head.critic_output])[: len(scored)] if values else None,
        )

    def patched_many(
        self,
        observations: Observations,
        interventions: Sequence[Intervention],
        *,
        target_run: dict[str, np.ndarray] | None = None,
    ) -> np.ndarray:
        """The scores under each of many interventions that edit the same layers, (n_interventions, n, n_actions)."""
        return many_patches.scores_of_interventions(self, observations, interventions, target_run=target_run or {})

    def patched_pairs(
        self,
        observations: Observations,
        interventions: Sequence[Intervention],
        which: np.ndarray,
        rows: np.ndarray,
    ) -> np.ndarray:
        """The scores of pairs of an intervention and an observation, (n_pairs, n_actions)."""
        return many_patches.scores_of_pairs(self, observations, interventions, which, rows)

    def reusable_activations(self, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """Outputs in the unchanged run of ``layers``, and of others that ``patched_many`` can start from."""
        return self.activations(observations, many_patches.reusable_layers(self, layers))

    def run_on(self, layer: str, outputs: np.ndarray, observations: Observations) -> np.ndarray:
        """The scores if a layer has these outputs, (n, n_actions)."""
        return many_patches.scores_from(self, layer, outputs, observations)

    def outputs_given(self, reached: str, layer: str, outputs: np.ndarray, observations: Observations) -> np.ndarray:
        """What a later layer outputs if a layer has these outputs, (n, *shape), under hooks."""
        whole, parts = replacing({layer: "all"}, {layer: outputs})[layer], []
        for rows, count in _chunks(observations):
            edit = {layer: whole.of_rows(rows)}
            with patched(self.module, edit, layers=self.layers.layers), recorded(self.module, [reached]) as found:
                self._forward(observations, rows)
            parts.append(found[reached][:count].cpu().numpy())
        return np.concatenate(parts)

    def mixed_outputs(
        self, reached: str, layer: str, mask: np.ndarray, outputs: np.ndarray, others: np.ndarray
    ) -> np.ndarray | None:
        """What the next layer outputs if each of its neurons reads its own mixture of two runs, (n, *shape)."""
        return mixed_inputs.mixed_outputs(self, reached, layer, mask=mask, outputs=outputs, others=others)

    def gradients(
        self,
        observations: Observations,
        score_weights: np.ndarray,
        *,
        dtype: np.dtype | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Each input's gradients in turn, by autograd in eval mode; no ``.grad`` is touched.

        A parameter without any influence has zeros.
        """
        names, parameters = zip(*self.module.named_parameters(), strict=True)
        for row in range(count_of(observations)):
            with torch.enable_grad():
                wanted = self._weighted(observations, score_weights, np.array([row]))
                found = torch.autograd.grad(wanted, parameters, allow_unused=True)
            yield {
                name: (torch.zeros_like(parameter) if gradient is None else gradient).detach().cpu().numpy()
                for name, parameter, gradient in zip(names, parameters, found, strict=True)
            }

    def mean_gradients(
        self, observations: Observations, score_weights: np.ndarray, *, magnitudes: bool
    ) -> dict[str, np.ndarray]:
        """Mean over inputs of every parameter's gradient or its absolute value, float64."""
        sums: dict[str, np.ndarray] = {}
        for one in self.gradients(observations, score_weights):
            for name, array in one.items():
                term = np.abs(array.astype(np.float64)) if magnitudes else array.astype(np.float64)
                sums[name] = sums[name] + term if name in sums else term
        return {name: array / len(score_weights) for name, array in sums.items()}

    def layer_gradients(
        self, observations: Observations, score_weights: np.ndarray, layers: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Gradients with respect to outputs of layers: layer to (n, *shape)."""
        parts: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}
        for rows, count in _chunks(observations):
            outputs: dict[str, torch.Tensor] = {}

            def keep(layer: str, output: torch.Tensor, outputs: dict[str, torch.Tensor] = outputs) -> torch.Tensor:
                outputs[layer] = output if output.requires_grad else output.detach().requires_grad_()
                return outputs[layer].clone()  # a layer after it may work in place

            with torch.enable_grad(), observed(self.module, layers, keep):
                wanted = self._weighted(observations, score_weights, rows)
                found = torch.autograd.grad(wanted, [outputs[layer] for layer in layers], allow_unused=True)
            for layer, gradient in zip(layers, found, strict=True):
                known = torch.zeros_like(outputs[layer]) if gradient is None else gradient
                parts[layer].append(known[:count].detach().cpu().numpy())
        return {layer: np.concatenate(arrays) for layer, arrays in parts.items()}

    def gradients_on(
        self, layer: str, outputs: np.ndarray, observations: Observations, score_weights: np.ndarray
    ) -> np.ndarray:
        """Gradients with respect to the outputs of a layer if it has these outputs, (n, *shape)."""
        parts = []
        for rows, count in _chunks(observations):
            values = torch.as_tensor(outputs[rows], dtype=getattr(torch, self.dtype), device=self.device)
            values.requires_grad_()
            replaced = partial(_replaced, values)
            with torch.enable_grad(), observed(self.module, [layer], replaced):
                wanted = self._weighted(observations, score_weights, rows)
                (found,) = torch.autograd.grad(wanted, values, materialize_grads=True)
            parts.append(found[:count].cpu().numpy())
        return np.concatenate(parts)

    def weight_gradients(
        self, observations: Observations, score_weights: np.ndarray, weights: Sequence[tuple[str, int, int]]
    ) -> np.ndarray:
        """Each input's gradients with respect to single weights, (n_weights, n)."""
        names = self.first_names
        rows = [
            [one[names[parameter]][row].flat[column] for parameter, row, column in weights]
            for one in self.gradients(observations, score_weights)
        ]
        found: np.ndarray = np.array(rows, np.float64).T
        return found

    def scores_of_changes(self, observations: Observations, changes: Sequence[WeightChange]) -> np.ndarray:
        """The scores under each change of a weight by itself, one after the other."""
        scores = []
        for change in changes:
            with self.with_weights([change]) as network:
                scores.append(network.scores(observations))
        return np.stack(scores)

    def changes_at_once(self, n_inputs: int) -> int:
        """One: each takes passes of its own."""
        return 1

    @contextmanager
    def with_weights(self, changes: Sequence[WeightChange]) -> Iterator[TorchNetwork]:
        """Inside the block, this network with all of these changes."""
        with weights_changed(self.module, changes):
            yield self

    def linears_after(self, layer: str) -> tuple[Linear, ...] | None:
        """None: the real network may be anything."""
        return None

    def read_by(self, layer: str) -> str:
        """The kind of the next module in the same ``nn.Sequential``; empty for a layer outside of any.

        Modules that merely fire one after the other need not read each other: a residual network adds in between.
        """
        parent = self.module.get_submodule(layer.rpartition(".")[0])
        modules = list(parent.children()) if type(parent) is nn.Sequential else []
        own = self.module.get_submodule(layer)
        readers = [type(after).__name__ for before, after in pairwise(modules) if before is own]
        return readers[0] if len(readers) == 1 else ""

    def fingerprint(self) -> str:
        """SHA-256 of the parameters and buffers in memory."""
        state = self.module.state_dict()
        return weights_sha256({name: tensor.detach().cpu().numpy() for name, tensor in state.items()})

    def policy_actions(self, observations: Observations) -> np.ndarray:
        """The deterministic actions of SB3's own policy, (n,), int64."""
        actions = []
        for rows, count in _chunks(observations):
            chosen, _ = self.policy.predict(rows_of(observations, rows), deterministic=True)
            actions.append(chosen[:count])
        return np.concatenate(actions)

    def _forward(self, observations: Observations, rows: np.ndarray) -> np.ndarray:
        with torch.no_grad(), errors_reported(self.custom, dtype=self.dtype):
            scores: np.ndarray = self.scores_of(self.tensors(observations, rows)).cpu().numpy()
        refuse_nonfinite_scores(scores)
        return scores

    def _weighted(self, observations: Observations, score_weights: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        """The sum that is differentiated, over some inputs."""
        scores = self.scores_of(self.tensors(observations, rows))
        weights = torch.as_tensor(score_weights[rows], dtype=scores.dtype, device=scores.device)
        return (scores * weights).sum()


def _replaced(values: torch.Tensor, _layer: str, _output: torch.Tensor) -> torch.Tensor:
    return values.clone()  # a layer after it may work in place


def _chunks(observations: Observations) -> Iterator[tuple[np.ndarray, int]]:
    """Row indices of each pass, always 64 of them, and how many of them are not padding."""
    total = count_of(observations)
    for start in range(0, total, CHUNK_ROWS):
        yield np.minimum(np.arange(start, start + CHUNK_ROWS), total - 1), min(CHUNK_ROWS, total - start)
