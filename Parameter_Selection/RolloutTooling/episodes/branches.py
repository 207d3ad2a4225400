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

import numpy as np

from Neuron_Selection.errors import InputError
from Neuron_Selection.ObservationTooling.endings import Ending, meaning_of_termination
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
    ending: Ending = Ending(None, None)
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
    rows = np.flatnonzero(settings.active(observations, steps)) if settings.is_conditional else np.arange(len(steps))
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    at_once = max(1, _PAIRS_AT_ONCE // max(len(rows), 1))
    for start in range(0, count if len(rows) else 0, at_once):
        part = np.arange(start, min(start + at_once, count))
        which = np.repeat(part + 1, len(rows))
        scores = deciders.scores(observations, which, np.tile(rows, len(part)), moments)
        chosen = settings.acting.actions_of(scores, np.tile(numbers[rows], (len(part), 1)))
        actions = np.repeat(baseline[None], len(part), axis=0)
        actions[:, rows] = chosen.reshape(len(part), len(rows))
        differs = actions != baseline
        for number, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
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
        live += [runner.started(waiting.pop()) for _ in range(min(len(waiting), _BRANCHES_AT_ONCE - len(live)))]
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
                flips=[False] * step,
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

    def started(self, branch: Branch) -> Branch:
        """Give a branch an environment of its own, in the state before its last action, and take that action."""
        if not self._free:
            count = len(self._pool.envs)
            self._pool.add_rows(count)
            self._free = list(range(count, 2 * count))[::-1]
        row, seed = self._free.pop(), self._episodes[branch.episode].seed
        self._pool.restart(row, seed)
        named = named_states(self._pool.envs[row]) if self._repeats else None
        for action in branch.actions[:-1]:
            self._pool.advance(row, action)
        step = len(branch.actions) - 1
        if not self._pool.running[row] or fingerprints(self._pool.observations_of([row]))[0] != branch.states[step]:
            raise InputError(
                self._pool.environment.where,
                f"seed {seed}, step {step}",
                found="another observation than before",
                expected="the same after the same seed and actions",
                hint="reset(seed=...) must seed every random number of the environment",
            )
        return self._taken(replace(branch, row=row, named=named), flipped=True)

    def stepped(self, live: Sequence[Branch]) -> list[Branch]:
        """Every branch after one more step; those whose members part are divided, those in a loop run to their end."""
        after = [self._repeated(branch) for branch in live if _is_in_loop(branch)]
        live = [branch for branch in live if not _is_in_loop(branch)]
        if not live:
            return after
        for branch in live:
            if branch.named is not None:
                branch.reached[branch.named.key()] = len(branch.actions)
        observations = self._pool.observations_of([branch.row for branch in live])
        states = fingerprints(observations)
        steps = np.array([len(branch.actions) for branch in live])
        active = (
            self._settings.active(observations, steps) if self._settings.is_conditional else np.ones(len(live), bool)
        )
        counts = np.array([len(branch.members) for branch in live]) * active
        rows = np.repeat(np.arange(len(live)), 1 + counts)
        first = np.cumsum(1 + counts) - counts  # of each branch's members; the baseline is before them
        which = np.full(len(rows), BASELINE)
        for branch, place, count in zip(live, first.tolist(), counts.tolist(), strict=True):
            which[place : place + count] = branch.members[:count]
        moments = [(self._episodes[branch.episode].seed, len(branch.actions)) for branch in live]
        scores = self._deciders.scores(observations, which, rows, moments)
        drawn = np.stack([self._drawn[branch.episode][len(branch.actions)] for branch in live])
        chosen = self._settings.acting.actions_of(scores, drawn[rows])
        for number, branch in enumerate(live):
            branch.states.append(states[number])
            own = chosen[first[number] : first[number] + counts[number]]
            after += self._divided(
                branch, own if active[number] else chosen[first[number] - 1], chosen[first[number] - 1]
            )
        return after

    def _divided(self, branch: Branch, own: np.ndarray, baseline: int) -> list[Branch]:
        """A branch after its members took their actions: itself, or several.

        :param own: (n_members,), or one action for all
        :param baseline: the action of the unchanged agent in the same state
        """
        if own.ndim == 0 or (own == own[0]).all():
            action = int(own.flat[0])
            branch.actions.append(action)
            return [self._taken(branch, flipped=action != baseline)]
        after = []
        taken, counts = np.unique(own, return_counts=True)
        *others, largest = taken[np.argsort(counts, kind="stable")].tolist()
        for action in others:
            new = self.started(_copied(branch, branch.members[own == action], action))
            new.flips[-1] = action != baseline
            after.append(new)
        kept = _copied(branch, branch.members[own == largest], largest)
        return [*after, self._taken(kept, flipped=largest != baseline)]

    def _repeated(self, branch: Branch) -> Branch:
        """A branch that is back in an earlier state, with the steps of the loop repeated up to the time limit."""
        assert branch.named is not None  # noqa: S101 - loops are seen by named states
        step = len(branch.actions)
        first = branch.reached[branch.named.key()]
        limit = min(self._settings.max_steps, branch.named.limit or self._settings.max_steps)
        for values in (branch.actions, branch.rewards, branch.flips, branch.states):
            values += [values[first + place % (step - first)] for place in range(limit - step)]  # type: ignore[misc, operator]
        self._free.append(branch.row)
        ending = self._settings.ending(
            self._meaning, reward=branch.rewards[-1], terminated=False, truncated=True, info={}
        )
        return replace(branch, has_ended=True, ending=ending, truncated=True)

    def _taken(self, branch: Branch, *, flipped: bool) -> Branch:
        """Take the last action of a branch in its environment."""
        reward, terminated, truncated, info = self._pool.advance(branch.row, branch.actions[-1])
        branch.rewards.append(reward)
        branch.flips.append(flipped)
        if not (terminated or truncated):
            return branch
        self._free.append(branch.row)
        ending = self._settings.ending(
            self._meaning, reward=reward, terminated=terminated, truncated=truncated, info=info
        )
        return replace(branch, has_ended=True, ending=ending, truncated=truncated and not terminated)


def _is_in_loop(branch: Branch) -> bool:
    """Whether a branch is in a state that it was in before, so that it goes on as it did then.

    All its members took the same actions since, and they decide by the observation alone.
    """
    return branch.named is not None and branch.named.key() in branch.reached


def _copied(branch: Branch, members: np.ndarray, action: int) -> Branch:
    """A copy of a branch for some of its members, which take an action of their own."""
    return replace(
        branch,
        members=members,
        actions=[*branch.actions, action],
        rewards=list(branch.rewards),
        flips=list(branch.flips),
        states=list(branch.states),
        reached=dict(branch.reached),
    )
