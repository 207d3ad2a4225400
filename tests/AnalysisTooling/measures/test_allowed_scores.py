"""Masked actions: every metric and decision is that of the scores without the forbidden columns."""

from __future__ import annotations

import numpy as np
import pytest

from Neuron_Selection.AnalysisTooling.experiment_metrics import SELECTION_METRICS
from Neuron_Selection.AnalysisTooling.measures.decisions import (
    action_margins,
    allowed_scores,
    greedy_actions,
    near_ties,
    noise_floor,
)
from Neuron_Selection.AnalysisTooling.measures.metrics import OF_ITSELF, OF_THE_PAIR
from Neuron_Selection.AnalysisTooling.measures.probabilities import softmax
from Parameter_Selection.PerturbationTooling.perturbations.metrics import baseline_of, effects_of
from SaliencyTooling.gradient_network import of_the_margin, of_the_maximum

RUNS = np.random.default_rng(0).normal(size=(3, 60, 5))
MASKS = np.random.default_rng(1).random((60, 5)) < 0.5
MASKS[np.arange(60), np.arange(60) % 5] = True
MASKS[:3] = np.eye(5, dtype=bool)[:3]  # one allowed action only


@pytest.mark.parametrize("name", [*OF_ITSELF, *SELECTION_METRICS, *OF_THE_PAIR])
def test_a_metric_is_that_of_the_allowed_columns(name: str) -> None:
    metric = OF_THE_PAIR.get(name) or {**OF_ITSELF, **SELECTION_METRICS}[name]
    count = 3 if name in OF_THE_PAIR else 2
    found = metric(*(allowed_scores(run, MASKS) for run in RUNS[:count]))
    for row, mask in enumerate(MASKS):
        expected = metric(*(run[row : row + 1, mask] for run in RUNS[:count]))
        assert np.allclose(found[row], expected[0], atol=1e-12, equal_nan=True), row


def test_decisions_are_those_of_the_allowed_columns() -> None:
    scores = RUNS[0].copy()
    scores[:, 1] = scores[:, 2] + 1e-5
    allowed = allowed_scores(scores, MASKS)
    probabilities = softmax(allowed)
    assert (probabilities[~MASKS] == 0).all()
    for row, mask in enumerate(MASKS):
        columns = scores[row : row + 1, mask]
        assert greedy_actions(allowed)[row] == np.flatnonzero(mask)[greedy_actions(columns)[0]]
        assert action_margins(allowed)[row] == action_margins(columns)[0]
        assert near_ties(allowed)[row] == near_ties(columns)[0]
        assert np.allclose(probabilities[row, mask], softmax(columns)[0], atol=1e-15)
    assert noise_floor(allowed) == noise_floor(np.where(MASKS, scores, 0.0))
    assert near_ties(allowed).any()
    assert np.array_equal(allowed_scores(scores, None), scores)


def test_effects_of_weights_are_those_of_the_allowed_columns() -> None:
    changed = np.stack([RUNS[1], RUNS[2], RUNS[0]])
    found = effects_of(baseline_of(RUNS[0], MASKS), changed)
    for row, mask in enumerate(MASKS):
        expected = effects_of(baseline_of(RUNS[0][row : row + 1, mask]), changed[:, row : row + 1, mask])
        for name in type(found).__dataclass_fields__:
            assert np.allclose(getattr(found, name)[:, row], getattr(expected, name)[:, 0], atol=1e-12), name
    assert found.flips.any()


def test_what_is_differentiated_are_allowed_scores() -> None:
    allowed = allowed_scores(RUNS[0], MASKS)
    for weights in (of_the_maximum(allowed), of_the_margin(allowed)):
        assert (weights[~MASKS] == 0).all()
    margins = of_the_margin(allowed)
    assert (margins[:3] == 0).all()  # no rival
    several = MASKS.sum(axis=1) > 1
    assert np.allclose((margins * RUNS[0]).sum(axis=1)[several], action_margins(allowed)[several])
