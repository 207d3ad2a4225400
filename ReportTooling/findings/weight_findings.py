"""What single weights change."""

from __future__ import annotations

from ReportTooling.page.blocks import Finding
from ReportTooling.page.numbers import count, name, number, sentence, share
from ReportTooling.results.loading import Results
from ReportTooling.sections.weights import control_picture, flips_picture


def chosen_weights(results: Results) -> Finding | None:
    """The chosen weights against random ones; None without a comparison."""
    document = results.perturbations
    if document is None:
        return None
    controls = document["summary"]["controls"]
    rows = [
        row for row in controls.get("comparisons") or [] if row["measure"] == "margin_change_size" and row["random"]
    ]
    if not rows:
        return None
    strongest = max(rows, key=lambda row: float(row["candidates"]))
    flips = max(row["candidates"] for row in controls["comparisons"] if row["measure"] == "flip_share")
    ratio = strongest["candidates"] / strongest["random"]
    beats = sum(row["beats_chance"] is True for row in rows)
    text = (
        "The {} weights that feed the important neurons move the margin {} times as much as random weights of the same "
        "layers, {} changing one of them changes at most {} of the decisions on average."
    )
    return Finding(
        sentence=sentence(text, count(document["summary"]["targets"]), number(ratio),
                          "yet" if flips < 0.05 else "and", share(flips)),
        caveat=sentence(
            "The ratio is at value {}, against {} random sets; at {} of {} values the difference is beyond chance "
            "(q at most 0.05).",
            number(strongest["value"]), count(controls["random_sets"]), count(beats), count(len(rows)),
        ),
        section="weights",
        picture=control_picture(document, name="finding-weights", measure=1),
    )  # fmt: skip


def nearest_flip(results: Results) -> Finding | None:
    """The smallest change of one weight that flips a decision; None if nothing flips."""
    document = results.flips
    if document is None or document["summary"]["smallest"] is None:
        return None
    summary = document["summary"]
    smallest = summary["smallest"]
    text = (
        "The decision nearest to a flip changes when {} changes by {}; {} of {} combinations of weight and input can "
        "flip."
    )
    return Finding(
        sentence=sentence(
            text, name(smallest["target"]), number(smallest["change"]), count(summary["pairs_that_flip"]),
            count(summary["pairs"]),
        ),
        caveat=sentence(
            "One weight at a time, within 10 times the largest weight of its layer unless --largest_change is given{}.",
            "; the baseline decision is a near tie" if smallest["near_tie"] else "",
        ),
        section="weights",
        picture=flips_picture(document, name="finding-flips"),
    )  # fmt: skip
