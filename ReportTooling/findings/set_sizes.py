"""How many neurons a decision needs."""

from __future__ import annotations

from ReportTooling.page.blocks import Finding
from ReportTooling.page.numbers import count, name, number, sentence, share
from ReportTooling.results.loading import Results
from ReportTooling.sections.sizes import size_picture


def neurons_needed(results: Results) -> Finding | None:
    """The median size of minimal sets of the layer that needs fewest; None without any set."""
    direction = next(iter(results.minimal_sets), None)
    if direction is None:
        return None
    sites = {
        layer: site
        for layer, site in results.minimal_sets[direction].items()
        if site["summary"]["median_size"] is not None
    }
    if not sites:
        return None
    layer, site = min(sites.items(), key=lambda one: float(one[1]["summary"]["median_size"]))
    summary = site["summary"]
    random = [curve["median_size"] for curve in site["curves"] if curve["ranking"] == "random"]
    does = "restore" if direction == "denoising" else "destroy"
    text = "A decision needs {}: the median is {} of the {} in {} to {} the clean action{}; the largest set has {}."
    versus = sentence(", where a random order takes {}", number(random[0])) if random and random[0] is not None else ""
    found = summary["one_minimal_sets"]
    return Finding(
        sentence=sentence(text, _amount(summary["median_size"], of=site["neurons"]), number(summary["median_size"]),
                          count(site["neurons"]), name(layer), does, versus, count(summary["greatest_size"])),
        caveat=sentence(
            "No neuron can be left out of these sets, but only {} of {} are proven to be the smallest; in {} pairs "
            "adding a neuron undoes the action ({}).",
            count(summary["proven_smallest"]), count(found), count(summary["not_monotone"]),
            share(summary["not_monotone"] / found if found else None),
        ),
        section="sizes",
        picture=size_picture(results.minimal_sets, direction, name="finding-sizes"),
    )  # fmt: skip


def _amount(median: float, *, of: int) -> str:
    """Roughly how many neurons of a layer."""
    if median <= 1:
        return "a single neuron"
    if median <= of / 10:
        return "few neurons"
    return "several neurons" if median <= of / 2 else "most neurons of a layer"
