"""Lists of patches for an agent: every neuron, every layer, groups of neurons, random sets as controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.patch_spec import Neurons, format_patch_spec
from Neuron_Selection.PatchingTooling.agent.layers import LayerTable

_TRIES = 1000  # of a random set that is not there yet


def single_neurons(table: LayerTable, layers: Sequence[str]) -> list[dict[str, Neurons]]:
    """Each neuron of these layers by itself."""
    return [{layer: (neuron,)} for layer in layers for neuron in range(table.layers[layer].width)]


def whole_layers(layers: Sequence[str]) -> list[dict[str, Neurons]]:
    """Each of these layers as a whole."""
    return [{layer: "all"} for layer in layers]


def groups_of_neurons(table: LayerTable, layers: Sequence[str], size: int) -> list[dict[str, Neurons]]:
    """Neighbouring neurons of each layer in groups of ``size``; a layer's last group may be smaller."""
    groups: list[dict[str, Neurons]] = []
    for layer in layers:
        width = table.layers[layer].width
        groups += [{layer: tuple(range(start, min(start + size, width)))} for start in range(0, width, size)]
    return groups


def random_sets(
    table: LayerTable, patches: Sequence[Mapping[str, Neurons]], count: int, *, seed: int
) -> list[dict[str, Neurons]]:
    """``count`` random sets for every size and choice of layers among the patches, none of them twice.

    :raises UsageError: there are not as many sets of that size, or whole layers only, of which there is one each
    """
    random = np.random.default_rng(seed)
    taken = {sorted_spec(patch) for patch in patches}
    shapes = dict.fromkeys(
        tuple((layer, len(neurons)) for layer, neurons in patch.items())
        for patch in patches
        if all(neurons != "all" for neurons in patch.values())
    )
    if count and not shapes:
        raise UsageError("--random_sets requires patches of some neurons; the list has whole layers only")
    sets: list[dict[str, Neurons]] = []
    for shape in shapes:
        for _ in range(count):
            drawn = next(
                (
                    patch
                    for patch in (_draw(table, shape, random) for _ in range(_TRIES))
                    if sorted_spec(patch) not in taken
                ),
                None,
            )
            if drawn is None:
                shape_text = ", ".join(f"{size} of {layer}" for layer, size in shape)
                raise UsageError(f"there are fewer other sets of {shape_text}", field=f"--random_sets {count}")
            taken.add(sorted_spec(drawn))
            sets.append(drawn)
    return sets


def _draw(table: LayerTable, shape: Sequence[tuple[str, int]], random: np.random.Generator) -> dict[str, Neurons]:
    drawn = {layer: random.choice(table.layers[layer].width, size, replace=False) for layer, size in shape}
    return {layer: tuple(sorted(int(neuron) for neuron in neurons)) for layer, neurons in drawn.items()}


def sorted_spec(patch: Mapping[str, Any]) -> str:
    """A patch spec that is the same for the same neurons in any order."""
    return format_patch_spec({layer: n if n == "all" else sorted(n) for layer, n in patch.items()})
