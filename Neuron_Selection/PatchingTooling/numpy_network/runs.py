"""Runs of an MLP: the outputs of every layer in one pass, by site; and the features that a pass starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from Neuron_Selection.FileFormats.agent_zip.spaces import BoxSpace, DiscreteSpace, LeafSpace, MultiDiscreteSpace


class Site(NamedTuple):
    """Where a layer's output is in a run: what the i-th Linear reads (``input``), or what it outputs (``sum``)."""

    linear: int
    kind: Literal["input", "sum"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Run:
    """The outputs of every layer in one pass.

    :param inputs: of each Linear, (n padded to 64, width padded to 8); the padding holds no results
    :param sums: the outputs of each Linear, likewise; the last are the scores
    """

    n_rows: int
    inputs: list[np.ndarray]
    sums: list[np.ndarray]

    def __getitem__(self, site: Site) -> np.ndarray:
        return (self.inputs if site.kind == "input" else self.sums)[site.linear]


def features_from(observations: np.ndarray, space: LeafSpace, *, normalize_images: bool) -> np.ndarray:
    """Flat features, as SB3's preprocessing makes them: through float32, here then float64.

    :param observations: (n, *shape) of the space
    :return: (n, features), float64
    """
    count = len(observations)
    if isinstance(space, DiscreteSpace):
        return _one_hot(observations.reshape(count, 1), np.array([space.n]))
    if isinstance(space, MultiDiscreteSpace):
        return _one_hot(observations, space.nvec)
    with np.errstate(over="ignore"):  # infinity, as in torch; the scores are checked
        single = observations.astype(np.float32)
    if isinstance(space, BoxSpace) and space.is_image and normalize_images:
        single /= np.float32(255.0)
    return single.reshape(count, -1).astype(np.float64)


def _one_hot(digits: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """One group of columns for each digit.

    :param digits: (n, groups)
    """
    hot = np.zeros((len(digits), int(sizes.sum())))
    first = np.cumsum(sizes) - sizes
    hot[np.arange(len(digits))[:, None], digits.astype(np.int64) + first] = 1.0
    return hot
