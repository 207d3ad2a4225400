"""What the saliency scripts name as the next command, ready to be pasted."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Neuron_Selection.FileFormats.agent_zip.agent_folder import RESULTS
from Neuron_Selection.FileFormats.results.cross_metric_summary import SUMMARY_FILE
from Neuron_Selection.next_command import handed_on, next_command

_AVERAGE, _EXTRACT = (f"SaliencyTooling/InitialGradients/{name}.py" for name in ("average", "extract"))
_PERTURB = "Parameter_Selection/PerturbationTooling/perturb_weights.py"


def averaging(args: argparse.Namespace, gradients: Path, folder: Path) -> str:
    """The averages of these gradients; with the agent, those of the margin too."""
    words = ("--agent_path", args.agent_path, "--inputs", args.inputs, "--gradients_path", handed_on(gradients))
    return next_command(_AVERAGE, *words, "--output_dir", folder, loading=args)


def extracting(args: argparse.Namespace, agent_folder: Path | None, averages: Path) -> str:
    """The candidate weights of these averages.

    :param agent_folder: None where nothing says of which agent they are
    """
    agent = args.agent_path or agent_folder
    words = ("--average_gradients_path", averages)
    if agent is None or agent_folder is None:
        return f"{next_command(_EXTRACT, *words)} --cross_metric_path FILE, which analyze_metrics.py makes"
    summary = agent_folder / RESULTS / SUMMARY_FILE
    return next_command(_EXTRACT, "--agent_path", agent, "--cross_metric_path", summary, *words, loading=args)


def perturbing(args: argparse.Namespace, agent_path: object, candidates: Path, *, inputs: str | None = None) -> str:
    """These candidates, changed.

    :param agent_path: None where nothing says of which agent they are
    """
    words = ["--candidates", handed_on(candidates), *(["--inputs", inputs] if inputs else [])]
    if agent_path is None:
        return f"{next_command(_PERTURB, *words, loading=args)} --agent_path FOLDER, the agent that they are of"
    return next_command(_PERTURB, "--agent_path", agent_path, *words, loading=args)


def agent_told_by(metadata: Mapping[str, Any] | None) -> Path | None:
    """The zip that a file's metadata names, if it still lies there."""
    agent = (metadata or {}).get("agent")
    path = agent.get("real_path") if isinstance(agent, dict) else None
    return Path(path) if isinstance(path, str) and Path(path).is_file() else None
