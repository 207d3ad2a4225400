"""Behaviour: what ablated neurons do to whole episodes, against what they do to single decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from Neuron_Selection.DrawingTooling.canvas import svg_bytes
from Neuron_Selection.DrawingTooling.points import Points, draw_scatter
from ReportTooling.page.blocks import Block, Facts, Gallery, Paragraph, Part, Picture, Section, Table, Text
from ReportTooling.page.numbers import count, interval, joined, name, number, printable, sentence, share
from ReportTooling.results.behaviour import single_neurons
from ReportTooling.results.loading import Results

_LISTED = 12
_FEWEST = 6  # neurons of a layer for which a picture is drawn
_CLASSES = ("behaviour", "decisions only", "no effect")


def behaviour(results: Results) -> Section | None:
    """Exact values and sampled episodes; None without either."""
    blocks: list[Block] = []
    if results.exact is not None:
        blocks.append(_exact(results.exact))
    if results.rollouts is not None:
        blocks.append(_sampled(results.rollouts))
    if not blocks:
        return None
    lead = (
        "A neuron that decides single decisions need not matter for what the agent achieves, and the reverse. Here "
        "neurons are changed during whole episodes."
    )
    return Section(name="behaviour", title="Behaviour", blocks=[Paragraph(text=lead, kind="lead"), *blocks])


def link_pictures(document: Mapping[str, Any], *, name: str) -> list[Picture]:
    """For each layer, what changing a neuron costs against its one-step importance."""
    pictures = []
    for place, (layer, links) in enumerate(document.get("link", {}).items(), start=1):
        link = links.get("importance") or next(iter(links.values()), None)
        if link is None or len(link["one_step"]) < _FEWEST:
            continue
        of = {one["experiment"]: one for one in document["experiments"]}
        x, y = np.array(link["one_step"], float), np.array(link["behaviour"], float)
        classes = [of.get(experiment, {}).get("class") for experiment in link["experiments"]]
        series = []
        for kind in _CLASSES:
            chosen = np.array([one == kind for one in classes])
            if chosen.any():
                series.append(Points(label=kind, x=x[chosen], y=y[chosen], is_control=kind == "no effect"))
        far = np.argsort(-y, kind="stable")[:4]
        specs = [str(of.get(experiment, {}).get("patch", "")) for experiment in link["experiments"]]
        labels = [(float(x[row]), float(y[row]), printable(specs[row]).rpartition(":")[2]) for row in far if y[row] > 0]
        listed = ", ".join(f"{printable(specs[row])} {y[row]:.3g}" for row in far)
        pictures.append(
            Picture(
                name=f"{name}-{place}",
                svg=svg_bytes(
                    draw_scatter(series, x_label="one-step importance", y_label="|change of the return|", labels=labels)
                ),
                title=sentence("One-step against episode effect, {}.", printable(layer)),
                caption=sentence(
                    "Spearman correlation {} over {} neurons.", number(link["spearman"]), count(link["n"])
                ),
                alternative=f"Change of the return against one-step importance, {printable(layer)}. Largest: {listed}",
            )
        )
    return pictures


def _exact(document: Mapping[str, Any]) -> Part:
    baseline = document["baseline"]
    states = document["states"]
    facts: list[tuple[str, Text]] = [
        ("States", count(states)),
        ("Reach the goal", share(baseline["states_goal"] / states)),
        ("Die", share(baseline["states_death"] / states)),
        ("Loop for ever", share(baseline["states_loop"] / states)),
    ]
    neurons = [one for one in single_neurons(document) if one["difference"]]
    worst = sorted(neurons, key=lambda one: float(one["difference"]))[:_LISTED]
    rows: list[list[Text]] = [
        [
            name(one["patch"]), number(one["value"]), number(one["difference"]), count(one["states_goal"]),
            count(one["states_death"]), count(one["states_loop"]), count(one["states_flipped"]), one["class"],
        ]
        for one in worst
    ]  # fmt: skip
    columns = ["Neuron", "Value", "Difference", "Goal", "Die", "Loop", "Decisions changed", "Class"]
    note = sentence(
        "Ablation: {}. World: {}. Values are exact, discounted by {}, over the start distribution; states and "
        "decisions are counted over all states. {}",
        document["ablation"] or "none", document["world"], number(document["gamma"]), document["rule"],
    )  # fmt: skip
    table = Table(name="exact", caption="The ablations that cost most", columns=columns, rows=rows,
                  numeric=range(1, 7), note=note)  # fmt: skip
    pictures = Gallery(pictures=link_pictures(document, name="exact-link"))
    blocks: Sequence[Block] = [Facts(facts=facts, is_large=True), pictures, _classes(document), table]
    return Part(name="exact-values", title="In every state", blocks=blocks)


def _sampled(document: Mapping[str, Any]) -> Part:
    baseline = document["baseline"]
    facts: list[tuple[str, Text]] = [
        ("Episodes", count(document["episodes"])),
        ("Mean return", number(baseline["return"])),
        ("Success", share(baseline["success"])),
        ("Mean length", number(baseline["length"])),
    ]
    ranked = sorted(
        (one for one in document["experiments"] if not one["control_of"] and one["difference"] is not None),
        key=lambda one: float(one["difference"]),
    )
    rows: list[list[Text]] = [
        [
            _change(one), number(one["return"]), number(one["difference"]),
            interval(one["difference_low"], one["difference_high"]), number(one["q"], digits=2), share(one["success"]),
            share(one["flips_baseline_states"]), one["class"],
        ]
        for one in ranked[:_LISTED]
    ]  # fmt: skip
    columns = ["Change", "Return", "Difference", "95 % interval", "q", "Success", "Decisions changed", "Class"]
    remarks = " ".join(f"{remark}." for remark in document.get("remarks", []))
    note = sentence("Ablation: {}. {} {}", document["ablation"] or "none", document["rule"], remarks)
    table = Table(name="sampled", caption="The changes that cost most", columns=columns, rows=rows,
                  numeric=range(1, 7), note=note)  # fmt: skip
    pictures = link_pictures(document, name="sampled-link")
    galleries: list[Block] = [Gallery(pictures=pictures)] if pictures else []
    blocks: Sequence[Block] = [Facts(facts=facts, is_large=True), *galleries, _classes(document), table]
    return Part(name="sampled-episodes", title="Over sampled episodes", blocks=blocks)


def _change(one: Mapping[str, Any]) -> Text:
    """A change by its patch; a patch of many neurons by its experiment's name."""
    patch = one.get("patch")
    return name(patch if isinstance(patch, str) and len(patch) <= 40 else one["experiment"])


def _classes(document: Mapping[str, Any]) -> Paragraph:
    counts = [sentence("{} {}", count(n), kind) for kind, n in document["classes"].items()]
    return Paragraph(text=sentence("Classes of the experiments: {}.", joined(counts)))
