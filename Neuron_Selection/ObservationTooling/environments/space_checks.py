"""Whether an environment is one for an agent; if not, which wrapper or flag would make it one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import gymnasium

from Neuron_Selection.errors import InputError, SuiteError
from Neuron_Selection.FileFormats.agent_zip.spaces import DictSpace, DiscreteSpace, Space, describe_space
from Neuron_Selection.ObservationTooling.environments.environment import Environment
from Neuron_Selection.ObservationTooling.environments.views import View, describe, space_record, view_of
from Neuron_Selection.ObservationTooling.environments.wrappers import Wrapper
from Neuron_Selection.PatchingTooling.opened_agent import OpenedAgent

_IMAGE = "ImgObsWrapper"
# Wrappers of minigrid that are tried, each with those after it.
_MINIGRID = (
    ("FlatObsWrapper",),
    (_IMAGE,),
    ("FullyObsWrapper", _IMAGE),
    ("RGBImgPartialObsWrapper", _IMAGE),
    ("RGBImgObsWrapper", _IMAGE),
    ("OneHotPartialObsWrapper", _IMAGE),
    ("SymbolicObsWrapper", _IMAGE),
    ("DictObservationSpaceWrapper",),
    ("FullyObsWrapper",),
    ("RGBImgPartialObsWrapper",),
    ("RGBImgObsWrapper",),
    ("FullyObsWrapper", "FlatObsWrapper"),
)
_FLATTEN = Wrapper(name="gymnasium.wrappers.FlattenObservation", arguments={})
_GRAYSCALE = Wrapper(name="gymnasium.wrappers.GrayscaleObservation", arguments={"keep_dim": True})
_MAX_STACK = 16


def checked_view(env: gymnasium.Env[Any, Any], environment: Environment, agent: OpenedAgent) -> View:
    """How the agent's network sees an environment.

    :param env: made from ``environment``
    :raises InputError: other actions or observations than the agent's, with both, and the wrappers that would give the
        agent's if they are known ones
    """
    actions = space_record(env.action_space)
    n_actions = agent.architecture.n_actions
    if not isinstance(actions, DiscreteSpace) or (actions.n, actions.start) != (n_actions, 0):
        expected = f"Discrete {n_actions}, as the agent's"
        raise InputError(environment.where, "action space", found=describe(env.action_space), expected=expected)
    view = _view(env.observation_space, agent, frame_stack=environment.frame_stack)
    if view is not None:
        return view
    stack = f"{environment.frame_stack} frames of " if environment.frame_stack > 1 else ""
    raise InputError(
        environment.where,
        "observation space",
        found=f"{stack}{describe(env.observation_space)}",
        expected=f"{describe_space(agent.agent_zip.observation_space)}, as the agent's",
        hint=_hint(environment, agent),
    )


def _hint(environment: Environment, agent: OpenedAgent) -> str:
    """The flags that would give the agent's observations, found by trying."""
    tried = []
    for candidate in _candidates(environment, agent.agent_zip.observation_space):
        with suppress(SuiteError, OSError):
            env = candidate.make()
            env.close()
            tried.append((candidate, env.observation_space))
    stacks = range(2, _MAX_STACK + 1) if environment.frame_stack == 1 else ()
    for frames in (environment.frame_stack, *stacks):
        for candidate, space in tried:
            if _view(space, agent, frame_stack=frames) is not None:
                return f"{_flags(replace(candidate, frame_stack=frames))} would give it"
    return ""


def _view(space: gymnasium.Space[Any], agent: OpenedAgent, *, frame_stack: int) -> View | None:
    record = space_record(space)
    if record is None:
        return None
    normalised = frozenset() if agent.normalizer is None else frozenset(agent.normalizer.statistics)
    return view_of(record, agent.agent_zip.observation_space, frame_stack=frame_stack, normalised=normalised)


def _flags(environment: Environment) -> str:
    words = ["--wrapper", *map(str, environment.wrappers)] if environment.wrappers else []
    return " ".join(words + (["--frame_stack", str(environment.frame_stack)] if environment.frame_stack > 1 else []))


def _candidates(environment: Environment, agent: Space) -> Iterator[Environment]:
    """The environment as it is, and in further wrappers, the simplest first."""
    yield environment
    yield environment.wrapped(_FLATTEN)
    for names in _MINIGRID:
        wrappers = [Wrapper(name=f"minigrid.wrappers.{name}", arguments={}) for name in names]
        yield environment.wrapped(*wrappers)
        if names[-1] == _IMAGE:
            yield environment.wrapped(*wrappers, _FLATTEN)
    yield environment.wrapped(_GRAYSCALE)
    if isinstance(agent, DictSpace):
        keys: Mapping[str, Any] = {"filter_keys": list(agent.spaces)}
        yield environment.wrapped(Wrapper(name="gymnasium.wrappers.FilterObservation", arguments=keys))
