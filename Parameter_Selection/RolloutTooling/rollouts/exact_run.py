"""Compute the exact behaviour of every change of an agent in a finite world, as ``run_rollouts.py --exact`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import UsageError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import output_folder
from Neuron_Selection.FileFormats.provenance import check_outputs, is_up_to_date
from Neuron_Selection.FileFormats.results.patching_results import results_path
from Neuron_Selection.FileFormats.results.rollouts_file import (
    ROLLOUTS,
    load_rollouts,
    paths_of,
    save_rollouts,
    stored_rollouts,
)
from Neuron_Selection.FileFormats.storage.atomic_files import sha256_of
from Neuron_Selection.FileFormats.storage.csv_tables import csv_bytes
from Neuron_Selection.FileFormats.storage.json_files import json_bytes
from Neuron_Selection.FileFormats.storage.npz_files import npz_bytes
from Neuron_Selection.ObservationTooling.environments.acting import parse_acting
from Neuron_Selection.ObservationTooling.environments.chosen import chosen_environment
from Neuron_Selection.ObservationTooling.environments.episodes import MAX_STEPS
from Neuron_Selection.ObservationTooling.finite_worlds.worlds import finite_world_of
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent
from Parameter_Selection.RolloutTooling.exact.exact_values import exact_values
from Parameter_Selection.RolloutTooling.exact.measures import (
    COLUMNS,
    STATE_COLUMNS,
    exact_document,
    state_rows,
    value_arrays,
)
from Parameter_Selection.RolloutTooling.exact.policies import policies_of
from Parameter_Selection.RolloutTooling.experiments.ablated_values import AblatedValues
from Parameter_Selection.RolloutTooling.experiments.chosen import Changes, choose_experiments
from Parameter_Selection.RolloutTooling.experiments.deciders import Deciders
from Parameter_Selection.RolloutTooling.experiments.user_functions import user_function
from Parameter_Selection.RolloutTooling.rollouts.outputs import (
    Rollouts,
    discount_factor,
    library_versions,
    one_step_importances,
)

_KINDS = ("results", "table", "states", "values")


def exact_rollouts(
    agent: OpenedAgent,
    changes: Changes,
    *,
    env: str | None = None,
    env_kwargs: Sequence[str] | Mapping[str, Any] | None = None,
    wrapper: Sequence[str] | None = None,
    frame_stack: int | None = None,
    trusts_module: bool = False,
    seed: int = 0,
    policy: str = "greedy",
    max_steps: int = MAX_STEPS,
    gamma: float | None = None,
    reference_inputs: Any = None,
    when: str | None = None,
    output_prefix: str = "rollouts_exact",
    output_dir: str | Path | None = None,
    overwrite: bool = False,
) -> Rollouts:
    """The value of every state of a finite world under every change of an agent: no episodes, no sampling error.

    The parameters are those of ``run_rollouts``.

    :param seed: of random controls
    :param reference_inputs: for ablation by mean; None means all states of the world
    :param when: ``FILE.py:condition``, which gets None as the step
    :raises SuiteError: an environment without known transitions, or a change that is random
    """
    chosen = choose_experiments(agent, changes, seed=seed)
    if chosen.ablation is not None and chosen.ablation.is_drawn:
        raise UsageError(f"--exact cannot be used with --ablate {chosen.ablation}: it is drawn anew in every step")
    acting = parse_acting(policy, scores=agent.architecture.head.scores)
    environment = chosen_environment(
        agent, env=env, env_kwargs=env_kwargs, wrapper=wrapper, frame_stack=frame_stack, trusts_module=trusts_module
    )
    condition = None if when is None else user_function("when", when)
    reference = None
    if chosen.ablation is not None and chosen.ablation.needs_reference:
        reference = None if reference_inputs is None else agent.inputs(reference_inputs)
    elif reference_inputs is not None:
        raise UsageError("--reference_inputs can only be used with --exact and --ablate mean")
    folder = output_folder(None if output_dir is None else str(output_dir), agent.folder.folder / ROLLOUTS)
    path = results_path(folder, output_prefix)
    files = paths_of(path, _KINDS)
    check_outputs([*files.values()], [agent.folder.zip_path, *chosen.paths])
    importances, origin = one_step_importances(agent)
    discount = discount_factor(agent, gamma)
    world = finite_world_of(environment)
    horizon = min(world.horizon or max_steps, max_steps)
    run = {
        "task": "exact_rollouts",
        **chosen.decisive,
        "seed": seed,
        "environment": environment.described(),
        "world_sha256": sha256_of(world.successors.tobytes() + world.rewards.tobytes() + world.start.tobytes()),
        "policy": str(acting),
        "horizon": horizon,
        "gamma": discount,
        "reference_inputs": None if reference is None else {"sha256": reference.sha256},
        "when": None if condition is None else condition.described,
        "importances": origin,
        "versions": library_versions(),
    }
    metadata = agent.metadata(run, command={"script": "run_rollouts.py", "env": environment.env, "exact": True})
    if is_up_to_date(stored_rollouts(path, _KINDS), metadata, overwrite=overwrite):
        return Rollouts(document=load_rollouts(path), files=files, was_up_to_date=True)
    observations = agent.inputs({str(n): one for n, one in enumerate(world.observations)}).observations
    ablated = None
    if chosen.ablation is not None:
        of_reference = observations if reference is None else reference.observations
        ablated = AblatedValues(agent.network, chosen.ablation, of_reference, seed=seed)
    deciders = Deciders(
        network=agent.network,
        experiments=chosen.experiments,
        ablated=ablated,
        against=None if chosen.against is None else chosen.against.network,
    )
    policies = policies_of(deciders, observations, acting, when=condition)
    values = exact_values(world, policies, gamma=discount, horizon=horizon)
    document = exact_document(chosen, world, policies, values, importances=importances, gamma=discount, horizon=horizon)
    names = ["baseline", *(one.name for one in chosen.experiments)]
    contents = {
        "results": json_bytes(document),
        "table": csv_bytes(COLUMNS, [document["baseline"], *document["experiments"]]),
        "states": csv_bytes(STATE_COLUMNS, state_rows(world, policies, values)),
        "values": npz_bytes(value_arrays(names, policies, values)),
    }
    save_rollouts(path, contents, metadata=metadata)
    return Rollouts(document=document, files=files, was_up_to_date=False)
