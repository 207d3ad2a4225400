"""The five findings of a page: the first five that the results allow, in this order of questions."""

from __future__ import annotations

from collections.abc import Callable

from ReportTooling.findings.behaviour_finding import costliest_neuron
from ReportTooling.findings.decisions import single_neurons_decide
from ReportTooling.findings.important import most_important_neuron
from ReportTooling.findings.set_sizes import neurons_needed
from ReportTooling.findings.weight_findings import chosen_weights, nearest_flip
from ReportTooling.page.blocks import Finding
from ReportTooling.results.loading import Results

_MOST = 5
FINDINGS: tuple[Callable[[Results], Finding | None], ...] = (
    single_neurons_decide,
    most_important_neuron,
    neurons_needed,
    costliest_neuron,
    chosen_weights,
    nearest_flip,
)


def five_findings(results: Results) -> list[Finding]:
    """At most five."""
    found = (find(results) for find in FINDINGS)
    return [finding for finding in found if finding is not None][:_MOST]
