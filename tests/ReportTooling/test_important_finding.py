"""The finding about the most important neuron."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest

from Neuron_Selection.PatchingTooling import open_agent
from ReportTooling.findings.important import most_important_neuron
from ReportTooling.results.loading import load_results


@pytest.mark.parametrize(("sign", "way"), [(1.0, "of the way to the clean run"), (-1.0, "away from it")])
def test_the_direction_of_an_effect_is_in_words(with_results: Path, sign: float, way: str) -> None:
    results = load_results(open_agent(with_results))
    rows = copy.deepcopy(list(results.rows))
    for row in rows:
        row.update(
            effect=0.25 * sign, interval_low=min(0.2 * sign, 0.5 * sign), interval_high=max(0.2 * sign, 0.5 * sign)
        )
    found = most_important_neuron(replace(results, rows=rows))
    assert found is not None
    assert way in found.sentence
    assert "\N{MINUS SIGN}" not in found.sentence
    assert found.sentence.index(">20 %<") < found.sentence.index(">50 %<")
