"""The environment of a run: the one that flags name, else the one in which the agent's inputs were recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError, UsageError, shown
from Neuron_Selection.FileFormats.agent_zip.agent_folder import INPUTS
from Neuron_Selection.FileFormats.environment_file import ENVIRONMENT_FILE, EnvironmentRecord, load_environment_record
from Neuron_Selection.ObservationTooling.environments.environment import Environment, environment_from, is_harmless
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent


def chosen_environment(
    agent: OpenedAgent,
    *,
    env: str | None = None,
    env_kwargs: Sequence[str] | Mapping[str, Any] | None = None,
    wrapper: Sequence[str] | None = None,
    frame_stack: int | None = None,
    trusts_module: bool = False,
) -> Environment:
    """The environment named by flags; without ``--env``, the one in ``activation_inputs/environment.json``.

    From that file, only an id that gymnasium or minigrid registers is made, in wrappers of these packages. Code of
    others runs only where a flag names it in this run.

    :raises UsageError: no environment was named or recorded, or flags that need ``--env``
    :raises InputError: the recorded environment is a file or of another package, or its observations were normalised
        with other statistics
    """
    if env is not None:
        return environment_from(
            env, env_kwargs=env_kwargs, wrapper=wrapper, frame_stack=frame_stack, trusts_module=trusts_module
        )
    for flag, value in (("--env_kwargs", env_kwargs), ("--wrapper", wrapper), ("--frame_stack", frame_stack)):
        if value:
            raise UsageError(f"{flag} needs --env, which names the environment")
    path = agent.folder.folder / INPUTS / ENVIRONMENT_FILE
    if not path.exists():
        raise UsageError("no environment: --env names it, for example --env CartPole-v1 or --env my_env.py:make_env")
    record = load_environment_record(path)
    recorded = recorded_environment(record, path)
    sha256 = None if agent.normalizer is None else agent.normalizer.sha256
    if record.vecnormalize_sha256 != sha256:
        found, expected = _statistics(record.vecnormalize_sha256), _statistics(sha256)
        hint = "--vecnormalize names the file that was used for the recording" if record.vecnormalize_sha256 else ""
        raise InputError(path, "vecnormalize_sha256", found=found, expected=f"{expected}, as in this run", hint=hint)
    return recorded


def recorded_environment(record: EnvironmentRecord, path: Path) -> Environment:
    """The environment that a file records.

    :raises InputError: it is code of others, which is not run from a file
    """
    if not is_harmless(record.env):
        named = f"--env {shown(record.env, limit=200, quoted=False)}"
        hint = f"repeat {named}, and --wrapper, --env_kwargs and --frame_stack if there were any"
        raise InputError(path, "env", f"names code ({shown(record.env)}), which is not run from a file", hint=hint)
    return environment_from(
        record.env,
        env_kwargs=record.env_kwargs,
        wrapper=record.wrappers,
        frame_stack=record.frame_stack,
        where=str(path),
    )


def _statistics(sha256: str | None) -> str:
    return "no VecNormalize" if sha256 is None else f"statistics {sha256[:12]}"
