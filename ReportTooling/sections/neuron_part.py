"""The part about one neuron: its activations, what it reads, what it moves, and the pairs it matters for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from Neuron_Selection.DrawingTooling.canvas import svg_bytes
from Neuron_Selection.DrawingTooling.grids import draw_signed_bars
from Neuron_Selection.DrawingTooling.points import Points, draw_intervals, draw_scatter
from ReportTooling.page.blocks import Block, Facts, Gallery, Part, Picture, Table, Text
from ReportTooling.page.numbers import interval, name, number, printable, sentence, share
from ReportTooling.results.behaviour import of_neuron
from ReportTooling.results.connections import incoming, outgoing
from ReportTooling.results.important_neurons import ImportantRows
from ReportTooling.results.loading import Results
from ReportTooling.results.observation_pictures import draw_reading, draw_strongest, tables_of
from ReportTooling.results.pairs import Pairs
from ReportTooling.results.sensitivity import mean_derivative
from ReportTooling.sections.effects import slug

_LISTED = 6


def neuron_part(results: Results, neuron: ImportantRows) -> Part:
    """Everything about one neuron."""
    anchor = f"neuron-{slug(neuron.layer)}-{neuron.neuron}"
    pictures = [
        *_activations(results, neuron, anchor), *_reads(results, neuron, anchor), *_moves(results, neuron, anchor),
    ]  # fmt: skip
    blocks: list[Block] = [
        *_behaviour(results, neuron),
        Gallery(pictures=pictures),
        *_pairs_table(results, neuron, anchor),
    ]
    title = sentence("Neuron {} of {}", str(neuron.neuron), name(neuron.layer))
    return Part(name=anchor, title=title, blocks=blocks)


def _behaviour(results: Results, neuron: ImportantRows) -> Iterator[Facts]:
    """What ablating it does to behaviour."""
    found = of_neuron(results, neuron.spec)
    facts: list[tuple[str, Text]] = []
    if "exact" in found and results.exact is not None:
        one, states = found["exact"], results.exact["states"]
        facts.append(("Reach the goal without it", share(one["states_goal"] / states)))
        facts.append(("Loop or die", share((one["states_loop"] + one["states_death"]) / states)))
        facts.append(("Decisions changed", share(one["states_flipped"] / states)))
    if "rollouts" in found:
        one = found["rollouts"]
        bracket = interval(one["difference_low"], one["difference_high"])
        facts.append(("Return, sampled", sentence("{} {}", number(one["difference"]), bracket)))
        facts.append(("Class, sampled", str(one["class"])))
    if facts:
        yield Facts(facts=facts)


def _activations(results: Results, neuron: ImportantRows, anchor: str) -> Iterator[Picture]:
    if results.pairs is None:
        return
    before, after = (
        _outputs(results, inputs.observations, neuron) for inputs in (results.pairs.clean, results.pairs.corrupted)
    )
    groups = results.pairs.has_contrast
    series = (
        [Points(label="same action", x=before[~groups], y=after[~groups], is_control=True)] if not groups.all() else []
    )
    series = [Points(label="different actions", x=before[groups], y=after[groups]), *series]
    changed = int((before != after).sum())
    yield Picture(
        name=f"{anchor}-activation",
        svg=svg_bytes(
            draw_scatter([one for one in series if len(one.x)], x_label="output for the clean input",
                         y_label="for the corrupted input", diagonal=True)
        ),
        title="Its output in both inputs of each pair.",
        caption=sentence(
            "On the line: the same in both. It differs in {} of {} pairs; mean {} clean, {} corrupted.",
            str(changed), str(len(before)), number(float(before.mean())), number(float(after.mean())),
        ),
        alternative=f"Outputs of {printable(neuron.spec)} for clean against corrupted inputs; they differ in "
        f"{changed} of {len(before)} pairs",
    )  # fmt: skip


def _outputs(results: Results, observations: object, neuron: ImportantRows) -> np.ndarray:
    """One number for each input: the neuron's output, the mean over the places of a channel."""
    network = results.agent.network
    outputs = network.activations(observations, [neuron.layer])[neuron.layer]  # type: ignore[arg-type]
    axis = results.agent.layer_table.layers[neuron.layer].neuron_axis
    own = np.take(outputs, neuron.neuron, axis=axis).astype(np.float64)
    values: np.ndarray = own.reshape(len(own), -1).mean(axis=1)
    return values


def _reads(results: Results, neuron: ImportantRows, anchor: str) -> Iterator[Picture]:
    found = incoming(results.agent, neuron.layer, neuron.neuron)
    if found is None:
        return
    if not found.source:
        yield _on_observation(
            results,
            found.weights,
            neuron,
            name=f"{anchor}-reads",
            label="weight",
            caption="Its incoming weights, from the observation.",
        )
        return
    names = [printable(f"{found.source}:{place}") for place in range(len(found.weights))]
    yield Picture(
        name=f"{anchor}-reads",
        svg=svg_bytes(draw_strongest(found.weights, names, label="weight")),
        title="What it reads.",
        caption=sentence("Its greatest incoming weights, from {}.", name(found.source)),
        alternative=f"Incoming weights of {printable(neuron.spec)}. The greatest: {_strongest(found.weights, names)}",
    )
    if results.pairs is not None:
        slopes = mean_derivative(results.agent, neuron.layer, neuron.neuron, results.pairs.clean.observations)
        if slopes is not None:
            caption = "What it reads in the observation: its mean derivative over the clean inputs."
            yield _on_observation(results, slopes, neuron, name=f"{anchor}-sees", label="derivative", caption=caption)


