"""Statistics of observations, made and saved by Stable-Baselines3's own VecNormalize."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from tests.made_agents import BlankEnv


def new_normalizer(space: spaces.Space, *, seed: int = 0, **settings: Any) -> VecNormalize:
    """A VecNormalize whose statistics are those of a few random observations."""
    normalizer = VecNormalize(DummyVecEnv([lambda: BlankEnv(space, 3)]), **settings)
    random = np.random.default_rng(seed)
    known = getattr(normalizer, "obs_rms", {})
    for statistics in known.values() if isinstance(known, dict) else [known]:
        statistics.update(random.normal(3, 2.5, (20, *statistics.mean.shape)))
    normalizer.training = False
    with np.errstate(over="ignore"):  # the largest float64 values are infinite in float32
        normalizer.reset()  # the last observation is saved too
    return normalizer


def saved(normalizer: VecNormalize, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    normalizer.save(str(path))
    return path
