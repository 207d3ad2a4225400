"""Episodes of the unchanged agent: what the experiments are compared with, and where their episodes start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores
from Neuron_Selection.FileFormats.observations import Observations, rows_of
from Neuron_Selection.ObservationTooling.endings import UNKNOWN_ENDING, Ending, meaning_of_termination
from Neuron_Selection.ObservationTooling.environments.episodes import Episodes
from Neuron_Selection.PatchingTooling.agent.network import Network
from Parameter_Selection.RolloutTooling.episodes.settings import EpisodeSettings, fingerprints, joined


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Episode:
    """One episode of the unchanged agent.

    ``observations``: those on which it decided, (n_steps, *shape). ``states``: their fingerprints. ``masks``: which
    actions were allowed, (n_steps, n_actions), None for an agent without action masks.
    """

    seed: int
    observations: Observations
    states: list[bytes]
    masks: np.ndarray | None
    actions: np.ndarray
    rewards: np.ndarray
    ending: Ending
    truncated: bool


def run_baseline(
    network: Network, episodes: Episodes, settings: EpisodeSettings, seeds: Sequence[int]
) -> list[Episode]:
    """Run an episode of each seed in lockstep.

    :param episodes: with a row for each seed
    """
    meaning = meaning_of_termination(episodes.envs[0])
    drawn = [settings.drawn(seed) for seed in seeds]
    seen: list[list[Observations]] = [[] for _ in seeds]
    allowed: list[list[np.ndarray]] = [[] for _ in seeds]
    actions: list[list[int]] = [[] for _ in seeds]
    rewards: list[list[float]] = [[] for _ in seeds]
    ends: list[tuple[Ending, bool]] = [(UNKNOWN_ENDING, False)] * len(seeds)
    running = np.arange(len(seeds))
    for row, seed in enumerate(seeds):
        episodes.restart(row, seed)
    step = 0
    while len(running):
        observations = episodes.observations_of(running)
        numbers = np.stack([drawn[row][step] for row in running])
        masks = episodes.action_masks(running) if episodes.has_masks else None
        chosen = settings.acting.actions_of(allowed_scores(network.scores(observations), masks), numbers)
        outcomes = zip(*episodes.step_rows(running, chosen), strict=True)
        for place, (row, (reward, terminated, truncated, info)) in enumerate(
            zip(running.tolist(), outcomes, strict=True)
        ):
            seen[row].append(rows_of(observations, slice(place, place + 1)))
            if masks is not None:
                allowed[row].append(masks[place])
            actions[row].append(int(chosen[place]))
            rewards[row].append(float(reward))
            if terminated or truncated:
                ending = settings.ending(
                    meaning, reward=float(reward), terminated=bool(terminated), truncated=bool(truncated), info=info
                )
                ends[row] = ending, bool(truncated and not terminated)
        running = running[episodes.running[running]]
        step += 1
    found = []
    for row, seed in enumerate(seeds):
        observations = joined(seen[row])
        found.append(
            Episode(
                seed=seed,
                observations=observations,
                states=fingerprints(observations),
                masks=np.array(allowed[row]) if episodes.has_masks else None,
                actions=np.array(actions[row]),
                rewards=np.array(rewards[row]),
                ending=ends[row][0],
                truncated=ends[row][1],
            )
        )
    return found
