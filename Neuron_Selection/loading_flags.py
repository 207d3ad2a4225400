"""Flags on how an agent is loaded, from the command line and from the environment variable AGENT_FLAGS."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from typing import Any, NoReturn

from Neuron_Selection.environment_flags import separate_trusted_module
from Neuron_Selection.errors import UsageError, shown
from Neuron_Selection.flag_types import device
from Neuron_Selection.suite_parser import SuiteParser, possible_flags

VARIABLE = "AGENT_FLAGS"


def add_loading_flags(parser: argparse.ArgumentParser, *, policy: str = "--policy") -> None:
    """Add the flags on how an agent is loaded; ``agent_options`` turns them into keyword arguments.

    :param policy: the flag for a custom policy, ``--policy_class`` in scripts whose ``--policy`` is how the agent acts
    """
    group = parser.add_argument_group(
        "how the agent is loaded", f"the environment variable {VARIABLE} supplies these flags where they are not given"
    )
    group.add_argument("--device", type=device, default="cpu", help="auto, cpu, cuda or cuda:N")
    group.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        help="precision of the network (default: float64 in the numpy engine and for many experiments, else float32)",
    )
    group.add_argument("--trust", nargs="+", metavar="MODULE.CLASS", help="custom classes that may be imported")
    group.add_argument("--features_extractor", metavar="FILE.py:CLASS", help="your copy of a custom features extractor")
    group.add_argument("--activation_fn", metavar="FILE.py:CLASS", help="your copy of a custom activation function")
    group.add_argument(policy, dest="policy", metavar="FILE.py:CLASS", help="your copy of a custom policy")
    group.add_argument(
        "--vecnormalize",
        metavar="FILE",
        help="vecnormalize.pkl, as saved by VecNormalize: inputs are raw observations, which are normalised with it",
    )
    group.add_argument("--allow_nonfinite", action="store_true", help="load weights that are NaN or infinite")


def agent_options(args: argparse.Namespace) -> dict[str, Any]:
    """The flags of ``add_loading_flags`` as keyword arguments of ``PatchingExperiment``."""
    names = ("device", "dtype", "features_extractor", "activation_fn", "policy", "vecnormalize", "allow_nonfinite")
    engine = {"engine": args.engine} if hasattr(args, "engine") else {}
    return {"trust": args.trust or (), **engine, **{name: getattr(args, name) for name in names}}


def parse_with_variable(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; where it has flags of ``add_loading_flags``, AGENT_FLAGS supplies those not given.

    In AGENT_FLAGS, ``--policy`` is a custom policy, as in most scripts.

    :raises UsageError: a wrong command line, or a wrong AGENT_FLAGS
    """
    args = parser.parse_args(words)
    if "allow_nonfinite" in args:
        given = set(possible_flags(words))
        flags = {action.dest: set(action.option_strings) for action in parser._actions}  # noqa: SLF001 - no other way
        for name, value in flags_of_variable().items():
            if not flags[name] & given:
                setattr(args, name, value)
    if "env_kwargs" in args:
        separate_trusted_module(args)
    return args


def flags_of_variable() -> dict[str, Any]:
    """Name to value of the flags in AGENT_FLAGS, which is split into words as by a shell.

    :raises UsageError: quotes that do not match, words that are not such flags, or wrong values
    """
    text = os.environ.get(VARIABLE, "")
    try:
        words = shlex.split(text)
    except ValueError as error:
        problem = str(error)[:1].lower() + str(error)[1:]
        raise UsageError(field=VARIABLE, found=shown(text), expected="words as in a shell", hint=problem) from error
    return vars(_VariableParser().parse_args(words))


class _VariableParser(SuiteParser):
    """The parser of AGENT_FLAGS: it returns only the flags that are there."""

    def __init__(self) -> None:
        super().__init__(description="", example="", add_help=False, argument_default=argparse.SUPPRESS)
        add_loading_flags(self)
        for action in self._actions:
            action.default = argparse.SUPPRESS

    def error(self, message: str) -> NoReturn:
        """Raise with the name of the variable and the flags that it may contain."""
        flags = ", ".join(self._option_string_actions)
        raise UsageError(message, field=VARIABLE, hint=f"it may contain {flags}")
