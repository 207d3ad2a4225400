"""Rebuild pairs from what their records name, and compare them bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores, greedy_actions
from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_folder import INPUTS, AgentFolder
from Neuron_Selection.FileFormats.encoding import ENCODING, load_encoding
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.pairs_file import (
    PAIRS,
    EditRecord,
    FeaturesRecord,
    NearestRecord,
    PairFiles,
    load_pair_files,
)
from Neuron_Selection.FileFormats.storage.known_names import refuse_unknown
from Neuron_Selection.ObservationTooling.environments.environment import Environment
from Neuron_Selection.ObservationTooling.grid_worlds.world import World
from Neuron_Selection.ObservationTooling.grid_worlds.world_edits import edited
from Neuron_Selection.ObservationTooling.pair_making.entries import EntryTable, tabulate
from Neuron_Selection.ObservationTooling.pair_making.from_worlds import world_of
from Neuron_Selection.ObservationTooling.pair_making.replay import replayed_edit
from Neuron_Selection.PatchingTooling.agent.algorithms import has_action_masks
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

Rebuilt = tuple[np.ndarray, np.ndarray]
"""The clean and the corrupted input, (n_entries,) each."""


def verify_made_pairs(
    agent: OpenedAgent, folder: Path, *, environment: Callable[[PairFiles], Environment], inputs: str | None = None
) -> int:
    """Compare the pairs of ``make_pairs.py`` with what is rebuilt from their records, and the actions with the agent's.

    :param environment: the environment of pairs by method environment; it is called only if there are any
    :param inputs: the visited inputs, if not those that ``make_pairs.py`` read
    :return: the number of pairs
    :raises InputError: naming the first input that differs
    """
    space = agent.agent_zip.observation_space
    files = load_pair_files(folder, space, has_masks=has_action_masks(agent.agent_zip))
    records = files.records
    sides = {"clean": files.clean, "corrupted": files.corrupted}
    stored = [tabulate(side.observations, space).values for side in sides.values()]
    from_visited = {name: one for name, one in records.items() if not isinstance(one, EditRecord)}
    rebuilt: dict[str, Rebuilt] = {}
    if from_visited:
        visited = _visited(agent, files, inputs)
        rebuilt |= dict(_from_visited(agent, visited, from_visited, files.folder))
    if len(from_visited) < len(records):
        world = world_of(agent, environment(files))
        rebuilt |= {
            name: _edited(agent, world, name, one, folder)
            for name, one in records.items()
            if isinstance(one, EditRecord)
        }
    for row, name in enumerate(records):
        for side, values, expected in zip(("clean", "corrupted"), stored, rebuilt[name], strict=True):
            if values[row].tobytes() != expected.astype(values.dtype).tobytes():
                differing = int((values[row] != expected).sum())
                problem = f"differs from the rebuilt input in {differing} of {len(expected)} numbers"
                raise InputError(folder, f"{side} input {shown(name)}", problem)
    for side, inputs_of_side in sides.items():
        scores = agent.network.scores(inputs_of_side.observations)
        actions = greedy_actions(allowed_scores(scores, inputs_of_side.action_masks))
        for action, (name, record) in zip(actions.tolist(), records.items(), strict=True):
            kept = getattr(record, f"{side}_action")
            if action != kept:
                raise InputError(
                    folder, f"{shown(name)}.{side}_action", found=str(kept), expected=f"{action}, the agent's"
                )
    return len(records)


def visited_path(folder: AgentFolder, files: PairFiles, named: str | None) -> Path:
    """The inputs file whose states were paired: the one named, else the one that ``make_pairs.py`` read."""
    command = files.metadata.get("command")
    recorded = command.get("inputs") if isinstance(command, dict) else None
    if named is None and isinstance(recorded, str) and Path(recorded).exists():
        return Path(recorded)
    name = named or (Path(recorded).name if isinstance(recorded, str) else "visited_inputs.json")
    return folder.find(name, INPUTS, hint="--inputs names the file that make_pairs.py read")


def _visited(agent: OpenedAgent, files: PairFiles, named: str | None) -> Inputs:
    visited = agent.inputs_in(visited_path(agent.folder, files, named))
    expected = files.of_run("inputs_sha256")
    if isinstance(expected, str) and visited.sha256 != expected:
        raise InputError(visited.where, problem="is not the file of which the pairs were made, or was changed since")
    return visited


def _from_visited(
    agent: OpenedAgent, visited: Inputs, records: dict[str, Any], folder: Path
) -> Iterator[tuple[str, Rebuilt]]:
    row_of = {name: row for row, name in enumerate(visited.ids)}
    tables: dict[str, EntryTable] = {}
    space = agent.agent_zip.observation_space
    encoding = load_encoding(agent.folder.folder / ENCODING, space, agent.architecture.n_actions)
    for name, record in records.items():
        refuse_unknown([name, record.donor], visited.ids, what="input id", where=visited.where)
        grouping = record.group if isinstance(record, FeaturesRecord) else "entries"
        if grouping not in tables:
            tables[grouping] = tabulate(visited.observations, space, grouping=grouping, encoding=encoding)
        table = tables[grouping]
        clean, donor = table.values[row_of[name]], table.values[row_of[record.donor]]
        if isinstance(record, NearestRecord):
            yield name, (clean, donor)
            continue
        refuse_unknown(record.taken, table.group_names, what="group", where=f"{folder}: {shown(name)}.taken")
        taken = np.isin(table.group_names, record.taken)
        yield name, (clean, table.mixed(clean[None], donor[None], taken[None])[0])


def _edited(agent: OpenedAgent, world: World, name: str, record: EditRecord, where: Path) -> Rebuilt:
    edit = replayed_edit(world.env, record, where=f"{where / PAIRS}: {shown(name)}")
    space = agent.agent_zip.observation_space
    clean = tabulate(world.observe(), space).values[0]
    with edited(world.base, edit):
        return clean, tabulate(world.observe(), space).values[0]
