"""The suggested next commands after an analysis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Neuron_Selection.errors import InputError
from Neuron_Selection.FileFormats.agent_zip.agent_folder import GRADIENTS, RESULTS, find_agent
from Neuron_Selection.FileFormats.results.cross_metric_summary import load_cross_metric_summary
from Neuron_Selection.FileFormats.weights.average_gradients import AVERAGE_FILE
from Neuron_Selection.next_command import loading_of, next_command


def next_lines(summary: Path, *, agent_path: str, made_by: Mapping[str, Any]) -> list[str]:
    """The closing lines: initial_test.py reads the summary in the agent's folder, extract.py one in another folder.

    :param made_by: the command that made the runs; its flags on custom classes are repeated
    """
    if not load_cross_metric_summary(summary).neurons:
        advice = (
            "pairs with contrast, experiments on single neurons, or leaving out --q_threshold and --metrics may help"
        )
        return [f"no important neuron, so there are no weights to choose: see the remarks in {summary} ({advice})"]
    agent, loading = ("--agent_path", agent_path), loading_of(made_by)
    try:
        own = find_agent(agent_path).folder
    except InputError:
        return [f"next, once agent.zip is in the folder: {next_command('SaliencyTooling/initial_test.py', *agent)}"]
    if summary.resolve() == (own / RESULTS / summary.name).resolve():
        return [f"next: {next_command('SaliencyTooling/initial_test.py', *agent, loading=loading)}"]
    average = own / GRADIENTS / AVERAGE_FILE
    files = ("--cross_metric_path", summary, "--average_gradients_path", average)
    return [
        f"next: {next_command('SaliencyTooling/InitialGradients/average.py', *agent, loading=loading)}",
        f"next: {next_command('SaliencyTooling/InitialGradients/extract.py', *files)}",
    ]
