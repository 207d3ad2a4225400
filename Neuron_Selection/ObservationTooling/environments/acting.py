"""How an agent acts: greedily, sampled from its policy, at random, or greedily but for a share of random actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import greedy_actions
from Neuron_Selection.AnalysisTooling.measures.probabilities import softmax
from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.scores import LOGITS
from Neuron_Selection.flag_types import plain_float

KINDS = ("greedy", "sampled", "random")
_OF_ACTIONS = 1  # gymnasium seeds an environment's generator with the seed alone; the two would draw the same numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Acting:
    """``kind``: greedy, sampled, random or epsilon; ``epsilon``: the probability of a random action."""

    kind: str
    epsilon: float = 0.0

    def __str__(self) -> str:
        return f"epsilon={self.epsilon:g}" if self.kind == "epsilon" else self.kind

    def actions(self, scores: np.ndarray, generators: Sequence[np.random.Generator]) -> np.ndarray:
        """The next action of each episode.

        :param scores: (n, n_actions), of the network; minus infinity for actions that a mask forbids
        :param generators: one for each episode, which decides its random actions; each gives as many numbers in every
            step, so that an episode does not depend on the others
        :return: (n,), int64
        """
        if self.kind == "greedy":
            return greedy_actions(scores)
        return self.actions_of(scores, np.array([generator.random(2) for generator in generators]).reshape(-1, 2))

    def actions_of(self, scores: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """The actions that follow from numbers that are drawn already.

        :param scores: (n, n_actions)
        :param drawn: (n, 2), from 0 to 1, the next two numbers of each episode's generator
        :return: (n,), int64
        """
        greedy = greedy_actions(scores)
        if self.kind == "greedy":
            return greedy
        if self.kind == "sampled":
            sums = np.cumsum(softmax(scores), axis=1)
            sampled: np.ndarray = np.argmax(sums > drawn[:, :1] * sums[:, -1:], axis=1)
            return sampled
        allowed = np.cumsum(scores > -np.inf, axis=1)  # the last column counts the allowed actions
        at_random = np.argmax(allowed > np.floor(drawn[:, 1:] * allowed[:, -1:]), axis=1)
        is_random = drawn[:, 0] < (1.0 if self.kind == "random" else self.epsilon)
        return np.where(is_random, at_random, greedy)


def parse_acting(text: str, *, scores: str) -> Acting:
    """Parse ``greedy``, ``sampled``, ``epsilon=E`` or ``random``.

    :param scores: what the agent's scores are; only logits define probabilities from which actions are sampled
    :raises SuiteError: another text, a probability outside of 0 to 1, or sampling from Q-values
    """
    if text in KINDS:
        if text == "sampled" and scores != LOGITS:
            raise UsageError("--policy sampled needs an actor's logits; of Q-values use --policy epsilon=0.1")
        return Acting(kind=text)
    word, _, value = text.partition("=")
    try:
        epsilon = plain_float(value) if word == "epsilon" else np.nan
    except ValueError:
        epsilon = np.nan
    if not 0 <= epsilon <= 1:
        expected = "greedy, sampled, random, or epsilon=E with E from 0 to 1"
        raise InputError("--policy", found=shown(text), expected=expected)
    return Acting(kind="epsilon", epsilon=float(epsilon))


def episode_generator(seed: int) -> np.random.Generator:
    """The generator of the random actions in the episode of a seed, which is not that of its environment."""
    return np.random.default_rng((seed, _OF_ACTIONS))
