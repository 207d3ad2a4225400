"""``Environment``: which environment an agent acts in, as a value; and the environments made from it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium

from Neuron_Selection.environment_flags import module_of
from Neuron_Selection.errors import InputError, shown
from Neuron_Selection.ObservationTooling.environments.registered import (
    environment_errors,
    make_registered,
    registered_spec,
)
from Neuron_Selection.ObservationTooling.environments.wrappers import Wrapper, parse_arguments, parse_wrapper
from Neuron_Selection.PatchingTooling.agent.user_files import UserFile

_MODES = "the suite chooses it: --frames keeps pictures"


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """An environment, described completely; ``make`` makes as many as are needed.

    ``env``: an id that gymnasium or minigrid registers, ``module:Id``, or ``FILE.py:factory``. ``arguments``: of the
    environment or the factory. ``wrappers``: the innermost first. ``frame_stack``: 1 for single observations.
    ``user_file``: the bytes of ``FILE.py``, read once. ``trusts_module``: the module of ``module:Id`` may be imported.
    """

    env: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[Wrapper, ...] = ()
    frame_stack: int = 1
    user_file: UserFile | None = None
    trusts_module: bool = False

    @property
    def name(self) -> str:
        """The id without its module, or the name of the factory; the first part of input ids."""
        return self.env.rpartition(":")[2]

    @property
    def where(self) -> str:
        """The environment as messages name it."""
        return f"environment {shown(self.env, limit=160)}"

    def wrapped(self, *wrappers: Wrapper) -> Environment:
        """The same environment with further wrappers outside."""
        return replace(self, wrappers=(*self.wrappers, *wrappers))

    def make(self, *, with_frames: bool = False) -> gymnasium.Env[Any, Any]:
        """Make one environment, in its wrappers; frames are stacked by ``Episodes``.

        :param with_frames: ``render()`` must return pictures
        :raises SuiteError: an unknown id, a factory or a wrapper that raises, or one that makes something else
        """
        renders = with_frames or any(wrapper.name.endswith(".AddRenderObservation") for wrapper in self.wrappers)
        mode = "rgb_array" if renders else None
        if self.user_file is None:
            spec = registered_spec(self.env, trusts_module=self.trusts_module)
            env = make_registered(spec, self.arguments, render_mode=mode)
        else:
            env = self._made_by_factory(self.user_file, mode)
        for wrapper in self.wrappers:
            with environment_errors(f"{self.where}, wrapper {wrapper}"):
                env = wrapper.apply(env)
        return env

    def _made_by_factory(self, file: UserFile, mode: str | None) -> gymnasium.Env[Any, Any]:
        factory = getattr(file.module(), self.name, None)
        if not callable(factory):
            raise InputError(file.path, self.name, found="no function of this name", expected="a factory")
        with environment_errors(self.where):
            takes = inspect.signature(factory).parameters.values()
            is_taken = any(one.name == "render_mode" or one.kind is one.VAR_KEYWORD for one in takes)
            render = {"render_mode": mode} if mode is not None and is_taken else {}
            env = factory(**self.arguments, **render)
        if not isinstance(env, gymnasium.Env):
            found = f"a {type(env).__module__}.{type(env).__name__}"
            raise InputError(file.path, f"{self.name}()", found=found, expected="a gymnasium.Env")
        return env

    def described(self) -> dict[str, Any]:
        """The environment as it is recorded in files and in metadata; the same settings give the same record."""
        file = {} if self.user_file is None else {"env_file_sha256": self.user_file.sha256}
        return {
            "env": self.env,
            **file,
            "env_kwargs": dict(self.arguments),
            "wrappers": [str(wrapper) for wrapper in self.wrappers],
            "frame_stack": self.frame_stack,
        }


def environment_from(
    env: str,
    *,
    env_kwargs: Sequence[str] | Mapping[str, Any] | None = None,
    wrapper: Sequence[str] | None = None,
    frame_stack: int | None = None,
    trusts_module: bool = False,
    where: str | None = None,
) -> Environment:
    """An environment from the values of its flags; nothing is made or imported yet.

    :param env: an id, ``module:Id``, or ``FILE.py:factory``, whose file is read
    :param env_kwargs: ``KEY=VALUE`` words, or the arguments themselves
    :param where: the file that the values are from, for messages; None for flags
    :raises SuiteError: a value of another form, or a file that cannot be read
    """
    given = env_kwargs or {}
    arguments = given if isinstance(given, Mapping) else parse_arguments(list(given), where="--env_kwargs")
    if "render_mode" in arguments:
        raise InputError(where or "--env_kwargs", "render_mode", "must be left out", hint=_MODES)
    path = None
    if is_factory(env):
        text, _, name = env.rpartition(":")
        if not text.endswith(".py") or not name.isidentifier():
            raise InputError(where or "--env", found=shown(env), expected="FILE.py:make_env")
        path = Path(text)
    return Environment(
        env=env,
        arguments=dict(arguments),
        wrappers=tuple(parse_wrapper(text, where=where or "--wrapper") for text in wrapper or ()),
        frame_stack=frame_stack or 1,
        user_file=None if path is None else UserFile.read(path, hint="--env FILE.py:make_env names your own factory"),
        trusts_module=trusts_module,
    )


def is_factory(env: str) -> bool:
    """Whether a text names a factory, ``FILE.py:make_env``, not an id."""
    return ".py:" in env or env.endswith(".py")


def is_harmless(env: str) -> bool:
    """Whether a text names an environment that a file may name: neither a file nor a module."""
    return not is_factory(env) and not module_of(env)
