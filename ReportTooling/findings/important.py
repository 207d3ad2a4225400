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
    way = f"to the {'clean' if direction == 'denoising' else 'corrupted'} run"
    bracket = interval(row["interval_low"], row["interval_high"], as_shares=True)
    text = (
        "Neuron {} of {} matters most: alone it moves the margin between both actions {} {} of the way {}, and changes "
        "{} of {} decisions."
    )
    clusters = int(row["clusters"] or 0)
    caveat = (
        "The 95 % interval is over {} clusters of inputs{}; a large share of the margin is not yet another decision."
    )
    return Finding(
        sentence=sentence(
            text, str(first.neuron), name(first.layer), share(row["effect"]), bracket, way, count(int(row["flips"])),
            count(int(row["n"])),
        ),
        caveat=sentence(caveat, count(clusters), ", too few for its nominal coverage" if clusters < 40 else ""),
        section="neurons",
        picture=intervals_picture(important, [one for one in DIRECTIONS if one in first.rows],
                                  name="finding-important"),
    )  # fmt: skip
