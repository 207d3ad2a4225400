"""Commands suggested as the next step, quoted so that they can be pasted into a shell."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_COPIES = ("features_extractor", "activation_fn", "policy")  # flags that name a copy of a custom class
_ROOT = Path(__file__).resolve().parents[1]


def next_command(script: str, *words: object, loading: argparse.Namespace | None = None) -> str:
    """Format ``python SCRIPT WORDS``, quoted for a shell.

    :param script: path of the script in the project, such as ``activation_patching.py``
    :param words: flags and values
    :param loading: parsed flags, of which those on how the agent is loaded are repeated
    """
    folder, path = Path.cwd().resolve(), _ROOT / script
    shown = os.path.relpath(path, folder) if folder == _ROOT or _ROOT in folder.parents else str(path)
    return shlex.join(["python", shown, *map(str, words), *([] if loading is None else _loading_words(loading))])


def handed_on(path: Path) -> str:
    """A path for another script: never a bare name, which would be looked up in the agent's folder first."""
    return str(path) if len(path.parts) > 1 else os.path.join(os.curdir, path)  # noqa: PTH118 - a Path drops the dot


def loading_of(command: Mapping[str, Any]) -> argparse.Namespace:
    """The flags on custom classes in the metadata of an earlier command; values of a wrong type are ignored."""
    trust = command.get("trust")
    named = [name for name in trust if isinstance(name, str)] if isinstance(trust, list) else []
    copies = {name: value if isinstance(value := command.get(name), str) else None for name in _COPIES}
    return argparse.Namespace(trust=named, device="cpu", dtype=None, allow_nonfinite=False, **copies)


def _loading_words(args: argparse.Namespace) -> list[str]:
    words = ["--trust", *args.trust] if args.trust else []
    for name, default in (("device", "cpu"), ("dtype", None), *((name, None) for name in _COPIES)):
        if getattr(args, name) != default:
            words += [f"--{name}", str(getattr(args, name))]
    return [*words, "--allow_nonfinite"] if args.allow_nonfinite else words
