"""Environments that gymnasium or minigrid registers, made from an id that may come from an untrusted file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium
import minigrid  # noqa: F401 - registers its environments
from gymnasium.envs.registration import EnvSpec

from Neuron_Selection.errors import InputError, SuiteError, UntrustedError, UsageError, shown
from Neuron_Selection.PatchingTooling.agent.user_files import run_user_code

_MAKERS = ("gymnasium", "minigrid")


def registered_spec(env_id: str, *, trusts_module: bool = False) -> EnvSpec:
    """The specification of an id such as ``CartPole-v1``.

    Only environments of gymnasium and minigrid are made: no entry point of another package, and no ``module:Id``, for
    which gymnasium would import the module, unless it is trusted.

    :param trusts_module: ``--trust`` names the module of ``module:Id``, which is imported
    :raises InputError: an unknown id, with the closest names, or one of another package
    :raises UntrustedError: ``module:Id`` of a module that is not trusted
    """
    where = f"environment {shown(env_id)}"
    module, _, name = env_id.rpartition(":")
    if module and not trusts_module:
        hint = f"--trust {module} imports it" if module.replace(".", "_").isidentifier() else ""
        raise UntrustedError(where, problem="must not name a module that is not trusted", hint=hint)
    if module:
        run_user_code(module, lambda: __import__(module))
    try:
        spec = gymnasium.spec(name)
    except gymnasium.error.Error as error:
        ids = [known for known, spec in gymnasium.registry.items() if module or is_of_the_makers(spec)]
        close = ", ".join(difflib.get_close_matches(name, ids, n=3))
        hint = f"closest matches: {close}" if close else "an id of another package is module:Id, with --trust module"
        raise InputError(where, problem=f"unknown environment ({error})", hint=hint) from error
    if not module and not is_of_the_makers(spec):
        raise InputError(
            where,
            problem=f"is not registered by {' or '.join(_MAKERS)}",
            hint="module:Id and --trust module make one of another package",
        )
    return spec


def is_of_the_makers(spec: EnvSpec) -> bool:
    """Whether the code of an environment is gymnasium's or minigrid's own."""
    module = spec.entry_point.partition(":")[0] if isinstance(spec.entry_point, str) else ""
    return module.partition(".")[0] in _MAKERS and not spec.additional_wrappers


def make_registered(spec: EnvSpec, arguments: Mapping[str, Any], *, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    """Make an environment, with its time limit.

    :raises UsageError: it cannot be made, for example because a package is missing, which the message names
    """
    with environment_errors(f"environment {shown(spec.id)}"):
        chosen: dict[str, Any] = dict(arguments) if render_mode is None else {**arguments, "render_mode": render_mode}
        return gymnasium.make(spec, disable_env_checker=True, **chosen)


@contextmanager
def environment_errors(where: str | Callable[[], str]) -> Iterator[None]:
    """Turn errors of an environment into a UsageError, except those of memory and of the operating system.

    :param where: the environment, for the message, or a function that describes it once there is an error
    """
    try:
        yield
    except (MemoryError, OSError, SuiteError):
        raise
    except (Exception, SystemExit) as error:  # an environment may raise anything
        place = where if isinstance(where, str) else where()
        raise UsageError("cannot be used", field=place, hint=f"{type(error).__name__}: {error}") from error
