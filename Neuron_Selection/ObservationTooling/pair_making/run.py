"""Make pairs of inputs and write them, as ``make_pairs.py`` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import INPUTS, VISITED, output_folder
from Neuron_Selection.FileFormats.encoding import ENCODING, Encoding, load_encoding
from Neuron_Selection.FileFormats.inputs import Inputs
from Neuron_Selection.FileFormats.pairs_file import Grouping, pair_paths, save_pair_files, stored_pairs
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date, meta_path
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of_file
from Neuron_Selection.ObservationTooling.environments.environment import Environment
from Neuron_Selection.ObservationTooling.pair_making.decisions import WantedDecisions, action_number
from Neuron_Selection.ObservationTooling.pair_making.entries import tabulate
from Neuron_Selection.ObservationTooling.pair_making.from_visited import features_pairs, nearest_pairs
from Neuron_Selection.ObservationTooling.pair_making.from_worlds import environment_pairs
from Neuron_Selection.ObservationTooling.pair_making.made import MadePairs
from Neuron_Selection.ObservationTooling.pair_making.visited import VisitedStates
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

Method = Literal["nearest", "features", "environment"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PairsWritten:
    """The folder with the files of pairs, and the ``summary`` in their metadata.

    ``was_up_to_date``: an earlier run had written them.
    """

    folder: Path
    summary: Mapping[str, Any]
    was_up_to_date: bool

    @property
    def paths(self) -> dict[str, Path]:
        """The files: ``clean``, ``corrupted`` and ``pairs``."""
        return pair_paths(self.folder)


def make_pairs(
    agent: OpenedAgent,
    *,
    inputs: str | Path | None = None,
    method: Method = "nearest",
    environment: Environment | None = None,
    env_seeds: range | None = None,
    n_pairs: int = 100,
    min_margin: float = 0.0,
    group: Grouping = "entries",
    from_action: int | str | None = None,
    to_action: int | str | None = None,
    seed: int = 0,
    output_dir: str | None = None,
    overwrite: bool = False,
) -> PairsWritten:
    """Make pairs of inputs that differ little and in which the agent decides differently.

    The parameters are the flags of ``make_pairs.py``. Actions and scores are computed, not read from the file.

    :param inputs: an inputs file, for ``nearest`` and ``features``; None means ``visited_inputs.json``
    :param environment: for ``environment``, as ``chosen_environment`` returns it; ``env_seeds``: its episodes, None
        means the first hundred
    :param n_pairs: the largest number of pairs
    :param from_action: the clean action, by number or by its name in ``encoding.json``
    :param to_action: the corrupted action
    :raises SuiteError: there is no pair, or an output of a different run
    """
    space, n_actions = agent.agent_zip.observation_space, agent.architecture.n_actions
    encoding_path = agent.folder.folder / ENCODING
    encoding = load_encoding(encoding_path, space, n_actions)
    names = encoding.actions if encoding else None
    ends = {
        flag: None if value is None else action_number(str(value), names, n_actions, flag=flag)
        for flag, value in (("from_action", from_action), ("to_action", to_action))
    }
    wanted = WantedDecisions(min_margin=min_margin, **ends)
    folder = output_folder(output_dir, agent.folder.folder / INPUTS)
    paths = pair_paths(folder)
    read = [agent.folder.zip_path, encoding_path]
    visited: Inputs | None = None
    if method != "environment":
        if environment is not None or env_seeds is not None:
            raise UsageError(f"an environment can only be used with --method environment, not with {method}")
        visited = agent.inputs_in(agent.folder.find(str(inputs or VISITED), INPUTS))
        read.append(Path(visited.where))
        of_method: dict[str, Any] = {"inputs_sha256": visited.sha256}
        make = partial(_from_visited, agent, visited, wanted, encoding, method=method)
    elif inputs is not None:
        raise UsageError("--inputs cannot be used with --method environment, whose states are those of its episodes")
    elif environment is not None:
        env_seeds = env_seeds or range(100)
        of_method = {"environment": environment.described(), "env_seeds": [env_seeds.start, env_seeds.stop]}
        make = partial(environment_pairs, agent, environment, wanted, encoding, env_seeds=env_seeds)
    else:
        raise UsageError("method environment needs an environment")
    check_outputs([*paths.values(), meta_path(paths["pairs"])], read)
    decisive = {
        "task": "pairs",
        "method": method,
        **of_method,
        "n_pairs": n_pairs,
        "min_margin": min_margin,
        "group": group,
        **ends,
        "seed": seed,
        "encoding_sha256": None if encoding is None else sha256_of_file(encoding_path),
    }
    command = {"script": "make_pairs.py", "method": method, "inputs": None if visited is None else visited.where}
    planned = agent.metadata(decisive, command=command)
    stored = stored_pairs(folder)
    if is_up_to_date(stored, planned, overwrite=overwrite):
        summary = (stored.complete or {}).get("summary")
        if isinstance(summary, dict):
            return PairsWritten(folder=folder, summary=summary, was_up_to_date=True)
    made = make(grouping=group, n_pairs=n_pairs, seed=seed)
    normalised_with = None if visited is None else visited.normalised_with
    save_pair_files(
        folder,
        made.records,
        clean=made.clean,
        corrupted=made.corrupted,
        masks={"clean": made.clean_masks, "corrupted": made.corrupted_masks},
        clusters=made.clusters,
        normalised_with=agent.normalizer.sha256 if agent.normalizer else normalised_with,
        metadata={**planned, "summary": made.summary},
    )
    return PairsWritten(folder=folder, summary=made.summary, was_up_to_date=False)


def _from_visited(
    agent: OpenedAgent,
    visited: Inputs,
    wanted: WantedDecisions,
    encoding: Encoding | None,
    *,
    method: Method,
    grouping: Grouping,
    n_pairs: int,
    seed: int,
) -> MadePairs:
    table = tabulate(visited.observations, agent.agent_zip.observation_space, grouping=grouping, encoding=encoding)
    scores = agent.network.scores(visited.observations)
    states = VisitedStates(inputs=visited, table=table, scores=scores, wanted=wanted)
    if method == "features":
        return features_pairs(agent, states, grouping=grouping, n_pairs=n_pairs, seed=seed)
    return nearest_pairs(states, n_pairs=n_pairs, seed=seed)
