"""Episodes of changed agents: branches that leave the baseline's episode where an action differs.

An environment is a function of its seed and of the actions, so all experiments that have taken the same actions in an
episode are in the same state: they share one environment until their actions differ. A new branch starts from the seed
again and repeats the actions so far; that it then observes the same is checked, bit for bit. An experiment whose
actions never differ from the baseline's has the baseline's episode, and no environment is stepped for it. Where the
states of a deterministic environment can be named, an episode that is back in an earlier state is not stepped any more
either: it repeats itself up to the time limit.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores
from Neuron_Selection.errors import InputError
from Neuron_Selection.ObservationTooling.endings import UNKNOWN_ENDING, Ending, meaning_of_termination
from Neuron_Selection.ObservationTooling.environments.episodes import Episodes
from Neuron_Selection.ObservationTooling.finite_worlds.recurrence import NamedStates, named_states
from Parameter_Selection.RolloutTooling.episodes.baseline import Episode
from Parameter_Selection.RolloutTooling.episodes.settings import EpisodeSettings, fingerprints, joined
from Parameter_Selection.RolloutTooling.experiments.deciders import BASELINE, Deciders

_PAIRS_AT_ONCE = 1 << 18
_BRANCHES_AT_ONCE = 512  # each has an environment


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Branch:
    """An episode of some experiments.

    ``episode``: the baseline's episode of the same seed, by position. ``members``: the numbers of the experiments.
    ``parting``: the first step at which the action differs. ``flips``: whether each action differs from the baseline's
    in the same state. ``states``: fingerprints of the observations on which was decided. ``row``: of its environment.
    ``named``: the environment's states, if they can be named; ``reached``: state to the step at which it was reached.
    """

    episode: int
    members: np.ndarray
    parting: int
    actions: list[int]
    rewards: list[float] = field(default_factory=list)
    flips: list[bool] = field(default_factory=list)
    states: list[bytes] = field(default_factory=list)
    row: int = -1
    named: NamedStates | None = None
    reached: dict[Hashable, int] = field(default_factory=dict)
    has_ended: bool = False
    ending: Ending = UNKNOWN_ENDING
    truncated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OnBaselineStates:
    """What all experiments decide in the states of the baseline's episodes.

    ``flips``: (n_experiments, n_episodes), the number of states in which the action differs. ``partings``: likewise,
    the first of them, -1 for none. ``actions``: likewise, the action that is taken there.
    """

    flips: np.ndarray
    partings: np.ndarray
    actions: np.ndarray


def decide_on_baseline_states(
    deciders: Deciders, settings: EpisodeSettings, episodes: Sequence[Episode]
) -> OnBaselineStates:
    """The decisions of every experiment in every state of the baseline's episodes."""
    count = len(deciders.experiments)
    flips, partings, taken = np.zeros((3, count, len(episodes)), np.int64)
    partings[:] = -1
    observations = joined([one.observations for one in episodes])
    lengths = [len(one.actions) for one in episodes]
    steps = np.concatenate([np.arange(length) for length in lengths])
    moments = [(one.seed, step) for one in episodes for step in range(len(one.actions))]
    numbers = np.concatenate([settings.drawn(one.seed)[: len(one.actions)] for one in episodes])
    baseline = np.concatenate([one.actions for one in episodes])
    of_steps = [one.masks for one in episodes if one.masks is not None]
    masks = np.concatenate(of_steps) if of_steps else None
    rows = np.flatnonzero(settings.active(observations, steps)) if settings.is_conditional else np.arange(len(steps))
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    at_once = max(1, _PAIRS_AT_ONCE // max(len(rows), 1))
    for start in range(0, count if len(rows) else 0, at_once):
        part = np.arange(start, min(start + at_once, count))
        which = np.repeat(part + 1, len(rows))
        scores = deciders.scores(observations, which, np.tile(rows, len(part)), moments)
        if masks is not None:
            scores = allowed_scores(scores, np.tile(masks[rows], (len(part), 1)))
        chosen = settings.acting.actions_of(scores, np.tile(numbers[rows], (len(part), 1)))
        actions = np.repeat(baseline[None], len(part), axis=0)
        actions[:, rows] = chosen.reshape(len(part), len(rows))
        differs = actions != baseline
        for number, (first, last) in enumerate(pairwise(bounds)):
            own = differs[:, first:last]
            flips[part, number] = own.sum(axis=1)
            leaves = own.any(axis=1)
            at = own.argmax(axis=1)
            partings[part[leaves], number] = at[leaves]
            taken[part[leaves], number] = actions[leaves, first + at[leaves]]
    return OnBaselineStates(flips=flips, partings=partings, actions=taken)


def run_branches(
    deciders: Deciders,
    pool: Episodes,
    settings: EpisodeSettings,
    episodes: Sequence[Episode],
    *,
    decided: OnBaselineStates,
) -> Iterator[Branch]:
    """The rest of the episodes of all experiments that leave the baseline's, in lockstep.

    :param pool: environments; more are made as needed
    """
    runner = _Runner(deciders, pool, settings, episodes)
    waiting = list(_first_branches(episodes, decided))[::-1]
    live: list[Branch] = []
    while waiting or live:
        live = runner.stepped(live) if live else []
        count = min(len(waiting), max(0, _BRANCHES_AT_ONCE - len(live)))
        live += runner.taken([runner.placed(waiting.pop()) for _ in range(count)])
        yield from (branch for branch in live if branch.has_ended)
        live = [branch for branch in live if not branch.has_ended]


def _first_branches(episodes: Sequence[Episode], decided: OnBaselineStates) -> Iterator[Branch]:
    for number, episode in enumerate(episodes):
        by_step: dict[tuple[int, int], list[int]] = {}
        for place in np.flatnonzero(decided.partings[:, number] >= 0).tolist():
            key = int(decided.partings[place, number]), int(decided.actions[place, number])
            by_step.setdefault(key, []).append(place + 1)
        for (step, action), members in sorted(by_step.items()):
            yield Branch(
                episode=number,
                members=np.array(members),
                parting=step,
                actions=[*episode.actions[:step].tolist(), action],
                rewards=episode.rewards[:step].tolist(),
                flips=[False] * step + [True],
                states=episode.states[: step + 1],
            )


class _Runner:
    """The environments of the branches."""

    def __init__(
        self, deciders: Deciders, pool: Episodes, settings: EpisodeSettings, episodes: Sequence[Episode]
    ) -> None:
        self._deciders, self._pool, self._settings, self._episodes = deciders, pool, settings, episodes
        self._meaning = meaning_of_termination(pool.envs[0])
        self._free = list(range(len(pool.envs)))[::-1]
        self._drawn = [settings.drawn(episode.seed) for episode in episodes]
        is_drawn = deciders.ablated is not None and deciders.ablated.ablation.is_drawn
        self._repeats = settings.decides_by_observation and not is_drawn

    def stepped(self, live: Sequence[Branch]) -> list[Branch]:
        """Every branch after one more decision; those in a loop run to their end.

        A branch whose members part is divided; the largest group keeps the environment.
        """
        after = [self._repeated(branch) for branch in live if _is_in_loop(branch)]
        live = [branch for branch in live if not _is_in_loop(branch)]
        return [*after, *self.taken([new for branch in self._decided(live) for new in branch])] if live else after

    def placed(self, branch: Branch) -> Branch:
        """Give a branch an environment of its own, in the state before its last action."""
        if not self._free:
            count = len(self._pool.envs)
            self._pool.add_rows(count)
            self._free = list(range(count, 2 * count))[::-1]
        seed, step = self._episodes[branch.episode].seed, len(branch.actions) - 1
        row = self._free.pop()
        self._pool.restart(row, seed)
        named = named_states(self._pool.envs[row]) if self._repeats else None
        for action in branch.actions[:-1]:
            if self._pool.running[row]:
                self._pool.advance(row, action)
        if self._pool.steps[row] < step or fingerprints(self._pool.observations_of([row]))[0] != branch.states[step]:
            raise InputError(
                self._pool.environment.where,
                f"seed {seed}, step {step}",
                found="another observation than before",
                expected="the same after the same seed and actions",
                hint="reset(seed=...) must seed every random number of the environment",
            )
        return replace(branch, row=row, named=named)

    def taken(self, branches: Sequence[Branch]) -> list[Branch]:
        """The branches after their last actions in their environments."""
        rows = np.array([branch.row for branch in branches], np.intp)
        outcomes = self._pool.step_rows(rows, np.array([branch.actions[-1] for branch in branches]))
        after = []
        for branch, reward, terminated, truncated, info in zip(branches, *outcomes, strict=True):
            branch.rewards.append(float(reward))
            if not (terminated or truncated):
                after.append(branch)
                continue
            self._free.append(branch.row)
            ending = self._settings.ending(
                self._meaning, reward=float(reward), terminated=bool(terminated), truncated=bool(truncated), info=info
            )
            is_cut = bool(truncated and not terminated)
            after.append(replace(branch, has_ended=True, ending=ending, truncated=is_cut))
        return after

    def _decided(self, live: Sequence[Branch]) -> Iterator[list[Branch]]:
        """What becomes of each branch: itself with one more action, or several."""
        observations = self._pool.observations_of(np.array([branch.row for branch in live]))
        states = fingerprints(observations)
        steps = np.array([len(branch.actions) for branch in live])
        is_active = np.ones(len(live), bool)
        if self._settings.is_conditional:
            is_active = self._settings.active(observations, steps)
        counts = np.array([len(branch.members) for branch in live]) * is_active
        rows = np.repeat(np.arange(len(live)), 1 + counts)
        first = np.cumsum(1 + counts) - counts  # of each branch's members; the baseline is before them
        which = np.full(len(rows), BASELINE)
        for branch, place, count in zip(live, first.tolist(), counts.tolist(), strict=True):
            which[place : place + count] = branch.members[:count]
        moments = [(self._episodes[branch.episode].seed, len(branch.actions)) for branch in live]
        scores = self._deciders.scores(observations, which, rows, moments)
        drawn = np.stack([self._drawn[branch.episode][len(branch.actions)] for branch in live])
        if self._pool.has_masks:
            scores = allowed_scores(scores, self._pool.action_masks(np.array([branch.row for branch in live]))[rows])
        chosen = self._settings.acting.actions_of(scores, drawn[rows])
        for branch, state, place, count in zip(live, states, first.tolist(), counts.tolist(), strict=True):
            if branch.named is not None:
                branch.reached[branch.named.key()] = len(branch.actions)
            branch.states.append(state)
            baseline = chosen[place - 1]
            yield self._divided(branch, chosen[place : place + count] if count else baseline[None], int(baseline))

    def _divided(self, branch: Branch, own: np.ndarray, baseline: int) -> list[Branch]:
        """A branch whose members have decided: itself, or several.

        :param own: (n_members,), or a single action for all
        :param baseline: the action of the unchanged agent in the same state
        """
        if (own == own[0]).all():
            branch.actions.append(int(own[0]))
            branch.flips.append(bool(own[0] != baseline))
            return [branch]
        taken, counts = np.unique(own, return_counts=True)
        *others, largest = taken[np.argsort(counts, kind="stable")].tolist()
        groups = [_copied(branch, branch.members[own == action], action, action != baseline) for action in others]
        kept = _copied(branch, branch.members[own == largest], largest, largest != baseline)
        return [*map(self.placed, groups), kept]

    def _repeated(self, branch: Branch) -> Branch:
        """A branch that is back in an earlier state, with the steps of the loop repeated up to the time limit."""
        assert branch.named is not None  # noqa: S101 - loops are seen by named states
        step, most = len(branch.actions), self._settings.max_steps
        first = branch.reached[branch.named.key()]
        more = min(most, branch.named.limit or most) - step
        _repeat(branch.actions, first, more)
        _repeat(branch.rewards, first, more)
        _repeat(branch.flips, first, more)
        _repeat(branch.states, first, more)
        self._free.append(branch.row)
        ending = self._settings.ending(
            self._meaning, reward=branch.rewards[-1], terminated=False, truncated=True, info={}
        )
        return replace(branch, has_ended=True, ending=ending, truncated=True)


def _repeat(values: list[Any], first: int, more: int) -> None:
    """Repeat the values from ``first`` on until there are so many more."""
    loop = values[first:]
    values += (loop * (more // len(loop) + 1))[:more]


def _is_in_loop(branch: Branch) -> bool:
    """Whether a branch is in a state that it was in before, so that it continues as it did then.

    All its members took the same actions since, and they decide by the observation alone.
    """
    return branch.named is not None and branch.named.key() in branch.reached


def _copied(branch: Branch, members: np.ndarray, action: int, flips: bool) -> Branch:  # noqa: FBT001
    """A copy of a branch for some of its members, which take an action of their own."""
    return replace(
        branch,
        members=members,
        actions=[*branch.actions, action],
        rewards=list(branch.rewards),
        flips=[*branch.flips, flips],
        states=list(branch.states),
        reached=dict(branch.reached),
    )
