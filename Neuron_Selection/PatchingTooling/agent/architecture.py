"""The architecture of an agent's network: the choices that make it, and the sizes that follow from them. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from Neuron_Selection.FileFormats.agent_zip.spaces import BoxSpace, DiscreteSpace, LeafSpace, MultiDiscreteSpace, Space
from Neuron_Selection.PatchingTooling.agent.heads import Head, MlpLayer

EXTRACTORS = ("features_extractor", "vf_features_extractor")  # the actor's, or both; and the critic's own


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """The choices that make a network.

    ``policy``, ``activation_fn`` and ``extractor`` are names of SB3's and torch.nn's classes, or, of custom ones,
    their source (``module.Class``, ``FILE.py:Class``). A custom policy may not name its extractor ("") or its
    ``net_arch`` (None). Classes among the arguments are ``Name``s. ``critic_arch``: hidden widths of an actor's critic;
    ``shared_arch``: of the layers before those of both, which SB3 had until 1.8.
    ``shares_extractor``: whether actor and critic have one features extractor.
    """

    head: Head
    policy: str
    net_arch: tuple[int, ...] | None
    critic_arch: tuple[int, ...] = ()
    shared_arch: tuple[int, ...] = ()
    shares_extractor: bool = True
    activation_fn: str
    extractor: str
    extractor_kwargs: Mapping[str, Any]
    normalize_images: bool
    n_actions: int
    more_kwargs: Mapping[str, Any]

    @property
    def layers(self) -> tuple[MlpLayer, ...]:
        """Every Linear from the features to the scores."""
        n_outputs = self.n_actions * max(self.head.n_quantiles, 1)
        return self.head.layers(self.shared_arch, self.net_arch or (), n_outputs)

    @property
    def critic_layers(self) -> tuple[MlpLayer, ...]:
        """Every Linear from the features to the critic's value; empty without a critic."""
        return self.head.critic_layers(self.shared_arch, self.critic_arch)


def is_image(space: Space, architecture: Architecture) -> TypeGuard[BoxSpace]:
    """SB3's own test; images that are normalised already need only have three sides."""
    if not isinstance(space, BoxSpace):
        return False
    already = architecture.extractor_kwargs.get("normalized_image", False) or not architecture.normalize_images
    return len(space.shape) == 3 if already else space.is_image


def flat_size(space: LeafSpace) -> int:
    """The number of features that SB3's preprocessing makes of one observation; a discrete one becomes one-hot."""
    if isinstance(space, DiscreteSpace):
        return space.n
    if isinstance(space, MultiDiscreteSpace):
        return int(space.nvec.sum())
    return int(np.prod(space.shape, dtype=np.int64))
