"""The command to run after each saliency or perturbation script."""

from __future__ import annotations

import argparse

from Neuron_Selection.next_command import next_command

_GRADIENTS, _PERTURBATION = "SaliencyTooling/InitialGradients", "Parameter_Selection/PerturbationTooling"
_NEXT = {
    "gradients": (f"{_GRADIENTS}/average.py",),
    "average": (
        f"{_GRADIENTS}/extract.py",
        *("--cross_metric_path", "cross_metric_summary.json", "--average_gradients_path", "average_gradients.json"),
    ),
    "extract": (f"{_PERTURBATION}/perturb_weights.py",),
    "initial_test": (f"{_PERTURBATION}/perturb_weights.py",),
    "perturb_weights": (f"{_PERTURBATION}/find_smallest_flips.py",),
    "find_smallest_flips": (f"{_PERTURBATION}/write_agent.py",),
    "write_agent": (f"{_PERTURBATION}/write_agent.py",),
}


def command_after(script: str, agent_path: object, *words: object, loading: argparse.Namespace | None = None) -> str:
    """The command after ``script``, quoted for a shell.

    :param agent_path: None where no agent is known
    :param words: further flags and values
    :param loading: a command line whose flags on how the agent is loaded are repeated
    """
    path, *more = _NEXT[script]
    agent = "AGENT_FOLDER" if agent_path is None else agent_path
    return next_command(path, "--agent_path", agent, *more, *words, loading=loading)
