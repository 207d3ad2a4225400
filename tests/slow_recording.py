"""Recording derived slowly: one environment, one episode after the other, one forward pass a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from Neuron_Selection.ObservationTooling import Episodes, chosen_environment
from Neuron_Selection.ObservationTooling.environments.acting import episode_generator
from Neuron_Selection.PatchingTooling import OpenedAgent


def distinct_visits(
    agent: OpenedAgent, world: Mapping[str, Any], *, epsilon: float, seeds: Iterable[int], max_steps: int
) -> dict[str, tuple[Any, str, int, float, float]]:
    """Input id to observation, cluster, action, reward and return, for the first visit of each observation."""
    environment = chosen_environment(agent, **world)
    seen, found = set(), {}
    for seed in seeds:
        episodes = Episodes(environment, agent, n=1, max_steps=max_steps)
        batch, generator = episodes.reset([seed]), episode_generator(seed)
        visits, rewards = {}, []
        while episodes.running[0]:
            observation = {key: part[0] for key, part in batch.items()} if isinstance(batch, dict) else batch[0]
            is_random, which = generator.random(), generator.random()
            scores = agent.network.scores(batch)[0]
            action = int(which * len(scores)) if is_random < epsilon else int(np.argmax(scores))
            step = episodes.step(np.array([action]))
            parts = observation.values() if isinstance(observation, dict) else [observation]
            as_text = str([part.tolist() for part in parts])
            if as_text not in seen:
                visits[f"{environment.name}-{seed}-{len(rewards)}"] = (observation, action, step.rewards[0])
                seen.add(as_text)
            rewards.append(step.rewards[0])
            batch = step.observations
        for input_id, (observation, action, reward) in visits.items():
            found[input_id] = (observation, str(seed), action, reward, float(sum(rewards)))
    return found
