"""The command that a script names at its end, so written that it can be pasted where the user stands."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_COPIES = ("features_extractor", "activation_fn", "policy")  # flags that name the user's own copy of a class
_ROOT = Path(__file__).resolve().parents[1]


def next_command(script: str, *words: object, loading: argparse.Namespace | None = None) -> str:
    """``python SCRIPT WORDS``, quoted for a shell.

    :param script: its path in the project, such as ``activation_patching.py``
    :param words: flags and values
    :param loading: a command line whose flags on how the agent is loaded are handed on
    """
    here, path = Path.cwd().resolve(), _ROOT / script
    shown = os.path.relpath(path, here) if here == _ROOT or _ROOT in here.parents else str(path)
    return shlex.join(["python", shown, *map(str, words), *([] if loading is None else _loading_words(loading))])


def handed_on(path: Path) -> str:
    """A file as the next script takes it: never a bare name, which is looked for in the agent's folder first."""
    return str(path) if len(path.parts) > 1 else os.path.join(os.curdir, path)  # noqa: PTH118 - a Path drops the dot


def loading_of(command: Mapping[str, Any]) -> argparse.Namespace:
    """The flags on custom classes in the metadata of an earlier command; what a file says otherwise is left aside."""
    trust = command.get("trust")
    named = [name for name in trust if isinstance(name, str)] if isinstance(trust, list) else []
    copies = {name: value if isinstance(value := command.get(name), str) else None for name in _COPIES}
    return argparse.Namespace(trust=named, device="cpu", dtype=None, allow_nonfinite=False, **copies)


def _loading_words(args: argparse.Namespace) -> list[str]:
    words = ["--trust", *args.trust] if args.trust else []
    for name, usual in (("device", "cpu"), ("dtype", None), *((name, None) for name in _COPIES)):
        if getattr(args, name) != usual:
            words += [f"--{name}", str(getattr(args, name))]
    return [*words, "--allow_nonfinite"] if args.allow_nonfinite else words
