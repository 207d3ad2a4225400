"""The finding about the sizes of minimal sets."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest

from Neuron_Selection.PatchingTooling import open_agent
from ReportTooling.findings.set_sizes import neurons_needed
from ReportTooling.results.loading import load_results


@pytest.mark.parametrize(
    ("median", "neurons", "amount"),
    [
        (1, 2, "a single neuron"),
        (2, 64, "few neurons"),
        (5, 16, "several neurons"),
        (41.5, 64, "most neurons of a layer"),
    ],
)
def test_the_amount_is_that_of_the_median(with_results: Path, median: float, neurons: int, amount: str) -> None:
    results = load_results(open_agent(with_results))
    sets = copy.deepcopy(results.minimal_sets)
    for layers in sets.values():
        for site in layers.values():
            site["neurons"], site["summary"]["median_size"] = neurons, median
    found = neurons_needed(replace(results, minimal_sets=sets))
    assert found is not None
    assert found.sentence.startswith(f"A decision needs {amount}: the median is ")
