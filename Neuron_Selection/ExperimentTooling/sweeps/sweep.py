"""Sweeps: every experiment on every pair, a block of inputs at a time, so that memory does not grow with the pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores, greedy_actions, noise_floor
from Neuron_Selection.AnalysisTooling.measures.differences import dead_test_of
from Neuron_Selection.ExperimentTooling.sweeps.plan import SweepPlan
from Neuron_Selection.FileFormats.directions import TARGETS
from Neuron_Selection.FileFormats.kept_blocks import KeptBlocks
from Neuron_Selection.FileFormats.observations import rows_of
from Neuron_Selection.FileFormats.patch_spec import Neurons
from Neuron_Selection.FileFormats.provenance import CHUNK_ROWS
from Neuron_Selection.FileFormats.results.sweep import BLOCK_BYTES, FLAGS, SweepGroup, SweepWriter, written_sweep
from Neuron_Selection.PatchingTooling.agent.interventions import replacing
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Neuron_Selection.PatchingTooling.self_checks import NOT_APPLICABLE, PASSED, check_whole_layer

Progress = Callable[[Iterable[slice], int], Iterable[slice]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SweptBlock:
    """Some inputs of one group in one direction.

    ``q_values``: (n, n_experiments, n_actions). ``alive``: where target or source have a neuron that is not dead (``<=
    0`` before a ReLU, ``== 0`` on it), ``moves``: where they differ in one, (n, n_experiments) each.
    """

    q_values: np.ndarray
    alive: np.ndarray
    moves: np.ndarray


def write_sweep(
    path: Path,
    agent: OpenedAgent,
    plan: SweepPlan,
    *,
    metadata: Mapping[str, Any],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run a sweep into its file.

    :param progress: wraps the blocks of inputs and their number
    :return: the metadata of the file
    :raises CheckError: a whole layer from the source did not give the source's scores
    """
    q_values = {run: _as_double(agent.network.scores(inputs.observations)) for run, inputs in plan.inputs.items()}
    checks = {"whole_layer": _check_whole_layer(agent, plan, q_values)}
    kept = KeptBlocks(path, metadata)
    dead = dict.fromkeys(plan.directions, 0)
    with written_sweep(path) as writer:
        for run, array in q_values.items():
            writer.add(f"{run}_q_values", array)
        for run, inputs in plan.inputs.items():
            if inputs.action_masks is not None:
                writer.add(f"{run}_action_masks", inputs.action_masks.astype(np.uint8))
        for direction in plan.directions:
            for group in plan.groups:
                baseline = q_values[TARGETS[direction][0]]
                flags = _write_group(
                    writer,
                    agent,
                    plan,
                    direction=direction,
                    group=group,
                    baseline=baseline,
                    progress=progress,
                    kept=kept,
                )
                dead[direction] += int(np.count_nonzero(flags))
        described = {
            **metadata,
            **plan.header,
            "n_actions": int(q_values["clean"].shape[1]),
            "noise_floor": max(noise_floor(array) for array in q_values.values()),
            "contrast_pairs": count_contrast(q_values, plan.inputs[TARGETS[plan.directions[0]][0]].action_masks),
            "cannot_matter": dead,
            "self_checks": checks,
        }
        writer.add_metadata(described)
    kept.remove()
    return described


def count_contrast(q_values: Mapping[str, np.ndarray], masks: np.ndarray | None) -> int:
    """The number of pairs whose clean and corrupted run choose different actions.

    :param masks: the actions that are allowed in both, those of the target run; None for all
    """
    clean, corrupted = (greedy_actions(allowed_scores(q_values[run], masks)) for run in ("clean", "corrupted"))
    return int(np.count_nonzero(clean != corrupted))


