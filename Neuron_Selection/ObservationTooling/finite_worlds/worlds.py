"""The finite world of an environment: its own ``transitions()``, Gymnasium's toy text, or a grid world of MiniGrid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit
from minigrid.minigrid_env import MiniGridEnv

from Neuron_Selection.errors import InputError
from Neuron_Selection.ObservationTooling.endings import meaning_of_termination
from Neuron_Selection.ObservationTooling.environments.environment import Environment
from Neuron_Selection.ObservationTooling.environments.registered import environment_errors
from Neuron_Selection.ObservationTooling.finite_worlds.finite_world import FiniteWorld
from Neuron_Selection.ObservationTooling.finite_worlds.grids import world_of_grids
from Neuron_Selection.ObservationTooling.finite_worlds.transition_tables import world_from_table

_WITHOUT_EFFECT = (OrderEnforcing, PassiveEnvChecker, TimeLimit)


def finite_world_of(environment: Environment) -> FiniteWorld:
    """Every state of an environment with known transitions.

    Observations pass through the environment's observation wrappers, which must not keep anything between steps.

    :raises InputError: the transitions are not known, or a wrapper changes more than observations
    """
    where = environment.where
    if environment.frame_stack > 1:
        raise InputError(where, problem="--exact needs single observations, without --frame_stack")
    env = environment.make()
    try:
        base, observe = _unwrapped(env, where)
        if hasattr(base, "action_masks"):
            raise InputError(where, problem="has action_masks(), with which --exact cannot be used")
        n_actions = int(env.action_space.n)  # type: ignore[attr-defined]
        horizon = None if env.spec is None else env.spec.max_episode_steps
        if callable(getattr(type(base), "transitions", None)):
            with environment_errors(f"{where}: transitions()"):
                table = base.transitions()  # type: ignore[attr-defined]
            return world_from_table(table, n_actions=n_actions, observe=observe, horizon=horizon, where=where)
        if hasattr(base, "P") and hasattr(base, "initial_state_distrib"):
            return world_from_table(
                {"P": base.P, "start": base.initial_state_distrib},
                n_actions=n_actions,
                observe=observe,
                horizon=horizon,
                meaning=meaning_of_termination(base) or "reward",
                where=where,
            )
        if isinstance(base, MiniGridEnv):
            with environment_errors(where):
                base.reset(seed=0)
            return world_of_grids(base, n_actions=n_actions, observe=observe)
    finally:
        env.close()
    raise InputError(
        where,
        problem="has no table of its transitions",
        hint="--exact needs a MiniGrid of walls, lava and goals, Gymnasium's toy text, or a method transitions()",
    )


def _unwrapped(env: gymnasium.Env[Any, Any], where: str) -> tuple[gymnasium.Env[Any, Any], Callable[[Any], Any]]:
    """The innermost environment, or the first one with ``transitions()``; and how its observations are seen outside."""
    wrappers: list[gymnasium.ObservationWrapper[Any, Any, Any]] = []
    while isinstance(env, gymnasium.Wrapper) and not callable(getattr(type(env), "transitions", None)):
        if isinstance(env, gymnasium.ObservationWrapper):
            wrappers.insert(0, env)
        elif not isinstance(env, _WITHOUT_EFFECT):
            problem = f"wrapper {type(env).__name__} changes more than observations, so that transitions are not known"
            raise InputError(where, problem=problem)
        env = env.env

    def observe(observation: Any) -> Any:
        for wrapper in wrappers:
            observation = wrapper.observation(observation)
        return observation

    return env, observe
