"""The change of one pair's margin when a set of neurons is patched, for many sets at once.

A neuron that does not differ between the two runs of a pair changes nothing, so that only sets of those that differ
are run. In an MLP the neurons of a set change the sums of the next Linear by one matrix product for all sets, and the
rest of the network is run on from there; elsewhere the sets are interventions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions
from Neuron_Selection.ExperimentTooling.minimal_sets.mixtures import Mixtures
from Neuron_Selection.FileFormats.observations import rows_of
from Neuron_Selection.PatchingTooling.agent.interventions import replacing
from Neuron_Selection.PatchingTooling.agent.layers import NOT_HIDDEN
from Neuron_Selection.PatchingTooling.agent.network import Linear, margin_weights
from Neuron_Selection.PatchingTooling.numpy_network.quantiles import mean_folded

_NUMBERS_AT_ONCE = 1 << 18


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Players:
    """Neurons of one or two layers, in the order of the layers.

    ``mixtures``: of each layer, with the same contrast pairs. ``neurons``: layer by layer, their indices.
    """

    mixtures: Sequence[Mixtures]
    neurons: Sequence[np.ndarray]

    @property
    def names(self) -> list[tuple[str, int]]:
        """Layer and index of every player."""
        return [
            (one.layer.name, int(neuron))
            for one, neurons in zip(self.mixtures, self.neurons, strict=True)
            for neuron in neurons
        ]

    @property
    def moves(self) -> np.ndarray:
        """Which players differ between the runs of each pair, (n, players)."""
        return np.concatenate(
            [one.moves[:, neurons] for one, neurons in zip(self.mixtures, self.neurons, strict=True)], axis=1
        )

    @property
    def weights(self) -> np.ndarray:
        """The score weights of each pair's margin, (n, n_actions)."""
        one = self.mixtures[0]
        ahead, behind = greedy_actions(one.source_q_values), greedy_actions(one.baseline)
        return margin_weights(ahead, behind, one.baseline.shape[1])

    @property
    def margins(self) -> np.ndarray:
        """The margin of each pair in the target run, (n,); forbidden actions, minus infinity, have no part in it."""
        weights = self.weights
        margins: np.ndarray = (np.where(weights != 0, self.mixtures[0].baseline, 0.0) * weights).sum(axis=1)
        return margins


