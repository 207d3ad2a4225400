"""Run whole episodes under every change of an agent, as ``run_rollouts.py`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_folder import output_folder
from Neuron_Selection.FileFormats.observations import Observations
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.results.rollouts_file import (
    ROLLOUTS,
    load_rollouts,
    paths_of,
    save_rollouts,
    stored_rollouts,
)
from Neuron_Selection.FileFormats.scores import LOGITS
from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes
from Neuron_Selection.FileFormats.storage.json_files import json_bytes
from Neuron_Selection.FileFormats.storage.known_names import refuse_unknown
from Neuron_Selection.FileFormats.storage.npz_files import npz_bytes
from Neuron_Selection.ObservationTooling.environments.acting import parse_acting
from Neuron_Selection.ObservationTooling.environments.chosen import chosen_environment
from Neuron_Selection.ObservationTooling.environments.episodes import MAX_STEPS
from Neuron_Selection.PatchingTooling.ablations import Ablation
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Parameter_Selection.RolloutTooling.episodes.block import Outcomes, put_together
from Parameter_Selection.RolloutTooling.episodes.link import link_of
from Parameter_Selection.RolloutTooling.episodes.measures import COLUMNS, clusters_of, rollout_rows
from Parameter_Selection.RolloutTooling.episodes.pictures import (
    choose_episode,
    draw_episode,
    gif_bytes,
    png_archive_bytes,
)
from Parameter_Selection.RolloutTooling.episodes.processes import Progress, Work, reference_from_baseline, run_episodes
from Parameter_Selection.RolloutTooling.episodes.settings import EpisodeSettings
from Parameter_Selection.RolloutTooling.episodes.statistics import RULE, remarks_on
from Parameter_Selection.RolloutTooling.experiments.chosen import Changes, ChosenExperiments, choose_experiments
from Parameter_Selection.RolloutTooling.experiments.deciders import BASELINE
from Parameter_Selection.RolloutTooling.experiments.user_functions import success_signal, user_function
from Parameter_Selection.RolloutTooling.rollouts.outputs import (
    Rollouts,
    discount_factor,
    library_versions,
    one_step_importances,
)

MEASURES = ("flips_baseline_states", "importance")


def run_rollouts(
    agent: OpenedAgent,
    changes: Changes,
    *,
    env: str | None = None,
    env_kwargs: Sequence[str] | Mapping[str, Any] | None = None,
    wrapper: Sequence[str] | None = None,
    frame_stack: int | None = None,
    trusts_module: bool = False,
    episodes: int = 100,
    seed: int = 0,
    policy: str = "greedy",
    max_steps: int = MAX_STEPS,
    gamma: float | None = None,
    reference_inputs: Any = None,
    when: str | None = None,
    from_step: int = 0,
    to_step: int | None = None,
    success: str | None = None,
    trajectories: bool = False,
    gif: bool = False,
    frames: bool = False,
    show: str | None = None,
    show_seed: int | None = None,
    jobs: int = 1,
    output_prefix: str = "rollouts",
    output_dir: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Rollouts:
    """Run episodes of the unchanged agent, and of every change on the same seeds, and write what differs.

    :param changes: what is changed, each change an experiment of its own
    :param env: the environment, as in ``chosen_environment``; None means the one that was recorded with the inputs
    :param episodes: of the seeds ``seed``, ``seed + 1``, ...
    :param policy: ``greedy``, ``sampled`` or ``epsilon=E``
    :param gamma: of discounted returns; None means that of the agent's training
    :param reference_inputs: for ablations by mean, noise and resample; None means up to 64 observations of each
        episode of the unchanged agent
    :param when: ``FILE.py:condition``, a function of observation and step; changes are active where it is true
    :param from_step: the first step at which changes are active, from 0; ``to_step``: the last one
    :param success: ``FILE.py:function`` of reward, terminated, truncated and info of the last step, or ``info[key]``;
        None means the environment's own signals
    :param trajectories: write actions and rewards of all episodes as npz
    :param gif: write one episode, baseline beside changed, as an animation; ``frames``: as a zip of pictures
    :param show: the experiment of that episode, and ``show_seed`` its seed; None means those that differ most
    :param jobs: processes; the results do not depend on it
    :param progress: such as ``tqdm.tqdm``; wraps blocks of episodes
    :raises SuiteError: changes or an environment that do not fit the agent, or files of a different run
    """
    if episodes < 1 or jobs < 1:
        raise UsageError("episodes and jobs must be at least 1")
    chosen = choose_experiments(agent, changes, seed=seed)
    acting = parse_acting(policy, scores=agent.architecture.head.scores)
    if acting.kind == "sampled" and chosen.against is not None and chosen.against.architecture.head.scores != LOGITS:
        raise UsageError("--policy sampled needs logits of the agent of --against too")
    function, key = success_signal(success)
    settings = EpisodeSettings(
        environment=chosen_environment(
            agent,
            env=env,
            env_kwargs=env_kwargs,
            wrapper=wrapper,
            frame_stack=frame_stack,
            trusts_module=trusts_module,
        ),
        acting=acting,
        max_steps=max_steps,
        when=None if when is None else user_function("when", when),
        from_step=from_step,
        to_step=to_step,
        success=function,
        success_key=key,
    )
    folder = output_folder(None if output_dir is None else str(output_dir), agent.folder.folder / ROLLOUTS)
    path = results_path(folder, output_prefix)
    if not (gif or frames) and (show is not None or show_seed is not None):
        raise UsageError("--show and --show_seed can only be used with --gif or --frames")
    if show is not None:
        refuse_unknown([show], [one.name for one in chosen.experiments], what="experiment", where="--show")
    seeds = range(seed, seed + episodes)
    if show_seed is not None and show_seed not in seeds:
        raise UsageError(field="--show_seed", found=shown(show_seed), expected=f"one from {seeds[0]} to {seeds[-1]}")
    optional = {"trajectories": trajectories, "gif": gif, "frames": frames}
    kinds = ("results", "table", *(kind for kind, wanted in optional.items() if wanted))
    files = paths_of(path, kinds)
    check_outputs([*files.values()], [agent.folder.zip_path, *chosen.paths])
    reference = _reference(agent, chosen.ablation, reference_inputs)
    importances, origin = one_step_importances(agent)
    discount = discount_factor(agent, gamma)
    run = {
        "task": "run_rollouts",
        **chosen.decisive,
        "episodes": episodes,
        "seed": seed,
        **settings.decisive,
        "gamma": discount,
        "reference_inputs": reference[1],
        "importances": origin,
        "files": list(kinds),
        "show": [show, show_seed],
        "versions": library_versions(),
    }
    metadata = agent.metadata(run, command={"script": "run_rollouts.py", "env": settings.environment.env})
    if is_up_to_date(stored_rollouts(path, kinds), metadata, overwrite=overwrite):
        return Rollouts(document=load_rollouts(path), files=files, was_up_to_date=True)
    observations = reference[0]
    if observations is None and reference[1] is not None:
        observations = reference_from_baseline(agent, settings, seeds)
    work = Work(
        experiments=chosen.experiments,
        settings=settings,
        ablation=chosen.ablation,
        reference=observations,
        seed=seed,
        gamma=discount,
    )
    outcomes = put_together(run_episodes(agent, chosen.against, work, seeds, jobs=jobs, progress=progress))
    document = _document(chosen, outcomes, importances, seed=seed, max_steps=max_steps)
    contents = {
        "results": json_bytes(document),
        "table": csv_bytes(COLUMNS, [document["baseline"], *document["experiments"]]),
    }
    if trajectories:
        contents["trajectories"] = npz_bytes(trajectory_arrays(chosen, outcomes))
    if gif or frames:
        episode = choose_episode(chosen.experiments, outcomes, name=show, seed=show_seed)
        pictures = draw_episode(agent, settings, episode)
        document["shown"] = {"experiment": episode.experiment.name, "seed": episode.seed, "parting": episode.parting}
        contents["results"] = json_bytes(document)
        contents |= {"gif": gif_bytes(pictures, parting=episode.parting)} if gif else {}
        contents |= {"frames": png_archive_bytes(pictures)} if frames else {}
    save_rollouts(path, contents, metadata=metadata)
    return Rollouts(document=document, files=files, was_up_to_date=False)


def _reference(
    agent: OpenedAgent, ablation: Ablation | None, inputs: Any
) -> tuple[Observations | None, dict[str, Any] | None]:
    """The reference inputs, and what decides them; both None where no ablation needs any."""
    is_needed = ablation is not None and (ablation.needs_reference or ablation.kind == "resample")
    if not is_needed:
        if inputs is not None:
            raise UsageError("--reference_inputs can only be used with --ablate mean, noise or resample")
        return None, None
    if inputs is None:
        return None, {"name": "baseline episodes"}
    chosen = agent.inputs(inputs)
    return chosen.observations, {"name": Path(chosen.where).name, "sha256": chosen.sha256}


def _document(
    chosen: ChosenExperiments, outcomes: Outcomes, importances: Mapping[str, float], *, seed: int, max_steps: int
) -> dict[str, Any]:
    baseline, *rows = rollout_rows(chosen.experiments, outcomes, importances=importances, seed=seed)
    single = [row for row, one in zip(rows, chosen.experiments, strict=True) if one.is_single_neuron]
    tested = sum(not one.control_of for one in chosen.experiments)
    different = int(clusters_of(outcomes).max()) + 1
    stopped = int((outcomes.truncated[BASELINE] & (outcomes.lengths[BASELINE] == max_steps)).sum())
    stopped_remark = [f"{stopped} baseline episodes were cut after {max_steps} steps (--max_steps)"] if stopped else []
    return {
        "rule": RULE,
        "episodes": len(outcomes.seeds),
        "ablation": None if chosen.ablation is None else str(chosen.ablation),
        "classes": _counts(rows),
        "different_episodes": different,
        "remarks": [*remarks_on(len(outcomes.seeds), different, tested), *stopped_remark],
        "baseline": baseline,
        "experiments": rows,
        "link": link_of(single, effect="difference", measures=MEASURES),
    }


def _counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many experiments are in each class, without controls."""
    classes = [row["class"] for row in rows if not row["control_of"]]
    return {name: classes.count(name) for name in ("no effect", "decisions only", "behaviour")}


def trajectory_arrays(chosen: ChosenExperiments, outcomes: Outcomes) -> dict[str, np.ndarray]:
    """All episodes as arrays.

    Experiments that took the same actions on a seed share one path: ``path_of`` (1 + n_experiments, n_episodes) is its
    number. Of path k, ``actions``, ``rewards`` and ``states`` (fingerprints of the observations on which was decided)
    are those from ``ends[k] - lengths[k]`` to ``ends[k]``.
    """
    path_of = np.zeros(outcomes.returns.shape, np.int64)
    for number, path in enumerate(outcomes.paths):
        path_of[path.members, path.episode] = number
    lengths = np.array([len(path.actions) for path in outcomes.paths])
    return {
        "experiments": np.array(["baseline", *(one.name for one in chosen.experiments)]),
        "seeds": outcomes.seeds,
        "path_of": path_of,
        "lengths": lengths,
        "ends": np.cumsum(lengths),
        "actions": np.concatenate([path.actions for path in outcomes.paths]).astype(np.int64),
        "rewards": np.concatenate([path.rewards for path in outcomes.paths]),
        "states": np.concatenate([path.states for path in outcomes.paths]),
        "success": outcomes.success,
        "death": outcomes.death,
        "truncated": outcomes.truncated,
    }
