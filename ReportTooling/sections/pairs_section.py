"""The pairs: both inputs drawn, what differs marked, the scores before and after, and a table of all pairs."""

from __future__ import annotations

from collections import Counter

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import action_margins, greedy_actions
from Neuron_Selection.DrawingTooling.canvas import svg_bytes
from Neuron_Selection.DrawingTooling.scores import draw_scores
from Neuron_Selection.ObservationTooling.pair_making.entries import EntryTable
from ReportTooling.page.blocks import Block, Folded, Gallery, Paragraph, Part, Picture, Section, Table, Text
from ReportTooling.page.numbers import count, joined, name, number, printable, sentence
from ReportTooling.results.loading import Results
from ReportTooling.results.observation_pictures import draw_pair, tables_of
from ReportTooling.results.pairs import Pairs
from ReportTooling.results.patched_pairs import PatchedPair, best_patch

DRAWN = 4
LISTED = 300


def pairs_section(results: Results) -> Section | None:
    """The pairs; None without inputs."""
    pairs = results.pairs
    if pairs is None:
        return None
    groups = Counter(pairs.groups)
    named = joined([sentence("{} {}", count(n), group) for group, n in groups.most_common(8)])
    lead = sentence(
        "Each pair is two inputs under one id: <em>clean</em> and <em>corrupted</em>. {} of {} pairs lead to "
        "different actions; only these can show an effect. By group: {}.",
        count(int(pairs.has_contrast.sum())), count(len(pairs.ids)), named,
    )  # fmt: skip
    blocks: list[Block] = [Paragraph(text=lead, kind="lead")]
    tables = tables_of(pairs, results.agent.agent_zip.observation_space, results.encoding)
    for place, row in enumerate(_examples(pairs), start=1):
        blocks.append(_drawn(results, pairs, tables, row, place))
    blocks.append(
        Folded(
            summary="All pairs" if len(pairs.ids) <= LISTED else f"The first {LISTED} pairs",
            blocks=[_table(results, pairs)],
        )
    )
    return Section(name="pairs", title="The pairs", blocks=blocks)


def _examples(pairs: Pairs) -> list[int]:
    """Of each group, the pair with the clearest decisions: the greatest of the smaller of both margins."""
    clear = np.minimum(action_margins(pairs.clean_scores), action_margins(pairs.corrupted_scores))
    clear = np.where(pairs.has_contrast, clear, -np.inf)
    groups = np.array(pairs.groups)
    chosen = []
    for group, _ in Counter(pairs.groups).most_common(DRAWN):
        rows = np.flatnonzero(groups == group)
        best = int(rows[np.argmax(clear[rows])])
        if np.isfinite(clear[best]):
            chosen.append(best)
    return chosen


def _drawn(results: Results, pairs: Pairs, tables: tuple[EntryTable, EntryTable], row: int, place: int) -> Part:
    figure = draw_pair(*tables, row, results.encoding)
    runs = [("clean", pairs.clean_scores[row]), ("corrupted", pairs.corrupted_scores[row])]
    patched = best_patch(results, row)
    if patched is not None:
        runs.append(("patched", patched.scores))
    change = pairs.changes[row]
    actions = [printable(action) for action in results.actions]
    listed = "; ".join(
        f"{label}: "
        + ", ".join(
            f"{action} {score:.4g}" for action, score in zip(actions, scores, strict=True) if np.isfinite(score)
        )
        for label, scores in runs
    )
    scores = Picture(
        name=f"pair-{place}-scores",
        svg=svg_bytes(draw_scores(actions, runs, x_label=results.scores)),
        title=sentence("{} in both inputs.", results.scores.capitalize()),
        caption=sentence("Filled: the action that the agent chooses, {}.{}", change, _patched_by(patched)),
        alternative=f"{results.scores} of each action. {listed}",
    )
    inputs = Picture(
        name=f"pair-{place}-inputs",
        svg=svg_bytes(figure),
        title="Both inputs.",
        caption="What differs has a dashed frame."
        if results.encoding and results.encoding.view
        else "The entries that differ.",
        alternative=f"The clean and the corrupted input of the pair {printable(pairs.ids[row])}",
    )
    title = (
        sentence("{}: {}", pairs.groups[row].capitalize(), change)
        if pairs.groups == pairs.kinds
        else sentence("{}", change.capitalize())
    )
    return Part(
        name=f"pair-{place}",
        title=title,
        blocks=[Paragraph(text=name(pairs.ids[row]), kind="caveat"), Gallery(pictures=[inputs, scores])],
    )


def _patched_by(patched: PatchedPair | None) -> Text:
    if patched is None:
        return ""
    return sentence(" Patched: the corrupted input with the clean value of {} alone.", name(patched.spec))


def _table(results: Results, pairs: Pairs) -> Table:
    before, after = greedy_actions(pairs.clean_scores), greedy_actions(pairs.corrupted_scores)
    margins = [action_margins(scores) for scores in (pairs.clean_scores, pairs.corrupted_scores)]
    rows: list[list[Text]] = [
        [
            name(pairs.ids[row]), *([pairs.kinds[row]] if pairs.kinds else []), results.actions[before[row]],
            results.actions[after[row]], number(float(margins[0][row])), number(float(margins[1][row])),
        ]
        for row in range(min(LISTED, len(pairs.ids)))
    ]  # fmt: skip
    columns = [
        "Pair",
        *(["Kind"] if pairs.kinds else []),
        "Clean action",
        "Corrupted action",
        "Clean lead",
        "Corrupted lead",
    ]
    note = sentence("The lead is that of the greedy action over the next, in {}.", results.scores)
    return Table(name="all-pairs", caption="Decisions in the pairs", columns=columns, rows=rows,
                 numeric=[len(columns) - 2, len(columns) - 1], note=note)  # fmt: skip
