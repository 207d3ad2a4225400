"""What the perturbation scripts name as the next command, ready to be pasted."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Neuron_Selection.next_command import next_command

_FLIPS, _WRITE = (
    f"Parameter_Selection/PerturbationTooling/{name}.py" for name in ("find_smallest_flips", "write_agent")
)


def after_perturbing(args: argparse.Namespace, summary: Mapping[str, Any], *, flips_can_be_found: bool) -> str:
    """The same weights and inputs searched for flips; where that cannot be, the strongest change made for good.

    :param summary: of the perturbations
    """
    if not flips_can_be_found or args.allow_nonfinite:
        strongest = summary["strongest"]
        return writing(args.agent_path, strongest["target"], strongest["weight_after"], args)
    words: list[object] = []
    for name in ("candidates", "weights", "all_weights", "input_ids"):
        told = getattr(args, name)
        if told is not None:
            words += [f"--{name}", *(told if isinstance(told, list) else [told])]
    return next_command(_FLIPS, "--agent_path", args.agent_path, *words, "--inputs", args.inputs)


def writing(agent_path: str, target: str, value: float, loading: argparse.Namespace | None = None) -> str:
    """An agent with this one weight changed."""
    words = ("--agent_path", agent_path, "--edits", f"{target}={value!r}", "--output", "edited.zip")
    return next_command(_WRITE, *words, loading=loading)


def restoring(args: argparse.Namespace, output: Path, inverse: Path) -> str:
    """The edited agent turned back."""
    restored = output.with_name(f"{output.stem}_restored.zip")
    words = ("--agent_path", output, "--edits", inverse, "--output", restored)
    return next_command(_WRITE, *words, loading=args)