class SetEffects(Protocol):
    """Changes of margins, by whichever way applies."""

    def changes(self, row: int, players: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """By how much sets of players change the margin of one pair.

        :param row: the pair
        :param players: (m,), rising: those of which sets are made
        :param masks: (k, m), which of them are in each set
        :return: (k,), in units of scores
        """


def set_effects(players: Players) -> SetEffects:
    """The quicker way where it applies."""
    entries = _entries(players)
    if entries is None:
        return _PatchedSets(players=players, weights=players.weights, margins=players.margins)
    return _MlpSets.of(players, entries)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _PatchedSets:
    """Sets as interventions, one pair at a time."""

    players: Players
    weights: np.ndarray
    margins: np.ndarray

    def changes(self, row: int, players: np.ndarray, masks: np.ndarray) -> np.ndarray:
        names, first = self.players.names, self.players.mixtures[0]
        source = {one.layer.name: one.source[[row]] for one in self.players.mixtures}
        own = {one.layer.name: one.target[[row]] for one in self.players.mixtures}
        changes = np.zeros(len(masks))
        filled = np.flatnonzero(masks.any(axis=1))
        interventions = []
        for mask in masks[filled]:
            chosen: dict[str, tuple[int, ...]] = {}
            for player in players[mask]:
                layer, neuron = names[player]
                chosen[layer] = (*chosen.get(layer, ()), neuron)
            interventions.append(replacing(chosen, source))
        if interventions:
            part = rows_of(first.observations, slice(row, row + 1))
            scores = first.network.patched_many(part, interventions, target_run=own)[:, 0]
            changes[filled] = np.asarray(scores, np.float64) @ self.weights[row] - self.margins[row]
        return changes


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Entry:
    """Where the players of a layer enter an MLP.

    ``reader``: the position of the Linear that reads them; ``target``, ``source``: what it reads in either run, (n,
    width of the layer).
    """

    reader: int
    target: np.ndarray
    source: np.ndarray


def _entries(players: Players) -> tuple[tuple[Linear, ...], list[_Entry]] | None:
    """The Linear layers from the first reader on, and the entries; None where the rest of the network is no such MLP.

    There is none either for two layers that are read by the same Linear, the same neurons before and after their
    activation function.
    """
    first = players.mixtures[0]
    linears = first.network.linears_after(first.layer.name)
    if linears is None or any(one.layer.role in NOT_HIDDEN for one in players.mixtures):
        return None
    entries, total = [], len(mean_folded(linears))
    for one in players.mixtures:
        following = one.network.linears_after(one.layer.name) or ()
        target, source = (np.asarray(values, np.float64) for values in (one.target, one.source))
        reader = total - len(mean_folded(following))
        if following[0].name == one.layer.name:  # a pre-activation: the next Linear reads what its activation makes
            target, source = (following[0].following.compute(values) for values in (target, source))
            reader += 1
        entries.append(_Entry(reader=reader, target=target, source=source))
    if len({entry.reader for entry in entries}) < len(entries):
        return None
    return mean_folded(linears)[entries[0].reader :], [
        _Entry(reader=entry.reader - entries[0].reader, target=entry.target, source=entry.source) for entry in entries
    ]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _MlpSets:
    """Sets of neurons of an MLP in float64.

    ``start``: (n, units), what the first Linear outputs in the target run. ``last``: (n, inputs), what each input of
    the last Linear adds to the margin, and ``shift``: (n,), the margin without any, less that of the target run.
    """

    players: Players
    linears: tuple[Linear, ...]
    entries: list[_Entry]
    start: np.ndarray
    last: np.ndarray
    shift: np.ndarray

    @classmethod
    def of(cls, players: Players, found: tuple[tuple[Linear, ...], list[_Entry]]) -> _MlpSets:
        linears, entries = found
        weights, (first, *_) = players.weights, entries
        width, n_actions = first.target.shape[1], players.weights.shape[1]
        return cls(
            players=players,
            linears=linears,
            entries=entries,
            start=first.target @ linears[0].columns[:width] + linears[0].bias,
            last=weights @ linears[-1].columns[:, :n_actions].T,
            shift=weights @ linears[-1].bias[:n_actions] - players.margins,
        )

    def changes(self, row: int, players: np.ndarray, masks: np.ndarray) -> np.ndarray:
        count = len(self.players.neurons[0])
        is_first = players < count
        neurons = self.players.neurons[0][players[is_first]]
        later = self.players.neurons[1][players[~is_first] - count] if not is_first.all() else neurons[:0]
        moved = (self.entries[0].source - self.entries[0].target)[row, neurons] if len(neurons) else np.zeros(0)
        changes = np.empty(len(masks))
        at_once = max(1, _NUMBERS_AT_ONCE // max(linear.columns.shape[1] for linear in self.linears))
        for start in range(0, len(masks), at_once):
            part = masks[start : start + at_once]
            factors = part[:, is_first] * moved
            changes[start : start + at_once] = self._run(row, neurons, factors, later, part[:, ~is_first])
        return changes

    def _run(
        self, row: int, neurons: np.ndarray, factors: np.ndarray, later: np.ndarray, replaced: np.ndarray
    ) -> np.ndarray:
        """The changes of some sets.

        :param neurons: (m,), of the first layer; ``factors``: (k, m), by how much each set changes them
        :param later: (l,), neurons of the second layer; ``replaced``: (k, l), which of them each set patches
        """
        if len(self.linears) == 1:  # the margin is linear in the neurons
            sums: np.ndarray = factors @ self.last[row, neurons]
            return sums
        values = factors @ self.linears[0].columns[neurons]
        values += self.start[row]
        for number, (before, linear) in enumerate(pairwise(self.linears), start=1):
            values = before.following.compute_into(values, values)
            if len(later) and self.entries[1].reader == number:
                values[:, later] = np.where(replaced, self.entries[1].source[row, later], values[:, later])
            if linear is not self.linears[-1]:
                values = values @ linear.columns
                values += linear.bias
        changes: np.ndarray = values @ self.last[row] + self.shift[row]
        return changes
