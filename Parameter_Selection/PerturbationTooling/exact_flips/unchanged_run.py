"""The unchanged network on a batch of inputs, from which every changed weight is computed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores, greedy_actions
from Neuron_Selection.FileFormats.observations import Observations, count_of
from Neuron_Selection.PatchingTooling.numpy_network.network import NumpyNetwork
from Neuron_Selection.PatchingTooling.numpy_network.quantiles import mean_folded


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class UnchangedRun:
    """The unchanged network on n inputs: what each Linear reads and outputs, (n, padded width); greedy ``actions``.

    ``allowed``: (n, n_actions), the actions that masks allow.
    """

    network: NumpyNetwork
    inputs: Sequence[np.ndarray]
    sums: Sequence[np.ndarray]
    actions: np.ndarray
    allowed: np.ndarray

    def greedy(self, scores: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """The greedy action among the allowed ones, (rows,).

        :param scores: (rows, n_actions)
        :param inputs: (rows,), the input of each row
        """
        return greedy_actions(allowed_scores(scores, self.allowed[inputs]))

    @property
    def activation_kinds(self) -> set[str]:
        """The classes of the activation functions between the input and the scores."""
        layers = self.network.layers.layers
        return {layers[linear.activation].kind for linear in self.network.linears if linear.activation}


def run_unchanged(network: NumpyNetwork, observations: Observations, masks: np.ndarray | None = None) -> UnchangedRun:
    """One pass of the network, with every quantile.

    :param masks: (n, n_actions), the allowed actions; None for all
    :raises SuiteError: scores that are not finite
    """
    network = network.unfolded
    n_inputs, outputs = count_of(observations), network.run(observations)
    inputs, sums = ([array[:n_inputs] for array in arrays] for arrays in (outputs.inputs, outputs.sums))
    scores = sums[-1][:, : network.n_actions]
    allowed = np.ones(scores.shape, bool) if masks is None else masks
    actions = greedy_actions(allowed_scores(scores, allowed))
    return UnchangedRun(network=network, inputs=inputs, sums=sums, actions=actions, allowed=allowed)


def folded_run(run: UnchangedRun) -> UnchangedRun:
    """The same run of a network in which the last Linear with weights includes the mean over quantiles.

    A network without quantiles is returned as it is.
    """
    if run.network.linears[-1].name:
        return run
    return replace(
        run,
        network=replace(run.network, linears=mean_folded(run.network.linears)),
        inputs=run.inputs[:-1],
        sums=[*run.sums[:-2], run.sums[-1]],
    )


def scores_from(run: UnchangedRun, number: int, sums: np.ndarray) -> np.ndarray:
    """The scores if the ``number``-th Linear outputs ``sums``, (rows, padded width)."""
    network = run.network
    for before, linear in zip(network.linears[number:], network.linears[number + 1 :], strict=False):
        sums = before.following.compute(sums) @ linear.columns + linear.bias
    return sums[:, : network.n_actions]


def actions_with_change(
    run: UnchangedRun, number: int, places: tuple[np.ndarray, np.ndarray, np.ndarray], change: np.ndarray
) -> np.ndarray:
    """The greedy action of each input with one weight of the ``number``-th Linear changed.

    :param places: row, column and input of each change
    """
    rows, columns, inputs = places
    sums = run.sums[number][inputs]  # a copy
    sums[np.arange(len(inputs)), rows] += change * run.inputs[number][inputs, columns]
    return run.greedy(scores_from(run, number, sums), inputs)
