"""A sweep as results organised by input, the published form: one file per input, in a folder for each direction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores, greedy_actions, near_ties
from Neuron_Selection.AnalysisTooling.record_analysis import analyse_records
from Neuron_Selection.FileFormats.directions import TARGETS
from Neuron_Selection.FileFormats.results.results_by_input import save_by_input
from Neuron_Selection.FileFormats.results.sweep import SweepFile, experiment_names, opened_sweep
from Neuron_Selection.FileFormats.scores import scores_in


def write_by_input(sweep_path: Path, folders: Mapping[str, Path], *, metadata: Mapping[str, Any]) -> None:
    """Write the sweep's results as one file an input.

    :param folders: direction to the folder of its files
    """
    with opened_sweep(sweep_path) as sweep:
        for direction, folder in folders.items():
            save_by_input(folder, _records_of(sweep, direction), metadata=metadata)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RecordsByInput(Mapping[str, dict[str, Any]]):
    """``{id: {experiment: {input_id, patch_configuration, results, patch_analysis}}}``, made one id at a time.

    ``names``: of the experiments; ``rows``: id to its row; ``patched``: (n_inputs, n_experiments, n_actions);
    ``masks``: (n_inputs, n_actions), the actions that are allowed, None without masks.
    """

    sweep: SweepFile
    names: tuple[str, ...]
    rows: Mapping[str, int]
    direction: str
    baseline: np.ndarray
    other: np.ndarray
    patched: np.ndarray
    masks: np.ndarray | None

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, input_id: str) -> dict[str, Any]:
        records = self._records(self.rows[input_id])
        analyses = analyse_records(records, scores=scores_in(self.sweep.header.metadata["run"]))
        return {
            name: {
                "input_id": input_id,
                "patch_configuration": record["patch_configuration"],
                "results": record,
                "patch_analysis": analysis,
            }
            for name, record, analysis in zip(self.names, records, analyses, strict=True)
        }

    def _records(self, row: int) -> list[dict[str, Any]]:
        header = self.sweep.header
        patched, baseline, other = self.patched[row], self.baseline[row], self.other[row]
        mask = None if self.masks is None else self.masks[row]
        unpatched, decided = (allowed_scores(scores, mask) for scores in (np.stack([baseline, other]), patched))
        own_action, other_action = greedy_actions(unpatched).tolist()
        unsure = bool(near_ties(unpatched).any())
        actions, ties = greedy_actions(decided).tolist(), near_ties(decided).tolist()
        masked = {} if mask is None else {"action_mask": mask.tolist()}
        ablation = {} if header.ablation is None else {"ablation": header.ablation}
        return [
            {
                "baseline_output": [baseline.tolist()],
                "baseline_action": own_action,
                "patched_output": [patched[number].tolist()],
                "patched_action": actions[number],
                "action_changed": actions[number] != own_action,
                "patched_layers": list(patch),
                "patch_configuration": dict(patch),
                "source_output": [other.tolist()],
                "source_action": other_action,
                "matches_source": actions[number] == other_action,
                "near_tie": unsure or ties[number],
                **masked,
                **header.directions[self.direction],
                "direction": self.direction,
                **ablation,
            }
            for number, patch in enumerate(header.patches)
        ]


def _records_of(sweep: SweepFile, direction: str) -> RecordsByInput:
    header = sweep.header
    target, source = TARGETS[direction]
    patched = np.empty((len(header.ids), len(header.patches), header.n_actions))
    for group in header.groups:
        for rows, block in sweep.blocks(direction, group):
            patched[rows, np.array(group.numbers) - 1] = block
    return RecordsByInput(
        sweep=sweep,
        names=tuple(experiment_names(header.patches)),
        rows={input_id: row for row, input_id in enumerate(header.ids)},
        direction=direction,
        baseline=sweep.q_values(target),
        other=sweep.q_values(source),
        patched=patched,
        masks=sweep.action_masks(target),
    )
