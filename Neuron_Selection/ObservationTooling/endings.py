"""Whether an episode succeeded or failed, from the environment's own signals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium

SUCCESS_KEYS = ("is_success", "success")
"""Keys of ``info`` that report success at the end of an episode, the first that is there decides."""

_MEANINGS = {
    "gymnasium.envs.classic_control.cartpole": "failure",
    "gymnasium.envs.classic_control.acrobot": "success",
    "gymnasium.envs.classic_control.mountain_car": "success",
    "gymnasium.envs.toy_text.cliffwalking": "success",
    "gymnasium.envs.toy_text.taxi": "success",
    "gymnasium.envs.toy_text.frozen_lake": "reward",
    "gymnasium.envs.toy_text.blackjack": "reward",
    "gymnasium.envs.box2d.lunar_lander": "reward",
    "minigrid": "reward",
}
"""Module of an environment to what its termination means: success, failure, or success where the reward is positive."""


class Ending(NamedTuple):
    """Whether an episode ended in success and in death; None where the environment does not report it."""

    success: bool | None
    death: bool | None


UNKNOWN_ENDING = Ending(success=None, death=None)


def meaning_of_termination(env: gymnasium.Env[Any, Any]) -> str:
    """What termination means in an environment: ``success``, ``failure``, ``reward``, or "" where it is not known.

    In an environment of the user with a table of its ``transitions()``, the reward decides, as in the table.
    """
    if callable(getattr(type(env.unwrapped), "transitions", None)):
        return "reward"
    module = type(env.unwrapped).__module__
    return next((meaning for name, meaning in _MEANINGS.items() if f"{module}.".startswith(f"{name}.")), "")


def ending_of(
    meaning: str, *, reward: float, terminated: bool, truncated: bool, info: Mapping[str, Any] | None = None
) -> Ending:
    """The ending that the last step reports.

    A success key of ``info`` decides; without one, the meaning of termination. An episode that terminates without
    success is a death; one that is cut at its time limit is neither, except where lasting is the success.

    :param meaning: of ``meaning_of_termination``
    :param reward: of the last step
    """
    for key in SUCCESS_KEYS:
        if info is not None and key in info:
            success = bool(info[key])
            return Ending(success=success, death=terminated and not success)
    if not meaning:
        return UNKNOWN_ENDING
    if meaning == "failure":
        return Ending(success=truncated and not terminated, death=terminated)
    success = terminated and (meaning == "success" or reward > 0)
    return Ending(success=success, death=terminated and not success)
