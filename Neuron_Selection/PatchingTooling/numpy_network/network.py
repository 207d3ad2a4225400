"""``NumpyNetwork``: an MLP in numpy, float64, without torch; the same numbers as hooks give."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.FileFormats.agent_zip.spaces import LeafSpace
from Neuron_Selection.FileFormats.observations import Observations, count_of, rows_of
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.PatchingTooling.agent.interventions import Intervention
from Neuron_Selection.PatchingTooling.agent.layers import LayerTable
from Neuron_Selection.PatchingTooling.agent.network import (
    Linear,
    PatchedRun,
    WeightChange,
    refuse_nonfinite_scores,
)
from Neuron_Selection.PatchingTooling.numpy_network import gradients, pairs, patches, weight_changes
from Neuron_Selection.PatchingTooling.numpy_network.products import padded, padded_array, product
from Neuron_Selection.PatchingTooling.numpy_network.runs import Run, Site, features_from

_BUFFER_NUMBERS = 1 << 16  # half a megabyte: several buffers of it stay in a core's own cache
_SCORES_AT_ONCE = 1 << 22  # 32 MiB


@dataclass(frozen=True, kw_only=True, eq=False)
class NumpyNetwork:
    """See ``Network``: Linear layers with an activation function between any two.

    If the last one has no name, its outputs are no layer's: they are means of quantiles.

    :param key: set if observations are a Dict of that one part
    """

    layers: LayerTable
    space: LeafSpace
    key: str | None
    normalize_images: bool
    linears: tuple[Linear, ...]
    engine: str = "numpy"

    @property
    def n_actions(self) -> int:
        """The number of scores."""
        return self.linears[-1].n_outputs

    @property
    def buffer_rows(self) -> int:
        """Rows that are computed at once, from the widths alone."""
        widest: int = max(side for linear in self.linears for side in linear.columns.shape)
        return CHUNK_ROWS * max(_BUFFER_NUMBERS // widest // CHUNK_ROWS, 1)

    @cached_property
    def sites(self) -> dict[str, Site]:
        """Layer to its site, in the order in which the layers fire."""
        sites: dict[str, Site] = {}
        for number, linear in enumerate(self.linears):
            sites |= {linear.reads: Site(number, "input"), linear.name: Site(number, "sum")}
        return {name: site for name, site in sites.items() if name}

    @property
    def stored_linears(self) -> tuple[Linear, ...]:
        """Those with weights of the agent as they are stored."""
        return tuple(linear for linear in self.linears if linear.name)

    @property
    def unfolded(self) -> NumpyNetwork:
        """The network in which every stored Linear is one of its own."""
        return self

    def number_of(self, parameter: str) -> int:
        """The position of the Linear with this weight.

        :raises UsageError: there is none
        """
        weights = [f"{linear.name}.weight" for linear in self.stored_linears]
        if parameter not in weights:
            raise UsageError(field="weight", found=shown(parameter), expected=f"one of {', '.join(weights)}")
        return weights.index(parameter)

    def run(self, observations: Observations, reused: Run | None = None) -> Run:
        """One pass.

        :param reused: an earlier run that is no longer needed; its memory is written over
        :raises SuiteError: scores that are not finite
        """
        array = observations[self.key or ""] if isinstance(observations, dict) else observations
        features = features_from(array, self.space, normalize_images=self.normalize_images)
        n_rows = padded(len(features), CHUNK_ROWS)
        run = Run(
            n_rows=len(features), inputs=[padded_array(features, (n_rows, len(self.linears[0].columns)))], sums=[]
        )
        spare = reused if reused is not None and len(reused.inputs[0]) >= n_rows else None
        with np.errstate(over="ignore", invalid="ignore"):
            for number, linear in enumerate(self.linears):
                out = None if spare is None else spare.sums[number][:n_rows]
                run.sums.append(product(run.inputs[-1], linear.columns, out=out))
                run.sums[-1] += linear.bias
                if linear.function is None:
                    break
                out = None if spare is None else spare.inputs[number + 1][:n_rows]
                values = run.sums[-1]
                run.inputs.append(
                    linear.function.compute(values) if out is None else linear.function.compute_into(values, out)
                )
        refuse_nonfinite_scores(run.sums[-1][: run.n_rows, : self.n_actions])
        return run

    def chunks(self, observations: Observations) -> Iterator[tuple[slice, Observations]]:
        """The observations, as many at once as the widths allow; and which rows they are."""
        total = count_of(observations)
        for start in range(0, total, self.buffer_rows):
            rows = slice(start, min(start + self.buffer_rows, total))
            yield rows, rows_of(observations, rows)

    def scores(self, observations: Observations) -> np.ndarray:
        """One score for each action, (n, n_actions), float64."""
        found = np.empty((count_of(observations), self.n_actions))
        run: Run | None = None
        for rows, part in self.chunks(observations):
            run = self.run(part, run)
            found[rows] = run.sums[-1][: run.n_rows, : self.n_actions]
        return found

    def activations(self, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """Outputs of layers: layer to (n, width), float64."""
        total, sites = count_of(observations), self.sites
        recorded = {name: np.empty((total, self.layers.layers[name].width)) for name in layers}
        run: Run | None = None
        for rows, part in self.chunks(observations):
            run = self.run(part, run)
            for name, array in recorded.items():
                array[rows] = run[sites[name]][: run.n_rows, : array.shape[1]]
        return recorded

    def patched(self, observations: Observations, intervention: Intervention) -> PatchedRun:
        """The scores under one intervention, and how many values it changed."""
        return patches.run_patched(self, observations, intervention)

    def patched_many(
        self,
        observations: Observations,
        interventions: Sequence[Intervention],
        *,
        target_run: dict[str, np.ndarray] | None = None,
    ) -> np.ndarray:
        """The scores under each of many interventions, (n_interventions, n, n_actions), float64."""
        return patches.scores_of_interventions(self, observations, interventions)

    def patched_pairs(
        self,
        observations: Observations,
        interventions: Sequence[Intervention],
        which: np.ndarray,
        rows: np.ndarray,
    ) -> np.ndarray:
        """The scores of pairs of an intervention and an observation, (n_pairs, n_actions), float64."""
        return pairs.scores_of_pairs(self, observations, interventions, which, rows)

    def reusable_activations(self, observations: Observations, layers: Sequence[str]) -> dict[str, np.ndarray]:
        """Outputs of ``layers``; nothing else is worth keeping."""
        return self.activations(observations, layers)

    def run_on(self, layer: str, outputs: np.ndarray, observations: Observations) -> np.ndarray:
        """The scores if a layer has these outputs, (n, n_actions)."""
        *_, (_, scores) = self._run_from(layer, outputs)
        return scores[: len(outputs), : self.n_actions]

    def outputs_given(self, reached: str, layer: str, outputs: np.ndarray, observations: Observations) -> np.ndarray:
        """What a later layer outputs if a layer has these outputs, (n, width)."""
        found = next(values for site, values in self._run_from(layer, outputs) if site == self.sites[reached])
        return found[: len(outputs), : self.layers.widths[reached]]

    def mixed_outputs(
        self, reached: str, layer: str, mask: np.ndarray, outputs: np.ndarray, others: np.ndarray
    ) -> np.ndarray:
        """What the next layer outputs if each of its neurons reads its own mixture of two runs, (n, width)."""
        first, *later = self.linears[self.sites[layer].linear :]
        columns, bias = (array[..., : first.n_outputs] for array in (first.columns[: first.n_inputs], first.bias))
        if not reached:
            for mean in later:  # over quantiles
                of_scores = mean.columns[: mean.n_inputs, : mean.n_outputs]
                columns, bias = columns @ of_scores, bias @ of_scores
        sums = others @ columns + bias + (outputs - others) @ (columns * mask)
        return first.following.compute(sums) if reached else sums

    def _run_from(self, layer: str, outputs: np.ndarray) -> Iterator[tuple[Site, np.ndarray]]:
        """The layer's own site with these outputs, then every following site, padded as a run is."""
        site = self.sites[layer]
        width = self.linears[site.linear].columns.shape[0 if site.kind == "input" else 1]
        values = padded_array(outputs, (padded(len(outputs), CHUNK_ROWS), width))
        yield site, values
        for number, linear in enumerate(self.linears[site.linear :], start=site.linear):
            if number > site.linear:
                values = self.linears[number - 1].following.compute(values)
                yield Site(number, "input"), values
            if number > site.linear or site.kind == "input":
                values = product(values, linear.columns)
                values += linear.bias
                yield Site(number, "sum"), values

    def gradients(
        self, observations: Observations, score_weights: np.ndarray, *, dtype: np.dtype | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Each input's gradients in turn; deltas are float64, their products with activations ``dtype``."""
        return gradients.iterate_gradients(self, observations, score_weights, dtype=dtype or np.dtype("float64"))

    def mean_gradients(
        self, observations: Observations, score_weights: np.ndarray, *, magnitudes: bool
    ) -> dict[str, np.ndarray]:
        """Mean over inputs of every parameter's gradient or its absolute value, without any input's own gradient."""
        compute = gradients.mean_gradient_magnitudes if magnitudes else gradients.mean_signed_gradients
        return compute(self, observations, score_weights)

    def layer_gradients(
        self, observations: Observations, score_weights: np.ndarray, layers: Sequence[str]
    ) -> dict[str, np.ndarray]:
        """Gradients with respect to outputs of layers: layer to (n, width)."""
        return gradients.layer_gradients(self, observations, score_weights, layers)

    def gradients_on(
        self, layer: str, outputs: np.ndarray, observations: Observations, score_weights: np.ndarray
    ) -> np.ndarray:
        """Gradients with respect to the outputs of a layer if it has these outputs, (n, width)."""
        return gradients.gradients_on(self, layer, outputs, score_weights)

    def weight_gradients(
        self, observations: Observations, score_weights: np.ndarray, weights: Sequence[tuple[str, int, int]]
    ) -> np.ndarray:
        """Each input's gradients with respect to single weights, (n_weights, n): delta of the row times the input."""
        linears = [self.linears[self.number_of(parameter)] for parameter, _, _ in weights]
        deltas = self.layer_gradients(
            observations, score_weights, list(dict.fromkeys(linear.name for linear in linears))
        )
        inputs = self.activations(observations, list(dict.fromkeys(linear.reads for linear in linears)))
        found = np.empty((len(weights), count_of(observations)))
        for place, (linear, (_, row, column)) in enumerate(zip(linears, weights, strict=True)):
            found[place] = deltas[linear.name][:, row] * inputs[linear.reads][:, column]
        return found

    def scores_of_changes(self, observations: Observations, changes: Sequence[WeightChange]) -> np.ndarray:
        """The scores under each change of a weight by itself; one changed weight is one unit's change."""
        return weight_changes.scores_of_weight_changes(self, observations, changes)

    def changes_at_once(self, n_inputs: int) -> int:
        """As many changes as have 32 MiB of scores."""
        return max(1, _SCORES_AT_ONCE // (n_inputs * self.n_actions))

    @contextmanager
    def with_weights(self, changes: Sequence[WeightChange]) -> Iterator[NumpyNetwork]:
        """Inside the block, a copy of the network with all of these changes."""
        by_linear: dict[int, list[WeightChange]] = defaultdict(list)
        for change in changes:
            by_linear[self.number_of(change.parameter)].append(change)
        linears = list(self.linears)
        for number, group in by_linear.items():
            columns = linears[number].columns.copy()
            columns[[change.column for change in group], [change.row for change in group]] = [
                change.value for change in group
            ]
            linears[number] = replace(linears[number], columns=columns)
        yield replace(self, linears=tuple(linears))

    def linears_after(self, layer: str) -> tuple[Linear, ...] | None:
        """The Linear layers from a layer to the scores, its own reader or itself first."""
        return self.linears[self.sites[layer].linear :]

    def read_by(self, layer: str) -> str:
        """The kind of the layer that reads this one's output."""
        order = list(self.layers.layers)
        following = order[order.index(layer) + 1 :]
        return self.layers.layers[following[0]].kind if following else ""

    def fingerprint(self) -> str:
        """SHA-256 of the weights in memory."""
        digest = hashlib.sha256()
        for array in (*(linear.columns for linear in self.linears), *(linear.bias for linear in self.linears)):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def policy_actions(self, observations: Observations) -> None:
        """There is no policy besides the network."""
        return
