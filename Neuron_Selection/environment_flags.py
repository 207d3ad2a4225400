"""Flags that name the environment of an agent, and how the agent acts in it."""

from __future__ import annotations

import argparse
from typing import Any

from Neuron_Selection.flag_types import positive_int

_NAMES = ("env", "env_kwargs", "wrapper", "frame_stack", "trusts_module")


def add_environment_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name an environment; ``environment_options`` turns them into keyword arguments.

    ``--vecnormalize`` and ``--trust`` are among the flags on how the agent is loaded.
    """
    group = parser.add_argument_group(
        "the environment", "default: the one in the agent's activation_inputs/environment.json, where one was recorded"
    )
    group.add_argument(
        "--env",
        metavar="ID",
        help="id that gymnasium or minigrid registers; module:Id of another package, with --trust module; or your own "
        "factory, FILE.py:make_env",
    )
    group.add_argument(
        "--env_kwargs",
        nargs="+",
        metavar="KEY=VALUE",
        help="arguments of the environment, each value read as JSON, else as text: is_slippery=false map_name=8x8",
    )
    group.add_argument(
        "--wrapper",
        nargs="+",
        metavar="WRAPPER",
        help="gymnasium.wrappers.X or minigrid.wrappers.X, the innermost first, with arguments as in "
        "minigrid.wrappers.ViewSizeWrapper:agent_view_size=5",
    )
    group.add_argument(
        "--frame_stack", type=positive_int, metavar="N", help="stack N frames, as VecFrameStack of Stable-Baselines3"
    )


def environment_options(args: argparse.Namespace) -> dict[str, Any]:
    """The flags of ``add_environment_flags`` as keyword arguments of ``chosen_environment``."""
    return {name: getattr(args, name) for name in _NAMES}


def environment_words(args: argparse.Namespace) -> list[str]:
    """The same flags as words, for a suggested command; empty where ``--env`` was not given."""
    if args.env is None:
        return []
    words = ["--env", args.env]
    words += ["--env_kwargs", *args.env_kwargs] if args.env_kwargs else []
    words += ["--wrapper", *args.wrapper] if args.wrapper else []
    return words + (["--frame_stack", str(args.frame_stack)] if args.frame_stack else [])


def add_acting_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--policy``, how the agent acts; the parsed value is ``acting``.

    The loading flag of that name is then ``--policy_class`` (see ``add_loading_flags``).
    """
    parser.add_argument(
        "--policy",
        dest="acting",
        default="greedy",
        metavar="POLICY",
        help="greedy; sampled: from the softmax of an actor's logits; epsilon=E: a random action with probability E, "
        "else the greedy one; random",
    )


def separate_trusted_module(args: argparse.Namespace) -> None:
    """Take the module of ``--env module:Id`` out of ``--trust``, which otherwise names classes of the agent.

    ``args.trusts_module`` is whether it was there.
    """
    module = module_of(args.env or "")
    args.trusts_module = bool(module) and module in (args.trust or ())
    if args.trusts_module:
        args.trust = [name for name in args.trust if name != module] or None


def module_of(env: str) -> str:
    """The module in ``module:Id``; "" for an id and for ``FILE.py:make_env``."""
    module = env.rpartition(":")[0]
    return "" if module.endswith(".py") else module
