from __future__ import annotations

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling.measures.probabilities import softmax
from Neuron_Selection.errors import SuiteError
from Neuron_Selection.FileFormats.scores import LOGITS, Q_VALUES
from Neuron_Selection.ObservationTooling.environments.acting import Acting, episode_generator, parse_acting

SCORES = np.array([0.3, -1.0, 1.2])


def share_of_actions(acting: Acting, n: int = 20_000) -> np.ndarray:
    generator = episode_generator(0)
    actions = acting.actions(np.tile(SCORES, (n, 1)), [generator] * n)
    return np.bincount(actions, minlength=3) / n


def test_actions_have_the_probabilities_of_their_policy() -> None:
    greedy = np.array([0, 0, 1])
    expected = {
        "greedy": greedy,
        "random": np.full(3, 1 / 3),
        "epsilon=0.3": 0.7 * greedy + 0.1,
        "epsilon=0": greedy,
        "epsilon=1": np.full(3, 1 / 3),
        "sampled": softmax(SCORES[None])[0],
    }
    for text, shares in expected.items():
        acting = parse_acting(text, scores=LOGITS)
        assert str(acting) == text
        np.testing.assert_allclose(share_of_actions(acting), shares, atol=0.015)


@pytest.mark.parametrize("text", ["random", "epsilon=0.5", "sampled"])
def test_an_episode_does_not_depend_on_those_beside_it(text: str) -> None:
    acting, scores = parse_acting(text, scores=LOGITS), np.random.default_rng(0).normal(size=(40, 5, 3))
    together = [episode_generator(seed) for seed in range(5)]
    beside = np.array([acting.actions(step, together) for step in scores])
    alone = episode_generator(3)
    by_itself = [int(acting.actions(step[3:4], [alone])[0]) for step in scores]
    assert beside[:, 3].tolist() == by_itself


def test_random_actions_are_not_the_numbers_of_the_environment() -> None:
    assert episode_generator(5).random() != np.random.default_rng(5).random()


@pytest.mark.parametrize(
    "text", ["", "Greedy", "epsilon", "epsilon=", "epsilon=2", "epsilon=nan", "epsilon=-0.1", "e=1"]
)
def test_another_policy_is_refused(text: str) -> None:
    with pytest.raises(SuiteError) as raised:
        parse_acting(text, scores=LOGITS)
    assert raised.value.exit_code == 2


def test_q_values_define_no_probabilities() -> None:
    with pytest.raises(SuiteError):
        parse_acting("sampled", scores=Q_VALUES)
