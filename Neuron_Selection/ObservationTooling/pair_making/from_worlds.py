"""Pairs from edited MiniGrid worlds, observed through the agent's own wrappers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.encoding import Encoding
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.FileFormats.pairs_file import EditRecord, Grouping
from Neuron_Selection.ObservationTooling.environments.environment import Environment
from Neuron_Selection.ObservationTooling.environments.episodes import Episodes
from Neuron_Selection.ObservationTooling.grid_worlds.world import World
from Neuron_Selection.ObservationTooling.grid_worlds.world_edits import WorldEdit, possible_world_edits
from Neuron_Selection.ObservationTooling.pair_making.choice import choose
from Neuron_Selection.ObservationTooling.pair_making.decisions import WantedDecisions
from Neuron_Selection.ObservationTooling.pair_making.edited_paths import EditedState, joined, walk
from Neuron_Selection.ObservationTooling.pair_making.entries import tabulate
from Neuron_Selection.ObservationTooling.pair_making.made import (
    MadePairs,
    action_changes,
    decisions_of,
    names_of_groups,
)
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

EDITS_OF_A_STATE = 64
_KEPT_OF_A_SEED = 64


def environment_pairs(
    agent: OpenedAgent,
    environment: Environment,
    wanted: WantedDecisions,
    encoding: Encoding | None,
    *,
    env_seeds: range,
    grouping: Grouping,
    n_pairs: int,
    seed: int,
) -> MadePairs:
    """Pairs of a state on the agent's greedy path and the same state after one edit of the world.

    In each state 64 of the possible edits are run, drawn at random but balanced over their kinds. Of the seeds that
    start in the same state only the first is used, so that clusters by seed are independent. Seeds are tried until as
    many have pairs as pairs are wanted.

    :raises SuiteError: the environment is not MiniGrid's, its observations depend on earlier steps, or no edit changes
        a decision
    """
    random = np.random.default_rng(seed)

    def edits_of(world: World) -> Sequence[WorldEdit]:
        edits = list(possible_world_edits(world.base))
        drawn = [edits[place] for place in random.permutation(len(edits))]
        return choose([drawn], EDITS_OF_A_STATE, traits=lambda edit: (edit.kind,), clean=lambda edit: edit)

    world = world_of(agent, environment)
    candidates: list[list[EditedState]] = []
    starts, states, edits_run, found = set(), 0, 0, 0
    for env_seed in env_seeds:
        if len(candidates) == n_pairs:
            break
        world.reset(env_seed)
        if world.state() in starts:
            continue
        starts.add(world.state())
        pairs: list[EditedState] = []
        for state in walk(world, agent.network.scores, edits_of, wanted, seed=env_seed):
            states += 1
            edits_run += state.n_edits
            pairs += state.pairs
        found += len(pairs)
        if pairs:
            candidates.append([pairs[place] for place in random.permutation(len(pairs))[:_KEPT_OF_A_SEED]])
    chosen = choose(
        candidates,
        n_pairs,
        traits=lambda pair: (pair.edit.kind, pair.change),
        clean=lambda pair: pair.clean_bytes,
    )
    if not chosen:
        raise InputError(
            environment.where,
            problem=f"none of {edits_run} edits in {states} states on the greedy paths of {len(starts)} different "
            "starts changes the decision as asked",
            hint="other --first_env_seed or --n_env_seeds give other states",
        )
    clean, corrupted = joined([pair.clean for pair in chosen]), joined([pair.corrupted for pair in chosen])
    records = _records(agent, environment, chosen, joined([clean, corrupted]), encoding=encoding, grouping=grouping)
    summary = {
        "method": "environment",
        "pairs": len(chosen),
        "possible": found,
        "clusters": len({pair.seed for pair in chosen}),
        "starts": len(starts),
        "states": states,
        "edits_run": edits_run,
        "edits": dict(sorted(Counter(pair.edit.kind for pair in chosen).items())),
        "action_changes": action_changes(records.values()),
    }
    clusters = {input_id: str(record.seed) for input_id, record in records.items()}
    masks = [pair.masks for pair in chosen if pair.masks is not None]  # of all pairs, or of none
    return MadePairs(
        records=records,
        clean=clean,
        corrupted=corrupted,
        clean_masks=np.stack(masks)[:, 0] if masks else None,
        corrupted_masks=np.stack(masks)[:, 1] if masks else None,
        clusters=clusters,
        summary=summary,
    )


def world_of(agent: OpenedAgent, environment: Environment) -> World:
    """The world of an environment, observed as the agent's network receives it."""
    episodes = Episodes(environment, agent, n=1)

    def step(action: int) -> tuple[Observations, bool]:
        done = episodes.step(np.array([action]))
        return done.observations, bool(episodes.running[0])

    def action_mask() -> np.ndarray | None:
        return episodes.action_masks(np.array([0]))[0] if episodes.has_masks else None

    return World(episodes.envs[0], reset=lambda seed: episodes.reset([seed]), step=step, action_mask=action_mask)


def _records(
    agent: OpenedAgent,
    environment: Environment,
    chosen: Sequence[EditedState],
    both: Observations,
    *,
    encoding: Encoding | None,
    grouping: Grouping,
) -> dict[str, EditRecord]:
    """Id to record.

    :param both: all clean observations, then all corrupted ones
    """
    table = tabulate(both, agent.agent_zip.observation_space, grouping=grouping, encoding=encoding)
    records = {}
    for row, pair in enumerate(chosen):
        first, second = table.values[row], table.values[row + len(chosen)]
        records[f"{environment.name}-{pair.seed}-{len(pair.actions)}"] = EditRecord(
            env=environment.env,
            seed=pair.seed,
            actions=pair.actions,
            edit=pair.edit.kind,
            cells=pair.edit.cells,
            contents=pair.edit.contents,
            agent=pair.edit.agent,
            differing_entries=int((first != second).sum()),
            differs=names_of_groups(table, table.differing_groups(first, second)),
            **decisions_of(pair.clean_scores, pair.corrupted_scores, masks=pair.masks),
        )
    return records
