"""Read runs from a sweep file, one block of inputs at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores
from Neuron_Selection.AnalysisTooling.runs.patched_runs import Block, DirectionRuns, PatchedRuns
from Neuron_Selection.FileFormats.directions import TARGETS
from Neuron_Selection.FileFormats.results.sweep import SweepFile, experiment_names, opened_sweep
from Neuron_Selection.FileFormats.scores import scores_in, scores_metadata


@contextmanager
def runs_of_sweep(path: Path) -> Iterator[PatchedRuns]:
    """The runs of a sweep; the file is open inside the block.

    :raises InputError: not a sweep, or a damaged one
    """
    with opened_sweep(path) as sweep:
        header = sweep.header
        yield PatchedRuns(
            where=str(path),
            ids=header.ids,
            clusters=header.clusters,
            names=tuple(experiment_names(header.patches)),
            patches=header.patches,
            directions={direction: _direction(sweep, direction) for direction in header.directions},
            weights_sha256=header.weights_sha256,
            decisive={"sweep": header.metadata["run"]},
            settings={
                **{key: header.metadata["run"].get(key) for key in ("engine", "dtype")},
                "ablation": header.ablation,
                **scores_metadata(scores_in(header.metadata["run"])),
            },
            command=header.metadata.get("command", {}),
            random_sets=tuple(number - 1 for number in header.random_sets),
        )


def _direction(sweep: SweepFile, direction: str) -> DirectionRuns:
    target, source = TARGETS[direction]
    names = sweep.header.directions[direction]
    masks = sweep.action_masks(target)

    def blocks() -> Iterator[Block]:
        for group in sweep.header.groups:
            experiments = np.array(group.numbers) - 1
            for rows, patched in sweep.blocks(direction, group):
                of_rows = None if masks is None else masks[rows, None]
                yield Block(rows=rows, experiments=experiments, patched=allowed_scores(patched, of_rows))

    return DirectionRuns(
        baseline=allowed_scores(sweep.q_values(target), masks),
        contrast=allowed_scores(sweep.q_values(source), masks),
        source=names["source"],
        target=names["target"],
        flags=tuple(sweep.flags(direction)),
        blocks=blocks,
    )
