"""Commands suggested as the next step, quoted so that they can be pasted into a shell."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import UsageError
from Neuron_Selection.loading_flags import flags_of_variable

_FILES = ("features_extractor", "activation_fn", "policy", "vecnormalize")  # flags that name a file
_ACTING = ("record_inputs.py", "run_rollouts.py")  # --policy is how the agent acts; a custom policy is --policy_class
_ROOT = Path(__file__).resolve().parents[1]


def next_command(script: str, *words: object, loading: argparse.Namespace | None = None) -> str:
    """Format ``python SCRIPT WORDS``, quoted for a shell.

    :param script: path of the script in the project, such as ``activation_patching.py``
    :param words: flags and values
    :param loading: parsed flags, of which those on how the agent is loaded are repeated
    """
    folder, path = Path.cwd().resolve(), _ROOT / script
    shown = os.path.relpath(path, folder) if folder == _ROOT or _ROOT in folder.parents else str(path)
    policy = "policy_class" if path.name in _ACTING else "policy"
    loaded = [] if loading is None else _loading_words(loading, policy=policy)
    return shlex.join(["python", shown, *map(str, words), *loaded])


def handed_on(path: Path) -> str:
    """A path for another script: never a bare name, which would be looked up in the agent's folder first."""
    return str(path) if len(path.parts) > 1 else os.path.join(os.curdir, path)  # noqa: PTH118 - a Path drops the dot


def loading_of(command: Mapping[str, Any]) -> argparse.Namespace:
    """The flags on custom classes and VecNormalize in an earlier command's metadata; wrong types are ignored."""
    trust = command.get("trust")
    named = [name for name in trust if isinstance(name, str)] if isinstance(trust, list) else []
    files = {name: value if isinstance(value := command.get(name), str) else None for name in _FILES}
    return argparse.Namespace(trust=named, **files)


def _loading_words(args: argparse.Namespace, *, policy: str) -> list[str]:
    """The flags that the next command needs to load the agent as ``args`` do: not those that AGENT_FLAGS supplies.

    :param policy: the next command's flag for a custom policy
    """
    supplied = {"device": "cpu", **_supplied()}
    needed = {name: value for name, value in vars(args).items() if value and value != supplied.get(name)}
    words = ["--trust", *needed["trust"]] if "trust" in needed else []
    for name in ("device", "dtype", *_FILES):
        words += [f"--{policy if name == 'policy' else name}", str(needed[name])] if name in needed else []
    return [*words, "--allow_nonfinite"] if "allow_nonfinite" in needed else words


def _supplied() -> dict[str, Any]:
    """The flags in AGENT_FLAGS; none where it is wrong, which is an error of the scripts that read it."""
    try:
        return flags_of_variable()
    except UsageError:
        return {}
