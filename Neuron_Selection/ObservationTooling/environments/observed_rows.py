"""What the network receives in each of several environments, made from the observations that they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip.vec_normalize import VecNormalizeStatistics
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.ObservationTooling.environments.views import WHOLE, LeafView, View


class ObservedRows:
    """The last observations of n environments, with the frames before them.

    :param normalizer: statistics that are applied to what is returned; None for none
    """

    def __init__(self, view: View, normalizer: VecNormalizeStatistics | None, *, n: int) -> None:
        self._view, self._normalizer = view, normalizer
        self._is_dict = WHOLE not in view
        self._stacks = {key: np.zeros((n, *leaf.stacked), leaf.dtype) for key, leaf in view.items()}

    def clear(self, rows: Any) -> None:
        """Forget the frames of some rows, as at the start of an episode: they become zeros."""
        for stack in self._stacks.values():
            stack[rows] = 0

    def add_rows(self, count: int) -> None:
        """Add rows without frames at the end."""
        for key, stack in self._stacks.items():
            self._stacks[key] = longer(stack, count)

    def observations_of(self, rows: Any) -> Observations:
        """What the network receives in some rows, (n_rows, *shape), or one such array per key.

        :param rows: a list or array of rows, or a slice
        """
        parts = {key: _transposed(self._stacks[key][rows], leaf) for key, leaf in self._view.items()}
        batch: Observations = parts if self._is_dict else parts[WHOLE]
        return batch if self._normalizer is None else self._normalizer.normalised(batch)

    def take(self, rows: np.ndarray, observations: Sequence[Any], *, where: Callable[[int], str]) -> None:
        """Put the observations of some rows behind their earlier ones.

        :param observations: one per row, as the environments returned them
        :param where: describes the environment of a row, for messages
        :raises InputError: an observation that is not one of the environment's space
        """
        for key, leaf in self._view.items():
            parts = observations
            if self._is_dict:
                parts = [one.get(key) if isinstance(one, Mapping) else one for one in observations]
            self._push(rows, self._checked(rows, parts, key, where), key, leaf)

    def _checked(self, rows: np.ndarray, parts: Sequence[Any], key: str, where: Callable[[int], str]) -> np.ndarray:
        """The observations as one array, (n_rows, *shape).

        :raises InputError: one that has another shape than the environment's space, or is not made of finite numbers
        """
        leaf = self._view[key]
        try:
            array = np.array(parts) if len(parts) else np.zeros((0, *leaf.shape))
        except ValueError:  # of different shapes
            array = np.array(None)
        if array.shape != (len(rows), *leaf.shape) or array.dtype.kind not in "iufb":
            arrays = [np.asarray(part) for part in parts]
            row = [one.shape != leaf.shape or one.dtype.kind not in "iufb" for one in arrays].index(True)
            found = f"shape {arrays[row].shape} of {arrays[row].dtype.name}"
            expected = f"{leaf.shape} of {leaf.dtype.name}, as in its observation space"
        elif (wrong := _wrong_values(array, leaf)).any():
            place = tuple(np.argwhere(wrong)[0])
            row, found = int(place[0]), shown(array[place].item())
            expected = (
                "a finite number" if leaf.dtype.kind == "f" else f"{leaf.dtype.name}, as in its observation space"
            )
        else:
            return array
        field = f"observation.{key}" if self._is_dict else "observation"
        raise InputError(where(int(rows[row])), field, found=found, expected=expected)

    def _push(self, rows: np.ndarray, observations: np.ndarray, key: str, leaf: LeafView) -> None:
        """Move the frames of the rows' stacks one place on, and put the observations last."""
        stack = self._stacks[key]
        if leaf.stacked == leaf.shape:
            stack[rows] = observations
            return
        axis = leaf.axis if leaf.axis < 0 else leaf.axis + 1
        width = leaf.shape[leaf.axis]
        earlier = np.moveaxis(stack[rows], axis, -1)[..., width:]
        stack[rows] = np.concatenate([np.moveaxis(earlier, -1, axis), observations.astype(leaf.dtype)], axis=axis)


def _wrong_values(array: np.ndarray, leaf: LeafView) -> np.ndarray:
    """Where values are not finite, or not whole numbers of the space, which a conversion would change silently."""
    if leaf.dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond float32 is infinite
            wrong = ~np.isfinite(array.astype(leaf.dtype, copy=False))
    elif leaf.above is not None:
        wrong = (array != np.floor(array)) | (array < 0) | (array >= leaf.above)
    else:
        with np.errstate(invalid="ignore"):  # of NaN in an array that should hold whole numbers
            wrong = array != array.astype(leaf.dtype)
    return np.asarray(wrong)


def longer(array: np.ndarray, count: int) -> np.ndarray:
    """The array with rows of zeros at its end."""
    return np.concatenate([array, np.zeros((count, *array.shape[1:]), array.dtype)])


def _transposed(stack: np.ndarray, leaf: LeafView) -> np.ndarray:
    """A copy with the channels in front where Stable-Baselines3 puts them, in the dtype of the agent's space."""
    seen = np.moveaxis(stack, -1, 1) if leaf.is_transposed else stack
    copied: np.ndarray = np.array(seen, dtype=leaf.final_dtype, order="C", copy=True)
    return copied
