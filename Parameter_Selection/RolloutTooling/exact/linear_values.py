"""Values of a policy in a stochastic world, by sparse linear systems: (I - gamma P) v = r."""

from __future__ import annotations

import numpy as np

from Neuron_Selection.address_space import require_address_space
from Neuron_Selection.ObservationTooling.finite_worlds.finite_world import DEATH, SUCCESS, FiniteWorld


class SolvedPolicy:
    """One policy, which may be stochastic.

    :param probabilities: (n_states, n_actions)
    """

    def __init__(self, world: FiniteWorld, probabilities: np.ndarray, gamma: float) -> None:
        require_address_space("scipy")
        from scipy import sparse
        from scipy.sparse.linalg import splu

        self._world, self._policy = world, probabilities
        weights = world.probabilities * probabilities[..., None]
        goes_on = (world.successors >= 0) & (weights > 0)
        rows = np.broadcast_to(np.arange(world.n_states)[:, None, None], weights.shape)[goes_on]
        shape = (world.n_states, world.n_states)
        self._transitions = sparse.csr_array((weights[goes_on], (rows, world.successors[goes_on])), shape=shape)
        self._rewards = (weights * world.rewards).sum(axis=(1, 2))
        self._into = {
            name: np.where(world.successors == end, weights, 0.0).sum(axis=(1, 2))
            for name, end in (("success", SUCCESS), ("death", DEATH))
        }
        self._factors = splu(sparse.csc_array(sparse.eye_array(world.n_states) - gamma * self._transitions))
        self.values: np.ndarray = self._factors.solve(self._rewards)
        """The expected discounted return from each state, (n_states,)."""

    def visits(self) -> np.ndarray:
        """The discounted number of visits of each state from the start, (n_states,)."""
        visits: np.ndarray = self._factors.solve(self._world.start, trans="T")
        return visits

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The probabilities that each state leads to success and to death, without a time limit, (n_states,) each."""
        from scipy import sparse
        from scipy.sparse.linalg import splu

        found = np.zeros((2, self._world.n_states))
        leads_to_end = self._leads_to_end()
        if leads_to_end.any():
            inner = self._transitions[leads_to_end][:, leads_to_end]
            factors = splu(sparse.csc_array(sparse.eye_array(inner.shape[0]) - inner))
            for values, into in zip(found, self._into.values(), strict=True):
                values[leads_to_end] = factors.solve(into[leads_to_end])
        return found[0], found[1]

    def within_limit(self, horizon: int) -> dict[str, float]:
        """As ``FollowedPolicies.within_limit``, of this policy."""
        running = self._world.start
        totals = dict.fromkeys(("return", "length", "success", "death"), 0.0)
        for _ in range(horizon):
            if not running.any():
                break
            totals["return"] += float(running @ self._rewards)
            totals["length"] += float(running.sum())
            for name, into in self._into.items():
                totals[name] += float(running @ into)
            running = running @ self._transitions
        return totals

    def _leads_to_end(self) -> np.ndarray:
        """Whether an end can be reached from each state; from the others the episode never ends."""
        found: np.ndarray = (self._into["success"] + self._into["death"]) > 0
        while True:
            more = found | (self._transitions @ found > 0)
            if (more == found).all():
                return found
            found = more
