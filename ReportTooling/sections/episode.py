"""A frame strip of one episode: the baseline beside the changed agent."""

from __future__ import annotations

from Neuron_Selection.DrawingTooling.canvas import svg_bytes
from Neuron_Selection.DrawingTooling.images import decoded_png, draw_strip
from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.results.rollouts_file import ROLLOUTS
from ReportTooling.page.blocks import Paragraph, Picture, Section
from ReportTooling.page.numbers import count, name, sentence
from ReportTooling.results.loading import Results

_ACROSS = 3


def episode(results: Results) -> Section | None:
    """The episode that ``run_rollouts.py --frames`` shows; None without it."""
    if not results.frames or results.rollouts is None:
        return None
    shown = results.rollouts["shown"]
    try:
        images = [(f"step {step}", decoded_png(data)) for step, data in results.frames.items()]
    except ValueError as error:
        file = results.agent.folder.folder / ROLLOUTS / "rollouts_frames.zip"
        raise InputError(file, found=f"a damaged picture ({error})", expected="PNGs") from error
    text = sentence(
        "The unchanged agent on the left, the changed one ({}) on the right, in the episode of seed {}. They part at "
        "step {}.",
        name(shown["experiment"]), count(shown["seed"]), count(shown["parting"]),
    )  # fmt: skip
    picture = Picture(
        name="episode",
        svg=svg_bytes(draw_strip(images, across=_ACROSS)),
        title="An episode.",
        caption=sentence("From {}.", name("rollouts_frames.zip")),
        alternative="Frames of an episode, baseline beside changed agent, at the steps "
        + ", ".join(map(str, results.frames)),
        is_wide=True,
    )
    return Section(name="episode", title="An episode", blocks=[Paragraph(text=text, kind="lead"), picture])
