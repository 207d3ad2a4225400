"""The most important neuron."""

from __future__ import annotations

from Neuron_Selection.FileFormats.directions import DIRECTIONS
from ReportTooling.page.blocks import Finding
from ReportTooling.page.numbers import count, interval, name, sentence, share
from ReportTooling.results.important_neurons import important_rows
from ReportTooling.results.loading import Results
from ReportTooling.sections.neurons import intervals_picture


def most_important_neuron(results: Results) -> Finding | None:
    """The neuron that is first in the ranking; None without one that has an effect."""
    important = important_rows(results)
    if not important:
        return None
    first = important[0]
    direction = next(one for one in DIRECTIONS if one in first.rows)
    row = first.rows[direction]
    if row["effect"] is None:
        return None
    run = "clean" if direction == "denoising" else "corrupted"
    effect, low, high = row["effect"], row["interval_low"], row["interval_high"]
    way = f"of the way to the {run} run"
    if effect < 0:
        way = f"of the distance to the {run} run, away from it"
        effect, low, high = -effect, None if high is None else -high, None if low is None else -low
    bracket = interval(low, high, as_shares=True)
    text = (
        "Neuron {} of {} matters most: alone it moves the margin between both actions {} {} {}, and changes {} of {} "
        "decisions."
    )
    clusters = int(row["clusters"] or 0)
    caveat = (
        "The 95 % interval is over {} clusters of inputs{}; a large share of the margin is not yet another decision."
    )
    return Finding(
        sentence=sentence(
            text, str(first.neuron), name(first.layer), share(effect), bracket, way, count(int(row["flips"])),
            count(int(row["n"])),
        ),
        caveat=sentence(caveat, count(clusters), ", too few for its nominal coverage" if clusters < 40 else ""),
        section="neurons",
        picture=intervals_picture(important, [one for one in DIRECTIONS if one in first.rows],
                                  name="finding-important"),
    )  # fmt: skip
