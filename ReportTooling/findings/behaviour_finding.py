"""What the costliest single neuron does to behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ReportTooling.page.blocks import Finding, Text
from ReportTooling.page.numbers import count, interval, joined, name, number, sentence, share
from ReportTooling.results.behaviour import single_neurons
from ReportTooling.results.loading import Results
from ReportTooling.sections.behaviour_section import link_pictures


def costliest_neuron(results: Results) -> Finding | None:
    """The neuron whose ablation costs most return: exactly where the world is finite, else over episodes."""
    return _exact(results) or _sampled(results)


def _exact(results: Results) -> Finding | None:
    document = results.exact
    neurons = list(single_neurons(document)) if document is not None else []
    if document is None or len(neurons) < 2:
        return None
    worst = min(neurons, key=lambda one: float(one["difference"]))
    states, baseline = document["states"], document["baseline"]
    costly = sum(one["class"] == "behaviour" for one in neurons)
    lowers: tuple[str, ...] = "expected discounted return", number(baseline["value"]), number(worst["value"])
    if worst["states_goal"] < baseline["states_goal"]:
        goal, left = (share(one["states_goal"] / states) for one in (baseline, worst))
        lowers = "share of states that reach the goal", goal, left
    text = (
        "Behaviour is another matter: {} of {} neurons change what the agent achieves when they are ablated alone; {} "
        "costs most, it lowers the {} from {} to {}."
    )
    found = sentence(text, count(costly), count(len(neurons)), name(worst["patch"]), *lowers)
    if not worst["difference"] < 0:
        found = sentence("None of {} neurons costs anything when it is ablated alone.", count(len(neurons)))
    return Finding(
        sentence=found,
        caveat=sentence(
            "Exact over all {} states, for the ablation to {}. {}", count(states), document["ablation"] or "none",
            _link(document),
        ),
        section="behaviour",
        picture=next(iter(link_pictures(document, name="finding-behaviour")), None),
    )  # fmt: skip


def _sampled(results: Results) -> Finding | None:
    document = results.rollouts
    neurons = [one for one in single_neurons(document) if one["difference"] is not None] if document is not None else []
    if document is None or not neurons:
        return None
    worst = min(neurons, key=lambda one: float(one["difference"]))
    baseline = document["baseline"]
    found = sentence(
        "Over whole episodes, ablating {} costs most: the return falls by {} from {}{}.",
        name(worst["patch"]), _fall(worst), number(baseline["return"]), _success(worst, baseline),
    )  # fmt: skip
    if not worst["difference"] < 0:
        text = "Over whole episodes, none of {} neurons lowers the return of {} when it is ablated alone."
        found = sentence(text, count(len(neurons)), number(baseline["return"]))
    return Finding(
        sentence=found,
        caveat=sentence(
            "Paired over {} episodes, ablation {}, {} neurons tried. {}", count(document["episodes"]),
            document["ablation"] or "none", count(len(neurons)), _link(document),
        ),
        section="behaviour",
        picture=next(iter(link_pictures(document, name="finding-behaviour")), None),
    )  # fmt: skip


def _fall(worst: Mapping[str, Any]) -> Text:
    """By how much the return falls, with its interval; equal or single episodes give none."""
    low, high = worst["difference_low"], worst["difference_high"]
    if low is None or high is None:
        return number(-worst["difference"])
    return sentence("{} {}", number(-worst["difference"]), interval(-high, -low))


def _success(worst: Mapping[str, Any], baseline: Mapping[str, Any]) -> Text:
    """What becomes of success; nothing where the environment does not report it."""
    if worst["success"] is None or baseline["success"] is None:
        return ""
    if worst["success"] == baseline["success"]:
        return sentence(", while success stays {}", share(baseline["success"]))
    return sentence(", and success is {} instead of {}", share(worst["success"]), share(baseline["success"]))


def _link(document: Mapping[str, Any]) -> Text:
    """The correlation of one-step importance and behaviour, by layer."""
    links = {layer: of["importance"] for layer, of in document.get("link", {}).items() if of.get("importance")}
    parts = [
        sentence("{} in {}", number(link["spearman"]), name(layer))
        for layer, link in links.items()
        if link["spearman"] is not None
    ]
    return sentence("Spearman correlation of one-step importance and behaviour: {}.", joined(parts)) if parts else ""
