"""Record the states that an agent visits in its own episodes, as ``record_inputs.py`` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.AnalysisTooling.measures.decisions import allowed_scores, greedy_actions
from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import INPUTS, VISITED, output_folder
from Neuron_Selection.FileFormats.environment_file import environment_bytes
from Neuron_Selection.FileFormats.provenance import check_outputs, installed_version, is_up_to_date
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.state_frames import FramesArchive
from Neuron_Selection.FileFormats.visited_inputs import (
    recording_files,
    save_recording,
    stored_recording,
    visited_bytes,
)
from Neuron_Selection.ObservationTooling.environments.acting import parse_acting
from Neuron_Selection.ObservationTooling.environments.chosen import chosen_environment
from Neuron_Selection.ObservationTooling.environments.episodes import MAX_STEPS, Episodes
from Neuron_Selection.ObservationTooling.recording.repeating import first_difference
from Neuron_Selection.ObservationTooling.recording.visiting import Episode, Run, run_episodes
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

AT_ONCE = 64  # episodes in lockstep: more make the batches of the network longer, and need more environments in memory


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """``summary``: what the episodes were like, as in the metadata; ``files``: what was written, by content."""

    summary: Mapping[str, Any]
    files: Mapping[str, Path]
    was_up_to_date: bool


def record_inputs(
    agent: OpenedAgent,
    *,
    policy: str = "greedy",
    episodes: int = 20,
    seed: int = 0,
    max_steps: int = MAX_STEPS,
    frames: bool = False,
    output_prefix: str = Path(VISITED).stem,
    output_dir: str | None = None,
    overwrite: bool = False,
    progress: Callable[[Iterable[Episode]], Iterable[Episode]] = iter,
    **environment: Any,
) -> Recorded:
    """Run an agent's episodes and write the distinct observations, each with what the agent did there.

    The parameters are the flags of ``record_inputs.py``. Episode k has the seed ``seed + k``.

    :param progress: iterates over the episodes as they end
    :param environment: ``env`` and the other arguments of ``chosen_environment``
    :raises SuiteError: an environment that cannot be used or is not one for this agent, or an output of a different run
    """
    if min(episodes, max_steps) < 1:
        raise UsageError(field="episodes and max_steps", found=f"{episodes} and {max_steps}", expected="at least 1")
    chosen = chosen_environment(agent, **environment)
    acting = parse_acting(policy, scores=agent.architecture.head.scores)
    normalised_with = None if agent.normalizer is None else agent.normalizer.sha256
    path = results_path(output_folder(output_dir, agent.folder.folder / INPUTS), output_prefix)
    described = environment_bytes(chosen.described(), vecnormalize_sha256=normalised_with)
    files = recording_files(path, with_frames=frames)
    code = [] if chosen.user_file is None else [chosen.user_file.path]
    check_outputs([*files.values()], [agent.folder.zip_path, *code])
    planned = agent.metadata(
        {
            "task": "recording",
            "environment": chosen.described(),
            "environment_libraries": {name: installed_version(name) for name in ("gymnasium", "minigrid")},
            "policy": str(acting),
            "episodes": episodes,
            "seed": seed,
            "max_steps": max_steps,
            "frames": frames,
        },
        command={"script": "record_inputs.py", "env": chosen.env, "policy": policy},
    )
    stored = stored_recording(path, files, environment=described)
    earlier = (stored.complete or {}).get("summary")
    if is_up_to_date(stored, planned, overwrite=overwrite) and isinstance(earlier, dict):
        return Recorded(summary=earlier, files=files, was_up_to_date=True)
    lockstep = Episodes(chosen, agent, n=min(episodes, AT_ONCE), max_steps=max_steps, with_frames=frames)
    pictures = FramesArchive() if frames else None
    try:
        run = run_episodes(
            lockstep,
            agent.network,
            acting,
            seeds=range(seed, seed + episodes),
            name=chosen.name,
            frames=pictures,
            progress=progress,
        )
        differs_at = first_difference(lockstep, seed=seed, actions=run.actions[run.seeds == seed].tolist())
    finally:
        lockstep.close()
    summary = {**_summary(run), "differs_at_step": differs_at}
    contents = {
        "inputs": visited_bytes(run.visits, normalised_with=normalised_with, where=path),
        "environment": described,
        **({} if pictures is None else {"frames": pictures.bytes()}),
    }
    save_recording(path, contents, files, metadata={**planned, "summary": summary})
    return Recorded(summary=summary, files=files, was_up_to_date=False)


def _summary(run: Run) -> dict[str, Any]:
    """What the episodes were like.

    ``differs_at_step``, added by ``record_inputs``: the step at which an episode run twice differed, else None.
    """
    greedy = greedy_actions(allowed_scores(run.visits.scores, run.visits.masks))
    return {
        "episodes": len(run.episodes),
        "ends": dict(sorted(Counter(episode.end for episode in run.episodes).items())),
        "returns": _spread([episode.total for episode in run.episodes]),
        "lengths": _spread([episode.length for episode in run.episodes]),
        "steps": len(run.actions),
        "distinct_states": len(run.visits.ids),
        "actions_taken": _counts(run.actions),
        "states_per_greedy_action": _counts(greedy),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "min": min(values), "max": max(values)}


def _counts(actions: np.ndarray) -> dict[str, int]:
    found, counts = np.unique(actions, return_counts=True)
    return dict(zip(map(str, found.tolist()), counts.tolist(), strict=True))