def _on_observation(
    results: Results, values: np.ndarray, neuron: ImportantRows, *, name: str, label: str, caption: str
) -> Picture:
    """One number for each entry of the observation."""
    space = results.agent.agent_zip.observation_space
    names = list(tables_of(results.pairs, space, results.encoding)[0].names) if results.pairs is not None else []
    if len(names) != len(values):  # such as the one-hot code of a Discrete space
        names = [f"feature {place}" for place in range(len(values))]
    names = [printable(one) for one in names]
    return Picture(
        name=name,
        svg=svg_bytes(draw_reading(values, names, results.encoding, space, label=label)),
        title="What it sees.",
        caption=caption,
        alternative=f"{caption} {printable(neuron.spec)}, the greatest: {_strongest(values, names)}",
    )


def _strongest(values: np.ndarray, names: Sequence[str]) -> str:
    places = np.argsort(-np.abs(values), kind="stable")[:5]
    return ", ".join(f"{names[place]} {values[place]:.3g}" for place in places)


def _moves(results: Results, neuron: ImportantRows, anchor: str) -> Iterator[Picture]:
    actions = [printable(action) for action in results.actions]
    weights = outgoing(results.agent, neuron.layer, neuron.neuron)
    if weights is not None:
        listed = ", ".join(f"{action} {weight:.3g}" for action, weight in zip(actions, weights, strict=True))
        yield Picture(
            name=f"{anchor}-weights",
            svg=svg_bytes(draw_signed_bars(actions, weights, x_label="weight")),
            title="What it adds to.",
            caption="Its outgoing weight to the score of each action.",
            alternative=f"Outgoing weights of {printable(neuron.spec)}: {listed}",
        )
    elif neuron.columns:
        series = []
        for direction, (matrix, column) in neuron.columns.items():
            mean, spread = matrix.shifts[:, column], matrix.spreads[:, column]
            rows = np.arange(len(actions), dtype=float)
            series.append(Points(label=direction, x=mean, y=rows, low=mean - spread, high=mean + spread))
        listed = "; ".join(
            f"{one.label}: " + ", ".join(f"{action} {x:.3g}" for action, x in zip(actions, one.x, strict=True))
            for one in series
        )
        unit = results.scores
        yield Picture(
            name=f"{anchor}-moves",
            svg=svg_bytes(
                draw_intervals(actions, series, x_label=f"change of {unit}", height=1.05 + 0.34 * len(actions))
            ),
            title="What it moves.",
            caption="Patching it alone changes the score of each action by this much: mean and standard deviation "
            "over the pairs.",
            alternative=f"Mean change of {unit} when {printable(neuron.spec)} is patched. {listed}",
        )


def _pairs_table(results: Results, neuron: ImportantRows, anchor: str) -> Iterator[Table]:
    if not neuron.columns:
        return
    direction, (matrix, column) = next(iter(neuron.columns.items()))
    sizes = np.nan_to_num(np.abs(matrix.effects[:, column]))
    change = _changes(results.pairs, matrix.ids)
    rows: list[list[Text]] = []
    for row in np.argsort(-sizes, kind="stable")[:_LISTED]:
        if sizes[row] == 0:
            break
        cells: list[Text] = [name(matrix.ids[row]), change.get(matrix.ids[row], "")]
        for other, place in neuron.columns.values():
            effect = float(other.effects[row, place])
            cells.append(number(effect if np.isfinite(effect) else None))
        cells.append(_outcome(neuron, int(row)))
        rows.append(cells)
    if rows:
        names = {"denoising": "Recovery", "noising": "Damage"}
        columns = ["Pair", "Actions", *(names[one] for one in neuron.columns), "Alone it changes the action"]
        by = names[direction].lower()
        caption = sentence("Pairs that neuron {} of {} matters for, by {}", str(neuron.neuron), name(neuron.layer), by)
        yield Table(name=f"{anchor}-pairs", caption=caption, columns=columns, rows=rows,
                    numeric=range(2, 2 + len(neuron.columns)))  # fmt: skip


def _outcome(neuron: ImportantRows, row: int) -> str:
    changed = [direction for direction, (matrix, column) in neuron.columns.items() if matrix.flips[row, column]]
    return "in " + " and ".join(changed) if changed else "no"


def _changes(pairs: Pairs | None, ids: tuple[str, ...]) -> dict[str, str]:
    return (
        {}
        if pairs is None
        else {i: change for i, change in zip(pairs.ids, pairs.changes, strict=True) if i in set(ids)}
    )