def sweep_blocks(
    agent: OpenedAgent,
    plan: SweepPlan,
    direction: str,
    group: SweepGroup,
    *,
    baseline: np.ndarray,
    progress: Progress | None = None,
    kept: KeptBlocks | None = None,
) -> Iterator[SweptBlock]:
    """The Q-values of one group of experiments in one direction, some inputs at a time.

    Where an experiment changes no living neuron, the Q-values are the target's own, bit for bit.

    :param baseline: (n, n_actions), the target's own Q-values
    :param kept: where an interrupted run left blocks, and this one keeps its own
    """
    patches = [plan.patches[number - 1] for number in group.numbers]
    target, source = (plan.inputs[run].observations for run in TARGETS[direction])
    ablated = None if plan.ablated is None else plan.ablated.values(agent.network, target, plan.layers)
    numbers_a_row = max(len(patches) * baseline.shape[1], sum(_size(agent, layer) for layer in plan.layers))
    at_once = CHUNK_ROWS * max(1, BLOCK_BYTES // 8 // numbers_a_row // CHUNK_ROWS)
    starts = [slice(start, min(start + at_once, len(baseline))) for start in range(0, len(baseline), at_once)]
    for rows in starts if progress is None else progress(starts, len(starts)):
        name = f"{direction} {group.name} {rows.start}"
        stored = None if kept is None else _stored_block(kept, name, rows, len(patches), baseline.shape[1])
        if stored is not None:
            yield stored
            continue
        part = rows_of(target, rows)
        own = agent.network.reusable_activations(part, group.layers)
        if ablated is None:
            values = agent.network.activations(rows_of(source, rows), group.layers)
        else:
            values = {layer: ablated[layer][rows] for layer in group.layers}
        alive, moves = _movements(agent, patches, own, values)
        interventions = [replacing(patch, values) for patch in patches]
        patched = agent.network.patched_many(part, interventions, target_run=own)
        found = _as_double(patched).transpose(1, 0, 2)
        q_values = np.where(moves[:, :, None], found, baseline[rows, None])
        if kept is not None:
            kept.keep(name, q_values.astype("<f8").tobytes() + alive.tobytes() + moves.tobytes())
        yield SweptBlock(q_values=q_values, alive=alive, moves=moves)


def _stored_block(kept: KeptBlocks, name: str, rows: slice, n_patches: int, n_actions: int) -> SweptBlock | None:
    """A block of an earlier run, or None if there is none of this size."""
    data, cells = kept.read(name), (rows.stop - rows.start) * n_patches
    if data is None or len(data) != cells * (8 * n_actions + 2):
        return None
    q_values = np.frombuffer(data, "<f8", cells * n_actions).reshape(-1, n_patches, n_actions)
    alive, moves = np.frombuffer(data, bool, offset=q_values.nbytes).reshape(2, -1, n_patches)
    return SweptBlock(q_values=q_values, alive=alive, moves=moves)


def _write_group(
    writer: SweepWriter,
    agent: OpenedAgent,
    plan: SweepPlan,
    *,
    direction: str,
    group: SweepGroup,
    baseline: np.ndarray,
    progress: Progress | None,
    kept: KeptBlocks,
) -> np.ndarray:
    """Write a group's Q-values and flags, and return the flags."""
    alive, moves = np.zeros((2, len(group.numbers)), bool)

    def blocks() -> Iterator[np.ndarray]:
        parts = sweep_blocks(agent, plan, direction, group, baseline=baseline, progress=progress, kept=kept)
        for block in parts:
            np.logical_or(alive, block.alive.any(axis=0), out=alive)
            np.logical_or(moves, block.moves.any(axis=0), out=moves)
            yield block.q_values

    shape = (len(baseline), len(group.numbers), baseline.shape[1])
    writer.add_blocks(f"{direction}_{group.name}", shape, "<f8", blocks())
    flags = np.where(moves, FLAGS.index(""), np.where(alive, FLAGS.index("constant"), FLAGS.index("dead")))
    writer.add(f"{direction}_{group.name}_flags", flags.astype(np.uint8))
    return flags


def _movements(
    agent: OpenedAgent,
    patches: Sequence[Mapping[str, Neurons]],
    own: Mapping[str, np.ndarray],
    values: Mapping[str, np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Where experiments patch a neuron that is alive in either run, and where they change one, (n, n_experiments)."""
    count = len(next(iter(values.values())))
    alive, moves = np.zeros((2, count, len(patches)), bool)
    for name in values:
        layer = agent.layer_table.layers[name]
        kind = layer.kind if layer.role == "post-activation" else agent.network.read_by(name)
        test = dead_test_of(layer.role, kind)
        living: np.ndarray = np.ones(own[name].shape, bool)
        if test == "<= 0":
            living = (own[name] > 0) | (values[name] > 0)
        elif test == "== 0":
            living = (own[name] != 0) | (values[name] != 0)
        moving: np.ndarray = living & (own[name] != values[name])
        for gathered, values_that in ((alive, living), (moves, moving)):
            by_neuron = np.any(np.moveaxis(values_that, layer.neuron_axis, 1).reshape(count, layer.width, -1), axis=2)
            np.logical_or(gathered, _of_patches(by_neuron, [patch[name] for patch in patches]), out=gathered)
    return alive, moves


def _of_patches(by_neuron: np.ndarray, neurons: Sequence[Neurons]) -> np.ndarray:
    """Whether it holds for any of a patch's neurons, (n, n_patches)."""
    if all(len(named) == 1 for named in neurons):
        chosen: np.ndarray = by_neuron[:, np.array(neurons)[:, 0]]
        return chosen
    columns = [by_neuron if isinstance(named, str) else by_neuron[:, list(named)] for named in neurons]
    return np.stack([column.any(axis=1) for column in columns], axis=1)


def _check_whole_layer(agent: OpenedAgent, plan: SweepPlan, q_values: Mapping[str, np.ndarray]) -> str:
    """A whole bottleneck layer from the source gives the source's scores; checked on the first inputs."""
    table = agent.layer_table
    cuts = [name for name in plan.layers if table.layers[name].is_cut and name != table.output]
    if not cuts:
        return f"{NOT_APPLICABLE}: no patched layer is a cut"
    rows = slice(0, CHUNK_ROWS)
    for direction in plan.directions:
        target, source = TARGETS[direction]
        values = agent.network.activations(rows_of(plan.inputs[source].observations, rows), cuts[:1])
        part = rows_of(plan.inputs[target].observations, rows)
        (found,) = agent.network.patched_many(part, [replacing({cuts[0]: "all"}, values)])
        check_whole_layer(cuts[0], found, q_values[source][rows])
    return PASSED


def _size(agent: OpenedAgent, layer: str) -> int:
    return int(np.prod(agent.layer_table.layers[layer].shape))


def _as_double(q_values: np.ndarray) -> np.ndarray:
    return np.asarray(q_values, np.float64)
