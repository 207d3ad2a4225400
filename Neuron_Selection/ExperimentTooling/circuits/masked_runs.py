"""Runs in which only the edges of a circuit carry what this run computes; all other edges carry ablated values.

Node v reads, from each node u before it, this run's value where the edge u -> v is in the circuit, and the ablated
value of u elsewhere. Of a Linear that is pre_v = b_v + sum_u W[v, u] (M[v, u] ? h_u : r_u). An edge can thus have an
effect only where a path of the circuit leads to it, or where its sender's ablated value differs by itself from what the
ablated values of the layer before make of it, as with means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from Neuron_Selection.errors import UsageError
from Neuron_Selection.ExperimentTooling.contrast_pairs import ContrastPairs
from Neuron_Selection.ExperimentTooling.node_chain import INPUTS, SCORES, Link, NodeChain
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.PatchingTooling.ablations import check_ablation_flags, parse_ablation

Masks: TypeAlias = Sequence[np.ndarray]
"""Which edges are in a circuit, link by link: (senders, receivers), bool."""

CORRUPTED = "corrupted"  # the ablated values are those of the pair's corrupted run


@dataclass(frozen=True, kw_only=True, eq=False)
class CircuitRuns:
    """The clean run of every contrast pair, of which any circuit can be run.

    :param live: what the nodes of each layer but the scores output in it, (n, width, *positions) each
    :param ablated: what the edges outside of a circuit carry, likewise
    :param ahead: the clean run's action, (n,); ``behind`` the corrupted run's
    """

    chain: NodeChain
    observations: Observations
    live: list[np.ndarray]
    ablated: list[np.ndarray]
    ahead: np.ndarray
    behind: np.ndarray
    _ablated_through: dict[int, np.ndarray] = field(default_factory=dict)

    def margins(self, masks: Masks) -> np.ndarray:
        """score[ahead] - score[behind] with only these edges intact, (n,)."""
        scores, rows = self.scores(masks), np.arange(len(self.ahead))
        margins: np.ndarray = scores[rows, self.ahead] - scores[rows, self.behind]
        return margins

    def scores(self, masks: Masks) -> np.ndarray:
        """The scores with only these edges intact, (n, n_actions)."""
        values: np.ndarray = self.live[0]
        for link, mask, ablated in zip(self.chain.links, masks, self.ablated, strict=True):
            mixed = None
            if link.sends != INPUTS:
                reached = "" if link.receives == SCORES else link.receives
                mixed = self.chain.network.mixed_outputs(reached, link.sends, mask, values, ablated)
            values = self._by_senders(link, mask, values) if mixed is None else mixed
        return values

    @property
    def whole(self) -> list[np.ndarray]:
        """The circuit of all edges."""
        return [np.ones(shape, bool) for shape in pairwise(self.chain.widths)]

    def _by_senders(self, link: Link, mask: np.ndarray, values: np.ndarray) -> np.ndarray:
        """One link, once for every different set of senders that its receivers have in the circuit."""
        senders, which = np.unique(mask.T, axis=0, return_inverse=True)
        ablated, received = self.ablated[link.number], self._through_ablated(link)
        for number, chosen in enumerate(senders):
            if not chosen.any():
                continue
            outputs = ablated.copy()
            outputs[:, chosen] = values[:, chosen]
            receivers = np.flatnonzero(which.reshape(-1) == number)
            received[:, receivers] = self.chain.received(link, outputs, self.observations)[:, receivers]
        return received

    def _through_ablated(self, link: Link) -> np.ndarray:
        """What a layer receives if all edges into it carry ablated values, a new array."""
        if link.number not in self._ablated_through:
            received = self.chain.received(link, self.ablated[link.number], self.observations)
            self._ablated_through[link.number] = received
        return np.array(self._ablated_through[link.number])


def check_circuit_ablation(ablation: str, *, has_reference: bool) -> None:
    """Raise for an unknown kind, or for reference inputs that it does not use."""
    kind = None
    if ablation != CORRUPTED:
        try:
            kind = parse_ablation(ablation)
        except UsageError as error:
            is_unknown = error.field == "ablation"  # else the number of a known one
            expected = f"{CORRUPTED}, {error.expected}" if is_unknown else error.expected
            raise UsageError(field=error.field, found=error.found, expected=expected) from error
    check_ablation_flags(kind, has_reference=has_reference, has_seed=False)


def circuit_runs(
    chain: NodeChain, pairs: ContrastPairs, ablation: str, *, reference: Observations | None = None, seed: int = 0
) -> CircuitRuns:
    """Prepare the clean runs.

    :param pairs: of the direction ``OF_CIRCUITS``
    :param ablation: ``corrupted``, the values of the pair's corrupted run (resample ablation with the pair as the
        sample), or an ablation such as ``mean``, ``resample`` or ``zero``
    :param reference: inputs that means are taken over; None means the clean ones
    :raises UsageError: no such ablation, or too few pairs for it
    """
    observations = pairs.observations["clean"]
    live = chain.values(observations)
    if ablation == CORRUPTED:
        ablated = chain.values(pairs.observations["corrupted"])
    else:
        kind = parse_ablation(ablation)
        kind.check_enough_inputs(pairs.count)
        own = {name: np.asarray(array, np.float64) for name, array in zip(chain.layers[:-1], live, strict=True)}
        others = {} if reference is None else dict(zip(own, chain.values(reference), strict=True))
        ablated = list(kind.values(own, reference=others, seed=seed).values())
    return CircuitRuns(
        chain=chain,
        observations=observations,
        live=live,
        ablated=ablated,
        ahead=pairs.actions["clean"],
        behind=pairs.actions["corrupted"],
    )
