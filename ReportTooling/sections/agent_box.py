"""The agent in a box: algorithm, layers, environment, scores, and what was found in a few numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from Neuron_Selection.FileFormats.agent_zip.spaces import describe_space
from ReportTooling.page.blocks import Block, Facts, Folded, Section, Table, Text
from ReportTooling.page.numbers import count, joined, name, number, sentence, share
from ReportTooling.results.loading import Results

_ENVIRONMENT = re.compile(r"(.+-v\d+)-")


def environment_of(results: Results) -> str | None:
    """The id of the environment, from the ids of the inputs; None if they do not begin with one."""
    found = {match[1] for i in (results.pairs.ids if results.pairs else ()) if (match := _ENVIRONMENT.match(i))}
    return found.pop() if len(found) == 1 else None


def agent_box(results: Results) -> Section:
    """What the agent is."""
    agent, architecture = results.agent, results.agent.architecture
    environment = environment_of(results)
    facts: list[tuple[str, Text]] = [
        ("Environment", name(environment) if environment else "not recorded in the files"),
        ("Observations", name(describe_space(agent.agent_zip.observation_space))),
        ("Actions", joined([name(action) for action in results.actions[:12]])),
        ("Decides by", sentence("the greatest of its {}", results.scores)),
        ("Activation function", name(architecture.activation_fn)),
        ("Features extractor", name(architecture.extractor or "of a custom policy")),
        ("Saved by", sentence("Stable-Baselines3 {}", name(agent.agent_zip.sb3_version))),
        ("Computed by", sentence("engine {}, {}", agent.engine, agent.dtype)),
    ]
    return Section(
        name="agent",
        title="The agent",
        blocks=[Facts(facts=_large(results), is_large=True), Facts(facts=facts), *_layers(results)],
    )


def _large(results: Results) -> list[tuple[str, Text]]:
    hidden = [layer for layer in results.agent.layer_table.layers.values() if layer.role == "pre-activation"]
    facts: list[tuple[str, Text]] = [
        ("Algorithm", results.algorithm),
        ("Hidden neurons", count(sum(layer.width for layer in hidden))),
    ]
    if results.pairs is not None:
        contrast = results.pairs.has_contrast
        facts.append(("Pairs of inputs", count(len(contrast))))
        facts.append(("With different actions", share(float(contrast.mean()))))
    if results.rollouts is not None:
        facts.append(("Mean return", number(results.rollouts["baseline"]["return"])))
        facts.append(("Success", share(results.rollouts["baseline"]["success"])))
    elif results.exact is not None:
        facts.append(("Success", share(results.exact["baseline"]["success"])))
    if results.summary is not None and results.rows:
        dead = {row["experiment"] for row in results.rows if row["flag"]}
        facts.append(("Neurons without effect", count(len(dead))))
    return facts


def _layers(results: Results) -> Sequence[Block]:
    layers = results.agent.layer_table.layers
    rows: list[list[Text]] = [
        [name(layer.name), layer.kind, layer.role, count(layer.width)] for layer in layers.values()
    ]
    columns = ["Layer", "Kind", "Role", "Neurons"]
    table = Table(
        name="layers", caption="Layers, in the order in which they fire", columns=columns, rows=rows, numeric=[3]
    )
    return [Folded(summary=sentence("Its {} layers", count(len(layers))), blocks=[table])]
