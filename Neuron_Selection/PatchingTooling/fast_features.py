"""Observations as the numbers that the first layer reads: SB3's preprocessing told again in numpy."""

from __future__ import annotations

import numpy as np

from Neuron_Selection.FileFormats.spaces import BoxSpace, DiscreteSpace, LeafSpace, MultiDiscreteSpace


def features_from(observations: np.ndarray, space: LeafSpace, *, normalize_images: bool) -> np.ndarray:
    """Flat features. Everything goes through float32, as in SB3, before it becomes float64.

    :param observations: (n, *shape) of the space
    :return: (n, features), float64
    """
    count = len(observations)
    if isinstance(space, DiscreteSpace):
        return _one_hot(observations.reshape(count, 1), np.array([space.n]))
    if isinstance(space, MultiDiscreteSpace):
        return _one_hot(observations, space.nvec)
    with np.errstate(over="ignore"):  # infinity, as in torch; the Q-values are checked
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
