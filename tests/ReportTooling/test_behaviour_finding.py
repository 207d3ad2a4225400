"""The finding about behaviour where no single neuron costs anything."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest

from Neuron_Selection.PatchingTooling import open_agent
from ReportTooling.findings.behaviour_finding import costliest_neuron
from ReportTooling.page.numbers import rounded
from ReportTooling.results.loading import load_results


@pytest.mark.parametrize("kind", ["exact", "rollouts"])
@pytest.mark.parametrize(("difference", "costs"), [(-0.5, True), (-0.0, False)])
def test_only_a_neuron_that_lowers_the_return_is_said_to_cost_most(
    with_results: Path,
    kind: str,
    difference: float,
    costs: bool,  # noqa: FBT001
) -> None:
    results = load_results(open_agent(with_results))
    document = copy.deepcopy(getattr(results, kind))
    for experiment in document["experiments"]:
        experiment.update(difference=difference, difference_low=difference, difference_high=difference)
    found = costliest_neuron(replace(results, **{"exact": None, "rollouts": None, kind: document}))
    assert found is not None
    assert ("costs most" in found.sentence) == costs


def test_a_share_of_goals_that_does_not_fall_is_not_said_to_be_lowered(with_results: Path) -> None:
    results = load_results(open_agent(with_results))
    document = copy.deepcopy(results.exact)
    assert document is not None
    for experiment in document["experiments"]:
        experiment.update(difference=-0.5, states_goal=document["baseline"]["states_goal"])
    found = costliest_neuron(replace(results, exact=document))
    assert found is not None
    assert "lowers the expected discounted return from" in found.sentence


def test_a_single_episode_has_a_finding_without_an_interval(with_results: Path) -> None:
    results = load_results(open_agent(with_results))
    document = copy.deepcopy(results.rollouts)
    assert document is not None
    for experiment in document["experiments"]:
        experiment.update(difference=-0.5, difference_low=None, difference_high=None)
    found = costliest_neuron(replace(results, exact=None, rollouts=document))
    assert found is not None
    assert "[" not in found.sentence


def test_success_that_stays_the_same_is_said_to(with_results: Path) -> None:
    results = load_results(open_agent(with_results))
    document = copy.deepcopy(results.rollouts)
    assert document is not None
    for experiment in document["experiments"]:
        experiment.update(difference=-0.5, success=document["baseline"]["success"])
    found = costliest_neuron(replace(results, exact=None, rollouts=document))
    assert found is not None
    assert ", while success stays " in found.sentence


def test_zero_has_no_sign() -> None:
    assert (rounded(-0.0), rounded(0.0)) == ("0", "0")
    assert rounded(-0.5) == "\N{MINUS SIGN}0.5"
